//! The simulator from outside: real sockets, every way of misbehaving, its control interface.

use std::time::Duration;

use redial::clock::Timestamp;
use redial::invoker::tls;
use redial::simulator::{Script, Simulator, SimulatorConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::wait_for;

/// A simulator that stops with its test.
struct Stage {
    simulator: Simulator,
    http: reqwest::Client,
    _stop: DropGuard,
}

async fn stage(script: &str) -> Stage {
    let stop = CancellationToken::new();
    let script = Script::parse(script).unwrap();
    let config = SimulatorConfig { script, ..SimulatorConfig::default() };
    let simulator = Simulator::start(config, stop.clone()).await.unwrap();
    tls::install_provider();
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let http = builder.retry(reqwest::retry::never()).build().unwrap();
    Stage { simulator, http, _stop: stop.drop_guard() }
}

impl Stage {
    async fn post(&self, target: &str, key: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}{target}", self.simulator.url());
        self.http.post(url).header("idempotency-key", key).body("{}").send().await
    }

    async fn status(&self, target: &str, key: &str) -> u16 {
        self.post(target, key).await.unwrap().status().as_u16()
    }

    async fn document(&self, target: &str) -> Value {
        self.http.get(format!("{}{target}", self.simulator.url())).send().await.unwrap().json().await.unwrap()
    }

    /// Everything that comes back on a connection of its own until it ends, and whether it ended in good order.
    async fn raw(&self, target: &str) -> (Vec<u8>, std::io::Result<()>) {
        let mut stream = TcpStream::connect(self.simulator.address()).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nidempotency-key: raw\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        let ended = stream.read_to_end(&mut received).await.map(drop);
        (received, ended)
    }
}

#[tokio::test]
async fn a_path_that_names_nothing_is_a_success_and_counted_by_its_key() {
    let stage = stage("").await;
    let before = Timestamp::now();
    for _ in 0..2 {
        let answer = stage.post("/v1/messages?lang=en", "order 1/paid").await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "{\"code\":0}");
    }
    let arrivals = stage.simulator.arrivals("order 1/paid");
    assert_eq!(arrivals.len(), 2);
    for arrival in &arrivals {
        assert!(
            arrival.effect && arrival.status == Some(200) && arrival.answered >= Some(arrival.since_start)
        );
        assert!(arrival.at >= before.minus(Duration::from_secs(5)) && &*arrival.path == "/v1/messages");
    }
    assert!(arrivals[0].since_start <= arrivals[1].since_start);
    let summary = stage.simulator.summary();
    assert_eq!((summary.requests, summary.keys, summary.effects, summary.duplicates), (2, 1, 2, 1));
    assert_eq!(summary.connections, 1, "connections are kept alive");
    let shown = stage.document("/_simulator/keys/order%201%2Fpaid").await;
    assert_eq!((shown["effects"].as_u64(), shown["arrivals"].as_array().unwrap().len()), (Some(2), 2));
}

#[tokio::test]
async fn the_first_attempts_of_each_key_fail_and_then_it_succeeds_once() {
    let stage = stage("").await;
    for key in ["a", "b"] {
        assert_eq!(stage.status("/fail/2/429?retry_after=7", key).await, 429);
        let second = stage.post("/fail/2/429?retry_after=7", key).await.unwrap();
        assert_eq!(second.headers()["retry-after"], "7");
        let third = stage.post("/fail/2/429?retry_after=7", key).await.unwrap();
        assert_eq!((third.status().as_u16(), third.text().await.unwrap().as_str()), (200, "{\"code\":0}"));
    }
    let summary = stage.simulator.summary();
    assert_eq!((summary.requests, summary.keys, summary.effects, summary.duplicates), (6, 2, 2, 0));
    assert_eq!(summary.by_status.into_iter().collect::<Vec<_>>(), [(200, 2), (429, 4)]);
}

#[tokio::test]
async fn answers_take_the_form_that_the_path_asks_for() {
    let stage = stage("").await;
    for (target, status, body) in [
        ("/status/404", 404, "{\"error\":\"Not Found\"}"),
        ("/status/204", 204, ""),
        ("/status/999", 999, "{\"error\":\"unknown\"}"),
        ("/code/4001", 200, "{\"code\":4001}"),
        ("/bytes/5", 200, "xxxxx"),
        ("/ok?body=hello&header=x-a:b", 200, "hello"),
        ("/redirect?location=/ok", 302, "{\"error\":\"Found\"}"),
        ("/slow?ms=1", 200, "{\"code\":0}"),
        ("/flaky/1/500", 500, "{\"error\":\"Internal Server Error\"}"),
        ("/flaky/0", 200, "{\"code\":0}"),
    ] {
        let answer = stage.post(target, target).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
            (status, body),
            "{target}"
        );
    }
    let effects = |key: &str| stage.simulator.arrivals(key)[0].effect;
    assert!(effects("/status/204") && !effects("/code/4001") && !effects("/redirect?location=/ok"));
    let refused = stage.post("/fail/x", "x").await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
    assert!(refused.text().await.unwrap().contains("is no count"));
}

