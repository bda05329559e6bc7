//! Cursors of lists: where a page ended, bound to the filter it was made with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::call::CallId;

/// Bytes of the checksum: enough that a typo or another filter's cursor does not pass.
const CHECKSUM_BYTES: usize = 8;

/// The cursor after `last` in a list with this filter (any text that stands for it).
pub fn write(last: CallId, filter: &str) -> String {
    seal(last.uuid().as_bytes(), filter)
}

/// The cursor after a place of whatever kind.
pub fn seal(place: &[u8], filter: &str) -> String {
    let mut bytes = place.to_vec();
    bytes.extend_from_slice(&checksum(place, filter));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The call after which a list goes on; `None` if the cursor was not made by [`write()`] for this filter.
pub fn read(cursor: &str, filter: &str) -> Option<CallId> {
    open::<16>(cursor, filter).map(|id| CallId::from_uuid(Uuid::from_bytes(id)))
}

/// The place after which a list goes on; `None` if the cursor was not made by [`seal`] for this filter.
pub fn open<const LENGTH: usize>(cursor: &str, filter: &str) -> Option<[u8; LENGTH]> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (place, check) = bytes.split_at_checked(LENGTH)?;
    (check == checksum(place, filter)).then(|| place.try_into().ok()).flatten()
}

fn checksum(place: &[u8], filter: &str) -> [u8; CHECKSUM_BYTES] {
    let digest =
        Sha256::new().chain_update(b"redial-cursor").chain_update(place).chain_update(filter).finalize();
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_nothing_else_does() {
        let id = CallId::generate();
        let cursor = write(id, "status=review");
        assert_eq!(read(&cursor, "status=review"), Some(id));
        assert_eq!(read(&cursor, ""), None);
        let tampered: String = cursor.chars().rev().collect();
        for other in ["", "AAAA", &tampered, &format!("{cursor}AA")] {
            assert_eq!(read(other, "status=review"), None, "{other}");
        }
    }
}
