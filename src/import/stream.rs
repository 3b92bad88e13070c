//! A HAR read part by part: never more than one page or entry in memory.
//!
//! serde_json skips what nobody asked for without recursion, and reads an entry at most 128 values
//! deep.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::har::HarError;

/// Octets that one entry, page or other part may have.
pub(super) const PART_LIMIT: u64 = 64 << 20;

/// Entries that a HAR may have: each is a row in memory when the recording is opened.
pub(super) const ENTRY_LIMIT: u64 = 1 << 20;

/// Who takes the parts.
pub(super) trait Parts {
    /// A page.
    fn page(&mut self, json: &str);
    /// An entry, counted from 1; false ends the reading.
    fn entry(&mut self, number: u64, json: &str) -> bool;
}

/// Reads all of `input`, with or without a byte order mark.
pub(super) fn read(mut input: impl Read, parts: &mut impl Parts) -> Result<(), HarError> {
    let mut first = Vec::new();
    input
        .by_ref()
        .take(3)
        .read_to_end(&mut first)
        .map_err(HarError::Read)?;
    if first == b"\xef\xbb\xbf" {
        first.clear();
    }
    let meter = Meter::default();
    let metered = Metered {
        input: BufReader::with_capacity(1 << 16, Cursor::new(first).chain(input)),
        meter: meter.clone(),
    };
    let mut json = serde_json::Deserializer::from_reader(metered);
    let mut reading = Reading {
        parts,
        meter: meter.clone(),
        entries: 0,
        has_log: false,
        is_ended: false,
    };
    let read = Level::Root(&mut reading).deserialize(&mut json);
    let (entries, has_log, is_ended) = (reading.entries, reading.has_log, reading.is_ended);
    let read = read.and_then(|()| json.end());
    match read {
        _ if is_ended && entries > ENTRY_LIMIT => Err(HarError::TooMany),
        _ if is_ended => Ok(()),
        Err(_) if meter.is_spent() => Err(HarError::TooLarge { entry: entries + 1 }),
        Err(error) if error.is_io() => Err(HarError::Read(error.into())),
        Err(error) => Err(HarError::Json(error)),
        Ok(()) if !has_log => Err(HarError::NoLog),
        Ok(()) => Ok(()),
    }
}

/// How much may still be read of the part that is being read.
#[derive(Clone)]
struct Meter(Rc<Cell<u64>>);

impl Default for Meter {
    fn default() -> Self {
        Self(Rc::new(Cell::new(PART_LIMIT)))
    }
}

impl Meter {
    fn refill(&self) {
        self.0.set(PART_LIMIT);
    }

    fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

struct Metered<R> {
    input: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.meter.0.get();
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let len = self.input.read(&mut buffer[..room])?;
        self.meter.0.set(left - len as u64);
        Ok(len)
    }
}

struct Reading<'a, P> {
    parts: &'a mut P,
    meter: Meter,
    entries: u64,
    has_log: bool,
    is_ended: bool,
}

/// Where one is: in the file, in its log, in the log's pages or entries.
enum Level<'r, 'a, P> {
    Root(&'r mut Reading<'a, P>),
    Log(&'r mut Reading<'a, P>),
    Pages(&'r mut Reading<'a, P>),
    Entries(&'r mut Reading<'a, P>),
}

impl<'de, P: Parts> DeserializeSeed<'de> for Level<'_, '_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self {
            Self::Root(_) | Self::Log(_) => json.deserialize_map(self),
            Self::Pages(_) | Self::Entries(_) => json.deserialize_seq(self),
        }
    }
}

impl<'de, P: Parts> Visitor<'de> for Level<'_, '_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root(_) => "a HAR",
            Self::Log(_) => "a log",
            Self::Pages(_) => "a list of pages",
            Self::Entries(_) => "a list of entries",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (reading, is_root) = match self {
            Self::Root(reading) => (reading, true),
            Self::Log(reading) | Self::Pages(reading) | Self::Entries(reading) => (reading, false),
        };
        while let Some(key) = map.next_key::<String>()? {
            reading.meter.refill();
            match (is_root, key.as_str()) {
                (true, "log") => {
                    reading.has_log = true;
                    map.next_value_seed(Level::Log(reading))?;
                }
                (false, "pages") => map.next_value_seed(Level::Pages(reading))?,
                (false, "entries") => map.next_value_seed(Level::Entries(reading))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            reading.meter.refill();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let (reading, are_pages) = match self {
            Self::Pages(reading) => (reading, true),
            Self::Root(reading) | Self::Log(reading) | Self::Entries(reading) => (reading, false),
        };
        while let Some(part) = list.next_element::<Box<RawValue>>()? {
            reading.meter.refill();
            if are_pages {
                reading.parts.page(part.get());
                continue;
            }
            reading.entries += 1;
            let goes_on = reading.entries <= ENTRY_LIMIT;
            if !goes_on || !reading.parts.entry(reading.entries, part.get()) {
                reading.is_ended = true;
                return Err(serde::de::Error::custom("nobody reads on"));
            }
        }
        Ok(())
    }
}
