//! Which of several interchangeable providers makes the next attempt, and why.

use crate::call::{Cost, ProviderName, Verdict};
use crate::endpoint::Strategy;

/// What a provider that fails all the time keeps of its share, so that its recovery is seen.
const CORRECTION_MIN: f64 = 0.05;

/// A provider, as it stands now.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a ProviderName,
    /// Its share, in proportion to the other weights.
    pub weight: u32,
    /// What a request costs there.
    pub cost: Option<Cost>,
    /// Whether it takes calls.
    pub line: Line,
    /// The part of its recent attempts that went well, from 0 to 1; `None`: it has made too few to tell.
    pub success_rate: Option<f64>,
    /// It was tried in vain since the last rung.
    pub tried: bool,
}

/// Whether a provider takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It does.
    Online,
    /// It was offline; one call may find out whether it still is.
    Probe,
    /// It does not.
    Offline,
}

/// What a choice depends on besides the candidates.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// How the endpoint chooses.
    pub strategy: Strategy,
    /// Whom the publisher named.
    pub wanted: Option<&'a ProviderName>,
    /// Who was tried in vain last, and what came of it, in a word.
    pub failed: Option<(&'a ProviderName, &'a str)>,
    /// A random number from 0 to below 1.
    pub draw: f64,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The position among the candidates.
    pub position: usize,
    /// Why, in a few words.
    pub reason: String,
}

/// How well a provider has done lately: the newer an attempt, the more it counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reputation {
    rate: f64,
    attempts: u32,
}

impl Reputation {
    /// Fewer attempts than these tell nothing.
    const ATTEMPTS_MIN: u32 = 5;
    /// About so many attempts are remembered.
    const MEMORY: u32 = 50;

    /// Takes note of an attempt. A refusal says something of the request, not of the provider.
    pub fn note(&mut self, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Success | Verdict::Pending => 1.0,
            Verdict::Transient | Verdict::Limited | Verdict::Ambiguous => 0.0,
            Verdict::Rejected => return,
        };
        self.attempts = (self.attempts + 1).min(Self::MEMORY);
        self.rate += (outcome - self.rate) / f64::from(self.attempts);
    }

    /// The part of the recent attempts that went well, from 0 to 1; `None`: too few to tell.
    pub fn success_rate(&self) -> Option<f64> {
        (self.attempts >= Self::ATTEMPTS_MIN).then_some(self.rate)
    }
}

