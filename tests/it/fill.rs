//! `replay --on-miss record`: what a recording lacks comes from the network once, and is replayed from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modtape::recording::Recording;
use rustix::process::Signal;
use serde_json::json;

use crate::hostile::forgery::Craft;
use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(120);

const PROXY: &str = "proxy.golang.org";
const STORE: &str = "storage.googleapis.com";
const LIST: &str = "/example.com/m/@v/list";
const MOD: &str = "/example.com/m/@v/v1.0.0.mod";
const ZIP: &str = "/example.com/m/@v/v1.0.0.zip";

/// `replay one --on-miss record` by what stands in for the internet.
fn fill(sandbox: &Sandbox, origin: &Origin, flags: &[&str], command: &[&str]) -> Command {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut modtape = sandbox.modtape(["replay", "one", "--on-miss", "record"]);
    modtape.args(["--connect-to", &everywhere, "--upstream-ca"]);
    modtape.arg(origin.root_pem_path());
    modtape.args(flags).arg("--").args(command);
    modtape
}

/// The same where nobody is.
fn fill_alone(sandbox: &Sandbox, command: &[&str]) -> Command {
    let mut modtape = sandbox.modtape(["replay", "one", "--on-miss", "record"]);
    modtape
        .args(["--connect-to", "::127.0.0.1:1", "--"])
        .args(command);
    modtape
}

fn replay(sandbox: &Sandbox, command: &[&str]) -> Output {
    let mut modtape = sandbox.modtape(["replay", "one", "--strict", "--"]);
    modtape.args(command);
    run(modtape, LIMIT)
}

