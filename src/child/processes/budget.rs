//! How much time one look at the processes may take.

use std::time::Duration;

use crate::clock::{since_boot, thread_cpu};

/// How much of a processor.
const CPU: Duration = Duration::from_millis(20);

/// And how long, where something keeps it waiting.
const TIME: Duration = Duration::from_secs(1);

/// The time of one look.
#[derive(Debug)]
pub(super) struct Budget {
    began: Duration,
    /// What the thread had used of a processor then.
    used: Duration,
    cpu: Duration,
}

impl Budget {
    /// That of a look which begins now, on this thread.
    pub(super) fn begin() -> Self {
        Self::of(CPU)
    }

    /// So much of a processor.
    pub(super) fn of(cpu: Duration) -> Self {
        Self {
            began: since_boot(),
            used: thread_cpu(),
            cpu,
        }
    }

    /// How much of a processor it took so far.
    pub(super) fn took(&self) -> Duration {
        thread_cpu().saturating_sub(self.used)
    }

    pub(super) fn is_spent(&self) -> bool {
        self.took() >= self.cpu || since_boot().saturating_sub(self.began) >= TIME
    }
}
