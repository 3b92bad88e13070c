//! `modtape verify`: whether what a recording holds is what go.sum files, the checksum database and a second
//! module proxy say.

mod second_proxy;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use self::second_proxy::Place;
use super::answers;
use super::failure::{FAILED, Failure};
use super::runtime::{Stop, block_on};
use super::selection::open;
use crate::cli::{Global, VerifyArgs};
use crate::diagnose::routes::Routes;
use crate::diagnose::verify::{Asked, Module, Verified};
use crate::files::open_regular;
use crate::gomod::{GoSum, Kind, takes_forged_tiles};
use crate::recording::Recording;
use crate::recording::format::MAIN_SUM;
use crate::terminal::words::count;
use crate::terminal::{Look, json, plain, say, to_stdout, verify, warn};

/// The exit code where something is not what it should be.
const DIFFERS: u8 = 1;

/// The largest go.sum that is read, bytes: real ones have less than a tenth of it.
const LIMIT: u64 = 16 << 20;

/// Compares, and prints what came of it.
pub(super) fn run(args: &VerifyArgs, global: &Global) -> Result<ExitCode, Failure> {
    // What is wrong with the command line is told before all is hashed.
    let against = args.against.as_deref();
    let against = against.map(|url| Place::of(url, &args.dial)).transpose()?;
    let given = args.go_sum.iter().map(|path| {
        let sums = read(path)?;
        Ok((path.to_string_lossy().into_owned(), sums))
    });
    let mut go_sums = given.collect::<anyhow::Result<Vec<_>>>()?;
    let recording = open(&args.name, global)?;
    let stop = Stop::listen()?;
    let own = recording.main_sum();
    go_sums.extend(own.map(|sums| (String::from(MAIN_SUM), sums)));
    let routes = Routes::of(&recording);
    let checked = answers::check(&recording, &routes, true, &stop, global);
    let checked = checked.ok_or_else(|| stopped(&stop))?;
    let second = against.map(|place| {
        let files = checked.files.iter().filter(|(_, found)| found.is_there());
        let files = files.map(|(file, _)| file.clone());
        block_on(place.ask(files, recording.manifest(), &stop, global))?
    });
    let second = second.transpose()?.unwrap_or_default();
    let asked = Asked {
        go_sums,
        only_proved: args.sumdb || args.strict,
        second: second.proxy,
    };
    let verified = Verified::of(checked, recording.rows(), &routes, &asked);
    for fault in &verified.replaced {
        let message = format!("{fault}; a later answer stands in for it");
        say(global, plain(&message));
    }
    warn_of_old_go(&recording, global);
    let verdicts = verified.modules.iter().flat_map(Module::verdicts);
    if let unread @ 1.. = verdicts.filter(|(_, verdict)| verdict.is_unread).count() {
        let files = count(unread as u64, "file");
        say(global, format!("the bodies of {files} were not kept"));
    }
    if verified.modules.is_empty() {
        let name = recording.name();
        say(
            global,
            format!("{name} has no zip and no go.mod file of a module"),
        );
    }
    let text = match args.json {
        true => json::pretty(&verified)?,
        false => verify::text(&verified, Look::of_stdout(global)),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    let host = &asked.second.name;
    let files = |number: usize| count(number as u64, "file");
    if second.absent > 0 {
        say(
            global,
            plain(&format!("{host} does not have {}", files(second.absent))),
        );
    }
    if second.private > 0 {
        let private = files(second.private);
        say(
            global,
            plain(&format!(
                "{host} was not asked for {private} of private modules"
            )),
        );
    }
    let failed = second.why.map(|why| {
        let files = files(second.failed);
        format!("{host} gave no usable answer for {files}, first {why}")
    });
    match (wrong(&verified, args.strict), failed) {
        (Some(why), failed) => {
            if let Some(failed) = failed {
                warn(global, plain(&failed));
            }
            Err(Failure::new(DIFFERS, anyhow!(why)))
        }
        (None, Some(failed)) => Err(Failure::new(FAILED, anyhow!(failed))),
        (None, None) => Ok(ExitCode::SUCCESS),
    }
}

/// The failure of what a signal stopped.
fn stopped(stop: &Stop) -> Failure {
    let error = anyhow!("stopped by a signal: not all was verified");
    Failure::new(stop.code().unwrap_or(FAILED), error)
}

/// Says that the go command did not check all that has been checked here.
fn warn_of_old_go(recording: &Recording, global: &Global) {
    let go = recording.manifest().go_version.as_deref();
    if let Some(go) = go.filter(|go| takes_forged_tiles(go)) {
        let message = format!(
            "{go}, with which this was recorded, takes some forged answers of a checksum database (CVE-2026-56864, \
             CVE-2026-56865; mended in go1.25.13, go1.26.6 and go1.27); they are checked here"
        );
        warn(global, plain(&message));
    }
}

fn read(path: &Path) -> anyhow::Result<GoSum> {
    let message = || format!("cannot read {}", path.display());
    let file = open_regular(path).with_context(message)?;
    let mut content = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut content)
        .with_context(message)?;
    if content.len() as u64 > LIMIT {
        return Err(anyhow!("it is larger than {} MiB", LIMIT >> 20)).with_context(message);
    }
    let sums = GoSum::parse(&content);
    if let Some(malformed) = &sums.malformed {
        let (path, line) = (path.display(), malformed.line);
        return Err(anyhow!(
            "{path}, line {line}: {:?} is no line of a go.sum",
            malformed.text
        ));
    }
    Ok(sums)
}

/// What makes the exit code 1, in words.
fn wrong(verified: &Verified, is_strict: bool) -> Option<String> {
    let modules = |number: usize| count(number as u64, "module");
    let differing = verified.mismatch;
    // Those of module files are counted with their modules.
    let others = verified
        .faults
        .iter()
        .filter(|fault| !matches!(fault.kind, Kind::Zip | Kind::Toolchain | Kind::Mod));
    let faults = match differing {
        0 => verified.faults.len(),
        _ => others.count(),
    };
    let unverified = if is_strict { verified.unverified } else { 0 };
    let reasons = [
        (differing > 0).then(|| {
            let verb = if differing == 1 { "differs" } else { "differ" };
            format!("{} {verb}", modules(differing))
        }),
        (faults > 0).then(|| match faults {
            1 => String::from("1 answer is not what it was asked for"),
            more => format!("{more} answers are not what they were asked for"),
        }),
        (unverified > 0).then(|| format!("nothing vouches for {}", modules(unverified))),
    ];
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}
