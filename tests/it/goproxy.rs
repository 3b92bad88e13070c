//! A recording as a module proxy's tree: the go command builds from it with nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modtape::recording::Recording;
use rawzip::CompressionMethod;

use crate::contents;
use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

/// The large file of the corpus project, whose body lies in a file of its own.
const TOML: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.zip";

/// Where zips are redirected to.
const STORE: &str = "storage.googleapis.com";

/// Records a cold `go mod download` of `hello` from `origin`.
fn downloaded(sandbox: &Sandbox, go: &Path, origin: &Origin) -> Recording {
    let go = go.to_str().expect("paths of tests are text");
    let command = [go, "mod", "download"];
    run(
        record(sandbox, origin, &["--cold", "--no-har"], &command),
        LIMIT,
    )
    .expect_success();
    recording(sandbox, "one")
}

/// What stands in for the internet, with the project copied; `None` if either is not here.
fn hello(sandbox: &Sandbox, sumdb: Sumdb) -> Option<(PathBuf, Content)> {
    let content = Content::corpus("hello", sumdb)?;
    let go = sandbox.go("1.27")?;
    sandbox.project("hello")?;
    Some((go, content))
}

fn export(sandbox: &Sandbox, name: &str, to: &str) -> Output {
    run(
        sandbox.modtape(["export", "goproxy", name, "-o", to]),
        LIMIT,
    )
}

/// `go mod download` from the tree at `project/DIR` alone, in a clean module cache.
fn download_from(sandbox: &Sandbox, go: &Path, dir: &str, settings: &[(&str, &str)]) -> Output {
    sandbox.forget_modules();
    let mut command = from_tree(sandbox, go, dir);
    command.envs(settings.iter().copied());
    run(command, LIMIT)
}

fn from_tree(sandbox: &Sandbox, go: &Path, dir: &str) -> Command {
    let tree = sandbox.join("project").join(dir);
    let mut command = sandbox.command(go);
    command.args(["mod", "download", "-x"]);
    // Nobody listens there: whatever is not in the tree cannot be had.
    command.env("HTTPS_PROXY", "http://127.0.0.1:1");
    command.env("GOPROXY", format!("file://{}", tree.display()));
    command
}

/// The same for these modules, or for all that the project needs.
fn download_some(sandbox: &Sandbox, go: &Path, dir: &str, modules: &[&str]) -> Output {
    sandbox.forget_modules();
    let mut command = from_tree(sandbox, go, dir);
    run(
        {
            command.args(modules);
            command
        },
        LIMIT,
    )
}

/// Files below a folder with their bytes.
fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |path: String| {
        let bytes = fs::read(dir.join(&path)).expect("a file");
        (path, bytes)
    };
    tree(dir).into_iter().map(read).collect()
}

/// Files below a folder, by path, without their bytes.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(dir).expect("it is below");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn go_downloads_all_from_the_tree_alone() {
    let sandbox = Sandbox::new();
    let Some((go, content)) = hello(&sandbox, Sumdb::Heads) else {
        return;
    };
    // Zips come from elsewhere, and texts come compressed, as from the real proxy.
    let store = |served: &Served| served.path.ends_with(".zip") && served.host != STORE;
    let moved = format!("https://{STORE}{TOML}?X-Goog-Signature=0123456789abcdef");
    let zip = content.find("proxy.golang.org", TOML).body;
    let content = content.and_file(STORE, TOML, 200, "application/zip", zip);
    let origin = Origin::builder(content)
        .rule(Rule::when(move |served| store(served) && served.path == TOML).redirect(&moved))
        .rule(Rule::suffix(".mod").gzip())
        .start();
    let recording = downloaded(&sandbox, &go, &origin);
    let redirected = recording
        .rows()
        .iter()
        .filter(|row| row.status == Some(302));
    assert_eq!(redirected.count(), 1);
    drop(origin);
    let exported = export(&sandbox, "one", "tree").expect_success();
    assert!(
        exported.stderr.ends_with(" written to tree\n"),
        "{}",
        exported.stderr
    );
    let settings = [("GONOSUMDB", "*"), ("GOFLAGS", "-mod=mod")];
    download_from(&sandbox, &go, "tree", &settings).expect_success();
    let list = fs::read(sandbox.join("project/tree/github.com/!burnt!sushi/toml/@v/list"));
    assert_eq!(list.expect("a list"), b"v1.3.2\n");
}

