//! Tables of standings, verdicts and what follows.

use std::sync::Arc;

use super::*;
use crate::call::{EndpointName, Method};
use crate::endpoint::reporting::{Handle, Proof};
use crate::endpoint::{
    BaseUrl, Destination, Ladder, PathTemplate, Provider, Reporting, RequestTemplate, Rules, Template,
    Timeouts,
};

const NOW: Timestamp = Timestamp::from_unix_micros(1_000_000_000);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn endpoint(change: impl FnOnce(&mut Endpoint)) -> Endpoint {
    let timeouts = Timeouts::new(seconds(1), seconds(1), seconds(1), None).unwrap();
    let mut endpoint = Endpoint::plain(
        EndpointName::parse("sms").unwrap(),
        BaseUrl::parse("http://127.0.0.1:1").unwrap(),
        Ladder::parse(&["1s", "10s"]).unwrap(),
        timeouts,
    );
    change(&mut endpoint);
    endpoint
}

fn confirm(after: u64, times: u16) -> Confirm {
    Confirm {
        after: seconds(after),
        times,
        method: Method::Get,
        path: PathTemplate::parse("/{{ idempotency_key }}").unwrap(),
        headers: Vec::new(),
        body: None,
        rules: Rules::none(),
    }
}

fn reporting() -> Reporting {
    Reporting {
        proof: Proof::Token { header: http::header::AUTHORIZATION, secret: "x".into() },
        call: Template::parse_for_message("{{ body.id }}").unwrap(),
        by: Handle::Call,
        rules: Rules::none(),
    }
}

const fn standing(rung: u16, course: &Course) -> Standing<'_> {
    Standing {
        now: NOW,
        rung: Rung::new(rung),
        deadline: Timestamp::from_unix_micros(2_000_000_000),
        course,
        started_at: NOW,
        reach: Reach::Maybe,
        retry_after: None,
        parked: None,
        worker_lost: false,
        provider: None,
        has_alternative: false,
        draw: 0.5,
    }
}

fn wait(delay: u64, rung: u16, trigger: Trigger) -> Step {
    Step::Wait { delay: seconds(delay), rung: Rung::new(rung), trigger }
}

fn arrived(seconds_ago: u64, effect: Effect) -> Course {
    let arrival = Arrival { first_at: NOW.minus(seconds(seconds_ago)), effect };
    Course { arrival: Some(arrival), ..Course::default() }
}

#[test]
fn what_fails_while_its_endpoint_is_parked_keeps_its_rung_and_its_immediate_retries() {
    let course = Course::default();
    let endpoint = endpoint(|endpoint| endpoint.protection.immediate_retries = 3);
    for (verdict, rung, parked_s, delay_s) in [
        (Verdict::Transient, 0, 5, 5),
        (Verdict::Ambiguous, 0, 5, 5),
        (Verdict::Transient, 1, 5, 10),
        // Past the last rung too: the third party is down, not the call.
        (Verdict::Transient, 2, 5, 10),
        (Verdict::Ambiguous, 2, 60, 60),
    ] {
        let standing = Standing { parked: Some(seconds(parked_s)), ..standing(rung, &course) };
        let step = next_step(verdict, &standing, &endpoint).step;
        let expected =
            Step::Wait { delay: seconds(delay_s), rung: Rung::new(rung), trigger: Trigger::Ladder };
        assert_eq!(step, expected, "{verdict} on rung {rung}");
    }
    let refused = Standing { parked: Some(seconds(5)), ..standing(0, &course) };
    assert_eq!(next_step(Verdict::Rejected, &refused, &endpoint).step, Step::Review(ReviewReason::Rejected));
}

