//! What a recording proves of the answers of checksum databases, by itself.
//!
//! A lookup is signed by the database's key, and it is proved if the recorded tiles lead from its record
//! to a recorded signed head. Which tiles are on a recording hangs on what the client had in its cache and on
//! the order of the answers, so each head is tried, from the largest down. What the tiles at hand do not reach is neither
//! proved nor wrong. Two heads that are signed and do not belong to one log are told too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::exchange::ExchangeId;
use crate::gomod::{Coordinate, GoSumDb, Tile};
use crate::sumdb::{Answer, Hash, Head, Log, LogError, Seen, Verifier, tiles_unified};

/// The most bytes of the tiles of a recording that are held at once: 1,000 modules have 12 MiB, in one tree. What comes
/// after proves nothing; of a lookup, no more is held than its head and the hash of its record.
const LIMIT: usize = 64 << 20;

/// How many heads are tried at most, from the largest down: real recordings have a few dozen.
const HEADS: usize = 256;

/// In how many ways the tiles of a tree's right edge are put together, where some were served with
/// several contents.
const WAYS: usize = 64;

/// How many contents of a tile of one width are told apart: an honest server has one.
const CONTENTS: usize = 16;

/// An answer: its run and its exchange.
pub(crate) type Key = (u32, ExchangeId);

/// What is known of the answer to a lookup or of a tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Tiles on the recording lead from it to a signed head.
    Proved,
    /// Nothing contradicts it; a lookup's head has the signature of its database.
    Open,
    /// It is of a database of which no key is known.
    Unsigned,
    /// It is a lie, or damaged: why, in words.
    Wrong(String),
}

/// Whose signatures count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verifiers {
    /// That of GOSUMDB.
    own: Option<Verifier>,
    /// That of the database which every go command knows: toolchains are verified by it even where
    /// GOSUMDB is off.
    known: Option<Verifier>,
}

impl Verifiers {
    /// Those of the Go settings of a recording.
    pub(crate) fn of(go_env: &BTreeMap<String, String>) -> Self {
        let key = |value: &str| {
            let sumdb: GoSumDb = value.parse().ok()?;
            sumdb.key()?.parse().ok()
        };
        Self {
            own: go_env.get("GOSUMDB").and_then(|value| key(value)),
            known: key("sum.golang.org"),
        }
    }

    /// The key that every go command knows goes before one that a recording names.
    fn named(&self, name: &str) -> Option<&Verifier> {
        let mut both = self.known.iter().chain(&self.own);
        both.find(|verifier| verifier.name() == name)
    }

    /// Opens a lookup of a database that has this key.
    fn open<'a>(&self, content: &'a [u8], verifier: &Verifier) -> Result<Answer<'a>, String> {
        Answer::open(content, verifier).map_err(|error| {
            let other = self.own.iter().find(|own| {
                let is_other = own.name() == verifier.name() && *own != verifier;
                is_other && Answer::open(content, own).is_ok()
            });
            match other {
                Some(own) => format!(
                    "it is signed by the key that GOSUMDB has for {}, which is not the key of that database",
                    own.name()
                ),
                None => error.to_string(),
            }
        })
    }
}

/// The answers of all checksum databases on a recording.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    verifiers: Verifiers,
    databases: BTreeMap<String, Database>,
    bytes: usize,
}

impl Proofs {
    /// None yet; signatures of heads count if they are by one of these.
    pub(crate) fn new(verifiers: Verifiers) -> Self {
        Self {
            verifiers,
            ..Self::default()
        }
    }

    /// Adds the answer to a lookup. Its signature is checked, however many there are.
    pub(crate) fn add_lookup(&mut self, database: &str, key: Key, content: &[u8]) {
        let opened = match self.verifiers.named(database) {
            Some(verifier) => self.verifiers.open(content, verifier),
            None => return drop(self.of(database).unread.insert(key, Standing::Unsigned)),
        };
        match opened {
            Ok(answer) => {
                let lookup = Lookup {
                    key,
                    id: answer.id,
                    record: Hash::of_record(answer.record),
                    head: answer.head,
                };
                self.of(database).lookups.push(lookup);
            }
            Err(why) => drop(self.of(database).unread.insert(key, Standing::Wrong(why))),
        }
    }

