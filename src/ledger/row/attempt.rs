//! The rows of `attempts`.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::super::{Next, Result};
use super::text::{all_pairs_to_json, pairs_from_json};
use super::{Stamp, known, micros, parsed, required, storable, within};
use crate::call::attempt::{Answer, SentRequest};
use crate::call::{
    Attempt, AttemptNumber, Choice, ClaimNumber, Cost, ErrorKind, LateResult, Outcome, ProviderName,
    Revision, Ruling, Status, Trigger, Verdict, WorkerName,
};

/// One row of `attempts`.
#[derive(sqlx::FromRow)]
pub(in crate::ledger) struct AttemptRow {
    number: i32,
    claim_number: i64,
    trigger: String,
    provider: Option<String>,
    provider_reason: Option<String>,
    cost_millionths: Option<i64>,
    rule: Option<String>,
    rule_notes: Option<String>,
    worker: String,
    started_at: Stamp,
    duration_us: i64,
    verdict: String,
    request_method: Option<String>,
    request_url: Option<String>,
    request_headers: Option<String>,
    request_body_bytes: Option<i64>,
    request_revision: Option<i32>,
    http_status: Option<i32>,
    response_headers: Option<String>,
    response_body: Option<Vec<u8>>,
    response_body_bytes: Option<i64>,
    error_kind: Option<String>,
    error_detail: Option<String>,
    late_verdict: Option<String>,
    late_recorded_at: Option<Stamp>,
}

impl AttemptRow {
    /// The attempt that the row describes.
    pub(in crate::ledger) fn into_attempt(mut self) -> Result<Attempt> {
        Ok(Attempt {
            number: required(AttemptNumber::new(self.number), "number")?,
            claim: ClaimNumber::new(self.claim_number),
            trigger: known(Trigger::parse(&self.trigger), "trigger", &self.trigger)?,
            choice: self.choice()?,
            ruling: Ruling { rule: self.rule.take(), notes: self.rule_notes.take() },
            worker: parsed(WorkerName::parse(&self.worker), "worker")?,
            started_at: self.started_at.0,
            duration: Duration::from_micros(within(self.duration_us, "duration_us")?),
            verdict: known(Verdict::parse(&self.verdict), "verdict", &self.verdict)?,
            late: self.late()?,
            request: self.request()?,
            outcome: self.outcome()?,
        })
    }

    fn choice(&mut self) -> Result<Option<Choice>> {
        let Some(provider) = self.provider.take() else { return Ok(None) };
        Ok(Some(Choice {
            provider: parsed(ProviderName::parse(&provider), "provider")?,
            reason: self.provider_reason.take().unwrap_or_default(),
            cost: self.cost_millionths.map(Cost::from_millionths),
        }))
    }

    fn late(&self) -> Result<Option<LateResult>> {
        let Some(verdict) = self.late_verdict.as_deref() else { return Ok(None) };
        Ok(Some(LateResult {
            verdict: known(Verdict::parse(verdict), "late_verdict", verdict)?,
            recorded_at: required(self.late_recorded_at, "late_recorded_at")?.0,
        }))
    }

    fn request(&mut self) -> Result<Option<SentRequest>> {
        let Some(method) = self.request_method.take() else { return Ok(None) };
        Ok(Some(SentRequest {
            method,
            url: required(self.request_url.take(), "request_url")?,
            headers: pairs_from_json(self.request_headers.as_deref(), "request_headers")?,
            body_bytes: within(
                required(self.request_body_bytes, "request_body_bytes")?,
                "request_body_bytes",
            )?,
            revision: Revision::new(required(self.request_revision, "request_revision")?),
        }))
    }

    /// An answer, where there is one, is better evidence than the word that the worker was lost.
    fn outcome(self) -> Result<Outcome> {
        let Some(status) = self.http_status else { return self.failure() };
        Ok(Outcome::Answered(Answer {
            status: within(status, "http_status")?,
            headers: pairs_from_json(self.response_headers.as_deref(), "response_headers")?,
            body: Bytes::from(required(self.response_body, "response_body")?),
            body_bytes: within(
                required(self.response_body_bytes, "response_body_bytes")?,
                "response_body_bytes",
            )?,
        }))
    }

    fn failure(self) -> Result<Outcome> {
        let kind = required(self.error_kind, "error_kind")?;
        Ok(Outcome::Failed {
            kind: known(ErrorKind::parse(&kind), "error_kind", &kind)?,
            detail: self.error_detail.unwrap_or_default(),
        })
    }
}

