//! `modtape cache pull`: fills a store with all that a go.sum or a go.mod names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Shown, made};
use crate::cli::{CachePullArgs, Global};
use crate::commands::failure::{Failure, USAGE};
use crate::commands::runtime::Stop;
use crate::commands::serve::Filling;
use crate::files::read_small;
use crate::gomod::{GoMod, GoSum, Kind, ModuleVersion, TEXT_LIMIT, compare_go, compare_versions};
use crate::serve::{Disk, Filled, Item, Server};
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, plain, say, warn};

/// The exit code where something is missing.
const MISSING: u8 = 1;

/// Answers that are fetched at once.
const AT_ONCE: usize = 32;

/// Module versions whose go.mod files are read for a build list: the largest projects have some thousand.
const GRAPH: usize = 100_000;

/// The first version of go whose go.mod files name all that their packages need (go.dev/ref/mod#graph-pruning).
const PRUNED: &str = "1.17";

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Pulled {
    /// Answers that the store has now.
    pub(super) kept: u64,
    /// Bytes of their bodies.
    pub(super) bytes: u64,
    pub(super) missing: Vec<Missing>,
    /// Whether a signal came before the end.
    pub(super) stopped: bool,
}

/// What the store has not.
#[derive(Debug, Serialize)]
pub(super) struct Missing {
    /// Its path below a module proxy.
    pub(super) path: String,
    pub(super) why: String,
}

/// What is to be in the store, each with the hashes that it may have; any, if there are none.
#[derive(Debug, Default)]
struct Wanted {
    items: BTreeMap<String, (Item, Vec<String>)>,
    missing: Vec<Missing>,
}

pub(super) fn run(args: &CachePullArgs, global: &Global) -> Result<ExitCode, Failure> {
    let stop = Stop::listen()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start")?;
    let pulled = runtime.block_on(pull(args, &stop, global));
    runtime.shutdown_background();
    let pulled = pulled?;
    pulled.print(args.store.json, global)?;
    pulled.code(&stop)
}

impl Pulled {
    /// What is missing on stdout, and the sum of it.
    pub(super) fn print(&self, is_json: bool, global: &Global) -> anyhow::Result<()> {
        let lines = self.missing.iter();
        let lines = lines.map(|it| format!("{}: {}", it.path, it.why));
        Shown {
            lines: lines.collect(),
            json: self,
        }
        .print(is_json)?;
        let (kept, bytes) = (count(self.kept, "answer"), size(self.bytes));
        let missing = self.missing.len();
        say(global, format!("{kept} kept, {bytes}; {missing} missing"));
        Ok(())
    }

    pub(super) fn code(&self, stop: &Stop) -> Result<ExitCode, Failure> {
        if let Some(code) = stop.code().filter(|_| self.stopped) {
            let error = anyhow!("stopped by a signal: what came until then is kept");
            return Err(Failure::new(code, error));
        }
        Ok(match self.missing.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(MISSING),
        })
    }
}

async fn pull(args: &CachePullArgs, stop: &Stop, global: &Global) -> Result<Pulled, Failure> {
    let (_, disk) = made(&args.store)?;
    let mut files = Vec::new();
    for path in &args.files {
        let shown = path.display();
        let text = read_small(path, TEXT_LIMIT).with_context(|| format!("cannot read {shown}"))?;
        files.push((path, text));
    }
    let filling = Filling::start(flags(args), disk, None).await?;
    let filled = async {
        let mut wanted = Wanted::default();
        for (path, text) in &files {
            match path.extension().is_some_and(|kind| kind == "sum") {
                true => wanted.add_sums(path, text)?,
                false => {
                    let list = build_list(filling.server(), path, text, global).await?;
                    wanted.add_list(list);
                }
            }
        }
        let Wanted { items, missing } = wanted;
        let mut pulled = Pulled {
            missing,
            ..Pulled::default()
        };
        fill(&filling, items.into_values(), &mut pulled, global).await;
        Ok(pulled)
    };
    let pulled = tokio::select! {
        pulled = filled => pulled,
        () = stop.heard() => Ok(Pulled {
            stopped: true,
            ..Pulled::default()
        }),
    };
    filling.close().await;
    pulled
}

/// The flags of `serve` that say where it fetches.
fn flags(args: &CachePullArgs) -> Vec<OsString> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: &OsStr| {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        flags.push(flag);
    };
    let dial = &args.dial;
    if let Some(list) = &args.upstream {
        flag("upstream", list.as_ref());
    }
    flag("upstream-proxy", dial.upstream_proxy.as_ref());
    for path in &dial.upstream_ca {
        flag("upstream-ca", path.as_ref());
    }
    for place in &dial.resolve {
        flag("resolve", place.as_ref());
    }
    for place in &dial.connect_to {
        flag("connect-to", place.as_ref());
    }
    let idle = format!("{}ms", args.upstream_idle_timeout.as_millis().max(1));
    flag("upstream-idle-timeout", idle.as_ref());
    flags
}

