//! The console's files as a browser gets them, and what must never be in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use regex::Regex;
use reqwest::Method;

use super::journeys::NOT_LOGGED_IN;
use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::in_process::{Service, Setup, keyed};
use crate::support::wait_for;

async fn fetch(service: &Service, path: &str) -> Answer {
    Answer::to(service.request(Method::GET, path)).await
}

fn text(answer: &Answer) -> &str {
    answer.body.as_str().unwrap_or_else(|| panic!("{answer:?}"))
}

/// The paths of the files that the page loads.
fn loaded_by(page: &str) -> Vec<String> {
    let attribute = Regex::new(r#"(?:src|href)="(/[^"]+)""#).unwrap();
    attribute.captures_iter(page).map(|found| found[1].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_the_console_is_served_without_a_token_and_guarded() {
    let service = Setup::embedded().start().await;
    let some_call = "/calls/0197a2b4-7c1e-7d0a-9f5e-2f6d1c3b4a59";
    for path in [
        "/",
        "/calls",
        some_call,
        "/review",
        "/endpoints",
        "/endpoints/sms",
        "/bulk",
        "/bulk/7",
        "/audit",
        "/rejected",
        "/submit",
        "/login",
    ] {
        let page = fetch(&service, path).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert_eq!(page.header("cache-control"), "no-cache", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        let policy = page.header("content-security-policy");
        for part in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(text(&page).contains("main.js"), "{path}");
    }
    fetch(&service, "/nowhere").await.refuses(404, "not_found", "/nowhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_kept_for_ever_under_their_version_and_asked_for_again_under_any_other() {
    let service = Setup::embedded().start().await;
    let page = fetch(&service, "/").await;
    let paths = loaded_by(text(&page));
    assert!(paths.len() >= 4, "{paths:?}");
    for path in &paths {
        let file = fetch(&service, path).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
        assert_eq!(file.header("x-content-type-options"), "nosniff", "{path}");
        let known = service.request(Method::GET, path).header("if-none-match", file.header("etag"));
        assert_eq!(Answer::to(known).await.status, 304, "{path}");
    }
    let script = paths.iter().find(|path| path.ends_with("/main.js")).unwrap();
    let [_, _, version, _] = script.split('/').collect::<Vec<_>>()[..] else { panic!("{script}") };
    let other = fetch(&service, &script.replace(version, "000000000000")).await;
    assert_eq!((other.status, other.header("cache-control")), (200, "no-cache"));
    let page_again = service.request(Method::GET, "/calls").header("if-none-match", page.header("etag"));
    assert_eq!(Answer::to(page_again).await.status, 304);
    for outside in ["absent.js", "../Cargo.toml", "%2e%2e/Cargo.toml", "..%2fCargo.toml"] {
        let file = fetch(&service, &format!("/console/{version}/{outside}")).await;
        assert_eq!(file.status, 404, "{outside}: {file:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_packed_for_those_who_unpack_them() {
    let service = Setup::embedded().start().await;
    let page = fetch(&service, "/").await;
    let path = loaded_by(text(&page)).into_iter().find(|path| path.ends_with("/words/en.js")).unwrap();
    let plain = std::fs::read(root().join("words/en.js")).unwrap();
    // One that shows what came, packed or not.
    let client = reqwest::Client::builder().no_proxy().gzip(false).build().unwrap();
    let ask = async |wish: &str| {
        let answer = client.get(service.url(&path)).header("accept-encoding", wish).send().await.unwrap();
        let header = |name: &str| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (encoding, vary, tag) = (header("content-encoding"), header("vary"), header("etag"));
        (encoding, vary, tag, answer.bytes().await.unwrap())
    };
    let (encoding, vary, packed_tag, packed) = ask("br, gzip").await;
    assert_eq!((&*encoding, &*vary), ("gzip", "accept-encoding"));
    assert!(packed.len() * 2 < plain.len(), "{} of {}", packed.len(), plain.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain, "it is not the file");
    let (encoding, vary, tag, whole) = ask("identity").await;
    assert_eq!((&*encoding, &*vary), ("", "accept-encoding"));
    assert!(whole == plain && tag != packed_tag, "{tag}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_light_and_loads_charts_only_to_draw_them() {
    const BYTES_MAX: u64 = 160_000;
    const CHARTS: &str =
        "return performance.getEntriesByType('resource').some(file => file.name.endsWith('/uplot.js'))";
    let service = Setup::embedded().start().await;
    service.submit(&keyed("counted", "/ok")).await;
    wait_for("the attempt is counted", || async {
        let history = service.get("/v1/stats/history?minutes=60").await.body;
        let minutes = history["minutes"].as_array().unwrap();
        minutes.iter().any(|minute| minute["attempts"] != 0).then_some(())
    })
    .await;
    let browser = Browser::before(&service).await;
    browser.open("/endpoints").await;
    browser.fill("input[name=token]", "auditor").await;
    browser.click("button[type=submit]").await;
    browser.sees("table.stack").await;
    assert_eq!(browser.ask(CHARTS).await, false);
    let weight = browser.ask("return performance.getEntriesByType('resource').filter(file => file.name.includes('/console/')).reduce((sum, file) => sum + file.encodedBodySize, 0)").await;
    assert!(matches!(weight.as_u64(), Some(1..BYTES_MAX)), "{weight} bytes");
    browser.click("nav.places a[href='/']").await;
    browser.sees(".uplot").await;
    assert_eq!(browser.ask(CHARTS).await, true);
    browser.complains_only_of(&[NOT_LOGGED_IN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_colours_are_chosen_before_anything_is_drawn() {
    let service = Setup::embedded().start().await;
    let page = fetch(&service, "/").await;
    let place = |what: &str| text(&page).find(what).unwrap_or_else(|| panic!("{what} is not in {page:?}"));
    // A script of its own, that neither waits for anything nor is put off.
    assert!(place("<script src=\"/console/") < place("rel=\"stylesheet\""));
    assert!(place("first-paint.js\"></script>") < place("rel=\"stylesheet\""));
}

/// How much lighter the lighter of two colours is: 1 to 21, as WCAG counts it.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let part = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        let linear = |part: f64| {
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_text_stands_out_from_what_is_behind_it_in_both_schemes() {
    let style = std::fs::read_to_string(root().join("style/base.css")).unwrap();
    let colour = Regex::new(r"--([\w-]+):\s*(#[0-9a-f]{6})").unwrap();
    let schemes: Vec<BTreeMap<&str, &str>> = style
        .split("color-scheme:")
        .take(2)
        .map(|scheme| {
            colour
                .captures_iter(scheme)
                .map(|found| found.extract().1)
                .map(|[name, value]| (name, value))
                .collect()
        })
        .collect();
    let tones = ["accent", "good", "warn", "bad", "info", "busy", "plain"];
    for scheme in &schemes {
        let reads = |text: &str, behind: &str| {
            let ratio = contrast(scheme[text], scheme[behind]);
            assert!(ratio >= 4.5, "{text} on {behind}: {ratio:.2}");
        };
        for text in ["text", "text-dim", "text-faint"].into_iter().chain(tones) {
            for behind in ["bg", "surface", "sunken", "raised"] {
                reads(text, behind);
            }
        }
        for tone in tones {
            let soft = format!("{tone}-soft");
            for text in [tone, "text-dim", "text-faint"] {
                reads(text, &soft);
            }
        }
        reads("on-accent", "accent");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("console")
}

/// The project's own files of the console, with their texts.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![root()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("vendor") {
                folders.push(path);
            } else if path.is_file() {
                sources.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 20, "the console's files are not where they were");
    sources
}

#[test]
fn nothing_in_the_console_makes_markup_of_text_or_leaves_this_server() {
    let forbidden = Regex::new(
        r"(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|\beval\(|new Function|https?://[^\s]*\.(js|css|woff2?|png)\b",
    )
    .unwrap();
    for (path, text) in sources() {
        let found = forbidden.find(&text).map(|found| found.as_str());
        assert_eq!(found, None, "{path}");
    }
    let page = std::fs::read_to_string(root().join("index.html")).unwrap();
    let inline = Regex::new(r"<script(?:\s+type=\S+)?>|<style|\son\w+=|\sstyle=").unwrap();
    assert_eq!(inline.find(&page).map(|found| found.as_str()), None);
}

/// The sentences of a language, with the names of what is put into each.
fn words(language: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("words").join(language)).unwrap();
    let entry = Regex::new(r#"(?m)^  "([^"]+)": "((?:[^"\\]|\\.)*)",$"#).unwrap();
    let place = Regex::new(r"\{(\w+)").unwrap();
    let places = |sentence: &str| place.captures_iter(sentence).map(|found| found[1].to_owned()).collect();
    entry.captures_iter(&text).map(|found| (found[1].to_owned(), places(&found[2]))).collect()
}

#[test]
fn both_languages_have_every_sentence_and_what_belongs_into_it() {
    let (english, chinese) = (words("en.js"), words("zh-CN.js"));
    assert!(english.len() > 300, "{}", english.len());
    let names = |words: &BTreeMap<String, BTreeSet<String>>| words.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&english), names(&chinese));
    for (name, places) in &chinese {
        assert!(places.is_subset(&english[name]), "{name} in Chinese: {places:?}");
    }
    let used = Regex::new(r#"\bt\("([^"]+)""#).unwrap();
    for (path, text) in sources() {
        for found in used.captures_iter(&text) {
            assert!(english.contains_key(&found[1]), "{path}: there is no sentence {}", &found[1]);
        }
    }
}
