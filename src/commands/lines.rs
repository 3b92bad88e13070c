//! Exports of a line or a few for each exchange: NDJSON, CSV, and a script of curl commands.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.

use std::borrow::Cow;
use std::io::Write;

use anyhow::Context as _;

use super::curl::{Curl, Likeness};
use super::show::Shown;
use super::written::Written;
use crate::diagnose::outcome::Meaning;
use crate::exchange::{MadeBy, Octets, Outcome, Phase, chain};
use crate::recording::{Recording, Row};
use crate::terminal::json;
use crate::terminal::plain;
use crate::terminal::words::duration;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// What `show --json` shows, one object a line.
    Ndjson,
    /// RFC 4180, with a line of names; where a terminal shows it, without what that would obey.
    Csv { is_shown: bool },
    /// A script for sh that asks the same again, and compares.
    Curl,
}

/// Writes these exchanges of `recording`. Calls `progress` with the number of exchanges before each.
pub(super) fn write(
    (recording, rows): (&Recording, &[&Row]),
    out: &mut dyn Write,
    style: Style,
    mut progress: impl FnMut(usize),
) -> anyhow::Result<Written> {
    let mut written = Written::default();
    let meaning = Meaning::of(recording);
    out.write_all(head(recording, style).as_bytes())?;
    for (number, row) in rows.iter().enumerate() {
        progress(number);
        let shown = match Shown::new(recording, row, &meaning) {
            Ok(shown) => shown,
            Err(error) => {
                written.lacks(format!("exchange {}: {}", row.id, chain(&*error)));
                continue;
            }
        };
        let line = match style {
            Style::Ndjson => json::line(&shown.json())?,
            Style::Csv { is_shown: false } => record(&shown),
            Style::Csv { is_shown: true } => plain_lines(&record(&shown)),
            Style::Curl => command(&shown, &mut written),
        };
        let path = recording.dir().display();
        out.write_all(line.as_bytes())
            .with_context(|| format!("cannot export {path}"))?;
        written.entries += 1;
    }
    if style == Style::Curl {
        out.write_all(b"exit \"$differ\"\n")?;
    }
    Ok(written)
}

fn head(recording: &Recording, style: Style) -> String {
    match style {
        Style::Ndjson => String::new(),
        Style::Csv { .. } => line(&COLUMNS.map(Cow::from)),
        Style::Curl => {
            let (id, started) = (&recording.manifest().id, &recording.manifest().started);
            let head = format!("what recording {id} of {started} asked");
            SCRIPT.replace("WHAT", &plain(&head))
        }
    }
}

/// The columns of the CSV; names and units are those of the JSON.
const COLUMNS: [&str; 26] = [
    "id",
    "run",
    "connection",
    "started",
    "started_us",
    "method",
    "url",
    "host",
    "kind",
    "module",
    "version",
    "status",
    "outcome",
    "blocked_us",
    "dns_us",
    "connect_us",
    "tls_us",
    "send_us",
    "wait_us",
    "receive_us",
    "total_us",
    "own_us",
    "body_bytes",
    "body_sha256",
    "traceparent",
    "why",
];

fn record(shown: &Shown<'_>) -> String {
    let listed = &shown.listed;
    let number = |number: u64| Cow::from(number.to_string());
    let maybe = |number: Option<u64>| -> Cow<'_, str> {
        number.map(|n| n.to_string()).unwrap_or_default().into()
    };
    let mut fields: Vec<Cow<'_, str>> = vec![
        number(listed.id),
        number(listed.run.into()),
        number(listed.connection),
        shown.started.as_deref().unwrap_or_default().into(),
        number(listed.started_us.as_micros()),
        listed.method.into(),
        listed.url.into(),
        listed.host.as_str().into(),
        listed.kind.name().into(),
        listed.module.as_deref().unwrap_or_default().into(),
        listed.version.as_deref().unwrap_or_default().into(),
        maybe(listed.status.map(u64::from)),
        listed.outcome.name().into(),
    ];
    fields.extend(Phase::ALL.map(|phase| maybe(listed.phases_us[phase])));
    let digest = listed.body_sha256.map(|digest| digest.to_string());
    let why = match &shown.exchange.outcome {
        Outcome::Aborted(abort) => abort.why.as_str().into(),
        // Only our own reason phrases are more than the usual words for a status.
        Outcome::Ended(end) if end.made_by == MadeBy::Modtape => {
            let reason = end.reason.as_ref();
            reason.map(Octets::to_text).unwrap_or_default()
        }
        Outcome::InFlight | Outcome::Ended(_) => Cow::default(),
    };
    fields.extend([
        number(listed.total_us),
        number(listed.own_us),
        number(listed.body_bytes),
        digest.unwrap_or_default().into(),
        shown.traceparent.as_str().into(),
        why,
    ]);
    line(&fields)
}

