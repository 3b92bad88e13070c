//! What looks after a store: filled, looked through, cleaned, and carried over an air gap.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(180);

const MOD: &str = "github.com/!burnt!sushi/toml/@v/v1.3.2.mod";
const ZIP: &str = "github.com/!burnt!sushi/toml/@v/v1.3.2.zip";

/// A project, what stands in for the internet, and a store.
struct World {
    sandbox: Sandbox,
    origin: Origin,
    go: PathBuf,
    project: PathBuf,
    sums: String,
}

impl World {
    /// `None` where something is not here.
    fn new() -> Option<Self> {
        let sandbox = Sandbox::new();
        let go = sandbox.go("1.27")?;
        let project = sandbox.project("hello")?;
        let sums = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
        let origin = Origin::start(Content::corpus("hello", Sumdb::Heads)?);
        Some(Self {
            sandbox,
            origin,
            go,
            project,
            sums,
        })
    }

    /// The same, with a store that has been filled from go.sum.
    fn filled() -> Option<Self> {
        let world = Self::new()?;
        world.pull("go.sum", "../store").expect_success();
        Some(world)
    }

    /// `modtape cache pull`, in the project.
    fn pull(&self, file: &str, store: &str) -> Output {
        let everywhere = format!("::127.0.0.1:{}", self.origin.addr().port());
        let words = ["cache", "pull", file, "--store", store, "--connect-to"];
        let mut command = self.sandbox.modtape(words);
        command.arg(&everywhere).arg("--upstream-ca");
        command.arg(self.origin.root_pem_path());
        run(command, LIMIT)
    }

    fn cache(&self, words: &[&str]) -> Output {
        let mut command = self.sandbox.modtape(["cache"]);
        command.args(words).args(["--store", "../store"]);
        run(command, LIMIT)
    }

    /// `go mod tidy` without sums, and what others do, from a store alone.
    fn builds_from(&self, store: &str) {
        fs::write(self.project.join("go.sum"), "").expect("our own folder");
        let served = self.origin.requests().len();
        for words in [["mod", "tidy"], ["mod", "download"], ["mod", "verify"]] {
            self.sandbox.forget_modules();
            let mut serve = self
                .sandbox
                .modtape(["serve", "--offline", "--store", store]);
            serve.arg("--").arg(&self.go).args(words);
            run(serve, LIMIT).expect_success();
        }
        let sums = fs::read_to_string(self.project.join("go.sum")).expect("there is a go.sum");
        assert_eq!(sums, self.sums);
        assert_eq!(self.origin.requests().len(), served, "nobody is asked");
    }

