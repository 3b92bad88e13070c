//! What a run adds to its recording while it answers from it: the journal's own lines, read as they come.
//!
//! Nothing but places in the journal is kept in memory; an answer is read again, and verified, when it is asked
//! for.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use super::Hit;
use super::index::exact_key;
use crate::clock::Timestamp;
use crate::exchange::{Digest, Ending, Exchange, ExchangeId, MadeBy, field};
use crate::files::open_regular;
use crate::recording::Recording;
use crate::recording::format::{Event, JOURNAL, Record};
use crate::recording::reader::Span;

/// The answers that were recorded since.
#[derive(Debug)]
pub(crate) struct Added {
    journal: File,
    // A std Mutex: held while what is new of the journal is read, never across an await.
    read: Mutex<Read>,
}

/// What was read.
#[derive(Debug, Default)]
struct Read {
    /// Behind the last whole line.
    offset: u64,
    /// Requests without an answer: what each asks for, but for its body.
    begun: HashMap<ExchangeId, (String, Span)>,
    /// The last answer to each question.
    answered: HashMap<String, Place>,
}

/// Where an exchange stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    begin: Span,
    end: Span,
    /// When its end was written, by the clock of the run that added it.
    at: Timestamp,
}

/// An answer that was added.
#[derive(Debug)]
pub(crate) struct AddedAnswer {
    /// The answer.
    pub(crate) hit: Hit,
    /// When it was whole, by the clock of the run that added it.
    pub(crate) at: Timestamp,
}

/// What is asked for: method and URL without secrets, whether credentials come with it, and the digest of what
/// is sent.
pub(crate) fn question(
    method: &str,
    url: &str,
    has_credentials: bool,
    sent: Option<Digest>,
) -> String {
    let mut question = exact_key(method, url);
    if has_credentials {
        question.push_str(" authorised");
    }
    with_body(question, sent)
}

fn with_body(question: String, sent: Option<Digest>) -> String {
    match sent {
        Some(digest) => format!("{question} {digest}"),
        None => question,
    }
}

impl Added {
    /// What will stand behind all that is in the journal of `recording` now.
    pub(crate) fn to(recording: &Recording) -> io::Result<Self> {
        let journal = open_regular(&recording.dir().join(JOURNAL))?;
        let read = Read {
            offset: journal.metadata()?.len(),
            ..Read::default()
        };
        Ok(Self {
            journal,
            read: Mutex::new(read),
        })
    }

    /// The last whole answer of an origin to a question, as [`question`] has it.
    pub(crate) fn find(&self, question: &str) -> io::Result<Option<AddedAnswer>> {
        let place = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.go_on(&self.journal)?;
            read.answered.get(question).copied()
        };
        let Some(Place { begin, end, at }) = place else {
            return Ok(None);
        };
        let exchange = match (self.record(begin)?, self.record(end)?) {
            (
                Some(Record {
                    t_us,
                    event: Event::Begin(begin),
                    ..
                }),
                Some(Record {
                    event: Event::End(end),
                    ..
                }),
            ) => Exchange {
                started: t_us,
                begin,
                ending: Ending::Ended(end),
            },
            _ => return Ok(None),
        };
        let hit = Hit {
            exchange,
            cut: None,
        };
        Ok(Some(AddedAnswer { hit, at }))
    }

    fn record(&self, span: Span) -> io::Result<Option<Record>> {
        let mut line = vec![0; usize::try_from(span.len).map_err(io::Error::other)?];
        self.journal.read_exact_at(&mut line, span.offset)?;
        Ok(Record::parse_line(&line).ok())
    }
}

impl Read {
    /// Reads the whole lines that were added.
    fn go_on(&mut self, journal: &File) -> io::Result<()> {
        let len = journal.metadata()?.len().saturating_sub(self.offset);
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        journal.read_exact_at(&mut bytes, self.offset)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |last| last + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let span = Span {
                offset: self.offset,
                len: line.len() as u64 - 1,
            };
            self.offset += line.len() as u64;
            // What does not verify is told when the recording is opened.
            if let Ok(record) = Record::parse_line(&line[..line.len() - 1]) {
                self.take(span, record);
            }
        }
        Ok(())
    }

    fn take(&mut self, span: Span, record: Record) {
        match record.event {
            Event::Open(_) => self.begun.clear(),
            Event::Begin(begin) => {
                let has_credentials = field(&begin.headers, "authorization").is_some();
                let question = question(&begin.method, &begin.url, has_credentials, None);
                self.begun.insert(begin.id, (question, span));
            }
            Event::End(end) => {
                let Some((key, begin)) = self.begun.remove(&end.id) else {
                    return;
                };
                if end.made_by == MadeBy::Origin {
                    let place = Place {
                        begin,
                        end: span,
                        at: record.t_us,
                    };
                    let sent = end.request_body.map(|body| body.sha256);
                    self.answered.insert(with_body(key, sent), place);
                }
            }
            Event::Abort(abort) => drop(self.begun.remove(&abort.id)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::recording::format::State;
    use crate::recording::sample;

    #[test]
    fn an_answer_is_found_as_soon_as_its_line_is_whole_and_the_last_one_counts() {
        let temp = tempfile::tempdir().unwrap();
        sample::write(temp.path(), &sample::journal(), State::Closed);
        let recording = Recording::open(temp.path()).unwrap();
        let added = Added::to(&recording).unwrap();
        let rows = recording.rows();
        let row = rows.iter().find(|row| row.status == Some(200)).unwrap();
        let asked = question(&row.method, &row.url, false, None);
        assert!(added.find(&asked).unwrap().is_none(), "only what is new");
        let mut journal = std::fs::OpenOptions::new();
        let path = temp.path().join(JOURNAL);
        let mut journal = journal.append(true).open(path).unwrap();
        let again = sample::journal();
        let half = again.len() - 3;
        journal.write_all(&again[..half]).unwrap();
        let found = added.find(&asked).unwrap().unwrap();
        let before = recording.exchange(row).unwrap();
        assert_eq!(found.hit.exchange, before);
        journal.write_all(&again[half..]).unwrap();
        assert!(added.find(&asked).unwrap().is_some());
        assert!(added.find("GET https://other.example/").unwrap().is_none());
    }
}
