//! What a gateway records, and what its command sees of it.

use std::fs;

use modtape::exchange::Phase;

use super::*;
use crate::record::recording;

fn go_sum(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.join("project/go.sum")).expect("there is a go.sum")
}

#[test]
fn hello_is_tidied_as_without_modtape_and_each_request_of_the_origin_is_on_record() {
    let expected = Sandbox::new();
    if expected.project("hello").is_none() {
        return;
    }
    for (release, alpn) in [
        ("1.21", Alpn::Both),
        ("1.24", Alpn::Http1),
        ("1.27", Alpn::Both),
        ("1.27", Alpn::Http1),
    ] {
        let Some((sandbox, go)) = hello(release) else {
            continue;
        };
        let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
        let origin = Origin::builder(content.supported_is_404())
            .alpn(alpn)
            .start();
        let command = [text(&go), "mod", "tidy"];
        let output = run(record(&sandbox, &origin, &command), GO_LIMIT).expect_success();
        assert_eq!(output.stdout, "");
        assert_eq!(go_sum(&sandbox), go_sum(&expected), "{release} {alpn:?}");
        let recording = recording(&sandbox, "one");
        assert_eq!(
            sorted(asked(&recording)),
            sorted(served(&origin)),
            "{release} {alpn:?}"
        );
        let dials = recording.connections().flat_map(|row| row.dials());
        let dialled = dials.filter(|dial| dial.connect_us.is_some()).count();
        assert_eq!(dialled, origin.connections(), "{release} {alpn:?}");
        if alpn == Alpn::Both {
            assert_eq!(dialled, 2, "a module proxy and a checksum database");
        }
        let lookup = "https://sum.golang.org/lookup/";
        assert!(
            asked(&recording)
                .iter()
                .any(|(url, _)| url.starts_with(lookup))
        );
    }
}

#[test]
fn connections_that_the_upstream_ends_are_dialled_anew() {
    let expected = Sandbox::new();
    if expected.project("hello").is_none() {
        return;
    }
    for (alpn, ends) in [
        (Alpn::Http1, Rule::any().close_unannounced()),
        (Alpn::Both, Rule::any().close_unannounced()),
        (Alpn::Both, Rule::any().close()),
    ] {
        let Some((sandbox, go)) = hello("1.27") else {
            return;
        };
        let content = Content::corpus("hello", Sumdb::Proxy).expect("the project is there");
        let origin = Origin::builder(content).alpn(alpn).rule(ends).start();
        let command = [text(&go), "mod", "tidy"];
        let output = run(record(&sandbox, &origin, &command), GO_LIMIT);
        let output = output.expect_success();
        assert_eq!(go_sum(&sandbox), go_sum(&expected), "{alpn:?}");
        let recording = recording(&sandbox, "one");
        let asked = asked(&recording);
        assert_eq!(asked.len(), recording.rows().len(), "{}", output.stderr);
        assert!(asked.iter().all(|(_, status)| *status == 200), "{asked:?}");
    }
}

#[test]
fn an_origin_that_waits_shows_it_in_wait_and_har_has_its_address() {
    let Some((sandbox, go)) = hello("1.27") else {
        return;
    };
    let content = Content::corpus("hello", Sumdb::Proxy).expect("the project is there");
    let waits = Duration::from_millis(200);
    let path = "/github.com/!burnt!sushi/toml/@v/v1.3.2.mod";
    let slow = Rule::suffix(path).delay(waits);
    let origin = Origin::builder(content).rule(slow).start();
    let command = [text(&go), "mod", "download"];
    run(record(&sandbox, &origin, &command), GO_LIMIT).expect_success();
    let recording = recording(&sandbox, "one");
    let rows = recording.rows().iter();
    let slow = rows.filter(|row| row.url.replace("%21", "!").ends_with(path));
    let waited: Vec<_> = slow
        .map(|row| {
            recording
                .exchange(row)
                .expect("a record can be read")
                .timings()[Phase::Wait]
        })
        .collect();
    assert!(
        matches!(waited[..], [Some(us)] if us >= 200_000),
        "{waited:?}"
    );
    let har = fs::read(recording.dir().join("session.har")).expect("there is a HAR");
    let har: serde_json::Value = serde_json::from_slice(&har).expect("it is JSON");
    let entries = har["log"]["entries"].as_array().expect("a list");
    assert_eq!(entries.len(), origin.requests().len());
    for entry in entries {
        let address = (&entry["serverIPAddress"], &entry["connection"]);
        let port = origin.addr().port().to_string();
        assert_eq!(address, (&"127.0.0.1".into(), &port.into()), "{entry:#}");
        let timings = &entry["timings"];
        let has = |phase: &str| timings[phase].as_f64().is_some_and(|ms| ms >= 0.0);
        assert!(has("send") && has("wait") && has("receive"), "{entry:#}");
    }
    let connects = entries
        .iter()
        .filter(|entry| entry["timings"]["connect"].as_f64() > Some(0.0));
    assert_eq!(connects.count(), origin.connections());
}

#[test]
fn the_tools_that_people_use_read_what_a_gateway_recorded() {
    let (Some(origin), Some((sandbox, go))) =
        (super::replayed::internet(Alpn::Both), hello("1.27"))
    else {
        return;
    };
    let flags = ["--mode", "gateway", "--cold", "--pcap", "both"];
    let command = [text(&go), "mod", "tidy"];
    let tidy = crate::record::record(&sandbox, &origin, &flags, &command);
    run(tidy, GO_LIMIT).expect_success();
    let recording = recording(&sandbox, "one");
    crate::har::assert_valid(&recording.dir().join("session.har"));
    if !has_program("tshark") {
        return skipped("no tshark: its view of a gateway's captures");
    }
    let clear = recording.dir().join("capture.pcapng");
    crate::pcapng::tshark::assert_reads_well(&clear, &recording);
    // The real records of the upstream connections, with their secrets.
    let real = recording.dir().join("capture-tls.pcapng");
    let filter = format!(
        "http2.headers.method && tcp.dstport == {}",
        origin.addr().port()
    );
    let paths = ["-Y", &filter, "-T", "fields", "-e", "http2.headers.path"];
    let asked = crate::pcapng::tshark::tshark(&real, &paths);
    let asked: usize = asked.iter().map(|line| line.split(',').count()).sum();
    assert_eq!(asked, origin.requests().len());
}
