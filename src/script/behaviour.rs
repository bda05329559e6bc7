//! What the third party does with a request: plain values, and the pure choice between them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::dice::Dice;
use super::latency::Latency;

/// How requests of one kind are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// How long it takes until something happens.
    pub latency: Latency,
    /// What happens when nothing goes wrong.
    pub good: Act,
    /// What happens when something does; `None`: nothing ever does.
    pub fault: Option<Act>,
    /// Only the first arrivals of a key meet the fault; `None`: all do.
    pub fail_first: Option<u32>,
    /// The chance that an arrival that may meet the fault does.
    pub probability: f64,
    /// Spans of time in which every arrival meets a fault.
    pub down: Vec<Window>,
    /// Whether a request is done.
    pub effect: Effect,
    /// What a key is worth that has taken effect already.
    pub repeats: Repeats,
}

/// What is done with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// An answer in good form.
    Reply(Reply),
    /// No answer, the connection stays open.
    Hang,
    /// The connection is reset.
    Reset(Place),
    /// Takes effect, then the connection is closed without an answer.
    Drop,
    /// The connection is closed in the middle of the answer's body.
    Cut,
    /// Something that is no HTTP.
    Garbage,
    /// A good answer, a byte at a time.
    Drip {
        /// From where on.
        from: Place,
        /// The pause between two bytes.
        every: Duration,
    },
    /// An answer whose body does not end.
    Endless,
}

/// A place in the course of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before its first byte.
    Start,
    /// In the middle of its head.
    Head,
    /// In the middle of its body.
    Body,
}

/// An answer in good form.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// Headers beyond those of the connection.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: ReplyBody,
    /// Whether it says that the request was done.
    pub meaning: Meaning,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyBody {
    /// These bytes.
    Bytes(Bytes),
    /// As many bytes as this, all the same.
    Filler(u64),
    /// What was sent: the request's headers and body as JSON.
    Echo,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The request was done.
    Done,
    /// It was not.
    NotDone,
}

/// Whether a request is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// If what is done with it implies so: a good answer, or a connection that breaks after the work.
    Implied,
    /// Always, whatever is answered.
    Always,
    /// Never.
    Never,
}

/// What a request does whose key has taken effect before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It takes effect again, as at a third party that ignores idempotency keys.
    TakeEffect,
    /// It is answered, but does nothing more, as at one that honours them.
    AreRecognised,
}

/// A span of time, counted from the start, in which a fault is certain.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Its beginning.
    pub from: Duration,
    /// Its end, exclusive.
    pub to: Duration,
    /// What happens in it.
    pub act: Act,
}

impl Window {
    /// Whether a moment lies in it.
    pub fn holds(&self, elapsed: Duration) -> bool {
        self.from <= elapsed && elapsed < self.to
    }
}

/// All that the choice depends on besides the behaviour.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// Which arrival of its key it is: 1, 2, 3 …
    pub ordinal: u32,
    /// How often the key has taken effect before.
    pub effects: u32,
    /// Time since the start.
    pub elapsed: Duration,
    /// What the whole third party does at the moment, if it is down.
    pub outage: Option<&'a Act>,
    /// Chance.
    pub dice: Dice,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Reaction {
    /// How long it takes until something happens.
    pub wait: Duration,
    /// What happens then.
    pub act: Act,
    /// Whether the request is done; if so it is so from its arrival on, even if nobody waits for the answer.
    pub takes_effect: bool,
}

/// Chooses what is done with a request.
pub fn react(behaviour: &Behaviour, mut circumstances: Circumstances<'_>) -> Reaction {
    let wait = behaviour.latency.sample(&mut circumstances.dice);
    let act = circumstances
        .outage
        .or_else(|| behaviour.outage(circumstances.elapsed))
        .or_else(|| behaviour.fault(&mut circumstances))
        .unwrap_or(&behaviour.good);
    let done = match behaviour.effect {
        Effect::Implied => act.implies_effect(),
        Effect::Always => true,
        Effect::Never => false,
    };
    let recognised = behaviour.repeats == Repeats::AreRecognised && circumstances.effects > 0;
    Reaction { wait, act: act.clone(), takes_effect: done && !recognised }
}

impl Behaviour {
    /// The behaviour towards a path that asks for something there is not: a 400 that says so.
    pub fn refusing(sentence: &str) -> Self {
        let body = serde_json::json!({ "error": sentence }).to_string();
        let reply = Reply { body: ReplyBody::Bytes(body.into()), ..Reply::plain(StatusCode::BAD_REQUEST) };
        Self {
            latency: Latency::NONE,
            good: Act::Reply(reply),
            fault: None,
            fail_first: None,
            probability: 1.0,
            down: Vec::new(),
            effect: Effect::Never,
            repeats: Repeats::TakeEffect,
        }
    }

