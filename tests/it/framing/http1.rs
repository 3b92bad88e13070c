//! HTTP/1 inside CONNECT and TLS, in raw bytes, to an origin that keeps raw bytes.

use modtape::exchange::MadeBy;

use super::http1_rows::{honest, hostile, with};
use super::oracle::{self, Seen};
use super::*;

/// What becomes of a hostile request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 400, and nothing of it passes.
    Refused,
    /// 431, and nothing of it passes.
    TooLarge,
    /// 421, and nothing of it passes.
    Misdirected,
    /// Its head passes, its body ends where it becomes malformed, and the connection with it.
    Cut,
    /// It passes, written anew without what was wrong with it.
    Mended,
}

/// Rows of a long extension and of folded trailers: their exchange alone says why.
const CUT_BY_HYPER: usize = 2;

/// Follows whatever was sent, and ends the connection.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: proxy.golang.org\r\nConnection: close\r\n\r\n";

/// Answers each request; what comes as a body alone, or looks like a request in one, is only kept.
/// A body's end and the next head may well come in one read.
fn origin() -> RawOrigin {
    RawOrigin::start(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let requests = text.split("\r\n").filter(|line| {
            let is_request = line.starts_with("GET /") || line.starts_with("POST /");
            is_request && line.ends_with(" HTTP/1.1") && !line.contains("/smuggled")
        });
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        requests.map(|_| Step::send(answer)).collect()
    })
}

