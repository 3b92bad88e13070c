//! Asks whom a go command would ask for what a recording lacks, several at once.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use anyhow::Context as _;

use super::VERB;
use super::holdings::{Holdings, path};
use super::judgement::Terms;
use super::sources::{Asked, Failure as NoAnswer, Sources};
use crate::child::GoFacts;
use crate::clock::Clock;
use crate::commands::appended_run::{Addition, AppendedRun, Locked};
use crate::commands::client::{Client, Outward, Wanted, some_at_once};
use crate::diagnose::closure::Ask;
use crate::diagnose::routes::Routes;
use crate::gomod::{Kind, Location, ModuleVersion, TOOLCHAIN_MODULE, Tile, matches_patterns};
use crate::recording::Recording;
use crate::sumdb::{Head, Verifier};
use crate::terminal::Progress;

/// Where the failures of tiles stand of which none could be asked for.
pub(super) const TILES: &str = "tiles";

/// What requests are sent with; started with the first of them, so that a recording which lacks nothing needs
/// no network and gets no run.
pub(super) struct Work {
    pub(super) clock: Clock,
    pub(super) outward: Option<Outward>,
    pub(super) locked: Option<Locked>,
    pub(super) running: Option<(AppendedRun, Arc<Client>)>,
    pub(super) progress: Progress,
    pub(super) sent: usize,
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

    fn step(&mut self) {
        self.sent += 1;
        self.progress.step(self.sent);
    }
}

/// What a recording is completed by.
pub(super) struct Asking {
    pub(super) terms: Terms,
    /// How many files nobody has who was asked.
    pub(super) absent: u64,
    /// Why there is no answer, by path or tile.
    pub(super) failed: BTreeMap<String, NoAnswer>,
    /// Patterns of modules that are private to the user: no proxy is told of them, and no checksum database.
    private: [String; 2],
    held: Holdings,
    /// The paths that were asked for.
    asked: HashSet<String>,
}

impl Asking {
    pub(super) fn of(recording: &Recording, own: &GoFacts, terms: Terms) -> Self {
        let routes = Routes::of(recording);
        let faults = &recording.manifest().replayable.faults;
        Self {
            held: Holdings::of(recording, &routes, faults, terms.database()),
            private: ["GONOPROXY", "GONOSUMDB"].map(|name| own.get(name).to_owned()),
            absent: 0,
            failed: BTreeMap::new(),
            asked: HashSet::new(),
            terms,
        }
    }

    /// What has no answer yet.
    fn open(&mut self) -> VecDeque<(Ask, String)> {
        let mut open = Vec::new();
        for ask in self.terms.asks(&self.held) {
            let Some(path) = path(&ask, self.terms.database()) else {
                continue;
            };
            let was_asked = self.asked.contains(&path) || self.failed.contains_key(&path);
            if was_asked || self.terms.is_answered(&self.held, &ask, &path) {
                continue;
            }
            match self.is_private(&ask) {
                Some(setting) => {
                    let failure = NoAnswer {
                        host: setting.into(),
                        why: "by your own setting it is private, so that nobody is asked".into(),
                    };
                    self.failed.insert(path, failure);
                }
                None => open.push((ask, path)),
            }
        }
        // Which other versions there are stands in the go.mod files.
        let is_mod = |(ask, _): &(Ask, String)| ask.kind == Kind::Mod;
        let (mods, others): (Vec<_>, Vec<_>) = open.into_iter().partition(is_mod);
        mods.into_iter().chain(others).collect()
    }

