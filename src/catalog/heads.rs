//! One tree head for all lookups of a checksum database, so that they verify in any order.
//!
//! A lookup comes with the head that its server had then, and a client proves each head it meets
//! against those it met before: in another order it asks for tiles that nobody asked for. A record
//! itself does not depend on a head. So each lookup is given the greatest head that all of them can
//! be proven in with the tiles at hand (Russ Cox, "Transparent Logs for Skeptical Clients"); which tiles
//! that takes is for [`crate::sumdb`] to say. Clients verify all of it; nothing is invented.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Catalog, Edit, File};
use crate::gomod::{Coordinate, Kind, Lookup, Tile};
use crate::sumdb::{Seen, tiles_exact, tiles_unified};

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

/// What the lookups of a database say of its log.
#[derive(Default)]
struct Lookups {
    /// The record's number, and the records of the tree of the head that came along.
    seen: Vec<(u64, u64)>,
    /// The heads as they were signed, by the number of their records.
    notes: BTreeMap<u64, Arc<[u8]>>,
}

impl Lookups {
    fn add(&mut self, content: &[u8]) -> Option<()> {
        let Lookup { id, size, note, .. } = Lookup::parse(content)?;
        self.seen.push((id, size));
        self.notes.entry(size).or_insert_with(|| note.into());
        Some(())
    }

    /// As if all had come with the head of the tree of `size` records; `None` if that lacks a record.
    fn with_head(&self, size: u64) -> Option<Seen> {
        let lookups = self.seen.iter();
        let lookups = lookups.map(|(id, _)| (*id < size).then_some((*id, size)));
        Some(Seen {
            lookups: lookups.collect::<Option<_>>()?,
            heads: Vec::new(),
        })
    }

    fn as_recorded(&self) -> Seen {
        Seen {
            lookups: self.seen.clone(),
            heads: Vec::new(),
        }
    }
}

impl Catalog {
    /// Gives the lookups of each checksum database one head. `read` gives the content of a row's
    /// answer. Where that cannot be done the heads stay as they were recorded, and the tiles at hand are cut
    /// to all widths that clients ask for then.
    pub(crate) fn unify(
        &mut self,
        mut read: impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Vec<NotUnified> {
        let mut not_unified = Vec::new();
        for name in self.databases() {
            let lookups = self.lookups(&name, &mut read);
            let widest = self.widest(&name);
            let largest = lookups.notes.keys().last();
            self.largest
                .extend(largest.map(|size| (name.clone(), *size)));
            match one_head(&lookups, &widest) {
                Ok((size, tiles)) => {
                    let note = Arc::clone(&lookups.notes[&size]);
                    self.largest.insert(name.clone(), size);
                    self.cut(&name, &tiles);
                    self.give_head(&name, &note);
                }
                Err(tiles) => {
                    let exact = tiles_exact(&lookups.as_recorded()).into_iter();
                    let at_hand = exact.filter_map(|tile| cut_from(&widest, tile));
                    self.add_cut(&name, &at_hand.collect());
                    let heads = lookups.notes.len();
                    not_unified.push(NotUnified { name, heads, tiles });
                }
            }
        }
        not_unified
    }

    fn databases(&self) -> BTreeSet<String> {
        let lookups = self.files.values().filter(|file| file.kind == Kind::Lookup);
        lookups.filter_map(|file| file.sumdb.clone()).collect()
    }

    fn of_database<'a>(&'a self, name: &'a str, kind: Kind) -> impl Iterator<Item = &'a File> {
        let is_its = move |file: &&File| file.kind == kind && file.sumdb.as_deref() == Some(name);
        self.files.values().filter(is_its)
    }

    /// Those of a database; none if one of them cannot be parsed.
    fn lookups(&self, name: &str, read: &mut impl FnMut(usize) -> Option<Vec<u8>>) -> Lookups {
        let mut lookups = Lookups::default();
        for file in self.of_database(name, Kind::Lookup) {
            if read(file.row)
                .and_then(|content| lookups.add(&content))
                .is_none()
            {
                return Lookups::default();
            }
        }
        lookups
    }

    fn widest(&self, name: &str) -> BTreeMap<Coordinate, Tile> {
        let mut widest = BTreeMap::<_, Tile>::new();
        for tile in self
            .of_database(name, Kind::Tile)
            .filter_map(|file| file.tile)
        {
            let known = widest.entry(tile.coordinate()).or_insert(tile);
            *known = (*known).max(tile);
        }
        widest
    }

    /// Leaves these tiles of a database and no others.
    fn cut(&mut self, name: &str, tiles: &Cut) {
        let cut = self.cut_files(name, tiles);
        let is_its = |file: &File| file.sumdb.as_deref() == Some(name);
        // Nobody asks for the others, and which there are hangs on the order of the recording.
        self.files
            .retain(|_, file| !(is_its(file) && file.kind == Kind::Tile));
        self.files.extend(cut);
    }

    /// Adds those of these tiles that are not there as they are.
    fn add_cut(&mut self, name: &str, tiles: &Cut) {
        for (path, file) in self.cut_files(name, tiles) {
            self.files.entry(path).or_insert(file);
        }
    }

    fn cut_files(&self, name: &str, tiles: &Cut) -> Vec<(String, File)> {
        let folder = format!("sumdb/{name}/");
        let cut = tiles.iter().filter_map(|(tile, wider)| {
            let file = File {
                tile: Some(*tile),
                edit: Edit::Cut(tile.len_bytes()),
                ..self.files.get(&format!("{folder}{wider}"))?.clone()
            };
            Some((format!("{folder}{tile}"), file))
        });
        cut.collect()
    }

    fn give_head(&mut self, name: &str, note: &Arc<[u8]>) {
        for file in self.files.values_mut() {
            if file.kind == Kind::Lookup && file.sumdb.as_deref() == Some(name) {
                file.edit = Edit::Note(Arc::clone(note));
            }
        }
        self.unified.insert(name.into());
    }
}

/// Tiles, each with the one that it is cut from.
type Cut = BTreeMap<Tile, Tile>;

/// The size of the greatest head that will do, and the tiles that it needs; else how many of the greatest one's are not
/// there.
fn one_head(lookups: &Lookups, widest: &BTreeMap<Coordinate, Tile>) -> Result<(u64, Cut), usize> {
    let mut missing = None;
    for size in lookups.notes.keys().rev() {
        let Some(seen) = lookups.with_head(*size) else {
            break;
        };
        let needed = tiles_unified(&seen);
        let count = needed.len();
        let cut: Cut = needed
            .into_iter()
            .filter_map(|tile| cut_from(widest, tile))
            .collect();
        match count - cut.len() {
            0 => return Ok((*size, cut)),
            lacks => missing.get_or_insert(lacks),
        };
    }
    Err(missing.unwrap_or(0))
}

/// The tile, and the one at hand that it is cut from.
fn cut_from(widest: &BTreeMap<Coordinate, Tile>, tile: Tile) -> Option<(Tile, Tile)> {
    let wider = widest.get(&tile.coordinate())?;
    tile.is_cut_from(wider).then_some((tile, *wider))
}
