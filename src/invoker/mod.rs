//! One HTTP request out, evidence back. Decides nothing.
//!
//! Invariants:
//! - One invocation is at most one HTTP request: no redirect is followed, no library resends, no proxy is asked.
//! - What is reported as "never left" (`dns`, `connect`, `tls`, `not_sent`, `unsendable`) certainly never left; where that is
//!   not certain the failure is one of those that count as ambiguous.
//! - Nothing secret comes back: configured header values are replaced in the request as sent and masked where the answer
//!   echoes them.
//! - Memory is bounded whatever the third party sends: a head beyond about 400 KiB or 100 headers is malformed, a body is kept
//!   to [`RESPONSE_KEPT_BYTES`](crate::limits::RESPONSE_KEPT_BYTES) and read to
//!   [`RESPONSE_READ_BYTES_MAX`](crate::limits::RESPONSE_READ_BYTES_MAX). A body that is too large never changes the outcome.
//!
//! Time: `connect` covers name resolution, TCP and TLS. `read` is the longest silence of the third party; before the head of
//! the answer it is counted from the beginning of the attempt, and is never shorter than what connecting may take. `overall`
//! ends everything. Headers: those of the endpoint win over those of the call, and the outgoing idempotency key wins over both.

mod answer;
mod client;
mod failure;
mod mask;
mod outgoing;
pub mod tls;

use std::time::{Duration, Instant};

use crate::call::attempt::{Answer, SentRequest};
use crate::call::{CallId, ErrorKind, IdempotencyKey, Outcome, Request, Revision};
use crate::clock::monotonic;
use crate::endpoint::{Endpoint, Timeouts};

use client::{Client, Clients};
use failure::Failure;
use mask::Mask;
use outgoing::Outgoing;

/// Makes invocations; keeps one HTTP client, and so one pool of connections, per endpoint. One per process is enough.
#[derive(Debug, Default)]
pub struct Invoker {
    clients: Clients,
}

/// What is to be sent, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The request, at its current revision.
    pub request: &'a Request,
    /// Whose request it is; for logs only, it is not sent.
    pub call: CallId,
    /// What goes out in the endpoint's idempotency header.
    pub idempotency_key: &'a IdempotencyKey,
    /// W3C `traceparent` of the submission; a header of the request's own wins over it.
    pub trace_parent: Option<&'a str>,
    /// The revision of the request.
    pub revision: Revision,
    /// The request must not leave after this: a worker that slept past it may have lost its lease.
    pub send_before: Instant,
    /// The attempt ends by then, however long the endpoint's overall timeout is.
    pub finish_before: Instant,
}

/// What was sent and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// The request as it left, secrets redacted.
    pub sent: SentRequest,
    /// What came back, echoes of secrets masked.
    pub outcome: Outcome,
    /// From the beginning of the invocation to the answer's end, or to giving up.
    pub duration: Duration,
}

impl Invoker {
    /// An invoker without connections; clients are made when endpoints are first invoked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes one invocation. Never fails: whatever happens is evidence.
    pub async fn invoke(&self, endpoint: &Endpoint, invocation: Invocation<'_>) -> Invoked {
        let started = monotonic();
        let (outgoing, sent) = outgoing::build(endpoint, &invocation);
        let outcome = match self.exchange(endpoint, &invocation, outgoing, started).await {
            Ok(answer) => Outcome::Answered(answer),
            Err(failure) => {
                tracing::debug!(call.id = %invocation.call, endpoint = %endpoint.name, %failure, "an invocation failed below HTTP");
                failure.into_outcome()
            }
        };
        Invoked { sent, outcome, duration: monotonic().saturating_duration_since(started) }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        invocation: &Invocation<'_>,
        outgoing: Result<Outgoing, Failure>,
        started: Instant,
    ) -> Result<Answer, Failure> {
        let outgoing = outgoing?;
        let client = self.clients.of(endpoint)?;
        let deadlines = Deadlines::new(&endpoint.timeouts, &client, started, invocation.finish_before);
        // The last thing before the request may leave: a process that was stopped on the way here must not send.
        if monotonic() >= invocation.send_before {
            return Err(Failure::new(
                ErrorKind::NotSent,
                "the lease had run out before the request could leave",
            ));
        }
        let response = send(&client, outgoing, &deadlines).await?;
        let mask = Mask::new(endpoint);
        answer::read(response, &mask, &deadlines).await
    }
}

/// The points at which an attempt is given up.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// The head of the answer is there by then.
    head: Instant,
    /// The whole answer is there by then.
    whole: Instant,
    /// When the attempt began.
    started: Instant,
    /// The longest silence between two parts of the answer.
    silence: Duration,
    /// How long connecting may take.
    connect: Duration,
}

/// Connecting is given up this much before the attempt is, so that a connection that does not come about is reported as such
/// and not as an attempt with an unknown outcome.
const CONNECT_MARGIN: Duration = Duration::from_millis(250);

impl Deadlines {
    fn new(timeouts: &Timeouts, client: &Client, started: Instant, finish_before: Instant) -> Self {
        let whole = (started + timeouts.overall()).min(finish_before);
        let head = started + timeouts.read().max(client.connect + CONNECT_MARGIN);
        Self { head: head.min(whole), whole, started, silence: timeouts.read(), connect: client.connect }
    }
}

/// How long connecting may take within these timeouts.
fn connect_timeout(timeouts: &Timeouts) -> Duration {
    let margin = CONNECT_MARGIN.min(timeouts.overall() / 10);
    timeouts.connect().min(timeouts.overall().saturating_sub(margin))
}

async fn send(
    client: &Client,
    outgoing: Outgoing,
    deadlines: &Deadlines,
) -> Result<reqwest::Response, Failure> {
    tokio::select! {
        // The deadline is looked at first: where a process was stopped while it connected, both are ready when it goes on,
        // and the request must not leave then.
        biased;
        () = tokio::time::sleep_until(deadlines.head.into()) => Err(failure::no_answer(deadlines)),
        sent = client.http.execute(outgoing) => sent.map_err(|error| failure::from_sending(&error, deadlines)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_is_given_up_before_the_attempt() {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts::new(second, second, second, None).unwrap();
        assert_eq!(connect_timeout(&timeouts), Duration::from_millis(900));
        let timeouts = Timeouts::new(second, second, 30 * second, None).unwrap();
        assert_eq!(connect_timeout(&timeouts), second);
    }
}
