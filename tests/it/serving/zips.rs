//! Zips that do not come whole at first, and a store that takes none.

use super::answers::{MOD, PROXY, ZIP, file, hello};
use super::replicas::Server as Redis;
use super::*;

/// Where a body breaks off: clients have seen some of it by then, bytes.
const BROKEN: u64 = 200_000;

/// A proxy whose answers a rule makes, before one that has everything.
const BOTH: &str = "https://other.example,https://proxy.golang.org";

fn other() -> Rule {
    Rule::when(|served| served.host == "other.example" && served.path == ZIP)
}

fn asked_of(origin: &Origin, host: &str) -> usize {
    let requests = origin.requests();
    let zips = requests.iter().filter(|served| served.path == ZIP);
    zips.filter(|served| served.host == host).count()
}

#[test]
fn a_zip_that_breaks_off_is_asked_for_again_and_clients_see_it_whole() {
    let Some(content) = hello() else { return };
    for rule in [
        Rule::suffix(ZIP).short(BROKEN),
        Rule::suffix(ZIP).ends_early(BROKEN),
    ] {
        let origin = Origin::builder(content.clone()).rule(rule.times(1)).start();
        let sandbox = Sandbox::new();
        let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
        let answer = serving.get(ZIP);
        assert!(
            answer.status == 200 && answer.body == file(ZIP),
            "{}",
            answer.head
        );
        assert_eq!(asked(&origin, ZIP), 2);
        assert_eq!(serving.get(ZIP).tier(), "disk");
        serving.end();
    }
}

#[test]
fn what_one_entry_does_not_send_whole_the_next_one_has() {
    let Some(content) = hello() else { return };
    let page = "<!DOCTYPE html><title>Sign in</title>";
    // What a machine may stall for is no silence, and what is silent is not waited for as long.
    for (rule, idle, times) in [
        // Asked again, and again.
        (other().status(200).body(file(ZIP)).short(BROKEN), "20s", 3),
        // Silence is not waited for twice.
        (
            other().status(200).body(file(ZIP)).stall_after(BROKEN),
            "300ms",
            1,
        ),
        // And what is wrong does not become right.
        (other().status(200).body(page), "20s", 1),
        (
            other().status(200).body(file(ZIP)[..50_000].to_vec()),
            "20s",
            1,
        ),
    ] {
        let origin = Origin::builder(content.clone()).rule(rule).start();
        let sandbox = Sandbox::new();
        let flags = ["--no-ahead", "--upstream-idle-timeout", idle];
        let serving = Serving::start(&sandbox, &origin, BOTH, &flags);
        let answer = serving.get(ZIP);
        assert!(
            answer.status == 200 && answer.body == file(ZIP),
            "{}",
            answer.head
        );
        assert_eq!(asked_of(&origin, "other.example"), times);
        assert_eq!(asked_of(&origin, "proxy.golang.org"), 1);
        serving.end();
    }
}

#[test]
fn a_text_that_is_wrong_is_asked_of_the_next_entry() {
    let Some(content) = hello() else { return };
    let is_wrong = |served: &Served| served.host == "other.example" && served.path == MOD;
    let changed = format!("{}\n// changed\n", String::from_utf8_lossy(&file(MOD)));
    let rule = Rule::when(is_wrong).status(200).body(changed);
    let origin = Origin::builder(content).rule(rule).start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, BOTH, &["--no-ahead"]);
    let answer = serving.get(MOD);
    assert_eq!((answer.status, answer.body), (200, file(MOD)));
    let said = serving.end().stderr;
    assert!(said.contains("is refused: its hash is"), "{said}");
}

#[test]
fn the_rest_of_another_zip_is_never_put_behind_the_beginning_of_one() {
    let Some(content) = hello() else { return };
    let mut changed = file(ZIP);
    changed[1000] ^= 1;
    let rule = other().status(200).body(changed).short(BROKEN);
    let origin = Origin::builder(content).rule(rule).start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, BOTH, &["--no-ahead"]);
    let answer = serving.get(ZIP);
    assert!(!answer.is_whole, "{}", answer.head);
    // Who asks now has seen nothing yet; the entry that broke off is left alone, or fails again.
    origin.clear_rules();
    let answer = serving.get(ZIP);
    assert!(
        answer.status == 200 && answer.body == file(ZIP),
        "{}",
        answer.head
    );
    serving.end();
}

/// A server whose store is a disk of `size`; `None`, with a line on stderr, where no disk can be mounted.
fn on_a_small_disk(
    sandbox: &Sandbox,
    origin: &Origin,
    flags: &[&str],
    size: &str,
) -> Option<Serving> {
    let probe = program("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skipped("no mount namespaces here");
        return None;
    }
    let plain = Serving::command(sandbox, origin, PROXY, flags);
    std::fs::create_dir_all(sandbox.join("store")).expect("our own folder");
    let mut command = program("unshare");
    command.args(["-rm", "sh", "-c"]);
    command.arg(format!(
        "mount -t tmpfs -o size={size} tmpfs store && exec \"$@\""
    ));
    command.arg("sh").arg(plain.get_program());
    command.args(plain.get_args()).current_dir(sandbox.path());
    command.env_clear();
    command.envs(
        plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    Some(Serving::told(Spawned::start(command)))
}

#[test]
fn a_purge_removes_from_a_disk_that_takes_no_more_files() {
    let Some(content) = hello() else { return };
    let sandbox = Sandbox::new();
    let Some(redis) = Redis::start(&sandbox) else {
        return;
    };
    let url = redis.url();
    let origin = Origin::start(content);
    let flags = ["--no-ahead", "--redis", &url, "-v"];
    let Some(serving) = on_a_small_disk(&sandbox, &origin, &flags, "150k") else {
        return;
    };
    assert_eq!(serving.get(MOD).tier(), "miss");
    // Others fill it: it is mounted for the server alone.
    let root = format!("/proc/{}/root", serving.modtape.id());
    let filler = sandbox.join("store/filler");
    let filler = format!("{root}{}", filler.display());
    let full = std::fs::write(filler, vec![0; 150 << 10]);
    assert!(full.is_err(), "it has no more room");
    let info = MOD.replace(".mod", ".info");
    assert_eq!(serving.get(&info).status, 200);
    // For five seconds from here on.
    serving
        .modtape
        .wait_for_stderr("writing to the store is left out");
    let module = "github.com/BurntSushi/toml@v1.3.2";
    let purge = sandbox.modtape(["cache", "purge", module, "--redis", &url]);
    run(purge, LIMIT).expect_success();
    serving.modtape.wait_for_stderr("is purged");
    let purged = serving.get(MOD);
    assert_eq!((purged.status, purged.tier()), (200, "miss"));
    serving.end();
}

#[test]
fn a_store_that_is_full_keeps_nothing_and_holds_nobody_up() {
    let Some(content) = hello() else { return };
    let sandbox = Sandbox::new();
    let origin = Origin::start(content);
    // As much as the folders take, and a part of the zip.
    for size in ["40k", "150k"] {
        let Some(serving) = on_a_small_disk(&sandbox, &origin, &["--no-ahead"], size) else {
            return;
        };
        for _ in 0..2 {
            let answer = serving.get(ZIP);
            assert!(
                answer.status == 200 && answer.body == file(ZIP),
                "{size}: {}",
                answer.head
            );
        }
        let answer = serving.get(MOD);
        assert_eq!((answer.status, answer.body), (200, file(MOD)), "{size}");
        let said = serving.end().stderr;
        assert!(said.contains("No space left"), "{said}");
    }
}
