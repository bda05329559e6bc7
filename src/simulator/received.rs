//! A request that was read to its end, and the key by which its repetitions are recognised.

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderName, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

/// How much of a request's body is kept; the rest is read and forgotten.
const BODY_KEPT_BYTES: usize = 64 * 1024;
/// A key longer than this is known by its hash.
const KEY_BYTES_MAX: usize = 255;

/// A request as it was seen, for looking at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// Its key.
    pub key: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    pub body: Bytes,
}

impl SeenRequest {
    /// The value of a header, name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A request that was read to its end.
#[derive(Debug)]
pub(super) struct Received {
    head: Parts,
    body: Bytes,
    key: String,
}

impl Received {
    /// Reads a request to its end. `None`: the client broke off.
    pub(super) async fn read(head: Parts, body: Incoming, key_header: &HeaderName) -> Option<Self> {
        let announced = head.headers.get(key_header).and_then(|key| key.to_str().ok());
        let known = announced.filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len())).map(str::to_owned);
        let mut hash = known.is_none().then(Sha256::new);
        let body = read_body(body, &mut hash).await?;
        let key = match (known, hash) {
            (Some(key), _) => key,
            (None, Some(hash)) => hashed_key(hash, announced, &head, &body),
            (None, None) => String::new(),
        };
        Some(Self { head, body, key })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn method(&self) -> &str {
        self.head.method.as_str()
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// For looking at.
    pub(super) fn seen(&self) -> SeenRequest {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = self.head.headers.iter();
        SeenRequest {
            key: self.key.clone(),
            method: self.method().to_owned(),
            target: self.uri().to_string(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
                .collect(),
            body: self.body.clone(),
        }
    }
}

/// Reads a body to its end, keeps its beginning, and feeds all of it to the hash if there is one.
async fn read_body(mut body: Incoming, hash: &mut Option<Sha256>) -> Option<Bytes> {
    let mut kept = Kept::Nothing;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.ok()?.into_data() else { continue };
        if let Some(hash) = hash {
            hash.update(&chunk);
        }
        kept = kept.with(chunk);
    }
    Some(kept.into_bytes())
}

/// The beginning of a body; one that comes in one piece is not copied.
enum Kept {
    Nothing,
    One(Bytes),
    More(BytesMut),
}

impl Kept {
    fn with(self, chunk: Bytes) -> Self {
        let mut kept = match self {
            Self::Nothing => return Self::One(chunk),
            Self::One(first) => BytesMut::from(&first[..first.len().min(BODY_KEPT_BYTES)]),
            Self::More(kept) => kept,
        };
        let room = BODY_KEPT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        Self::More(kept)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(chunk) => chunk.slice(..chunk.len().min(BODY_KEPT_BYTES)),
            Self::More(kept) => kept.freeze(),
        }
    }
}

/// The key of a request that has none: the hash of its body, of its target if it has no body, of its key if that is too long.
fn hashed_key(hash: Sha256, announced: Option<&str>, head: &Parts, body: &Bytes) -> String {
    let digest = match announced.filter(|key| !key.is_empty()) {
        Some(key) => Sha256::digest(key),
        None if body.is_empty() => Sha256::digest(head.uri.to_string()),
        None => hash.finalize(),
    };
    let bits = digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    format!("{bits:016x}")
}
