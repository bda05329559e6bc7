//! Tallies: counts that many processes add to.

use std::time::Duration;

use redial::call::attempt::{Choice, Cost};
use redial::call::{ErrorKind, Outcome, ProviderName, Verdict};
use redial::clock::Timestamp;
use redial::ledger::{EndpointTally, Ledger};
use redial::tally::{Counts, Kind, Tallies, minute_of};

use tokio_util::sync::CancellationToken;

use super::calls::{answered, attempt, endpoint, running};
use crate::support::database::Database;

on_both_ledgers!(
    counts_add_up_over_processes_and_minutes,
    nothing_counted_is_nothing_shown,
    what_was_counted_last_is_added_at_the_end
);

async fn of_endpoints(ledger: &dyn Ledger, since: Timestamp) -> Vec<(String, String, Counts)> {
    let mut found: Vec<(String, String, Counts)> = Vec::new();
    for EndpointTally { endpoint, provider, kind, label, count } in
        ledger.tallies_by_endpoint(since, None).await.unwrap()
    {
        if found.last().is_none_or(|last| (&last.0, &last.1) != (&endpoint, &provider)) {
            found.push((endpoint, provider, Counts::default()));
        }
        found.last_mut().unwrap().2.add(kind, &label, count);
    }
    found
}

async fn counts_add_up_over_processes_and_minutes(database: Database) {
    let ledger = database.ledger();
    let call = running(&*ledger, "a").await;
    let now = minute_of(Timestamp::now());
    let (one, other) = (Tallies::default(), Tallies::default());
    let timeout = Outcome::Failed { kind: ErrorKind::Timeout, detail: "personal".to_owned() };
    let mut of_alpha = attempt(&call, Verdict::Success, answered(200));
    of_alpha.choice = Some(Choice {
        provider: ProviderName::parse("alpha").unwrap(),
        reason: "its turn".to_owned(),
        cost: Some(Cost::from_millionths(45_000)),
    });
    for (tallies, at, attempt) in [
        (&one, now, attempt(&call, Verdict::Success, answered(200))),
        (&one, now, attempt(&call, Verdict::Transient, answered(503))),
        (&other, now, attempt(&call, Verdict::Ambiguous, timeout)),
        (&other, now, of_alpha),
        (&other, now.minus(Duration::from_secs(60)), attempt(&call, Verdict::Success, answered(200))),
    ] {
        tallies.attempt(&call.endpoint, &attempt, at);
    }
    one.accepted(&endpoint("crm"), now);
    for tallies in [&one, &other] {
        ledger.add_tallies(&tallies.take()).await.unwrap();
    }
    let found = of_endpoints(&*ledger, now).await;
    let named: Vec<_> = found.iter().map(|(endpoint, provider, _)| (&**endpoint, &**provider)).collect();
    assert_eq!(named, [("crm", ""), ("sms", ""), ("sms", "alpha")]);
    assert_eq!((found[0].2.accepted, found[0].2.attempts()), (1, 0));
    let sms = &found[1].2;
    assert_eq!(sms.attempts(), 3);
    assert_eq!(
        sms.errors.iter().map(|(error, n)| (&**error, *n)).collect::<Vec<_>>(),
        [("503", 1), ("timeout", 1)]
    );
    assert_eq!((sms.buckets.iter().sum::<u64>(), sms.latency_ms(1.0)), (3, Some(15.0)));
    assert_eq!((found[2].2.attempts(), found[2].2.cost_micros), (1, 45_000));

    let earlier = now.minus(Duration::from_secs(60));
    let by_minute = ledger.tallies_by_minute(earlier, Some(&endpoint("sms"))).await.unwrap();
    let successes: Vec<_> = by_minute
        .iter()
        .filter(|tally| tally.kind == Kind::Verdict && tally.label == "success")
        .map(|tally| (tally.minute, tally.count))
        .collect();
    assert_eq!(successes, [(earlier, 1), (now, 2)]);
    assert!(by_minute.iter().all(|tally| tally.kind != Kind::Accepted), "that was another endpoint");
}

async fn nothing_counted_is_nothing_shown(database: Database) {
    let ledger = database.ledger();
    ledger.add_tallies(&[]).await.unwrap();
    let since = Timestamp::UNIX_EPOCH;
    assert!(ledger.tallies_by_minute(since, None).await.unwrap().is_empty());
    assert!(ledger.tallies_by_endpoint(since, None).await.unwrap().is_empty());
}

async fn what_was_counted_last_is_added_at_the_end(database: Database) {
    let (tallies, stop) = (Tallies::default(), CancellationToken::new());
    let run = tokio::spawn(redial::upkeep::tallies::run(tallies.clone(), database.ledger(), stop.clone()));
    tallies.accepted(&endpoint("sms"), Timestamp::now());
    stop.cancel();
    run.await.unwrap();
    assert_eq!(database.number("select n from tallies where kind = 'accepted'").await, 1);
    assert!(tallies.take().is_empty());
}
