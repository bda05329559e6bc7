//! Cursors of lists: where a page ended, sealed together with the filter it was made with. Nobody but this program makes one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::call::CallId;

/// Bytes of the tag that follows the place: half of HMAC-SHA-256, which RFC 2104 (section 5) calls enough.
const TAG_BYTES: usize = 16;

/// What cursors are sealed with. Processes that know the same tokens read each other's.
#[derive(Clone, Debug)]
pub struct Seal(Hmac<Sha256>);

impl Seal {
    /// A seal of these secrets. Without any, on loopback, everybody may look at everything anyway.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        let keyed = Hmac::new_from_slice(b"redial-cursor");
        let mut seal = keyed.unwrap_or_else(|_| unreachable!("a key may have any length"));
        secrets.into_iter().for_each(|secret| seal.update(secret));
        Self(seal)
    }

    /// The cursor after `last` in a list with this filter (any text that stands for it).
    pub fn write(&self, last: CallId, filter: &str) -> String {
        self.close(last.uuid().as_bytes(), filter)
    }

    /// The cursor after a place of whatever kind.
    pub fn close(&self, place: &[u8], filter: &str) -> String {
        let mut bytes = place.to_vec();
        bytes.extend_from_slice(&self.over(place, filter).finalize().into_bytes()[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The call after which a list goes on; `None` if the cursor was not made by [`Self::write`] for this filter.
    pub fn read(&self, cursor: &str, filter: &str) -> Option<CallId> {
        self.open::<16>(cursor, filter).map(|id| CallId::from_uuid(Uuid::from_bytes(id)))
    }

    /// The place after which a list goes on; `None` if the cursor was not made by [`Self::close`] for this filter.
    pub fn open<const LENGTH: usize>(&self, cursor: &str, filter: &str) -> Option<[u8; LENGTH]> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (place, tag) = bytes.split_at_checked(LENGTH)?;
        let place: [u8; LENGTH] = place.try_into().ok()?;
        let is_ours = tag.len() == TAG_BYTES && self.over(&place, filter).verify_truncated_left(tag).is_ok();
        is_ours.then_some(place)
    }

    fn over(&self, place: &[u8], filter: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(place).chain_update(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_nothing_else_does() {
        let (seal, id) = (Seal::new([&[7; 32]]), CallId::generate());
        let cursor = seal.write(id, "status=review");
        assert_eq!(seal.read(&cursor, "status=review"), Some(id));
        assert_eq!(seal.read(&cursor, ""), None);
        let tampered: String = cursor.chars().rev().collect();
        for other in ["", "AAAA", &tampered, &format!("{cursor}AA"), &cursor[..cursor.len() - 2]] {
            assert_eq!(seal.read(other, "status=review"), None, "{other}");
        }
    }

    #[test]
    fn only_who_knows_the_tokens_makes_a_cursor() {
        let id = CallId::generate();
        let cursor = Seal::new([&[7; 32]]).write(id, "");
        assert_eq!(Seal::new([&[7; 32]]).read(&cursor, ""), Some(id), "another process with the same tokens");
        assert_eq!(Seal::new([&[8; 32]]).read(&cursor, ""), None);
        assert_eq!(Seal::new([]).read(&cursor, ""), None);
    }
}
