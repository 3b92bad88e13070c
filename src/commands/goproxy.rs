//! A recording as the tree of a module proxy: answers are verified and decoded while they are copied.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.
//! Never holds more than a chunk of a large answer.

mod folder;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::answers::{self, content_of};
use super::failure::{Advise as _, Failure, USAGE};
use super::selection::open;
use super::stop::{Stop, Stoppable};
use super::written::{Written, error_text, tell};
use crate::cli::{ExportArgs, Global};
use crate::exchange::{ExchangeId, Outcome};
use crate::export::goproxy::{Edit, Faulty, LOOKUP_LIMIT, LeftOut, Loose, Tree};
use crate::gomod::{Base, Lookup};
use crate::recording::format::Fault;
use crate::recording::{Recording, Redirects, Row};
use crate::shell;
use crate::terminal::Progress;
use crate::terminal::words::{count, size};
use crate::terminal::{plain, say, warn};
use folder::Folder;

/// How many versions that are not whole are named, and how many requests without a file.
const NAMED: usize = 20;

/// How much is copied at once, octets.
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
    let bases = crate::gomod::bases(&recording.manifest().go_env);
    let (rows, redirects) = (recording.rows(), recording.redirects());
    let meaning = (&redirects, &bases[..]);
    let faults = answers::check(&recording, meaning, global).into_iter();
    let faults: Faults = faults
        .map(|fault| ((fault.run, fault.exchange), fault))
        .collect();
    let faulty: Faulty = faults.keys().copied().collect();
    let location = |row: &Row| recording.answer_field(row, "location");
    let mut tree = Tree::plan(rows, &bases, &faulty, location);
    let loose = tree.unify(|row| small(&recording, &rows[row]));
    let stop = Stop::listen()?;
    let copied = copy_all(tree, &recording, (&args.output, &stop), global);
    let (tree, mut written, bytes) = stop.explain(copied)?;
    add_faults(&mut written, (&tree, &faults), rows, meaning);
    tell(&written, &recording, global);
    tell_zips(&tree, &recording, meaning, global);
    tell_lacking(&tree, global);
    tell_loose(&loose, global);
    let files = count(written.entries, "answer");
    let (size, path) = (size(bytes), args.output.display().to_string());
    say(
        global,
        format!("{files}, {size}, written to {}", plain(&path)),
    );
    Ok(match written.missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(super::failure::FAILED),
    })
}

/// Makes the folder: what of the tree could be read, what became of it, and how many octets it has.
fn copy_all(
    tree: Tree,
    recording: &Recording,
    (output, stop): (&Path, &Stop),
    global: &Global,
) -> anyhow::Result<(Tree, Written, u64)> {
    let mut copying = Copying::new(recording, Folder::create(output)?, stop);
    let mut progress = Progress::new("file", tree.files().count(), global);
    for (number, (path, row, edit)) in tree.files().enumerate() {
        progress.step(number);
        copying.copy(path, &recording.rows()[row], edit)?;
    }
    drop(progress);
    let tree = tree.without(&copying.lost);
    for (path, text) in tree.made() {
        copying.folder.text(&path, &text)?;
    }
    stop.check()?;
    copying.folder.finish()?;
    Ok((tree, copying.written, copying.bytes))
}

/// Answers that are not what they were asked for, by run and exchange.
type Faults = BTreeMap<(u32, ExchangeId), Fault>;

/// Names the faulty answers that no sound one stands in for.
fn add_faults(
    written: &mut Written,
    (tree, faults): (&Tree, &Faults),
    rows: &[Row],
    (redirects, bases): (&Redirects, &[Base]),
) {
    for row in rows {
        let Some(fault) = faults.get(&(row.run, row.id)) else {
            continue;
        };
        let route = redirects.route(row, bases);
        if !tree.holds(&route) {
            written.lacks(fault.to_string());
        }
    }
}

/// Says which zips were asked for and never came whole.
fn tell_zips(tree: &Tree, recording: &Recording, meaning: (&Redirects, &[Base]), global: &Global) {
    let broke_off = |row: &Row| match recording.exchange(row).ok()?.outcome {
        Outcome::Aborted(abort) => Some(abort.why),
        Outcome::InFlight | Outcome::Ended(_) => None,
    };
    let left_out = tree.zips_left_out(recording.rows(), meaning, broke_off);
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
            0 => String::from("a lookup of it is none"),
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
    recording: &'a Recording,
    folder: Folder,
    stop: &'a Stop,
    written: Written,
    bytes: u64,
    /// Files that were left out, by path.
    lost: BTreeSet<String>,
    chunk: Vec<u8>,
}

impl<'a> Copying<'a> {
    fn new(recording: &'a Recording, folder: Folder, stop: &'a Stop) -> Self {
        Self {
            recording,
            folder,
            stop,
            written: Written::default(),
            bytes: 0,
            lost: BTreeSet::new(),
            chunk: vec![0; CHUNK],
        }
    }

    /// Copies the answer of `row` to `path`, or notes why it cannot be read.
    fn copy(&mut self, path: &str, row: &Row, edit: &Edit) -> anyhow::Result<()> {
        let answer = content_of(self.recording, row);
        let mut answer = match answer.and_then(|answer| edited(answer, edit)) {
            Ok(answer) => answer,
            Err(why) => {
                self.lacks(path, row, &why);
                return Ok(());
            }
        };
        let told = || self.folder.told(path);
        let mut file = self.folder.file(path).with_context(told)?;
        let stop = self.stop;
        let out = &mut file;
        let mut file = Stoppable { out, stop };
        match pour(&mut answer, &mut file, &mut self.chunk) {
            Err(PourError::Write(error)) => return Err(error).with_context(told),
            Err(PourError::Read(error)) => {
                self.folder.remove(path)?;
                self.lacks(path, row, &error_text(&error));
            }
            Ok(bytes) => {
                self.bytes += bytes;
                self.written.entries += 1;
            }
        }
        Ok(())
    }

    fn lacks(&mut self, path: &str, row: &Row, why: &str) {
        let missing = format!("{path}: exchange {}: {why}", row.id);
        self.written.lacks(missing);
        self.lost.insert(path.into());
    }
}

/// The whole content of a lookup's or a tile's answer.
fn small(recording: &Recording, row: &Row) -> Option<Vec<u8>> {
    whole(content_of(recording, row).ok()?).ok()
}

fn whole(answer: impl Read) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut answer = answer.take(LOOKUP_LIMIT as u64 + 1);
    let read = answer.read_to_end(&mut octets);
    read.map_err(|error| error_text(&error))?;
    match octets.len() > LOOKUP_LIMIT {
        true => Err("it is too large for what it is".into()),
        false => Ok(octets),
    }
}

/// As much of an answer as its file has.
fn edited(answer: Box<dyn Read>, edit: &Edit) -> Result<Box<dyn Read>, String> {
    let octets = match edit {
        Edit::Whole => return Ok(answer),
        Edit::Cut(bytes) => {
            let mut octets = whole(answer)?;
            if octets.len() < *bytes {
                return Err("it is shorter than its name says".into());
            }
            octets.truncate(*bytes);
            octets
        }
        Edit::Note(note) => {
            let mut octets = whole(answer)?;
            octets.truncate(Lookup::note_at(&octets).ok_or("it is no lookup")?);
            octets.extend_from_slice(note);
            octets
        }
    };
    Ok(Box::new(io::Cursor::new(octets)))
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
