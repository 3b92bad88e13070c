//! A replay by a gateway that asks the network for what is missing.

use std::fs;

use super::*;

const ZIP: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.zip";
const STORED: &str = "/a-bucket/toml.zip?Expires=1&Signature=abcdefgh";

/// The default internet of `hello`, in which one zip lies elsewhere and no module proxy relays the checksum
/// database.
pub(super) fn internet(alpn: Alpn) -> Option<Origin> {
    let content = Content::corpus("hello", Sumdb::Heads)?.supported_is_404();
    let zip = content.find("proxy.golang.org", ZIP).body;
    let content = content.and_file(STORAGE, "/a-bucket/toml.zip", 200, "application/zip", zip);
    let moved = Rule::when(|served| served.host == "proxy.golang.org" && served.path == ZIP);
    let moved = moved.redirect(&format!("https://{STORAGE}{STORED}"));
    Some(Origin::builder(content).alpn(alpn).rule(moved).start())
}

const STORAGE: &str = "storage.googleapis.com";

#[test]
fn a_gateway_fills_a_recording_and_needs_nobody_then() {
    let (Some(origin), Some((sandbox, go))) = (internet(Alpn::Both), hello("1.27")) else {
        return;
    };
    let command = [
        text(&go),
        "mod",
        "download",
        "github.com/google/uuid@v1.3.1",
    ];
    run(record(&sandbox, &origin, &command), GO_LIMIT).expect_success();
    let tidy = |flags: &[&str]| {
        fs::write(sandbox.join("project/go.sum"), "").expect("our own folder");
        let mut replay = sandbox.modtape(["replay", "one", "--strict", "--mode", "gateway"]);
        replay.args(flags).arg("--").arg(&go).args(["mod", "tidy"]);
        run(replay, GO_LIMIT).expect_success();
    };
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let ca = text(origin.root_pem_path());
    tidy(&[
        "--on-miss",
        "record",
        "--connect-to",
        &everywhere,
        "--upstream-ca",
        ca,
    ]);
    let filled = origin.requests().len();
    tidy(&[]);
    assert_eq!(origin.requests().len(), filled);
}

#[test]
fn a_goproxy_on_loopback_is_replayed_by_a_gateway() {
    const GOPROXY: &str = "http://127.0.0.1:9";
    let sandbox = Sandbox::new();
    let origin = Origin::builder(Content::default()).start();
    let mut recorded = record(&sandbox, &origin, &["true"]);
    recorded.env("GOPROXY", GOPROXY);
    run(recorded, LIMIT).expect_success();
    let replay = |flags: &[&str]| {
        let mut replay = sandbox.modtape(["replay", "one"]);
        replay.args(flags).args(["--", "sh", "-c", "echo $GOPROXY"]);
        run(replay, LIMIT)
    };
    let why = "GOPROXY is on loopback (127.0.0.1:9), which go asks past every proxy";
    let auto = replay(&[]).expect_success();
    let told = format!("mode gateway: {why}");
    assert!(auto.stderr.contains(&told), "{}", auto.stderr);
    assert_ne!(auto.stdout.trim(), GOPROXY);
    let mitm = replay(&["--mode", "mitm"]);
    assert!(
        !mitm.status.success() && mitm.stdout.is_empty(),
        "{}",
        mitm.stderr
    );
    assert!(mitm.stderr.contains(why), "{}", mitm.stderr);
}