#[tokio::test]
async fn connections_are_mistreated_as_asked() {
    let stage = stage("").await;
    let head: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let (received, ended) = stage.raw("/reset").await;
    assert!(received.is_empty() && ended.is_err(), "{ended:?}");
    for target in ["/reset?at=head", "/reset?at=body"] {
        let (received, ended) = stage.raw(target).await;
        assert!(received.starts_with(head) && ended.is_err(), "{target}: {ended:?}");
    }
    let (received, ended) = stage.raw("/drop").await;
    assert!(received.is_empty() && ended.is_ok());
    let (received, ended) = stage.raw("/cut").await;
    assert!(received.starts_with(head) && received.ends_with(b"{\"co") && ended.is_ok());
    let (received, _) = stage.raw("/garbage").await;
    assert!(!received.is_empty() && !received.starts_with(b"HTTP"));
    for target in ["/drip?every=1ms", "/drip?at=head&every=1ms"] {
        let (received, _) = stage.raw(target).await;
        assert!(received.starts_with(head) && received.ends_with(b"{\"code\":0}"), "{target}");
    }
    let effects: Vec<_> = stage.simulator.arrivals("raw").iter().map(|arrival| arrival.effect).collect();
    assert_eq!(effects, [false, true, true, true, true, false, true, true]);
    assert_eq!(stage.simulator.summary().answered, 0);
}

#[tokio::test]
async fn a_request_that_hangs_is_neither_answered_nor_done_and_one_that_streams_does_not_end() {
    let stage = stage("").await;
    for target in ["/hang", "/endless"] {
        let mut stream = TcpStream::connect(stage.simulator.address()).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut received = vec![0; 1_000_000];
        if target == "/endless" {
            stream.read_exact(&mut received).await.unwrap();
        } else {
            let silent = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut received)).await;
            assert!(silent.is_err());
        }
    }
    let summary = stage.simulator.summary();
    assert_eq!((summary.requests, summary.answered), (2, 0));
}

#[tokio::test]
async fn an_effect_before_a_broken_connection_is_counted_once_where_keys_are_recognised() {
    let stage = stage("").await;
    for (target, key, effects) in
        [("/drop?fail_first=1", "ignored", 2), ("/drop?fail_first=1&idempotent=true", "honoured", 1)]
    {
        assert!(stage.post(target, key).await.is_err());
        assert_eq!(stage.status(target, key).await, 200);
        let took_effect = stage.simulator.arrivals(key).iter().filter(|arrival| arrival.effect).count();
        assert_eq!(took_effect, effects, "{target}");
    }
}

#[tokio::test]
async fn requests_without_a_key_are_told_apart_by_their_bodies() {
    let stage = stage("").await;
    let url = format!("{}/ok", stage.simulator.url());
    for body in ["a", "b", "a", ""] {
        stage.http.post(&url).body(body).send().await.unwrap();
    }
    assert_eq!(stage.simulator.summary().keys, 3);
}

#[tokio::test]
async fn a_script_decides_before_the_path_and_is_replaced_while_it_plays() {
    let script =
        "[[rules]]\nmethod = \"POST\"\npath = \"/v1/\"\nstatus = 418\nheaders = { x-from = \"script\" }\n";
    let stage = stage(script).await;
    let answer = stage.post("/v1/messages", "a").await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-from"].to_str().unwrap()), (418, "script"));
    assert_eq!(stage.status("/status/500", "a").await, 500);

    let put = |text: &'static str| {
        stage.http.put(format!("{}/_simulator/script", stage.simulator.url())).body(text).send()
    };
    let refused = put("[[rules]]\nstatus = 1\n[[rules]]\nlatency = \"soon\"\n").await.unwrap();
    assert_eq!(refused.status().as_u16(), 422);
    let faults: Value = refused.json().await.unwrap();
    assert_eq!(
        (faults["faults"][0]["line"].as_u64(), faults["faults"][1]["place"].as_str()),
        (Some(2), Some("rules[1].latency"))
    );
    assert_eq!(stage.status("/v1/messages", "a").await, 418, "a bad script changes nothing");

    assert!(put("[[rules]]\nfail_first = 1\n").await.unwrap().status().is_success());
    assert_eq!(
        [stage.status("/v1/messages", "a").await, stage.status("/v1/messages", "a").await],
        [503, 200]
    );
}

