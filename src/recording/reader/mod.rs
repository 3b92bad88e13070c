//! A recording opened: rows in memory, everything else read again and verified when asked for.
//!
//! A recording may come from anybody: every length has a bound and no path is taken from it but
//! the name of a digest. Never writes, and leaves no lock behind.

pub(crate) mod body;
pub mod index;
mod journal;
pub mod scan;
pub(crate) mod table;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::Serialize;

use super::format::{Event, FORMAT_VERSION, Gap, JOURNAL, Manifest, Open, Record, State};
use super::line::LineError;
use super::manifest::{ManifestError, read_manifest};
use super::processes::Sample;
use crate::coding::{Coding, NotDecoded};
use crate::exchange::{Body, ConnectionId, End, Ending, Exchange, ExchangeId, field};
use crate::files::open_regular;
use journal::JournalFile;
use scan::LINE_LIMIT;
use table::{Table, read_table};

pub(crate) use super::line::RowState;
pub(crate) use body::{BodyError, BodyReader, Stored, WHOLE_LIMIT};
pub use scan::{Damage, DamageKind, Span};
pub(crate) use table::Dials;
pub use table::{ConnectionRow, Row, SampleRow, StallRow};

/// A recording on disk.
#[derive(Debug)]
pub struct Recording {
    dir: PathBuf,
    manifest: Manifest,
    status: Status,
    journal: JournalFile,
    table: Table,
}

/// How far a recording got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The recorder ended in order.
    Closed,
    /// Completed and checked against the checksum database.
    Sealed,
    /// A recorder is writing.
    Recording,
    /// The recorder was killed.
    Unfinished,
}

