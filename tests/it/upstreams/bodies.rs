//! Answers of every shape pass unchanged; those that end short are not taken for whole.

use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use modtape::exchange::ByteString;

use super::*;

const SHAPES: [&str; 10] = [
    "/plain",
    "/gzip",
    "/chunked",
    "/empty",
    "/moved",
    "/unchanged",
    "/missing",
    "/gone",
    "/teapot",
    "/large",
];

fn shapes() -> Origin {
    Origin::builder(marked())
        .rule(
            Rule::suffix("/plain")
                .status(200)
                .body(MARK)
                .header("x-twice", "1")
                .header("x-twice", "2"),
        )
        .rule(
            Rule::suffix("/gzip")
                .status(200)
                .body(MARK.repeat(99))
                .gzip(),
        )
        .rule(
            Rule::suffix("/chunked")
                .status(200)
                .generated(70_000)
                .chunked(),
        )
        .rule(Rule::suffix("/empty").status(200).body(""))
        .rule(Rule::suffix("/moved").redirect("https://storage.googleapis.com/x?y=z"))
        .rule(
            Rule::suffix("/unchanged")
                .status(304)
                .header("etag", "\"x\"")
                .body(""),
        )
        .rule(Rule::suffix("/gone").status(410).body("not found: gone\n"))
        .rule(
            Rule::suffix("/teapot")
                .status(418)
                .header("x-latin", b"caf\xe9")
                .body("short"),
        )
        .rule(Rule::suffix("/large").status(200).generated(200_000))
        .start()
}

fn request(session: &Session, method: &Method, path: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = session.request(path);
    *request.method_mut() = method.clone();
    request
}

/// The origin's own answer, without a proxy.
async fn direct(origin: &Origin, alpn: Alpn) -> Session {
    let hello = Hello::new(HOST, origin.root_pem_path()).alpn(alpn);
    let client = Client::open(origin.addr())
        .await
        .handshake(&hello)
        .await
        .expect("a handshake");
    client.into_session().await.expect("HTTP begins")
}

/// Without what each connection says anew.
fn lasting(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove("date");
    headers.remove("transfer-encoding");
    headers
}

#[tokio::test]
async fn an_answer_passes_as_it_would_without_us() {
    let origin = shapes();
    let recorder = Recorder::to(&origin, &[]);
    let mut seen = Vec::new();
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let mut through = session(&recorder, alpn).await;
        let mut direct = direct(&origin, alpn).await;
        for method in [Method::GET, Method::HEAD] {
            for path in SHAPES {
                let asked = format!("{alpn:?} {method} {path}");
                let ours = through
                    .send(request(&through, &method, path))
                    .await
                    .expect(&asked);
                let theirs = direct
                    .send(request(&direct, &method, path))
                    .await
                    .expect(&asked);
                assert_eq!(ours.status, theirs.status, "{asked}");
                assert_eq!(ours.version, theirs.version, "{asked}");
                assert_eq!(lasting(&ours.headers), lasting(&theirs.headers), "{asked}");
                assert_eq!(ours.body_sha256, theirs.body_sha256, "{asked}");
                assert_eq!(
                    (&ours.ended, &theirs.ended),
                    (&Ended::Clean, &Ended::Clean),
                    "{asked}"
                );
                seen.push((asked, method == Method::GET, ours));
            }
        }
    }
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    assert_eq!(exchanges.len(), seen.len());
    for (exchange, (asked, is_get, answer)) in exchanges.iter().zip(&seen) {
        let end = exchange
            .end()
            .unwrap_or_else(|| panic!("{asked} {exchange:?}"));
        assert_eq!(
            (end.status, end.made_by),
            (answer.status, MadeBy::Origin),
            "{asked}"
        );
        let body = end.body.as_ref().map(|body| body.sha256.to_string());
        let expected = (*is_get && answer.status != 304).then(|| answer.body_sha256.clone());
        assert_eq!(body, expected, "{asked}");
    }
}

