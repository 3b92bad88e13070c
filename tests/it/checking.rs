//! Ctrl-C while answers are checked: it is heard at once, and nothing is lost.

use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use modtape::recording::reader::Status;
use rawzip::CompressionMethod;
use rustix::fs::inotify;
use rustix::process::Signal;

use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(120);

const PROXY: &str = "proxy.golang.org";

/// How many zips there are, and how many files of so many bytes in each: to hash them takes some seconds.
const ZIPS: usize = 12;
const FILES: [&str; 2] = ["one", "two"];
const ZEROS: usize = 200 << 20;

fn path(number: usize) -> String {
    format!("/example.com/m/@v/v1.{}.0.zip", 10 + number)
}

/// Zips that are small and take long to be hashed.
fn zips() -> Vec<Vec<u8>> {
    let zeros = vec![0; ZEROS];
    let name = |file: &str| format!("example.com/m@v1.10.0/{file}");
    let files = FILES.map(|file| (name(file), &zeros[..]));
    let files: Vec<_> = files
        .iter()
        .map(|(name, zeros)| (&**name, *zeros))
        .collect();
    let first = zip(&files, CompressionMethod::DEFLATE);
    let versions = (0..ZIPS).map(|number| format!("m@v1.{}.0/", 10 + number));
    let named = versions.map(|version| {
        let mut zip = first.clone();
        for at in 0..zip.len() - version.len() {
            if zip[at..].starts_with(b"m@v1.10.0/") {
                zip[at..at + version.len()].copy_from_slice(version.as_bytes());
            }
        }
        zip
    });
    named.collect()
}

/// A host that has the zips, and what asks for all of them.
fn staged() -> (Sandbox, Origin, Vec<String>, Vec<Vec<u8>>) {
    let zips = zips();
    let mut content = Content::default();
    for (number, zip) in zips.iter().enumerate() {
        content = content.and_file(PROXY, &path(number), 200, "application/zip", zip.clone());
    }
    let urls = (0..ZIPS).map(|number| format!("https://{PROXY}{}", path(number)));
    let fetch = [tested().to_string_lossy().into_owned(), "fetch".into()];
    let fetch = fetch.into_iter().chain(urls).collect();
    (Sandbox::new(), Origin::start(content), fetch, zips)
}

/// The same with a recording of them.
fn recorded() -> (Sandbox, Origin, Vec<PathBuf>) {
    let (sandbox, origin, fetch, zips) = staged();
    let words: Vec<&str> = fetch.iter().map(String::as_str).collect();
    let flags = ["--no-har", "--pcap", "none"];
    run(record(&sandbox, &origin, &flags, &words), LIMIT).expect_success();
    let bodies = zips.iter().map(|zip| body(&sandbox, zip));
    let bodies = bodies.collect();
    (sandbox, origin, bodies)
}

/// Where a recording keeps a body.
fn body(sandbox: &Sandbox, body: &[u8]) -> PathBuf {
    let name = sha256_hex(body);
    let folder = sandbox.join("recordings/one/bodies").join(&name[..2]);
    folder.join(name)
}

/// Waits until somebody reads one of some files.
struct Reading(rustix::fd::OwnedFd);

impl Reading {
    fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("a descriptor");
        for file in files {
            inotify::add_watch(&watch, file, inotify::WatchFlags::ACCESS).expect("it is there");
        }
        Self(watch)
    }

    fn wait(self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.0, &mut buffer);
        events.next().expect("an event");
    }
}

fn everywhere(modtape: &mut Command, origin: &Origin) {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    modtape.args(["--connect-to", &everywhere, "--upstream-ca"]);
    modtape.arg(origin.root_pem_path());
}

/// All that was recorded is there: a replay answers with it.
fn assert_whole(sandbox: &Sandbox, bodies: &[PathBuf]) {
    let recording = recording(sandbox, "one");
    assert_eq!(recording.status(), Status::Closed);
    assert_eq!((recording.damage(), recording.gaps().len()), (&[][..], 0));
    assert!(bodies.iter().all(|body| body.exists()));
    let mut replay = sandbox.modtape(["replay", "one", "--strict", "--"]);
    replay.arg(tested()).arg("fetch");
    replay.args((0..ZIPS).map(|number| format!("https://{PROXY}{}", path(number))));
    run(replay, LIMIT).expect_success();
}

/// Starts it, and sends the signal while the zips are read.
fn interrupted(modtape: Command, bodies: &[PathBuf]) -> Output {
    let reading = Reading::of(bodies);
    let running = Spawned::start(modtape);
    reading.wait();
    running.signal(Signal::INT);
    running.end()
}

#[test]
fn a_seal_hears_ctrl_c_while_it_checks() {
    let (sandbox, origin, bodies) = recorded();
    let mut seal = sandbox.modtape(["seal", "one"]);
    everywhere(&mut seal, &origin);
    let ended = interrupted(seal, &bodies);
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    let told = "stopped by a signal: one is not sealed yet";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert_whole(&sandbox, &bodies);
}

#[test]
fn a_verification_hears_ctrl_c_while_it_checks() {
    let (sandbox, origin, bodies) = recorded();
    let url = format!("https://{PROXY}");
    for flags in [&[][..], &["--against", &url]] {
        let mut verify = sandbox.modtape(["verify", "one"]);
        verify.args(flags);
        if !flags.is_empty() {
            everywhere(&mut verify, &origin);
        }
        let ended = interrupted(verify, &bodies);
        assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
        let told = "stopped by a signal: not all was verified";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    assert_whole(&sandbox, &bodies);
}

#[test]
fn a_recorder_hears_ctrl_c_while_it_checks_and_the_exit_code_is_the_commands() {
    let (sandbox, origin, fetch, zips) = staged();
    // Of a command that failed, each zip is hashed.
    let script = format!("{}; echo fetched; read _; exit 3", fetch.join(" "));
    let recorder = record(
        &sandbox,
        &origin,
        &["--no-har", "--pcap", "none"],
        &["sh", "-c", &script],
    );
    let mut recorder = Spawned::start(recorder);
    recorder.wait_for_stdout("fetched");
    let bodies: Vec<PathBuf> = zips.iter().map(|zip| body(&sandbox, zip)).collect();
    let reading = Reading::of(&bodies);
    recorder.type_keys(b"\n");
    reading.wait();
    recorder.signal(Signal::INT);
    let ended = recorder.end();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    let told = "a signal stopped the check of the answers";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(recording(&sandbox, "one").manifest().replayable.unchecked);
    assert_whole(&sandbox, &bodies);
}

/// What nobody checked is checked by the first who uses it, and a lie is not replayed.
#[test]
fn what_was_not_checked_is_checked_when_it_is_replayed() {
    let (sandbox, origin, bodies) = recorded();
    let page = Rule::suffix(".info").status(200).body("<html>Sign in");
    origin.add_rule(page);
    let mut seal = sandbox.modtape(["seal", "one"]);
    everywhere(&mut seal, &origin);
    assert_eq!(interrupted(seal, &bodies).status.code(), Some(130));
    let mut replay = sandbox.modtape(["replay", "one", "--strict", "--"]);
    let info = format!("https://{PROXY}/example.com/m/@v/v1.10.0.info");
    replay.arg(tested()).args(["fetch", &info]);
    let replayed = run(replay, LIMIT);
    let refused = "it was answered with something else, which is not replayed: it is an HTML page";
    assert!(replayed.stderr.contains(refused), "{}", replayed.stderr);
}
