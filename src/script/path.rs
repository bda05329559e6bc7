//! Behaviour by path: `/fail/2/429?retry_after=1` says what happens to the request that asks for it.

use std::iter::Peekable;

use super::behaviour::Behaviour;
use super::draft::Draft;

/// How long `/slow` takes by default.
const SLOW_MS: &str = "1000";

/// Reads a path and its query.
///
/// A path that names no behaviour is answered as a success, whatever its query says: `/v1/messages?lang=en` works as it is. What
/// follows a behaviour belongs to the caller, and so do settings in its query that the simulator does not know:
/// `/fail/2/v1/messages?lang=en`. Where nothing follows, an unknown setting is a mistake.
///
/// # Errors
/// A sentence: the path names a behaviour, but an argument or a setting of it is wrong.
pub fn parse(path: &str, query: Option<&str>) -> Result<Behaviour, String> {
    let mut draft = Draft::default();
    let mut segments = path.split('/').skip(1).peekable();
    if take_name(&mut draft, &mut segments)? == Named::Nothing {
        return Draft::default().finish();
    }
    let is_callers_own = segments.any(|segment| !segment.is_empty());
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if !is_callers_own || Draft::knows(&name) {
            draft.set(&name, &value)?;
        }
    }
    draft.finish()
}

/// Whether a path names a behaviour.
#[derive(PartialEq)]
enum Named {
    Behaviour,
    Nothing,
}

/// Takes up what the first segments of a path say, and leaves the others.
fn take_name<'a>(
    draft: &mut Draft,
    segments: &mut Peekable<impl Iterator<Item = &'a str>>,
) -> Result<Named, String> {
    let name = segments.next().unwrap_or_default();
    match name {
        "ok" => {}
        "status" | "code" | "bytes" => draft.set(name, needed(name, segments.next())?)?,
        "fail" => {
            draft.set("fail_first", needed(name, segments.next())?)?;
            take_status(draft, segments)?;
        }
        "flaky" => {
            draft.set("probability", needed(name, segments.next())?)?;
            take_status(draft, segments)?;
        }
        "hang" | "reset" | "drop" | "cut" | "garbage" | "drip" | "endless" => draft.set("fault", name)?,
        "slow" => draft.set("latency", SLOW_MS)?,
        "down" => draft.set("from", "0")?,
        "redirect" => draft.set("status", "302")?,
        "echo" => draft.echo(),
        _ => return Ok(Named::Nothing),
    }
    Ok(Named::Behaviour)
}

/// A segment that is a number is the status of the failure; anything else is the caller's.
fn take_status<'a>(
    draft: &mut Draft,
    segments: &mut Peekable<impl Iterator<Item = &'a str>>,
) -> Result<(), String> {
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match segments.next_if(is_number) {
        Some(status) => draft.set("status", status),
        None => Ok(()),
    }
}

fn needed<'a>(name: &str, argument: Option<&'a str>) -> Result<&'a str, String> {
    argument.filter(|argument| !argument.is_empty()).ok_or_else(|| {
        format!(
            "/{name} needs an argument, as in /status/503, /fail/2, /flaky/0.3, /code/4001, /bytes/100000"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::behaviour::{Act, Place, ReplyBody};

    fn read(target: &str) -> Result<Behaviour, String> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        parse(path, query)
    }

    fn fault_status(behaviour: &Behaviour) -> Option<u16> {
        let Some(Act::Reply(reply)) = &behaviour.fault else { return None };
        Some(reply.status.as_u16())
    }

    #[test]
    fn paths_name_their_behaviour() {
        for (target, status, first, probability) in [
            ("/", None, None, 1.0),
            ("/ok", None, None, 1.0),
            ("/v1/messages?status=paid", None, None, 1.0),
            ("/fail/2/v1/messages?lang=en", Some(503), Some(2), 1.0),
            ("/status/503", Some(503), None, 1.0),
            ("/status/999/v1/messages", Some(999), None, 1.0),
            ("/fail/2", Some(503), Some(2), 1.0),
            ("/fail/2/429?retry_after=1", Some(429), Some(2), 1.0),
            ("/fail/2/v1/messages", Some(503), Some(2), 1.0),
            ("/flaky/0.3/500", Some(500), None, 0.3),
            ("/code/4001?fail_first=1", Some(200), Some(1), 1.0),
            ("/redirect?location=/ok", Some(302), None, 1.0),
            ("/ok/v1/messages?lang=en&status=500&probability=0.5", Some(500), None, 0.5),
        ] {
            let behaviour = read(target).unwrap();
            assert_eq!(
                (fault_status(&behaviour), behaviour.fail_first, behaviour.probability.to_bits()),
                (status, first, f64::to_bits(probability)),
                "{target}"
            );
        }
    }

    #[test]
    fn faults_below_http_have_paths_too() {
        for (target, act) in [
            ("/hang", Act::Hang),
            ("/drop?fail_first=1", Act::Drop),
            ("/reset", Act::Reset(Place::Start)),
            ("/reset?at=body", Act::Reset(Place::Body)),
            ("/garbage/v1", Act::Garbage),
        ] {
            assert_eq!(read(target).unwrap().fault, Some(act), "{target}");
        }
        assert_eq!(read("/down").unwrap().down.len(), 1);
        assert!(
            matches!(read("/bytes/12").unwrap().good, Act::Reply(reply) if reply.body == ReplyBody::Filler(12))
        );
    }

    #[test]
    fn wrong_arguments_get_a_sentence() {
        for target in [
            "/status",
            "/status/",
            "/status/abc",
            "/fail/x",
            "/flaky/2",
            "/fail/2/99",
            "/ok?colour=red",
            "/ok/?x=1",
        ] {
            assert!(read(target).is_err(), "{target}");
        }
    }
}
