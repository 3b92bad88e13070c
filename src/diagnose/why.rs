//! Why a module was asked for: what requires it, which of its versions won, and what its requests cost.
//!
//! The fields of [`Why`] are those of `why --json` (docs/formats.md): names and units stay.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::case::{self, Case};
use super::outcome::Listed;
use super::requirements::{Graph, Link, Selection};
use super::timeline::PARTS;
use crate::filter::Outcome;
use crate::gomod::{ModuleVersion, TOOLCHAIN_MODULE, compare_versions};
use crate::recording::Recording;
use crate::words::count;

/// The version of the JSON's shape.
const SCHEMA: u32 = 1;

/// How many modules that require a version are named.
const NAMED: usize = 8;

/// Why a module was asked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Why {
    /// The version of this shape.
    pub(crate) schema: u32,
    /// The recording's name.
    pub(crate) recording: String,
    /// The module's path.
    pub(crate) module: String,
    /// The version that the chain leads to: the one that was named, or the one that won.
    pub(crate) version: Option<String>,
    /// From the main module, or from what nobody requires, to that version; empty if no go.mod file
    /// on the recording requires it.
    pub(crate) chain: Vec<Step>,
    /// The versions that were asked for or are required, the newest first.
    pub(crate) versions: Vec<Version>,
    /// Whether the command worked in a workspace: the chain begins at one of its modules.
    pub(crate) workspace: bool,
    /// Whether requirements of requirements are left out, as Go does from 1.17 on.
    pub(crate) pruned: bool,
    /// How many go.mod files of the graph are not on the recording.
    pub(crate) missing: usize,
    /// Its requests, by start.
    pub(crate) requests: Vec<Request>,
    /// What they took, summed up, microseconds.
    pub(crate) total_us: u64,
    /// Their share of the wall time, microseconds: each instant is shared equally among the requests
    /// that are in flight.
    pub(crate) share_us: u64,
    /// From the start of the recording to its end, microseconds.
    pub(crate) wall_us: u64,
    /// Bytes of response bodies.
    pub(crate) body_bytes: u64,
    /// What else there is to know, in words.
    pub(crate) notes: Vec<String>,
}

/// A step of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// A module's path; for a replacement by a folder, the folder's.
    pub(crate) module: String,
    /// Its version; empty for the main module, and for a folder.
    pub(crate) version: String,
    /// How the module before leads here; `None` for the first.
    pub(crate) link: Option<&'static str>,
}

/// A version of the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Version {
    /// The version, or what was asked in place of one: a branch, a commit.
    pub(crate) version: String,
    /// Whether minimal version selection takes it.
    pub(crate) chosen: bool,
    /// How many requests asked for it.
    pub(crate) requests: usize,
    /// Who requires it, the first of them.
    pub(crate) required_by: Vec<String>,
    /// How many there are in all.
    pub(crate) required_by_total: usize,
}

/// A request that names the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Request {
    /// The exchange; unique within its run.
    pub(crate) id: u64,
    /// The run, from 0.
    pub(crate) run: u32,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// The version or query that it names.
    pub(crate) version: Option<String>,
    /// The host.
    pub(crate) host: String,
    /// Status, if a head came.
    pub(crate) status: Option<u16>,
    /// Its outcome.
    pub(crate) outcome: &'static str,
    /// When it started, since its run was opened.
    pub(crate) started_us: u64,
    /// What it took.
    pub(crate) total_us: u64,
    /// Bytes of the response body.
    pub(crate) body_bytes: u64,
}

/// No request and no requirement names the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The modules that there are.
    pub(crate) known: BTreeSet<String>,
}

impl Link {
    /// Its name in every output.
    const fn name(self) -> &'static str {
        match self {
            Self::Requires => "requires",
            Self::RequiresIndirectly => "requires-indirectly",
            Self::ReplacedBy => "replaced-by",
        }
    }
}

impl Why {
    /// Explains why `module`, in `version` if one is given, was asked for.
    pub(crate) fn of(
        recording: &Recording,
        module: &str,
        version: Option<&str>,
    ) -> Result<Self, Unknown> {
        let connections = case::connections(recording);
        let case = Case::of(recording, &connections);
        Self::told(&case, recording.name(), module, version)
    }

