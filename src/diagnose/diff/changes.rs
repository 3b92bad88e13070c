//! Which answers changed, and what in them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::answers::{Answer, Found, answers};
use super::circumstances::{self, Heads, Named};
use super::lines::{self, Lines, difference};
use super::{Compared, Pair};
use crate::diagnose::content::Source;
use crate::diagnose::report::Report;
use crate::exchange::chain;
use crate::gomod::{Kind, Lookup, ModuleZip};
use crate::recording::Row;

/// How many files of a zip are named.
const FILES: usize = 100;

/// What was served, and by whom.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Content {
    /// Whether the go command got something else from one than from the other.
    pub(crate) differs: bool,
    /// How many answers both have.
    pub(crate) compared: u64,
    /// What it got that is not the same.
    pub(crate) changes: Vec<Change>,
    /// What means the same to it although the bytes differ.
    pub(crate) rewritten: Vec<Change>,
    /// What it was refused with another status.
    pub(crate) statuses: Vec<Change>,
    /// What came with the same content from another host: how many answers, by both hosts.
    pub(crate) hosts: Vec<Moved>,
    /// The tree heads of checksum databases, where they are not the same.
    pub(crate) heads: Vec<Heads>,
    /// What hosts spoke, where they did not speak the same.
    pub(crate) protocols: Vec<Named>,
    /// Who issued their certificates, where it was not the same.
    pub(crate) issuers: Vec<Named>,
}

/// Answers that moved to another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Moved {
    /// The hosts.
    #[serde(flatten)]
    pub(crate) hosts: Pair<String>,
    /// How many answers.
    pub(crate) answers: u64,
    /// The first of them: `zip golang.org/x/net v0.34.0`.
    pub(crate) what: String,
}

/// An answer that is not the same in both recordings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// What kind of answer it is.
    pub(crate) kind: Kind,
    /// Its module, unescaped.
    pub(crate) module: Option<String>,
    /// Its version or query, unescaped.
    pub(crate) version: Option<String>,
    /// All of that for people.
    pub(crate) what: String,
    /// How it changed.
    pub(crate) change: How,
    /// The answers; `None` where it was not asked for.
    #[serde(flatten)]
    pub(crate) answers: Pair<Option<Answer>>,
    /// What changed inside, as far as that can be said.
    #[serde(flatten)]
    pub(crate) inside: Inside,
}

/// How an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// Both have one, and they differ.
    Changed,
    /// Only the first has one.
    OnlyA,
    /// Only the second has one.
    OnlyB,
}

/// What changed inside an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Inside {
    /// Files of a zip: the first of them, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<File>,
    /// How many there are in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) files_total: u64,
    /// The first lines of a difference, each with `-`, `+` or a space before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lines: Vec<String>,
    /// How many there are in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) lines_total: u64,
    /// What else there is to know, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Inside {
    fn noted(note: impl Into<String>) -> Self {
        Self {
            note: Some(note.into()),
            ..Self::default()
        }
    }
}

impl From<Lines> for Inside {
    fn from(Lines { lines, total }: Lines) -> Self {
        Self {
            lines,
            lines_total: total,
            ..Self::default()
        }
    }
}

/// A file of a zip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct File {
    /// Its path below the module's folder.
    pub(crate) path: String,
    /// Its size in each of both zips; `None` where it is not there.
    #[serde(flatten)]
    pub(crate) bytes: Pair<Option<u64>>,
}

/// What came of comparing two answers.
enum Verdict {
    /// To the go command they are the same.
    Same,
    /// They mean the same, and something is worth knowing.
    Rewritten(Inside),
    /// They are not the same.
    Changed(Inside),
}