    /// The setting of the user by which nobody is to be told of a module.
    fn is_private(&self, ask: &Ask) -> Option<&'static str> {
        let [no_proxy, no_sumdb] = &self.private;
        let (name, patterns) = match ask.kind {
            Kind::Lookup => ("GONOSUMDB", no_sumdb),
            _ => ("GONOPROXY", no_proxy),
        };
        let is_private = ask.module != TOOLCHAIN_MODULE && matches_patterns(patterns, &ask.module);
        is_private.then_some(name)
    }

    /// Asks until there is nothing more that could be asked.
    pub(super) async fn ask_all(&mut self, work: &mut Work) -> anyhow::Result<()> {
        loop {
            let open = self.open();
            if open.is_empty() {
                break;
            }
            self.ask_for(open, work).await?;
        }
        self.ask_for_tiles(work).await
    }

    async fn ask_for(
        &mut self,
        open: VecDeque<(Ask, String)>,
        work: &mut Work,
    ) -> anyhow::Result<()> {
        let client = work.client().await?;
        let known = self.held.database.clone();
        let database = self
            .terms
            .sources
            .database(&client, &self.terms.setting, known);
        let database = database.await;
        if let Ok(database) = &database {
            self.held.database.clone_from(database);
        }
        work.progress.of(work.sent + open.len());
        let sources = Arc::clone(&self.terms.sources);
        let requests = open.into_iter().map(|(ask, path)| {
            let (client, sources) = (Arc::clone(&client), Arc::clone(&sources));
            let database = database.clone();
            async move {
                let asked = match (ask.kind, database) {
                    (Kind::Lookup, Ok(Some(place))) => {
                        let tail = path.split_once("/lookup/").map_or("", |(_, tail)| tail);
                        let url = format!("{place}/lookup/{tail}");
                        sources.ask_one(&client, &url, Wanted::Text).await
                    }
                    (Kind::Lookup, Ok(None)) => Asked::Absent,
                    (Kind::Lookup, Err(failure)) => Asked::Failed(failure),
                    (Kind::Mod | Kind::List, _) => sources.ask(&client, &path, Wanted::Text).await,
                    _ => sources.ask(&client, &path, Wanted::Pass).await,
                };
                (ask, path, asked)
            }
        });
        some_at_once(requests, |(ask, path, asked)| {
            work.step();
            self.take(&ask, path, asked);
        })
        .await
    }

    fn take(&mut self, ask: &Ask, path: String, asked: Asked) {
        self.asked.insert(path.clone());
        let content = match asked {
            Asked::Found(content) => content,
            Asked::Absent => {
                self.absent += 1;
                match ask.kind {
                    Kind::Lookup => drop(self.held.answered.insert(path)),
                    _ => self.held.add_absent(self.terms.sources.urls(&path)),
                }
                return;
            }
            Asked::Failed(failure) => return drop(self.failed.insert(path, failure)),
        };
        self.held.answered.insert(path);
        let of = ModuleVersion::of(&ask.module, ask.version.as_deref().unwrap_or_default());
        match ask.kind {
            Kind::Mod => self.held.known.requirements.add(of, &content),
            Kind::List => self.held.add_list(&ask.module, &content),
            Kind::Lookup => self.held.add_lookup(of, content),
            _ => {}
        }
    }

    /// Asks for the tiles by which every client can prove every lookup.
    async fn ask_for_tiles(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let Some(verifier) = self.terms.verifier.clone() else {
            return Ok(());
        };
        // What is wrong with a lookup is said when all is judged.
        let missing = self.held.missing_tiles(&verifier).unwrap_or_default();
        if missing.is_empty() {
            return Ok(());
        }
        let client = work.client().await?;
        let sources = Arc::clone(&self.terms.sources);
        let place = sources.database(&client, &self.terms.setting, self.held.database.clone());
        let place = match place.await {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(()),
            Err(failure) => {
                self.failed.insert(TILES.into(), failure);
                return Ok(());
            }
        };
        work.progress.of(work.sent + missing.len());
        let requests = missing.into_iter().map(|tile| {
            let (client, sources) = (Arc::clone(&client), Arc::clone(&sources));
            let (place, verifier) = (place.clone(), verifier.clone());
            async move {
                let asked = ask_for_tile(&sources, &client, &place, tile, &verifier).await;
                (tile, asked)
            }
        });
        some_at_once(requests, |(tile, asked)| {
            work.step();
            match asked {
                Ok((tile, content)) => self.held.add_tile(tile, content),
                Err(failure) => drop(self.failed.insert(tile.to_string(), failure)),
            }
        })
        .await
    }
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
