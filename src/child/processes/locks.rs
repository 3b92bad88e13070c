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

/// A lock that a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The process that took it.
    pub(super) pid: u32,
    /// The file's inode, as above.
    pub(super) inode: u64,
}

/// A line of the list: `1: FLOCK  ADVISORY  WRITE 77 fe:00:1143 0 EOF` is held by 77, and `1: -> FLOCK
/// ADVISORY WRITE 78 …` with the same first number says that 78 waits for it.
struct Line<'a> {
    number: &'a str,
    waits: bool,
    pid: Option<u32>,
    inode: Option<u64>,
}

fn lines(locks: &str) -> impl Iterator<Item = Line<'_>> {
    locks.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().peekable();
        let number = fields.next()?;
        let waits = fields.next_if_eq(&"->").is_some();
        // The kind, ADVISORY or MANDATORY, READ or WRITE.
        let mut fields = fields.skip(3);
        let pid = fields.next().and_then(|pid| pid.parse().ok());
        let inode = fields.next().and_then(|file| file.rsplit(':').next());
        Some(Line {
            number,
            waits,
            pid,
            inode: inode.and_then(|inode| inode.parse().ok()),
        })
    })
}

/// The locks that are waited for, by the process that waits.
pub(super) fn wanted(locks: &str) -> HashMap<u32, Wanted> {
    let mut held: HashMap<&str, u32> = HashMap::new();
    let mut wanted = HashMap::new();
    for line in lines(locks) {
        match (line.pid, line.inode) {
            (Some(pid), Some(inode)) if line.waits => {
                let holder = held.get(line.number).copied();
                wanted.insert(pid, Wanted { inode, holder });
            }
            (Some(pid), _) if !line.waits && pid > 0 => {
                held.insert(line.number, pid);
            }
            _ => {}
        }
    }
    wanted
}

/// The locks that processes hold, once each.
pub(super) fn held(locks: &str) -> Vec<Held> {
    let mut held = Vec::new();
    for line in lines(locks).filter(|line| !line.waits) {
        if let (Some(pid @ 1..), Some(inode)) = (line.pid, line.inode) {
            let one = Held { pid, inode };
            if !held.contains(&one) {
                held.push(one);
            }
        }
    }
    held
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
        let by = |pid, inode| Held { pid, inode };
        assert_eq!(held(locks), [by(77, 1143), by(12, 9)]);
    }
}
