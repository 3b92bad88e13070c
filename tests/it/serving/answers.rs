//! What is answered, what is kept, and what never is.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::*;

pub(super) const ZIP: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.zip";
pub(super) const MOD: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.mod";
const LIST: &str = "/github.com/!burnt!sushi/toml/@v/list";
pub(super) const PROXY: &str = "https://proxy.golang.org";

pub(super) fn hello() -> Option<Content> {
    Content::corpus("hello", Sumdb::Heads)
}

pub(super) fn file(path: &str) -> Vec<u8> {
    let folder = corpus_folder("hello").expect("the project is there");
    fs::read(folder.join("proxy").join(&path[1..])).expect("it is in the corpus")
}

#[test]
fn thirty_clients_at_once_are_one_request_upstream() {
    let Some(content) = hello() else { return };
    let slow = Rule::suffix(ZIP).delay(Duration::from_millis(300));
    let origin = Origin::builder(content).rule(slow).start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &[]);
    let (address, expected) = (serving.address, file(ZIP));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..30).map(|_| scope.spawn(|| get(address, ZIP))).collect();
        for client in clients {
            let answer = client.join().expect("no panic");
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.body, expected);
        }
    });
    assert_eq!(asked(&origin, ZIP), 1);
    assert_eq!(serving.get(ZIP).tier(), "disk");
    assert_eq!(asked(&origin, ZIP), 1);
    serving.end();
}

#[test]
fn what_is_not_what_was_asked_for_is_neither_sent_nor_kept() {
    let Some(content) = hello() else { return };
    let page = "<!DOCTYPE html><title>Sign in</title>";
    let mut damaged = file(ZIP);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let other = format!("{}\n// changed\n", String::from_utf8_lossy(&file(MOD)));
    for (path, rule) in [
        (LIST, Rule::suffix(LIST).status(200).body(page)),
        (ZIP, Rule::suffix(ZIP).status(200).body(page)),
        (MOD, Rule::suffix(MOD).status(200).body(page)),
        (MOD, Rule::suffix(MOD).status(200).body(other)),
        (ZIP, Rule::suffix(ZIP).status(200).body(damaged)),
        (ZIP, Rule::suffix(ZIP).short(1000)),
        (ZIP, Rule::suffix(ZIP).ends_early(1000)),
    ] {
        let content = content.clone();
        let list = "v1.3.2\n".as_bytes();
        let content = content.and_file("proxy.golang.org", LIST, 200, "text/plain", list);
        let origin = Origin::builder(content).rule(rule).start();
        let sandbox = Sandbox::new();
        let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
        let answer = serving.get(path);
        assert!(
            answer.status == 502 || !answer.is_whole,
            "{path}: {answer:?}"
        );
        if answer.status == 502 {
            assert!(answer.text().starts_with("modtape: "), "{}", answer.text());
        }
        origin.clear_rules();
        let answer = serving.get(path);
        assert_eq!((answer.status, answer.is_whole), (200, true), "{answer:?}");
        if path != LIST {
            assert_eq!(answer.body, file(path));
        }
        serving.end();
    }
}

#[test]
fn a_silent_upstream_is_left_for_the_next() {
    let Some(content) = hello() else { return };
    let origin = Origin::builder(content.clone())
        .rule(Rule::host("silent.example").silent())
        .start();
    let sandbox = Sandbox::new();
    let list = "https://silent.example,https://proxy.golang.org";
    let flags = ["--upstream-idle-timeout", "300ms", "--no-ahead"];
    let serving = Serving::start(&sandbox, &origin, list, &flags);
    let answer = serving.get(MOD);
    assert_eq!((answer.status, answer.is_whole), (200, true), "{answer:?}");
    let requests = origin.requests();
    let silent = requests
        .iter()
        .filter(|served| served.host == "silent.example");
    // One for a module, and one for the checksum database.
    assert_eq!(silent.count(), 2);
    serving.end();
}

#[test]
fn nobody_upstream_is_an_error_in_words_and_never_a_404() {
    for (rule, expected, told) in [
        (Rule::any().silent(), 504, "no response head from a.example"),
        (Rule::any().reset(), 502, "a.example"),
        (
            Rule::any().status(503).body("overloaded\n"),
            502,
            "overloaded",
        ),
        (Rule::any().status(403).body("no entry\n"), 403, "no entry"),
        (
            Rule::any().status(404).body("fetch timed out\n"),
            502,
            "fetch timed out",
        ),
    ] {
        let origin = Origin::builder(Content::default()).rule(rule).start();
        let sandbox = Sandbox::new();
        let flags = ["--upstream-idle-timeout", "300ms"];
        let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
        let answer = serving.get("/a.example/x/@v/list");
        assert_eq!(answer.status, expected, "{answer:?}");
        assert!(answer.text().contains(told), "{}", answer.text());
        serving.end();
    }
}

