//! The document that asks for a bulk job: read whole, every fault kept with its place.

use serde_json::value::RawValue;

use super::super::filter::{self, Misread, add_condition};
use crate::call::{ActionKind, CallId, Status};
use crate::document::json::escape;
use crate::document::{Faults, Object, each_text};
use crate::ledger::bulk::{BulkPlan, Rate};
use crate::ledger::{Filter, Order};
use crate::limits::{BULK_CANARY_MAX, BULK_IDS_MAX, BULK_RATE_MAX, NOTE_BYTES_MAX, TAGS_MAX};

/// What is asked for.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Purpose {
    /// To know how many calls it would be.
    DryRun,
    /// To do it.
    InEarnest,
}

/// A bulk job as somebody asks for it.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) purpose: Purpose,
    pub(super) filter: Filter,
    pub(super) plan: BulkPlan,
}

/// Reads the document; `actor` is who asks.
pub(super) fn read(raw: &RawValue, actor: String, faults: &mut Faults) -> Option<Wish> {
    let mut object = Object::open(raw, String::new(), faults)?;
    let action = read_action(&mut object, faults);
    let filter = object.required("filter", faults).and_then(|raw| read_filter(raw, action, faults));
    let dry_run = object.truth("dry_run", faults).unwrap_or(false);
    let rate = object.name("rate", faults, |text| {
        Rate::parse(text).ok_or_else(|| {
            format!("must be a number of calls in a second, minute or hour, as in \"50/s\", \"100/m\" or \"1000/h\", at most {BULK_RATE_MAX} a second")
        })
    });
    let canary = object.number("canary", "a whole number from 0 to 1000", faults, |number| {
        u32::try_from(number).ok().filter(|number| *number <= BULK_CANARY_MAX)
    });
    let stop_at_failure_rate = read_failure_rate(&mut object, faults);
    let note = object.name("note", faults, |text| {
        if text.len() <= NOTE_BYTES_MAX {
            Ok(text.to_owned())
        } else {
            Err(format!("must be at most {NOTE_BYTES_MAX} bytes long"))
        }
    });
    let new_key = read_key(&mut object, action, faults);
    object.close(faults);
    let filter = filter?;
    let plan = BulkPlan {
        action: action?,
        new_key,
        actor,
        note: note.unwrap_or_default(),
        rate: rate.unwrap_or(Rate::DEFAULT),
        canary: canary.unwrap_or(0),
        stop_at_failure_rate,
        filter: filter::document(&filter).to_string(),
    };
    let purpose = if dry_run { Purpose::DryRun } else { Purpose::InEarnest };
    Some(Wish { purpose, filter, plan })
}

fn read_action(object: &mut Object<'_>, faults: &mut Faults) -> Option<ActionKind> {
    object.required("action", faults)?;
    object.name("action", faults, |text| {
        ActionKind::parse(text).ok_or_else(|| format!("must be one of {}", ActionKind::allowed()))
    })
}

fn read_key(object: &mut Object<'_>, action: Option<ActionKind>, faults: &mut Faults) -> bool {
    let key = object.name("idempotency_key", faults, |text| match text {
        "same" => Ok(false),
        "new" if action.is_none_or(|action| action == ActionKind::Replay) => Ok(true),
        "new" => Err("must be \"same\" or absent: only a replay sends a key"),
        _ => Err("must be \"same\" or \"new\""),
    });
    key.unwrap_or(false)
}

fn read_failure_rate(object: &mut Object<'_>, faults: &mut Faults) -> Option<f64> {
    let raw = object.optional("stop_at_failure_rate")?;
    let rate = serde_json::from_str::<f64>(raw.get()).ok();
    let fits = rate.filter(|rate| *rate > 0.0 && *rate <= 1.0);
    if fits.is_none() {
        let code = if rate.is_some() { "invalid_value" } else { "wrong_type" };
        faults.add("/stop_at_failure_rate", code, "must be a number above 0 and up to 1");
    }
    fits
}

