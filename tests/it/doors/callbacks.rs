//! Callbacks as their receivers see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::in_process::Setup;
use crate::support::wait_for;

/// A receiver that accepts every connection and answers nothing; how many came.
async fn silent_receiver() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    (url, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_answer_holds_up_no_other() {
    let service = Setup::embedded().with("[callbacks]\naddresses = \"any\"\n").start().await;
    let (silent, connections) = silent_receiver().await;
    let call = |url: &str| json!({ "endpoint": "sms", "callback_url": url, "request": { "path": "/ok" } });
    let mut calls = Vec::new();
    // More than are posted at once.
    for _ in 0..40 {
        calls.push(service.submit(&call(&silent)).await);
    }
    for id in calls {
        service.call_in(&id, "succeeded").await;
    }
    wait_for("the silent receiver is called back", || async {
        (connections.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    service.submit(&call(&format!("{}/callback", service.third_party.url()))).await;
    wait_for("the other receiver is called back", || async {
        service.third_party.requests().into_iter().find(|request| request.target == "/callback")
    })
    .await;
    // Four at a time, and each is waited for ten seconds: with all places taken by it there would be 32 by now.
    let seen = connections.load(Ordering::SeqCst);
    assert!(seen < 32, "{seen} callbacks went to the silent receiver before the other's turn came");
}