#[test]
fn a_verdict_leads_to_one_step() {
    let (retry, review) = (OnAmbiguous::Retry, OnAmbiguous::Review);
    for (verdict, rung, on_ambiguous, expected) in [
        (Verdict::Success, 0, retry, Step::Succeed),
        (Verdict::Success, 2, retry, Step::Succeed),
        (Verdict::Transient, 0, retry, wait(1, 1, Trigger::Ladder)),
        (Verdict::Transient, 1, review, wait(10, 2, Trigger::Ladder)),
        (Verdict::Transient, 2, retry, Step::Review(ReviewReason::Exhausted)),
        (Verdict::Pending, 0, retry, wait(1, 1, Trigger::Ladder)),
        (Verdict::Limited, 0, retry, wait(5, 0, Trigger::Ladder)),
        (Verdict::Limited, 1, retry, wait(10, 1, Trigger::Ladder)),
        (Verdict::Limited, 2, retry, wait(10, 2, Trigger::Ladder)),
        (Verdict::Ambiguous, 0, retry, wait(1, 1, Trigger::Ladder)),
        (Verdict::Ambiguous, 2, retry, Step::Review(ReviewReason::Exhausted)),
        (Verdict::Ambiguous, 0, review, Step::Review(ReviewReason::Ambiguous)),
        (Verdict::Rejected, 0, retry, Step::Review(ReviewReason::Rejected)),
    ] {
        let endpoint = endpoint(|endpoint| endpoint.judging.on_ambiguous = on_ambiguous);
        let course = Course::default();
        let standing = Standing { retry_after: Some(seconds(5)), ..standing(rung, &course) };
        let decision = next_step(verdict, &standing, &endpoint);
        assert_eq!(decision.step, expected, "{verdict} on rung {rung}, {on_ambiguous}");
    }
}

#[test]
fn past_its_deadline_only_a_success_or_a_refusal_counts() {
    let course = Course::default();
    let late = Standing { deadline: NOW, ..standing(0, &course) };
    for (verdict, expected) in [
        (Verdict::Success, Step::Succeed),
        (Verdict::Rejected, Step::Review(ReviewReason::Rejected)),
        (Verdict::Transient, Step::Review(ReviewReason::Expired)),
        (Verdict::Limited, Step::Review(ReviewReason::Expired)),
        (Verdict::Ambiguous, Step::Review(ReviewReason::Expired)),
    ] {
        assert_eq!(next_step(verdict, &late, &endpoint(|_| ())).step, expected, "{verdict}");
    }
    let asking = endpoint(|endpoint| endpoint.judging.confirm = Some(confirm(1, 1)));
    let expired = Step::Review(ReviewReason::Expired);
    assert_eq!(next_after_query(Finding::Absent, &late, &asking).step, expired);
    assert_eq!(next_after_query(Finding::Done, &late, &asking).step, Step::Succeed);
}

#[test]
fn a_lost_worker_is_recovered_from_after_the_next_rung() {
    let endpoint = endpoint(|endpoint| endpoint.protection.immediate_retries = 3);
    let course = Course::default();
    let lost = Standing { worker_lost: true, ..standing(0, &course) };
    assert_eq!(next_step(Verdict::Ambiguous, &lost, &endpoint).step, wait(1, 1, Trigger::Recovery));
}

#[test]
fn a_key_that_is_forgotten_is_not_sent_again_blindly() {
    let forgetful = |on_ambiguous, confirm| {
        endpoint(|endpoint| {
            endpoint.judging.on_ambiguous = on_ambiguous;
            endpoint.judging.idempotency_window = Some(seconds(60));
            endpoint.judging.confirm = confirm;
        })
    };
    let (retry, ask) =
        (forgetful(OnAmbiguous::Retry, None), forgetful(OnAmbiguous::Retry, Some(confirm(30, 1))));
    let doubtful = Step::Review(ReviewReason::Ambiguous);
    for (ago, effect, verdict, endpoint, expected) in [
        // The rung is 1 s: the next attempt comes at the very end of the window, or just behind it.
        (59, Effect::Unknown, Verdict::Ambiguous, &retry, wait(1, 1, Trigger::Ladder)),
        (60, Effect::Unknown, Verdict::Ambiguous, &retry, doubtful),
        (60, Effect::Unknown, Verdict::Transient, &retry, doubtful),
        (60, Effect::Unknown, Verdict::Limited, &retry, doubtful),
        (60, Effect::Refused, Verdict::Ambiguous, &retry, doubtful),
        (60, Effect::Refused, Verdict::Transient, &retry, wait(1, 1, Trigger::Ladder)),
        // The key had been forgotten before this attempt left: its own memory begins with it.
        (61, Effect::Refused, Verdict::Ambiguous, &retry, wait(1, 1, Trigger::Ladder)),
        (60, Effect::Unknown, Verdict::Ambiguous, &ask, wait(30, 0, Trigger::Confirm)),
    ] {
        let course = arrived(ago, effect);
        let decision = next_step(verdict, &standing(0, &course), endpoint);
        assert_eq!(decision.step, expected, "{effect} {ago} s ago, now {verdict}");
    }
}

