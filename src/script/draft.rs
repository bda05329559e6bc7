//! The settings of a behaviour by name, the same words in a path's query and in a script, read into what they mean.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::behaviour::{Act, Behaviour, Effect, Meaning, Place, Repeats, Reply, ReplyBody, Window};
use super::latency::{Latency, parse_time};

/// All settings.
const SETTINGS: &str = "status, code, fault, at, every, fail_first, probability, latency, ms, retry_after, location, \
                                   header, body, bytes, effect, idempotent, from, to";

/// Largest body of an answer.
const FILLER_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// An outage that names no end.
const FOR_EVER: Duration = Duration::MAX;

/// What has been said about a behaviour so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    status: Option<StatusCode>,
    code: Option<i64>,
    fault: Option<Fault>,
    at: Option<Place>,
    every: Option<Duration>,
    fail_first: Option<u32>,
    probability: Option<f64>,
    latency: Option<Latency>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<ReplyBody>,
    effect: Option<Effect>,
    repeats: Option<Repeats>,
    from: Option<Duration>,
    to: Option<Duration>,
    down: Vec<Window>,
}

/// Faults that have a name of their own.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Hang,
    Reset,
    Drop,
    Cut,
    Garbage,
    Drip,
    Endless,
}

impl Draft {
    /// Whether there is a setting of this name.
    pub(super) fn knows(name: &str) -> bool {
        SETTINGS.split(", ").any(|setting| setting == name)
    }

