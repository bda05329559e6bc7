//! RabbitMQ: whether it answers, what it is, whether its queues are as declared, and whether anybody takes what lies in them.

use std::time::Duration;

use super::ledger::judge_clock;
use super::report::Report;
use crate::app;
use crate::broker::{self, Admin, BrokerError, ManagementUrl, Overview, QueueCounts, Topology};
use crate::clock::Timestamp;
use crate::config::Settings;
use crate::config::settings::Transport;

/// How coarse the management API tells the time: HTTP's dates have whole seconds, and the answer took a while.
const GRAIN: Duration = Duration::from_millis(1_500);
/// At this share of its length the review queue is about to drop its oldest messages.
const NEARLY_FULL: u64 = 9;

/// Looks at RabbitMQ, where there is one.
///
/// # Errors
/// The configuration of the broker cannot be used; the configuration's check would have said so.
pub(super) async fn look(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let Transport::RabbitMq(rabbit) = &settings.broker.transport else {
        report.ok("broker", "embedded: timers in the process, no RabbitMQ to look at");
        return Ok(());
    };
    let Some(address) = app::broker_address(settings)? else { return Ok(()) };
    let topology = app::topology(settings)?;
    let management = rabbit.management_url.as_ref().map(|url| ManagementUrl::parse(url.secret()));
    let management = management.transpose().map_err(anyhow::Error::msg)?;
    match &management {
        Some(url) => look_at_server(url, report).await,
        None => report.unchecked("broker's version and clock", "no broker.management_url is configured"),
    }
    let admin = Admin::new(&address, "redial doctor");
    match broker::check::check(&admin, &address, management.as_ref(), &topology).await {
        Ok(found) => {
            judge_topology(&found, &topology, report);
            if let Err(error) = look_into_queues(&admin, &topology, report).await {
                report.fault("lanes", error.to_string());
            }
        }
        Err(error) => report.fault("broker", format!("{address}: {error}")),
    }
    admin.close().await;
    Ok(())
}

async fn look_at_server(url: &ManagementUrl, report: &mut Report) {
    let before = Timestamp::now();
    match broker::overview(url).await {
        Ok(Overview { version, clock }) => {
            judge_version(&version, report);
            match clock {
                Some(there) => judge_clock("broker's clock", before, there, GRAIN, report),
                None => report.unchecked("broker's clock", "the management API does not tell the time"),
            }
        }
        Err(silent) => {
            report.warning(
                "broker's version and clock",
                format!("the management API at {url} told nothing: {silent}"),
            );
        }
    }
}

/// What is known of this version of RabbitMQ.
fn judge_version(version: &str, report: &mut Report) {
    const CHECK: &str = "broker's version";
    let mut numbers = version.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    let (major, minor, patch) =
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match (major, minor, patch) {
        (0..=2, ..) | (3, 0..=9, _) => report.fault(
            CHECK,
            format!("RabbitMQ {version} cannot dead-letter at least once; 3.10 is the first that can"),
        ),
        (4, 0..=1, _) | (4, 2, 0..=6) | (4, 3, 0..=2) => report.warning(
            CHECK,
            format!("RabbitMQ {version}: 4.2.7 and 4.3.3 mend faults of dead-lettering at least once"),
        ),
        (3 | 4, ..) => report.ok(CHECK, format!("RabbitMQ {version}")),
        _ => report.warning(CHECK, format!("RabbitMQ {version} is newer than what Redial was tried with")),
    }
}

fn judge_topology(found: &broker::check::Report, topology: &Topology, report: &mut Report) {
    for finding in &found.findings {
        report.fault("topology", finding.to_string());
    }
    for sentence in &found.unchecked {
        report.unchecked("topology", sentence.clone());
    }
    if found.findings.is_empty() {
        let (exchanges, queues) = (topology.exchanges.len(), topology.queues.len());
        report.ok("topology", format!("{exchanges} exchanges and {queues} queues are as they should be"));
        let limited =
            topology.queues.iter().filter(|queue| queue.arguments.contains_key("x-delivery-limit")).count();
        report.ok("delivery limits", format!("set on {limited} queues, none inherited"));
    }
}

