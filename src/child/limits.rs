//! Limits of this process that we change for ourselves, and that the command gets as they were.
//!
//! Descriptors: a client takes two, one for each leg, and 1,024 are soon gone. The hard limit costs
//! nothing, but a command that uses select(2) must not inherit it: the old soft limit is there for
//! such. Core files: ours could hold a key; the command's cannot.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that stay ours whatever clients do: the journal and what is written at close, names
/// that are resolved, addresses that are raced, clients that were accepted and wait for a place.
const RESERVE: u64 = 16;

/// The limits of this process, as they were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessLimits {
    descriptors: Rlimit,
    core: Rlimit,
}

impl ProcessLimits {
    /// As they are.
    pub(crate) fn now() -> Self {
        Self {
            descriptors: getrlimit(Resource::Nofile),
            core: getrlimit(Resource::Core),
        }
    }

    /// Raises our soft limit of descriptors to the hard one.
    pub(crate) fn raise_descriptors(&self) {
        let maximum = self.descriptors.maximum;
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // Refused (macOS, where the hard limit may be more than the kernel gives): it stays.
        let _ = setrlimit(Resource::Nofile, raised);
    }

    /// How many clients may be served at once if each takes `each` and `others` are needed beside.
    pub(crate) fn clients(&self, each: u64, others: u64) -> usize {
        let Some(limit) = getrlimit(Resource::Nofile).current else {
            return usize::MAX;
        };
        let open = std::fs::read_dir("/dev/fd").map_or(RESERVE, |entries| entries.count() as u64);
        left(limit, open.saturating_add(others), each)
    }

    /// Runs `start` under these limits: what it starts inherits them.
    pub(super) fn inherited<T>(&self, start: impl FnOnce() -> T) -> T {
        let ours = Self::now();
        self.set();
        let started = start();
        ours.set();
        started
    }

    /// Where one cannot be set the other still is.
    fn set(&self) {
        let _ = setrlimit(Resource::Nofile, self.descriptors);
        let _ = setrlimit(Resource::Core, self.core);
    }
}

/// Keeps this process's memory out of core files and from other programs of the same user.
///
/// Before a key is made: then none can ever be in a core. Root may look all the same. The command
/// gets the limit that was there before ([`ProcessLimits`]).
pub(crate) fn guard_memory() {
    let limit = getrlimit(Resource::Core);
    // Either may be forbidden (seccomp): then the other still stands, and traffic goes on.
    let none = Rlimit {
        current: Some(0),
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Core, none);
    // Also closes ptrace(2) and /proc/PID/mem (ptrace(2), "Ptrace access mode checking"). exec(2)
    // resets it, so that no command is touched by it.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// How many clients that take `each` fit into `limit` beside what is `taken` and the reserve.
fn left(limit: u64, taken: u64, each: u64) -> usize {
    let free = limit.saturating_sub(taken.saturating_add(RESERVE));
    usize::try_from(free / each.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_and_never_all() {
        assert_eq!(left(64, 8, 1), 40);
        assert_eq!(left(64, 8, 2), 20);
        assert_eq!(left(64, 18, 2), 15);
        assert_eq!(left(64, u64::MAX, 2), 0);
    }
}