impl Content {
    /// Compares what both recordings hold. Calls `progress` with the number of answers that are
    /// compared and of all.
    pub(super) fn of<S: Source>(
        both: &Pair<Compared<'_, S>>,
        reports: &Pair<Report>,
        mut progress: impl FnMut(usize, usize),
    ) -> Self {
        let held = both.map(|one| answers(one.recording));
        let heads = circumstances::heads(both, &held);
        let mut content = Self {
            differs: heads.iter().any(|heads| heads.is_fork),
            compared: 0,
            changes: Vec::new(),
            rewritten: Vec::new(),
            statuses: Vec::new(),
            hosts: Vec::new(),
            heads,
            protocols: circumstances::protocols(reports),
            issuers: circumstances::issuers(&both.map(|one| one.recording)),
        };
        let questions: BTreeSet<&String> = held.a.keys().chain(held.b.keys()).collect();
        let all = questions.len();
        let mut moved: BTreeMap<Pair<String>, Moved> = BTreeMap::new();
        for (done, question) in questions.into_iter().enumerate() {
            progress(done, all);
            let found = held.map(|held| held.get(question));
            content.compare(both, &found, &mut moved);
        }
        content.hosts = moved.into_values().collect();
        content
            .hosts
            .sort_by_key(|moved| std::cmp::Reverse(moved.answers));
        content.differs |= !content.changes.is_empty();
        content
    }

    fn compare<S: Source>(
        &mut self,
        both: &Pair<Compared<'_, S>>,
        found: &Pair<Option<&Found<'_>>>,
        moved: &mut BTreeMap<Pair<String>, Moved>,
    ) {
        let has = found.map(|found| found.is_some_and(Found::has_content));
        let how = match (has.a, has.b) {
            (true, true) => How::Changed,
            (true, false) => How::OnlyA,
            (false, true) => How::OnlyB,
            (false, false) => return self.compare_refusals(found),
        };
        let Pair {
            a: Some(a),
            b: Some(b),
        } = found
        else {
            let counts = found
                .a
                .or(found.b)
                .is_some_and(|found| is_content(found.route().kind));
            if counts {
                self.changes.push(change(how, found, Inside::default()));
            }
            return;
        };
        if how != How::Changed {
            // It was asked for on both sides, and only one got it.
            self.changes.push(change(how, found, Inside::default()));
            return;
        }
        self.compared += 1;
        let rows = Pair { a: a.row, b: b.row };
        match verdict(both, &rows, a) {
            Verdict::Changed(inside) => return self.changes.push(change(how, found, inside)),
            Verdict::Rewritten(inside) => self.rewritten.push(change(how, found, inside)),
            Verdict::Same => {}
        }
        let hosts = Pair {
            a: a.listed.host.clone(),
            b: b.listed.host.clone(),
        };
        if hosts.a != hosts.b {
            let first = || Moved {
                hosts: hosts.clone(),
                answers: 0,
                what: a.listed.what(),
            };
            moved.entry(hosts.clone()).or_insert_with(first).answers += 1;
        }
    }

    /// What neither got has no content; but why not may have changed.
    fn compare_refusals(&mut self, found: &Pair<Option<&Found<'_>>>) {
        let Pair {
            a: Some(a),
            b: Some(b),
        } = found
        else {
            return;
        };
        let became = |found: &Found<'_>| (found.row.status, found.row.state, found.row.made_by);
        if became(a) != became(b) {
            let change = change(How::Changed, found, Inside::default());
            self.statuses.push(change);
        }
    }
}

/// Whether it is a difference that only one recording has an answer of this kind.
///
/// What is asked of the checksum database depends on what go.sum has, and on tree heads; and of a repository on
/// what the client has of it.
const fn is_content(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Lookup | Kind::Tile | Kind::SumdbSupported | Kind::Vcs
    )
}

fn change(how: How, found: &Pair<Option<&Found<'_>>>, inside: Inside) -> Change {
    let route = found.a.or(found.b).map(Found::route);
    let any = found.a.or(found.b);
    Change {
        kind: route.map_or(Kind::Other, |route| route.kind),
        module: route.and_then(|route| route.module.clone()),
        version: route.and_then(|route| route.version.clone()),
        what: any.map_or_else(String::new, |found| found.listed.what()),
        change: how,
        answers: found.map(|found| found.map(Found::answer)),
        inside,
    }
}

