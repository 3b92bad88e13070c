//! `modtape show`: one exchange, whole or in parts.

mod body;
mod sections;
mod shown;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use self::shown::Shown;
use super::files::write_file;
use super::selection::open;
use crate::cli::{Global, ShowArgs};
use crate::export::curl::{Curl, Likeness};
use crate::terminal::json;
use crate::terminal::{Look, plain, say, to_stdout};

/// Prints the exchange, or the part of it that was asked for.
pub(super) fn run(args: &ShowArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let recording = open(&args.name, global)?;
    let shown = Shown::find(&recording, args, global)?;
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let look = output.map_or_else(|| Look::of_stdout(global), |_| Look::of_file(global));
    if args.body {
        body::write(&shown, output, look, global)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    write(&mut text, &shown, args, (look, global))?;
    match output {
        Some(path) => write_file(path, |file| Ok(file.write_all(&text)?))?,
        None => to_stdout(|out| Ok(out.write_all(&text)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whatever but the body, which is as large as it is.
fn write(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    args: &ShowArgs,
    (look, global): (Look, &Global),
) -> anyhow::Result<()> {
    if args.curl {
        let curl = Curl::of(
            &shown.item.exchange.begin,
            shown.item.dial,
            Likeness::Readable,
        )?;
        for left_out in &curl.left_out {
            say(global, plain(left_out));
        }
        writeln!(out, "curl -sS{}", curl.arguments)?;
    } else if args.json {
        out.write_all(json::pretty(&shown.item.json())?.as_bytes())?;
    } else {
        let all = !args.headers && !args.timings;
        if all {
            sections::write_general(out, shown, look)?;
        }
        if all || args.timings {
            sections::write_timings(out, shown, look)?;
        }
        if all || args.headers {
            sections::write_headers(out, shown, look)?;
        }
        if all {
            body::write_summary(out, shown, look)?;
        }
    }
    Ok(())
}
