//! Back-pressure reaches the other end: who does not read stops who sends.

use modtape::recording::Recording;

use super::*;

/// More than all buffers on the way hold together, the kernel's included.
const BODY_BYTES: u64 = 64 << 20;

/// What the kernel's buffers of two loopback connections and ours may hold.
const ON_THE_WAY: u64 = 16 << 20;

fn large() -> Origin {
    Origin::builder(files())
        .rule(clock_rule())
        .rule(Rule::suffix("/large").status(200).generated(BODY_BYTES))
        .rule(Rule::suffix("/sink").ignore_request_body().silent())
        .start()
}

/// A session whose kernel takes little ahead.
async fn narrow(recorder: &Recorder, alpn: Alpn) -> Session {
    let connected = Client::open_narrow(recorder.proxy())
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    let hello = recorder.hello(HOST).alpn(alpn);
    let client = connected.client.handshake(&hello).await;
    let client = client.expect("a handshake");
    client.into_session().await.expect("HTTP begins")
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_origin() {
    for alpn in BOTH {
        let origin = large();
        let recorder = Recorder::to(&origin, &[]);
        let mut other = session(&recorder, alpn).await;
        let mut holding = narrow(&recorder, alpn).await;
        let request = holding.request("/large");
        let response = holding.start(request).await.expect("a head");
        let held = settled(&mut other, || sent(&origin)).await;
        eprintln!("{alpn:?}: {held} bytes on the way");
        assert!(held < ON_THE_WAY, "{alpn:?} {held}");
        drop((response, holding, other));
        recorder.finish().await;
    }
}

#[tokio::test]
async fn a_client_behind_a_tunnel_that_stops_reading_stops_the_origin() {
    let origin = large();
    let recorder = Recorder::to(&origin, &[]);
    let mut other = session(&recorder, Alpn::Http1).await;
    let hello = Hello::new("elsewhere.example", origin.root_pem_path()).alpn(Alpn::Http1);
    let tunnel = blind(&recorder).await.handshake(&hello).await;
    let mut holding = tunnel
        .expect("a handshake with the origin")
        .into_session()
        .await
        .expect("HTTP begins");
    let request = holding.request("/large");
    let response = holding.start(request).await.expect("a head");
    let held = settled(&mut other, || sent(&origin)).await;
    assert!(held < ON_THE_WAY, "{held}");
    drop((response, holding, other));
    recorder.finish().await;
}

/// Bytes that we took of each client's connection, largest first.
fn taken(recording: &Recording) -> Vec<u64> {
    let closed = recording
        .connections()
        .filter_map(|row| row.closed.as_ref());
    let mut taken: Vec<_> = closed.map(|closed| closed.from_client_bytes).collect();
    taken.sort_unstable_by(|a, b| b.cmp(a));
    taken
}

#[tokio::test]
async fn an_origin_that_stops_reading_stops_the_client() {
    for alpn in BOTH {
        let origin = large();
        let recorder = Recorder::to(&origin, &[]);
        let mut other = session(&recorder, alpn).await;
        let mut sending = session(&recorder, alpn).await;
        let mut request = sending.request("/sink");
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = http_body_util::Full::from(vec![0; BODY_BYTES as usize]);
        let mut answer = tokio::task::JoinSet::new();
        answer.spawn(async move { sending.send(request).await.map(drop) });
        for _ in 0..5 {
            other.get("/tick").await.expect("an answer");
        }
        assert!(answer.try_join_next().is_none(), "{alpn:?}");
        answer.shutdown().await;
        drop(other);
        let recorded = recorder.finish().await;
        let taken = taken(&recorded.recording);
        assert!(taken[0] < ON_THE_WAY, "{alpn:?} {taken:?}");
        assert!(taken[0] > 64 << 10, "{alpn:?} {taken:?}");
    }
}