    /// Takes one setting up.
    ///
    /// # Errors
    /// A sentence: there is no such setting, or its value is not one of those allowed.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "status" => self.status = Some(parse_status(value)?),
            "code" => self.code = Some(parse_code(value)?),
            "fault" => self.fault = Some(parse_fault(value)?),
            "at" => self.at = Some(parse_place(value)?),
            "every" => self.every = Some(parse_time(value)?),
            "fail_first" => self.fail_first = Some(parse_count(value)?),
            "probability" => self.probability = Some(parse_probability(value)?),
            "latency" | "ms" => self.latency = Some(Latency::parse(value)?),
            "retry_after" => self.add_header("retry-after", value)?,
            "location" => self.add_header("location", value)?,
            "header" => {
                let (name, value) = value.split_once(':').ok_or("a header is written name:value")?;
                self.add_header(name.trim(), value.trim())?;
            }
            "body" => self.body = Some(ReplyBody::Bytes(Bytes::copy_from_slice(value.as_bytes()))),
            "bytes" => self.body = Some(ReplyBody::Filler(parse_size(value)?)),
            "effect" => self.effect = Some(if parse_yes(value)? { Effect::Always } else { Effect::Never }),
            "idempotent" => {
                self.repeats =
                    Some(if parse_yes(value)? { Repeats::AreRecognised } else { Repeats::TakeEffect });
            }
            "from" => self.from = Some(parse_time(value)?),
            "to" => self.to = Some(parse_time(value)?),
            _ => return Err(format!("there is no setting {name:?}; there are: {SETTINGS}")),
        }
        Ok(())
    }

    /// The answer says what was sent.
    pub(super) fn echo(&mut self) {
        self.body = Some(ReplyBody::Echo);
    }

    /// Adds a header to the answer.
    ///
    /// # Errors
    /// A sentence: it is no header.
    pub(super) fn add_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        match parsed {
            (Ok(name), Ok(value)) => self.headers.push((name, value)),
            (Err(_), _) => return Err(format!("{name:?} is no header name")),
            (_, Err(_)) => {
                return Err(format!("{value:?} is no header value: write one line of visible ASCII"));
            }
        }
        Ok(())
    }

    /// Adds an outage.
    pub(super) fn add_outage(&mut self, window: Window) {
        self.down.push(window);
    }

    /// The behaviour that the settings describe.
    ///
    /// # Errors
    /// A sentence: settings that do not go together.
    pub(super) fn finish(mut self) -> Result<Behaviour, String> {
        self.refuse_contradictions()?;
        let limited = self.fail_first.is_some() || self.probability.is_some();
        let outage = self.from.is_some() || self.to.is_some();
        let act = self.described_act();
        let (good, bad) = match act {
            Some(act) if is_good(&act) => (act, None),
            Some(act) => (good_reply(), Some(act)),
            None => (good_reply(), None),
        };
        let bad = bad.or_else(|| (limited || outage).then(unavailable));
        let fault = if outage { self.bind_outage(bad)? } else { bad };
        Ok(Behaviour {
            latency: self.latency.unwrap_or(Latency::NONE),
            good,
            fault,
            fail_first: self.fail_first,
            probability: self.probability.unwrap_or(1.0),
            down: self.down,
            effect: self.effect.unwrap_or(Effect::Implied),
            repeats: self.repeats.unwrap_or(Repeats::TakeEffect),
        })
    }

    /// The outage that the settings describe; nothing else may be said with it.
    ///
    /// # Errors
    /// A sentence: settings that do not go together.
    pub(super) fn finish_outage(self) -> Result<Window, String> {
        let mut behaviour = self.finish()?;
        behaviour.down.pop().ok_or_else(|| "an outage needs from or to".to_owned())
    }

    /// In an outage the fault is certain and bound to a span of time; outside it there is none.
    fn bind_outage(&mut self, bad: Option<Act>) -> Result<Option<Act>, String> {
        let from = self.from.unwrap_or(Duration::ZERO);
        let to = self.to.unwrap_or(FOR_EVER);
        if from >= to {
            return Err("from must be earlier than to".to_owned());
        }
        self.down.push(Window { from, to, act: bad.unwrap_or_else(unavailable) });
        Ok(None)
    }

    fn refuse_contradictions(&self) -> Result<(), String> {
        let answers =
            self.status.is_some() || self.code.is_some() || self.body.is_some() || !self.headers.is_empty();
        if self.fault.is_some() && answers {
            return Err(
                "a fault sends no answer of its own: leave out status, code, body, bytes and headers"
                    .to_owned(),
            );
        }
        if self.code.is_some() && self.body.is_some() {
            return Err("code makes the body itself: leave out body and bytes".to_owned());
        }
        if self.at.is_some() && !matches!(self.fault, Some(Fault::Reset | Fault::Drip)) {
            return Err("at belongs to the faults reset and drip".to_owned());
        }
        if self.every.is_some() && !matches!(self.fault, Some(Fault::Drip)) {
            return Err("every belongs to the fault drip".to_owned());
        }
        Ok(())
    }

    fn described_act(&mut self) -> Option<Act> {
        if let Some(fault) = self.fault {
            return Some(self.named_fault(fault));
        }
        let said =
            self.status.is_some() || self.code.is_some() || self.body.is_some() || !self.headers.is_empty();
        // A header such as Retry-After on its own belongs to the failure where there is to be one.
        let limited = self.fail_first.is_some() || self.probability.is_some() || self.from.is_some();
        let default =
            if limited && self.code.is_none() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        said.then(|| Act::Reply(self.reply(self.status.unwrap_or(default))))
    }

    fn reply(&mut self, status: StatusCode) -> Reply {
        let mut reply = Reply::plain(status);
        reply.headers = std::mem::take(&mut self.headers);
        if let Some(body) = self.body.take() {
            reply.body = body;
        }
        if let Some(code) = self.code {
            reply.body = ReplyBody::Bytes(format!("{{\"code\":{code}}}").into());
            reply.meaning = if code == 0 { reply.meaning } else { Meaning::NotDone };
        }
        reply
    }

    fn named_fault(&self, fault: Fault) -> Act {
        match fault {
            Fault::Hang => Act::Hang,
            Fault::Reset => Act::Reset(self.at.unwrap_or(Place::Start)),
            Fault::Drop => Act::Drop,
            Fault::Cut => Act::Cut,
            Fault::Garbage => Act::Garbage,
            Fault::Drip => Act::Drip {
                from: self.at.unwrap_or(Place::Body),
                every: self.every.unwrap_or(Duration::from_secs(1)),
            },
            Fault::Endless => Act::Endless,
        }
    }
}

