//! `modtape show`: one exchange, whole or in parts.
//!
//! Text of the recording is escaped before it is printed. A body that is written as received is
//! verified, and is printed to a terminal only if it is text without control characters.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{anyhow, bail};

use super::failure::Advise as _;
use super::output_file::write_file;
use super::selection::open;
use crate::cli::{Global, ShowArgs};
use crate::coding::Coding;
use crate::exchange::{Body, End, Ending, Fields, MadeBy, Mode, Opened, Stall, field};
use crate::export::curl::{Curl, Likeness};
use crate::export::source::{Item, Source};
use crate::recording::reader::{BodyError, WHOLE_LIMIT};
use crate::recording::{Recording, Row};
use crate::shell::{self, is_terminal_control};
use crate::terminal::words::{bar, duration, percent, seconds, since_start, size};
use crate::terminal::{Look, Paint, json, plain, say, to_stdout};

/// Prints the exchange, or the part of it that a flag selects.
pub(super) fn run(args: &ShowArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let recording = open(&args.name, global)?;
    let shown = Shown::find(&recording, args, global)?;
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let look = output.map_or_else(|| Look::of_stdout(global), |_| Look::of_file(global));
    if args.body {
        write_body(&shown, output, look, global)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    write_parts(&mut text, &shown, args, look, global)?;
    match output {
        Some(path) => write_file(path, |file| Ok(file.write_all(&text)?))?,
        None => to_stdout(|out| Ok(out.write_all(&text)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything but the body, which may be larger than memory.
fn write_parts(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    args: &ShowArgs,
    look: Look,
    global: &Global,
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
            write_general(out, shown, look)?;
        }
        if all || args.timings {
            write_timings(out, shown, look)?;
        }
        if all || args.headers {
            write_headers(out, shown, look)?;
        }
        if all {
            write_body_summary(out, shown, look)?;
        }
    }
    Ok(())
}

/// An exchange of a recording.
struct Shown<'a> {
    recording: &'a Recording,
    item: Item<'a>,
    stalls: Vec<&'a Stall>,
}

impl<'a> Shown<'a> {
    /// Finds the exchange by its number, in the last run that has it.
    fn find(recording: &'a Recording, args: &ShowArgs, global: &Global) -> anyhow::Result<Self> {
        let rows = recording.rows().iter().filter(|row| row.id == args.id);
        let rows: Vec<&Row> = rows.collect();
        let Some(row) = rows.last() else {
            let (id, name) = (args.id, recording.name());
            let missing = anyhow!("there is no exchange {id} in {name}");
            let path = recording.dir().to_string_lossy();
            return Err(missing).help(format!("try `modtape ls {}`", shell::word(&path)));
        };
        if rows.len() > 1 {
            let runs = rows.len();
            say(
                global,
                format!(
                    "{runs} runs have an exchange {}: showing that of the last",
                    args.id
                ),
            );
        }
        let item = Source::of(recording).item(row)?;
        let stalls = recording.stalls().iter();
        let stalls = stalls.filter(|stalled| stalled.run == row.run);
        let stalls = stalls.map(|stalled| &stalled.stall);
        Ok(Self {
            recording,
            item,
            stalls: stalls.filter(|stall| stall.id == Some(row.id)).collect(),
        })
    }

    /// The header fields of the response, as far as there is one.
    fn response_headers(&self) -> Option<&Fields> {
        match &self.item.exchange.ending {
            Ending::InFlight => None,
            Ending::Ended(end) => Some(&end.headers),
            Ending::Aborted(abort) => Some(&abort.headers),
        }
    }
}

/// Fields in which servers say under which id they know a request: for a ticket with those who run them.
const THEIR_IDS: [&str; 12] = [
    "x-request-id",
    "x-trace-id",
    "x-correlation-id",
    "x-cloud-trace-context",
    "x-guploader-uploadid",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "x-amz-request-id",
    "x-amz-cf-id",
    "x-ms-request-id",
    "x-github-request-id",
    "cf-ray",
];

/// Columns of a bar for the total time.
const BAR: usize = 40;

/// Method and URL, and the facts about the whole exchange.
fn write_general(out: &mut dyn Write, shown: &Shown<'_>, look: Look) -> anyhow::Result<()> {
    let listed = &shown.item.listed;
    let head = format!("#{} {} {}", listed.id, listed.method, listed.url);
    writeln!(out, "{}", look.paint(Paint::Bold, &look.plain(&head)))?;
    let mut line = |name: &str, text: &str| {
        let name = look.paint(Paint::Dim, &format!("{name:<11}"));
        writeln!(out, "  {name} {}", look.plain(text))
    };
    line("what", &listed.what())?;
    line("outcome", &outcome(shown))?;
    if let Some(fault) = &listed.fault {
        line("fault", fault)?;
    }
    if let Some(next) = &listed.next {
        line("then", &format!("the go command asks {next}"))?;
    }
    let since = since_start(listed.started_us.as_micros());
    match &shown.item.started() {
        Some(started) => line("started", &format!("{since} ({started})"))?,
        None => line("started", &since)?,
    }
    line(
        "connection",
        &connection(listed.connection, shown.item.dial),
    )?;
    if let Some(note) = shown.item.connection_note {
        line("note", note)?;
    }
    for attempt in shown
        .item
        .exchange
        .end()
        .map_or(&[][..], |end| &end.attempts)
    {
        let lost = format!("connection {}: {}", attempt.connection, attempt.error);
        line("tried", &lost)?;
    }
    for note in shown.item.exchange.end().map_or(&[][..], |end| &end.notes) {
        line("note", note)?;
    }
    for stall in &shown.stalls {
        line("silence", &silence(stall))?;
    }
    line("trace", &shown.item.traceparent())?;
    let answered = shown.response_headers();
    let is_id = |name: &str| THEIR_IDS.iter().any(|id| id.eq_ignore_ascii_case(name));
    for (name, value) in answered
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_id(name))
    {
        line("their id", &format!("{name}: {}", value.to_text()))?;
    }
    Ok(())
}

/// A silence of the upstream that was noticed while it lasted.
fn silence(stall: &Stall) -> String {
    let lasted = seconds(stall.silent_us);
    let since = since_start(stall.since_us.as_micros());
    let end = match stall.is_over {
        true => "then something came",
        false => "not over when it was last seen",
    };
    format!("{lasted} in phase {} since {since}, {end}", stall.phase)
}

fn outcome(shown: &Shown<'_>) -> String {
    match &shown.item.exchange.ending {
        Ending::InFlight => "in flight: no end is recorded".into(),
        Ending::Aborted(abort) => {
            let status = abort.status.map(|status| format!("{status}, "));
            let status = status.unwrap_or_default();
            let (phase, why) = (abort.phase, &abort.why);
            format!("{status}aborted in phase {phase}: {why}")
        }
        Ending::Ended(end) => {
            let reason = end
                .reason
                .as_ref()
                .map(|reason| format!(" {}", reason.to_text()));
            let reason = reason.unwrap_or_default();
            let by = match end.made_by {
                MadeBy::Origin => "",
                MadeBy::Modtape => ", by modtape itself",
            };
            format!("{}{reason} ({}){by}", end.status, end.version)
        }
    }
}

fn connection(id: u64, opened: Option<&Opened>) -> String {
    let Some(opened) = opened else {
        return format!("{id} (not recorded)");
    };
    let mode = match opened.mode {
        Mode::Intercept => "intercepted",
        Mode::Tunnel => "tunnelled",
        Mode::Plain => "plain",
        Mode::Gateway => "by the gateway",
        Mode::Refuse => "refused",
    };
    let mut text = format!("{id} to {}, {mode}", opened.target);
    let upstream = opened.upstream.as_ref();
    let mut add = |before: &str, part: Option<&String>| {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
        }
    };
    add(", ", upstream.and_then(|upstream| upstream.addr.as_ref()));
    add(" via ", upstream.and_then(|upstream| upstream.via.as_ref()));
    add(", ", upstream.and_then(|upstream| upstream.tls.as_ref()));
    add(", ", upstream.and_then(|upstream| upstream.alpn.as_ref()));
    add(", ", opened.error.as_ref());
    text
}

