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
/// another major version below it; `uses`, which needs a public module.
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
git init -q -b main u && cd u
module . git.test/uses && printf '\nrequire github.com/BurntSushi/toml v1.3.2\n' >>go.mod
printf 'package uses\n\nimport _ "github.com/BurntSushi/toml"\n\nconst Version = "one"\n' >uses.go
git add . && git commit -qm one && git tag v1.0.0
cd .. && git clone -q --bare u uses
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
    host_of(Content::default(), root, alpn, rules)
}

/// The same, which stands in for other hosts with this content too.
fn host_of(content: Content, root: &Path, alpn: Alpn, rules: &[Rule]) -> Origin {
    let origin = Origin::builder(content).alpn(alpn).start();
    rules.iter().for_each(|rule| origin.add_rule(rule.clone()));
    for module in ["lib", "mono", "uses"] {
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

/// A sandbox with the repositories and the project, and a go command.
fn staged(release: &str) -> Option<(Sandbox, PathBuf, PathBuf)> {
    let sandbox = Sandbox::new();
    let go = sandbox.go(release)?;
    let root = repositories(&sandbox);
    project(&sandbox);
    Some((sandbox, go, root))
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
    replayed_with(sandbox, name, go, steps, false)
}

/// The same, with the user's own module cache if it is `warm`.
fn replayed_with(sandbox: &Sandbox, name: &str, go: &Path, steps: &[usize], warm: bool) -> Output {
    let script = script(steps);
    let mut replay = sandbox.modtape(["replay", name, "--strict"]);
    if warm {
        replay.arg("--warm");
    }
    replay.args(["--", "sh", "-ec", &script]);
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

/// What go.mod and go.sum say.
fn sums(sandbox: &Sandbox) -> String {
    let read = |name: &str| fs::read_to_string(sandbox.join("project").join(name));
    read("go.mod").expect("there is a go.mod") + &read("go.sum").unwrap_or_default()
}

/// Records `go mod tidy`; with what the user has set up, as `set` does.
fn tidied(
    sandbox: &Sandbox,
    go: &Path,
    origin: &Origin,
    flags: &[&str],
    set: impl Fn(&mut Command),
) -> Output {
    let flags = [flags, &["--intercept", HOST]].concat();
    let mut command = record(sandbox, origin, &flags, &["go", "mod", "tidy"]);
    direct(&mut command, sandbox, go);
    set(&mut command);
    run(command, LIMIT).expect_success()
}

const SECRET: &str = "s3cret-9f2c71d0";

/// Panics if any file below `folder` has the secret, or what Basic makes of it.
fn assert_no_secret(folder: &Path) {
    let basic = base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD_NO_PAD,
        format!("ada:{SECRET}"),
    );
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).expect("our own file");
            for secret in [SECRET, &basic] {
                let found = bytes
                    .windows(secret.len())
                    .any(|it| it == secret.as_bytes());
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
    }
}

#[test]
fn what_was_private_is_replayed_without_credentials_and_none_are_kept() {
    let wants = |served: &Served| !served.headers.contains_key("authorization");
    let wants_all = Rule::when(wants);
    let wants_git = Rule::when(move |it| wants(it) && it.raw_path.contains("git-upload-pack"));
    // Where the user has them, and what is private: a page that names the repository may not be.
    for (way, wants) in [
        ("netrc", wants_all),
        ("helper", wants_git.clone()),
        ("url", wants_git),
    ] {
        let Some((sandbox, go, root)) = staged("1.27") else {
            return;
        };
        let wants = wants
            .status(401)
            .header("www-authenticate", "Basic realm=\"git\"");
        let origin = host(&root, Alpn::Both, &[wants]);
        let netrc = format!("machine {HOST} login ada password {SECRET}\n");
        let stored = format!("https://ada:{SECRET}@{HOST}\n");
        let (file, text) = match way {
            "netrc" => ("home/.netrc", netrc),
            "helper" => {
                let file = sandbox.join("stored");
                (
                    "config",
                    format!("[credential]\n\thelper = store --file={}\n", file.display()),
                )
            }
            _ => {
                let url = format!("[url \"https://ada:{SECRET}@{HOST}/\"]\n");
                ("config", url + &format!("\tinsteadOf = https://{HOST}/\n"))
            }
        };
        fs::write(sandbox.join(file), text).expect("our own folder");
        fs::write(sandbox.join("stored"), stored).expect("our own folder");
        let config = sandbox.join("config");
        let config = config.to_str().expect("paths of tests are text");
        let output = tidied(&sandbox, &go, &origin, &["--cold"], |command| {
            if way != "netrc" {
                command.env("GIT_CONFIG_GLOBAL", config);
            }
        });
        let denied = |served: &Served| served.status == Some(401);
        assert!(origin.requests().iter().any(denied), "{way}");
        assert!(
            output.stderr.contains("replay: complete"),
            "{way}: {}",
            output.stderr
        );
        let expected = sums(&sandbox);
        drop(origin);
        assert_no_secret(&sandbox.join("project/recordings"));
        for file in ["home/.netrc", "config", "stored"] {
            let _ = fs::remove_file(sandbox.join(file));
        }
        project(&sandbox);
        replayed(&sandbox, "one", &go, &[0]);
        let mut replay = sandbox.modtape(["replay", "one", "--strict", "--", "go", "mod", "tidy"]);
        direct(&mut replay, &sandbox, &go);
        run(replay, LIMIT).expect_success();
        assert_eq!(sums(&sandbox), expected, "{way}");
    }
}

#[test]
fn modules_from_repositories_stand_in_the_exported_tree() {
    for flags in [&["--cold"][..], &[]] {
        let Some((sandbox, go, root)) = staged("1.24") else {
            return;
        };
        let origin = host(&root, Alpn::Both, &[]);
        tidied(&sandbox, &go, &origin, flags, |_| ());
        let expected = sums(&sandbox);
        drop(origin);
        let output = run(
            sandbox.modtape(["export", "goproxy", "one", "-o", "tree"]),
            LIMIT,
        );
        let output = output.expect_success();
        assert!(output.stderr.contains("files"), "{}", output.stderr);
        let tree = sandbox.join("project/tree");
        let list = fs::read_to_string(tree.join("git.test/mono/sub/v2/@v/list"));
        assert_eq!(list.expect("it is whole"), "v2.0.0\n");
        let recorded = run(sandbox.modtape(["replay", "one", "--", "true"]), LIMIT);
        assert!(
            recorded.stderr.contains("(3 modules,"),
            "{}",
            recorded.stderr
        );
        sandbox.forget_modules();
        project(&sandbox);
        let mut from_tree = sandbox.command(&go);
        direct(&mut from_tree, &sandbox, &go);
        from_tree.args(["mod", "tidy"]);
        from_tree.env("GOPROXY", format!("file://{}", tree.display()));
        run(from_tree, LIMIT).expect_success();
        assert_eq!(sums(&sandbox), expected);
    }
}

#[test]
fn a_module_file_that_was_altered_or_lost_is_left_out_of_the_tree_and_named() {
    let Some((sandbox, go, root)) = staged("1.27") else {
        return;
    };
    let origin = host(&root, Alpn::Both, &[]);
    tidied(&sandbox, &go, &origin, &["--cold"], |_| ());
    drop(origin);
    let dir = sandbox.join("project/recordings/one");
    // tidy looked at a further module and did not choose it: go.sum has nothing of that.
    let sound = run(sandbox.modtape(["verify", "one"]), LIMIT).expect_success();
    assert!(
        sound.stdout.contains("ok          2 modules"),
        "{}",
        sound.stdout
    );
    let manifest = fs::read(dir.join("recording.json")).expect("there is a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("it is JSON");
    let modules = manifest["direct"].as_array().expect("a list");
    let lib = modules
        .iter()
        .find(|it| it["module"] == "git.test/lib")
        .expect("it is there");
    let file = |kind: &str| {
        let sha256 = lib[kind]["sha256"].as_str().expect("a digest");
        dir.join("bodies").join(&sha256[..2]).join(sha256)
    };
    let mut zip = fs::read(file("zip")).expect("it is kept");
    zip[10] ^= 1;
    fs::write(file("zip"), zip).expect("our own file");
    fs::remove_file(file("mod")).expect("our own file");
    let output = run(
        sandbox.modtape(["export", "goproxy", "one", "-o", "tree"]),
        LIMIT,
    );
    assert!(!output.status.success(), "{}", output.stderr);
    for what in ["git.test/lib/@v/v1.1.0.zip", "mod git.test/lib v1.1.0"] {
        assert!(output.stderr.contains(what), "{what}: {}", output.stderr);
    }
    assert!(output.stderr.contains("was altered"), "{}", output.stderr);
    let verified = run(sandbox.modtape(["verify", "one"]), LIMIT);
    assert_eq!(verified.status.code(), Some(1), "{}", verified.stderr);
    assert!(
        verified.stdout.contains("was altered"),
        "{}",
        verified.stdout
    );
    let tree = sandbox.join("project/tree");
    assert!(tree.join("git.test/lib/@v/v1.1.0.info").exists());
    assert!(!tree.join("git.test/lib/@v/v1.1.0.zip").exists());
    let list = fs::read_to_string(tree.join("git.test/lib/@v/list"));
    assert_eq!(list.expect("there is one"), "");
}

/// Two recordings, replayed in turn: with a module cache for each run, and with the user's own, where
/// what the one brought is at hand for the other. Then both as runs of one recording.
#[test]
fn recordings_of_several_modules_do_not_mix_and_several_runs_do() {
    let Some((sandbox, go, root)) = staged("1.27") else {
        return;
    };
    let origin = host(&root, Alpn::Both, &[]);
    let both = [[1, 3], [4, 6]];
    let mut expected = Vec::new();
    let folder = sandbox.join("project/recordings");
    for (name, steps) in ["first", "two"].iter().zip(&both) {
        let flags = ["--cold", "--intercept", HOST];
        let script = script(steps);
        let mut command = record(&sandbox, &origin, &flags, &["sh", "-ec", &script]);
        direct(&mut command, &sandbox, &go);
        expected.push(by_step(&run(command, LIMIT).expect_success().stdout));
        fs::rename(folder.join("one"), folder.join(name)).expect("our own folder");
    }
    drop(origin);
    for warm in [false, true] {
        for (name, steps, expected) in [
            ("two", both[1], &expected[1]),
            ("first", both[0], &expected[0]),
            ("two", both[1], &expected[1]),
            ("first", [both[0][1], both[0][0]], &expected[0]),
        ] {
            let output = replayed_with(&sandbox, name, &go, &steps, warm);
            assert_eq!(&by_step(&output.stdout), expected, "{name} {warm}");
        }
    }
    let records = |name: &str| -> Vec<serde_json::Value> {
        let journal = fs::read_to_string(folder.join(name).join("journal.ndjson"));
        let journal = journal.expect("there is a journal");
        let lines = journal.lines().map(|line| serde_json::from_str(&line[9..]));
        lines.collect::<Result<_, _>>().expect("its lines are JSON")
    };
    let [one, mut two] = ["first", "two"].map(records);
    two[0]["recording"] = one[0]["recording"].clone();
    let manifest = fs::read(folder.join("first/recording.json")).expect("there is a manifest");
    let craft = crate::hostile::forgery::Craft {
        dir: folder.join("first"),
        manifest: serde_json::from_slice(&manifest).expect("it is JSON"),
        records: [one, two].concat(),
    };
    craft.write();
    let mut copied = program("cp");
    copied
        .args(["-rn", "two/bodies", "first/"])
        .current_dir(&folder);
    run(copied, LIMIT).expect_success();
    let output = replayed(&sandbox, "first", &go, &[6, 3, 4, 1]);
    assert_eq!(by_step(&output.stdout), expected.concat());
}

/// A private module that needs a public one: a proxy has the one, git the other.
#[test]
fn what_needs_private_modules_is_sealed_for_other_commands() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let Some((sandbox, go, root)) = staged("1.27") else {
        return;
    };
    let main =
        "package main\n\nimport \"git.test/uses\"\n\nfunc main() { println(uses.Version) }\n";
    let write = || {
        project(&sandbox);
        fs::write(sandbox.join("project/main.go"), main).expect("our own folder");
    };
    write();
    let origin = host_of(content, &root, Alpn::Both, &[]);
    let private = |command: &mut Command| {
        command.env_remove("GONOSUMDB").env("GOPRIVATE", HOST);
        command.env("GOPROXY", "https://proxy.golang.org");
    };
    tidied(&sandbox, &go, &origin, &["--cold"], private);
    let tidy = sums(&sandbox);
    assert!(
        tidy.contains("github.com/BurntSushi/toml v1.3.2 h1:"),
        "{tidy}"
    );
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut seal = sandbox.modtape(["seal", "one", "--connect-to", &everywhere]);
    seal.arg("--upstream-ca").arg(origin.root_pem_path());
    let sealed = run(seal, LIMIT).expect_success();
    eprintln!("{}", sealed.stderr);
    drop(origin);
    for words in [
        &["mod", "download", "all"][..],
        &["list", "-m", "all"],
        &["mod", "graph"],
        &["build", "./..."],
        &["mod", "tidy"],
    ] {
        let mut replay = sandbox.modtape(["replay", "one", "--strict", "--"]);
        replay.arg(&go).args(words);
        direct(&mut replay, &sandbox, &go);
        private(&mut replay);
        let output = run(replay, LIMIT);
        assert!(output.status.success(), "{words:?}: {}", output.stderr);
        assert_eq!(sums(&sandbox), tidy, "{words:?}");
    }
}
