//! Calls, wishes and records as tests need them.

use std::time::Duration;

use bytes::Bytes;
use redial::call::attempt::{Answer, SentRequest};
use redial::call::{
    Attempt, AttemptNumber, Body, Call, CallId, Course, EndpointName, Entity, EntityKey, ErrorKind, Headers,
    IdempotencyKey, Method, Mode, Outcome, Publisher, Request, RequestPath, Ruling, Rung, State, Status,
    Submission, Ticket, Trigger, Verdict, WorkerName,
};
use redial::ledger::{Accepted, ClaimWish, Claimed, Ledger, NewCall, Next, Record, Recorded, Start};

/// Far longer than any test runs.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// The endpoint of all calls that name no other.
pub(crate) const ENDPOINT: &str = "sms";

/// A name of an endpoint.
pub(crate) fn endpoint(name: &str) -> EndpointName {
    EndpointName::parse(name).unwrap()
}

/// A worker.
pub(crate) fn worker(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

/// An idempotency key.
pub(crate) fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::parse(name).unwrap()
}

/// A request with a JSON body.
pub(crate) fn request(path: &str) -> Request {
    let mut headers = Headers::default();
    headers.insert("x-tenant", "7").unwrap();
    Request {
        method: Method::Post,
        path: RequestPath::parse(path).unwrap(),
        headers,
        body: Body::Json(Bytes::from_static(b"{\"to\":\"+861380000\"}")),
    }
}

/// A submission under a key. Its fingerprint is that of the key, so that equal keys mean equal documents.
pub(crate) fn submission(name: &str) -> Submission {
    let mut fingerprint = [7; 32];
    for (place, byte) in name.bytes().enumerate() {
        fingerprint[place % 32] ^= byte;
    }
    Submission {
        publisher: Publisher::parse("shop").unwrap(),
        idempotency_key: Some(key(name)),
        fingerprint,
        endpoint: endpoint(ENDPOINT),
        request: request("/v1/messages?lang=en"),
        failure: None,
        not_before: None,
        deadline: None,
        entity: None,
        tags: Vec::new(),
        callback_url: None,
        trace_parent: None,
        provider: None,
        mode: Mode::Live,
    }
}

/// A call that is due at once.
pub(crate) fn due(name: &str) -> NewCall {
    due_with(submission(name))
}

/// A call of this submission that is due at once.
pub(crate) fn due_with(submission: Submission) -> NewCall {
    let start = Start::Waiting { delay: Duration::ZERO, rung: Rung::GROUND, trigger: Trigger::First };
    NewCall { id: CallId::generate(), submission, start, course: Course::default() }
}

/// A call that waits for longer than any test runs.
pub(crate) fn waiting(name: &str) -> NewCall {
    NewCall {
        start: Start::Waiting { delay: LONG, rung: Rung::new(1), trigger: Trigger::First },
        ..due(name)
    }
}

/// A call with a version of an entity.
pub(crate) fn versioned(name: &str, entity: &str, version: i64) -> NewCall {
    let entity = Some(Entity { key: EntityKey::parse(entity).unwrap(), version });
    due_with(Submission { entity, ..submission(name) })
}

/// Accepts one call that is new.
pub(crate) async fn accept(ledger: &dyn Ledger, call: NewCall) -> Call {
    match ledger.accept(&[call]).await.unwrap().pop() {
        Some(Accepted::Stored(call)) => *call,
        other => panic!("not stored: {other:?}"),
    }
}

/// The ticket of a call's next attempt.
pub(crate) fn next_ticket(call: &Call) -> Ticket {
    Ticket { call: call.id, attempt: call.attempts_made.next() }
}

/// A wish for a call's next attempt.
pub(crate) fn wish(call: &Call) -> ClaimWish {
    ClaimWish {
        ticket: next_ticket(call),
        endpoint: call.endpoint.clone(),
        worker: worker("worker-1"),
        lease: Duration::from_secs(60),
    }
}

