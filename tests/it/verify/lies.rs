//! Mirrors and databases that lie: each lie is named, refused by a replay, and in no exported tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use rawzip::CompressionMethod;

use super::LIMIT;
use crate::record::{record, recording};
use crate::support::*;

const DATABASE: &str = "sums.example";

const UUID: &str = "github.com/google/uuid";
const UUID_FILE: &str = "/github.com/google/uuid/@v/v1.3.1";

/// The lookups of `hello`: the path, the number of the record, and the size of the tree that its head is of.
const LOOKUPS: [(&str, usize, usize); 3] = [
    ("github.com/!burnt!sushi/toml@v1.3.2", 700, 900),
    ("github.com/google/uuid@v1.3.1", 300, 600),
    ("golang.org/x/sync@v0.3.0", 5, 1_000),
];

/// A log in which each module of `hello` has a record among many others.
fn records() -> Vec<String> {
    let mut records: Vec<String> = (0..1_000)
        .map(|id| format!("example.com/other v1.{id}.0 h1:{id}=\n"))
        .collect();
    let folder = corpus_folder("hello").expect("it was there before");
    let sums = fs::read_to_string(folder.join("project/go.sum")).expect("a go.sum");
    for ((path, id, _), module) in LOOKUPS.iter().zip(["toml ", "uuid ", "sync "]) {
        let of = |line: &&str| line.contains(module);
        records[*id] = sums
            .lines()
            .filter(of)
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(records[*id].lines().count(), 2, "{path}");
    }
    records
}

/// A lie: what is served, and what is said of it.
struct Lie {
    name: &'static str,
    /// The end of the path that is answered with it, and the answer.
    path: &'static str,
    answer: Bytes,
    /// What `verify` says of it: a line of the table begins so, and goes on so.
    word: &'static str,
    named: &'static str,
    why: &'static str,
    /// Whether go asks for it where it verifies nothing; else it is of the database.
    is_a_modules: bool,
}

pub(super) fn uuid_zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, content)| {
            (
                name.replace("UUID", "github.com/google/uuid@v1.3.1"),
                *content,
            )
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(name, content)| (&**name, *content))
        .collect();
    zip(&files, CompressionMethod::DEFLATE)
}

pub(super) const GO_MOD: (&str, &[u8]) = ("UUID/go.mod", b"module github.com/google/uuid\n");
pub(super) const GO: (&str, &[u8]) = ("UUID/uuid.go", b"package uuid\n");

/// The zip of uuid as everybody has it.
fn real_zip() -> Vec<u8> {
    let folder = corpus_folder("hello").expect("it was there before");
    fs::read(
        folder
            .join("proxy")
            .join(format!("{}.zip", &UUID_FILE[1..])),
    )
    .expect("it is there")
}

fn zips() -> Vec<Lie> {
    let mut flipped = real_zip();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = real_zip();
    let mut bomb = uuid_zip(&[GO_MOD, ("UUID/zeros", &vec![0; 1 << 20])]);
    let directory = bomb.windows(4).rposition(|word| word == b"PK\x01\x02");
    // The length of the last file in the directory (APPNOTE.TXT section 4.3.12).
    let length = directory.expect("it has one") + 24;
    let mut large = bomb.clone();
    bomb[length..length + 4].copy_from_slice(&9_u32.to_le_bytes());
    large[length..length + 4].copy_from_slice(&(600_u32 << 20).to_le_bytes());
    let lie = |name, answer: Vec<u8>, why| Lie {
        name,
        path: "/github.com/google/uuid/@v/v1.3.1.zip",
        answer: answer.into(),
        word: "INVALID     ",
        named: "zip github.com/google/uuid v1.3.1 from proxy.golang.org (#",
        why,
        is_a_modules: true,
    };
    let swapped = lie("a swapped module", uuid_zip(&[GO_MOD, GO]), "");
    vec![
        lie("one flipped byte", flipped, "): its file "),
        Lie {
            word: "MISMATCH    ",
            named: "zip of github.com/google/uuid v1.3.1\n",
            ..swapped
        },
        lie(
            "a zip that is cut, with the length that it then has",
            cut[..cut.len() / 2].to_vec(),
            "): it is not a whole zip file: ",
        ),
        lie(
            "a second root",
            uuid_zip(&[GO_MOD, GO, ("example.com/evil@v1.0.0/x.go", b"package x\n")]),
            "): its file \"example.com/evil@v1.0.0/x.go\" is not in \"github.com/google/uuid@v1.3.1/\"",
        ),
        lie(
            "a case collision",
            uuid_zip(&[GO_MOD, GO, ("UUID/Uuid.go", b"package evil\n")]),
            "): its file \"github.com/google/uuid@v1.3.1/uuid.go\" ",
        ),
        lie(
            "a bomb that hides its size",
            bomb,
            " has another length than its directory says",
        ),
        lie("a bomb", large, "): its files have more than 500 MiB"),
        lie(
            "a page of a portal as a zip",
            b"<!doctype html><title>Sign in</title>".to_vec(),
            "): it is an HTML page",
        ),
    ]
}

