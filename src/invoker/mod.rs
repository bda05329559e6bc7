//! One HTTP request out, evidence back. Decides nothing.
//!
//! Invariants:
//! - One invocation is at most one HTTP request: no redirect is followed, no library resends, no proxy is asked.
//! - What is reported as "never left" (`dns`, `connect`, `tls`, `not_sent`, `unsendable`) certainly never left; where that is
//!   not certain the failure is one of those that count as ambiguous.
//! - Nothing secret comes back: configured header values are replaced in the request as sent and masked where the answer
//!   echoes them.
//! - Memory is bounded whatever the third party sends: a head beyond about 400 KiB or 100 headers is malformed, a body is kept
//!   to [`RESPONSE_JUDGED_BYTES`](crate::limits::RESPONSE_JUDGED_BYTES) and read to
//!   [`RESPONSE_READ_BYTES_MAX`](crate::limits::RESPONSE_READ_BYTES_MAX). A body that is too large never changes the outcome.
//!
//! Time: `connect` covers name resolution, TCP and TLS. `read` is the longest silence of the third party; before the head of
//! the answer it is counted from the beginning of the attempt, and is never shorter than what connecting may take. `overall`
//! ends everything. Headers: those of the endpoint win over those of the call, and the outgoing idempotency key wins over both.

mod answer;
mod client;
mod failure;
pub mod guard;
mod mask;
mod outgoing;
mod rehearsal;
pub mod tls;

use std::time::{Duration, Instant};

use crate::call::attempt::{Answer, SentRequest};
use crate::call::{AttemptNumber, CallId, ErrorKind, IdempotencyKey, Mode, Outcome, Request, Revision};
use crate::clock::monotonic;
use crate::endpoint::{Endpoint, Timeouts};

use client::{Client, Clients};
use failure::Failure;
pub(crate) use failure::chain;
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
    /// What goes out in the endpoint's idempotency header; `None` for a query, which must not be taken for a repetition of the request.
    pub idempotency_key: Option<&'a IdempotencyKey>,
    /// W3C `traceparent` of the submission; a header of the request's own wins over it.
    pub trace_parent: Option<&'a str>,
    /// The revision of the request.
    pub revision: Revision,
    /// How long the whole attempt may take; at most the endpoint's overall timeout.
    pub overall: Duration,
    /// Whether it leaves; otherwise the endpoint's script answers.
    pub mode: Mode,
    /// Which attempt of the call it is: a script may treat the first ones differently.
    pub attempt: AttemptNumber,
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
    /// What a person should know of the answer besides, if anything.
    pub note: Option<String>,
    /// From the beginning of the invocation to the answer's end, or to giving up.
    pub duration: Duration,
}

impl Invoked {
    /// What comes of a request that could not even be put together.
    pub fn unsendable(request: &Request, revision: Revision, sentence: String) -> Self {
        let sent = SentRequest {
            method: request.method.as_str().to_owned(),
            url: request.path.as_str().to_owned(),
            headers: Vec::new(),
            body_bytes: request.body.bytes().len() as u64,
            revision,
        };
        let outcome = Failure::new(ErrorKind::Unsendable, sentence).into_outcome();
        Self { sent, outcome, note: None, duration: Duration::ZERO }
    }
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
        let answered = match (invocation.mode, endpoint.dry_run.mode) {
            (Mode::DryRun, _) => rehearse(endpoint, &invocation, outgoing, &sent, started).await,
            (Mode::Live, Mode::Live) => self.exchange(endpoint, &invocation, outgoing, started).await,
            (Mode::Live, Mode::DryRun) => Err(Failure::new(ErrorKind::Unsendable, SUBMITTED_LIVE)),
        };
        let (outcome, note) = match answered {
            Ok(Read { answer, note }) => (Outcome::Answered(answer), note),
            Err(failure) => {
                tracing::debug!(call.id = %invocation.call, endpoint = %endpoint.name, %failure, "an invocation failed below HTTP");
                (failure.into_outcome(), None)
            }
        };
        Invoked { sent, outcome, note, duration: monotonic().saturating_duration_since(started) }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        invocation: &Invocation<'_>,
        outgoing: Result<Outgoing, Failure>,
        started: Instant,
    ) -> Result<Read, Failure> {
        let outgoing = outgoing?;
        let client = self.clients.of(endpoint, outgoing.url())?;
        let deadlines = Deadlines::new(&endpoint.timeouts, client.connect, started, invocation);
        // The last thing before the request may leave: a process that was stopped on the way here must not send.
        leave_in_time(invocation)?;
        if client.refuses(outgoing.url()) {
            return Err(Failure::new(
                ErrorKind::Unsendable,
                "the URL's address is none of the public internet",
            ));
        }
        let response = send(&client, outgoing, &deadlines).await?;
        let mask = Mask::new(endpoint);
        answer::read(response, &mask, &deadlines).await
    }
}

/// Why a call that was submitted to go out is not answered by a script: its success would be none.
const SUBMITTED_LIVE: &str = "the endpoint is a dry run now, and this call was submitted to go out: replay it once the endpoint is live";

/// An answer, and what a person should know of it besides.
#[derive(Debug)]
struct Read {
    answer: Answer,
    note: Option<String>,
}

/// A dry run ends at the points where the real attempt would.
async fn rehearse(
    endpoint: &Endpoint,
    invocation: &Invocation<'_>,
    outgoing: Result<Outgoing, Failure>,
    sent: &SentRequest,
    started: Instant,
) -> Result<Read, Failure> {
    let outgoing = outgoing?;
    let connect = connect_timeout(&endpoint.timeouts);
    let deadlines = Deadlines::new(&endpoint.timeouts, connect, started, invocation);
    leave_in_time(invocation)?;
    let answer = rehearsal::play(endpoint, invocation, &outgoing, sent, &deadlines).await?;
    Ok(Read { answer, note: None })
}

fn leave_in_time(invocation: &Invocation<'_>) -> Result<(), Failure> {
    if monotonic() < invocation.send_before {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::NotSent, "the lease had run out before the request could leave"))
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
    fn new(timeouts: &Timeouts, connect: Duration, started: Instant, invocation: &Invocation<'_>) -> Self {
        let whole = (started + invocation.overall).min(invocation.finish_before);
        let head = started + timeouts.read().max(connect + CONNECT_MARGIN);
        Self { head: head.min(whole), whole, started, silence: timeouts.read(), connect }
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
