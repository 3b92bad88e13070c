//! A tree of the log, read through tiles of which each is authenticated before it counts.

use std::collections::HashMap;

use super::hash::Hash;
use super::head::Head;
use super::{TILE_HEIGHT, TILE_WIDTH};
use crate::gomod::Tile;

/// A tree whose head is trusted, and the tiles of it that have been read.
///
/// Tiles are asked for as they are in this tree: on the right edge with the width that they have there.
/// No tile is asked for twice.
pub struct Log<R> {
    head: Head,
    read: R,
    /// Tiles that the head vouches for, by level and index.
    trusted: HashMap<(u8, u64), Vec<Hash>>,
}

/// Why the log is not what was claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A tile that is needed is not there.
    #[error("{0} is missing")]
    Missing(Tile),
    /// A tile of another size.
    #[error("{tile} has {found} bytes instead of {}", tile.len_bytes())]
    Length {
        /// Which.
        tile: Tile,
        /// Its bytes.
        found: usize,
    },
    /// The tiles of the right edge do not lead to the head's root: one of them or the head lies.
    #[error(
        "the tiles on the right edge of the tree of {0} records do not lead to its signed root"
    )]
    Root(u64),
    /// A tile that its parent does not vouch for.
    #[error("{tile} is forged or damaged: it does not belong to the tree of {size} records")]
    Forged {
        /// Which.
        tile: Tile,
        /// The records of the tree.
        size: u64,
    },
    /// An older head that this tree did not grow from.
    #[error(
        "the tree of {older} records is not the beginning of the tree of {newer}: the database, or a server in between, shows different logs"
    )]
    Fork {
        /// Records of the older tree.
        older: u64,
        /// Records of this one.
        newer: u64,
    },
    /// The tree has another record at this number.
    #[error("the tree of {size} records has another record {id}")]
    Record {
        /// The record's number.
        id: u64,
        /// The records of the tree.
        size: u64,
    },
}

impl<R: FnMut(&Tile) -> Option<Vec<u8>>> Log<R> {
    /// The tree of a `head` whose signature has been verified. `read` has a tile's body, or as many bytes of
    /// a wider one as this has ([`Tile::len_bytes`]).
    pub fn open(head: Head, read: R) -> Result<Self, LogError> {
        let mut log = Self {
            head,
            read,
            trusted: HashMap::new(),
        };
        for tile in super::plan::edge(head.size) {
            let row = log.row(&tile)?;
            log.trusted.insert((tile.level, tile.index), row);
        }
        // Every hash of these tiles goes into the root, so that it vouches for all of them.
        match log.root_of(head.size)? == head.root {
            true => Ok(log),
            false => Err(LogError::Root(head.size)),
        }
    }

    /// The head of the tree.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Checks that the tree has this record at this number.
    pub fn has_record(&mut self, id: u64, record: &str) -> Result<(), LogError> {
        self.has_hash(id, Hash::of_record(record))
    }

    /// The same, of the hash of the record ([`Hash::of_record`]).
    pub fn has_hash(&mut self, id: u64, record: Hash) -> Result<(), LogError> {
        let size = self.head.size;
        let is_there = id < size && self.hash_at(id)? == record;
        is_there.then_some(()).ok_or(LogError::Record { id, size })
    }

    /// Checks that the tree grew from that of an `older` head.
    pub fn grew_from(&mut self, older: &Head) -> Result<(), LogError> {
        let newer = self.head.size;
        let is_beginning = older.size <= newer && self.root_of(older.size)? == older.root;
        let fork = LogError::Fork {
            older: older.size,
            newer,
        };
        is_beginning.then_some(()).ok_or(fork)
    }

    /// The body that a tile has in this tree; `None` where the tree has not grown so far.
    pub fn body_of(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, LogError> {
        let shift = u32::from(tile.level) * u32::from(TILE_HEIGHT);
        let row = self.head.size.checked_shr(shift).unwrap_or(0);
        let end = (u128::from(tile.index) << TILE_HEIGHT) + u128::from(tile.width);
        if tile.height != TILE_HEIGHT || u128::from(row) < end {
            return Ok(None);
        }
        let row = self.trusted(tile.level, tile.index)?;
        let row = row.iter().take(usize::from(tile.width));
        Ok(Some(row.flat_map(|hash| *hash.as_bytes()).collect()))
    }

    /// The hash of the record with this number, which is below the tree's size.
    fn hash_at(&mut self, id: u64) -> Result<Hash, LogError> {
        let (index, at) = split(id);
        Ok(self.trusted(0, index)?[at])
    }

    /// The root of the tree of the first `size` records, at most as many as this one has.
    fn root_of(&mut self, size: u64) -> Result<Hash, LogError> {
        let mut root = None;
        // Its complete subtrees from right to left, the smallest first (RFC 6962, section 2.1).
        for level in (0..u64::BITS).filter(|level| size >> level & 1 == 1) {
            let left = self.subtree(level, (size >> level) - 1)?;
            root = Some(root.map_or(left, |right| Hash::of_pair(left, right)));
        }
        Ok(root.unwrap_or_else(Hash::of_nothing))
    }

    /// The hash of a complete subtree: the `index`-th of those of `1 << level` records.
    fn subtree(&mut self, level: u32, index: u64) -> Result<Hash, LogError> {
        let (tile_level, height) = (
            level / u32::from(TILE_HEIGHT),
            level % u32::from(TILE_HEIGHT),
        );
        let (tile, at) = split(index << height);
        let row = self.trusted(tile_level as u8, tile)?;
        Ok(Hash::of_row(&row[at..at + (1 << height)]))
    }

    /// A tile that the head vouches for, with the width that it has in this tree.
    fn trusted(&mut self, level: u8, index: u64) -> Result<&[Hash], LogError> {
        // Upwards to the first that is trusted already, at the latest one of the right edge; then down again.
        let mut path = vec![(level, index)];
        while let Some((level, index)) = path
            .last()
            .copied()
            .filter(|at| !self.trusted.contains_key(at))
        {
            path.push((level + 1, index >> TILE_HEIGHT));
        }
        let mut parent = path.pop();
        while let (Some(above), Some(below)) = (parent, path.pop()) {
            let tile = Tile {
                height: TILE_HEIGHT,
                level: below.0,
                index: below.1,
                width: TILE_WIDTH,
            };
            let row = self.row(&tile)?;
            let (_, at) = split(below.1);
            let vouched = self.trusted.get(&above).and_then(|row| row.get(at));
            if vouched != Some(&Hash::of_row(&row)) {
                return Err(LogError::Forged {
                    tile,
                    size: self.head.size,
                });
            }
            self.trusted.insert(below, row);
            parent = Some(below);
        }
        Ok(&self.trusted[&(level, index)])
    }

    /// The hashes of a tile as it was served.
    fn row(&mut self, tile: &Tile) -> Result<Vec<Hash>, LogError> {
        let body = (self.read)(tile).ok_or(LogError::Missing(*tile))?;
        match body.get(..tile.len_bytes()) {
            Some(body) => Ok(Hash::row(body)),
            None => Err(LogError::Length {
                tile: *tile,
                found: body.len(),
            }),
        }
    }
}

/// The tile that a hash of a row is in, and its place there.
const fn split(index: u64) -> (u64, usize) {
    (index >> TILE_HEIGHT, (index % TILE_WIDTH as u64) as usize)
}
