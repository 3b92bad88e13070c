//! Reading `/proc` (proc(5)). What cannot be read, since the process has ended or is another user's,
//! is absent.
//!
//! Nothing here asks a file system about a file: that of a dead server would not answer. The memory
//! of a process (its command line and environment) is read once, since that can be kept waiting by
//! what the process itself waits for.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::locks::{Device, FileId};
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
    /// The mount that the file was opened on, as `mountinfo` numbers them.
    pub(super) mount: Option<u32>,
    /// Whether it can be written to.
    pub(super) is_for_writing: bool,
    /// Whether it can be read from.
    pub(super) is_for_reading: bool,
}

/// An end of a pipe.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Read,
    Write,
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
            mount: value("mnt_id:").and_then(|mount| mount.trim().parse().ok()),
            is_for_writing: access != 0,
            is_for_reading: access != 1,
        })
    }

    /// The pipes whose end of that kind a process has open: each descriptor with the pipe's inode.
    pub(super) fn pipes(&self, pid: u32, end: End) -> Vec<(u32, u64)> {
        let descriptors = self.descriptors(pid).into_iter();
        let pipes = descriptors.filter_map(|one| Some((one.number, one.inode("pipe")?)));
        let has_it = |(number, _): &(u32, u64)| {
            let info = self.descriptor_info(pid, *number);
            info.is_some_and(|info| match end {
                End::Read => info.is_for_reading,
                End::Write => info.is_for_writing,
            })
        };
        pipes.filter(has_it).collect()
    }

    /// The path of a file that the process has open.
    pub(super) fn path_of(&self, pid: u32, file: FileId) -> Option<PathBuf> {
        let descriptors = self.descriptors(pid).into_iter();
        let mut files = descriptors.filter(|descriptor| descriptor.target.is_absolute());
        // Read for the first that may be it.
        let mut mounts = None;
        let is_it = |descriptor: &Descriptor| {
            let info = self.descriptor_info(pid, descriptor.number);
            let Some(info) = info.filter(|info| info.inode == Some(file.inode)) else {
                return false;
            };
            let mounts = mounts.get_or_insert_with(|| self.mounts(pid));
            let device = info.mount.and_then(|mount| mounts.get(&mount));
            device == Some(&file.device)
        };
        let file = files.find(is_it)?;
        Some(file.target)
    }

    /// The file of a descriptor of our own, as others' locks name it.
    pub(super) fn own_file(&self, file: &impl AsRawFd) -> Option<FileId> {
        let own = std::process::id();
        let number = u32::try_from(file.as_raw_fd()).ok()?;
        let info = self.descriptor_info(own, number)?;
        let device = *self.mounts(own).get(&info.mount?)?;
        let inode = info.inode?;
        Some(FileId { device, inode })
    }

    /// The devices of the file systems that are mounted where the process is, by mount.
    fn mounts(&self, pid: u32) -> HashMap<u32, Device> {
        let text = self.text(&format!("{pid}/mountinfo")).unwrap_or_default();
        let mount = |line: &str| {
            // mount, parent, major:minor …
            let mut fields = line.split_ascii_whitespace();
            let mount = fields.next()?.parse().ok()?;
            let (major, minor) = fields.nth(1)?.split_once(':')?;
            let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
            Some((mount, Device { major, minor }))
        };
        text.lines().filter_map(mount).collect()
    }

    /// All file locks.
    pub(super) fn locks(&self) -> String {
        self.text("locks").unwrap_or_default()
    }

    /// The network namespace that the process is in: `net:[4026531840]`.
    pub(super) fn network(&self, pid: u32) -> Option<PathBuf> {
        fs::read_link(self.root.join(format!("{pid}/ns/net"))).ok()
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

    /// A file of lines, all of them whole.
    fn text(&self, name: &str) -> Option<String> {
        let mut bytes = self.bytes(name, LIMIT)?;
        if bytes.len() as u64 == LIMIT {
            let end = bytes.iter().rposition(|byte| *byte == b'\n');
            bytes.truncate(end.map_or(0, |end| end + 1));
        }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_known_by_its_device_too() {
        let temp = tempfile::tempdir().unwrap();
        let own = temp.path().join("7");
        fs::create_dir_all(own.join("fd")).unwrap();
        fs::create_dir_all(own.join("fdinfo")).unwrap();
        for (number, target, mount) in [
            (3, "/home/ana/a", 24),
            (4, "/mnt/lock", 25),
            (5, "pipe:[9]", 13),
        ] {
            symlink(target, own.join(format!("fd/{number}"))).unwrap();
            let info = format!("pos:\t0\nflags:\t0100002\nmnt_id:\t{mount}\nino:\t1143\n");
            fs::write(own.join(format!("fdinfo/{number}")), info).unwrap();
        }
        let mounts = "24 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      25 24 0:45 / /mnt rw - tmpfs tmpfs rw\n";
        fs::write(own.join("mountinfo"), mounts).unwrap();
        let proc = Proc::new(temp.path());
        let path = |major, minor, inode| {
            let device = Device { major, minor };
            let path = proc.path_of(7, FileId { device, inode })?;
            path.to_str().map(str::to_owned)
        };
        assert_eq!(path(254, 0, 1143).as_deref(), Some("/home/ana/a"));
        assert_eq!(path(0, 45, 1143).as_deref(), Some("/mnt/lock"));
        assert_eq!(path(8, 1, 1143), None);
        assert_eq!(path(254, 0, 1144), None);
    }

    #[test]
    fn of_a_file_that_is_too_long_the_last_line_is_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let line = "1: FLOCK  ADVISORY  WRITE 77 fe:00:1143 0 EOF\n";
        let lines = usize::try_from(LIMIT).unwrap() / line.len() + 2;
        fs::write(temp.path().join("locks"), line.repeat(lines)).unwrap();
        let locks = Proc::new(temp.path()).locks();
        assert!(locks.len() > line.len() && locks.ends_with(line));
    }
}
