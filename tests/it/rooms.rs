//! The rooms of `src` and the walls between them.
//!
//! A room is a top-level module. It imports only from rooms on lower lines of [`ORDER`], so that it
//! can be read, tested and replaced without what lies above. Each rule is a function from sources to
//! complaints: one test holds the real sources against it, others hold made-up ones that break it.

mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use tokens::{group_length, shipped_tokens, tokens};

/// The rooms, lowest line first. None imports from its own line or a higher one.
///
/// `hostile` is there for tests and fuzz targets only.
const ORDER: [&[&str]; 10] = [
    &["hostile"],
    &["clock", "shell", "files", "gomod", "tls", "cli"],
    &["exchange"],
    &["redact", "sumdb", "ca"],
    &["recording", "capture", "filter"],
    &[
        "upstream",
        "replay",
        "export",
        "import",
        "diagnose",
        "child",
        "telemetry",
    ],
    &["proxy", "report"],
    &["terminal"],
    &["commands"],
    &["main"],
];

/// The rooms that speak to the terminal and read the environment.
const TALKING: [&str; 3] = ["terminal", "commands", "main"];

/// The rooms that compute and do nothing else.
const PURE: [&str; 8] = [
    "shell", "gomod", "sumdb", "exchange", "redact", "filter", "export", "diagnose",
];

/// The types of `std::net` and `std::os::unix::net` (tokio's have the same names) that open sockets.
const SOCKETS: [&str; 5] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
];

/// A source file, its path relative to the project's root, with `/` between the parts.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The room that it belongs to; `lib.rs` belongs to none.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split('/').next()?;
        let room = room.strip_suffix(".rs").unwrap_or(room);
        (room != "lib").then_some(room)
    }

    /// How many modules deep the file's own module lies; a room's is 1.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').skip(1);
        parts.filter(|part| *part != "mod.rs").count()
    }

    /// Its tokens, without those that only tests see.
    fn shipped(&self) -> Vec<&str> {
        let is_test_file = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        if is_test_file {
            return Vec::new();
        }
        shipped_tokens(&tokens(&self.text))
    }
}

fn level(room: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&room))
}

/// The first parts of all paths that begin at the crate, braces opened.
fn crate_imports<'a>(tokens: &[&'a str], depth: usize) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut braces = 0_usize;
    let mut inline_modules = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => {
                if at >= 2 && tokens[at - 2] == "mod" {
                    inline_modules.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                inline_modules.pop_if(|opened| *opened == braces);
            }
            "crate" if tokens.get(at + 1) == Some(&"::") => {
                found.extend(path_heads(&tokens[at + 2..]));
            }
            "super" if !tokens[..at].ends_with(&["super", "::"]) => {
                let pairs = tokens[at..].chunks_exact(2);
                let steps = pairs.take_while(|pair| *pair == ["super", "::"]).count();
                if steps == depth + inline_modules.len() {
                    found.extend(path_heads(&tokens[at + 2 * steps..]));
                }
            }
            _ => {}
        }
    }
    found
}

/// The first part of the path at the start of `tokens`, or of each path in the braces there.
fn path_heads<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    if tokens.first() != Some(&"{") {
        return tokens.first().copied().into_iter().collect();
    }
    let inside = &tokens[1..group_length(tokens).max(2) - 1];
    let mut heads = Vec::new();
    let (mut at, mut is_head) = (0, true);
    while at < inside.len() {
        if is_head && inside[at] != "self" {
            heads.push(inside[at]);
        }
        is_head = inside[at] == ",";
        at += group_length(&inside[at..]);
    }
    heads
}

/// A room imports only from lower lines, and from itself.
fn import_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let (path, tokens) = (&source.path, tokens(&source.text));
        let Some(room) = source.room() else { continue };
        for imported in crate_imports(&tokens, source.depth()) {
            let is_lower = matches!((level(imported), level(room)), (Some(a), Some(b)) if a < b);
            if imported != room && !is_lower {
                complaints.push(format!("{path}: `{room}` may not import `{imported}`"));
            }
        }
    }
    complaints
}

/// Every room has its place in the order, in `lib.rs` and in the map there, which keeps the order.
fn map_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let lib = sources.iter().find(|source| source.path == "src/lib.rs");
    let lib = lib.map_or("", |source| source.text.as_str());
    let map: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .flat_map(|line| line.split("[`").skip(1))
        .filter_map(|link| Some(link.split_once("`]")?.0))
        .collect();
    let mut rooms: Vec<&str> = sources.iter().filter_map(Source::room).collect();
    rooms.sort_unstable();
    rooms.dedup();
    for room in rooms {
        if level(room).is_none() {
            complaints.push(format!("`{room}` has no place in the order of the rooms"));
        }
        if room != "main" && !map.contains(&room) {
            complaints.push(format!("the map in lib.rs does not name `{room}`"));
        }
        if room != "main" && !has(&tokens(lib), &["mod", room, ";"]) {
            complaints.push(format!("lib.rs does not declare `{room}`"));
        }
    }
    if !map.is_sorted_by_key(|room| level(room)) {
        complaints.push(format!("the map in lib.rs is out of order: {map:?}"));
    }
    complaints
}

