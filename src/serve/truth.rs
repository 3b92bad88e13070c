//! Whether an answer is right: its form, and its hash in the checksum database, whose record is proved to be in the
//! signed log.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinSet;

use super::answer::{Answer, Proof};
use super::item::Item;
use super::private::is_of_pattern;
use super::server::{Obtained, Server};
use super::tiers::Tier;
use crate::gomod::{
    GoSumDb, Kind, ModuleZip, Route, TOOLCHAIN_MODULE, Tile, check_content, go_mod_h1,
    matches_patterns,
};
use crate::sumdb::{self, Head, Log, LogError, Seen, Verifier, tiles_sealed};

/// What answers are held against.
#[derive(Debug)]
pub(crate) struct Truth {
    database: Option<Database>,
    /// Modules that the database never hears of, as GONOSUMDB has them.
    unverified: String,
    /// Patterns in lower case of those that have an upstream of their own: it never hears of them either.
    private: String,
    /// The largest tree that was proved: every other one is held against it.
    newest: Mutex<Option<Head>>,
    /// Held while it is compared with what is kept, and takes its place.
    keeping: tokio::sync::Mutex<()>,
}

/// A checksum database.
#[derive(Debug)]
struct Database {
    name: String,
    /// Its name and the hash of its key, as the key begins.
    id: String,
    verifier: Verifier,
}

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Right for ever.
    Proved,
    /// Nothing speaks against it, and nobody could vouch for it, for this reason.
    Unproved(String),
    /// Not what it was asked for: it is not sent.
    Wrong(String),
    /// It could not be read here, for this reason: it may be right.
    Unread(String),
}

/// A zip that is judged. A read that fails is remembered, since it says nothing about the zip.
struct Judged {
    file: Arc<File>,
    failed: OnceLock<String>,
}

impl rawzip::ReaderAt for &Judged {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = FileExt::read_at(&*self.file, buf, offset);
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            let _ = self.failed.set(error.to_string());
        }
        read
    }
}

/// What the database says of a module version.
struct Record {
    zip: Option<String>,
    go_mod: Option<String>,
}

impl Truth {
    /// As these Go settings have it: GOSUMDB, and GONOSUMDB with the modules that it says nothing of. An error if
    /// GOSUMDB names no key, where go would stop too.
    pub(crate) fn new(gosumdb: &str, gonosumdb: &str) -> Result<Self, String> {
        let invalid = |error: &dyn std::fmt::Display| format!("GOSUMDB={gosumdb}: {error}");
        let sumdb: GoSumDb = gosumdb.parse().map_err(|error| invalid(&error))?;
        let database = match &sumdb {
            GoSumDb::Off => None,
            GoSumDb::On { key: None, .. } => {
                return Err(invalid(&"the key of this checksum database is not known"));
            }
            GoSumDb::On { key: Some(key), .. } => {
                let verifier: Verifier = key.parse().map_err(|error| invalid(&error))?;
                Some(Database {
                    name: verifier.name().to_owned(),
                    id: key
                        .rsplit_once('+')
                        .map_or(key.as_str(), |(id, _)| id)
                        .to_owned(),
                    verifier,
                })
            }
        };
        Ok(Self {
            database,
            unverified: gonosumdb.to_owned(),
            private: String::new(),
            newest: Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
        })
    }

    /// The same, but it never hears of modules of these patterns either.
    pub(crate) fn without(self, patterns: &[&str]) -> Self {
        let private = patterns.join(",").to_lowercase();
        Self { private, ..self }
    }

    /// What an answer to an item is to be proved by.
    pub(super) fn proof_of(&self, item: &Item) -> Proof {
        let database = self.proving(item);
        database.map_or(Proof::Form, |database| Proof::Database(database.id.clone()))
    }

    /// Whether what an answer was proved by is enough.
    pub(super) fn accepts(&self, item: &Item, proof: &Proof) -> bool {
        match (self.proving(item), proof) {
            (_, Proof::None) => false,
            (Some(wanted), Proof::Database(id)) => *id == wanted.id,
            (Some(_), Proof::Form) => false,
            (None, _) => true,
        }
    }

    /// The database that is to prove an answer to an item, if one is.
    fn proving(&self, item: &Item) -> Option<&Database> {
        match item.kind() {
            Kind::Mod | Kind::Zip | Kind::Toolchain => self.database_of(item.module()),
            Kind::Lookup | Kind::Tile => self.database.as_ref(),
            _ => None,
        }
    }

    /// Whether others may hear of that module.
    pub(super) fn is_public(&self, module: &str) -> bool {
        !matches_patterns(&self.unverified, module) && !is_of_pattern(&self.private, module)
    }

