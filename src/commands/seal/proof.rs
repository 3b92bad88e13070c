//! Whether the checksum database's log proves all that is on a recording.

use crate::gomod::{ModuleVersion, Tile};
use crate::sumdb::{Answer, Head, Log, Seen, Verifier, tiles_sealed};

use super::holdings::Holdings;

/// The lookups that are needed, as they were signed.
pub(super) struct Signed {
    /// What a client can ask for.
    pub(super) seen: Seen,
    /// The largest tree; `None` without a lookup.
    pub(super) largest: Option<Head>,
    heads: Vec<Head>,
    records: Vec<(ModuleVersion, u64, String)>,
}

impl Signed {
    /// Reads the answers to lookups. An error names the first that is not what it should be.
    pub(super) fn read(held: &Holdings, verifier: &Verifier) -> Result<Self, String> {
        let mut signed = Self {
            seen: Seen::default(),
            largest: None,
            heads: Vec::new(),
            records: Vec::new(),
        };
        let lookups = held.lookups.iter();
        let lookups = lookups.flat_map(|(of, all)| all.iter().map(move |content| (of, content)));
        for (of, content) in lookups {
            let answer =
                Answer::open(content, verifier).map_err(|why| format!("lookup {of}: {why}"))?;
            signed.seen.lookups.push((answer.id, answer.head.size));
            if signed
                .largest
                .is_none_or(|known| known.size < answer.head.size)
            {
                signed.largest = Some(answer.head);
            }
            if !signed.heads.contains(&answer.head) {
                signed.heads.push(answer.head);
            }
            signed
                .records
                .push((of.clone(), answer.id, answer.record.to_owned()));
        }
        Ok(signed)
    }

    /// The tiles that clients can ask for, and that are not there.
    pub(super) fn missing(&self, held: &Holdings) -> Vec<Tile> {
        let tiles = tiles_sealed(&self.seen).into_iter();
        tiles.filter(|tile| held.tile(tile).is_none()).collect()
    }

    /// Proves each record and each older tree in the largest.
    pub(super) fn prove(&self, held: &Holdings) -> Result<(), String> {
        let Some(head) = self.largest else {
            return Ok(());
        };
        let read = |tile: &Tile| held.tile(tile).map(<[u8]>::to_vec);
        let mut log = Log::open(head, read).map_err(|why| why.to_string())?;
        for older in &self.heads {
            log.grew_from(older).map_err(|why| why.to_string())?;
        }
        for (of, id, record) in &self.records {
            let proved = log.has_record(*id, record);
            proved.map_err(|why| format!("lookup {of}: {why}"))?;
        }
        Ok(())
    }
}
