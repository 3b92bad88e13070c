//! Rows as the index holds them: numbers of seven bits a byte, the least first (LEB128), and texts
//! behind their lengths. Total: any bytes are rows or none.

use super::record::RowState;
use super::scan::Span;
use super::table::{Row, method};
use crate::clock::Timestamp;
use crate::exchange::{Digest, Hex, MadeBy, Phase, Timings};

/// Packs rows one behind the other.
#[derive(Default)]
pub(super) struct Packer(Vec<u8>);

/// Takes rows out of what a [`Packer`] made.
pub(super) struct Unpacker<'a>(&'a [u8]);

/// What a row may have: the bits of its first byte. The lowest two are its state.
mod has {
    pub(super) const STATE: u8 = 0b11;
    pub(super) const STATUS: u8 = 1 << 2;
    pub(super) const END: u8 = 1 << 3;
    pub(super) const BODY: u8 = 1 << 4;
    pub(super) const MADE_BY: u8 = 1 << 5;
    pub(super) const BY_MODTAPE: u8 = 1 << 6;
}

impl Packer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn row(&mut self, row: &Row) {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let state = match row.state {
            RowState::InFlight => 0,
            RowState::Ended => 1,
            RowState::Aborted => 2,
        };
        self.0.push(
            state
                | bit(row.status.is_some(), has::STATUS)
                | bit(row.end.is_some(), has::END)
                | bit(row.body.is_some(), has::BODY)
                | bit(row.made_by.is_some(), has::MADE_BY)
                | bit(row.made_by == Some(MadeBy::Modtape), has::BY_MODTAPE),
        );
        let phases = Phase::ALL.into_iter().enumerate();
        let phases = phases.filter(|(_, phase)| row.phases[*phase].is_some());
        self.0.push(phases.fold(0, |bits, (at, _)| bits | 1 << at));
        for (_, us) in row.phases.iter() {
            self.number(us);
        }
        self.number(row.id);
        self.number(row.run.into());
        self.number(row.connection);
        self.number(row.started.as_micros());
        self.number(row.own_us);
        self.number(row.bytes);
        self.span(row.begin);
        if let Some(end) = row.end {
            self.span(end);
        }
        if let Some(status) = row.status {
            self.number(status.into());
        }
        if let Some(Hex(digest)) = &row.body {
            self.0.extend_from_slice(digest);
        }
        self.text(&row.method);
        self.text(&row.url);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn span(&mut self, span: Span) {
        self.number(span.offset);
        self.number(span.len);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl<'a> Unpacker<'a> {
    pub(super) const fn new(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next row; `None` where there is none.
    pub(super) fn row(&mut self) -> Option<Row> {
        let [bits, phases] = *self.bytes(2)?.first_chunk()?;
        let has = |bit| bits & bit != 0;
        let mut timings = Timings::default();
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            if phases & 1 << at != 0 {
                timings[phase] = Some(self.number()?);
            }
        }
        Some(Row {
            id: self.number()?,
            run: self.number()?.try_into().ok()?,
            connection: self.number()?,
            started: Timestamp::from_micros(self.number()?),
            phases: timings,
            own_us: self.number()?,
            bytes: self.number()?,
            begin: self.span()?,
            end: if has(has::END) {
                Some(self.span()?)
            } else {
                None
            },
            status: match has(has::STATUS) {
                true => Some(self.number()?.try_into().ok()?),
                false => None,
            },
            body: match has(has::BODY) {
                true => Some(Hex(*self.bytes(32)?.first_chunk()?) as Digest),
                false => None,
            },
            state: match bits & has::STATE {
                0 => RowState::InFlight,
                1 => RowState::Ended,
                2 => RowState::Aborted,
                _ => return None,
            },
            made_by: match (has(has::MADE_BY), has(has::BY_MODTAPE)) {
                (false, _) => None,
                (true, false) => Some(MadeBy::Origin),
                (true, true) => Some(MadeBy::Modtape),
            },
            method: method(self.text()?),
            url: self.text()?.to_owned(),
        })
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn span(&mut self) -> Option<Span> {
        let (offset, len) = (self.number()?, self.number()?);
        Some(Span { offset, len })
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row() -> impl Strategy<Value = Row> {
        let times = (any::<u64>(), any::<[Option<u64>; 7]>(), any::<u64>());
        let places = (any::<u64>(), any::<u64>(), any::<Option<(u64, u64)>>());
        let ended = (
            any::<Option<u16>>(),
            any::<Option<[u8; 32]>>(),
            any::<u64>(),
        );
        let states = (0..3_usize, 0..3_usize);
        let asked = ("[A-Z]{0,7}", ".{0,30}");
        (any::<(u64, u32)>(), times, places, ended, states, asked).prop_map(
            |((id, run), (started, phases, own_us), places, ended, (state, by), asked)| Row {
                id,
                run,
                connection: id / 2,
                started: Timestamp::from_micros(started),
                phases: Phase::ALL
                    .into_iter()
                    .zip(phases)
                    .filter_map(|(phase, us)| Some((phase, us?)))
                    .collect(),
                own_us,
                status: ended.0,
                state: [RowState::InFlight, RowState::Ended, RowState::Aborted][state],
                made_by: [None, Some(MadeBy::Origin), Some(MadeBy::Modtape)][by],
                bytes: ended.2,
                method: asked.0.into(),
                url: asked.1,
                begin: Span {
                    offset: places.0,
                    len: places.1,
                },
                end: places.2.map(|(offset, len)| Span { offset, len }),
                body: ended.1.map(Hex),
            },
        )
    }

    proptest! {
        #[test]
        fn rows_come_out_as_they_went_in(rows in proptest::collection::vec(row(), 0..4)) {
            let mut packer = Packer::default();
            rows.iter().for_each(|row| packer.row(row));
            let packed = packer.into_bytes();
            let mut unpacker = Unpacker::new(&packed);
            for row in &rows {
                prop_assert_eq!(unpacker.row(), Some(row.clone()));
            }
            prop_assert!(unpacker.is_empty());
        }

        #[test]
        fn any_bytes_are_rows_or_none(bytes: Vec<u8>) {
            let mut unpacker = Unpacker::new(&bytes);
            while unpacker.row().is_some() {}
        }
    }
}
