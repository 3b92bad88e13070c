//! Tiles of the checksum database's log: their coordinates and their paths.

use std::fmt;

/// The greatest height whose full width fits `width`; cmd/go's is always 8.
const MAX_HEIGHT: u8 = 15;
/// The greatest level (`golang.org/x/mod/sumdb/tlog`, `Tile.L`).
const MAX_LEVEL: u8 = 63;
/// Bytes of one hash (SHA-256).
const HASH_BYTES: usize = 32;

/// A tile of hashes: `width` consecutive hashes at level `height * level` of the tree, starting at
/// `index << height` (`golang.org/x/mod/sumdb/tlog`, `Tile`).
///
/// Data tiles (`tile/8/data/…`) are not among them: cmd/go never asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Height of the subtree that it holds, 1 to 15.
    pub height: u8,
    /// Level in the tiling, 0 to 63.
    pub level: u8,
    /// Number within the level, from 0.
    pub index: u64,
    /// How many hashes it holds, 1 to `1 << height`; that many is a full tile (256 at height 8).
    pub width: u16,
}

/// A tile's place in the log, whatever its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Coordinate {
    height: u8,
    level: u8,
    index: u64,
}

impl Tile {
    /// Reads `tile/8/1/245` or `tile/8/0/x001/x234/067.p/3`, without a leading slash.
    ///
    /// `None` for anything that [`fmt::Display`] would not write just so, as in `tlog.ParseTilePath`.
    pub fn parse(path: &str) -> Option<Self> {
        let (height, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (level, rest) = rest.split_once('/')?;
        let height = small_number(height).filter(|h| (1..=MAX_HEIGHT).contains(h))?;
        let level = small_number(level).filter(|l| *l <= MAX_LEVEL)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, partial_width(width, height)?),
            None => (rest, full_width(height)),
        };
        Some(Self {
            height,
            level,
            index: parse_index(index)?,
            width,
        })
    }

    /// What the tile shares with its wider versions.
    pub(crate) const fn coordinate(&self) -> Coordinate {
        Coordinate {
            height: self.height,
            level: self.level,
            index: self.index,
        }
    }

    /// Does it hold all the hashes that it can ever hold?
    pub(crate) const fn is_full(&self) -> bool {
        self.width == full_width(self.height)
    }

    /// The full tile at the same coordinate.
    pub(crate) const fn full(self) -> Self {
        Self {
            width: full_width(self.height),
            ..self
        }
    }

    /// Are its bytes the first [`Self::len_bytes`] bytes of `wider`? True for the tile itself.
    ///
    /// Hashes of complete subtrees never change, so a log that grows only appends to a tile.
    pub(crate) fn is_cut_from(&self, wider: &Self) -> bool {
        self.coordinate() == wider.coordinate() && self.width <= wider.width
    }

    /// The size of its body: 32 bytes a hash.
    pub const fn len_bytes(&self) -> usize {
        self.width as usize * HASH_BYTES
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}/", self.height, self.level)?;
        let mut divisor = 1;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() {
            return Ok(());
        }
        write!(f, ".p/{}", self.width)
    }
}

const fn full_width(height: u8) -> u16 {
    1 << height
}

/// A number of one or two digits, without leading zeros or signs.
fn small_number(digits: &str) -> Option<u8> {
    let canonical = digits == "0" || (digits.len() <= 2 && !digits.starts_with(['0', '+']));
    canonical.then(|| digits.parse().ok())?
}

/// The width after `.p/`: never 0, never the full width.
fn partial_width(digits: &str, height: u8) -> Option<u16> {
    if digits.starts_with(['0', '+']) {
        return None;
    }
    let width = digits.parse().ok()?;
    (width < full_width(height)).then_some(width)
}

/// Three digits an element, all but the last behind an `x`; the first of several is not zero.
fn parse_index(path: &str) -> Option<u64> {
    let mut elements = path.split('/').peekable();
    let mut index = 0_u64;
    let mut first = true;
    while let Some(element) = elements.next() {
        let is_last = elements.peek().is_none();
        let digits = if is_last {
            element
        } else {
            element.strip_prefix('x')?
        };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits: u64 = digits.parse().ok()?;
        if first && digits == 0 && !is_last {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits)?;
        first = false;
    }
    // The Go side counts in an int64.
    (i64::try_from(index).is_ok()).then_some(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tile(height: u8, level: u8, index: u64, width: u16) -> Tile {
        Tile {
            height,
            level,
            index,
            width,
        }
    }

    #[test]
    fn the_paths_of_the_tlog_documentation_read_and_write() {
        let facts = [
            ("tile/4/0/001", tile(4, 0, 1, 16)),
            ("tile/4/0/001.p/5", tile(4, 0, 1, 5)),
            ("tile/3/5/x123/x456/078", tile(3, 5, 123_456_078, 8)),
            ("tile/3/5/x123/x456/078.p/2", tile(3, 5, 123_456_078, 2)),
            ("tile/1/0/x003/x057/500", tile(1, 0, 3_057_500, 2)),
            ("tile/3/4/x001/x234/067.p/1", tile(3, 4, 1_234_067, 1)),
            ("tile/8/1/245", tile(8, 1, 245, 256)),
            ("tile/8/0/x123/009", tile(8, 0, 123_009, 256)),
            ("tile/8/63/000.p/255", tile(8, 63, 0, 255)),
        ];
        for (path, tile) in facts {
            assert_eq!(Tile::parse(path), Some(tile), "{path}");
            assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn a_path_that_is_not_written_just_so_is_no_tile() {
        for path in [
            "",
            "tile",
            "tile/8/data/000",
            "tile/8/-1/000",
            "tile/8/0/0",
            "tile/8/0/0000",
            "tile/8/0/x000/001",
            "tile/8/0/x001/x002",
            "tile/8/0/001/002",
            "tile/8/0/001.p/0",
            "tile/8/0/001.p/256",
            "tile/8/0/001.p/05",
            "tile/8/0/001.p/+5",
            "tile/8/0/001.p/",
            "tile/08/0/001",
            "tile/+8/0/001",
            "tile/0/0/001",
            "tile/16/0/001",
            "tile/8/00/001",
            "tile/8/64/001",
            "tile/8/0/+01",
            "tile/8/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/8/0/x009/x223/x372/x036/x854/x775/808",
            "/tile/8/0/001",
            "tile/8/0/001/",
            "tile/8/0/é01",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tile_is_cut_from_a_wider_one_at_the_same_place_only() {
        let narrow = tile(8, 1, 7, 31);
        assert!(narrow.is_cut_from(&tile(8, 1, 7, 32)));
        assert!(narrow.is_cut_from(&narrow.full()));
        assert!(narrow.is_cut_from(&narrow));
        assert!(!narrow.is_cut_from(&tile(8, 1, 7, 30)));
        assert!(!narrow.is_cut_from(&tile(8, 1, 8, 32)));
        assert!(!narrow.is_cut_from(&tile(8, 0, 7, 32)));
        assert!(!narrow.is_cut_from(&tile(7, 1, 7, 32)));
        assert_eq!(narrow.len_bytes(), 992);
        assert_eq!(narrow.full().len_bytes(), 8192);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(height in 1..=15_u8, level in 0..=63_u8, index in 0..=i64::MAX as u64, width: u16) {
            let width = width % full_width(height) + 1;
            let tile = tile(height, level, index, width);
            prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
        }

        #[test]
        fn what_reads_is_written_the_same(path in "tile/[0-9]{1,2}/[0-9]{1,2}/(x[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Some(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }
    }
}