    /// Adds a tile, whose body has the length that its name says.
    pub(crate) fn add_tile(&mut self, database: &str, key: Key, tile: Tile, body: Vec<u8>) {
        let bytes = self.bytes.saturating_add(body.len());
        let tiles = &mut self.of(database).tiles;
        let bodies = tiles.entry(tile.coordinate()).or_default();
        let of_width = bodies.iter().filter(|known| known.tile == tile).count();
        match bodies.iter_mut().find(|known| known.body == body) {
            Some(known) => known.keys.push(key),
            None if bytes > LIMIT || of_width == CONTENTS => {}
            None => {
                bodies.push(Served {
                    tile,
                    body,
                    keys: vec![key],
                    standing: Standing::Open,
                });
                self.bytes = bytes;
            }
        }
    }

    fn of(&mut self, database: &str) -> &mut Database {
        self.databases.entry(database.to_owned()).or_default()
    }

    /// Holds all of them against each other. Tiles that were too much to be held are left out.
    pub(crate) fn judge(self) -> BTreeMap<Key, Standing> {
        let mut judged = BTreeMap::new();
        for database in self.databases.into_values() {
            database.judge(&mut judged);
        }
        judged
    }
}

/// What was served of one database.
#[derive(Debug, Default)]
struct Database {
    /// Lookups whose head counts.
    lookups: Vec<Lookup>,
    /// The others, which nothing more is asked about.
    unread: BTreeMap<Key, Standing>,
    tiles: BTreeMap<Coordinate, Vec<Served>>,
}

/// A content that a tile was served with.
#[derive(Debug)]
struct Served {
    tile: Tile,
    body: Vec<u8>,
    keys: Vec<Key>,
    standing: Standing,
}

/// A lookup whose signature is right.
#[derive(Debug)]
struct Lookup {
    key: Key,
    id: u64,
    /// The hash of its record.
    record: Hash,
    head: Head,
}

/// A lookup that is held against the heads.
struct Tried {
    lookup: Lookup,
    /// The place of its head among all.
    head: usize,
    standing: Standing,
}

/// A signed head, and what its tiles say of it.
struct Signed {
    head: Head,
    standing: Standing,
}

impl Database {
    fn judge(self, judged: &mut BTreeMap<Key, Standing>) {
        judged.extend(self.unread);
        let by_size = |head: &Head| (Reverse(head.size), *head.root.as_bytes());
        let heads = self.lookups.iter().map(|lookup| lookup.head);
        let heads: BTreeMap<_, Head> = heads.map(|head| (by_size(&head), head)).collect();
        let places: BTreeMap<_, usize> = heads.keys().copied().zip(0..).collect();
        let lookups = self.lookups.into_iter().map(|lookup| Tried {
            head: places[&by_size(&lookup.head)],
            lookup,
            standing: Standing::Open,
        });
        let heads = heads.into_values().map(|head| Signed {
            head,
            standing: Standing::Open,
        });
        let mut trial = Trial {
            tiles: self.tiles,
            heads: heads.collect(),
            lookups: lookups.collect(),
            suspects: BTreeMap::new(),
        };
        for at in 0..trial.heads.len().min(HEADS) {
            // What a larger tree contradicts proves nothing.
            if !matches!(trial.heads[at].standing, Standing::Wrong(_)) {
                trial.try_head(trial.heads[at].head);
            }
        }
        trial.tell(judged);
    }
}

/// A content of a tile: its coordinate, and its place among the contents that were served for that.
type Place = (Coordinate, usize);

/// All that is held against the heads, one after the other.
struct Trial {
    tiles: BTreeMap<Coordinate, Vec<Served>>,
    /// The largest first.
    heads: Vec<Signed>,
    lookups: Vec<Tried>,
    /// Contents that led to no signed root, one of which must be wrong; and what was said of that.
    suspects: BTreeMap<Place, String>,
}

