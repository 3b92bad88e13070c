//! A disk that fails: the build goes on, what is missing is said, and nothing is lost silently.

use std::path::Path;

use modtape::recording::Recording;

use super::audit;
use super::download::{Got, HOST, Plan};
use super::recorder::Start;
use crate::support::*;

const PLAN: Plan = Plan {
    requests: 12,
    largest: 60_000,
};

/// What the wrapped command exits with once it has had all.
const HAD_ALL: i32 = 7;

/// A fault in one file of the recording.
struct Row {
    name: &'static str,
    /// Below the recording; `{folder}` is that of a large body.
    path: &'static str,
    /// strace's `inject`.
    inject: &'static str,
    flags: &'static [&'static str],
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// All is recorded, and nobody is alarmed.
    Whole,
    /// All is recorded; this is said.
    Said(&'static str),
    /// Something is missing, and this is said.
    Lost(&'static str),
    /// The command does not get what is not recorded, and modtape exits with 74.
    Refused,
}

use Expected::{Lost, Refused, Said, Whole};

const STRICT: &[&str] = &["--durability", "strict"];
const GROUP: &[&str] = &["--durability", "group"];
const ALL: &[&str] = &["--require-complete"];
const NONE: &[&str] = &[];
/// No path: strace knows that of a `rename` by the file's old name only. The traffic's thread renames
/// the first manifest, its announcement, and at the end the manifest twice, the index and the HAR;
/// the thread of the bodies each body.
const ANY: &str = "any";

/// The same, and only small bodies are asked for: no other thread renames anything.
const INLINE: &str = "inline";

/// One a line, as a table.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("a full disk", "journal.ndjson", "write:error=ENOSPC:when=4+", NONE, Lost("No space left")),
    row("a disk that was full for a while", "journal.ndjson", "write:error=ENOSPC:when=4..9", NONE, Lost("No space left")),
    row("a disk that fails", "journal.ndjson", "write:error=EIO:when=6+", NONE, Lost("Input/output error")),
    row("a quota", "journal.ndjson", "write:error=EDQUOT:when=2+", NONE, Lost("quota exceeded")),
    row("an interrupted write", "journal.ndjson", "write:error=EINTR:when=3", NONE, Whole),
    row("writes of nothing", "journal.ndjson", "write:retval=0:when=5", NONE, Lost("failed to write whole buffer")),
    row("a write that lies", "journal.ndjson", "write:retval=40:when=5", NONE, Lost("")),
    row("a failed fsync of strict", "journal.ndjson", "fdatasync:error=EIO:when=3", STRICT, Lost("fsync failed")),
    row("a failed fsync of group", "journal.ndjson", "fdatasync:error=EIO:when=1", GROUP, Lost("fsync failed")),
    row("a body that finds no room", ANY, "rename:error=ENOSPC:when=3", NONE, Lost("No space left")),
    row("a body's folder without descriptors", "{folder}", "mkdir:error=EMFILE", NONE, Lost("Too many open files")),
    row("a body's folder on a failing disk", "{folder}", "fsync:error=EIO", STRICT, Lost("Input/output error")),
    row("a manifest that cannot be replaced", INLINE, "rename:error=ENOSPC:when=3..4", NONE, Said("No space left")),
    row("an index that cannot be written", INLINE, "rename:error=EIO:when=5", NONE, Said("cannot write the index")),
    row("a HAR that cannot be written", INLINE, "rename:error=EIO:when=6", NONE, Said("cannot write")),
    row("no reserve", ".reserve", "openat:error=ENOSPC", NONE, Whole),
    row("a full disk where all is required", "journal.ndjson", "write:error=ENOSPC:when=4+", ALL, Refused),
    row("a lost body where all is required", ANY, "rename:error=EIO:when=3", ALL, Refused),
];

const fn row(
    name: &'static str,
    path: &'static str,
    inject: &'static str,
    flags: &'static [&'static str],
    expected: Expected,
) -> Row {
    Row {
        name,
        path,
        inject,
        flags,
        expected,
    }
}

/// A large body, and the path of its file.
const LARGE: usize = 5;

