//! One look at the command's processes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::budget::Budget;
use super::locks::{self, Wanted};
use super::members::{Found, Member, Members};
use super::proc::{Descriptor, End, Io, Proc};
use super::sockets::Socket;
use super::stat::Stat;
use crate::clock::{Timestamp, since_boot};
use crate::diagnose::processes::is_of_scanner;
use crate::recording::processes::{Holder, Lock, Process, ProcessState, Sample};
use crate::redact::Redactor;

/// How many processes a sample shows; those that wait for something that can be named come first.
const MOST: usize = 24;

/// How many words are kept of the command that holds a lock, which may be anybody's: `go build`.
const HOLDER: usize = 2;

/// Whether the arguments of a program tell what go waits for: those of go, of version control and of what
/// asks for credentials.
fn is_told(name: &str) -> bool {
    let begins = ["go", "git", "ssh", "hg", "svn", "bzr", "fossil"];
    begins.iter().any(|begin| name.starts_with(begin))
        || name.contains("askpass")
        || name.contains("credential")
}

/// A process works if it uses a processor for as much of the time, in thousandths.
const WORKS: u32 = 100;

/// It works as well if it reads and writes so many bytes a second: who gets data waits for nobody.
const MOVES: u64 = 64 << 10;

/// A process that has no command line for longer has taken it away.
const SETTLED: Duration = Duration::from_secs(1);

/// How many words of a command line are kept, and how many characters of a word.
const WORDS: usize = 8;
const LETTERS: usize = 80;

/// `USER_HZ`: the ticks of `/proc`, in a second, on every platform of Linux but Alpha.
const TICKS: u64 = 100;

/// The number of read(2).
const READ: u64 = if cfg!(target_arch = "x86_64") {
    0
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)) {
    63
} else {
    3
};

/// The functions of the kernel in which a process waits that reads from a terminal.
const READS_TERMINAL: [&str; 2] = ["n_tty_read", "wait_woken"];

/// Looks at the processes, again and again.
#[derive(Debug)]
pub(super) struct Looker {
    proc: Proc,
    own: u32,
    members: Members,
    seen: HashMap<u32, Seen>,
    /// Where the proxy listens: who waits for it waits for a request that is known. `None` where all
    /// connections lead to it but those on loopback.
    proxy: Option<SocketAddr>,
    redactor: Redactor,
}

/// What is known of a process since the last look.
#[derive(Debug)]
struct Seen {
    start_ticks: u64,
    comm: String,
    title: Title,
    cpu_ticks: u64,
    moved: u64,
    at: Timestamp,
    /// The thread that waited for a disk.
    blocked: Option<u32>,
}

/// What a process is called.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Title {
    name: String,
    command: Vec<String>,
    /// One of the tools that `go build` runs by the dozen.
    is_tool: bool,
    /// There was no command line, which may come yet.
    is_guess: bool,
}

/// The tools that cgo runs; those of Go's own lie in a folder of their own.
const COMPILERS: [&str; 10] = [
    "gcc", "g++", "cc", "c++", "cc1", "cc1plus", "as", "collect2", "ld", "clang",
];

impl Looker {
    pub(super) fn new(proc: Proc, own: u32, proxy: Option<SocketAddr>, redactor: Redactor) -> Self {
        Self {
            proc,
            own,
            members: Members::new(own),
            seen: HashMap::new(),
            proxy,
            redactor,
        }
    }

