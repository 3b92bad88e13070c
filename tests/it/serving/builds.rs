//! Real go commands through it: cold, warm, and with nobody behind it.

use std::fs;
use std::time::Duration;

use super::*;

/// A guard, no judgement.
const GO_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn hello_is_tidied_cold_warm_and_with_nobody_upstream() {
    for (release, relays) in [("1.21", true), ("1.24", false), ("1.27", true)] {
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go(release) else {
            continue;
        };
        let Some(project) = sandbox.project("hello") else {
            return;
        };
        let expected = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
        let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
        let origin = Origin::start(match relays {
            true => content,
            false => content.supported_is_404(),
        });
        let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
        let tidy = || {
            sandbox.forget_modules();
            fs::write(project.join("go.sum"), "").expect("our own folder");
            let mut command = sandbox.modtape(["serve", "--store", "../store", "--connect-to"]);
            command.arg(&everywhere);
            command.arg("--upstream-ca").arg(origin.root_pem_path());
            command.arg("--").arg(&go).args(["mod", "tidy"]);
            let output = run(command, GO_LIMIT).expect_success();
            let sums = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
            assert_eq!(sums, expected, "{release}");
            assert_eq!(output.stdout, "");
            output
        };
        let cold = tidy();
        // The go.mod of the project tells what go will ask for.
        assert!(cold.stderr.contains(" of them ahead"), "{}", cold.stderr);
        let served = origin.requests().len();
        assert!(served > 0);
        // Tiles of the largest tree may still be asked for, but no module.
        tidy();
        let later = origin.paths().split_off(served);
        assert!(
            later.iter().all(|path| path.contains("/tile/")),
            "{later:?}"
        );
        // Nobody answers any more.
        origin.add_rule(Rule::any().status(500));
        tidy();
        let mut build = sandbox.modtape(["serve", "--store", "../store", "--connect-to"]);
        build.arg(&everywhere);
        build.arg("--").arg(&go).args(["mod", "verify"]);
        run(build, GO_LIMIT).expect_success();
    }
}

#[test]
fn a_command_is_run_as_without_it() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::default());
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut command = sandbox.modtape(["serve", "--store", "store", "--connect-to", &everywhere]);
    command.env("GOPROXY", "https://a.example|direct");
    command.args(["--", "sh", "-c", "echo $GOPROXY; exit 7"]);
    let output = run(command, GO_LIMIT);
    assert_eq!(output.status.code(), Some(7), "{}", output.stderr);
    let goproxy = output.stdout.trim();
    assert!(goproxy.starts_with("http://127.0.0.1:"), "{goproxy}");
    assert!(goproxy.ends_with("|direct"), "{goproxy}");
}

#[test]
fn what_two_commands_have_fetched_serves_others_with_nobody_upstream() {
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    let Some(project) = sandbox.project_without_sums("hello") else {
        return;
    };
    // Each lookup has the tree head that the database had at its time.
    let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
    let origin = Origin::start(content);
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let through = |flags: &[&str], words: &[&str]| {
        sandbox.forget_modules();
        fs::write(project.join("go.sum"), "").expect("our own folder");
        let mut command = sandbox.modtape(["serve", "--store", "../store"]);
        command.args(["--connect-to", &everywhere]).args(flags);
        command.arg("--upstream-ca").arg(origin.root_pem_path());
        command.arg("--").arg(&go).args(words);
        run(command, GO_LIMIT).expect_success()
    };
    through(&[], &["mod", "download", "github.com/google/uuid"]);
    through(&[], &["mod", "tidy"]);
    origin.add_rule(Rule::any().status(500));
    let served = origin.requests().len();
    for words in [["mod", "tidy"], ["mod", "download"], ["list", "-m"]] {
        through(&["--offline"], &words);
    }
    assert_eq!(origin.requests().len(), served, "nobody is asked");
}

#[test]
fn an_upstream_that_cannot_be_asked_is_refused_by_name() {
    let sandbox = Sandbox::new();
    for (upstream, told) in [
        (
            "htp://a.example",
            "--upstream: htp://a.example is no http or https URL",
        ),
        ("off", "--upstream=off has no module proxy"),
        ("direct", "--upstream=direct has no module proxy"),
    ] {
        let flags = [
            "serve",
            "--store",
            "store",
            "--upstream",
            upstream,
            "--",
            "true",
        ];
        let output = run(sandbox.modtape(flags), GO_LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn a_checksum_database_without_a_key_is_refused_as_go_refuses_it() {
    let sandbox = Sandbox::new();
    for (gosumdb, told) in [
        ("sums.example", "key of this checksum database"),
        (
            "sum.golang.org+033de0ae+nonsense",
            "GOSUMDB=sum.golang.org+033de0ae+nonsense",
        ),
    ] {
        let mut command = sandbox.modtape(["serve", "--store", "store", "--", "true"]);
        command.env("GOSUMDB", gosumdb);
        let output = run(command, GO_LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn binaries_are_those_of_a_direct_build() {
    let projects = if is_long() {
        &["hello", "web"][..]
    } else {
        &["hello"]
    };
    for (project, release) in projects
        .iter()
        .flat_map(|project| ["1.21", "1.24", "1.27"].map(|release| (project, release)))
    {
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go(release) else {
            continue;
        };
        let Some(folder) = sandbox.project(project) else {
            return;
        };
        let proxy = corpus_folder(project).expect("it is there").join("proxy");
        let build = ["build", "-trimpath", "-o", "../binary", "."];
        let built = |command: Command| {
            sandbox.forget_modules();
            run(command, GO_LIMIT).expect_success();
            fs::read(sandbox.join("binary")).expect("it was built")
        };
        let mut direct = sandbox.command(&go);
        direct.args(build).current_dir(&folder);
        direct.env("GOPROXY", format!("file://{}", proxy.display()));
        direct.env("GOSUMDB", "off");
        let expected = built(direct);
        let content = Content::corpus(project, Sumdb::Heads).expect("the project is there");
        let origin = Origin::start(content);
        let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
        for flags in [&[][..], &[], &["--offline"]] {
            let mut command = sandbox.modtape(["serve", "--store", "../store"]);
            command.args(["--connect-to", &everywhere]).args(flags);
            command.arg("--upstream-ca").arg(origin.root_pem_path());
            command.arg("--").arg(&go).args(build).current_dir(&folder);
            assert!(
                built(command) == expected,
                "{project}, {release}, {flags:?}"
            );
        }
    }
}
