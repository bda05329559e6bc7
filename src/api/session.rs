//! `/v1/session`: the console's log-in. A browser gives a token once and gets a cookie for it.
//!
//! A session is stored nowhere. The cookie names a token and an end, signed with what the configuration holds of that token: every
//! process with the same configuration accepts it, and removing the token ends it. A browser sends cookies along with requests that
//! other sites cause, so what changes something also needs the session's CSRF token in a header and an origin of our own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::Api;
use super::auth::{Role, Token};
use super::problem::{Problem, Result};
use super::submit::read_json;
use crate::call::Publisher;
use crate::clock::Timestamp;
use crate::document::Object;
use crate::limits::SESSION_MAX;

/// The cookie's name.
const COOKIE_NAME: &str = "redial_session";
/// The header that carries the CSRF token.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-redial-csrf");

/// Where browsers reach this server, if the configuration says so; behind a proxy it differs from what the server itself sees.
#[derive(Clone, Debug, Default)]
pub struct PublicUrl(Option<url::Url>);

impl PublicUrl {
    /// Reads the configured URL.
    pub fn parse(url: Option<&str>) -> Self {
        Self(url.and_then(|url| url.parse().ok()))
    }

    fn is_https(&self) -> bool {
        self.0.as_ref().is_some_and(|url| url.scheme() == "https")
    }

    fn is_origin(&self, origin: &str) -> bool {
        self.0.as_ref().is_some_and(|url| url.origin().ascii_serialization() == origin)
    }

    fn is_host(&self, host: &str) -> bool {
        self.0.as_ref().and_then(url::Url::host_str) == Some(host)
    }
}

/// A session as its cookie tells it, signature checked by [`Session::open`].
#[derive(Debug)]
pub(super) struct Session {
    ends_at: Timestamp,
    signature: [u8; 32],
}

impl Session {
    fn begin(token: &Token, now: Timestamp) -> Self {
        // Whole seconds, as they stand in the cookie.
        let ends_at = Timestamp::from_unix_micros(unix_seconds(now.plus(SESSION_MAX)) * 1_000_000);
        let signature = signer(token, ends_at).finalize().into_bytes().into();
        Self { ends_at, signature }
    }

    /// The token and session of a cookie; `None` if it is none of ours, forged or over.
    pub(super) fn open<'a>(
        headers: &HeaderMap,
        now: Timestamp,
        token: impl Fn(&str) -> Option<&'a Token>,
    ) -> Option<(&'a Token, Self)> {
        let [name, ends_at, signature] =
            cookie(headers)?.splitn(3, '.').collect::<Vec<_>>().try_into().ok()?;
        let token = token(std::str::from_utf8(&URL_SAFE_NO_PAD.decode(name).ok()?).ok()?)?;
        let ends_at = ends_at.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        let ends_at = Timestamp::from_unix_micros(ends_at);
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // Compares in constant time.
        signer(token, ends_at).verify_slice(&signature).ok()?;
        (now < ends_at).then_some(())?;
        Some((token, Self { ends_at, signature: signature.try_into().ok()? }))
    }

    fn cookie(&self, token: &Token, secure: bool) -> String {
        let name = URL_SAFE_NO_PAD.encode(token.name.as_str());
        let signature = URL_SAFE_NO_PAD.encode(self.signature);
        let value = format!("{name}.{}.{signature}", unix_seconds(self.ends_at));
        set_cookie(&value, SESSION_MAX, secure)
    }

    /// What a page must send along with whatever changes something.
    fn csrf(&self, token: &Token) -> String {
        let mac = keyed(token).chain_update(b"redial-csrf\0").chain_update(self.signature).finalize();
        URL_SAFE_NO_PAD.encode(mac.into_bytes())
    }

    /// Holds a request that changes something to come from a page of ours.
    ///
    /// # Errors
    /// 403 `csrf_missing`.
    pub(super) fn hold(&self, token: &Token, parts: &Parts, public: &PublicUrl) -> Result<()> {
        if parts.method.is_safe() {
            return Ok(());
        }
        let given = parts.headers.get(CSRF_HEADER).map_or(&b""[..], |value| value.as_bytes());
        let ours = bool::from(self.csrf(token).as_bytes().ct_eq(given));
        let from_our_page = parts.headers.contains_key(ORIGIN) && has_own_origin(&parts.headers, public);
        if ours && from_our_page {
            return Ok(());
        }
        let detail = "with a session, what changes something needs the header X-Redial-CSRF and this server's own Origin";
        Err(Problem::new(StatusCode::FORBIDDEN, "csrf_missing", detail))
    }
}

fn unix_seconds(at: Timestamp) -> i64 {
    at.unix_micros() / 1_000_000
}

fn keyed(token: &Token) -> Hmac<Sha256> {
    Hmac::new_from_slice(&token.sha256).unwrap_or_else(|_| unreachable!("a key may have any length"))
}

fn signer(token: &Token, ends_at: Timestamp) -> Hmac<Sha256> {
    let ends_at = unix_seconds(ends_at).to_string();
    keyed(token)
        .chain_update(b"redial-session\0")
        .chain_update(ends_at)
        .chain_update(b"\0")
        .chain_update(token.name.as_str())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

fn set_cookie(value: &str, lasts: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}", lasts.as_secs())
}

/// Whether a request comes from a page of ours, or from no page at all.
fn has_own_origin(headers: &HeaderMap, public: &PublicUrl) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    (authority.is_some() && authority == host) || public.is_origin(origin)
}

