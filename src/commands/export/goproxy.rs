//! A recording as the tree of a module proxy: responses are verified and decoded while they are
//! copied.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.
//! Never holds more than a chunk of a large response. The folder is made whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use crate::catalog::{Catalog, DirectFile, Edit, Faulty, Lacking, LeftOut, NotUnified, SMALL_FILE};
use crate::cli::{ExportArgs, Global};
use crate::commands::answers;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::runtime::{Stop, Stoppable};
use crate::diagnose::routes::Routes;
use crate::exchange::{Ending, ExchangeId, chain};
use crate::export::goproxy::content;
use crate::export::source::{Losses, Source, error_text};
use crate::files::Working;
use crate::gomod::Kind;
use crate::recording::format::Fault;
use crate::recording::{Recording, Row};
use crate::shell;
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, plain, say, warn};

/// How many incomplete versions, and how many requests without a file, are named.
const NAMED: usize = 20;

/// How much is copied at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A usage error if `-o` does not name a folder.
pub(super) fn check_output(args: &ExportArgs) -> Result<(), Failure> {
    if args.output != Path::new("-") {
        return Ok(());
    }
    let missing = anyhow!("the tree of a module proxy is a folder: it needs `-o DIR`");
    let name = shell::word(&args.name);
    Err(missing)
        .help(format!("try `modtape export goproxy {name} -o DIR`"))
        .map_err(|error| Failure::new(USAGE, error))
}

/// What was written, and what a tree for `GOPROXY=file://…` lacks.
pub(super) struct Report {
    /// What was recorded and is missing in the tree.
    pub(super) losses: Losses,
    /// How many files were written.
    files: u64,
    /// Their total size.
    bytes: u64,
    /// Zips that were requested and are not complete.
    zips: Vec<LeftOut>,
    /// Requests that no file can answer.
    refused: Vec<String>,
    /// Versions that lack a file.
    lacking: Vec<Lacking>,
    /// Checksum databases that may verify only in the order in which they were recorded.
    not_unified: Vec<NotUnified>,
}

/// Writes the recording as the folder `args.output`.
pub(super) fn write(
    args: &ExportArgs,
    recording: &Recording,
    global: &Global,
) -> Result<Report, Failure> {
    let source = Source::of(recording);
    let routes = Routes::of(recording);
    let route = |row: &Row| routes.route(row);
    let rows = recording.rows();
    let hashes_all = !answers::were_compared(recording);
    let stop = Stop::listen()?;
    let checked = answers::check(recording, &routes, hashes_all, &stop, global);
    let checked = stop.explain(checked.context("the answers were not checked"))?;
    let faults = checked.faults.iter().cloned();
    let faults: Faults = faults
        .map(|fault| ((fault.run, fault.exchange), fault))
        .collect();
    let faulty: Faulty = faults.keys().copied().collect();
    let location = |row: &Row| recording.answer_field(row, "location");
    let catalog = Catalog::of(rows, routes.bases(), &faulty, location);
    let mut catalog = catalog.with_direct(&recording.manifest().direct, &checked.faults);
    let not_unified = catalog.unify(|row| small(recording, row));
    let copied = copy_all(catalog, &source, &args.output, &stop, global);
    let Copied {
        catalog,
        files,
        bytes,
    } = stop.explain(copied)?;
    for row in rows {
        // Not if another response has the right content.
        if let Some(fault) = faults.get(&(row.run, row.id))
            && !catalog.holds(&route(row))
        {
            source.note_missing(fault.to_string());
        }
    }
    let broke_off = |row: &Row| match recording.exchange(row).ok()?.ending {
        Ending::Aborted(abort) => Some(abort.why),
        Ending::InFlight | Ending::Ended(_) => None,
    };
    for fault in checked.faults.iter().filter(|fault| fault.exchange == 0) {
        source.note_missing(fault.to_string());
    }
    Ok(Report {
        losses: source.into_losses(),
        files,
        bytes,
        zips: catalog.zips_left_out(rows, route, broke_off),
        refused: catalog.refused().to_vec(),
        lacking: catalog.lacking(),
        not_unified,
    })
}

/// The content of a small answer.
fn small(recording: &Recording, row: usize) -> Option<Vec<u8>> {
    let row = recording.rows().get(row)?;
    recording.content_within(row, SMALL_FILE).ok()
}

impl Report {
    /// Prints what the tree lacks, and what was written to `output`; the losses are printed before.
    pub(super) fn print(&self, output: &Path, global: &Global) {
        print_zips(&self.zips, global);
        print_lacking(&self.refused, &self.lacking, global);
        print_unverifiable(&self.not_unified, global);
        let (files, size) = (count(self.files, "file"), size(self.bytes));
        let path = output.display().to_string();
        say(
            global,
            format!("{files}, {size}, written to {}", plain(&path)),
        );
    }
}

