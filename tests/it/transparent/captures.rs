//! What is read from redirected connections later: phases, the HAR, and both packet captures.

use std::collections::BTreeSet;
use std::time::Duration;

use modtape::exchange::{Opened, Phase};

use super::session::{here, https, origin_with};
use super::*;
use crate::pcapng::has;
use crate::pcapng::tshark::{assert_reads_well, tshark};
use crate::support::*;

const HOST: &str = "proxy.golang.org";

/// How long the origin waits before it answers.
const DELAY: Duration = Duration::from_millis(200);

/// Tells the remote address in place of a proxy's.
const SCRIPT: &str = r#"/proc/$PPID/exe env nft --mode transparent --uid 0 | sh
    echo http://192.0.2.1:443; echo "$SSL_CERT_FILE"; exec cat >/dev/null"#;

/// Two requests on one redirected connection.
fn recorded(alpn: Alpn) -> Recorded {
    let origin = origin_with(|builder| builder.alpn(alpn).rule(Rule::any().delay(DELAY)));
    let mut recorded = None;
    here(async {
        let wrapping = Wrapping {
            har: true,
            script: Some(SCRIPT),
            ..Wrapping::default()
        };
        let flags = ["--mode", "transparent", "--pcap=both"];
        let recorder = Recorder::wrapped(origin.root_pem_path(), &flags, &wrapping);
        let client = Client::open(https()).await;
        let hello = recorder.hello(HOST);
        let client = client.handshake(&hello).await.expect("a leaf of ours");
        let mut session = client.into_session().await.expect("HTTP");
        for _ in 0..2 {
            let response = session.get("/a").await.expect("a response");
            assert_eq!(response.body, b"from there");
        }
        drop(session);
        recorded = Some(recorder.finish().await);
    });
    recorded.expect("it was recorded")
}

#[test]
fn a_redirected_exchange_has_true_phases_in_the_recording_and_in_the_har() {
    let name = "transparent::captures::\
        a_redirected_exchange_has_true_phases_in_the_recording_and_in_the_har";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        for alpn in [Alpn::Http1, Alpn::Http2] {
            let recorded = recorded(alpn);
            let delay = u64::try_from(DELAY.as_micros()).expect("it is short");
            let exchanges = recorded.exchanges();
            assert_eq!(exchanges.len(), 2);
            for (number, exchange) in exchanges.iter().enumerate() {
                let phases = exchange.end().expect("it is whole").phases_us;
                assert!(phases[Phase::Wait] >= Some(delay), "{alpn:?}: {phases:?}");
                // The first request owns the dial.
                for phase in [Phase::Connect, Phase::Tls] {
                    assert_eq!(phases[phase].is_some(), number == 0, "{alpn:?}: {phases:?}");
                }
                // What is dialled is an address.
                assert!(
                    phases[Phase::Dns].unwrap_or(0) < delay,
                    "{alpn:?}: {phases:?}"
                );
            }
            let har = recorded.recording.dir().join("session.har");
            crate::har::assert_valid(&har);
            let har = fs::read_to_string(har).expect("it was written");
            let har: serde_json::Value = serde_json::from_str(&har).expect("JSON");
            let entries = har["log"]["entries"].as_array().expect("entries");
            assert_eq!(entries.len(), 2);
            for (number, entry) in entries.iter().enumerate() {
                assert_eq!(entry["serverIPAddress"], REMOTE);
                let phase = |name: &str| entry["timings"][name].as_f64().unwrap_or(-1.0);
                // HAR 1.2: ssl is a part of connect, and -1 what did not happen.
                let sum: f64 = ["blocked", "dns", "connect", "send", "wait", "receive"]
                    .map(|name| phase(name).max(0.0))
                    .iter()
                    .sum();
                let time = entry["time"].as_f64().expect("a time");
                assert!((sum - time).abs() < 0.01, "{alpn:?}: {entry}");
                assert!(phase("wait") >= 200.0, "{alpn:?}: {entry}");
                assert_eq!(phase("connect") >= 0.0, number == 0, "{alpn:?}: {entry}");
            }
        }
    });
}

#[test]
fn both_captures_of_redirected_tls_have_the_real_addresses() {
    let name = "transparent::captures::both_captures_of_redirected_tls_have_the_real_addresses";
    alone(name, || {
        if !has_rules(name, "nft") || !has("tshark") {
            return;
        }
        for alpn in [Alpn::Http1, Alpn::Http2] {
            let recorded = recorded(alpn);
            let dials = recorded.opened();
            let [dial] = &dials[..] else {
                panic!("{dials:#?}")
            };
            let remote = format!("{REMOTE}:443");
            let upstream = dial.upstream.as_ref().expect("it was dialled");
            assert_eq!(upstream.addr.as_deref(), Some(&remote[..]));
            let clear = recorded.recording.dir().join("capture.pcapng");
            assert_reads_well(&clear, &recorded.recording);
            // It is of HTTP in clear text, with ports of its own.
            let without_ports =
                |address: &str| address.rsplit_once(':').map(|(ip, _)| ip.to_owned());
            for (_, from, to) in opened_in(&clear) {
                let ends = (without_ports(&from), without_ports(&to));
                let local = upstream.local_addr.as_deref().and_then(without_ports);
                assert_eq!(ends, (local, without_ports(&remote)), "{alpn:?}");
            }
            let live = recorded.recording.dir().join("capture-tls.pcapng");
            assert_eq!(opened_in(&live), expected(dial, &remote), "{alpn:?}");
            let fields = [
                "-e",
                "frame.interface_name",
                "-e",
                "http.request.method",
                "-e",
                "http2.headers.method",
            ];
            let lines = tshark(&live, &[&["-T", "fields"][..], &fields].concat());
            for leg in ["client", "upstream"] {
                let opened = lines.iter().filter(|line| line.starts_with(leg));
                let asked = opened.filter(|line| line.contains("GET"));
                assert_eq!(
                    asked.count(),
                    2,
                    "{alpn:?}, {leg}: what is inside does not show"
                );
            }
        }
    });
}

/// The connections that a live capture has to show: by leg, from where, and where to.
fn expected(dial: &Opened, remote: &str) -> BTreeSet<(String, String, String)> {
    let upstream = dial.upstream.as_ref().expect("it was dialled");
    let local = upstream.local_addr.clone().expect("it has one");
    let leg = |name: &str, from: &String| (name.to_owned(), from.clone(), remote.to_owned());
    [leg("client", &dial.client.addr), leg("upstream", &local)].into()
}

/// The connections that a capture shows.
fn opened_in(capture: &Path) -> BTreeSet<(String, String, String)> {
    let fields = [
        "frame.interface_name",
        "ip.src",
        "tcp.srcport",
        "ip.dst",
        "tcp.dstport",
    ];
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let first = ["-Y", "tcp.flags.syn==1 && tcp.flags.ack==0", "-T", "fields"];
    let options: Vec<_> = first.into_iter().chain(fields).collect();
    let lines = tshark(capture, &options);
    let opened = lines.iter().map(|line| {
        let parts: Vec<_> = line.split('\t').collect();
        let [leg, from, from_port, to, to_port] = parts[..] else {
            panic!("{line}")
        };
        (
            leg.to_owned(),
            format!("{from}:{from_port}"),
            format!("{to}:{to_port}"),
        )
    });
    opened.collect()
}
