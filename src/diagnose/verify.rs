//! Whether the module files of a recording are what go.sum files, the checksum database and a second
//! proxy say that they are, and what says nothing of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::content::{Checked, File, Found, is_answer};
use super::proofs::Key;
use super::routes::Routes;
use crate::exchange::ExchangeId;
use crate::gomod::{GoSum, Kind, Location};
use crate::recording::Row;
use crate::recording::format::{Fault, Hashed};

/// Who is asked about the files of a recording, beside its own lookups.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The go.sum files, each with its name.
    pub(crate) go_sums: Vec<(String, GoSum)>,
    /// Whether a recorded lookup vouches for a file only where recorded tiles prove it.
    pub(crate) only_proved: bool,
    /// A second module proxy.
    pub(crate) second: SecondProxy,
}

/// What a second module proxy serves.
#[derive(Debug, Default)]
pub(crate) struct SecondProxy {
    /// Its host.
    pub(crate) name: String,
    /// The hashes of its files.
    pub(crate) sums: BTreeMap<File, String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    /// The version of this shape.
    schema: u32,
    /// By path and version.
    pub(crate) modules: Vec<Module>,
    /// How many modules have no file that is wrong or that nothing vouches for.
    pub(crate) ok: usize,
    /// How many have a file that is not what somebody says, or is none at all.
    pub(crate) mismatch: usize,
    /// How many others have a file that nothing vouches for.
    pub(crate) unverified: usize,
    /// The answers of any kind that are not what they were asked for, and for which no later one of the same host stands in.
    pub(crate) faults: Vec<Fault>,
    /// Those for which one does.
    #[serde(skip)]
    pub(crate) replaced: Vec<Fault>,
}

/// A module version, as far as it is on the recording.
#[derive(Debug, Serialize)]
pub(crate) struct Module {
    /// Its path.
    pub(crate) module: String,
    /// Its version.
    pub(crate) version: String,
    /// Its zip, if there is one.
    pub(crate) zip: Option<Verdict>,
    /// Its go.mod, likewise.
    #[serde(rename = "mod")]
    pub(crate) go_mod: Option<Verdict>,
}

/// What is known of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// In a word.
    pub(crate) status: Status,
    /// The hash of what was served; where there are several, one that somebody contradicts. `None` where there is
    /// none.
    pub(crate) h1: Option<String>,
    /// Who has a hash of it.
    pub(crate) sources: Vec<Source>,
    /// What was served, each content once for a host.
    #[serde(skip)]
    pub(crate) served: Vec<Hashed>,
    /// Whether all that is known of it is that its body was not kept.
    #[serde(skip)]
    pub(crate) is_unread: bool,
}

/// What is known of a file, in a word; the better comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Somebody vouches for it, and nobody contradicts.
    Ok,
    /// Nobody has a hash of it.
    Unverified,
    /// Somebody has another hash, or several contents were served.
    Mismatch,
    /// It is no zip or no go.mod of that module version, or cannot be read.
    Invalid,
}

impl Status {
    /// Is it not what it should be?
    pub(crate) fn is_wrong(self) -> bool {
        self >= Self::Mismatch
    }
}

/// Who has a hash of a file, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Source {
    /// The name of a go.sum, `main.sum` being that of the recording; of a checksum database; or of a host.
    pub(crate) name: String,
    /// The hash.
    pub(crate) h1: String,
    /// Of a database: whether recorded tiles prove it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proved: Option<bool>,
    /// Of what is on the recording: the exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exchange: Option<ExchangeId>,
}

/// The version of the JSON.
const SCHEMA: u32 = 1;

impl Verified {
    /// Weighs what was found on a recording with these rows.
    pub(crate) fn of(checked: Checked, rows: &[Row], routes: &Routes, asked: &Asked) -> Self {
        let replaced = replaced(&checked.faults, rows, routes);
        let (replaced, faults): (Vec<_>, Vec<_>) = checked
            .faults
            .into_iter()
            .partition(|fault| replaced.contains(&(fault.run, fault.exchange)));
        let gone: BTreeSet<Key> = replaced
            .iter()
            .map(|fault| (fault.run, fault.exchange))
            .collect();
        let mut modules: BTreeMap<(String, String), [Option<Verdict>; 2]> = BTreeMap::new();
        for (file, found) in checked.files {
            let verdict = Verdict::of(&file, found, &gone, asked);
            let Some(verdict) = verdict else { continue };
            let [zip, go_mod] = modules.entry((file.module, file.version)).or_default();
            match file.kind {
                Kind::Mod => *go_mod = Some(verdict),
                _ => *zip = Some(verdict),
            }
        }
        let modules: Vec<Module> = modules
            .into_iter()
            .map(|((module, version), [zip, go_mod])| Module {
                module,
                version,
                zip,
                go_mod,
            })
            .collect();
        let count = |is: fn(Status) -> bool| {
            let statuses = modules.iter().map(Module::status);
            statuses.filter(|status| is(*status)).count()
        };
        Self {
            schema: SCHEMA,
            ok: count(|status| status == Status::Ok),
            mismatch: count(Status::is_wrong),
            unverified: count(|status| status == Status::Unverified),
            modules,
            faults,
            replaced,
        }
    }
}