#[tokio::test]
async fn trailers_pass_and_are_recorded() {
    let origin = Origin::builder(marked())
        .rule(Rule::any().body(MARK).trailer("x-checksum", "abc"))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    let answer = session(&recorder, Alpn::Http2)
        .await
        .get("/a")
        .await
        .expect("an answer");
    let trailers = answer.trailers.expect("there are trailers");
    assert_eq!(
        trailers.get("x-checksum").map(|value| value.as_bytes()),
        Some(&b"abc"[..])
    );
    let recorded = recorder.finish().await;
    let expected = (String::from("x-checksum"), ByteString(b"abc".to_vec()));
    assert_eq!(
        recorded.only().end().expect("it ended").trailers,
        [expected]
    );
}

#[tokio::test]
async fn a_body_that_ends_short_is_cut_and_recorded_as_aborted() {
    const SENT: u64 = 60_000;
    let long = || Rule::suffix("/length").status(200).generated(100_000);
    let chunked = || {
        Rule::suffix("/chunked")
            .status(200)
            .generated(100_000)
            .chunked()
    };
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let origin = Origin::builder(marked())
            .rule(long().short(SENT))
            .rule(chunked().short(SENT))
            .start();
        let recorder = Recorder::to(&origin, &[]);
        for path in ["/length", "/chunked"] {
            let answer = session(&recorder, alpn)
                .await
                .get(path)
                .await
                .expect("a head");
            assert_eq!(
                (answer.status, answer.body_bytes),
                (200, SENT),
                "{alpn:?} {path}"
            );
            assert!(matches!(answer.ended, Ended::Cut(_)), "{alpn:?} {path}");
        }
        let recorded = recorder.finish().await;
        for exchange in recorded.exchanges() {
            assert_aborted(&exchange, SENT);
        }
    }
}

#[tokio::test]
async fn a_small_body_that_ends_short_is_cut_too() {
    // Small bodies are gathered before the head leaves.
    let rule = Rule::any().body(vec![b'x'; 1000]).short(400);
    let origin = Origin::builder(marked()).rule(rule).start();
    let recorder = Recorder::to(&origin, &[]);
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let answer = session(&recorder, alpn)
            .await
            .get("/a")
            .await
            .expect("a head");
        assert_eq!((answer.status, answer.body_bytes), (200, 400), "{alpn:?}");
        assert!(matches!(answer.ended, Ended::Cut(_)), "{alpn:?}");
    }
    let recorded = recorder.finish().await;
    for exchange in recorded.exchanges() {
        assert_aborted(&exchange, 400);
    }
}

/// The bound on the recorder's memory, whatever the size of a body: 40 MiB less what a release build has of
/// its own file.
const RSS_LIMIT_KIB: u64 = 24 << 10;

#[tokio::test]
async fn fifty_megabytes_pass_in_little_memory() {
    const BYTES: u64 = 50_000_000;
    let rule = Rule::any().generated(BYTES);
    let origin = Origin::builder(marked()).rule(rule).start();
    let recorder = Recorder::to(&origin, &[]);
    let digest = generated_sha256(BYTES);
    let before = recorder.peak_rss_kib();
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let answer = session(&recorder, alpn)
            .await
            .get("/a")
            .await
            .expect("a head");
        assert_eq!(
            (answer.body_bytes, &answer.ended),
            (BYTES, &Ended::Clean),
            "{alpn:?}"
        );
        assert_eq!(answer.body_sha256, digest, "{alpn:?}");
    }
    let peak = recorder.peak_rss_kib();
    eprintln!("peak RSS {before} KiB before, {peak} KiB after");
    assert!(peak < RSS_LIMIT_KIB, "{peak} KiB");
    let recorded = recorder.finish().await;
    for exchange in recorded.exchanges() {
        let body = exchange
            .end()
            .and_then(|end| end.body.clone())
            .expect("it ended");
        assert_eq!(
            (body.bytes, body.sha256.to_string()),
            (BYTES, digest.clone())
        );
        let mut read = recorded.recording.body(&body).expect("it is kept");
        let count = std::io::copy(&mut read, &mut std::io::sink()).expect("it verifies");
        assert_eq!(count, BYTES);
    }
}
