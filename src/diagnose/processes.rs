//! What a look at the command's processes means: which of them keeps the others waiting, and why.
//!
//! The stall line asks while it lasts, the rules of a report afterwards, so that both say the same.
//! What is not ours to judge (a program runs, a compiler compiles) has a name too, and no code.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::stuck::Stuck;
use super::timeline::Timeline;
use crate::clock::Timestamp;
use crate::gomod::{is_go, unescape_path, unescape_version};
use crate::recording::processes::{Lock, Process, ProcessState, Sample};
use crate::words::{duration, seconds};

/// What the command does while no request is in flight, or one is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity<'a> {
    /// What that is.
    pub(crate) doing: Doing<'a>,
    /// The process that does it.
    pub(crate) process: &'a Process,
    /// The go command that waits for it, if it is another process.
    pub(crate) awaited_by: Option<&'a Process>,
    /// True if there was no time to look at all processes: another may be the one that the others wait for.
    pub(crate) is_part: bool,
}

/// What a process does, the one that the others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// ssh, git, or a helper of theirs reads from the terminal.
    Asks,
    /// A signal has stopped it.
    Stopped,
    /// It waits for a file lock.
    Lock,
    /// It has left the tree, and keeps a pipe open that a go command reads from.
    Pipe,
    /// It is a helper that gives git no answer.
    Helper,
    /// It waits for a peer.
    Peer,
    /// Go's tools build.
    Builds,
    /// A program runs that a go command has started.
    Runs,
    /// A go command unpacks or hashes a zip.
    Unpacks,
    /// It waits for a disk.
    Disk,
    /// A go command works.
    Works,
    /// git or the like works.
    Fetches,
    /// A go command waits, nobody knows what for.
    Idle,
    /// Something else than a go command runs.
    Other,
}

impl Kind {
    /// Its name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Asks => "asks",
            Self::Stopped => "stopped",
            Self::Lock => "lock",
            Self::Pipe => "pipe",
            Self::Helper => "helper",
            Self::Peer => "peer",
            Self::Builds => "compiles",
            Self::Runs => "runs",
            Self::Unpacks => "unpacks",
            Self::Disk => "disk",
            Self::Works => "works",
            Self::Fetches => "fetches",
            Self::Idle => "waits",
            Self::Other => "other",
        }
    }

    /// The same for people, in place of "no request in flight".
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Asks => "asking its user",
            Self::Stopped => "stopped by a signal",
            Self::Lock => "waiting for a file lock",
            Self::Pipe => "waiting for a leftover process",
            Self::Helper => "waiting for a helper of git",
            Self::Peer => "waiting for a host",
            Self::Builds => "compiling",
            Self::Runs => "running the program",
            Self::Unpacks => "unpacking and hashing",
            Self::Disk => "waiting for a disk",
            Self::Works => "go at work",
            Self::Fetches => "git at work",
            Self::Idle => "go waiting",
            Self::Other => "running another program",
        }
    }
}

