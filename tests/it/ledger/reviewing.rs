//! What operators look through: groups of errors, filters, and the log of what they did.

use redial::call::{
    ActionKind, Call, CallId, Mode, Outcome, ProviderName, ReviewReason, Submission, Verdict,
};
use redial::call::{ErrorKind, Failure};
use redial::ledger::audit::{AuditAction, AuditEntry, AuditFilter, Audited};
use redial::ledger::{
    Filter, Ledger, NewCall, Next, OperatorAction, Order, Record, Recorded, SetAside, Start,
};

use super::calls::{
    accept, attempt, due, due_with, endpoint, failure, find, next_ticket, record, running, submission,
    success, waiting,
};
use crate::support::database::Database;

on_both_ledgers!(
    failures_of_one_kind_are_one_group,
    a_call_has_its_error_group_however_it_went_to_review,
    groups_are_filtered_like_lists,
    a_list_finds_calls_by_id_provider_and_mode,
    the_audit_log_has_actions_and_everything_else_in_order,
    the_audit_log_is_paged_without_gap_or_double,
    the_audit_log_shows_what_passes_every_filter,
);

/// Runs into an error and goes to review with it.
async fn failed_with(ledger: &dyn Ledger, name: &str, detail: &str) -> Call {
    let call = running(ledger, name).await;
    let outcome = Outcome::Failed { kind: ErrorKind::Timeout, detail: detail.to_owned() };
    let attempt = attempt(&call, Verdict::Ambiguous, outcome);
    let next = Next::Review(ReviewReason::Ambiguous);
    let recorded = record(ledger, Record { attempt: attempt.into(), next, ..failure(&call) }).await;
    assert!(matches!(recorded, Recorded::Applied { .. }), "{recorded:?}");
    find(ledger, &call).await
}

/// The lines of `groups`: endpoint, reason, error, count.
async fn groups(ledger: &dyn Ledger, filter: &Filter) -> Vec<String> {
    let groups = ledger.groups(filter, 100).await.unwrap();
    groups
        .iter()
        .map(|group| {
            let reason = group.reason.map_or("-", ReviewReason::as_str);
            format!("{} {reason} {} {}", group.endpoint, group.error.as_deref().unwrap_or("-"), group.count)
        })
        .collect()
}

