//! `modtape seal`: asks for what a recording lacks, so that every command finds what it needs in it, and proves
//! all of it by the checksum database.
//!
//! What is asked goes through a proxy of our own and is appended to the journal as a run of its own. It
//! may stop at any point: the next time, only what is still missing is asked for.

mod holdings;
mod proof;
mod sources;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use tokio::task::JoinSet;

use self::holdings::{Holdings, path, route};
use self::proof::Signed;
use self::sources::{Asked, Failure as NoAnswer, Sources};
use super::answers;
use super::appended_run::{Addition, AppendedRun, Locked};
use super::client::{Client, Credentials, IDLE, Outward, Wanted};
use super::dialling;
use super::failure::{Advise as _, Failure, USAGE};
use super::record::dumb_repositories;
use super::runtime::{Stop, block_on};
use super::selection::resolve;
use super::session::Variables;
use crate::catalog::Faulty;
use crate::cli::{Global, SealArgs};
use crate::clock::Clock;
use crate::diagnose::closure::{Ask, closure};
use crate::diagnose::content::Checked;
use crate::diagnose::replayable::{Recorded, replayable};
use crate::diagnose::rerun::Rerun;
use crate::diagnose::routes::Routes;
use crate::exchange::{Hex, MadeBy, TraceParent};
use crate::gomod::{
    GoSumDb, Kind, Location, ModuleVersion, TOOLCHAIN_MODULE, Tile, bases, matches_patterns,
};
use crate::recording::format::{Conflict, Manifest, State};
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};
use crate::redact::Redactor;
use crate::sockets::OwnSockets;
use crate::sumdb::{Head, Verifier};
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, plain, say, say_always, to_stdout};
use crate::tls::{self, RootSources, Roots};

/// The verb, as it stands in the journal.
const VERB: &str = "seal";

/// Requests that are on their way at once: a go command on eight processors sends as many.
const AT_ONCE: usize = 16;

/// The exit code of a recording that is not sealed after all.
const NOT_SEALED: u8 = 1;

/// What the go command takes where nothing is set (`cmd/go/internal/cfg`).
const DEFAULT_GOPROXY: &str = "https://proxy.golang.org,direct";

/// How many answers that are missing are named.
const NAMED: usize = 10;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Sealed {
    /// The version of the keys.
    schema: u32,
    /// Whether the recording answers every command.
    sealed: bool,
    /// Versions of modules that commands can ask for, toolchains included.
    versions: usize,
    /// Of how many modules.
    modules: usize,
    /// How many of the versions have their zip.
    zips: usize,
    /// Records of the checksum database.
    lookups: usize,
    /// Its tiles.
    tiles: usize,
    /// Requests that were sent.
    asked: u64,
    /// Bytes of their responses.
    bytes: u64,
    /// Files of which all who were asked say that there is no such thing.
    absent: u64,
    /// What was asked for, and has no answer.
    missing: Vec<Missing>,
    /// What is not what it should be.
    wrong: Vec<String>,
    /// Whether that is known: a signal may stop the check.
    #[serde(skip)]
    is_judged: bool,
}

/// Something that has no answer.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Missing {
    /// Who was asked last.
    host: String,
    /// What came instead.
    why: String,
    /// What was asked for.
    what: String,
}

/// Runs the verb.
pub(super) fn run(args: &SealArgs, global: &Global) -> Result<ExitCode, Failure> {
    let dir = resolve(&args.name, global)?;
    seal(&dir, args, global)
}

/// Seals the recording in `dir`, and says so.
pub(super) fn seal(dir: &Path, args: &SealArgs, global: &Global) -> Result<ExitCode, Failure> {
    let sealed = block_on(complete(dir, args, global))??;
    if args.json {
        let text = serde_json::to_string(&sealed).map_err(anyhow::Error::new)?;
        to_stdout(|out| Ok(writeln!(out, "{text}")?))?;
    }
    let name = name_of(dir);
    if sealed.sealed {
        say(global, told(&name, &sealed));
        return Ok(ExitCode::SUCCESS);
    }
    say_always(hindrances(&sealed));
    Err(Failure::new(NOT_SEALED, not_sealed(&name, &sealed)))
}

fn name_of(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    name.to_string_lossy().into_owned()
}