#[test]
fn a_transient_failure_comes_again_shortly_before_it_climbs() {
    let endpoint = endpoint(|endpoint| endpoint.protection.immediate_retries = 2);
    let mut course = Course::default();
    for expected in [
        Step::Again { delay: Duration::from_millis(100) },
        Step::Again { delay: Duration::from_millis(200) },
        wait(1, 1, Trigger::Ladder),
    ] {
        let decision = next_step(Verdict::Transient, &standing(0, &course), &endpoint);
        assert_eq!(decision.step, expected);
        course = decision.course;
    }
    assert_eq!(course.immediate_retries, 0, "the next rung begins with all of them");
    let ambiguous = next_step(Verdict::Ambiguous, &standing(0, &course), &endpoint);
    assert_eq!(ambiguous.step, wait(1, 1, Trigger::Ladder), "an unknown outcome is not repeated in haste");
}

#[test]
fn what_this_process_was_too_late_to_send_uses_no_rung_unless_it_goes_on_so() {
    let alpha = ProviderName::parse("alpha").unwrap();
    for (configured, expected_retries) in [(0, 3), (2, 3), (5, 5)] {
        let endpoint = endpoint(|endpoint| endpoint.protection.immediate_retries = configured);
        let mut course = Course::default();
        for made in 0..expected_retries {
            let late = Standing {
                reach: Reach::Unsent,
                provider: Some(&alpha),
                has_alternative: true,
                ..standing(0, &course)
            };
            let decision = next_step(Verdict::Transient, &late, &endpoint);
            assert!(matches!(decision.step, Step::Again { .. }), "{made}: {decision:?}");
            assert!(decision.course.tried.is_empty(), "nobody has been tried");
            course = decision.course;
        }
        let late = Standing { reach: Reach::Unsent, ..standing(0, &course) };
        assert_eq!(next_step(Verdict::Transient, &late, &endpoint).step, wait(1, 1, Trigger::Ladder));
    }
}

#[test]
fn a_rung_is_stretched_and_never_shortened() {
    let endpoint = endpoint(|endpoint| endpoint.protection.jitter = 0.2);
    let course = Course::default();
    for (draw, ms) in [(0.0, 1_000), (0.5, 1_100), (1.0, 1_200)] {
        let standing = Standing { draw, ..standing(0, &course) };
        let delay = Duration::from_millis(ms);
        let expected = Step::Wait { delay, rung: Rung::new(1), trigger: Trigger::Ladder };
        assert_eq!(next_step(Verdict::Transient, &standing, &endpoint).step, expected);
    }
}