/// A [`Kind`] with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing<'a> {
    /// As in [`Kind::Asks`]; `None` for a window.
    Asks(Option<&'a str>),
    /// As in [`Kind::Stopped`].
    Stopped,
    /// As in [`Kind::Lock`].
    Lock(&'a Lock),
    /// As in [`Kind::Pipe`].
    Pipe,
    /// As in [`Kind::Helper`].
    Helper,
    /// As in [`Kind::Peer`]: its address, and whether there is no connection yet.
    Peer(&'a str, bool),
    /// As in [`Kind::Builds`]: the tools, and how many there are of each.
    Builds(BTreeMap<&'a str, u32>),
    /// As in [`Kind::Runs`].
    Runs,
    /// As in [`Kind::Unpacks`]: the module and its version.
    Unpacks(String),
    /// As in [`Kind::Disk`]: the kernel's function.
    Disk(&'a str),
    /// As in [`Kind::Works`].
    Works,
    /// As in [`Kind::Fetches`].
    Fetches,
    /// As in [`Kind::Idle`].
    Idle,
    /// As in [`Kind::Other`].
    Other,
}

impl Doing<'_> {
    /// Which it is.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Asks(_) => Kind::Asks,
            Self::Stopped => Kind::Stopped,
            Self::Lock(_) => Kind::Lock,
            Self::Pipe => Kind::Pipe,
            Self::Helper => Kind::Helper,
            Self::Peer(..) => Kind::Peer,
            Self::Builds(_) => Kind::Builds,
            Self::Runs => Kind::Runs,
            Self::Unpacks(_) => Kind::Unpacks,
            Self::Disk(_) => Kind::Disk,
            Self::Works => Kind::Works,
            Self::Fetches => Kind::Fetches,
            Self::Idle => Kind::Idle,
            Self::Other => Kind::Other,
        }
    }
}

impl<'a> Activity<'a> {
    /// What the command does, by one look at its processes; `None` if there are none.
    pub(crate) fn of(sample: &'a Sample) -> Option<Self> {
        let scene = Scene::of(sample);
        let doing = (0..scene.processes.len()).map(|index| (index, scene.doing(index)));
        // The first of several that do the same, which is the oldest.
        let (index, doing) = doing.min_by_key(|(_, doing)| doing.kind())?;
        Some(Self {
            doing: match doing {
                Doing::Builds(_) => Doing::Builds(scene.tools()),
                doing => doing,
            },
            process: &scene.processes[index],
            awaited_by: scene.awaited_by(index),
            is_part: sample.is_part,
        })
    }

    /// The code of what keeps the command waiting; `None` for what is not ours to judge, and for a go
    /// command that works.
    pub(crate) const fn code(&self) -> Option<&'static str> {
        match self.doing.kind() {
            Kind::Asks | Kind::Stopped | Kind::Helper => Some("MT208"),
            Kind::Lock => Some("MT207"),
            Kind::Pipe => Some("MT209"),
            Kind::Peer | Kind::Disk => Some("MT206"),
            Kind::Builds
            | Kind::Runs
            | Kind::Unpacks
            | Kind::Works
            | Kind::Fetches
            | Kind::Idle
            | Kind::Other => None,
        }
    }

    /// The process and what it waits for: as long as this is the same, it is one wait.
    pub(crate) const fn subject(&self) -> (Kind, u32) {
        (self.doing.kind(), self.process.pid)
    }

    /// What it does, right now: `go build waits for the module cache lock …`. Without a full stop, as
    /// all sentences here.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who draws a timeline"))]
    pub(crate) fn now(&self) -> String {
        self.sentence(Tense::Now)
    }

    /// The same of one that goes on and has lasted so long, microseconds.
    pub(crate) fn lasting(&self, us: u64) -> String {
        self.sentence(Tense::Lasting(us))
    }

    /// The same of one that is over.
    pub(crate) fn past(&self, us: u64) -> String {
        self.sentence(Tense::Past(us))
    }

    fn sentence(&self, tense: Tense) -> String {
        let part = match self.is_part {
            true => "; there was no time to look at all processes",
            false => "",
        };
        one_line(self.words(tense) + part)
    }

    fn words(&self, tense: Tense) -> String {
        let (who, pid) = (self.who(), self.process.pid);
        let waits = tense.verb("waits", "waited");
        let works = tense.verb("works", "worked");
        match &self.doing {
            Doing::Asks(terminal) => {
                let place = match terminal {
                    Some(terminal) => format!("on the terminal ({terminal})"),
                    None => String::from("in a window"),
                };
                let what = match self.process.name == "ssh" {
                    true => {
                        ": it asks for a passphrase, a password, or whether to trust a host's key"
                    }
                    false => "",
                };
                format!("{who} (pid {pid}) {waits} for an answer {place}{what}")
            }
            Doing::Stopped => {
                let is = match tense {
                    Tense::Now => String::from("is stopped"),
                    Tense::Lasting(us) => format!("has been stopped for {}", seconds(us)),
                    Tense::Past(us) => format!("was stopped for {}", duration(us)),
                };
                format!(
                    "{who} (pid {pid}) {is} by a signal, which a process gets that asks on the terminal from the background"
                )
            }
            Doing::Lock(lock) => {
                let (what, by) = (lock_name(lock), holder_name(lock));
                format!("{who} {waits} for {what}, which {by} holds")
            }
            Doing::Pipe => {
                let reader = self.awaited_by.map_or_else(|| String::from("go"), title);
                format!(
                    "{reader} {waits} for the end of a pipe that {who} (pid {pid}), which is left over, keeps open"
                )
            }
            Doing::Helper => format!("git {waits} for its helper {who} (pid {pid})"),
            Doing::Peer(address, true) => format!("{who} {waits} for a connection to {address}"),
            Doing::Peer(address, false) => format!("{who} {waits} for {address}"),
            Doing::Disk(channel) => format!("{who} {waits} for {}", disk_name(channel)),
            Doing::Builds(tools) => {
                let tools = tools.iter().map(|(name, number)| match number {
                    1 => (*name).to_owned(),
                    number => format!("{number} {name}"),
                });
                let tools: Vec<String> = tools.collect();
                let verb = tense.verb("compiles", "compiled");
                let go = self.awaited_by.map_or_else(|| String::from("go"), title);
                format!("{go} {verb} ({})", tools.join(", "))
            }
            Doing::Runs => {
                let what = match self.process.name.ends_with(".test") {
                    true => "the test",
                    false => "the program",
                };
                let runs = tense.verb("runs", "ran");
                format!("{what} {who} (pid {pid}) {runs}")
            }
            Doing::Unpacks(module) => {
                let (verb, lasts) = match tense {
                    Tense::Now => ("unpacks and hashes", String::new()),
                    Tense::Lasting(us) => {
                        ("has unpacked and hashed", format!(" for {}", seconds(us)))
                    }
                    Tense::Past(us) => ("unpacked and hashed", format!(" for {}", duration(us))),
                };
                format!("{who} {verb} {module}{lasts}")
            }
            Doing::Works => format!("{who} {works}"),
            Doing::Fetches if self.process.state == ProcessState::Running => {
                format!("{who} {works}")
            }
            Doing::Fetches => format!("{who} (pid {pid}) {waits}"),
            Doing::Idle => format!(
                "{who} (pid {pid}) {waits} for something that is no request, no lock, no child process and no disk"
            ),
            Doing::Other => {
                let runs = tense.verb("runs", "ran");
                format!("{who} (pid {pid}) {runs}")
            }
        }
    }

    /// What its user can do, the safest first.
    pub(crate) fn choices(&self) -> Vec<String> {
        let pid = self.process.pid;
        let host = self.host().unwrap_or("HOST");
        let choices: &[String] = match &self.doing {
            Doing::Asks(_) if self.process.name == "ssh" => &[
                format!(
                    "run ssh -T {host} once in a terminal and answer it, or give ssh-agent the key (ssh-add)"
                ),
                String::from(
                    "GIT_SSH_COMMAND='ssh -o BatchMode=yes' lets git fail at once instead of asking",
                ),
            ],
            Doing::Asks(_) => &[String::from(
                "answer it, or run git ls-remote URL once by hand; GIT_TERMINAL_PROMPT=0 lets git fail at once instead of asking",
            )],
            Doing::Stopped => &[format!(
                "bring the command to the foreground (fg), or continue it: kill -CONT {pid}"
            )],
            Doing::Lock(lock) => {
                let again = String::from(
                    "give each of the two commands a GOMODCACHE of its own: then neither waits for the other",
                );
                match &lock.holder {
                    Some(holder) => &[
                        format!(
                            "see what it does, and end it if it hangs: ps -o pid,etime,stat,args -p {}",
                            holder.pid
                        ),
                        again,
                    ],
                    None => &[
                        String::from(
                            "look for another go command that uses the same module cache, in a container or on another machine",
                        ),
                        again,
                    ],
                }
            }
            Doing::Pipe if self.process.name == "ssh" => &[
                String::from(
                    "GIT_SSH_COMMAND='ssh -o ControlMaster=no -o ControlPath=none' makes git leave no ssh master behind",
                ),
                format!("kill {pid} ends this one, and the wait"),
            ],
            Doing::Pipe => &[format!("kill {pid} ends it, and the wait")],
            Doing::Helper => &[format!(
                "run git ls-remote URL by hand to see what {} asks for; git config --show-origin credential.helper names the file that sets it",
                self.process.name
            )],
            Doing::Peer(address, _) => &[format!(
                "see whether this network reaches {address}; where it does not, the module's host must be asked over https (git config url.https://HOST/.insteadOf ssh://git@HOST/) or through a module proxy"
            )],
            Doing::Disk(channel) if is_of_network(channel) => &[String::from(
                "put GOMODCACHE, GOCACHE and GOTMPDIR on a local disk",
            )],
            Doing::Disk(channel) if is_of_scanner(channel) => &[String::from(
                "exclude GOMODCACHE, GOCACHE and GOTMPDIR from what the scanner checks",
            )],
            Doing::Disk(_) => &[String::from(
                "see whether the disk of GOMODCACHE and GOCACHE is busy or failing (dmesg, iostat)",
            )],
            Doing::Builds(_)
            | Doing::Runs
            | Doing::Unpacks(_)
            | Doing::Works
            | Doing::Fetches
            | Doing::Idle
            | Doing::Other => &[],
        };
        choices.iter().cloned().map(one_line).collect()
    }

    /// What keeps the command waiting, if that has lasted so long and is ours to judge.
    pub(crate) fn stuck(&self, us: u64) -> Option<Stuck> {
        let go = match self.doing {
            Doing::Peer(_, true) => {
                "the go command has no timeout for this; ssh and git wait for TCP, which gives up on what it cannot connect to after about two minutes"
            }
            // TCP gives up what is not acknowledged: where nothing is under way, nobody ever notices.
            Doing::Peer(_, false) => {
                "the go command has no timeout for this, nor have ssh and git for a host that has taken the connection and says nothing: it may wait for ever"
            }
            _ => "the go command has no timeout for this: it will wait for ever",
        };
        Some(Stuck {
            code: self.code()?,
            cause: self.lasting(us),
            go: go.to_owned(),
            choices: self.choices(),
            is_certain: !self.is_part
                && !matches!(self.doing.kind(), Kind::Stopped | Kind::Helper | Kind::Peer),
            whom: self.who(),
            members: Vec::new(),
        })
    }

    /// The process, in a few words: `go mod tidy`, `ssh to git@git.corp.example`, `git-remote-https`.
    pub(crate) fn who(&self) -> String {
        match &*self.process.name {
            "ssh" => match self.host() {
                Some(host) => format!("ssh to {host}"),
                None => String::from("ssh"),
            },
            _ => title(self.process),
        }
    }

    /// The host that ssh was told to connect to.
    pub(crate) fn host(&self) -> Option<&'a str> {
        // A master calls itself `ssh: /home/ana/.ssh/m [mux]`.
        let mut words = self.process.command.iter();
        words.next().filter(|program| file_name(program) == "ssh")?;
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                None => return Some(word),
                // The options with a value, which may stand in the same word.
                Some(flag) if flag.len() == 1 && "BbcDEeFIiJLlmOoPpQRSWw".contains(flag) => {
                    words.next();
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// Since when the command does what it does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lasting {
    subject: Option<(Kind, u32)>,
    since: Timestamp,
}

impl Lasting {
    /// Takes the next look at the processes; `None` if nobody looks any more.
    pub(crate) fn see(&mut self, at: Timestamp, sample: Option<&Sample>) {
        let activity = sample.and_then(Activity::of);
        let subject = activity.map(|activity| activity.subject());
        if subject != self.subject {
            *self = Self { subject, since: at };
        }
    }

    /// When it began.
    pub(crate) const fn since(&self) -> Timestamp {
        self.since
    }
}

/// The text without control characters: names of files and programs may have any.
pub(super) fn one_line(text: String) -> String {
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, "\u{fffd}"),
        false => text,
    }
}

