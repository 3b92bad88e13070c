//! Which tiles a client can ask for that makes the lookups of a recording, in any order and any subset.
//!
//! A client reads tiles for three reasons: to recompute the root of a tree (its right edge), to hold an older
//! tree against a newer one (the older one's edge, as it lies in the newer), and to find a record
//! (its tile and those above). Which tree is "the newer one" depends on the order of the answers.
//! The hashes of complete subtrees never change, so a narrow tile is the beginning of a wide one; with
//! each coordinate as wide as the largest tree has it, a server that cuts can answer for every order.

use std::collections::BTreeSet;

use super::{TILE_HEIGHT, TILE_WIDTH};
use crate::gomod::Tile;

/// What a recording has seen of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The lookups: the record's number, and how many records the tree of the head has that came along.
    pub lookups: Vec<(u64, u64)>,
    /// The sizes of heads that came otherwise: `latest`, and the one that the client began with.
    pub heads: Vec<u64>,
}

impl Seen {
    fn sizes(&self) -> BTreeSet<u64> {
        let looked_up = self.lookups.iter().map(|(_, size)| *size);
        looked_up.chain(self.heads.iter().copied()).collect()
    }

    /// The size of the largest tree; `None` where there is none.
    pub fn largest(&self) -> Option<u64> {
        self.sizes().last().copied()
    }
}

/// The tiles from which a server that cuts can serve every order and every subset of these lookups, with the
/// widths of the largest tree.
pub fn tiles_sealed(seen: &Seen) -> BTreeSet<Tile> {
    let sizes = seen.sizes();
    let mut tiles = BTreeSet::new();
    if let Some(largest) = sizes.last().copied() {
        add(&mut tiles, largest, sizes.iter().copied(), seen.ids());
    }
    tiles
}

/// The tiles that a server that does not cut needs for the same: each with every width that it can be asked
/// for with.
pub fn tiles_exact(seen: &Seen) -> BTreeSet<Tile> {
    let sizes = seen.sizes();
    let mut tiles = BTreeSet::new();
    for current in &sizes {
        let ids = seen
            .lookups
            .iter()
            .filter(|(_, size)| size <= current)
            .map(|(id, _)| *id);
        add(&mut tiles, *current, sizes.range(..=current).copied(), ids);
    }
    tiles
}

/// The tiles that are asked for where every lookup carries the head of the largest tree.
pub fn tiles_unified(seen: &Seen) -> BTreeSet<Tile> {
    let mut tiles = BTreeSet::new();
    if let Some(largest) = seen.largest() {
        add(&mut tiles, largest, [], seen.ids());
    }
    tiles
}

impl Seen {
    fn ids(&self) -> impl Iterator<Item = u64> {
        self.lookups.iter().map(|(id, _)| *id)
    }
}

/// The tiles of the tree of `size` records that its root, those `older` trees and the records `ids` take.
fn add(
    tiles: &mut BTreeSet<Tile>,
    size: u64,
    older: impl IntoIterator<Item = u64>,
    ids: impl IntoIterator<Item = u64>,
) {
    tiles.extend(edge(size));
    for tile in older.into_iter().flat_map(edge) {
        climb(tiles, size, tile.level, tile.index);
    }
    for id in ids {
        climb(tiles, size, 0, id >> TILE_HEIGHT);
    }
}

/// The partial tiles on the right edge of the tree of `size` records: all that its root is made of.
pub(super) fn edge(size: u64) -> impl Iterator<Item = Tile> {
    (0..8).filter_map(move |level| {
        let row = size >> (u32::from(level) * u32::from(TILE_HEIGHT));
        let (index, width) = (row >> TILE_HEIGHT, (row % u64::from(TILE_WIDTH)) as u16);
        (width != 0).then_some(Tile {
            height: TILE_HEIGHT,
            level,
            index,
            width,
        })
    })
}

/// A tile and those above it, up to the right edge of the tree or one that is there already.
fn climb(tiles: &mut BTreeSet<Tile>, size: u64, mut level: u8, mut index: u64) {
    let on_edge = |level: u8| {
        let shift = u32::from(level + 1) * u32::from(TILE_HEIGHT);
        size.checked_shr(shift).unwrap_or(0)
    };
    // What lies beyond the edge is in no tree of this size.
    while index < on_edge(level) {
        let full = Tile {
            height: TILE_HEIGHT,
            level,
            index,
            width: TILE_WIDTH,
        };
        if !tiles.insert(full) {
            return;
        }
        index >>= TILE_HEIGHT;
        level += 1;
    }
}
