//! MT301: go.sum, the checksum database and what was served do not say the same of a module version.

use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::processes::one_line;
use crate::exchange::ExchangeId;
use crate::gomod::{GoSumDb, Kind, Malformed, go_words, matches_patterns};
use crate::recording::caches::{Damage, Damaged};
use crate::recording::format::{Conflict, Hashed};
use crate::shell;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let items = items(case);
    let conflicts = case.manifest.conflicts.iter();
    let conflicts = conflicts.filter_map(|conflict| Disagreement::of(case, &items, conflict));
    let found = malformed(case).into_iter();
    let found = found.chain(conflicts.map(Disagreement::found));
    let found = found.chain(cached(case));
    // A manifest may name exchanges that are not there.
    found.filter(|found| !found.evidence.is_empty()).collect()
}

/// What all three say of a file, and which of them is the odd one.
struct Disagreement<'a> {
    case: &'a Case<'a>,
    items: &'a Items,
    conflict: &'a Conflict,
    /// What go.sum has: its first hash.
    go_sum: Option<&'a str>,
    /// What the checksum database has.
    database: Option<&'a Hashed>,
    /// What was served, the answer that differs from the others if one does.
    served: Option<&'a Hashed>,
    odd: Odd,
}

/// Which of them says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Odd {
    GoSum,
    Server,
    Database,
    /// There are two opinions, of which nobody can tell which is right; or three.
    Unknown,
}

impl<'a> Disagreement<'a> {
    /// `None` where only servers differ from each other.
    fn of(case: &'a Case<'_>, items: &'a Items, conflict: &'a Conflict) -> Option<Self> {
        let go_sum = conflict.go_sum.first().map(String::as_str);
        let database = conflict.database.first();
        let in_database = database.map(|one| &*one.sum);
        let is_odd = |one: &&Hashed| {
            let others = [go_sum, in_database].into_iter().flatten();
            others.into_iter().any(|other| other != one.sum)
        };
        let mut served = conflict.served.iter();
        let first = conflict.served.first();
        let served = served.find(is_odd).or(first);
        let odd = match (go_sum, in_database, served.map(|one| &*one.sum)) {
            (Some(a), Some(b), Some(c)) if a == b && c != a => Odd::Server,
            (Some(a), Some(b), Some(c)) if b == c && a != b => Odd::GoSum,
            (Some(a), Some(b), Some(c)) if a == c && b != a => Odd::Database,
            (Some(a), Some(b), None) if a != b => Odd::Unknown,
            (Some(_), Some(_), _) if in_database == go_sum => return None,
            (Some(_), Some(_), _) => Odd::Unknown,
            (Some(a), None, Some(c)) if a != c => Odd::Unknown,
            (None, Some(_), Some(c)) if in_database != Some(c) => Odd::Server,
            _ => return None,
        };
        Some(Self {
            case,
            items,
            conflict,
            go_sum,
            database,
            served,
            odd,
        })
    }

    fn found(self) -> Found {
        let answers = self.conflict.served.iter().chain(&self.conflict.database);
        let items: Vec<usize> = answers.filter_map(|one| item(self.items, one)).collect();
        Found {
            severity: self.case.severity(),
            title: self.title(),
            confidence: match (self.odd, self.relay()) {
                (Odd::Server, _) | (_, None) => Confidence::Certain,
                // Nobody has verified the signature of what was looked up.
                (_, Some(_)) => Confidence::Likely,
            },
            evidence: self.evidence(),
            hint: Some(self.hint()),
            explains: Explained::pieces(self.case.pieces_of(&items, None)),
        }
    }

