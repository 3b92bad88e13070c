//! Modules out of git repositories, by the real go command and the real git: recorded, and replayed with
//! the server gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LIMIT;
use super::git::sh;
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
fn direct(command: &mut Command, sandbox: &Sandbox) {
    sh(command, &sandbox.join("project"));
    command.env("GOPROXY", "direct").env("GONOSUMDB", HOST);
}

/// What a command left in go.mod and go.sum.
fn sums(sandbox: &Sandbox) -> String {
    let read = |name: &str| fs::read_to_string(sandbox.join("project").join(name));
    read("go.mod").expect("there is a go.mod") + &read("go.sum").unwrap_or_default()
}

#[test]
fn a_tidy_from_repositories_is_replayed_with_the_server_gone() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go("1.27") else { return };
        let go = go.to_str().expect("paths of tests are text");
        let root = repositories(&sandbox);
        project(&sandbox);
        let origin = host(&root, alpn, &[]);
        let flags = ["--cold", "--intercept", HOST];
        let mut command = record(&sandbox, &origin, &flags, &[go, "mod", "tidy"]);
        direct(&mut command, &sandbox);
        let output = run(command, LIMIT).expect_success();
        let expected = sums(&sandbox);
        for served in origin.requests() {
            eprintln!("{} {} {:?}", served.method, served.raw_path, served.status);
        }
        eprintln!("{}", output.stderr);
        assert!(
            expected.contains("git.test/mono/sub/v2 v2.0.0 h1:"),
            "{expected}"
        );
        drop(origin);
        project(&sandbox);
        let mut replay = sandbox.modtape(["replay", "one", "--strict", "--", go, "mod", "tidy"]);
        direct(&mut replay, &sandbox);
        let output = run(replay, LIMIT).expect_success();
        assert!(output.stderr.contains(" 0 missing"), "{}", output.stderr);
        assert_eq!(sums(&sandbox), expected);
    }
}