impl Module {
    /// The worse of its files' statuses.
    pub(crate) fn status(&self) -> Status {
        let statuses = self.verdicts().map(|(_, verdict)| verdict.status);
        statuses.max().unwrap_or(Status::Ok)
    }

    /// What is known of its files, each with what it is called.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        let zip = self.zip.iter().map(|verdict| ("zip", verdict));
        zip.chain(self.go_mod.iter().map(|verdict| ("go.mod", verdict)))
    }
}

impl Verdict {
    /// `None` where the recording has no such file: a lookup alone, or answers that others stand in for.
    fn of(file: &File, found: Found, gone: &BTreeSet<Key>, asked: &Asked) -> Option<Self> {
        let is_there = |run, exchange| !gone.contains(&(run, exchange));
        let served: Vec<Hashed> = found
            .served
            .into_iter()
            .filter(|one| is_there(one.run, one.exchange))
            .collect();
        let is_invalid = found
            .invalid
            .iter()
            .any(|fault| is_there(fault.run, fault.exchange));
        if served.is_empty() && !is_invalid && !found.is_unread {
            return None;
        }
        let mut sources = Vec::new();
        for (name, sums) in &asked.go_sums {
            // The go command goes by the first.
            let first = sums.of(file.kind, &file.module, &file.version);
            sources.extend(first.first().map(|h1| Source {
                name: name.clone(),
                h1: (*h1).to_owned(),
                proved: None,
                exchange: None,
            }));
        }
        for vouched in found.database {
            // What is not proved may contradict, all the same.
            let is_other = served.iter().any(|one| one.sum != vouched.by.sum);
            let counts = vouched.is_proved || (vouched.is_signed && !asked.only_proved);
            if counts || is_other {
                sources.push(Source {
                    name: vouched.database,
                    h1: vouched.by.sum,
                    proved: Some(vouched.is_proved),
                    exchange: Some(vouched.by.exchange),
                });
            }
        }
        sources.extend(asked.second.sums.get(file).map(|h1| Source {
            name: asked.second.name.clone(),
            h1: h1.clone(),
            proved: None,
            exchange: None,
        }));
        let sums: BTreeSet<&str> = served.iter().map(|one| &*one.sum).collect();
        let contradicted = served
            .iter()
            .find(|one| sources.iter().any(|source| source.h1 != one.sum));
        let status = match (is_invalid, contradicted.is_some() || sums.len() > 1) {
            (true, _) => Status::Invalid,
            (false, true) => Status::Mismatch,
            (false, false) if sources.is_empty() || served.is_empty() => Status::Unverified,
            (false, false) => Status::Ok,
        };
        Some(Self {
            status,
            h1: contradicted
                .or_else(|| served.first())
                .map(|one| one.sum.clone()),
            is_unread: served.is_empty() && !is_invalid,
            sources,
            served,
        })
    }
}

/// The faulty answers after which the same host gave a sound one to the same question, and no faulty one after
/// that: a later run has mended them.
fn replaced(faults: &[Fault], rows: &[Row], routes: &Routes) -> BTreeSet<Key> {
    let faulty: BTreeSet<Key> = faults
        .iter()
        .map(|fault| (fault.run, fault.exchange))
        .collect();
    if faulty.is_empty() {
        return faulty;
    }
    let question = |row: &Row| {
        let route = routes.route(row);
        let host = Location::of(&row.url).host;
        (
            host,
            route.kind,
            route.module,
            route.version,
            route.tile,
            route.sumdb,
        )
    };
    let answers = || rows.iter().filter(|row| is_answer(row));
    let is_sound = |row: &Row| !faulty.contains(&(row.run, row.id));
    // The last one counts, if it is of a later run.
    let last: BTreeMap<_, (u32, bool)> = answers()
        .map(|row| (question(row), (row.run, is_sound(row))))
        .collect();
    let mended = answers().filter(|row| {
        let later = last.get(&question(row));
        !is_sound(row) && later.is_some_and(|(run, is_sound)| *is_sound && *run > row.run)
    });
    mended.map(|row| (row.run, row.id)).collect()
}
