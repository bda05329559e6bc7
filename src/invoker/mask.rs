//! Masks what a third party echoes of an endpoint's secrets, so that no secret reaches the attempt log.

use secrecy::ExposeSecret as _;

use crate::call::request::REDACTED;
use crate::endpoint::{BaseUrl, Endpoint};

/// Values shorter than this are not masked: they are guessed sooner than found, and a configured `x-tenant: 7` must not blot
/// out every 7 of an answer.
const SECRET_BYTES_MIN: usize = 8;

/// The secrets of one endpoint: each configured header's value, what follows a scheme such as `Bearer`, and what of the base URL is secret.
#[derive(Debug)]
pub(super) struct Mask<'a> {
    /// Longest first, so that a whole value is masked before a part of it is.
    secrets: Vec<&'a str>,
}

impl<'a> Mask<'a> {
    /// The mask of an endpoint; empty if it has no secrets.
    pub(super) fn new(endpoint: &'a Endpoint) -> Self {
        let headers = endpoint.headers.iter().map(|(_, secret)| secret.expose_secret());
        Self::of(headers.chain(endpoint.destination.base_url().into_iter().flat_map(BaseUrl::secrets)))
    }

    fn of(values: impl Iterator<Item = &'a str>) -> Self {
        let mut secrets: Vec<&str> = values
            .map(str::trim)
            .flat_map(|value| [Some(value), value.split_once(' ').map(|(_scheme, token)| token.trim())])
            .flatten()
            .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
            .collect();
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// How many bytes beyond a cut must be looked at, so that a secret that the cut goes through is recognised.
    pub(super) fn reach(&self) -> usize {
        self.secrets.first().map_or(0, |longest| longest.len())
    }

    /// The first `kept` bytes with every secret that begins in them replaced; the result is at most `kept` bytes long. `None`:
    /// there is nothing to replace.
    pub(super) fn masked(&self, bytes: &[u8], kept: usize) -> Option<Vec<u8>> {
        let (mut from, first) = self.find(bytes, 0, kept)?;
        let mut masked = Vec::with_capacity(kept.min(bytes.len()));
        let (mut copied, mut length) = (0, first);
        loop {
            masked.extend_from_slice(&bytes[copied..from]);
            masked.extend_from_slice(REDACTED.as_bytes());
            copied = from + length;
            match self.find(bytes, copied, kept) {
                Some(next) => (from, length) = next,
                None => break,
            }
        }
        masked.extend_from_slice(bytes.get(copied..kept.min(bytes.len())).unwrap_or_default());
        masked.truncate(kept);
        Some(masked)
    }

    /// A header value with every secret replaced.
    pub(super) fn text(&self, text: String) -> String {
        match self.masked(text.as_bytes(), usize::MAX) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => text,
        }
    }

    /// The first secret that begins at or after `from` and before `before`: its place and length.
    fn find(&self, bytes: &[u8], from: usize, before: usize) -> Option<(usize, usize)> {
        let found = |secret: &&str| {
            let place = from + position(bytes.get(from..)?, secret.as_bytes())?;
            (place < before).then_some((place, secret.len()))
        };
        // Of two that begin at the same place the longer one comes first in the list, and `min_by_key` keeps the first.
        self.secrets.iter().filter_map(found).min_by_key(|(place, _)| *place)
    }
}

/// Where a text begins in bytes.
fn position(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    let mut from = 0;
    while let Some(step) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        let place = from + step;
        if bytes[place..].starts_with(text) {
            return Some(place);
        }
        from = place + 1;
    }
    None
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
}
