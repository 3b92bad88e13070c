//! The store that servers share: what one has proved another answers from it, and whatever is wrong with it, the build
//! goes on. The store is moto's S3 server, and another implementation where there is one.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::answers::{MOD, PROXY, ZIP, file, hello};
use super::*;

/// A guard, no judgement.
const GO_LIMIT: Duration = Duration::from_secs(120);

/// Where modules lie in the bucket.
pub(super) const PLACE: &str = "s3://team/modules";

/// moto asks who it is, and takes anybody.
const KNOWN: &str = "Authorization: AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request, \
                     SignedHeaders=host, Signature=0\r\n";

/// Where an S3 server is, and who asks it.
#[derive(Clone, Copy)]
struct Access {
    address: SocketAddr,
    key: &'static str,
    secret: &'static str,
}

impl Access {
    /// One whose keys nobody knows.
    fn to(address: SocketAddr) -> Self {
        Self {
            address,
            key: "test-key-id",
            secret: "test-secret-key-0123456789",
        }
    }

    fn env(self, command: &mut Command) {
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.address));
        command.env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", self.key);
        command.env("AWS_SECRET_ACCESS_KEY", self.secret);
    }
}

/// An S3 server with a bucket, `team`.
pub(crate) struct Bucket {
    pub(super) server: Spawned,
    access: Access,
    /// What a request of a test says of itself.
    known: &'static str,
    _folder: Option<tempfile::TempDir>,
}

/// The command that a variable names; `None`, with a line on stderr, where it cannot be had.
fn tool(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        let message = format!("no S3 server; set {variable}");
        let is_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "{message}");
        skipped(&message);
    }
    path
}

impl Bucket {
    /// Each server that there is.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        [Self::start(), Self::of_another()].into_iter().flatten()
    }

    /// moto's server on a free port.
    pub(crate) fn start() -> Option<Self> {
        let mut command = program(tool("MODTAPE_MOTO")?);
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let server = Spawned::start(command);
        let told = server.wait_for_stderr("CTRL+C");
        let (_, rest) = told.split_once("http://").expect("it is told");
        let address = rest.lines().next().expect("a line").trim().parse();
        let bucket = Self {
            server,
            access: Access::to(address.expect("an address")),
            known: KNOWN,
            _folder: None,
        };
        assert_eq!(bucket.ask("PUT", "", b"").status, 200);
        Some(bucket)
    }

    /// s3rver, which is another implementation.
    fn of_another() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = program(tool("MODTAPE_S3RVER")?);
        command.args(["-a", "127.0.0.1", "-p", "0", "--configure-bucket", "team"]);
        command.arg("-d").arg(folder.path());
        let server = Spawned::start(command);
        let told = server.wait_for_stdout("listening on ");
        let (_, rest) = told.split_once("listening on ").expect("it is told");
        let address = rest.lines().next().expect("a line").trim().parse();
        Some(Self {
            server,
            access: Access {
                address: address.expect("an address"),
                key: "S3RVER",
                secret: "S3RVER",
            },
            known: "",
            _folder: Some(folder),
        })
    }

    /// What has modtape find it.
    pub(crate) fn env(&self, command: &mut Command) {
        self.access.env(command);
    }

    /// Sends a request for a key, as somebody whom the server knows.
    fn ask(&self, method: &str, key: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.access.address).expect("it listens");
        let head = format!(
            "{method} /team{key} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
            self.access.address,
            self.known,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        stream.write_all(body).expect("it reads");
        read_answer(stream)
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        let answer = self.ask("GET", &format!("/{key}"), b"");
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
        answer.body
    }

    pub(crate) fn put(&self, key: &str, body: &[u8]) {
        assert_eq!(
            self.ask("PUT", &format!("/{key}"), body).status,
            200,
            "{key}"
        );
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        let listed = self.ask("GET", "?list-type=2", b"").text();
        let keys = listed.split("<Key>").skip(1);
        let keys = keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
        keys.collect()
    }
}

