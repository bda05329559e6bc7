//! The console's files as a browser gets them, and what must never be in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;
use reqwest::Method;

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup};

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
