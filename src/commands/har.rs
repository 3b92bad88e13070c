//! A recording as the exchanges of a HAR: read one by one, with the bodies that are wanted.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.
//! Never keeps more than one exchange in memory, nor a body of more than 8 MiB.

use std::io::{self, BufWriter, Read as _, Write};

use anyhow::Context as _;

use super::written::{Written, error_text, opens};
use crate::cli;
use crate::diagnose::outcome::{Listed, Meaning};
use crate::exchange::{Body, ExchangeId, Fields, chain};
use crate::export::har;
use crate::export::source::{Bodies, Content, Item, Page, What};
use crate::export::stored::Stored;
use crate::gomod::Kind;
use crate::recording::reader::BodyError;
use crate::recording::{Recording, Row};

impl From<cli::Bodies> for Bodies {
    fn from(bodies: cli::Bodies) -> Self {
        match bodies {
            cli::Bodies::All => Self::All,
            cli::Bodies::Small => Self::Small,
            cli::Bodies::None => Self::None,
        }
    }
}

/// The latest start that an exchange of any real recording has: 285 years.
const LATEST_US: u64 = 1 << 53;

/// Writes these exchanges of `recording` as a HAR. Calls `progress` with the number of exchanges
/// before each one.
pub(super) fn write(
    (recording, rows): (&Recording, &[&Row]),
    out: impl Write,
    bodies: Bodies,
    mut progress: impl FnMut(usize),
) -> anyhow::Result<Written> {
    let mut written = Written::default();
    let opens = opens(recording, &mut written);
    let manifest = recording.manifest();
    let pages = opens.iter().map(|open| Page { manifest, open });
    let pages: Vec<_> = pages.collect();
    let meaning = Meaning::of(recording);
    let rows = rows.iter().enumerate();
    let items = rows.filter_map(|(number, row)| {
        progress(number);
        item(recording, row, &meaning, bodies, &mut written)
    });
    let items = items.map(Ok::<_, std::convert::Infallible>);
    let out = BufWriter::with_capacity(1 << 16, out);
    let entries = har::write(out, &pages, items, bodies)
        .with_context(|| format!("cannot export {}", recording.dir().display()))?;
    written.entries = entries;
    Ok(written)
}

fn what(listed: Listed<'_>) -> What {
    What {
        kind: (listed.kind != Kind::Other).then(|| listed.kind.to_string()),
        module: listed.module,
        version: listed.version,
    }
}

/// One exchange with what its entry shows, or `None` and a word in `written`.
fn item(
    recording: &Recording,
    row: &Row,
    meaning: &Meaning,
    bodies: Bodies,
    written: &mut Written,
) -> Option<Item> {
    let id = row.id;
    if row.started.as_micros() > LATEST_US {
        written.lacks(format!("exchange {id}: its start is not a time"));
        return None;
    }
    let exchange = match recording.exchange(row) {
        Ok(exchange) => exchange,
        Err(error) => {
            written.lacks(format!("exchange {id}: {}", chain(&error)));
            return None;
        }
    };
    let connection = recording.connection_in(row.run, row.connection);
    let listed = meaning.list(row);
    let mut load = |body, headers| content((recording, id), body, headers, bodies, written);
    Some(Item {
        run: usize::try_from(row.run).unwrap_or(usize::MAX),
        connection: connection
            .and_then(|connection| connection.dial_of(&row.url, row.until()))
            .cloned(),
        fate: listed.outcome,
        what: what(listed),
        request_body: load(exchange.request_body(), None),
        body: load(
            exchange.end().and_then(|end| end.body.as_ref()),
            exchange.end().map(|end| &end.headers),
        ),
        exchange,
    })
}

/// A body as far as it is wanted; `headers` are those of a response, which name its coding.
fn content(
    (recording, id): (&Recording, ExchangeId),
    body: Option<&Body>,
    headers: Option<&Fields>,
    bodies: Bodies,
    written: &mut Written,
) -> Content {
    let Some(body) = body else {
        return Content::LeftOut;
    };
    if let Some(content) = Content::without_file(body, bodies) {
        written.not_kept += u64::from(content == Content::NotKept);
        return content;
    }
    let is_small = Bodies::Small.takes(body.bytes);
    let content = match is_small {
        true => octets(recording, body).map(Content::Octets),
        false => stored(recording, body, headers).map(Content::Stored),
    };
    match content {
        Ok(content) => content,
        Err(why) => {
            written.lacks(format!("a body of exchange {id}: {why}"));
            Content::Missing(why)
        }
    }
}

/// All octets of a body, verified, or why not.
fn octets(recording: &Recording, body: &Body) -> Result<Vec<u8>, String> {
    let mut reader = recording
        .body(body)
        .map_err(|error: BodyError| chain(&error))?;
    let mut octets = Vec::new();
    match reader.read_to_end(&mut octets) {
        Ok(_) => Ok(octets),
        Err(error) => Err(error_text(&error)),
    }
}

/// A body that is read twice and never held, verified each time; or why not.
fn stored(recording: &Recording, body: &Body, headers: Option<&Fields>) -> Result<Stored, String> {
    let open = recording.body_opener(body);
    let open = move || -> io::Result<Box<dyn io::Read>> {
        let reader = open().map_err(io::Error::other)?;
        Ok(Box::new(reader))
    };
    Stored::read(open, headers).map_err(|error| error_text(&error))
}