    fn told(
        case: &Case<'_>,
        recording: String,
        module: &str,
        version: Option<&str>,
    ) -> Result<Self, Unknown> {
        let (graph, selection) = (case.graph(), case.selection());
        let of_module =
            |asked: &&super::case::Asked<'_>| asked.listed.route.module.as_deref() == Some(module);
        let all: Vec<&Listed<'_>> = case
            .asked
            .iter()
            .filter(of_module)
            .map(|asked| &asked.listed)
            .collect();
        let versions = versions(&all, graph, selection, module);
        let is_named = |it: &&Version| version.is_none_or(|version| it.version == version);
        let found = versions.iter().find(is_named);
        let is_asked = all
            .iter()
            .any(|one| version.is_none() || one.route.version.as_deref() == version);
        if found.is_none() && !is_asked {
            return Err(Unknown {
                known: known(case, graph, module, version),
            });
        }
        let mut chosen = versions.iter().filter(|it| it.chosen);
        let target = match version {
            Some(version) => Some(version.to_owned()),
            None => chosen
                .next()
                .or_else(|| versions.first())
                .map(|it| it.version.clone()),
        };
        let targets = target
            .iter()
            .filter_map(|version| graph.find(&ModuleVersion::of(module, version)));
        let chain = graph.chain(&targets.collect(), selection);
        let requests: Vec<&&Listed<'_>> = all
            .iter()
            .filter(|one| version.is_none() || one.route.version.as_deref() == version)
            .collect();
        let ids: BTreeSet<(u32, u64)> = requests.iter().map(|one| (one.run, one.id)).collect();
        let items = case.items(|item| {
            let asked = case.asked_by(item);
            asked.is_some_and(|asked| ids.contains(&(asked.row.run, asked.row.id)))
        });
        let pieces = case.pieces_of(&items, None).into_iter();
        let share: u128 = pieces.map(|piece| case.timeline.pieces[piece].share).sum();
        let mut why = Self {
            schema: SCHEMA,
            recording,
            module: module.to_owned(),
            version: target,
            chain: steps(graph, &chain),
            workspace: case.requirements.work.is_some(),
            pruned: graph.is_pruned(),
            missing: selection.missing,
            total_us: requests
                .iter()
                .map(|one| one.total_us)
                .fold(0, u64::saturating_add),
            share_us: u64::try_from(share / PARTS).unwrap_or(u64::MAX),
            wall_us: case.timeline.wall_us,
            body_bytes: requests
                .iter()
                .map(|one| one.body_bytes)
                .fold(0, u64::saturating_add),
            requests: requests.into_iter().map(|one| request(one)).collect(),
            notes: Vec::new(),
            versions,
        };
        why.notes = why.notes(case, graph);
        Ok(why)
    }

    fn notes(&self, case: &Case<'_>, graph: &Graph) -> Vec<String> {
        let mut notes = Vec::new();
        if self.chain.is_empty() {
            notes.push(self.unrequired(case));
        }
        if let [first, ..] = &self.chain[..]
            && graph.mains.is_empty()
        {
            let Step {
                module, version, ..
            } = first;
            notes.push(format!(
                "the main module's go.mod is not on the recording: the chain begins at {module} {version}, which nothing else on it requires"
            ));
        }
        if self.pruned {
            notes.push(String::from(
                "the module graph is pruned: of a dependency whose go line is 1.17 or newer, what its own dependencies require does not count",
            ));
        }
        if self.missing > 0 {
            let files = count(self.missing as u64, "go.mod file");
            let are = if self.missing == 1 { "is" } else { "are" };
            notes.push(format!(
                "{files} of the graph {are} not on the recording (the module cache had them, or they came from a folder or a repository): a version that they require would not show here"
            ));
        }
        notes
    }

