//! How a frame of `redial top` is drawn.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use super::super::documents::{Endpoint, Group, milliseconds, moment, percent};
use super::super::paper::{Ink, Tone, clean};
use super::look::{Look, Seen, Stats};
use crate::call::Status;

/// Title and foot of a panel.
const FRAME_LINES: usize = 2;
/// Groups that are shown; the rest is for `redial groups`.
const GROUPS_MAX: usize = 12;

/// How many lines a frame needs to show everything.
pub(super) fn height(seen: &Seen) -> u16 {
    let lines = seen.look.as_ref().map_or(0, |look| top_lines() + endpoint_lines(look) + bottom_lines(look));
    u16::try_from(lines + 2).unwrap_or(u16::MAX)
}

const fn top_lines() -> usize {
    Status::ALL.len() + FRAME_LINES
}

fn endpoint_lines(look: &Look) -> usize {
    look.endpoints.len() + 1 + FRAME_LINES
}

fn bottom_lines(look: &Look) -> usize {
    let tiers = queues(&look.stats, ".delay.").len();
    let lanes = queues(&look.stats, ".due.").len();
    tiers.max(lanes).max(look.groups.len().min(GROUPS_MAX)).max(1) + FRAME_LINES
}

/// Draws everything.
pub(super) fn frame(frame: &mut Frame<'_>, seen: &Seen, ink: Ink) {
    let Some(look) = &seen.look else { return };
    let fixed = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let rows = Layout::vertical([
        Constraint::Length(1),
        fixed(top_lines()),
        fixed(endpoint_lines(look)),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [head, top, middle, bottom, foot] = rows.areas(frame.area());
    frame.render_widget(headline(seen, look, ink), head);
    let [statuses, flow] = Layout::horizontal([Constraint::Length(30), Constraint::Min(30)]).areas(top);
    frame.render_widget(by_status(&look.stats, ink), statuses);
    draw_flow(frame, flow, seen, look, ink);
    frame.render_widget(endpoints(&look.endpoints, ink), middle);
    let columns = [Constraint::Length(22), Constraint::Length(28), Constraint::Min(30)];
    let [tiers, lanes, people] = Layout::horizontal(columns).areas(bottom);
    frame.render_widget(depths(" tiers ", &look.stats, ".delay."), tiers);
    frame.render_widget(depths(" lanes ", &look.stats, ".due."), lanes);
    frame.render_widget(people_needed(&look.groups, look, ink), people);
    frame.render_widget(Line::from(" q quits "), foot);
}

fn style(tone: Tone, ink: Ink) -> Style {
    match (ink, tone) {
        (Ink::Plain, _) | (Ink::Colours, Tone::Plain) => Style::new(),
        (Ink::Colours, Tone::Good) => Style::new().fg(Color::Green),
        (Ink::Colours, Tone::Waiting) => Style::new().fg(Color::Yellow),
        (Ink::Colours, Tone::Bad) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (Ink::Colours, Tone::Quiet) => Style::new().add_modifier(Modifier::DIM),
    }
}

fn headline<'a>(seen: &'a Seen, look: &'a Look, ink: Ink) -> Line<'a> {
    let mut parts = vec![
        Span::styled("redial top", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {}  {} UTC  ", seen.server, moment(&look.stats.at))),
    ];
    if let Some(trouble) = &seen.trouble {
        parts.push(Span::styled(clean(trouble), style(Tone::Bad, ink)));
    } else {
        let status = look.readiness.status.as_str();
        parts.push(Span::styled(clean(status), style(Tone::of(status), ink)));
        if look.stats.broker_away {
            parts.push(Span::styled("  RabbitMQ is away; calls go on", style(Tone::Waiting, ink)));
        }
    }
    Line::from(parts)
}

fn panel(title: &str) -> Block<'_> {
    Block::bordered().title(title)
}

fn by_status(stats: &Stats, ink: Ink) -> Table<'_> {
    let rows = Status::ALL.iter().map(|status| {
        let (name, count) = (status.as_str(), stats.calls.get(status.as_str()).copied().unwrap_or(0));
        let tone = if count == 0 { Tone::Quiet } else { Tone::of(name) };
        Row::new([Cell::from(name), Cell::from(format!("{count:>12}"))]).style(style(tone, ink))
    });
    Table::new(rows, [Constraint::Length(12), Constraint::Min(12)]).block(panel(" calls "))
}

/// Rates, lateness, and attempts of the last hour.
fn draw_flow(frame: &mut Frame<'_>, area: Rect, seen: &Seen, look: &Look, ink: Ink) {
    let block = panel(" flow ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [words, chart] = Layout::vertical([Constraint::Length(4), Constraint::Min(1)]).areas(inner);
    frame.render_widget(Paragraph::new(flow_words(seen, look)), words);
    if !look.attempts_by_minute.is_empty() {
        let newest = look.attempts_by_minute.len().saturating_sub(usize::from(chart.width));
        let bars = Sparkline::default().data(&look.attempts_by_minute[newest..]);
        frame.render_widget(bars.style(style(Tone::Good, ink)), chart);
    }
}

fn flow_words<'a>(seen: &Seen, look: &Look) -> Vec<Line<'a>> {
    let rates = seen
        .rates
        .map(|rates| format!("{:.1} attempts/s, {:.1} successes/s", rates.attempts, rates.succeeded));
    let lateness = look.lateness.map(|lateness| format!("due to claimed: {}", lateness.in_words()));
    let minute = look.attempts_by_minute.last();
    let lines = [
        Some(rates.unwrap_or_else(|| format!("{} attempts in all", look.stats.attempts))),
        Some(format!("{} attempts in flight in this process", look.stats.running_here)),
        lateness,
        minute.map(|attempts| format!("{attempts} attempts in the latest minute; the last hour:")),
    ];
    lines.into_iter().flatten().map(Line::from).collect()
}

fn endpoints(endpoints: &[Endpoint], ink: Ink) -> Table<'_> {
    let header = Row::new(["endpoint", "state", "due", "scheduled", "running", "success", "p99", "held"]);
    let rows = endpoints.iter().map(|endpoint| {
        let recent = endpoint.recent.as_ref();
        let state = endpoint.state().to_owned();
        let tone = style(Tone::of(&state), ink);
        Row::new([
            Cell::from(endpoint.name.clone()),
            Cell::from(state).style(tone),
            Cell::from(endpoint.backlog.due.to_string()),
            Cell::from(endpoint.backlog.scheduled.to_string()),
            Cell::from(endpoint.running.map(|running| running.to_string()).unwrap_or_default()),
            Cell::from(percent(recent.and_then(|recent| recent.success_rate))),
            Cell::from(milliseconds(recent.and_then(|recent| recent.latency_p99_ms))),
            Cell::from(held(endpoint)),
        ])
    });
    let widths = [
        Constraint::Length(24),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Min(10),
    ];
    Table::new(rows, widths)
        .header(header.style(Style::new().add_modifier(Modifier::BOLD)))
        .block(panel(" endpoints "))
}

fn held(endpoint: &Endpoint) -> String {
    let Some(hold) = &endpoint.hold else { return String::new() };
    let until = hold.until.as_deref().map(|until| format!("until {}", moment(until)));
    let by = hold.by.as_deref().map(|by| format!("by {by}"));
    let note = hold.note.clone().filter(|note| !note.is_empty());
    clean(&[until, by, note].into_iter().flatten().collect::<Vec<_>>().join(" ")).into_owned()
}

/// The queues whose name goes on so after the prefix, shorter tiers first.
fn queues<'a>(stats: &'a Stats, infix: &str) -> Vec<(&'a str, u64)> {
    let depths: &BTreeMap<String, u64> = match &stats.depths {
        Some(depths) => depths,
        None => return Vec::new(),
    };
    let mut queues: Vec<(&str, u64)> =
        depths.iter().filter_map(|(name, depth)| Some((name.split_once(infix)?.1, *depth))).collect();
    queues.sort_by_key(|(name, _)| crate::endpoint::ladder::parse_duration(name).ok());
    queues
}

