//! One recorder, with a secret in every place, and everything that it leaves behind.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::support::*;
use super::places::{self, Place};
use super::shapes::SHAPES;

/// What a recorder left behind: by name, everything that a secret may have come to.
pub(super) struct Evidence {
    pub(super) sinks: Vec<(String, Vec<u8>)>,
    /// What the origin received, and what the client did.
    pub(super) received: Vec<u8>,
    pub(super) answers: Vec<u8>,
    pub(super) sandbox: Sandbox,
}

pub(super) const HOST: &str = "proxy.golang.org";
/// A signed URL that a redirect leads to.
pub(super) const SIGNED: &str = "https://proxy.golang.org/signed?part=1&X-Amz-Credential=sIgnedCredential1&X-Amz-Signature=sIgnedSignature1";
/// A value that stands in two places.
pub(super) const TWICE: &str = "2wiceTheSameSecret";

/// The origin: it answers the request for a shape with that shape's secrets.
fn origin() -> RawOrigin {
    RawOrigin::start(|request| {
        let text = String::from_utf8_lossy(request);
        let path = text.split(' ').nth(1).unwrap_or_default();
        let shape = path
            .split('/')
            .nth(1)
            .and_then(|number| number.parse().ok());
        vec![Step::send(match shape {
            Some(shape) => answer(shape),
            None if path == "/moved" => {
                format!("HTTP/1.1 302 Found\r\nlocation: {SIGNED}\r\ncontent-length: 0\r\n\r\n")
            }
            None => String::from("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"),
        })]
    })
}

fn answer(shape: usize) -> String {
    let lines = places::answer_fields(shape)
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let lines: String = lines.collect();
    let (name, value) = places::trailer(shape);
    let reason = places::reason(shape);
    format!(
        "HTTP/1.1 302 {reason}\r\n{lines}trailer: {name}\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nok\n\r\n0\r\n{name}: {value}\r\n\r\n"
    )
}

/// A parent that refuses `e<shape>.example` with that shape's secret, and relays all else.
fn parent(origin: &RawOrigin) -> ParentProxy {
    let mut parent = ParentProxy::http(origin.addr()).credentials("user", PARENTS);
    for shape in 0..SHAPES.len() {
        let reason = format!(
            "denied token={}",
            places::secret(Place::ParentsReason, shape)
        );
        parent = parent.refuse_target(&format!("e{shape}.example:443"), 403, &reason);
    }
    parent.start()
}

/// The parent proxy's password; in its URL it is encoded.
pub(super) const PARENTS: &str = "pArentPa@ss:w%rd/9";

/// Records on a terminal; `flags` says how.
pub(super) async fn record(flags: &[&str], is_terminal: bool) -> Evidence {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let parent = parent(&origin);
    let mut command = recorder(&sandbox, &origin, &parent, (flags, is_terminal));
    for (shape, _) in SHAPES.iter().enumerate() {
        command.env(
            format!("MY_TOKEN_{shape}"),
            places::secret(Place::Environment, shape),
        );
    }
    let (recorder, proxy, hello) = started(command, &sandbox);
    let answers = drive(proxy, &hello).await;
    let mut sinks = files(&sandbox.join("run"), "while it runs: ");
    let output = tokio::task::spawn_blocking(move || recorder.end())
        .await
        .expect("no panic");
    let output = output.expect_success();
    sinks.push((String::from("the terminal"), output.stdout.into_bytes()));
    sinks.push((String::from("stderr"), output.stderr.into_bytes()));
    sinks.extend(files(&sandbox.join("recordings"), ""));
    sinks.extend(files(&sandbox.join("run"), ""));
    sinks.push((
        String::from("log.json"),
        fs::read(sandbox.join("log.json")).expect("there is a log"),
    ));
    sinks.extend(views(&sandbox));
    Evidence {
        sinks,
        received: origin.received().concat(),
        answers,
        sandbox,
    }
}

/// Starts a recorder or a replay with [`TELLS`]; where it listens, and a client's hello.
fn started(command: Command, sandbox: &Sandbox) -> (Spawned, std::net::SocketAddr, Hello) {
    let (running, proxy, root) = Spawned::proxy(command, sandbox);
    (running, proxy, Hello::new(HOST, &root).alpn(Alpn::Http1))
}

