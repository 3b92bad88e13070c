use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::gomod::Tile;

/// A database of made-up records.
pub(crate) struct Database {
    /// Rows of hashes by level of the tree, all of them.
    rows: Vec<Vec<Hash>>,
    key: Ed25519KeyPair,
    name: &'static str,
}

pub(crate) fn record(id: u64) -> String {
    format!("a.b/c v1.{id}.0 h1:zip{id}=\na.b/c v1.{id}.0/go.mod h1:mod{id}=\n")
}

impl Database {
    pub(crate) fn new(size: u64) -> Self {
        let records = (0..size).map(|id| Hash::of_record(&record(id)));
        let mut rows = vec![records.collect::<Vec<_>>()];
        while let Some(below) = rows.last().filter(|row| row.len() > 1) {
            let pairs = below.as_chunks::<2>().0;
            let above = pairs
                .iter()
                .map(|[left, right]| Hash::of_pair(*left, *right));
            let above = above.collect();
            rows.push(above);
        }
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        Self {
            rows,
            key,
            name: "sums.corp/db",
        }
    }

    /// The same with another key, under the same name.
    pub(crate) fn with_another_key(self) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        Self { key, ..self }
    }

    /// RFC 6962, section 2.1, word by word.
    fn root(&self, start: u64, size: u64) -> Hash {
        match size {
            0 => Hash::of_nothing(),
            1 => self.rows[0][start as usize],
            _ => {
                let left = size.next_power_of_two() / 2;
                Hash::of_pair(self.root(start, left), self.root(start + left, size - left))
            }
        }
    }

    pub(crate) fn head(&self, size: u64) -> Head {
        Head {
            size,
            root: self.root(0, size),
        }
    }

    /// A tile, if the tree of `size` records has it.
    pub(crate) fn tile(&self, tile: &Tile, size: u64) -> Option<Vec<u8>> {
        let row = self.rows.get(usize::from(tile.level) * 8)?;
        let begin = tile.index << 8;
        let end = begin + u64::from(tile.width);
        if end > size >> (8 * tile.level) {
            return None;
        }
        let hashes = row.get(begin as usize..end as usize)?;
        Some(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
    }

    pub(crate) fn verifier_key(&self) -> String {
        let mut key = vec![1];
        key.extend(self.key.public_key().as_ref());
        let hash = Sha256::digest([self.name.as_bytes(), b"\n", &key].concat());
        let id: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}+{id}+{}", self.name, BASE64.encode(&key))
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        let key = self.verifier_key();
        let id = u32::from_str_radix(key.split('+').nth(1).unwrap(), 16).unwrap();
        let mut signature = id.to_be_bytes().to_vec();
        signature.extend(self.key.sign(text.as_bytes()).as_ref());
        format!(
            "{text}\n\u{2014} {} {}\n",
            self.name,
            BASE64.encode(signature)
        )
    }

    pub(crate) fn answer(&self, id: u64, size: u64) -> String {
        let note = self.sign(&self.head(size).to_string());
        format!("{id}\n{}\n{note}", record(id))
    }
}

fn full(level: u8, index: u64) -> Tile {
    partial(level, index, 256)
}

fn partial(level: u8, index: u64, width: u16) -> Tile {
    Tile {
        height: 8,
        level,
        index,
        width,
    }
}

/// What golang.org/x/mod's client asks for: `tlog.tileHashReader` for a tree of `size` records and the hashes
/// `wanted`, each by level and number, with nothing in its cache.
fn asked_by_the_client(size: u64, wanted: &[(u32, u64)]) -> BTreeSet<Tile> {
    let tile_of = |(level, number): (u32, u64)| (level / 8, number << (level % 8) >> 8);
    let as_in_tree = |(level, index): (u32, u64)| {
        let row = size >> (8 * level);
        let width = (row - (index << 8)).min(256) as u16;
        partial(level as u8, index, width)
    };
    let mut tiles = BTreeSet::new();
    tiles.extend(
        complete_subtrees(size)
            .into_iter()
            .map(|hash| as_in_tree(tile_of(hash))),
    );
    for hash in wanted {
        let (mut level, mut index) = tile_of(*hash);
        while tiles.insert(as_in_tree((level, index))) {
            (level, index) = (level + 1, index >> 8);
        }
    }
    tiles
}

/// Level and number of each complete subtree that the root of so many records is made of.
fn complete_subtrees(size: u64) -> Vec<(u32, u64)> {
    let levels = (0..64).filter(|level| size >> level & 1 == 1);
    levels.map(|level| (level, (size >> level) - 1)).collect()
}

