//! Log lines: as the Elastic Common Schema has them, each held against the schema itself, and with OpenTelemetry's
//! names; the access log of a server, with the trace of whoever asks.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::har::tool;
use crate::serving::{Serving, ask};
use crate::support::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

const HOST: &str = "proxy.golang.org";

/// The members of one object, in their order, twice if it has one twice.
struct Members(Vec<(String, Value)>);

impl Members {
    fn get(&self, name: &str) -> &Value {
        let mut members = self.0.iter();
        let found = members.find(|(key, _)| key == name);
        found.map_or(&Value::Null, |(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(All)
    }
}

/// The lines of a log, each an object.
fn lines(log: &str) -> Vec<Members> {
    let lines = log.lines().map(|line| {
        let read = serde_json::from_str(line);
        read.unwrap_or_else(|error| panic!("{error} in {line}"))
    });
    lines.collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("there is a log")
}

/// The fields of ECS 8.11, from the schema's own package.
struct Schema(BTreeMap<String, Known>);

#[derive(Deserialize)]
struct Known {
    #[serde(rename = "type")]
    kind: String,
    normalize: Vec<String>,
    #[serde(default)]
    allowed_values: Vec<Allowed>,
}

#[derive(Deserialize)]
struct Allowed {
    name: String,
    #[serde(default)]
    expected_event_types: Vec<String>,
}

impl Schema {
    fn load() -> Option<Self> {
        let package = tool("MODTAPE_ECS")?;
        let mut node = program("node");
        node.args([
            "-e",
            "console.log(JSON.stringify(require(process.argv[1]).EcsFlat))",
        ]);
        node.arg(package);
        let output = run(node, LIMIT).expect_success();
        Some(Self(
            serde_json::from_str(&output.stdout).expect("its fields"),
        ))
    }

    /// What is wrong with a line.
    fn complaints(&self, line: &Members) -> Vec<String> {
        let mut complaints = Vec::new();
        let names: Vec<&str> = line.0.iter().map(|(name, _)| &**name).collect();
        if names[..3] != ["@timestamp", "log.level", "message"] {
            complaints.push(format!("begins with {:?}", &names[..3]));
        }
        if line.get("ecs.version") != "8.11.0" {
            complaints.push(format!("version {}", line.get("ecs.version")));
        }
        for (index, name) in names.iter().enumerate() {
            let rest = &names[index + 1..];
            let below = format!("{name}.");
            if rest.contains(name) || names.iter().any(|other| other.starts_with(&below)) {
                complaints.push(format!("{name} is there twice, or a field and an object"));
            }
        }
        for (name, value) in &line.0 {
            let Some(known) = self.0.get(name) else {
                if !name.starts_with("modtape.") {
                    complaints.push(format!("ECS has no {name}"));
                }
                continue;
            };
            let values = match (value, known.normalize.iter().any(|how| how == "array")) {
                (Value::Array(values), true) => values.iter().collect(),
                (Value::Array(_), false) | (_, true) => {
                    complaints.push(format!("{name}: {value}"));
                    continue;
                }
                (value, false) => vec![value],
            };
            for value in values {
                if !known.takes(value) {
                    complaints.push(format!("{name} is {}, not {value}", known.kind));
                }
            }
        }
        let list = |name: &str| line.get(name).as_array().cloned().unwrap_or_default();
        for category in list("event.category") {
            let known = &self.0["event.category"].allowed_values;
            let Some(known) = known.iter().find(|known| category == *known.name) else {
                continue;
            };
            for kind in list("event.type") {
                if !known.expected_event_types.iter().any(|it| kind == **it) {
                    complaints.push(format!("{category} has no {kind}"));
                }
            }
        }
        complaints
    }

    #[track_caller]
    fn assert_takes(&self, log: &str) {
        assert!(!log.is_empty());
        for (line, text) in lines(log).iter().zip(log.lines()) {
            let complaints = self.complaints(line);
            assert!(complaints.is_empty(), "{complaints:#?}\nin {text}");
        }
    }
}

impl Known {
    fn takes(&self, value: &Value) -> bool {
        let is_allowed = |text: &str| {
            let mut allowed = self.allowed_values.iter();
            self.allowed_values.is_empty() || allowed.any(|allowed| allowed.name == text)
        };
        match (&*self.kind, value) {
            ("keyword" | "wildcard" | "match_only_text", Value::String(text)) => is_allowed(text),
            ("date", Value::String(text)) => OffsetDateTime::parse(text, &Rfc3339).is_ok(),
            ("ip", Value::String(text)) => text.parse::<IpAddr>().is_ok(),
            ("long", value) => value.is_i64(),
            ("boolean", value) => value.is_boolean(),
            _ => false,
        }
    }
}

/// Records requests of every outcome; gives the log.
async fn recorded(format: &str) -> String {
    let files = [
        (
            (HOST, "/example.com/m/@v/list"),
            (200, "text/plain", "v1.0.0\n"),
        ),
        (
            (HOST, "/example.com/m/@v/v1.0.0.info"),
            (404, "text/plain", "none\n"),
        ),
        (
            (HOST, "/example.com/m/@v/v1.0.0.mod"),
            (503, "text/plain", "away\n"),
        ),
    ];
    let origin = Origin::builder(Content::files(files))
        .handshake(Handshake::host("expired.example").leaf(Leaf::Expired))
        .rule(Rule::suffix(".zip").short(3).status(200).body("12345"))
        .start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log");
    let shown = path.display().to_string();
    let flags = [
        "--log-format",
        format,
        "--log-file",
        &shown,
        "--intercept",
        "expired.example",
    ];
    let recorder = Recorder::to(&origin, &flags);
    for host in [HOST, "expired.example"] {
        let mut session = recorder.session(host).await;
        for path in [
            "/example.com/m/@v/list",
            "/example.com/m/@v/v1.0.0.info",
            "/example.com/m/@v/v1.0.0.mod",
            "/example.com/m/@v/v1.0.0.zip",
            "/odd?%22=%5C",
        ] {
            let _ = session.get(path).await;
        }
    }
    recorder.finish().await;
    read(&path)
}

#[tokio::test]
async fn every_line_of_a_recorder_is_what_ecs_says() {
    let Some(schema) = Schema::load() else { return };
    let log = recorded("ecs").await;
    schema.assert_takes(&log);
    let lines = lines(&log);
    let find = |path: &str, status: u16| {
        let mut lines = lines.iter();
        let is_it = |line: &&Members| {
            line.get("url.path") == path && line.get("http.response.status_code") == status
        };
        let found = lines.find(is_it);
        found.unwrap_or_else(|| panic!("no {status} for {path} in {log}"))
    };
    let list = find("/example.com/m/@v/list", 200);
    for (name, value) in [
        ("event.dataset", Value::from("modtape.exchange")),
        ("event.outcome", "success".into()),
        ("event.category", vec!["web"].into()),
        ("event.type", vec!["access"].into()),
        ("http.request.method", "GET".into()),
        ("http.response.body.bytes", 7.into()),
        ("url.domain", HOST.into()),
        (
            "url.full",
            "https://proxy.golang.org/example.com/m/@v/list".into(),
        ),
        ("modtape.module.path", "example.com/m".into()),
        ("service.name", "modtape".into()),
    ] {
        assert_eq!(*list.get(name), value, "{name} in {log}");
    }
    let duration = list.get("event.duration").as_u64().expect("ns");
    let phases = list
        .0
        .iter()
        .filter(|(name, _)| name.starts_with("modtape.phases."));
    let phases: u64 = phases.filter_map(|(_, us)| us.as_u64()).sum();
    assert_eq!(duration, phases * 1000);
    assert_eq!(
        find("/example.com/m/@v/v1.0.0.info", 404).get("event.outcome"),
        "unknown"
    );
    assert_eq!(
        find("/example.com/m/@v/v1.0.0.mod", 503).get("event.outcome"),
        "failure"
    );
    let cut = find("/example.com/m/@v/v1.0.0.zip", 200);
    assert_eq!(cut.get("event.outcome"), "failure");
    assert!(cut.get("error.message").is_string(), "{log}");
}

#[tokio::test]
async fn the_names_of_json_are_those_that_the_page_has() {
    let page = include_str!("../../../docs/telemetry.md");
    for line in lines(&recorded("json").await) {
        for (name, _) in &line.0 {
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not documented"
            );
        }
    }
}

const LIST: &str = "/a.example/x/@v/list";

fn upstream() -> Origin {
    let rule = |host: &str| Rule::host(host).status(200).body("v1.0.0\n");
    Origin::builder(Content::default())
        .rule(rule("a.example"))
        .rule(Rule::host("silent.example").silent())
        .start()
}

#[test]
fn a_line_of_a_server_has_the_trace_of_whoever_asks() {
    let (origin, sandbox) = (upstream(), Sandbox::new());
    let flags = ["--log-file", "log", "--log-format", "ecs"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let address = serving.address;
    let traceparent = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
    assert_eq!(ask(address, "GET", LIST, &traceparent).status, 200);
    assert_eq!(ask(address, "GET", LIST, "").status, 200);
    let invalid = traceparent.replace("00-", "ff-");
    assert_eq!(ask(address, "GET", LIST, &invalid).status, 200);
    assert_eq!(ask(address, "HEAD", LIST, "").status, 200);
    assert_eq!(ask(address, "GET", "/no", "").status, 400);
    serving.end();
    let log = read(&sandbox.join("log"));
    let lines: Vec<_> = lines(&log);
    let of_clients: Vec<_> = lines
        .iter()
        .filter(|line| line.get("event.dataset") == "modtape.access")
        .collect();
    assert_eq!(of_clients.len(), 5, "{log}");
    let text = |line: &Members, name: &str| line.get(name).as_str().unwrap_or_default().to_owned();
    assert_eq!(text(of_clients[0], "trace.id"), TRACE);
    let mut traces: Vec<_> = of_clients.iter().map(|it| text(it, "trace.id")).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 5, "{log}");
    let spans = of_clients.iter().map(|line| text(line, "span.id"));
    assert!(spans.into_iter().all(|span| span.len() == 16), "{log}");
    for (line, bytes) in of_clients.iter().zip([7, 7, 7, 0]) {
        assert_eq!(*line.get("http.response.body.bytes"), bytes, "{log}");
        assert_eq!(line.get("url.path"), LIST);
        assert_eq!(line.get("event.outcome"), "success");
        assert_eq!(line.get("client.ip"), "127.0.0.1");
        assert!(line.get("event.duration").as_u64() > Some(0), "{log}");
    }
    let Some(schema) = Schema::load() else { return };
    schema.assert_takes(&log);
}

#[test]
fn a_client_that_leaves_is_a_failure_in_the_log() {
    let (origin, sandbox) = (upstream(), Sandbox::new());
    let flags = ["--log-file", "log", "--log-format", "ecs"];
    let serving = Serving::start(&sandbox, &origin, "https://silent.example", &flags);
    let mut client = TcpStream::connect(serving.address).expect("it listens");
    let head = format!("GET {LIST} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(head.as_bytes()).expect("it reads");
    origin.wait_for(|log| !log.requests.is_empty(), LIMIT);
    drop(client);
    serving.modtape.signal(Signal::TERM);
    serving.modtape.end();
    let log = read(&sandbox.join("log"));
    let lines = lines(&log);
    let mut lines = lines.iter();
    let access = lines.find(|line| line.get("event.dataset") == "modtape.access");
    let access = access.unwrap_or_else(|| panic!("no line of the client in {log}"));
    assert_eq!(access.get("event.outcome"), "failure", "{log}");
    let why = access.get("error.message").as_str().unwrap_or_default();
    assert!(why.contains("ended before there was a response"), "{log}");
    assert_eq!(*access.get("http.response.status_code"), Value::Null);
}

/// Asks for a list many times, with a log on stderr in each format, which `to` makes; gives how it ended.
fn asked_while_stderr_is(mut to: impl FnMut() -> std::process::Stdio) {
    for format in ["text", "json", "ecs"] {
        let sandbox = Sandbox::new();
        let files = [((HOST, "/a"), (200, "text/plain", "x"))];
        let origin = Origin::start(Content::files(files));
        let modtape = tested();
        let url = format!("https://{HOST}/a");
        let mut fetch = vec![modtape.to_str().expect("paths of tests are text"), "fetch"];
        fetch.extend([&*url; 5]);
        let flags = ["-vv", "--log-format", format];
        let mut command = crate::record::record(&sandbox, &origin, &flags, &fetch);
        let ended = command
            .stdout(std::process::Stdio::null())
            .stderr(to())
            .status();
        assert!(ended.expect("it runs").success(), "{format}");
        let recording = crate::record::recording(&sandbox, "one");
        assert_eq!(recording.rows().len(), 5, "{format}");
    }
}

#[test]
fn a_stderr_that_takes_no_lines_stops_nothing() {
    let full = || fs::File::options().write(true).open("/dev/full");
    asked_while_stderr_is(|| full().expect("it is there").into());
    asked_while_stderr_is(|| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer.into()
    });
}

/// 500 requests have more lines than a pipe holds (64 KiB). What the command prints comes though nobody reads.
#[test]
fn a_pipe_that_nobody_reads_holds_no_request_up() {
    let sandbox = Sandbox::new();
    let files = [((HOST, "/a"), (200, "text/plain", "x"))];
    let origin = Origin::start(Content::files(files));
    let modtape = tested();
    let modtape = modtape.to_str().expect("paths of tests are text");
    let script = format!(
        "i=0; while [ $i -lt 10 ]; do i=$((i+1)); set -- \"$@\" \"$@\"; [ $# -lt 500 ] || break; done; {modtape} fetch \"$@\" && echo all"
    );
    let url = format!("https://{HOST}/a");
    let flags = ["-vv", "--log-format", "ecs"];
    let mut command = crate::record::record(
        &sandbox,
        &origin,
        &flags,
        &["sh", "-c", &script, "sh", &url],
    );
    let (mut unread, writer) = std::io::pipe().expect("a pipe");
    command.stdout(std::process::Stdio::piped()).stderr(writer);
    let mut child = command.spawn().expect("it runs");
    drop(command);
    let mut stdout = child.stdout.take().expect("a pipe");
    let (send, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("all\n") && matches!(stdout.read(&mut byte), Ok(1)) {
            text.push(char::from(byte[0]));
        }
        let _ = send.send(text.ends_with("all\n"));
    });
    let is_done = told.recv_timeout(LIMIT).unwrap_or(false);
    let mut said = String::new();
    let _ = unread.read_to_string(&mut said);
    let ended = child.wait().expect("it ends");
    assert!(is_done, "the requests waited for a reader of the log");
    assert!(ended.success());
    assert!(said.len() > 64 << 10, "{} bytes", said.len());
}

