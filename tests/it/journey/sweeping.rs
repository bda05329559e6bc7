//! The sweeper: lost tickets are found, a backlog that waits is left alone, deadlines and removed endpoints lead to a person.

use std::time::Duration;

use redial::clock::{Timestamp, monotonic};
use serde_json::json;

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, failed_call, keys, publish_all, submit_all};
use crate::support::service::Service;
use crate::support::stage::{EVERYTHING, Plan, Stage, Store, Transport};
use crate::support::wait_for;

/// Looks often and soon counts a ticket as lost: whatever it does wrong, it does here.
const EAGER: &str = "every = \"250ms\"\ngrace = \"1s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_whose_tickets_were_purged_are_found() {
    let shop = "ladder = [\"5s\", \"300ms\"]";
    let plan = Plan { sweeper: EAGER, ..Plan::new(Transport::RabbitMq, Store::Postgres, "shop", shop) };
    let stage = Stage::set(plan).await;
    let service = stage.serve().await;
    let client = service.client();
    let publisher = stage.publisher().await;
    let keys = keys("purged", 60);
    submit_all(&client, &keys, |key| failed_call("shop", key, "/fail/1")).await;
    wait_for("all tickets are in their tier", || async {
        (client.counter("redial_bundle_size_sum", "").await == 60).then_some(())
    })
    .await;
    // The last of them may still be on their way into it.
    let departed = monotonic();
    wait_for("whatever comes into the tier is lost", || async {
        publisher.purge("delay.5s").await;
        (departed.elapsed() > Duration::from_secs(1)).then_some(())
    })
    .await;
    client.all_at_rest(60).await;

    let history = History::gather(&client, &stage.third_party, keys).await;
    assert_hold(&history, &Terms::new(&[5_000, 300], Faults::None, 60));
    assert_eq!(client.rescued("overdue").await, 60);
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_waits_in_its_lane_is_not_doubled() {
    let shop = "ladder = [\"1s\"]\nconcurrency = 5";
    let plan = Plan { sweeper: EAGER, ..Plan::new(Transport::RabbitMq, Store::Postgres, "shop", shop) };
    let stage = Stage::set(plan).await;
    let (left, right) = (
        Service::start(&stage.program("left", EVERYTHING)).await,
        Service::start(&stage.program("right", "api,worker,sweeper")).await,
    );
    let (first, second) = (keys("first", 1_600), keys("second", 800));
    let publisher = stage.publisher().await;
    submit_all(&left.client(), &first, |key| call("shop", key, "/ok?ms=30")).await;
    publish_all(&publisher, &second, |key| call("shop", key, "/ok?ms=30")).await;
    left.client().all_at_rest(2_400).await;

    let history = History::gather(&left.client(), &stage.third_party, [first, second].concat()).await;
    assert_hold(&history, &Terms::new(&[1_000], Faults::None, 2_400));
    for client in [left.client(), right.client()] {
        assert_eq!(client.counter("redial_rescued_total", "").await, 0, "the sweeper doubled a backlog");
        assert_eq!(client.counter("redial_claims_total", "\"stale\"").await, 0, "tickets were doubled");
    }
    let longest = history.attempts().map(|one| one.started_at).max();
    let accepted = history.calls.iter().map(|call| call.created_at).min();
    let waited = longest.unwrap().0.since(accepted.unwrap().0);
    assert!(waited > Duration::from_secs(4), "the backlog was gone after {waited:?}: it proves nothing");
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_deadline_passes_waits_for_a_person_and_is_never_sent() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let stage = Stage::set(Plan::new(transport, store, "shop", "ladder = [\"10s\"]")).await;
        let service = stage.serve().await;
        let client = service.client();
        let mut document = failed_call("shop", "expired", "/ok");
        document["deadline"] = json!(Timestamp::now().plus(Duration::from_secs(2)).to_string());
        let id = client.submit_new(&document).await;
        client.all_at_rest(1).await;

        let call = client.story(&id).await;
        assert_eq!((call.status.as_str(), call.review_reason.as_deref()), ("review", Some("expired")));
        let history = History::gather(&client, &stage.third_party, ["expired".to_owned()]).await;
        assert_hold(&history, &Terms::new(&[10_000], Faults::None, 0));
        assert!(stage.third_party.arrivals("expired").is_empty() && call.attempts.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_endpoint_is_gone_waits_for_a_person_until_it_is_back() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let plan = Plan::new(transport, store, "shop", "ladder = [\"1s\"]");
        let mut stage = Stage::set(plan.and("gone", "ladder = [\"1s\"]")).await;
        let mut service = stage.serve().await;
        let id = service.client().submit_new(&failed_call("gone", "orphan", "/ok")).await;
        assert!(service.stop().await.success());
        let endpoint = stage.configure(|endpoints| endpoints.pop().unwrap());
        let mut service = stage.serve().await;
        service.client().all_at_rest(1).await;
        let call = service.client().story(&id).await;
        assert_eq!((call.status.as_str(), call.review_reason.as_deref()), ("review", Some("unroutable")));
        assert!(stage.third_party.arrivals("orphan").is_empty() && call.attempts.is_empty());

        assert!(service.stop().await.success());
        stage.configure(|endpoints| endpoints.push(endpoint));
        let service = stage.serve().await;
        let client = service.client();
        let (status, answer) = client.act(&id, "replay").await;
        assert_eq!(status, 200, "{answer}");
        client.all_at_rest(1).await;
        let history = History::gather(&client, &stage.third_party, ["orphan".to_owned()]).await;
        assert_hold(&history, &Terms::new(&[1_000], Faults::None, 1));
        assert_eq!(history.calls[0].attempts[0].trigger, "replay");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_holds_for_a_call_whose_endpoint_is_gone() {
    for (transport, store) in [(Transport::RabbitMq, Store::Postgres), (Transport::Embedded, Store::Sqlite)] {
        let plan = Plan::new(transport, store, "shop", "ladder = [\"1s\"]");
        let mut stage = Stage::set(plan.and("gone", "ladder = [\"1h\"]")).await;
        let mut service = stage.serve().await;
        let mut document = failed_call("gone", "orphan", "/ok");
        document["deadline"] = json!(Timestamp::now().plus(Duration::from_secs(3)).to_string());
        let id = service.client().submit_new(&document).await;
        assert!(service.stop().await.success());
        stage.configure(|endpoints| endpoints.pop().unwrap());
        let service = stage.serve().await;
        let client = service.client();
        client.all_at_rest(1).await;
        let call = client.story(&id).await;
        assert_eq!((call.status.as_str(), call.review_reason.as_deref()), ("review", Some("expired")));
    }
}

/// PostgreSQL refuses whatever changes a call of the endpoint `bad`.
const REFUSING: &str = "create function refuse() returns trigger language plpgsql as $$ begin
      raise exception 'refused by the test' using errcode = 'check_violation'; end $$;
    create trigger refuse before update on calls for each row when (old.endpoint = 'bad') execute function refuse()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_ledger_refuses_stands_in_no_others_way() {
    let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", "ladder = [\"1s\"]");
    let plan = plan.and("bad", "ladder = [\"1h\"]").and("gone", "ladder = [\"1h\"]");
    let mut stage = Stage::set(plan).await;
    let mut service = stage.serve().await;
    stage.database.run(REFUSING).await.unwrap();
    let mut ids = Vec::new();
    for endpoint in ["bad", "gone"] {
        let mut document = failed_call(endpoint, endpoint, "/ok");
        document["deadline"] = json!(Timestamp::now().plus(Duration::from_secs(3)).to_string());
        ids.push(service.client().submit_new(&document).await);
    }
    assert!(service.stop().await.success());
    // Without their endpoints only the sweeper finds that their deadlines have passed.
    stage.configure(|endpoints| endpoints.truncate(1));
    let service = stage.serve().await;
    let client = service.client();
    let gone = client.at_rest(&ids[1]).await;
    assert_eq!((&gone["status"], &gone["review_reason"]), (&json!("review"), &json!("expired")));
    assert_eq!(client.story(&ids[0]).await.status, "scheduled");
}
