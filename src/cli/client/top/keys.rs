//! What the person at the terminal types. Reading it blocks, so it has a thread of its own, which ends when nobody listens.

use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::mpsc;

/// How long until the thread notices that nobody listens.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// Keys that mean something.
pub(super) struct Keys(mpsc::Receiver<()>);

impl Keys {
    /// Begins to listen. The terminal must be in raw mode.
    pub(super) fn listen() -> Self {
        let (quit, keys) = mpsc::channel(1);
        std::thread::spawn(move || listen(&quit));
        Self(keys)
    }

    /// Returns when somebody wants to leave.
    pub(super) async fn quit(&mut self) {
        if self.0.recv().await.is_none() {
            // The terminal cannot be read; signals still end the program.
            std::future::pending::<()>().await;
        }
    }
}

fn listen(quit: &mpsc::Sender<()>) {
    while !quit.is_closed() {
        match event::poll(LOOK_UP_EVERY) {
            Ok(false) => {}
            Ok(true) => match event::read() {
                Ok(Event::Key(key)) if means_quit(key) => {
                    // Full: the wish is known.
                    let _ = quit.try_send(());
                }
                Ok(_) => {}
                Err(_) => return,
            },
            Err(_) => return,
        }
    }
}

/// `q`, Escape and Ctrl-C, which raw mode delivers as a key.
fn means_quit(key: KeyEvent) -> bool {
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    control_c || key.code == KeyCode::Char('q') || key.code == KeyCode::Esc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_ways_out() {
        for (code, modifiers, quits) in [
            (KeyCode::Char('q'), KeyModifiers::NONE, true),
            (KeyCode::Esc, KeyModifiers::NONE, true),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, true),
            (KeyCode::Char('c'), KeyModifiers::NONE, false),
            (KeyCode::Enter, KeyModifiers::NONE, false),
        ] {
            assert_eq!(means_quit(KeyEvent::new(code, modifiers)), quits, "{code:?} {modifiers:?}");
        }
    }
}
