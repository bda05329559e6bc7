//! The HTTP request of a call: parsed once into parts that can neither leave the endpoint's origin nor smuggle
//! a second request into the connection.

use std::fmt;

use bytes::Bytes;
use url::Url;

use super::name::NameError;
use super::named;
use crate::limits::{HEADERS_BYTES_MAX, HEADERS_MAX, PATH_BYTES_MAX};

named! {
    /// The HTTP methods that a call may use.
    Method {
        /// RFC 9110, 9.3.1.
        Get = "GET",
        /// RFC 9110, 9.3.2.
        Head = "HEAD",
        /// RFC 9110, 9.3.3.
        Post = "POST",
        /// RFC 9110, 9.3.4.
        Put = "PUT",
        /// RFC 5789.
        Patch = "PATCH",
        /// RFC 9110, 9.3.5.
        Delete = "DELETE",
    }
}

/// The request that a call makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// Path and query below the endpoint's base URL, or a whole URL where the endpoint has none.
    pub path: RequestPath,
    /// Headers of the call's own.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

/// A request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// No body.
    Empty,
    /// JSON text exactly as it was submitted.
    Json(Bytes),
    /// Any other bytes; the request has a `content-type` header of its own.
    Bytes(Bytes),
}

impl Body {
    /// The bytes that are sent.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Json(bytes) | Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// A path with its query that stays below the endpoint's base URL; or, where the endpoint lets submissions name the host, a whole URL.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestPath(String);

impl RequestPath {
    /// Reads `/path?query`.
    ///
    /// # Errors
    /// A sentence, for anything that could leave the endpoint's origin or its path: another scheme or host, dot
    /// segments (also percent-encoded), backslashes, fragments, control characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refuse = |sentence: &str| Err(NameError(sentence.to_owned()));
        if text.len() > PATH_BYTES_MAX {
            return refuse("must be at most 8192 bytes long");
        }
        if !text.starts_with('/') || text.starts_with("//") {
            return refuse("must begin with a single '/': it is joined to the endpoint's base_url");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("must be visible ASCII; percent-encode everything else");
        }
        if text.contains(['\\', '#']) {
            return refuse("must not contain '\\' or '#'");
        }
        let path = text.split('?').next().unwrap_or_default();
        let Some(decoded) = decode_separators(path) else {
            return refuse(
                "must not contain '%' without two hexadecimal digits, or an encoded backslash or control",
            );
        };
        if decoded.split('/').any(|segment| segment == "." || segment == "..") {
            return refuse("must not contain '.' or '..' segments, also percent-encoded");
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads `https://host/path?query`: absolute, `http` or `https`, without user, password and fragment. It is kept in its normal form,
    /// so that a host has one spelling only: `http://0x7f000001` becomes `http://127.0.0.1/`.
    ///
    /// # Errors
    /// A sentence, for anything else.
    pub fn parse_url(text: &str) -> Result<Self, NameError> {
        let refuse = |sentence: String| Err(NameError(sentence));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '#']) {
            return refuse(
                "must be visible ASCII without '\\' and '#'; percent-encode everything else".to_owned(),
            );
        }
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            Ok(url) => return refuse(format!("must begin with https:// or http://, not {}:", url.scheme())),
            Err(error) => return refuse(format!("must be an absolute URL: {error}")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not contain a user or password".to_owned());
        }
        if url.as_str().len() > PATH_BYTES_MAX {
            return refuse("must be at most 8192 bytes long".to_owned());
        }
        Ok(Self(url.into()))
    }

    /// Reads either of the two, as [`Self::as_str`] wrote it.
    ///
    /// # Errors
    /// A sentence: it is neither.
    pub fn parse_either(text: &str) -> Result<Self, NameError> {
        if text.starts_with('/') { Self::parse(text) } else { Self::parse_url(text) }
    }

    /// The whole URL, where it is one.
    pub fn url(&self) -> Option<Url> {
        if self.0.starts_with('/') { None } else { Url::parse(&self.0).ok() }
    }

