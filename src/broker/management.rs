//! RabbitMQ's management API, as far as it tells what is declared. Reads only.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

use crate::clock::Timestamp;
use crate::limits::BROKER_ANSWER_TIMEOUT;

/// Where the management API is, with user and password; never shown with them.
#[derive(Clone)]
pub struct ManagementUrl {
    url: Url,
    user: String,
    password: SecretString,
}

impl ManagementUrl {
    /// Reads `http://user:password@host:15672` or `https://…`.
    ///
    /// # Errors
    /// A sentence that says what is allowed; it does not repeat the text, which may hold a password.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let sentence = || "must be like http://user:password@host:15672".to_owned();
        let mut url = Url::parse(text.expose_secret()).map_err(|_| sentence())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(sentence());
        }
        let decoded = |text: &str| {
            // A form's decoding, in which "+" would be a space.
            let pair = format!("v={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pair.as_bytes())
                .next()
                .map_or_else(String::new, |(_, v)| v.into_owned())
        };
        let user = decoded(url.username());
        let password = SecretString::from(decoded(url.password().unwrap_or_default()));
        url.set_username("").map_err(|()| sentence())?;
        url.set_password(None).map_err(|()| sentence())?;
        Ok(Self { url, user, password })
    }
}

impl fmt::Display for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl fmt::Debug for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why the API told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silent {
    /// It cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It answered something else than expected.
    #[error("it answered {0}")]
    Unexpected(String),
}

/// A queue as it is.
#[derive(Debug, Deserialize)]
pub(super) struct QueueSeen {
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) arguments: Lenient,
    #[serde(default)]
    pub(super) effective_policy_definition: Lenient,
}

/// An exchange as it is.
#[derive(Debug, Deserialize)]
pub(super) struct ExchangeSeen {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) arguments: Lenient,
    pub(super) policy: Option<String>,
}

/// A binding as it is.
#[derive(Debug, Deserialize)]
pub(super) struct BindingSeen {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) routing_key: String,
}

/// A policy as it is.
#[derive(Debug, Deserialize)]
pub(super) struct PolicySeen {
    #[serde(default)]
    pub(super) definition: Lenient,
}

/// What the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Its version, as it writes it.
    pub version: String,
    /// Its clock, to the second, where the answer says it.
    pub clock: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct OverviewSeen {
    rabbitmq_version: String,
}

/// Asks a server what it is.
///
/// # Errors
/// A sentence: the API told nothing.
pub async fn overview(url: &ManagementUrl) -> Result<Overview, String> {
    let told = |silent: Silent| silent.to_string();
    let response = Management::new(url, "/").map_err(told)?.ask(&["overview"]).await.map_err(told)?;
    if !response.status().is_success() {
        return Err(Silent::Unexpected(response.status().to_string()).to_string());
    }
    let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let clock = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(Timestamp::from);
    let seen: OverviewSeen = response.json().await.map_err(|error| error.without_url().to_string())?;
    Ok(Overview { version: seen.rabbitmq_version, clock })
}

/// A JSON object; some versions write an empty one as an empty list.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Value")]
pub(super) struct Lenient(pub(super) Map<String, Value>);

impl From<Value> for Lenient {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Self::default()
            }
        }
    }
}

/// Asks the API about the objects of one virtual host.
pub(super) struct Management<'a> {
    client: reqwest::Client,
    url: &'a ManagementUrl,
    vhost: &'a str,
}

impl<'a> Management<'a> {
    pub(super) fn new(url: &'a ManagementUrl, vhost: &'a str) -> Result<Self, Silent> {
        // Whoever comes first installs it; that somebody has is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(BROKER_ANSWER_TIMEOUT)
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Silent::Unreachable(error.without_url().to_string()))?;
        Ok(Self { client, url, vhost })
    }

    pub(super) async fn queue(&self, name: &str) -> Result<Option<QueueSeen>, Silent> {
        self.get(&["queues", self.vhost, name]).await
    }

    pub(super) async fn bindings_of(&self, queue: &str) -> Result<Vec<BindingSeen>, Silent> {
        Ok(self.get(&["queues", self.vhost, queue, "bindings"]).await?.unwrap_or_default())
    }

    /// The bindings that lead away from an exchange.
    pub(super) async fn bindings_from(&self, exchange: &str) -> Result<Vec<BindingSeen>, Silent> {
        Ok(self.get(&["exchanges", self.vhost, exchange, "bindings", "source"]).await?.unwrap_or_default())
    }

    pub(super) async fn exchange(&self, name: &str) -> Result<Option<ExchangeSeen>, Silent> {
        self.get(&["exchanges", self.vhost, name]).await
    }

    pub(super) async fn policy(&self, name: &str) -> Result<Option<PolicySeen>, Silent> {
        self.get(&["policies", self.vhost, name]).await
    }

    async fn ask(&self, path: &[&str]) -> Result<reqwest::Response, Silent> {
        let mut url = self.url.url.clone();
        url.path_segments_mut()
            .map_err(|()| Silent::Unreachable("the URL has no path".to_owned()))?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let request =
            self.client.get(url).basic_auth(&self.url.user, Some(self.url.password.expose_secret()));
        let unreachable = |error: reqwest::Error| Silent::Unreachable(error.without_url().to_string());
        request.send().await.map_err(unreachable)
    }

    /// `None` if there is no such object.
    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, Silent> {
        let response = self.ask(path).await?;
        match response.status() {
            http::StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = response.json().await;
                body.map(Some).map_err(|error| Silent::Unexpected(error.without_url().to_string()))
            }
            status => Err(Silent::Unexpected(status.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_taken_out_of_the_url() {
        let url =
            ManagementUrl::parse(&SecretString::from("http://op:p%40ss+1@mq.example:15672/rabbit/")).unwrap();
        assert_eq!(url.user, "op");
        assert_eq!(url.password.expose_secret(), "p@ss+1");
        assert_eq!(url.to_string(), "http://mq.example:15672/rabbit/");
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for text in ["", "mq:15672", "ftp://u:s3cret@mq", "http://"] {
            assert!(!ManagementUrl::parse(&SecretString::from(text)).unwrap_err().contains("s3cret"));
        }
    }
}
