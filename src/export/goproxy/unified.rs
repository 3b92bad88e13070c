//! One tree head for all lookups of a checksum database, so that they verify in any order.
//!
//! A lookup comes with the head that its server had then, and a client proves each head it meets
//! against those it met before: in another order it asks for tiles that nobody asked for. A record
//! itself does not depend on a head. So each lookup is given the greatest head that all of them can
//! be proven in with the tiles at hand: the right edge of that tree, and for each record the tiles
//! from its leaf up to that edge (Russ Cox, "Transparent Logs for Skeptical Clients", and
//! `golang.org/x/mod/sumdb/tlog`). A narrower tile is the beginning of a wider one. Clients verify
//! all of it; nothing is invented.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::tree::{Edit, File, Tree};
use crate::gomod::{Coordinate, Kind, Lookup, Tile};

/// cmd/go's tiles: 256 hashes.
const HEIGHT: u8 = 8;

/// A checksum database whose lookups stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotUnified {
    /// Its name.
    pub(crate) name: String,
    /// How many tree heads its lookups have.
    pub(crate) heads: usize,
    /// How many tiles are not there that the greatest of them needs.
    pub(crate) tiles: usize,
}

/// What unifying needs of a lookup's answer.
struct Head {
    /// The number of its record.
    id: u64,
    /// The number of records of the tree that the note signs.
    size: u64,
    note: Vec<u8>,
}

impl Head {
    fn parse(content: &[u8]) -> Option<Self> {
        let Lookup { id, size, note, .. } = Lookup::parse(content)?;
        let note = note.to_vec();
        Some(Self { id, size, note })
    }
}

