//! What is said while a command runs: stalls, and on a terminal one line of status.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use super::live;
use super::look::Look;
use super::output::say;
use crate::cli::Global;
use crate::proxy::{Live, Stalls};

/// The status line changes at most so often.
const REFRESH: Duration = Duration::from_millis(250);

/// A command that is this fast needs no status line.
const QUIET_START: Duration = Duration::from_millis(750);

/// Says what is going on while a command runs.
pub(crate) struct Console {
    global: Global,
    look: Look,
    stall_after: Duration,
}

impl Console {
    pub(crate) fn new(global: &Global, stall_after: Duration) -> Self {
        Self {
            global: global.clone(),
            look: Look::of_stderr(global),
            stall_after,
        }
    }

    /// Watches until dropped.
    pub(crate) async fn watch(self, live: Live) -> Infallible {
        let mut stalls = Stalls::new(live.clone(), self.stall_after);
        // Rewriting a line makes sense on a terminal only, and a log would tear it.
        let draws = self.look.is_terminal && !self.global.quiet && self.global.verbose == 0;
        let mut line = Line::default();
        tokio::time::sleep(QUIET_START.min(self.stall_after / 2)).await;
        loop {
            tokio::select! {
                due = stalls.next() => {
                    line.clear();
                    for stall in due {
                        say(&self.global, live::stall(&stall, self.look));
                    }
                }
                () = tokio::time::sleep(REFRESH), if draws => {
                    let status = live::status(&live, self.look);
                    line.draw(&status);
                }
            }
        }
    }
}

/// The status line; taken off the screen when dropped.
#[derive(Default)]
struct Line {
    drawn: bool,
}

impl Line {
    /// Draws and goes back to the first column: what the command writes next overwrites it.
    fn draw(&mut self, text: &str) {
        if text.is_empty() {
            self.clear();
            return;
        }
        self.drawn = true;
        let _ = write!(std::io::stderr(), "\r{text}\x1b[K\r");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}