/// Compares two answers with content to the same question.
fn verdict<S: Source>(
    both: &Pair<Compared<'_, S>>,
    rows: &Pair<&Row>,
    asked: &Found<'_>,
) -> Verdict {
    if rows.a.body == rows.b.body {
        return Verdict::Same;
    }
    let kind = asked.route().kind;
    if matches!(kind, Kind::Zip | Kind::Toolchain) {
        return zips(both, rows, asked);
    }
    let texts = (text(&both.a.source, rows.a), text(&both.b.source, rows.b));
    let (a, b) = match texts {
        (Ok(Some(a)), Ok(Some(b))) => (a, b),
        (Err(why), _) | (_, Err(why)) => return Verdict::Changed(Inside::noted(why)),
        _ => return Verdict::Changed(Inside::noted(NOT_KEPT)),
    };
    if a.sha256 == b.sha256 {
        // Compressed in another way.
        return Verdict::Same;
    }
    let (Some(a), Some(b)) = (a.content, b.content) else {
        return match kind {
            Kind::Vcs => Verdict::Rewritten(Inside::noted(PACK)),
            _ => Verdict::Changed(Inside::default()),
        };
    };
    match kind {
        Kind::Info | Kind::Latest => infos(&a, &b),
        Kind::List => lists(&a, &b),
        Kind::Lookup => lookups(&a, &b),
        Kind::Tile => tiles(&a, &b),
        Kind::Discovery => discoveries(&a, &b),
        Kind::Vcs => repositories(&a, &b),
        Kind::SumdbSupported => Verdict::Same,
        Kind::Mod | Kind::Zip | Kind::Toolchain | Kind::Other => by_lines(&a, &b),
    }
}

const NOT_KEPT: &str =
    "their digests differ; the bodies were not kept, or are coded in a way that is not known";

/// The content of an answer that is no zip.
struct Text {
    sha256: [u8; 32],
    /// All of it, unless it is too large to be compared in detail.
    content: Option<Vec<u8>>,
}

/// Reads it; only one large one is in memory at a time.
fn text(source: &impl Source, row: &Row) -> Result<Option<Text>, String> {
    let Some(content) = source.text(row)? else {
        return Ok(None);
    };
    Ok(Some(Text {
        sha256: Sha256::digest(&content).into(),
        content: (content.len() <= lines::LIMIT).then_some(content),
    }))
}

fn by_lines(a: &[u8], b: &[u8]) -> Verdict {
    let (Ok(a), Ok(b)) = (std::str::from_utf8(a), std::str::from_utf8(b)) else {
        return Verdict::Changed(Inside::default());
    };
    let lines = difference(a, b);
    Verdict::Changed(match lines.total {
        0 => Inside::noted("only the ends of lines differ"),
        _ => lines.into(),
    })
}

/// Versions that came and went. Their order means nothing, nor does what stands behind them.
fn lists(a: &[u8], b: &[u8]) -> Verdict {
    let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
    let versions = |text: &str| -> BTreeSet<String> {
        let words = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        words.map(str::to_owned).collect()
    };
    let (a, b) = (versions(&a), versions(&b));
    let mut lines = Lines::default();
    a.difference(&b)
        .for_each(|version| lines.push('-', version));
    b.difference(&a)
        .for_each(|version| lines.push('+', version));
    match lines.total {
        0 => Verdict::Same,
        _ => Verdict::Changed(lines.into()),
    }
}

/// Version and time count; where the proxy has it from does not (`Origin`, which comes and goes).
fn infos(a: &[u8], b: &[u8]) -> Verdict {
    let fields = |text: &[u8]| -> Option<BTreeMap<String, String>> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let mut fields = BTreeMap::new();
        flatten(&mut fields, String::new(), &value);
        Some(fields)
    };
    let (Some(a), Some(b)) = (fields(a), fields(b)) else {
        return by_lines(a, b);
    };
    let mut lines = Lines::default();
    let mut counts = false;
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let (a, b) = (a.get(name), b.get(name));
        if a == b {
            continue;
        }
        counts |= !name.starts_with("Origin");
        for (mark, value) in [('-', a), ('+', b)] {
            if let Some(value) = value {
                lines.push(mark, &format!("{name} {value}"));
            }
        }
    }
    match (lines.total, counts) {
        (0, _) => Verdict::Same,
        (_, true) => Verdict::Changed(lines.into()),
        (_, false) => Verdict::Rewritten(lines.into()),
    }
}