    fn answer(&self, path: &str) -> PathBuf {
        self.sandbox.join("store/v1/answers").join(path)
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

#[test]
fn what_a_go_sum_or_a_go_mod_names_is_pulled_and_builds_with_nobody_upstream() {
    let Some(world) = World::new() else { return };
    let pulled = world.pull("go.sum", "../store").expect_success();
    assert!(pulled.stderr.contains("0 missing"), "{}", pulled.stderr);
    world.pull("go.mod", "../of-mod").expect_success();
    // All is there: nobody is asked again.
    let before = world.origin.paths();
    world.pull("go.mod", "../of-mod").expect_success();
    let later = world.origin.paths().split_off(before.len());
    assert!(
        later.iter().all(|path| path.contains("/tile/")),
        "{later:?}"
    );
    world.builds_from("../store");
    world.builds_from("../of-mod");
}

#[test]
fn what_cannot_be_pulled_is_listed() {
    let Some(world) = World::new() else { return };
    let path = format!("/{ZIP}");
    world
        .origin
        .add_rule(Rule::suffix(&path).status(404).body("not found\n"));
    let mut sums = world.sums.clone().into_bytes();
    let _ = writeln!(
        sums,
        "rsc.io/none v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    );
    // A hash of another file.
    let sums = String::from_utf8(sums).expect("text");
    let uuid = sums
        .lines()
        .find(|line| line.contains("uuid") && line.contains("/go.mod"));
    let uuid = uuid.expect("a line").rsplit_once(' ').expect("words").1;
    let other = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    fs::write(world.project.join("go.sum"), sums.replace(uuid, other)).expect("our own folder");
    let pulled = world.pull("go.sum", "../store");
    assert_eq!(pulled.status.code(), Some(1), "{pulled:?}");
    for told in [
        format!("{ZIP}: 404 Not Found"),
        String::from("rsc.io/none/@v/v1.0.0.zip: "),
        format!("and go.sum has {other}"),
    ] {
        assert!(pulled.stdout.contains(&told), "{told}: {}", pulled.stdout);
    }
    fs::write(world.project.join("go.sum"), "two words\n").expect("our own folder");
    let pulled = world.pull("go.sum", "../store");
    assert_eq!(pulled.status.code(), Some(2), "{pulled:?}");
    assert!(
        pulled.stderr.contains("go.sum:1 is no line"),
        "{}",
        pulled.stderr
    );
}

#[test]
fn a_store_is_listed_and_counted() {
    let Some(world) = World::filled() else { return };
    let modules = world.cache(&["ls"]).expect_success();
    let toml = "github.com/BurntSushi/toml  1 version, 1 whole  ";
    assert!(modules.stdout.contains(toml), "{}", modules.stdout);
    let versions = world
        .cache(&["ls", "github.com/BurntSushi/toml"])
        .expect_success();
    assert!(
        versions.stdout.starts_with("v1.3.2  info,mod,zip  "),
        "{}",
        versions.stdout
    );
    let listed = json(&world.cache(&["ls", "--json"]).expect_success());
    assert!(
        listed.as_array().is_some_and(|all| all.len() > 2),
        "{listed}"
    );
    let stat = json(&world.cache(&["stat", "--json"]).expect_success());
    assert!(
        stat["by_kind"]["zip"]["answers"].as_u64() >= Some(3),
        "{stat}"
    );
    assert_eq!(
        (&stat["damaged"], &stat["unnamed"]),
        (&0.into(), &0.into()),
        "{stat}"
    );
    world.cache(&["stat"]).expect_success();
    let none = world.cache(&["ls", "rsc.io/none"]);
    assert!(none.stderr.contains("nothing of rsc.io/none"), "{none:?}");
    let nowhere = run(
        world.sandbox.modtape(["cache", "ls", "--store", "../none"]),
        LIMIT,
    );
    assert!(nowhere.stderr.contains("holds no answers"), "{nowhere:?}");
    let shared = ["cache", "pull", "go.sum", "--store", "s3://bucket/prefix"];
    let shared = run(world.sandbox.modtape(shared), LIMIT);
    assert_eq!(shared.status.code(), Some(2), "{shared:?}");
    assert!(
        shared.stderr.contains("s3://bucket/prefix: these verbs"),
        "{shared:?}"
    );
}

#[test]
fn what_is_damaged_is_found_and_goes_only_where_that_is_asked_for() {
    let Some(world) = World::filled() else { return };
    let whole = world.cache(&["verify"]).expect_success();
    assert!(
        whole
            .stderr
            .contains(" 0 without what would prove it here, 0 answers damaged"),
        "{whole:?}"
    );
    // A body that is not the one that its digest names, and one whose digest fits, but not its proof.
    let list = world.answer("golang.org/x/sync/@v/v0.3.0.info");
    let mut info = fs::read(&list).expect("it is there");
    *info.last_mut().expect("a byte") ^= 1;
    fs::write(&list, info).expect("our own folder");
    let file = world.answer(MOD);
    let answer = fs::read_to_string(&file).expect("it is there");
    let (head, body) = answer.split_once('\n').expect("a head");
    let body = format!("{body}\n// changed\n");
    let mut head: Value = serde_json::from_str(head).expect("a head");
    head["bytes"] = body.len().into();
    head["sha256"] = sha256(body.as_bytes()).into();
    fs::write(&file, format!("{head}\n{body}")).expect("our own folder");
    for _ in 0..2 {
        let found = world.cache(&["verify"]);
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        assert!(
            found.stdout.contains(&format!("{MOD}: its hash is ")),
            "{}",
            found.stdout
        );
        let info = "v0.3.0.info: its body is another one";
        assert!(found.stdout.contains(info), "{}", found.stdout);
    }
    assert!(file.exists());
    let fixed = world.cache(&["verify", "--fix", "--json"]);
    assert_eq!(fixed.status.code(), Some(1), "{fixed:?}");
    assert_eq!(
        json(&fixed)["damaged"].as_array().map(Vec::len),
        Some(2),
        "{fixed:?}"
    );
    assert!(!file.exists());
    world.cache(&["verify"]).expect_success();
    // It is fetched again.
    world.pull("go.sum", "../store").expect_success();
    world.builds_from("../store");
}

#[test]
fn what_nobody_needs_goes_and_what_is_about_to_be_named_stays() {
    let Some(world) = World::filled() else { return };
    let now = fs::metadata(world.answer(MOD)).and_then(|it| it.modified());
    let now = now.expect("it has just been written");
    let hours = |hours: u64| now - Duration::from_secs(3600 * hours);
    let lay = |path: &str, used: SystemTime| {
        let path = world.sandbox.join("store/v1").join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("our own folder");
        fs::write(&path, "left").expect("our own folder");
        let file = fs::File::options()
            .write(true)
            .open(&path)
            .expect("it is there");
        file.set_modified(used).expect("our own file");
        path
    };
    let digest = |first: &str| format!("bodies/{first}/{}", "0".repeat(62));
    let new = lay(&digest("00"), now);
    let old = lay(&digest("01"), hours(2));
    let written = lay("tmp/new", hours(1));
    let left = lay("tmp/old", hours(25));
    let dry = json(&world.cache(&["gc", "--dry-run", "--json"]).expect_success());
    let figures = ["files", "unnamed", "leftovers"].map(|name| dry[name].as_u64());
    assert_eq!(figures, [Some(1), Some(1), Some(1)], "{dry}");
    assert!(old.exists() && left.exists());
    world.cache(&["gc"]).expect_success();
    assert!(new.exists() && written.exists());
    assert!(!old.exists() && !left.exists());
    world.builds_from("../store");
    let zip = world.answer(ZIP);
    let file = fs::File::options()
        .write(true)
        .open(&zip)
        .expect("it is there");
    file.set_modified(hours(50)).expect("our own file");
    world.cache(&["gc", "--older", "100h"]).expect_success();
    assert!(zip.exists());
    world.cache(&["gc", "--older", "49h"]).expect_success();
    assert!(!zip.exists() && world.answer(MOD).exists());
    let room = json(
        &world
            .cache(&["gc", "--disk-max", "20KB", "--json"])
            .expect_success(),
    );
    assert!(room["left"].as_u64() <= Some(20_000), "{room}");
    // The largest tree head guards against a log that shrinks: neither age nor room is a reason to remove it.
    let head = world.answer("sumdb/sum.golang.org/latest");
    assert!(head.exists(), "it is kept by a pull");
    let file = fs::File::options().write(true).open(&head);
    let file = file.expect("it is there");
    file.set_modified(hours(1000)).expect("our own file");
    for words in [["gc", "--older", "1h"], ["gc", "--disk-max", "1B"]] {
        world.cache(&words).expect_success();
        assert!(head.exists(), "{words:?}");
    }
}

#[test]
fn what_cannot_be_read_for_want_of_descriptors_is_told_and_stays() {
    let Some(world) = World::filled() else { return };
    let told = " 0 without what would prove it here, 0 answers damaged";
    let whole = world.cache(&["verify"]).expect_success();
    let (right, _) = whole.stderr.split_once(told).expect("it counts");
    for most in 4..32 {
        let plain = world.sandbox.modtape(["cache", "verify", "--fix"]);
        let mut command = world.sandbox.command("sh");
        command.args(["-c", &format!("ulimit -n {most} && exec \"$@\""), "sh"]);
        command.arg(plain.get_program()).args(plain.get_args());
        command.args(["--store", "../store"]);
        run(command, LIMIT);
    }
    let still = world.cache(&["verify"]).expect_success();
    assert!(
        still.stderr.contains(&format!("{right}{told}")),
        "{still:?}"
    );
    // A body that cannot be opened, and may be right.
    let answer = fs::read_to_string(world.answer(ZIP)).expect("it is there");
    let (head, _) = answer.split_once('\n').expect("a head");
    let head: Value = serde_json::from_str(head).expect("a head");
    let (first, rest) = head["sha256"].as_str().expect("a digest").split_at(2);
    let body = world.sandbox.join("store/v1/bodies").join(first).join(rest);
    fs::remove_file(&body).expect("it is there");
    std::os::unix::fs::symlink(&body, &body).expect("our own folder");
    let unread = world.cache(&["verify", "--fix"]);
    assert_eq!(unread.status.code(), Some(1), "{unread:?}");
    assert!(
        unread.stdout.contains("cannot be read, and stays"),
        "{unread:?}"
    );
    assert!(world.answer(ZIP).exists() && body.is_symlink());
}

#[test]
fn an_archive_carries_a_store_over_an_air_gap() {
    let Some(world) = World::filled() else { return };
    world.cache(&["export", "../all.tar"]).expect_success();
    let import = ["cache", "import", "../all.tar", "--store", "../behind"];
    let imported = run(world.sandbox.modtape(import), LIMIT).expect_success();
    assert!(imported.stderr.contains("0 missing"), "{}", imported.stderr);
    world.builds_from("../behind");
    // One version, with what proves it.
    let one = ["export", "../one.tar", "github.com/BurntSushi/toml@v1.3.2"];
    world.cache(&one).expect_success();
    let import = [
        "cache",
        "import",
        "../one.tar",
        "--store",
        "../one",
        "--json",
    ];
    let imported = json(&run(world.sandbox.modtape(import), LIMIT).expect_success());
    assert_eq!(
        imported["missing"].as_array().map(Vec::len),
        Some(0),
        "{imported}"
    );
    let ls = ["cache", "ls", "--store", "../one"];
    let listed = run(world.sandbox.modtape(ls), LIMIT).expect_success();
    assert!(
        listed
            .stdout
            .starts_with("github.com/BurntSushi/toml  1 version, 1 whole"),
        "{listed:?}"
    );
    assert_eq!(listed.stdout.lines().count(), 1, "{}", listed.stdout);
    let none = world.cache(&["export", "../none.tar", "rsc.io/none@v1.0.0"]);
    assert!(
        none.stderr.contains("nothing of rsc.io/none@v1.0.0"),
        "{none:?}"
    );
    assert!(!world.sandbox.join("none.tar").exists());
}

#[test]
fn an_import_keeps_no_info_that_the_archive_does_not_have() {
    let Some(world) = World::filled() else { return };
    world.cache(&["export", "../all.tar"]).expect_success();
    let whole = fs::File::open(world.sandbox.join("all.tar")).expect("it is there");
    let mut files = Vec::new();
    for entry in tar::Archive::new(whole).entries().expect("an archive") {
        let mut entry = entry.expect("a file");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("text");
        let mut body = Vec::new();
        entry.read_to_end(&mut body).expect("it is whole");
        if name != "SHA256SUMS" && !name.ends_with(".info") {
            files.push((name, body));
        }
    }
    let files: Vec<_> = files
        .iter()
        .map(|(name, body)| (name.as_str(), body.as_slice()))
        .collect();
    fs::write(world.sandbox.join("bare.tar"), archive(&files)).expect("our own folder");
    let import = ["cache", "import", "../bare.tar", "--store", "../bare"];
    let imported = run(world.sandbox.modtape(import), LIMIT);
    assert!(imported.stderr.contains("0 missing"), "{imported:?}");
    let kept = |path: &str| world.sandbox.join("bare/v1/answers").join(path).exists();
    let info = MOD.replace(".mod", ".info");
    assert!(kept(MOD) && kept(ZIP) && !kept(&info), "{imported:?}");
}

#[test]
fn an_archive_that_is_cut_or_hostile_is_refused_and_nothing_of_it_kept() {
    let Some(world) = World::filled() else { return };
    world.cache(&["export", "../all.tar"]).expect_success();
    let whole = fs::read(world.sandbox.join("all.tar")).expect("it is there");
    let refused = |archive: &[u8], told: &str| {
        fs::write(world.sandbox.join("bad.tar"), archive).expect("our own folder");
        let import = ["cache", "import", "../bad.tar", "--store", "../bad"];
        let output = run(world.sandbox.modtape(import), LIMIT);
        assert_eq!(output.status.code(), Some(3), "{told}: {output:?}");
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
        let answers = world.sandbox.join("bad/v1/answers");
        let kept = fs::read_dir(answers).expect("it is there").count();
        assert_eq!(kept, 0, "{told}");
        let left = fs::read_dir(world.sandbox.join("bad/v1/tmp"))
            .expect("it is there")
            .count();
        assert_eq!(left, 0, "{told}");
    };
    for bytes in [0, 100, 512, 1024, whole.len() / 2, whole.len() - 2000] {
        refused(&whole[..bytes], "");
    }
    let text = |name: &str, body: &str| archive(&[(name, body.as_bytes())]);
    refused(
        &text("../outside", "x"),
        "../outside is no path of a module proxy",
    );
    refused(
        &text("/etc/passwd", "x"),
        "/etc/passwd is no path of a module proxy",
    );
    refused(
        &text("a.b/c/@v/list", "v1.0.0\n"),
        "a.b/c/@v/list is no path",
    );
    refused(
        &text("a.b/c/@v/../../../x", "x"),
        "is no path of a module proxy",
    );
    refused(&raw("a.b/c/@v/v1.0.0.mod", b'2', 0), "is no file: links");
    refused(&raw("a.b/c/@v", b'5', 0), "is no file: links");
    refused(
        &raw("a.b/c/@v/v1.0.0.mod", b'0', 7 << 30),
        "which go does not take",
    );
    refused(
        &raw("a.b/c/@v/v1.0.0.zip", b'0', 7 << 30),
        "which go does not take",
    );
    refused(
        &raw("././@LongLink", b'L', 1 << 30),
        "longer than 4096 bytes",
    );
    refused(&whole[512..], "");
    let twice = archive(&[("a.b/c/@v/v1.0.0.mod", &b"module a.b/c\n"[..]); 2]);
    refused(&twice, "twice");
    assert!(!world.sandbox.join("outside").exists());
    // What is whole and not proved is not kept.
    let lie = archive(&[(MOD, b"module github.com/BurntSushi/toml\n")]);
    fs::write(world.sandbox.join("lie.tar"), lie).expect("our own folder");
    let import = ["cache", "import", "../lie.tar", "--store", "../lie"];
    let output = run(world.sandbox.modtape(import), LIMIT);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.contains(MOD), "{}", output.stdout);
    assert!(!world.sandbox.join("lie/v1/answers").join(MOD).exists());
}

#[test]
fn a_pull_that_is_stopped_leaves_a_good_store() {
    let Some(world) = World::new() else { return };
    let zip = format!("/{ZIP}");
    world.origin.add_rule(Rule::suffix(&zip).silent());
    let everywhere = format!("::127.0.0.1:{}", world.origin.addr().port());
    let words = [
        "cache",
        "pull",
        "go.sum",
        "--store",
        "../store",
        "--connect-to",
    ];
    let mut command = world.sandbox.modtape(words);
    command.arg(&everywhere).arg("--upstream-ca");
    command.arg(world.origin.root_pem_path());
    let pulling = Spawned::start(command);
    let is_asked = |log: &Log| log.requests.iter().any(|served| served.path == zip);
    world.origin.wait_for(is_asked, LIMIT);
    pulling.interrupt();
    let end = pulling.end();
    assert_eq!(end.status.code(), Some(130), "{end:?}");
    assert!(
        end.stderr.contains("what came until then is kept"),
        "{end:?}"
    );
    world.cache(&["verify"]).expect_success();
    world.origin.clear_rules();
    world.pull("go.sum", "../store").expect_success();
    world.builds_from("../store");
}

/// An archive with these files and their digests, whatever their names.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut digests = String::new();
    for (name, body) in files {
        bytes.extend(header(name, b'0', body.len() as u64));
        bytes.extend(padded(body));
        digests.push_str(&format!("{}  {name}\n", sha256(body)));
    }
    bytes.extend(header("SHA256SUMS", b'0', digests.len() as u64));
    bytes.extend(padded(digests.as_bytes()));
    bytes.extend([0; 1024]);
    bytes
}

/// An archive of a single header, which claims so many bytes.
fn raw(name: &str, kind: u8, bytes: u64) -> Vec<u8> {
    let mut archive = header(name, kind, bytes);
    archive.extend([0; 2048]);
    archive
}

/// A header of POSIX.1-1988 (ustar).
fn header(name: &str, kind: u8, bytes: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn padded(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
