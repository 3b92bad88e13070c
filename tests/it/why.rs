//! `modtape why`: what requires a module, of runs of the real go command.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::record::record;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

/// Records a cold run of go on the corpus project `name`; `None` where the corpus or go is not here.
fn recorded(name: &str, words: &[&str]) -> Option<Sandbox> {
    let sandbox = Sandbox::new();
    let content = Content::corpus(name, Sumdb::Proxy)?;
    let go = sandbox.go("1.27")?;
    sandbox.project(name)?;
    let origin = Origin::start(content);
    let mut command = vec![go.to_str().expect("paths of tests are text")];
    command.extend(words);
    run(
        record(&sandbox, &origin, &["--cold", "--no-har"], &command),
        LIMIT,
    )
    .expect_success();
    Some(sandbox)
}

fn why(sandbox: &Sandbox, args: &[&str]) -> Output {
    let args = ["why"].iter().chain(args).copied();
    run(sandbox.modtape(args), LIMIT)
}

fn json(sandbox: &Sandbox, module: &str) -> Value {
    let output = why(sandbox, &[module, "one", "--json"]).expect_success();
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[test]
fn a_chain_begins_at_the_main_module_and_its_requests_are_counted() {
    let Some(sandbox) = recorded("hello", &["mod", "download"]) else {
        return;
    };
    let dir = sandbox.join("project/recordings/one");
    for (kept, from) in [("main.mod", "go.mod"), ("main.sum", "go.sum")] {
        let from = sandbox.join("project").join(from);
        assert_eq!(fs::read(dir.join(kept)).ok(), fs::read(from).ok(), "{kept}");
    }
    let text = why(&sandbox, &["golang.org/x/sync", "one"]).expect_success();
    let text = text.stdout;
    let begin = "example.com/hello (the main module)\n  requires golang.org/x/sync v0.3.0\n";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.contains("v0.3.0   chosen"), "{text}");
    let told = json(&sandbox, "golang.org/x/sync@v0.3.0");
    let kinds: BTreeSet<_> = told["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|request| request["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["info", "mod", "zip"].into());
    let (share, wall) = (told["share_us"].as_u64(), told["wall_us"].as_u64());
    assert!(share > Some(0) && share < wall, "{told:#}");
}