fn told(name: &str, sealed: &Sealed) -> String {
    let Sealed {
        versions,
        modules,
        zips,
        lookups,
        tiles,
        asked,
        bytes,
        ..
    } = sealed;
    let asked = match asked {
        0 => String::from("nothing had to be asked"),
        asked => format!(
            "{} sent, {} received",
            count(*asked, "request"),
            size(*bytes)
        ),
    };
    let versions = count(*versions as u64, "version");
    let modules = count(*modules as u64, "module");
    let database = match lookups {
        0 => String::from("no checksum database"),
        lookups => format!(
            "{} proved by {}",
            count(*lookups as u64, "record"),
            count(*tiles as u64, "tile")
        ),
    };
    format!(
        "modtape: sealed {name}: {versions} of {modules}, {zips} with zips; {database}; {asked}"
    )
}

/// The lines that say what keeps a recording from being sealed.
fn hindrances(sealed: &Sealed) -> String {
    let mut lines: Vec<String> = sealed.wrong.iter().take(NAMED).cloned().collect();
    if sealed.wrong.len() > NAMED {
        lines.push(format!("and {} more", sealed.wrong.len() - NAMED));
    }
    let mut by_failure: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for Missing { host, why, what } in &sealed.missing {
        by_failure.entry((host, why)).or_default().push(what);
    }
    let failures = by_failure.len();
    for ((host, why), whats) in by_failure.into_iter().take(NAMED) {
        let more = match whats.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        lines.push(format!("{}{more}: {host}: {why}", whats[0]));
    }
    if failures > NAMED {
        lines.push(format!("and {} more reasons", failures - NAMED));
    }
    let lines = lines.iter().map(|line| format!("  {}", plain(line)));
    lines.collect::<Vec<_>>().join("\n")
}

fn not_sealed(name: &str, sealed: &Sealed) -> anyhow::Error {
    let (missing, wrong) = (sealed.missing.len() as u64, sealed.wrong.len());
    let (what, help) = match (missing, wrong) {
        (1.., _) => (
            format!("{} missing", count(missing, "answer")),
            String::from(
                "what was answered is kept: `modtape seal` asks for the rest the next time",
            ),
        ),
        _ => (
            String::from("not all of it is as it should be"),
            String::from(
                "record it again, from a proxy that is sound; `modtape verify` says more of module files",
            ),
        ),
    };
    let error = Err::<(), _>(anyhow!("{name} is not sealed: {what}"));
    error.help(help).expect_err("it is one")
}

/// What a recording is completed by.
struct Sealing {
    sources: Sources,
    setting: GoSumDb,
    verifier: Option<Verifier>,
    /// Patterns of modules that no module proxy is asked for.
    private: String,
    /// Patterns of modules that the checksum database is not asked for.
    unsummed: String,
    all_zips: bool,
    was_sealed: bool,
    held: Holdings,
    absent: u64,
    failed: BTreeMap<String, (String, NoAnswer)>,
}

/// Asks for what the recording in `dir` lacks, and closes it.
async fn complete(dir: &Path, args: &SealArgs, global: &Global) -> Result<Sealed, Failure> {
    let overrides = dialling::overrides(&args.dial).map_err(|error| Failure::new(USAGE, error))?;
    let variables = Variables::read();
    let parents = dialling::parents(&args.dial, &variables);
    let parents = parents.map_err(|error| Failure::new(USAGE, error))?;
    let roots = Roots::load(&RootSources {
        file: variables.ssl_cert_file.clone(),
        dirs: variables.ssl_cert_dir.clone(),
        extra: args.dial.upstream_ca.clone(),
    })
    .map_err(anyhow::Error::new)?;
    let stop = Stop::listen()?;
    let clock = Clock::start();
    let mut locked = Locked::open(dir)?;
    let stopped = || {
        let name = name_of(dir);
        let error = Err::<(), _>(anyhow!("stopped by a signal: {name} is not sealed yet"));
        let error =
            error.help("what was answered is kept: `modtape seal` asks for the rest the next time");
        Failure::new(
            stop.code().unwrap_or(NOT_SEALED),
            error.expect_err("it is one"),
        )
    };
    answers::complete_faults(&mut locked.before, &stop, global).ok_or_else(stopped)?;
    let manifest = locked.before.manifest();
    let mut sealing = Sealing::of(&locked.before, args.all)?;
    let outward = Outward {
        sockets: OwnSockets::default(),
        overrides,
        parents,
        roots,
        idle: args.upstream_idle_timeout.unwrap_or(IDLE),
        redactor: Redactor::new(tls::random()),
        bases: bases(&manifest.go_env),
        credentials: Credentials::of_user(&variables),
        parent: TraceParent {
            trace: Hex(tls::random()),
            span: Hex(tls::random()),
        },
        last_ids: locked.before.last_ids(),
    };
    let mut work = Work {
        clock,
        outward: Some(outward),
        locked: Some(locked),
        running: None,
        progress: Progress::new("request", 0, global),
        sent: 0,
    };
    let asked = tokio::select! {
        asked = sealing.ask_all(&mut work) => asked.map(|()| true),
        () = stop.heard() => Ok(false),
    };
    let is_over = matches!(asked, Ok(true));
    let sealed = sealing.close(work, is_over, &stop, global).await;
    asked?;
    match sealed? {
        sealed if sealed.is_judged => Ok(sealed),
        _ => Err(stopped()),
    }
}

