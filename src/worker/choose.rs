//! Which provider an attempt goes to, and how each has done lately, as this process sees it.
//!
//! Kept in memory: a process that starts anew takes every provider for good until it knows better.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::attempt::has_left;
use crate::call::{Attempt, Call, Choice, Cost, EndpointName, ProviderName, Request, Trigger, Verdict};
use crate::clock::monotonic;
use crate::endpoint::protection::BreakerSettings;
use crate::endpoint::{Duplicates, Endpoint, Provider, RequestTemplate};
use crate::gate::Health;
use crate::gate::breaker::{Breaker, BreakerState};
use crate::policy::choice::Reputation;
use crate::policy::{Candidate, Line, Pick, Wish, choose, has_alternative};

/// When a provider is taken offline where its endpoint configures no breaker.
const USUAL: BreakerSettings = BreakerSettings { min_calls: 10, ..BreakerSettings::USUAL };

/// The providers of all endpoints.
#[derive(Debug, Default)]
pub struct Vendors {
    /// A std lock: it is held for a choice or a note, never across an await.
    live: Mutex<HashMap<(EndpointName, ProviderName), Live>>,
}

/// What is known of one provider.
#[derive(Debug)]
struct Live {
    breaker: Breaker,
    reputation: Reputation,
}

/// How a provider stands, as this process sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderStanding {
    /// Its name.
    pub name: ProviderName,
    /// Whether it is offline.
    pub breaker: BreakerState,
    /// The part of its recent attempts that went well, from 0 to 1; `None`: too few to tell.
    pub success_rate: Option<f64>,
}

/// The provider that an attempt goes to.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The endpoint as it is towards that provider.
    pub face: Arc<Endpoint>,
    /// Why that one.
    pub reason: String,
    /// The call comes from another provider that failed.
    pub failover: Option<Failover>,
    name: ProviderName,
    cost: Option<Cost>,
    template: RequestTemplate,
}

/// A call goes from one provider to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The provider that failed.
    pub from: ProviderName,
    /// In what way, in a word: a status, or the kind of the failure.
    pub reason: String,
}

/// Whether another provider could take a call at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternative {
    /// One could.
    Present,
    /// None could.
    Absent,
}

impl Chosen {
    /// The call's request in this provider's words.
    ///
    /// # Errors
    /// A sentence: a template cannot be filled in from this call.
    pub fn request<'a>(&self, call: &'a Call) -> Result<Cow<'a, Request>, String> {
        if self.template.is_empty() {
            return Ok(Cow::Borrowed(&call.request));
        }
        let sentence = |sentence| format!("the request for provider {}: {sentence}", self.name);
        self.template.render(call, call.attempts_made, &self.name).map(Cow::Owned).map_err(sentence)
    }

    /// As it goes into the log. A price is paid for an invocation that was, or may have been, carried out.
    pub fn choice(&self, attempt: &Attempt) -> Choice {
        let invoked = attempt.trigger != Trigger::Confirm && has_left(&attempt.outcome);
        let paid = match attempt.verdict {
            Verdict::Success | Verdict::Pending | Verdict::Ambiguous => self.cost,
            Verdict::Transient | Verdict::Limited | Verdict::Rejected => None,
        };
        Choice { provider: self.name.clone(), reason: self.reason.clone(), cost: paid.filter(|_| invoked) }
    }
}

impl Vendors {
    /// Chooses a provider for an attempt of this call; `None` where the endpoint has no providers.
    pub fn choose(&self, call: &Call, trigger: Trigger, endpoint: &Endpoint, draw: f64) -> Option<Chosen> {
        let providers = endpoint.destination.providers();
        let (provider, reason) = match bound(call, trigger, endpoint) {
            Some(name) => {
                let provider = providers.iter().find(|provider| provider.name == *name)?;
                (provider, "an earlier attempt may have arrived there".to_owned())
            }
            None => self.pick(call, endpoint, draw)?,
        };
        Some(Chosen {
            face: Arc::clone(&provider.face),
            reason,
            failover: failover(call).filter(|failover| failover.from != provider.name),
            name: provider.name.clone(),
            cost: provider.cost,
            template: provider.request.clone(),
        })
    }