/// What a tree said of what was not proved yet.
#[derive(Default)]
struct Said {
    lookups: Vec<(usize, Standing)>,
    heads: Vec<(usize, Standing)>,
    tiles: Vec<(Place, Standing)>,
    /// Contents that were read on the way and are not the tree's.
    forged: BTreeMap<Place, String>,
}

impl Trial {
    fn try_head(&mut self, head: Head) {
        let Some(choice) = self.choose(head) else {
            return;
        };
        loop {
            let said = self.ask(head, &choice);
            // Where a content is set aside, another one of the same tile may lead further.
            let is_over = said.forged.is_empty();
            for (at, standing) in said.lookups {
                self.lookups[at].standing = standing;
            }
            for (at, standing) in said.heads {
                self.heads[at].standing = standing;
            }
            let forged = said.forged.into_iter();
            let forged = forged.map(|(place, why)| (place, Standing::Wrong(why)));
            for ((coordinate, at), standing) in said.tiles.into_iter().chain(forged) {
                if let Some(served) = self.served_mut(coordinate, at) {
                    served.standing = standing;
                }
            }
            if is_over {
                return;
            }
        }
    }

    /// Chooses the contents of the right edge that lead to the root of a head; none where a tile is missing
    /// or all lead elsewhere.
    fn choose(&mut self, head: Head) -> Option<BTreeMap<Coordinate, usize>> {
        let edge = tiles_unified(&Seen {
            lookups: Vec::new(),
            heads: vec![head.size],
        });
        let edge: Vec<(Tile, Vec<usize>)> = edge
            .into_iter()
            .map(|tile| (tile, self.usable(&tile).collect()))
            .collect();
        let mut tried = BTreeSet::new();
        let mut why = None;
        let places = edge.iter().map(|(_, places)| places.len());
        let ways = places.fold(1, usize::saturating_mul);
        for way in 0..usize::min(ways, WAYS) {
            let mut rest = way;
            let mut choice = BTreeMap::new();
            for (tile, places) in &edge {
                let coordinate = tile.coordinate();
                choice.insert(coordinate, places[rest % places.len()]);
                rest /= places.len();
            }
            match Log::open(head, |tile: &Tile| self.body(tile, &choice)) {
                Ok(_) => return Some(choice),
                Err(error @ LogError::Root(_)) => {
                    tried.extend(choice);
                    why = Some(error.to_string());
                }
                Err(_) => {}
            }
        }
        let why = why?;
        self.suspects
            .extend(tried.into_iter().map(|place| (place, why.clone())));
        None
    }

    /// The contents of a tile that have all of it and are not known to be wrong, by place.
    fn usable(&self, tile: &Tile) -> impl Iterator<Item = usize> {
        let bodies = self.tiles.get(&tile.coordinate());
        let bodies = bodies.map_or(&[][..], Vec::as_slice).iter().enumerate();
        let usable = bodies.filter(|(_, served)| {
            tile.is_cut_from(&served.tile) && !matches!(served.standing, Standing::Wrong(_))
        });
        usable.map(|(at, _)| at)
    }

    fn place(&self, tile: &Tile, choice: &BTreeMap<Coordinate, usize>) -> Option<Place> {
        let coordinate = tile.coordinate();
        let mut usable = self.usable(tile);
        let at = match choice.get(&coordinate) {
            Some(chosen) => usable.find(|at| at == chosen),
            None => usable.next(),
        };
        Some((coordinate, at?))
    }

    fn body(&self, tile: &Tile, choice: &BTreeMap<Coordinate, usize>) -> Option<Vec<u8>> {
        let (coordinate, at) = self.place(tile, choice)?;
        let served = self.tiles.get(&coordinate)?.get(at)?;
        Some(served.body.get(..tile.len_bytes())?.to_vec())
    }

    fn served_mut(&mut self, coordinate: Coordinate, at: usize) -> Option<&mut Served> {
        self.tiles.get_mut(&coordinate)?.get_mut(at)
    }

