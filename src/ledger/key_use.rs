//! What both ledgers share about keys that are in use: the same document is known, another one is refused.

use super::{Accepted, NewCall};
use crate::call::{CallId, KeyUse, Submission};

impl Accepted {
    /// What a document is under a key that stands for the call `id`, made of the document with this fingerprint.
    pub(super) fn of(key_use: &KeyUse, id: CallId, fingerprint: &[u8]) -> Self {
        if fingerprint == key_use.fingerprint { Self::Known(id) } else { Self::KeyReused(id) }
    }
}

impl NewCall {
    /// Its document under its key.
    pub(super) fn key_use(&self) -> KeyUse {
        let Submission { publisher, fingerprint, .. } = &self.submission;
        KeyUse { publisher: publisher.clone(), key: self.key(), fingerprint: *fingerprint }
    }
}