async fn failures_of_one_kind_are_one_group(database: Database) {
    let ledger = database.ledger();
    let first = failed_with(&*ledger, "a", "no answer within 20 s").await;
    drop(failed_with(&*ledger, "b", "no answer within 30 s").await);
    let last = failed_with(&*ledger, "c", "no answer within 7.5 s").await;
    drop(failed_with(&*ledger, "d", "the connection was reset").await);
    let refused = running(&*ledger, "e").await;
    let refusal = Record { next: Next::Review(ReviewReason::Exhausted), ..failure(&refused) };
    drop(record(&*ledger, refusal).await);
    drop(record(&*ledger, success(&running(&*ledger, "f").await)).await);

    let filter = Filter { statuses: vec![redial::call::Status::Review], ..Filter::default() };
    let lines = groups(&*ledger, &filter).await;
    assert_eq!(lines[0], "sms ambiguous timeout: no answer within <n> s 3");
    assert!(lines.contains(&"sms ambiguous timeout: the connection was reset 1".to_owned()), "{lines:?}");
    assert!(lines.contains(&"sms exhausted the third party answered 503 1".to_owned()), "{lines:?}");
    assert_eq!(lines.len(), 3);
    assert_eq!(ledger.groups(&filter, 1).await.unwrap().len(), 1);

    let largest = &ledger.groups(&filter, 100).await.unwrap()[0];
    assert_eq!((largest.first_at, largest.last_at), (first.updated_at, last.updated_at));
    assert_eq!(largest.example, last.id);
    let of_group = Filter { error: largest.error.clone(), ..Filter::default() };
    let found = ledger.list(&of_group, None, 10).await.unwrap();
    assert_eq!(found.iter().map(|call| call.idempotency_key.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
}

async fn a_call_has_its_error_group_however_it_went_to_review(database: Database) {
    let ledger = database.ledger();
    // Submitted with a failure that nobody may repeat.
    let met =
        Failure { error: Some("order 17: read timeout".to_owned()), ambiguous: true, ..Failure::default() };
    let told = Submission { failure: Some(met.clone()), ..submission("told") };
    drop(accept(&*ledger, NewCall { start: Start::Review(ReviewReason::Ambiguous), ..due_with(told) }).await);
    // Set aside after an attempt, and before the first one.
    for (name, attempts) in [("tried", 1), ("untried", 0)] {
        let failure_met = (attempts == 0).then(|| met.clone());
        let mut call =
            accept(&*ledger, due_with(Submission { failure: failure_met, ..submission(name) })).await;
        for _ in 0..attempts {
            let claimed = super::calls::claim(&*ledger, &call).await;
            drop(record(&*ledger, failure(&claimed)).await);
            call = find(&*ledger, &claimed).await;
        }
        let order = SetAside { ticket: next_ticket(&call), reason: ReviewReason::Unroutable };
        assert!(ledger.set_aside(&[order]).await.unwrap()[0].is_some());
    }
    let silent = NewCall { start: Start::Review(ReviewReason::Rejected), ..due("silent") };
    drop(accept(&*ledger, silent).await);

    for (error, expected) in [
        ("order <n>: read timeout", &["untried", "told"][..]),
        ("the third party answered 503", &["tried"]),
        ("", &["silent"]),
        ("order 17: read timeout", &[]),
    ] {
        let filter = Filter { error: Some(error.to_owned()), ..Filter::default() };
        let found = ledger.list(&filter, None, 10).await.unwrap();
        let keys: Vec<_> = found.iter().map(|call| call.idempotency_key.as_str()).collect();
        assert_eq!(keys, expected, "{error}");
    }
}

async fn groups_are_filtered_like_lists(database: Database) {
    let ledger = database.ledger();
    let elsewhere = Submission { endpoint: endpoint("crm"), ..submission("elsewhere") };
    let review =
        |submission| NewCall { start: Start::Review(ReviewReason::Rejected), ..due_with(submission) };
    drop(accept(&*ledger, review(elsewhere)).await);
    drop(accept(&*ledger, review(submission("here"))).await);
    drop(accept(&*ledger, waiting("later")).await);
    let all = Filter::default();
    for (filter, expected) in [
        (Filter { endpoint: Some(endpoint("crm")), ..all.clone() }, &["crm rejected - 1"][..]),
        (
            Filter { reason: Some(ReviewReason::Rejected), text: Some("HERE".to_owned()), ..all.clone() },
            &["crm rejected - 1", "sms rejected - 1"],
        ),
        (Filter { statuses: vec![redial::call::Status::Scheduled], ..all.clone() }, &["sms - - 1"]),
        (Filter { text: Some("nowhere".to_owned()), ..all }, &[]),
    ] {
        let mut lines = groups(&*ledger, &filter).await;
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }
}

async fn a_list_finds_calls_by_id_provider_and_mode(database: Database) {
    let ledger = database.ledger();
    let alpha = ProviderName::parse("alpha").unwrap();
    let plain = accept(&*ledger, due("plain")).await;
    let vendor = Submission { provider: Some(alpha.clone()), ..submission("vendor") };
    let vendor = accept(&*ledger, due_with(vendor)).await;
    let dry = accept(&*ledger, due_with(Submission { mode: Mode::DryRun, ..submission("dry") })).await;
    let id = plain.id.to_string();
    let all = Filter::default();
    let text = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
    for (what, filter, expected) in [
        ("a whole id", text(&id), &["plain"][..]),
        ("in capitals", text(&id.to_uppercase()), &["plain"]),
        ("without dashes", text(&plain.id.uuid().simple().to_string()), &["plain"]),
        ("its end", text(&id[id.len() - 12..]), &["plain"]),
        ("too little of it", text(&id[id.len() - 7..]), &[]),
        (
            "ids",
            Filter { ids: Some(vec![plain.id, dry.id, CallId::generate()]), ..all.clone() },
            &["dry", "plain"],
        ),
        ("no ids", Filter { ids: Some(Vec::new()), ..all.clone() }, &[]),
        ("provider", Filter { provider: Some(alpha), ..all.clone() }, &["vendor"]),
        ("dry", Filter { mode: Some(Mode::DryRun), ..all.clone() }, &["dry"]),
        ("live", Filter { mode: Some(Mode::Live), ..all }, &["vendor", "plain"]),
    ] {
        let found = ledger.list(&filter, None, 10).await.unwrap();
        let keys: Vec<_> = found.iter().map(|call| call.idempotency_key.as_str()).collect();
        assert_eq!(keys, expected, "{what}");
    }
    assert_eq!(find(&*ledger, &vendor).await.provider.unwrap().as_str(), "alpha");
}

fn entry(actor: &str, action: AuditAction, subject: &str) -> AuditEntry {
    AuditEntry {
        actor: actor.to_owned(),
        action,
        call: None,
        subject: Some(subject.to_owned()),
        note: format!("{subject}: because"),
        detail: None,
    }
}

async fn cancel(ledger: &dyn Ledger, actor: &str, name: &str) -> CallId {
    let call = accept(ledger, waiting(name)).await;
    let action = OperatorAction {
        call: call.id,
        actor: actor.to_owned(),
        note: format!("{name}: because"),
        if_revision: None,
        order: Order::Cancel,
    };
    drop(ledger.act(&action).await.unwrap());
    call.id
}

async fn log(ledger: &dyn Ledger, filter: &AuditFilter) -> Vec<Audited> {
    ledger.audit_log(filter, None, 100).await.unwrap()
}

async fn the_audit_log_has_actions_and_everything_else_in_order(database: Database) {
    let ledger = database.ledger();
    let before = ledger.now().await.unwrap();
    ledger.audit(&entry("ada", AuditAction::Pause, "sms")).await.unwrap();
    let cancelled = cancel(&*ledger, "bob", "a").await;
    let whole = AuditEntry {
        call: Some(cancelled),
        detail: Some("3 \0 calls".to_owned()),
        note: "\0".to_owned(),
        ..entry("ada", AuditAction::Erase, "customer=7")
    };
    ledger.audit(&whole).await.unwrap();
    let after = ledger.now().await.unwrap();

    let entries = log(&*ledger, &AuditFilter::default()).await;
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| (entry.actor.as_str(), entry.action.as_str(), entry.call, entry.subject.as_deref()))
        .collect();
    let expected = [
        ("ada", "erase", Some(cancelled), Some("customer=7")),
        ("bob", ActionKind::Cancel.as_str(), Some(cancelled), None),
        ("ada", "pause", None, Some("sms")),
    ];
    assert_eq!(shown, expected);
    assert_eq!(entries[0].detail.as_deref(), Some("3 \u{fffd} calls"));
    assert_eq!(entries[1].note, "a: because");
    assert!(entries.iter().all(|entry| (before..=after).contains(&entry.place.at)), "{entries:?}");
}

async fn the_audit_log_is_paged_without_gap_or_double(database: Database) {
    let ledger = database.ledger();
    for number in 0..7 {
        ledger.audit(&entry("ada", AuditAction::Resume, &number.to_string())).await.unwrap();
        let _id = cancel(&*ledger, "ada", &format!("call-{number}")).await;
    }
    // Entries of one moment, as a bulk job writes them.
    database.run("update actions set at = (select min(at) from actions)").await.unwrap();
    database.run("update audit set at = (select min(at) from actions) where id > 3").await.unwrap();
    let whole = log(&*ledger, &AuditFilter::default()).await;
    assert_eq!(whole.len(), 14);
    for page in [1, 3, 5, 14] {
        let mut seen: Vec<Audited> = Vec::new();
        loop {
            let before = seen.last().map(|entry| entry.place);
            let entries = ledger.audit_log(&AuditFilter::default(), before, page).await.unwrap();
            if entries.is_empty() {
                break;
            }
            seen.extend(entries);
        }
        assert_eq!(seen, whole, "pages of {page}");
    }
}

async fn the_audit_log_shows_what_passes_every_filter(database: Database) {
    let ledger = database.ledger();
    ledger.audit(&entry("ada", AuditAction::Pause, "sms")).await.unwrap();
    let _id = cancel(&*ledger, "bob", "a").await;
    let middle = log(&*ledger, &AuditFilter::default()).await[0].place.at;
    ledger.audit(&entry("bob", AuditAction::Resume, "sms")).await.unwrap();
    let all = AuditFilter::default();
    for (filter, expected) in [
        (all.clone(), &["resume", "cancel", "pause"][..]),
        (AuditFilter { actor: Some("bob".to_owned()), ..all.clone() }, &["resume", "cancel"]),
        (AuditFilter { action: Some(AuditAction::Cancel), ..all.clone() }, &["cancel"]),
        (AuditFilter { action: Some(AuditAction::Pause), ..all.clone() }, &["pause"]),
        (AuditFilter { from: Some(middle), ..all.clone() }, &["resume", "cancel"]),
        (AuditFilter { to: Some(middle), ..all.clone() }, &["pause"]),
        (AuditFilter { actor: Some("ada".to_owned()), from: Some(middle), ..all }, &[]),
    ] {
        let entries = log(&*ledger, &filter).await;
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, expected, "{filter:?}");
    }
}
