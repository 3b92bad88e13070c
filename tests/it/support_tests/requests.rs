//! What rules do to a request, seen by a client on both versions of HTTP.

use std::time::Duration;

use http::Version;

use crate::support::*;

const HOST: &str = "proxy.golang.org";
const BODY: &[u8] = b"a body of twenty-six bytes";

#[tokio::test]
async fn a_plain_answer_is_logged_as_it_was_given() {
    for (alpn, version) in [
        (Alpn::Http2, Version::HTTP_2),
        (Alpn::Http1, Version::HTTP_11),
    ] {
        let mut stage = Stage::new(alpn, None).await;
        let response = stage.get("/M@v1%21.zip?a=b").await;
        assert!(response.is_whole_ok(), "{response:?}");
        assert_eq!(response.body, BODY);
        assert_eq!(response.header("content-length"), Some("26"));
        assert_eq!(response.header("content-type"), Some("application/zip"));
        let served = stage.served();
        assert_eq!((served.host.as_str(), served.version), (HOST, version));
        assert_eq!(
            (served.path.as_str(), served.raw_path.as_str()),
            ("/M@v1!.zip", "/M@v1%21.zip?a=b")
        );
        assert_eq!(served.status, Some(200));
        assert_eq!(
            (served.body_bytes, served.body_sha256),
            (26, Some(sha256_hex(BODY)))
        );
        assert!(served.is_complete);
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404_of_text() {
    let mut stage = Stage::new(Alpn::Both, None).await;
    let response = stage.get("/nothing").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (404, "not found: /nothing\n")
    );
}

#[tokio::test]
async fn heads_and_bodies_are_replaced() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let rule = Rule::suffix(".zip")
            .status(503)
            .header("retry-after", "7")
            .body("later");
        let response = one(alpn, rule).await;
        assert_eq!((response.status, response.text().as_str()), (503, "later"));
        assert_eq!(response.header("retry-after"), Some("7"));
        let response = one(alpn, Rule::any().redirect("https://storage.example/x")).await;
        assert_eq!(response.status, 302);
        assert_eq!(
            response.header("location"),
            Some("https://storage.example/x")
        );
        let response = one(alpn, Rule::any().gzip()).await;
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(&response.body[..2], [0x1f, 0x8b]);
    }
}

#[tokio::test]
async fn a_chunked_answer_has_no_length_and_may_have_trailers() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let response = one(alpn, Rule::any().chunked()).await;
        assert_eq!(response.header("content-length"), None);
        assert_eq!(
            (response.body.as_slice(), response.ended),
            (BODY, Ended::Clean)
        );
        let response = one(alpn, Rule::any().trailer("x-digest", "abc")).await;
        assert_eq!(
            response.trailers.expect("there are trailers")["x-digest"],
            "abc"
        );
        assert_eq!(response.ended, Ended::Clean);
    }
}

#[tokio::test]
async fn a_cut_body_is_seen_as_cut_and_logged_as_incomplete() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        for rule in [
            Rule::any().short(10),
            Rule::any().ends_early(10),
            Rule::any().content_length(30),
        ] {
            let mut stage = Stage::new(alpn, Some(rule.clone())).await;
            let response = stage.get("/m.zip").await;
            assert!(
                matches!(response.ended, Ended::Cut(_)),
                "{alpn:?} {rule:?}: {response:?}"
            );
        }
    }
    let mut stage = Stage::new(Alpn::Http2, Some(Rule::any().short(10))).await;
    assert_eq!(stage.get("/m.zip").await.body, &BODY[..10]);
    let served = stage.served();
    assert_eq!((served.body_bytes, served.is_complete), (10, false));
}

#[tokio::test]
async fn a_generated_body_is_what_its_digest_says() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let len = 3 * 1024 * 1024 + 17;
        let response = one(alpn, Rule::any().generated(len)).await;
        assert_eq!((response.body_bytes, response.ended), (len, Ended::Clean));
        assert_eq!(response.body_sha256, generated_sha256(len));
        // No two blocks of 64 KiB are alike, so a lost or repeated one changes the digest.
        assert_ne!(response.body[..65536], response.body[65536..131_072]);
    }
}

