//! Resource limits that modtape changes for itself; the command gets the original ones.
//!
//! Descriptors: a client takes two, one per leg, so 1,024 are soon used up, and modtape raises its
//! soft limit. A command that uses select(2) must not inherit that: the original soft limit
//! protects it. Core files: modtape's could contain a key, so it writes none.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that clients never get: for the journal, the files that are written at close, name
/// lookups, connections that are tried, and clients that were accepted and wait for a place.
const RESERVE: u64 = 16;

/// The original limits of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessLimits {
    descriptors: Rlimit,
    core: Rlimit,
}

impl ProcessLimits {
    /// The limits of now.
    pub(crate) fn now() -> Self {
        Self {
            descriptors: getrlimit(Resource::Nofile),
            core: getrlimit(Resource::Core),
        }
    }

    /// Raises the soft limit of descriptors to the hard one.
    pub(crate) fn raise_descriptors(&self) {
        let maximum = self.descriptors.maximum;
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // May fail on macOS, where the hard limit may exceed what the kernel allows: then the limit
        // stays.
        let _ = setrlimit(Resource::Nofile, raised);
    }

    /// How many clients can be served at once if each takes `each` descriptors and `others` are
    /// needed besides.
    pub(crate) fn clients(&self, each: u64, others: u64) -> usize {
        let Some(limit) = getrlimit(Resource::Nofile).current else {
            return usize::MAX;
        };
        let open = std::fs::read_dir("/dev/fd").map_or(RESERVE, |entries| entries.count() as u64);
        left(limit, open.saturating_add(others), each)
    }

    /// Runs `start` under these limits, which a process that it starts inherits.
    pub(super) fn inherited<T>(&self, start: impl FnOnce() -> T) -> T {
        let ours = Self::now();
        self.set();
        let started = start();
        ours.set();
        started
    }

    /// Sets each limit, also if the other cannot be set.
    fn set(&self) {
        let _ = setrlimit(Resource::Nofile, self.descriptors);
        let _ = setrlimit(Resource::Core, self.core);
    }
}

/// Keeps this process's memory out of core files and from other programs of the same user.
///
/// Call it before a key is made, so that no core file can contain one. Root can still read the
/// memory. The command gets the original limit ([`ProcessLimits`]).
pub(crate) fn guard_memory() {
    let limit = getrlimit(Resource::Core);
    // Either may be forbidden (seccomp): the other still works, and traffic goes on.
    let none = Rlimit {
        current: Some(0),
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Core, none);
    // Also blocks ptrace(2) and /proc/PID/mem (ptrace(2), "Ptrace access mode checking"). exec(2)
    // resets it, so the command is not affected.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// How many clients that take `each` fit into `limit`, next to `taken` and the reserve.
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
