//! Review over HTTP: what waits there and why, and what a person may do with it.

use std::time::Duration;

use redial::clock::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{ENDPOINT_SECRET, Service, Setup, in_an_hour, keyed, to};

async fn act(service: &Service, id: &str, action: &str, wish: &Value) -> Answer {
    let path = format!("/v1/calls/{id}/{action}");
    Answer::to(service.request_as("operator", Method::POST, &path).json(wish)).await
}

/// A call that the third party has refused.
async fn refused(service: &Service, key: &str) -> String {
    let id = service.submit(&keyed(key, "/status/422")).await;
    service.call_in(&id, "review").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_waits_for_review_with_the_reason_it_has() {
    let service = Setup::embedded().start().await;
    let ambiguous = json!({ "endpoint": "careful", "request": { "path": "/status/500" } });
    let mut told = json!({ "endpoint": "careful", "request": { "path": "/ok" } });
    told["failure"] = json!({ "ambiguous": true, "error": "read timeout" });
    let mut expiring = json!({ "endpoint": "patient", "request": { "path": "/status/503" } });
    expiring["deadline"] = "soon".into();
    for (document, reason, attempts, verdict) in [
        (to("/status/422"), "rejected", 1, json!("rejected")),
        (to("/redirect?location=/ok"), "rejected", 1, json!("rejected")),
        (to("/status/503"), "exhausted", 3, json!("transient")),
        (ambiguous, "ambiguous", 1, json!("ambiguous")),
        (told, "ambiguous", 0, Value::Null),
        (expiring, "expired", 1, json!("transient")),
    ] {
        let mut document = document;
        if document["deadline"] == "soon" {
            // Before the next rung, which is a second away.
            document["deadline"] = Timestamp::now().plus(Duration::from_millis(900)).to_string().into();
        }
        let id = service.submit(&document).await;
        let call = service.call_in(&id, "review").await;
        assert_eq!(
            (&call["review_reason"], &call["attempts_made"]),
            (&json!(reason), &json!(attempts)),
            "{call}"
        );
        assert_eq!(call["attempts"].as_array().unwrap().len(), attempts, "{call}");
        assert_eq!(call["last_verdict"], verdict, "{call}");
        for (position, attempt) in call["attempts"].as_array().unwrap().iter().enumerate() {
            assert_eq!(attempt["number"], position + 1, "{call}");
        }
        assert!(call["finished_at"].is_null() && call["due_at"].is_null(), "{call}");
        assert_eq!(service.count(&format!("status=review&reason={reason}&q={id}")).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_sends_the_call_again_under_the_same_key_and_is_kept() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("k", "/fail/1/422")).await;
    service.call_in(&id, "review").await;
    let answer = act(&service, &id, "replay", &json!({ "note": "the partner mended it" })).await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"2\""), "{answer:?}");
    assert_eq!((&answer.body["status"], &answer.body["rung"]), (&json!("scheduled"), &json!(0)));
    let call = service.call_in(&id, "succeeded").await;
    let triggers: Vec<&Value> =
        call["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["trigger"]).collect();
    assert_eq!(triggers, ["first", "replay"]);
    let action = &call["actions"][0];
    for (member, expected) in [("action", "replay"), ("actor", "operator"), ("note", "the partner mended it")]
    {
        assert_eq!(action[member], expected, "{action}");
    }
    assert_eq!(call["revisions"], json!([]));
    assert_eq!(service.seen("k").len(), 2, "the same key goes out again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_may_edit_the_request_and_the_earlier_one_is_kept() {
    let service = Setup::embedded().start().await;
    let id = service
        .submit(&json!({ "endpoint": "patient", "idempotency_key": "k", "request": {
            "path": "/status/422", "headers": { "authorization": "Bearer canary-of-the-call", "x-tenant": "7" }, "body": { "n": 1 },
        } }))
        .await;
    let before = service.call_in(&id, "review").await;
    assert_eq!(before["request"]["headers"], json!({ "authorization": "[redacted]", "x-tenant": "7" }));
    // What was shown comes back as it was shown, but for the tenant.
    let edit = json!({
        "request": { "path": "/v1/mended", "headers": { "authorization": "[redacted]", "x-tenant": "8" }, "body": { "n": 2 } },
        "idempotency_key": "new",
    });
    let answer = act(&service, &id, "replay", &edit).await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"2\""), "{answer:?}");
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!((&call["revision"], &call["request"]["path"]), (&json!(2), &json!("/v1/mended")));
    assert_eq!(call["idempotency_key"], "k", "the publisher's name for it stays");
    let revisions = call["revisions"].as_array().unwrap();
    assert_eq!(revisions.len(), 1, "{call}");
    assert_eq!((&revisions[0]["revision"], &revisions[0]["replaced_by"]), (&json!(1), &json!("operator")));
    assert_eq!(revisions[0]["request"], before["request"]);
    let sent_revisions: Vec<&Value> =
        call["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["request"]["revision"]).collect();
    assert_eq!(sent_revisions, [&json!(1), &json!(2)]);

    let requests = service.third_party.requests();
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(second.target, "/v1/mended");
    assert_eq!(second.body, br#"{"n":2}"#.as_slice());
    assert_eq!(
        (second.header("authorization"), second.header("x-tenant")),
        (Some("Bearer canary-of-the-call"), Some("8"))
    );
    assert_eq!(first.header("x-request-key"), Some("k"));
    assert!(second.header("x-request-key").is_some_and(|key| key != "k"), "{second:?}");
    assert!(!call.to_string().contains("canary"), "{call}");
    assert!(!call.to_string().contains(ENDPOINT_SECRET), "{call}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_is_wrong_is_refused_with_its_places_and_changes_nothing() {
    let service = Setup::embedded().start().await;
    let id = refused(&service, "k").await;
    let before = service.call(&id).await;
    for (wish, pointer, code) in [
        (json!({ "request": { "path": "/../x" } }), "/request/path", "invalid_value"),
        (json!({ "request": { "headers": { "host": "x" } } }), "/request/headers/host", "invalid_value"),
        (json!({ "request": { "url": "http://evil.test" } }), "/request/url", "invalid_value"),
        (json!({ "request": 7 }), "/request", "wrong_type"),
        (json!({ "idempotency_key": "other" }), "/idempotency_key", "invalid_value"),
        (json!({ "note": 7 }), "/note", "wrong_type"),
        (json!({ "note": "n".repeat(5_000) }), "/note", "invalid_value"),
        (json!({ "note": "a\0b" }), "/note", "invalid_value"),
        (json!({ "force": true }), "/force", "unknown_field"),
        (json!([]), "", "wrong_type"),
    ] {
        let answer = act(&service, &id, "replay", &wish).await;
        answer.refuses(422, code, &wish.to_string());
        assert_eq!(answer.faults()[0], (pointer, code), "{wish}");
    }
    for action in ["cancel", "resolve"] {
        let answer = act(&service, &id, action, &json!({ "request": {} })).await;
        answer.refuses(422, "unknown_field", action);
    }
    let path = format!("/v1/calls/{id}/replay");
    let malformed =
        service.request_as("operator", Method::POST, &path).header("content-type", "application/json");
    Answer::to(malformed.body("{")).await.refuses(400, "malformed_json", "{");
    let text = service.request_as("operator", Method::POST, &path).body("again, please");
    Answer::to(text).await.refuses(415, "unsupported_media_type", "text");
    assert_eq!(service.call(&id).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_cancelled_or_resolved_once_with_the_note_of_who_did_it() {
    let service = Setup::embedded().start().await;
    for (action, status) in [("cancel", "cancelled"), ("resolve", "resolved")] {
        for (state, id) in [
            ("review", refused(&service, action).await),
            ("scheduled", service.submit(&in_an_hour(&format!("{action}-later"))).await),
        ] {
            let answer = act(&service, &id, action, &json!({ "note": "by hand" })).await;
            assert_eq!(
                (answer.status, &answer.body["status"]),
                (200, &json!(status)),
                "{action} {state}: {answer:?}"
            );
            let call = service.call(&id).await;
            assert!(call["finished_at"].is_string() && call["review_reason"].is_null(), "{call}");
            let kept = &call["actions"][0];
            assert_eq!(
                (&kept["action"], &kept["actor"], &kept["note"]),
                (&json!(action), &json!("operator"), &json!("by hand"))
            );
            for again in ["cancel", "resolve"] {
                let answer = act(&service, &id, again, &json!({})).await;
                answer.refuses(409, "not_allowed_in_this_state", &format!("{again} of a {status} call"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_running_or_done_cannot_be_acted_on() {
    let service = Setup::embedded().start().await;
    let running = service.submit_to("/slow?ms=3000").await;
    service.call_in(&running, "running").await;
    for action in ["replay", "cancel", "resolve"] {
        let answer = act(&service, &running, action, &json!({})).await;
        answer.refuses(409, "not_allowed_in_this_state", &format!("{action} of a running call"));
        assert!(answer.body["detail"].as_str().unwrap().contains("running"), "{answer:?}");
    }
    let done = service.submit_to("/ok").await;
    service.call_in(&done, "succeeded").await;
    for action in ["replay", "cancel", "resolve"] {
        let answer = act(&service, &done, action, &json!({})).await;
        answer.refuses(409, "not_allowed_in_this_state", &format!("{action} of a succeeded call"));
    }
    let call = service.call_in(&running, "succeeded").await;
    assert_eq!((&call["actions"], &call["attempts_made"]), (&json!([]), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_on_a_revision_that_is_not_the_present_one_is_412() {
    let service = Setup::embedded().start().await;
    let id = refused(&service, "k").await;
    let edit = json!({ "request": { "path": "/status/422?again=1", "body": 1 } });
    let path = |action: &str| format!("/v1/calls/{id}/{action}");
    let conditional = |action: &str, tag: &str, wish: &Value| {
        Answer::to(
            service.request_as("operator", Method::POST, &path(action)).header("if-match", tag).json(wish),
        )
    };
    assert_eq!(conditional("replay", "\"1\"", &edit).await.status, 200);
    service.call_in(&id, "review").await;
    for action in ["replay", "cancel", "resolve"] {
        let answer = conditional(action, "\"1\"", &json!({})).await;
        answer.refuses(412, "revision_outdated", action);
        assert!(answer.body["detail"].as_str().unwrap().contains("revision 2"), "{answer:?}");
    }
    for tag in ["1x", "W/\"2\"", "**", "\"\""] {
        conditional("cancel", tag, &json!({})).await.refuses(400, "invalid_if_match", tag);
    }
    assert_eq!(conditional("cancel", "\"2\"", &json!({})).await.body["status"], "cancelled");
    let at_any = conditional("replay", "*", &json!({})).await;
    assert_eq!(at_any.status, 200, "{at_any:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_replays_at_once_one_is_carried_out() {
    let service = Setup::embedded().start().await;
    let id = service.submit(&keyed("k", "/fail/1/422?ms=300")).await;
    service.call_in(&id, "review").await;
    let answers = futures_util::future::join_all((0..20).map(|_| {
        let path = format!("/v1/calls/{id}/replay");
        Answer::to(service.request_as("operator", Method::POST, &path).header("content-length", "0"))
    }))
    .await;
    for answer in &answers {
        // A replay of a call that is scheduled again makes it due at once, which it is.
        assert!([200, 409].contains(&answer.status), "{answer:?}");
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!(call["attempts_made"], 2);
    assert_eq!(service.seen("k").len(), 2);
}