#[tokio::test]
async fn a_trickled_body_comes_whole_and_in_pieces() {
    let rule = Rule::any().trickle(5, Duration::from_millis(1));
    let stage = Stage::new(Alpn::Http2, Some(rule)).await;
    let mut session = stage.session;
    let request = session.request("/m.zip");
    let mut body = session.start(request).await.expect("a head").into_body();
    let mut pieces = Vec::new();
    while let Some(frame) = within(http_body_util::BodyExt::frame(&mut body)).await {
        pieces.push(frame.expect("a frame").into_data().expect("data").len());
    }
    assert_eq!(pieces.iter().sum::<usize>(), BODY.len());
    assert!(pieces.iter().all(|&len| len <= 5), "{pieces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_request_is_over_when_the_client_leaves() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        for (rule, status, bytes) in [
            (Rule::any().silent(), None, 0),
            (Rule::any().stall_after(10), Some(200), 10),
        ] {
            let Stage { origin, session } = Stage::new(alpn, Some(rule)).await;
            let asking = tokio::task::JoinSet::from_iter([async move {
                let mut session = session;
                session.get("/m.zip").await.map(drop)
            }]);
            let arrived = |log: &Log| {
                log.requests
                    .first()
                    .is_some_and(|served| served.body_bytes == bytes && served.status == status)
            };
            assert!(!origin.wait_for(arrived, LIMIT).requests[0].is_over);
            drop(asking);
            let log = origin.wait_for(|log| log.requests[0].is_over, LIMIT);
            assert_eq!(
                (log.requests[0].status, log.requests[0].is_complete),
                (status, false)
            );
            origin.wait_for(|log| log.connections[0].is_closed, LIMIT);
        }
    }
}

#[tokio::test]
async fn a_connection_can_end_instead_of_an_answer() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        for rule in [Rule::any().hang_up(), Rule::any().reset()] {
            let mut stage = Stage::new(alpn, Some(rule)).await;
            stage
                .session
                .get("/m.zip")
                .await
                .expect_err("there is no answer");
            assert_eq!(stage.served().status, None);
        }
    }
}

#[tokio::test]
async fn rules_are_used_in_order_and_as_often_as_they_say() {
    let mut stage = Stage::new(Alpn::Http2, Some(Rule::any().after(1).times(1).status(500))).await;
    stage.origin.add_rule(Rule::any().status(501));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(stage.get("/m.zip").await.status);
    }
    assert_eq!(statuses, [501, 500, 501]);
    stage.origin.clear_rules();
    assert_eq!(stage.get("/m.zip").await.status, 200);
}

#[tokio::test]
async fn a_request_body_is_read_and_digested() {
    let mut stage = Stage::new(Alpn::Http1, None).await;
    let mut request = stage.session.request("/upload");
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = http_body_util::Full::from(BODY);
    assert_eq!(
        stage.session.send(request).await.expect("an answer").status,
        405
    );
    let served = stage.served();
    assert_eq!(
        (served.request_bytes, served.request_sha256),
        (26, Some(sha256_hex(BODY)))
    );
}

#[tokio::test]
async fn a_raw_origin_sends_what_the_test_wrote() {
    let origin = RawOrigin::start(|request| {
        assert!(request.ends_with(b"\r\n\r\n"));
        vec![
            Step::send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
            Step::Pause(Duration::from_millis(1)),
            Step::send("HTTP/1.1 200 Fine\r\ncontent-length: 2\r\n\r\nok"),
            Step::Close,
        ]
    });
    let hello = Hello::new(HOST, origin.root_pem_path()).alpn(Alpn::Http1);
    let client = Client::open(origin.addr()).await;
    let mut client = client.handshake(&hello).await.expect("a handshake");
    client
        .send("GET /raw HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("it is taken");
    assert!(
        client
            .read_head()
            .await
            .expect("a head")
            .starts_with("HTTP/1.1 103 ")
    );
    let (rest, ended) = client.read_to_end().await;
    assert!(rest.ends_with(b"\r\n\r\nok"));
    ended.expect("it said goodbye");
    assert_eq!(origin.received(), [b"GET /raw HTTP/1.1\r\nHost: x\r\n\r\n"]);
}

/// An origin with one file and a session to it.
struct Stage {
    origin: Origin,
    session: Session,
}

impl Stage {
    async fn new(alpn: Alpn, rule: Option<Rule>) -> Self {
        let files = [((HOST, "/m.zip"), BODY), ((HOST, "/M@v1!.zip"), BODY)];
        let files = files.map(|(key, body)| (key, (200, "application/zip", body)));
        let origin = Origin::builder(Content::files(files)).alpn(alpn).start();
        rule.into_iter().for_each(|rule| origin.add_rule(rule));
        let hello = Hello::new(HOST, origin.root_pem_path());
        let client = Client::open(origin.addr()).await.handshake(&hello).await;
        let session = client
            .expect("a handshake")
            .into_session()
            .await
            .expect("HTTP begins");
        Self { origin, session }
    }

    async fn get(&mut self, path: &str) -> Response {
        self.session.get(path).await.expect("an answer")
    }

    /// The entry of the last request, once it is over.
    fn served(&self) -> Served {
        self.origin.requests().pop().expect("a request has arrived")
    }
}

async fn one(alpn: Alpn, rule: Rule) -> Response {
    Stage::new(alpn, Some(rule)).await.get("/m.zip").await
}
