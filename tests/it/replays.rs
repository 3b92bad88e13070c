//! What a replay gives, seen by the command that it wraps.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::hostile::craft::{Craft, URL, gzip};
use crate::support::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(120);

const HOST: &str = "proxy.golang.org";

/// A command that asks for [`URL`] and does not care what becomes of it.
const ASKS: [&str; 4] = ["--", "/bin/sh", "-c", "\"$0\" fetch \"$1\"; true"];

#[test]
fn a_body_that_turns_out_to_be_damaged_is_missing_though_its_beginning_was_given() {
    let octets = vec![7; 9 << 20];
    for is_damaged in [false, true] {
        let sandbox = Sandbox::new();
        let dir = Craft::new(&sandbox.join("recordings/one"))
            .body(&octets, "identity")
            .write();
        if is_damaged {
            let sha256 = sha256_hex(&octets);
            let path = dir.join("bodies").join(&sha256[..2]).join(&sha256);
            let mut altered = octets.clone();
            altered[1 << 20] ^= 1;
            fs::write(path, altered).expect("our own folder");
        }
        let mut modtape = sandbox.modtape(["replay", "one", "--strict"]);
        modtape.args(ASKS).arg(tested()).arg(URL);
        let output = run(modtape, LIMIT);
        let (code, told) = match is_damaged {
            false => (0, "1 answered, 0 missing"),
            true => (1, "0 answered, 1 missing"),
        };
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        let listed =
            "missing: mod github.com/BurntSushi/toml v1.3.2 (the recorded body is damaged: ";
        assert_eq!(
            output.stderr.contains(listed),
            is_damaged,
            "{}",
            output.stderr
        );
    }
}

#[test]
fn a_host_that_is_not_on_the_recording_is_missing() {
    let sandbox = Sandbox::new();
    Craft::new(&sandbox.join("recordings/one")).write();
    let mut modtape = sandbox.modtape(["replay", "one", "--strict"]);
    modtape
        .args(ASKS)
        .arg(tested())
        .arg("https://other.example/x");
    let output = run(modtape, LIMIT);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let listed = "missing: CONNECT other.example:443 (other.example is not on recording one)";
    assert!(output.stderr.contains(listed), "{}", output.stderr);
}

/// Asks for [`URL`], saying that this coding is accepted if any is.
async fn asked(sandbox: &Sandbox, accepted: Option<&str>) -> Response {
    let mut modtape = sandbox.modtape(["replay", "one", "--"]);
    modtape.args(["/bin/sh", "-c", TELLS]);
    let (replay, proxy, root) = Spawned::proxy(modtape, sandbox);
    let mut session = Client::session(proxy, &Hello::new(HOST, &root)).await;
    let path = URL.split_once(HOST).map_or("/", |(_, path)| path);
    let mut request = session.request(path);
    if let Some(coding) = accepted {
        let coding = coding.parse().expect("a header value");
        request.headers_mut().insert("accept-encoding", coding);
    }
    let answer = session.send(request).await.expect("an answer");
    drop(session);
    let ended = tokio::task::spawn_blocking(move || replay.end()).await;
    ended.expect("no panic").expect_success();
    answer
}

#[tokio::test]
async fn gzip_is_decoded_for_those_who_do_not_take_it_if_the_recorded_client_took_it() {
    let plain = b"module github.com/BurntSushi/toml\n".repeat(3);
    let coded = gzip(&plain);
    let took = json!([["accept-encoding", "gzip"]]);
    let refused = json!([["accept-encoding", "identity"]]);
    let rows = [
        (&took, None, &plain),
        (&took, Some("gzip"), &coded),
        // Who was given gzip without having asked for it gets the same octets again.
        (&json!([]), None, &coded),
        (&refused, Some("identity"), &coded),
    ];
    for (recorded, accepted, expected) in rows {
        let sandbox = Sandbox::new();
        Craft::new(&sandbox.join("recordings/one"))
            .body(&coded, "gzip")
            .with("begin", "headers", recorded.clone())
            .write();
        let answer = asked(&sandbox, accepted).await;
        assert!(answer.is_whole_ok(), "{recorded} {accepted:?}: {answer:?}");
        assert_eq!(&answer.body, expected, "{recorded} {accepted:?}");
        let coding = (expected == &coded).then_some("gzip");
        assert_eq!(
            answer.header("content-encoding"),
            coding,
            "{recorded} {accepted:?}"
        );
    }
}

#[test]
fn a_body_that_was_not_kept_is_not_called_damaged_and_its_reason_is_told() {
    let sha256 = sha256_hex(b"somebody's octets");
    let gap =
        json!({"type": "gap", "t_us": 1, "what": "body of exchange 1", "why": "the disk is full"});
    for (gap, why) in [
        (None, "recorded with --bodies none"),
        (Some(gap), "the disk is full"),
    ] {
        let sandbox = Sandbox::new();
        let body = json!({"sha256": sha256, "bytes": 17, "inline": null, "kept": false});
        let mut craft = Craft::new(&sandbox.join("recordings/one")).with("end", "body", body);
        craft.records.splice(1..1, gap);
        craft.write();
        let mut replay = sandbox.modtape(["replay", "one", "--"]);
        replay.args(&ASKS[1..]).arg(tested()).arg(URL);
        let replay = run(replay, LIMIT).expect_success();
        let told = format!("(its body was not kept: {why})");
        assert!(
            replay.stderr.contains("0 answered, 1 missing"),
            "{}",
            replay.stderr
        );
        assert_eq!(
            replay.stderr.matches(&told).count(),
            2,
            "client and summary: {}",
            replay.stderr
        );
        assert!(
            replay.stderr.contains("record it: modtape record "),
            "{}",
            replay.stderr
        );
        let show = |args: &[&str]| run(sandbox.modtape(args.iter().copied()), LIMIT);
        let part = show(&["show", "1", "one", "--body"]);
        assert_eq!(part.status.code(), Some(3), "{}", part.stderr);
        assert!(
            part.stderr.contains(&format!("was not kept: {why}")),
            "{}",
            part.stderr
        );
        let all = show(&["show", "1", "one"]).expect_success();
        assert!(
            all.stdout.contains(&format!("not kept: {why}")),
            "{}",
            all.stdout
        );
        let har = show(&["export", "har", "one", "-o", "a.har"]).expect_success();
        let told = "warning: left out 1 body that was not kept when recorded";
        assert!(har.stderr.contains(told), "{}", har.stderr);
        for output in [replay, part, all, har] {
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(!said.contains("damaged"), "{said}");
        }
    }
}
