//! The body of an exchange: summed up, or as it was received.
//!
//! What is written as received was verified; a terminal gets it only if it is harmless text.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{anyhow, bail};

use super::super::failure::Advise as _;
use super::super::files::write_file;
use super::shown::Shown;
use crate::cli::Global;
use crate::coding::Coding;
use crate::exchange::{Body, End, Ending, field};
use crate::recording::reader::{BodyError, WHOLE_LIMIT};
use crate::shell::{self, is_terminal_control};
use crate::terminal::words::size;
use crate::terminal::{Look, Paint, say, to_stdout};

/// Bodies up to this size (bytes, also when decoded) are looked at for text.
const TEXT_LIMIT: u64 = 64 << 10;

/// How much of a text is shown, lines.
const TEXT_LINES: usize = 40;

/// How much of a line is shown, characters.
const LINE_LIMIT: usize = 400;

/// Writes the response's body as it was received, to a file or to stdout.
pub(super) fn write(
    shown: &Shown<'_>,
    output: Option<&Path>,
    look: Look,
    global: &Global,
) -> anyhow::Result<()> {
    let id = shown.item.listed.id;
    let end = match &shown.item.exchange.ending {
        Ending::Ended(end) => end,
        Ending::Aborted(_) => bail!("exchange {id} was aborted: its body is incomplete"),
        Ending::InFlight => bail!("exchange {id} has no recorded end: its body is incomplete"),
    };
    let Some(body) = &end.body else {
        say(global, format!("exchange {id} has no body"));
        return Ok(());
    };
    let mut content = match shown.recording.body(body) {
        Err(BodyError::NotKept(_)) => {
            let why = shown.recording.why_not_kept(id);
            bail!("the body of exchange {id} was not kept: {why}");
        }
        content => content?,
    };
    match output {
        Some(path) => {
            let bytes = write_file(path, |file| Ok(io::copy(&mut content, file)?))?;
            say(global, format!("{} written", size(bytes)));
            Ok(())
        }
        None if look.is_terminal => write_text(body, content),
        None => to_stdout(|out| {
            io::copy(&mut content, out)?;
            Ok(())
        }),
    }
}

fn write_text(body: &Body, mut content: impl Read) -> anyhow::Result<()> {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(is_harmless);
    let mut text = Vec::new();
    if body.bytes <= WHOLE_LIMIT {
        content.read_to_end(&mut text)?;
    }
    if text.len() as u64 != body.bytes || !is_text(&text) {
        let binary = anyhow!(
            "refusing to print binary data to a terminal ({})",
            size(body.bytes)
        );
        return Err(binary).help("use -o FILE, or pipe it into another program");
    }
    to_stdout(|out| Ok(out.write_all(&text)?))
}

fn is_harmless(text: &str) -> bool {
    !text
        .chars()
        .any(|c| is_terminal_control(c) && !matches!(c, '\n' | '\r' | '\t'))
}

/// Size, type and digest, and the text itself if it is a short one.
pub(super) fn write_summary(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    look: Look,
) -> anyhow::Result<()> {
    if let Some(body) = shown.item.exchange.request_body() {
        let title = look.paint(Paint::Bold, "Request body");
        writeln!(out, "{title}  {}, sha256 {}", size(body.bytes), body.sha256)?;
    }
    let Some(end) = shown.item.exchange.end() else {
        if let Some(abort) = shown.item.abort().filter(|abort| abort.body_bytes > 0) {
            let title = look.paint(Paint::Bold, "Body");
            let came = size(abort.body_bytes);
            writeln!(out, "{title}  {came} came before it was aborted; not kept")?;
        }
        return Ok(());
    };
    let title = look.paint(Paint::Bold, "Body");
    let Some(body) = &end.body else {
        return Ok(writeln!(out, "{title}  none")?);
    };
    let mut about = vec![size(body.bytes)];
    for name in ["content-type", "content-encoding"] {
        about.extend(field(&end.headers, name).map(|value| look.plain(&value).into_owned()));
    }
    about.push(format!("sha256 {}", body.sha256));
    if !body.kept {
        let why = shown.recording.why_not_kept(shown.item.listed.id);
        about.push(format!("not kept: {}", look.plain(why)));
    }
    writeln!(out, "{title}  {}", about.join(", "))?;
    match text(shown, body, end) {
        Ok(Some(text)) => write_lines(out, &text, shown, look),
        Ok(None) => Ok(()),
        Err(error) => {
            let error = format!("it cannot be read: {error:#}");
            let error = look.plain(&error).into_owned();
            Ok(writeln!(out, "  {}", look.paint(Paint::Red, &error))?)
        }
    }
}

/// The body, decoded, if it is a short text.
fn text(shown: &Shown<'_>, body: &Body, end: &End) -> anyhow::Result<Option<String>> {
    if !body.kept || body.bytes > TEXT_LIMIT {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    shown.recording.body(body)?.read_to_end(&mut bytes)?;
    let decoded = Coding::of(&end.headers).decode(&bytes, TEXT_LIMIT).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes.into_owned()).ok());
    Ok(text.filter(|text| !text.contains('\0')))
}

fn write_lines(
    out: &mut dyn Write,
    text: &str,
    shown: &Shown<'_>,
    look: Look,
) -> anyhow::Result<()> {
    let mut is_cut = text.lines().count() > TEXT_LINES;
    for line in text.lines().take(TEXT_LINES) {
        is_cut |= line.chars().nth(LINE_LIMIT).is_some();
        let line: String = line.chars().take(LINE_LIMIT).collect();
        let line = line.replace('\t', "    ");
        writeln!(out, "{}", format!("  {}", look.plain(&line)).trim_end())?;
    }
    if is_cut {
        let mark = look.glyph("…", "...");
        let (id, path) = (
            shown.item.listed.id,
            shown.recording.dir().to_string_lossy(),
        );
        let path = look.plain(&shell::word(&path)).into_owned();
        writeln!(out, "  {mark} all of it: modtape show {id} {path} --body")?;
    }
    Ok(())
}