    fn outage(&self, elapsed: Duration) -> Option<&Act> {
        self.down.iter().find(|window| window.holds(elapsed)).map(|window| &window.act)
    }

    fn fault(&self, circumstances: &mut Circumstances<'_>) -> Option<&Act> {
        let may_fail = self.fail_first.is_none_or(|first| circumstances.ordinal <= first);
        let fails = may_fail && (self.probability >= 1.0 || circumstances.dice.roll() < self.probability);
        self.fault.as_ref().filter(|_| fails)
    }
}

impl Act {
    /// Whether a request with which this is done is done: what breaks after the work, or in the middle of a good answer.
    fn implies_effect(&self) -> bool {
        match self {
            Self::Reply(reply) => reply.meaning == Meaning::Done,
            Self::Reset(Place::Start) | Self::Hang | Self::Garbage => false,
            Self::Reset(Place::Head | Place::Body)
            | Self::Drop
            | Self::Cut
            | Self::Drip { .. }
            | Self::Endless => true,
        }
    }
}

impl Reply {
    /// An answer with the body that its status has by default.
    pub fn plain(status: StatusCode) -> Self {
        let done = status.is_success();
        Self {
            status,
            headers: Vec::new(),
            body: ReplyBody::Bytes(default_body(status)),
            meaning: if done { Meaning::Done } else { Meaning::NotDone },
        }
    }
}

/// `{"code":0}` for a success, the status' name for the rest, nothing where HTTP allows nothing.
fn default_body(status: StatusCode) -> Bytes {
    match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Bytes::new(),
        status if status.is_success() => Bytes::from_static(b"{\"code\":0}"),
        StatusCode::SERVICE_UNAVAILABLE => Bytes::from_static(b"{\"error\":\"Service Unavailable\"}"),
        status => format!("{{\"error\":\"{}\"}}", status.canonical_reason().unwrap_or("unknown")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::draft::Draft;

    fn behaviour(settings: &[(&str, &str)]) -> Behaviour {
        let mut draft = Draft::default();
        for (name, value) in settings {
            draft.set(name, value).unwrap();
        }
        draft.finish().unwrap()
    }

    fn arrival(ordinal: u32) -> Circumstances<'static> {
        let elapsed = Duration::from_secs(10);
        Circumstances { ordinal, effects: 0, elapsed, outage: None, dice: Dice::new(1, "k", ordinal) }
    }

    fn status(reaction: &Reaction) -> u16 {
        let Act::Reply(reply) = &reaction.act else { panic!("{reaction:?}") };
        reply.status.as_u16()
    }

    #[test]
    fn the_first_arrivals_of_a_key_fail_and_the_others_do_not() {
        let behaviour = behaviour(&[("fail_first", "2"), ("status", "429")]);
        let seen: Vec<_> = (1..=4).map(|ordinal| react(&behaviour, arrival(ordinal))).collect();
        assert_eq!(seen.iter().map(status).collect::<Vec<_>>(), [429, 429, 200, 200]);
        assert_eq!(seen.iter().map(|one| one.takes_effect).collect::<Vec<_>>(), [false, false, true, true]);
    }

    #[test]
    fn a_probability_hits_its_share_of_arrivals() {
        let behaviour = behaviour(&[("probability", "0.3")]);
        let failed = (1..=10_000).filter(|n| status(&react(&behaviour, arrival(*n))) == 503).count();
        assert!((2_800..3_200).contains(&failed), "{failed}");
    }

    #[test]
    fn a_dropped_connection_takes_effect_and_a_recognised_key_does_not_again() {
        let behaviour = behaviour(&[("fault", "drop"), ("idempotent", "true")]);
        assert!(react(&behaviour, arrival(1)).takes_effect);
        assert!(!react(&behaviour, Circumstances { effects: 1, ..arrival(2) }).takes_effect);
    }

    #[test]
    fn an_outage_comes_before_everything_else_and_ends() {
        let behaviour = behaviour(&[("from", "5s"), ("to", "15s")]);
        let at = |seconds| {
            let elapsed = Duration::from_secs(seconds);
            status(&react(&behaviour, Circumstances { elapsed, ..arrival(1) }))
        };
        assert_eq!([at(4), at(5), at(14), at(15)], [200, 503, 503, 200]);
        let outage = Act::Hang;
        let reaction = react(&behaviour, Circumstances { outage: Some(&outage), ..arrival(1) });
        assert_eq!(reaction.act, Act::Hang);
    }

    #[test]
    fn an_error_code_in_a_good_status_is_no_effect() {
        let reaction = react(&behaviour(&[("code", "4001")]), arrival(1));
        assert!(status(&reaction) == 200 && !reaction.takes_effect);
        assert!(react(&behaviour(&[("code", "0")]), arrival(1)).takes_effect);
    }
}