#[test]
fn another_provider_takes_over_at_once_where_that_cannot_double_anything() {
    let alpha = ProviderName::parse("alpha").unwrap();
    let elsewhere = Step::Again { delay: Duration::ZERO };
    let (fresh, doubtful) = (Course::default(), arrived(5, Effect::Unknown));
    for (verdict, course, duplicates, expected) in [
        (Verdict::Transient, &fresh, Duplicates::Refused, elsewhere),
        (Verdict::Limited, &fresh, Duplicates::Refused, elsewhere),
        (Verdict::Ambiguous, &fresh, Duplicates::Refused, wait(1, 1, Trigger::Ladder)),
        (Verdict::Ambiguous, &fresh, Duplicates::Tolerated, elsewhere),
        (Verdict::Transient, &doubtful, Duplicates::Refused, wait(1, 1, Trigger::Ladder)),
        (Verdict::Transient, &doubtful, Duplicates::Tolerated, elsewhere),
        (Verdict::Pending, &fresh, Duplicates::Tolerated, wait(1, 1, Trigger::Ladder)),
        (Verdict::Rejected, &fresh, Duplicates::Tolerated, Step::Review(ReviewReason::Rejected)),
    ] {
        let endpoint = endpoint(|endpoint| endpoint.vendors.duplicates = duplicates);
        let standing = Standing { provider: Some(&alpha), has_alternative: true, ..standing(0, course) };
        let decision = next_step(verdict, &standing, &endpoint);
        assert_eq!(decision.step, expected, "{verdict}, duplicates {duplicates}");
        assert_eq!(decision.course.tried.contains(&alpha), expected == elsewhere);
    }
}

#[test]
fn what_may_have_been_done_is_bound_to_the_provider_that_may_have_done_it() {
    let (alpha, endpoint) = (ProviderName::parse("alpha").unwrap(), endpoint(|_| {}));
    let bound = |verdict, reach, provider, course: &Course| {
        let standing = Standing { reach, provider, ..standing(0, course) };
        next_step(verdict, &standing, &endpoint).course.bound_to
    };
    let fresh = Course::default();
    let doubtful = Course { bound_to: Some(alpha.clone()), ..arrived(5, Effect::Unknown) };
    for (verdict, reach, provider, course, expected) in [
        (Verdict::Ambiguous, Reach::Maybe, Some(&alpha), &fresh, Some(&alpha)),
        (Verdict::Pending, Reach::Maybe, Some(&alpha), &fresh, Some(&alpha)),
        (Verdict::Transient, Reach::Maybe, Some(&alpha), &fresh, None),
        (Verdict::Transient, Reach::Never, Some(&alpha), &doubtful, Some(&alpha)),
        (Verdict::Ambiguous, Reach::Maybe, None, &doubtful, Some(&alpha)),
        (Verdict::Ambiguous, Reach::Maybe, None, &fresh, None),
    ] {
        assert_eq!(
            bound(verdict, reach, provider, course).as_ref(),
            expected,
            "{verdict} {reach:?} {provider:?}"
        );
    }
}

#[test]
fn the_provider_that_may_have_carried_the_request_out_is_asked() {
    let [alpha, beta] = ["alpha", "beta"].map(|name| ProviderName::parse(name).unwrap());
    let endpoint = endpoint(|endpoint| {
        endpoint.judging.on_ambiguous = OnAmbiguous::Confirm;
        endpoint.judging.confirm = Some(confirm(30, 1));
        endpoint.judging.idempotency_window = Some(seconds(60));
    });
    let fresh = Course::default();
    let at_alpha = Course { bound_to: Some(alpha.clone()), ..arrived(90, Effect::Unknown) };
    let asked = |decision: Decision| {
        assert_eq!(decision.step, wait(30, 0, Trigger::Confirm));
        decision.course.question.unwrap().provider
    };
    for (verdict, reach, course, provider, expected) in [
        (Verdict::Ambiguous, Reach::Maybe, &fresh, Some(&beta), Some(&beta)),
        (Verdict::Pending, Reach::Maybe, &fresh, Some(&beta), Some(&beta)),
        (Verdict::Ambiguous, Reach::Maybe, &fresh, None, None),
        // A worker that was lost did not say where it sent the request: it was bound to go where the one before went.
        (Verdict::Ambiguous, Reach::Maybe, &at_alpha, None, Some(&alpha)),
        // What certainly did not reach the other one leaves the doubt where it was.
        (Verdict::Transient, Reach::Never, &at_alpha, Some(&beta), Some(&alpha)),
    ] {
        let standing = Standing { reach, provider, ..standing(0, course) };
        let found = asked(next_step(verdict, &standing, &endpoint));
        assert_eq!(found.as_ref(), expected, "{verdict} {reach:?} at {provider:?}");
    }
    // A request that is withheld goes nowhere: only the doubt says whom to ask.
    for (provider, expected) in [(None, &alpha), (Some(&beta), &alpha)] {
        let withheld = Standing { reach: Reach::Never, provider, ..standing(0, &at_alpha) };
        let found = asked(doubt(at_alpha.clone(), &withheld, &endpoint));
        assert_eq!(found.as_ref(), Some(expected), "withheld from {provider:?}");
    }
}