#[test]
fn a_tree_verifies_in_any_order_what_the_recorded_command_verified() {
    // With a head of its own each lookup would need further tiles in another order of requests.
    for (refuses, sumdb) in [
        (false, Sumdb::Proxy),
        (true, Sumdb::Heads),
        (false, Sumdb::Heads),
    ] {
        let sandbox = Sandbox::new();
        let Some((go, content)) = hello(&sandbox, sumdb) else {
            return;
        };
        let content = match refuses {
            true => content.supported_is_404(),
            false => content,
        };
        sandbox.project_without_sums("hello").expect("it is there");
        let origin = Origin::start(content);
        downloaded(&sandbox, &go, &origin);
        drop(origin);
        let exported = export(&sandbox, "one", "tree").expect_success();
        assert!(
            !exported.stderr.contains("may not verify"),
            "{}",
            exported.stderr
        );
        let sums = [
            "github.com/google/uuid@v1.3.1",
            "github.com/BurntSushi/toml@v1.3.2",
        ];
        // All at once, and each alone in an empty cache: in an order of its own.
        for alone in [&[][..], &sums[..1], &sums[1..]] {
            sandbox.project_without_sums("hello").expect("it is there");
            download_some(&sandbox, &go, "tree", alone).expect_success();
        }
        let verified = "modcache/cache/download/sumdb/sum.golang.org/lookup/github.com";
        assert!(sandbox.join(verified).is_dir(), "{refuses} {sumdb:?}");
    }
}

#[test]
fn any_go_finds_the_latest_of_what_the_tree_has_and_verifies_it() {
    let sandbox = Sandbox::new();
    let Some((go, content)) = hello(&sandbox, Sumdb::Heads) else {
        return;
    };
    sandbox.project_without_sums("hello").expect("it is there");
    let origin = Origin::start(content.supported_is_404());
    downloaded(&sandbox, &go, &origin);
    drop(origin);
    export(&sandbox, "one", "tree").expect_success();
    let module = sandbox.join("project/tree/github.com/google/uuid");
    let read = |file: &str| fs::read(module.join(file)).expect("a file of the tree");
    // Nobody asked for it: it is made of what the go command would choose.
    assert_eq!(read("@latest"), read("@v/v1.3.1.info"));
    for release in ["1.21", "1.24", "1.27"] {
        let Some(go) = sandbox.go(release) else {
            return;
        };
        for words in [
            &["get", "github.com/google/uuid@latest"][..],
            &["list", "-m", "-u", "all"],
            &["mod", "download", "golang.org/x/sync@latest"],
            &["mod", "tidy"],
        ] {
            sandbox.project_without_sums("hello").expect("it is there");
            sandbox.forget_modules();
            let mut command = sandbox.command(&go);
            command.args(words).env("GOFLAGS", "-mod=mod");
            command.env("HTTPS_PROXY", "http://127.0.0.1:1");
            let tree = sandbox.join("project/tree");
            command.env("GOPROXY", format!("file://{}", tree.display()));
            let output = run(command, LIMIT);
            assert!(
                output.status.success(),
                "{release} {words:?}: {}",
                output.stderr
            );
            assert!(
                !output.stdout.contains('['),
                "no update is there: {}",
                output.stdout
            );
        }
        let verified = "modcache/cache/download/sumdb/sum.golang.org/lookup/github.com";
        assert!(sandbox.join(verified).is_dir(), "{release}");
    }
}

#[test]
fn the_same_downloads_give_the_same_tree_in_whatever_order_they_came() {
    let trees = [["a", "b"], ["c", "d"]].map(|names| {
        let sandbox = Sandbox::new();
        let (go, content) = hello(&sandbox, Sumdb::Heads)?;
        sandbox.project_without_sums("hello").expect("it is there");
        let origin = Origin::start(content);
        downloaded(&sandbox, &go, &origin);
        Some(names.map(|name| {
            export(&sandbox, "one", name).expect_success();
            bytes(&sandbox.join("project").join(name))
        }))
    });
    let Some([a, b]) = &trees[0] else { return };
    assert!(a.len() > 10 && a == b);
    for tree in trees[1].iter().flatten() {
        let differ = a
            .iter()
            .filter(|(path, bytes)| tree.get(*path) != Some(bytes));
        let differ: Vec<_> = differ.map(|(path, _)| path).collect();
        assert!(differ.is_empty() && tree.len() == a.len(), "{differ:?}");
    }
}