fn is_good(act: &Act) -> bool {
    matches!(act, Act::Reply(reply) if reply.meaning == Meaning::Done)
}

fn good_reply() -> Act {
    Act::Reply(Reply::plain(StatusCode::OK))
}

/// What a third party answers that is down.
pub fn unavailable() -> Act {
    Act::Reply(Reply::plain(StatusCode::SERVICE_UNAVAILABLE))
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    text.parse::<u16>()
        .ok()
        .filter(|status| *status >= 200)
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| format!("{text:?} is no status: write 200 to 999"))
}

fn parse_code(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is no code: write a whole number"))
}

fn parse_count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no count: write a whole number, 0 or more"))
}

fn parse_size(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|size| *size <= FILLER_BYTES_MAX)
        .ok_or_else(|| format!("{text:?} is no size: write 0 to {FILLER_BYTES_MAX} bytes"))
}

fn parse_probability(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|probability| (0.0..=1.0).contains(probability))
        .ok_or_else(|| format!("{text:?} is no probability: write 0 to 1, as in 0.3"))
}

fn parse_yes(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn parse_place(text: &str) -> Result<Place, String> {
    match text {
        "start" => Ok(Place::Start),
        "head" => Ok(Place::Head),
        "body" => Ok(Place::Body),
        _ => Err(format!("{text:?} is no place: write start, head or body")),
    }
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    match text {
        "hang" => Ok(Fault::Hang),
        "reset" => Ok(Fault::Reset),
        "drop" => Ok(Fault::Drop),
        "cut" => Ok(Fault::Cut),
        "garbage" => Ok(Fault::Garbage),
        "drip" => Ok(Fault::Drip),
        "endless" => Ok(Fault::Endless),
        _ => Err(format!("{text:?} is no fault: write hang, reset, drop, cut, garbage, drip or endless")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(settings: &[(&str, &str)]) -> Result<Behaviour, String> {
        let mut draft = Draft::default();
        for (name, value) in settings {
            draft.set(name, value)?;
        }
        draft.finish()
    }

    #[test]
    fn a_header_on_its_own_belongs_to_the_failure() {
        let behaviour = finish(&[("fail_first", "1"), ("retry_after", "7")]).unwrap();
        let Some(Act::Reply(reply)) = behaviour.fault else { panic!("{behaviour:?}") };
        assert_eq!((reply.status.as_u16(), reply.headers.len()), (503, 1));
    }

    #[test]
    fn a_good_status_is_no_fault() {
        let behaviour = finish(&[("status", "202"), ("header", "location: /a")]).unwrap();
        let Act::Reply(reply) = behaviour.good else { panic!() };
        assert_eq!((reply.status.as_u16(), reply.headers.len(), behaviour.fault), (202, 1, None));
    }

    #[test]
    fn bad_settings_get_a_sentence() {
        for settings in [
            &[("stauts", "503")][..],
            &[("status", "99")],
            &[("status", "100")],
            &[("status", "1000")],
            &[("code", "x")],
            &[("fault", "explode")],
            &[("at", "end")],
            &[("fail_first", "-1")],
            &[("probability", "1.1")],
            &[("probability", "NaN")],
            &[("latency", "soon")],
            &[("header", "a b:c")],
            &[("header", "none")],
            &[("retry_after", "a\r\nb")],
            &[("bytes", "-1")],
            &[("effect", "maybe")],
            &[("from", "10s"), ("to", "5s")],
            &[("fault", "hang"), ("status", "503")],
            &[("code", "1"), ("body", "x")],
            &[("at", "head")],
            &[("every", "1s")],
        ] {
            assert!(finish(settings).is_err(), "{settings:?}");
        }
    }
}
