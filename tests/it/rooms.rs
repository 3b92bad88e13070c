//! The rooms of `src` and the walls between them: what neither the compiler nor clippy can judge.
//!
//! A room is a top-level module. It imports only from rooms on lower lines of [`ORDER`], so that it
//! can be read, tested and replaced without what lies above. Each rule is a function from a source file
//! to complaints; the sources keep it, and a made-up line breaks it.
//!
//! The scan knows lines, not syntax: a line that is a comment does not count, and what only tests see
//! is a file `tests.rs`, a folder `tests/`, or what follows a `#[cfg(test)]` at the left margin.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest line first. None imports from its own line or a higher one.
///
/// `hostile` is there for tests and fuzz targets only.
const ORDER: [&[&str]; 11] = [
    &["hostile"],
    &[
        "clock", "shell", "files", "words", "gomod", "git", "tls", "cli",
    ],
    &["exchange", "sumdb", "netlink"],
    &["sockets", "redact", "coding", "ca"],
    &["recording", "capture", "filter"],
    &["diagnose", "catalog"],
    &[
        "upstream",
        "replay",
        "export",
        "import",
        "child",
        "netns",
        "telemetry",
    ],
    &["proxy", "objects", "report"],
    &["serve", "terminal"],
    &["commands"],
    &["main"],
];

/// The rooms that read the environment.
const READS_ENVIRONMENT: [&str; 3] = ["terminal", "commands", "main"];

/// The rooms that compute and do nothing else; and `replay`, which holds no dialer.
const PURE: [&str; 13] = [
    "shell", "words", "gomod", "git", "sumdb", "exchange", "coding", "redact", "filter", "export",
    "diagnose", "replay", "catalog",
];

/// What opens a socket or looks up a name: tokio, the types of `std::net` and `std::os::unix::net`.
const NETWORK: [&str; 9] = [
    "tokio",
    "TcpStream",
    "TcpListener",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "lookup_host",
    "ToSocketAddrs",
];

/// A source file.
struct Source {
    /// Relative to the project's root.
    path: String,
    text: String,
}

impl Source {
    /// The room that it belongs to; `lib.rs` belongs to none.
    fn room(&self) -> Option<&str> {
        let room = self.path.strip_prefix("src/")?.split('/').next()?;
        let room = room.strip_suffix(".rs").unwrap_or(room);
        (room != "lib").then_some(room)
    }

    /// How many modules deep the file's own module lies; a room's is 1.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').skip(1);
        parts.filter(|part| *part != "mod.rs").count()
    }

    /// Its lines of code.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines();
        lines.filter(|line| !line.trim_start().starts_with("//"))
    }

    /// Its lines of code, without those that only tests see.
    fn shipped(&self) -> impl Iterator<Item = &str> {
        let is_test = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let lines = self.lines().take_while(|line| *line != "#[cfg(test)]");
        lines.filter(move |_| !is_test)
    }
}

fn level(room: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&room))
}

/// The identifiers of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// A room imports only from lower lines, and from itself.
fn import_complaints(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    for line in source.lines() {
        for (at, path) in line.match_indices("crate::") {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let after = &line[at + path.len()..];
            let imported = words(after).next().filter(|word| after.starts_with(word));
            let levels = (imported.and_then(level), level(room));
            let is_lower = matches!(levels, (Some(imported), Some(own)) if imported < own);
            if imported != Some(room) && !is_lower {
                let imported = imported.unwrap_or(after);
                complaints.push(format!("`{room}` may not import `{imported}`"));
            }
        }
        // An indented line may lie in one more module: `mod tests`.
        let depth = source.depth() + usize::from(line.starts_with(' '));
        if line.contains(&"super::".repeat(depth)) {
            complaints.push(format!("`{room}` is left through `super`: write `crate::`"));
        }
    }
    complaints
}

/// Only `terminal`, `commands` and `main` read the environment.
fn environment_complaints(source: &Source) -> Vec<String> {
    let is_free = |room: &str| READS_ENVIRONMENT.contains(&room) || room == "hostile";
    if source.room().is_none_or(is_free) {
        return Vec::new();
    }
    let reads = source.shipped().filter(|line| line.contains("env::var"));
    reads
        .map(|line| format!("reads the environment: {}", line.trim()))
        .collect()
}

/// The pure rooms know neither tokio nor a socket, in their tests either.
fn purity_complaints(source: &Source) -> Vec<String> {
    if !source.room().is_some_and(|room| PURE.contains(&room)) {
        return Vec::new();
    }
    let found = source.lines().flat_map(words);
    let found = found.filter(|word| NETWORK.contains(word));
    found
        .map(|word| format!("`{word}` in a pure room"))
        .collect()
}

/// A test owns its world: what starts programs gives them an environment, and only the support does.
fn program_complaints(source: &Source) -> Vec<String> {
    let is_free = source.path.starts_with("tests/it/support/") || source.path.ends_with("rooms.rs");
    let starts = source.lines().any(|line| line.contains("Command::new("));
    let told = "`support::program` starts programs with an environment of their own";
    (starts && !is_free)
        .then(|| told.to_owned())
        .into_iter()
        .collect()
}

