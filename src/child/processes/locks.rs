//! `/proc/locks` (proc(5)): who waits for which file lock, and who holds it.

use std::collections::HashMap;

/// A lock that a process waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The file's inode; its device is not that of stat(2) on all file systems.
    pub(super) inode: u64,
    /// The process that took the lock; `None` if it is not seen from here.
    pub(super) holder: Option<u32>,
}

/// The locks that are waited for, by the process that waits.
///
/// `1: FLOCK  ADVISORY  WRITE 77 fe:00:1143 0 EOF` is held by 77, and `1: -> FLOCK ADVISORY WRITE 78 …`
/// with the same first number says that 78 waits for it.
pub(super) fn wanted(locks: &str) -> HashMap<u32, Wanted> {
    let mut held: HashMap<&str, u32> = HashMap::new();
    let mut wanted = HashMap::new();
    for line in locks.lines() {
        let mut fields = line.split_ascii_whitespace().peekable();
        let Some(number) = fields.next() else {
            continue;
        };
        let waits = fields.next_if_eq(&"->").is_some();
        // The kind, ADVISORY or MANDATORY, READ or WRITE.
        let mut fields = fields.skip(3);
        let pid = fields.next().and_then(|pid| pid.parse::<u32>().ok());
        let inode = fields.next().and_then(|file| file.rsplit(':').next());
        let inode = inode.and_then(|inode| inode.parse().ok());
        match (pid, inode) {
            (Some(pid), Some(inode)) if waits => {
                let holder = held.get(number).copied();
                wanted.insert(pid, Wanted { inode, holder });
            }
            (Some(pid), _) if !waits && pid > 0 => {
                held.insert(number, pid);
            }
            _ => {}
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_process_is_told_with_the_one_that_holds_the_lock() {
        let locks = "\
            1: FLOCK  ADVISORY  WRITE 77 fe:00:1143 0 EOF\n\
            1: -> FLOCK  ADVISORY  WRITE 78 fe:00:1143 0 EOF\n\
            1:     -> FLOCK  ADVISORY  WRITE 79 fe:00:1143 0 EOF\n\
            2: POSIX  ADVISORY  READ 12 00:2d:9 128 128\n\
            3: OFDLCK ADVISORY  WRITE -1 fe:00:7 0 EOF\n\
            3: -> OFDLCK ADVISORY  WRITE 80 fe:00:7 0 EOF\n\
            4: -> FLOCK";
        let wanted = wanted(locks);
        let of = |inode, holder| Some(Wanted { inode, holder });
        assert_eq!(wanted.get(&78).copied(), of(1143, Some(77)));
        assert_eq!(wanted.get(&79).copied(), of(1143, Some(77)));
        assert_eq!(wanted.get(&80).copied(), of(7, None));
        assert_eq!(wanted.len(), 3);
    }
}
