//! Masks what a third party echoes of an endpoint's secrets, so that no secret reaches the attempt log.
//!
//! An echo may stand in a JSON text, in a URL, or in base64: a secret is found in each of these spellings, and in one inside of another.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;

use crate::call::request::REDACTED;
use crate::endpoint::{BaseUrl, Endpoint};

/// Values shorter than this are not masked: they are guessed sooner than found, and a configured `x-tenant: 7` must not blot
/// out every 7 of an answer.
const SECRET_BYTES_MIN: usize = 8;

/// The longest way to spell a byte: `\u0022`.
const SPELLING_BYTES_MAX: usize = 6;

/// The secrets of one endpoint: each configured header's value, what follows a scheme such as `Bearer`, and what of the base URL is secret.
#[derive(Debug)]
pub(super) struct Mask {
    /// As they are and in base64. Longest first, so that a whole value is masked before a part of it is.
    secrets: Vec<Vec<u8>>,
    /// The bytes that a spelling of one of them begins with, so that most places need only one look.
    begins: [bool; 256],
}

impl Mask {
    /// The mask of an endpoint; empty if it has no secrets.
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let headers = endpoint.headers.iter().map(|(_, secret)| secret.expose_secret());
        Self::of(headers.chain(endpoint.destination.base_url().into_iter().flat_map(BaseUrl::secrets)))
    }

    fn of<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut secrets: Vec<Vec<u8>> = values
            .map(str::trim)
            .flat_map(|value| [Some(value), value.split_once(' ').map(|(_scheme, token)| token.trim())])
            .flatten()
            .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
            .flat_map(|secret| {
                std::iter::once(secret.as_bytes().to_vec()).chain(in_base64(secret.as_bytes()))
            })
            .collect();
        secrets.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        let mut begins = [false; 256];
        for first in secrets.iter().filter_map(|secret| secret.first()).chain(b"\\%") {
            begins[usize::from(*first)] = true;
        }
        Self { secrets, begins }
    }

    /// How many bytes beyond a cut must be looked at, so that a secret that the cut goes through is recognised.
    pub(super) fn reach(&self) -> usize {
        self.secrets.first().map_or(0, |longest| longest.len() * SPELLING_BYTES_MAX)
    }

    /// The first `kept` bytes with every secret that begins in them replaced; the result is at most `kept` bytes long. `None`:
    /// there is nothing to replace.
    pub(super) fn masked(&self, bytes: &[u8], kept: usize) -> Option<Vec<u8>> {
        if self.secrets.is_empty() {
            return None;
        }
        let kept = kept.min(bytes.len());
        let mut masked = Vec::new();
        let (mut copied, mut place) = (0, 0);
        while place < kept {
            let Some(length) = self.found_at(&bytes[place..]) else {
                place += 1;
                continue;
            };
            masked.extend_from_slice(&bytes[copied..place]);
            masked.extend_from_slice(REDACTED.as_bytes());
            place += length;
            copied = place;
        }
        if copied == 0 {
            return None;
        }
        masked.extend_from_slice(bytes.get(copied..kept).unwrap_or_default());
        masked.truncate(kept);
        Some(masked)
    }

    /// A header value with every secret replaced.
    pub(super) fn text(&self, text: String) -> String {
        // What stands for a secret may be longer than it: nothing is cut off for that.
        match self.masked(text.as_bytes(), usize::MAX) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => text,
        }
    }

    /// How many bytes the secret takes that these bytes begin with.
    fn found_at(&self, bytes: &[u8]) -> Option<usize> {
        if !self.begins[usize::from(*bytes.first()?)] {
            return None;
        }
        self.secrets.iter().find_map(|secret| spelled_at(bytes, secret))
    }
}

/// What a text always looks like inside of something in base64: three ways, one for each place that it can have in a group of three
/// bytes. Characters that also hold bits of what stands around it are left out.
fn in_base64(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..3).flat_map(move |before| {
        let bytes = [&[0; 2][..before], text].concat();
        let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
            .map(|encoded| encoded.as_bytes()[own.clone()].to_vec())
    })
}

