//! How a third party reports results by itself: who may, which call is meant, what it says. No I/O.

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::rule::Rules;
use super::template::{Template, Variables};
use crate::call::{CallId, IdempotencyKey, Ruling, TagKey, named};

/// How a third party reports results by itself.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// How it proves that it is the third party.
    pub proof: Proof,
    /// What names the call, filled in from the message.
    pub call: Template,
    /// What that is of the call.
    pub by: Handle,
    /// What the message says. Where no rule holds, nothing.
    pub rules: Rules<Report>,
}

/// How a third party proves that a message is its own.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A secret in a header, by itself or after `Bearer`.
    Token {
        /// The header.
        header: http::HeaderName,
        /// The secret.
        secret: SecretString,
    },
    /// HMAC-SHA256 of the message's body, in a header.
    Signature {
        /// The header.
        header: http::HeaderName,
        /// The key.
        secret: SecretString,
        /// How the 32 bytes are written.
        encoding: SignatureEncoding,
        /// What stands before them, as in `sha256=`.
        prefix: String,
    },
}

named! {
    /// How a signature is written.
    SignatureEncoding {
        /// 64 hexadecimal digits.
        Hex = "hex",
        /// Base64 with padding.
        Base64 = "base64",
    }
}

/// By what a message names its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    /// By the idempotency key that went out.
    IdempotencyKey,
    /// By the call's id.
    Call,
    /// By the value of one of its tags.
    Tag(TagKey),
}

impl Handle {
    /// Reads `idempotency_key`, `call` or `tag:<name>`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "idempotency_key" => Some(Self::IdempotencyKey),
            "call" => Some(Self::Call),
            _ => TagKey::parse(text.strip_prefix("tag:")?).ok().map(Self::Tag),
        }
    }
}

/// The call that a message means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// The one with this id.
    Call(CallId),
    /// The one that this key went out with.
    Key(IdempotencyKey),
    /// The one with this tag.
    Tag(TagKey, String),
}

named! {
    /// What a message says of its call.
    Report {
        /// It was carried out.
        Done = "done",
        /// It was not, and never will be.
        Failed = "failed",
        /// Nothing yet.
        Unknown = "unknown",
    }
}

impl Reporting {
    /// Whether the message proves to be the third party's. Takes as long for a proof that is nearly right as for any other.
    pub fn is_proved(&self, header: impl Fn(&http::HeaderName) -> Option<Vec<u8>>, body: &[u8]) -> bool {
        match &self.proof {
            Proof::Token { header: name, secret } => header(name).is_some_and(|given| {
                let given = given.strip_prefix(b"Bearer ").unwrap_or(&given);
                digest(b"", given).ct_eq(&digest(b"", secret.expose_secret().as_bytes())).into()
            }),
            Proof::Signature { header: name, secret, encoding, prefix } => {
                let given =
                    header(name).and_then(|given| encoding.read(given.strip_prefix(prefix.as_bytes())?));
                let right = digest(secret.expose_secret().as_bytes(), body);
                given.is_some_and(|given| given.as_slice().ct_eq(&right).into())
            }
        }
    }

    /// The call that the message means.
    ///
    /// # Errors
    /// A sentence: the template cannot be filled in, or what comes of it can name no call.
    pub fn meant(&self, body: &[u8], headers: &[(String, String)]) -> Result<Meant, String> {
        let name = self.call.render(&Variables::of_message(body, headers))?;
        match &self.by {
            Handle::Call => {
                CallId::parse(&name).map(Meant::Call).ok_or_else(|| format!("{name:?} is no call's id"))
            }
            Handle::IdempotencyKey => IdempotencyKey::parse(&name)
                .map(Meant::Key)
                .map_err(|error| format!("an idempotency key {error}")),
            Handle::Tag(key) => Ok(Meant::Tag(key.clone(), name)),
        }
    }

    /// What the message says.
    pub fn read(&self, body: &[u8], headers: &[(String, String)]) -> (Report, Ruling) {
        let (report, ruling) = self.rules.decide_message(body, headers);
        (report.unwrap_or(Report::Unknown), ruling)
    }
}

impl SignatureEncoding {
    fn read(self, text: &[u8]) -> Option<Vec<u8>> {
        use base64::Engine as _;
        match self {
            Self::Base64 => base64::engine::general_purpose::STANDARD.decode(text).ok(),
            Self::Hex => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
                if text.len().is_multiple_of(2) { text.chunks_exact(2).map(pair).collect() } else { None }
            }
        }
    }
}