    /// Holds what is not proved yet against the tree of a head.
    fn ask(&self, head: Head, choice: &BTreeMap<Coordinate, usize>) -> Said {
        let mut said = Said::default();
        let Ok(mut log) = Log::open(head, |tile: &Tile| self.body(tile, choice)) else {
            return said;
        };
        for (at, lookup) in self.lookups.iter().enumerate() {
            let Lookup { id, record, .. } = lookup.lookup;
            if lookup.standing == Standing::Open && id < head.size {
                let found = log.has_hash(id, record);
                let found = self.heard(found, choice, &mut said.forged);
                said.lookups.extend(found.map(|standing| (at, standing)));
            }
        }
        for (at, other) in self.heads.iter().enumerate() {
            if other.standing == Standing::Open && other.head.size <= head.size {
                let found = log.grew_from(&other.head);
                let found = self.heard(found, choice, &mut said.forged);
                said.heads.extend(found.map(|standing| (at, standing)));
            }
        }
        for (coordinate, bodies) in &self.tiles {
            for (at, served) in bodies.iter().enumerate() {
                if served.standing != Standing::Open {
                    continue;
                }
                let (tile, size) = (served.tile, head.size);
                let found = match log.body_of(&tile) {
                    Ok(None) => continue,
                    Ok(Some(body)) if body == served.body => Ok(()),
                    Ok(Some(_)) => {
                        let why = LogError::Forged { tile, size }.to_string();
                        said.tiles.push(((*coordinate, at), Standing::Wrong(why)));
                        continue;
                    }
                    Err(error) => Err(error),
                };
                let found = self.heard(found, choice, &mut said.forged);
                said.tiles
                    .extend(found.map(|standing| ((*coordinate, at), standing)));
            }
        }
        said
    }

    /// What a tree's word makes of what it was asked about; none where a tile is missing. A tile that was
    /// read on the way and is not the tree's is told by itself.
    fn heard(
        &self,
        found: Result<(), LogError>,
        choice: &BTreeMap<Coordinate, usize>,
        forged: &mut BTreeMap<Place, String>,
    ) -> Option<Standing> {
        match found {
            Ok(()) => Some(Standing::Proved),
            Err(error @ (LogError::Record { .. } | LogError::Fork { .. })) => {
                Some(Standing::Wrong(error.to_string()))
            }
            Err(error @ LogError::Forged { tile, .. }) => {
                let place = self.place(&tile, choice);
                forged.extend(place.map(|place| (place, error.to_string())));
                None
            }
            Err(_) => None,
        }
    }