    /// What the database is asked for to prove an item, if it is.
    pub(super) fn lookup_of(&self, item: &Item) -> Option<Item> {
        if !matches!(item.kind(), Kind::Mod | Kind::Zip | Kind::Toolchain) {
            return None;
        }
        self.database_of(item.module())?.lookup(item)
    }

    /// Whether it knows the key of that database.
    pub(super) fn knows(&self, database: &str) -> bool {
        self.database.as_ref().is_some_and(|it| it.name == database)
    }

    /// The name of the database, if there is one.
    pub(super) fn database_name(&self) -> Option<&str> {
        self.database.as_ref().map(|database| &*database.name)
    }

    /// The largest tree head of a database that was proved, as it is signed. go asks no proxy for it; auditors do.
    pub(super) async fn latest_head(
        &self,
        server: &Server,
        database: &str,
    ) -> Option<(Answer, Tier)> {
        let database = self.database.as_ref().filter(|it| it.name == database)?;
        server.remembered(&database.latest()).await
    }

    /// Judges the text of a 200.
    pub(super) async fn of_text(&self, server: &Arc<Server>, item: &Item, text: &Bytes) -> Verdict {
        if let Err(fault) = check_content(&item.route, text) {
            return Verdict::Wrong(fault.to_string());
        }
        match item.kind() {
            Kind::Mod => {
                let h1 = go_mod_h1(text);
                self.of_hash(server, item, &h1, |record| record.go_mod)
                    .await
            }
            Kind::Lookup => self.of_lookup(server, item, text).await,
            // One tile says nothing; a lookup that needs it proves it.
            Kind::Tile => Verdict::Unproved("no lookup has needed it yet".into()),
            _ => Verdict::Proved,
        }
    }

    /// Judges a zip, which is whole.
    pub(super) async fn of_zip(
        &self,
        server: &Arc<Server>,
        item: &Item,
        zip: Arc<File>,
        bytes: u64,
    ) -> Verdict {
        let (module, version) = (item.module().to_owned(), item.version().to_owned());
        let hashing = tokio::task::spawn_blocking(move || {
            let zip = Judged {
                file: zip,
                failed: OnceLock::new(),
            };
            let opened = ModuleZip::open(&zip, bytes, &module, &version);
            let hashed = opened.and_then(|zip| zip.h1());
            hashed.map_err(|fault| match zip.failed.get() {
                Some(why) => Verdict::Unread(why.clone()),
                None => Verdict::Wrong(fault.to_string()),
            })
        });
        match hashing.await {
            Ok(Ok(h1)) => self.of_hash(server, item, &h1, |record| record.zip).await,
            Ok(Err(verdict)) => verdict,
            Err(panicked) => Verdict::Unread(panicked.to_string()),
        }
    }

    async fn of_hash(
        &self,
        server: &Arc<Server>,
        item: &Item,
        h1: &str,
        recorded: impl FnOnce(Record) -> Option<String>,
    ) -> Verdict {
        let Some(database) = self.database_of(item.module()) else {
            if item.module() == TOOLCHAIN_MODULE {
                return Verdict::Unproved(
                    "GOSUMDB is off, and go verifies toolchains all the same".into(),
                );
            }
            // The user's settings say that nobody vouches for it.
            return Verdict::Proved;
        };
        let record = match database.record(server, item).await {
            Ok(record) => record,
            Err(why) => return Verdict::Unproved(why),
        };
        match recorded(record) {
            Some(known) if known == h1 => Verdict::Proved,
            Some(known) => Verdict::Wrong(format!(
                "its hash is {h1}, and {} has {known}",
                database.name
            )),
            None => Verdict::Unproved(format!("{} has no hash of it", database.name)),
        }
    }

    /// The database that vouches for a module. Toolchains are always verified
    /// (`cmd/go/internal/modfetch.useSumDB`).
    fn database_of(&self, module: &str) -> Option<&Database> {
        let is_verified = module == TOOLCHAIN_MODULE || self.is_public(module);
        self.database.as_ref().filter(|_| is_verified)
    }