#[test]
fn that_there_is_no_such_thing_is_remembered_for_a_minute() {
    let origin = Origin::start(Content::default());
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    let path = "/a.example/x/@v/list";
    assert_eq!(serving.get(path).status, 404);
    let again = serving.get(path);
    assert_eq!((again.status, again.tier()), (404, "memory"));
    assert_eq!(asked(&origin, path), 1);
    serving.end();
}

/// Makes every kept answer older.
fn age(store: &Path, seconds: u64) {
    let mut folders = vec![store.join("v1/answers")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).expect("a folder") {
            let file = file.expect("an entry").path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let text = fs::read_to_string(&file).expect("a text");
            let (head, body) = text.split_once('\n').expect("a head");
            let mut head: serde_json::Value = serde_json::from_str(head).expect("JSON");
            let at = head["at"].as_u64().expect("a number");
            head["at"] = (at - seconds).into();
            fs::write(&file, format!("{head}\n{body}")).expect("our own folder");
        }
    }
}

#[test]
fn an_old_list_is_served_when_its_upstream_is_dead_and_says_its_age() {
    let list = |text: &str| {
        let path = "/a.example/x/@v/list";
        Content::files([(("a.example", path), (200, "text/plain", text.to_owned()))])
    };
    let origin = Origin::start(list("v1.0.0\n"));
    let sandbox = Sandbox::new();
    let path = "/a.example/x/@v/list";
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    assert_eq!(serving.get(path).tier(), "miss");
    serving.end();
    // Two minutes: it is served at once. Two hours: only since nobody gives another.
    for (seconds, is_dead) in [(120, false), (7200, true)] {
        age(&sandbox.join("store"), seconds);
        if is_dead {
            origin.add_rule(Rule::any().reset());
        }
        let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
        let answer = serving.get(path);
        assert_eq!((answer.status, answer.tier()), (200, "stale"), "{answer:?}");
        assert_eq!(answer.text(), "v1.0.0\n");
        let age: u64 = field(&answer.head, "age")
            .and_then(|age| age.parse().ok())
            .expect("an age");
        assert!(age >= seconds, "{answer:?}");
        serving.end();
    }
}

#[test]
fn a_path_that_is_none_is_refused_and_reaches_nobody() {
    let origin = Origin::start(Content::default());
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    for path in [
        "/a.example/../b/@v/list",
        "/a.example/%2e%2e/b/@v/list",
        "/a.example//b/@v/list",
        "/a.example%2fb/@v/list",
        "//",
        "/favicon.ico",
    ] {
        assert_eq!(serving.get(path).status, 400, "{path}");
    }
    assert_eq!(origin.requests().len(), 0);
    serving.end();
}

#[test]
fn parts_of_a_zip_heads_and_other_methods() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &[]);
    let (address, zip) = (serving.address, file(ZIP));
    assert_eq!(serving.get(ZIP).body, zip);
    let last = zip.len() - 1;
    for (range, from, to) in [
        ("0-99", 0, 99),
        ("100-", 100, last),
        ("-10", last - 9, last),
    ] {
        let answer = ask(address, "GET", ZIP, &format!("Range: bytes={range}\r\n"));
        assert_eq!(answer.status, 206, "{answer:?}");
        assert_eq!(answer.body, zip[from..=to], "{range}");
        let told = format!("bytes {from}-{to}/{}", zip.len());
        assert_eq!(field(&answer.head, "content-range"), Some(&*told));
    }
    let beyond = format!("Range: bytes={}-\r\n", zip.len());
    assert_eq!(ask(address, "GET", ZIP, &beyond).status, 416);
    let head = ask(address, "HEAD", ZIP, "");
    let length = zip.len().to_string();
    assert_eq!(
        (head.status, field(&head.head, "content-length")),
        (200, Some(&*length))
    );
    assert!(head.body.is_empty());
    let put = ask(address, "PUT", ZIP, "Content-Length: 0\r\n");
    assert_eq!(
        (put.status, field(&put.head, "allow")),
        (405, Some("get, head"))
    );
    assert_eq!(get(address, "/healthz").status, 200);
    assert_eq!(get(address, "/readyz").status, 200);
    serving.end();
}

#[test]
fn offline_names_the_versions_that_are_whole() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &[]);
    assert_eq!(serving.get(ZIP).status, 200);
    assert_eq!(serving.get(MOD).status, 200);
    let info = MOD.replace(".mod", ".info");
    assert_eq!(serving.get(&info).status, 200);
    serving.end();
    origin.add_rule(Rule::any().reset());
    let served = origin.requests().len();
    let mut command = sandbox.modtape(["serve", "--listen", "127.0.0.1:0", "--store", "store"]);
    command.arg("--offline").current_dir(sandbox.path());
    let serving = Serving::told(Spawned::start(command));
    assert_eq!(serving.get(ZIP).body, file(ZIP));
    assert_eq!(serving.get(LIST).text(), "v1.3.2\n");
    let latest = serving.get(&LIST.replace("@v/list", "@latest"));
    assert!(latest.text().contains("v1.3.2"), "{latest:?}");
    let absent = serving.get("/a.example/x/@v/list");
    assert_eq!(absent.status, 504, "{absent:?}");
    assert!(absent.text().contains("not kept here"), "{absent:?}");
    assert_eq!(origin.requests().len(), served);
    serving.end();
}

