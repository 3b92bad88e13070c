//! A recording as every export takes it: exchange by exchange, with bodies, and what of it is missing.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.
//! No more than one exchange is held, and no body of more than 8 MiB.

use std::cell::RefCell;
use std::io::{self, Read};

use time::OffsetDateTime;
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

use crate::clock::wall_text_at;
use crate::diagnose::outcome::{Listed, Meaning};
use crate::exchange::{
    Abort, Body, Digest, Ending, Exchange, ExchangeId, Opened, TraceFlags, TraceParent, chain,
};
use crate::recording::format::{Manifest, Open};
use crate::recording::reader::{BodyReader, ReadError, WHOLE_LIMIT};
use crate::recording::{ConnectionRow, Recording, Row};

/// Larger bodies, in bytes as recorded, make a file hard to open rather than more useful.
const SMALL: u64 = 64 << 10;

/// How many of the things that are missing are named.
const NAMED: usize = 20;

/// Which bodies an export has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// All that the recording has.
    All,
    /// Those of at most 64 KiB, counted as recorded (content-encoded).
    Small,
    /// None.
    None,
}

impl Bodies {
    /// Whether a body of so many bytes is wanted whole: if not, it need not be read.
    pub(crate) const fn takes(self, bytes: u64) -> bool {
        match self {
            Self::All => true,
            Self::Small => bytes <= SMALL,
            Self::None => false,
        }
    }
}

/// A file format that is fed one exchange after the other, by run, start and id.
pub(crate) trait Format {
    /// Writes the next exchange, or leaves it out and tells the [`Source`] why.
    fn push(&mut self, item: &Item<'_>) -> io::Result<()>;
    /// Writes what follows the last exchange; gives the number of exchanges in the file.
    fn finish(self: Box<Self>) -> io::Result<u64>;
}

/// One exchange, with what a recording and the go command's settings say of it.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// The exchange.
    pub(crate) exchange: Exchange,
    /// Its row.
    pub(crate) row: &'a Row,
    /// The run that it belongs to.
    pub(crate) run: &'a Open,
    /// The dial that it went through, if its line is known.
    pub(crate) dial: Option<&'a Opened>,
    /// What there is to say of its client connection.
    pub(crate) connection_note: Option<&'a str>,
    /// What was asked for, and what came of it.
    pub(crate) listed: Listed<'a>,
}

impl Item<'_> {
    /// The exchange's own span of the run's trace, as W3C Trace Context has it.
    pub(crate) fn traceparent(&self) -> String {
        let (trace, span) = (self.run.trace, self.exchange.begin.span);
        let flags = TraceFlags::SAMPLED;
        TraceParent { trace, span, flags }.to_string()
    }

    /// How it stopped, if it did on the way.
    pub(crate) const fn abort(&self) -> Option<&Abort> {
        match &self.exchange.ending {
            Ending::Aborted(abort) => Some(abort),
            Ending::InFlight | Ending::Ended(_) => None,
        }
    }

    /// When it started: RFC 3339 in UTC, if the recording knows when its run began.
    pub(crate) fn started(&self) -> Option<String> {
        wall_text_at(&self.run.wall, self.row.started)
    }
}

/// What an export does not have, and why.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// What could not be read or written; the first [`NAMED`] of them.
    pub(crate) missing: Vec<String>,
    /// How many more there are.
    pub(crate) unnamed: u64,
    /// Bodies that the recording never had: no failure of this export.
    pub(crate) not_kept: u64,
    /// Header fields that cannot stand in a command; the script names them.
    pub(crate) unprintable: u64,
}

/// A recording that is being exported.
pub(crate) struct Source<'a> {
    recording: &'a Recording,
    meaning: Meaning<'a>,
    /// The body that was read last, by digest and length: formats that are fed at once ask for it one
    /// after the other.
    last_body: RefCell<Option<((Digest, u64), BodyReader)>>,
    /// Formats write it while they hold the source.
    losses: RefCell<Losses>,
}

impl<'a> Source<'a> {
    pub(crate) fn of(recording: &'a Recording) -> Self {
        Self {
            recording,
            meaning: Meaning::of(recording),
            last_body: RefCell::default(),
            losses: RefCell::default(),
        }
    }

