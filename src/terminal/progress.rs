//! The progress of a long job: one line on stderr that is rewritten, on a terminal only.

use super::look::Look;
use super::output::StatusLine;
use super::words::percent;
use crate::cli::Global;
use crate::clock::{Clock, Timestamp};

/// The line is rewritten at most this often, microseconds; shorter jobs show none.
const EVERY_US: u64 = 250_000;

/// The progress of a job with a known number of steps.
pub(crate) struct Progress {
    what: &'static str,
    steps: u64,
    clock: Clock,
    last: Timestamp,
    is_shown: bool,
    line: StatusLine,
}

impl Progress {
    /// Begins a job; `what` names its steps, such as "exchange".
    pub(crate) fn new(what: &'static str, steps: usize, global: &Global) -> Self {
        let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        Self {
            what,
            steps: steps as u64,
            clock: Clock::start(),
            last: Timestamp::default(),
            is_shown: Look::of_stderr(global).is_terminal && !global.quiet && !in_ci,
            line: StatusLine::default(),
        }
    }

    /// Notes that there are so many steps, of a job that grows while it is done.
    pub(crate) const fn of(&mut self, steps: usize) {
        self.steps = steps as u64;
    }

    /// Notes that `step` steps are done.
    pub(crate) fn step(&mut self, step: usize) {
        let now = self.clock.now();
        if self.is_shown && now.micros_since(self.last) >= EVERY_US {
            self.last = now;
            let (done, all) = (step as u64, self.steps);
            let share = percent(done, all);
            let what = self.what;
            self.line
                .draw(&format!("{what} {done} of {all} ({share}%)"));
        }
    }
}
