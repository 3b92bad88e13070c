//! The command's processes at one moment: what a `sample` record says.
//!
//! A sample shows all processes that matter, so that one that is lost makes no other unreadable. It holds from its
//! time to that of the next one; one without processes says that nobody looked from then on, since
//! requests were in flight.

use serde::{Deserialize, Serialize};

/// What the command's processes did at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The processes, by pid.
    pub processes: Vec<Process>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// True if there was no time to look at all processes: what keeps the command waiting may be another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_part: bool,
}

/// A process, or several that run the same tool of Go's: `compile`, `link`, `asm` …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number; of several processes, that of the oldest.
    pub pid: u32,
    /// The number of its parent; 1, or that of a reaper, for one whose parent has ended.
    pub parent: u32,
    /// The program's file name.
    pub name: String,
    /// The command line, redacted; the first words of a long one. Empty for a tool of Go's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How many processes this stands for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
    /// What it did.
    #[serde(flatten)]
    pub state: ProcessState,
    /// A file of the module cache that it had open: a zip, or what is unpacked of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The process that reads from a pipe whose other end this one, which is no descendant of the
    /// command any more, keeps open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps_pipe_of: Option<u32>,
    /// CPU use since the look before, of all threads, in thousandths of one processor; at the first
    /// look, since the process started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpu_permille: u32,
    /// CPU time since it started, of all threads, microseconds.
    #[serde(default, skip_serializing_if = "is_none")]
    pub cpu_us: u64,
    /// Bytes that it has read by system calls since it started, from files and sockets.
    #[serde(default, skip_serializing_if = "is_none")]
    pub read_bytes: u64,
    /// Bytes that it has written since it started; the same.
    #[serde(default, skip_serializing_if = "is_none")]
    pub written_bytes: u64,
}

/// What a process did, or waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ProcessState {
    /// It worked: it used a processor for a tenth of the time, or read and wrote 64 KiB a second, at
    /// least.
    Running,
    /// It waited for a file lock that another process holds.
    WaitingLock {
        /// The lock.
        lock: Lock,
    },
    /// It read from a terminal.
    ReadsTerminal {
        /// `/dev/tty`, `/dev/pts/3`.
        terminal: String,
    },
    /// It waited for a peer, which is not the proxy: what that waits for is a request's to tell.
    WaitsNetwork {
        /// Its address and port.
        address: String,
        /// True while the connection was not set up.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        connecting: bool,
    },
    /// It waited for a disk or a network file system, and could not be interrupted.
    WaitsDisk {
        /// The kernel's function that waited, if that was readable.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        channel: String,
    },
    /// It waited for its child processes.
    WaitsChild,
    /// A signal had stopped it: one in the background that asked for the terminal, most often.
    Stopped,
    /// It waited for something else.
    Sleeping,
}

/// A file lock that a process waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The file, if it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who holds it, if that can be told; it may be a process that has nothing to do with the
    /// command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its command line, redacted; the first words of a long one. Empty if it cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

const fn one() -> u32 {
    1
}

const fn is_one(count: &u32) -> bool {
    *count == 1
}

const fn is_zero(count: &u32) -> bool {
    *count == 0
}

const fn is_none(amount: &u64) -> bool {
    *amount == 0
}