    /// What the processes do at `now`, as far as there is time to look at them.
    pub(super) fn look(&mut self, now: Timestamp, budget: &Budget) -> Sample {
        let Found {
            members,
            mut is_whole,
        } = self.members.look(&self.proc, budget);
        self.seen.retain(|pid, seen| {
            let start = members.get(pid).map(|member| member.stat.start_ticks);
            start == Some(seen.start_ticks)
        });
        let scene = Scene {
            parents: members.values().map(|member| member.stat.parent).collect(),
            wanted: match members.is_empty() {
                true => HashMap::new(),
                false => locks::wanted(&self.proc.locks()),
            },
            since_boot: since_boot(),
            now,
            sockets: RefCell::default(),
        };
        let mut order: Vec<(&u32, &Member)> = members.iter().collect();
        // Those that keep others waiting are among these.
        order.sort_by_key(|(_, member)| !is_told(&member.stat.comm));
        let mut processes = Vec::new();
        for (&pid, member) in order {
            if budget.is_spent() {
                is_whole = false;
                break;
            }
            processes.extend(self.process(pid, member, &scene));
        }
        if !budget.is_spent() {
            self.find_pipes(&members, &mut processes);
            self.adopt_writers(&processes, budget);
        }
        processes.sort_by_key(|(process, _)| process.pid);
        let mut sample = shortened(grouped(processes));
        sample.is_part = !is_whole;
        sample
    }

    /// A process, and whether it is one of many tools; `None` for one that is about to run another
    /// program.
    fn process(&mut self, pid: u32, member: &Member, scene: &Scene) -> Option<(Process, bool)> {
        let stat = &member.stat;
        let title = self.title(pid, stat, scene)?;
        let permille = self.cpu_permille(pid, stat, scene);
        let blocked = self.blocked(pid, stat, &title, permille);
        let io = match title.is_tool {
            true => Io::default(),
            false => self.proc.io(pid),
        };
        let descriptors = match title.is_tool {
            true => Vec::new(),
            false => self.proc.descriptors(pid),
        };
        let moved = io.read.saturating_add(io.written);
        let works = permille >= WORKS || self.moves(pid, moved, scene.now);
        let state = self.state(pid, stat, works, blocked, &descriptors, scene);
        let file = (title.name == "go").then(|| cached_file(&descriptors));
        self.seen.insert(
            pid,
            Seen {
                start_ticks: stat.start_ticks,
                comm: match title.is_guess {
                    true => String::new(),
                    false => stat.comm.clone(),
                },
                title: title.clone(),
                cpu_ticks: stat.cpu_ticks,
                moved,
                at: scene.now,
                blocked: blocked.map(|(thread, _)| thread),
            },
        );
        let process = Process {
            pid,
            parent: stat.parent,
            name: title.name,
            command: title.command,
            count: 1,
            state,
            file: file.flatten().map(|file| self.redactor.text(&file)),
            keeps_pipe_of: None,
            cpu_permille: permille,
            cpu_us: stat.cpu_ticks * 1_000_000 / TICKS,
            read_bytes: io.read,
            written_bytes: io.written,
        };
        Some((process, title.is_tool))
    }

    /// What it is called, which is read once, and again when it runs another program.
    fn title(&self, pid: u32, stat: &Stat, scene: &Scene) -> Option<Title> {
        match self.seen.get(&pid) {
            Some(seen) if seen.comm == stat.comm => Some(seen.title.clone()),
            _ => {
                let mut argv = self.proc.command_line(pid);
                // Another process may have its number by now.
                let start = self.proc.stat(pid)?.start_ticks;
                if start != stat.start_ticks {
                    return None;
                }
                // For a moment there is none while a process begins to run a program; some take it away.
                let is_old = Self::age(stat, scene) >= SETTLED;
                let is_guess = argv.is_empty() && is_old && !stat.comm.is_empty();
                if is_guess {
                    argv.push(stat.comm.clone().into());
                }
                let program = Path::new(argv.first()?);
                let name = name(&stat.comm, program);
                let is_tool = is_gos_tool(program) || COMPILERS.contains(&&*name);
                // What a program of the user's is given is nobody's business.
                let command = match (is_tool, is_told(&name)) {
                    (true, _) => Vec::new(),
                    (false, true) => self.command(&argv),
                    (false, false) => self.program(&argv),
                };
                Some(Title {
                    name: self.redactor.text(&name),
                    command,
                    is_tool,
                    is_guess,
                })
            }
        }
    }