impl Recording {
    /// Opens the recording in `dir`, by its index if it has one that fits its journal.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_by(dir, true)
    }

    /// Opens the recording in `dir` by reading all of its journal, so that all damage shows.
    pub fn open_whole(dir: &Path) -> Result<Self, OpenError> {
        Self::open_by(dir, false)
    }

    fn open_by(dir: &Path, trust_index: bool) -> Result<Self, OpenError> {
        let manifest = read_folder(dir)?;
        let path = dir.join(JOURNAL);
        let unreadable = |source| OpenError::Unreadable {
            path: path.clone(),
            source,
        };
        let journal = match open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_a_recording(dir, "it has no journal"));
            }
            opened => opened.map_err(unreadable)?,
        };
        let table = match trust_index.then(|| index::read(dir, &journal)).flatten() {
            Some(table) => table,
            None => read_table(&journal, manifest.as_ref().ok()).map_err(unreadable)?,
        };
        Self::assemble(dir, manifest, journal, table)
    }

    fn assemble(
        dir: &Path,
        manifest: Result<Manifest, ManifestError>,
        journal: File,
        mut table: Table,
    ) -> Result<Self, OpenError> {
        if let Some(found) = table.foreign_version(FORMAT_VERSION) {
            let path = dir.to_owned();
            return Err(OpenError::Version { path, found });
        }
        let manifest = match manifest {
            Ok(mut manifest) => {
                compare(&mut table, &manifest);
                complete(&mut manifest, &table);
                manifest
            }
            Err(source) => match table.manifest() {
                Some(manifest) => {
                    let (span, kind) = (Span::default(), DamageKind::Manifest);
                    table.damage.insert(0, Damage { span, kind });
                    manifest
                }
                None if matches!(source, ManifestError::NotFound) => {
                    return Err(not_a_recording(dir, "its journal holds no record"));
                }
                None => {
                    let path = dir.to_owned();
                    return Err(OpenError::Manifest { path, source });
                }
            },
        };
        Ok(Self {
            dir: dir.to_owned(),
            status: status(manifest.state, &journal, table.close.is_some()),
            manifest,
            journal: JournalFile::new(journal),
            table,
        })
    }

    /// Writes the index, from what was read when the recording was opened.
    pub(crate) fn write_index(&self) -> io::Result<()> {
        index::write(&self.dir, self.journal.file(), &self.table)
    }

    /// Takes the manifest that stands in the folder since the recording was opened.
    pub(crate) fn replace_manifest(&mut self, manifest: Manifest) {
        self.manifest = manifest;
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder's name.
    pub(crate) fn name(&self) -> String {
        let dir = match self.dir.file_name() {
            Some(_) => self.dir.clone(),
            // `.` and `..` have a name only once they are resolved.
            None => self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone()),
        };
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The manifest; made up from the journal where it is damaged.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How far the recording had got when it was opened.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The runs, in order; a row's `run` counts from 0 in here.
    pub fn runs(&self) -> &[Open] {
        &self.table.runs
    }

    /// The exchanges, by run, start and id.
    pub fn rows(&self) -> &[Row] {
        &self.table.rows
    }

    /// The same without the runs that were added later: what the recorded command did.
    #[must_use]
    pub(crate) fn of_command(mut self) -> Self {
        let added = self.table.runs.iter();
        let own = added.take_while(|open| open.added_by.is_none()).count();
        let table = &mut self.table;
        table.runs.truncate(own);
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        table.rows.retain(|row| row.run < own);
        table.connections.retain(|(run, _), _| *run < own);
        table.stalls.retain(|row| row.run < own);
        table.samples.retain(|row| row.run < own);
        self
    }

    /// Whether a run was added later.
    pub(crate) fn is_added(&self, run: u32) -> bool {
        let run = usize::try_from(run)
            .ok()
            .and_then(|run| self.table.runs.get(run));
        run.is_some_and(|open| open.added_by.is_some())
    }

    /// The highest numbers of exchanges and of client connections: those of a further run begin behind
    /// them, so that a number names one exchange.
    pub(crate) fn last_ids(&self) -> (ExchangeId, ConnectionId) {
        let exchanges = self.table.rows.iter().map(|row| row.id);
        let connections = self.table.connections.keys().map(|(_, id)| *id);
        (exchanges.max().unwrap_or(0), connections.max().unwrap_or(0))
    }

    /// The client connection `id`; of several runs, that of the last one that has it.
    pub fn connection(&self, id: ConnectionId) -> Option<&ConnectionRow> {
        let runs = 0..u32::try_from(self.table.runs.len()).unwrap_or(u32::MAX);
        runs.rev().find_map(|run| self.connection_in(run, id))
    }

    /// The client connection `id` of one run.
    pub(crate) fn connection_in(&self, run: u32, id: ConnectionId) -> Option<&ConnectionRow> {
        self.table.connections.get(&(run, id))
    }

    /// The client connections, by run and id.
    pub fn connections(&self) -> impl Iterator<Item = &ConnectionRow> {
        self.table.connections.values()
    }

    /// The client connections with their runs, by run and id.
    pub(crate) fn connections_by_run(&self) -> impl Iterator<Item = (u32, &ConnectionRow)> {
        let connections = self.table.connections.iter();
        connections.map(|((run, _), connection)| (*run, connection))
    }

    /// Where the samples of the command's processes stand, by run and time.
    pub fn samples(&self) -> &[SampleRow] {
        &self.table.samples
    }

    /// Reads a sample again, and verifies it again.
    pub fn sample(&self, row: &SampleRow) -> Result<Sample, ReadError> {
        match self.record(row.line)? {
            Record {
                event: Event::Sample(sample),
                t_us,
                ..
            } if t_us == row.at => Ok(sample),
            _ => Err(ReadError::NoSample { span: row.line }),
        }
    }

    /// Reads an exchange again, and verifies it again.
    pub fn exchange(&self, row: &Row) -> Result<Exchange, ReadError> {
        let another = |span| ReadError::Another { span, id: row.id };
        let record = self.record(row.begin)?;
        let begin = match record.event {
            Event::Begin(begin) if row.began_as(record.t_us, &begin) => begin,
            _ => return Err(another(row.begin)),
        };
        let ending = match row.end {
            None if row.is_unended() => Ending::InFlight,
            None => return Err(another(row.begin)),
            Some(span) => match self.record(span)?.event {
                Event::End(end) if row.ended_as(&end) => Ending::Ended(end),
                Event::Abort(abort) if row.stopped_as(&abort) => Ending::Aborted(abort),
                _ => return Err(another(span)),
            },
        };
        Ok(Exchange {
            started: record.t_us,
            begin,
            ending,
        })
    }

    /// A header field of a whole answer, by its name in lower case.
    pub(crate) fn answer_field(&self, row: &Row, name: &str) -> Option<String> {
        let exchange = self.exchange(row).ok()?;
        Some(field(&exchange.end()?.headers, name)?.into_owned())
    }

    fn record(&self, span: Span) -> Result<Record, ReadError> {
        if span.len > LINE_LIMIT {
            let source = LineError::Shape;
            return Err(ReadError::Damaged { span, source });
        }
        let record = self.journal.line(span, Record::parse_line);
        let record = record.map_err(|source| ReadError::Unreadable { span, source })?;
        record.map_err(|source| ReadError::Damaged { span, source })
    }

    /// The bytes of a body, verified; see [`BodyReader`].
    pub fn body(&self, body: &Body) -> Result<BodyReader, BodyError> {
        BodyReader::open(&self.dir, body)
    }

    /// The content of a row's answer, its coding undone and verified while it is read; empty without a body.
    pub(crate) fn content(&self, row: &Row) -> Result<Box<dyn Read>, ContentError> {
        let Ending::Ended(End { headers, body, .. }) = self.exchange(row)?.ending else {
            return Ok(Box::new(io::empty()));
        };
        let Some(body) = body else {
            return Ok(Box::new(io::empty()));
        };
        let encoded = self.body(&body)?;
        Ok(Coding::of(&headers).reader(encoded, body.bytes)?)
    }

    /// All of it, if it has no more than `limit` bytes.
    pub(crate) fn content_within(&self, row: &Row, limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut bytes = Vec::new();
        let mut content = self.content(row)?.take(limit + 1);
        content
            .read_to_end(&mut bytes)
            .map_err(ContentError::Content)?;
        match bytes.len() as u64 > limit {
            true => Err(ContentError::TooLarge(limit)),
            false => Ok(bytes),
        }
    }

    /// A body as it is stored; see [`Stored`].
    pub(crate) fn stored(&self, body: &Body) -> Result<Stored, BodyError> {
        Stored::open(&self.dir, body)
    }

    /// Why the body of an answer was not kept, where it was not: what its recorder noted, else what
    /// it was told to do.
    pub(crate) fn why_not_kept(&self, id: ExchangeId) -> &str {
        let noted = format!("body of exchange {id}");
        let gap = self.gaps().iter().find(|gap| gap.what == noted);
        gap.map_or("recorded with --bodies none", |gap| &gap.why)
    }

    /// What is wrong with the recording, by place.
    ///
    /// Of a recording that was opened by its index, what was wrong when that was written; what was
    /// changed since then is an error of [`exchange`](Self::exchange). Bodies in files are verified
    /// when they are read.
    pub fn damage(&self) -> &[Damage] {
        &self.table.damage
    }

    /// What was not recorded or is lost.
    pub fn gaps(&self) -> &[Gap] {
        &self.table.gaps
    }

    /// Bytes after the last record that are not a record: normal where a recorder was killed.
    pub const fn torn_tail(&self) -> Option<Span> {
        self.table.tail
    }

    /// The silences of upstreams that were noticed while they lasted, in order.
    pub fn stalls(&self) -> &[StallRow] {
        &self.table.stalls
    }

    /// All that was read of the journal.
    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }
}