fn texts() -> Vec<Lie> {
    let page = "<!doctype html><title>Sign in</title><form>Sign in to the network</form>";
    let lie = |name, path, answer: &'static str, named, why| Lie {
        name,
        path,
        answer: answer.into(),
        word: "INVALID     ",
        named,
        why,
        is_a_modules: true,
    };
    vec![
        lie(
            "a page of a portal",
            "/github.com/google/uuid/@v/v1.3.1.info",
            page,
            "info github.com/google/uuid v1.3.1 from proxy.golang.org (#",
            "): it is an HTML page",
        ),
        Lie {
            word: "MISMATCH    ",
            ..lie(
                "a go.mod that requires something else",
                "/github.com/google/uuid/@v/v1.3.1.mod",
                "module github.com/google/uuid\n\nrequire golang.org/x/sync v0.3.0\n",
                "go.mod of github.com/google/uuid v1.3.1\n",
                "",
            )
        },
    ]
}

fn databases(database: &Database) -> Vec<Lie> {
    let lie = |name, path, answer: Vec<u8>, named, why| Lie {
        name,
        path,
        answer: answer.into(),
        word: "INVALID     ",
        named,
        why,
        is_a_modules: false,
    };
    let lookup = "/lookup/github.com/google/uuid@v1.3.1";
    let named = "lookup github.com/google/uuid@v1.3.1 from sums.example (#";
    let honest = database.lookup(300, 600);
    let wrong_hash = honest.replace("h1:KjJaJ9iWZ3jOFZIf1", "h1:KjJaJ9iWZ3jOFZIf2");
    assert_ne!(honest, wrong_hash);
    let other_key = database.with_another_key().lookup(300, 600);
    let mut forked = records();
    forked[17] = String::from("example.com/evil v1.0.0 h1:evil=\n");
    let old_head = database.forked(forked).lookup(300, 600);
    // Of the 257th to the 512th record, among them that of uuid.
    let tile = modtape::gomod::Tile::parse("tile/8/0/001").expect("a tile");
    let mut forged = database.tile(&tile);
    forged[32 * (300 - 256)] ^= 1;
    vec![
        lie(
            "a lookup with a wrong hash",
            lookup,
            wrong_hash.into_bytes(),
            named,
            "): the tree of ",
        ),
        lie(
            "a lookup that another key has signed",
            lookup,
            other_key.into_bytes(),
            named,
            "): its tree head is not valid: it is not signed by sums.example",
        ),
        lie(
            "a head whose signature is of another head",
            lookup,
            honest.replace("\n600\n", "\n601\n").into_bytes(),
            named,
            "): its tree head is not valid: its signature by sums.example is wrong",
        ),
        lie(
            "an old head that the newer tree did not grow from",
            lookup,
            old_head.into_bytes(),
            named,
            "): the tree of 600 records is not the beginning of the tree of ",
        ),
        lie(
            "a forged tile",
            "/tile/8/0/001",
            forged,
            "tile/8/0/001 from sums.example (#",
            "): tile/8/0/001 is forged or damaged: it does not belong to the tree of ",
        ),
    ]
}