#[test]
fn a_database_whose_tiles_are_not_all_there_is_named_and_not_promised() {
    let sandbox = Sandbox::new();
    let Some((go, content)) = hello(&sandbox, Sumdb::Heads) else {
        return;
    };
    sandbox.project_without_sums("hello").expect("it is there");
    let origin = Origin::start(content.supported_is_404());
    let recording = downloaded(&sandbox, &go, &origin);
    let journal = recording.dir().join("journal.ndjson");
    let text = fs::read_to_string(&journal).expect("text");
    // As if all but the leaves had been at hand.
    let lost = |line: &&str| !line.contains("/tile/8/1/");
    let lines = text.lines().filter(lost).map(|line| format!("{line}\n"));
    fs::write(&journal, lines.collect::<String>()).expect("our own file");
    fs::remove_file(recording.dir().join("index")).expect("our own file");
    let exported = export(&sandbox, "one", "tree");
    let told = "warning: sum.golang.org may not verify from this tree: its lookup responses have ";
    assert!(exported.stderr.contains(told), "{}", exported.stderr);
    let tree = tree(&sandbox.join("project/tree"));
    assert!(
        !tree.iter().any(|path| path.ends_with("/supported")),
        "{tree:?}"
    );
}

#[test]
fn what_is_damaged_is_named_and_no_list_promises_it() {
    let sandbox = Sandbox::new();
    let Some((go, content)) = hello(&sandbox, Sumdb::Heads) else {
        return;
    };
    let origin = Origin::start(content);
    let recording = downloaded(&sandbox, &go, &origin);
    let row = recording
        .rows()
        .iter()
        .find(|row| row.url.ends_with("toml/@v/v1.3.2.zip"));
    let row = row.expect("it was asked for");
    let digest = row.body.expect("it has a body").to_string();
    let file = recording
        .dir()
        .join("bodies")
        .join(&digest[..2])
        .join(&digest);
    let mut bytes = fs::read(&file).expect("a body of its own");
    bytes[1_000] ^= 1;
    fs::write(&file, bytes).expect("our own file");
    let exported = export(&sandbox, "one", "tree");
    assert_eq!(exported.status.code(), Some(3), "{}", exported.stderr);
    let told = format!(
        "warning: left out github.com/!burnt!sushi/toml/@v/v1.3.2.zip: exchange {}: the body {digest} was altered",
        row.id
    );
    assert!(exported.stderr.contains(&told), "{}", exported.stderr);
    let lacks = "github.com/BurntSushi/toml v1.3.2 lacks zip\n";
    assert!(exported.stderr.contains(lacks), "{}", exported.stderr);
    let dir = sandbox.join("project/tree");
    let toml = dir.join("github.com/!burnt!sushi/toml/@v");
    assert_eq!(tree(&toml), ["list", "v1.3.2.info", "v1.3.2.mod"]);
    assert_eq!(fs::read(toml.join("list")).expect("a list"), b"");
    let uuid = fs::read(dir.join("github.com/google/uuid/@v/list"));
    assert_eq!(uuid.expect("a list"), b"v1.3.1\n");
}

#[test]
fn an_unfinished_recording_gives_what_it_has() {
    let sandbox = Sandbox::new();
    let Some((go, content)) = hello(&sandbox, Sumdb::Heads) else {
        return;
    };
    let origin = Origin::start(content);
    let dir = downloaded(&sandbox, &go, &origin).dir().to_owned();
    let journal = dir.join("journal.ndjson");
    let text = fs::read(&journal).expect("a journal");
    fs::write(&journal, &text[..text.len() - 40]).expect("our own file");
    for name in ["recording.json", "index"] {
        fs::remove_file(dir.join(name)).expect("our own file");
    }
    let exported = export(&sandbox, "one", "tree").expect_success();
    assert!(
        exported.stderr.contains("one is unfinished"),
        "{}",
        exported.stderr
    );
    let settings = [("GONOSUMDB", "*")];
    download_from(&sandbox, &go, "tree", &settings).expect_success();
}

