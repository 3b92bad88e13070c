//! README and its pages in docs/ say what is true: the session is run, commands and flags exist.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory as _;
use modtape::cli::Cli;

use crate::replays::as_of;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

const PAGES: [&str; 10] = [
    "README.md",
    "docs/recording.md",
    "docs/explaining.md",
    "docs/reading.md",
    "docs/replaying.md",
    "docs/containers.md",
    "docs/serving.md",
    "docs/operating.md",
    "docs/telemetry.md",
    "docs/limits.md",
];

fn pages() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |page: &&str| fs::read_to_string(root.join(page)).expect("the page is there");
    PAGES.iter().map(read).collect()
}

/// The runner's own list of variables, and that of the environment in which tests run.
#[test]
fn what_the_runner_finds_reaches_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).expect("it is there");
    let list = |text: &str, begin: &str, end: &str| -> Vec<String> {
        let (_, list) = text.split_once(begin).expect(begin);
        let (list, _) = list.split_once(end).expect(end);
        let words = list.split_whitespace().filter(|word| *word != "\\");
        words.map(str::to_owned).collect()
    };
    let told = list(&text("tests/alone"), "\ntold=(", ")");
    let found = list(&text("tests/run"), "\nexport MODTAPE_", "\nif $only_tools");
    let found = found
        .iter()
        .map(|name| name.strip_prefix("MODTAPE_").unwrap_or(name));
    for name in found {
        assert!(told.contains(&format!("MODTAPE_{name}")), "{name}");
    }
}

#[test]
fn every_flag_that_they_name_exists() {
    let cli = Cli::command();
    let groups = cli
        .get_subcommands()
        .flat_map(|verb| verb.get_subcommands());
    let known: Vec<_> = cli
        .get_subcommands()
        .chain(groups)
        .flat_map(|verb| verb.get_arguments().filter_map(|arg| arg.get_long()))
        .chain(cli.get_arguments().filter_map(|arg| arg.get_long()))
        .map(str::to_owned)
        .collect();
    let text = pages();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let flags = words.filter_map(|word| word.strip_prefix("--"));
    // Those of cargo, docker, systemd and Prometheus.
    let others = [
        "release",
        "path",
        "add-host",
        "build-arg",
        "secret",
        "mount",
        "no-cache",
        "user",
        "enable-feature",
    ];
    for flag in flags.filter(|flag| !flag.trim_matches('-').is_empty() && !others.contains(flag)) {
        assert!(known.iter().any(|known| known == flag), "--{flag}");
    }
}

/// What the first session shows, with the demo's embedded sample in the internet's place.
#[test]
fn the_demo_ends_as_the_first_session_does() {
    let sandbox = Sandbox::new();
    let output = run(sandbox.modtape(["demo"]), LIMIT).expect_success();
    let mut shown = output.stderr.lines();
    for part in [
        "$ modtape record --cold -- ",
        " requests in ",
        "replay: complete",
        "--strict -- ",
        "nothing is forwarded",
        " answered, 0 missing, 0 went to the network",
        "modtape ls ",
    ] {
        assert!(
            shown.any(|line| line.contains(part)),
            "{part}\n{}",
            output.stderr
        );
    }
}

/// What sealing says of the small project, of which all was downloaded.
#[test]
fn a_seal_says_what_it_shows() {
    let sandbox = Sandbox::new();
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let Some(go) = sandbox.go("1.27") else { return };
    if sandbox.project_without_sums("hello").is_none() {
        return;
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let text = text.expect("the page is there");
    let shown = text.split("$ modtape seal\nmodtape: sealed ").nth(1);
    let shown = shown.and_then(|rest| rest.lines().next()?.split_once(": "));
    let (_, shown) = shown.expect("the example");
    let origin = Origin::start(content);
    let words = [go.to_str().expect("a text"), "mod", "download"];
    run(
        crate::record::record(&sandbox, &origin, &["--cold"], &words),
        LIMIT,
    )
    .expect_success();
    let sealed = crate::seal::seal(&sandbox, &origin, &[]).expect_success();
    assert_eq!(sealed.stderr, format!("modtape: sealed one: {shown}\n"));
}

/// Without a go command the built-in client asks, and all is there as well.
#[test]
fn the_demo_needs_no_go() {
    let sandbox = Sandbox::new();
    let mut modtape = sandbox.modtape(["demo"]);
    modtape.env("PATH", sandbox.join("home"));
    let output = run(modtape, LIMIT).expect_success();
    assert!(
        output.stderr.contains("built-in client"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains(" 0 missing"), "{}", output.stderr);
}

/// The example of `--as-of`: `ci` is a recording of the small project, and today it would say more.
#[test]
fn the_versions_of_a_day_are_those_that_it_shows() {
    let sandbox = Sandbox::new();
    let Some(()) = as_of::recorded(&sandbox, "hello", "go list -m -u all") else {
        return;
    };
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let text = text.expect("the page is there");
    let example = text
        .split("```console\n$ modtape replay ci --as-of ")
        .nth(1);
    let example = example.and_then(|rest| rest.split("```").next());
    let (command, shown) = example
        .and_then(|it| it.split_once('\n'))
        .expect("the example");
    let (day, command) = command.split_once(" -- go ").expect("a command");
    let go = sandbox.go("1.27").expect("it recorded");
    let replay = |flags: &[&str]| {
        let mut replay = sandbox.modtape(["replay", "one"]);
        replay
            .args(flags)
            .arg("--")
            .arg(&go)
            .args(command.split(' '));
        replay.env("GOFLAGS", "-mod=mod");
        run(replay, LIMIT).expect_success().stdout
    };
    assert_eq!(replay(&["--as-of", day]), shown);
    assert_ne!(replay(&[]), shown);
}