#[test]
fn where_nobody_knows_which_provider_was_tried_none_is_tried_or_asked() {
    let several = |duplicates, on_ambiguous| {
        endpoint(|endpoint| {
            let provider = |name: &str| Provider {
                name: ProviderName::parse(name).unwrap(),
                weight: 1,
                cost: None,
                request: RequestTemplate::default(),
                face: Arc::new(endpoint.clone()),
            };
            endpoint.destination = Destination::Providers(vec![provider("alpha"), provider("beta")]);
            endpoint.vendors.duplicates = duplicates;
            endpoint.judging.on_ambiguous = on_ambiguous;
            endpoint.judging.confirm = (on_ambiguous == OnAmbiguous::Confirm).then(|| confirm(7, 1));
        })
    };
    let fresh = Course::default();
    let lost = Standing { reach: Reach::Maybe, worker_lost: true, ..standing(0, &fresh) };
    let (refused, tolerated) = (Duplicates::Refused, Duplicates::Tolerated);
    let doubtful = Step::Review(ReviewReason::Ambiguous);
    for (duplicates, on_ambiguous, expected) in [
        (refused, OnAmbiguous::Retry, doubtful),
        (refused, OnAmbiguous::Confirm, doubtful),
        (tolerated, OnAmbiguous::Retry, wait(1, 1, Trigger::Recovery)),
        (tolerated, OnAmbiguous::Confirm, wait(7, 0, Trigger::Confirm)),
    ] {
        let endpoint = several(duplicates, on_ambiguous);
        let decision = next_step(Verdict::Ambiguous, &lost, &endpoint);
        assert_eq!(decision.step, expected, "duplicates {duplicates}, {on_ambiguous}");
        // Nor does a publisher say which one it tried before it handed the call over.
        let failure = Failure { ambiguous: true, ..Failure::default() };
        let first = first_step(Some(&failure), &endpoint, NOW);
        assert_eq!(first == FirstStep::Review(ReviewReason::Ambiguous), expected == doubtful, "{first:?}");
    }
}

#[test]
fn a_doubt_is_settled_by_asking() {
    let endpoint = endpoint(|endpoint| {
        endpoint.judging.on_ambiguous = OnAmbiguous::Confirm;
        endpoint.judging.confirm = Some(confirm(2, 2));
    });
    for verdict in [Verdict::Ambiguous, Verdict::Pending] {
        let course = Course::default();
        let asked = next_step(verdict, &standing(0, &course), &endpoint);
        assert_eq!(asked.step, wait(2, 0, Trigger::Confirm), "{verdict}");
        let at = |after: u64, course| Standing {
            now: NOW.plus(seconds(after)),
            started_at: NOW.plus(seconds(after)),
            ..standing(0, course)
        };
        let done = next_after_query(Finding::Done, &at(2, &asked.course), &endpoint);
        assert_eq!(done.step, Step::Succeed);
        let early = next_after_query(Finding::Absent, &at(1, &asked.course), &endpoint);
        assert_eq!(early.step, wait(2, 0, Trigger::Confirm), "too early to prove anything");
        let once = next_after_query(Finding::Absent, &at(2, &asked.course), &endpoint);
        assert_eq!(once.step, wait(2, 0, Trigger::Confirm), "once is not twice");
        let interrupted = next_after_query(Finding::Unknown, &at(4, &once.course), &endpoint);
        assert_eq!(interrupted.course.question.as_ref().unwrap().absent, 0, "not in a row");
        let twice = next_after_query(Finding::Absent, &at(4, &once.course), &endpoint);
        assert_eq!(twice.step, wait(0, 1, Trigger::Ladder), "the rung has passed while it was asked");
        assert!(!twice.course.is_doubtful() && twice.course.question.is_none());
    }
}

