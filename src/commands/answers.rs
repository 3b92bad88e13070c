//! The contents of a recording's answers, content codings undone.

use std::io::{self, Read, Seek as _, SeekFrom, Write as _};

use rawzip::{FileReader, ReaderAt};

use super::direct::check_direct;
use super::runtime::Stop;
use crate::cli::Global;
use crate::coding::Coding;
use crate::diagnose::content::{self, Checked, Expected, Source, Zip};
use crate::diagnose::proofs::Verifiers;
use crate::diagnose::routes::Routes;
use crate::exchange::{Body, Fields, chain, field};
use crate::export::source::error_text;
use crate::gomod::TEXT_LIMIT;
use crate::recording::format::{FAULTS, State};
use crate::recording::reader::{DamageKind, Stored};
use crate::recording::{Recording, Row};
use crate::terminal::Progress;

/// Finds the answers that are not what they were asked for, and module versions of which not all say
/// the same; and shows how far it is. All zips are hashed if `hashes_all` says so. `None` if a signal was
/// received before the end.
pub(super) fn check(
    recording: &Recording,
    routes: &Routes,
    hashes_all: bool,
    stop: &Stop,
    global: &Global,
) -> Option<Checked> {
    let mut progress = None;
    let step = |done, all| {
        let progress = progress.get_or_insert_with(|| Progress::new("checking zip", all, global));
        progress.step(done);
    };
    let go_sum = recording.main_sum();
    let expected = Expected {
        go_sum: go_sum.as_ref(),
        hashes_all,
        verifiers: Verifiers::of(&recording.manifest().go_env),
    };
    let mut checked = content::check(
        recording.rows(),
        routes,
        &Answers(recording),
        expected,
        step,
        &|| stop.is_heard(),
    )?;
    let direct = &recording.manifest().direct;
    check_direct(recording, direct, hashes_all, stop, &mut checked)?;
    Some(checked)
}

/// Completes the list of faults in the manifest of an opened recording, where all of them may not be there: it has as many
/// as a manifest names, or nobody checked the answers when the recording ended. `None` if a signal was received
/// before the end.
pub(super) fn complete_faults(
    recording: &mut Recording,
    stop: &Stop,
    global: &Global,
) -> Option<()> {
    let manifest = recording.manifest();
    let is_checked = manifest.state != State::Open
        && !manifest.replayable.unchecked
        && !recording
            .damage()
            .iter()
            .any(|damage| damage.kind == DamageKind::Manifest);
    if is_checked && manifest.replayable.faults.len() < FAULTS {
        return Some(());
    }
    let mut manifest = manifest.clone();
    let routes = Routes::of(recording);
    let hashes_all = !were_compared(recording);
    let checked = check(recording, &routes, hashes_all, stop, global)?;
    manifest.replayable.faults = checked.faults;
    manifest.replayable.unchecked = false;
    recording.replace_manifest(manifest);
    Some(())
}

/// Whether a go command has compared the zips of a recording with go.sum: one that succeeded, and is all that
/// was recorded.
pub(super) fn were_compared(recording: &Recording) -> bool {
    recording.manifest().exit_code == Some(0) && recording.runs().len() < 2
}

/// All of an answer that is a text, if it can be read.
pub(super) fn text(recording: &Recording, row: &Row) -> Option<Vec<u8>> {
    Answers(recording).text(row).ok().flatten()
}

/// The header fields and the body of a whole answer, if it has one.
fn answer(recording: &Recording, row: &Row) -> Result<Option<(Fields, Body)>, String> {
    let exchange = recording.exchange(row).map_err(|error| chain(&error))?;
    let end = exchange.end().cloned();
    Ok(end.and_then(|end| Some((end.headers, end.body?))))
}

/// The answers of a recording.
pub(super) struct Answers<'a>(pub(super) &'a Recording);

impl Answers<'_> {
    /// The content of a body that was kept; `None` where it was not, or its coding is unknown.
    fn read(&self, headers: &Fields, body: &Body) -> Result<Option<Box<dyn Read>>, String> {
        if !body.kept {
            return Ok(None);
        }
        let bytes = self.0.body(body).map_err(|error| chain(&error))?;
        Ok(Coding::of(headers).reader(bytes, body.bytes).ok())
    }
}

impl Source for Answers<'_> {
    fn text(&self, row: &Row) -> Result<Option<Vec<u8>>, String> {
        let Some((headers, body)) = answer(self.0, row)? else {
            return Ok(Some(Vec::new()));
        };
        let Some(content) = self.read(&headers, &body)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = content.take(TEXT_LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| error_text(&error))?;
        Ok(Some(bytes))
    }

    fn zip(&self, row: &Row) -> Result<Option<Zip>, String> {
        let Some((headers, body)) = answer(self.0, row)? else {
            let reader: Box<dyn ReaderAt> = Box::new(Vec::new());
            return Ok(Some(Zip { reader, bytes: 0 }));
        };
        if !body.kept {
            return Ok(None);
        }
        if field(&headers, "content-encoding").is_none() {
            let stored = self.0.stored(&body).map_err(|error| chain(&error))?;
            let reader: Box<dyn ReaderAt> = match stored {
                Stored::Inline(bytes) => Box::new(bytes),
                Stored::File(file) => Box::new(FileReader::from(file)),
            };
            let bytes = body.bytes;
            return Ok(Some(Zip { reader, bytes }));
        }
        let Some(mut content) = self.read(&headers, &body)? else {
            return Ok(None);
        };
        // Nobody can read at any place in what is compressed as a whole; few servers do that to
        // zips.
        let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
        let copied = io::copy(&mut content, &mut file).and_then(|bytes| {
            file.flush()?;
            file.seek(SeekFrom::Start(0))?;
            Ok(bytes)
        });
        let bytes = copied.map_err(|error| error_text(&error))?;
        let reader: Box<dyn ReaderAt> = Box::new(FileReader::from(file));
        Ok(Some(Zip { reader, bytes }))
    }
}