fn flatten(fields: &mut BTreeMap<String, String>, name: String, value: &Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(fields, format!("{name}{dot}{key}"), value);
            }
        }
        Value::String(text) => drop(fields.insert(name, text.clone())),
        other => drop(fields.insert(name, other.to_string())),
    }
}

/// The record counts; the head that came with it is of the moment.
fn lookups(a: &[u8], b: &[u8]) -> Verdict {
    let (Some(a), Some(b)) = (Lookup::parse(a), Lookup::parse(b)) else {
        return by_lines(a, b);
    };
    let text = |lookup: &Lookup<'_>| format!("{}\n{}", lookup.id, lookup.record);
    let lines = difference(&text(&a), &text(&b));
    match lines.total {
        0 => Verdict::Same,
        _ => Verdict::Changed(lines.into()),
    }
}

/// A narrower tile is the beginning of a wider one.
fn tiles(a: &[u8], b: &[u8]) -> Verdict {
    match a.starts_with(b) || b.starts_with(a) {
        true => Verdict::Same,
        false => Verdict::Changed(Inside::noted("the checksum database shows two histories")),
    }
}

/// Said of what git fetched.
const PACK: &str = "a pack: a server puts each together anew, and git verifies what is in it";

/// Of a repository, what its refs name.
fn repositories(a: &[u8], b: &[u8]) -> Verdict {
    let (a, b) = (refs(a), refs(b));
    let lines = difference(&a, &b);
    match lines.total {
        0 if a.is_empty() => Verdict::Rewritten(Inside::noted(PACK)),
        0 => Verdict::Same,
        _ => Verdict::Changed(lines.into()),
    }
}

/// The refs that an answer lists, a line each: object and name (`gitprotocol-pack(5)`, `gitprotocol-v2(5)`).
fn refs(answer: &[u8]) -> String {
    let lines = answer.split(|byte| *byte == b'\n');
    let named = lines.filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        // Behind the first one stand the capabilities.
        let line = line.split('\0').next()?;
        let at = line.find(" refs/").or_else(|| line.find(" HEAD"))?;
        let (object, name) = line.split_at(at);
        let digits = object
            .bytes()
            .rev()
            .take_while(u8::is_ascii_hexdigit)
            .count();
        // Before it stands the length of the line, in four digits.
        let object = object.get(object.len() - digits..)?.get(4..)?;
        matches!(object.len(), 40 | 64).then(|| format!("{object}{name}\n"))
    });
    named.collect()
}

/// Of a page, what tells where the repository is.
fn discoveries(a: &[u8], b: &[u8]) -> Verdict {
    let told = |page: &[u8]| imports(&String::from_utf8_lossy(page));
    let lines = difference(&told(a), &told(b));
    match lines.total {
        0 => Verdict::Same,
        _ => Verdict::Changed(lines.into()),
    }
}

/// The `go-import` elements of a page, a line each.
fn imports(page: &str) -> String {
    let elements = page.split('<').filter_map(|rest| {
        let element = rest.split('>').next()?;
        let is_meta = element
            .get(..5)
            .is_some_and(|name| name.eq_ignore_ascii_case("meta "));
        (is_meta && element.contains("go-import")).then_some(element)
    });
    let one_line = |element: &str| element.split_whitespace().collect::<Vec<_>>().join(" ");
    elements.map(|element| one_line(element) + "\n").collect()
}