/// A finished copy.
struct Copied {
    /// The files that could be read.
    catalog: Catalog,
    /// How many files were written.
    files: u64,
    /// Their total size.
    bytes: u64,
}

/// Writes the folder `output`.
fn copy_all(
    catalog: Catalog,
    source: &Source<'_>,
    output: &Path,
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<Copied> {
    let mut copying = Copying {
        source,
        folder: Folder::create(output)?,
        stop,
        files: 0,
        bytes: 0,
        lost: BTreeSet::new(),
        chunk: vec![0; CHUNK],
    };
    let rows = source.recording().rows();
    let answered = catalog.files().len();
    let mut progress = Progress::new("file", answered + catalog.direct().len(), global);
    for (number, (path, file)) in catalog.files().iter().enumerate() {
        progress.step(number);
        // Which one that is depends on which versions turn out to be whole.
        if file.kind != Kind::Latest {
            copying.answer(path, &rows[file.row], &file.edit)?;
        }
    }
    for (number, (path, file)) in catalog.direct().iter().enumerate() {
        progress.step(answered + number);
        copying.copy(path, direct(source.recording(), file), "")?;
    }
    drop(progress);
    let catalog = catalog.without(&copying.lost);
    for (path, row) in catalog.latests(|row| small(source.recording(), row)) {
        copying.answer(&path, &rows[row], &Edit::Whole)?;
    }
    for (path, text) in catalog.made() {
        copying.folder.text(&path, &text)?;
    }
    stop.check()?;
    copying.folder.finish()?;
    Ok(Copied {
        catalog,
        files: copying.files,
        bytes: copying.bytes,
    })
}

/// Responses with the wrong content, by run and exchange.
type Faults = BTreeMap<(u32, ExchangeId), Fault>;

/// Says which zips were requested and are not complete.
fn print_zips(left_out: &[LeftOut], global: &Global) {
    for LeftOut {
        what,
        host,
        id,
        why,
    } in left_out.iter().take(NAMED)
    {
        let message = format!("left out {what} from {host} (#{id}): {why}");
        warn(global, plain(&message));
    }
    if let Some(more @ 1..) = left_out.len().checked_sub(NAMED) {
        warn(
            global,
            format!("left out {}", count(more as u64, "more zip")),
        );
    }
}

/// Says which files the tree lacks, since the recording never had them.
fn print_lacking(refused: &[String], lacking: &[Lacking], global: &Global) {
    for what in refused.iter().take(NAMED) {
        warn(global, format!("no file for {what}"));
    }
    for version in lacking.iter().take(NAMED) {
        let (module, files) = (&version.module, version.files.join(" and "));
        let message = format!("{module} {} lacks {files}", version.version);
        say(global, plain(&message));
    }
    let rest = refused.len().saturating_sub(NAMED) + lacking.len().saturating_sub(NAMED);
    if rest > 0 {
        say(global, format!("and {rest} more"));
    }
}

/// Says which checksum databases the go command may not be able to verify from the tree.
fn print_unverifiable(not_unified: &[NotUnified], global: &Global) {
    for NotUnified { name, heads, tiles } in not_unified {
        let why = match heads {
            0 => String::from("one of its lookup responses cannot be parsed"),
            heads => {
                let (heads, tiles) = (
                    count(*heads as u64, "tree head"),
                    count(*tiles as u64, "tile"),
                );
                format!(
                    "its lookup responses have {heads}, and {tiles} that prove them consistent were \
                     not recorded"
                )
            }
        };
        let message = format!("{name} may not verify from this tree: {why}");
        warn(global, plain(&message));
    }
}

/// Copies responses from a recording to a folder.
struct Copying<'a> {
    source: &'a Source<'a>,
    folder: Folder,
    stop: &'a Stop,
    files: u64,
    bytes: u64,
    /// Files that were left out, by path.
    lost: BTreeSet<String>,
    chunk: Vec<u8>,
}

