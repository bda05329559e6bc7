//! The load: submissions by AMQP, in windows with confirms, as fast as they are taken or at a steady rate.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use super::BenchArgs;
use crate::broker::{Broker, Message, Published};
use crate::clock::Timestamp;

/// Windows that are on their way at once.
const WINDOWS: usize = 4;
/// Submissions of one window.
const WINDOW: u32 = 250;
/// A body of the size that the comparison in the documentation uses.
const FILLER: &str = "The quick brown fox jumps over the lazy dog, again and again, until the body is as long as a small order or message usually is: \
                      about two hundred and fifty bytes, keys and punctuation of its JSON document included.";
/// How often a steady load publishes.
const TICK: Duration = Duration::from_millis(5);

/// Publishes all submissions; answers how many were confirmed.
pub(super) async fn publish(args: &BenchArgs, broker: &Broker) -> anyhow::Result<u32> {
    match args.rate {
        None => publish_fast(args, broker).await,
        Some(rate) => publish_steadily(args, broker, rate).await,
    }
}

async fn publish_fast(args: &BenchArgs, broker: &Broker) -> anyhow::Result<u32> {
    let mut confirmed = 0;
    let numbers: Vec<u32> = (0..args.calls).collect();
    for batch in numbers.chunks(WINDOW as usize * WINDOWS) {
        let windows =
            batch.chunks(WINDOW as usize).map(|window| broker.publish(messages(args, broker, window)));
        for outcomes in futures_util::future::join_all(windows).await {
            confirmed += count(&outcomes);
        }
    }
    Ok(confirmed)
}

async fn publish_steadily(args: &BenchArgs, broker: &Broker, rate: u32) -> anyhow::Result<u32> {
    let (began, mut sent, mut confirmed) = (Instant::now(), 0_u32, 0);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while sent < args.calls {
        ticks.tick().await;
        let due = began.elapsed().as_micros() * u128::from(rate) / 1_000_000 + 1;
        let until = u32::try_from(due).unwrap_or(u32::MAX).min(args.calls);
        let numbers: Vec<u32> = (sent..until).collect();
        sent = until;
        confirmed += count(&broker.publish(messages(args, broker, &numbers)).await);
    }
    Ok(confirmed)
}

fn messages(args: &BenchArgs, broker: &Broker, numbers: &[u32]) -> Vec<Message> {
    let exchange = broker.topology().names.submit();
    let not_before = args.waiting.then(|| Timestamp::now().plus(Duration::from_hours(1)).to_string());
    numbers
        .iter()
        .map(|number| {
            let mut document = json!({
                "endpoint": "bench",
                "idempotency_key": format!("bench-{number}"),
                "request": { "method": "POST", "path": "/", "body": { "number": number, "text": FILLER } },
            });
            if let Some(time) = &not_before {
                document["not_before"] = json!(time);
            }
            Message::json(exchange.clone(), "bench", document.to_string().into_bytes())
        })
        .collect()
}

fn count(outcomes: &[Published]) -> u32 {
    let confirmed = outcomes.iter().filter(|outcome| matches!(outcome, Published::Confirmed)).count();
    if let Some(other) = outcomes.iter().find(|outcome| !matches!(outcome, Published::Confirmed)) {
        eprintln!("{} submissions were not confirmed, the first is {other:?}", outcomes.len() - confirmed);
    }
    u32::try_from(confirmed).unwrap_or(u32::MAX)
}