    /// Who answered for the checksum database in its place: a proxy that relays it.
    fn relay(&self) -> Option<&'a str> {
        let host = &*self.database?.host;
        (self.case.sumdb_host().as_deref() != Some(host)).then_some(host)
    }

    /// Whether the host that served the file also relayed what the checksum database has of it, and could
    /// have made up both.
    fn is_one_voice(&self) -> bool {
        let served = self.served.map(|one| &*one.host);
        self.relay().is_some_and(|relay| Some(relay) == served)
    }

    /// `the zip of golang.org/x/net v0.34.0`
    fn file(&self) -> String {
        file(self.conflict)
    }

    fn title(&self) -> String {
        let file = self.file();
        let host = self.served.map_or("", |one| &one.host);
        let twice = match self.conflict.go_sum.len() {
            0 | 1 => "",
            _ => " (it has two lines for it, and go goes by the first)",
        };
        match (self.odd, self.go_sum, self.database, self.served) {
            (Odd::GoSum, ..) if self.is_one_voice() => format!(
                "go.sum has another hash of {file} than what {host} serves{twice}, which also relayed the checksum database's answer"
            ),
            (Odd::GoSum, ..) => format!(
                "go.sum has a wrong hash of {file}{twice}: {host} and the checksum database agree on another"
            ),
            (Odd::Server, Some(_), ..) => format!(
                "{host} serves something else as {file}: go.sum and the checksum database agree on another hash"
            ),
            (Odd::Server, None, ..) => {
                format!("{host} serves something else as {file} than the checksum database has")
            }
            (Odd::Database, ..) => {
                format!("the checksum database has another hash of {file} than go.sum and {host}")
            }
            (Odd::Unknown, _, None, _) => {
                let also = match self.hosts() {
                    0 | 1 => String::new(),
                    all => format!(" ({all} hosts serve the same)"),
                };
                format!("go.sum has another hash of {file} than what {host} serves{also}{twice}")
            }
            (Odd::Unknown, _, Some(_), None) => {
                format!("go.sum has another hash of {file} than the checksum database{twice}")
            }
            (Odd::Unknown, ..) => format!(
                "go.sum, the checksum database and {host} each have another hash of {file}{twice}"
            ),
        }
    }

    /// How many hosts serve what go.sum does not have, all of them the same; else 0.
    fn hosts(&self) -> usize {
        let served = &self.conflict.served;
        let Some(first) = served.first() else {
            return 0;
        };
        match served.iter().all(|one| one.sum == first.sum) {
            true => served.len(),
            false => 0,
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let is_odd = |one: &&Hashed| Some(*one) == self.served;
        let served = self.conflict.served.iter();
        let (first, others): (Vec<_>, Vec<_>) = served.partition(is_odd);
        let served = first.into_iter().chain(others).map(|one| (one, "served"));
        let database = self.conflict.database.iter().map(|one| (one, "looked up"));
        let answers = served.chain(database).filter_map(|(one, how)| {
            let item = item(self.items, one)?;
            let shows = format!("{how}: {} from {}", one.sum, one.host);
            Some(self.case.exhibit(item, shows))
        });
        let lines = self.conflict.go_sum.iter().map(|sum| expected(sum));
        answers.chain(lines).collect()
    }

    fn hint(&self) -> String {
        let Conflict {
            module, version, ..
        } = self.conflict;
        let host = self.served.map_or("", |one| &one.host);
        match self.odd {
            Odd::GoSum | Odd::Database if self.relay().is_some() => asks_database(module, version),
            Odd::GoSum => format!(
                "`git log -p go.sum` tells which change brought the line; remove the lines of {module} {version} from go.sum and run `go mod tidy`, which verifies it anew"
            ),
            Odd::Server => format!(
                "do not use it: the operator of {host} should look for a moved tag or a changed file; a GOPROXY without {host} gets the version that was verified"
            ),
            Odd::Database => format!(
                "the tag was moved before anybody you know had it: ask the authors of {module} for a new version"
            ),
            Odd::Unknown if is_private(self.case, module) => moved(module, version),
            Odd::Unknown => asks_database(module, version),
        }
    }
}

/// Whether the go command does not ask the checksum database about a module.
fn is_private(case: &Case<'_>, module: &str) -> bool {
    let patterns = ["GONOSUMDB", "GOPRIVATE"];
    let mut patterns = patterns.iter().map(|name| case.setting(name));
    let has_database = matches!(case.sumdb, Some(GoSumDb::On { .. }));
    !has_database || patterns.any(|patterns| matches_patterns(patterns, module))
}

/// Modules in the module cache that are not those of go.sum: nobody is asked about them.
fn cached(case: &Case<'_>) -> Vec<Found> {
    let Some(caches) = &case.manifest.caches else {
        return Vec::new();
    };
    let found = |damaged: &Damaged| {
        let Damage::Content { sum, go_sum } = &damaged.damage else {
            return None;
        };
        let Damaged {
            module,
            version,
            path,
            ..
        } = damaged;
        let path = format!("{}/{path}", caches.modules.path);
        let hint = match is_private(case, module) {
            true => moved(module, version),
            false => asks_database(module, version),
        };
        Some(Found {
            severity: case.severity(),
            title: format!(
                "go.sum has another hash of the zip of {module} {version} than the module cache has"
            ),
            // Whether the command needed it, no request tells.
            confidence: Confidence::Likely,
            evidence: vec![
                Evidence {
                    what: Exhibit::File { path },
                    shows: format!("its hash is {sum}"),
                },
                expected(go_sum),
            ],
            hint: Some(hint),
            explains: Explained::default(),
        })
    };
    caches.checked.damaged.iter().filter_map(found).collect()
}