fn path_of(row: &Row, dir: &Path) -> String {
    let digest = generated_sha256(PLAN.bytes(LARGE));
    let folder = format!("bodies/{}", &digest[..2]);
    let name = row.path.replace("{folder}", &folder);
    dir.join(name)
        .to_str()
        .expect("paths of tests are text")
        .to_owned()
}

/// What is wrong with how modtape took the fault.
fn objections(row: &Row) -> Vec<String> {
    let (sandbox, origin) = (Sandbox::new(), PLAN.origin());
    let dir = sandbox.join("recordings/one");
    let call = row.inject.split(':').next().unwrap_or_default();
    let path = path_of(row, &dir);
    let mut strace = vec!["-o", "/dev/null"];
    if !matches!(row.path, ANY | INLINE) {
        strace.extend(["-P", &path]);
    }
    let told = [format!("trace={call}"), format!("inject={}", row.inject)];
    let strace: Vec<String> = strace
        .iter()
        .map(|option| (*option).to_owned())
        .chain(told.into_iter().flat_map(|told| ["-e".to_owned(), told]))
        .collect();
    let start = Start {
        origin: &origin,
        flags: row.flags,
        strace: &strace,
        recordings: None,
    };
    let is_asked = |n: &usize| row.path != INLINE || PLAN.bytes(*n) < 16 * 1024;
    let asked: Vec<usize> = (0..PLAN.requests).filter(is_asked).collect();
    let urls: String = asked
        .iter()
        .map(|n| format!(" https://{HOST}{}", Plan::path(*n)))
        .collect();
    let modtape = tested();
    let modtape = modtape.display();
    let fetch = format!("'{modtape}' fetch {urls} && exit {HAD_ALL}");
    let command = start.command(&sandbox, &["/bin/sh", "-c", &fetch]);
    let output = run(command, LIMIT);
    let mut wrong = Vec::new();
    let mut expect = |is_so: bool, what: &str| {
        if !is_so {
            wrong.push(format!("{}: {what}\n{}", row.name, output.stderr));
        }
    };
    let served = origin.requests();
    if row.expected == Refused {
        expect(output.status.code() == Some(74), "exit code 74");
        expect(served.len() < asked.len(), "what came later is refused");
        expect(Recording::open(&dir).is_ok(), "it opens");
        return wrong;
    }
    expect(
        output.status.code() == Some(HAD_ALL),
        "the command's exit code",
    );
    let whole = served.iter().filter(|served| served.is_complete).count();
    expect(whole == asked.len(), "all bytes pass");
    let Ok(recording) = Recording::open(&dir) else {
        expect(false, "it opens");
        return wrong;
    };
    let expected: Vec<Got> = asked
        .into_iter()
        .map(|n| Got {
            path: Plan::path(n),
            bytes: PLAN.bytes(n),
            sha256: generated_sha256(PLAN.bytes(n)),
        })
        .collect();
    let is_whole = audit::objections(&dir, &expected).is_empty();
    let is_told = !recording.gaps().is_empty() || !recording.damage().is_empty();
    expect(is_whole || is_told, "nothing is lost silently");
    let is_alarmed = output.stderr.contains("! INCOMPLETE: ");
    match row.expected {
        Whole => expect(is_whole && !is_alarmed, "all is recorded"),
        Said(text) => expect(
            is_whole && output.stderr.contains(text),
            "all is recorded, and it is said",
        ),
        Lost(text) => {
            expect(is_told, "it can be seen later");
            expect(is_alarmed && output.stderr.contains(text), "it is said");
            expect(
                !recording.manifest().replayable.complete,
                "no replay is promised",
            );
        }
        Refused => {}
    }
    expect(
        recording.status() == modtape::recording::reader::Status::Closed,
        "it is closed, not killed",
    );
    wrong
}

#[test]
fn a_failing_disk_stops_no_build_and_loses_nothing_silently() {
    if !Path::new("/usr/bin/strace").exists() {
        return skipped("failing disks: there is no strace");
    }
    let wrong: Vec<String> = ROWS.iter().flat_map(objections).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How long a recorder under strace may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
