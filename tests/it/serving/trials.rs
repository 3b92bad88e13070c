//! What teams meet: toolchains, a huge zip and a crash, the checksum database in every width and away, a slow 404.

use std::fs;
use std::time::Duration;

use modtape::gomod::{ModuleZip, Tile, go_mod_h1};
use modtape::sumdb::{Seen, tiles_exact};
use rawzip::CompressionMethod;

use super::*;

const DATABASE: &str = "sum.corp";
const PROXY: &str = "https://proxy.golang.org";

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(120);

/// A module version that only the tests know, in a log that only they sign.
struct Made {
    module: &'static str,
    version: String,
    zip: Vec<u8>,
    database: Database,
}

/// Its record's number in the log, and the size of the tree in which it is looked up.
const RECORD: (usize, usize) = (400, 500);

impl Made {
    /// One of these files, the first of which is its go.mod.
    fn new(module: &'static str, version: &str, files: &[(&str, &[u8])]) -> Self {
        let names: Vec<_> = files
            .iter()
            .map(|(name, _)| format!("{module}@{version}/{name}"))
            .collect();
        let entries: Vec<(&str, &[u8])> = names
            .iter()
            .zip(files)
            .map(|(name, (_, content))| (name.as_str(), *content))
            .collect();
        let zip = zip(&entries, CompressionMethod::STORE);
        let opened = ModuleZip::open(&zip[..], zip.len() as u64, module, version);
        let h1 = opened.and_then(|zip| zip.h1()).expect("it is sound");
        let go_mod = go_mod_h1(files[0].1);
        // Other records stand before it and behind it.
        let other = |number: usize| format!("a.example/m v1.{number}.0 h1:{number}=\n");
        let mut records: Vec<String> = (0..600).map(other).collect();
        records[RECORD.0] =
            format!("{module} {version} {h1}\n{module} {version}/go.mod {go_mod}\n");
        Self {
            module,
            version: version.to_owned(),
            zip,
            database: Database::new(DATABASE, records),
        }
    }

    fn path(&self, kind: &str) -> String {
        format!("/{}/@v/{}.{kind}", self.module, self.version)
    }

    /// A proxy that has it, and the database.
    fn content(&self, go_mod: &[u8]) -> Content {
        let looked_up = format!("{}@{}", self.module, self.version);
        let (id, size) = RECORD;
        let content = Content::default().supported_is_404();
        let content = self.database.serve(content, &[(&looked_up, id, size)]);
        let info = format!(
            r#"{{"Version":"{}","Time":"2024-01-01T00:00:00Z"}}"#,
            self.version
        );
        let file = |content: Content, kind: &str, media: &str, body: &[u8]| {
            let body = body.to_vec();
            content.and_file("proxy.golang.org", &self.path(kind), 200, media, body)
        };
        let content = file(content, "info", "application/json", info.as_bytes());
        let content = file(content, "mod", "text/plain", go_mod);
        file(content, "zip", "application/zip", &self.zip)
    }

    /// Without a URL, which go would ask past any proxy.
    fn gosumdb(&self) -> String {
        self.database.verifier_key()
    }

    fn serving(&self, sandbox: &Sandbox, origin: &Origin) -> Serving {
        let mut command = Serving::command(sandbox, origin, PROXY, &["--no-ahead"]);
        command.env("GOSUMDB", self.gosumdb());
        Serving::told(Spawned::start(command))
    }
}

#[test]
fn a_toolchain_comes_through_it_and_again_with_nobody_upstream() {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let version = format!("v0.0.1-go1.99.0.linux-{arch}");
    let go_mod = b"module golang.org/toolchain\n";
    let script = b"#!/bin/sh\necho go version go1.99.0\n";
    let files = [
        ("src/_go.mod", &go_mod[..]),
        ("bin/go", script),
        ("bin/gofmt", script),
        ("lib/wasm/exec", script),
        ("pkg/tool/compile", script),
    ];
    let made = Made::new("golang.org/toolchain", &version, &files);
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    let origin = Origin::start(made.content(go_mod));
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let project = sandbox.join("project");
    fs::create_dir(&project).expect("our own folder");
    fs::write(
        project.join("go.mod"),
        "module example.com/p\n\ngo 1.99.0\n",
    )
    .expect("our own file");
    for flags in [&[][..], &["--offline"]] {
        let mut command = sandbox.modtape(["serve", "--store", "../store"]);
        command.args(["--connect-to", &everywhere]).args(flags);
        command.arg("--upstream-ca").arg(origin.root_pem_path());
        command
            .arg("--")
            .arg(&go)
            .arg("version")
            .current_dir(&project);
        command.envs([("GOTOOLCHAIN", "auto"), ("GOPROXY", PROXY)]);
        command.env("GOSUMDB", made.gosumdb());
        let output = run(command, LIMIT).expect_success();
        assert_eq!(output.stdout, "go version go1.99.0\n", "{}", output.stderr);
        sandbox.forget_modules();
    }
    assert_eq!(asked(&origin, &made.path("zip")), 1);
}