/// A client that asks for these one after another.
fn fetches(paths: &[&str]) -> Vec<String> {
    let urls = paths.iter().map(|path| format!("https://{PROXY}{path}"));
    [tested().to_string_lossy().into_owned(), "fetch".into()]
        .into_iter()
        .chain(urls)
        .collect()
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

/// A recording of [`MOD`] alone, from `origin`.
fn recorded(origin: &Origin) -> Sandbox {
    let sandbox = Sandbox::new();
    let command = fetches(&[MOD]);
    let flags = ["--no-har", "--pcap", "none"];
    run(record(&sandbox, origin, &flags, &words(&command)), LIMIT).expect_success();
    sandbox
}

fn content() -> Content {
    let text = "text/plain";
    Content::files([
        ((PROXY, MOD), (200, text, "module example.com/m\n")),
        ((PROXY, LIST), (200, text, "v1.0.0\n")),
    ])
}

#[test]
fn what_another_command_needs_is_fetched_once_and_then_it_is_there() {
    let sandbox = Sandbox::new();
    // With one tree head: with several, each order of requests wants other tiles.
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let Some(go) = sandbox.go("1.27") else { return };
    if sandbox.project_without_sums("hello").is_none() {
        return;
    }
    let go = go.to_str().expect("paths of tests are text");
    let origin = Origin::start(content);
    let download = [go, "mod", "download", "golang.org/x/sync"];
    run(record(&sandbox, &origin, &["--cold"], &download), LIMIT).expect_success();
    let before = origin.requests().len();
    let rows = recording(&sandbox, "one").rows().len();
    let tidy = [go, "mod", "tidy"];
    let output = run(fill(&sandbox, &origin, &[], &tidy), LIMIT).expect_success();
    let told = " fetched and added, 0 failed";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    let fetched = origin.requests().len() - before;
    let filled = recording(&sandbox, "one");
    assert_eq!(filled.rows().len(), rows + fetched);
    assert_eq!((filled.runs().len(), filled.damage().len()), (2, 0));
    // The same again costs nothing, and so does a replay where nobody is.
    let sum = fs::read(sandbox.join("project/go.sum")).expect("tidy writes it");
    fs::remove_file(sandbox.join("project/go.sum")).expect("our own folder");
    let again = run(fill(&sandbox, &origin, &[], &tidy), LIMIT).expect_success();
    assert!(
        again.stderr.contains(" 0 fetched and added, 0 failed"),
        "{}",
        again.stderr
    );
    assert_eq!(origin.requests().len(), before + fetched);
    assert_eq!(
        recording(&sandbox, "one").runs().len(),
        2,
        "nothing, no run"
    );
    drop(origin);
    fs::remove_file(sandbox.join("project/go.sum")).expect("our own folder");
    replay(&sandbox, &tidy).expect_success();
    assert!(fs::read(sandbox.join("project/go.sum")).expect("tidy writes it") == sum);
    run(fill_alone(&sandbox, &download), LIMIT).expect_success();
}

/// Asks for a list that was recorded in January, where `origin` answers today; then without a network.
fn list_of_january(origin: &Origin, asked: usize) -> (Output, Output) {
    let sandbox = Sandbox::new();
    let text = "v1.0.0\n";
    let body = json!({"sha256": sha256_hex(text.as_bytes()), "bytes": text.len(), "inline": text});
    Craft::new(&sandbox.join("recordings/one"))
        .says("state", "closed".into())
        .with("open", "wall", "2026-01-01T00:00:00Z".into())
        .with("begin", "url", format!("https://{PROXY}{LIST}").into())
        .with("end", "body", body)
        .write();
    let command = fetches(&vec![LIST; asked]);
    let filled = run(fill(&sandbox, origin, &[], &words(&command)), LIMIT).expect_success();
    let command = fetches(&[LIST]);
    (filled, replay(&sandbox, &words(&command)).expect_success())
}

#[test]
fn what_may_have_changed_is_asked_for_again_and_the_new_answer_stays() {
    let content = Content::files([((PROXY, LIST), (200, "text/plain", "v1.0.0\nv1.1.0\n"))]);
    let origin = Origin::start(content);
    // The second time it is a moment old.
    let (filled, _) = list_of_january(&origin, 2);
    let told = "1 answered from one, 1 fetched and added, 0 failed";
    assert!(filled.stderr.contains(told), "{}", filled.stderr);
    assert_eq!(origin.paths(), [LIST]);
}

#[test]
fn what_nobody_can_say_today_is_as_it_was() {
    for broken in [
        Rule::any().status(503),
        Rule::any().status(404),
        Rule::any().hang_up(),
    ] {
        let origin = Origin::builder(Content::default()).rule(broken).start();
        let (filled, after) = list_of_january(&origin, 1);
        let told = "0 answered from one, 1 more though nobody could say whether they are outdated";
        assert!(filled.stderr.contains(told), "{}", filled.stderr);
        assert!(filled.stderr.contains("0 failed"), "{}", filled.stderr);
        assert!(
            after.stderr.contains("1 answered, 0 missing"),
            "{}",
            after.stderr
        );
    }
}

/// Answers of a replay that wraps a client of the test's.
async fn asked(
    modtape: Command,
    sandbox: &Sandbox,
    ask: impl AsyncFnOnce(std::net::SocketAddr, PathBuf),
) -> Output {
    let (replay, proxy, root) = Spawned::proxy(modtape, sandbox);
    ask(proxy, root).await;
    let ended = tokio::task::spawn_blocking(move || replay.end()).await;
    ended.expect("no panic").expect_success()
}

const TELLING: [&str; 3] = ["/bin/sh", "-c", TELLS];

async fn get(proxy: std::net::SocketAddr, root: &Path, host: &str, path: &str) -> Response {
    let mut session = Client::session(proxy, &Hello::new(host, root)).await;
    let request = session.request(path);
    session.send(request).await.expect("an answer")
}

#[tokio::test]
async fn two_clients_that_ask_for_one_thing_at_once_cost_one_request() {
    let late = Rule::suffix("/list").delay(Duration::from_millis(300));
    let origin = Origin::builder(content()).rule(late).start();
    let sandbox = recorded(&origin);
    let modtape = fill(&sandbox, &origin, &[], &TELLING);
    let output = asked(modtape, &sandbox, async |proxy, root| {
        let one = get(proxy, &root, PROXY, LIST);
        let other = get(proxy, &root, PROXY, LIST);
        let third = get(proxy, &root, PROXY, MOD);
        let (one, other, third) = tokio::join!(one, other, third);
        assert!(one.is_whole_ok() && third.is_whole_ok());
        assert_eq!(
            (&one.body[..], &other.body[..]),
            (&b"v1.0.0\n"[..], &b"v1.0.0\n"[..])
        );
    })
    .await;
    let told = "2 answered from one, 1 fetched and added, 0 failed";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    assert_eq!(origin.paths(), [MOD, LIST]);
}

/// A zip that is redirected to a signed URL: the signature is on no disk, so that both are fetched together.
#[tokio::test]
async fn what_is_redirected_to_a_signed_url_is_fetched_to_its_end() {
    let signed = format!("https://{STORE}/m.zip?X-Goog-Signature=0123456789abcdef0123456789abcdef");
    let zip = zip(
        &[("example.com/m@v1.0.0/go.mod", b"module example.com/m\n")],
        rawzip::CompressionMethod::STORE,
    );
    let content = content().and_file(STORE, "/m.zip", 200, "application/zip", zip.clone());
    let is_signed = |served: &Served| {
        let is_theirs = served.host == STORE;
        is_theirs && !served.raw_path.contains("0123456789abcdef0123456789abcdef")
    };
    let origin = Origin::builder(content)
        .rule(Rule::suffix("v1.0.0.zip").redirect(&signed))
        .rule(Rule::when(is_signed).status(403))
        .start();
    let sandbox = recorded(&origin);
    for modtape in [fill(&sandbox, &origin, &[], &TELLING), {
        let mut modtape = sandbox.modtape(["replay", "one", "--strict", "--"]);
        modtape.args(TELLING);
        modtape
    }] {
        asked(modtape, &sandbox, async |proxy, root| {
            let hop = get(proxy, &root, PROXY, ZIP).await;
            let to = hop.header("location").expect("a redirect").to_owned();
            assert!(to.contains("redacted"), "{to}");
            let path = to.split_once(STORE).map_or("/", |(_, path)| path);
            let answer = get(proxy, &root, STORE, path).await;
            assert!(answer.is_whole_ok() && answer.body == zip, "{answer:?}");
        })
        .await;
    }
    assert_eq!(origin.paths(), [MOD, ZIP, "/m.zip"]);
}

/// A page of a portal is given to nobody, neither now nor later; once it is gone the file is fetched.
#[test]
fn what_is_something_else_is_not_given_and_does_not_stay() {
    let page = Rule::suffix(".info")
        .header("content-type", "text/html")
        .body("<html>Sign in");
    let info = "/example.com/m/@v/v1.0.0.info";
    let text = r#"{"Version":"v1.0.0"}"#;
    let content = content().and_file(PROXY, info, 200, "application/json", text);
    let origin = Origin::builder(content).rule(page).start();
    let sandbox = recorded(&origin);
    let command = fetches(&[info]);
    let output = run(
        fill(&sandbox, &origin, &["--strict"], &words(&command)),
        LIMIT,
    );
    assert!(!output.status.success(), "{}", output.stderr);
    let told = "failed: info example.com/m v1.0.0 (what was answered is something else: it is an HTML page)";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    let output = replay(&sandbox, &words(&command));
    assert!(
        output.stderr.contains("0 answered, 1 missing"),
        "{}",
        output.stderr
    );
    origin.clear_rules();
    run(fill(&sandbox, &origin, &[], &words(&command)), LIMIT).expect_success();
    replay(&sandbox, &words(&command)).expect_success();
}

/// A host wants credentials: who brings them gets what is there, and so does every replay.
#[tokio::test]
async fn what_was_refused_without_credentials_is_asked_for_with_them() {
    let has_none = |served: &Served| !served.headers.contains_key("authorization");
    let refused = Rule::when(move |served| served.path == LIST && has_none(served)).status(401);
    let origin = Origin::builder(content()).rule(refused).start();
    let sandbox = recorded(&origin);
    asked(
        fill(&sandbox, &origin, &[], &TELLING),
        &sandbox,
        async |proxy, root| {
            let mut session = Client::session(proxy, &Hello::new(PROXY, &root)).await;
            let answer = session.get(LIST).await.expect("an answer");
            assert_eq!(answer.status, 401);
            let mut request = session.request(LIST);
            let basic = "Basic dTpjb3JyZWN0LWhvcnNl"
                .parse()
                .expect("a header value");
            request.headers_mut().insert("authorization", basic);
            let answer = session.send(request).await.expect("an answer");
            assert!(answer.is_whole_ok(), "{answer:?}");
        },
    )
    .await;
    let journal = fs::read_to_string(sandbox.join("recordings/one/journal.ndjson"));
    assert!(!journal.expect("a journal").contains("dTpjb3JyZWN0LWhvcnNl"));
    replay(&sandbox, &words(&fetches(&[LIST]))).expect_success();
}

/// What is longer than go takes of its kind is given up and not kept as whole.
#[test]
fn what_has_no_end_is_given_up() {
    let endless = |path: &'static str, mib: u64| {
        Rule::suffix(path)
            .status(200)
            .generated(mib << 20)
            .chunked()
    };
    let store = format!("https://{STORE}/long");
    let info = "/example.com/m/@v/v1.0.0.info";
    let mods = [
        "/example.com/m/@v/v1.7.0.mod",
        "/example.com/m/@v/v1.8.0.mod",
    ];
    for (path, rules) in [
        (info, vec![endless(info, 17)]),
        (mods[0], vec![endless(mods[0], 17).gzip()]),
        // The kind is that of what was asked for.
        (
            mods[1],
            vec![Rule::suffix(mods[1]).redirect(&store), endless("/long", 17)],
        ),
    ] {
        let origin = Origin::builder(content());
        let origin = rules
            .into_iter()
            .fold(origin, |origin, rule| origin.rule(rule))
            .start();
        let sandbox = recorded(&origin);
        let command = fetches(&[path]);
        let output = run(
            fill(&sandbox, &origin, &["--strict"], &words(&command)),
            LIMIT,
        );
        assert!(!output.status.success(), "{path}: {}", output.stderr);
        let told = " v1.";
        assert!(output.stderr.contains(told), "{path}: {}", output.stderr);
        assert!(
            output.stderr.contains("(it is longer than 16 MiB)"),
            "{path}: {}",
            output.stderr
        );
        let filled = recording(&sandbox, "one");
        let long = filled
            .rows()
            .iter()
            .filter(|row| row.status == Some(200) && row.url.contains(path));
        assert!(long.into_iter().all(|row| row.body.is_none()), "{path}");
        // Of what is redirected the hop is whole.
        let command = match path == mods[1] {
            true => [&command[..2], std::slice::from_ref(&store)].concat(),
            false => command,
        };
        let output = replay(&sandbox, &words(&command));
        assert!(
            output.stderr.contains("1 missing"),
            "{path}: {}",
            output.stderr
        );
    }
}