    /// Judges the answer to a lookup: its signature, and that the tree of its head has its record.
    async fn of_lookup(&self, server: &Arc<Server>, item: &Item, text: &Bytes) -> Verdict {
        let name = item.route.sumdb.as_deref().unwrap_or_default();
        let Some(database) = self.database.as_ref().filter(|it| it.name == name) else {
            return Verdict::Unproved(format!("the key of {name} is not known"));
        };
        let answer = match sumdb::Answer::open(text, &database.verifier) {
            Ok(answer) => answer,
            Err(error) => return Verdict::Wrong(error.to_string()),
        };
        // Another tree may be proved meanwhile, which this one is to be held against.
        let mut known = self.largest(server, database).await;
        loop {
            match database.prove(server, &answer, known).await {
                Err(verdict) => return verdict,
                Ok(tiles) => {
                    for (item, body) in &tiles {
                        server.proved(item, body).await;
                    }
                }
            }
            let is_larger = known.is_none_or(|known| known.size < answer.head.size);
            let now = {
                let mut newest = self.newest();
                if *newest == known {
                    if is_larger {
                        *newest = Some(answer.head);
                    }
                    None
                } else {
                    Some(*newest)
                }
            };
            match now {
                Some(newest) => known = newest,
                None if is_larger => {
                    self.keep(server, database, &answer).await;
                    return Verdict::Proved;
                }
                None => return Verdict::Proved,
            }
        }
    }

    /// The largest tree that was proved, in this process or an earlier one.
    async fn largest(&self, server: &Arc<Server>, database: &Database) -> Option<Head> {
        let known = *self.newest();
        if known.is_some() {
            return known;
        }
        let (answer, _) = server.remembered(&database.latest()).await?;
        let note = answer.text().ok()?;
        let head = database.head_of(&note)?;
        let mut newest = self.newest();
        Some(*newest.get_or_insert(head))
    }

    /// Keeps a tree head, unless a larger one is kept: of another process, or of a lookup that ended earlier.
    async fn keep(&self, server: &Server, database: &Database, answer: &sumdb::Answer<'_>) {
        let _alone = self.keeping.lock().await;
        let kept = server.remembered_on_disk(&database.latest()).await;
        let kept = kept.and_then(|note| database.head_of(&note));
        if kept.is_none_or(|kept| kept.size < answer.head.size) {
            server.remember(&database.latest(), answer.note).await;
        }
    }

