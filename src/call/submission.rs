//! What a publisher hands over, once it has been read and found valid.

use url::Url;

use super::{EndpointName, Entity, IdempotencyKey, Mode, ProviderName, Publisher, Request, TagKey};
use crate::clock::Timestamp;

/// A valid submission; `intake` makes it from a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Who hands it over.
    pub publisher: Publisher,
    /// The publisher's name for it; without one, the call's id serves.
    pub idempotency_key: Option<IdempotencyKey>,
    /// SHA-256 over the document in canonical form: equal for JSON-equal documents.
    pub fingerprint: [u8; 32],
    /// The third-party interface.
    pub endpoint: EndpointName,
    /// The request to make.
    pub request: Request,
    /// The publisher has tried already.
    pub failure: Option<Failure>,
    /// No attempt before this.
    pub not_before: Option<Timestamp>,
    /// To review as expired if not finished by then.
    pub deadline: Option<Timestamp>,
    /// The thing of which only the newest version matters.
    pub entity: Option<Entity>,
    /// The publisher's labels.
    pub tags: Vec<(TagKey, String)>,
    /// Where the outcome is posted.
    pub callback_url: Option<Url>,
    /// W3C `traceparent` that came with it.
    pub trace_parent: Option<String>,
    /// The provider that it is to go to.
    pub provider: Option<ProviderName>,
    /// Whether its requests are to leave.
    pub mode: Mode,
}

/// A document and the key that its publisher gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Who gave it.
    pub publisher: Publisher,
    /// The key.
    pub key: IdempotencyKey,
    /// The document, as [`Submission::fingerprint`].
    pub fingerprint: [u8; 32],
}

/// A failure that the publisher met before it handed the call over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub occurred_at: Option<Timestamp>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, in the publisher's words.
    pub error: Option<String>,
    /// The publisher does not know whether the call took effect.
    pub ambiguous: bool,
    /// How often the publisher tried.
    pub attempts: Option<u32>,
}