/// Sends a row's bytes with its number in its paths; all that came back.
async fn send(inside: &Inside, row: usize, bytes: &[u8]) -> String {
    let mut client = raw(inside, Alpn::Http1).await;
    let bytes = numbered(row, bytes);
    // The proxy may have ended the connection before it took all of this.
    drop(client.send(bytes).await);
    let (answer, _) = client.read_to_end().await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn numbered(row: usize, bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.extend_from_slice(LAST.as_bytes());
    let mut out = Vec::new();
    let mut rest = &all[..];
    while let Some(first) = rest.first() {
        let name = ["/hostile", "/second", "/last"].into_iter();
        match name.clone().find(|name| rest.starts_with(name.as_bytes())) {
            Some(name) => {
                out.extend_from_slice(format!("{name}-{row}").as_bytes());
                rest = &rest[name.len()..];
            }
            None => {
                out.push(*first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// What the origin saw on all its connections.
fn seen(origin: &RawOrigin) -> Seen {
    let mut all = Seen::default();
    for log in origin.received() {
        let one = oracle::http1(&log);
        all.breaches.extend(one.breaches);
        all.targets.extend(one.targets);
    }
    all
}

async fn honest_client_is_served(inside: &Inside) {
    let hello = inside.hello(HOST).alpn(Alpn::Http1);
    let mut session = Client::session(inside.proxy, &hello).await;
    let answer = session.get("/honest").await.expect("an answer");
    assert!(answer.is_whole_ok() && answer.body == b"ok", "{answer:?}");
}

#[tokio::test]
async fn no_hostile_request_reaches_the_origin() {
    let origin = origin();
    let mut inside = inside(&origin).await;
    let rows = hostile();
    assert!(rows.len() >= 60, "{}", rows.len());
    let (mut failed, mut refused) = (Vec::new(), 0);
    for (row, (name, bytes, fate)) in rows.iter().enumerate() {
        let answer = send(&inside, row, bytes).await;
        let is_right = match fate {
            Fate::Refused => answer.starts_with("HTTP/1.1 400 "),
            Fate::TooLarge => answer.starts_with("HTTP/1.1 431 "),
            Fate::Misdirected => answer.starts_with("HTTP/1.1 421 "),
            // The origin's answer, ours, or none: whoever was faster.
            Fate::Cut => true,
            Fate::Mended => answer.matches("HTTP/1.1 200 OK").count() == 2,
        };
        if !is_right {
            failed.push(format!("{name}: {answer:?}"));
        }
        // What the handler refuses has a text.
        let has_text = answer.contains("modtape: ");
        let is_refused = matches!(fate, Fate::Refused | Fate::TooLarge) && !has_text;
        refused += usize::from(is_refused);
    }
    honest_client_is_served(&inside).await;
    let seen = seen(&origin);
    for target in &seen.targets {
        let (name, row) = target.rsplit_once('-').unwrap_or((target, ""));
        let fate = row.parse().ok().map(|row: usize| rows[row].2);
        let may = match fate {
            Some(Fate::Cut) => name == "/hostile",
            Some(Fate::Misdirected) => name == "/last",
            Some(Fate::Mended) => name == "/hostile" || name == "/last",
            Some(Fate::Refused | Fate::TooLarge) => false,
            None => target == "/honest",
        };
        if !may {
            failed.push(format!("the origin was asked for {target}"));
        }
    }
    failed.extend(seen.breaches);
    let recording = inside.finish().await;
    let exchanges = exchanges(&recording);
    let ours = exchanges.iter().filter_map(|exchange| {
        let end = exchange.end()?;
        let is_ours = matches!(end.status, 400 | 421 | 431) && end.made_by == MadeBy::Modtape;
        is_ours.then_some(&exchange.begin)
    });
    let ours: Vec<_> = ours.collect();
    let answered = rows
        .iter()
        .filter(|row| !matches!(row.2, Fate::Cut | Fate::Mended))
        .count();
    assert!(ours.len() >= answered, "{} of {answered}", ours.len());
    for begin in ours {
        let url = url::Url::parse(&begin.url)
            .ok()
            .filter(|url| url.host().is_some());
        assert!(url.is_some(), "{begin:?}");
    }
    let whys = whys(&recording);
    let named = whys
        .iter()
        .filter(|why| why.contains("a request was refused: "));
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(named.count(), refused, "{whys:#?}");
    let noted = exchanges.iter().filter(|exchange| {
        let mut notes = exchange.end().into_iter().flat_map(|end| &end.notes);
        notes.any(|note| note.contains("a request was refused: "))
    });
    assert_eq!(noted.count(), refused);
    let cut = rows.iter().filter(|row| row.2 == Fate::Cut).count();
    let named = whys
        .iter()
        .filter(|why| why.contains("a request body was refused: "));
    assert_eq!(named.count(), cut - CUT_BY_HYPER, "{whys:#?}");
}

#[tokio::test]
async fn every_plain_request_reaches_the_origin() {
    let origin = origin();
    let inside = inside(&origin).await;
    let mut failed = Vec::new();
    for (row, (name, bytes, targets)) in honest().iter().enumerate() {
        let answer = send(&inside, row, bytes).await;
        let answers = answer.matches("HTTP/1.1 200 OK\r\n").count();
        if answers != targets.len() + 1 {
            failed.push(format!("{name}: {answer:?}"));
        }
        let seen = seen(&origin).targets;
        for target in targets.iter().chain(&["/last"]) {
            let target = format!("{target}-{row}");
            if seen.iter().filter(|seen| **seen == target).count() != 1 {
                failed.push(format!("{name}: {target} not once in {seen:?}"));
            }
        }
    }
    failed.extend(seen(&origin).breaches);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_oracle_sees_what_a_raw_relay_would_let_through() {
    let unseen = hostile().into_iter().filter(|(_, bytes, _)| {
        let log = [bytes, LAST.as_bytes()].concat();
        let seen = oracle::http1(&log);
        let is_extra = seen.targets.iter().any(|target| target == "/smuggled");
        seen.breaches.is_empty() && !is_extra
    });
    let unseen: Vec<_> = unseen.map(|(name, ..)| name).collect();
    // Limits are ours alone: no parser reads these in two ways.
    let mut expected = vec!["101 fields", "a head past its limit"];
    expected.retain(|name| unseen.contains(name));
    assert_eq!(unseen, expected);
}

#[tokio::test]
async fn a_refused_request_is_answered_after_what_came_before() {
    let origin = origin();
    let mut inside = inside(&origin).await;
    let bad = with("Content-Length: 1\r\nContent-Length: 2\r\n", "ab");
    let both = [
        &b"GET /first HTTP/1.1\r\nHost: proxy.golang.org\r\n\r\n"[..],
        &bad,
    ]
    .concat();
    // In one piece, and cut where the bad head is not whole.
    for cut in [both.len(), both.len() - 10, 60] {
        let mut client = raw(&inside, Alpn::Http1).await;
        client.send(&both[..cut]).await.expect("the proxy reads");
        let first = client.read_head().await.expect("an answer");
        assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
        assert_eq!(client.read_exactly(2).await.expect("a body"), b"ok");
        client.send(&both[cut..]).await.expect("the proxy reads");
        let (answer, ended) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer);
        let head = "HTTP/1.1 400 Bad Request\r\n";
        assert!(answer.starts_with(head), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        ended.expect("a proper end, not a reset");
    }
    let whys = whys(&inside.finish().await);
    let why = "a request was refused: Content-Length stands twice";
    assert_eq!(whys, [why; 3]);
}

#[tokio::test]
async fn the_refusal_is_not_lost_to_what_was_sent_behind_it() {
    let origin = origin();
    let inside = inside(&origin).await;
    let mut client = raw(&inside, Alpn::Http1).await;
    let behind = vec![b'x'; 300_000];
    let all = [&b"GET / HTTP/1.1\nHost: x\n\n"[..], &behind].concat();
    client.send(all).await.expect("the proxy reads on");
    let (answer, ended) = client.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    ended.expect("a proper end, not a reset");
}

#[tokio::test]
async fn plain_requests_are_guarded_too() {
    let origin = origin();
    let inside = inside(&origin).await;
    for (bytes, status) in [
        (
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
            400,
        ),
        ("GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", 400),
        ("GET http://b@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET http://a.test/ HTTP/1.1\nHost: a.test\n\n", 400),
        (
            "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
    ] {
        let mut client = Client::open(inside.proxy).await;
        client.send(bytes).await.expect("the proxy reads");
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{bytes}: {answer}"
        );
    }
    assert_eq!(origin.received(), Vec::<Vec<u8>>::new());
    let mut client = Client::open(inside.proxy).await;
    let ask = "GET http://a.test/b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    client.send(ask).await.expect("the proxy reads");
    let (answer, _) = client.read_to_end().await;
    assert!(answer.ends_with(b"\r\n\r\nok"), "{answer:?}");
}

/// go writes a query as it is given, and curl a path too; go's server takes all of it.
#[tokio::test]
async fn a_target_that_is_not_encoded_passes_encoded() {
    let origin = origin();
    let mut inside = inside(&origin).await;
    let rows: [(&[u8], &str); 6] = [
        (b"/a<b>`c", "/a%3Cb%3E%60c"),
        (b"/a?q=<b>\"c\"`", "/a?q=%3Cb%3E%22c%22`"),
        (b"/\xc3\xbc?\xc3\xbc", "/%C3%BC?%C3%BC"),
        (b"/\xff", "/%FF"),
        (b"https://proxy.golang.org/a<b", "/a%3Cb"),
        (b"/%3Ca%zz", "/%3Ca%zz"),
    ];
    let head = |target: &[u8]| {
        [
            b"GET ",
            target,
            b" HTTP/1.1\r\nHost: proxy.golang.org\r\n\r\n",
        ]
        .concat()
    };
    let all: Vec<u8> = rows.iter().flat_map(|(raw, _)| head(raw)).collect();
    // In one write, and in two that part a head.
    for cut in [all.len(), 7, 90] {
        let mut client = raw(&inside, Alpn::Http1).await;
        for part in [&all[..cut], &all[cut..]] {
            client.send(part).await.expect("the proxy reads");
        }
        client.send(LAST).await.expect("the proxy reads");
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(
            answer.matches("HTTP/1.1 200 OK").count(),
            rows.len() + 1,
            "{answer}"
        );
    }
    let expected: Vec<_> = rows.iter().map(|(_, encoded)| *encoded).collect();
    let seen = seen(&origin).targets;
    let seen: Vec<_> = seen.iter().filter(|target| *target != "/last").collect();
    assert_eq!(seen.len(), 3 * rows.len());
    assert!(
        seen.chunks(rows.len()).all(|one| one == expected),
        "{seen:?}"
    );
    let recording = inside.finish().await;
    let urls: Vec<_> = exchanges(&recording)
        .into_iter()
        .map(|exchange| exchange.begin.url)
        .collect();
    assert_eq!(urls[0], "https://proxy.golang.org/a%3Cb%3E%60c");
}