    /// Why it was asked for, although no go.mod file requires it.
    fn unrequired(&self, case: &Case<'_>) -> String {
        let module = &self.module;
        if module == TOOLCHAIN_MODULE {
            return self.toolchain(case);
        }
        let names_it = |word: &&String| {
            let path = word.split('@').next().unwrap_or_default();
            path == module
                || path
                    .strip_prefix(module.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        let is_probe = !self.requests.is_empty()
            && self
                .requests
                .iter()
                .all(|it| it.outcome == Outcome::Probe.name());
        if is_probe {
            return format!(
                "there is no module {module}: go asks for each path above that of a package, to find the module that holds it"
            );
        }
        match case.manifest.command.iter().find(names_it) {
            Some(word) => format!("the command names it: {word}"),
            None => String::from(
                "no go.mod file on the recording requires it: go looked for a package that no required module has, or the go.mod file that does was not downloaded",
            ),
        }
    }

    /// What asks for a toolchain.
    fn toolchain(&self, case: &Case<'_>) -> String {
        let version = self.version.as_deref().unwrap_or_default();
        match case.requirements.asking_for(version) {
            Some((line, whose)) => format!("the line `{line}` of {whose} asks for it"),
            None => String::from(
                "another Go than the one that is installed was to run: by GOTOOLCHAIN, or by a go line that is not on the recording",
            ),
        }
    }
}

/// The versions of a module that were asked for or are required, the newest first.
fn versions(
    asked: &[&Listed<'_>],
    graph: &Graph,
    selection: &Selection,
    module: &str,
) -> Vec<Version> {
    let mut requests: BTreeMap<&str, usize> = BTreeMap::new();
    for one in asked {
        if let Some(version) = &one.route.version {
            *requests.entry(version).or_default() += 1;
        }
    }
    for node in &graph.nodes {
        if node.of.path == module && !node.of.version.is_empty() {
            requests.entry(&node.of.version).or_default();
        }
    }
    let mut versions: Vec<Version> = requests
        .into_iter()
        .map(|(version, requests)| {
            let node = graph.find(&ModuleVersion::of(module, version));
            let by = || node.into_iter().flat_map(|node| graph.required_by(node));
            let name = |node: usize| graph.nodes[node].of.to_string().trim_end().to_owned();
            Version {
                version: version.to_owned(),
                chosen: selection.chosen.get(module).is_some_and(|it| it == version),
                requests,
                required_by: by().take(NAMED).map(name).collect(),
                required_by_total: by().count(),
            }
        })
        .collect();
    versions.sort_by(|a, b| match compare_versions(&b.version, &a.version) {
        Ordering::Equal => a.version.cmp(&b.version),
        order => order,
    });
    versions
}

fn steps(graph: &Graph, chain: &[(usize, Option<Link>)]) -> Vec<Step> {
    let step = |(node, link): &(usize, Option<Link>)| {
        let ModuleVersion { path, version } = graph.nodes[*node].of.clone();
        Step {
            module: path,
            version,
            link: link.map(Link::name),
        }
    };
    chain.iter().map(step).collect()
}

fn request(one: &Listed<'_>) -> Request {
    Request {
        id: one.id,
        run: one.run,
        kind: one.route.kind.name(),
        version: one.route.version.clone(),
        host: one.host.clone(),
        status: one.status,
        outcome: one.outcome.name(),
        started_us: one.started_us.as_micros(),
        total_us: one.total_us,
        body_bytes: one.body_bytes,
    }
}

/// What could have been meant: the versions of the module if there is one of that name, else modules.
fn known(case: &Case<'_>, graph: &Graph, module: &str, version: Option<&str>) -> BTreeSet<String> {
    let asked = case.asked.iter().map(|asked| {
        let route = &asked.listed.route;
        (route.module.as_deref(), route.version.as_deref())
    });
    let asked = asked.filter_map(|(path, version)| Some((path?, version.unwrap_or_default())));
    let required = graph
        .nodes
        .iter()
        .map(|node| (&*node.of.path, &*node.of.version));
    let all: Vec<(&str, &str)> = asked.chain(required).collect();
    let of_module = all
        .iter()
        .filter(|(path, version)| *path == module && !version.is_empty());
    let versions: BTreeSet<String> = of_module
        .map(|(path, version)| format!("{path}@{version}"))
        .collect();
    match version.is_some() && !versions.is_empty() {
        true => versions,
        false => all.into_iter().map(|(path, _)| path.to_owned()).collect(),
    }
}
