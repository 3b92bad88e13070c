//! What stands around the answers: settings, tree heads, protocols, issuers of certificates.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::answers::Found;
use super::{Compared, Pair};
use crate::diagnose::content::Source;
use crate::diagnose::report::Report;
use crate::gomod::{Kind, Location, Lookup};
use crate::recording::Recording;
use crate::recording::format::Manifest;
use crate::sumdb::Head;

/// A setting that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    /// Its name: `GOPROXY`, `go version`, `processors`.
    pub(crate) name: String,
    /// What it was; `None` if that is not known.
    #[serde(flatten)]
    pub(crate) values: Pair<Option<String>>,
}

/// What is not the same of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    /// The host, with the port where it is not the scheme's own.
    pub(crate) host: String,
    /// All that there was.
    #[serde(flatten)]
    pub(crate) names: Pair<Vec<String>>,
}

/// The tree heads of a checksum database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Heads {
    /// Its name; empty where it is not known.
    pub(crate) database: String,
    /// The sizes of the trees, the largest first; at most [`HEADS`].
    #[serde(flatten)]
    pub(crate) sizes: Pair<Vec<u64>>,
    /// Whether two trees of one size have different roots: the database showed two histories.
    pub(crate) is_fork: bool,
}

/// How many tree heads are named of each recording.
const HEADS: usize = 20;

/// What the go command goes by, where it differs.
pub(super) fn settings(manifests: &Pair<&Manifest>) -> Vec<Setting> {
    let exit_code = manifests.map(|one| one.exit_code.map(|code| code.to_string()));
    let processors = manifests.map(|one| one.processors.map(|count| count.to_string()));
    let version = manifests.map(|one| one.go_version.clone());
    let mut settings = vec![
        ("exit code", exit_code),
        ("go version", version),
        ("processors", processors),
    ];
    // An imported recording has none, which says nothing.
    let known = manifests.map(|one| !one.go_env.is_empty());
    if known.a && known.b {
        let names = manifests.a.go_env.keys().chain(manifests.b.go_env.keys());
        let names: BTreeSet<&String> = names.collect();
        let value = |name: &String| manifests.map(|one| one.go_env.get(name).cloned());
        settings.extend(names.into_iter().map(|name| (name.as_str(), value(name))));
    }
    let differ = settings
        .into_iter()
        .filter(|(_, values)| values.a != values.b);
    differ
        .map(|(name, values)| Setting {
            name: name.to_owned(),
            values,
        })
        .collect()
}

/// The sizes and roots of trees, by the database's name.
type Trees = BTreeMap<String, BTreeSet<(u64, String)>>;

/// The tree heads that came with lookups, where they are not the same.
pub(super) fn heads<S: Source>(
    both: &Pair<Compared<'_, S>>,
    held: &Pair<BTreeMap<String, Found<'_>>>,
) -> Vec<Heads> {
    let trees = Pair {
        a: trees(&both.a.source, &held.a),
        b: trees(&both.b.source, &held.b),
    };
    let databases: BTreeSet<&String> = trees.a.keys().chain(trees.b.keys()).collect();
    let none = BTreeSet::new();
    let heads = databases.into_iter().filter_map(|database| {
        let of = trees.map(|trees| trees.get(database).unwrap_or(&none).clone());
        let all: BTreeSet<&(u64, String)> = of.a.iter().chain(&of.b).collect();
        let sizes: BTreeSet<u64> = all.iter().map(|(size, _)| *size).collect();
        let heads = Heads {
            database: database.clone(),
            sizes: of.map(sorted),
            is_fork: sizes.len() < all.len(),
        };
        let is_same = of.a == of.b;
        // What is asked of it depends on what go.sum has.
        let has_both = !of.a.is_empty() && !of.b.is_empty();
        (heads.is_fork || !is_same && has_both).then_some(heads)
    });
    heads.collect()
}

fn sorted(trees: &BTreeSet<(u64, String)>) -> Vec<u64> {
    let mut sizes: Vec<u64> = trees.iter().rev().map(|(size, _)| *size).collect();
    sizes.dedup();
    sizes.truncate(HEADS);
    sizes
}

fn trees(source: &impl Source, held: &BTreeMap<String, Found<'_>>) -> Trees {
    let mut trees = Trees::new();
    for found in held.values() {
        if found.route().kind != Kind::Lookup || !found.has_content() {
            continue;
        }
        // What cannot be read is told where answers are compared.
        let Ok(Some(content)) = source.text(found.row) else {
            continue;
        };
        let note = Lookup::parse(&content).and_then(|lookup| std::str::from_utf8(lookup.note).ok());
        let Some(Ok(head)) = note.map(str::parse::<Head>) else {
            continue;
        };
        let database = found.route().sumdb.clone().unwrap_or_default();
        let tree = (head.size, head.root.to_string());
        trees.entry(database).or_default().insert(tree);
    }
    trees
}

/// What hosts of both recordings spoke, where it was not the same.
pub(super) fn protocols(reports: &Pair<Report>) -> Vec<Named> {
    let spoken = reports.map(|report| {
        let hosts = report.hosts.iter();
        let spoken =
            hosts.map(|(name, host)| (name.clone(), host.protocols.iter().cloned().collect()));
        spoken.collect()
    });
    differing(&spoken)
}

/// Who issued the certificates of hosts of both recordings, where it was not the same.
pub(super) fn issuers(recordings: &Pair<&Recording>) -> Vec<Named> {
    let issuers = recordings.map(|recording| {
        let mut issuers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for dial in recording
            .connections()
            .flat_map(|connection| connection.dials())
        {
            let upstream = dial.upstream.as_ref();
            if let Some(issuer) = upstream.and_then(|upstream| upstream.issuer.clone()) {
                let host = Location::of(&dial.target).host;
                issuers.entry(host).or_default().insert(issuer);
            }
        }
        issuers
    });
    differing(&issuers)
}

/// What is known of a host from both and is not the same.
fn differing(names: &Pair<BTreeMap<String, BTreeSet<String>>>) -> Vec<Named> {
    let both = names
        .a
        .iter()
        .filter_map(|(host, a)| Some((host, a, names.b.get(host)?)));
    let both = both.filter(|(_, a, b)| a != b && !a.is_empty() && !b.is_empty());
    both.map(|(host, a, b)| Named {
        host: host.clone(),
        names: Pair { a, b }.map(|names| names.iter().cloned().collect()),
    })
    .collect()
}
