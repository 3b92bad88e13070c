//! What an origin answers in two ways at once is told, and passed to nobody.

use modtape::exchange::MadeBy;

use super::*;

/// Answers `/bad` with these bytes, and everything else plainly.
fn origin(bytes: Vec<u8>) -> RawOrigin {
    RawOrigin::start(move |asked| match asked.starts_with(b"GET /bad ") {
        true => vec![Step::send(&bytes)],
        false => vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
    })
}

/// Name, the origin's bytes.
fn odd() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "CL and TE",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "TE and CL",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "two CLs",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc",
        ),
        (
            "CL list",
            "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        ),
        (
            "signed CL",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        ),
        (
            "two CLs of a 304",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\n",
        ),
        (
            "TE of two codings",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "TE identity",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
        ),
        (
            "TE twice",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "CL with an underscore",
            "HTTP/1.1 200 OK\r\nContent_Length: 9\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "TE in HTTP/1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "101",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nsmuggled",
        ),
        (
            "NUL",
            "HTTP/1.1 200 OK\r\nX: y\0\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "bare CR",
            "HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "fold of no field",
            "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "folded length",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n 3\r\n\r\nabc",
        ),
        (
            "space before colon",
            "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
        ),
        (
            "space before the colon of TE",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "tab before colon",
            "HTTP/1.1 200 OK\r\nX\t: y\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "no name",
            "HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 3\r\n\r\nabc",
        ),
        ("HTTP/0.9", "abc"),
    ]
}

#[tokio::test]
async fn an_ambiguous_answer_is_a_502_that_says_so() {
    let mut failed = Vec::new();
    for (name, bytes) in odd() {
        // Behind it stands what would answer the next request.
        let next = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
        let origin = origin([bytes.as_bytes(), next.as_bytes()].concat());
        let mut inside = inside(&origin).await;
        let mut client = raw(&inside, Alpn::Http1).await;
        let ask = |path| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.send(ask("/bad")).await.expect("the proxy reads");
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if !answer.starts_with("HTTP/1.1 502 ") || answer.contains("smuggled") {
            failed.push(format!("{name}: {answer:?}"));
        }
        let recording = inside.finish().await;
        let [exchange] = &exchanges(&recording)[..] else {
            panic!("{name}: not one exchange");
        };
        if exchange.end().map(|end| end.made_by) != Some(MadeBy::Modtape) {
            failed.push(format!("{name}: {exchange:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_answers_nobody() {
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    let origin = origin([two, smuggled].concat().into_bytes());
    let inside = inside(&origin).await;
    let mut client = raw(&inside, Alpn::Http1).await;
    let ask = |path| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    // Both at once: the second must not find the surplus lying there.
    client
        .send(ask("/bad") + &ask("/next"))
        .await
        .expect("the proxy reads");
    let first = client.read_head().await.expect("an answer");
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    client.shutdown().await.expect("the proxy is there");
    let (rest, _) = client.read_to_end().await;
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(
        rest.starts_with("ok") && !rest.contains("smuggled"),
        "{rest}"
    );
}

#[tokio::test]
async fn what_is_plain_is_framed_anew() {
    for (bytes, body, length) in [
        (
            "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
            "abc",
            Some("3"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            Some("3"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
            "abc",
            None,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            Some("3"),
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: X-Hop, Content-Type\r\nX-Hop: y\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            Some("3"),
        ),
    ] {
        let origin = origin(bytes.as_bytes().to_vec());
        let inside = inside(&origin).await;
        let hello = inside.hello(HOST).alpn(Alpn::Http1);
        let mut session = Client::session(inside.proxy, &hello).await;
        let answer = session.get("/bad").await.expect("an answer");
        assert!(
            answer.is_whole_ok() && answer.text() == body,
            "{bytes}: {answer:?}"
        );
        let lengths = answer.headers.get_all("content-length").iter();
        let lengths: Vec<_> = lengths
            .map(|value| value.to_str().expect("digits"))
            .collect();
        assert_eq!(lengths, Vec::from_iter(length), "{bytes}");
        for gone in ["x-hop", "proxy-authenticate", "x"] {
            assert_eq!(answer.header(gone), None, "{bytes}");
        }
    }
}
