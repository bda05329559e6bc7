//! The names that calls are known by, each parsed once and valid ever after.

use std::fmt;
use std::sync::Arc;

use crate::limits::{ENDPOINT_NAME_BYTES_MAX, NAME_BYTES_MAX, TAG_KEY_BYTES_MAX};

/// Why a text is no name; the sentence says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub(crate) String);

/// Declares a name type: shared text behind a private field, made only by `parse`.
macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $check:path) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads the name.
            ///
            /// # Errors
            /// A sentence that says what is allowed.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as shared text, for labels that outlive this value.
            pub const fn shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// A configured endpoint: `[a-z0-9][a-z0-9-]{0,62}`.
    EndpointName, check_endpoint
}
name_type! {
    /// Who handed a call over: an AMQP `app_id`, or the name of an HTTP token.
    Publisher, check_printable
}
name_type! {
    /// A publisher's own name for a call, 1 to 255 visible ASCII characters (it travels in an HTTP header).
    IdempotencyKey, check_key
}
name_type! {
    /// The thing that a call carries a version of, 1 to 255 bytes.
    EntityKey, check_printable
}
name_type! {
    /// The key of a tag: `[A-Za-z0-9_.-]{1,64}`.
    TagKey, check_tag_key
}
name_type! {
    /// One of several vendors behind an endpoint: `[a-z0-9][a-z0-9-]{0,62}`.
    ProviderName, check_endpoint
}
name_type! {
    /// A worker process, as it appears in attempts and logs.
    WorkerName, check_printable
}

impl Publisher {
    /// The publisher of a submission that names none.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

impl From<crate::call::CallId> for IdempotencyKey {
    /// A call without a key of its own is known by its id.
    fn from(id: crate::call::CallId) -> Self {
        Self(id.to_string().into())
    }
}

impl IdempotencyKey {
    /// A key that the third party has not seen: this one, marked with the revision that asked for it.
    #[must_use]
    pub fn renewed(&self, revision: crate::call::Revision) -> Self {
        let mark = format!("~{}", revision.get());
        let kept = &self.0[..self.0.len().min(NAME_BYTES_MAX - mark.len())];
        Self(format!("{kept}{mark}").into())
    }
}

fn check_endpoint(text: &str) -> Result<(), NameError> {
    let lower_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = text.len() <= ENDPOINT_NAME_BYTES_MAX
        && text.bytes().next().is_some_and(lower_or_digit)
        && text.bytes().all(|byte| lower_or_digit(byte) || byte == b'-');
    if fits { Ok(()) } else { refuse("must match [a-z0-9][a-z0-9-]{0,62}") }
}

fn check_printable(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return refuse("must be 1 to 255 bytes long");
    }
    if text.chars().any(char::is_control) {
        return refuse("must not contain control characters");
    }
    Ok(())
}

fn check_key(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return refuse("must be 1 to 255 bytes long");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') || text.trim() != text {
        return refuse("must be printable ASCII without leading or trailing spaces: it is sent in a header");
    }
    Ok(())
}

fn check_tag_key(text: &str) -> Result<(), NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let fits = (1..=TAG_KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
    if fits { Ok(()) } else { refuse("must match [A-Za-z0-9_.-]{1,64}") }
}

fn refuse(sentence: &str) -> Result<(), NameError> {
    Err(NameError(sentence.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_names_are_dns_labels_in_lower_case() {
        for name in ["sms", "0", "a-b", "a-", &"a".repeat(63)] {
            assert!(EndpointName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "A", "a.b", "a_b", "a b", "ä", &"a".repeat(64)] {
            assert!(EndpointName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_fit_into_a_header() {
        assert!(IdempotencyKey::parse(&"k".repeat(255)).is_ok());
        for key in ["", &"k".repeat(256), "a\nb", "a\0", " a", "ключ"] {
            assert!(IdempotencyKey::parse(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_renewed_key_differs_and_still_fits() {
        let key = IdempotencyKey::parse(&"k".repeat(255)).unwrap();
        let renewed = key.renewed(crate::call::Revision::new(12));
        assert!(renewed != key && IdempotencyKey::parse(renewed.as_str()).is_ok());
    }
}