impl Wanted {
    fn add(&mut self, kind: Kind, module: &str, version: &str, h1: Vec<String>) {
        match Item::of_version(kind, module, version) {
            Some(item) => {
                let path = item.path().to_owned();
                self.items.entry(path).or_insert((item, h1));
            }
            None => self.missing.push(Missing {
                path: format!("{module}@{version}"),
                why: "no module proxy has such a module or version".into(),
            }),
        }
    }

    /// All that a go.sum has a hash of.
    fn add_sums(&mut self, path: &Path, text: &[u8]) -> Result<(), Failure> {
        let sums = GoSum::parse(text);
        if let Some(malformed) = &sums.malformed {
            let shown = path.display();
            let (line, text) = (malformed.line, plain(&malformed.text));
            let error = anyhow!("{shown}:{line} is no line of a go.sum: {text}");
            return Err(Failure::new(USAGE, error));
        }
        let owned = |h1: Vec<&str>| h1.into_iter().map(str::to_owned).collect();
        for (module, version) in sums.versions() {
            let h1 = owned(sums.of(Kind::Mod, module, version));
            self.add(Kind::Mod, module, version, h1);
        }
        for (module, version, _) in sums.zips() {
            let h1 = owned(sums.of(Kind::Zip, module, version));
            self.add(Kind::Info, module, version, Vec::new());
            self.add(Kind::Zip, module, version, h1);
        }
        Ok(())
    }

    /// All files of a build list.
    fn add_list(&mut self, list: Graph) {
        self.missing.extend(list.missing);
        for (module, version) in &list.selected {
            for kind in [Kind::Info, Kind::Mod, Kind::Zip] {
                self.add(kind, module, version, Vec::new());
            }
        }
    }
}

/// Has these answers in the store; notes those that are not.
pub(super) async fn fill(
    filling: &Filling,
    wanted: impl Iterator<Item = (Item, Vec<String>)>,
    pulled: &mut Pulled,
    global: &Global,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (item, h1) in wanted {
        let (server, places) = (Arc::clone(filling.server()), Arc::clone(&places));
        let disk = filling.disk().clone();
        running.spawn(async move {
            let place = places.acquire_owned().await;
            let filled = filled(&server, disk, &item, h1).await;
            drop(place);
            (item, filled)
        });
    }
    let mut progress = Progress::new("answer", running.len(), global);
    let mut done = 0;
    while let Some(joined) = running.join_next().await {
        done += 1;
        progress.step(done);
        match joined {
            Ok((_, Ok(bytes))) => {
                pulled.kept += 1;
                pulled.bytes += bytes;
            }
            Ok((item, Err(why))) => pulled.missing.push(Missing {
                path: item.path().to_owned(),
                why,
            }),
            Err(panicked) => pulled.missing.push(Missing {
                path: String::from("?"),
                why: panicked.to_string(),
            }),
        }
    }
    pulled.missing.sort_by(|a, b| a.path.cmp(&b.path));
}

/// Has an answer in the store, and compares its hash; its bytes.
async fn filled(
    server: &Arc<Server>,
    disk: Disk,
    item: &Item,
    h1: Vec<String>,
) -> Result<u64, String> {
    let filled: Filled = server.fill(item).await?;
    let bytes = filled.bytes();
    let (own, is_compared) = (item.clone(), !h1.is_empty());
    let looked = tokio::task::spawn_blocking(move || {
        // A tile that no record has needed is kept in memory alone.
        if own.kind() != Kind::Tile && !disk.holds(&own) {
            return Err("it came, and the store did not take it".into());
        }
        is_compared.then(|| filled.h1(&own)).transpose()
    });
    let hash = looked.await.map_err(|panicked| panicked.to_string())??;
    let Some(hash) = hash else {
        return Ok(bytes);
    };
    match h1.contains(&hash) {
        true => Ok(bytes),
        false => Err(format!(
            "its hash is {hash}, and go.sum has {}",
            h1.join(", ")
        )),
    }
}

/// What a go.mod needs.
#[derive(Debug, Default)]
struct Graph {
    /// The version of each module.
    selected: BTreeMap<String, String>,
    missing: Vec<Missing>,
}

