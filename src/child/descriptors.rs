//! Descriptors: as many as we may have for ourselves, and what it had before for the command.
//!
//! A client takes two, one for each leg, and 1,024 are soon gone. The hard limit costs nothing, but
//! a command that uses select(2) must not inherit it: the old soft limit is there for such.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that stay ours whatever clients do: the journal and what is written at close, names
/// that are resolved, addresses that are raced, whoever was accepted and waits for a place.
const RESERVE: u64 = 16;

/// The limits of this process.
#[derive(Debug, Clone, Copy)]
pub struct Descriptors {
    before: Rlimit,
}

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub fn raise() -> Self {
        let Self { before } = Self::unchanged();
        let raised = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        // Refused (macOS, where the hard limit may be more than the kernel gives): it stays.
        let _ = setrlimit(Resource::Nofile, raised);
        Self { before }
    }

    /// The limits as they are.
    pub fn unchanged() -> Self {
        Self {
            before: getrlimit(Resource::Nofile),
        }
    }

    /// How many clients may be served at once if each takes `each` and `others` are needed beside.
    pub fn clients(&self, each: u64, others: u64) -> usize {
        let Some(limit) = getrlimit(Resource::Nofile).current else {
            return usize::MAX;
        };
        let open = std::fs::read_dir("/dev/fd").map_or(RESERVE, |entries| entries.count() as u64);
        let free = limit.saturating_sub(open + others + RESERVE);
        usize::try_from(free / each.max(1)).unwrap_or(usize::MAX)
    }

    /// Runs `start` under the limits that were there before: what it starts inherits them.
    pub(super) fn inherited<T>(&self, start: impl FnOnce() -> T) -> T {
        let ours = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, self.before);
        let started = start();
        let _ = setrlimit(Resource::Nofile, ours);
        started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_and_never_all() {
        let descriptors = Descriptors::unchanged();
        let one = descriptors.clients(1, 0);
        assert!(one > descriptors.clients(2, 0));
        assert!(one - descriptors.clients(1, 10) >= 10);
        assert_eq!(descriptors.clients(1, u64::MAX / 2), 0);
    }
}
