//! No export holds a recording, nor a body: what is large passes through.

use rawzip::CompressionMethod;

use super::*;
use crate::pcapng::sample::HOST;

/// The bound for one command, whatever it reads.
const ONE_COMMAND_KIB: u64 = 40 << 10;

/// Bytes of a body, and how many small exchanges come with each.
const BODY: usize = 50_000_000;
const SMALL: usize = 60;

#[tokio::test]
async fn a_large_recording_leaves_in_every_format_in_little_memory() {
    let bodies = count(6, 100);
    let content = vec![7; BODY];
    let zip = zip(&[("a.b/c@v1.0.0/x", &content)], CompressionMethod::STORE);
    let zip_bytes = zip.len() as u64;
    let go_mod = format!("module a.b/c // {}\n", "x".repeat(4_000));
    let origin = Origin::builder(Content::default())
        .rule(Rule::suffix(".zip").status(200).body(zip))
        .rule(Rule::any().status(200).body(go_mod))
        .start();
    let recorder = Recorder::to(&origin, &["--pcap", "none"]);
    let mut session = recorder.session(HOST).await;
    for body in 0..bodies {
        let zip = session.get("/a.b/c/@v/v1.0.0.zip").await;
        assert_eq!(zip.expect("an answer").body_bytes, zip_bytes);
        for small in 0..SMALL {
            let path = format!("/a.b/c{small}/@v/v1.0.{body}.mod");
            assert!(session.get(&path).await.expect("an answer").is_whole_ok());
        }
    }
    drop(session);
    let recorded = recorder.finish().await;
    let dir = recorded.recording.dir().to_str().expect("text").to_owned();
    let peaks = tokio::task::spawn_blocking(move || peaks(&dir)).await;
    for (export, peak) in peaks.expect("no panic") {
        assert!(peak < ONE_COMMAND_KIB, "{export}: {peak} KiB");
    }
}

fn peaks(dir: &str) -> Vec<(&'static str, u64)> {
    let exports = [
        "har --har-bodies all -o -",
        "ndjson -o -",
        "csv -o -",
        "pcapng --pcap-bodies all -o -",
        "curl -o -",
        "trace -o -",
        "otlp -o -",
        "har -o a.har",
        "pcapng -o a.pcapng",
        "goproxy -o tree",
    ];
    let peak = |export: &'static str| {
        let sandbox = Sandbox::new();
        let mut sh = sandbox.command("/bin/sh");
        let (format, options) = export.split_once(' ').unwrap_or_default();
        // What comes out is not of interest, and would fill this process.
        let script = format!("exec \"$0\" export {format} \"$1\" {options} >/dev/null");
        sh.args(["-c", &script]).arg(tested()).arg(dir);
        let spawned = Spawned::start(sh);
        let peak = Process(spawned.id()).watch_peak();
        spawned.end().expect_success();
        let peak = peak.recv().expect("it has ended");
        eprintln!("export {export}: peak RSS {peak} KiB");
        (export, peak)
    };
    exports.map(peak).into()
}
