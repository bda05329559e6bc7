//! How a call's request is put into a provider's own words: templates of its path, headers and body.

use bytes::Bytes;
use http::HeaderName;
use serde_json::value::RawValue;

use super::template::{PathTemplate, Template, Variables, render_headers};
use crate::call::{AttemptNumber, Body, Call, Headers, Method, ProviderName, Request};

const CONTENT_TYPE: &str = "content-type";

/// What is a provider's own in a request; what is left out is taken from the call.
#[derive(Clone, Debug, Default)]
pub struct RequestTemplate {
    /// The method.
    pub method: Option<Method>,
    /// Path and query below the provider's base URL.
    pub path: Option<PathTemplate>,
    /// Headers beside the call's, in place of those of the same name.
    pub headers: Vec<(HeaderName, Template)>,
    /// The body. It is JSON unless `headers` names another content type.
    pub body: Option<Template>,
}

impl RequestTemplate {
    /// Whether nothing is the provider's own.
    pub fn is_empty(&self) -> bool {
        self.method.is_none() && self.path.is_none() && self.headers.is_empty() && self.body.is_none()
    }

    /// The request of a call as this provider gets it.
    ///
    /// # Errors
    /// A sentence: a template asks for what the call does not have, or what it makes is no path, header or JSON.
    pub fn render(
        &self,
        call: &Call,
        attempt: AttemptNumber,
        provider: &ProviderName,
    ) -> Result<Request, String> {
        let variables = Variables::of_call(call, attempt, Some(provider));
        let own = render_headers(&self.headers, &variables)?;
        let body = match &self.body {
            Some(template) => body(template, &own, &variables)?,
            None => call.request.body.clone(),
        };
        let path = match &self.path {
            Some(template) => template.render(&variables)?,
            None => call.request.path.clone(),
        };
        let method = self.method.unwrap_or(call.request.method);
        Ok(Request { method, path, headers: self.headers(&call.request.headers, own)?, body })
    }

    /// The call's headers and the provider's own. What the call says of its body does not hold for the provider's.
    fn headers(&self, of_call: &Headers, own: Headers) -> Result<Headers, String> {
        let mut headers = own;
        for (name, value) in of_call.iter() {
            let is_replaced = headers.get(name).is_some() || (name == CONTENT_TYPE && self.body.is_some());
            if !is_replaced {
                headers.insert(name, value).map_err(|error| format!("the header {name} {error}"))?;
            }
        }
        Ok(headers)
    }
}

fn body(template: &Template, headers: &Headers, variables: &Variables) -> Result<Body, String> {
    let text = template.render(variables).map_err(|sentence| format!("the body: {sentence}"))?;
    let is_json = headers.get(CONTENT_TYPE).is_none();
    if is_json && let Err(error) = serde_json::from_str::<&RawValue>(&text) {
        return Err(format!(
            "the body that the template makes is no JSON ({error}); another kind needs a content-type header"
        ));
    }
    let bytes = Bytes::from(text);
    Ok(if is_json { Body::Json(bytes) } else { Body::Bytes(bytes) })
}