    /// A program of which only the name is told, and whether git asks it for credentials
    /// (gitcredentials(7): the last word is the operation).
    fn program<S: AsRef<OsStr>>(&self, argv: &[S]) -> Vec<String> {
        let mut words = self.command(&argv[..argv.len().min(1)]);
        let last = argv.last().map(|word| word.as_ref().as_encoded_bytes());
        if last.is_some_and(|last| last == b"get" || last.ends_with(b" get")) {
            words.extend(["…".to_owned(), "get".to_owned()]);
        }
        words
    }

    /// A command line, redacted as a whole and then cut.
    fn command<S: AsRef<OsStr>>(&self, argv: &[S]) -> Vec<String> {
        let words = self.redactor.argv(argv);
        let more = words.len() > WORDS;
        let words = words.into_iter().take(WORDS);
        let mut words: Vec<String> = words.map(cut).collect();
        if more {
            words.push("…".into());
        }
        words
    }

    fn cpu_permille(&self, pid: u32, stat: &Stat, scene: &Scene) -> u32 {
        let (ticks, seconds) = match self.seen.get(&pid) {
            Some(seen) => {
                let ticks = stat.cpu_ticks.saturating_sub(seen.cpu_ticks);
                (ticks, scene.now.since(seen.at).as_secs_f64())
            }
            None => (stat.cpu_ticks, Self::age(stat, scene).as_secs_f64()),
        };
        // A tick is the least that can be told.
        let seconds = seconds.max(1.0 / TICKS as f64);
        (ticks as f64 / TICKS as f64 / seconds * 1000.0) as u32
    }

    /// For how long it has been there.
    fn age(stat: &Stat, scene: &Scene) -> Duration {
        let millis = stat.start_ticks.saturating_mul(1000 / TICKS);
        let started = Duration::from_millis(millis);
        scene.since_boot.saturating_sub(started)
    }

    /// Whether it has read and written much since the last look.
    fn moves(&self, pid: u32, moved: u64, now: Timestamp) -> bool {
        self.seen.get(&pid).is_some_and(|seen| {
            let bytes = moved.saturating_sub(seen.moved);
            let us = now.micros_since(seen.at).max(1);
            bytes.saturating_mul(1_000_000) / us >= MOVES
        })
    }

    /// The thread that waits for a disk, and whether it did at the last look too: each process waits
    /// for one now and then.
    fn blocked(&self, pid: u32, stat: &Stat, title: &Title, permille: u32) -> Option<(u32, bool)> {
        if permille >= WORKS || title.is_tool {
            return None;
        }
        let waits = |thread: &u32| self.proc.thread_state(pid, *thread) == Some('D');
        let thread = match stat.state {
            'D' => Some(pid),
            _ => self.proc.threads(pid).into_iter().find(waits),
        };
        let before = self.seen.get(&pid).and_then(|seen| seen.blocked);
        thread.map(|thread| (thread, before == Some(thread)))
    }

    fn state(
        &self,
        pid: u32,
        stat: &Stat,
        works: bool,
        blocked: Option<(u32, bool)>,
        descriptors: &[Descriptor],
        scene: &Scene,
    ) -> ProcessState {
        if matches!(stat.state, 'T' | 't') {
            return ProcessState::Stopped;
        }
        if let Some(wanted) = scene.wanted.get(&pid) {
            let lock = self.lock(pid, wanted);
            return ProcessState::WaitingLock { lock };
        }
        if works || stat.state == 'R' {
            return ProcessState::Running;
        }
        if let Some(terminal) = self.terminal(pid, stat) {
            return ProcessState::ReadsTerminal { terminal };
        }
        if let Some((thread, still)) = blocked {
            let channel = self.proc.channel(pid, thread);
            // Of a disk a process waits now and then, of a scanner at each file or never.
            if still || is_of_scanner(&channel) {
                return ProcessState::WaitsDisk { channel };
            }
        }
        if let Some(socket) = self.peer(pid, descriptors, scene) {
            return ProcessState::WaitsNetwork {
                address: socket.peer.to_string(),
                connecting: socket.is_connecting,
            };
        }
        match scene.parents.contains(&pid) {
            true => ProcessState::WaitsChild,
            false => ProcessState::Sleeping,
        }
    }