/// When something is done.
#[derive(Debug, Clone, Copy)]
enum Tense {
    Now,
    /// For so long now, microseconds.
    Lasting(u64),
    /// For so long, and it is over.
    Past(u64),
}

impl Tense {
    /// A verb in this tense, with how long: `waits`, `has waited 12 s`, `waited 12.3 s`.
    fn verb(self, present: &str, past: &str) -> String {
        match self {
            Self::Now => present.to_owned(),
            Self::Lasting(us) => {
                let participle = match past {
                    "ran" => "run",
                    past => past,
                };
                format!("has {participle} {}", seconds(us))
            }
            Self::Past(us) => format!("{past} {}", duration(us)),
        }
    }
}

/// A process by its program and what that was told to do.
pub(crate) fn title(process: &Process) -> String {
    let words = process.command.iter().skip(1);
    match is_go(&process.name) || process.name == "git" {
        true => titled(&process.name, words),
        false => process.name.clone(),
    }
}

/// The program and up to two words that say what it is to do.
fn titled<'a>(program: &str, words: impl Iterator<Item = &'a String>) -> String {
    let is_verb = |word: &&String| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let mut title = program.to_owned();
    let words = words.take_while(|word| is_verb(word) && !word.starts_with('-'));
    for word in words.take(2) {
        title.push(' ');
        title.push_str(word);
    }
    title
}

