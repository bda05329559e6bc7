//! Review through RabbitMQ: events, the queue that shows what waits, and the queue that replays it.

use serde_json::{Value, json};

use crate::support::amqp_client::{AmqpClient, json_properties};
use crate::support::broker::{Plugins, PrivateBroker};
use crate::support::in_process::{Service, Setup, in_an_hour, keyed};
use crate::support::wait_for;

async fn start() -> (Service, AmqpClient) {
    let service = Setup::rabbitmq().await.start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    (service, client)
}

/// Puts a message into the queue of replay requests, as the management UI does.
async fn ask_for_replay(service: &Service, client: &AmqpClient, body: &[u8]) {
    client.publish("", &service.names().replay(), json_properties(), body).await;
}

fn is_event_of(event: &Value, call: &Value, expected: &Value) {
    let id = call["id"].as_str().unwrap();
    let mut whole = json!({
        "call": id, "endpoint": call["endpoint"], "publisher": call["publisher"],
        "idempotency_key": call["idempotency_key"], "status": call["status"], "dry_run": call["dry_run"],
        "event": format!("call.{}", call["status"].as_str().unwrap()),
    });
    for (member, value) in expected.as_object().unwrap() {
        whole[member] = value.clone();
    }
    let (mut told, mut rest) = (json!({}), json!({}));
    for (member, value) in event.as_object().unwrap() {
        let side = if whole.get(member).is_some() { &mut told } else { &mut rest };
        side[member] = value.clone();
    }
    assert_eq!(told, whole);
    assert!(
        rest["link"]
            .as_str()
            .is_some_and(|link| link.ends_with(&format!("/calls/{id}")) && !link.contains("/v1/")),
        "{event}"
    );
    assert!(rest["at"].as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{event}");
    assert_eq!(rest.as_object().unwrap().len(), 2, "{event}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_is_told_once_under_its_status_and_endpoint() {
    let (service, client) = start().await;
    let names = service.names();
    let (all, of_sms) =
        (client.listen(&names.events(), "#").await, client.listen(&names.events(), "call.*.sms").await);

    let id = service.submit(&keyed("done", "/fail/1")).await;
    let done = service.call_in(&id, "succeeded").await;
    let event = client.take_many(&all, 1).await.remove(0);
    assert_eq!(event.routing_key, "call.succeeded.sms");
    assert_eq!(event.properties.content_type().as_ref().unwrap().as_str(), "application/json");
    is_event_of(&event.json(), &done, &json!({ "review_reason": null, "attempts": 2, "last_error": null }));

    let document =
        json!({ "endpoint": "patient", "idempotency_key": "refused", "request": { "path": "/status/422" } });
    let id = service.submit(&document).await;
    let review = service.call_in(&id, "review").await;
    let event = client.take_many(&all, 1).await.remove(0);
    assert_eq!(event.routing_key, "call.review.patient");
    let expected =
        json!({ "review_reason": "rejected", "attempts": 1, "last_error": "the third party answered 422" });
    is_event_of(&event.json(), &review, &expected);

    for (action, status) in [("cancel", "cancelled"), ("resolve", "resolved")] {
        let id = service.submit(&in_an_hour(action)).await;
        let acted = service.post(&format!("/v1/calls/{id}/{action}"), &json!({})).await;
        assert_eq!(acted.status, 200, "{acted:?}");
        let event = client.take_many(&all, 1).await.remove(0);
        assert_eq!(event.routing_key, format!("call.{status}.sms"));
        is_event_of(
            &event.json(),
            &acted.body,
            &json!({ "review_reason": null, "attempts": 0, "last_error": null }),
        );
    }
    let of_sms: Vec<String> =
        client.take_many(&of_sms, 3).await.into_iter().map(|event| event.routing_key).collect();
    assert_eq!(of_sms, ["call.succeeded.sms", "call.cancelled.sms", "call.resolved.sms"]);
    assert!(client.take(&all).await.is_none());

    let shown = client.take_many(&names.review(), 1).await.remove(0);
    is_event_of(&shown.json(), &review, &expected);
    assert!(client.take(&names.review()).await.is_none(), "only what waits for review is shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superseded_call_is_told_of() {
    let (service, client) = start().await;
    let superseded = client.listen(&service.names().events(), "call.superseded.*").await;
    let mut ids = Vec::new();
    for version in [2, 1, 3] {
        let mut document = in_an_hour(&format!("v{version}"));
        document["entity"] = json!({ "key": "deal", "version": version });
        ids.push(service.submit(&document).await);
    }
    let mut told: Vec<String> = client
        .take_many(&superseded, 2)
        .await
        .iter()
        .map(|event| event.json()["call"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    assert_eq!(told, {
        let mut expected = ids[..2].to_vec();
        expected.sort();
        expected
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_moved_from_the_review_queue_to_the_replay_queue_replays_its_call() {
    let (service, client) = start().await;
    let id = service.submit(&keyed("k", "/fail/1/422")).await;
    service.call_in(&id, "review").await;
    let shown = client.take_many(&service.names().review(), 1).await.remove(0);
    let event = shown.json();
    for (header, member) in [
        ("x-redial-call", "call"),
        ("x-redial-endpoint", "endpoint"),
        ("x-redial-review-reason", "review_reason"),
        ("x-redial-last-error", "last_error"),
        ("x-redial-link", "link"),
    ] {
        assert_eq!(shown.header(header), event[member].as_str().unwrap(), "{header}");
    }
    client.publish("", &service.names().replay(), shown.properties.clone(), &shown.body).await;
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!((&call["attempts_made"], &call["attempts"][1]["trigger"]), (&json!(2), &json!("replay")));
    let actor = call["actions"][0]["actor"].as_str().unwrap();
    assert!(actor.contains(&service.names().replay()), "{actor}");
    assert_eq!(client.depth(&service.names().rejected()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_request_by_hand_names_who_asks_and_why() {
    let (service, client) = start().await;
    let id = service.submit(&keyed("k", "/fail/1/422")).await;
    service.call_in(&id, "review").await;
    let body = json!({ "call": id, "note": "mended" }).to_string();
    let properties = json_properties().with_user_id("guest".into());
    client.publish("", &service.names().replay(), properties, body.as_bytes()).await;
    let call = service.call_in(&id, "succeeded").await;
    let action = &call["actions"][0];
    assert_eq!((&action["action"], &action["note"]), (&json!("replay"), &json!("mended")));
    assert!(action["actor"].as_str().unwrap().starts_with("guest"), "{action}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_replay_requests_are_kept_with_their_reason_and_hold_nobody_up() {
    let (service, client) = start().await;
    let id = service.submit(&keyed("k", "/fail/1/422")).await;
    service.call_in(&id, "review").await;
    let unknown = json!({ "call": uuid::Uuid::now_v7().to_string() }).to_string();
    let in_a_list = json!([id, "note"]).to_string();
    let noted = json!({ "call": id, "note": 7 }).to_string();
    let bad: [(&[u8], &str); 10] = [
        (b"", "malformed_json"),
        (b"replay it", "malformed_json"),
        (b"{}", "missing_field"),
        (b"[]", "wrong_type"),
        (in_a_list.as_bytes(), "wrong_type"),
        (br#"{"call":7}"#, "wrong_type"),
        (noted.as_bytes(), "wrong_type"),
        (br#"{"call":"7"}"#, "invalid_value"),
        (b"\xff\xfe", "malformed_json"),
        (unknown.as_bytes(), "unknown_call"),
    ];
    for (body, _) in bad {
        ask_for_replay(&service, &client, body).await;
    }
    ask_for_replay(&service, &client, json!({ "call": id }).to_string().as_bytes()).await;
    service.call_in(&id, "succeeded").await;
    let kept = client.take_many(&service.names().rejected(), bad.len()).await;
    for ((body, code), kept) in bad.iter().zip(&kept) {
        let shown = String::from_utf8_lossy(body);
        assert_eq!((kept.body.as_slice(), kept.header("x-redial-error").as_str()), (*body, *code), "{shown}");
        let detail = kept.header("x-redial-detail");
        assert!(detail.len() > 10 && !detail.contains("struct"), "{shown}: {detail}");
    }
    wait_for("nothing is left", || async {
        (client.depth(&service.names().replay()).await == 0).then_some(())
    })
    .await;
}

/// PostgreSQL refuses whatever changes a call.
const REFUSING: &str = "create function refuse() returns trigger language plpgsql as $$ begin
      raise exception 'refused by the test' using errcode = 'check_violation'; end $$;
    create trigger refuse before update on calls for each row execute function refuse()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_the_ledger_refuses_for_good_is_kept_with_its_reason() {
    let (service, client) = start().await;
    let id = service.submit(&keyed("k", "/status/422")).await;
    service.call_in(&id, "review").await;
    service.place.run(REFUSING).await.unwrap();
    let request = json!({ "call": id }).to_string();
    ask_for_replay(&service, &client, request.as_bytes()).await;
    let kept = client.take_many(&service.names().rejected(), 1).await.remove(0);
    assert_eq!(
        (kept.body.as_slice(), kept.header("x-redial-error").as_str()),
        (request.as_bytes(), "not_storable")
    );
    assert!(kept.header("x-redial-detail").contains(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_request_for_what_cannot_be_replayed_changes_nothing() {
    let (service, client) = start().await;
    let done = service.submit(&keyed("done", "/ok")).await;
    let before = service.call_in(&done, "succeeded").await;
    ask_for_replay(&service, &client, json!({ "call": done }).to_string().as_bytes()).await;
    let marker = service.submit(&keyed("marker", "/fail/1/422")).await;
    service.call_in(&marker, "review").await;
    ask_for_replay(&service, &client, json!({ "call": marker }).to_string().as_bytes()).await;
    service.call_in(&marker, "succeeded").await;
    assert_eq!(service.call(&done).await, before);
    assert_eq!(service.seen("done").len(), 1);
    assert_eq!(client.depth(&service.names().rejected()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_that_begins_while_the_broker_is_away_is_told_when_it_is_back() {
    let mut broker = PrivateBroker::start(Plugins::None).await;
    let service = Setup::rabbitmq_at(broker.url()).await.start().await;
    broker.stop().await;
    wait_for("the service notices", || async {
        (service.get("/readyz").await.body == json!({ "status": "degraded", "away": ["broker"] }))
            .then_some(())
    })
    .await;
    let id = service.submit(&keyed("k", "/status/422")).await;
    let call = service.call_in(&id, "review").await;
    broker.start_again().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    let shown = client.take_many(&service.names().review(), 1).await.remove(0);
    let expected =
        json!({ "review_reason": "rejected", "attempts": 1, "last_error": "the third party answered 422" });
    is_event_of(&shown.json(), &call, &expected);
}
