//! Reading `/proc` (proc(5)). What cannot be read, since the process has ended or is another user's,
//! is absent.
//!
//! Nothing here asks a file system about a file: that of a dead server would not answer. The memory
//! of a process (its command line and environment) is read once, since that can be kept waiting by
//! what the process itself waits for.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::sockets::{self, Socket};
use super::stat::Stat;

/// The most that is read of a file, bytes: a busy server has megabytes of sockets.
const LIMIT: u64 = 4 << 20;

/// The most that is read of a command line, bytes.
const COMMAND_LINE: u64 = 16 << 10;

/// How many descriptors, and how many threads, of a process are looked at.
const EACH: usize = 256;

/// Bytes that a process has read and written by system calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Io {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// A file, socket or pipe that a process has open.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) number: u32,
    /// A path, `socket:[INODE]`, `pipe:[INODE]` …
    pub(super) target: PathBuf,
}

impl Descriptor {
    /// The inode of a socket or pipe: `kind` is `socket` or `pipe`.
    pub(super) fn inode(&self, kind: &str) -> Option<u64> {
        let target = self.target.to_str()?;
        let inode = target.strip_prefix(kind)?.strip_prefix(":[")?;
        inode.strip_suffix(']')?.parse().ok()
    }
}

/// What `/proc/PID/fdinfo/N` says of a descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct DescriptorInfo {
    /// The file's inode; since Linux 5.14.
    pub(super) inode: Option<u64>,
    /// Whether it can be written to.
    pub(super) is_for_writing: bool,
    /// Whether it can be read from.
    pub(super) is_for_reading: bool,
}

/// The file system.
#[derive(Debug, Clone)]
pub(super) struct Proc {
    root: PathBuf,
}

impl Proc {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Whether there is one that shows this process.
    pub(super) fn is_there(&self) -> bool {
        self.root.join("self/stat").exists()
    }

