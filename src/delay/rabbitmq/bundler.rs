//! Collects the tickets of many callers into few messages.
//!
//! A round takes what is there, groups it by where it goes, publishes, and answers every caller. While the rounds that may run
//! at once await their confirms, tickets gather for the next one: the busier it is, the fuller the bundles.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::super::walk::Tiers;
use super::super::{DelayError, Departure};
use super::wire;
use crate::broker::topology::{now_key, tier_key};
use crate::broker::{Broker, HeaderValue, Message, Names, Published};
use crate::call::EndpointName;
use crate::limits::{BUNDLE_LINGER, BUNDLE_ROUNDS, BUNDLE_TICKETS_MAX, PUBLISH_QUEUE};
use crate::telemetry::Metrics;

type Answer = Result<(), DelayError>;

/// Tickets of one caller, and where the answer goes.
#[derive(Debug)]
pub(super) struct Request {
    departures: Vec<Departure>,
    answer: oneshot::Sender<Answer>,
}

impl Request {
    pub(super) fn new(departures: Vec<Departure>) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        (Self { departures, answer }, receiver)
    }
}

/// Starts the bundler; it ends when the last sender is gone.
pub(super) fn start(
    broker: Arc<Broker>,
    tiers: Arc<ArcSwap<Tiers>>,
    metrics: Metrics,
) -> mpsc::Sender<Request> {
    let (sender, requests) = mpsc::channel(PUBLISH_QUEUE);
    tokio::spawn(run(broker, tiers, metrics, requests));
    sender
}

async fn run(
    broker: Arc<Broker>,
    tiers: Arc<ArcSwap<Tiers>>,
    metrics: Metrics,
    mut requests: mpsc::Receiver<Request>,
) {
    let rounds = Arc::new(Semaphore::new(BUNDLE_ROUNDS));
    let mut busy = false;
    while let Some(first) = requests.recv().await {
        // Closed only when this task has ended.
        let Ok(permit) = Arc::clone(&rounds).acquire_owned().await else { return };
        if busy {
            tokio::time::sleep(BUNDLE_LINGER).await;
        }
        let round = gather(first, &mut requests);
        busy = round.len() > 1;
        let (broker, tiers, metrics) = (Arc::clone(&broker), Arc::clone(&tiers), metrics.clone());
        tokio::spawn(async move {
            publish(&broker, &tiers.load_full(), &metrics, round).await;
            drop(permit);
        });
    }
}

/// Everything that waits now, up to a bound.
fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut count = first.departures.len();
    let mut round = vec![first];
    while count < PUBLISH_QUEUE {
        let Ok(request) = requests.try_recv() else { break };
        count += request.departures.len();
        round.push(request);
    }
    round
}

async fn publish(broker: &Broker, tiers: &Tiers, metrics: &Metrics, round: Vec<Request>) {
    let topology = broker.topology();
    let names = &topology.names;
    let bundles = bundle(names, tiers, &round);
    for bundle in &bundles {
        metrics.bundle(bundle.departures.len());
    }
    let mut outcomes = broker.publish(bundles.iter().map(Bundle::message).collect()).await;
    publish_again(broker, &bundles, &mut outcomes).await;
    let mut answers: Vec<Answer> = round.iter().map(|_| Ok(())).collect();
    for (bundle, outcome) in bundles.iter().zip(outcomes) {
        if let Err(error) = judge(bundle, outcome) {
            for (request, _) in &bundle.departures {
                answers[*request] = Err(error.clone());
            }
        }
    }
    drop(bundles);
    for (request, answer) in round.into_iter().zip(answers) {
        // The caller was cancelled; its tickets travel all the same, which harms nobody.
        let _ = request.answer.send(answer);
    }
}

/// A tier that was deleted has been declared again by now; its tickets get a second try.
async fn publish_again(broker: &Broker, bundles: &[Bundle<'_>], outcomes: &mut [Published]) {
    let unroutable: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| **outcome == Published::Unroutable)
        .map(|(position, _)| position)
        .collect();
    if unroutable.is_empty() {
        return;
    }
    let again =
        broker.publish(unroutable.iter().map(|position| bundles[*position].message()).collect()).await;
    for (position, outcome) in unroutable.into_iter().zip(again) {
        outcomes[position] = outcome;
    }
}

