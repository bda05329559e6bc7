//! The command line as somebody sits in front of it: questions that are asked at a terminal, and servers that go away and come back.

use serde_json::{Value, json};

use crate::support::in_process::{Service as InProcess, Setup, keyed};
use crate::support::program::{Ended, Workplace};
use crate::support::service::Service;
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::tcp_proxy::TcpProxy;

/// Runs a command at a terminal, where somebody types an answer.
async fn at_terminal(service: &InProcess, arguments: &[&str], typed: &str) -> Ended {
    let server = service.url("");
    let variables = [("REDIAL_SERVER", server.as_str()), ("REDIAL_TOKEN", "tester")];
    Workplace::new().run_at_terminal(arguments, &variables, typed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_job_is_started_only_by_who_says_yes() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("a", "/status/422")).await;
    service.call_in(&id, "review").await;
    let start = ["bulk", "start", "resolve", "--status", "review"];
    for answer in ["n\n", "\n", "yep\n", "\u{4}"] {
        let declined = at_terminal(&service, &start, answer).await.with(1);
        assert!(declined.out.contains("resolve 1 call? [y/N]"), "{declined:?}");
        assert_eq!(service.get("/v1/bulk").await.body["jobs"], json!([]), "{answer:?}");
    }
    let agreed = at_terminal(&service, &start, "Y\n").await.with(0);
    assert!(agreed.out.contains("[y/N]") && agreed.out.contains("total"), "{agreed:?}");
    service.call_in(&id, "resolved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_erased_but_by_who_says_yes() {
    let service = Setup::embedded().start().await;
    let mut document = keyed("a", "/ok");
    document["tags"] = json!({ "customer": "7" });
    let id = service.submit(&document).await;
    service.call_in(&id, "succeeded").await;
    let erase = ["erase", "--tag", "customer=7"];
    let declined = at_terminal(&service, &erase, "no\n").await.with(1);
    assert!(declined.out.contains("for good? [y/N]"), "{declined:?}");
    assert_eq!(service.call(&id).await["request"]["body"]["text"], "hello");
    at_terminal(&service, &erase, "yes\n").await.with(0);
    assert!(service.call(&id).await["erased_at"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_watched_through_a_restart_of_the_server() {
    let stage = Stage::set(Plan::new(Transport::Embedded, Store::Sqlite, "sms", "")).await;
    let mut service = stage.serve().await;
    for key in ["a", "b", "c", "d", "e"] {
        let id = service.client().submit_new(&keyed(key, "/status/422")).await;
        assert_eq!(service.client().at_rest(&id).await["status"], "review");
    }
    let proxy = TcpProxy::before_program(address(&service)).await;
    let (place, server) = (Workplace::new(), proxy.url());
    let variables = [("REDIAL_SERVER", server.as_str())];
    // So slow that its end lies behind the restart.
    let start = ["bulk", "start", "resolve", "--status", "review", "--rate", "30/m", "--yes", "--json"];
    let started = place.run_with(&start, &variables).await.with(0);
    let job: Value = serde_json::from_str(&started.out).unwrap();

    let watch = place.start(&["bulk", "watch", job["id"].as_str().unwrap()], &variables);
    watch.says("of 5 acted on").await;
    assert!(service.stop().await.success());
    watch.says("trying again").await;
    let service = stage.serve().await;
    proxy.lead_to(address(&service));
    let ended = watch.ended().await.with(0);
    assert!(ended.out.contains("status       done"), "{ended:?}");
}

fn address(service: &Service) -> std::net::SocketAddr {
    let url = url::Url::parse(service.client().url()).unwrap();
    url.socket_addrs(|| None).unwrap()[0]
}
