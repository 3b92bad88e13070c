//! The client leg speaks TLS 1.3, TLS 1.2 with ECDHE and AEAD, and nothing else.

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::raw_hello::{RawHello, chosen, host_names};
use super::*;

/// All that is ever chosen, by version; the leafs' key is ECDSA, so no RSA suite among them.
const CHOSEN: [(u16, u16); 6] = [
    (0x0303, 0xc02b),
    (0x0303, 0xc02c),
    (0x0303, 0xcca9),
    (0x0304, 0x1301),
    (0x0304, 0x1302),
    (0x0304, 0x1303),
];

/// SSL 3.0 to TLS 1.2, each suite by itself: NULL, export, RC4, DES, CBC, RSA and DHE exchange,
/// CCM, anonymous; then the good ones.
const SUITES: [u16; 36] = [
    0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0008, 0x0009, 0x000a, 0x0016, 0x002f, 0x0033,
    0x0034, 0x0035, 0x0039, 0x003c, 0x003d, 0x0067, 0x009c, 0x009d, 0x009e, 0xc006, 0xc007, 0xc008,
    0xc009, 0xc00a, 0xc013, 0xc018, 0xc023, 0xc024, 0xc0ac, 0xc02b, 0xc02c, 0xc02f, 0xcca8, 0xcca9,
];

fn origin() -> Origin {
    Origin::start(Content::files([((HOST, "/a"), (200, "text/plain", "a"))]))
}

/// What the recorder chooses when it is offered this and nothing else.
async fn choice(recorder: &Recorder, hello: &RawHello) -> Option<(u16, u16)> {
    let client = Client::open(recorder.proxy()).await;
    let connected = client.connect(&format!("{HOST}:443"), &[]).await;
    let mut client = connected.client;
    client.send(hello.bytes()).await.expect("it is read");
    let _ = client.shutdown().await;
    let (answer, _) = client.read_to_end().await;
    chosen(&answer)
}

#[tokio::test]
async fn only_tls_1_3_and_aead_with_ecdhe_are_ever_chosen() {
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--intercept", HOST]);
    let mut seen = BTreeSet::new();
    for version in [0x0300, 0x0301, 0x0302, 0x0303] {
        for suite in SUITES {
            let hello = RawHello {
                version,
                is_1_3: false,
                suites: vec![suite],
                names: Some(host_names(&[HOST.as_bytes()])),
            };
            seen.extend(choice(&recorder, &hello).await);
        }
    }
    for suite in [0x1301, 0x1302, 0x1303, 0x1304, 0x1305] {
        let hello = RawHello {
            version: 0x0303,
            is_1_3: true,
            suites: vec![suite],
            names: Some(host_names(&[HOST.as_bytes()])),
        };
        // On the wire 1.3 calls itself 1.2 (RFC 8446 section 4.1.3).
        let chosen = choice(&recorder, &hello).await;
        seen.extend(chosen.map(|(_, suite)| (0x0304, suite)));
    }
    assert_eq!(seen, BTreeSet::from(CHOSEN));
    recorder.finish().await;
}

/// sslyze, if it is there.
fn sslyze() -> Option<PathBuf> {
    let path = env::var_os("MODTAPE_SSLYZE").map(PathBuf::from);
    let path = path.filter(|path| path.is_file());
    if path.is_none() {
        let is_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "no sslyze; set MODTAPE_SSLYZE");
        skipped("no sslyze; set MODTAPE_SSLYZE");
    }
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslyze_finds_nothing_else() {
    let Some(sslyze) = sslyze() else { return };
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--intercept", HOST]);
    let mut command = program(sslyze);
    command.arg(format!("--https_tunnel=http://{}", recorder.proxy()));
    command.args(["--json_out=-", "--mozilla_config=disable"]);
    let scans = [
        "--sslv2",
        "--sslv3",
        "--tlsv1",
        "--tlsv1_1",
        "--tlsv1_2",
        "--tlsv1_3",
    ];
    command
        .args(scans)
        .args(["--early_data", "--resum", "--compression", "--reneg"]);
    command.arg(format!("{HOST}:443"));
    let scanned = tokio::task::spawn_blocking(move || run(command, Duration::from_secs(300)));
    let output = scanned.await.expect("it does not panic").expect_success();
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let result = &report["server_scan_results"][0]["scan_result"];
    let mut failures = Vec::new();
    for (scan, expected) in [
        ("ssl_2_0_cipher_suites", &[][..]),
        ("ssl_3_0_cipher_suites", &[]),
        ("tls_1_0_cipher_suites", &[]),
        ("tls_1_1_cipher_suites", &[]),
        (
            "tls_1_2_cipher_suites",
            &[
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            ],
        ),
        (
            "tls_1_3_cipher_suites",
            &[
                "TLS_AES_128_GCM_SHA256",
                "TLS_AES_256_GCM_SHA384",
                "TLS_CHACHA20_POLY1305_SHA256",
            ],
        ),
    ] {
        let accepted = result[scan]["result"]["accepted_cipher_suites"].as_array();
        let names = accepted.map(|suites| {
            let names = suites
                .iter()
                .filter_map(|one| one["cipher_suite"]["name"].as_str());
            names.collect::<BTreeSet<_>>()
        });
        if names.as_ref() != Some(&expected.iter().copied().collect()) {
            failures.push(format!("{scan}: {names:?}"));
        }
    }
    for (scan, field, expected) in [
        (
            "tls_1_3_early_data",
            "supports_early_data",
            Value::Bool(false),
        ),
        (
            "tls_compression",
            "supports_compression",
            Value::Bool(false),
        ),
        (
            "session_resumption",
            "session_id_resumption_result",
            "NOT_SUPPORTED".into(),
        ),
        (
            "session_resumption",
            "tls_ticket_resumption_result",
            "NOT_SUPPORTED".into(),
        ),
        (
            "session_renegotiation",
            "is_vulnerable_to_client_renegotiation_dos",
            Value::Bool(false),
        ),
    ] {
        let found = &result[scan]["result"][field];
        if *found != expected {
            failures.push(format!("{scan} {field}: {found}"));
        }
    }
    assert_none(&failures);
}