    fn pick<'a>(&self, call: &Call, endpoint: &'a Endpoint, draw: f64) -> Option<(&'a Provider, String)> {
        let now = monotonic();
        let mut live = self.lock();
        let candidates = candidates(&mut live, call.course.tried.as_slice(), endpoint, now);
        let last = failover(call);
        let wish = Wish {
            strategy: endpoint.vendors.strategy,
            wanted: call.provider.as_ref(),
            failed: last.as_ref().map(|failover| (&failover.from, failover.reason.as_str())),
            draw,
        };
        let Pick { position, reason } = choose(&candidates, &wish)?;
        let provider = endpoint.destination.providers().get(position)?;
        // The one that goes to a provider that was offline is its probe; until it is back nobody else goes there.
        let _passed = entry(&mut live, endpoint, &provider.name).breaker.try_pass(now);
        Some((provider, reason))
    }

    /// Whether a call that just failed at `face` could go to another provider at once.
    pub fn alternative(&self, call: &Call, endpoint: &Endpoint, face: &Endpoint) -> Alternative {
        let Some(present) = &face.provider else { return Alternative::Absent };
        let candidates = candidates(&mut self.lock(), call.course.tried.as_slice(), endpoint, monotonic());
        if has_alternative(&candidates, present) { Alternative::Present } else { Alternative::Absent }
    }

    /// Takes note of an attempt at `face` that has ended: after enough failures the provider is offline for a while, after a pause that it
    /// asked for, for that long.
    pub fn note(&self, face: &Endpoint, verdict: Verdict, retry_after: Option<Duration>) {
        let Some(provider) = &face.provider else { return };
        let now = monotonic();
        let mut live = self.lock();
        let live = entry(&mut live, face, provider);
        live.reputation.note(verdict);
        if let Some(health) = Health::of(verdict) {
            if let Some(change) = live.breaker.note(health, now) {
                tracing::warn!(endpoint = %face.name, %provider, ?change, "a provider was taken offline or is back");
            }
        } else {
            let pause = retry_after.unwrap_or(live.breaker.settings().open_for);
            live.breaker.open_for(pause, now);
            tracing::warn!(endpoint = %face.name, %provider, pause_ms = pause.as_millis(), "a provider asked for a pause");
        }
    }

    /// How the providers of an endpoint stand, in the order in which they are written.
    pub fn standings(&self, endpoint: &Endpoint) -> Vec<ProviderStanding> {
        let now = monotonic();
        let mut live = self.lock();
        let standing = |provider: &Provider| {
            let live = entry(&mut live, endpoint, &provider.name);
            ProviderStanding {
                name: provider.name.clone(),
                breaker: live.breaker.state(now),
                success_rate: live.reputation.success_rate(),
            }
        };
        endpoint.destination.providers().iter().map(standing).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(EndpointName, ProviderName), Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one provider that may have carried the request out, where no other may be tried before that is known.
fn bound<'a>(call: &'a Call, trigger: Trigger, endpoint: &Endpoint) -> Option<&'a ProviderName> {
    if trigger == Trigger::Confirm {
        return call.course.question.as_ref().and_then(|question| question.provider.as_ref());
    }
    call.course.bound_to.as_ref().filter(|_| endpoint.vendors.duplicates == Duplicates::Refused)
}

/// What the call comes from, if its last attempt failed at another provider just now.
fn failover(call: &Call) -> Option<Failover> {
    let from = call.course.tried.last().filter(|_| call.course.immediate_retries == 0)?.clone();
    let last = call.last.as_ref()?;
    let reason = match (last.http_status, &last.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.split(':').next().unwrap_or_default().to_owned(),
        (None, None) => last.verdict.to_string(),
    };
    Some(Failover { from, reason })
}

fn candidates<'a>(
    live: &mut HashMap<(EndpointName, ProviderName), Live>,
    tried: &[ProviderName],
    endpoint: &'a Endpoint,
    now: Instant,
) -> Vec<Candidate<'a>> {
    let candidate = |provider: &'a Provider| {
        let standing = entry(live, endpoint, &provider.name);
        let status = match standing.breaker.state(now) {
            BreakerState::Closed => Line::Online,
            BreakerState::Open | BreakerState::HalfOpen if standing.breaker.would_pass(now) => Line::Probe,
            BreakerState::Open | BreakerState::HalfOpen => Line::Offline,
        };
        Candidate {
            name: &provider.name,
            weight: provider.weight,
            cost: provider.cost,
            line: status,
            success_rate: standing.reputation.success_rate(),
            tried: tried.contains(&provider.name),
        }
    };
    endpoint.destination.providers().iter().map(candidate).collect()
}

/// What is known of a provider; it begins anew when its breaker is configured differently.
fn entry<'a>(
    live: &'a mut HashMap<(EndpointName, ProviderName), Live>,
    endpoint: &Endpoint,
    provider: &ProviderName,
) -> &'a mut Live {
    let settings = endpoint.protection.breaker.unwrap_or(USUAL);
    let fresh = || Live { breaker: Breaker::new(settings), reputation: Reputation::default() };
    let live = live.entry((endpoint.name.clone(), provider.clone())).or_insert_with(fresh);
    if *live.breaker.settings() != settings {
        *live = fresh();
    }
    live
}
