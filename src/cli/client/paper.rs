//! What is printed for people: how wide, in colour or not, and never with control characters that came from a stranger.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use ratatui::crossterm::terminal;

/// What the output is written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Columns of the terminal; `None` where lines may be as long as they like, as in a file.
    pub width: Option<u16>,
    /// Colours or none.
    pub ink: Ink,
}

/// Colours or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Colours, as the terminal has them.
    Colours,
    /// Plain text.
    Plain,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// It waits, or goes on.
    Waiting,
    /// A person is needed.
    Bad,
    /// Nobody cares any more.
    Quiet,
    /// No colour.
    Plain,
}

impl Paper {
    /// The paper of standard output. `NO_COLOR` (any value) takes the colours away, `COLUMNS` sets the width.
    pub fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let measured = || terminal::size().ok().map(|(width, _)| width);
        Self {
            width: columns.or_else(|| measured().filter(|_| is_terminal)).filter(|width| *width > 0),
            ink: if is_terminal && !plain { Ink::Colours } else { Ink::Plain },
        }
    }

    /// The text in this tone.
    pub fn toned(self, text: &str, tone: Tone) -> String {
        match (self.ink, tone.code()) {
            (Ink::Colours, Some(code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            (Ink::Colours | Ink::Plain, _) => text.to_owned(),
        }
    }
}

impl Tone {
    /// The tone of a word that says how a call, an attempt, a job or an endpoint stands.
    pub fn of(word: &str) -> Self {
        match word {
            "succeeded" | "success" | "done" | "closed" | "ok" | "acted" => Self::Good,
            "review" | "rejected" | "failed" | "stopped" | "fault" | "breaker" | "broken" => Self::Bad,
            "scheduled" | "running" | "canary" | "waiting" | "transient" | "limited" | "ambiguous"
            | "pending" | "paused" | "half_open" | "warning" => Self::Waiting,
            "resolved" | "cancelled" | "superseded" | "aborted" | "skipped" | "unchecked" => Self::Quiet,
            _ => Self::Plain,
        }
    }

    /// The code of ECMA-48's "select graphic rendition".
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Good => Some("32"),
            Self::Waiting => Some("33"),
            Self::Bad => Some("31"),
            Self::Quiet => Some("2"),
            Self::Plain => None,
        }
    }
}

/// The text without control characters: what a third party answered must not steer the terminal. Line breaks become spaces.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let visible = |character: char| match character {
        '\n' | '\r' | '\t' => ' ',
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    };
    Cow::Owned(text.chars().map(visible).collect())
}

/// The same for text of several lines, which it keeps.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// Writes a text and a line break to standard output. Where nobody reads any more, as behind `| head`, the program ends.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_steer_the_terminal() {
        assert_eq!(clean("plain 文字"), "plain 文字");
        assert_eq!(clean("a\u{1b}]0;title\u{7}b\nc\td"), "a\u{fffd}]0;title\u{fffd}b c d");
        assert_eq!(clean_lines("{\n  \"a\": 1\u{9b}\n}"), "{\n  \"a\": 1\u{fffd}\n}");
    }

    #[test]
    fn colours_are_only_put_where_there_are_any() {
        let paper = |ink| Paper { width: None, ink };
        assert_eq!(paper(Ink::Colours).toned("review", Tone::of("review")), "\u{1b}[31mreview\u{1b}[0m");
        assert_eq!(paper(Ink::Plain).toned("review", Tone::of("review")), "review");
        assert_eq!(paper(Ink::Colours).toned("0197a2", Tone::of("0197a2")), "0197a2");
    }
}
