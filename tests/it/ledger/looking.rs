//! Looking at calls: lists and their filters, stories, counts.

use redial::call::{Attempt, Call, CallId, Publisher, ReviewReason, Status, Submission, TagKey};
use redial::ledger::{Filter, Ledger, NewCall, Next, Record, Start};

use super::calls::{
    accept, claim, due, due_with, endpoint, failure, find, given_up, lost, record, request, running,
    submission, success, waiting,
};
use crate::support::database::Database;

on_both_ledgers!(
    a_list_is_paged_newest_first,
    a_list_shows_what_passes_every_filter,
    a_search_takes_its_text_literally,
    a_story_holds_everything_in_order,
    what_is_unknown_is_not_found,
    totals_count_calls_and_attempts,
);

/// The keys of what a filter shows.
async fn keys(ledger: &dyn Ledger, filter: &Filter) -> Vec<String> {
    let calls = ledger.list(filter, None, 100).await.unwrap();
    calls.iter().map(|call| call.idempotency_key.to_string()).collect()
}

async fn a_list_is_paged_newest_first(database: Database) {
    let ledger = database.ledger();
    let batch: Vec<_> = (0..23).map(|number| due(&format!("call-{number}"))).collect();
    drop(ledger.accept(&batch).await.unwrap());
    let mut expected: Vec<_> = batch.iter().map(|call| call.id).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let mut seen: Vec<CallId> = Vec::new();
    loop {
        let page = ledger.list(&Filter::default(), seen.last().copied(), 5).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert_eq!(page[0], find(&*ledger, &page[0]).await);
        seen.extend(page.iter().map(|call| call.id));
    }
    assert_eq!(seen, expected);
}

fn tag(key: &str, value: &str) -> (TagKey, String) {
    (TagKey::parse(key).unwrap(), value.to_owned())
}

async fn a_list_shows_what_passes_every_filter(database: Database) {
    let ledger = database.ledger();
    let shop = |name: &str| Publisher::parse(name).unwrap();
    let tagged = Submission { tags: vec![tag("order", "1"), tag("city", "Wien")], ..submission("tagged") };
    drop(accept(&*ledger, due_with(tagged)).await);
    let other_tag =
        Submission { tags: vec![tag("order", "1"), tag("city", "Graz")], ..submission("other tag") };
    drop(accept(&*ledger, due_with(other_tag)).await);
    let elsewhere =
        Submission { endpoint: endpoint("crm"), publisher: shop("till"), ..submission("elsewhere") };
    drop(accept(&*ledger, due_with(elsewhere)).await);
    for reason in [ReviewReason::Rejected, ReviewReason::Ambiguous] {
        drop(accept(&*ledger, NewCall { start: Start::Review(reason), ..due(reason.as_str()) }).await);
    }
    let done = running(&*ledger, "done").await;
    drop(record(&*ledger, success(&done)).await);
    let middle = find(&*ledger, &done).await.created_at;

    let all = Filter::default();
    for (what, filter, expected) in [
        ("all", all.clone(), &["done", "ambiguous", "rejected", "elsewhere", "other tag", "tagged"][..]),
        ("one status", Filter { statuses: vec![Status::Succeeded], ..all.clone() }, &["done"]),
        (
            "statuses",
            Filter { statuses: vec![Status::Review, Status::Succeeded], ..all.clone() },
            &["done", "ambiguous", "rejected"],
        ),
        ("endpoint", Filter { endpoint: Some(endpoint("crm")), ..all.clone() }, &["elsewhere"]),
        ("publisher", Filter { publisher: Some(shop("till")), ..all.clone() }, &["elsewhere"]),
        ("reason", Filter { reason: Some(ReviewReason::Rejected), ..all.clone() }, &["rejected"]),
        ("a tag", Filter { tags: vec![tag("order", "1")], ..all.clone() }, &["other tag", "tagged"]),
        (
            "all tags",
            Filter { tags: vec![tag("order", "1"), tag("city", "Wien"), tag("order", "1")], ..all.clone() },
            &["tagged"],
        ),
        ("no such tag", Filter { tags: vec![tag("order", "2")], ..all.clone() }, &[]),
        ("a tag's key is no prefix", Filter { tags: vec![tag("orde", "1")], ..all.clone() }, &[]),
        ("from", Filter { from: Some(middle), ..all.clone() }, &["done"]),
        (
            "to",
            Filter { to: Some(middle), ..all.clone() },
            &["ambiguous", "rejected", "elsewhere", "other tag", "tagged"],
        ),
        ("neither", Filter { from: Some(middle), to: Some(middle), ..all.clone() }, &[]),
        (
            "together",
            Filter {
                statuses: vec![Status::Scheduled],
                publisher: Some(shop("shop")),
                tags: vec![tag("order", "1")],
                ..all
            },
            &["other tag", "tagged"],
        ),
    ] {
        assert_eq!(keys(&*ledger, &filter).await, expected, "{what}");
    }
}