#[test]
fn a_store_that_is_too_small_for_a_zip_serves_it_all_the_same() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--disk-max", "20KB"]);
    for _ in 0..3 {
        let answer = serving.get(ZIP);
        assert_eq!((answer.status, answer.body), (200, file(ZIP)));
    }
    serving.end();
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_paths_begin_with_it() {
    let origin = Origin::builder(Content::default())
        .rule(Rule::any().status(200).body("v1.0.0\n"))
        .start();
    let sandbox = Sandbox::new();
    let open = sandbox.modtape(["serve", "--listen", "0.0.0.0:0", "--store", "store"]);
    let refused = run(open, LIMIT);
    assert_eq!(refused.status.code(), Some(125), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--token auto"),
        "{}",
        refused.stderr
    );
    assert!(!sandbox.join("store").exists());
    let flags = ["--token", "test-token-0123456789abcdef"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let path = "/a.example/x/@v/list";
    for shown in ["", "/test-token-0123456789abcde", "/other"] {
        assert_eq!(
            serving.get(&format!("{shown}{path}")).status,
            401,
            "{shown}"
        );
    }
    assert_eq!(
        serving
            .get(&format!("/test-token-0123456789abcdef{path}"))
            .status,
        200
    );
    serving.end();
}

#[test]
fn the_largest_tree_head_that_was_proved_is_given_to_auditors() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    let path = "/sumdb/sum.golang.org/latest";
    // None is known yet, and no other database.
    assert_eq!(serving.get(path).status, 400);
    assert_eq!(serving.get(MOD).status, 200);
    let head = serving.get(path);
    assert_eq!(head.status, 200, "{head:?}");
    assert!(
        head.text().starts_with("go.sum database tree\n"),
        "{head:?}"
    );
    assert!(head.text().contains("\u{2014} sum.golang.org "), "{head:?}");
    assert_eq!(serving.get("/sumdb/other.example/latest").status, 400);
    serving.end();
}

#[test]
fn a_version_that_no_url_has_as_it_is_harms_nobody_else() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    for odd in [
        "x%20y",
        "%252e%252e%252fz",
        "a%23b",
        "50%25",
        "a%3fb",
        "%5bx%5d",
    ] {
        let path = format!("/a.example/m/@v/{odd}.info");
        let answer = serving.get(&path);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    // Nobody upstream is asked for something else, and everybody still is asked.
    let others = [
        "/a.example/m/@v/a",
        "/a.example/m/@v/x",
        "/a.example/m/@v/50%",
    ];
    let paths = origin.paths();
    assert!(
        paths.iter().all(|path| !others.contains(&path.as_str())),
        "{paths:?}"
    );
    assert_eq!(serving.get(MOD).body, file(MOD));
    serving.end();
}

#[test]
fn a_database_that_is_not_known_is_not_asked_for_and_changes_nothing() {
    let Some(content) = hello() else { return };
    // This proxy relays no database: the gateway asks the database itself.
    let origin = Origin::start(content.supported_is_404());
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    for path in [
        "/sumdb/evil.example/tile/8/0/000",
        "/sumdb/evil.example/lookup/a.b/c@v1.0.0",
    ] {
        assert_eq!(serving.get(path).status, 404, "{path}");
    }
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(serving.get(ZIP).body, file(ZIP));
    assert_eq!(serving.get(ZIP).tier(), "disk", "it was proved");
    serving.end();
}

#[test]
fn a_database_that_cannot_say_whether_it_is_relayed_is_asked_again() {
    let Some(content) = hello() else { return };
    let unsure = Rule::suffix("/supported").status(503).times(3);
    let origin = Origin::builder(content.supported_is_404())
        .rule(unsure)
        .start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    // Nobody vouches for it at the moment.
    assert_eq!(serving.get(MOD).body, file(MOD));
    serving.end();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    assert_eq!(serving.get(MOD).tier(), "miss", "it was not kept");
    serving.end();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    assert_eq!(serving.get(MOD).tier(), "disk");
    serving.end();
}

#[test]
fn a_text_that_never_ends_well_leaves_its_proxy_in_use() {
    let Some(content) = hello() else { return };
    let info = MOD.replace(".mod", ".info");
    let origin = Origin::builder(content)
        .rule(
            Rule::suffix(&info)
                .status(200)
                .body("{}")
                .content_length(100)
                .short(1),
        )
        .start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    assert_eq!(serving.get(&info).status, 502);
    assert_eq!(serving.get(MOD).body, file(MOD));
    serving.end();
}