    /// Path and query, or the whole URL, as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The path with `%2e` and `%2f` decoded, twice over, because some servers do so; `None` where an escape is broken or hides
/// a backslash or a control character.
fn decode_separators(path: &str) -> Option<String> {
    let once = decode_once(path)?;
    if once == path { Some(once) } else { decode_once(&once).or(Some(once)) }
}

fn decode_once(path: &str) -> Option<String> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(position) = rest.find('%') {
        decoded.push_str(&rest[..position]);
        let digits = rest.get(position + 1..position + 3)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match u8::from_str_radix(digits, 16).ok()? {
            b'.' => decoded.push('.'),
            b'/' => decoded.push('/'),
            b'%' => decoded.push('%'),
            b'\\' | 0..0x20 | 0x7f => return None,
            _ => decoded.push_str(&rest[position..position + 3]),
        }
        rest = &rest[position + 3..];
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// Header names (lower case, unique) and values of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// Names that a submission may not set: they belong to the connection (RFC 9110, 7.6.1) or to Redial.
const REFUSED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Names whose values are secrets wherever they come from.
const SECRET: &[&str] =
    &["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "api-key"];

impl Headers {
    /// Adds one header.
    ///
    /// # Errors
    /// A sentence: a name that is no token or is refused, a value that is not one line of visible characters, a name given
    /// twice, too many or too long.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), NameError> {
        let refuse = |sentence: String| Err(NameError(sentence));
        let name = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return refuse("must be an HTTP field name (RFC 9110, 5.1)".to_owned());
        }
        if REFUSED.contains(&name.as_str()) {
            return refuse(format!("must not be set: {name} belongs to the connection"));
        }
        if !value.bytes().all(|byte| byte == b'\t' || (byte.is_ascii() && !byte.is_ascii_control())) {
            return refuse("must be one line of ASCII without control characters".to_owned());
        }
        if self.get(&name).is_some() {
            return refuse(format!("is given twice: {name}"));
        }
        if self.0.len() >= HEADERS_MAX {
            return refuse(format!("at most {HEADERS_MAX} headers are allowed"));
        }
        if self.bytes() + name.len() + value.len() > HEADERS_BYTES_MAX {
            return refuse(format!("all headers together must be at most {HEADERS_BYTES_MAX} bytes long"));
        }
        self.0.push((name, value.to_owned()));
        Ok(())
    }

    /// The value of a header, name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Names and values in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Whether a header's value is a secret by its name alone (lower case).
pub fn is_secret_header(name: &str) -> bool {
    SECRET.contains(&name)
}

/// What stands in the place of a secret value.
pub const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_base_url() {
        for path in ["/", "/v1/messages?lang=en", "/a%20b", "/a.b/..c", "/a?u=http://x/../y", "/%41"] {
            assert!(RequestPath::parse(path).is_ok(), "{path}");
        }
        for path in [
            "",
            "v1",
            "//evil.test/",
            "@evil.test/",
            "\\evil",
            "/\\evil",
            "https://evil.test/",
            "/../../admin",
            "/a/%2e%2e%2fb",
            "/a/%2E%2e/b",
            "/a/.",
            "/a/%252e%252e/b",
            "/a#b",
            "/a b",
            "/a\r\nx: y",
            "/ä",
            "/%",
            "/%zz",
            "/%5c..",
            "/%0d%0a",
            "/%00",
        ] {
            assert!(RequestPath::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_url_is_absolute_and_has_one_spelling() {
        for (text, normal) in [
            ("https://API.example.com", "https://api.example.com/"),
            ("https://api.example.com:443/v1?a=b", "https://api.example.com/v1?a=b"),
            ("http://0x7f.1:8080/", "http://127.0.0.1:8080/"),
            ("http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
            ("https://a.example/x/../y", "https://a.example/y"),
        ] {
            let path = RequestPath::parse_url(text).unwrap();
            assert_eq!((path.as_str(), path.url().unwrap().as_str()), (normal, normal));
            assert_eq!(RequestPath::parse_either(path.as_str()).unwrap(), path);
        }
        for text in [
            "",
            "/v1",
            "//a.example/",
            "a.example",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://",
            "https://u:p@a.example/",
            "https://u@a.example/",
            "https://a.example/#f",
            "https://a.example\\@b.example/",
            "https://a.example/ x",
            "https://a.\texample/",
            "data:,x",
            "https://a.example:99999/",
        ] {
            assert!(RequestPath::parse_url(text).is_err(), "{text}");
        }
        assert_eq!(RequestPath::parse("/v1").unwrap().url(), None);
    }

    #[test]
    fn headers_cannot_break_out_of_their_line_or_into_the_connection() {
        for (name, value) in [
            ("x", "a\r\nb: c"),
            ("x", "a\nb"),
            ("x\r\n", "a"),
            ("", "a"),
            ("a b", "c"),
            ("Host", "x"),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("x", "\0"),
            ("x", "ä"),
        ] {
            assert!(Headers::default().insert(name, value).is_err(), "{name:?}: {value:?}");
        }
    }

    #[test]
    fn a_header_is_given_once_in_any_case() {
        let mut headers = Headers::default();
        headers.insert("X-Tenant", "7").unwrap();
        assert_eq!(headers.get("x-tenant"), Some("7"));
        assert!(headers.insert("x-tenant", "8").is_err());
    }
}