/// HMAC-SHA256.
fn digest(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length will do.
    Hmac::<Sha256>::new_from_slice(key)
        .map_or([0; 32], |mac| mac.chain_update(message).finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::super::rule::Rule;
    use super::*;

    fn reporting(proof: Proof, call: &str, by: &str) -> Reporting {
        Reporting {
            proof,
            call: Template::parse_for_message(call).unwrap(),
            by: Handle::parse(by).unwrap(),
            rules: Rules::new(
                "callback.rules",
                vec![Rule::about_messages("body.state == 'ok'", Report::Done).unwrap()],
            ),
        }
    }

    fn token() -> Proof {
        Proof::Token { header: http::HeaderName::from_static("x-token"), secret: "hunter2-hunter2".into() }
    }

    #[test]
    fn only_the_right_token_is_a_proof() {
        let reporting = reporting(token(), "{{ body.id }}", "idempotency_key");
        for (given, proved) in [
            (Some("hunter2-hunter2"), true),
            (Some("Bearer hunter2-hunter2"), true),
            (Some("hunter2-hunter3"), false),
            (Some("hunter2-hunter2 "), false),
            (Some(""), false),
            (None, false),
        ] {
            let header = |_: &http::HeaderName| given.map(|given| given.as_bytes().to_vec());
            assert_eq!(reporting.is_proved(header, b""), proved, "{given:?}");
        }
    }

    #[test]
    fn only_a_signature_of_this_body_under_this_key_is_a_proof() {
        // RFC 4231, test case 2.
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let base64 = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
        let body = b"what do ya want for nothing?";
        for (encoding, prefix, given, proved) in [
            (SignatureEncoding::Hex, "", hex.to_owned(), true),
            (SignatureEncoding::Hex, "sha256=", format!("sha256={hex}"), true),
            (SignatureEncoding::Hex, "sha256=", hex.to_owned(), false),
            (SignatureEncoding::Hex, "", hex.to_uppercase(), true),
            (SignatureEncoding::Hex, "", hex[..62].to_owned(), false),
            (SignatureEncoding::Hex, "", format!("{}z", &hex[..63]), false),
            (SignatureEncoding::Base64, "", base64.to_owned(), true),
            (SignatureEncoding::Base64, "", hex.to_owned(), false),
            (SignatureEncoding::Hex, "", String::new(), false),
        ] {
            let header = http::HeaderName::from_static("x-signature");
            let proof =
                Proof::Signature { header, secret: "Jefe".into(), encoding, prefix: prefix.to_owned() };
            let reporting = reporting(proof, "{{ body.id }}", "call");
            let given_header = |_: &http::HeaderName| Some(given.clone().into_bytes());
            assert_eq!(reporting.is_proved(given_header, body), proved, "{given}");
            assert!(!reporting.is_proved(given_header, b"another body"));
        }
    }

    #[test]
    fn a_message_names_its_call() {
        let id = CallId::generate();
        let body = format!(r#"{{"id": "{id}", "order": 7, "state": "ok"}}"#);
        let meant = |call: &str, by: &str| reporting(token(), call, by).meant(body.as_bytes(), &[]);
        assert_eq!(meant("{{ body.id }}", "call"), Ok(Meant::Call(id)));
        assert_eq!(
            meant("o-{{ body.order }}", "idempotency_key"),
            Ok(Meant::Key(IdempotencyKey::parse("o-7").unwrap()))
        );
        assert_eq!(
            meant("{{ body.order }}", "tag:order"),
            Ok(Meant::Tag(TagKey::parse("order").unwrap(), "7".to_owned()))
        );
        assert!(meant("{{ body.missing }}", "call").is_err() && meant("{{ body.order }}", "call").is_err());
        assert!(Handle::parse("tag:").is_none() && Handle::parse("order").is_none());
        let (report, ruling) = reporting(token(), "x", "call").read(body.as_bytes(), &[]);
        assert_eq!(
            (report, ruling.rule.as_deref()),
            (Report::Done, Some("callback.rules[0]: body.state == 'ok'"))
        );
        assert_eq!(reporting(token(), "x", "call").read(b"{}", &[]).0, Report::Unknown);
    }
}
