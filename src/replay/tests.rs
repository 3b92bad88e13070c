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

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::*;
use crate::cli::{Answers, Instant};
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

/// A replay of the same that answers as these options say.
fn answering(book: &Book, answers: Answers, as_of: Option<&str>) -> Replay {
    let recording = book.replay().recording;
    let as_of = as_of.map(|text| Instant {
        at: OffsetDateTime::parse(text, &Rfc3339).unwrap(),
        text: text.into(),
    });
    let answers = Some(answers);
    Replay::answering(recording, "again".into(), Options { answers, as_of })
}

/// Status, fields and content of the answer to a request.
fn answer(replay: &Replay, method: &str, url: &str) -> (u16, Fields, String) {
    let hit = match replay.find(method, url, &Conditions::default()) {
        Ok(hit) => hit,
        Err(AnswerError::Miss(told)) => return (0, Fields::new(), told),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(hit.exchange.begin.method, method);
    let mut content = String::new();
    if let Some(mut reader) = replay.body(&hit).unwrap() {
        std::io::Read::read_to_string(&mut reader, &mut content).unwrap();
    }
    let end = hit.exchange.end().unwrap();
    (end.status, end.headers.clone(), content)
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

const HOSTS: [&str; 2] = ["https://proxy.golang.org", "https://goproxy.corp/api/go"];

/// A module proxy's files of a version, but for those named.
fn version(book: Book, module: &str, version: &str, time: &str, without: &[&str]) -> Book {
    let info = format!("{{\"Version\":\"{version}\",\"Time\":\"{time}\"}}");
    let files = [
        ("info", info.as_str()),
        ("mod", "module m\n"),
        ("zip", "PK"),
    ];
    let files = files.into_iter().filter(|(end, _)| !without.contains(end));
    files.fold(book, |book, (end, content)| {
        let url = format!("{}/{module}/@v/{version}.{end}", HOSTS[0]);
        book.with_body(&url, &[], 200, Some(content.as_bytes()))
    })
}

#[test]
fn where_any_order_is_to_pass_lists_name_what_is_whole_and_the_last_sound_answer_counts() {
    let [list, latest] = ["list", "latest"].map(|what| match what {
        "list" => format!("{}/a.b/c/@v/list", HOSTS[0]),
        _ => format!("{}/a.b/c/@latest", HOSTS[0]),
    });
    let book = Book::new()
        .with_body(&list, &[], 404, Some(b"not found"))
        .with_body(&list, &[("If-None-Match", "\"a\"")], 304, None)
        .with_body(&list, &[], 200, Some(b"v1.0.0\nv1.1.0\nv1.2.0\n"));
    let book = version(book, "a.b/c", "v1.0.0", "2020-01-01T00:00:00Z", &[]);
    let book = version(book, "a.b/c", "v1.2.0", "2022-01-01T00:00:00Z", &["zip"]);
    let other = format!("{}/d.e/f/@latest", HOSTS[1]);
    let recorded = "{\"Version\":\"v0.0.0-20220722155237-a158d28d115b\"}";
    let book = book.with_body(&other, &[], 200, Some(recorded.as_bytes()));
    let book = version(
        book,
        "d.e/f",
        "v0.0.0-20210722155237-a158d28d115b",
        "2021-07-22T15:52:37Z",
        &[],
    );

    let unified = answering(&book, Answers::Unified, None);
    for _ in 0..2 {
        let (status, fields, content) = answer(&unified, "GET", &list);
        assert_eq!((status, &*content), (200, "v1.0.0\n"));
        assert_eq!(fields.len(), 1, "no validator of another body: {fields:?}");
        assert_eq!(answer(&unified, "HEAD", &list).0, 200);
        let (status, _, content) = answer(&unified, "GET", &latest);
        assert!(status == 200 && content.contains("v1.0.0"), "{content}");
        assert_eq!(
            self::status(&unified, &list, &[("If-None-Match", "\"a\"")]),
            200
        );
    }
    // Whichever host is asked; and what is nearest to the recorded version.
    let elsewhere = list.replace(HOSTS[0], HOSTS[1]);
    assert_eq!(answer(&unified, "GET", &elsewhere).2, "v1.0.0\n");
    let (_, _, content) = answer(&unified, "GET", &other);
    assert!(content.contains("v0.0.0-20210722155237"), "{content}");
    let empty = other.replace("@latest", "@v/list");
    assert_eq!(
        answer(&unified, "GET", &empty),
        (
            200,
            fields(&[("content-type", "text/plain; charset=UTF-8")]),
            String::new()
        )
    );
    // Probes above and below what is known; and what has nothing to do with it.
    for (module, expected) in [
        ("a.b", 404),
        ("a.b/c/d", 404),
        ("d.e/f/v2", 404),
        ("a.bb", 0),
        ("a.b/cc", 0),
        ("a", 0),
    ] {
        let url = format!("{}/{module}/@v/list", HOSTS[0]);
        assert_eq!(answer(&unified, "GET", &url).0, expected, "{module}");
    }

    let faithful = answering(&book, Answers::Faithful, None);
    assert_eq!(answer(&faithful, "GET", &list).0, 404);
    assert_eq!(
        answer(&faithful, "GET", &list).2,
        "v1.0.0\nv1.1.0\nv1.2.0\n"
    );
    assert_eq!(answer(&faithful, "GET", &latest).0, 0);
    assert_eq!(answer(&faithful, "GET", &other).2, recorded);
}

#[test]
fn as_of_an_instant_what_is_younger_is_not_there() {
    let [list, latest, main] =
        ["@v/list", "@latest", "@v/main.info"].map(|file| format!("{}/a.b/c/{file}", HOSTS[0]));
    let book = Book::new().with_body(
        &list,
        &[],
        200,
        Some(b"v1.0.0\nv1.1.0\nv1.2.0 2022-01-01T00:00:00Z\nv1.3.0\n"),
    );
    let book = version(book, "a.b/c", "v1.0.0", "2020-01-01T00:00:00Z", &["zip"]);
    let book = version(book, "a.b/c", "v1.2.0", "2022-01-01T00:00:00Z", &[]);
    let book = version(book, "a.b/c", "v1.3.0", "2023-01-01T00:00:00Z", &[]);
    let commits = [
        "2022-06-01T00:00:00Z",
        "2021-06-01T00:00:00+02:00",
        "2023-06-01T00:00:00Z",
    ];
    let commit = |book: Book, time: &&str| {
        let version = time[..10].replace('-', "");
        let info = format!(
            "{{\"Version\":\"v1.2.1-0.{version}000000-a158d28d115b\",\"Time\":\"{time}\"}}"
        );
        book.with_body(&main, &[], 200, Some(info.as_bytes()))
    };
    let book = commits.iter().fold(book, commit);
    let rows = [
        ("2019-01-01T00:00:00Z", "", "", ""),
        ("2020-01-01T00:00:00Z", "v1.0.0\n", "v1.0.0", ""),
        ("2021-05-31T22:00:00Z", "v1.0.0\n", "v1.0.0", "20210601"),
        (
            "2022-01-01T01:00:00+01:00",
            "v1.0.0\nv1.2.0 2022-01-01T00:00:00Z\n",
            "v1.2.0",
            "20210601",
        ),
        (
            "2022-12-31T23:59:59Z",
            "v1.0.0\nv1.2.0 2022-01-01T00:00:00Z\n",
            "v1.2.0",
            "20220601",
        ),
        (
            "2026-01-15T00:00:00Z",
            "v1.0.0\nv1.2.0 2022-01-01T00:00:00Z\nv1.3.0\n",
            "v1.3.0",
            "20230601",
        ),
    ];
    for (instant, listed, newest, of_main) in rows {
        let recording = book.replay().recording;
        let at = OffsetDateTime::parse(instant, &Rfc3339).unwrap();
        let as_of = Some(Instant {
            at,
            text: "that day".into(),
        });
        let then = Replay::answering(
            recording,
            "again".into(),
            Options {
                answers: None,
                as_of,
            },
        );
        let unified = answering(&book, Answers::Unified, Some(instant));
        assert_eq!(answer(&then, "GET", &list).2, listed, "{instant}");
        let whole: String = ["v1.2.0", "v1.3.0"]
            .iter()
            .filter(|version| listed.contains(*version))
            .map(|version| format!("{version}\n"))
            .collect();
        assert_eq!(answer(&unified, "GET", &list).2, whole, "{instant}");
        for (url, expected) in [(&latest, newest), (&main, of_main)] {
            let (status, _, told) = answer(&then, "GET", url);
            assert_eq!(
                status,
                if expected.is_empty() { 0 } else { 200 },
                "{instant}"
            );
            let expected = if expected.is_empty() {
                "(as of that day: no "
            } else {
                expected
            };
            assert!(told.contains(expected), "{instant} {url}: {told}");
        }
        // What is asked for by its version is there.
        let exact = format!("{}/a.b/c/@v/v1.3.0.info", HOSTS[0]);
        assert_eq!(answer(&then, "GET", &exact).0, 200);
    }
}

#[test]
fn a_slash_inside_an_element_is_none_between_elements() {
    let [plain, inner, version] = [
        "a.b/c/@v/list",
        "a.b%2Fc/@v/list",
        "a.b/c/@v/v1.0.0%2Fx.mod",
    ]
    .map(|path| format!("{}/{path}", HOSTS[0]));
    let other = format!("{}/a.b/c/@v/v1.0.0/x.mod", HOSTS[0]);
    let book = Book::new().with(&plain, &[], 200).with(&other, &[], 200);
    for answers in [Answers::Unified, Answers::Faithful] {
        let replay = answering(&book, answers, None);
        assert_eq!(answer(&replay, "GET", &plain).0, 200);
        for url in [&inner, &version] {
            assert_eq!(answer(&replay, "GET", url).0, 0, "{url}");
        }
    }
    let replay = Book::new().with(&inner, &[], 200).replay();
    assert_eq!(status(&replay, &inner.replace("%2F", "%2f"), &[]), 200);
    assert_eq!(status(&replay, &plain, &[]), 0);
}

#[test]
fn credentials_in_a_query_are_no_part_of_what_is_asked_unless_they_tell_requests_apart() {
    let url = |query: &str| format!("https://store.corp/z.zip{query}");
    /// Queries with the statuses that they were given.
    type Recorded = &'static [(&'static str, u16)];
    let rows: &[(Recorded, &str, u16)] = &[
        // The same request by another who has credentials, or none.
        (
            &[("?X-Amz-Signature=a&part=1", 200)],
            "?X-Amz-Signature=b&part=1",
            200,
        ),
        (&[("?X-Amz-Signature=a&part=1", 200)], "?part=1", 200),
        (
            &[("?X-Amz-Signature=a&part=1", 200)],
            "?X-Amz-Signature=a&part=2",
            0,
        ),
        (
            &[("?X-Amz-Signature=a&part=1", 200)],
            "?X-Amz-Signature=a%26part=1",
            0,
        ),
        // Who is told apart is answered apart, and nobody is guessed to be one of them.
        (&[("?token=a", 200), ("?token=b", 403)], "?token=b", 403),
        (&[("?token=a", 200), ("", 403)], "", 403),
        (&[("?token=a", 200), ("", 403)], "?token=a", 200),
        (&[("?token=a", 200), ("", 403)], "?token=c", 0),
    ];
    for (recorded, asked, expected) in rows {
        let record =
            |book: Book, (query, status): &(&str, u16)| book.with(&url(query), &[], *status);
        let replay = recorded.iter().fold(Book::new(), record).replay();
        assert_eq!(
            status(&replay, &url(asked), &[]),
            *expected,
            "{recorded:?} {asked}"
        );
    }
}
