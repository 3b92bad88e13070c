//! One row for each exchange: NDJSON for programs, CSV for spreadsheets.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::source::{Format, Item};
use crate::diagnose::outcome::Listed;
use crate::exchange::{Abort, Begin, ByteString, End, Ending, MadeBy, Opened, Phase};
use crate::shell::{escape_json, plain};

/// Which keys the JSON has, and what they mean (docs/formats.md): grows when one goes or changes.
const SCHEMA: u32 = 1;

/// NDJSON that is being written: what `show --json` shows, one object a line.
pub(crate) struct Ndjson<W: Write> {
    out: BufWriter<W>,
    lines: u64,
}

impl<W: Write> Ndjson<W> {
    pub(crate) fn begin(out: W) -> Self {
        let out = BufWriter::new(out);
        Self { out, lines: 0 }
    }
}

impl<W: Write> Format for Ndjson<W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        let json = escape_json(serde_json::to_string(&item.json())?);
        self.out.write_all(json.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.lines += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.lines)
    }
}

impl Item<'_> {
    /// What `show --json` shows: the fields of `ls --json`, and these.
    pub(crate) fn json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct Whole<'a> {
            schema: u32,
            #[serde(flatten)]
            listed: &'a Listed<'a>,
            what: String,
            started: Option<String>,
            traceparent: String,
            opened: Option<&'a Opened>,
            #[serde(skip_serializing_if = "Option::is_none")]
            connection_note: Option<&'a str>,
            request: &'a Begin,
            response: Option<&'a End>,
            abort: Option<&'a Abort>,
        }
        Whole {
            schema: SCHEMA,
            listed: &self.listed,
            what: self.listed.what(),
            started: self.started(),
            traceparent: self.traceparent(),
            opened: self.dial,
            connection_note: self.connection_note,
            request: &self.exchange.begin,
            response: self.exchange.end(),
            abort: self.abort(),
        }
    }
}

/// CSV that is being written (RFC 4180), with a line of names.
pub(crate) struct Csv<W: Write> {
    out: BufWriter<W>,
    /// Whether a terminal shows it, which obeys control characters.
    is_shown: bool,
    records: u64,
}

impl<W: Write> Csv<W> {
    pub(crate) fn begin(out: W, is_shown: bool) -> io::Result<Self> {
        let mut out = BufWriter::new(out);
        out.write_all(line(&COLUMNS.map(Cow::from)).as_bytes())?;
        Ok(Self {
            out,
            is_shown,
            records: 0,
        })
    }
}

impl<W: Write> Format for Csv<W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        let mut record = record(item);
        if self.is_shown {
            record = plain(record.trim_end()).into_owned() + "\r\n";
        }
        self.records += 1;
        self.out.write_all(record.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.records)
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

fn record(item: &Item<'_>) -> String {
    let listed = &item.listed;
    let number = |number: u64| Cow::from(number.to_string());
    let maybe = |number: Option<u64>| -> Cow<'_, str> {
        number.map(|n| n.to_string()).unwrap_or_default().into()
    };
    let mut fields: Vec<Cow<'_, str>> = vec![
        number(listed.id),
        number(listed.run.into()),
        number(listed.connection),
        item.started().unwrap_or_default().into(),
        number(listed.started_us.as_micros()),
        listed.method.into(),
        listed.url.into(),
        listed.host.as_str().into(),
        listed.route.kind.name().into(),
        listed.route.module.as_deref().unwrap_or_default().into(),
        listed.route.version.as_deref().unwrap_or_default().into(),
        maybe(listed.status.map(u64::from)),
        listed.outcome.name().into(),
    ];
    fields.extend(Phase::ALL.map(|phase| maybe(listed.phases_us[phase])));
    let digest = listed.body_sha256.map(|digest| digest.to_string());
    let why = match &item.exchange.ending {
        Ending::Aborted(abort) => abort.why.as_str().into(),
        // Only our own reason phrases are more than the usual words for a status.
        Ending::Ended(end) if end.made_by == MadeBy::Modtape => {
            let reason = end.reason.as_ref();
            reason.map(ByteString::to_text).unwrap_or_default()
        }
        Ending::InFlight | Ending::Ended(_) => Cow::default(),
    };
    fields.extend([
        number(listed.total_us),
        number(listed.own_us),
        number(listed.body_bytes),
        digest.unwrap_or_default().into(),
        item.traceparent().into(),
        why,
    ]);
    line(&fields)
}

/// One record (RFC 4180).
fn line(fields: &[Cow<'_, str>]) -> String {
    let fields: Vec<_> = fields.iter().map(|value| quoted(&inert(value))).collect();
    fields.join(",") + "\r\n"
}

/// A spreadsheet takes what begins with these for a formula, and runs it, whatever invisible stands
/// before: so an apostrophe comes first, and before an apostrophe too, so that a reader who wants the value
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
