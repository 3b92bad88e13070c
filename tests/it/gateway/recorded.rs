//! What a gateway records, and what its command sees of it.

use std::fs;

use super::*;
use crate::netns::User;
use crate::netns::build::can_run;
use crate::record::recording;

fn go_sum(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.join("project/go.sum")).expect("there is a go.sum")
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
fn a_real_capture_has_the_upstream_connections_with_their_secrets() {
    let (Some(origin), Some((sandbox, go))) =
        (super::replayed::internet(Alpn::Both), hello("1.27"))
    else {
        return;
    };
    if !has_program("tshark") {
        return skipped("no tshark: its view of a gateway's captures");
    }
    let flags = ["--mode", "gateway", "--cold", "--pcap", "tls"];
    let command = [text(&go), "mod", "tidy"];
    let tidy = crate::record::record(&sandbox, &origin, &flags, &command);
    run(tidy, GO_LIMIT).expect_success();
    let real = sandbox.join("project/recordings/one/capture-tls.pcapng");
    let filter = format!(
        "http2.headers.method && tcp.dstport == {}",
        origin.addr().port()
    );
    let paths = ["-Y", &filter, "-T", "fields", "-e", "http2.headers.path"];
    let asked = crate::pcapng::tshark::tshark(&real, &paths);
    let asked: usize = asked.iter().map(|line| line.split(',').count()).sum();
    assert_eq!(asked, origin.requests().len());
}

#[test]
fn a_user_without_rights_records_and_replays() {
    let user = User::Unprivileged;
    let (Some(content), Some((sandbox, go))) =
        (Content::corpus("hello", Sumdb::Proxy), hello("1.27"))
    else {
        return;
    };
    if !can_run(user, &sandbox, text(&go)) {
        return;
    }
    let origin = Origin::start(content);
    let to = crate::netns::to(&origin, &sandbox);
    let tidy = ["--", text(&go), "mod", "tidy"];
    let flags = ["--mode=gateway", "--cold", &to[0], &to[1]];
    let args = [&["record", "-o", "one"][..], &flags, &tidy].concat();
    run(user.modtape(&sandbox, &args), GO_LIMIT).expect_success();
    let sums = go_sum(&sandbox);
    assert!(sums.contains("github.com/"), "{sums}");
    let recording = recording(&sandbox, "one");
    assert_eq!(sorted(asked(&recording)), sorted(served(&origin)));
    drop(origin);
    fs::write(sandbox.join("project/go.sum"), "").expect("our own folder");
    let flags = ["replay", "one", "--strict", "--mode=gateway"];
    let args = [&flags[..], &tidy].concat();
    run(user.modtape(&sandbox, &args), GO_LIMIT).expect_success();
    assert_eq!(go_sum(&sandbox), sums);
}
