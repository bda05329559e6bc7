//! The console's files as they go over the line: packed once for each program, for browsers that unpack them. No other door packs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::EmbeddedFile;

use super::Files;

/// The one encoding that is offered: every browser takes it, also over plain HTTP.
pub(super) const GZIP: &str = "gzip";

/// A file as it was when it was packed.
struct Packed {
    hash: [u8; 32],
    bytes: Vec<u8>,
}

/// All files that packing makes smaller.
static PACKED: LazyLock<BTreeMap<String, Packed>> = LazyLock::new(|| {
    let files = Files::iter().filter_map(|name| {
        let file = Files::get(&name)?;
        let bytes = gzip(&file.data).ok().filter(|bytes| bytes.len() < file.data.len())?;
        Some((name.into_owned(), Packed { hash: file.metadata.sha256_hash(), bytes }))
    });
    files.collect()
});

/// The packed form of a file, if this browser takes it.
pub(super) fn packed(headers: &HeaderMap, path: &str, file: &EmbeddedFile) -> Option<&'static [u8]> {
    if !takes_gzip(headers) {
        return None;
    }
    // While somebody works on the console, a debug build reads files that are newer than what it packed.
    PACKED.get(path).filter(|packed| packed.hash == file.metadata.sha256_hash()).map(|packed| &*packed.bytes)
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Whether the header names gzip, and does not give it the weight 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|wish| {
        let (name, weight) = wish.split_once(';').unwrap_or((wish, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(GZIP) && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for (wish, taken) in [
            ("gzip", true),
            ("br, GZIP", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip; q=1.0", true),
            ("gzip;q=0", false),
            ("br;q=1, gzip;q=0.000", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(wish))]);
            assert_eq!(takes_gzip(&headers), taken, "{wish}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