/// Asks for `target` and gives the answer, head and body.
async fn asked(client: &mut Client, target: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    client.send(head).await.expect("the proxy takes it");
    let head = client.read_head().await.expect("an answer");
    let len = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let body = client.read_exactly(len.unwrap_or(0)).await.expect("a body");
    head + &String::from_utf8_lossy(&body)
}

/// Replays what was recorded to a client with other signatures, follows the recorded redirect, and
/// asks in vain for what has secrets in it: what the replay said to whom.
pub(super) async fn replay(evidence: &Evidence) -> Vec<(String, Vec<u8>)> {
    let sandbox = &evidence.sandbox;
    let mut command = sandbox.modtape(["replay", "-vv", "one", "--", "/bin/sh", "-c", TELLS]);
    command.env("PATH", search_path(&[&sandbox.join("stub")]));
    let (replay, proxy, hello) = started(command, sandbox);
    let connected = Client::open(proxy)
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    let mut client = connected
        .client
        .handshake(&hello)
        .await
        .expect("a handshake");
    let moved = asked(&mut client, "/moved").await;
    let (_, location) = moved.split_once(HOST).expect("it leads there");
    let location = location.lines().next().unwrap_or_default();
    assert!(location.contains("X-Amz-Signature=redacted:"), "{moved}");
    assert!(
        asked(&mut client, location).await.ends_with("ok\n"),
        "a redirect is followed"
    );
    let again = "/signed?part=1&X-Amz-Credential=another&X-Amz-Signature=another";
    assert!(
        asked(&mut client, again).await.ends_with("ok\n"),
        "signed anew"
    );
    assert!(asked(&mut client, "/twice").await.ends_with("ok\n"));
    let mut answers = String::new();
    for shape in 0..SHAPES.len() {
        let missing = asked(
            &mut client,
            &format!("/not{}", places::request_target(shape)),
        )
        .await;
        assert!(missing.starts_with("HTTP/1.1 504"), "{missing}");
        answers.push_str(&missing);
    }
    drop(client);
    let output = tokio::task::spawn_blocking(move || replay.end())
        .await
        .expect("no panic");
    let stderr = output.expect_success().stderr;
    vec![
        (String::from("the replay's answers"), answers.into_bytes()),
        (String::from("the replay's stderr"), stderr.into_bytes()),
    ]
}

