//! Lists and small documents as JSON text, and text that a database can hold.
//!
//! The text is JSON in a plain text column: it is only ever read back whole, and the databases' own JSON types refuse U+0000.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::{LedgerError, Result};
use super::{known, parsed};
use crate::call::course::{Arrival, Doubt, Effect, Question};
use crate::call::{Course, Failure, Headers, ProviderName, TagKey};
use crate::clock::Timestamp;

/// Text without U+0000, which PostgreSQL cannot store. What comes from the third party or from a person must not be able to
/// make a whole batch fail, so the character is replaced here and nowhere refused.
pub(in crate::ledger) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Pairs as JSON; `None` for no pairs.
pub(in crate::ledger) fn pairs_to_json<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() { None } else { Some(to_json(&pairs)) }
}

/// Pairs as JSON, also where there are none.
pub(super) fn all_pairs_to_json(pairs: &[(String, String)]) -> String {
    to_json(&pairs)
}

/// The pairs of a column.
pub(super) fn pairs_from_json(json: Option<&str>, column: &'static str) -> Result<Vec<(String, String)>> {
    json.map_or_else(|| Ok(Vec::new()), |json| from_json(json, column))
}

/// The headers of a request column.
pub(super) fn headers_from_json(json: Option<&str>) -> Result<Headers> {
    let mut headers = Headers::default();
    for (name, value) in pairs_from_json(json, "headers")? {
        parsed(headers.insert(&name, &value), "headers")?;
    }
    Ok(headers)
}

/// The tags of a call.
pub(super) fn tags_from_json(json: Option<&str>) -> Result<Vec<(TagKey, String)>> {
    let pairs = pairs_from_json(json, "tags")?;
    pairs.into_iter().map(|(key, value)| Ok((parsed(TagKey::parse(&key), "tags")?, value))).collect()
}

/// A publisher's own failure, as JSON.
#[derive(Serialize, Deserialize)]
struct FailureText {
    occurred_at_us: Option<i64>,
    status: Option<u16>,
    error: Option<String>,
    ambiguous: bool,
    attempts: Option<u32>,
}

/// A publisher's own failure as JSON.
pub(super) fn failure_to_json(failure: &Failure) -> String {
    to_json(&FailureText {
        occurred_at_us: failure.occurred_at.map(Timestamp::unix_micros),
        status: failure.status,
        error: failure.error.clone(),
        ambiguous: failure.ambiguous,
        attempts: failure.attempts,
    })
}

/// The publisher's own failure of a column.
pub(super) fn failure_from_json(json: &str) -> Result<Failure> {
    let text: FailureText = from_json(json, "failure")?;
    Ok(Failure {
        occurred_at: text.occurred_at_us.map(Timestamp::from_unix_micros),
        status: text.status,
        error: text.error,
        ambiguous: text.ambiguous,
        attempts: text.attempts,
    })
}

/// What policy remembers of a call, as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct CourseText {
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<QuestionText>,
    #[serde(skip_serializing_if = "is_zero")]
    immediate_retries: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_to: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct QuestionText {
    doubt: String,
    since_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    unanswered: u16,
    absent: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_zero(count: &u16) -> bool {
    *count == 0
}

/// What policy remembers, as JSON; `None` for nothing.
pub(in crate::ledger) fn course_to_json(course: &Course) -> Option<String> {
    if *course == Course::default() {
        return None;
    }
    let question = course.question.as_ref().map(|question| QuestionText {
        doubt: question.doubt.as_str().to_owned(),
        since_us: question.since.unix_micros(),
        provider: question.provider.as_ref().map(ToString::to_string),
        unanswered: question.unanswered,
        absent: question.absent,
    });
    Some(to_json(&CourseText {
        arrived_us: course.arrival.map(|arrival| arrival.first_at.unix_micros()),
        effect: course.arrival.map(|arrival| arrival.effect.as_str().to_owned()),
        question,
        immediate_retries: course.immediate_retries,
        tried: course.tried.iter().map(ToString::to_string).collect(),
        bound_to: course.bound_to.as_ref().map(ToString::to_string),
    }))
}

/// What policy remembers, of a column.
pub(super) fn course_from_json(json: Option<&str>) -> Result<Course> {
    let Some(json) = json else { return Ok(Course::default()) };
    let text: CourseText = from_json(json, "course")?;
    let effect = text.effect.unwrap_or_default();
    let arrival = text.arrived_us.map(|first_at| -> Result<Arrival> {
        let effect = known(Effect::parse(&effect), "course", &effect)?;
        Ok(Arrival { first_at: Timestamp::from_unix_micros(first_at), effect })
    });
    Ok(Course {
        arrival: arrival.transpose()?,
        question: text.question.as_ref().map(question_from_text).transpose()?,
        immediate_retries: text.immediate_retries,
        tried: text.tried.iter().map(|name| provider_from_text(name)).collect::<Result<_>>()?,
        bound_to: text.bound_to.as_deref().map(provider_from_text).transpose()?,
    })
}

fn question_from_text(text: &QuestionText) -> Result<Question> {
    Ok(Question {
        doubt: known(Doubt::parse(&text.doubt), "course", &text.doubt)?,
        since: Timestamp::from_unix_micros(text.since_us),
        provider: text.provider.as_deref().map(provider_from_text).transpose()?,
        unanswered: text.unanswered,
        absent: text.absent,
    })
}

fn provider_from_text(text: &str) -> Result<ProviderName> {
    parsed(ProviderName::parse(text), "course")
}

fn to_json(value: &impl Serialize) -> String {
    // Strings, numbers and lists of them: there is nothing here that JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}

fn from_json<T: for<'de> Deserialize<'de>>(json: &str, column: &'static str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| LedgerError::Corrupt(format!("{column} is no such JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_survive_the_column_whatever_they_hold() {
        let pairs = [("a", "\0"), ("b", "\u{1f600} \"quoted\" \\"), ("b", "")];
        let json = pairs_to_json(pairs.into_iter()).unwrap();
        let owned: Vec<_> =
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(pairs_from_json(Some(&json), "x").unwrap(), owned);
        assert_eq!(pairs_to_json(std::iter::empty()), None);
    }

    #[test]
    fn a_course_survives_the_column() {
        let provider = ProviderName::parse("alpha").unwrap();
        let question = Question {
            doubt: Doubt::Pending,
            since: Timestamp::from_unix_micros(7),
            provider: Some(provider.clone()),
            unanswered: 2,
            absent: 1,
        };
        let arrival = Arrival { first_at: Timestamp::from_unix_micros(5), effect: Effect::Unknown };
        for course in [
            Course::default(),
            Course { arrival: Some(arrival), ..Course::default() },
            Course {
                arrival: Some(arrival),
                question: Some(question),
                immediate_retries: 3,
                tried: vec![provider.clone()],
                bound_to: Some(provider),
            },
        ] {
            assert_eq!(course_from_json(course_to_json(&course).as_deref()).unwrap(), course);
        }
        assert!(course_from_json(Some(r#"{"arrived_us":1,"effect":"perhaps"}"#)).is_err());
    }

    #[test]
    fn a_column_that_nobody_could_have_written_is_corrupt() {
        for json in ["", "{}", "[[1,2]]", "[[\"a\"]]"] {
            assert!(matches!(pairs_from_json(Some(json), "x"), Err(LedgerError::Corrupt(_))), "{json}");
        }
    }
}