/// What requests are sent with; started with the first of them, so that a recording which lacks nothing needs
/// no network and gets no run.
struct Work {
    clock: Clock,
    outward: Option<Outward>,
    locked: Option<Locked>,
    running: Option<(AppendedRun, Arc<Client>)>,
    progress: Progress,
    sent: usize,
}

impl Work {
    async fn client(&mut self) -> anyhow::Result<Arc<Client>> {
        if let (Some(outward), Some(locked)) = (self.outward.take(), self.locked.take()) {
            let addition = Addition {
                verb: VERB,
                trace: outward.parent.trace,
                command: Vec::new(),
            };
            let run = locked.begin(self.clock, addition)?;
            let client = Client::start(self.clock, outward, Some(run.recorder.clone())).await?;
            self.running = Some((run, Arc::new(client)));
        }
        let running = self.running.as_ref();
        let (_, client) = running.context("the proxy of this process could not be started")?;
        Ok(Arc::clone(client))
    }
}

impl Sealing {
    fn of(recording: &Recording, all_zips: bool) -> anyhow::Result<Self> {
        let manifest = recording.manifest();
        let value = |name: &str| manifest.go_env.get(name).map(String::as_str);
        let goproxy = value("GOPROXY").filter(|value| !value.is_empty());
        let setting = value("GOSUMDB").filter(|value| !value.is_empty());
        let setting: GoSumDb = setting
            .unwrap_or("sum.golang.org")
            .parse()
            .context("the recorded GOSUMDB")?;
        let verifier = match setting.key() {
            Some(key) => Some(key.parse().context("the recorded GOSUMDB")?),
            None => None,
        };
        let or_private = |name: &str| {
            let own = value(name).filter(|value| !value.is_empty());
            own.or_else(|| value("GOPRIVATE"))
                .unwrap_or_default()
                .to_owned()
        };
        let routes = Routes::of(recording);
        let faults = manifest.replayable.faults.iter();
        let faulty: Faulty = faults.map(|fault| (fault.run, fault.exchange)).collect();
        let name = setting.name().unwrap_or_default().to_owned();
        Ok(Self {
            sources: Sources::of(goproxy.unwrap_or(DEFAULT_GOPROXY)),
            verifier,
            private: or_private("GONOPROXY"),
            unsummed: or_private("GONOSUMDB"),
            all_zips,
            was_sealed: manifest.state == State::Sealed,
            held: Holdings::of(recording, &routes, &faulty, &name),
            setting,
            absent: 0,
            failed: BTreeMap::new(),
        })
    }

    fn database_name(&self) -> &str {
        self.setting.name().unwrap_or_default()
    }

    /// What commands can ask module proxies and the checksum database for.
    fn asks(&self) -> BTreeSet<Ask> {
        let asks = closure(&self.held.known, self.all_zips);
        asks.into_iter().filter(|ask| self.is_public(ask)).collect()
    }

    /// Whether the go command asks anybody but the module's own host.
    fn is_public(&self, ask: &Ask) -> bool {
        if ask.kind == Kind::Lookup {
            let is_toolchain = ask.module == TOOLCHAIN_MODULE;
            let is_summed = is_toolchain || !matches_patterns(&self.unsummed, &ask.module);
            return self.verifier.is_some() && is_summed;
        }
        !matches_patterns(&self.private, &ask.module)
    }

    /// Whether there is an answer to a path: the file, or "not here" of all whom a go command would ask.
    fn is_answered(&self, held: &Holdings, path: &str) -> bool {
        held.answered.contains(path) || held.are_absent(self.sources.urls(path))
    }

