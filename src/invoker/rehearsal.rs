//! A dry run: a script answers in the third party's place. No name is resolved, no socket is opened; everything else is as it would be.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::call::attempt::{Answer, SentRequest};
use crate::call::{Body, ErrorKind, IdempotencyKey};
use crate::clock::monotonic;
use crate::endpoint::Endpoint;
use crate::limits::{RESPONSE_JUDGED_BYTES, RESPONSE_READ_BYTES_MAX};
use crate::script::behaviour::{Act, Behaviour, Circumstances, Reply, ReplyBody, react};
use crate::script::dice::Dice;
use crate::script::latency::Latency;

use super::failure::{self, Failure};
use super::{Deadlines, Invocation, Outgoing};

/// How long an answer takes where the script does not say: about what a real third party takes.
const USUAL: Latency =
    Latency::Normal { mean: Duration::from_millis(80), deviation: Duration::from_millis(30) };
/// What a good answer of the simulator says that is sent in part or slowly.
const GOOD: &[u8] = b"{\"code\":0}";
/// Parts of a whole good answer, head and body, that a drip sends one by one.
const DRIPS: u32 = 110;

/// Plays what would have come of a request. Each attempt of a call is an arrival of its own.
pub(super) async fn play(
    endpoint: &Endpoint,
    invocation: &Invocation<'_>,
    outgoing: &Outgoing,
    sent: &SentRequest,
    deadlines: &Deadlines,
) -> Result<Answer, Failure> {
    let url = outgoing.url();
    let behaviour = endpoint.dry_run.script.behaviour(outgoing.method().as_str(), url.path(), url.query());
    let behaviour = with_usual_latency(behaviour);
    let ordinal = u32::try_from(invocation.attempt.get()).unwrap_or(1);
    let reaction = react(
        &behaviour,
        Circumstances {
            ordinal,
            effects: 0,
            // A dry run has no beginning that outages could be counted from.
            elapsed: Duration::ZERO,
            outage: None,
            dice: Dice::new(0, invocation.idempotency_key.map_or("", IdempotencyKey::as_str), ordinal),
        },
    );
    let answer_at = monotonic() + reaction.wait;
    if answer_at >= deadlines.head {
        tokio::time::sleep_until(deadlines.head.into()).await;
        return Err(failure::no_answer(deadlines));
    }
    tokio::time::sleep_until(answer_at.into()).await;
    perform(&reaction.act, invocation, sent, deadlines).await
}

fn with_usual_latency(behaviour: Cow<'_, Behaviour>) -> Cow<'_, Behaviour> {
    if behaviour.latency == Latency::NONE {
        Cow::Owned(Behaviour { latency: USUAL, ..behaviour.into_owned() })
    } else {
        behaviour
    }
}

async fn perform(
    act: &Act,
    invocation: &Invocation<'_>,
    sent: &SentRequest,
    deadlines: &Deadlines,
) -> Result<Answer, Failure> {
    match act {
        Act::Reply(reply) => Ok(answer(reply, invocation, sent)),
        Act::Hang => {
            tokio::time::sleep_until(deadlines.head.into()).await;
            Err(failure::no_answer(deadlines))
        }
        Act::Reset(_) | Act::Drop | Act::Cut => {
            Err(Failure::new(ErrorKind::Broken, "dry run: the connection broke before the answer was whole"))
        }
        Act::Garbage => Err(Failure::new(ErrorKind::Malformed, "dry run: the answer is not HTTP/1.1")),
        Act::Drip { every, .. } => {
            let whole_at = monotonic() + every.saturating_mul(DRIPS);
            tokio::time::sleep_until(whole_at.min(deadlines.whole).into()).await;
            if whole_at > deadlines.whole {
                Err(failure::no_whole_answer(deadlines))
            } else {
                Ok(good(GOOD.into(), 10))
            }
        }
        Act::Endless => Ok(good(filler(u64::MAX), RESPONSE_READ_BYTES_MAX)),
    }
}

fn good(body: Bytes, body_bytes: u64) -> Answer {
    Answer { status: 200, headers: Vec::new(), body, body_bytes }
}

fn answer(reply: &Reply, invocation: &Invocation<'_>, sent: &SentRequest) -> Answer {
    let (body, body_bytes) = match &reply.body {
        ReplyBody::Bytes(bytes) => (bytes.clone(), bytes.len() as u64),
        ReplyBody::Filler(bytes) => (filler(*bytes), *bytes),
        ReplyBody::Echo => {
            let text = echo(sent, &invocation.request.body);
            let bytes = text.len() as u64;
            (Bytes::from(text), bytes)
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let json = [("content-type".to_owned(), "application/json".to_owned())];
    let own = reply.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
    let body = body.slice(..body.len().min(RESPONSE_JUDGED_BYTES));
    Answer { status: reply.status.as_u16(), headers: json.into_iter().chain(own).collect(), body, body_bytes }
}

fn filler(bytes: u64) -> Bytes {
    let kept = usize::try_from(bytes).unwrap_or(usize::MAX).min(RESPONSE_JUDGED_BYTES);
    vec![b'x'; kept].into()
}

/// What would have been sent, secrets left out.
fn echo(sent: &SentRequest, body: &Body) -> String {
    let headers: serde_json::Map<_, _> =
        sent.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let document = serde_json::json!({
        "method": sent.method,
        "target": sent.url,
        "headers": headers,
        "body": String::from_utf8_lossy(&body.bytes()),
    });
    document.to_string()
}
