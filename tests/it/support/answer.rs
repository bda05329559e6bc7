//! Answers of the HTTP API, and what every refusal has to look like.

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, if it is JSON; else a string of it.
    pub body: Value,
}

impl Answer {
    /// The answer to a request.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// One header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The id of the call that it shows.
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no call in {self:?}")).to_owned()
    }

    /// Holds the answer to the form of a refusal, with this status and code; `what` was asked.
    pub(crate) fn refuses(&self, status: u16, code: &str, what: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{what}: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        self.is_problem(what);
    }

    /// Holds the answer to be a problem document, whichever.
    pub(crate) fn is_problem(&self, what: &str) {
        assert_eq!(self.body["status"], self.status, "{what}: {self:?}");
        assert_eq!(self.body["type"], format!("urn:redial:problem:{}", self.code()), "{what}");
        for member in ["title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| text.len() > 2), "{what}: {self:?}");
        }
    }

    /// The stable code of a refusal.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Places and codes of all faults of a refusal.
    pub(crate) fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
        faults
            .iter()
            .map(|fault| (fault["pointer"].as_str().unwrap(), fault["code"].as_str().unwrap()))
            .collect()
    }
}
