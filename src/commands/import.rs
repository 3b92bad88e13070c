//! `modtape import`: another tool's file becomes a recording, whole or not at all.
//!
//! What is no exchange is left out and named. Never holds more than a few entries in memory.

mod writing;

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::Failure;
use super::record::Naming;
use super::stop::Stop;
use super::terminal::{plain, say, warn};
use super::words::count;
use crate::cli::{Global, ImportArgs};
use crate::diagnose::again::shell_word;
use crate::import::Changes;
use crate::import::har::{HarError, survey};
use crate::redact::Redactor;
use crate::tls;
use writing::Source;

/// How many entries that are left out are named.
const NAMED: usize = 20;

/// Makes a recording of the file: a failure if some of it had to be left out.
pub(super) fn run(args: &ImportArgs, global: &Global) -> Result<ExitCode, Failure> {
    let told = || format!("cannot import {}", args.file.display());
    let mut file = open(&args.file).with_context(told)?;
    let survey = survey(&file).with_context(told)?;
    file.seek(SeekFrom::Start(0)).with_context(told)?;
    let verb = String::from("har");
    let naming = Naming::named(args.output.as_deref(), args.force, verb, global)?;
    naming.check()?;
    let redactor = match args.no_redact {
        true => Redactor::off(),
        false => Redactor::new(tls::random()),
    };
    if args.no_redact {
        say(
            global,
            "modtape: --no-redact: the recording will hold secrets in clear text",
        );
    }
    let pages = survey.pages;
    let source = Source { file, survey };
    let stop = Stop::listen()?;
    let written = super::block_on(writing::write(source, naming, redactor, &stop))?;
    let (naming, tally) = stop.explain(written)?;
    tell(&tally, pages, global);
    let (name, dir) = (naming.name(), naming.dir.to_string_lossy());
    let exchanges = count(tally.exchanges, "exchange");
    let see = format!("see it with `modtape ls {}`", shell_word(&dir));
    say(
        global,
        plain(&format!("{exchanges} imported as {name}; {see}")),
    );
    Ok(match tally.left_out {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(super::FAILED),
    })
}

/// The file, which is read twice: a pipe gives its octets once.
fn open(path: &Path) -> anyhow::Result<File> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        bail!("it is no regular file");
    }
    Ok(File::open(path)?)
}

/// What became of a file's entries.
#[derive(Debug, Default)]
struct Tally {
    exchanges: u64,
    /// Entries that are no exchanges, the first of them in words.
    left_out: u64,
    named: Vec<String>,
    decoded: u64,
    converted: u64,
    bodiless: u64,
    untimed: u64,
    zoneless: u64,
}

impl Tally {
    fn took(&mut self, changes: Changes) {
        self.exchanges += 1;
        self.decoded += u64::from(changes.is_decoded);
        self.converted += u64::from(changes.is_converted);
        self.bodiless += u64::from(changes.is_bodiless);
        self.untimed += u64::from(changes.is_untimed);
        self.zoneless += u64::from(changes.is_zoneless);
    }

    fn left_out(&mut self, why: String) {
        self.left_out += 1;
        if self.named.len() < NAMED {
            self.named.push(why);
        }
    }
}

fn tell(tally: &Tally, pages: u64, global: &Global) {
    for why in &tally.named {
        warn(global, format!("left out {}", plain(why)));
    }
    let unnamed = tally.left_out - tally.named.len() as u64;
    if unnamed > 0 {
        warn(global, format!("left out {unnamed} more"));
    }
    if pages > 1 {
        say(global, format!("{pages} pages became one run"));
    }
    for (number, what) in [
        (
            tally.decoded,
            "the body is the decoded content, as the HAR has it, without its content-encoding",
        ),
        (
            tally.converted,
            "the body is not as long as its content-length says: its text was converted",
        ),
        (
            tally.bodiless,
            "the body is not in the HAR: counted as aborted, never replayed",
        ),
        (
            tally.untimed,
            "no start is told: placed where the one before it stands",
        ),
        (tally.zoneless, "the start tells no zone: taken as UTC"),
    ] {
        if number > 0 {
            say(global, format!("{}: {what}", count(number, "exchange")));
        }
    }
}