/// A filter that names neither a status nor ids is for calls in review: nobody means the others who does not say so.
fn read_filter(raw: &RawValue, action: Option<ActionKind>, faults: &mut Faults) -> Option<Filter> {
    let object = Object::open(raw, "/filter".to_owned(), faults)?;
    let mut filter = Filter::default();
    for (name, value) in object.into_members() {
        if value.get() != "null" {
            read_member(&mut filter, &name, value, faults);
        }
    }
    if filter.statuses.is_empty() && filter.ids.is_none() {
        filter.statuses.push(Status::Review);
    }
    if let Some(action) = action {
        refuse_statuses(&filter, action, faults);
    }
    Some(filter)
}

fn read_member(filter: &mut Filter, name: &str, value: &RawValue, faults: &mut Faults) {
    let place = format!("/filter/{}", escape(name));
    match name {
        "tags" => {
            each_text("/filter/tags", value, faults, |key, value, place, faults| {
                if filter.tags.len() >= TAGS_MAX {
                    faults.add(place, "invalid_value", format!("is beyond the {TAGS_MAX} tags of a call"));
                } else if let Err(misread) = add_condition(filter, &format!("tag.{key}"), value) {
                    refuse(misread, place, faults);
                }
            });
        }
        "ids" => filter.ids = read_ids(value, faults),
        "dry_run" => match serde_json::from_str::<bool>(value.get()) {
            Ok(truth) => add(filter, name, &truth.to_string(), place, faults),
            Err(_) => faults.add(place, "wrong_type", "must be true or false"),
        },
        "status" if value.get().starts_with('[') => match serde_json::from_str::<Vec<String>>(value.get()) {
            Ok(statuses) => add(filter, name, &statuses.join(","), place, faults),
            Err(_) => faults.add(place, "wrong_type", "must be a string, or a list of strings"),
        },
        _ => match serde_json::from_str::<String>(value.get()) {
            Ok(text) => add(filter, name, &text, place, faults),
            Err(_) => faults.add(place, "wrong_type", "must be a string"),
        },
    }
}

/// An empty condition is refused: taken for none, it would make the job one for far more calls than was meant.
fn add(filter: &mut Filter, name: &str, value: &str, place: String, faults: &mut Faults) {
    let added = match (name.starts_with("tag."), value.is_empty()) {
        (true, _) => Err(Misread::Unknown),
        (false, true) => Err(Misread::Bad("must not be empty; leave it out".to_owned())),
        (false, false) => add_condition(filter, name, value),
    };
    if let Err(misread) = added {
        refuse(misread, place, faults);
    }
}

fn refuse(misread: Misread, place: String, faults: &mut Faults) {
    match misread {
        Misread::Bad(sentence) => faults.add(place, "invalid_value", sentence),
        Misread::Unknown => {
            let known =
                "status, endpoint, publisher, reason, error, provider, dry_run, tags, from, to, q, ids";
            faults.add(place, "unknown_field", format!("is not known here; known are: {known}"));
        }
    }
}

fn read_ids(value: &RawValue, faults: &mut Faults) -> Option<Vec<CallId>> {
    let Ok(texts) = serde_json::from_str::<Vec<String>>(value.get()) else {
        faults.add("/filter/ids", "wrong_type", "must be a list of calls' ids");
        return None;
    };
    if texts.is_empty() || texts.len() > BULK_IDS_MAX {
        let detail =
            format!("must name 1 to {BULK_IDS_MAX} calls; leave it out to choose by other conditions");
        faults.add("/filter/ids", "invalid_value", detail);
        return None;
    }
    let mut ids = Vec::with_capacity(texts.len());
    for (position, text) in texts.iter().enumerate() {
        match CallId::parse(text) {
            Some(id) => ids.push(id),
            None => {
                faults.add(format!("/filter/ids/{position}"), "invalid_value", "must be a call's id, a UUID");
            }
        }
    }
    Some(ids)
}