async fn look_into_queues(
    admin: &Admin,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), BrokerError> {
    let names = &topology.names;
    let lane_prefix = format!("{}.", names.due());
    let mut consumed: Vec<String> = topology
        .queues
        .iter()
        .map(|queue| queue.name.clone())
        .filter(|name| name.starts_with(&lane_prefix))
        .collect();
    let lanes = consumed.len();
    consumed.extend([names.submit(), names.replay()]);
    let counts = admin.counts_of(&consumed).await?;
    let (of_lanes, of_doors) = counts.split_at(lanes.min(counts.len()));
    judge_consumers("lanes", &consumed[..lanes], of_lanes, report);
    judge_consumers("doors", &consumed[lanes..], of_doors, report);
    let shown = admin.counts_of(&[names.rejected(), names.review()]).await?;
    judge_shown(&shown, report);
    Ok(())
}

/// Queues that somebody should take from.
fn judge_consumers(
    check: &'static str,
    queues: &[String],
    counts: &[Option<QueueCounts>],
    report: &mut Report,
) {
    // A queue that is missing is the topology's fault, told there.
    let known: Vec<_> =
        queues.iter().zip(counts).filter_map(|(queue, counts)| Some((queue, (*counts)?))).collect();
    if known.is_empty() {
        return report.unchecked(check, "their queues do not exist");
    }
    let idle: Vec<String> = known
        .iter()
        .filter(|(_, counts)| counts.consumers == 0)
        .map(|(queue, counts)| format!("{queue} ({} messages)", counts.ready))
        .collect();
    if idle.is_empty() {
        let consumers: u64 = known.iter().map(|(_, counts)| counts.consumers).sum();
        let ready: u64 = known.iter().map(|(_, counts)| counts.ready).sum();
        report.ok(check, format!("{} queues, {consumers} consumers, {ready} messages ready", known.len()));
    } else {
        report.warning(check, format!("nobody takes from {}", idle.join(", ")));
    }
}

/// Queues that people look into.
fn judge_shown(counts: &[Option<QueueCounts>], report: &mut Report) {
    let ready = |position: usize| counts.get(position).copied().flatten().map_or(0, |counts| counts.ready);
    match ready(0) {
        0 => report.ok("rejected messages", "none"),
        rejected => {
            report
                .warning("rejected messages", format!("{rejected} wait for somebody: redial rejected list"));
        }
    }
    let (review, most) = (ready(1), u64::try_from(crate::limits::REVIEW_QUEUE_LENGTH).unwrap_or(u64::MAX));
    let sentence = format!("{review} of at most {most} messages");
    if review >= most / 10 * NEARLY_FULL {
        report.warning(
            "review queue",
            format!("{sentence}; the oldest are dropped from it, never from the ledger"),
        );
    } else {
        report.ok("review queue", sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_rabbitmq_are_told_apart() {
        for (version, expected) in [
            ("3.9.29", "fault"),
            ("3.10.8", "ok"),
            ("3.13.7+1", "ok"),
            ("4.0.5", "warning"),
            ("4.2.6", "warning"),
            ("4.2.7", "ok"),
            ("4.3.0-rc.1", "warning"),
            ("4.3.3", "ok"),
            ("5.0.0", "warning"),
            ("?", "fault"),
        ] {
            let mut report = Report::default();
            judge_version(version, &mut report);
            assert!(report.json().contains(&format!("\"status\":\"{expected}\"")), "{version}");
        }
    }

    #[test]
    fn a_lane_that_nobody_takes_from_is_named() {
        let mut report = Report::default();
        let queues = ["redial.due.sms".to_owned(), "redial.due.payment".to_owned()];
        let counts =
            [Some(QueueCounts { ready: 7, consumers: 0 }), Some(QueueCounts { ready: 0, consumers: 2 })];
        judge_consumers("lanes", &queues, &counts, &mut report);
        assert!(report.json().contains("redial.due.sms (7 messages)") && !report.json().contains("payment"));
    }
}
