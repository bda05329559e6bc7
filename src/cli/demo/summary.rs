//! The closing summary: every number, and whether they add up.

use std::collections::BTreeMap;
use std::process::ExitCode;

use comfy_table::{Table, presets};

use crate::call::{Call, Status};
use crate::simulator::Simulator;

/// Prints the summary; exit code 1 if it does not add up.
pub(super) fn print(calls: &[Call], accepted: u32, third_party: &Simulator) -> ExitCode {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header([
        "endpoint",
        "calls",
        "succeeded",
        "in review",
        "open",
        "attempts",
    ]);
    for (endpoint, calls) in by_endpoint(calls) {
        let of =
            |statuses: &[Status]| calls.iter().filter(|call| statuses.contains(&call.state.status())).count();
        let attempts: i32 = calls.iter().map(|call| call.attempts_made.get()).sum();
        let counts = [
            calls.len(),
            of(&[Status::Succeeded]),
            of(&[Status::Review]),
            of(&[Status::Scheduled, Status::Running]),
        ];
        let row = std::iter::once(endpoint)
            .chain(counts.map(|count| count.to_string()))
            .chain([attempts.to_string()]);
        table.add_row(row);
    }
    println!("{table}");
    for (reason, count) in by_reason(calls) {
        println!("in review, {reason}: {count}");
    }
    let seen = third_party.summary();
    println!(
        "the third party saw {} requests of {} calls; {} took effect",
        seen.requests, seen.keys, seen.effects
    );
    verdict(calls, accepted, third_party)
}

fn verdict(calls: &[Call], accepted: u32, third_party: &Simulator) -> ExitCode {
    let count = |status: Status| calls.iter().filter(|call| call.state.status() == status).count();
    let terms: Vec<String> = Status::ALL
        .iter()
        .filter(|status| count(**status) > 0 || **status == Status::Succeeded || **status == Status::Review)
        .map(|status| format!("{} {status}", count(*status)))
        .collect();
    let took_effect = |call: &Call| {
        third_party.arrivals(call.idempotency_key.as_str()).iter().any(|arrival| arrival.effect)
    };
    let unfounded =
        calls.iter().filter(|call| call.state.status() == Status::Succeeded && !took_effect(call)).count();
    let adds_up = calls.len() == accepted as usize && unfounded == 0;
    let sign = if calls.len() == accepted as usize { "=" } else { "is not" };
    println!("{accepted} accepted {sign} {}", terms.join(" + "));
    if unfounded > 0 {
        println!("{unfounded} calls count as succeeded without the third party knowing of it");
    }
    if adds_up { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn by_endpoint(calls: &[Call]) -> BTreeMap<String, Vec<&Call>> {
    let mut by_endpoint = BTreeMap::<String, Vec<&Call>>::new();
    for call in calls {
        by_endpoint.entry(call.endpoint.to_string()).or_default().push(call);
    }
    by_endpoint
}

fn by_reason(calls: &[Call]) -> BTreeMap<&'static str, usize> {
    let mut by_reason = BTreeMap::new();
    for reason in calls.iter().filter_map(|call| call.state.review_reason()) {
        *by_reason.entry(reason.as_str()).or_default() += 1;
    }
    by_reason
}
