//! Every reading verb over one recording, and what must not have happened.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::support::{Output, Sandbox, run, tested};
use super::forgery::{Craft, URL};
use super::scripts::{asked, shells};

/// A row of a table: a name and how the recording is made hostile.
pub type Row = (&'static str, fn(Craft) -> PathBuf);

/// For a machine that does a hundred other things; `--cpu` is the limit that counts.
const LIMIT: Duration = Duration::from_secs(120);

/// What a command may take: seconds of CPU (a debug build is ten times slower than a release), and
/// bytes of memory of its own.
const CPU_SECONDS: u32 = 40;
const MEMORY: u32 = 64 << 20;

/// The verbs that read; `hostile` is the recording, and `sound` the one that it was made of.
const VERBS: [&[&str]; 30] = [
    &["ls", "hostile"],
    &["ls", "hostile", "--sort", "host", "--color", "always"],
    &["ls", "hostile", "--json"],
    &["report", "hostile", "--color", "always"],
    &["report", "hostile", "--format", "markdown"],
    &["report", "hostile", "--format", "json"],
    &["show", "1", "hostile"],
    &["show", "1", "hostile", "--headers"],
    &["show", "1", "hostile", "--body"],
    &["show", "1", "hostile", "--curl"],
    &["show", "1", "hostile", "--json"],
    &["why", "golang.org/x/net", "hostile"],
    &["why", "golang.org/x/net", "hostile", "--json"],
    &["diff", "sound", "hostile", "--color", "always"],
    &["diff", "hostile", "sound", "--json"],
    &["verify", "hostile", "--strict"],
    &["verify", "hostile", "--json"],
    &["export", "har", "hostile"],
    &["export", "har", "hostile", "--har-bodies", "all"],
    &["export", "pcapng", "hostile", "--pcap-bodies", "all"],
    &[
        "export",
        "ndjson",
        "hostile",
        "-f",
        "-text:\"nothing\" id:>=0",
    ],
    &["export", "csv", "hostile"],
    &["export", "curl", "hostile"],
    &["export", "trace", "hostile"],
    &["export", "otlp", "hostile", "-o", "-"],
    // Where the sandbox is not looked at: all else would show.
    &["export", "goproxy", "hostile", "-o", "run/tree"],
    &["recordings", "list"],
    &["recordings", "info", "hostile"],
    &["recordings", "info", "hostile", "--json"],
    &[
        "replay",
        "hostile",
        "--",
        env!("CARGO_BIN_EXE_modtape"),
        "fetch",
        URL,
    ],
];

/// Runs every verb over every row's recording and tells of all that went wrong.
pub fn judge(rows: &[Row]) {
    let mut faults = Vec::new();
    for (name, make) in rows {
        let sandbox = Sandbox::new();
        make(Craft::new(&sandbox.join("recordings/hostile")));
        Craft::new(&sandbox.join("recordings/sound")).write();
        fs::create_dir(sandbox.join("bin")).expect("a folder");
        let before = snapshot(sandbox.path());
        for verb in VERBS {
            let output = run(command(&sandbox, verb), LIMIT);
            faults.extend(fault(verb, &output).map(|fault| format!("{name}: {verb:?}: {fault}")));
            if verb.starts_with(&["export", "curl"]) {
                // What it does beyond asking shows in the sandbox.
                for shell in shells() {
                    asked(&sandbox, shell, &output.stdout);
                }
            }
        }
        let after = snapshot(sandbox.path());
        if before != after {
            let news = after.iter().filter(|entry| !before.contains(entry));
            faults.push(format!("{name}: changed: {:?}", news.collect::<Vec<_>>()));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// modtape with bounds; without a go command, which would be asked for its settings each time.
pub fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    // By its path: it is looked for in the PATH that the command gets.
    let mut command = sandbox.command("/usr/bin/prlimit");
    let cpu = format!("--cpu={CPU_SECONDS}:{CPU_SECONDS}");
    command
        .args([&cpu, &format!("--data={MEMORY}:{MEMORY}"), "--core=0"])
        .arg(tested())
        .args(args)
        .current_dir(sandbox.path())
        .env("PATH", sandbox.join("bin"));
    command
}

/// What is wrong with how a command ended and what it said.
pub fn fault(args: &[&str], output: &Output) -> Option<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    if !status
        .code()
        .is_some_and(|code| matches!(code, 0..=3 | 125))
    {
        return Some(format!("{status}: {}", cut(stderr)));
    }
    if stderr.contains("panicked") {
        return Some(cut(stderr));
    }
    let has = |flag| args.contains(&flag);
    let is_obeyed: fn(char) -> bool = match () {
        // As received, and a test's stdout is no terminal.
        () if has("--body") || has("pcapng") || has("csv") => |_| false,
        // A file format: JSON escapes what is below U+0020.
        () if has("har") => |c| c < ' ' && c != '\n',
        () => obeyed,
    };
    let [stdout, stderr] = [stdout, stderr].map(|text| without_colours(text));
    let found = stdout
        .chars()
        .find(|c| is_obeyed(*c))
        .or_else(|| stderr.chars().find(|c| obeyed(*c)));
    found.map(|c| format!("U+{:04X} reaches the terminal", u32::from(c)))
}

fn cut(text: &str) -> String {
    text.chars().take(600).collect()
}

/// What a terminal obeys or what turns the direction of text: C0 but for line feeds and tabs, DEL,
/// C1, Unicode Bidi_Control, line separators.
fn obeyed(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn without_colours(text: &str) -> String {
    let ours = ["[0m", "[1m", "[2m", "[31m", "[33m"];
    ours.iter().fold(text.to_owned(), |text, code| {
        text.replace(&format!("\u{1b}{code}"), "")
    })
}

/// Every path below a folder with what one sees of it: type and mode, length, time of change.
fn snapshot(dir: &Path) -> Vec<(PathBuf, u32, u64, i64, i64)> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(path) = pending.pop() {
        if path == dir.join("run") {
            // What is running says so there, as it should.
            continue;
        }
        let kind = fs::symlink_metadata(&path).expect("it was just listed");
        if kind.is_dir() {
            let entries = fs::read_dir(&path).expect("our own folder");
            pending.extend(entries.map(|entry| entry.expect("our own folder").path()));
        }
        // Temporary files come and go, and leave a time behind on their folder.
        let changed = if path == dir.join("tmp") {
            (0, 0)
        } else {
            (kind.mtime(), kind.mtime_nsec())
        };
        let len = if kind.is_dir() { 0 } else { kind.len() };
        found.push((path, kind.mode(), len, changed.0, changed.1));
    }
    found.sort();
    found
}