#[test]
fn of_many_versions_the_one_is_chosen_that_go_lists() {
    let Some(sandbox) = recorded("web", &["mod", "download", "-x"]) else {
        return;
    };
    // `go list -m golang.org/x/crypto` in that project.
    let told = json(&sandbox, "golang.org/x/crypto");
    let chosen: Vec<_> = told["versions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|version| version["chosen"] == true)
        .map(|version| version["version"].clone())
        .collect();
    assert_eq!(chosen, ["v0.14.0"], "{told:#}");
    assert_eq!(told["pruned"], true);
    let first = &told["chain"][0];
    assert_eq!(first["module"], "example.com/web");
    assert_eq!(first["version"], "");
    assert_eq!(first["link"], Value::Null);
}

#[test]
fn a_module_that_is_not_there_comes_with_what_was_meant() {
    let Some(sandbox) = recorded("hello", &["mod", "download"]) else {
        return;
    };
    for (asked, near) in [
        ("x/sync", "did you mean golang.org/x/sync?"),
        (
            "github.com/burntsushi/toml",
            "did you mean github.com/BurntSushi/toml?",
        ),
        (
            "golang.org/x/sync/errgroup",
            "did you mean golang.org/x/sync?",
        ),
        (
            "golang.org/x/sync@v0.4.0",
            "there is golang.org/x/sync@v0.3.0",
        ),
        ("BURNTSUSHI", "did you mean github.com/BurntSushi/toml?"),
        ("sushi", "did you mean github.com/BurntSushi/toml?"),
        ("nothing/like/it", "`modtape ls one` lists what is"),
    ] {
        let output = why(&sandbox, &[asked, "one"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(output.stderr.contains(near), "{asked}: {}", output.stderr);
        assert!(output.stderr.contains("is not on the recording one"));
    }
}

#[test]
fn every_key_is_documented_and_every_documented_one_is_there() {
    let Some(sandbox) = recorded("hello", &["mod", "download"]) else {
        return;
    };
    let mut found = BTreeSet::new();
    crate::formats::keys::collect(&mut found, "", &json(&sandbox, "golang.org/x/sync"));
    let documented = crate::formats::keys::documented("Why").into_iter();
    assert_eq!(found, documented.collect());
}

/// A sandbox with this go.mod in its project, and the go command with which `run` is recorded there.
fn recorded_with(
    files: &[(&str, &str)],
    env: &[(&str, &str)],
    words: &[&str],
) -> Option<(Sandbox, Output)> {
    let sandbox = Sandbox::new();
    let content = Content::corpus("hello", Sumdb::Proxy)?;
    let go = sandbox.go("1.27")?;
    let origin = Origin::start(content);
    let project = sandbox.join("project");
    for (name, text) in files {
        let file = project.join(name);
        fs::create_dir_all(file.parent().expect("a file stands in a folder"))
            .expect("our own folder");
        fs::write(file, text).expect("our own folder");
    }
    let go = go.to_str().expect("paths of tests are text");
    let command = [&[go], words].concat();
    let mut command = record(&sandbox, &origin, &["--cold", "--no-har"], &command);
    command.envs(env.iter().copied());
    let output = run(command, LIMIT);
    Some((sandbox, output))
}

/// The path of the module that the chain to `module` begins at.
fn begins_at(sandbox: &Sandbox, module: &str) -> String {
    let told = json(sandbox, module);
    assert_eq!(told["missing"], 0, "{told:#}");
    told["chain"][0]["module"]
        .as_str()
        .expect("a path")
        .to_owned()
}

#[test]
fn of_a_workspace_the_chain_begins_at_the_module_that_requires_it() {
    let files = [
        ("go.work", "go 1.18\n\nuse (\n\t./app\n\t./lib\n)\n"),
        (
            "app/go.mod",
            "module example.com/app\n\ngo 1.18\n\nrequire github.com/google/uuid v1.3.1\n",
        ),
        (
            "lib/go.mod",
            "module example.com/lib\n\ngo 1.16\n\nrequire golang.org/x/sync v0.3.0\n",
        ),
    ];
    // From the workspace's folder, where there is no go.mod, and from that of a module, by `-C`.
    for words in [&["mod", "download"][..], &["mod", "download", "-C", "app"]] {
        let Some((sandbox, output)) = recorded_with(&files, &[("GOWORK", "")], words) else {
            return;
        };
        output.expect_success();
        let dir = sandbox.join("project/recordings/one");
        for (kept, (_, text)) in ["main.work", "main.1.mod", "main.2.mod"].iter().zip(files) {
            assert_eq!(
                fs::read_to_string(dir.join(kept)).ok().as_deref(),
                Some(text)
            );
        }
        let text = why(&sandbox, &["golang.org/x/sync", "one"]).expect_success();
        let begin = "example.com/lib (in the workspace)\n  requires golang.org/x/sync v0.3.0\n";
        assert!(text.stdout.starts_with(begin), "{}", text.stdout);
        assert_eq!(
            begins_at(&sandbox, "github.com/google/uuid"),
            "example.com/app"
        );
    }
    // A command that works on one module only.
    let words = ["mod", "tidy", "-C", "lib"];
    let Some((sandbox, output)) = recorded_with(&files, &[("GOWORK", "")], &words) else {
        return;
    };
    output.expect_success();
    let dir = sandbox.join("project/recordings/one");
    assert!(dir.join("main.mod").exists() && !dir.join("main.work").exists());
}

#[test]
fn another_file_in_place_of_go_mod_is_the_one_that_is_kept() {
    let main = "module example.com/app\n\ngo 1.18\n";
    let tools = format!("{main}\nrequire golang.org/x/sync v0.3.0\n");
    let files = [("go.mod", main), ("tools.mod", &*tools)];
    let by_flag = recorded_with(&files, &[], &["mod", "download", "-modfile=tools.mod"]);
    let goflags = [("GOFLAGS", "-modfile=tools.mod")];
    let by_setting = recorded_with(&files, &goflags, &["mod", "download"]);
    for (sandbox, output) in by_flag.into_iter().chain(by_setting) {
        output.expect_success();
        let project = sandbox.join("project");
        for (kept, from) in [("main.mod", "tools.mod"), ("main.sum", "tools.sum")] {
            let kept = fs::read_to_string(project.join("recordings/one").join(kept));
            assert_eq!(kept.ok(), fs::read_to_string(project.join(from)).ok());
        }
        assert_eq!(begins_at(&sandbox, "golang.org/x/sync"), "example.com/app");
    }
}

/// A toolchain is no module that another requires.
#[test]
fn of_a_toolchain_the_line_is_told_that_asks_for_it() {
    let lines = [
        ("go 1.99.0", "go 1.99.0"),
        ("go 1.21\ntoolchain go1.99.1", "toolchain go1.99.1"),
    ];
    for (lines, line) in lines {
        let main = format!("module example.com/app\n\n{lines}\n");
        let env = [("GOTOOLCHAIN", "auto")];
        let words = ["mod", "download"];
        let Some((sandbox, output)) = recorded_with(&[("go.mod", &main)], &env, &words) else {
            return;
        };
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = why(&sandbox, &["golang.org/toolchain", "one"]).expect_success();
        let expected = format!("the line `{line}` of your go.mod asks for it");
        assert!(told.stdout.contains(&expected), "{}", told.stdout);
    }
}

/// A module whose go.mod declares another path, one that needs a newer Go, and one that was retracted:
/// what go says of them, and the first finding.
#[test]
fn what_go_mod_files_say_is_found() {
    let info =
        |version: &str| format!("{{\"Version\":\"{version}\",\"Time\":\"2020-01-01T00:00:00Z\"}}");
    let cases = [
        (
            "module example.com/new\n\ngo 1.20\n",
            "module declares its path as",
            "MT305",
            "example.com/new in its go.mod",
        ),
        (
            "module example.com/old\n\ngo 1.99\n",
            "requires go >= 1.99",
            "MT118",
            "example.com/old v1.0.0 needs Go 1.99, and GOTOOLCHAIN=local",
        ),
    ];
    for (served, said, code, title) in cases {
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go("1.27") else {
            return;
        };
        let host = "proxy.golang.org";
        let path = "/example.com/old/@v/v1.0.0";
        let content = Content::default()
            .and_file(host, &format!("{path}.mod"), 200, "text/plain", served)
            .and_file(
                host,
                &format!("{path}.info"),
                200,
                "application/json",
                info("v1.0.0"),
            );
        let origin = Origin::start(content);
        let project = sandbox.join("project");
        fs::create_dir(&project).expect("our own folder");
        let main = "module example.com/main\n\ngo 1.21\n\nrequire example.com/old v1.0.0\n";
        fs::write(project.join("go.mod"), main).expect("our own folder");
        let go = go.to_str().expect("paths of tests are text");
        let flags = ["--cold", "--no-har"];
        let mut command = record(&sandbox, &origin, &flags, &[go, "mod", "graph"]);
        command.env("GOSUMDB", "off");
        let output = run(command, LIMIT);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains(said), "{}", output.stderr);
        let report = run(
            sandbox.modtape(["report", "one", "--format", "json"]),
            LIMIT,
        );
        let report: Value = serde_json::from_str(&report.expect_success().stdout).expect("JSON");
        let first = &report["findings"][0];
        assert_eq!(first["code"], code, "{report:#}");
        assert_eq!(first["severity"], "problem");
        let found = first["title"].as_str().unwrap_or_default();
        assert!(found.contains(title), "{found}");
    }
}