#[test]
fn a_tree_goes_into_a_new_folder_and_nowhere_else() {
    let sandbox = Sandbox::new();
    crate::views::sample::write(&sandbox.join("recordings/one"));
    fs::create_dir_all(sandbox.join("full/a")).expect("a folder");
    let help = "help: name a folder that is not there yet, or an empty one\n";
    let needs = "error: the tree of a module proxy is a folder: it needs `-o DIR`\n\
                 help: try `modtape export goproxy one -o DIR`\n";
    let table: [(&[&str], String); 6] = [
        (&[], needs.into()),
        (&["-o", "-"], needs.into()),
        (
            &["-o", "full"],
            format!("error: cannot write full: it is not empty\n{help}"),
        ),
        (
            &["-o", "."],
            format!("error: cannot write .: it is not empty\n{help}"),
        ),
        (
            &["-o", "/dev/null"],
            format!("error: cannot write /dev/null: it is not a folder\n{help}"),
        ),
        (
            &["-o", "no/where"],
            "error: cannot write no/where: No such file or directory (os error 2)\n".into(),
        ),
    ];
    for (options, told) in table {
        let args = [&["export", "goproxy", "one"], options].concat();
        let output = run(sandbox.modtape(args), LIMIT);
        let usage = told.contains("it needs `-o DIR`");
        let code = if usage { 2 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{options:?}");
        assert!(
            output.stderr.ends_with(&told),
            "{options:?}: {}",
            output.stderr
        );
    }
    // What is no zip and an aborted one are none, and what modtape answered itself is no answer.
    let output = export(&sandbox, "one", "tree");
    assert_eq!(output.status.code(), Some(3));
    let told = "warning: left out zip golang.org/x/net v0.34.0 from proxy.golang.org (#2): it is not \
        a whole zip file: missing end of central directory\n\
        warning: left out zip golang.org/x/net v0.35.0 from proxy.golang.org (#4): it broke off: \
        the upstream ended the connection\n\
        0 files, 0 B, written to tree\n";
    assert_eq!(output.stderr, told);
    let files = tree(&sandbox.join("tree"));
    assert_eq!(files, ["golang.org/x/net/@v/list"]);
    let left = fs::read_dir(sandbox.path()).expect("a folder");
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
}

#[tokio::test]
async fn a_large_zip_is_copied_and_verified_in_little_memory() {
    // As much as a module may have is 500 MiB.
    let content = vec![7; count(60_000_000, 500_000_000)];
    let zip = zip(&[("a.b/c@v1.0.0/x", &content)], CompressionMethod::STORE);
    let lookup = contents::lookup(&zip, "a.b/c", "v1.0.0");
    let bytes = zip.len() as u64;
    let origin = Origin::builder(Content::default())
        .rule(Rule::suffix(".zip").status(200).body(zip))
        .rule(Rule::any().status(200).body(lookup))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    let mut session = recorder.session("proxy.golang.org").await;
    session
        .get("/sumdb/sums.example/lookup/a.b/c@v1.0.0")
        .await
        .expect("an answer");
    let answer = session.get("/a.b/c/@v/v1.0.0.zip").await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.body_bytes, bytes);
    let recorded = recorder.finish().await;
    let sandbox = Sandbox::new();
    let dir = recorded.recording.dir().to_str().expect("a text");
    let spawned = Spawned::start(sandbox.modtape(["export", "goproxy", dir, "-o", "tree"]));
    let peak = Process(spawned.id()).watch_peak();
    spawned.end().expect_success();
    let peak = peak.recv().expect("it has ended");
    eprintln!("{bytes} bytes: peak RSS {peak} KiB");
    assert!(peak < 40 << 10, "{peak} KiB");
    let zip = fs::metadata(sandbox.join("tree/a.b/c/@v/v1.0.0.zip"));
    assert_eq!(zip.expect("a file").len(), bytes);
    let spawned = Spawned::start(sandbox.modtape(["verify", dir]));
    let peak = Process(spawned.id()).watch_peak();
    let said = spawned.end().expect_success().stdout;
    // Nobody knows the key of the database that its lookup is of.
    let expected = "unverified  1 module for which nothing vouches: a.b/c v1.0.0\n";
    assert_eq!(said, expected);
    let peak = peak.recv().expect("it has ended");
    assert!(peak < 40 << 10, "{peak} KiB");
}