/// Why a folder cannot be opened as a recording.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing there.
    #[error("there is no recording {path}")]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// There is something else there.
    #[error("{path} is not a recording: {why}")]
    NotARecording {
        /// What was asked for.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another version of the format.
    #[error("{path} is of format version {found}; this program reads version {FORMAT_VERSION}")]
    Version {
        /// The recording.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The manifest is damaged and the journal does not tell what it said.
    #[error("cannot make out the recording {path}")]
    Manifest {
        /// The recording.
        path: PathBuf,
        /// What is wrong with the manifest.
        source: ManifestError,
    },
    /// A file or the folder cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why an exchange cannot be read again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal cannot be read there.
    #[error("cannot read {} bytes at journal byte {}", span.len, span.offset)]
    Unreadable {
        /// Where.
        span: Span,
        /// Why not.
        source: io::Error,
    },
    /// The line there does not verify.
    #[error("journal byte {}", span.offset)]
    Damaged {
        /// Where.
        span: Span,
        /// What is wrong with it.
        source: LineError,
    },
    /// The line there verifies, but is not of the row's exchange.
    #[error("journal byte {}: not a record of exchange {id}", span.offset)]
    Another {
        /// Where.
        span: Span,
        /// The exchange.
        id: u64,
    },
    /// The line there verifies, but is not the sample of the row.
    #[error("journal byte {}: not that sample", span.offset)]
    NoSample {
        /// Where.
        span: Span,
    },
}

/// Why the content of an answer cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// Its lines in the journal.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A coding that is not known here.
    #[error("it is encoded, and {0}")]
    Coding(#[from] NotDecoded),
    /// The bytes turned out to be wrong while they were read.
    #[error("it is damaged")]
    Content(#[source] io::Error),
    /// More than was asked for, bytes.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
}

/// Reads the manifest in `dir`, which must be a folder. The inner error is one that the journal may make
/// up for.
fn read_folder(dir: &Path) -> Result<Result<Manifest, ManifestError>, OpenError> {
    let path = dir.to_owned();
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::NotFound { path });
        }
        Err(source) => return Err(OpenError::Unreadable { path, source }),
        Ok(found) if !found.is_dir() => return Err(not_a_recording(dir, "it is not a folder")),
        Ok(_) => {}
    }
    match read_manifest(dir) {
        Err(ManifestError::Version(found)) => Err(OpenError::Version { path, found }),
        Err(ManifestError::Foreign) => Err(not_a_recording(
            dir,
            "its recording.json is another program's",
        )),
        Err(ManifestError::NotFound) if !dir.join(JOURNAL).exists() => Err(not_a_recording(
            dir,
            "it has neither recording.json nor journal.ndjson",
        )),
        Err(ManifestError::Unreadable(source)) if refused(&source) => {
            Err(OpenError::Unreadable { path, source })
        }
        manifest => Ok(manifest),
    }
}

