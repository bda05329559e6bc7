//! `redial top`: everything at a glance, live.
//!
//! It looks at the API every second and draws what it got; what a server does not offer is left out. The terminal is given back as it
//! was, however the program ends.

mod draw;
mod keys;
mod lateness;
mod look;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ratatui::backend::TestBackend;
use ratatui::{DefaultTerminal, Terminal};

use super::connection::ServerArgs;
use super::paper::{Ink, say};
use super::trouble::{EXIT_CODES, Result, Trouble};
use super::{DONE, Session};
use crate::cli::signals;
use crate::endpoint::ladder::parse_duration;
use keys::Keys;
use look::{Look, Seen};

/// How wide a frame is drawn that nobody's terminal shows.
const WIDTH_WITHOUT_TERMINAL: u16 = 120;
/// More often than this only costs.
const EVERY_MIN: Duration = Duration::from_millis(200);

/// Arguments of `redial top`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct TopArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// How often to look
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    every: Duration,
    /// Print one frame as text and end; so also where there is no terminal
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(session: &Session, args: &TopArgs) -> anyhow::Result<ExitCode> {
    if session.json {
        say(&look::documents(session).await?);
        return Ok(DONE);
    }
    // The first look tells a wrong address or token before the screen is taken.
    let look = Look::take(session).await?;
    let mut seen = Seen::new(session.server.name());
    seen.note(look);
    if args.once || !io::stdout().is_terminal() {
        say(&one_frame(&seen, session)?);
        return Ok(DONE);
    }
    live(session, args.every.max(EVERY_MIN), seen).await?;
    Ok(DONE)
}

/// One frame as text, as high as it needs to be.
fn one_frame(seen: &Seen, session: &Session) -> Result<String> {
    let size = (session.paper.width.unwrap_or(WIDTH_WITHOUT_TERMINAL), draw::height(seen));
    // Drawing into memory cannot fail.
    let unlikely = |error: std::convert::Infallible| Trouble::NotUnderstood(error.to_string());
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).map_err(unlikely)?;
    terminal.draw(|frame| draw::frame(frame, seen, Ink::Plain)).map_err(unlikely)?;
    let cells = terminal.backend().buffer().content.chunks(usize::from(size.0));
    let lines = cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    let text = lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    Ok(text.trim_end().to_owned())
}

/// The terminal, taken over; given back when dropped.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn live(session: &Session, every: Duration, mut seen: Seen) -> anyhow::Result<()> {
    let stop = signals::stop_on_signal();
    let mut screen = Screen::take()?;
    let mut keys = Keys::listen();
    loop {
        screen.0.draw(|frame| draw::frame(frame, &seen, session.paper.ink))?;
        tokio::select! {
            biased;
            () = keys.quit() => return Ok(()),
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        tokio::select! {
            biased;
            () = keys.quit() => return Ok(()),
            () = stop.cancelled() => return Ok(()),
            look = Look::take(session) => match look {
                Ok(look) => seen.note(look),
                Err(trouble) => seen.miss(&trouble),
            },
        }
    }
}
