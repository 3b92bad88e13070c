//! What is given to whom, of recordings written for the purpose.

use std::fs;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Body as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::clock::Timestamp;
use crate::exchange::{Body, ByteString, Fields, Hex};
use crate::recording::format::{Event, JOURNAL, Record};
use crate::recording::reader::body::body_path;

/// The URL of everything that is asked for once.
const ZIP: &str = "https://proxy.golang.org/a.b/c/@v/v1.0.0.zip";

/// Exchanges to be recorded.
struct Book {
    dir: TempDir,
    events: Vec<Event>,
}

impl Book {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        check::manifest(dir.path());
        let events = vec![check::open()];
        Self { dir, events }
    }

    /// Adds a GET request with these fields and its answer.
    fn with(self, url: &str, asked: &[(&str, &str)], status: u16) -> Self {
        self.with_body(url, asked, status, None)
    }

    fn with_body(
        mut self,
        url: &str,
        asked: &[(&str, &str)],
        status: u16,
        bytes: Option<&[u8]>,
    ) -> Self {
        let id = self.events.len() as u64;
        let (mut begin, mut end) = (check::begin(id, "GET", url), check::end(id, None));
        if let (Event::Begin(begin), Event::End(end)) = (&mut begin, &mut end) {
            begin.headers = fields(asked);
            end.status = status;
            end.body = bytes.map(|bytes| self.stored(bytes));
        }
        self.events.extend([begin, end]);
        self
    }

    fn stored(&self, bytes: &[u8]) -> Body {
        let sha256 = Hex(Sha256::digest(bytes).into());
        let path = body_path(self.dir.path(), sha256);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        Body {
            sha256,
            bytes: bytes.len() as u64,
            inline: None,
            kept: true,
        }
    }

    fn replay(&self) -> Replay {
        let lines = (1..).zip(&self.events).map(|(seq, event)| {
            let t_us = Timestamp::from_micros(seq);
            let event = event.clone();
            Record { seq, t_us, event }.to_line()
        });
        let journal = lines.collect::<Vec<_>>().concat();
        fs::write(self.dir.path().join(JOURNAL), journal).unwrap();
        let recording = Recording::open_whole(self.dir.path()).unwrap();
        assert_eq!(recording.damage(), []);
        Replay::new(recording, "again".into())
    }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| ((*name).to_owned(), ByteString::from(*value));
    pairs.iter().map(field).collect()
}

