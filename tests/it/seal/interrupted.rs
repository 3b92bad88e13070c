//! A seal that is cut off, and one that gets no answer: nothing is lost, and the next one goes on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use modtape::recording::Recording;
use rustix::process::Signal;

use super::{LIMIT, go_mod_download, go_mod_tidy, is_sealed, seal, seal_alone, sealing};
use crate::crash::random::Dice;
use crate::record::recording;
use crate::support::*;

/// The exchanges of the first run, each with what can be read of it.
fn first_run(recording: &Recording) -> Vec<(String, Option<u16>, String)> {
    let rows = recording.rows().iter().take_while(|row| {
        let first = recording.rows().first();
        first.is_some_and(|first| first.begin.offset <= row.begin.offset)
    });
    rows.take(first_run_length(recording))
        .map(|row| {
            let exchange = recording.exchange(row).expect("it verifies");
            let body = exchange.end().and_then(|end| end.body.as_ref());
            let body = body.map_or(String::new(), |body| {
                let mut bytes = Vec::new();
                let mut reader = recording.body(body).expect("it is there");
                std::io::Read::read_to_end(&mut reader, &mut bytes).expect("it verifies");
                sha256_hex(&bytes)
            });
            (row.url.clone(), row.status, body)
        })
        .collect()
}

fn first_run_length(recording: &Recording) -> usize {
    // Numbers go on behind those of the run before.
    let ids: Vec<u64> = recording.rows().iter().map(|row| row.id).collect();
    let rises = ids.windows(2).take_while(|pair| pair[0] < pair[1]).count();
    rises.min(ids.len().saturating_sub(1)) + 1
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a file can be copied")),
        }
    }
}

#[test]
fn a_seal_that_is_killed_at_any_moment_loses_nothing_and_the_next_one_goes_on() {
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    let dir = sandbox.join("project/recordings/one");
    let kept = sandbox.join("kept");
    copy(&dir, &kept);
    let recorded = Recording::open_whole(&dir).expect("it opens");
    let (before, exchanges) = (first_run(&recorded), recorded.rows().len());
    let asked = origin.requests().len();
    seal(&sandbox, &origin, &[]).expect_success();
    let asked = origin.requests().len() - asked;
    let mut dice = Dice::roll("kills of a seal");
    for _ in 0..count(8, 100) {
        fs::remove_dir_all(&dir).expect("our own folder");
        copy(&kept, &dir);
        let until = origin.requests().len() + 1 + dice.below(asked as u64) as usize;
        let running = Spawned::start(sealing(&sandbox, &origin, &[]));
        origin.wait_for(|log| log.requests.len() >= until, LIMIT);
        running.signal(Signal::KILL);
        running.end();
        let killed = Recording::open_whole(&dir).expect("it opens");
        assert_eq!(killed.damage(), []);
        assert!(killed.rows().len() >= exchanges);
        let own = first_run(&killed);
        assert_eq!(own[..exchanges], before[..], "what was there is there");
        seal(&sandbox, &origin, &[]).expect_success();
        seal_alone(&sandbox).expect_success();
    }
}

#[test]
fn a_seal_without_an_answer_says_whose_and_keeps_the_others() {
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    let alone = seal_alone(&sandbox);
    assert_eq!(alone.status.code(), Some(1), "{}", alone.stderr);
    let named = "proxy.golang.org: modtape: cannot connect to 127.0.0.1:1";
    assert!(alone.stderr.contains(named), "{}", alone.stderr);
    assert!(
        alone.stderr.contains("one is not sealed"),
        "{}",
        alone.stderr
    );
    // One file is refused, another never comes.
    origin.add_rule(
        Rule::suffix("/sync/@v/v0.3.0.info")
            .status(503)
            .body("out of order"),
    );
    origin.add_rule(Rule::suffix("/toml/@v/v1.3.2.info").silent());
    let partly = seal(&sandbox, &origin, &["--upstream-idle-timeout", "300ms"]);
    assert_eq!(partly.status.code(), Some(1), "{}", partly.stderr);
    for told in [
        "info golang.org/x/sync v0.3.0: proxy.golang.org: out of order",
        "info github.com/BurntSushi/toml v1.3.2: proxy.golang.org: ",
    ] {
        assert!(partly.stderr.contains(told), "{told}: {}", partly.stderr);
    }
    let json = seal(
        &sandbox,
        &origin,
        &["--json", "--upstream-idle-timeout", "300ms"],
    );
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("one object");
    assert_eq!(
        (&json["sealed"], &json["asked"]),
        (&false.into(), &2.into()),
        "{json}"
    );
    assert_eq!(json["missing"].as_array().map(Vec::len), Some(2), "{json}");
    origin.clear_rules();
    let whole = seal(&sandbox, &origin, &[]).expect_success();
    assert!(whole.stderr.contains("2 requests sent"), "{}", whole.stderr);
}

#[test]
fn ctrl_c_ends_a_seal_in_order() {
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    origin.add_rule(Rule::suffix(".info").silent());
    let asked = origin.requests().len();
    let running = Spawned::start(sealing(&sandbox, &origin, &[]));
    origin.wait_for(|log| log.requests.len() > asked, LIMIT);
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("one is not sealed yet"),
        "{}",
        ended.stderr
    );
    assert_eq!(recording(&sandbox, "one").damage(), []);
    origin.clear_rules();
    seal(&sandbox, &origin, &[]).expect_success();
}