fn refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn not_a_recording(dir: &Path, why: &'static str) -> OpenError {
    OpenError::NotARecording {
        path: dir.to_owned(),
        why,
    }
}

/// Notes as damage where journal and manifest contradict each other.
fn compare(table: &mut Table, manifest: &Manifest) {
    let mut damage = |span, kind| table.damage.push(Damage { span, kind });
    if manifest.state != State::Open {
        let len = 0;
        let offset = table.journal_bytes;
        if let Some(tail) = table.tail.take() {
            // A torn tail is normal only where the recorder did not end in order.
            damage(tail, DamageKind::Garbled);
        }
        if table.close.is_none() {
            damage(Span { offset, len }, DamageKind::Unclosed);
        }
    }
    if table.runs.iter().any(|open| open.recording != manifest.id) {
        damage(Span::default(), DamageKind::Foreign);
    }
}

/// Takes the totals from the journal where the recorder closed that, and then could not replace the
/// manifest: its disk was full, or it was killed in between.
fn complete(manifest: &mut Manifest, table: &Table) {
    if let (State::Open, Some(close)) = (manifest.state, &table.close) {
        manifest.totals = close.totals;
        manifest.exit_code = close.exit_code;
        manifest.wall_us = table.last.as_micros();
    }
}

/// Asks whether a recorder holds the journal's lock; asks only where the manifest tells of no end.
/// The journal's own end counts then, since it is written before the manifest.
fn status(state: State, journal: &File, is_closed: bool) -> Status {
    match state {
        State::Closed => Status::Closed,
        State::Sealed => Status::Sealed,
        State::Open => match rustix::fs::flock(journal, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => Status::Recording,
            locked => {
                if locked.is_ok() {
                    // A lock that stays would keep a recorder from appending.
                    let _ = rustix::fs::flock(journal, FlockOperation::Unlock);
                }
                if is_closed {
                    Status::Closed
                } else {
                    Status::Unfinished
                }
            }
        },
    }
}

#[cfg(test)]
mod tests;