fn recorder(
    sandbox: &Sandbox,
    origin: &RawOrigin,
    parent: &ParentProxy,
    (flags, is_terminal): (&[&str], bool),
) -> Command {
    stub_go(sandbox);
    let mut args: Vec<String> = [
        "record",
        "-vv",
        "--log-format",
        "json",
        "-o",
        "one",
        "--upstream-ca",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(origin.root_pem_path().display().to_string());
    args.push(format!("--log-file={}", sandbox.join("log.json").display()));
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    args.extend(["--", "/bin/sh", "-c", TELLS, "sh"].map(str::to_owned));
    args.extend(places::arguments());
    let mut command = match is_terminal {
        false => sandbox.modtape(args.iter().map(String::as_str)),
        true => {
            let quoted = args
                .iter()
                .map(|word| format!(" '{}'", word.replace('\'', r"'\''")));
            let line = format!(
                "exec '{}'{}",
                tested().display(),
                quoted.collect::<String>()
            );
            let mut script = sandbox.command("script");
            script
                .args(["-qec", &line, "/dev/null"])
                .env("SHELL", "/bin/sh");
            script
        }
    };
    let password = super::search::percent(PARENTS, super::search::Percent::Upper);
    let url = parent.url().replace("://", &format!("://user:{password}@"));
    command.env("HTTPS_PROXY", &url).env("HTTP_PROXY", &url);
    command.env("PATH", search_path(&[&sandbox.join("stub")]));
    command
}

/// A go command that has secrets in its settings.
fn stub_go(sandbox: &Sandbox) {
    let folder = sandbox.join("stub");
    fs::create_dir(&folder).expect("a folder");
    let settings = serde_json::json!({
        "GOPROXY": places::goproxy(), "GOFLAGS": places::goflags(), "GOSUMDB": "sum.golang.org",
        "GOAUTH": "netrc", "GOVERSION": "go1.27.3", "GOOS": "linux", "GOARCH": "amd64",
    });
    fs::write(folder.join("env.json"), settings.to_string()).expect("our own folder");
    let script = format!(
        "#!/bin/sh\nexec /bin/cat '{}'\n",
        folder.join("env.json").display()
    );
    let go = folder.join("go");
    fs::write(&go, script).expect("our own folder");
    fs::set_permissions(go, fs::Permissions::from_mode(0o755)).expect("our own file");
}

/// Puts a secret in every place that a client reaches; what came back, raw.
async fn drive(proxy: std::net::SocketAddr, hello: &Hello) -> Vec<u8> {
    let mut answers = Vec::new();
    let connected = Client::open(proxy)
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    let mut client = connected
        .client
        .handshake(hello)
        .await
        .expect("a handshake");
    for shape in 0..SHAPES.len() {
        let fields = places::request_fields(shape).into_iter();
        let lines: String = fields
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let target = places::request_target(shape);
        let head = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{lines}te: trailers\r\n\r\n");
        client.send(head).await.expect("the proxy takes it");
        // The head, and the chunks with their trailer.
        for _ in 0..2 {
            answers.extend(client.read_raw_head().await.expect("an answer"));
        }
    }
    for path in (0..SHAPES.len()).filter_map(places::base_path) {
        let target = format!("{path}/golang.org/x/net/@v/list");
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: {HOST}\r\nx-seen: at{path}\r\nreferer: https://{HOST}{path}/x\r\n\r\n"
        );
        client.send(head).await.expect("the proxy takes it");
        client.read_head().await.expect("an answer");
        client.read_exactly(3).await.expect("a body");
    }
    for field in ["authorization: Bearer", "x-api-token:"] {
        let head = format!("GET /twice HTTP/1.1\r\nhost: {HOST}\r\n{field} {TWICE}\r\n\r\n");
        client.send(head).await.expect("the proxy takes it");
        client.read_head().await.expect("an answer");
        client.read_exactly(3).await.expect("a body");
    }
    let (_, location) = SIGNED.split_once(HOST).expect("it leads there");
    assert!(asked(&mut client, "/moved").await.contains(SIGNED));
    assert!(asked(&mut client, location).await.ends_with("ok\n"));
    drop(client);
    for shape in 0..SHAPES.len() {
        let target = format!(
            "user:{}@{HOST}:443",
            places::encoded(Place::ConnectUserinfo, shape)
        );
        let refused = Client::open(proxy).await.connect(&target, &[]).await;
        assert_eq!(refused.status, 400, "{}", refused.head);
        let refused_too = Client::open(proxy)
            .await
            .connect(&format!("e{shape}.example:443"), &[])
            .await;
        assert_eq!(refused_too.status, 502, "{}", refused_too.head);
    }
    answers
}

/// What the commands show of the recording.
fn views(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let mut views: Vec<Vec<String>> = [
        "ls one",
        "ls --json one",
        "recordings list",
        "recordings info one",
        "recordings info --json one",
        "export har one",
    ]
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .to_vec();
    for (shape, (name, ..)) in SHAPES.iter().enumerate() {
        let parts: &[&str] = match *name {
            "double quote" | "no ASCII" | "percent" => &["--headers", "--curl", "--json"],
            _ => continue,
        };
        let id = (shape + 1).to_string();
        views.extend(
            parts
                .iter()
                .map(|part| ["show", part, &id, "one"].map(str::to_owned).to_vec()),
        );
        views.push(["show", &id, "one"].map(str::to_owned).to_vec());
    }
    let view = |args: &Vec<String>| {
        let output = run(sandbox.modtape(args.iter().map(String::as_str)), LIMIT).expect_success();
        (
            format!("modtape {}", args.join(" ")),
            [output.stdout, output.stderr].concat().into_bytes(),
        )
    };
    views.iter().map(view).collect()
}

/// Every file below a folder, and its path.
pub(super) fn files(folder: &Path, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            let name = format!("{prefix}{}", path.display());
            found.push((format!("the name {name}"), name.clone().into_bytes()));
            let kind = fs::symlink_metadata(&path)
                .expect("it is there")
                .file_type();
            if path.is_dir() {
                folders.push(path);
            } else if !kind.is_socket() {
                found.push((name, fs::read(&path).expect("our own file")));
            }
        }
    }
    found
}