    pub(crate) const fn recording(&self) -> &'a Recording {
        self.recording
    }

    pub(super) const fn manifest(&self) -> &'a Manifest {
        self.recording.manifest()
    }

    pub(super) fn runs(&self) -> &'a [Open] {
        self.recording.runs()
    }

    /// The client connections with their runs, by run and id.
    pub(super) fn connections(&self) -> impl Iterator<Item = (u32, &'a ConnectionRow)> {
        self.recording.connections_by_run()
    }

    /// When each run began, in UTC. Where a damaged one does not say, the manifest's word stands in,
    /// and that is noted.
    pub(super) fn walls(&self) -> Vec<OffsetDateTime> {
        let wall = |text: &str| {
            let wall = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            wall.checked_to_offset(UtcOffset::UTC)
        };
        let walls = (1_u64..).zip(self.runs()).map(|(number, open)| {
            wall(&open.wall).unwrap_or_else(|| {
                let started = &self.manifest().started;
                let (told, wall) = match wall(started) {
                    Some(wall) => (started.as_str(), wall),
                    None => ("1970-01-01T00:00:00Z", OffsetDateTime::UNIX_EPOCH),
                };
                self.note_missing(format!("when run {number} began (taken to be {told})"));
                wall
            })
        });
        walls.collect()
    }

    /// Feeds these exchanges to `formats`, each exchange read once; gives the number of those in each
    /// file. A format that fails is fed no more, and the others go on. Calls `progress` with the number
    /// of exchanges before each one.
    pub(crate) fn feed<'f>(
        &self,
        rows: &[&'a Row],
        formats: impl IntoIterator<Item = io::Result<Box<dyn Format + 'f>>>,
        mut progress: impl FnMut(usize),
    ) -> Vec<io::Result<u64>> {
        let mut formats: Vec<_> = formats.into_iter().collect();
        for (number, row) in rows.iter().enumerate() {
            if formats.iter().all(Result::is_err) {
                break;
            }
            progress(number);
            match self.item(row) {
                Ok(item) => {
                    for format in &mut formats {
                        let pushed = format.as_mut().map(|format| format.push(&item));
                        if let Ok(Err(error)) = pushed {
                            *format = Err(error);
                        }
                    }
                }
                Err(error) => self.note_missing(format!("exchange {}: {}", row.id, chain(&error))),
            }
        }
        let finished = formats.into_iter().map(|format| format?.finish());
        finished.collect()
    }

    /// The exchange of a row, read again and verified.
    pub(crate) fn item(&self, row: &'a Row) -> Result<Item<'a>, ItemError> {
        let run = usize::try_from(row.run).ok();
        let run = run.and_then(|run| self.runs().get(run));
        let connection = self.recording.connection_in(row.run, row.connection);
        Ok(Item {
            exchange: self.recording.exchange(row)?,
            row,
            run: run.ok_or(ItemError::Run)?,
            dial: connection.and_then(|connection| connection.dial_of(&row.url, row.until())),
            connection_note: connection
                .and_then(|connection| connection.closed.as_ref()?.note.as_deref()),
            listed: self.meaning.list(row),
        })
    }

    /// The bytes of a body as recorded, or why they cannot be had, which is noted.
    pub(super) fn body(&self, id: ExchangeId, body: &Body) -> Result<BodyReader, String> {
        let key = (body.sha256, body.bytes);
        let mut last = self.last_body.borrow_mut();
        let is_last = last.as_ref().filter(|(known, _)| *known == key);
        if let Some(again) = is_last.and_then(|(_, reader)| reader.again()) {
            return Ok(again);
        }
        let opened = self.recording.body(body).map_err(|error| chain(&error));
        let reader = opened.inspect_err(|why| self.note_missing_body(id, why))?;
        *last = reader.again().map(|reader| (key, reader));
        Ok(reader)
    }

    /// The same of a body all of which is verified before its first byte is given.
    pub(super) fn verified(&self, id: ExchangeId, body: &Body) -> Result<BodyReader, String> {
        let mut reader = self.body(id, body)?;
        // Smaller ones have been read whole.
        if body.bytes > WHOLE_LIMIT {
            let read = io::copy(&mut reader, &mut io::sink());
            let read = read.map_err(|error| error_text(&error));
            read.inspect_err(|why| self.note_missing_body(id, why))?;
            reader = self.body(id, body)?;
        }
        Ok(reader)
    }

    /// All bytes of a body.
    pub(super) fn whole(&self, id: ExchangeId, body: &Body) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read = self.verified(id, body)?.read_to_end(&mut bytes);
        let read = read.map_err(|error| error_text(&error));
        read.inspect_err(|why| self.note_missing_body(id, why))?;
        Ok(bytes)
    }

    /// Notes something that is missing from the export.
    pub(crate) fn note_missing(&self, what: String) {
        let mut losses = self.losses.borrow_mut();
        if losses.missing.len() < NAMED {
            losses.missing.push(what);
        } else {
            losses.unnamed += 1;
        }
    }

    /// Notes that a body, or what is left of it, cannot be read.
    pub(super) fn note_missing_body(&self, id: ExchangeId, why: &str) {
        self.note_missing(format!("a body of exchange {id}: {why}"));
    }

    /// Notes a body of which the recording never had more than the digest.
    pub(super) fn note_unkept_body(&self) {
        self.losses.borrow_mut().not_kept += 1;
    }

    /// Notes header fields that cannot stand in a command.
    pub(super) fn note_unprintable(&self, count: u64) {
        self.losses.borrow_mut().unprintable += count;
    }

    /// What is not in the export.
    pub(crate) fn into_losses(self) -> Losses {
        self.losses.into_inner()
    }
}