#[test]
fn a_process_that_is_killed_in_the_middle_of_a_large_zip_leaves_a_folder_that_two_others_serve_from()
 {
    let bytes = match std::env::var_os("MODTAPE_LONG") {
        Some(_) => 480 << 20,
        None => 24 << 20,
    };
    let go_mod = b"module example.com/large\n";
    let noise: Vec<u8> = (0..bytes / 4u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    let files = [("go.mod", &go_mod[..]), ("noise", &noise)];
    let made = Made::new("example.com/large", "v1.0.0", &files);
    let path = made.path("zip");
    let stalls = Rule::suffix(&path)
        .stall_after(u64::from(bytes) / 2)
        .times(1);
    let origin = Origin::builder(made.content(go_mod)).rule(stalls).start();
    let sandbox = Sandbox::new();

    let killed = made.serving(&sandbox, &origin);
    let mut client = TcpStream::connect(killed.address).expect("it listens");
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.write_all(head.as_bytes()).expect("it reads");
    let mut first = vec![0; 1 << 20];
    client.read_exact(&mut first).expect("it comes as it is");
    killed.modtape.signal(Signal::KILL);
    drop(killed.modtape.end());

    // Two at once on one folder; each sees it whole, and whoever comes second need not ask.
    let [one, two] = [0, 1].map(|_| made.serving(&sandbox, &origin));
    for (serving, tiers) in [(&one, ["miss", "joined"]), (&two, ["disk", "disk"])] {
        let answer = serving.get(&path);
        assert!(
            answer.is_whole && answer.body == made.zip,
            "{}",
            answer.head
        );
        assert!(tiers.contains(&answer.tier()), "{}", answer.head);
    }
    assert_eq!(asked(&origin, &path), 2);
    for serving in [one, two] {
        serving.end();
    }
}

#[test]
fn the_database_is_relayed_in_every_width_and_what_it_cannot_vouch_for_is_not_kept() {
    let go_mod = b"module example.com/m\n";
    let made = Made::new("example.com/m", "v1.0.0", &[("go.mod", go_mod)]);
    let origin = Origin::start(made.content(go_mod));
    let sandbox = Sandbox::new();
    let serving = made.serving(&sandbox, &origin);
    let (mod_, lookup) = (
        made.path("mod"),
        format!("/sumdb/{DATABASE}/lookup/example.com/m@v1.0.0"),
    );
    // The database is away: what it cannot vouch for is served, and said.
    let away = Rule::host(DATABASE).status(503).body("maintenance\n");
    origin.add_rule(away);
    let answer = serving.get(&mod_);
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &go_mod[..]),
        "{answer:?}"
    );
    assert_eq!(serving.get(&lookup).status, 502);
    serving.end();
    origin.clear_rules();

    let serving = made.serving(&sandbox, &origin);
    let again = serving.get(&mod_);
    assert_eq!(again.tier(), "miss", "it was not kept: {again:?}");
    assert_eq!(serving.get(&mod_).tier(), "memory");
    assert_eq!(
        serving.get(&lookup).text(),
        made.database.lookup(RECORD.0, RECORD.1)
    );
    let seen = Seen {
        lookups: vec![(RECORD.0 as u64, RECORD.1 as u64)],
        heads: Vec::new(),
    };
    let mut tiles: Vec<Tile> = tiles_exact(&seen).into_iter().collect();
    // Narrower ones, for trees that were smaller.
    let narrower: Vec<_> = tiles
        .iter()
        .flat_map(|tile| {
            (1..tile.width)
                .step_by(50)
                .map(|width| Tile { width, ..*tile })
        })
        .collect();
    tiles.extend(narrower);
    for tile in &tiles {
        let path = format!("/sumdb/{DATABASE}/{tile}");
        let answer = serving.get(&path);
        assert!(
            answer.status == 200 && answer.body == made.database.tile(tile),
            "{path}: {}",
            answer.head
        );
    }
    serving.end();

    // Nobody is there any more: the same, to the byte.
    origin.add_rule(Rule::any().reset());
    let serving = made.serving(&sandbox, &origin);
    for tile in &tiles {
        let answer = serving.get(&format!("/sumdb/{DATABASE}/{tile}"));
        assert!(
            answer.body == made.database.tile(tile),
            "{tile}: {}",
            answer.head
        );
    }
    assert_eq!(serving.get(&mod_).body, go_mod);
    serving.end();
}

#[test]
fn a_404_that_comes_too_late_is_no_404() {
    let late = Rule::any().delay(Duration::from_secs(3600)).status(404);
    let origin = Origin::builder(Content::default()).rule(late).start();
    let sandbox = Sandbox::new();
    let flags = ["--upstream-idle-timeout", "300ms"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let path = "/a.example/x/@v/list";
    assert_eq!(serving.get(path).status, 504);
    let answer = serving.get(path);
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(answer.text().contains("left alone"), "{answer:?}");
    serving.end();
}