#[test]
fn a_question_that_nobody_answers_goes_to_a_person() {
    let endpoint = endpoint(|endpoint| endpoint.judging.confirm = Some(confirm(2, 1)));
    let course = Course::default();
    let mut course =
        ask(Doubt::Pending, &confirm(2, 1), course, &standing(0, &Course::default()), &endpoint).course;
    let mut steps = Vec::new();
    for _ in 0..3 {
        let decision = next_after_query(Finding::Unknown, &standing(0, &course), &endpoint);
        steps.push(decision.step);
        course = decision.course;
    }
    let expected =
        [wait(2, 0, Trigger::Confirm), wait(10, 0, Trigger::Confirm), Step::Review(ReviewReason::Ambiguous)];
    assert_eq!(steps, expected);
}

#[test]
fn queries_that_are_in_vain_with_a_parked_endpoint_do_not_use_up_the_ladder() {
    let endpoint = endpoint(|endpoint| endpoint.judging.confirm = Some(confirm(2, 1)));
    let mut course =
        ask(Doubt::Ambiguous, &confirm(2, 1), Course::default(), &standing(0, &Course::default()), &endpoint)
            .course;
    for (retry_after, parked, delay_s) in [(None, Some(5), 5), (Some(60), Some(30), 60), (None, Some(0), 2)] {
        let standing = Standing {
            retry_after: retry_after.map(seconds),
            parked: parked.map(seconds),
            ..standing(0, &course)
        };
        let decision = next_after_query(Finding::Unknown, &standing, &endpoint);
        assert_eq!(decision.step, wait(delay_s, 0, Trigger::Confirm), "parked for {parked:?} s");
        assert_eq!(decision.course.question.as_ref().unwrap().unanswered, 0);
        course = decision.course;
    }
}

#[test]
fn a_third_party_that_calls_back_is_waited_for() {
    let endpoint = endpoint(|endpoint| endpoint.judging.reporting = Some(reporting()));
    let decision = next_step(Verdict::Pending, &standing(0, &Course::default()), &endpoint);
    assert_eq!(decision.step, wait(1_001, 0, Trigger::Confirm), "until the deadline has passed");
}

#[test]
fn a_taken_over_call_waits_for_the_first_rung() {
    let failed = Failure::default();
    let unknown = Failure { ambiguous: true, ..Failure::default() };
    let long_ago = Failure { occurred_at: Some(NOW.minus(seconds(100))), ..unknown.clone() };
    let (retry, ask, review) = (OnAmbiguous::Retry, OnAmbiguous::Confirm, OnAmbiguous::Review);
    let doubtful = None;
    for (failure, on_ambiguous, expected) in [
        (None, retry, Some((0, 0, Trigger::First))),
        (Some(&failed), review, Some((1, 1, Trigger::First))),
        (Some(&unknown), retry, Some((1, 1, Trigger::First))),
        (Some(&unknown), ask, Some((7, 0, Trigger::Confirm))),
        (Some(&unknown), review, doubtful),
        (Some(&long_ago), retry, Some((7, 0, Trigger::Confirm))),
    ] {
        let endpoint = endpoint(|endpoint| {
            endpoint.judging.on_ambiguous = on_ambiguous;
            endpoint.judging.idempotency_window = Some(seconds(60));
            endpoint.judging.confirm = Some(confirm(7, 1));
        });
        let first = match first_step(failure, &endpoint, NOW) {
            FirstStep::Wait { delay, rung, trigger, .. } => Some((delay.as_secs(), rung.used(), trigger)),
            FirstStep::Review(reason) => {
                assert_eq!(reason, ReviewReason::Ambiguous);
                None
            }
        };
        assert_eq!(first, expected, "{failure:?} {on_ambiguous}");
    }
}