/// Why an exchange cannot be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ItemError {
    /// Its lines cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It belongs to a run that has no `open` line.
    #[error("its run has no `open` line")]
    Run,
}

/// An error of reading, and what lies below it, as one text.
pub(crate) fn error_text(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) => chain(inner),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Ndjson;
    use super::super::sample;
    use super::*;

    /// A disk that is full after so many writes.
    struct Full(usize);

    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_format_that_fails_does_not_keep_the_others_from_their_end() {
        let samples: Vec<_> = (1..=40)
            .map(|id| sample::answered(id, sample::PROXY, 200, &[b'x'; 4000]))
            .collect();
        let (_dir, recording) = sample::recording(&samples);
        let source = Source::of(&recording);
        let rows: Vec<_> = recording.rows().iter().collect();
        let mut whole = Vec::new();
        let mut seen = 0;
        let formats: [io::Result<Box<dyn Format>>; 4] = [
            Ok(Box::new(Ndjson::begin(Full(3)))),
            Err(io::ErrorKind::PermissionDenied.into()),
            Ok(Box::new(Ndjson::begin(&mut whole))),
            // It fails at its end.
            Ok(Box::new(Ndjson::begin(Full(39)))),
        ];
        let written = source.feed(&rows, formats, |number| seen = number + 1);
        let written: Vec<_> = written
            .into_iter()
            .map(|written| written.map_err(|error| error.kind()))
            .collect();
        let full = Err(io::ErrorKind::StorageFull);
        let denied = Err(io::ErrorKind::PermissionDenied);
        assert_eq!(written, [full, denied, Ok(40), full]);
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 40);
        assert_eq!(seen, 40);
        let failing: Box<dyn Format> = Box::new(Ndjson::begin(Full(3)));
        source.feed(&rows, [Ok(failing)], |number| seen = number + 1);
        assert!(seen < 40, "nobody is fed any more");
    }

    #[test]
    fn a_body_that_two_formats_ask_for_is_read_once() {
        let bytes = vec![b'x'; 40_000];
        let (dir, recording) =
            sample::recording(&[sample::answered(1, sample::PROXY, 200, &bytes)]);
        let source = Source::of(&recording);
        let body = sample::body(&bytes);
        assert_eq!(source.whole(1, &body).unwrap(), bytes);
        std::fs::remove_dir_all(dir.path().join("bodies")).unwrap();
        assert_eq!(source.whole(1, &body).unwrap(), bytes);
        let longer = Body {
            bytes: 40_001,
            ..body
        };
        assert!(source.whole(1, &longer).is_err());
    }
}