    fn lock(&self, pid: u32, wanted: &Wanted) -> Lock {
        let path = self.proc.path_of(pid, wanted.file);
        let path = path.map(|path| self.redactor.text(&path.to_string_lossy()));
        let holder = wanted.holder.map(|pid| Holder {
            pid,
            command: {
                let argv = self.proc.command_line(pid);
                self.command(&argv[..argv.len().min(HOLDER)])
            },
        });
        Lock { path, holder }
    }

    /// The terminal that one of its threads reads from.
    fn terminal(&self, pid: u32, stat: &Stat) -> Option<String> {
        if !stat.has_terminal {
            return None;
        }
        let threads = self.proc.threads(pid).into_iter();
        threads.into_iter().find_map(|thread| {
            let descriptor = match self.proc.call(pid, thread) {
                Some((READ, descriptor)) => u32::try_from(descriptor).ok()?,
                Some(_) => return None,
                // The call may not be read.
                None => {
                    let channel = self.proc.channel(pid, thread);
                    READS_TERMINAL.contains(&&*channel).then_some(0)?
                }
            };
            let target = self.proc.descriptor(pid, descriptor)?;
            let target = target.to_str()?;
            let is_terminal = ["/dev/tty", "/dev/pts/", "/dev/console"]
                .iter()
                .any(|terminal| target.starts_with(terminal));
            is_terminal.then(|| target.to_owned())
        })
    }

    /// The peer that it waits for: one that does not answer before one that did.
    fn peer(&self, pid: u32, descriptors: &[Descriptor], scene: &Scene) -> Option<Socket> {
        let inodes = descriptors.iter().filter_map(|one| one.inode("socket"));
        let inodes: HashSet<u64> = inodes.collect();
        if inodes.is_empty() {
            return None;
        }
        let find = |sockets: &[Socket]| {
            let own = sockets
                .iter()
                .filter(|socket| inodes.contains(&socket.inode));
            let others = own.filter(|socket| !self.is_proxy(socket.peer));
            others.max_by_key(|socket| socket.is_connecting).copied()
        };
        let Some(network) = self.proc.network(pid) else {
            return find(&self.proc.sockets(pid));
        };
        // All processes of a network have the same tables.
        let mut sockets = scene.sockets.borrow_mut();
        let sockets = sockets.entry(network);
        find(sockets.or_insert_with(|| self.proc.sockets(pid)))
    }

    fn is_proxy(&self, peer: SocketAddr) -> bool {
        let Some(proxy) = self.proxy else {
            return !peer.ip().is_loopback();
        };
        let ip = proxy.ip();
        peer.port() == proxy.port() && (ip.is_unspecified() || ip == peer.ip())
    }

    /// Finds those that have left the tree and keep a pipe open that an idle go command has made and reads
    /// from.
    fn find_pipes(&self, members: &BTreeMap<u32, Member>, processes: &mut [(Process, bool)]) {
        let is_detached = |process: &Process| members[&process.pid].is_detached;
        if !processes.iter().any(|(process, _)| is_detached(process)) {
            return;
        }
        let tree = || {
            let all = processes.iter().map(|(process, _)| process);
            all.filter(|process| !is_detached(process))
        };
        let mut read = self.made_by_idle_go(tree());
        // What another member writes to may come from that one.
        for process in tree() {
            for (_, written) in self.proc.pipes(process.pid, End::Write) {
                read.remove(&written);
            }
        }
        for (process, _) in processes {
            if is_detached(process) {
                let written = self.proc.pipes(process.pid, End::Write);
                let mut readers = written.iter().filter_map(|(_, pipe)| read.get(pipe));
                process.keeps_pipe_of = readers.next().copied();
            }
        }
    }