fn depths<'a>(title: &'a str, stats: &'a Stats, infix: &str) -> Table<'a> {
    let rows: Vec<Row<'_>> = queues(stats, infix)
        .into_iter()
        .map(|(name, depth)| {
            let dim = if depth == 0 { Style::new().add_modifier(Modifier::DIM) } else { Style::new() };
            Row::new([Cell::from(name), Cell::from(format!("{depth:>7}"))]).style(dim)
        })
        .collect();
    let rows = if rows.is_empty() { vec![Row::new(["not known", ""])] } else { rows };
    Table::new(rows, [Constraint::Min(8), Constraint::Length(7)]).block(panel(title))
}

/// What only a person can decide, the most frequent first.
fn people_needed<'a>(groups: &'a [Group], look: &'a Look, ink: Ink) -> Table<'a> {
    let rows: Vec<Row<'a>> = groups
        .iter()
        .take(GROUPS_MAX)
        .map(|group| {
            Row::new([
                Cell::from(format!("{:>7}", group.count)).style(style(Tone::Bad, ink)),
                Cell::from(group.endpoint.as_str()),
                Cell::from(group.review_reason.as_deref().unwrap_or_default()),
                Cell::from(clean(group.error.as_deref().unwrap_or_default())),
            ])
        })
        .collect();
    let waiting = look.stats.calls.get("review").copied().unwrap_or(0);
    let sentence =
        if waiting == 0 { "nothing waits for a person" } else { "redial calls list --status review" };
    let rows =
        if rows.is_empty() { vec![Row::new([format!("{waiting:>7}"), sentence.to_owned()])] } else { rows };
    let widths = if groups.is_empty() {
        vec![Constraint::Length(7), Constraint::Min(20)]
    } else {
        vec![Constraint::Length(7), Constraint::Length(16), Constraint::Length(10), Constraint::Min(20)]
    };
    Table::new(rows, widths).block(panel(" needs a person "))
}
