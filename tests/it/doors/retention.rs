//! Retention as a running service does it, with short times.

use serde_json::json;

use crate::support::in_process::{Setup, in_an_hour, keyed};
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_calls_lose_their_bodies_and_then_go_but_what_waits_stays() {
    let service = Setup::embedded().with("[retention]\nfinished = \"3s\"\nbodies = \"1s\"\n").start().await;
    let waits = service.submit(&in_an_hour("waits")).await;
    let stuck = service.submit(&keyed("stuck", "/status/422")).await;
    let review = service.call_in(&stuck, "review").await;
    let done = service.submit(&keyed("done", "/ok")).await;
    service.call_in(&done, "succeeded").await;
    wait_for("the bodies are gone", || async {
        let answer = service.get(&format!("/v1/calls/{done}")).await;
        let blanked = answer.status == 404 || answer.body["body_erased_at"].is_string();
        blanked.then_some(())
    })
    .await;
    wait_for("the call is gone", || async {
        (service.get(&format!("/v1/calls/{done}")).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(service.call(&stuck).await, review, "review is never touched by age");
    let call = service.call(&waits).await;
    assert_eq!(
        (&call["status"], &call["request"]["body"]),
        (&json!("scheduled"), &json!({ "text": "hello" }))
    );
    // The key is free again: the same document is a new call.
    let again = service.post("/v1/calls", &keyed("done", "/ok")).await;
    assert_eq!(again.status, 202, "{again:?}");
    assert_ne!(again.id(), done);
}