/// How many bytes a text takes that these bytes begin with, as it is or with some of it escaped.
fn spelled_at(bytes: &[u8], text: &[u8]) -> Option<usize> {
    if bytes.starts_with(text) {
        return Some(text.len());
    }
    text.iter().try_fold(0, |length, byte| Some(length + spelling(bytes.get(length..)?, *byte)?))
}

/// How many bytes the spelling of one byte takes that these bytes begin with: in JSON, in a URL, or plain.
fn spelling(bytes: &[u8], byte: u8) -> Option<usize> {
    match bytes {
        [b'\\', b'u', b'0', b'0', high, low, ..] if hex(*high, *low) == Some(byte) => Some(6),
        [b'\\', escaped, ..] if *escaped == byte && matches!(byte, b'"' | b'\\' | b'/') => Some(2),
        [b'%', high, low, ..] if hex(*high, *low) == Some(byte) => Some(3),
        [b'+', ..] if byte == b' ' => Some(1),
        [plain, ..] if *plain == byte => Some(1),
        _ => None,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], text: &str, kept: usize) -> String {
        let mask = Mask::of(secrets.iter().copied());
        let masked = mask.masked(text.as_bytes(), kept);
        String::from_utf8(masked.unwrap_or_else(|| text.as_bytes()[..kept.min(text.len())].to_vec())).unwrap()
    }

    #[test]
    fn a_token_is_masked_with_and_without_its_scheme() {
        let secret = "Bearer abcdefgh-12345678";
        for (text, shown) in [
            ("you sent Bearer abcdefgh-12345678!", "you sent [redacted]!"),
            ("token=abcdefgh-12345678&token=abcdefgh-12345678", "token=[redacted]&token=[redacted]"),
            ("abcdefgh-1234567", "abcdefgh-1234567"),
            ("", ""),
        ] {
            assert_eq!(masked(&[secret], text, 1000), shown);
        }
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(masked(&["7", "Bearer x"], "code 7 x", 1000), "code 7 x");
    }

    #[test]
    fn a_secret_that_the_cut_goes_through_is_masked_as_well() {
        for kept in 0..30 {
            let shown = masked(&["secret-secret"], "0123456789secret-secret", kept);
            assert!(shown.len() <= kept && !shown.contains('s'), "{kept}: {shown}");
        }
    }

    #[test]
    fn overlapping_secrets_leave_nothing() {
        assert_eq!(masked(&["aaaaaaaa", "aaaaaaaabbbb"], "xaaaaaaaabbbbx", 100), "x[redacted]x");
    }

    #[test]
    fn a_secret_is_found_however_it_is_spelled() {
        let secret = r#"to/ken"+\%22 x~"#;
        for echo in [
            secret,
            r#"to/ken\"+\\%22 x~"#,
            r"to\/ken\u0022\u002B\u005c%22 x\u007E",
            "to%2Fken%22%2b%5C%2522+x%7E",
            "to%2fken%22%2B%5c%2522%20x~",
            "%74%6F%2F%6B%65%6E%22%2B%5C%25%32%32%20%78%7E",
        ] {
            assert_eq!(masked(&[secret], &format!("a{echo}b"), 1000), "a[redacted]b", "{echo}");
        }
        assert_eq!(masked(&[secret], r#"to\/ken"+\%2"#, 1000), r#"to\/ken"+\%2"#);
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_stands() {
        let secret = "??>>secret-key~~";
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "z", "zy", "zyx"] {
                let echo = format!("{before}{secret}{after}");
                for encoded in [STANDARD_NO_PAD.encode(&echo), URL_SAFE_NO_PAD.encode(&echo)] {
                    let shown = masked(&[secret], &encoded.replace('/', "\\/"), 1000);
                    let (first, last) = shown.split_once(REDACTED).unwrap_or_else(|| panic!("{encoded}"));
                    // At most one character on each side holds some of its bits beside those of what is around.
                    assert!(first.len() <= (before.len() * 8).div_ceil(6), "{encoded}: {shown}");
                    assert!(last.len() <= (after.len() * 8).div_ceil(6) + 1, "{encoded}: {shown}");
                }
            }
        }
    }
}