/// The phases that happened, each with its share and a bar.
fn write_timings(out: &mut dyn Write, shown: &Shown<'_>, look: Look) -> anyhow::Result<()> {
    let phases = shown.item.listed.phases_us;
    let total = phases.total_us();
    let head = format!("Timings  {}", duration(total));
    writeln!(out, "{}", look.paint(Paint::Bold, &head))?;
    for (phase, us) in phases.iter() {
        let (share, length) = (percent(us, total), bar(us, total, BAR, look.ascii));
        let text = format!(
            "  {:<8} {:>8}  {share:>3}%  {length}",
            phase.name(),
            duration(us)
        );
        writeln!(out, "{}", text.trim_end())?;
    }
    let mut note = |us: u64, what: &str| match us {
        0 => Ok(()),
        us => writeln!(out, "  {:<8} {:>8}  {what}", "", duration(us)),
    };
    let silence = shown.item.exchange.longest_silence_us();
    note(
        silence.unwrap_or(0),
        "of receive: the longest silence of the upstream",
    )?;
    if let Some(end) = shown.item.exchange.end() {
        note(
            end.client_wait_us,
            "of receive: waiting for the client to read",
        )?;
        note(end.own_us, "modtape's own time afterwards, not in the sum")?;
    }
    Ok(())
}

