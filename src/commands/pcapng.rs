//! A recording as a packet capture: exchanges and bodies are read when their turn comes.
//!
//! From closed, unfinished and damaged recordings alike: what cannot be read is left out and named.

use std::io::{self, Read, Write};

use anyhow::Context as _;

use super::written::{Written, error_text, opens};
use crate::exchange::{Body, Exchange, chain};
use crate::export::pcapng::{self, Capture, Source};
use crate::export::source::Bodies;
use crate::recording::{Recording, Row};

/// Writes these exchanges of `recording` as pcapng; `entries` counts exchanges. Calls `progress` with the number of
/// exchanges before each one.
pub(super) fn write(
    (recording, rows): (&Recording, &[&Row]),
    out: impl Write,
    bodies: Bodies,
    progress: impl FnMut(usize),
) -> anyhow::Result<Written> {
    let mut written = Written::default();
    let opens = opens(recording, &mut written);
    let connections: Vec<_> = recording.connections_by_run().collect();
    let bases = crate::gomod::bases(&recording.manifest().go_env);
    let capture = Capture {
        manifest: recording.manifest(),
        runs: &opens,
        rows,
        connections: &connections,
        bases: &bases,
        redirects: &recording.redirects(),
        bodies,
    };
    let mut reading = Reading {
        recording,
        written,
        begun: 0,
        progress,
    };
    pcapng::write(out, &capture, &mut reading)
        .with_context(|| format!("cannot export {}", recording.dir().display()))?;
    Ok(reading.written)
}

/// Reads what the capture asks for, and notes what could not be read.
struct Reading<'a, P> {
    recording: &'a Recording,
    written: Written,
    begun: usize,
    progress: P,
}

impl<P: FnMut(usize)> Source for Reading<'_, P> {
    fn exchange(&mut self, row: &Row) -> Option<Exchange> {
        (self.progress)(self.begun);
        self.begun += 1;
        match self.recording.exchange(row) {
            Ok(exchange) => {
                self.written.entries += 1;
                Some(exchange)
            }
            Err(error) => {
                let (id, why) = (row.id, chain(&error));
                self.written.lacks(format!("exchange {id}: {why}"));
                None
            }
        }
    }

    fn body(&mut self, row: &Row, body: &Body) -> Option<Box<dyn Read>> {
        match self.recording.body(body) {
            Ok(reader) => Some(Box::new(reader)),
            Err(error) => {
                let (id, why) = (row.id, chain(&error));
                self.written
                    .lacks(format!("a body of exchange {id}: {why}"));
                None
            }
        }
    }

    fn broke(&mut self, row: &Row, error: &io::Error) {
        let (id, why) = (row.id, error_text(error));
        self.written
            .lacks(format!("a body of exchange {id}: {why}"));
    }
}
