//! `/proc/locks` (proc(5)): who waits for which file lock, and who holds it.

use std::collections::{HashMap, HashSet};

/// A file: its number within a device. The device is that of the file system, as in
/// `/proc/PID/mountinfo`; stat(2) has another one on btrfs and on some overlays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) device: Device,
    pub(super) inode: u64,
}

/// The major and the minor number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Device {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// A lock that a process waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) file: FileId,
    /// The process that took the lock; `None` if it is not seen from here.
    pub(super) holder: Option<u32>,
}

/// A lock that a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// The process that took it.
    pub(super) pid: u32,
    pub(super) file: FileId,
}

/// A line of the list: `1: FLOCK  ADVISORY  WRITE 77 fe:00:1143 0 EOF` is held by 77, and `1: -> FLOCK
/// ADVISORY WRITE 78 …` with the same first number says that 78 waits for it.
struct Line<'a> {
    number: &'a str,
    waits: bool,
    pid: Option<u32>,
    file: Option<FileId>,
}

fn lines(locks: &str) -> impl Iterator<Item = Line<'_>> {
    locks.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().peekable();
        let number = fields.next()?;
        let waits = fields.next_if_eq(&"->").is_some();
        // The kind, ADVISORY or MANDATORY, READ or WRITE.
        let mut fields = fields.skip(3);
        let pid = fields.next().and_then(|pid| pid.parse().ok());
        let file = fields.next().and_then(file);
        Some(Line {
            number,
            waits,
            pid,
            file,
        })
    })
}

/// `fe:00:1143`: the device in hexadecimal, the inode in decimal digits.
fn file(text: &str) -> Option<FileId> {
    let mut parts = text.split(':');
    let mut number = || u32::from_str_radix(parts.next()?, 16).ok();
    let (major, minor) = (number()?, number()?);
    let inode = parts.next()?.parse().ok()?;
    let device = Device { major, minor };
    Some(FileId { device, inode })
}

/// The locks that are waited for, by the process that waits.
pub(super) fn wanted(locks: &str) -> HashMap<u32, Wanted> {
    let mut held: HashMap<&str, u32> = HashMap::new();
    let mut wanted = HashMap::new();
    for line in lines(locks) {
        match (line.pid, line.file) {
            (Some(pid), Some(file)) if line.waits => {
                let holder = held.get(line.number).copied();
                wanted.insert(pid, Wanted { file, holder });
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
    let mut known = HashSet::new();
    let held = lines(locks).filter(|line| !line.waits);
    let held = held.filter_map(|line| match (line.pid, line.file) {
        (Some(pid @ 1..), Some(file)) => Some(Held { pid, file }),
        _ => None,
    });
    held.filter(|held| known.insert(*held)).collect()
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
            2: POSIX  ADVISORY  READ 12 00:2d:9 200 200\n\
            3: OFDLCK ADVISORY  WRITE -1 fe:00:7 0 EOF\n\
            3: -> OFDLCK ADVISORY  WRITE 80 fe:00:7 0 EOF\n\
            4: -> FLOCK";
        let wanted = wanted(locks);
        let of = |major, minor, inode| FileId {
            device: Device { major, minor },
            inode,
        };
        let by = |file, holder| Some(Wanted { file, holder });
        assert_eq!(wanted.get(&78).copied(), by(of(0xfe, 0, 1143), Some(77)));
        assert_eq!(wanted.get(&79).copied(), by(of(0xfe, 0, 1143), Some(77)));
        assert_eq!(wanted.get(&80).copied(), by(of(0xfe, 0, 7), None));
        assert_eq!(wanted.len(), 3);
        let by = |pid, file| Held { pid, file };
        let expected = [by(77, of(0xfe, 0, 1143)), by(12, of(0, 0x2d, 9))];
        assert_eq!(held(locks), expected);
    }
}
