//! Upstreams whose TLS fails: the client leg is completed, and every request gets our reason.

use modtape::exchange::{DialFailure, Mode};

use super::*;

/// What is wrong with the upstream of each host, and a word that must be in our reason.
const BAD: [(&str, Leaf, &str); 5] = [
    ("expired.example", Leaf::Expired, "expired on "),
    ("early.example", Leaf::NotYetValid, "is not valid before"),
    ("other.example", Leaf::WrongHost, "is not for the name"),
    ("self.example", Leaf::SelfSigned, "self-signed"),
    ("stranger.example", Leaf::UnknownCa, "unknown issuer"),
];

/// A recorder that intercepts the hosts, and their origin, which would serve `MARK`.
fn bad_origin() -> (Origin, Recorder) {
    let rule = Rule::any().status(200).body(MARK);
    let mut origin = Origin::builder(marked()).rule(rule);
    for (host, leaf, _) in BAD {
        origin = origin.handshake(Handshake::host(host).leaf(leaf));
    }
    for (host, broken) in [
        ("gone.example", Handshake::host("gone.example").hang_up()),
        ("reset.example", Handshake::host("reset.example").reset()),
    ] {
        assert!(HOSTS.contains(host));
        origin = origin.handshake(broken);
    }
    let origin = origin.start();
    let recorder = Recorder::to(&origin, &["--intercept", HOSTS]);
    (origin, recorder)
}

const HOSTS: &str = "expired.example,early.example,other.example,self.example,stranger.example,\
                     gone.example,reset.example";

#[tokio::test]
async fn an_upstream_that_cannot_be_verified_passes_no_byte() {
    let (origin, recorder) = bad_origin();
    let mut answers = Vec::new();
    for (host, _, word) in BAD {
        for alpn in [Alpn::Http1, Alpn::Http2, Alpn::Silent] {
            let hello = recorder.hello(host).alpn(alpn);
            let mut session = Client::session(recorder.proxy(), &hello).await;
            let answer = session.get("/a").await.expect("an answer of ours");
            assert_ours(&answer, 502, &format!("TLS with {host}"));
            assert!(answer.text().contains(word), "{}", answer.text());
            session.closed().await;
            answers.push((host, answer));
        }
    }
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    assert_eq!(exchanges.len(), answers.len());
    for ((exchange, (host, answer)), opened) in
        exchanges.iter().zip(&answers).zip(recorded.opened())
    {
        assert_recorded_as_ours(exchange, answer);
        assert_eq!(exchange.begin.url, format!("https://{host}/a"));
        assert_eq!(opened.mode, Mode::Intercept);
        let reason = match *host {
            "expired.example" => DialFailure::TlsExpired,
            "early.example" => DialFailure::TlsNotYetValid,
            "other.example" => DialFailure::TlsWrongName,
            _ => DialFailure::TlsUnknownAuthority,
        };
        assert_eq!(opened.reason, Some(reason), "{host}");
        let error = opened.error.expect("it failed");
        assert_eq!(answer.text(), format!("modtape: {error}\n"));
        assert!(
            opened.tls_us.is_some(),
            "the handshake took its time all the same"
        );
    }
    assert_eq!(origin.requests().len(), 0, "nothing was asked of them");
    assert_eq!(
        origin.connections(),
        answers.len(),
        "and no other way was tried"
    );
}

#[tokio::test]
async fn an_upstream_that_breaks_off_its_handshake_is_named() {
    let (origin, recorder) = bad_origin();
    for host in ["gone.example", "reset.example"] {
        let mut session = recorder.session(host).await;
        let answer = session.get("/a").await.expect("an answer of ours");
        assert_ours(&answer, 502, &format!("TLS with {host}: "));
        session.closed().await;
    }
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    assert!(
        exchanges
            .iter()
            .all(|exchange| exchange.status() == Some(502)),
        "{exchanges:?}"
    );
    for opened in recorded.opened() {
        assert_eq!(opened.reason, Some(DialFailure::TlsClosed), "{opened:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn every_request_of_an_unverified_connection_is_answered_with_the_reason() {
    let (origin, recorder) = bad_origin();
    let host = "expired.example";
    let hello = recorder.hello(host).alpn(Alpn::Http2);
    let mut one = Client::session(recorder.proxy(), &hello).await;
    let mut two = one.fork();
    let (one, two) = tokio::join!(one.get("/a"), two.get("/b"));
    for answer in [one, two].into_iter().flatten() {
        assert_ours(&answer, 502, "expired");
    }
    let recorded = recorder.finish().await;
    assert!(
        recorded
            .exchanges()
            .iter()
            .all(|exchange| exchange.status() == Some(502))
    );
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn the_same_upstream_is_verified_by_the_name_that_the_client_asked_for() {
    // CONNECT names one host and the ClientHello another: the second is verified and minted.
    let origin = Origin::builder(Content::files([((HOST, "/a"), (200, "text/plain", MARK))]))
        .handshake(Handshake::host(HOST))
        .start();
    let recorder = Recorder::to(&origin, &["--intercept", HOSTS]);
    let client = Client::open(recorder.proxy()).await;
    let connected = client.connect("expired.example:443", &[]).await;
    let client = connected
        .client
        .handshake(&recorder.hello(HOST))
        .await
        .expect("a handshake");
    let mut session = client.into_session().await.expect("HTTP begins");
    let answer = session.get("/a").await.expect("an answer");
    assert_eq!((answer.status, &answer.text()[..]), (200, MARK));
    drop(session);
    recorder.finish().await.only();
}

#[tokio::test]
async fn an_upstream_that_wants_a_certificate_says_so_to_the_first_request() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let origin = RawOrigin::start_wanting_certificate(alpn);
        let everywhere = format!("--connect-to=::127.0.0.1:{}", origin.addr().port());
        let recorder = Recorder::trusting(origin.root_pem_path(), &[&everywhere]);
        let mut asking = session(&recorder, alpn).await;
        // By the time that another one has come up the upstream has long refused the first.
        let unused = session(&recorder, alpn).await;
        let answer = asking.get("/a").await.expect("an answer of ours");
        assert_ours(&answer, 502, HOST);
        drop((asking, unused));
        let recorded = recorder.finish().await;
        assert_recorded_as_ours(&recorded.only(), &answer);
        // The upstream is gone behind its alert: over HTTP/2 our own words may find that first.
        if alpn == Alpn::Http1 {
            let text = answer.text();
            assert!(text.contains("certificate_required"), "{text}");
            let rows = recorded.recording.connections();
            let why = rows.filter_map(|row| Some(row.closed.as_ref()?.why.clone()));
            let told = why.filter(|why| why.contains("certificate_required"));
            assert_eq!(told.count(), 1);
        }
    }
}
