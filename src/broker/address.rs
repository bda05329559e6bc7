//! Where RabbitMQ is: `amqp://` or `amqps://`, never shown with its password.

use std::fmt;

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};

use crate::limits::{BROKER_CONNECT_TIMEOUT, BROKER_HEARTBEAT};

/// The address of a broker with user, password and virtual host.
#[derive(Clone)]
pub struct Address(AMQPUri);

impl Address {
    /// Reads `amqp://user:password@host:port/vhost` or `amqps://…`.
    ///
    /// # Errors
    /// A sentence that says what is allowed; it does not repeat the text, which may hold a password.
    pub fn parse(url: &SecretString) -> Result<Self, String> {
        let text = url.expose_secret();
        if !(text.starts_with("amqp://") || text.starts_with("amqps://")) {
            return Err("must begin with amqp:// or amqps://".to_owned());
        }
        let mut uri: AMQPUri =
            text.parse().map_err(|_| "must be like amqp://user:password@host:5672/vhost".to_owned())?;
        if uri.vhost.is_empty() {
            // By the letter of the scheme a lone slash names the vhost "", which nobody has and many write.
            "/".clone_into(&mut uri.vhost);
        }
        let heartbeat = u16::try_from(BROKER_HEARTBEAT.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(heartbeat);
        let timeout_ms = u64::try_from(BROKER_CONNECT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        uri.query.connection_timeout.get_or_insert(timeout_ms);
        Ok(Self(uri))
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    /// What the client library connects to.
    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

/// Scheme, host, port and virtual host; no user and no password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.0;
        write!(f, "{scheme}://{}:{} vhost {vhost}", authority.host, authority.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(&SecretString::from(text))
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = parse("amqp://redial:s3cret@mq.example:5673/shop").unwrap();
        assert_eq!(address.to_string(), "amqp://mq.example:5673 vhost shop");
        assert!(!format!("{address:?}").contains("s3cret"));
    }

    #[test]
    fn a_missing_vhost_and_a_lone_slash_name_the_default_one() {
        for text in ["amqp://localhost", "amqp://localhost/", "amqp://localhost/%2f"] {
            assert_eq!(parse(text).unwrap().vhost(), "/", "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in ["", "mq.example", "http://u:s3cret@mq", "amqp://u:s3cret@mq:99999/"] {
            let sentence = parse(text).unwrap_err();
            assert!(!sentence.contains("s3cret"), "{sentence}");
        }
    }
}