/// A status of which no call can be acted on so is a mistake in the filter. Calls named by id are passed over one by one.
fn refuse_statuses(filter: &Filter, action: ActionKind, faults: &mut Faults) {
    let order = match action {
        ActionKind::Replay => Order::Replay { request: None, new_key: false },
        ActionKind::Cancel => Order::Cancel,
        ActionKind::Resolve => Order::Resolve,
    };
    for status in filter.statuses.iter().filter(|status| !order.allows(**status)) {
        let detail = format!("must not hold {status}: such calls cannot be given the action {action}");
        faults.add("/filter/status", "invalid_value", detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentError;

    fn wish(text: &str) -> Result<Wish, DocumentError> {
        crate::document::read(text.as_bytes(), |raw, _, faults| read(raw, "ada".to_owned(), faults))
    }

    fn faults(text: &str) -> Vec<(String, &'static str)> {
        match wish(text) {
            Ok(wish) => panic!("{text} is fine: {wish:?}"),
            Err(DocumentError::Unreadable(sentence)) => panic!("{text}: {sentence}"),
            Err(DocumentError::Invalid(faults)) => {
                faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
            }
        }
    }

    #[test]
    fn a_wish_says_what_is_to_be_done_with_which_calls() {
        let wish = wish(
            r#"{"action":"replay","filter":{"endpoint":"sms","error":"none","tags":{"order":"7"},"reason":null},
                "rate":"100/m","canary":5,"stop_at_failure_rate":0.5,"note":"mended","idempotency_key":"new"}"#,
        )
        .unwrap();
        assert_eq!(
            (wish.purpose, wish.filter.statuses.as_slice()),
            (Purpose::InEarnest, &[Status::Review][..])
        );
        let plan = &wish.plan;
        assert_eq!((plan.action, plan.new_key, plan.canary), (ActionKind::Replay, true, 5));
        assert_eq!((plan.rate.to_string().as_str(), plan.stop_at_failure_rate), ("100/m", Some(0.5)));
        assert_eq!((plan.actor.as_str(), plan.note.as_str()), ("ada", "mended"));
        assert_eq!(
            plan.filter,
            r#"{"endpoint":"sms","error":"none","status":"review","tags":{"order":"7"}}"#
        );
    }

    #[test]
    fn only_a_filter_without_status_and_ids_means_what_is_in_review() {
        let statuses = |filter: &str| {
            wish(&format!(r#"{{"action":"replay","filter":{filter}}}"#)).unwrap().filter.statuses
        };
        assert_eq!(statuses("{}"), [Status::Review]);
        assert_eq!(statuses(r#"{"status":["cancelled","review"]}"#), [Status::Cancelled, Status::Review]);
        assert_eq!(statuses(r#"{"status":"scheduled"}"#), [Status::Scheduled]);
        assert_eq!(statuses(r#"{"ids":["0197a2b4-7c1e-7d0a-9f5e-2f6d1c3b4a59"]}"#), []);
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (text, expected) in [
            ("{}", &[("/action", "missing_field"), ("/filter", "missing_field")][..]),
            (r#"{"action":"delete","filter":{}}"#, &[("/action", "invalid_value")]),
            (r#"{"action":"replay","filter":[]}"#, &[("/filter", "wrong_type")]),
            (r#"{"action":"replay","filter":{"endpoint":"A"}}"#, &[("/filter/endpoint", "invalid_value")]),
            (r#"{"action":"replay","filter":{"endpoint":""}}"#, &[("/filter/endpoint", "invalid_value")]),
            (r#"{"action":"replay","filter":{"tag.a":"b"}}"#, &[("/filter/tag.a", "unknown_field")]),
            (r#"{"action":"replay","filter":{"limit":"5"}}"#, &[("/filter/limit", "unknown_field")]),
            (r#"{"action":"replay","filter":{"tags":{"a":7}}}"#, &[("/filter/tags/a", "wrong_type")]),
            (r#"{"action":"replay","filter":{"ids":[]}}"#, &[("/filter/ids", "invalid_value")]),
            (r#"{"action":"replay","filter":{"ids":["x"]}}"#, &[("/filter/ids/0", "invalid_value")]),
            (r#"{"action":"cancel","filter":{"status":"resolved"}}"#, &[("/filter/status", "invalid_value")]),
            (r#"{"action":"replay","filter":{"status":"running"}}"#, &[("/filter/status", "invalid_value")]),
            (
                r#"{"action":"cancel","filter":{},"rate":"9/d","canary":-1,"stop_at_failure_rate":0,"idempotency_key":"new"}"#,
                &[
                    ("/rate", "invalid_value"),
                    ("/canary", "invalid_value"),
                    ("/stop_at_failure_rate", "invalid_value"),
                    ("/idempotency_key", "invalid_value"),
                ],
            ),
            (r#"{"action":"replay","filter":{},"force":true}"#, &[("/force", "unknown_field")]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect();
            assert_eq!(faults(text), expected, "{text}");
        }
    }
}