    /// What has no answer yet.
    fn open(&self) -> VecDeque<(Ask, String)> {
        let asks = self.asks().into_iter();
        let open = asks.filter_map(|ask| {
            let path = path(&ask, self.database_name())?;
            let is_open = !self.is_answered(&self.held, &path) && !self.failed.contains_key(&path);
            is_open.then_some((ask, path))
        });
        // Which other versions there are stands in the go.mod files.
        let (mods, others): (Vec<_>, Vec<_>) = open.partition(|(ask, _)| ask.kind == Kind::Mod);
        mods.into_iter().chain(others).collect()
    }

    /// Asks until there is nothing more that could be asked.
    async fn ask_all(&mut self, work: &mut Work) -> anyhow::Result<()> {
        loop {
            let open = self.open();
            if open.is_empty() {
                break;
            }
            self.ask_for(open, work).await?;
        }
        self.ask_for_tiles(work).await
    }

    /// Asks for these, several at once.
    async fn ask_for(
        &mut self,
        mut open: VecDeque<(Ask, String)>,
        work: &mut Work,
    ) -> anyhow::Result<()> {
        let client = work.client().await?;
        let database = self
            .sources
            .database(&client, &self.setting, self.held.database.clone());
        let database = database.await;
        if let Ok(database) = &database {
            self.held.database.clone_from(database);
        }
        let sources = Arc::new(std::mem::replace(&mut self.sources, Sources::of("off")));
        let mut asking = JoinSet::new();
        work.progress.of(work.sent + open.len());
        loop {
            while asking.len() < AT_ONCE
                && let Some((ask, path)) = open.pop_front()
            {
                let (client, sources) = (Arc::clone(&client), Arc::clone(&sources));
                let database = database.clone();
                asking.spawn(async move {
                    let asked = match (ask.kind, database) {
                        (Kind::Lookup, Ok(Some(place))) => {
                            let tail = path.split_once("/lookup/").map_or("", |(_, tail)| tail);
                            let url = format!("{place}/lookup/{tail}");
                            sources.ask_one(&client, &url, Wanted::Text).await
                        }
                        (Kind::Lookup, Ok(None)) => Asked::Absent,
                        (Kind::Lookup, Err(failure)) => Asked::Failed(failure),
                        (Kind::Mod, _) => sources.ask(&client, &path, Wanted::Text).await,
                        _ => sources.ask(&client, &path, Wanted::Pass).await,
                    };
                    (ask, path, asked)
                });
            }
            let Some(answered) = asking.join_next().await else {
                break;
            };
            let (ask, path, asked) = answered?;
            work.sent += 1;
            work.progress.step(work.sent);
            self.take(ask, path, asked);
        }
        if let Some(sources) = Arc::into_inner(sources) {
            self.sources = sources;
        }
        Ok(())
    }

    fn take(&mut self, ask: Ask, path: String, asked: Asked) {
        let content = match asked {
            Asked::Found(content) => content,
            Asked::Absent => {
                self.absent += 1;
                self.held.answered.insert(path);
                return;
            }
            Asked::Failed(failure) => {
                let what = what(&ask);
                self.failed.insert(path, (what, failure));
                return;
            }
        };
        self.held.answered.insert(path);
        let of = ModuleVersion::of(&ask.module, ask.version.as_deref().unwrap_or_default());
        match ask.kind {
            Kind::Mod => self.held.known.requirements.add(of, &content),
            Kind::Lookup => self.held.add_lookup(of, content),
            _ => {}
        }
    }

