//! A small client of the API: one request, one answer, refusals as errors.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::header::LOCATION;
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::documents::Document;
use super::trouble::{Refusal, Result, Trouble};

/// Longer than `Prefer: wait` may ask for.
const PATIENCE: Duration = Duration::from_secs(75);
/// Longest token, in bytes: a file named by mistake is no token.
const TOKEN_BYTES_MAX: u64 = 4 * 1024;

/// Which server, and in whose name.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The server
    #[arg(
        long,
        env = "REDIAL_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        global = true,
        help_heading = "Server"
    )]
    pub server: String,
    /// The token, or <file:/path> of a file that holds it
    #[arg(
        long,
        env = "REDIAL_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true,
        help_heading = "Server"
    )]
    pub token: Option<String>,
    /// Print the API's documents, unchanged, in place of tables
    #[arg(long, global = true, help_heading = "Server")]
    pub json: bool,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

/// An answer that is no refusal.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Where what was made is to be found, if something was made.
    pub location: Option<String>,
    /// The body.
    pub text: String,
}

/// The parameters of a list.
pub type Query = Vec<(String, String)>;

impl Server {
    /// The server of these arguments.
    ///
    /// # Errors
    /// The URL is none, the token cannot be read, or no TLS could be set up.
    pub fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let base = Url::parse(&args.server).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| {
            Trouble::Usage(format!("the server is {:?}; it must be like http://127.0.0.1:8080", args.server))
        })?;
        let token = args.token.as_deref().filter(|token| !token.is_empty()).map(read_token).transpose()?;
        Ok(Self { http: super::super::http::client(PATIENCE)?, base, token })
    }

    /// The server's URL, as it may be shown.
    pub fn name(&self) -> String {
        let mut url = self.base.clone();
        // A URL of http and https always takes both.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// What is at a path, given as its segments.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn get(&self, path: &[&str], query: &Query) -> Result<Answer> {
        self.send(self.request(Method::GET, path)?.query(query)).await
    }

    /// The answer to a document.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn post(&self, path: &[&str], document: &impl Serialize) -> Result<Answer> {
        self.send(self.request(Method::POST, path)?.json(document)).await
    }

    /// A request with the token.
    ///
    /// # Errors
    /// The server's URL can have no path.
    pub fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Trouble::Usage("the server must be a URL with a host".to_owned()))?
            .pop_if_empty()
            .extend(path);
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    /// Sends a request, reads the answer.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let unreachable =
            |error: reqwest::Error| Trouble::Unreachable { server: self.name(), why: innermost(error) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(str::to_owned);
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() {
            Ok(Answer { status: status.as_u16(), location, text })
        } else {
            Err(Trouble::Refused(Box::new(Refusal::new(status.as_u16(), text))))
        }
    }
}

impl Answer {
    /// The document, read.
    ///
    /// # Errors
    /// It is another document than expected.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| {
            Trouble::NotUnderstood(format!("the server's answer cannot be read as a Redial's would: {error}"))
        })
    }

    /// The document, if it is one of a Redial.
    ///
    /// # Errors
    /// It cannot be read, or lacks what such a document always has.
    pub fn document<T: Document>(&self) -> Result<T> {
        self.expect::<T>()?;
        self.read()
    }

    /// Whether it is such a document, for those who pass it on unread.
    ///
    /// # Errors
    /// It is none, or lacks what such a document always has.
    pub fn expect<T: Document>(&self) -> Result<()> {
        let present: BTreeMap<String, Box<RawValue>> = self.read()?;
        let missing = T::MEMBERS.iter().find(|member| !present.contains_key(**member));
        missing.map_or(Ok(()), |member| Err(Trouble::no_member(member)))
    }
}

/// The cause of an HTTP library's error says more than its own words, which repeat the URL.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn read_token(typed: &str) -> anyhow::Result<SecretString> {
    use std::io::Read as _;

    let Some(path) = typed.strip_prefix("file:") else { return Ok(typed.into()) };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Trouble::Usage(error.to_string()))
        .with_context(|| format!("the token cannot be read from {path}"))?;
    Ok(text.trim().into())
}