/// The header sections, and the trailers if there are any.
fn write_headers(out: &mut dyn Write, shown: &Shown<'_>, look: Look) -> anyhow::Result<()> {
    write_fields(
        out,
        "Request headers",
        &shown.item.exchange.begin.headers,
        look,
    )?;
    let none = Fields::new();
    let response = shown.response_headers().unwrap_or(&none);
    if shown.item.listed.status.is_some() {
        write_fields(out, "Response headers", response, look)?;
    }
    let trailers = shown.item.exchange.end().map_or(&none, |end| &end.trailers);
    if !trailers.is_empty() {
        write_fields(out, "Response trailers", trailers, look)?;
    }
    Ok(())
}

fn write_fields(
    out: &mut dyn Write,
    title: &str,
    fields: &Fields,
    look: Look,
) -> anyhow::Result<()> {
    writeln!(out, "{}", look.paint(Paint::Bold, title))?;
    for (name, value) in fields {
        let name = look.paint(Paint::Dim, &format!("{}:", look.plain(name)));
        writeln!(out, "  {name} {}", look.plain(&value.to_text()))?;
    }
    if fields.is_empty() {
        writeln!(out, "  {}", look.paint(Paint::Dim, "none"))?;
    }
    Ok(())
}

/// The largest body that is shown as text, bytes, also when decoded.
const TEXT_LIMIT: u64 = 64 << 10;

/// How many lines of a text are shown.
const TEXT_LINES: usize = 40;

/// How many characters of a line are shown.
const LINE_LIMIT: usize = 400;

/// Writes the response's body as it was received, to a file or to stdout.
fn write_body(
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
        None if look.is_terminal => print_body(body, content),
        None => to_stdout(|out| {
            io::copy(&mut content, out)?;
            Ok(())
        }),
    }
}

fn print_body(body: &Body, mut content: impl Read) -> anyhow::Result<()> {
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
fn write_body_summary(out: &mut dyn Write, shown: &Shown<'_>, look: Look) -> anyhow::Result<()> {
    if let Some(body) = shown.item.exchange.request_body() {
        let title = look.paint(Paint::Bold, "Request body");
        writeln!(out, "{title}  {}, sha256 {}", size(body.bytes), body.sha256)?;
    }
    let Some(end) = shown.item.exchange.end() else {
        if let Some(abort) = shown.item.abort().filter(|abort| abort.body_bytes > 0) {
            let title = look.paint(Paint::Bold, "Body");
            let received = size(abort.body_bytes);
            writeln!(
                out,
                "{title}  {received} received before the abort, not kept"
            )?;
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
    match short_text(shown, body, end) {
        Ok(Some(text)) => write_text(out, &text, shown, look),
        Ok(None) => Ok(()),
        Err(error) => {
            let error = format!("the body cannot be read: {error:#}");
            let error = look.plain(&error).into_owned();
            Ok(writeln!(out, "  {}", look.paint(Paint::Red, &error))?)
        }
    }
}

/// The body, decoded, if it is a short text.
fn short_text(shown: &Shown<'_>, body: &Body, end: &End) -> anyhow::Result<Option<String>> {
    if !body.kept || body.bytes > TEXT_LIMIT {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    shown.recording.body(body)?.read_to_end(&mut bytes)?;
    let decoded = Coding::of(&end.headers).decode(&bytes, TEXT_LIMIT).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes.into_owned()).ok());
    Ok(text.filter(|text| !text.contains('\0')))
}

fn write_text(
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
        writeln!(
            out,
            "  {mark} the whole body: modtape show {id} {path} --body"
        )?;
    }
    Ok(())
}