/// All that the client can ask for, by the definition: whichever head is the newest.
fn asked_in_any_order(seen: &Seen) -> BTreeSet<Tile> {
    let sizes: BTreeSet<u64> = seen
        .heads
        .iter()
        .copied()
        .chain(seen.lookups.iter().map(|(_, size)| *size))
        .collect();
    let mut tiles = BTreeSet::new();
    for current in &sizes {
        tiles.extend(asked_by_the_client(*current, &[]));
        for older in sizes.range(..=current) {
            tiles.extend(asked_by_the_client(*current, &complete_subtrees(*older)));
        }
        for (id, _) in seen.lookups.iter().filter(|(_, size)| size <= current) {
            tiles.extend(asked_by_the_client(*current, &[(0, *id)]));
        }
    }
    tiles
}

/// Sizes around powers of 256, where tiles end, and any others.
fn size() -> impl Strategy<Value = u64> {
    let near = (0_u32..5, 1_u64..300, -3_i64..300);
    let near = near
        .prop_map(|(level, times, off)| (times << (8 * level)).saturating_add_signed(off).max(1));
    prop_oneof![near, 1_u64..70_000, 1_u64..1 << 40]
}

fn seen() -> impl Strategy<Value = Seen> {
    let lookup = size().prop_flat_map(|size| (0..size, Just(size)));
    let lookups = prop::collection::vec(lookup, 1..6);
    (lookups, prop::collection::vec(size(), 0..2))
        .prop_map(|(lookups, heads)| Seen { lookups, heads })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_is_what_the_client_can_ask_for(seen in seen()) {
        let asked = asked_in_any_order(&seen);
        prop_assert_eq!(&tiles_exact(&seen), &asked);
        // Cutting needs each coordinate once, and no other.
        let largest = seen.largest().unwrap();
        let coordinates: BTreeSet<_> = asked.iter().map(Tile::coordinate).collect();
        let sealed = tiles_sealed(&seen);
        prop_assert_eq!(sealed.iter().map(Tile::coordinate).collect::<BTreeSet<_>>(), coordinates);
        prop_assert_eq!(sealed.len(), sealed.iter().map(Tile::coordinate).collect::<BTreeSet<_>>().len());
        for tile in &asked {
            prop_assert!(sealed.iter().any(|wide| tile.is_cut_from(wide)), "{}", tile);
        }
        // With one head for all, no more than that head's own.
        let of_one = Seen {
            lookups: seen.lookups.iter().map(|(id, _)| (*id, largest)).collect(),
            heads: vec![largest],
        };
        prop_assert_eq!(tiles_unified(&seen), asked_in_any_order(&of_one));
        prop_assert!(tiles_unified(&seen).is_subset(&sealed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_reads_the_plan_and_nothing_else(
        newest in 1_u64..3_000, lookups in prop::collection::vec((0_u64..3_000, 0_u64..3_000), 1..8)
    ) {
        let database = Database::new(newest);
        let lookups: Vec<_> = lookups.iter().map(|(id, size)| {
            let size = size % newest + 1;
            (id % size, size)
        }).collect();
        let seen = Seen { lookups, heads: vec![newest] };
        let mut read = BTreeSet::new();
        let mut log = Log::open(database.head(newest), |tile: &Tile| {
            assert!(read.insert(*tile), "{tile} is read twice");
            database.tile(tile, newest)
        }).unwrap();
        for (id, size) in &seen.lookups {
            log.grew_from(&database.head(*size)).unwrap();
            log.has_record(*id, &record(*id)).unwrap();
        }
        drop(log);
        prop_assert_eq!(read, tiles_sealed(&seen));
    }

    #[test]
    fn no_lie_passes(size in 2_u64..3_000, id in 0_u64..3_000, bit in 0_usize..256, lied in 0_usize..64) {
        let (database, id, older) = (Database::new(size), id % size, size / 2 + 1);
        let seen = Seen { lookups: vec![(id, older)], heads: vec![size] };
        let seen = if id < older { seen } else { Seen { lookups: vec![(id, size)], heads: vec![older] } };
        let tiles: Vec<_> = tiles_sealed(&seen).into_iter().collect();
        let forged = tiles[lied % tiles.len()];
        let read = |tile: &Tile| {
            let mut body = database.tile(tile, size)?;
            if *tile == forged {
                let at = bit * 32 % body.len();
                body[at] ^= 1 << (bit % 8);
            }
            Some(body)
        };
        let checked = Log::open(database.head(size), read).and_then(|mut log| {
            log.grew_from(&database.head(older))?;
            log.has_record(id, &record(id))
        });
        prop_assert!(matches!(checked, Err(LogError::Root(_) | LogError::Forged { .. })), "{:?}", checked);
    }
}

#[test]
fn heads_records_and_tiles_that_lie_are_named() {
    let database = Database::new(1_000);
    let honest = |tile: &Tile| database.tile(tile, 1_000);
    let mut log = Log::open(database.head(1_000), honest).unwrap();
    let says = |result: Result<(), LogError>| result.unwrap_err().to_string();

    assert_eq!(
        says(log.has_record(700, &record(701))),
        "the tree of 1000 records has another record 700"
    );
    assert_eq!(
        says(log.has_record(1_000, &record(1_000))),
        "the tree of 1000 records has another record 1000"
    );
    let other = Head {
        size: 300,
        root: database.root(0, 301),
    };
    assert!(
        says(log.grew_from(&other)).starts_with("the tree of 300 records is not the beginning")
    );
    let newer = database.head(1_000);
    assert!(log.grew_from(&newer).is_ok());
    let beyond = Head {
        size: 1_001,
        root: newer.root,
    };
    assert!(log.grew_from(&beyond).is_err());
    let nothing = |root| Head { size: 0, root };
    assert!(log.grew_from(&nothing(Hash::of_nothing())).is_ok());
    assert!(log.grew_from(&nothing(newer.root)).is_err());

    let wrong = Head { size: 999, ..newer };
    let opened = Log::open(wrong, |tile: &Tile| database.tile(tile, 999));
    assert!(matches!(opened.err(), Some(LogError::Root(999))));
    let opened = Log::open(newer, |_: &Tile| None);
    assert_eq!(opened.err(), Some(LogError::Missing(partial(0, 3, 232))));
    let opened = Log::open(newer, |tile: &Tile| {
        honest(tile).map(|body| body[1..].to_vec())
    });
    assert_eq!(
        opened.err().unwrap().to_string(),
        "tile/8/0/003.p/232 has 7423 bytes instead of 7424"
    );
    // What a client without the check of CVE-2026-56865 takes: a forged tile with a forged parent.
    let forged = |tile: &Tile| match (tile.level, tile.index) {
        (0, 1) => Some(vec![7; 8_192]),
        _ => honest(tile),
    };
    let mut log = Log::open(newer, forged).unwrap();
    assert_eq!(
        log.has_record(300, &record(300)).err(),
        Some(LogError::Forged {
            tile: full(0, 1),
            size: 1_000
        })
    );
    assert!(log.has_record(3, &record(3)).is_ok());
}

#[test]
fn a_wider_tile_serves_a_narrower_one() {
    let database = Database::new(1_000);
    let wider = |tile: &Tile| {
        database
            .tile(&partial(tile.level, tile.index, tile.width), 1_000)
            .or_else(|| database.tile(tile, 1_000))
    };
    for size in [1, 255, 256, 257, 700, 768, 1_000] {
        let mut log = Log::open(database.head(size), wider).unwrap();
        log.has_record(size - 1, &record(size - 1)).unwrap();
    }
}

#[test]
fn answers_are_verified_before_they_are_read() {
    let database = Database::new(700);
    let verifier: Verifier = database.verifier_key().parse().unwrap();
    let text = database.answer(650, 651);
    let answer = Answer::open(text.as_bytes(), &verifier).unwrap();
    assert_eq!((answer.id, answer.head), (650, database.head(651)));
    assert_eq!(answer.record, record(650));
    assert_eq!(answer.h1("a.b/c", "v1.650.0"), Some("h1:zip650="));
    assert_eq!(answer.h1("a.b/c", "v1.650.0/go.mod"), Some("h1:mod650="));
    assert_eq!(answer.h1("a.b/c", "v1.65"), None);
    assert_eq!(answer.h1("a.b", "v1.650.0"), None);

    let why = |text: &str| {
        Answer::open(text.as_bytes(), &verifier)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        why(&database.answer(650, 650)),
        "it is record 650 of a tree of 650 records"
    );
    assert_eq!(
        why(&text.replace("651\n", "652\n")),
        "its tree head is not valid: its signature by sums.corp/db is wrong"
    );
    assert_eq!(
        why(&text.replace("sums.corp", "sums.come")),
        "its tree head is not valid: it is not signed by sums.corp/db"
    );
    // Whatever is cut off or added, nothing but the whole is taken.
    for end in 0..text.len() {
        assert!(
            Answer::open(&text.as_bytes()[..end], &verifier).is_err(),
            "{end}"
        );
    }
    // A line of a go.sum in the signed text is none of the record (CVE-2026-56864).
    let head = format!("{}a.b/d v1.0.0 h1:forged=\n", database.head(651));
    let forged = format!("650\n{}\n{}", record(650), database.sign(&head));
    let answer = Answer::open(forged.as_bytes(), &verifier).unwrap();
    assert_eq!(answer.h1("a.b/d", "v1.0.0"), None);
    for wrong in ["", "\n", "-1\nx y z\n", "1\n\n", "1\nx\u{1}\n"] {
        let text = format!(
            "{wrong}\n{}",
            database.sign(&database.head(651).to_string())
        );
        assert_eq!(
            why(&text),
            "it is not a record with a signed tree head",
            "{wrong:?}"
        );
    }
}

#[test]
fn other_signatures_stand_beside_ours() {
    let database = Database::new(3);
    let verifier: Verifier = database.verifier_key().parse().unwrap();
    let note = database.sign("text\n\nmore\n");
    assert_eq!(verifier.open(note.as_bytes()), Ok("text\n\nmore\n"));
    let other = format!("{note}\u{2014} witness {}\n", BASE64.encode([9; 68]));
    assert_eq!(verifier.open(other.as_bytes()), Ok("text\n\nmore\n"));
    let before = note.replace("\n\u{2014} ", "\n\u{2014} witness AAAAAAA=\n\u{2014} ");
    assert_eq!(verifier.open(before.as_bytes()), Ok("text\n\nmore\n"));
    for malformed in [
        note.trim_end().to_owned(),
        format!("{note}more\n"),
        format!("\u{1}{note}"),
        note.replace("\u{2014}", "-"),
        format!("{note}\u{2014} a+b AAAAAAA=\n"),
        format!("{note}\u{2014} a AAAA\n"),
    ] {
        assert_eq!(
            verifier.open(malformed.as_bytes()),
            Err(NoteError::Form),
            "{malformed:?}"
        );
    }
    let many = "\u{2014} witness AAAAAAA=\n".repeat(100);
    assert_eq!(
        verifier.open(format!("{note}{many}").as_bytes()),
        Err(NoteError::Form)
    );
}

#[test]
fn a_verifier_key_says_what_is_wrong_with_it() {
    let key = Database::new(0).verifier_key();
    assert_eq!(key.parse::<Verifier>().unwrap().name(), "sums.corp/db");
    let why = |key: &str| key.parse::<Verifier>().unwrap_err().to_string();
    let form = "a verifier key is NAME+HASH+KEY, with an Ed25519 key";
    for wrong in [
        "",
        "a",
        "a+b",
        "a+b+c",
        "a+00000000+AQ==",
        "a+00000000+",
        &key[..key.len() - 4],
    ] {
        assert_eq!(why(wrong), form, "{wrong}");
    }
    let (name, rest) = key.split_once('+').unwrap();
    assert_eq!(
        why(&format!(" {name}+{rest}")),
        "\" sums.corp/db\" is not a valid name of a key"
    );
    let mistyped = format!("sums.corp/d+{rest}");
    assert!(why(&mistyped).starts_with("the hash of this verifier key is not that of its key"));
}

#[test]
fn a_head_is_read_as_it_is_written() {
    let database = Database::new(5);
    let head = database.head(5);
    assert_eq!(head.to_string().parse(), Ok(head));
    assert_eq!(format!("{head}more\n").parse(), Ok(head));
    let text = head.to_string();
    for wrong in [
        text.replace("\n5\n", "\n05\n"),
        text.replace("\n5\n", "\n+5\n"),
        text.replace("\n5\n", "\n-5\n"),
        text.replace("\n5\n", "\n9223372036854775808\n"),
        text.replace('=', ""),
        text.trim_end().to_owned(),
        text.replace("database", "databank"),
        String::new(),
    ] {
        assert!(wrong.parse::<Head>().is_err(), "{wrong}");
    }
}

#[test]
fn sizes_are_those_that_were_measured() {
    // facts: a log of 40 million records, lookups spread over it.
    let tiles = |modules: u64| {
        let size = 40_000_000;
        let lookups = (0..modules).map(|n| (n * (size / modules), size)).collect();
        tiles_sealed(&Seen {
            lookups,
            heads: Vec::new(),
        })
        .len() as u64
    };
    let by_count: BTreeMap<u64, u64> = [50, 200, 500, 1_000].map(|n| (n, tiles(n))).into();
    assert!(
        by_count
            .iter()
            .all(|(modules, tiles)| *tiles < modules * 3 + 10),
        "{by_count:?}"
    );
}