    /// Makes members of the processes that keep a pipe open which an idle go command has made and reads
    /// from: of an ssh master nothing else tells that it is the command's, since its title lies over its
    /// environment.
    fn adopt_writers(&mut self, processes: &[(Process, bool)], budget: &Budget) {
        let mut read = self.made_by_idle_go(processes.iter().map(|(process, _)| process));
        if read.is_empty() {
            return;
        }
        for (process, _) in processes {
            for (_, written) in self.proc.pipes(process.pid, End::Write) {
                read.remove(&written);
            }
        }
        if read.is_empty() {
            return;
        }
        let proc = &self.proc;
        self.members.adopt(proc, budget, |pid| {
            let written = proc.pipes(pid, End::Write);
            written.iter().any(|(_, pipe)| read.contains_key(pipe))
        });
    }

    /// The pipes that a go command has open to read from, does nothing, and has made: the standard streams,
    /// and what modtape has open too (the jobs of `make -j`), were given to it. Each with the process.
    fn made_by_idle_go<'p>(
        &self,
        processes: impl Iterator<Item = &'p Process>,
    ) -> HashMap<u64, u32> {
        let idle = processes
            .filter(|process| process.name == "go" && process.state == ProcessState::Sleeping);
        let mut made: HashMap<u64, u32> = idle
            .flat_map(|process| {
                let pipes = self.proc.pipes(process.pid, End::Read).into_iter();
                let pipes = pipes.filter(|(number, _)| *number > 2);
                pipes.map(|(_, pipe)| (pipe, process.pid))
            })
            .collect();
        if !made.is_empty() {
            for (_, given) in self.proc.pipes(self.own, End::Read) {
                made.remove(&given);
            }
        }
        made
    }
}

/// What is the same for all processes of one look.
struct Scene {
    parents: HashSet<u32>,
    wanted: HashMap<u32, Wanted>,
    since_boot: Duration,
    now: Timestamp,
    /// The sockets of each network that was looked at.
    sockets: RefCell<HashMap<PathBuf, Vec<Socket>>>,
}

/// The program's file name: the kernel knows 15 bytes of it, and the first argument may be anything.
fn name(comm: &str, program: &Path) -> String {
    let file = program.file_name().map(OsStr::to_string_lossy);
    match file {
        Some(file) if !comm.is_empty() && file.starts_with(comm) => file.into_owned(),
        _ => comm.to_owned(),
    }
}

/// `$GOROOT/pkg/tool/linux_amd64/compile`
fn is_gos_tool(program: &Path) -> bool {
    let mut folders = program.ancestors().skip(2);
    folders
        .next()
        .is_some_and(|tool| tool.ends_with("pkg/tool"))
}

/// The start of a word.
fn cut(mut word: String) -> String {
    if let Some((at, _)) = word.char_indices().nth(LETTERS) {
        word.truncate(at);
        word.push('…');
    }
    word
}

/// The file of the module cache that is unpacked or read: a zip, else a file in the folder of a module's
/// version.
fn cached_file(descriptors: &[Descriptor]) -> Option<String> {
    let files = descriptors.iter().filter_map(|one| one.target.to_str());
    let files: Vec<&str> = files.filter(|file| file.starts_with('/')).collect();
    let is_zip = |file: &&&str| file.contains("/cache/download/") && file.contains(".zip");
    let is_unpacked = |file: &&&str| {
        let mut folders = file.split('/').rev().skip(1);
        folders.any(|folder| folder.contains("@v"))
    };
    let zip = files.iter().find(is_zip);
    let file = zip.or_else(|| {
        let files = files.iter().filter(|file| !file.contains("/@v/"));
        files.into_iter().find(is_unpacked)
    });
    file.map(|file| (*file).to_owned())
}