#[tokio::test]
async fn outages_come_by_script_and_by_command() {
    let stage = stage("down = [{ to = \"1h\", status = 502 }]").await;
    assert_eq!(stage.status("/ok", "a").await, 502);
    stage.simulator.play(Script::default());
    let command = |name: &str| stage.http.post(format!("{}/_simulator/{name}", stage.simulator.url())).send();
    assert!(command("down").await.unwrap().status().is_success());
    assert_eq!(stage.status("/ok", "a").await, 503);
    assert!(command("up").await.unwrap().status().is_success());
    assert_eq!(stage.status("/ok", "a").await, 200);
    assert!(command("down?seconds=0.2").await.unwrap().status().is_success());
    wait_for("the outage to end", async || (stage.status("/ok", "a").await == 200).then_some(())).await;
    assert_eq!(command("down?seconds=soon").await.unwrap().status().as_u16(), 400);
}

#[tokio::test]
async fn the_journal_tells_every_arrival_and_forgets_on_command() {
    let stage = stage("").await;
    for number in 0..2_500 {
        stage.status("/fail/1", &format!("key-{}", number / 2)).await;
    }
    let journal = stage.http.get(format!("{}/_simulator/journal", stage.simulator.url()));
    let text = journal.send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2_500);
    assert_eq!(
        (lines[1][0].as_str(), lines[1][3].as_u64(), lines[1][4].as_bool()),
        (Some("key-0"), Some(200), Some(true))
    );
    assert!(lines.iter().all(|line| line[1].as_u64() <= line[2].as_u64()));
    let summary = stage.document("/_simulator/summary").await;
    assert_eq!(summary["by_path"]["/fail/1"]["effects"], 1_250);

    let reset = stage.http.post(format!("{}/_simulator/reset", stage.simulator.url())).send().await.unwrap();
    assert!(reset.status().is_success());
    assert_eq!(stage.document("/_simulator/summary").await["requests"], 0);
    assert_eq!(stage.status("/fail/1", "key-0").await, 503);
}

#[tokio::test]
async fn what_was_sent_can_be_looked_at_without_its_secrets() {
    let stage = stage("").await;
    let url = format!("{}/echo/v1?a=b", stage.simulator.url());
    let request =
        stage.http.post(url).header("authorization", "Bearer hidden").header("x-tenant", "7").body("hello");
    let echo: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!((echo["body"].as_str(), echo["headers"]["x-tenant"].as_str()), (Some("hello"), Some("7")));
    let seen = stage.document("/_simulator/requests").await;
    assert_eq!((seen[0]["target"].as_str(), seen[0]["body"].as_str()), (Some("/echo/v1?a=b"), Some("hello")));
    assert!(!seen.to_string().contains("hidden"));
    assert_eq!(stage.simulator.requests()[0].header("x-tenant"), Some("7"));
}

#[tokio::test]
async fn the_control_interface_refuses_what_it_does_not_know() {
    let stage = stage("").await;
    for (name, status) in [("nothing", 404), ("summary", 405), ("script", 405), ("keys/a", 405)] {
        let url = format!("{}/_simulator/{name}", stage.simulator.url());
        assert_eq!(stage.http.post(url).send().await.unwrap().status().as_u16(), status, "{name}");
    }
    assert_eq!(stage.simulator.summary().requests, 0);
}

#[tokio::test]
async fn stopping_closes_every_connection() {
    let stop = CancellationToken::new();
    let simulator = Simulator::start(SimulatorConfig::default(), stop.clone()).await.unwrap();
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    stream.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    wait_for("the request to arrive", async || (simulator.summary().requests == 1).then_some(())).await;
    stop.cancel();
    simulator.stopped().await;
    let mut rest = Vec::new();
    // Closed in good order or reset: either way it has ended.
    let _ended = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[test]
fn the_script_in_the_manual_is_one() {
    let manual = include_str!("../../docs/simulator.md");
    let script = manual.split("```toml\n").skip(1).find(|block| block.contains("[[rules]]")).unwrap();
    let script = Script::parse(script.split("```").next().unwrap()).unwrap();
    assert_eq!((script.rules.len(), script.down.len()), (3, 2));
}
