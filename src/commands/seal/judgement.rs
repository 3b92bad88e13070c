//! Whether a recording answers every command: what it must hold, by its own settings, and what of that is missing
//! or wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use super::holdings::{Holdings, path, route};
use super::sources::{Failure as NoAnswer, Sources};
use crate::catalog::Faulty;
use crate::child::GoFacts;
use crate::commands::record::dumb_repositories;
use crate::diagnose::closure::{Ask, closure};
use crate::diagnose::content::{Checked, is_answer};
use crate::diagnose::proofs::Standing;
use crate::diagnose::replayable::{Recorded, replayable};
use crate::diagnose::rerun::Rerun;
use crate::diagnose::routes::Routes;
use crate::exchange::MadeBy;
use crate::gomod::{GoSumDb, Kind, TOOLCHAIN_MODULE, matches_patterns};
use crate::recording::format::{Conflict, Manifest};
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};
use crate::sumdb::Verifier;

/// What the go command takes where nothing is set (`cmd/go/internal/cfg`).
const DEFAULT_GOPROXY: &str = "https://proxy.golang.org,direct";

/// By what a recording is judged: the settings that it was recorded with, and where it has none, the user's own.
pub(in crate::commands) struct Terms {
    /// Who is asked for modules.
    pub(super) sources: Arc<Sources>,
    /// The checksum database.
    pub(super) setting: GoSumDb,
    /// Its key.
    pub(super) verifier: Option<Verifier>,
    /// Patterns of modules that no module proxy is asked for.
    private: String,
    /// Patterns of modules that the checksum database is not asked for.
    unsummed: String,
    all_zips: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(in crate::commands) struct Judgement {
    /// Versions of modules that commands can ask for, toolchains included.
    pub(super) versions: usize,
    /// Of how many modules.
    pub(super) modules: usize,
    /// How many of the versions have their zip.
    pub(super) zips: usize,
    /// How many zips commands can ask for that nobody has.
    pub(super) absent_zips: usize,
    /// Records of the checksum database.
    pub(super) lookups: usize,
    /// Its tiles.
    pub(super) tiles: usize,
    /// What commands can ask for, and has no answer.
    pub(super) missing: Vec<Missing>,
    /// What is not what it should be.
    pub(super) wrong: Vec<String>,
}

/// Something that has no answer.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing {
    /// Who was asked last, or would be.
    pub(super) host: String,
    /// What came instead.
    pub(super) why: String,
    /// What was asked for.
    pub(super) what: String,
}

impl Judgement {
    /// Whether nothing is missing and nothing wrong.
    pub(in crate::commands) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty()
    }

    /// How much is missing.
    pub(in crate::commands) fn missing(&self) -> u64 {
        self.missing.len() as u64
    }
}

impl Terms {
    /// Those of a recording with this manifest. `own` are the settings of the user's go command. The closure of
    /// them has the zips of all versions if `all_zips` says so.
    pub(in crate::commands) fn of(
        manifest: &Manifest,
        own: &GoFacts,
        all_zips: bool,
    ) -> anyhow::Result<Self> {
        let value = |name: &str| {
            let recorded = manifest.go_env.get(name).map(String::as_str);
            let has_none = manifest.go_env.is_empty();
            let recorded = recorded.or_else(|| has_none.then(|| own.get(name)));
            recorded.filter(|value| !value.is_empty())
        };
        let setting: GoSumDb = value("GOSUMDB")
            .unwrap_or("sum.golang.org")
            .parse()
            .context("the recorded GOSUMDB")?;
        let key = setting.key().map(str::parse).transpose();
        let or_private = |name: &str| {
            let patterns = value(name).or_else(|| value("GOPRIVATE"));
            patterns.unwrap_or_default().to_owned()
        };
        Ok(Self {
            sources: Arc::new(Sources::of(value("GOPROXY").unwrap_or(DEFAULT_GOPROXY))),
            verifier: key.context("the recorded GOSUMDB")?,
            private: or_private("GONOPROXY"),
            unsummed: or_private("GONOSUMDB"),
            all_zips,
            setting,
        })
    }

    /// The name of the checksum database; empty without one.
    pub(super) fn database(&self) -> &str {
        self.setting.name().unwrap_or_default()
    }