/// The status of the answer to a GET request with these fields; 0 for a miss.
fn status(replay: &Replay, url: &str, asked: &[(&str, &str)]) -> u16 {
    let conditions = Conditions::recorded(&fields(asked));
    match replay.find("GET", url, &conditions) {
        Ok(hit) => hit.exchange.status().unwrap_or_default(),
        Err(AnswerError::Miss(_)) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Plays to the end: how many bytes came, and whether it broke off.
fn played(mut played: Played) -> (usize, bool) {
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = 0;
    loop {
        match Pin::new(&mut played).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, bytes::Bytes::len),
            Poll::Ready(Some(Err(_))) => return (bytes, true),
            Poll::Ready(None) => return (bytes, false),
            Poll::Pending => panic!("a file is always ready"),
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_a_miss_and_no_hit() {
    let large = vec![7; 9 << 20];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&large).unwrap();
    let gzip = gzip.finish().unwrap();
    let rows = [
        ("whole", &large[..], None, false, ""),
        ("altered", &large[..], Some(1 << 20), false, "was altered"),
        ("whole gzip", &gzip[..], None, true, ""),
        (
            "gzip that ends early",
            &gzip[..gzip.len() / 2],
            None,
            true,
            "damaged",
        ),
    ];
    for (name, bytes, flipped, is_decoded, why) in rows {
        let book = Book::new().with_body(ZIP, &[], 200, Some(bytes));
        if let Some(at) = flipped {
            let mut altered = bytes.to_vec();
            altered[at] ^= 1;
            let sha256 = Hex(Sha256::digest(bytes).into());
            fs::write(body_path(book.dir.path(), sha256), altered).unwrap();
        }
        let replay = book.replay();
        let hit = replay.find("GET", ZIP, &Conditions::default()).unwrap();
        let reader = replay.body(&hit).unwrap().unwrap();
        let bytes = bytes.len() as u64;
        let body = match is_decoded {
            true => Played::decoded(reader, None),
            false => Played::new(reader, bytes, None),
        };
        assert_eq!(replay.hits(), 1, "{name}: on its way");
        let (came, broke_off) = played(body.on(replay.account(&hit)));
        let misses = replay.misses();
        if why.is_empty() {
            assert_eq!((came, broke_off), (large.len(), false), "{name}");
            assert_eq!((replay.hits(), misses.total()), (1, 0), "{name}");
        } else {
            assert!(broke_off, "{name}");
            assert_eq!((replay.hits(), misses.total()), (0, 1), "{name}");
            let miss = &misses.distinct()[0];
            assert_eq!(miss.what, "zip a.b/c v1.0.0");
            let instead = miss.instead.as_deref().unwrap();
            assert!(instead.contains(why), "{name}: {instead}");
        }
    }
}

#[test]
fn an_answer_to_a_condition_is_for_those_who_set_it() {
    let etag = [("If-None-Match", "\"a\"")];
    let other = [("If-None-Match", "\"b\"")];
    let range = [("Range", "bytes=0-9")];
    let whole_then_same = Book::new()
        .with(ZIP, &[], 200)
        .with(ZIP, &etag, 304)
        .replay();
    for _ in 0..3 {
        assert_eq!(status(&whole_then_same, ZIP, &[]), 200);
    }
    assert_eq!(status(&whole_then_same, ZIP, &etag), 304);
    assert_eq!(status(&whole_then_same, ZIP, &other), 200);
    assert_eq!(status(&whole_then_same, ZIP, &range), 200);
    assert_eq!(status(&whole_then_same, ZIP, &[]), 200, "still");

    let first_conditional = Book::new()
        .with(ZIP, &etag, 304)
        .with(ZIP, &[], 200)
        .replay();
    assert_eq!(status(&first_conditional, ZIP, &[]), 200);
    assert_eq!(status(&first_conditional, ZIP, &etag), 304);

    let only_same = Book::new().with(ZIP, &etag, 304).replay();
    assert_eq!(
        status(&only_same, ZIP, &other),
        304,
        "nothing else is known"
    );
    assert_eq!(status(&only_same, ZIP, &[]), 0);
    let misses = only_same.misses();
    let instead = misses.distinct()[0].instead.as_deref().unwrap();
    assert!(instead.contains("conditional"), "{instead}");

    for part in [206, 416] {
        let only_part = Book::new().with(ZIP, &range, part).replay();
        assert_eq!(status(&only_part, ZIP, &[]), 0);
        assert_eq!(status(&only_part, ZIP, &[("range", "bytes=10-19")]), 0);
        assert_eq!(status(&only_part, ZIP, &range), part);
        let elsewhere = ZIP.replace("proxy.golang.org", "goproxy.corp/api/go");
        assert_eq!(status(&only_part, &elsewhere, &range), 0);
    }
}

#[test]
fn where_a_redirect_led_only_the_whole_is_given_to_anybody() {
    let from = "https://proxy.golang.org/a.b/c/@v/v1.0.1.zip";
    let to = "https://storage.corp/z?Signature=1";
    let mut book = Book::new();
    let id = book.events.len() as u64;
    book.events
        .extend([check::begin(id, "GET", from), check::end(id, Some(to))]);
    let range = [("range", "bytes=0-9")];
    let replay = book.with(to, &[], 200).with(to, &range, 206).replay();
    let signed_anew = "https://storage.corp/z?X=2";
    assert_eq!(status(&replay, signed_anew, &[]), 200);
    assert_eq!(status(&replay, signed_anew, &range), 206);
}

#[test]
fn what_one_host_lacked_another_is_not_said_to_lack() {
    let [a, b, c] =
        ["a.corp", "b.corp", "c.corp"].map(|host| format!("https://{host}/a.b/c/@v/list"));
    for absent in [404, 410, 500] {
        let replay = Book::new()
            .with(&a, &[], absent)
            .with(&b, &[], 200)
            .replay();
        for _ in 0..2 {
            assert_eq!(status(&replay, &c, &[]), 200, "{absent}");
        }
        assert_eq!(status(&replay, &a, &[]), absent, "as it was recorded");
    }
    // No host had it, so no host has it in a replay, and go asks the next one as it did.
    let replay = Book::new().with(&a, &[], 404).with(&b, &[], 410).replay();
    assert_eq!(status(&replay, &c, &[]), 404);
    // That a host failed says nothing about another.
    let replay = Book::new().with(&a, &[], 500).replay();
    assert_eq!(status(&replay, &c, &[]), 0);
}

#[test]
fn what_was_given_to_credentials_is_given_without_them_and_the_order_stays() {
    let with = [("Authorization", "Basic redacted:0123456789abcdef")];
    let without = [];
    /// Whether it was asked with credentials, and the status.
    type Answered = (bool, u16);
    let rows: &[(&[Answered], &[u16])] = &[
        (&[(false, 401), (true, 200)], &[200, 200]),
        (&[(false, 407), (false, 200)], &[200, 200]),
        (&[(false, 404), (true, 200)], &[200, 200]),
        (&[(false, 401), (true, 404)], &[404, 404]),
        (
            &[
                (false, 401),
                (true, 401),
                (true, 200),
                (false, 401),
                (true, 302),
            ],
            &[200, 302, 302],
        ),
        // Nobody got anything else, or not afterwards.
        (&[(false, 401), (true, 401)], &[401, 401]),
        (&[(true, 200), (true, 401)], &[200, 401, 401]),
        // It was not there, and then it was: credentials have no part in it.
        (&[(false, 404), (false, 200)], &[404, 200, 200]),
        (&[(true, 404), (true, 200)], &[404, 200, 200]),
        (&[(true, 200), (false, 404)], &[200, 404, 404]),
    ];
    for (recorded, expected) in rows {
        let url = "https://git.corp/a/info/refs?service=git-upload-pack";
        let record = |book: Book, (is_allowed, status): &Answered| {
            let asked: &[(&str, &str)] = if *is_allowed { &with } else { &without };
            book.with(url, asked, *status)
        };
        let replay = recorded.iter().fold(Book::new(), record).replay();
        let given: Vec<_> = expected.iter().map(|_| status(&replay, url, &[])).collect();
        assert_eq!(given, *expected, "{recorded:?}");
    }
}

#[test]
fn a_redirect_leads_on_from_where_it_was_asked() {
    let from = "https://proxy.golang.org/a.b/c/@v/v1.0.1.zip";
    for to in [
        "/store/z?Signature=1",
        "//proxy.golang.org/store/z?a",
        "../../../store/z",
    ] {
        let mut book = Book::new();
        let id = book.events.len() as u64;
        book.events
            .extend([check::begin(id, "GET", from), check::end(id, Some(to))]);
        let stored = "https://proxy.golang.org/store/z?Expires=1";
        let replay = book.with(stored, &[], 200).replay();
        let signed_anew = "https://proxy.golang.org/store/z?Expires=2";
        assert_eq!(status(&replay, signed_anew, &[]), 200, "{to}");
    }
}