#[test]
fn a_second_one_on_the_same_recording_is_refused() {
    let origin = Origin::start(content());
    let sandbox = recorded(&origin);
    let first = Spawned::start(fill(
        &sandbox,
        &origin,
        &[],
        &["/bin/sh", "-c", "echo on; read _"],
    ));
    first.wait_for_stdout("on");
    let second = run(fill(&sandbox, &origin, &[], &["true"]), LIMIT);
    assert_eq!(second.status.code(), Some(125), "{}", second.stderr);
    assert!(
        second.stderr.contains("is being written"),
        "{}",
        second.stderr
    );
    // Who only reads need not wait.
    let command = fetches(&[MOD]);
    let mut reader = sandbox.modtape(["replay", "one", "--"]);
    reader.args(&command);
    let output = run(reader, LIMIT).expect_success();
    assert!(
        output.stderr.contains("1 answered, 0 missing"),
        "{}",
        output.stderr
    );
    first.signal(Signal::TERM);
    drop(first.end());
}

/// Killed at any moment, it leaves a recording that replays what it replayed before, and that the next one
/// completes.
#[test]
fn a_kill_loses_nothing_of_what_was_there() {
    const AT_ONCE: usize = 6;
    let large = format!("module example.com/m\n{}", "// more\n".repeat(4_000));
    let origin = Origin::builder(content())
        // It lies in a file of its own.
        .rule(Rule::suffix("/v1.1.0.mod").status(200).body(large))
        .rule(
            Rule::suffix("/v1.2.0.mod")
                .status(200)
                .body("module example.com/m\n"),
        )
        .start();
    let sandbox = recorded(&origin);
    let path =
        |moment: usize, n: usize| format!("/example.com/m{moment}x{n}/@v/v1.{}.0.mod", 1 + n % 2);
    let moments = count(5, 100);
    for moment in 0..moments {
        let paths: Vec<String> = (0..AT_ONCE).map(|n| path(moment, n)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let seen = origin.requests().len();
        let modtape = Spawned::start(fill(&sandbox, &origin, &[], &words(&fetches(&paths))));
        origin.wait_for(|log| log.requests.len() > seen + moment % AT_ONCE, LIMIT);
        modtape.signal(Signal::KILL);
        drop(modtape.end());
        let recording = Recording::open_whole(&sandbox.join("recordings/one")).expect("it opens");
        assert_eq!(recording.damage(), &[], "moment {moment}");
        let mut reader = sandbox.modtape(["replay", "one", "--"]);
        reader.args(fetches(&[MOD]));
        let output = run(reader, LIMIT).expect_success();
        assert!(
            output.stderr.contains("1 answered, 0 missing"),
            "{}",
            output.stderr
        );
    }
    let all: Vec<String> = (0..moments)
        .flat_map(|moment| (0..AT_ONCE).map(move |n| path(moment, n)))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let command = fetches(&all);
    run(fill(&sandbox, &origin, &[], &words(&command)), LIMIT).expect_success();
    drop(origin);
    replay(&sandbox, &words(&command)).expect_success();
}
