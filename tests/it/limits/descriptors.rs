//! Descriptors that run out: clients wait, nothing spins, and the recording keeps its own.

use modtape::clock::{Clock, Timestamp};
use tokio::task::JoinSet;

use super::*;

/// Few: the recorder needs a dozen for itself.
const FEW: Wrapping = Wrapping {
    har: true,
    descriptors: Some(64),
    script: None,
};

/// So many clients hold an answer at once at least, with 64 descriptors.
const PLACES: usize = 8;

/// Bodies of several files at once, none of which comes to its end.
fn holding() -> Origin {
    let hold = Rule::suffix("/hold").status(200).generated(200_000);
    let kept = Rule::suffix("/kept").status(200).generated(150_000);
    Origin::builder(files())
        .rule(hold.stall_after(100_000))
        .rule(kept)
        .start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_64_descriptors_and_500_clients_nothing_spins_and_nothing_is_lost() {
    let _all = take_descriptors().await;
    let origin = holding();
    let recorder = Recorder::to_wrapped(&origin, &FEW);
    let hello = recorder.hello(HOST).alpn(Alpn::Http2);
    let mut busy = JoinSet::new();
    for _ in 0..40 {
        let (proxy, hello) = (recorder.proxy(), hello.clone());
        busy.spawn(async move {
            let mut session = Client::session(proxy, &hello).await;
            let request = session.request("/hold");
            let response = session.start(request).await.expect("a head");
            std::future::pending::<()>().await;
            drop((session, response));
        });
    }
    let full = |log: &Log| log.requests.len() >= PLACES;
    tokio::task::block_in_place(|| origin.wait_for(full, LIMIT));
    let mut waiting = Vec::new();
    for _ in 0..460 {
        let mut client = Client::open(recorder.proxy()).await;
        let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.send(head).await.expect("the kernel takes it");
        waiting.push(client);
    }
    let process = recorder.process();
    let before = process.cpu();
    // A figure per time needs a time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = process.cpu() - before;
    let open = process.descriptors();
    eprintln!("full: {spent:?} of CPU in 2 s, {open} descriptors");
    assert!(spent < Duration::from_millis(100), "{spent:?} in 2 s");
    assert!(open < 64, "{open}");
    let clock = Clock::start();
    busy.shutdown().await;
    // The first in the kernel's queue; behind it come hundreds that take their time too.
    let accepted = waiting[0].read_head().await.expect("an answer");
    let after = clock.now().since(Timestamp::default());
    eprintln!("accepted again after {after:?}");
    assert!(accepted.starts_with("HTTP/1.1 200 "), "{accepted}");
    // A second is promised; a loaded machine gets more.
    assert!(after < Duration::from_secs(5), "{after:?}");
    drop(waiting);
    let answer = session(&recorder, Alpn::Http2).await.get("/kept").await;
    assert!(answer.expect("an answer").is_whole_ok());
    let recorded = recorder.finish().await;
    let recording = &recorded.recording;
    assert!(recording.gaps().is_empty(), "{:?}", recording.gaps());
    assert!(recording.damage().is_empty(), "{:?}", recording.damage());
    let kept = recorded.exchanges().into_iter().filter_map(|exchange| {
        let end = exchange.end()?;
        exchange
            .begin
            .url
            .ends_with("/kept")
            .then(|| end.body.clone())
    });
    let kept: Vec<_> = kept.flatten().map(|body| (body.bytes, body.kept)).collect();
    assert_eq!(kept, [(150_000, true)]);
}

#[tokio::test]
async fn who_is_idle_makes_room_for_who_comes() {
    let origin = Origin::start(files());
    let recorder = Recorder::to_wrapped(&origin, &FEW);
    let mut held = Vec::new();
    for number in 0..30 {
        let mut session = session(&recorder, BOTH[number % 2]).await;
        let answer = session.get("/a").await.expect("an answer");
        assert!(answer.is_whole_ok(), "{answer:?}");
        held.push(session);
    }
    let closed = held.iter().filter(|session| session.is_closed()).count();
    assert!((1..30).contains(&closed), "{closed} of 30 had to go");
    drop(held);
    let recorded = recorder.finish().await;
    let rows = recorded.recording.connections();
    let why = rows.filter_map(|row| Some(row.closed.as_ref()?.why.clone()));
    let had_to_go = why.filter(|why| why.contains("wanted by another client"));
    assert_eq!(had_to_go.count(), closed);
    assert_eq!(recorded.exchanges().len(), 30);
}

#[test]
fn the_command_gets_the_limits_that_were_there_before() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("/bin/sh");
    let script = "ulimit -Sn 300; exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(tested());
    command.args([
        "record",
        "-o",
        "one",
        "--",
        "/bin/sh",
        "-c",
        "ulimit -Sn; ulimit -Hn",
    ]);
    let output = run(command, LIMIT).expect_success();
    let (soft, hard) = output.stdout.trim().split_once('\n').expect("two lines");
    assert_eq!(soft, "300");
    assert_ne!(hard, "300");
}
