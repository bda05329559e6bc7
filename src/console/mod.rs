//! The console: files that a browser loads, built into the program. It has no powers of its own; what it shows and does goes through
//! the public API, with the reader's own session.
//!
//! Pages are never kept by browsers without asking; everything else lies below a path that names its content
//! (`/console/<version>/…`) and is kept for ever. Nothing is loaded from elsewhere, and nothing runs that is not one of these files.

mod packed;

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

/// Everything below the repository's folder `console`.
#[derive(RustEmbed)]
#[folder = "console/"]
struct Files;

/// The page that all of the console's own paths answer with; its script reads the path.
const PAGE: &str = "index.html";
/// What stands in the page for the version.
const VERSION_MARK: &str = "{version}";
/// What stands in the page for the list of its modules.
const MODULES_MARK: &str = "{modules}";
/// Scripts that a page does not begin with: the one that the page names itself, the one that is no module, and the charts.
const NO_MODULES: &[&str] = &["main.js", "first-paint.js", "vendor/uplot.js"];
/// The paths that people see.
const PAGES: &[&str] = &[
    "/",
    "/calls",
    "/calls/{id}",
    "/review",
    "/endpoints",
    "/endpoints/{name}",
    "/bulk",
    "/bulk/{id}",
    "/audit",
    "/rejected",
    "/submit",
    "/login",
];

/// Only files of this server, nothing inline, in nobody's frame. Charts draw by script, so styles need no exception.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// A digest of every file: another build, another path.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<Cow<'static, str>> = Files::iter().collect();
    names.sort();
    let mut digest = Sha256::new();
    for name in names {
        digest.update(name.as_bytes());
        digest.update(Files::get(&name).map(|file| file.metadata.sha256_hash()).unwrap_or_default());
    }
    digest.finalize().iter().take(6).fold(String::new(), |name, byte| format!("{name}{byte:02x}"))
});

/// All modules at once: found one by one, each level of imports would cost a round trip.
static MODULES: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<Cow<'static, str>> = Files::iter().collect();
    names.retain(|name| name.ends_with(".js") && !NO_MODULES.contains(&&**name));
    names.sort();
    let link = |name| format!("<link rel=\"modulepreload\" href=\"/console/{VERSION_MARK}/{name}\">");
    names.into_iter().map(link).collect::<Vec<_>>().join("\n    ")
});

/// The console's routes, without a fallback.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    pages.route("/console/{version}/{*path}", get(file)).route("/favicon.ico", get(icon))
}

async fn page(headers: HeaderMap) -> Response {
    let Some(file) = Files::get(PAGE) else { return missing() };
    let text = String::from_utf8_lossy(&file.data).replace(MODULES_MARK, &MODULES);
    let text = text.replace(VERSION_MARK, &VERSION);
    let tag = format!("\"{}\"", *VERSION);
    answer(&headers, "text/html; charset=utf-8", ASK_AGAIN, &tag, text.into_bytes())
}

async fn file(Path((version, path)): Path<(String, String)>, headers: HeaderMap) -> Response {
    // While processes of two builds answer under one name, a page of one may ask the other: such a file must not be kept.
    let caching = if version == *VERSION { FOR_EVER } else { ASK_AGAIN };
    Files::get(&path).map_or_else(missing, |file| known(&headers, &path, caching, file))
}

async fn icon(headers: HeaderMap) -> Response {
    Files::get("icon.svg").map_or_else(missing, |file| known(&headers, "icon.svg", ASK_AGAIN, file))
}

fn known(headers: &HeaderMap, path: &str, caching: &'static str, file: EmbeddedFile) -> Response {
    let hash = file.metadata.sha256_hash();
    let hash = hash.iter().take(16).fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
    let mut response = match packed::packed(headers, path, &file) {
        // Two forms of a file are two answers: a cache that knows one must not take the other for it.
        Some(bytes) => {
            let tag = format!("\"{hash}-{}\"", packed::GZIP);
            let mut response = answer(headers, content_type(path), caching, &tag, bytes);
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(packed::GZIP));
            response
        }
        None => answer(headers, content_type(path), caching, &format!("\"{hash}\""), file.data.into_owned()),
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

fn answer(
    headers: &HeaderMap,
    content_type: &'static str,
    caching: &'static str,
    tag: &str,
    body: impl IntoResponse,
) -> Response {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|list| list.split(',')).any(|known| known.trim() == tag);
    let caching = [(CACHE_CONTROL, caching.to_owned()), (ETAG, tag.to_owned())];
    if unchanged {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, guards(), [(CONTENT_TYPE, content_type)], body).into_response()
}

const fn guards() -> [(HeaderName, &'static str); 4] {
    [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ]
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain; charset=utf-8")], "there is no such file\n")
        .into_response()
}