#[test]
fn two_seals_at_once_do_not_meet() {
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    origin.add_rule(Rule::suffix(".info").silent());
    let asked = origin.requests().len();
    let running = Spawned::start(sealing(&sandbox, &origin, &[]));
    origin.wait_for(|log| log.requests.len() > asked, LIMIT);
    let second = seal(&sandbox, &origin, &[]);
    assert_eq!(second.status.code(), Some(3), "{}", second.stderr);
    let told = "is being written by another recorder";
    assert!(second.stderr.contains(told), "{}", second.stderr);
    assert!(running.runs_for(Duration::ZERO));
    running.interrupt();
    running.end();
}

#[test]
fn nothing_is_sealed_without_the_tiles_that_prove_it() {
    // With sums the command looks nothing up.
    let Some((sandbox, origin)) = go_mod_download("1.27") else {
        return;
    };
    let is_tile = |served: &Served| served.path.contains("/tile/");
    origin.add_rule(Rule::when(is_tile).status(200).body("<html>log in</html>"));
    let portal = seal(&sandbox, &origin, &[]);
    assert_eq!(portal.status.code(), Some(1), "{}", portal.stderr);
    assert!(
        portal.stderr.contains("another length"),
        "{}",
        portal.stderr
    );
    assert!(!is_sealed(&sandbox));
    origin.clear_rules();
    origin.add_rule(Rule::when(is_tile).silent());
    let asked = origin.requests().len();
    let running = Spawned::start(sealing(&sandbox, &origin, &[]));
    origin.wait_for(|log| log.requests.len() > asked, LIMIT);
    running.interrupt();
    assert_eq!(running.end().status.code(), Some(130));
    assert!(!is_sealed(&sandbox));
    origin.clear_rules();
    seal(&sandbox, &origin, &[]).expect_success();
    assert!(is_sealed(&sandbox));
    // More is asked for in vain: what was sealed stays sealed.
    let alone = run(
        sandbox.modtape(["seal", "one", "--all", "--connect-to", "::127.0.0.1:1"]),
        LIMIT,
    );
    assert!(is_sealed(&sandbox), "{}", alone.stderr);
}

#[test]
fn not_here_is_an_answer_if_all_who_are_asked_say_so() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    if sandbox.project_without_sums("hello").is_none() {
        return;
    }
    // The first entry has nothing, the second all but one file, for now.
    let first = |served: &Served| served.host == "goproxy.cn";
    let origin = Origin::builder(content)
        .rule(Rule::when(first).status(404).body("not found"))
        .start();
    let words = [go.to_str().expect("a text"), "mod", "tidy"];
    let mut recording = crate::record::record(&sandbox, &origin, &["--cold"], &words);
    recording.env("GOPROXY", "https://goproxy.cn,https://proxy.golang.org");
    run(recording, LIMIT).expect_success();
    let info = |served: &Served| {
        served.host == "proxy.golang.org" && served.path.ends_with("/toml/@v/v1.3.2.info")
    };
    for body in ["out of order", "not found: fetch timed out"] {
        let status = if body.starts_with("not") { 404 } else { 503 };
        origin.add_rule(Rule::when(info).status(status).body(body));
        for _ in 0..2 {
            let partly = seal(&sandbox, &origin, &[]);
            assert_eq!(partly.status.code(), Some(1), "{body}: {}", partly.stderr);
            let told = format!("v1.3.2: proxy.golang.org: {body}");
            assert!(partly.stderr.contains(&told), "{}", partly.stderr);
        }
        origin.clear_rules();
        origin.add_rule(Rule::when(first).status(404).body("not found"));
    }
    seal(&sandbox, &origin, &[]).expect_success();
}

/// A zip that is not there counts as answered, and not as a zip.
#[test]
fn a_zip_that_nobody_has_is_no_zip() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    if sandbox.project("hello").is_none() {
        return;
    }
    let zip = |served: &Served| served.path.ends_with("/toml/@v/v1.3.2.zip");
    let origin = Origin::builder(content)
        .rule(Rule::when(zip).status(404).body("not found"))
        .start();
    let words = [go.to_str().expect("a text"), "list", "-m", "all"];
    run(
        crate::record::record(&sandbox, &origin, &["--cold"], &words),
        LIMIT,
    )
    .expect_success();
    let sealed = seal(&sandbox, &origin, &[]).expect_success();
    let told = " 2 with zips, 1 zip that nobody has; ";
    assert!(sealed.stderr.contains(told), "{}", sealed.stderr);
}

#[test]
fn what_was_not_kept_is_asked_for_again() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    if sandbox.project("hello").is_none() {
        return;
    }
    let origin = Origin::start(content);
    let words = [go.to_str().expect("a text"), "mod", "download"];
    let flags = ["--cold", "--bodies", "none"];
    run(
        crate::record::record(&sandbox, &origin, &flags, &words),
        LIMIT,
    )
    .expect_success();
    seal(&sandbox, &origin, &[]).expect_success();
    drop(origin);
    let mut modtape = sandbox.modtape(["replay", "one", "--strict", "--"]);
    modtape.args(words);
    run(modtape, LIMIT).expect_success();
}