/// One for all processes that run the same tool of Go's.
fn grouped(processes: Vec<(Process, bool)>) -> Vec<Process> {
    let mut grouped: Vec<Process> = Vec::with_capacity(processes.len());
    for (process, is_tool) in processes {
        let is_same = |other: &&mut Process| other.command.is_empty() && other.name == process.name;
        match grouped.iter_mut().find(is_same).filter(|_| is_tool) {
            None => grouped.push(Process {
                // Those of a group come and go, and what they sum up to means nothing.
                cpu_us: if is_tool { 0 } else { process.cpu_us },
                ..process
            }),
            Some(group) => {
                group.count += 1;
                group.cpu_permille = group.cpu_permille.saturating_add(process.cpu_permille);
                if process.state == ProcessState::Running {
                    group.state = ProcessState::Running;
                }
            }
        }
    }
    grouped
}

/// The processes that tell most, by number.
fn shortened(mut processes: Vec<Process>) -> Sample {
    let rank = |process: &Process| match process.state {
        _ if process.keeps_pipe_of.is_some() => 0,
        ProcessState::WaitingLock { .. }
        | ProcessState::ReadsTerminal { .. }
        | ProcessState::Stopped => 0,
        ProcessState::Running
        | ProcessState::WaitsNetwork { .. }
        | ProcessState::WaitsDisk { .. } => 1,
        ProcessState::WaitsChild | ProcessState::Sleeping => 2,
    };
    let more = processes.len().saturating_sub(MOST);
    if more > 0 {
        processes.sort_by_key(|process| (rank(process), process.pid));
        processes.truncate(MOST);
        processes.sort_by_key(|process| process.pid);
    }
    Sample {
        processes,
        more: u32::try_from(more).unwrap_or(u32::MAX),
        is_part: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_programs_whatever_it_calls_itself() {
        for (comm, program, expected) in [
            ("go", "/usr/lib/go/bin/go", "go"),
            (
                "git-remote-http",
                "/usr/lib/git-core/git-remote-https",
                "git-remote-https",
            ),
            ("ssh", "ssh: /home/ana/.ssh/m [mux]", "ssh"),
            ("helper", "/bin/sh", "helper"),
        ] {
            assert_eq!(name(comm, Path::new(program)), expected);
        }
    }

    #[test]
    fn gos_tools_are_known_by_their_folder() {
        for (program, expected) in [
            ("/usr/lib/go-1.24/pkg/tool/linux_amd64/compile", true),
            ("/usr/lib/go-1.24/bin/go", false),
            ("compile", false),
            ("/pkg/tool/x", false),
        ] {
            assert_eq!(is_gos_tool(Path::new(program)), expected, "{program}");
        }
    }

    #[test]
    fn the_file_that_is_unpacked_is_found_among_others() {
        let file = |paths: &[&str]| {
            let paths = paths.iter().zip(3..);
            let descriptors = paths.map(|(path, number)| Descriptor {
                number,
                target: path.into(),
            });
            cached_file(&descriptors.collect::<Vec<_>>())
        };
        let lock = "/home/ana/go/pkg/mod/cache/download/m/@v/v1.0.0.lock";
        let zip = "/home/ana/go/pkg/mod/cache/download/m/@v/v1.0.0.zip";
        let source = "/home/ana/go/pkg/mod/m@v1.0.0/internal/a.go";
        let own = "/home/ana/m/a@b/main.go";
        assert_eq!(file(&["socket:[7]", lock, own]), None);
        assert_eq!(file(&[own, source]).as_deref(), Some(source));
        assert_eq!(file(&[lock, source, zip]).as_deref(), Some(zip));
    }

    #[test]
    fn a_long_word_is_cut_between_its_letters() {
        assert_eq!(cut("é".repeat(LETTERS)), "é".repeat(LETTERS));
        let long = cut("é".repeat(LETTERS + 1));
        assert_eq!(long, "é".repeat(LETTERS) + "…");
    }
}
