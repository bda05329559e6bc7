//! Problem documents (RFC 9457): what went wrong, in words and in a stable code.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::document::{DocumentError, Fault};
use crate::ledger::LedgerError;

/// A refusal that is sent to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    faults: Vec<Fault>,
}

/// The result of a handler.
pub type Result<T> = std::result::Result<T, Problem>;

/// What went wrong (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemDocument<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<FaultDocument<'a>>,
}

/// One thing that is wrong with a document.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Fault)]
struct FaultDocument<'a> {
    pointer: &'a str,
    code: &'a str,
    detail: &'a str,
}

impl Problem {
    /// A problem with this status, stable code and sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), faults: Vec::new() }
    }

    /// The code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The document, for answers that hold several results.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self.document()).unwrap_or_default()
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    fn document(&self) -> ProblemDocument<'_> {
        let faults = self.faults.iter().map(|fault| FaultDocument {
            pointer: &fault.pointer,
            code: fault.code,
            detail: &fault.detail,
        });
        ProblemDocument {
            r#type: format!("urn:redial:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            faults: faults.collect(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<DocumentError> for Problem {
    fn from(error: DocumentError) -> Self {
        let (code, detail) = (error.code(), error.detail());
        match error {
            DocumentError::Unreadable(_) => Self::new(StatusCode::BAD_REQUEST, code, detail),
            DocumentError::Invalid(faults) => {
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, code, detail, faults }
            }
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(_) | LedgerError::Corrupt(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the ledger refused a request");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "the ledger refused this request; the log says why",
                )
            }
            LedgerError::TooSlow => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "query_too_slow",
                format!("{error}; narrow it, by a time range (from, to), a status, an endpoint or a tag"),
            ),
            LedgerError::Away(_)
            | LedgerError::Migration(_)
            | LedgerError::Occupied(_)
            | LedgerError::BadUrl(_) => {
                tracing::warn!(%error, "a request could not be served");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ledger_away",
                    "the ledger cannot be reached; nothing is confirmed, try again",
                )
            }
        }
    }
}

/// No route has this path.
pub async fn not_found(uri: axum::http::Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {}", uri.path()))
}

/// The path exists, but not with this method; the `Allow` header says which do.
pub async fn method_not_allowed(method: axum::http::Method) -> Problem {
    let detail = format!("{method} is not allowed here; the Allow header says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
