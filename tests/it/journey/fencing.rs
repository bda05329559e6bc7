//! Workers that come back when their lease is over: their results are evidence, and decide nothing but a success.

use super::invariants::{Faults, History, Terms, assert_hold};
use super::load::{call, third_party_sees};
use crate::support::client::{Client, Story};
use crate::support::service::Service;
use crate::support::stage::{Plan, Stage, Store, Transport};
use crate::support::tcp_proxy::TcpProxy;
use crate::support::wait_for;

/// A lease that is over soon.
const SHORT: &str = "lease = \"3s\"\ntimeout = { connect = \"1s\", read = \"2s\", overall = \"2s\" }";
/// A lease over requests that take longer than the longest pause between two tries to reach the ledger.
const LONG: &str = "lease = \"9s\"\ntimeout = { connect = \"1s\", read = \"8s\", overall = \"8s\" }";

/// Waits until a call looks so.
async fn call_that(client: &Client, id: &str, what: &str, holds: impl Fn(&Story) -> bool) -> Story {
    wait_for(what, || async {
        let call = client.story(id).await;
        holds(&call).then_some(call)
    })
    .await
}

fn lost(call: &Story) -> bool {
    call.attempts.first().is_some_and(|one| one.error_kind.as_deref() == Some("worker_lost"))
}

fn late_verdict(call: &Story) -> Option<&str> {
    call.attempts.first()?.late.as_ref().map(|late| late.verdict.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_halted_beyond_its_lease_only_adds_evidence() {
    // More rungs than needed: a busy machine may let an attempt of the living outlast so short a lease.
    let shop = format!("ladder = [\"300ms x4\"]\n{SHORT}");
    let stage = Stage::set(Plan::new(Transport::RabbitMq, Store::Postgres, "shop", &shop)).await;
    // Whoever accepts a call that is due claims it in the same commit: the call is the victim's.
    let victim = Service::start(&stage.program("victim", "api,worker")).await;
    let id = victim.client().submit_new(&call("shop", "halted", "/ok?ms=1500")).await;
    third_party_sees(&stage, 1).await;
    victim.halt();
    let heir = Service::start(&stage.program("heir", "api,worker,sweeper")).await;
    let client = heir.client();
    client.all_at_rest(1).await;
    victim.go_on();
    let call =
        call_that(&client, &id, "the late result is logged", |call| late_verdict(call).is_some()).await;

    assert_eq!((late_verdict(&call), call.status.as_str()), (Some("ambiguous"), "succeeded"), "{call:?}");
    let (first, second) = (&call.attempts[0], &call.attempts[1]);
    assert_eq!((first.worker.as_str(), first.verdict.as_str()), ("victim", "ambiguous"));
    assert_eq!((second.worker.as_str(), second.trigger.as_str()), ("heir", "recovery"));
    let history = History::gather(&client, &stage.third_party, ["halted".to_owned()]).await;
    assert_hold(&history, &Terms::new(&[300; 4], Faults::Some, 1));
    assert_eq!(stage.third_party.arrivals("halted").len(), call.attempts.len());
}

/// A worker cut off from the ledger while its request is on its way, and another process that takes over.
struct CutOff {
    id: String,
    // Processes end before the stage is cleared, or they would declare again what it deletes.
    _victim: Service,
    heir: Service,
    line: TcpProxy,
    stage: Stage,
}

impl CutOff {
    /// The request of the call's first attempt succeeds, but its record finds no way.
    async fn set(ladder: &str, times: &str, path: &str) -> Self {
        let database = crate::support::database::Place::on_postgres().await;
        let shop = format!("ladder = [\"{ladder}\"]\n{times}");
        let plan = Plan::new(Transport::RabbitMq, Store::Postgres, "shop", &shop);
        let (line, url) = TcpProxy::before_database(&database.url()).await;
        let mut stage = Stage::set_on(Plan { database_url: Some(url), ..plan }, database).await;
        let victim = Service::start(&stage.program("victim", "api,worker")).await;
        stage.reach_database_directly();
        let heir = Service::start(&stage.program("heir", "api,worker,sweeper")).await;
        let id = victim.client().submit_new(&call("shop", "cut-off", path)).await;
        third_party_sees(&stage, 1).await;
        line.cut();
        call_that(&heir.client(), &id, "the attempt is given up", lost).await;
        Self { id, _victim: victim, heir, line, stage }
    }

    async fn ends_well(self, ladder_ms: u64, attempts: usize) {
        let client = self.heir.client();
        let call = call_that(&client, &self.id, "the call succeeds", |call| call.status == "succeeded").await;
        assert_eq!(call.attempts.len(), attempts, "{call:?}");
        assert_eq!(late_verdict(&call), Some("success"), "{call:?}");
        let history = History::gather(&client, &self.stage.third_party, ["cut-off".to_owned()]).await;
        assert_hold(&history, &Terms::new(&[ladder_ms], Faults::Some, 1));
        assert_eq!(self.stage.third_party.arrivals("cut-off").len(), attempts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_success_ends_a_call_that_waits_for_its_next_attempt() {
    let journey = CutOff::set("10m", SHORT, "/ok?ms=500").await;
    journey.line.mend();
    journey.ends_well(600_000, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_success_beats_the_failure_of_the_attempt_that_runs_meanwhile() {
    let journey = CutOff::set("300ms", LONG, "/ok?ms=6500").await;
    journey.stage.third_party.go_down(None);
    third_party_sees(&journey.stage, 2).await;
    // The record of the first attempt gets through while the second one runs.
    journey.line.mend();
    // It fails, and no rung is left: a person would have to decide, but for the success that came meanwhile.
    journey.ends_well(300, 2).await;
}