/// Only `commands` and `main` print and read the environment.
fn talk_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let tokens = source.shipped();
        if source.room().is_some_and(|room| TALKING.contains(&room)) {
            continue;
        }
        for print in ["print", "println", "eprint", "eprintln", "dbg"] {
            if has(&tokens, &[print, "!"]) {
                complaints.push(format!("{}: `{print}!` outside commands", source.path));
            }
        }
        for (at, pair) in tokens.windows(2).enumerate() {
            let heads = path_heads(&tokens[at + 2..]);
            let reads = |head: &&str| ["var", "var_os", "vars", "vars_os"].contains(head);
            if pair == ["env", "::"] && heads.iter().any(reads) {
                let path = &source.path;
                complaints.push(format!("{path}: the environment is read outside commands"));
            }
        }
    }
    complaints
}

/// The pure rooms know neither tokio nor a socket, in their tests either.
fn purity_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let is_pure = source.room().is_some_and(|room| PURE.contains(&room));
        let tokens = tokens(&source.text);
        for word in SOCKETS.into_iter().chain(["tokio"]) {
            if is_pure && tokens.contains(&word) {
                complaints.push(format!("{}: `{word}` in a pure room", source.path));
            }
        }
    }
    complaints
}

/// A replay cannot touch the network: it names nothing that could dial. (`upstream` as a field of a
/// recorded connection and the phase `Connect` are data.)
fn offline_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.room() == Some("replay"))
    {
        let tokens = tokens(&source.text);
        let is_dialling = [
            "TcpSocket",
            "TcpStream",
            "UdpSocket",
            "UnixStream",
            "lookup_host",
        ]
        .iter()
        .any(|word| tokens.contains(word))
            || has(&tokens, &["upstream", "::"])
            || crate_imports(&tokens, source.depth()).contains(&"upstream")
            || has(&tokens, &["connect", "("])
            || has(&tokens, &["::", "connect"]);
        if is_dialling {
            complaints.push(format!("{}: replay holds no dialer", source.path));
        }
    }
    complaints
}

/// A test owns its world: what starts programs gives them an environment, and only the support does.
fn program_complaints(sources: &[Source]) -> Vec<String> {
    let is_elsewhere = |source: &&Source| !source.path.starts_with("tests/it/support/");
    let starts = |source: &&Source| has(&tokens(&source.text), &["Command", "::", "new"]);
    let found = sources.iter().filter(is_elsewhere).filter(starts);
    let told = "`support::program` starts programs with an environment of their own";
    found
        .map(|source| format!("{}: {told}", source.path))
        .collect()
}

/// Whether `wanted` stands in `tokens`, one behind the other.
fn has(tokens: &[&str], wanted: &[&str]) -> bool {
    tokens.windows(wanted.len()).any(|window| window == wanted)
}

/// All Rust files below these folders of the project, sorted.
fn sources_below(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() && !path.ends_with("target") {
            let entries = fs::read_dir(&path).expect("the project's folders are readable");
            pending.extend(entries.map(|entry| entry.expect("so are their entries").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the project's sources are UTF-8");
            let inside = path
                .strip_prefix(root)
                .expect("it was found below the root");
            let path = inside.to_string_lossy().replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty(), "no sources in {folders:?}");
    sources
}

mod real {
    //! The rules, held against the project's own sources.

    use super::*;

    fn assert_none(complaints: &[String]) {
        assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
    }

    #[test]
    fn a_room_imports_only_from_lower_lines() {
        assert_none(&import_complaints(&sources_below(&["src"])));
    }

    #[test]
    fn every_room_is_in_the_order_and_on_the_map() {
        assert_none(&map_complaints(&sources_below(&["src"])));
    }

    #[test]
    fn only_commands_print_and_read_the_environment() {
        assert_none(&talk_complaints(&sources_below(&["src"])));
    }

    #[test]
    fn pure_rooms_know_neither_tokio_nor_sockets() {
        assert_none(&purity_complaints(&sources_below(&["src"])));
    }

    #[test]
    fn tests_give_every_program_an_environment() {
        assert_none(&program_complaints(&sources_below(&["tests/it"])));
    }

    #[test]
    fn replay_cannot_dial() {
        assert_none(&offline_complaints(&sources_below(&["src"])));
    }
}

mod broken;