/// Chooses: a provider whose turn it is to prove that it is back; else the one that the publisher named; else by the strategy. Providers that
/// were tried in vain, or are offline, are passed over as long as there are others. `None` without candidates.
pub fn choose(candidates: &[Candidate<'_>], wish: &Wish<'_>) -> Option<Pick> {
    let open: Vec<usize> = positions(candidates, |one| one.line != Line::Offline && !one.tried);
    if let Some(position) = open.iter().copied().find(|position| candidates[*position].line == Line::Probe) {
        return Some(Pick { position, reason: told("its turn to prove that it is back", wish) });
    }
    if !open.is_empty() {
        return among(candidates, &open, wish);
    }
    let again = positions(candidates, |one| one.line != Line::Offline);
    if !again.is_empty() {
        return among(candidates, &again, wish).map(|pick| Pick {
            reason: format!("once more, every other one was tried; {}", pick.reason),
            ..pick
        });
    }
    let all = positions(candidates, |_| true);
    among(candidates, &all, wish)
        .map(|pick| Pick { reason: format!("none is online; {}", pick.reason), ..pick })
}

/// Whether a call that fails at one provider could go to another one at once.
pub fn has_alternative(candidates: &[Candidate<'_>], present: &ProviderName) -> bool {
    candidates.iter().any(|one| one.name != present && !one.tried && one.line != Line::Offline)
}

fn positions(candidates: &[Candidate<'_>], holds: impl Fn(&Candidate<'_>) -> bool) -> Vec<usize> {
    candidates.iter().enumerate().filter(|(_, one)| holds(one)).map(|(position, _)| position).collect()
}

fn among(candidates: &[Candidate<'_>], open: &[usize], wish: &Wish<'_>) -> Option<Pick> {
    let named = open.iter().copied().find(|position| wish.wanted == Some(candidates[*position].name));
    let (position, why) = match (named, wish.strategy) {
        (Some(position), _) => (position, "named by the publisher".to_owned()),
        (None, Strategy::Weighted) => weighted(candidates, open, wish.draw)?,
        (None, Strategy::Cheapest) => cheapest(candidates, open)?,
        (None, Strategy::Ordered) => (*open.first()?, "first in order".to_owned()),
    };
    let why = if open.len() == 1 && named.is_none() && candidates.len() > 1 {
        "the only one left".to_owned()
    } else {
        why
    };
    Some(Pick { position, reason: told(&why, wish) })
}

fn told(why: &str, wish: &Wish<'_>) -> String {
    match wish.failed {
        Some((name, what)) => format!("failover from {name}: {what}; {why}"),
        None => why.to_owned(),
    }
}

/// In proportion to the weights, each corrected by the square of its success rate: one that fails half of its calls keeps a quarter.
fn weighted(candidates: &[Candidate<'_>], open: &[usize], draw: f64) -> Option<(usize, String)> {
    let shares: Vec<f64> = open.iter().map(|position| share(&candidates[*position])).collect();
    let sum: f64 = shares.iter().sum();
    let mut left = draw.clamp(0.0, 1.0) * sum;
    let mut chosen = *open.last()?;
    for (position, share) in open.iter().zip(&shares) {
        if left < *share {
            chosen = *position;
            break;
        }
        left -= share;
    }
    let weights: Vec<String> = candidates.iter().map(|one| one.weight.to_string()).collect();
    let rate = match candidates[chosen].success_rate {
        Some(rate) => format!(", {:.0} % recent success", rate * 100.0),
        None => String::new(),
    };
    Some((chosen, format!("weight {} of {}{rate}", candidates[chosen].weight, weights.join(":"))))
}

fn share(candidate: &Candidate<'_>) -> f64 {
    let rate = candidate.success_rate.unwrap_or(1.0).clamp(0.0, 1.0);
    f64::from(candidate.weight.max(1)) * (rate * rate).max(CORRECTION_MIN)
}

/// The one with the lowest price; those without a price last, of equal ones the first.
fn cheapest(candidates: &[Candidate<'_>], open: &[usize]) -> Option<(usize, String)> {
    let price = |position: &usize| candidates[*position].cost.map_or(i64::MAX, Cost::millionths);
    let position = open.iter().copied().min_by_key(price)?;
    let reason = match candidates[position].cost {
        Some(cost) => format!("cheapest: {}", cost.units()),
        None => "no price is known".to_owned(),
    };
    Some((position, reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::*;

    fn name(text: &str) -> ProviderName {
        ProviderName::parse(text).unwrap()
    }

    fn candidate(name: &ProviderName, weight: u32, cost: Option<i64>) -> Candidate<'_> {
        let cost = cost.map(Cost::from_millionths);
        Candidate { name, weight, cost, line: Line::Online, success_rate: None, tried: false }
    }

    fn wish(strategy: Strategy) -> Wish<'static> {
        Wish { strategy, wanted: None, failed: None, draw: 0.0 }
    }

    /// How often each of the candidates is chosen in `times` evenly spread draws.
    fn counts(candidates: &[Candidate<'_>], times: u32) -> Vec<u32> {
        let mut counts = vec![0; candidates.len()];
        for step in 0..times {
            let draw = (f64::from(step) + 0.5) / f64::from(times);
            counts[choose(candidates, &Wish { draw, ..wish(Strategy::Weighted) }).unwrap().position] += 1;
        }
        counts
    }

    #[test]
    fn each_choice_says_why() {
        let (alpha, beta, gamma) = (name("alpha"), name("beta"), name("gamma"));
        let all = [
            candidate(&alpha, 3, Some(45_000)),
            candidate(&beta, 1, Some(39_000)),
            candidate(&gamma, 1, None),
        ];
        let with = |position: usize, change: fn(&mut Candidate<'_>)| {
            let mut changed = all;
            change(&mut changed[position]);
            changed
        };
        let wants_beta = Wish { wanted: Some(&beta), ..wish(Strategy::Weighted) };
        let failed = Wish { failed: Some((&alpha, "connect")), ..wish(Strategy::Ordered) };
        for (candidates, wish, position, reason) in [
            (all, wish(Strategy::Weighted), 0, "weight 3 of 3:1:1"),
            (
                with(0, |one| one.success_rate = Some(0.98)),
                wish(Strategy::Weighted),
                0,
                "weight 3 of 3:1:1, 98 % recent success",
            ),
            (all, wish(Strategy::Cheapest), 1, "cheapest: 0.039"),
            (all, wish(Strategy::Ordered), 0, "first in order"),
            (all, wants_beta, 1, "named by the publisher"),
            (with(1, |one| one.tried = true), wants_beta, 0, "weight 3 of 3:1:1"),
            (with(1, |one| one.line = Line::Offline), wants_beta, 0, "weight 3 of 3:1:1"),
            (with(0, |one| one.tried = true), failed, 1, "failover from alpha: connect; first in order"),
            (with(0, |one| one.line = Line::Offline), wish(Strategy::Ordered), 1, "first in order"),
            (with(2, |one| one.line = Line::Probe), wants_beta, 2, "its turn to prove that it is back"),
        ] {
            let pick = choose(&candidates, &wish).unwrap();
            assert_eq!((pick.position, pick.reason.as_str()), (position, reason));
        }
        let mut left = all;
        left[0].tried = true;
        left[1].line = Line::Offline;
        assert_eq!(choose(&left, &failed).unwrap().reason, "failover from alpha: connect; the only one left");
        left[2].tried = true;
        let again = choose(&left, &wish(Strategy::Ordered)).unwrap();
        assert_eq!(
            (again.position, again.reason.as_str()),
            (0, "once more, every other one was tried; first in order")
        );
        let offline = all.map(|one| Candidate { line: Line::Offline, ..one });
        assert_eq!(
            choose(&offline, &wish(Strategy::Ordered)).unwrap().reason,
            "none is online; first in order"
        );
        assert_eq!(choose(&[], &wish(Strategy::Ordered)), None);
    }

    #[test]
    fn a_reputation_is_lost_and_won_back() {
        let mut reputation = Reputation::default();
        let mut note = |verdict, times| {
            for _ in 0..times {
                reputation.note(verdict);
            }
            reputation.success_rate()
        };
        assert_eq!(note(Verdict::Success, 4), None);
        assert_eq!(note(Verdict::Success, 1), Some(1.0));
        assert_eq!(note(Verdict::Rejected, 9), Some(1.0));
        assert_eq!(note(Verdict::Transient, 5), Some(0.5));
        assert!(note(Verdict::Ambiguous, 200).unwrap() < 0.05);
        assert!(note(Verdict::Success, 200).unwrap() > 0.95);
    }

    #[test]
    fn an_alternative_is_another_one_that_is_there_and_untried() {
        let (alpha, beta) = (name("alpha"), name("beta"));
        let all = [candidate(&alpha, 1, None), candidate(&beta, 1, None)];
        assert!(has_alternative(&all, &alpha) && has_alternative(&all, &beta));
        for change in
            [|one: &mut Candidate<'_>| one.tried = true, |one: &mut Candidate<'_>| one.line = Line::Offline]
        {
            let mut changed = all;
            change(&mut changed[1]);
            assert!(!has_alternative(&changed, &alpha));
        }
        assert!(!has_alternative(&all[..1], &alpha));
    }

    proptest! {
        #[test]
        fn shares_follow_the_weights(weights in proptest::collection::vec(1_u32..20, 1..6)) {
            let names: Vec<ProviderName> = (0..weights.len()).map(|position| name(&format!("p{position}"))).collect();
            let candidates: Vec<_> =
                names.iter().zip(&weights).map(|(name, weight)| candidate(name, *weight, None)).collect();
            let sum: u32 = weights.iter().sum();
            for (count, weight) in counts(&candidates, 2_000).into_iter().zip(&weights) {
                let expected = 2_000.0 * f64::from(*weight) / f64::from(sum);
                prop_assert!((f64::from(count) - expected).abs() <= 2.0, "{count} {expected}");
            }
        }

        #[test]
        fn one_that_does_badly_gets_less_but_never_nothing(rate in 0.0..0.9_f64, weight in 1_u32..20) {
            let (good, bad) = (name("good"), name("bad"));
            let even = [candidate(&good, weight, None), candidate(&bad, weight, None)];
            let mut uneven = even;
            uneven[0].success_rate = Some(1.0);
            uneven[1].success_rate = Some(rate);
            let (before, after) = (counts(&even, 1_000)[1], counts(&uneven, 1_000)[1]);
            prop_assert!(after < before && after >= 40, "{before} {after}");
        }

        #[test]
        fn who_is_offline_gets_nothing_while_another_is_there(
            lines in proptest::collection::vec(0_u8..2, 1..6), draw in 0.0..1.0_f64, wanted in 0_usize..6,
        ) {
            prop_assume!(lines.contains(&1));
            let names: Vec<ProviderName> = (0..lines.len()).map(|position| name(&format!("p{position}"))).collect();
            let candidates: Vec<_> = names.iter().zip(&lines).map(|(name, line)| {
                let line = if *line == 1 { Line::Online } else { Line::Offline };
                Candidate { line, ..candidate(name, 1, Some(1)) }
            }).collect();
            for strategy in Strategy::ALL {
                let wish = Wish { draw, wanted: names.get(wanted), ..wish(*strategy) };
                prop_assert_eq!(candidates[choose(&candidates, &wish).unwrap().position].line, Line::Online);
            }
        }
    }
}