    /// Proves a tile that was asked for by itself, where the largest known tree has it, and keeps it then.
    pub(super) async fn prove_tile(&self, server: &Arc<Server>, item: &Item, body: &Bytes) {
        let Some(database) = &self.database else {
            return;
        };
        let known = self.largest(server, database).await;
        let (Some(tile), Some(head)) = (item.route.tile, known) else {
            return;
        };
        if item.route.sumdb.as_deref() != Some(&database.name) {
            return;
        }
        // The first record below it.
        let height = u32::from(tile.height) * (u32::from(tile.level) + 1);
        let first = tile.index.checked_shl(height);
        let Some(first) = first.filter(|id| *id < head.size) else {
            return;
        };
        let mut wanted = tiles_sealed(&Seen {
            lookups: vec![(first, head.size)],
            heads: Vec::new(),
        });
        // What lies below it says nothing of it; and it is here.
        wanted.retain(|other| other.level > tile.level || other.coordinate() == tile.coordinate());
        wanted.remove(&tile);
        let Ok(tiles) = database.tiles(server, wanted).await else {
            return;
        };
        let read = |other: &Tile| match tiles.get(other) {
            Some((_, other)) => Some(other.to_vec()),
            None => other
                .is_cut_from(&tile)
                .then(|| body[..other.len_bytes()].to_vec()),
        };
        let proved = Log::open(head, read).and_then(|mut log| log.body_of(&tile));
        match proved {
            Ok(Some(proved)) if proved == *body => server.proved(item, body).await,
            // The tree that is known has not grown so far.
            Ok(None) => {}
            Ok(Some(_)) => {
                let path = item.path();
                tracing::warn!(target: "modtape::serve", "{path} is not what the signed log has");
            }
            Err(error) => tracing::debug!(target: "modtape::serve", "{}: {error}", item.path()),
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<Head>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// The head that a note has, if it signed it.
    fn head_of(&self, note: &[u8]) -> Option<Head> {
        self.verifier.open(note).ok()?.parse().ok()
    }

    /// Where its largest tree head is kept.
    fn latest(&self) -> String {
        format!("sumdb/{}/latest", self.name)
    }

    /// Proves that the larger of two trees has the record, and that it grew from the other. Gives the tiles that say
    /// so, as wide as the larger tree has them: from these, clients that know either tree can be answered.
    async fn prove(
        &self,
        server: &Arc<Server>,
        answer: &sumdb::Answer<'_>,
        known: Option<Head>,
    ) -> Result<Vec<(Item, Bytes)>, Verdict> {
        let wanted = tiles_sealed(&Seen {
            lookups: vec![(answer.id, answer.head.size)],
            heads: known.iter().map(|known| known.size).collect(),
        });
        let tiles = self
            .tiles(server, wanted)
            .await
            .map_err(Verdict::Unproved)?;
        let (larger, smaller) = match known {
            Some(known) if known.size > answer.head.size => (known, Some(answer.head)),
            known => (answer.head, known),
        };
        let read = |tile: &Tile| tiles.get(tile).map(|(_, body)| body.to_vec());
        let mut proved = Vec::with_capacity(tiles.len());
        let mut prove = || {
            let mut log = Log::open(larger, read)?;
            log.has_record(answer.id, answer.record)?;
            if let Some(smaller) = &smaller {
                log.grew_from(smaller)?;
            }
            for (tile, (item, _)) in &tiles {
                if let Some(body) = log.body_of(tile)? {
                    proved.push((item.clone(), Bytes::from(body)));
                }
            }
            Ok(())
        };
        prove().map_err(|error: LogError| Verdict::Wrong(error.to_string()))?;
        Ok(proved)
    }

    /// Where it says what the files of a module version are.
    fn lookup(&self, item: &Item) -> Option<Item> {
        let route = Route::of_version(Kind::Lookup, item.module(), item.version());
        let sumdb = Some(self.name.clone());
        Item::of_route(Route { sumdb, ..route }).ok()
    }

    /// What it says of a module version, in a record that is proved.
    async fn record(&self, server: &Arc<Server>, item: &Item) -> Result<Record, String> {
        let lookup = self.lookup(item).ok_or("it has no path of its own")?;
        let answer = self.text(server, lookup).await?;
        if answer.proof == Proof::None {
            return Err(format!("the record of {} is not proved", self.name));
        }
        let text = answer.text().map_err(|error| error.to_string())?;
        let opened =
            sumdb::Answer::open(&text, &self.verifier).map_err(|error| error.to_string())?;
        let (module, version) = (item.module(), item.version());
        let hash = |of: &str| opened.h1(module, of).map(str::to_owned);
        Ok(Record {
            zip: hash(version),
            go_mod: hash(&format!("{version}/go.mod")),
        })
    }

    /// Tiles by what they are, each with its item.
    async fn tiles(
        &self,
        server: &Arc<Server>,
        wanted: impl IntoIterator<Item = Tile>,
    ) -> Result<HashMap<Tile, (Item, Bytes)>, String> {
        let mut asking = JoinSet::<Result<(Tile, (Item, Bytes)), String>>::new();
        for tile in wanted {
            let item =
                Item::of_route(Route::of_tile(&self.name, tile)).map_err(|it| it.to_string())?;
            let server = Arc::clone(server);
            asking.spawn(async move {
                let body = tile_body(&server, &item, tile).await?;
                Ok((tile, (item, body)))
            });
        }
        let mut tiles = HashMap::new();
        while let Some(asked) = asking.join_next().await {
            tiles.extend([asked.map_err(|error| error.to_string())??]);
        }
        Ok(tiles)
    }

    async fn text(&self, server: &Arc<Server>, item: Item) -> Result<Answer, String> {
        let path = item.path().to_owned();
        match server.obtain(item).await {
            Obtained::Whole(answer, _) if answer.status == StatusCode::OK => Ok(answer),
            Obtained::Whole(answer, _) => Err(format!("{path}: {}", answer.status)),
            Obtained::Failed(failure) => Err(failure.text()),
            // Only zips are passed on as they come.
            Obtained::Growing(_) => Err(format!("{path}: it is no text")),
        }
    }
}

/// A tile; one that the tree has outgrown is cut from the full one, which servers keep.
async fn tile_body(server: &Arc<Server>, item: &Item, tile: Tile) -> Result<Bytes, String> {
    let said = match server.obtain(item.clone()).await {
        Obtained::Whole(answer, _) if answer.status == StatusCode::OK => {
            return answer.text().map_err(|error| error.to_string());
        }
        Obtained::Whole(answer, _) => answer.status.to_string(),
        Obtained::Failed(failure) => failure.text(),
        Obtained::Growing(_) => "it is no text".into(),
    };
    let failed = || format!("{tile}: {said}");
    if tile.is_full() {
        return Err(failed());
    }
    let name = item.route.sumdb.as_deref().unwrap_or_default();
    let full = Item::of_route(Route::of_tile(name, tile.full())).map_err(|_| failed())?;
    match server.obtain(full).await {
        Obtained::Whole(answer, _) if answer.status == StatusCode::OK => {
            let body = answer.text().map_err(|error| error.to_string())?;
            Ok(body.slice(..tile.len_bytes().min(body.len())))
        }
        _ => Err(failed()),
    }
}