/// Starts a server with a folder of its own and a store at this address.
fn start(sandbox: &Sandbox, origin: &Origin, store: Access, env: &[(&str, &str)]) -> Serving {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut command = sandbox.modtape(["serve", "--listen", "127.0.0.1:0", "--store", "store"]);
    command.args(["--store", PLACE, "--upstream", PROXY, "--no-ahead"]);
    command.args(["--connect-to", &everywhere, "--upstream-ca"]);
    command
        .arg(origin.root_pem_path())
        .current_dir(sandbox.path());
    store.env(&mut command);
    command.envs(env.iter().copied());
    Serving::told(Spawned::start(command))
}

#[test]
fn what_one_server_has_proved_another_serves_with_nobody_upstream() {
    for bucket in Bucket::each() {
        let Some(content) = hello() else { return };
        let origin = Origin::start(content);
        let (first, second) = (Sandbox::new(), Sandbox::new());
        let info = MOD.replace(".mod", ".info");
        let lookup = "/sumdb/sum.golang.org/lookup/github.com/!burnt!sushi/toml@v1.3.2";
        let paths = [ZIP, MOD, &info, lookup];
        let serving = start(&first, &origin, bucket.access, &[]);
        let expected = paths.map(|path| {
            let answer = serving.get(path);
            assert_eq!((answer.status, answer.is_whole), (200, true), "{answer:?}");
            answer.body
        });
        let ready = serving.get("/readyz");
        assert_eq!(ready.status, 200);
        for tier in ["memory: ok", "disk, reading: ok", "store, writing: ok"] {
            assert!(ready.text().contains(tier), "{}", ready.text());
        }
        let output = serving.end();
        assert!(!output.stderr.contains("shared store"), "{}", output.stderr);
        assert!(!output.stderr.contains("test-secret"), "{}", output.stderr);
        origin.add_rule(Rule::any().reset());
        let served = origin.requests().len();
        let serving = start(&second, &origin, bucket.access, &[]);
        for (path, expected) in paths.iter().zip(&expected) {
            let answer = serving.get(path);
            assert_eq!(&answer.body, expected, "{path}");
            // What is asked beside a zip may be here before it is asked for.
            let tier = answer.tier();
            assert!(tier == "store" || *path != ZIP, "{path}: {tier}");
            assert_ne!(tier, "miss", "{path}");
            // It is kept here, too.
            assert!(
                ["memory", "disk"].contains(&serving.get(path).tier()),
                "{path}"
            );
        }
        assert_eq!(origin.requests().len(), served);
        serving.end();
    }
}

#[test]
fn what_was_kept_unverified_is_asked_for_upstream_and_replaced() {
    for bucket in Bucket::each() {
        let Some(content) = hello() else { return };
        let origin = Origin::start(content);
        for (env, tier) in [
            (&[("GOSUMDB", "off")][..], "miss"),
            // The same bytes, but nobody has vouched for them.
            (&[], "miss"),
            (&[], "store"),
        ] {
            let sandbox = Sandbox::new();
            let serving = start(&sandbox, &origin, bucket.access, env);
            for path in [MOD, ZIP] {
                let answer = serving.get(path);
                assert!(answer.body == file(path), "{}", answer.head);
                assert_eq!(answer.tier(), tier, "{path}, {env:?}");
            }
            serving.end();
        }
    }
}

#[test]
fn a_real_go_command_is_served_from_another_machines_store() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    let Some(project) = sandbox.project("hello") else {
        return;
    };
    let expected = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
    let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
    let origin = Origin::start(content);
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    // Each has a folder of its own: the first fetches, the second finds nobody upstream.
    for folder in ["../first", "../second"] {
        sandbox.forget_modules();
        fs::write(project.join("go.sum"), "").expect("our own folder");
        let mut command = sandbox.modtape(["serve", "--store", folder, "--store", PLACE]);
        command.args(["--connect-to", &everywhere, "--upstream-ca"]);
        command.arg(origin.root_pem_path());
        bucket.env(&mut command);
        command.arg("--").arg(&go).args(["mod", "tidy"]);
        run(command, GO_LIMIT).expect_success();
        let sums = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
        assert_eq!(sums, expected);
        origin.add_rule(Rule::any().reset());
    }
}

