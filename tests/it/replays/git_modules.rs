//! Modules out of git repositories, by the real go command and the real git: recorded, and replayed with
//! the server gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LIMIT;
use super::git::sh;
use crate::crash::random::Dice;
use crate::record::record;
use crate::support::*;

const HOST: &str = "git.test";

/// `lib` with two tags and a branch `next` behind them; `mono` with a module at its root and one of
/// another major version below it.
const SCRIPT: &str = r#"
module() { mkdir -p "$1" && printf 'module %s\n\ngo 1.18\n' "$2" >"$1/go.mod"; }
git init -q -b main w && cd w
module . git.test/lib && printf 'package lib\n\nconst Version = "one"\n' >lib.go
git add . && git commit -qm one && git tag v1.0.0
printf 'package lib\n\nconst Version = "two"\n' >lib.go && git commit -qam two && git tag -a -m two v1.1.0
git checkout -qb next && echo 'package lib' >next.go && git add . && git commit -qm three
git rev-parse HEAD >../three
echo '// more' >>next.go && git commit -qam four && git checkout -q main
cd .. && git clone -q --bare w lib
git init -q -b main m && cd m
module . git.test/mono && printf 'package mono\n' >mono.go
module sub git.test/mono/sub/v2 && printf 'package sub\n\nconst Version = "two"\n' >sub/sub.go
git add . && git commit -qm one && git tag v1.0.0
echo '// more' >>sub/sub.go && git commit -qam two && git tag sub/v2.0.0 && git tag v1.1.0
echo '// more' >>mono.go && git commit -qam three
cd .. && git clone -q --bare m mono
"#;

/// A folder of repositories, which the host serves below their names.
fn repositories(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.join("repositories");
    fs::create_dir(&root).expect("our own folder");
    let mut made = program("sh");
    made.args(["-ec", SCRIPT]);
    sh(&mut made, &root);
    run(made, LIMIT).expect_success();
    root
}

/// A project that needs modules of both.
fn project(sandbox: &Sandbox) {
    let project = sandbox.join("project");
    fs::create_dir_all(&project).expect("our own folder");
    let main = "package main\n\nimport (\n\t\"git.test/lib\"\n\t\"git.test/mono/sub/v2\"\n)\n\n\
        func main() { println(lib.Version, sub.Version) }\n";
    fs::write(project.join("main.go"), main).expect("our own folder");
    fs::write(project.join("go.mod"), "module app.test/app\n\ngo 1.18\n").expect("our own folder");
    let _ = fs::remove_file(project.join("go.sum"));
}

/// A host that says where its modules are, and has them.
fn host(root: &Path, alpn: Alpn, rules: &[Rule]) -> Origin {
    let origin = Origin::builder(Content::default()).alpn(alpn).start();
    rules.iter().for_each(|rule| origin.add_rule(rule.clone()));
    for module in ["lib", "mono"] {
        let page = format!(
            "<html><head><meta name=\"go-import\" content=\"{HOST}/{module} git https://{HOST}/{module}\">"
        );
        let is_asked = move |served: &Served| {
            let path = served.path.trim_start_matches('/');
            served.raw_path.contains("go-get=1")
                && (path == module || path.starts_with(&format!("{module}/")))
        };
        origin.add_rule(
            Rule::when(is_asked)
                .header("content-type", "text/html")
                .body(page),
        );
    }
    let is_git = |served: &Served| served.raw_path.contains("git-upload-pack");
    origin.add_rule(Rule::when(is_git).git(root));
    origin
}

/// The settings of a user whose modules come from their repositories.
fn direct(command: &mut Command, sandbox: &Sandbox, go: &Path) {
    sh(command, &sandbox.join("project"));
    command.env(
        "PATH",
        search_path(&[go.parent().expect("it lies in a folder")]),
    );
    command.env("GOPROXY", "direct").env("GONOSUMDB", HOST);
    command.env("GOFLAGS", "-mod=mod");
}

/// What a user does, each from the same go.mod: commands of `go`, whose stdout counts with go.mod and
/// go.sum. Some build on what an earlier one fetched.
const STEPS: [&str; 8] = [
    "mod tidy",
    "get git.test/lib@next",
    "get git.test/lib@v1.0.0",
    "get git.test/lib@$(cat ../repositories/three)",
    "mod download -x git.test/mono/sub/v2@v2.0.0 git.test/mono@v1.0.0",
    "list -m -versions git.test/lib git.test/mono/sub/v2",
    "get git.test/mono@main",
    "list -m -u all",
];

/// A script of these steps; a step's name stands before what it printed and left.
fn script(steps: &[usize]) -> String {
    let mut script = String::from("cp go.mod go.mod.first\n");
    for &step in steps {
        script += &format!(
            "cp go.mod.first go.mod; rm -f go.sum\necho '== {step}'; go {}\ncat go.mod go.sum 2>&-||:\n",
            STEPS[step]
        );
    }
    script + "cp go.mod.first go.mod\n"
}

/// What each step printed, in the order of [`STEPS`].
fn by_step(stdout: &str) -> Vec<String> {
    let mut steps: Vec<String> = stdout.split("== ").skip(1).map(str::to_owned).collect();
    steps.sort();
    steps
}

/// Runs these steps from the recording `name` with nothing else; checks that nothing is missing.
fn replayed(sandbox: &Sandbox, name: &str, go: &Path, steps: &[usize]) -> Output {
    let script = script(steps);
    let command = ["replay", name, "--strict", "--", "sh", "-ec", &script];
    let mut replay = sandbox.modtape(command);
    direct(&mut replay, sandbox, go);
    let output = run(replay, LIMIT);
    assert!(
        output.status.success() && output.stderr.contains(" 0 missing"),
        "{steps:?}: {}\n{}",
        output.stdout,
        output.stderr
    );
    output
}

#[test]
fn what_came_from_repositories_is_replayed_in_any_order() {
    let mut dice = Dice::roll("git in any order");
    for (release, alpn) in [("1.27", Alpn::Http2), ("1.21", Alpn::Http1)] {
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go(release) else {
            return;
        };
        let root = repositories(&sandbox);
        project(&sandbox);
        let origin = host(&root, alpn, &[]);
        let all: Vec<usize> = (0..STEPS.len()).collect();
        let flags = ["--cold", "--intercept", HOST];
        let script = script(&all);
        let mut command = record(&sandbox, &origin, &flags, &["sh", "-ec", &script]);
        direct(&mut command, &sandbox, &go);
        let output = run(command, LIMIT).expect_success();
        let expected = by_step(&output.stdout);
        assert_eq!(expected.len(), STEPS.len(), "{}", output.stdout);
        assert!(
            output.stderr.contains("replay: complete"),
            "{}",
            output.stderr
        );
        drop(origin);
        for _ in 0..count(3, 20) {
            let mut steps = all.clone();
            for place in (1..steps.len()).rev() {
                steps.swap(place, dice.below(place as u64 + 1) as usize);
            }
            steps.truncate(1 + dice.below(steps.len() as u64) as usize);
            let output = replayed(&sandbox, "one", &go, &steps);
            steps.sort_unstable();
            let expected: Vec<_> = steps.iter().map(|&step| expected[step].clone()).collect();
            assert_eq!(by_step(&output.stdout), expected, "{steps:?}");
        }
    }
}