/// What lock that is: `the module cache lock /home/ana/go/pkg/mod/cache/lock`.
pub(crate) fn lock_name(lock: &Lock) -> String {
    match &lock.path {
        Some(path) if is_of_module_cache(path) => format!("the module cache lock {path}"),
        Some(path) => format!("the lock of {path}"),
        None => String::from("a file lock"),
    }
}

/// Whether that is a lock of Go's module cache.
pub(crate) fn is_of_module_cache(path: &str) -> bool {
    path.ends_with("/cache/lock") || path.contains("/cache/download/")
}

/// Who holds a lock: `go build (pid 4121)`.
pub(crate) fn holder_name(lock: &Lock) -> String {
    let Some(holder) = &lock.holder else {
        return String::from("a process that cannot be seen from here");
    };
    let program = holder.command.first().map(|program| file_name(program));
    match program {
        Some(program) => {
            let program = titled(program, holder.command.iter().skip(1));
            format!("{program} (pid {})", holder.pid)
        }
        None => format!("process {}", holder.pid),
    }
}

fn file_name(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.unwrap_or(path)
}

/// What a process waits for in this function of the kernel.
pub(crate) fn disk_name(channel: &str) -> String {
    let channel_of = match channel {
        "" => return String::from("a disk"),
        _ if is_of_network(channel) => "a network file system",
        _ if is_of_scanner(channel) => "a program that checks files, such as a virus scanner",
        _ => "a disk",
    };
    format!("{channel_of} ({channel})")
}

