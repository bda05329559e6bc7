//! The stream of events: totals and calls as they change, for as long as the process serves.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, in_an_hour, keyed};
use crate::support::program::Workplace;
use crate::support::wait_for;

/// A listener.
struct Listener {
    response: Response,
    heard: String,
}

impl Listener {
    async fn of(service: &Service, query: &str) -> Self {
        let request = service.request_as("auditor", Method::GET, &format!("/v1/stream{query}"));
        Self::to(request.send().await.unwrap())
    }

    fn to(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, heard: String::new() }
    }

    /// The next event as name and document; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.heard.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                let (name, document) =
                    (field("event: ").to_owned(), serde_json::from_str(field("data: ")).unwrap());
                let rest = rest.to_owned();
                self.heard = rest;
                return Some((name, document));
            }
            let chunk = tokio::time::timeout(Duration::from_mins(1), self.response.chunk()).await.unwrap();
            self.heard.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The first document of this name that fits.
    async fn until(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (heard, document) = self.next().await.unwrap();
            if heard == name && fits(&document) {
                return document;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_hear_the_totals_and_how_they_change() {
    let service = Setup::embedded().start().await;
    let mut listeners = [Listener::of(&service, "").await, Listener::of(&service, "").await];
    for listener in &mut listeners {
        listener.until("ping", |_| true).await;
        let first = listener.until("stats", |_| true).await;
        assert_eq!(first["calls"]["succeeded"], 0, "{first}");
    }
    service.submit_to("/ok").await;
    for listener in &mut listeners {
        let later = listener.until("stats", |stats| stats["calls"]["succeeded"] == 1).await;
        let asked = service.get("/v1/stats").await.body;
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&later), names(&asked), "the same document as GET /v1/stats");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_a_call_hears_when_it_changes() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&in_an_hour("k")).await;
    let other = service.submit(&keyed("other", "/ok")).await;
    let mut listener = Listener::of(&service, &format!("?call={id}")).await;
    let first = listener.until("call", |_| true).await;
    assert_eq!((&first["id"], &first["status"]), (&Value::from(id.clone()), &Value::from("scheduled")));
    service.post(&format!("/v1/calls/{id}/replay"), &serde_json::json!({})).await;
    let last = listener.until("call", |call| call["status"] == "succeeded").await;
    assert_eq!(last["id"], Value::from(id), "{last} is not {other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_for_those_who_may_look_and_ask_rightly() {
    let service = Setup::embedded().start().await;
    let ask = |token: &str, query: &str| {
        Answer::to(service.request_as(token, Method::GET, &format!("/v1/stream{query}")))
    };
    ask("nobody", "").await.refuses(401, "token_unknown", "a wrong token");
    ask("billing", "").await.refuses(403, "role_missing", "a publisher listens");
    ask("auditor", "?call=7").await.refuses(400, "invalid_parameter", "no id");
    ask("auditor", "?colour=red").await.refuses(400, "invalid_parameter", "an unknown parameter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_the_process_stops() {
    let place = Workplace::with(
        "[server]\nlisten = \"127.0.0.1:0\"\n[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\nladder = [\"1h\"]\n",
    );
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    let client = redial::cli::http::client(Duration::from_mins(2)).unwrap();
    let stream = wait_for("the server streams", || async {
        client.get(format!("{url}/v1/stream")).send().await.ok().filter(|answer| answer.status() == 200)
    })
    .await;
    let mut listener = Listener::to(stream);
    listener.until("stats", |_| true).await;
    let (ended, said) = tokio::join!(server.stop(), async {
        while listener.next().await.is_some() {}
        true
    });
    let ended = ended.with(0);
    assert!(said && !ended.err.contains("given up"), "{ended:?}");
}
