//! What holds of judging whatever a third party answers and whatever rules say.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::*;
use crate::call::attempt::Answer;
use crate::endpoint::Rule;
use crate::limits::{JSON_VALUES_JUDGED_MAX, RESPONSE_KEPT_BYTES, RULING_BYTES_MAX};

/// Conditions that hold, do not hold, or cannot be asked, depending on what came.
const CONDITIONS: [&str; 14] = [
    "status == 200",
    "status >= 300 && status < 500",
    "status in [500, 502, 504] || error == 'timeout'",
    "error != null",
    "elapsed_ms > 1000",
    "body.code == 0",
    "has(body.code) && body.code > 1",
    "body.list[0].id == 1",
    "body.all(item, item != 1)",
    "body.exists(item, item.code == 1)",
    "body.text.matches('^a+$') || body.text.contains('b')",
    "'x-code' in headers && headers['x-code'] != ''",
    "1 / (status - 200) == 0",
    "size(body) > 3",
];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ab]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof!["code", "list", "id", "text", "\\PC{0,6}"];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name, inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let body = prop_oneof![
        json().prop_map(|json| json.to_string().into_bytes()),
        "\\PC{0,200}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..200),
        Just(vec![b'['; RESPONSE_KEPT_BYTES]),
    ];
    let header = (prop_oneof!["x-code", "[a-zA-Z-]{1,12}"], "\\PC{0,20}");
    // What was cut off a body is known by its length alone.
    let cut_off = prop_oneof![3 => Just(0), 1 => any::<u32>()];
    let status = prop_oneof![Just(200), 100..=999_u16, any::<u16>()];
    (status, vec(header, 0..6), body, cut_off).prop_map(|(status, headers, body, cut_off)| Answer {
        status,
        headers,
        body_bytes: body.len() as u64 + u64::from(cut_off),
        body: Bytes::from(body),
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let failed = (0..ErrorKind::ALL.len(), "\\PC{0,20}")
        .prop_map(|(kind, detail)| Outcome::Failed { kind: ErrorKind::ALL[kind], detail });
    prop_oneof![4 => answer().prop_map(Outcome::Answered), 1 => failed]
}

/// Up to eight of the conditions, each with a verdict.
fn choice_of_rules() -> impl Strategy<Value = Vec<Rule<Verdict>>> {
    let rule = (0..CONDITIONS.len(), 0..Verdict::ALL.len())
        .prop_map(|(when, verdict)| Rule::about_answers(CONDITIONS[when], Verdict::ALL[verdict]).unwrap());
    vec(rule, 0..8)
}

fn elapsed() -> impl Strategy<Value = Duration> {
    prop_oneof![(0..5_000_u64).prop_map(Duration::from_millis), Just(Duration::MAX)]
}

/// Any condition that can be built of these parts; most of them are nonsense, some would take for ever.
fn condition() -> impl Strategy<Value = String> {
    let leaf =
        ["body", "status", "headers", "elapsed_ms", "a", "b", "1", "'a'", "[1, 2]", "body.list", "true"];
    select(leaf.map(str::to_owned).to_vec()).prop_recursive(6, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let binary = select(&["+", "==", "<", "&&", "||", "in", "*", "%"][..]);
        let comprehension = select(&["map", "all", "exists", "exists_one", "filter"][..]);
        let function = select(&["size", "string", "type", "int", "!"][..]);
        prop_oneof![
            (two.clone(), binary)
                .prop_map(|((left, right), operator)| format!("({left} {operator} {right})")),
            (two.clone(), comprehension, select(&["a", "b"][..]))
                .prop_map(|((range, body), name, variable)| format!("{range}.{name}({variable}, {body})")),
            (two.clone(), select(&["matches", "contains", "startsWith"][..]))
                .prop_map(|((text, part), name)| format!("{text}.{name}({part})")),
            (inner.clone(), function).prop_map(|(inner, name)| format!("{name}({inner})")),
            two.prop_map(|(first, second)| format!("[{first}, {second}]")),
        ]
    })
}

/// The longest list, the most fields and the deepest nesting that rules can see.
fn worst_bodies() -> [String; 3] {
    let ones = format!("[{}1]", "1,".repeat(JSON_VALUES_JUDGED_MAX - 2));
    let fields = (0..1_000).fold(String::new(), |fields, name| format!(r#"{fields}"{name}":1,"#));
    [ones, format!("{{{fields}\"list\":[]}}"), format!("{}{}", "[".repeat(120), "]".repeat(120))]
}

proptest! {
    #[test]
    fn the_first_rule_that_holds_decides_and_no_other(
        outcome in outcome(), rules in choice_of_rules(), elapsed in elapsed(),
    ) {
        let alone = |rule: &Rule<Verdict>| {
            Rules::new("rules", vec![rule.clone()]).decide(&outcome, elapsed).0.is_some()
        };
        let first = rules.iter().position(alone);
        let expected = first.map(|position| rules[position].means);
        let shown = first.map(|position| format!("rules[{position}]: {}", rules[position].when.text()));
        let (decided, ruling) = Rules::new("rules", rules).decide(&outcome, elapsed);
        prop_assert_eq!(decided, expected);
        prop_assert_eq!(ruling.rule, shown);
    }

    #[test]
    fn the_same_outcome_comes_to_the_same_verdict_for_the_same_reason(
        outcome in outcome(), rules in choice_of_rules(), elapsed in elapsed(),
    ) {
        let rules = Rules::new("rules", rules);
        let (verdict, ruling) = judge(&outcome, elapsed, &rules);
        prop_assert_eq!((verdict, ruling.clone()), judge(&outcome, elapsed, &rules));
        prop_assert!(ruling.notes.is_none_or(|notes| notes.len() <= RULING_BYTES_MAX));
        if ruling.rule.is_none() {
            prop_assert_eq!(verdict, judge_by_default(&outcome), "nothing else decides");
        }
        if matches!(outcome, Outcome::Failed { .. }) {
            prop_assert!(!matches!(verdict, Verdict::Success | Verdict::Pending), "nobody said so");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_condition_is_refused_or_comes_to_an_end(condition in condition()) {
        let Ok(rule) = Rule::about_answers(&condition, Verdict::Rejected) else { return Ok(()) };
        let rules = Rules::new("rules", vec![rule]);
        for body in worst_bodies() {
            let answer = Answer {
                status: 200,
                headers: vec![("x-code".to_owned(), "7".to_owned())],
                body_bytes: body.len() as u64,
                body: Bytes::from(body),
            };
            let (verdict, ruling) = judge(&Outcome::Answered(answer), Duration::ZERO, &rules);
            let expected = if ruling.rule.is_some() { Verdict::Rejected } else { Verdict::Success };
            prop_assert_eq!(verdict, expected, "{}", condition);
        }
    }
}