/// The build list of a main module: minimal version selection over its graph, pruned as go prunes it
/// (`cmd/go/internal/modload.readModGraph`).
async fn build_list(
    server: &Arc<Server>,
    path: &Path,
    text: &[u8],
    global: &Global,
) -> Result<Graph, Failure> {
    let main = GoMod::parse(text);
    if main.module.is_none() {
        let error = anyhow!("{} has no line `module`: it is no go.mod", path.display());
        return Err(Failure::new(USAGE, error));
    }
    if let Some(folder) = main.replace.iter().find(|it| it.new_version.is_none()) {
        let what = format!(
            "{} is a folder, {}, and is not pulled",
            folder.old, folder.new
        );
        warn(global, plain(&what));
    }
    let excluded: HashSet<&ModuleVersion> = main.exclude.iter().collect();
    let mut graph = Graph::default();
    let mut read: HashMap<ModuleVersion, Arc<GoMod>> = HashMap::new();
    let mut lacking = BTreeSet::new();
    // What is read next, and whether all that it requires is followed, however new it is.
    let follows_all = !is_pruned(&main);
    let wanted = |of: &GoMod| -> Vec<ModuleVersion> {
        let of = of.require.iter().map(|requirement| requirement.of.clone());
        of.filter(|of| !excluded.contains(of)).collect()
    };
    let mut level: BTreeSet<(ModuleVersion, bool)> = wanted(&main)
        .into_iter()
        .map(|of| (of, follows_all))
        .collect();
    let mut seen = level.clone();
    let mut progress = Progress::new("go.mod", level.len(), global);
    while !level.is_empty() {
        if seen.len() > GRAPH {
            let error = anyhow!(
                "{} requires more than {GRAPH} module versions",
                path.display()
            );
            return Err(error.into());
        }
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut reading = JoinSet::new();
        for (of, _) in &level {
            graph.select(of);
            let Some(taken) = replaced(&main, of).filter(|_| !read.contains_key(of)) else {
                continue;
            };
            let (server, of, places) = (Arc::clone(server), of.clone(), Arc::clone(&places));
            reading.spawn(async move {
                let place = places.acquire_owned().await;
                let text = go_mod(&server, &taken).await;
                drop(place);
                (of, taken, text)
            });
        }
        while let Some(joined) = reading.join_next().await {
            let (of, taken, text) = joined.context("a go.mod was not read")?;
            match text {
                Ok(text) => {
                    read.insert(of, Arc::new(GoMod::parse(&text)));
                }
                Err(why) => {
                    lacking.insert((format!("{}@{}", taken.path, taken.version), why));
                }
            }
            progress.step(read.len());
        }
        let mut next = BTreeSet::new();
        for (of, follows_all) in level {
            let Some(go_mod) = read.get(&of) else {
                continue;
            };
            let follows_all = follows_all || !is_pruned(go_mod);
            for required in wanted(go_mod) {
                graph.select(&required);
                let step = (required, follows_all);
                // A pruned module's requirements are named, and not followed.
                if follows_all && seen.insert(step.clone()) {
                    next.insert(step);
                }
            }
        }
        progress.of(seen.len());
        level = next;
    }
    let selected = std::mem::take(&mut graph.selected);
    let of = |(path, version)| ModuleVersion { path, version };
    let taken = selected
        .into_iter()
        .filter_map(|it| replaced(&main, &of(it)));
    graph.selected = taken.map(|it| (it.path, it.version)).collect();
    let missing = lacking.into_iter();
    graph.missing = missing
        .map(|(of, why)| Missing {
            path: format!("{of}/go.mod"),
            why,
        })
        .collect();
    Ok(graph)
}

impl Graph {
    /// The highest version that anybody requires.
    fn select(&mut self, of: &ModuleVersion) {
        let selected = self.selected.entry(of.path.clone());
        let selected = selected.or_insert_with(|| of.version.clone());
        if compare_versions(&of.version, selected).is_gt() {
            selected.clone_from(&of.version);
        }
    }
}

/// What is fetched for a module version; `None` for a folder.
fn replaced(main: &GoMod, of: &ModuleVersion) -> Option<ModuleVersion> {
    let same = main.replace.iter().filter(|it| it.old == of.path);
    // One for that version goes before one for all.
    let mut by_version = same.clone();
    let exact = by_version.find(|it| it.old_version.as_ref() == Some(&of.version));
    let mut for_all = same;
    let found = exact.or_else(|| for_all.find(|it| it.old_version.is_none()));
    match found {
        None => Some(of.clone()),
        Some(replacement) => Some(ModuleVersion {
            path: replacement.new.clone(),
            version: replacement.new_version.clone()?,
        }),
    }
}

fn is_pruned(of: &GoMod) -> bool {
    let go = of.go.as_deref();
    go.is_some_and(|go| compare_go(go, PRUNED).is_ge())
}

async fn go_mod(server: &Arc<Server>, of: &ModuleVersion) -> Result<bytes::Bytes, String> {
    let item = Item::of_version(Kind::Mod, &of.path, &of.version);
    let item = item.ok_or("no module proxy has such a module or version")?;
    server.fill(&item).await?.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_for_a_version_goes_before_one_for_all() {
        let main = GoMod::parse(
            b"module m\nreplace (\na.b/c => a.b/d v1.0.0\na.b/c v1.1.0 => a.b/e v2.0.0\na.b/f => ./f\n)\n",
        );
        let taken = |path: &str, version: &str| {
            let of = ModuleVersion {
                path: path.into(),
                version: version.into(),
            };
            replaced(&main, &of).map(|it| format!("{}@{}", it.path, it.version))
        };
        assert_eq!(taken("a.b/c", "v1.0.0").as_deref(), Some("a.b/d@v1.0.0"));
        assert_eq!(taken("a.b/c", "v1.1.0").as_deref(), Some("a.b/e@v2.0.0"));
        assert_eq!(taken("a.b/f", "v1.1.0"), None);
        assert_eq!(taken("a.b/g", "v1.1.0").as_deref(), Some("a.b/g@v1.1.0"));
    }
}
