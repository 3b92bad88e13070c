//! What holds for any HAR: for a fuzz target and its twin in the tests.

use std::collections::HashSet;

use super::har::{entries, survey};
use crate::exchange::{Ending, Target};
use crate::recording::format::{Event, Record};
use crate::recording::reader::scan::LINE_LIMIT;

/// Any file is a HAR, each of whose entries is an exchange or is left out by name, or it is a named
/// error itself; what comes of an entry fits into a journal and is read back as it was.
pub fn har(bytes: &[u8]) {
    let survey = match survey(bytes) {
        Ok(survey) => survey,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut ids = HashSet::new();
    let mut last = 0;
    let files = |name: &str| Some(name.as_bytes().to_vec());
    let read = entries(bytes, &survey, &files, |number, imported| {
        last += 1;
        assert_eq!(number, last);
        if let Ok(imported) = imported {
            let exchange = imported.exchange;
            assert!(Target::of_url(&exchange.begin.url).is_some());
            assert!(ids.insert(exchange.begin.id), "an id comes twice");
            let at = exchange.started;
            assert!(at.as_micros() < 1 << 53, "no calendar holds it");
            written(at, Event::Begin(exchange.begin));
            match exchange.ending {
                Ending::InFlight => {}
                Ending::Aborted(abort) => written(at, Event::Abort(abort)),
                Ending::Ended(end) => written(at, Event::End(end)),
            }
        }
        true
    });
    read.expect("it was read before");
    assert_eq!(last, survey.entries);
}

fn written(at: crate::clock::Timestamp, event: Event) {
    let record = Record {
        seq: 1,
        t_us: at,
        event,
    };
    let line = record.to_line();
    assert!((line.len() as u64) < LINE_LIMIT, "it is longer than a line");
    let read = Record::parse_line(line.strip_suffix(b"\n").unwrap_or(&line));
    assert_eq!(read.expect("it can be read"), record);
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_har_gives_exchanges_or_named_errors() {
        crate::hostile::twin("har", 400, super::har);
    }
}
