//! The delay transport: one suite over the seam, run on every implementation; then what only RabbitMQ promises.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redial::call::{AttemptNumber, CallId, Ticket};
use redial::clock::{Timestamp, monotonic};
use redial::delay::embedded::EmbeddedDelay;
use redial::delay::rabbitmq::{RabbitMqDelay, catch_all};
use redial::delay::walk::Tiers;
use redial::delay::{Bundle, Delay, Departure};
use redial::endpoint::LaneName;
use redial::telemetry::Metrics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use redial::broker::{HeaderValue, Message, Published};

use crate::support::broker::{Plugins, PrivateBroker, TestBroker, name, topology};
use crate::support::wait_for;

/// The tiers of the suite, in milliseconds.
const TIERS_MS: [u64; 4] = [100, 300, 1_000, 5_000];
/// The lanes of the suite, each with its endpoints.
const LANES: [(&str, &[&str]); 2] = [("sms", &["sms", "mms"]), ("payment", &["payment"])];

/// A transport with what it stands on.
struct Subject {
    delay: Arc<dyn Delay>,
    _broker: Option<TestBroker>,
}

impl Subject {
    async fn rabbitmq() -> Self {
        let broker = TestBroker::start(topology(&TIERS_MS, &LANES)).await;
        let delay = Arc::new(RabbitMqDelay::new(Arc::clone(&broker.broker), tiers(), Metrics::default()));
        Self { delay, _broker: Some(broker) }
    }

    /// Timers end with the test's runtime.
    #[expect(clippy::unused_async, reason = "made like its twin")]
    async fn embedded() -> Self {
        let lanes =
            LANES.map(|(lane, endpoints)| (name(lane), endpoints.iter().copied().map(name).collect()));
        let delay = EmbeddedDelay::start(
            &lanes.into(),
            tiers(),
            "redial".to_owned(),
            &TaskTracker::new(),
            CancellationToken::new(),
        );
        Self { delay, _broker: None }
    }

    async fn depart(&self, departures: Vec<Departure>) {
        self.delay.depart(departures).await.unwrap();
    }

    async fn open(&self, lane: &str) -> mpsc::Receiver<Bundle> {
        self.delay.open(&name(lane)).await.unwrap()
    }
}

fn tiers() -> Tiers {
    Tiers::new(TIERS_MS.map(Duration::from_millis)).unwrap()
}

fn ticket() -> Ticket {
    Ticket { call: CallId::generate(), attempt: AttemptNumber::FIRST }
}

fn departure(ticket: Ticket, endpoint: &str, wait_ms: u64) -> Departure {
    let wait = Duration::from_millis(wait_ms);
    Departure { ticket, endpoint: name(endpoint), wait, wake_at: Timestamp::now().plus(wait) }
}

async fn next(lane: &mut mpsc::Receiver<Bundle>) -> Bundle {
    tokio::time::timeout(Duration::from_secs(30), lane.recv()).await.expect("a bundle within 30 s").unwrap()
}

/// Takes bundles until so many tickets are there; acknowledges all; answers the sizes of the bundles too.
async fn take(lane: &mut mpsc::Receiver<Bundle>, count: usize) -> (Vec<Ticket>, Vec<usize>) {
    let (mut tickets, mut sizes) = (Vec::new(), Vec::new());
    while tickets.len() < count {
        let bundle = next(lane).await;
        sizes.push(bundle.tickets.len());
        tickets.extend(bundle.tickets);
        bundle.receipt.acknowledge().await;
    }
    (tickets, sizes)
}

async fn a_ticket_comes_out_after_its_wait_and_not_before(subject: &Subject) {
    let mut lane = subject.open("sms").await;
    for wait_ms in [100, 300, 1_000] {
        let ticket = ticket();
        let departed = monotonic();
        let departure = departure(ticket, "sms", wait_ms);
        let wake_at = departure.wake_at;
        subject.depart(vec![departure]).await;
        let bundle = next(&mut lane).await;
        let waited = departed.elapsed();
        assert_eq!(bundle.tickets, [ticket]);
        assert_eq!(bundle.endpoint, Some(name("sms")));
        assert_eq!(bundle.wake_at.map(|at| at.unix_micros() / 1_000), Some(wake_at.unix_micros() / 1_000));
        assert!(waited + Duration::from_millis(5) >= Duration::from_millis(wait_ms), "{wait_ms}: {waited:?}");
        bundle.receipt.acknowledge().await;
    }
}