/// An attempt as columns.
pub(in crate::ledger) struct AttemptFields<'a> {
    pub(in crate::ledger) number: i32,
    pub(in crate::ledger) claim_number: i64,
    pub(in crate::ledger) trigger: &'static str,
    pub(in crate::ledger) provider: Option<&'a str>,
    pub(in crate::ledger) provider_reason: Option<Cow<'a, str>>,
    pub(in crate::ledger) cost_millionths: Option<i64>,
    pub(in crate::ledger) rule: Option<Cow<'a, str>>,
    pub(in crate::ledger) rule_notes: Option<Cow<'a, str>>,
    pub(in crate::ledger) worker: &'a str,
    pub(in crate::ledger) started_at: Stamp,
    pub(in crate::ledger) duration_us: i64,
    pub(in crate::ledger) verdict: &'static str,
    pub(in crate::ledger) request: SentFields<'a>,
    pub(in crate::ledger) answer: AnswerFields<'a>,
    pub(in crate::ledger) error_kind: Option<&'static str>,
    pub(in crate::ledger) error_detail: Option<Cow<'a, str>>,
    /// The sentence that the call keeps of it.
    pub(in crate::ledger) error: Option<String>,
}

/// A request as it left, as columns: all there or none.
#[derive(Default)]
pub(in crate::ledger) struct SentFields<'a> {
    pub(in crate::ledger) method: Option<&'a str>,
    pub(in crate::ledger) url: Option<Cow<'a, str>>,
    pub(in crate::ledger) headers: Option<String>,
    pub(in crate::ledger) body_bytes: Option<i64>,
    pub(in crate::ledger) revision: Option<i32>,
}

/// An answer, as columns: all there or none.
#[derive(Default)]
pub(in crate::ledger) struct AnswerFields<'a> {
    pub(in crate::ledger) status: Option<i32>,
    pub(in crate::ledger) headers: Option<String>,
    pub(in crate::ledger) body: Option<&'a [u8]>,
    pub(in crate::ledger) body_bytes: Option<i64>,
}

impl<'a> From<&'a Attempt> for AttemptFields<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let choice = attempt.choice.as_ref();
        let (answer, error_kind, error_detail) = match &attempt.outcome {
            Outcome::Answered(answer) => (AnswerFields::from(answer), None, None),
            Outcome::Failed { kind, detail } => {
                (AnswerFields::default(), Some(kind.as_str()), Some(storable(detail)))
            }
        };
        Self {
            number: attempt.number.get(),
            claim_number: attempt.claim.get(),
            trigger: attempt.trigger.as_str(),
            provider: choice.map(|choice| choice.provider.as_str()),
            provider_reason: choice.map(|choice| storable(&choice.reason)),
            cost_millionths: choice.and_then(|choice| choice.cost).map(Cost::millionths),
            rule: attempt.ruling.rule.as_deref().map(storable),
            rule_notes: attempt.ruling.notes.as_deref().map(storable),
            worker: attempt.worker.as_str(),
            started_at: Stamp(attempt.started_at),
            duration_us: micros(attempt.duration),
            verdict: attempt.verdict.as_str(),
            request: attempt.request.as_ref().map(SentFields::from).unwrap_or_default(),
            answer,
            error_kind,
            error_detail,
            error: attempt.error().map(|error| storable(&error).into_owned()),
        }
    }
}

impl<'a> From<&'a SentRequest> for SentFields<'a> {
    fn from(request: &'a SentRequest) -> Self {
        Self {
            method: Some(&request.method),
            url: Some(storable(&request.url)),
            headers: Some(all_pairs_to_json(&request.headers)),
            body_bytes: Some(length(request.body_bytes)),
            revision: Some(request.revision.get()),
        }
    }
}

impl<'a> From<&'a Answer> for AnswerFields<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self {
            status: Some(i32::from(answer.status)),
            headers: Some(all_pairs_to_json(&answer.headers)),
            body: Some(&answer.body),
            body_bytes: Some(length(answer.body_bytes)),
        }
    }
}

fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What comes next, as columns.
pub(in crate::ledger) struct NextFields {
    pub(in crate::ledger) status: &'static str,
    pub(in crate::ledger) delay_us: Option<i64>,
    pub(in crate::ledger) rung: Option<i32>,
    pub(in crate::ledger) trigger: Option<&'static str>,
    pub(in crate::ledger) review_reason: Option<&'static str>,
}

impl From<Next> for NextFields {
    fn from(next: Next) -> Self {
        let nothing = Self { status: "", delay_us: None, rung: None, trigger: None, review_reason: None };
        match next {
            Next::Succeeded => Self { status: Status::Succeeded.as_str(), ..nothing },
            Next::Scheduled { delay, rung, trigger } => Self {
                status: Status::Scheduled.as_str(),
                delay_us: Some(micros(delay)),
                rung: Some(i32::from(rung.used())),
                trigger: Some(trigger.as_str()),
                review_reason: None,
            },
            Next::Review(reason) => {
                Self { status: Status::Review.as_str(), review_reason: Some(reason.as_str()), ..nothing }
            }
        }
    }
}
