//! The commands and the file of docs/operating.md.

use std::fs;
use std::path::Path;

use super::answers::{MOD, PROXY, ZIP, file, hello};
use super::replicas::Server as Redis;
use super::store::Bucket;
use super::*;

/// The code block in `language` below the heading that begins with `heading`.
fn block(heading: &str, language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let (_, below) = page
        .split_once(&format!("## {heading}"))
        .expect("a heading");
    let (_, block) = below
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    block.split_once("```").expect("its end").0.to_owned()
}

/// Writes the page's file, with these lines in place of that of the store, and what differs in a sandbox.
fn configure(sandbox: &Sandbox, origin: &Origin, store: &str) {
    let text = block("One machine", "toml");
    let text = text
        .replace("store = \"/var/cache/modtape\"\n", store)
        .replace("0.0.0.0:4080", "0.0.0.0:0")
        .replace("/var/cache/modtape", "store");
    assert!(text.contains("0.0.0.0:0") && text.contains("\"store\""));
    let port = origin.addr().port();
    let root = origin.root_pem_path().display().to_string();
    let ours =
        format!("host = '127.0.0.1'\nconnect-to = '::127.0.0.1:{port}'\nupstream-ca = '{root}'\n");
    fs::write(sandbox.join("modtape.toml"), text + &ours).expect("our own folder");
}

/// The words of a command of the page behind `modtape`, with others in the place of some.
fn words(heading: &str, replaced: &[(&str, &str)]) -> Vec<String> {
    let command = block(heading, "sh");
    let command = command
        .trim()
        .strip_prefix("modtape ")
        .expect("a command")
        .to_owned();
    let replace = |command: String, (from, to): &(&str, &str)| {
        assert!(command.contains(from), "{command}: {from}");
        command.replace(from, to)
    };
    let command = replaced.iter().fold(command, replace);
    command.split_whitespace().map(str::to_owned).collect()
}

fn modtape(sandbox: &Sandbox, words: &[String]) -> Command {
    sandbox.modtape(words.iter().map(String::as_str))
}

/// What is behind the token of the page's file.
fn get_with_token(serving: &Serving, path: &str) -> Answer {
    serving.get(&format!("/a-secret-of-24-characters-or-more{path}"))
}

#[test]
fn one_machine_is_run_from_the_file() {
    let Some(content) = hello() else { return };
    let (origin, sandbox) = (Origin::start(content), Sandbox::new());
    configure(&sandbox, &origin, "store = \"/var/cache/modtape\"\n");
    let mut command = modtape(&sandbox, &words("One machine", &[]));
    command.current_dir(sandbox.path());
    let serving = Serving::told(Spawned::start(command));
    let answer = get_with_token(&serving, MOD);
    assert_eq!(
        (answer.status, answer.body),
        (200, file(MOD)),
        "{}",
        answer.head
    );
    assert_eq!(serving.get(MOD).status, 401);
    assert!(sandbox.join("store/v1/answers").is_dir());
    let said = serving.end().stderr;
    assert!(
        said.contains("/TOKEN,direct ") && !said.contains("a-secret"),
        "{said}"
    );
}

#[test]
fn replicas_share_a_store_and_redis() {
    let Some(content) = hello() else { return };
    let (origin, first, second) = (Origin::start(content), Sandbox::new(), Sandbox::new());
    let (Some(bucket), Some(redis)) = (Bucket::start(), Redis::start(&first)) else {
        return;
    };
    let shared = block("Several machines", "toml")
        .replace("s3://modules/go", "s3://team/modules")
        .replace("redis://redis.corp:6379/0", &redis.url());
    assert!(
        shared.contains("team") && shared.contains("unix"),
        "{shared}"
    );
    let [one, two] = [&first, &second].map(|sandbox| {
        configure(sandbox, &origin, &shared);
        let mut command = modtape(sandbox, &words("One machine", &[]));
        bucket.env(&mut command);
        command.current_dir(sandbox.path());
        Serving::told(Spawned::start(command))
    });
    for serving in [&one, &two] {
        for path in [MOD, ZIP] {
            let answer = get_with_token(serving, path);
            assert!(
                answer.status == 200 && answer.body == file(path),
                "{}",
                answer.head
            );
        }
        let ready = serving.get("/readyz").text();
        assert!(
            ready.contains("store") && ready.contains("redis"),
            "{ready}"
        );
    }
    assert_eq!(asked(&origin, MOD), 1);
    for serving in [one, two] {
        serving.end();
    }
    assert!(second.join("store/v1/answers").is_dir());
}

#[test]
fn a_store_is_filled_from_another_server() {
    let Some(content) = hello() else { return };
    let (origin, sandbox) = (Origin::start(content), Sandbox::new());
    let Some(project) = sandbox.project("hello") else {
        return;
    };
    let words = words(
        "Move from Athens or goproxy",
        &[("http://athens.corp:3000", PROXY)],
    );
    let mut command = modtape(&sandbox, &words);
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    command.args(["--connect-to", &everywhere, "--upstream-ca"]);
    command.arg(origin.root_pem_path()).current_dir(project);
    run(command, LIMIT).expect_success();
    assert!(asked(&origin, ZIP) == 1 && asked(&origin, MOD) == 1);
}