/// Whether this function of the kernel waits for a network file system: NFS, 9p, SMB, or FUSE.
pub(crate) fn is_of_network(channel: &str) -> bool {
    let parts = [
        "rpc_",
        "nfs",
        "p9_",
        "v9fs",
        "cifs",
        "smb",
        "fuse",
        "request_wait_answer",
    ];
    parts.iter().any(|part| channel.contains(part))
}

/// Whether this function of the kernel waits for a program that allows or forbids each opening of a file
/// (fanotify(7)).
pub(crate) fn is_of_scanner(channel: &str) -> bool {
    channel.contains("fanotify")
}

/// Whether a program is one that a go command fetches repositories with.
fn is_vcs(name: &str) -> bool {
    ["git", "ssh", "hg", "svn", "bzr", "brz", "fossil"].contains(&name) || name.starts_with("git-")
}

/// A program that asks in a window.
fn is_window(name: &str) -> bool {
    name.contains("askpass") || name.starts_with("pinentry")
}

/// What a process is in the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Go,
    /// One of Go's tools, or of the C compiler's.
    Tool,
    /// git and the like, below a go command or on its own.
    Vcs,
    /// Started by git.
    Helper,
    /// Another program below a go command.
    Program,
    /// Neither: a shell, make.
    Other,
}

/// How far up a process's ancestors are followed. Those that tell anything are few: a helper that git asks
/// for credentials sits four processes below go. A recording that was tampered with has long chains, and circles.
const ANCESTORS: usize = 32;

/// The processes of a sample, and how they belong together.
struct Scene<'a> {
    processes: &'a [Process],
    by_pid: HashMap<u32, usize>,
    parents: HashSet<u32>,
}

impl<'a> Scene<'a> {
    fn of(sample: &'a Sample) -> Self {
        let processes = &sample.processes[..];
        let by_pid = processes.iter().enumerate();
        Self {
            processes,
            by_pid: by_pid
                .map(|(index, process)| (process.pid, index))
                .collect(),
            parents: processes.iter().map(|process| process.parent).collect(),
        }
    }

    /// The ancestors of a process, its parent first.
    fn ancestors(&self, index: usize) -> impl Iterator<Item = usize> {
        let parent = |index: &usize| {
            let parent = self.processes[*index].parent;
            self.by_pid.get(&parent).copied()
        };
        std::iter::successors(Some(index), parent)
            .skip(1)
            .take(ANCESTORS)
    }