    /// The numbers of all processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        numbers(&self.root).collect()
    }

    pub(super) fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::parse(&self.text(&format!("{pid}/stat"))?)
    }

    /// Seconds since the system was booted.
    pub(super) fn uptime(&self) -> f64 {
        let text = self.text("uptime").unwrap_or_default();
        let seconds = text.split_ascii_whitespace().next();
        seconds
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0.0)
    }

    /// The arguments; empty for a process of the kernel's.
    pub(super) fn command_line(&self, pid: u32) -> Vec<OsString> {
        let bytes = self.bytes(&format!("{pid}/cmdline"), COMMAND_LINE);
        let bytes = bytes.unwrap_or_default();
        // A process that sets its title leaves zeros behind it.
        let end = bytes.iter().rposition(|byte| *byte != 0);
        let bytes = &bytes[..end.map_or(0, |end| end + 1)];
        let words = bytes.split(|byte| *byte == 0);
        words
            .filter(|_| !bytes.is_empty())
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect()
    }

    /// Whether a process is of our own user: anybody's may have our variable.
    pub(super) fn is_ours(&self, pid: u32) -> bool {
        let metadata = fs::metadata(self.root.join(pid.to_string()));
        metadata.is_ok_and(|metadata| metadata.uid() == rustix::process::geteuid().as_raw())
    }

    /// Whether its environment has `NAME=VALUE`, as it was when the program began.
    pub(super) fn has_variable(&self, pid: u32, variable: &str) -> bool {
        let bytes = self.bytes(&format!("{pid}/environ"), LIMIT);
        let bytes = bytes.unwrap_or_default();
        let mut variables = bytes.split(|byte| *byte == 0);
        variables.any(|entry| entry == variable.as_bytes())
    }

    pub(super) fn io(&self, pid: u32) -> Io {
        let text = self.text(&format!("{pid}/io")).unwrap_or_default();
        let value = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or(0)
        };
        Io {
            read: value("rchar:"),
            written: value("wchar:"),
        }
    }

    /// Its threads.
    pub(super) fn threads(&self, pid: u32) -> Vec<u32> {
        let folder = self.root.join(pid.to_string()).join("task");
        numbers(&folder).take(EACH).collect()
    }

    /// The state of one thread, as in [`Stat`].
    pub(super) fn thread_state(&self, pid: u32, thread: u32) -> Option<char> {
        let stat = self.text(&format!("{pid}/task/{thread}/stat"))?;
        Some(Stat::parse(&stat)?.state)
    }

    /// The kernel's function that a thread waits in; empty where that may not be read.
    pub(super) fn channel(&self, pid: u32, thread: u32) -> String {
        let channel = self.text(&format!("{pid}/task/{thread}/wchan"));
        channel.filter(|name| name != "0").unwrap_or_default()
    }

    /// The system call that a thread waits in: its number and first argument. `None` where that may
    /// not be read.
    pub(super) fn call(&self, pid: u32, thread: u32) -> Option<(u64, u64)> {
        let text = self.text(&format!("{pid}/task/{thread}/syscall"))?;
        let mut fields = text.split_ascii_whitespace();
        let number = fields.next()?.parse().ok()?;
        let first = fields.next()?.strip_prefix("0x")?;
        Some((number, u64::from_str_radix(first, 16).ok()?))
    }

    /// What it has open; nothing where that may not be read.
    pub(super) fn descriptors(&self, pid: u32) -> Vec<Descriptor> {
        let folder = self.root.join(pid.to_string()).join("fd");
        let descriptor = |number: u32| {
            let target = fs::read_link(folder.join(number.to_string())).ok()?;
            Some(Descriptor { number, target })
        };
        numbers(&folder).take(EACH).filter_map(descriptor).collect()
    }

    /// What one of its descriptors refers to.
    pub(super) fn descriptor(&self, pid: u32, number: u32) -> Option<PathBuf> {
        fs::read_link(self.root.join(format!("{pid}/fd/{number}"))).ok()
    }

    pub(super) fn descriptor_info(&self, pid: u32, number: u32) -> Option<DescriptorInfo> {
        let text = self.text(&format!("{pid}/fdinfo/{number}"))?;
        let value = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let flags = u32::from_str_radix(value("flags:")?.trim(), 8).ok()?;
        // O_ACCMODE of open(2): 0 is reading, 1 writing, 2 both.
        let access = flags & 0b11;
        Some(DescriptorInfo {
            inode: value("ino:").and_then(|inode| inode.trim().parse().ok()),
            is_for_writing: access != 0,
            is_for_reading: access != 1,
        })
    }

    /// The file with this inode that the process has open.
    pub(super) fn path_of(&self, pid: u32, inode: u64) -> Option<PathBuf> {
        let descriptors = self.descriptors(pid).into_iter();
        let files = descriptors.filter(|descriptor| descriptor.target.is_absolute());
        let is_it = |descriptor: &Descriptor| {
            let info = self.descriptor_info(pid, descriptor.number);
            info.and_then(|info| info.inode) == Some(inode)
        };
        let file = files.into_iter().find(is_it)?;
        Some(file.target)
    }

    /// All file locks.
    pub(super) fn locks(&self) -> String {
        self.text("locks").unwrap_or_default()
    }

    /// The connected sockets in the process's network namespace.
    pub(super) fn sockets(&self, pid: u32) -> Vec<Socket> {
        let tables = ["tcp", "tcp6", "udp", "udp6"];
        let tables = tables.into_iter().filter_map(|name| {
            let table = self.text(&format!("{pid}/net/{name}"))?;
            Some(sockets::connected(&table).collect::<Vec<_>>())
        });
        tables.flatten().collect()
    }

    fn text(&self, name: &str) -> Option<String> {
        let bytes = self.bytes(name, LIMIT)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let file = File::open(self.root.join(name)).ok()?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The entries of a folder that are numbers.
fn numbers(folder: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