/// Where nobody needs a token, any page that a browser of this machine shows could act: by a form that posts here, or under a name of
/// its own that leads to this address. Requests of such pages are refused; programs send no `Origin`.
///
/// # Errors
/// 403 `foreign_origin`.
pub(super) fn hold_anonymous(parts: &Parts, public: &PublicUrl) -> Result<()> {
    if has_own_origin(&parts.headers, public) && has_local_host(&parts.headers, public) {
        return Ok(());
    }
    let detail = "without tokens the API answers only programs and its own console; this request came by way of another site or name";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail))
}

fn has_local_host(headers: &HeaderMap, public: &PublicUrl) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return true };
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || public.is_host(host)
}

#[expect(clippy::needless_pass_by_value, reason = "the answer keeps it")]
fn shown(name: &Publisher, roles: &[Role], csrf: Option<String>) -> Json<serde_json::Value> {
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    Json(json!({ "name": name.as_str(), "roles": roles, "csrf": csrf }))
}

fn everybody() -> Json<serde_json::Value> {
    shown(&Publisher::anonymous(), Role::ALL, None)
}

/// Logs in: a token in, a cookie out.
///
/// # Errors
/// 401 for a token that is not configured, 403 from another site, 422 for what holds no token.
pub async fn log_in(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<Response> {
    if !has_own_origin(&headers, &api.public_url) {
        let detail = "only the console of this server logs in here";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail));
    }
    let bytes = read_json(&api, &headers, body).await?;
    let given = crate::document::read(&bytes, |raw, _, faults| {
        let mut object = Object::open(raw, String::new(), faults)?;
        let given = object.name("token", faults, |text| Ok::<_, String>(text.to_owned()));
        if given.is_none() {
            faults.add("/token", "missing_field", "is required");
        }
        object.close(faults);
        given
    })?;
    if api.tokens.is_empty() {
        return Ok(everybody().into_response());
    }
    let token = api.tokens.with_secret(given.as_bytes())?;
    let session = Session::begin(token, Timestamp::now());
    let cookie = session.cookie(token, is_secure(&headers, &api.public_url));
    tracing::info!(token = %token.name, "somebody logged in to the console");
    Ok(([(SET_COOKIE, cookie)], shown(&token.name, &token.roles, Some(session.csrf(token)))).into_response())
}

/// Who the cookie or the bearer token stands for.
///
/// # Errors
/// 401 without either.
pub async fn show(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response> {
    if api.tokens.is_empty() {
        return Ok(everybody().into_response());
    }
    let (token, session) = api.tokens.asker(&headers)?;
    let csrf = session.map(|session| session.csrf(token));
    Ok(shown(&token.name, &token.roles, csrf).into_response())
}

/// Logs out: the browser forgets its cookie.
///
/// # Errors
/// 401 without a session, 403 without its CSRF token.
pub async fn log_out(State(api): State<Arc<Api>>, request: axum::extract::Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    if !api.tokens.is_empty() {
        let (token, session) = api.tokens.asker(&parts.headers)?;
        if let Some(session) = session {
            session.hold(token, &parts, &api.public_url)?;
        }
    }
    let cookie = set_cookie("", Duration::ZERO, is_secure(&parts.headers, &api.public_url));
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

fn is_secure(headers: &HeaderMap, public: &PublicUrl) -> bool {
    let forwarded = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    forwarded || public.is_https()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, secret: u8) -> Token {
        Token { name: Publisher::parse(name).unwrap(), sha256: [secret; 32], roles: vec![Role::View] }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn opened(cookie: &str, token: &Token, now: Timestamp) -> bool {
        let headers = headers(&[(COOKIE, &format!("theme=dark; {cookie}"))]);
        Session::open(&headers, now, |name| (name == token.name.as_str()).then_some(token)).is_some()
    }

    #[test]
    fn a_session_opens_with_its_own_token_until_it_ends() {
        let (ops, now) = (token("ops", 1), Timestamp::now());
        let cookie = Session::begin(&ops, now).cookie(&ops, false);
        let cookie = cookie.split(';').next().unwrap();
        assert!(opened(cookie, &ops, now));
        assert!(!opened(cookie, &ops, now.plus(SESSION_MAX)), "it is over");
        assert!(!opened(cookie, &token("ops", 2), now), "the token was changed");
        assert!(!opened(cookie, &token("billing", 1), now), "the token was removed");
        let later = cookie.replacen(&unix_seconds(now.plus(SESSION_MAX)).to_string(), "99999999999", 1);
        assert_ne!(later, cookie);
        for forged in [&later, "redial_session=", "redial_session=a.b.c", "redial_session=b3Bz.1"] {
            assert!(!opened(forged, &ops, now), "{forged}");
        }
    }

    #[test]
    fn an_origin_is_our_own_by_host_or_by_the_configured_url() {
        let public = PublicUrl::parse(Some("https://redial.example.com/"));
        for (origin, host, own) in [
            (None, "127.0.0.1:8080", true),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", true),
            (Some("https://redial.example.com"), "10.0.0.7:8080", true),
            (Some("http://redial.example.com"), "10.0.0.7:8080", false),
            (Some("http://evil.example"), "127.0.0.1:8080", false),
            (Some("http://127.0.0.1:8081"), "127.0.0.1:8080", false),
            (Some("null"), "127.0.0.1:8080", false),
        ] {
            let mut given = headers(&[(HOST, host)]);
            origin.map(|origin| given.insert(ORIGIN, origin.parse().unwrap()));
            assert_eq!(has_own_origin(&given, &public), own, "{origin:?} at {host}");
        }
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_answered() {
        let public = PublicUrl::parse(Some("https://redial.example.com/"));
        for (host, local) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("localhost", true),
            ("redial.localhost:80", true),
            ("redial.example.com", true),
            ("rebound.example:8080", false),
            ("localhost.example", false),
        ] {
            assert_eq!(has_local_host(&headers(&[(HOST, host)]), &public), local, "{host}");
        }
    }
}