    fn tell(self, judged: &mut BTreeMap<Key, Standing>) {
        for lookup in self.lookups {
            // A head that is in no log says nothing, whatever the record beside it.
            let standing = match &self.heads[lookup.head].standing {
                wrong @ Standing::Wrong(_) => wrong.clone(),
                _ => lookup.standing,
            };
            judged.insert(lookup.lookup.key, standing);
        }
        for (coordinate, bodies) in self.tiles {
            for (at, served) in bodies.into_iter().enumerate() {
                let suspect = self.suspects.get(&(coordinate, at));
                let standing = match (served.standing, suspect) {
                    (Standing::Open, Some(why)) => Standing::Wrong(why.clone()),
                    (standing, _) => standing,
                };
                let keys = served.keys.into_iter();
                judged.extend(keys.map(|key| (key, standing.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sumdb::tests::Database as Log;
    use crate::sumdb::tiles_sealed;

    const NAME: &str = "sums.corp/db";

    fn verifiers(log: &Log) -> Verifiers {
        Verifiers::of(&BTreeMap::from([(
            "GOSUMDB".to_owned(),
            log.verifier_key(),
        )]))
    }

    /// What was served, in order: exchanges are numbered from 1.
    struct Served {
        proofs: Proofs,
        last: ExchangeId,
    }

    impl Served {
        fn by(verifiers: Verifiers) -> Self {
            let proofs = Proofs::new(verifiers);
            Self { proofs, last: 0 }
        }

        fn of(log: &Log) -> Self {
            Self::by(verifiers(log))
        }

        fn key(&mut self) -> Key {
            self.last += 1;
            (0, self.last)
        }

        fn lookup(&mut self, text: String) -> Key {
            let key = self.key();
            self.proofs.add_lookup(NAME, key, text.as_bytes());
            key
        }

        fn tile(&mut self, tile: Tile, body: Vec<u8>) -> Key {
            let key = self.key();
            self.proofs.add_tile(NAME, key, tile, body);
            key
        }
    }

    fn seen(lookups: &[(u64, u64)]) -> Seen {
        Seen {
            lookups: lookups.to_vec(),
            heads: Vec::new(),
        }
    }

    fn honest(log: &Log, tile: &Tile) -> Vec<u8> {
        log.tile(tile, 1_000).unwrap()
    }

    const LOOKUPS: [(u64, u64); 3] = [(5, 1_000), (300, 600), (700, 900)];

    #[test]
    fn each_forged_tile_is_told_and_no_other() {
        let log = Log::new(1_000);
        let tiles: Vec<Tile> = tiles_sealed(&seen(&LOOKUPS)).into_iter().collect();
        for forged in [None].into_iter().chain(tiles.iter().map(Some)) {
            for has_another in [false, true] {
                let mut served = Served::of(&log);
                let lookups = LOOKUPS.map(|(id, size)| served.lookup(log.answer(id, size)));
                let mut lie = None;
                let mut keys = Vec::new();
                for tile in &tiles {
                    if Some(tile) == forged {
                        let mut body = honest(&log, tile);
                        body[40] ^= 1;
                        lie = Some(served.tile(*tile, body));
                    }
                    if Some(tile) != forged || has_another {
                        keys.push(served.tile(*tile, honest(&log, tile)));
                    }
                }
                let judged = served.proofs.judge();
                let is_wrong = |key: &Key| matches!(judged[key], Standing::Wrong(_));
                let edge = forged.is_some_and(|tile| tile.width < 256);
                if let Some(lie) = lie {
                    assert!(is_wrong(&lie), "{forged:?}");
                }
                assert!(!lookups.iter().any(is_wrong), "{forged:?}");
                if forged.is_none() || has_another {
                    assert!(keys.iter().all(|key| judged[key] == Standing::Proved));
                    assert!(lookups.iter().all(|key| judged[key] == Standing::Proved));
                } else if !edge {
                    assert!(!keys.iter().any(is_wrong), "{forged:?}: {judged:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_tiles_do_not_reach_is_neither_proved_nor_wrong() {
        let log = Log::new(1_000);
        let mut served = Served::of(&log);
        let keys = LOOKUPS.map(|(id, size)| served.lookup(log.answer(id, size)));
        let of_one = tiles_sealed(&seen(&[(300, 600)]));
        let tiles: Vec<Key> = of_one
            .iter()
            .map(|tile| served.tile(*tile, log.tile(tile, 600).unwrap()))
            .collect();
        let judged = served.proofs.judge();
        let standings = keys.map(|key| judged[&key].clone());
        assert_eq!(
            standings,
            [Standing::Open, Standing::Proved, Standing::Open]
        );
        assert!(tiles.iter().all(|key| judged[key] == Standing::Proved));
    }

    #[test]
    fn a_tile_of_a_later_tree_serves_an_older_one() {
        // As a client leaves it that met the heads in this order: the edge of the older tree was never asked for.
        let log = Log::new(1_000);
        let mut served = Served::of(&log);
        let keys = [(300, 1_000), (301, 999)].map(|(id, size)| served.lookup(log.answer(id, size)));
        for tile in tiles_sealed(&seen(&[(300, 1_000)])) {
            served.tile(tile, honest(&log, &tile));
        }
        let judged = served.proofs.judge();
        assert!(keys.iter().all(|key| judged[key] == Standing::Proved));
    }

    #[test]
    fn a_record_at_another_number_and_a_head_of_another_log_are_lies() {
        let log = Log::new(1_000);
        let other = Log::new(1_001);
        let mut served = Served::of(&log);
        let sound = served.lookup(log.answer(5, 1_000));
        let shifted = served.lookup(log.answer(301, 1_000).replacen("301", "300", 1));
        let text = other.head(700).to_string().replace("\n700\n", "\n699\n");
        let record = crate::sumdb::tests::record(5);
        let forked = served.lookup(format!("5\n{record}\n{}", log.sign(&text)));
        let unsigned = served.lookup(log.answer(5, 1_000).replace("\n1000\n", "\n1001\n"));
        let all = seen(&[(5, 1_000), (300, 1_000), (5, 699)]);
        for tile in tiles_sealed(&all) {
            served.tile(tile, honest(&log, &tile));
        }
        let judged = served.proofs.judge();
        assert_eq!(judged[&sound], Standing::Proved);
        for (key, why) in [
            (shifted, "the tree of 1000 records has another record 300"),
            (
                forked,
                "the tree of 699 records is not the beginning of the tree of 1000",
            ),
            (
                unsigned,
                "its tree head is not valid: its signature by sums.corp/db is wrong",
            ),
        ] {
            let Standing::Wrong(told) = &judged[&key] else {
                panic!("{why}: {:?}", judged[&key]);
            };
            assert!(told.starts_with(why), "{told}");
        }
    }

    #[test]
    fn without_its_key_nothing_is_known_of_a_database() {
        let log = Log::new(10);
        let mut served = Served::by(Verifiers::of(&BTreeMap::new()));
        let key = served.lookup(log.answer(5, 10).replace("h1:zip", "h1:evil"));
        assert_eq!(served.proofs.judge()[&key], Standing::Unsigned);
    }

    #[test]
    fn another_key_under_the_name_of_the_known_database_does_not_count() {
        let log = Log::new(10);
        let verifiers = Verifiers {
            known: verifiers(&Log::new(10).with_another_key()).own,
            ..verifiers(&log)
        };
        let mut served = Served::by(verifiers);
        let key = served.lookup(log.answer(5, 10));
        let expected = "it is signed by the key that GOSUMDB has for sums.corp/db, which is not the key of that database";
        assert_eq!(
            served.proofs.judge()[&key],
            Standing::Wrong(expected.to_owned())
        );
    }

    #[test]
    fn signatures_are_checked_however_many_tiles_there_are() {
        let log = Log::new(1_000);
        let mut served = Served::of(&log);
        let body = |at: u64| at.to_be_bytes().repeat(1_024);
        let tile = |index| Tile {
            index,
            ..tiles_sealed(&seen(&LOOKUPS)).into_iter().next().unwrap()
        };
        let tiles: Vec<Key> = (0..=LIMIT as u64 / 8_192)
            .map(|at| served.tile(tile(at), body(at)))
            .collect();
        let unsigned = served.lookup(log.answer(5, 1_000).replace("\n1000\n", "\n1001\n"));
        let judged = served.proofs.judge();
        assert_eq!(judged.get(&tiles[0]), Some(&Standing::Open));
        assert_eq!(judged.get(tiles.last().unwrap()), None);
        assert!(matches!(judged[&unsigned], Standing::Wrong(_)));
    }

    #[test]
    fn of_many_contents_of_a_tile_some_are_looked_at() {
        let log = Log::new(1_000);
        let mut served = Served::of(&log);
        let lookup = served.lookup(log.answer(5, 1_000));
        let tiles = tiles_sealed(&seen(&LOOKUPS));
        for tile in &tiles {
            served.tile(*tile, honest(&log, tile));
            for lie in 0..=u8::MAX {
                let mut body = honest(&log, tile);
                body[..32].fill(lie);
                served.tile(*tile, body);
            }
        }
        let database = &served.proofs.databases[NAME];
        let mut contents = database.tiles.values().map(Vec::len);
        assert!(contents.all(|contents| contents <= 2 * CONTENTS));
        assert_eq!(served.proofs.judge()[&lookup], Standing::Proved);
    }
}