    /// Asks for the tiles by which every client can prove every lookup.
    async fn ask_for_tiles(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        // What is wrong with a lookup is said when all is proved.
        let Ok(signed) = Signed::read(&self.held, verifier) else {
            return Ok(());
        };
        let missing = signed.missing(&self.held);
        if missing.is_empty() {
            return Ok(());
        }
        let client = work.client().await?;
        let place = self
            .sources
            .database(&client, &self.setting, self.held.database.clone());
        let place = match place.await {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(()),
            Err(failure) => {
                let what = count(missing.len() as u64, "tile");
                self.failed.insert("tiles".into(), (what, failure));
                return Ok(());
            }
        };
        work.progress.of(work.sent + missing.len());
        let mut missing = missing.into_iter();
        let sources = Arc::new(std::mem::replace(&mut self.sources, Sources::of("off")));
        let verifier = verifier.clone();
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < AT_ONCE
                && let Some(tile) = missing.next()
            {
                let (client, sources) = (Arc::clone(&client), Arc::clone(&sources));
                let (place, verifier) = (place.clone(), verifier.clone());
                asking.spawn(async move {
                    let asked = ask_for_tile(&sources, &client, &place, tile, &verifier).await;
                    (tile, asked)
                });
            }
            let Some(answered) = asking.join_next().await else {
                break;
            };
            work.sent += 1;
            work.progress.step(work.sent);
            match answered? {
                (_, Ok((tile, content))) => self.held.add_tile(tile, content),
                (tile, Err(failure)) => {
                    let failed = (tile.to_string(), failure);
                    self.failed.insert(tile.to_string(), failed);
                }
            }
        }
        if let Some(sources) = Arc::into_inner(sources) {
            self.sources = sources;
        }
        Ok(())
    }

    /// Closes the run, if there is one, proves what is on the recording then, and says what came of it. Without
    /// having asked for all, `is_over` is false.
    async fn close(
        self,
        work: Work,
        is_over: bool,
        stop: &Stop,
        global: &Global,
    ) -> anyhow::Result<Sealed> {
        let asks = self.asks();
        let [versions, modules, zips] = Holdings::counts(&asks);
        let mut sealed = Sealed {
            versions,
            modules,
            zips,
            absent: self.absent,
            schema: 1,
            ..Sealed::default()
        };
        let failed = self.failed.values();
        sealed.missing = failed
            .map(|(what, NoAnswer { host, why })| Missing {
                host: host.clone(),
                why: why.clone(),
                what: what.clone(),
            })
            .collect();
        let Work {
            running, locked, ..
        } = work;
        let mut judge =
            |recording: &Recording, routes: &Routes, checked: &Checked, manifest: &mut Manifest| {
                self.judge(&mut sealed, recording, routes, checked);
                sealed.is_judged = true;
                sealed.missing.sort();
                sealed.sealed = is_over && sealed.missing.is_empty() && sealed.wrong.is_empty();
                if sealed.sealed {
                    manifest.state = State::Sealed;
                    manifest.replayable.complete = true;
                    manifest.replayable.reasons.clear();
                } else if self.was_sealed && self.all_zips && sealed.wrong.is_empty() {
                    // Without the further zips it is what it was.
                    manifest.state = State::Sealed;
                }
            };
        match (running, locked) {
            (Some((run, client)), _) => {
                Client::close(client).await;
                let totals = run.recorder.totals();
                run.close(stop, global, &mut judge).await?;
                (sealed.asked, sealed.bytes) = (totals.exchanges, totals.body_bytes);
            }
            (None, Some(locked)) => locked.close(stop, global, &mut judge)?,
            (None, None) => {}
        }
        Ok(sealed)
    }

    /// Finds what is wrong or missing in a recording as it is on the disk.
    fn judge(
        &self,
        sealed: &mut Sealed,
        recording: &Recording,
        routes: &Routes,
        checked: &Checked,
    ) {
        let faults = checked.faults.iter();
        let faulty: Faulty = faults.map(|fault| (fault.run, fault.exchange)).collect();
        let held = Holdings::of(recording, routes, &faulty, self.database_name());
        (sealed.lookups, sealed.tiles) = (held.lookups.len(), held.tiles.len());
        let wrong = &mut sealed.wrong;
        for ask in self.asks() {
            let Some(path) = path(&ask, self.database_name()) else {
                continue;
            };
            let was_answered = self.is_answered(&self.held, &path);
            if was_answered && !self.is_answered(&held, &path) {
                let what = what(&ask);
                let fault = checked.faults.iter().find(|fault| fault.what == what);
                wrong.push(match fault {
                    Some(fault) => format!("{what} of {}: {}", fault.host, fault.why),
                    None => format!("{what}: it has no answer that was kept"),
                });
            }
        }
        let conflicts = checked.conflicts.iter();
        let conflicts = conflicts.filter(|conflict| is_open(conflict, &faulty));
        wrong.extend(conflicts.map(|conflict| {
            let (kind, module, version) = (conflict.kind, &conflict.module, &conflict.version);
            format!(
                "{kind} {module} {version}: go.sum, the checksum database and the servers do not agree on its hash"
            )
        }));
        wrong.extend(still_partial(recording, routes));
        let Some(verifier) = &self.verifier else {
            return;
        };
        match Signed::read(&held, verifier) {
            Ok(signed) => {
                let missing = signed.missing(&held);
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                let untold = missing
                    .iter()
                    .filter(|tile| !self.failed.contains_key(*tile));
                sealed.missing.extend(untold.map(|tile| Missing {
                    host: self.database_name().to_owned(),
                    why: "it is not on the recording yet".into(),
                    what: tile.clone(),
                }));
                if missing.is_empty() {
                    wrong.extend(signed.prove(&held).err());
                }
            }
            Err(why) => wrong.push(why),
        }
    }
}