/// A sandbox with the project `hello` without a go.sum, and a go that verifies with our database.
struct Stage {
    sandbox: Sandbox,
    go: PathBuf,
    key: String,
}

impl Stage {
    fn set(key: String) -> Option<Self> {
        let sandbox = Sandbox::new();
        let go = sandbox.go("1.27")?;
        sandbox.project_without_sums("hello")?;
        Some(Self { sandbox, go, key })
    }

    /// `go mod download` in a recorder.
    fn record(&self, origin: &Origin) -> Output {
        let go = self.go.to_str().expect("paths of tests are text");
        let command = [go, "mod", "download"];
        let mut record = record(&self.sandbox, origin, &["--cold", "--no-har"], &command);
        record.env("GOSUMDB", &self.key);
        run(record, LIMIT)
    }

    fn modtape(&self, args: &[&str]) -> Output {
        run(self.sandbox.modtape(args.iter().copied()), LIMIT)
    }

    /// `go mod download` of uuid from the recording; if it `trusts`, it verifies nothing.
    fn replay(&self, trusts: bool) -> Output {
        let mut replay = self.sandbox.modtape(["replay", "one", "--keep-env", "--"]);
        replay.arg(&self.go).args(["mod", "download", UUID]);
        run(self.environment(replay, trusts), LIMIT)
    }

    /// The same from an exported tree.
    fn download_from(&self, tree: &Path, trusts: bool) -> Output {
        self.sandbox.forget_modules();
        let mut go = self.sandbox.command(&self.go);
        go.args(["mod", "download", UUID]);
        let mut go = self.environment(go, trusts);
        go.env("GOPROXY", format!("file://{}", tree.display()));
        // Nobody listens there: whatever is not in the tree cannot be had.
        go.env("HTTPS_PROXY", "http://127.0.0.1:1");
        run(go, LIMIT)
    }

    fn environment(&self, mut command: Command, trusts: bool) -> Command {
        let sumdb = if trusts { "off" } else { &self.key };
        command.env("GOSUMDB", sumdb).env("GOFLAGS", "-mod=mod");
        command
    }
}

fn is_seen_through(lie: &Lie, database: &Database) -> Option<()> {
    let Lie { name, why, .. } = lie;
    let stage = Stage::set(database.verifier_key())?;
    let content = Content::corpus("hello", Sumdb::Proxy)?.supported_is_404();
    let content = database.serve(content, &LOOKUPS);
    let answer = Rule::suffix(lie.path).status(200).body(lie.answer.clone());
    let origin = Origin::builder(content).rule(answer).start();
    let recorded = stage.record(&origin);
    assert!(!recorded.status.success(), "{name}: go saw through it");
    drop(origin);
    let verified = stage.modtape(&["verify", "one"]);
    assert_eq!(verified.status.code(), Some(1), "{name}: {verified:?}");
    let begins = format!("{}{}", lie.word, lie.named);
    let line = verified.stdout.find(&begins);
    let line = line.unwrap_or_else(|| panic!("{name}: {verified:?}"));
    assert!(
        verified.stdout[line..].contains(why),
        "{name}: {verified:?}"
    );
    // What is wrong is one answer, and nothing that is right is blamed for it.
    let wrong = |line: &&str| line.starts_with("MISMATCH") || line.starts_with("INVALID");
    assert_eq!(
        verified.stdout.lines().filter(wrong).count(),
        1,
        "{name}: {verified:?}"
    );
    let told = recording(&stage.sandbox, "one")
        .manifest()
        .replayable
        .faults
        .len();
    assert_eq!(told, 1, "{name}: {}", recorded.stderr);
    let replayed = stage.replay(lie.is_a_modules);
    let refused = "it was answered with something else, which is not replayed: ";
    assert!(!replayed.status.success(), "{name}: {replayed:?}");
    assert!(replayed.stderr.contains(refused), "{name}: {replayed:?}");
    stage.modtape(&["export", "goproxy", "one", "-o", "tree"]);
    let tree = stage.sandbox.join("project/tree");
    let lied = tree.join(lie.path.trim_start_matches('/'));
    assert!(!lied.exists(), "{name}");
    let from_tree = stage.download_from(&tree, lie.is_a_modules);
    assert!(!from_tree.status.success(), "{name}: {from_tree:?}");
    Some(())
}