/// Claims a call that can be claimed.
pub(crate) async fn claim(ledger: &dyn Ledger, call: &Call) -> Call {
    match ledger.claim(&[wish(call)]).await.unwrap().pop() {
        Some(Claimed::Won(call)) => *call,
        other => panic!("not claimed: {other:?}"),
    }
}

/// Accepts and claims a call.
pub(crate) async fn running(ledger: &dyn Ledger, name: &str) -> Call {
    let call = accept(ledger, due(name)).await;
    claim(ledger, &call).await
}

/// Accepts and claims a call whose lease has run out at once.
pub(crate) async fn lost(ledger: &dyn Ledger, name: &str) -> Call {
    let call = accept(ledger, due(name)).await;
    let wish = ClaimWish { lease: Duration::ZERO, ..wish(&call) };
    match ledger.claim(&[wish]).await.unwrap().pop() {
        Some(Claimed::Won(call)) => *call,
        other => panic!("not claimed: {other:?}"),
    }
}

/// What came back.
pub(crate) fn answered(status: u16) -> Outcome {
    Outcome::Answered(Answer {
        status,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: Bytes::from_static(b"\0\xff answer"),
        body_bytes: 70_000,
    })
}

/// The attempt of a running call, closed with this.
pub(crate) fn attempt(call: &Call, verdict: Verdict, outcome: Outcome) -> Attempt {
    let State::Running(claim) = &call.state else { panic!("not running: {call:?}") };
    Attempt {
        number: claim.attempt,
        claim: claim.number,
        trigger: claim.trigger,
        choice: None,
        ruling: Ruling::default(),
        worker: claim.worker.clone(),
        started_at: claim.started_at,
        duration: Duration::from_millis(12),
        verdict,
        request: Some(SentRequest {
            method: "POST".to_owned(),
            url: "https://sms.example/v1/messages?lang=en".to_owned(),
            headers: vec![("idempotency-key".to_owned(), call.outgoing_key().to_string())],
            body_bytes: 20,
            revision: call.revision,
        }),
        outcome,
        late: None,
    }
}

/// The record of a success.
pub(crate) fn success(call: &Call) -> Record {
    Record {
        call: call.id,
        attempt: attempt(call, Verdict::Success, answered(200)).into(),
        next: Next::Succeeded,
        course: Course::default(),
    }
}

/// The record of a failure after which the call is due again at once.
pub(crate) fn failure(call: &Call) -> Record {
    let next = Next::Scheduled { delay: Duration::ZERO, rung: Rung::new(1), trigger: Trigger::Ladder };
    Record {
        call: call.id,
        attempt: attempt(call, Verdict::Transient, answered(503)).into(),
        next,
        course: Course::default(),
    }
}

/// The record by which a sweeper gives an attempt up.
pub(crate) fn given_up(call: &Call) -> Record {
    let outcome = Outcome::Failed { kind: ErrorKind::WorkerLost, detail: "its lease ran out".to_owned() };
    let next = Next::Scheduled { delay: Duration::ZERO, rung: Rung::new(1), trigger: Trigger::Recovery };
    let attempt = Attempt { request: None, ..attempt(call, Verdict::Ambiguous, outcome) };
    Record { call: call.id, attempt: attempt.into(), next, course: Course::default() }
}

/// Writes one record.
pub(crate) async fn record(ledger: &dyn Ledger, record: Record) -> Recorded {
    ledger.record(&[record]).await.unwrap().remove(0)
}

/// A call as it now stands.
pub(crate) async fn find(ledger: &dyn Ledger, call: &Call) -> Call {
    ledger.find(call.id).await.unwrap().unwrap()
}

/// Where a call now stands.
pub(crate) async fn status(ledger: &dyn Ledger, call: &Call) -> Status {
    find(ledger, call).await.state.status()
}

/// A ticket for an attempt.
pub(crate) fn ticket(call: &Call, attempt: i32) -> Ticket {
    Ticket { call: call.id, attempt: AttemptNumber::new(attempt).unwrap() }
}
