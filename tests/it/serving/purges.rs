//! `modtape cache purge`: what it drops, and that servers that run hear of it.

use std::time::Duration;

use super::*;

const LIST: &str = "/a.example/x/@v/list";
const OTHER: &str = "/a.example/x/sub/@v/list";

fn origin_of(text: &str) -> Origin {
    let rule = |path| Rule::suffix(path).status(200).body(text.to_owned());
    Origin::builder(Content::default())
        .rule(rule(LIST))
        .rule(rule(OTHER))
        .start()
}

/// Purges, and gives what was printed.
fn purge(sandbox: &Sandbox, words: &[&str]) -> Output {
    let mut command = sandbox.modtape(["cache", "purge"]);
    command.args(words).current_dir(sandbox.path());
    run(command, LIMIT)
}

/// Asks until the answer comes from elsewhere than memory or disk.
pub(super) fn until_purged(serving: &Serving, path: &str) -> Answer {
    let mut answer = serving.get(path);
    for _ in 0..100 {
        if answer.tier() == "miss" || answer.tier() == "redis" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        answer = serving.get(path);
    }
    answer
}

#[test]
fn what_is_purged_is_gone_from_disk_and_from_the_memory_of_a_server_that_runs() {
    let origin = origin_of("v1.0.0\n");
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    for path in [LIST, OTHER] {
        assert_eq!(serving.get(path).tier(), "miss");
        assert_eq!(serving.get(path).tier(), "memory");
    }
    let purged = purge(
        &sandbox,
        &["a.example/x@list", "--store", "store", "--json"],
    );
    let purged = purged.expect_success();
    let json: serde_json::Value = serde_json::from_str(&purged.stdout).expect("JSON");
    assert_eq!(json["purge"], "a.example/x@list");
    let place = &json["places"][0];
    assert_eq!(place["place"], "store");
    assert_eq!(place["removed"][0]["path"], &LIST[1..]);
    assert_eq!(place["removed"].as_array().map(Vec::len), Some(1));
    origin.clear_rules();
    origin.add_rule(Rule::suffix(LIST).status(200).body("v1.1.0\n"));
    let answer = until_purged(&serving, LIST);
    assert_eq!((answer.tier(), &*answer.text()), ("miss", "v1.1.0\n"));
    // Another module, though its path begins with that one's.
    assert_eq!(serving.get(OTHER).tier(), "memory");
    serving.end();
    let again = purge(&sandbox, &["a.example/x", "--store", "store"]).expect_success();
    assert!(again.stdout.starts_with(&LIST[1..]), "{}", again.stdout);
    let none = purge(&sandbox, &["a.example/x", "--store", "store"]).expect_success();
    assert!(none.stdout.is_empty(), "{}", none.stdout);
}

#[test]
fn what_names_no_module_or_no_store_is_refused() {
    let sandbox = Sandbox::new();
    for (words, code, told) in [
        (&["x y", "--store", "store"][..], 2, "x y"),
        (&["a.example/x@", "--store", "store"], 2, "a.example/x@"),
        (&["a.example/x", "--store", "store"], 3, "holds no answers"),
        (&["a.example/x"], 3, "holds no answers"),
    ] {
        let refused = purge(&sandbox, words);
        assert_eq!(refused.status.code(), Some(code), "{}", refused.stderr);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert!(!sandbox.join("store").exists());
}