/// A server that takes requests and answers all with these bytes; with none it keeps silent.
fn answering(bytes: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            if bytes.is_empty() {
                silent.push(stream);
                continue;
            }
            thread::spawn(move || {
                let mut head = [0; 4096];
                // A request is smaller, or its rest is not waited for.
                let _ = stream.read(&mut head);
                let _ = stream.write_all(bytes.as_bytes());
            });
        }
    });
    address
}

#[test]
fn a_store_that_is_away_silent_or_wrong_is_left_out_and_said_once() {
    let Some(content) = hello() else { return };
    let away = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let away_address = away.local_addr().expect("it is bound");
    drop(away);
    let denied = "HTTP/1.1 403 Forbidden\r\nContent-Length: 52\r\nConnection: close\r\n\r\n\
                  <Error><Code>InvalidAccessKeyId</Code><a></a></Error>";
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 25\r\nConnection: close\r\n\r\n<!DOCTYPE html>\nSign in!!";
    let full =
        "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (name, store) in [
        ("away", away_address),
        ("silent", answering("")),
        ("denied", answering(denied)),
        ("a page", answering(page)),
        ("full", answering(full)),
    ] {
        let origin = Origin::start(content.clone());
        let sandbox = Sandbox::new();
        let serving = start(&sandbox, &origin, Access::to(store), &[]);
        for path in [ZIP, MOD] {
            let answer = serving.get(path);
            assert_eq!(
                (answer.status, answer.is_whole),
                (200, true),
                "{name}: {answer:?}"
            );
            assert_eq!(answer.body, file(path), "{name}");
        }
        let ready = serving.get("/readyz");
        assert_eq!(ready.status, 200, "{name}");
        let said = serving.end().stderr;
        let times = said
            .matches("reading from the shared store is left out")
            .count();
        assert_eq!(times, 1, "{name}: {said}");
        assert!(!said.contains("test-secret"), "{name}: {said}");
    }
}

#[test]
fn what_is_damaged_in_the_store_is_fetched_and_replaced() {
    for bucket in Bucket::each() {
        let Some(content) = hello() else { return };
        let origin = Origin::start(content);
        let (first, second) = (Sandbox::new(), Sandbox::new());
        let serving = start(&first, &origin, bucket.access, &[]);
        for path in [ZIP, MOD] {
            assert_eq!(serving.get(path).status, 200);
        }
        serving.end();
        let is_spoilt = |key: &String| key.contains("/bodies/") || key.ends_with("v1.3.2.mod");
        let keys: Vec<_> = bucket.keys().into_iter().filter(is_spoilt).collect();
        assert_eq!(keys.len(), 2, "{:?}", bucket.keys());
        let whole: Vec<_> = keys.iter().map(|key| bucket.get(key)).collect();
        for (key, whole) in keys.iter().zip(&whole) {
            let mut spoilt = whole.clone();
            *spoilt.last_mut().expect("a byte") ^= 1;
            bucket.put(key, &spoilt);
        }
        let serving = start(&second, &origin, bucket.access, &[]);
        for path in [ZIP, MOD] {
            let answer = serving.get(path);
            assert_eq!((answer.status, answer.tier()), (200, "miss"), "{answer:?}");
            assert_eq!(answer.body, file(path));
        }
        let said = serving.end().stderr;
        assert_eq!(said.matches("is damaged").count(), 2, "{said}");
        for (key, whole) in keys.iter().zip(&whole) {
            let now = bucket.get(key);
            // The time at which it came is another one.
            let body = |of: &[u8]| {
                of.splitn(2, |byte| *byte == b'\n')
                    .last()
                    .map(<[u8]>::to_vec)
            };
            match key.contains("/bodies/") {
                true => assert!(now == *whole, "{key}"),
                false => assert_eq!(body(&now), body(whole), "{key}"),
            }
        }
    }
}