    /// What commands can ask module proxies and the checksum database for.
    pub(super) fn asks(&self, held: &Holdings) -> BTreeSet<Ask> {
        let asks = closure(&held.known, self.all_zips);
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

    /// Whether there is an answer to something: the file, or "not here" of all whom a go command would ask.
    pub(super) fn is_answered(&self, held: &Holdings, ask: &Ask, path: &str) -> bool {
        let is_absent = || held.are_absent(self.sources.urls(path));
        held.answered.contains(path) || self.is_last_word(held, ask) && is_absent()
    }

    /// Whether a go command asks nobody else for something that no module proxy has. With `direct` behind the
    /// proxies it goes on to the module's repository, which is not asked here.
    fn is_last_word(&self, held: &Holdings, ask: &Ask) -> bool {
        if !self.sources.lead_to_repositories || held.came_from_repository(&ask.module) {
            return true;
        }
        match ask.kind {
            Kind::Lookup => true,
            // It is asked for where no version is listed.
            Kind::Latest if held.listed.contains(&ask.module) => true,
            // Nobody needs a version of what is replaced: `go list -m -u` goes on without an answer.
            Kind::List | Kind::Latest => {
                let mut replaced = held.known.requirements.replacements();
                replaced.any(|it| it.old == ask.module)
            }
            _ => false,
        }
    }

    /// Finds what is wrong or missing in a recording as it is on the disk.
    pub(in crate::commands) fn judge(
        &self,
        recording: &Recording,
        routes: &Routes,
        checked: &Checked,
    ) -> Judgement {
        self.judge_asked(recording, routes, checked, &BTreeMap::new())
    }

    /// The same when all was asked for: `failed` says of paths and tiles why there was no answer.
    pub(super) fn judge_asked(
        &self,
        recording: &Recording,
        routes: &Routes,
        checked: &Checked,
        failed: &BTreeMap<String, NoAnswer>,
    ) -> Judgement {
        let faults = checked.faults.iter();
        let faulty: Faulty = faults.map(|fault| (fault.run, fault.exchange)).collect();
        let held = Holdings::of(recording, routes, &checked.faults, self.database());
        let asks = self.asks(&held);
        let [versions, modules] = Holdings::counts(&asks);
        let mut judged = Judgement {
            versions,
            modules,
            lookups: held.lookups.len(),
            tiles: held.tiles.len(),
            ..Judgement::default()
        };
        for ask in &asks {
            let Some(path) = path(ask, self.database()) else {
                continue;
            };
            let is_zip = matches!(ask.kind, Kind::Zip | Kind::Toolchain);
            if !self.is_answered(&held, ask, &path) {
                self.add_unanswered(&mut judged, &held, checked, failed, (ask, &path));
            } else if is_zip {
                match held.answered.contains(&path) {
                    true => judged.zips += 1,
                    false => judged.absent_zips += 1,
                }
            }
        }
        let conflicts = checked.conflicts.iter();
        let conflicts = conflicts.filter(|conflict| is_open(conflict, &faulty));
        judged.wrong.extend(conflicts.map(|conflict| {
            let (kind, module, version) = (conflict.kind, &conflict.module, &conflict.version);
            format!(
                "{kind} {module} {version}: go.sum, the checksum database and the servers do not agree on its hash"
            )
        }));
        let unread = held.known.requirements.unread.iter();
        judged.wrong.extend(unread.map(|of| {
            format!(
                "mod {of}: what it requires was not followed, since there are too many go.mod files"
            )
        }));
        judged.wrong.extend(still_partial(recording, routes));
        self.add_unproved(&mut judged, &held, recording, routes, checked, failed);
        judged.missing.sort();
        judged
    }

    fn add_unanswered(
        &self,
        judged: &mut Judgement,
        held: &Holdings,
        checked: &Checked,
        failed: &BTreeMap<String, NoAnswer>,
        (ask, path): (&Ask, &str),
    ) {
        let what = what(ask);
        let fault = || checked.faults.iter().find(|fault| fault.what == what);
        let (host, why) = if let Some(NoAnswer { host, why }) = failed.get(path) {
            (host.clone(), why.clone())
        } else if held.are_absent(self.sources.urls(path)) {
            (self.sources.last_host(), String::from(ELSEWHERE))
        } else if let Some(fault) = fault() {
            let wrong = format!("{what} of {}: {}", fault.host, fault.why);
            return judged.wrong.push(wrong);
        } else {
            (
                self.sources.last_host(),
                String::from("no answer of it was kept"),
            )
        };
        judged.missing.push(Missing { host, why, what });
    }

    /// Adds the tiles that are missing, or else what they do not prove.
    fn add_unproved(
        &self,
        judged: &mut Judgement,
        held: &Holdings,
        recording: &Recording,
        routes: &Routes,
        checked: &Checked,
        failed: &BTreeMap<String, NoAnswer>,
    ) {
        let Some(verifier) = &self.verifier else {
            return;
        };
        let missing = match held.missing_tiles(verifier) {
            Ok(missing) => missing,
            Err(why) => return judged.wrong.push(why),
        };
        let is_complete = missing.is_empty();
        judged.missing.extend(missing.into_iter().map(|tile| {
            let tile = tile.to_string();
            let failure = failed
                .get(&tile)
                .or_else(|| failed.get(super::asking::TILES));
            let (host, why) = match failure {
                Some(NoAnswer { host, why }) => (host.clone(), why.clone()),
                None => (
                    self.database().to_owned(),
                    "it is not on the recording".into(),
                ),
            };
            Missing {
                host,
                why,
                what: tile,
            }
        }));
        if !is_complete {
            return;
        }
        for row in recording.rows().iter().filter(|row| is_answer(row)) {
            let route = routes.route(row);
            let standing = checked.standings.get(&(row.run, row.id));
            let is_open = matches!(standing, None | Some(Standing::Open | Standing::Unsigned));
            let is_its = route.sumdb.as_deref() == Some(self.database());
            if route.kind == Kind::Lookup && is_its && is_open {
                let what = route.what();
                judged
                    .wrong
                    .push(format!("{what}: the recorded tiles do not prove it"));
            }
        }
    }
}

/// Why what no module proxy has may be there all the same.
pub(super) const ELSEWHERE: &str =
    "it is not there, and go would go on to the repository (`direct`), which was not recorded";

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
        mode: manifest.mode,
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

/// What is asked for, in words.
pub(super) fn what(ask: &Ask) -> String {
    route(ask, "").what()
}
