//! Connections that rest: what each of them costs.

use super::*;

/// What an idle connection may cost the recorder.
///
/// The bounds are those of a release build. Without optimisation futures are larger: there the test
/// allows half as much more.
struct Row {
    name: &'static str,
    alpn: Option<Alpn>,
    most_kib: u64,
}

const ROWS: [Row; 3] = [
    Row {
        name: "HTTP/1.1, intercepted",
        alpn: Some(Alpn::Http1),
        most_kib: 56,
    },
    Row {
        name: "HTTP/2, intercepted",
        alpn: Some(Alpn::Http2),
        most_kib: 76,
    },
    Row {
        name: "blind",
        alpn: None,
        most_kib: 32,
    },
];

enum Idle {
    Session(#[expect(dead_code, reason = "it rests")] Session),
    Blind(#[expect(dead_code, reason = "it rests")] Client),
}

async fn idle(recorder: &Recorder, origin: &Origin, alpn: Option<Alpn>) -> Idle {
    let Some(alpn) = alpn else {
        let mut client = blind(recorder).await;
        // Enough that it is seen not to be TLS for a host of ours, and relayed.
        client.send("x").await.expect("the tunnel takes it");
        let _ = origin;
        return Idle::Blind(client);
    };
    let mut session = session(recorder, alpn).await;
    let answer = session.get("/a").await.expect("an answer");
    assert!(answer.is_whole_ok(), "{answer:?}");
    Idle::Session(session)
}

impl Descriptors {
    /// As many as asked for, or as there can be with both ends of each in this process, and with
    /// other tests beside.
    fn affordable(&self, wanted: usize) -> usize {
        wanted.min(self.limit / 2 - 400)
    }
}

#[tokio::test]
async fn an_idle_connection_costs_little() {
    let descriptors = take_descriptors().await;
    let wanted = descriptors.affordable(count(500, 4_000));
    let mut failed = Vec::new();
    for Row {
        name,
        alpn,
        most_kib,
    } in ROWS
    {
        let origin = Origin::start(files());
        let recorder = Recorder::to(&origin, &[]);
        let mut held = Vec::with_capacity(wanted);
        // What is only there once, the caches, the threads, is there by then.
        for _ in 0..20 {
            held.push(idle(&recorder, &origin, alpn).await);
        }
        let before = recorder.process().rss_kib();
        for _ in 0..wanted {
            held.push(idle(&recorder, &origin, alpn).await);
        }
        let each = (recorder.process().rss_kib() - before) as f64 / wanted as f64;
        eprintln!("{name}: {each:.1} KiB each of {wanted}");
        let most = most_kib as f64 * if is_release() { 1.0 } else { 1.5 };
        if each > most {
            failed.push(format!("{name}: {each:.1} KiB"));
        }
        drop(held);
        recorder.finish().await;
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn ten_thousand_tunnels_are_held() {
    let descriptors = take_descriptors().await;
    let wanted = descriptors.affordable(count(1_000, 10_000));
    let origin = Origin::start(files());
    let recorder = Recorder::to(&origin, &[]);
    let mut held = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        held.push(idle(&recorder, &origin, None).await);
    }
    let answer = session(&recorder, Alpn::Http2).await.get("/a").await;
    assert!(answer.expect("an answer").is_whole_ok());
    eprintln!("{wanted} tunnels, {} KiB", recorder.process().rss_kib());
    drop(held);
    let recorded = recorder.finish().await;
    let rows = recorded.recording.connections();
    let tunnels = rows.filter_map(|row| row.closed.as_ref().filter(|closed| closed.tunnel));
    let (left, sent_away): (Vec<_>, Vec<_>) =
        tunnels.partition(|closed| !closed.why.contains("wanted by another client"));
    assert_eq!((left.len(), sent_away.len()), (wanted, 0));
}