fn zips<S: Source>(both: &Pair<Compared<'_, S>>, rows: &Pair<&Row>, asked: &Found<'_>) -> Verdict {
    let listed = (
        listing(&both.a.source, rows.a, asked),
        listing(&both.b.source, rows.b, asked),
    );
    let (a, b) = match listed {
        (Ok(Some(a)), Ok(Some(b))) => (a, b),
        (Err(a), Err(b)) if a == b => return Verdict::Changed(Inside::noted(a)),
        (Err(why), Ok(_)) => return broken("the first", &why),
        (Ok(_), Err(why)) => return broken("the second", &why),
        (Err(a), Err(b)) => {
            return Verdict::Changed(Inside::noted(format!(
                "of the first, {a}; of the second, {b}"
            )));
        }
        _ => return Verdict::Changed(Inside::noted(NOT_KEPT)),
    };
    let paths: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut inside = Inside::default();
    for path in paths {
        let (a, b) = (a.get(path), b.get(path));
        if a == b {
            continue;
        }
        inside.files_total += 1;
        if inside.files.len() < FILES {
            let bytes = |file: Option<&Listed>| file.map(|file| file.bytes);
            inside.files.push(File {
                path: path.clone(),
                bytes: Pair {
                    a: bytes(a),
                    b: bytes(b),
                },
            });
        }
    }
    match inside.files_total {
        0 => Verdict::Rewritten(Inside::noted(
            "packed in another way: the files are the same",
        )),
        _ => Verdict::Changed(inside),
    }
}

fn broken(which: &str, why: &str) -> Verdict {
    Verdict::Changed(Inside::noted(format!("of {which}, {why}")))
}

/// A file of a zip that is compared.
#[derive(PartialEq, Eq)]
struct Listed {
    sha256: [u8; 32],
    bytes: u64,
}

/// The files of a zip by name; `None` where it was not kept.
fn listing(
    source: &impl Source,
    row: &Row,
    asked: &Found<'_>,
) -> Result<Option<BTreeMap<String, Listed>>, String> {
    let Some(zip) = source.zip(row)? else {
        return Ok(None);
    };
    let route = asked.route();
    let module = route.module.as_deref().unwrap_or_default();
    let version = route.version.as_deref().unwrap_or_default();
    let zip = ModuleZip::open(zip.reader, zip.bytes, module, version);
    let zip = zip.map_err(|fault| chain(&fault))?;
    let digests = zip.digests().map_err(|fault| chain(&fault))?;
    let files = zip.files().zip(digests);
    let files = files.map(|((path, bytes), sha256)| (path.to_owned(), Listed { sha256, bytes }));
    Ok(Some(files.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_compared_and_packs_are_not() {
        let id = |digit: &str| digit.repeat(40);
        let old = format!(
            "003d{} refs/heads/main\n003c{} refs/tags/v1\n0000",
            id("1"),
            id("2")
        );
        let new = format!(
            "003d{} refs/heads/main\n003c{} refs/tags/v1\n0000",
            id("3"),
            id("2")
        );
        assert_eq!(
            refs(old.as_bytes()),
            format!("{} refs/heads/main\n{} refs/tags/v1\n", id("1"), id("2"))
        );
        assert!(
            matches!(repositories(old.as_bytes(), new.as_bytes()), Verdict::Changed(inside) if inside.lines_total == 3)
        );
        assert!(matches!(
            repositories(old.as_bytes(), old.as_bytes()),
            Verdict::Same
        ));
        assert!(matches!(
            repositories(b"PACK\x001", b"PACK\x002"),
            Verdict::Rewritten(_)
        ));
        let first = format!(
            "00a1{} HEAD\0multi_ack symref=HEAD:refs/heads/main\n",
            id("1")
        );
        assert_eq!(refs(first.as_bytes()), format!("{} HEAD\n", id("1")));
    }

    #[test]
    fn of_a_page_only_what_leads_to_a_repository_counts() {
        let page = |nonce: &str, to: &str| {
            format!(
                "<html><meta name=nonce content={nonce}><META name=\"go-import\"\n content=\"a.b/c git {to}\">"
            )
        };
        let same = discoveries(
            page("1", "https://x").as_bytes(),
            page("2", "https://x").as_bytes(),
        );
        assert!(matches!(same, Verdict::Same));
        let other = discoveries(
            page("1", "https://x").as_bytes(),
            page("1", "https://y").as_bytes(),
        );
        assert!(matches!(other, Verdict::Changed(_)));
    }
}