/// A go.sum that no go command reads.
fn malformed(case: &Case<'_>) -> Option<Found> {
    let Malformed { file, line, text } = case.go_sum.as_ref()?.malformed.as_ref()?;
    let command = go_words(&case.manifest.command);
    // It mends the file.
    let is_tidy = |words: &[&str]| words.starts_with(&["mod", "tidy"]);
    let processes = case
        .samples
        .iter()
        .flat_map(|sampled| &sampled.sample.processes);
    let mut ran = processes.filter_map(|process| go_words(&process.command));
    let is_tidy = match &command {
        Some(words) => is_tidy(words),
        // What a script or a makefile runs.
        None => ran.any(|words| is_tidy(&words)),
    };
    if is_tidy || case.manifest.exit_code.is_none_or(|code| code == 0) {
        return None;
    }
    let file = one_line(file.clone());
    let is_merge = ["<<<<<<<", "=======", ">>>>>>>", "|||||||"];
    let is_merge = is_merge.iter().any(|mark| text.starts_with(mark));
    let why = match is_merge {
        true => "a merge conflict was left in it",
        false => "it has not three words",
    };
    Some(Found {
        severity: Severity::Problem,
        title: format!("line {line} of {file} is malformed: {why}"),
        confidence: match command {
            Some(_) => Confidence::Certain,
            // Another program may have failed for another reason.
            None => Confidence::Likely,
        },
        evidence: vec![Evidence {
            what: Exhibit::File { path: file.clone() },
            shows: format!("line {line}: {text}"),
        }],
        hint: Some(match file.ends_with("go.work.sum") {
            true => format!(
                "both sides of a merge of {file} can be kept, line by line; without such lines the go command completes it by itself"
            ),
            false => format!(
                "`go mod tidy` writes {file} anew and leaves out such lines; both sides of a merge of {file} can be kept, line by line"
            ),
        }),
        explains: Explained::default(),
    })
}

/// What to ask about a module that the checksum database does not know.
fn moved(module: &str, version: &str) -> String {
    format!(
        "the checksum database is not asked about {module}: ask its authors whether the tag {version} was moved; if it was, a new version is better than a new line in go.sum"
    )
}

/// How to learn what the checksum database has.
fn asks_database(module: &str, version: &str) -> String {
    let of = format!("{module}@{version}");
    let of = shell::word(&of);
    format!(
        "`cd \"$(mktemp -d)\" && GOMODCACHE=$PWD go mod download -modcacherw -json {of}` asks the checksum database, which knows what everybody else got: if it refuses, do not use what was served; if it succeeds, the line in go.sum is wrong (`git log -p go.sum`)"
    )
}

/// `the zip of golang.org/x/net v0.34.0`
pub(super) fn file(conflict: &Conflict) -> String {
    let Conflict {
        kind,
        module,
        version,
        ..
    } = conflict;
    let kind = match kind {
        Kind::Mod => "go.mod",
        _ => "zip",
    };
    format!("the {kind} of {module} {version}")
}

/// The items of exchanges, by run and exchange.
pub(super) type Items = BTreeMap<(u32, ExchangeId), usize>;

/// Those that conflicts name.
pub(super) fn items(case: &Case<'_>) -> Items {
    let conflicts = case.manifest.conflicts.iter();
    let answers = conflicts.flat_map(|conflict| conflict.served.iter().chain(&conflict.database));
    case.items_named(answers.map(|one| (one.run, one.exchange)))
}

/// The item of an answer.
pub(super) fn item(items: &Items, one: &Hashed) -> Option<usize> {
    items.get(&(one.run, one.exchange)).copied()
}

fn go_sum() -> Exhibit {
    Exhibit::File {
        path: "go.sum".into(),
    }
}

fn expected(sum: &str) -> Evidence {
    Evidence {
        what: go_sum(),
        shows: format!("expects {sum}"),
    }
}