/// Whether those whose answers count do not agree on a hash.
fn is_open(conflict: &Conflict, faulty: &Faulty) -> bool {
    let hashed = conflict.database.iter().chain(&conflict.served);
    let sound = hashed.filter(|hashed| !faulty.contains(&(hashed.run, hashed.exchange)));
    let sums = sound.map(|hashed| &hashed.sum);
    let sums: BTreeSet<&String> = conflict.go_sum.first().into_iter().chain(sums).collect();
    sums.len() > 1
}

/// What else keeps a replay from being complete, whatever is asked of module proxies.
fn still_partial(recording: &Recording, routes: &Routes) -> Vec<String> {
    let manifest = recording.manifest();
    let rerun = Rerun {
        options: manifest.options.clone(),
        place: Vec::new(),
        command: manifest.command.clone(),
    };
    // What broke off was asked for again, if commands can ask for it.
    let is_whole = |row: &&Row| row.state == RowState::Ended && row.made_by == Some(MadeBy::Origin);
    let whole: Vec<Row> = recording.rows().iter().filter(is_whole).cloned().collect();
    let replayable = replayable(&Recorded {
        dumb_repositories: &dumb_repositories(recording, routes),
        rerun: &rerun,
        rows: &whole,
        connections: &recording.table().connections,
        go_env: &manifest.go_env,
        // What a cache held has been asked for since.
        was_cold: true,
        gaps: &[],
        bodies_kept: true,
        failure: None,
        faults: &[],
        routes,
        cut_short: None,
    });
    replayable.reasons
}

/// Asks for a tile as it is in the tree that is to be proved. On the right edge the database may have more by now:
/// then the full one is asked for, or as much as its present tree has.
async fn ask_for_tile(
    sources: &Sources,
    client: &Client,
    place: &str,
    tile: Tile,
    verifier: &Verifier,
) -> Result<(Tile, Vec<u8>), NoAnswer> {
    let host = Location::of(place).host;
    let no_answer = |why: &str| NoAnswer {
        host: host.clone(),
        why: why.to_owned(),
    };
    let full = Tile {
        width: 1 << tile.height,
        ..tile
    };
    let mut widths = vec![tile];
    widths.extend((!tile.is_full()).then_some(full));
    for width in widths {
        match sources
            .ask_one(client, &format!("{place}/{width}"), Wanted::Text)
            .await
        {
            Asked::Found(content) => return whole(width, content).ok_or_else(|| no_answer(LENGTH)),
            Asked::Absent => {}
            Asked::Failed(failure) => return Err(failure),
        }
    }
    let latest = sources
        .ask_one(client, &format!("{place}/latest"), Wanted::Text)
        .await;
    let Asked::Found(note) = latest else {
        return Err(no_answer("it has no such tile"));
    };
    let head = verifier
        .open(&note)
        .ok()
        .and_then(|text| text.parse::<Head>().ok());
    let head = head.ok_or_else(|| no_answer("its latest tree head is not valid"))?;
    let shift = u32::from(tile.level) * u32::from(tile.height);
    let row = head.size.checked_shr(shift).unwrap_or(0);
    let width = row.saturating_sub(tile.index << tile.height);
    let wider = Tile {
        width: u16::try_from(width).unwrap_or(0),
        ..tile
    };
    if !tile.is_cut_from(&wider) || wider.is_full() {
        return Err(no_answer("it has no such tile"));
    }
    match sources
        .ask_one(client, &format!("{place}/{wider}"), Wanted::Text)
        .await
    {
        Asked::Found(content) => whole(wider, content).ok_or_else(|| no_answer(LENGTH)),
        Asked::Absent => Err(no_answer("it has no such tile")),
        Asked::Failed(failure) => Err(failure),
    }
}

/// Why a tile is no tile.
const LENGTH: &str = "it sent something of another length than the tile's";

/// A tile that has its length.
fn whole(tile: Tile, content: Vec<u8>) -> Option<(Tile, Vec<u8>)> {
    (content.len() == tile.len_bytes()).then_some((tile, content))
}

/// What is asked for, in words.
fn what(ask: &Ask) -> String {
    route(ask, "").what()
}