#[test]
fn what_is_purged_is_gone_from_the_store_too() {
    for bucket in Bucket::each() {
        let Some(content) = hello() else { return };
        let origin = Origin::start(content);
        let (first, second) = (Sandbox::new(), Sandbox::new());
        let serving = start(&first, &origin, bucket.access, &[]);
        for path in [ZIP, MOD] {
            assert_eq!(serving.get(path).status, 200);
        }
        serving.end();
        let of_module = |key: &String| key.contains("!burnt!sushi");
        assert!(bucket.keys().iter().any(of_module));
        let serving = start(&second, &origin, bucket.access, &[]);
        let mut purge = second.modtape(["cache", "purge", "github.com/BurntSushi/toml"]);
        purge.args(["--store", "store"]).current_dir(second.path());
        assert_ne!(serving.get(MOD).tier(), "miss");
        run(purge, GO_LIMIT).expect_success();
        assert_eq!(super::purges::until_purged(&serving, MOD).tier(), "miss");
        serving.end();
        // What was asked for since is there anew, and nothing else is.
        assert!(!bucket.keys().iter().any(|key| key.ends_with("v1.3.2.zip")));
    }
}

#[test]
fn private_modules_are_not_shared() {
    let (Some(content), Some(bucket)) = (hello(), Bucket::start()) else {
        return;
    };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let env = [("GOPRIVATE", "github.com/BurntSushi/*")];
    let serving = start(&sandbox, &origin, bucket.access, &env);
    for path in [ZIP, MOD] {
        assert_eq!(serving.get(path).status, 200);
    }
    serving.end();
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn one_folder_and_one_store_at_most() {
    let sandbox = Sandbox::new();
    for (stores, told) in [
        (["a", "b"], "one folder and one object store"),
        (["s3://a/b", "gs://a/b"], "one folder and one object store"),
        (["a", "http://b/c"], "an object store is s3://"),
        (["a", "s3://KEY:SECRET@b/c"], "endpoint and keys"),
    ] {
        let mut command = sandbox.modtape(["serve", "--upstream", PROXY]);
        for store in stores {
            command.args(["--store", store]);
        }
        let output = run(command, GO_LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert!(!output.stderr.contains("SECRET"), "{}", output.stderr);
    }
}

#[test]
fn a_purge_that_names_the_store_removes_bodies_from_it_too() {
    let (Some(content), Some(bucket)) = (hello(), Bucket::start()) else {
        return;
    };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let serving = start(&sandbox, &origin, bucket.access, &[]);
    for path in [ZIP, MOD] {
        assert_eq!(serving.get(path).status, 200);
    }
    serving.end();
    let is_named = |key: &String| key.contains("/toml/@v/") || key.contains("/bodies/");
    let before = bucket.keys();
    assert!(
        before.iter().any(|key| key.contains("/bodies/")),
        "{before:?}"
    );
    let others = before.iter().filter(|key| !is_named(key)).count();
    let mut purge = sandbox.modtape(["cache", "purge", "github.com/BurntSushi/toml@v1.3.2"]);
    purge.args(["--store", PLACE, "--json"]);
    bucket.env(&mut purge);
    let purged = run(purge, GO_LIMIT).expect_success();
    let json: serde_json::Value = serde_json::from_str(&purged.stdout).expect("JSON");
    let removed = json["places"][0]["removed"].as_array().expect("a list");
    assert!(removed.iter().any(|it| it["path"] == ZIP[1..]), "{json}");
    let after = bucket.keys();
    assert!(!after.iter().any(is_named), "{after:?}");
    assert_eq!(after.len(), others, "{after:?}");
}