fn plain_lines(record: &str) -> String {
    plain(record.trim_end()).into_owned() + "\r\n"
}

/// One record (RFC 4180).
fn line(fields: &[Cow<'_, str>]) -> String {
    let fields: Vec<_> = fields.iter().map(|value| quoted(&inert(value))).collect();
    fields.join(",") + "\r\n"
}

/// A spreadsheet takes what begins with these for a formula, and runs it, whatever invisible stands
/// before: so an apostrophe comes first, and before an apostrophe too, so that whoever wants the value
/// can take the first one away. The wide forms are those of East Asian keyboards.
fn inert(value: &str) -> Cow<'_, str> {
    let bare = value.trim_start_matches(is_unseen);
    let is_formula = bare.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if is_formula || value.starts_with(['\t', '\r', '\n', '\'']) {
        return format!("'{value}").into();
    }
    value.into()
}

fn is_unseen(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}');
    is_format || c.is_whitespace() || c.is_control()
}

fn quoted(value: &str) -> String {
    if value.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", value.replace('"', "\"\""));
    }
    value.to_owned()
}

/// What the script begins with. `ask ID STATUS SHA256 ARGUMENTS…` asks once.
const SCRIPT: &str = include_str!("lines/ask.sh");

/// Comments, then the command; only comments where nothing can be asked.
fn command(shown: &Shown<'_>, written: &mut Written) -> String {
    let listed = &shown.listed;
    let mut text = format!("\n# #{} {}\n", listed.id, plain(&listed.what));
    let phases: Vec<_> = listed.phases_us.iter().collect();
    if !phases.is_empty() {
        let phases = phases
            .iter()
            .map(|(phase, us)| format!("{phase} {}", duration(*us)));
        let phases: Vec<_> = phases.collect();
        let total = duration(listed.total_us);
        text.push_str(&format!("# {total}: {}\n", phases.join(", ")));
    }
    let begin = &shown.exchange.begin;
    let curl = match Curl::of(begin, shown.opened, Likeness::Exact) {
        Ok(curl) => curl,
        Err(error) => {
            let why = chain(&*error);
            written.lacks(format!("exchange {}: {why}", listed.id));
            return format!("{text}# not asked: {}\n", plain(&why));
        }
    };
    written.unprintable += curl.unprintable;
    for left_out in &curl.left_out {
        text.push_str(&format!("# {}\n", plain(left_out)));
    }
    let Some(status) = listed.status else {
        return format!("{text}# it had no answer:\n# curl -sS{}\n", curl.arguments);
    };
    let whole = shown.exchange.end().is_some() && begin.method != "HEAD";
    let digest = listed
        .body_sha256
        .filter(|_| whole && listed.body_bytes > 0);
    let digest = digest.map_or_else(|| String::from("-"), |digest| digest.to_string());
    format!(
        "{text}ask {} {status} {digest}{}\n",
        listed.id, curl.arguments
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_made_inert_and_can_be_had_back() {
        let fields = [
            "=1+1",
            "a,b",
            "say \"hi\"",
            "two\nlines",
            "'quoted",
            "-2",
            "plain",
        ];
        assert_eq!(
            line(&fields.map(Cow::from)),
            "'=1+1,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",''quoted,'-2,plain\r\n"
        );
    }
}