/// All Rust files below a folder of the project.
fn sources_below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = vec![root.join(folder)];
    let mut sources = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the project's folders are readable");
            pending.extend(entries.map(|entry| entry.expect("so are their entries").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the project's sources are UTF-8");
            let inside = path.strip_prefix(root).expect("it is below the root");
            let path = inside.to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
    assert!(!sources.is_empty(), "no sources in {folder}");
    sources
}

/// Holds a rule against all sources below a folder.
#[track_caller]
fn assert_kept(rule: fn(&Source) -> Vec<String>, folder: &str) {
    let mut complaints = Vec::new();
    for source in sources_below(folder) {
        let found = rule(&source).into_iter();
        complaints.extend(found.map(|what| format!("{}: {what}", source.path)));
    }
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn a_room_imports_only_from_lower_lines() {
    assert_kept(import_complaints, "src");
}

#[test]
fn only_terminal_commands_and_main_read_the_environment() {
    assert_kept(environment_complaints, "src");
}

#[test]
fn pure_rooms_know_neither_tokio_nor_sockets() {
    assert_kept(purity_complaints, "src");
}

#[test]
fn tests_give_every_program_an_environment() {
    assert_kept(program_complaints, "tests/it");
}

#[test]
fn every_room_is_in_the_order_and_on_both_maps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
    let (lib, architecture) = (read("src/lib.rs"), read("ARCHITECTURE.md"));
    let is_row = |line: &&str| line.starts_with("| ");
    let rows: Vec<&str> = architecture.lines().filter(is_row).collect();
    for source in sources_below("src") {
        let Some(room) = source.room() else { continue };
        let Some(level) = level(room) else {
            panic!("`{room}` has no place in the order of the rooms");
        };
        let name = format!("`{room}`");
        let is_shipped = !matches!(room, "main" | "hostile");
        if is_shipped {
            assert!(lib.contains(&name), "the map in lib.rs lacks {name}");
        }
        let is_on = |row: &&str| row.starts_with(&format!("| {level} |")) && row.contains(&name);
        let is_mapped = !is_shipped || rows.iter().any(is_on);
        assert!(is_mapped, "line {level} of ARCHITECTURE.md lacks {name}");
    }
}

/// A rule that cannot complain proves nothing.
#[test]
fn each_rule_finds_what_breaks_it() {
    type Rule = fn(&Source) -> Vec<String>;
    let (import, purity): (Rule, Rule) = (import_complaints, purity_complaints);
    let environment: Rule = environment_complaints;
    for (rule, path, text, is_broken) in [
        (import, "src/ca/mod.rs", "use crate::clock::Clock;", false),
        (import, "src/ca/mod.rs", "use crate::ca::Root;", false),
        (import, "src/ca/mod.rs", "// crate::proxy", false),
        (import, "src/ca/mod.rs", "my_crate::proxy()", false),
        (import, "src/exchange.rs", "crate::proxy::serve()", true),
        (import, "src/replay/mod.rs", "use crate::upstream::X;", true),
        (
            import,
            "src/replay/mod.rs",
            "use crate::{clock, tls};",
            true,
        ),
        (import, "src/replay/mod.rs", "use crate::*;", true),
        (import, "src/replay/mod.rs", "$crate::proxy::x()", true),
        (import, "src/tls.rs", "use super::proxy;", true),
        (
            import,
            "src/tls.rs",
            "mod tests {\n    use super::x;",
            false,
        ),
        (import, "src/tls/verify.rs", "use super::x;", false),
        (import, "src/tls/verify.rs", "use super::super::ca;", true),
        (
            import,
            "src/tls.rs",
            "mod t {\n    use super::super::ca;",
            true,
        ),
        (
            environment,
            "src/child/mod.rs",
            "std::env::var_os(name)",
            true,
        ),
        (
            environment,
            "src/child/mod.rs",
            "#[cfg(test)]\nenv::var(x)",
            false,
        ),
        (environment, "src/commands/env.rs", "env::var(name)", false),
        (
            environment,
            "src/child/mod.rs",
            "env!(name); env::consts::OS",
            false,
        ),
        (
            purity,
            "src/gomod/route.rs",
            "use std::net::TcpStream;",
            true,
        ),
        (
            purity,
            "src/replay/mod.rs",
            "tokio::net::lookup_host()",
            true,
        ),
        (purity, "src/gomod/route.rs", "std::net::SocketAddr", false),
        (purity, "src/proxy/mod.rs", "tokio::net::TcpStream", false),
        (
            program_complaints,
            "tests/it/x.rs",
            "std::process::Command::new(\"curl\")",
            true,
        ),
    ] {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(!rule(&source).is_empty(), is_broken, "{path}: {text}");
    }
}
