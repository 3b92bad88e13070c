//! What came of comparing a recording's module files with those who have hashes of them, for people.
//!
//! Pure: plain data in, text out. Everything that came from a peer or a file goes through
//! [`Look::plain`].

use std::collections::{BTreeMap, BTreeSet};

use super::look::{Look, Paint};
use crate::diagnose::verify::{Module, Status, Verdict, Verified};
use crate::words::{columns, count};

/// How many modules that nothing vouches for are named.
const NAMED: usize = 5;

/// The width of the first column: of the longest word and two spaces.
const WORD: usize = 12;

/// The table, with its last line feed.
pub(crate) fn text(verified: &Verified, look: Look) -> String {
    let mut lines = Vec::new();
    lines.extend(ok(verified, look));
    // One of several that have the same content is named.
    let mut told = BTreeSet::new();
    for module in &verified.modules {
        for (what, verdict) in module.verdicts() {
            if verdict.status == Status::Mismatch {
                let kind = what.trim_start_matches("go.");
                told.insert(format!("{kind} {} {}", module.module, module.version));
                lines.extend(mismatch(module, what, verdict, look));
            }
        }
    }
    let faults = verified.faults.iter();
    let named = faults.filter(|fault| !told.contains(&fault.what));
    lines.extend(named.map(|fault| {
        let fault = fault.to_string();
        line("INVALID", Some(Paint::Red), &look.plain(&fault), look)
    }));
    lines.extend(unverified(verified, look));
    lines.concat()
}

fn line(word: &str, paint: Option<Paint>, text: &str, look: Look) -> String {
    let space = " ".repeat(WORD.saturating_sub(word.len()));
    let word = match paint {
        Some(paint) => look.paint(paint, word),
        None => word.to_owned(),
    };
    format!("{word}{space}{text}\n")
}

/// How many modules are as somebody says, and who says so of how many.
fn ok(verified: &Verified, look: Look) -> Option<String> {
    let modules = || {
        let modules = verified.modules.iter();
        modules.filter(|module| module.status() == Status::Ok)
    };
    let zips = modules().filter(|module| module.zip.is_some()).count();
    let go_mods = modules().filter(|module| module.go_mod.is_some()).count();
    let number = modules().count();
    if number == 0 {
        return None;
    }
    // By name: of how many modules all files are vouched for, and for how many of them this is proved.
    let mut by_source: BTreeMap<&str, (usize, Option<usize>)> = BTreeMap::new();
    for module in modules() {
        for (name, proved) in vouching(module) {
            let (all, proven) = by_source.entry(name).or_default();
            *all += 1;
            if let Some(proved) = proved {
                *proven.get_or_insert(0) += usize::from(proved);
            }
        }
    }
    let said: Vec<String> = by_source
        .into_iter()
        .map(|(name, (all, proven))| {
            let name = look.plain(name);
            match proven {
                None => format!("{name} has {all}"),
                Some(proven) if proven == all => format!("{name} has {all}, all proved"),
                Some(proven) => format!("{name} has {all}, of which {proven} are proved"),
            }
        })
        .collect();
    let text = format!(
        "{} ({}, {}): {}",
        count(number as u64, "module"),
        count(zips as u64, "zip"),
        count(go_mods as u64, "go.mod file"),
        said.join("; ")
    );
    Some(line("ok", None, &text, look))
}

/// Who has the hash of each file of a module; of a database, whether all of them are proved.
fn vouching(module: &Module) -> BTreeMap<&str, Option<bool>> {
    let mut all: Option<BTreeMap<&str, Option<bool>>> = None;
    for (_, verdict) in module.verdicts() {
        let sources = verdict.sources.iter();
        let its: BTreeMap<&str, Option<bool>> = sources
            .map(|source| (&*source.name, source.proved))
            .collect();
        all = Some(match all {
            None => its,
            Some(all) => all
                .into_iter()
                .filter_map(|(name, proved)| {
                    let also = its.get(name)?;
                    let both = proved.zip(*also).map(|(one, other)| one && other);
                    Some((name, both))
                })
                .collect(),
        });
    }
    all.unwrap_or_default()
}

/// Who says what of a file, a line for each hash.
fn mismatch(module: &Module, what: &str, verdict: &Verdict, look: Look) -> Vec<String> {
    let head = format!("{what} of {} {}", module.module, module.version);
    let mut by_sum: Vec<(&str, Vec<String>)> = Vec::new();
    let mut add = |sum, name: String| match by_sum.iter_mut().find(|(known, _)| *known == sum) {
        Some((_, names)) => names.push(name),
        None => by_sum.push((sum, vec![name])),
    };
    for source in &verdict.sources {
        let number = source.exchange.map(|id| format!(" #{id}"));
        add(
            &*source.h1,
            format!("{}{}", source.name, number.unwrap_or_default()),
        );
    }
    for one in &verdict.served {
        let by = match one.exchange {
            0 => format!("from {}", one.host),
            exchange => format!("served by {} #{exchange}", one.host),
        };
        add(&*one.sum, by);
    }
    let rows: Vec<(String, &str)> = by_sum
        .into_iter()
        .map(|(sum, names)| (look.plain(&names.join(", ")).into_owned(), sum))
        .collect();
    let width = rows.iter().map(|(names, _)| columns(names)).max();
    let mut lines = vec![line("MISMATCH", Some(Paint::Red), &look.plain(&head), look)];
    lines.extend(rows.iter().map(|(names, sum)| {
        let space = " ".repeat(width.unwrap_or(0).saturating_sub(columns(names)) + 2);
        line(
            "",
            None,
            &format!("{names}{space}{}", look.plain(sum)),
            look,
        )
    }));
    lines
}

/// How many modules nothing vouches for, and the first of them.
fn unverified(verified: &Verified, look: Look) -> Option<String> {
    let modules = verified.modules.iter();
    let unverified = modules.filter(|module| module.status() == Status::Unverified);
    let names: Vec<String> = unverified
        .map(|module| format!("{} {}", module.module, module.version))
        .collect();
    if names.is_empty() {
        return None;
    }
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = names[..names.len().min(NAMED)].join(", ");
    let text = format!(
        "{} for which nothing vouches: {}{more}",
        count(names.len() as u64, "module"),
        look.plain(&named)
    );
    Some(line("unverified", Some(Paint::Yellow), &text, look))
}