#[test]
fn zips_that_lie() {
    if corpus_folder("hello").is_none() {
        return;
    }
    let database = Database::new(DATABASE, records());
    for lie in zips() {
        if is_seen_through(&lie, &database).is_none() {
            return;
        }
    }
}

#[test]
fn texts_that_lie() {
    if corpus_folder("hello").is_none() {
        return;
    }
    let database = Database::new(DATABASE, records());
    for lie in texts() {
        if is_seen_through(&lie, &database).is_none() {
            return;
        }
    }
}

#[test]
fn databases_that_lie() {
    if corpus_folder("hello").is_none() {
        return;
    }
    let database = Database::new(DATABASE, records());
    for lie in databases(&database) {
        if is_seen_through(&lie, &database).is_none() {
            return;
        }
    }
}

/// What is in go.sum is looked up nowhere: nobody but that file tells.
#[test]
fn a_swapped_module_of_which_only_go_sum_tells() {
    let Some(stage) = Stage::set(String::from("sum.golang.org")) else {
        return;
    };
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    stage.sandbox.project("hello");
    let zip = format!("{UUID_FILE}.zip");
    let swapped = Rule::suffix(&zip).status(200).body(uuid_zip(&[GO_MOD, GO]));
    let origin = Origin::builder(content).rule(swapped).start();
    let recorded = stage.record(&origin);
    assert!(
        recorded.stderr.contains("checksum mismatch"),
        "{recorded:?}"
    );
    let asked = origin.paths();
    assert!(
        !asked.iter().any(|path| path.contains("/lookup/")),
        "{asked:?}"
    );
    drop(origin);
    let verified = stage.modtape(&["verify", "one"]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let named = "MISMATCH    zip of github.com/google/uuid v1.3.1\n            main.sum  ";
    assert!(verified.stdout.contains(named), "{verified:?}");
    assert!(!verified.stdout.contains("INVALID"), "{verified:?}");
    let replayed = stage.replay(true);
    let refused = "it was answered with something else, which is not replayed: its hash is h1:";
    assert!(replayed.stderr.contains(refused), "{replayed:?}");
    stage.modtape(&["export", "goproxy", "one", "-o", "tree"]);
    let tree = stage.sandbox.join("project/tree");
    assert!(!tree.join(&zip[1..]).exists());
}

/// A manifest names a hundred faults, and that of a recorder which was killed names none.
#[tokio::test]
async fn a_replay_knows_more_faults_than_a_manifest_names() {
    const FAULTS: usize = 120;
    let page = Rule::suffix(".info").status(200).body("<!doctype html>");
    let origin = Origin::builder(Content::default()).rule(page).start();
    let recorder = Recorder::to(&origin, &[]);
    let mut session = recorder.session("proxy.golang.org").await;
    let path = |number: usize| format!("/a.b/c/@v/v1.{number}.0.info");
    for number in 0..FAULTS {
        session.get(&path(number)).await.expect("an answer");
    }
    drop(session);
    let recorded = recorder.finish().await;
    let dir = recorded.recording.dir();
    assert_eq!(recorded.recording.manifest().replayable.faults.len(), 100);
    for is_killed in [false, true] {
        if is_killed {
            for name in ["recording.json", "index"] {
                fs::remove_file(dir.join(name)).expect("our own file");
            }
        }
        for number in [0, FAULTS - 1] {
            let sandbox = Sandbox::new();
            let mut replay = sandbox.modtape(["replay"]);
            replay.arg(dir).arg("--").arg(tested()).arg("fetch");
            replay.arg(format!("https://proxy.golang.org{}", path(number)));
            let replayed = run(replay, LIMIT);
            let refused =
                "it was answered with something else, which is not replayed: it is an HTML page";
            assert!(!replayed.status.success(), "{number}: {replayed:?}");
            assert!(replayed.stderr.contains(refused), "{number}: {replayed:?}");
        }
    }
}
