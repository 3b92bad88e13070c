//! A recording as the tree of a module proxy: answers are verified and decoded while they are copied.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.
//! Never holds more than a chunk of a large answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::super::answers;
use super::super::failure::{Advise as _, FAILED, Failure, USAGE};
use super::super::selection::open;
use super::super::stop::{Stop, Stoppable};
use super::folder::Folder;
use super::losses::tell;
use crate::cli::{ExportArgs, Global};
use crate::diagnose::routes::Routes;
use crate::exchange::{Ending, ExchangeId};
use crate::export::goproxy::{Edit, Faulty, LeftOut, Loose, Tree, content, lookup};
use crate::export::source::{Source, error_text};
use crate::recording::Row;
use crate::recording::format::Fault;
use crate::shell;
use crate::terminal::Progress;
use crate::terminal::words::{count, size};
use crate::terminal::{plain, say, warn};

/// How many versions that are not whole are named, and how many requests without a file.
const NAMED: usize = 20;

/// How much is copied at once, in bytes.
const CHUNK: usize = 64 << 10;

/// Writes the recording as a folder for `GOPROXY=file://…`: a failure if some of what was recorded
/// cannot be read, though the rest is there.
pub(super) fn run(args: &ExportArgs, global: &Global) -> Result<ExitCode, Failure> {
    if args.output == Path::new("-") {
        let missing = anyhow!("the tree of a module proxy is a folder: it needs `-o DIR`");
        let name = shell::word(&args.name);
        return Err(missing)
            .help(format!("try `modtape export goproxy {name} -o DIR`"))
            .map_err(|error| Failure::new(USAGE, error));
    }
    if args.filter.is_some() {
        let error = anyhow!("a tree holds all that a recording has of a module: no --filter");
        return Err(Failure::new(USAGE, error));
    }
    let recording = open(&args.name, global)?;
    let source = Source::of(&recording);
    let routes = Routes::of(&recording);
    let rows = recording.rows();
    let faults = answers::check(&recording, &routes, global).into_iter();
    let faults: Faults = faults
        .map(|fault| ((fault.run, fault.exchange), fault))
        .collect();
    let faulty: Faulty = faults.keys().copied().collect();
    let location = |row: &Row| recording.answer_field(row, "location");
    let mut tree = Tree::plan(rows, routes.bases(), &faulty, location);
    let loose = tree.unify(|row| lookup(&source, &rows[row]));
    let stop = Stop::listen()?;
    let copied = copy_all(tree, &source, &args.output, &stop, global);
    let Copied { tree, files, bytes } = stop.explain(copied)?;
    for row in rows {
        // No sound answer stands in for a faulty one.
        if let Some(fault) = faults.get(&(row.run, row.id))
            && !tree.holds(&routes.route(row))
        {
            source.lacks(fault.to_string());
        }
    }
    let losses = source.into_losses();
    tell(&losses, &recording, global);
    let broke_off = |row: &Row| match recording.exchange(row).ok()?.ending {
        Ending::Aborted(abort) => Some(abort.why),
        Ending::InFlight | Ending::Ended(_) => None,
    };
    tell_zips(
        &tree.zips_left_out(rows, |row| routes.route(row), broke_off),
        global,
    );
    tell_lacking(&tree, global);
    tell_loose(&loose, global);
    let (files, size) = (count(files, "answer"), size(bytes));
    let path = args.output.display().to_string();
    say(
        global,
        format!("{files}, {size}, written to {}", plain(&path)),
    );
    Ok(match losses.missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}

/// What became of the tree.
struct Copied {
    /// As much of it as could be read.
    tree: Tree,
    /// How many answers have a file.
    files: u64,
    bytes: u64,
}

/// Makes the folder `output`.
fn copy_all(
    tree: Tree,
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
    let mut progress = Progress::new("file", tree.files().count(), global);
    for (number, (path, row, edit)) in tree.files().enumerate() {
        progress.step(number);
        copying.copy(path, &rows[row], edit)?;
    }
    drop(progress);
    let tree = tree.without(&copying.lost);
    for (path, text) in tree.made() {
        copying.folder.text(&path, &text)?;
    }
    stop.check()?;
    copying.folder.finish()?;
    Ok(Copied {
        tree,
        files: copying.files,
        bytes: copying.bytes,
    })
}

/// Answers that are not what they were asked for, by run and exchange.
type Faults = BTreeMap<(u32, ExchangeId), Fault>;

/// Says which zips were asked for and never came whole.
fn tell_zips(left_out: &[LeftOut], global: &Global) {
    for LeftOut {
        what,
        host,
        id,
        why,
    } in left_out.iter().take(NAMED)
    {
        let told = format!("left out {what} from {host} (#{id}): {why}");
        warn(global, plain(&told));
    }
    if let Some(more @ 1..) = left_out.len().checked_sub(NAMED) {
        warn(
            global,
            format!("left out {}", count(more as u64, "more zip")),
        );
    }
}

/// Says what the tree has no file for: the recording never had it.
fn tell_lacking(tree: &Tree, global: &Global) {
    let refused = tree.refused();
    for what in refused.iter().take(NAMED) {
        warn(global, format!("no file for {what}"));
    }
    let lacking = tree.lacking();
    for version in lacking.iter().take(NAMED) {
        let (module, files) = (&version.module, version.files.join(" and "));
        let told = format!("{module} {} lacks {files}", version.version);
        say(global, plain(&told));
    }
    let rest = refused.len().saturating_sub(NAMED) + lacking.len().saturating_sub(NAMED);
    if rest > 0 {
        say(global, format!("and {rest} more"));
    }
}

/// Says which checksum databases verify in the recorded order at best.
fn tell_loose(loose: &[Loose], global: &Global) {
    for Loose { name, heads, tiles } in loose {
        let why = match heads {
            0 => String::from("one of its lookup responses cannot be parsed"),
            heads => {
                let (heads, tiles) = (
                    count(*heads as u64, "tree head"),
                    count(*tiles as u64, "tile"),
                );
                format!(
                    "its lookups have {heads}, and {tiles} that would join them are not recorded"
                )
            }
        };
        let told = format!("{name} may not verify from this tree: {why}");
        warn(global, plain(&told));
    }
}

/// Answers on their way from a recording to a folder.
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
    /// Copies the answer of `row` to `path`, or notes why it cannot be read.
    fn copy(&mut self, path: &str, row: &Row, edit: &Edit) -> anyhow::Result<()> {
        let mut answer = match content(self.source, row, edit) {
            Ok(answer) => answer,
            Err(why) => {
                self.lacks(path, row, &why);
                return Ok(());
            }
        };
        let told = || self.folder.told(path);
        let mut file = self.folder.file(path).with_context(told)?;
        let (out, stop) = (&mut file, self.stop);
        match pour(&mut answer, &mut Stoppable { out, stop }, &mut self.chunk) {
            Err(PourError::Write(error)) => return Err(error).with_context(told),
            Err(PourError::Read(error)) => {
                self.folder.remove(path)?;
                self.lacks(path, row, &error_text(&error));
            }
            Ok(bytes) => {
                self.bytes += bytes;
                self.files += 1;
            }
        }
        Ok(())
    }

    fn lacks(&mut self, path: &str, row: &Row, why: &str) {
        let missing = format!("{path}: exchange {}: {why}", row.id);
        self.source.lacks(missing);
        self.lost.insert(path.into());
    }
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
