//! The log file hears of each step of a connection and of a request, with the conventions' names.

use std::fs;

use serde_json::Value;

use super::*;

#[tokio::test]
async fn each_step_of_a_connection_and_a_request_is_an_event() {
    let origin = Origin::builder(marked())
        .handshake(Handshake::host("expired.example").leaf(Leaf::Expired))
        .start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log").display().to_string();
    let flags = [
        "--log-format",
        "json",
        "--log-file",
        &path,
        "--intercept",
        "expired.example",
    ];
    let recorder = Recorder::to(&origin, &flags);
    for host in [HOST, "expired.example"] {
        let mut session = recorder.session(host).await;
        session.get("/a?token=s3cr3t").await.expect("an answer");
    }
    recorder.finish().await;
    let log = fs::read_to_string(&path).expect("there is a log");
    assert!(!log.contains("s3cr3t"), "{log}");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    let port = origin.addr().port().to_string();
    let mut missing = Vec::new();
    for expected in [
        &[("message", "tried"), ("network.peer.port", &port)][..],
        &[
            ("message", "opened"),
            ("modtape.mode", "intercept"),
            ("server.address", HOST),
            ("server.port", "443"),
            ("network.peer.address", "127.0.0.1"),
            ("network.peer.port", &port),
            ("tls.next_protocol", "h2"),
            ("tls.protocol.version", "1.3"),
            ("modtape.client.sni", HOST),
            ("modtape.client.tls", "1.3"),
        ],
        &[
            ("message", "asked"),
            ("http.request.method", "GET"),
            ("modtape.connection.id", "1"),
        ],
        &[
            ("message", "answered"),
            ("http.response.status_code", "200"),
            ("network.protocol.version", "2"),
            ("modtape.made_by", "origin"),
        ],
        &[
            ("message", "answered"),
            ("http.response.status_code", "502"),
            ("modtape.made_by", "modtape"),
        ],
        &[
            ("http.response.status_code", "200"),
            ("modtape.made_by", "origin"),
            ("server.address", HOST),
        ],
        &[("message", "opened"), ("server.address", "expired.example")],
        &[("message", "closed"), ("modtape.connection.id", "1")],
    ] {
        let has = |line: &Value| {
            expected.iter().all(|(name, value)| match &line[*name] {
                Value::String(text) => text == value,
                other => &*other.to_string() == *value,
            })
        };
        if !lines.iter().any(has) {
            missing.push(format!("{expected:?}"));
        }
    }
    assert!(missing.is_empty(), "{}\nin {log}", missing.join("\n"));
    let failed = |line: &&Value| line["server.address"] == "expired.example";
    let failed = lines.iter().find(failed).expect("it is told");
    let error = failed["error.message"].as_str().unwrap_or_default();
    assert!(error.contains("its certificate expired on"), "{failed}");
    for phase in ["dns_us", "connect_us", "tls_us"] {
        let phase = &failed[format!("modtape.phases.{phase}")];
        assert!(phase.is_u64(), "{failed}");
    }
}