async fn a_long_wait_does_not_stand_in_front_of_a_short_one(subject: &Subject) {
    let mut lane = subject.open("sms").await;
    let (long, middle, short) = (ticket(), ticket(), ticket());
    let waits = [(long, 5_000), (middle, 1_000), (short, 100)];
    subject.depart(waits.map(|(ticket, wait)| departure(ticket, "sms", wait)).into()).await;
    let (tickets, _) = take(&mut lane, 3).await;
    assert_eq!(tickets, [short, middle, long]);
}

async fn a_wait_of_nothing_goes_straight_into_the_lane(subject: &Subject) {
    let mut lane = subject.open("payment").await;
    let (now, later) = (ticket(), ticket());
    subject.depart(vec![departure(later, "payment", 5_000), departure(now, "payment", 0)]).await;
    assert_eq!(take(&mut lane, 1).await.0, [now]);
}

async fn many_tickets_arrive_once_each_and_in_bundles(subject: &Subject) {
    const TICKETS: usize = 2_000;
    let mut lane = subject.open("sms").await;
    let departed: Vec<Ticket> = (0..TICKETS).map(|_| ticket()).collect();
    let tasks: Vec<_> = departed
        .chunks(5)
        .map(|few| {
            let delay = Arc::clone(&subject.delay);
            let few = few.iter().map(|ticket| departure(*ticket, "sms", 300)).collect();
            tokio::spawn(async move { delay.depart(few).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let (arrived, sizes) = take(&mut lane, TICKETS).await;
    let mut times = HashMap::<Ticket, usize>::new();
    for ticket in &arrived {
        *times.entry(*ticket).or_default() += 1;
    }
    assert_eq!(arrived.len(), TICKETS, "bundles of {sizes:?}");
    assert!(departed.iter().all(|ticket| times.get(ticket) == Some(&1)));
    assert!(sizes.iter().all(|size| *size <= 64));
    assert!(sizes.len() < TICKETS / 4, "{} messages for {TICKETS} tickets", sizes.len());
}

async fn an_arbitrary_wait_is_walked_and_never_ends_early(subject: &Subject) {
    let mut lane = subject.open("payment").await;
    let ticket = ticket();
    let wait = Duration::from_millis(1_750);
    let departed = monotonic();
    subject.depart(vec![departure(ticket, "payment", 1_750)]).await;
    let mut hops = 0;
    loop {
        let bundle = next(&mut lane).await;
        assert_eq!(bundle.tickets, [ticket]);
        hops += 1;
        let remaining = wait.saturating_sub(departed.elapsed());
        if remaining <= Duration::from_millis(5) {
            bundle.receipt.acknowledge().await;
            break;
        }
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap();
        subject.depart(vec![departure(ticket, "payment", remaining_ms)]).await;
        bundle.receipt.acknowledge().await;
    }
    assert!(departed.elapsed() + Duration::from_millis(5) >= wait);
    assert!(hops < 10, "{hops} hops");
}

async fn lanes_do_not_mix_and_the_catch_all_takes_the_rest(subject: &Subject) {
    let (mut sms, mut payment) = (subject.open("sms").await, subject.open("payment").await);
    let mut rest = subject.delay.open(&catch_all()).await.unwrap();
    let by_endpoint =
        ["sms", "mms", "payment", "stranger", "unheard-of"].map(|endpoint| (endpoint, ticket()));
    for wait_ms in [0, 100] {
        subject
            .depart(by_endpoint.map(|(endpoint, ticket)| departure(ticket, endpoint, wait_ms)).into())
            .await;
        let mut of_sms = take(&mut sms, 2).await.0;
        of_sms.sort_by_key(|ticket| ticket.call);
        assert_eq!(of_sms, [by_endpoint[0].1, by_endpoint[1].1]);
        assert_eq!(take(&mut payment, 1).await.0, [by_endpoint[2].1]);
        for _ in 0..2 {
            let bundle = next(&mut rest).await;
            let endpoint = bundle.endpoint.clone().unwrap();
            let expected = by_endpoint.iter().find(|(name, _)| *name == endpoint.as_str()).unwrap();
            assert_eq!(bundle.tickets, [expected.1]);
            bundle.receipt.acknowledge().await;
        }
    }
}

async fn a_backlog_is_counted(subject: &Subject) {
    let lane = name("payment");
    for _ in 0..3 {
        subject.depart(vec![departure(ticket(), "payment", 0)]).await;
    }
    wait_for("a backlog of 3", || async { (subject.delay.backlog(&lane).await.unwrap() == 3).then_some(()) })
        .await;
    subject.depart(vec![departure(ticket(), "payment", 5_000)]).await;
    let depths = wait_for("a ticket in a tier", || async {
        let depths = subject.delay.depths().await.unwrap();
        (depths.values().sum::<u64>() == 4).then_some(depths)
    })
    .await;
    assert_eq!(depths.len(), TIERS_MS.len() + LANES.len() + 1, "{depths:?}");
    let mut open = subject.delay.open(&lane).await.unwrap();
    take(&mut open, 3).await;
    assert_eq!(subject.delay.backlog(&lane).await.unwrap(), 0);
}

async fn a_lane_that_does_not_exist_cannot_be_opened(subject: &Subject) {
    let lane: LaneName = name("nowhere");
    assert!(subject.delay.open(&lane).await.is_err());
    assert!(subject.delay.backlog(&lane).await.is_err());
}

/// Makes the suite's tests for one implementation.
macro_rules! suite {
    ($subject:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&$subject.await).await;
            }
        )*
    };
}

/// Makes the suite for one implementation.
macro_rules! conformance {
    ($module:ident, $subject:expr) => {
        mod $module {
            use super::*;

            suite!($subject;
                a_ticket_comes_out_after_its_wait_and_not_before,
                a_long_wait_does_not_stand_in_front_of_a_short_one,
                a_wait_of_nothing_goes_straight_into_the_lane,
                many_tickets_arrive_once_each_and_in_bundles,
                an_arbitrary_wait_is_walked_and_never_ends_early,
                lanes_do_not_mix_and_the_catch_all_takes_the_rest,
                a_backlog_is_counted,
                a_lane_that_does_not_exist_cannot_be_opened,
            );
        }
    };
}

conformance!(rabbitmq, Subject::rabbitmq());
conformance!(embedded, Subject::embedded());

/// A transport of its concrete kind, for what only RabbitMQ promises.
async fn on_rabbitmq(broker: &TestBroker) -> RabbitMqDelay {
    tokio::time::timeout(Duration::from_secs(60), broker.broker.connected()).await.unwrap();
    RabbitMqDelay::new(Arc::clone(&broker.broker), tiers(), Metrics::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_was_not_acknowledged_comes_again() {
    let broker = TestBroker::start(topology(&TIERS_MS, &LANES)).await;
    let delay = on_rabbitmq(&broker).await;
    let ticket = ticket();
    let mut lane = delay.open(&name("sms")).await.unwrap();
    delay.depart(vec![departure(ticket, "sms", 100)]).await.unwrap();

    // Dropped without a word, while its lane is open.
    assert_eq!(next(&mut lane).await.tickets, [ticket]);
    // Held while its lane is closed, then dropped.
    let held = next(&mut lane).await;
    assert_eq!(held.tickets, [ticket]);
    drop(lane);
    let mut lane = delay.open(&name("sms")).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), lane.recv()).await.is_err(), "it is still held");
    drop(held);
    let again = next(&mut lane).await;
    assert_eq!(again.tickets, [ticket]);

    // Acknowledged after its lane was closed.
    drop(lane);
    again.receipt.acknowledge().await;
    wait_for("the lane is empty", || async {
        (delay.backlog(&name("sms")).await.unwrap() == 0).then_some(())
    })
    .await;
    let mut lane = delay.open(&name("sms")).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), lane.recv()).await.is_err(),
        "it came once more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_ticket_is_dropped_and_holds_nobody_up() {
    let broker = TestBroker::start(topology(&TIERS_MS, &LANES)).await;
    let delay = on_rabbitmq(&broker).await;
    let (first, second, last) = (ticket(), ticket(), ticket());
    let id = first.call;
    let bodies = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"tickets":[]}"#.to_owned(),
        r#"{"tickets":[{"call":"nobody","attempt":1}]}"#.to_owned(),
        format!(r#"{{"tickets":[{{"call":"{id}"}}]}}"#),
        format!(r#"{{"tickets":[{{"call":"{id}","attempt":0}},{{"call":"{id}","attempt":1}}]}}"#),
        format!(r#"{{"tickets":[{{"call":"{}","attempt":1}}],"more":7}}"#, second.call),
    ];
    let due = broker.names().due();
    let messages = bodies.map(|body| Message::json(due.as_str(), "now.sms", body.into_bytes()));
    assert!(broker.broker.publish(messages.into()).await.iter().all(|told| *told == Published::Confirmed));
    let strange_key = Message::json(due.as_str(), "sms", br#"{"tickets":7}"#.to_vec());
    let forged = Message::json(due.as_str(), "x.Not An Endpoint", b"{}".to_vec())
        .with_header("x-redial-wake-at", HeaderValue::Text("yesterday".to_owned()));
    assert_eq!(broker.broker.publish(vec![strange_key, forged]).await, [Published::Confirmed; 2]);
    delay.depart(vec![departure(last, "sms", 100)]).await.unwrap();

    let mut lane = delay.open(&name("sms")).await.unwrap();
    assert_eq!(take(&mut lane, 3).await.0, [first, second, last]);
    let mut rest = delay.open(&catch_all()).await.unwrap();
    wait_for("all unreadable tickets are counted", || async { (delay.unreadable() == 9).then_some(()) })
        .await;
    assert!(rest.try_recv().is_err() && lane.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_and_a_lane_that_were_deleted_are_declared_again() {
    let broker = TestBroker::start(topology(&TIERS_MS, &LANES)).await;
    let delay = on_rabbitmq(&broker).await;
    let mut lane = delay.open(&name("sms")).await.unwrap();
    delay.depart(vec![departure(ticket(), "sms", 100)]).await.unwrap();
    take(&mut lane, 1).await;

    let mut gone = redial::broker::Topology::clone(&broker.broker.topology());
    gone.exchanges.clear();
    gone.queues.retain(|queue| queue.name.ends_with(".delay.100ms") || queue.name.ends_with(".due.sms"));
    assert_eq!(gone.queues.len(), 2);
    broker.broker.admin().delete(&gone).await.unwrap();

    let ticket = ticket();
    delay.depart(vec![departure(ticket, "sms", 100)]).await.unwrap();
    let resumed = tokio::time::timeout(Duration::from_secs(20), take(&mut lane, 1)).await.unwrap();
    assert_eq!(resumed.0, [ticket]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_tickets_survive_a_restart_of_rabbitmq_and_the_lane_goes_on() {
    let mut server = PrivateBroker::start(Plugins::None).await;
    let broker = TestBroker::start_at(&server.url(), topology(&TIERS_MS, &LANES)).await;
    let delay = on_rabbitmq(&broker).await;
    let mut lane = delay.open(&name("sms")).await.unwrap();
    let before = ticket();
    delay.depart(vec![departure(before, "sms", 1_000)]).await.unwrap();

    server.stop().await;
    wait_for("RabbitMQ is known to be away", || async { delay.is_away().then_some(()) }).await;
    assert!(delay.depart(vec![departure(ticket(), "sms", 100)]).await.is_err());
    server.start_again().await;
    wait_for("RabbitMQ is known to be back", || async { (!delay.is_away()).then_some(()) }).await;

    let after = ticket();
    delay.depart(vec![departure(after, "sms", 1_000)]).await.unwrap();
    let mut arrived = HashSet::new();
    while arrived.len() < 2 {
        let bundle = next(&mut lane).await;
        arrived.extend(bundle.tickets.iter().copied());
        bundle.receipt.acknowledge().await;
    }
    assert!(arrived.contains(&before) && arrived.contains(&after));
}