    fn role(&self, index: usize) -> Role {
        let process = &self.processes[index];
        let (is_go, is_vcs) = (is_go(&process.name), is_vcs(&process.name));
        if process.command.is_empty() && !is_vcs {
            return Role::Tool;
        }
        if is_go {
            return Role::Go;
        }
        // Whether it belongs to a git, and whether a program stands between that and the go command.
        let (mut is_gits, mut is_apart) = (false, false);
        for above in self.ancestors(index) {
            let name = &*self.processes[above].name;
            if self::is_go(name) {
                let is_fetching = is_vcs || is_gits;
                return match (is_apart || !is_fetching, is_vcs) {
                    (true, _) => Role::Program,
                    (false, true) => Role::Vcs,
                    (false, false) => Role::Helper,
                };
            }
            let above_is_vcs = self::is_vcs(name);
            is_apart = !above_is_vcs;
            is_gits |= above_is_vcs;
        }
        match (is_vcs, is_gits) {
            (true, _) => Role::Vcs,
            (false, true) => Role::Helper,
            (false, false) => Role::Other,
        }
    }

    fn is_below_go(&self, index: usize) -> bool {
        let mut above = self.ancestors(index);
        above.any(|above| is_go(&self.processes[above].name))
    }

    /// What a process does, as far as it says what the command waits for.
    fn doing(&self, index: usize) -> Doing<'a> {
        let process = &self.processes[index];
        let role = self.role(index);
        let is_ours = matches!(role, Role::Go | Role::Vcs | Role::Helper);
        if process.keeps_pipe_of.is_some() {
            return Doing::Pipe;
        }
        match &process.state {
            ProcessState::ReadsTerminal { terminal } if self.may_ask(index, role) => {
                return Doing::Asks(Some(terminal));
            }
            ProcessState::Stopped if is_ours => return Doing::Stopped,
            ProcessState::WaitingLock { lock }
                if role != Role::Program && !self.is_awaited(lock) =>
            {
                return Doing::Lock(lock);
            }
            _ if is_window(&process.name) && role != Role::Program => return Doing::Asks(None),
            _ if role == Role::Helper && self.is_last_helper(index) => return Doing::Helper,
            ProcessState::WaitsNetwork {
                address,
                connecting,
            } if is_ours && (*connecting || role != Role::Go || !self.has_child(process.pid)) => {
                return Doing::Peer(address, *connecting);
            }
            _ => {}
        }
        let is_running = process.state == ProcessState::Running;
        match role {
            // Which tools is counted once, where this is what all wait for.
            Role::Tool => Doing::Builds(BTreeMap::new()),
            Role::Program => Doing::Runs,
            Role::Go | Role::Vcs | Role::Helper => match &process.state {
                ProcessState::WaitsDisk { channel } => Doing::Disk(channel),
                ProcessState::WaitsChild => Doing::Other,
                _ if role == Role::Go && process.file.is_some() => {
                    let file = process.file.as_deref().unwrap_or_default();
                    Doing::Unpacks(module_of(file).unwrap_or_else(|| file.to_owned()))
                }
                _ if role == Role::Go && is_running => Doing::Works,
                _ if role == Role::Go => Doing::Idle,
                _ => Doing::Fetches,
            },
            Role::Other => Doing::Other,
        }
    }

    /// Whether a process that reads from the terminal asks something on behalf of go or git: a shell,
    /// an editor or a program may read from it as well.
    fn may_ask(&self, index: usize, role: Role) -> bool {
        match role {
            Role::Vcs => self.is_below_go(index) || self.processes[index].name != "git",
            Role::Helper => true,
            Role::Go | Role::Tool | Role::Program | Role::Other => false,
        }
    }

    /// Whether the holder of a lock is a process of this command that does something itself: what
    /// that does is what all wait for.
    fn is_awaited(&self, lock: &Lock) -> bool {
        let holder = lock.holder.as_ref();
        let holder = holder.and_then(|holder| self.by_pid.get(&holder.pid));
        holder.is_some_and(|index| {
            let state = &self.processes[*index].state;
            !matches!(
                state,
                ProcessState::WaitingLock { .. } | ProcessState::Sleeping
            )
        })
    }

    /// Whether a process below git speaks git's credential protocol, and waits itself.
    fn is_last_helper(&self, index: usize) -> bool {
        let process = &self.processes[index];
        let is_credential = |index: usize| {
            let command = &self.processes[index].command;
            command
                .last()
                .is_some_and(|word| word == "get" || word.ends_with(" get"))
                || command.iter().any(|word| word.contains("credential"))
        };
        let mut chain = std::iter::once(index).chain(self.ancestors(index));
        !self.has_child(process.pid) && chain.any(is_credential)
    }

    fn has_child(&self, pid: u32) -> bool {
        self.parents.contains(&pid)
    }

    /// The go command that waits for a process: the next one above, or the one whose pipe it keeps.
    fn awaited_by(&self, index: usize) -> Option<&'a Process> {
        let process = &self.processes[index];
        let reader = process
            .keeps_pipe_of
            .and_then(|pid| self.by_pid.get(&pid).copied());
        let above = || {
            let mut above = self.ancestors(index);
            above.find(|above| is_go(&self.processes[*above].name))
        };
        reader.or_else(above).map(|index| &self.processes[index])
    }

    fn tools(&self) -> BTreeMap<&'a str, u32> {
        let mut tools = BTreeMap::new();
        for (index, process) in self.processes.iter().enumerate() {
            if self.role(index) == Role::Tool {
                let number: &mut u32 = tools.entry(&*process.name).or_default();
                *number = number.saturating_add(process.count);
            }
        }
        tools
    }
}