async fn a_search_takes_its_text_literally(database: Database) {
    let ledger = database.ledger();
    drop(accept(&*ledger, due("KEY-100%_done")).await);
    let mut elsewhere = submission("b");
    elsewhere.request = request("/v1/Invoices?x=1");
    drop(accept(&*ledger, due_with(elsewhere)).await);
    let tags = vec![tag("note", r#"a\b "quoted" O'Neil"#), tag("other", "1_000")];
    drop(accept(&*ledger, due_with(Submission { tags, ..submission("c") })).await);
    let failed = running(&*ledger, "d").await;
    drop(record(&*ledger, Record { next: Next::Review(ReviewReason::Rejected), ..failure(&failed) }).await);

    for (text, expected) in [
        ("100%_", &["KEY-100%_done"][..]),
        ("key-100", &["KEY-100%_done"]),
        ("0%d", &[]),
        ("invoices?x", &["b"]),
        ("1_0", &["c"]),
        (r"a\b", &["c"]),
        (r#""quoted" o'neil"#, &["c"]),
        ("note", &[]),
        ("ANSWERED 503", &["d"]),
        ("%", &["KEY-100%_done"]),
        ("'", &["c"]),
        ("nowhere", &[]),
    ] {
        let filter = Filter { text: Some(text.to_owned()), ..Filter::default() };
        assert_eq!(keys(&*ledger, &filter).await, expected, "{text}");
    }
}

async fn a_story_holds_everything_in_order(database: Database) {
    let ledger = database.ledger();
    let mut call = lost(&*ledger, "a").await;
    let mut written = vec![given_up(&call)];
    drop(record(&*ledger, written[0].clone()).await);
    for _ in 0..2 {
        call = claim(&*ledger, &find(&*ledger, &call).await).await;
        written.push(failure(&call));
        drop(record(&*ledger, failure(&call)).await);
    }
    let story = ledger.story(call.id).await.unwrap().unwrap();
    let expected: Vec<_> = written.into_iter().map(|record| Attempt::clone(&record.attempt)).collect();
    assert_eq!(story.attempts, expected);
    assert_eq!(story.call, find(&*ledger, &call).await);
    assert!(story.actions.is_empty() && story.revisions.is_empty());
}

async fn what_is_unknown_is_not_found(database: Database) {
    let ledger = database.ledger();
    assert_eq!(ledger.find(CallId::generate()).await.unwrap(), None);
    assert_eq!(ledger.story(CallId::generate()).await.unwrap(), None);
    assert!(ledger.list(&Filter::default(), None, 10).await.unwrap().is_empty());
}

async fn totals_count_calls_and_attempts(database: Database) {
    let ledger = database.ledger();
    assert_eq!(ledger.totals().await.unwrap(), redial::ledger::Totals::default());
    drop(accept(&*ledger, waiting("later")).await);
    drop(accept(&*ledger, due("due")).await);
    let elsewhere = Submission { endpoint: endpoint("crm"), ..submission("elsewhere") };
    drop(accept(&*ledger, due_with(elsewhere)).await);
    let retried: Call = running(&*ledger, "retried").await;
    drop(record(&*ledger, failure(&retried)).await);
    let again = claim(&*ledger, &find(&*ledger, &retried).await).await;
    drop(record(&*ledger, success(&again)).await);
    drop(running(&*ledger, "running").await);
    let totals = ledger.totals().await.unwrap();
    assert_eq!(totals.by_status, [(Status::Scheduled, 3), (Status::Running, 1), (Status::Succeeded, 1)]);
    assert_eq!(totals.waiting, [(endpoint("crm"), 1, 1), (endpoint("sms"), 2, 1)]);
    assert_eq!(totals.attempts, 2);
    assert_eq!(
        i64::try_from(totals.attempts).unwrap(),
        database.number("select count(*) from attempts").await
    );
}
