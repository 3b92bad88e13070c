//! A script of curl commands that asks the same again, and compares.

mod command;

use std::io::{self, BufWriter, Write};
use std::time::Duration;

pub(crate) use self::command::{Curl, Likeness};
use super::source::{Format, Item, Source};
use crate::shell::plain;

/// A script for sh that is being written.
pub(crate) struct Script<'a, W: Write> {
    out: BufWriter<W>,
    source: &'a Source<'a>,
    exchanges: u64,
}

impl<'a, W: Write> Script<'a, W> {
    pub(crate) fn begin(out: W, source: &'a Source<'a>) -> io::Result<Self> {
        let mut out = BufWriter::new(out);
        let (id, started) = (&source.manifest().id, &source.manifest().started);
        let head = format!("what recording {id} of {started} asked");
        out.write_all(SCRIPT.replace("WHAT", &plain(&head)).as_bytes())?;
        Ok(Self {
            out,
            source,
            exchanges: 0,
        })
    }
}

impl<W: Write> Format for Script<'_, W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.exchanges += 1;
        self.out.write_all(command(item, self.source).as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.out.write_all(b"exit \"$differ\"\n")?;
        self.out.flush()?;
        Ok(self.exchanges)
    }
}

/// What the script begins with. `ask ID STATUS SHA256 ARGUMENTS…` asks once.
const SCRIPT: &str = include_str!("ask.sh");

/// Comments, then the command; only comments where nothing can be asked.
fn command(item: &Item<'_>, source: &Source<'_>) -> String {
    let listed = &item.listed;
    let mut text = format!("\n# #{} {}\n", listed.id, plain(&listed.what));
    let phases: Vec<_> = listed.phases_us.iter().collect();
    if !phases.is_empty() {
        let phases = phases
            .iter()
            .map(|(phase, us)| format!("{phase} {:?}", Duration::from_micros(*us)));
        let phases: Vec<_> = phases.collect();
        let total = Duration::from_micros(listed.total_us);
        text.push_str(&format!("# {total:?}: {}\n", phases.join(", ")));
    }
    let begin = &item.exchange.begin;
    let curl = match Curl::of(begin, item.dial, Likeness::Exact) {
        Ok(curl) => curl,
        Err(error) => {
            source.lacks(format!("exchange {}: {error}", listed.id));
            return format!("{text}# not asked: {}\n", plain(&error.to_string()));
        }
    };
    source.lacks_fields(curl.unprintable);
    for left_out in &curl.left_out {
        text.push_str(&format!("# {}\n", plain(left_out)));
    }
    let Some(status) = listed.status else {
        return format!("{text}# it had no answer:\n# curl -sS{}\n", curl.arguments);
    };
    let whole = item.exchange.end().is_some() && begin.method != "HEAD";
    let digest = listed
        .body_sha256
        .filter(|_| whole && listed.body_bytes > 0);
    let digest = digest.map_or_else(|| String::from("-"), |digest| digest.to_string());
    format!(
        "{text}ask {} {status} {digest}{}\n",
        listed.id, curl.arguments
    )
}
