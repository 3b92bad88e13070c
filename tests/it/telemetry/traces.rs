//! Traces: what real collectors decode is what the recording holds, and whatever is wrong with a collector, the
//! command knows nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::pcapng::sample::{Rich, rich};
use crate::support::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(120);

const OUTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A secret of the settings.
const SESAME: &str = "sesame-open-4711";

/// The Python that has OtelTap, grpcio and the messages; `None`, with a line on stderr, where it cannot be had.
fn python() -> Option<PathBuf> {
    let path = env::var_os("MODTAPE_OTELTAP").map(PathBuf::from);
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        let message = "no OTLP collector; set MODTAPE_OTELTAP";
        let is_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "{message}");
        skipped(message);
    }
    path
}

/// A collector of `collector.py`.
struct Collector {
    running: Spawned,
    address: SocketAddr,
}

impl Collector {
    fn start(words: &[&str]) -> Option<Self> {
        let mut command = program(python()?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/telemetry/collector.py");
        command.arg("-u").arg(script).args(words);
        let running = Spawned::start(command);
        let is_told = |told: &str| told.starts_with("listening on ") && told.contains('\n');
        let told = running.stdout_when("listening on PORT", is_told);
        let (_, port) = told.split_once("listening on ").expect("it is told");
        let port = port.lines().next().expect("a line");
        let address = format!("127.0.0.1:{}", port.trim());
        Some(Self {
            running,
            address: address.parse().expect("an address"),
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The lines so far, once there is one that has this key.
    fn lines(&self, key: &str) -> Vec<Value> {
        let has = |told: &str| lines_in(told).any(|line| !line[key].is_null());
        let told = self.running.stdout_when(key, has);
        lines_in(&told)
            .filter(|line| !line[key].is_null())
            .collect()
    }

    /// All spans that it got, once there are so many.
    fn spans(&self, count: usize) -> Vec<Value> {
        let has = |told: &str| spans_in(told).len() >= count;
        spans_in(&self.running.stdout_when(&format!("{count} spans"), has))
    }
}

/// The whole lines of JSON.
fn lines_in(told: &str) -> impl Iterator<Item = Value> + '_ {
    let whole = told.rfind('\n').map_or("", |at| &told[..at]);
    let lines = whole.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).expect("JSON"))
}

/// The spans in whole lines.
fn spans_in(told: &str) -> Vec<Value> {
    let spans = lines_in(told).flat_map(|line| match &line["spans"] {
        Value::Array(spans) => spans.clone(),
        _ => vec![line["span"].clone()],
    });
    spans.filter(Value::is_object).collect()
}

/// A recording with whatever an exchange can be and become.
fn sample() -> Rich {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(rich())
}

fn modtape(sandbox: &Sandbox, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command: Command = sandbox.modtape(words.iter().copied());
    command.envs(variables.iter().copied());
    run(command, LIMIT)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let found = value[key].as_str();
    found.unwrap_or_else(|| panic!("{key} of {value:#}"))
}

fn number(value: &Value, key: &str) -> u64 {
    let found = match &value[key] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    found.unwrap_or_else(|| panic!("{key} of {value:#}"))
}

/// Holds spans against what `export ndjson` says of the recording.
#[track_caller]
fn compare(spans: &[Value], rows: &[Value]) {
    let by_id: BTreeMap<&str, &Value> = spans.iter().map(|it| (text(it, "spanId"), it)).collect();
    assert_eq!(by_id.len(), spans.len(), "an id twice");
    let roots = spans
        .iter()
        .filter(|span| text(span, "parentSpanId").is_empty());
    let [root] = roots.collect::<Vec<_>>()[..] else {
        panic!("there is one root")
    };
    let mut phases = 0;
    for row in rows {
        let context = text(row, "traceparent");
        let mut parts = context.split('-').skip(1);
        let (trace, id) = (
            parts.next().expect("a trace"),
            parts.next().expect("a span"),
        );
        let span = by_id
            .get(id)
            .unwrap_or_else(|| panic!("no span of {row:#}"));
        assert_eq!(text(span, "traceId"), trace);
        assert_eq!(text(span, "parentSpanId"), text(root, "spanId"));
        assert_eq!(text(span, "kind"), "SPAN_KIND_CLIENT");
        let began = OffsetDateTime::parse(text(row, "started"), &Rfc3339).expect("a time");
        let began = u64::try_from(began.unix_timestamp_nanos()).expect("after 1970");
        assert_eq!(number(span, "startTimeUnixNano"), began, "{row:#}");
        let is_over = text(row, "state") != "in-flight";
        if is_over {
            let end = began + 1000 * number(row, "total_us");
            assert_eq!(number(span, "endTimeUnixNano"), end, "{row:#}");
        }
        check_attributes(span, row);
        let mut at = began;
        for phase in [
            "blocked", "dns", "connect", "tls", "send", "wait", "receive",
        ] {
            let Some(us) = row["phases_us"][phase].as_u64() else {
                continue;
            };
            let (from, to) = (at, at + 1000 * us);
            at = to;
            if phase == "blocked" {
                continue;
            }
            let mut children = spans
                .iter()
                .filter(|child| text(child, "parentSpanId") == id && text(child, "name") == phase);
            let child = children
                .next()
                .unwrap_or_else(|| panic!("no {phase} of {row:#}"));
            assert_eq!(children.next(), None);
            assert_eq!(number(child, "startTimeUnixNano"), from);
            assert_eq!(number(child, "endTimeUnixNano"), to);
            assert_eq!(text(&child["attributes"], "modtape.phase"), phase);
            phases += 1;
        }
    }
    assert_eq!(
        spans.len(),
        1 + rows.len() + phases,
        "nothing else is a span"
    );
}

#[track_caller]
fn check_attributes(span: &Value, row: &Value) {
    let attributes = &span["attributes"];
    assert_eq!(attributes["url.full"], row["url"]);
    assert_eq!(attributes["modtape.exchange.id"], row["id"]);
    assert_eq!(attributes["modtape.kind"], row["kind"]);
    assert_eq!(attributes["modtape.outcome"], row["outcome"]);
    assert_eq!(attributes["http.response.status_code"], row["status"]);
    assert_eq!(attributes["http.response.body.size"], row["body_bytes"]);
    assert_eq!(attributes["go.module.path"], row["module"]);
    assert_eq!(attributes["go.module.version"], row["version"]);
    let host = text(row, "host");
    let address = text(attributes, "server.address");
    assert!(
        host.trim_start_matches('[').starts_with(address),
        "{host} {address}"
    );
    let name = text(span, "name");
    for key in ["module", "version"] {
        if let Some(value) = row[key].as_str() {
            assert!(!name.contains(value), "{name} is no template");
        }
    }
    let status = row["status"].as_u64().unwrap_or(0);
    let is_error = match text(row, "outcome") {
        "ok" | "probe" => false,
        "fallthrough" => !matches!(status, 404 | 410),
        "aborted" | "in-flight" => true,
        _ => status >= 400,
    };
    let code = span["status"]["code"]
        .as_str()
        .unwrap_or("STATUS_CODE_UNSET");
    assert_eq!(code == "STATUS_CODE_ERROR", is_error, "{span:#}");
    assert_eq!(attributes["error.type"].is_string(), is_error, "{span:#}");
}

fn rows(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let output = modtape(sandbox, &["export", "ndjson", name], &[]).expect_success();
    let lines = output.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn what_collectors_decode_is_what_was_recorded() {
    let sandbox = Sandbox::new();
    let recorded = sample();
    let dir = recorded.recorded.recording.dir();
    let dir = dir.to_str().expect("paths of tests are text");
    let rows = rows(&sandbox, dir);
    let kinds: BTreeSet<&str> = rows.iter().map(|row| text(row, "outcome")).collect();
    assert!(kinds.len() > 2, "{kinds:?}");
    let mut all = Vec::new();
    for kind in ["oteltap", "http", "grpc"] {
        let Some(collector) = Collector::start(&[kind]) else {
            return;
        };
        let protocol = if kind == "grpc" {
            "grpc"
        } else {
            "http/protobuf"
        };
        let gzip = if kind == "oteltap" { "none" } else { "gzip" };
        let headers = format!("authorization=Bearer%20{SESAME}");
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", gzip),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=build"),
        ];
        let words = ["export", "otlp", dir, "--to", &collector.url()];
        let sent = modtape(&sandbox, &words, &variables).expect_success();
        assert!(
            sent.stderr.contains(" spans sent to http://127.0.0.1:"),
            "{}",
            sent.stderr
        );
        let count = sent.stderr.split(' ').next().expect("a word");
        let spans = collector.spans(count.parse().expect("a number"));
        compare(&spans, &rows);
        if kind != "oteltap" {
            let lines = collector.lines("resource");
            assert_eq!(
                lines[0]["headers"]["authorization"],
                format!("Bearer {SESAME}")
            );
            let resource = &lines[0]["resource"];
            assert_eq!(resource["service.name"], "build");
            assert_eq!(resource["team"], "a,b");
        }
        all.push(spans);
    }
    assert!(all.iter().all(|spans| *spans == all[0]), "they differ");
    // The file has the same spans.
    let file = sandbox.join("traces.json");
    let words = ["export", "otlp", dir, "-o", file.to_str().expect("text")];
    modtape(&sandbox, &words, &[]).expect_success();
    let written = fs::read_to_string(&file).expect("it was written");
    let lines = written
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let spans = lines.flat_map(|line| {
        let spans = &line["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().expect("spans").clone()
    });
    let ids: Vec<_> = spans.map(|span| span["spanId"].clone()).collect();
    let sent: Vec<_> = all[0].iter().map(|span| span["spanId"].clone()).collect();
    assert_eq!(ids, sent);
    // So has what is sent as JSON.
    let Some(collector) = Collector::start(&["http"]) else {
        return;
    };
    let words = ["export", "otlp", dir, "--to", &collector.url()];
    let json = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
    modtape(&sandbox, &words, &json).expect_success();
    let first: Value = serde_json::from_str(written.lines().next().expect("a line")).expect("JSON");
    assert_eq!(collector.lines("json")[0]["json"], first);
}

#[test]
fn phases_are_spans_events_or_nothing_and_a_filter_leaves_exchanges_out() {
    let sandbox = Sandbox::new();
    let recorded = sample();
    let dir = recorded.recorded.recording.dir();
    let dir = dir.to_str().expect("paths of tests are text");
    let spans = |options: &[&str]| {
        let words = [&["export", "otlp", dir, "-o", "-"], options].concat();
        let output = modtape(&sandbox, &words, &[]).expect_success();
        let line: Value = serde_json::from_str(&output.stdout).expect("one line");
        let spans = &line["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().expect("spans").clone()
    };
    let rows = rows(&sandbox, dir);
    let none = spans(&["--otlp-phases", "none"]);
    assert_eq!(none.len(), 1 + rows.len());
    let events = spans(&["--otlp-phases", "events"]);
    assert_eq!(events.len(), none.len());
    let wait = |span: &&Value| {
        let mut events = span["events"].as_array().expect("a list").iter();
        events.any(|event| event["name"] == "wait")
    };
    assert!(events.iter().filter(wait).count() > 5);
    let failed = spans(&["--otlp-phases", "none", "-f", "status:404"]);
    let expected = rows.iter().filter(|row| row["status"] == 404).count();
    assert_eq!(failed.len(), 1 + expected);
}

#[test]
fn a_builds_own_trace_has_the_command_and_its_children() {
    let sandbox = Sandbox::new();
    let (Some(go), Some(_)) = (sandbox.go("1.27"), sandbox.project_without_sums("hello")) else {
        return;
    };
    let Some(collector) = Collector::start(&["http"]) else {
        return;
    };
    let origin = Origin::start(Content::corpus("hello", Sumdb::Heads).expect("it is there"));
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let endpoint = collector.url();
    // Without the flag, as a CI job has it.
    let mut command = sandbox.modtape(["record", "-o", "one", "--connect-to", &everywhere]);
    command.arg("--upstream-ca").arg(origin.root_pem_path());
    command.env("TRACEPARENT", OUTER);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    command.envs([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.example"),
        ("GITHUB_REPOSITORY", "team/app"),
        ("GITHUB_RUN_ID", "42"),
    ]);
    command.args([
        "--",
        "sh",
        "-c",
        "echo $TRACEPARENT; exec $0 mod tidy --sesame=1",
    ]);
    command.arg(&go);
    // An unknown flag of go: the command fails before it asks for anything.
    let failed = run(command, LIMIT);
    assert_eq!(failed.status.code(), Some(2), "{}", failed.stderr);
    let root = collector.spans(1).remove(0);
    let [_, trace, outer, _] = OUTER.split('-').collect::<Vec<_>>()[..] else {
        panic!("four parts")
    };
    assert_eq!(text(&root, "traceId"), trace);
    assert_eq!(text(&root, "parentSpanId"), outer);
    assert_eq!(text(&root, "name"), "sh");
    assert_eq!(root["attributes"]["process.exit.code"], 2);
    assert_eq!(root["attributes"]["error.type"], "2");
    assert_eq!(root["status"]["code"], "STATUS_CODE_ERROR");
    let inner = format!("00-{trace}-{}-01", text(&root, "spanId"));
    assert_eq!(failed.stdout.trim(), inner);
    let resource = &collector.lines("resource")[0]["resource"];
    let run_url = "https://github.example/team/app/actions/runs/42";
    assert_eq!(resource["cicd.pipeline.run.url.full"], run_url);
    assert_eq!(
        resource["vcs.repository.url.full"],
        "https://github.example/team/app"
    );
    assert!(resource["host.name"].is_string(), "{resource}");

    // With requests, and the flag before the variables.
    let mut command = sandbox.modtape(["record", "-o", "two", "--connect-to", &everywhere]);
    command.arg("--upstream-ca").arg(origin.root_pem_path());
    command.arg(format!("--otlp={endpoint}"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    command.arg("--").arg(&go).args(["mod", "tidy"]);
    run(command, LIMIT).expect_success();
    let rows = rows(&sandbox, "two");
    let phases = rows.iter().map(|row| {
        let phases = row["phases_us"].as_object().expect("phases");
        phases.keys().filter(|name| *name != "blocked").count()
    });
    let count = 1 + rows.len() + phases.sum::<usize>();
    let spans = collector.spans(1 + count).split_off(1);
    compare(&spans, &rows);
    let names: BTreeSet<&str> = spans.iter().map(|span| text(span, "name")).collect();
    for name in [
        "go",
        "GET {module}/@v/{version}.zip",
        "GET /lookup/{module}@{version}",
        "GET /tile/{height}/{level}/{tile}",
    ] {
        assert!(names.contains(name), "{names:?}");
    }
}

/// Reads what comes, and answers with this, if with anything.
fn peer(answer: Option<&'static str>) -> Background {
    Background::listen("collector", move |mut stream| async move {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await;
        if let (Ok(1..), Some(answer)) = (read, answer) {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        while let Ok(1..) = stream.read(&mut some).await {}
    })
}

#[test]
fn whatever_is_wrong_with_a_collector_the_command_knows_nothing_of_it() {
    let sandbox = Sandbox::new();
    let blackhole = Blackhole::start();
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let absent = nobody.local_addr().expect("it is bound");
    drop(nobody);
    let silent = peer(None);
    let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let failure = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let away =
        "HTTP/1.1 503 Away\r\nretry-after: 60\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let header = format!("authorization=Bearer%20{SESAME}");
    let refusing = peer(Some(refusal));
    let (failing, away) = (peer(Some(failure)), peer(Some(away)));
    let odd = peer(Some("what?\r\n\r\n"));
    for (address, protocol, why) in [
        (absent, "http/protobuf", "Connection refused"),
        (absent, "grpc", "Connection refused"),
        (blackhole.addr(), "http/protobuf", "within"),
        (silent.addr(), "http/protobuf", "no answer within 1 s"),
        (silent.addr(), "grpc", "no answer within 1 s"),
        (refusing.addr(), "http/protobuf", "401 Unauthorized"),
        (failing.addr(), "http/protobuf", "500 Internal Server Error"),
        (away.addr(), "http/protobuf", "503 Service Unavailable"),
        (odd.addr(), "http/protobuf", "not all traces"),
        (refusing.addr(), "grpc", "not all traces"),
    ] {
        let url = format!("--otlp=http://{address}");
        let words = [
            "record",
            "-o",
            "one",
            "--force",
            &url,
            "--",
            "sh",
            "-c",
            "echo out; exit 7",
        ];
        let variables = [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", &*header),
        ];
        let ended = modtape(&sandbox, &words, &variables);
        assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
        assert_eq!(ended.stdout, "out\n");
        let said: Vec<_> = ended
            .stderr
            .lines()
            .filter(|line| line.contains("traces"))
            .collect();
        let [said] = said[..] else {
            panic!("{}", ended.stderr)
        };
        assert!(said.contains(why), "{why}: {said}");
        assert!(said.contains("`modtape export otlp one`"), "{said}");
        assert!(!ended.stderr.contains(SESAME), "{}", ended.stderr);
    }
    // What could not be sent is sent later.
    let Some(collector) = Collector::start(&["http"]) else {
        return;
    };
    modtape(
        &sandbox,
        &["export", "otlp", "one", "--to", &collector.url()],
        &[],
    )
    .expect_success();
    assert_eq!(collector.spans(1)[0]["attributes"]["process.exit.code"], 7);
}

#[test]
fn settings_that_cannot_be_used_are_said_and_only_the_flag_is_an_error() {
    let sandbox = Sandbox::new();
    let command = ["--", "sh", "-c", "exit 7"];
    let record = |flags: &[&str], variables: &[(&str, &str)]| {
        let words = [&["record", "-o", "one", "--force"], flags, &command].concat();
        modtape(&sandbox, &words, variables)
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let wrong = ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon");
    let by_variables = record(&[], &[endpoint, wrong]);
    assert_eq!(by_variables.status.code(), Some(7));
    let said = "no traces will be sent: OTEL_EXPORTER_OTLP_TIMEOUT";
    assert!(
        by_variables.stderr.contains(said),
        "{}",
        by_variables.stderr
    );
    // Nothing listens there: what is tried is said.
    let ignored = [
        endpoint,
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
    ];
    let ignored = record(&[], &ignored).stderr;
    for said in [
        "PROTOCOL: \"smoke\" is not http/protobuf",
        "OTEL_RESOURCE_ATTRIBUTES: it is no list",
        "not all traces were sent to http://127.0.0.1:9/v1/traces",
    ] {
        assert!(ignored.contains(said), "{ignored}");
    }
    let unsampled = ("TRACEPARENT", &*OUTER.replace("-01", "-00"));
    let asked = record(&["--otlp"], &[endpoint, unsampled]).stderr;
    assert!(asked.contains("not all traces were sent"), "{asked}");
    for variables in [
        vec![endpoint, unsampled],
        vec![endpoint, ("OTEL_SDK_DISABLED", "true")],
        vec![endpoint, ("OTEL_TRACES_EXPORTER", "none")],
        vec![],
    ] {
        let off = record(&[], &variables);
        assert_eq!(off.status.code(), Some(7));
        assert!(!off.stderr.contains("trace"), "{}", off.stderr);
    }
    let serve = ["serve", "--listen", "127.0.0.1:0", "--", "true"];
    let serve = modtape(&sandbox, &serve, &[endpoint]).stderr;
    assert!(serve.contains("serve sends no traces"), "{serve}");
    // A certificate that is a pipe is not waited for.
    let pipe = sandbox.join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("our own folder");
    let pipe = pipe.to_str().expect("paths of tests are text");
    let piped = record(&[], &[endpoint, ("OTEL_EXPORTER_OTLP_CERTIFICATE", pipe)]);
    assert_eq!(piped.status.code(), Some(7));
    let said = "it is not a regular file";
    assert!(piped.stderr.contains(said), "{}", piped.stderr);
    for (flag, variables) in [
        ("--otlp=collector:4318", vec![]),
        ("--otlp=sesame@collector:4318", vec![]),
        ("--otlp", vec![wrong]),
        ("--otlp=http://u:sesame@c", vec![]),
    ] {
        let refused = record(&[flag], &variables);
        assert_eq!(refused.status.code(), Some(125), "{}", refused.stderr);
        assert!(!refused.stderr.contains("sesame"), "{}", refused.stderr);
    }
    let both = ["export", "otlp", "one", "--to", "http://c", "-o", "x"];
    assert_eq!(modtape(&sandbox, &both, &[]).status.code(), Some(2));
    let other = ["export", "har", "one", "--to", "http://c"];
    assert_eq!(modtape(&sandbox, &other, &[]).status.code(), Some(2));
}

#[test]
fn spans_have_no_secrets_even_where_the_recording_has() {
    let sandbox = Sandbox::new();
    let secret = format!("https://user:{SESAME}@git.example/x?token={SESAME}");
    let words = [
        "record",
        "-o",
        "one",
        "--no-redact",
        "--",
        "sh",
        "-c",
        "exit 0",
        "sh",
        &secret,
    ];
    modtape(&sandbox, &words, &[]).expect_success();
    let manifest = fs::read_to_string(sandbox.join("recordings/one/recording.json"));
    assert!(manifest.expect("it is there").contains(SESAME));
    let exported = modtape(&sandbox, &["export", "otlp", "one", "-o", "-"], &[]).expect_success();
    assert!(
        exported.stdout.contains("git.example"),
        "{}",
        exported.stdout
    );
    assert!(!exported.stdout.contains(SESAME), "{}", exported.stdout);
}

#[test]
fn a_collector_that_asks_for_it_gets_spans_again_and_what_it_rejects_is_said() {
    let sandbox = Sandbox::new();
    let words = ["record", "-o", "one", "--", "sh", "-c", "exit 0"];
    modtape(&sandbox, &words, &[]).expect_success();
    let header = format!("authorization=Bearer%20{SESAME}");
    for (kind, protocol, busy) in [
        ("http", "http/protobuf", "503"),
        ("grpc", "grpc", "UNAVAILABLE"),
    ] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", &*header),
        ];
        let Some(collector) = Collector::start(&[kind, busy, "partial"]) else {
            return;
        };
        let words = ["export", "otlp", "one", "--to", &collector.url()];
        let rejected = modtape(&sandbox, &words, &variables);
        assert_eq!(rejected.status.code(), Some(3), "{}", rejected.stderr);
        assert!(
            rejected.stderr.contains("one is too old"),
            "{}",
            rejected.stderr
        );
        assert!(
            rejected.stderr.contains("rejected 1 span of 1"),
            "{}",
            rejected.stderr
        );
        assert!(collector.lines("refused")[0]["refused"] == busy);
        modtape(&sandbox, &words, &variables).expect_success();
        let denied = if kind == "grpc" {
            "UNAUTHENTICATED"
        } else {
            "401"
        };
        let Some(collector) = Collector::start(&[kind, denied]) else {
            return;
        };
        let words = ["export", "otlp", "one", "--to", &collector.url()];
        let refused = modtape(&sandbox, &words, &variables);
        assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
        assert!(refused.stderr.contains(denied), "{}", refused.stderr);
        assert!(!refused.stderr.contains(SESAME), "{}", refused.stderr);
    }
}