fn judge(bundle: &Bundle<'_>, outcome: Published) -> Answer {
    match outcome {
        Published::Confirmed => Ok(()),
        Published::Unroutable => {
            Err(DelayError::Refused(format!("no queue is bound to {} for {}", bundle.exchange, bundle.key)))
        }
        Published::Refused => {
            Err(DelayError::Refused(format!("the queue for {} is full or failed", bundle.key)))
        }
        Published::Unknown => Err(DelayError::Away("no confirm came".to_owned())),
        Published::Away => Err(DelayError::Away("not connected, or blocked".to_owned())),
    }
}

/// Tickets that travel as one message.
struct Bundle<'a> {
    exchange: String,
    key: String,
    /// Each with the position of its request in the round.
    departures: Vec<(usize, &'a Departure)>,
}

impl Bundle<'_> {
    fn message(&self) -> Message {
        let body = wire::write(self.departures.iter().map(|(_, departure)| &departure.ticket));
        let message = Message::json(self.exchange.as_str(), self.key.as_str(), body);
        match self.departures.iter().map(|(_, departure)| departure.wake_at).min() {
            Some(earliest) => {
                message.with_header(wire::WAKE_AT_HEADER, HeaderValue::Number(wire::wake_at_ms(earliest)))
            }
            None => message,
        }
    }
}

fn bundle<'a>(names: &Names, tiers: &Tiers, round: &'a [Request]) -> Vec<Bundle<'a>> {
    let mut groups = HashMap::<(_, &EndpointName), Vec<(usize, &Departure)>>::new();
    for (position, request) in round.iter().enumerate() {
        for departure in &request.departures {
            let group = (tiers.pick(departure.wait), &departure.endpoint);
            groups.entry(group).or_default().push((position, departure));
        }
    }
    let mut bundles = Vec::with_capacity(groups.len());
    for ((tier, endpoint), mut departures) in groups {
        // What wakes its call at a similar time shares a message: its header tells how far a lane has got.
        departures.sort_by_key(|(_, departure)| departure.wake_at);
        for chunk in departures.chunks(BUNDLE_TICKETS_MAX) {
            let (exchange, key) = match tier {
                Some(tier) => (names.delay(), tier_key(tier, endpoint)),
                None => (names.due(), now_key(endpoint)),
            };
            bundles.push(Bundle { exchange, key, departures: chunk.to_vec() });
        }
    }
    bundles
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{AttemptNumber, CallId, Ticket};
    use crate::clock::Timestamp;

    fn departure(endpoint: &str, wait_s: u64, wake_at: i64) -> Departure {
        Departure {
            ticket: Ticket { call: CallId::generate(), attempt: AttemptNumber::FIRST },
            endpoint: EndpointName::parse(endpoint).unwrap(),
            wait: Duration::from_secs(wait_s),
            wake_at: Timestamp::from_unix_micros(wake_at),
        }
    }

    fn request(departures: Vec<Departure>) -> Request {
        Request::new(departures).0
    }

    #[test]
    fn tickets_share_a_message_only_with_their_own_tier_and_endpoint() {
        let names = Names::parse("redial").unwrap();
        let tiers = Tiers::new([1, 60].map(Duration::from_secs)).unwrap();
        let round = [
            request(vec![departure("sms", 1, 0), departure("sms", 60, 0), departure("payment", 1, 0)]),
            request(vec![departure("sms", 1, 0), departure("sms", 0, 0)]),
        ];
        let bundles = bundle(&names, &tiers, &round);
        let mut found: Vec<_> = bundles
            .iter()
            .map(|bundle| (bundle.exchange.as_str(), bundle.key.as_str(), bundle.departures.len()))
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("redial.delay", "1m.sms", 1),
                ("redial.delay", "1s.payment", 1),
                ("redial.delay", "1s.sms", 2),
                ("redial.due", "now.sms", 1),
            ]
        );
    }

    #[test]
    fn a_message_holds_a_bounded_number_of_tickets_with_similar_times() {
        let names = Names::parse("redial").unwrap();
        let tiers = Tiers::new([Duration::from_secs(1)]).unwrap();
        let many = (0..150).rev().map(|second| departure("sms", 1, second * 1_000_000)).collect();
        let round = [request(many)];
        let bundles = bundle(&names, &tiers, &round);
        let sizes: Vec<_> = bundles.iter().map(|bundle| bundle.departures.len()).collect();
        assert_eq!(sizes, [64, 64, 22]);
        let first = bundles[1].departures.iter().map(|(_, departure)| departure.wake_at).min();
        assert_eq!(first, Some(Timestamp::from_unix_micros(64_000_000)));
        let message = bundles[1].message();
        assert_eq!(message.headers, [(wire::WAKE_AT_HEADER, HeaderValue::Number(64_000))]);
    }
}