/// A recorder as a service manager starts it: in a session of its own, without a terminal.
#[test]
fn a_recorder_without_a_terminal_begins_its_log_anew() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("setsid");
    let args = [
        "record",
        "-o",
        "one",
        "--mode",
        "gateway",
        "--log-file",
        "log",
    ];
    command.arg("--wait").arg(tested()).args(args);
    command.env("GOPROXY", "http://127.0.0.1:9");
    let recorder = Spawned::start(command);
    recorder.wait_for_stderr("end with Ctrl-C");
    let told = run(sandbox.modtape(["env", "MODTAPE_PID"]), LIMIT).expect_success();
    let pid = told.stdout.trim().parse().expect("a number");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    let told = run(sandbox.modtape(["env", "GOPROXY"]), LIMIT).expect_success();
    let (_, rest) = told.stdout.split_once("http://").expect("a URL");
    let address = rest.split(['/', ',']).next().expect("an address");
    let address = address.trim().parse().expect("an address");
    assert_ne!(ask(address, "GET", "/first", "").status, 0);
    fs::rename(sandbox.join("log"), sandbox.join("log.1")).expect("our own folder");
    rustix::process::kill_process(pid, Signal::HUP).expect("it runs");
    recorder.wait_for_stderr("log is opened again");
    assert_ne!(ask(address, "GET", "/second", "").status, 0);
    rustix::process::kill_process(pid, Signal::INT).expect("it runs");
    recorder.end();
    for (name, path, other) in [("log.1", "/first", "/second"), ("log", "/second", "/first")] {
        let log = read(&sandbox.join(name));
        assert!(log.contains(path) && !log.contains(other), "{name}: {log}");
    }
}
