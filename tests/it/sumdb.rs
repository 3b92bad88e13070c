//! The checksum database as sum.golang.org really answers: every lookup of the corpus, with the head
//! that came with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use modtape::gomod::Tile;
use modtape::sumdb::{Answer, Head, Log, LogError, Seen, Verifier, tiles_sealed};

use crate::support::*;

const KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

/// The lookups of a corpus, by path.
struct Database {
    folder: PathBuf,
    lookups: BTreeMap<PathBuf, Vec<u8>>,
    verifier: Verifier,
}

impl Database {
    fn open(name: &str, heads: &str) -> Option<Self> {
        let folder = corpus_folder(name)?.join(heads);
        let mut lookups = BTreeMap::new();
        read(&folder.join("lookup"), &mut lookups);
        let verifier = KEY.parse().expect("the key of sum.golang.org");
        Some(Self {
            folder,
            lookups,
            verifier,
        })
    }

    /// Those that are there; a 404 is a file of another name.
    fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        let found = self
            .lookups
            .iter()
            .filter(|(path, _)| path.extension().is_none_or(|end| end != "404"));
        found.map(|(path, content)| {
            Answer::open(content, &self.verifier)
                .unwrap_or_else(|error| panic!("{path:?}: {error}"))
        })
    }

    /// A tile's body out of the narrowest file that has as many hashes.
    fn tile(&self, tile: &Tile) -> Option<Vec<u8>> {
        let wider = (tile.width..256).map(|width| Tile { width, ..*tile });
        let full = Tile {
            width: 256,
            ..*tile
        };
        let mut bodies = wider
            .chain([full])
            .filter_map(|tile| fs::read(self.folder.join(tile.to_string())).ok());
        bodies.next()
    }

    fn seen(&self) -> Seen {
        Seen {
            lookups: self
                .answers()
                .map(|answer| (answer.id, answer.head.size))
                .collect(),
            heads: Vec::new(),
        }
    }

    fn largest(&self) -> Head {
        let heads = self.answers().map(|answer| answer.head);
        heads.max_by_key(|head| head.size).expect("a lookup")
    }
}

fn read(folder: &Path, lookups: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder of lookups") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => read(&path, lookups),
            false => drop(lookups.insert(path.clone(), fs::read(&path).expect("a lookup"))),
        }
    }
}

/// Holds every head and every record against the largest head.
fn check(database: &Database, read: impl FnMut(&Tile) -> Option<Vec<u8>>) -> Result<(), LogError> {
    let mut log = Log::open(database.largest(), read)?;
    for answer in database.answers() {
        log.grew_from(&answer.head)?;
        log.has_record(answer.id, answer.record)?;
    }
    Ok(())
}

#[test]
fn every_real_lookup_is_proved() {
    for (name, heads, sizes) in [
        ("web", "heads", 5),
        ("hello", "heads", 3),
        ("web", "proxy/sumdb/sum.golang.org", 1),
    ] {
        let Some(database) = Database::open(name, heads) else {
            return;
        };
        let mut read = Vec::new();
        check(&database, |tile| {
            read.push(*tile);
            database.tile(tile)
        })
        .unwrap_or_else(|error| panic!("{name}/{heads}: {error}"));
        read.sort_unstable();
        let seen = database.seen();
        assert_eq!(
            read,
            tiles_sealed(&seen).into_iter().collect::<Vec<_>>(),
            "{name}/{heads}"
        );
        let mut found: Vec<_> = seen.lookups.iter().map(|(_, size)| *size).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), sizes, "{name}/{heads}: {found:?}");
    }
}

#[test]
fn a_changed_bit_in_any_real_tile_is_found() {
    let Some(database) = Database::open("hello", "heads") else {
        return;
    };
    for (number, forged) in tiles_sealed(&database.seen()).into_iter().enumerate() {
        let checked = check(&database, |tile| {
            let mut body = database.tile(tile)?;
            if *tile == forged {
                let at = number * 977 % tile.len_bytes();
                body[at] ^= 1 << (number % 8);
            }
            Some(body)
        });
        let is_named = match &checked {
            Err(LogError::Root(_)) => forged.width < 256,
            Err(LogError::Forged { tile, .. }) => *tile == forged,
            _ => false,
        };
        assert!(is_named, "{forged}: {checked:?}");
    }
}