impl Tree {
    /// Gives the lookups of each checksum database one head. `read` gives the content of a row's
    /// answer. Databases where that cannot be done stay as they were recorded.
    pub(crate) fn unify(
        &mut self,
        mut read: impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Vec<NotUnified> {
        let mut not_unified = Vec::new();
        for name in self.databases() {
            let lookups = self.lookups(&name, &mut read);
            match lookups.and_then(|lookups| self.unified(&name, &lookups)) {
                Ok((note, tiles)) => self.take(&name, &note, &tiles),
                Err(why) => not_unified.push(why),
            }
        }
        not_unified
    }

    fn databases(&self) -> BTreeSet<String> {
        let lookups = self.files.values().filter(|file| file.kind == Kind::Lookup);
        lookups.filter_map(|file| file.sumdb.clone()).collect()
    }

    fn of<'a>(&'a self, name: &'a str, kind: Kind) -> impl Iterator<Item = &'a File> {
        let is_its = move |file: &&File| file.kind == kind && file.sumdb.as_deref() == Some(name);
        self.files.values().filter(is_its)
    }

    fn lookups(
        &self,
        name: &str,
        read: &mut impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Result<Vec<Head>, NotUnified> {
        let parsed = self
            .of(name, Kind::Lookup)
            .map(|file| Head::parse(&read(file.row)?));
        let unknown = || NotUnified {
            name: name.into(),
            heads: 0,
            tiles: 0,
        };
        parsed.collect::<Option<_>>().ok_or_else(unknown)
    }

    /// The greatest head that will do, and the tiles that it needs, each with the one it is cut from.
    fn unified(
        &self,
        name: &str,
        lookups: &[Head],
    ) -> Result<(Vec<u8>, BTreeMap<Tile, Tile>), NotUnified> {
        let widest = self.widest(name);
        let heads: BTreeMap<u64, &[u8]> = lookups
            .iter()
            .map(|lookup| (lookup.size, lookup.note.as_slice()))
            .collect();
        let mut missing = None;
        for (&size, &note) in heads.iter().rev() {
            if lookups.iter().any(|lookup| lookup.id >= size) {
                break;
            }
            let needed = needed(size, lookups.iter().map(|lookup| lookup.id));
            let source = |tile: &Tile| widest.get(&tile.coordinate()).copied();
            let is_there = |tile: &Tile| source(tile).is_some_and(|wider| tile.is_cut_from(&wider));
            let lacks = needed.iter().filter(|tile| !is_there(tile)).count();
            if lacks == 0 {
                let cut = needed
                    .into_iter()
                    .filter_map(|tile| Some((tile, source(&tile)?)));
                return Ok((note.to_vec(), cut.collect()));
            }
            missing.get_or_insert(lacks);
        }
        Err(NotUnified {
            name: name.into(),
            heads: heads.len(),
            tiles: missing.unwrap_or(0),
        })
    }

    fn widest(&self, name: &str) -> BTreeMap<Coordinate, Tile> {
        let mut widest = BTreeMap::<_, Tile>::new();
        for tile in self.of(name, Kind::Tile).filter_map(|file| file.tile) {
            let known = widest.entry(tile.coordinate()).or_insert(tile);
            *known = (*known).max(tile);
        }
        widest
    }

    fn take(&mut self, name: &str, note: &[u8], tiles: &BTreeMap<Tile, Tile>) {
        let note: Rc<[u8]> = note.into();
        let folder = format!("sumdb/{name}/");
        let mut cut = Vec::new();
        for (tile, wider) in tiles {
            let Some(file) = self.files.get(&format!("{folder}{wider}")) else {
                continue;
            };
            let file = File {
                tile: Some(*tile),
                edit: Edit::Cut(tile.len_bytes()),
                ..file.clone()
            };
            cut.push((format!("{folder}{tile}"), file));
        }
        let is_its = |file: &File| file.sumdb.as_deref() == Some(name);
        // Nobody asks for them now, and which there are hangs on the order of the recording.
        self.files
            .retain(|_, file| !(is_its(file) && file.kind == Kind::Tile));
        self.files.extend(cut);
        for file in self.files.values_mut() {
            if is_its(file) && file.kind == Kind::Lookup {
                file.edit = Edit::Note(Rc::clone(&note));
            }
        }
        self.unified.insert(name.into());
    }
}

/// The tiles by which these records are proven in a tree of so many.
fn needed(size: u64, ids: impl Iterator<Item = u64>) -> BTreeSet<Tile> {
    let mut tiles = BTreeSet::new();
    let mut level = 0;
    // The right edge: partial tiles, up to the level that holds all of the tree.
    while at_level(size, level) > 0 {
        let width = at_level(size, level) & 0xff;
        let index = at_level(size, level + 1);
        tiles.extend(tile(level, index, width));
        level += 1;
    }
    for id in ids {
        let (mut level, mut index) = (0, at_level(id, 1));
        while index != at_level(size, level + 1) {
            tiles.extend(tile(level, index, 1 << HEIGHT));
            index >>= HEIGHT;
            level += 1;
        }
    }
    tiles
}

/// How many hashes of that level of tiles so many records have; 0 above what 64 bits can hold.
fn at_level(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(HEIGHT) * u32::from(level))
        .unwrap_or(0)
}

fn tile(level: u8, index: u64, width: u64) -> Option<Tile> {
    let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
    Some(Tile {
        height: HEIGHT,
        level,
        index,
        width,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(size: u64, ids: &[u64]) -> Vec<String> {
        let tiles = needed(size, ids.iter().copied());
        tiles.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_record_is_proven_by_the_tiles_from_its_leaf_to_the_right_edge() {
        assert_eq!(paths(1, &[0]), ["tile/8/0/000.p/1"]);
        // All hashes of a full tile are one hash above.
        assert_eq!(paths(256, &[3]), ["tile/8/0/000", "tile/8/1/000.p/1"]);
        assert_eq!(
            paths(300, &[299]),
            ["tile/8/0/001.p/44", "tile/8/1/000.p/1"]
        );
        assert_eq!(
            paths(70_000, &[5, 69_999]),
            [
                "tile/8/0/000",
                "tile/8/0/273.p/112",
                "tile/8/1/000",
                "tile/8/1/001.p/17",
                "tile/8/2/000.p/1"
            ]
        );
        assert!(paths(u64::MAX, &[0, u64::MAX - 1]).len() < 20);
    }
}
