//! No way leads back to ourselves, whatever we are called.

use super::super::support::{Origin, Recorder};
use super::{raw, status};

#[tokio::test]
async fn our_own_listener_is_refused_under_every_name_in_one_hop() {
    let origin = Origin::start(Default::default());
    let recorder = Recorder::trusting(origin.root_pem_path(), &[]);
    let port = recorder.proxy().port();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0.0.0.0]",
    ] {
        for line in [
            format!("CONNECT {host}:{port} HTTP/1.1"),
            format!("GET http://{host}:{port}/ HTTP/1.1"),
            format!("GET http://{host}:{port}/http://{host}:{port}/ HTTP/1.1"),
        ] {
            let head = format!("{line}\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
            let answer = raw(recorder.proxy(), &head).await;
            asked += 1;
            let told = answer.contains(&format!(":{port} is modtape itself"));
            if status(&answer) != 502 || !told {
                wrong.push(format!("{line}: {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let recorded = recorder.finish().await;
    // Whoever had come back would be a connection too.
    assert_eq!(recorded.recording.connections().count(), asked);
}

#[tokio::test]
async fn a_request_that_names_nobody_ends_where_it_came_in() {
    let origin = Origin::start(Default::default());
    let recorder = Recorder::to(&origin, &[]);
    for line in ["GET / HTTP/1.1", "GET /http://a.example/ HTTP/1.1"] {
        let own = recorder.proxy();
        let head = format!("{line}\r\nHost: {own}\r\nConnection: close\r\n\r\n");
        let answer = raw(own, &head).await;
        assert_eq!(status(&answer), 400, "{answer}");
    }
    recorder.finish().await;
    assert_eq!(origin.connections(), 0);
}