impl Copying<'_> {
    /// Copies the response of `row` to `path`, or notes why it cannot be read.
    fn answer(&mut self, path: &str, row: &Row, edit: &Edit) -> anyhow::Result<()> {
        let of = format!("exchange {}: ", row.id);
        self.copy(path, content(self.source.recording(), row, edit), &of)
    }

    /// Copies a file's content, which is out of what `of` names, to `path`; or notes why it cannot be
    /// read.
    fn copy(
        &mut self,
        path: &str,
        content: Result<Box<dyn Read>, String>,
        of: &str,
    ) -> anyhow::Result<()> {
        let mut content = match content {
            Ok(content) => content,
            Err(why) => {
                self.leave_out(path, of, &why);
                return Ok(());
            }
        };
        let message = || self.folder.cannot_write(path);
        let mut file = self.folder.file(path).with_context(message)?;
        let (out, stop) = (&mut file, self.stop);
        match pour(&mut content, &mut Stoppable { out, stop }, &mut self.chunk) {
            Err(PourError::Write(error)) => return Err(error).with_context(message),
            Err(PourError::Read(error)) => {
                self.folder.remove(path)?;
                self.leave_out(path, of, &error_text(&error));
            }
            Ok(bytes) => {
                self.bytes += bytes;
                self.files += 1;
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &str, of: &str, why: &str) {
        let missing = format!("{path}: {of}{why}");
        self.source.note_missing(missing);
        self.lost.insert(path.into());
    }
}

/// A file that the recording keeps by itself. A large one is verified while it is read.
fn direct(recording: &Recording, file: &DirectFile) -> Result<Box<dyn Read>, String> {
    let reader = recording.body(&file.kept.body());
    let reader = reader.map_err(|error| chain(&error))?;
    Ok(Box::new(reader))
}

/// Which side of a copy went wrong.
enum PourError {
    Read(io::Error),
    Write(io::Error),
}

fn pour(from: &mut impl Read, to: &mut impl Write, chunk: &mut [u8]) -> Result<u64, PourError> {
    let mut bytes = 0;
    loop {
        let len = match from.read(chunk) {
            Ok(0) => return Ok(bytes),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PourError::Read(error)),
        };
        to.write_all(&chunk[..len]).map_err(PourError::Write)?;
        bytes += len as u64;
    }
}

/// A folder that is being written; removed when it is dropped unfinished.
#[derive(Debug)]
struct Folder {
    working: Working,
    to: PathBuf,
}

impl Folder {
    /// Begins the folder `to`, which must be missing or empty.
    fn create(to: &Path) -> anyhow::Result<Self> {
        let message = || format!("cannot write {}", to.display());
        check(to).with_context(message).help(HELP)?;
        let working = Working::create(to).with_context(message)?;
        let to = to.to_owned();
        Ok(Self { working, to })
    }

    /// A new file (mode 0600) at a path below the folder, whose elements are names.
    fn file(&self, path: &str) -> io::Result<File> {
        let path = self.working.path().join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path)
    }

    /// A new file with this text.
    fn text(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let written = self
            .file(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| self.cannot_write(path))
    }

    /// Removes a file again.
    fn remove(&self, path: &str) -> anyhow::Result<()> {
        fs::remove_file(self.working.path().join(path)).with_context(|| self.cannot_write(path))
    }

    /// The error for a file below it, before its reason.
    fn cannot_write(&self, path: &str) -> String {
        format!("cannot write {}", self.to.join(path).display())
    }

    /// Renames the folder to its final name.
    fn finish(self) -> anyhow::Result<()> {
        let finished = self.working.finish(&self.to);
        finished.with_context(|| format!("cannot write {}", self.to.display()))
    }
}

const HELP: &str = "name a folder that is not there yet, or an empty one";

fn check(to: &Path) -> anyhow::Result<()> {
    let found = match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if found.is_symlink() {
        bail!("it is a link");
    }
    if !found.is_dir() {
        bail!("it is not a folder");
    }
    if fs::read_dir(to)?.next().is_some() {
        bail!("it is not empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("tree");
        let folder = Folder::create(&to).unwrap();
        folder.text("a.b/c/@v/list", "v1.0.0\n").unwrap();
        assert!(!to.exists());
        drop(folder);
        assert!(names(dir.path()).is_empty());
        fs::create_dir(&to).unwrap();
        let folder = Folder::create(&to).unwrap();
        folder.text("a.b/c/@v/list", "v1.0.0\n").unwrap();
        folder.finish().unwrap();
        let list = fs::read(to.join("a.b/c/@v/list")).unwrap();
        assert_eq!(list, b"v1.0.0\n");
        assert_eq!(names(dir.path()), ["tree"]);
    }

    #[test]
    fn what_is_no_empty_folder_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [full, file, empty, link] =
            ["full", "file", "empty", "link"].map(|name| dir.path().join(name));
        fs::create_dir(&full).unwrap();
        fs::create_dir(&empty).unwrap();
        fs::write(full.join("a"), "").unwrap();
        fs::write(&file, "").unwrap();
        symlink(&empty, &link).unwrap();
        for (to, why) in [
            (full, "it is not empty"),
            (file, "it is not a folder"),
            (link, "it is a link"),
        ] {
            let error = Folder::create(&to).unwrap_err();
            assert!(format!("{error:#}").ends_with(why), "{error:#}");
        }
        assert_eq!(names(dir.path()).len(), 4);
    }
}