/// The module and version that a file of the module cache belongs to: `golang.org/x/net v0.34.0`.
fn module_of(file: &str) -> Option<String> {
    if let Some((_, download)) = file.split_once("/cache/download/") {
        let (path, file) = download.split_once("/@v/")?;
        let version = file.split(".zip").next()?;
        let path = unescape_path(path).ok()?;
        let version = unescape_version(version).ok()?;
        return Some(format!("{path} {version}"));
    }
    // Where the module cache begins is not known here: by default, behind pkg/mod.
    let (_, path) = file.split_once("/pkg/mod/")?;
    let (path, rest) = path.split_once('@')?;
    let version = rest.split('/').next()?;
    let path = unescape_path(path).ok()?;
    let version = unescape_version(version).ok()?;
    Some(format!("{path} {version}"))
}

/// A sample with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// The run, from 0.
    pub(crate) run: u32,
    /// When it was taken, since its run was opened.
    pub(crate) at: Timestamp,
    /// What it shows.
    pub(crate) sample: Sample,
}

/// A part of the time without a request, and the sample that shows what was done in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// When it began, microseconds since the start of the recording.
    pub(crate) from: u64,
    /// When it ended.
    pub(crate) to: u64,
    /// Which sample: an index.
    pub(crate) sample: usize,
}

/// The first look comes so long after a gap has begun, at most, microseconds.
const FIRST_LOOK: u64 = 1_000_000;

/// The times without a request, each with the sample that shows what was done in it; those that nobody
/// looked at are left out. `samples` are in order.
pub(crate) fn gaps(samples: &[Sampled], timeline: &Timeline) -> Vec<Gap> {
    // Where a run begins that has no request is not known: what comes later never counts as earlier.
    let mut latest = 0;
    let at = samples.iter().map(|sampled| {
        latest = timeline.at(sampled.run, sampled.at).max(latest);
        latest
    });
    let at: Vec<u64> = at.collect();
    let mut gaps = Vec::new();
    for &(from, to) in &timeline.idle {
        let first = at.partition_point(|at| *at < from);
        let end = at.partition_point(|at| *at < to);
        // The sample before still holds, if it is none that says that nobody looks.
        let before = first.checked_sub(1);
        let before = before.filter(|index| !samples[*index].sample.processes.is_empty());
        let mut index = before.unwrap_or(first);
        while index < end {
            let begin = match at[index] {
                at if at <= from => from,
                at if index == first && at - from <= FIRST_LOOK => from,
                at => at,
            };
            let until = at.get(index + 1).map_or(to, |next| (*next).min(to));
            if begin < until && !samples[index].sample.processes.is_empty() {
                gaps.push(Gap {
                    from: begin,
                    to: until,
                    sample: index,
                });
            }
            index += 1;
        }
    }
    gaps
}

#[cfg(test)]
mod tests;
