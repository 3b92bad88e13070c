//! `--metrics`: what a real Prometheus scrapes is what the recording has, and what promtool and the page say of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use modtape::exchange::Phase;
use serde_json::Value;

use crate::record::record;
use crate::support::*;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const HOST: &str = "proxy.golang.org";

/// Asks once, and gives the head and the body.
fn get(address: SocketAddr, path: &str, fields: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let request = format!("GET {path} HTTP/1.0\r\nhost: x\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// Where a recorder says that its metrics are.
fn told(running: &Spawned) -> SocketAddr {
    let said = running.wait_for_stderr("/metrics");
    let (_, after) = said.split_once("metrics on http://").expect("it is told");
    let address = after.split('/').next().expect("an address");
    address.parse().expect("an address")
}

/// A recorder whose command tells where it listens, and waits; where it listens, its root, and its metrics.
fn recorder(
    sandbox: &Sandbox,
    origin: &Origin,
) -> (Spawned, SocketAddr, std::path::PathBuf, SocketAddr) {
    let flags = ["--metrics", ":0", "--no-har"];
    let mut command = record(sandbox, origin, &flags, &["/bin/sh", "-c", TELLS]);
    command.env("TRACEPARENT", TRACEPARENT);
    let (running, proxy, root) = Spawned::proxy(command, sandbox);
    let metrics = told(&running);
    (running, proxy, root, metrics)
}

/// Has modtape's own client ask for these, through the proxy.
fn fetch(sandbox: &Sandbox, proxy: SocketAddr, root: &Path, paths: &[&str]) -> Output {
    let urls: Vec<_> = paths
        .iter()
        .map(|path| format!("https://{HOST}{path}"))
        .collect();
    let mut client = sandbox.modtape(["fetch"]);
    client
        .args(urls)
        .env("HTTPS_PROXY", format!("http://{proxy}"));
    client.env("SSL_CERT_FILE", root);
    run(client, LIMIT)
}

/// `promtool check metrics` of a text.
fn check(text: &str) {
    if !has_program("promtool") {
        return skipped("metrics: there is no promtool");
    }
    let mut promtool = program("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = promtool
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

/// Name, type and labels of each metric in docs/telemetry.md that is not one of `serve`.
fn documented() -> BTreeSet<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telemetry.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `modtape_"));
    let names = rows.map(|row| format!("modtape_{}", row.split('`').next().unwrap_or_default()));
    names
        .filter(|name| !name.starts_with("modtape_serve_"))
        .collect()
}

/// The queries of the page, in their order.
fn queries() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telemetry.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let blocks = page.split("```promql\n").skip(1);
    let queries = blocks.map(|block| {
        block
            .split("```")
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    });
    queries.collect()
}

/// The exchanges of the recording, as `ls --json` prints them.
fn listed(sandbox: &Sandbox) -> Vec<Value> {
    let output = run(sandbox.modtape(["ls", "one", "--json"]), LIMIT).expect_success();
    let lines = output.stdout.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["id"].is_u64()).collect()
}

#[test]
fn prometheus_answers_the_queries_of_the_page_with_what_is_on_record() {
    let sandbox = Sandbox::new();
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let (Some(go), Some(project)) = (sandbox.go("1.27"), sandbox.project("hello")) else {
        return;
    };
    let origin = Origin::start(content);
    let (running, proxy, root, metrics) = recorder(&sandbox, &origin);
    let Some(prometheus) = Prometheus::scraping(&sandbox, metrics, &[]) else {
        return;
    };
    let _ = fetch(
        &sandbox,
        proxy,
        &root,
        &["/rsc.io/quote/@v/list", "/no.example/x/@v/list"],
    );
    prometheus.wait_for("sum(modtape_requests_total)", 2.0);
    let mut download = sandbox.command(&go);
    download.args(["mod", "download"]).current_dir(&project);
    download
        .env("HTTPS_PROXY", format!("http://{proxy}"))
        .env("SSL_CERT_FILE", &root);
    download
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local");
    run(download, LIMIT).expect_success();
    // A rate is that of a series which was there before.
    fetch(&sandbox, proxy, &root, &["/rsc.io/quote/@v/list"]).expect_success();
    let asked = origin.requests().len();
    prometheus.wait_for(
        "sum(modtape_requests_total)",
        f64::from(u32::try_from(asked).expect("few")),
    );
    prometheus.wait_for("modtape_in_flight_requests", 0.0);
    prometheus.wait_for("modtape_upstream_connections", 0.0);
    let queries = queries();
    let answers: Vec<_> = queries
        .iter()
        .map(|query| prometheus.values(query))
        .collect();
    let span = "&start=0&end=99999999999";
    let exemplars = get(
        prometheus.address,
        &format!("/api/v1/query_exemplars?query=modtape_request_duration_seconds_bucket{span}"),
        "",
    );
    let exemplars: Value = serde_json::from_str(&exemplars.1).expect("JSON");
    running.end().expect_success();

    let rows = listed(&sandbox);
    assert_eq!(rows.len(), asked);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let mut outcomes: BTreeMap<String, f64> = BTreeMap::new();
    for row in &rows {
        let (kind, outcome) = (
            row["kind"].as_str().expect("a kind"),
            row["outcome"].as_str(),
        );
        // What was only tried is not known before the end.
        let outcome = outcome
            .map(|word| word.replace("probe", "fallthrough"))
            .expect("an outcome");
        *outcomes.entry(format!("{kind} {outcome}")).or_default() += 1.0;
    }
    assert!(
        outcomes.contains_key("list fallthrough") && outcomes.contains_key("zip ok"),
        "{outcomes:?}"
    );
    assert_eq!(answers[0], outcomes, "{}", queries[0]);
    for phase in Phase::ALL {
        let phase = phase.name();
        let us: u64 = rows
            .iter()
            .map(|row| number(&row["phases_us"][phase]))
            .sum();
        let told = answers[1][phase];
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let recorded = us as f64 / 1e6;
        assert!((told - recorded).abs() < 1e-6, "{phase}: {told} {recorded}");
    }
    assert!(
        answers[2][HOST] > 0.0 && answers[2][HOST] < 300.0,
        "{:?}",
        answers[2]
    );
    let slow = rows
        .iter()
        .filter(|row| number(&row["total_us"]) > 10_000_000);
    assert_eq!(
        answers[3].values().sum::<f64>() as usize,
        slow.count(),
        "{:?}",
        answers[3]
    );
    assert_eq!(
        answers[4].values().copied().collect::<Vec<_>>(),
        [0.0],
        "{}",
        queries[4]
    );
    let bytes: u64 = rows.iter().map(|row| number(&row["body_bytes"])).sum();
    assert_eq!(answers[5]["response"] as u64, bytes, "{}", queries[5]);

    let dir = crate::record::recording(&sandbox, "one");
    let spans: BTreeSet<String> = dir
        .rows()
        .iter()
        .map(|row| {
            dir.exchange(row)
                .expect("it is whole")
                .begin
                .span
                .to_string()
        })
        .collect();
    let series = exemplars["data"].as_array().expect("a list").iter();
    let found: Vec<_> = series
        .flat_map(|series| series["exemplars"].as_array().expect("a list"))
        .collect();
    assert!(!found.is_empty(), "{exemplars}");
    for exemplar in found {
        let labels = &exemplar["labels"];
        assert_eq!(labels["trace_id"], TRACEPARENT[3..35], "{labels}");
        assert!(
            spans.contains(labels["span_id"].as_str().expect("a text")),
            "{labels}"
        );
    }
}

#[test]
fn what_is_scraped_is_documented_and_promtool_has_no_complaint() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::files([(
        (HOST, "/a.example/@v/list"),
        (200, "text/plain", "v1.0.0\n"),
    )]));
    let (running, proxy, root, metrics) = recorder(&sandbox, &origin);
    fetch(&sandbox, proxy, &root, &["/a.example/@v/list"]).expect_success();
    let (head, text) = get(metrics, "/metrics", "");
    assert!(
        head.starts_with("HTTP/1.0 200") && head.contains("text/plain; version=0.0.4"),
        "{head}"
    );
    check(&text);
    assert!(
        text.contains(
            "modtape_requests_total{host=\"proxy.golang.org\",kind=\"list\",outcome=\"ok\"} 1\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("modtape_upstream_connections{state=\"connecting\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("modtape_body_bytes_total{direction=\"response\"} 7\n"),
        "{text}"
    );
    let exposed: BTreeSet<String> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned()))
        .collect();
    assert_eq!(exposed, documented());
    let (head, text) = get(
        metrics,
        "/metrics",
        "accept: application/openmetrics-text;version=1.0.0\r\n",
    );
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(
        text.ends_with("# EOF\n") && text.contains(" # {trace_id=\""),
        "{text}"
    );
    assert!(get(metrics, "/", "").0.starts_with("HTTP/1.0 404"));
    running.end().expect_success();
    assert!(
        TcpStream::connect(metrics).is_err(),
        "it ends with the recording"
    );
}

#[test]
fn a_handshake_that_fails_is_counted_on_its_side() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::default());
    let other = Origin::start(Content::default());
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut command = sandbox.modtape([
        "record",
        "-o",
        "one",
        "--connect-to",
        &everywhere,
        "--metrics",
        ":0",
    ]);
    // Not the root of the origin.
    command
        .arg("--upstream-ca")
        .arg(other.root_pem_path())
        .args(["--", "/bin/sh", "-c", TELLS]);
    let (running, proxy, root) = Spawned::proxy(command, &sandbox);
    let metrics = told(&running);
    let failures = |side: &str| {
        let text = get(metrics, "/metrics", "").1;
        let name = format!("modtape_tls_failures_total{{side=\"{side}\"}} ");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.expect("it is exposed")
    };
    assert_eq!(
        (failures("client"), failures("upstream")),
        ("0".into(), "0".into())
    );
    let failed = fetch(&sandbox, proxy, &root, &["/a.example/@v/list"]);
    assert!(!failed.status.success());
    assert_eq!(
        (failures("client"), failures("upstream")),
        ("0".into(), "1".into())
    );
    // A client that does not know our root.
    let failed = fetch(
        &sandbox,
        proxy,
        other.root_pem_path(),
        &["/a.example/@v/list"],
    );
    assert!(!failed.status.success());
    // It tells us why, and does not wait until we have heard.
    until(|| match failures("client").as_str() {
        "1" => Ok(()),
        told => Err(format!("{told} failures")),
    });
    running.end();
}

#[test]
fn what_goes_on_is_counted_while_scrapers_that_ask_nothing_hold_nobody_up() {
    let sandbox = Sandbox::new();
    let list = (
        (HOST, "/a.example/@v/list"),
        (200, "text/plain", "v1.0.0\n"),
    );
    let origin = Origin::start(Content::files([list]));
    origin.add_rule(Rule::suffix("/silent.example/@v/list").silent());
    let (running, proxy, root, metrics) = recorder(&sandbox, &origin);
    let mut client = sandbox.modtape(["fetch"]);
    client.arg(format!("https://{HOST}/silent.example/@v/list"));
    client
        .env("HTTPS_PROXY", format!("http://{proxy}"))
        .env("SSL_CERT_FILE", &root);
    let waiting = Spawned::start(client);
    origin.wait_for(|log| log.requests.len() == 1, LIMIT);
    let text = get(metrics, "/metrics", "").1;
    for line in [
        "modtape_in_flight_requests 1\n",
        "modtape_upstream_connections{state=\"open\"} 1\n",
        "modtape_body_bytes_total{direction=\"response\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    // More than are served at once.
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(metrics)).collect();
    fetch(&sandbox, proxy, &root, &["/a.example/@v/list"]).expect_success();
    drop(silent);
    drop(waiting);
    let aborted =
        "modtape_requests_total{host=\"proxy.golang.org\",kind=\"list\",outcome=\"aborted\"} 1\n";
    until(|| {
        let text = get(metrics, "/metrics", "").1;
        let is_over = text.contains(aborted) && text.contains("modtape_in_flight_requests 0\n");
        let is_over = is_over && text.contains("{state=\"open\"} 0\n");
        is_over.then_some(()).ok_or(text)
    });
    running.end().expect_success();
}

#[test]
fn a_gateway_counts_the_requests_that_it_sends() {
    let sandbox = Sandbox::new();
    let list = (
        (HOST, "/a.example/@v/list"),
        (200, "text/plain", "v1.0.0\n"),
    );
    let origin = Origin::start(Content::files([list]));
    let everywhere = format!("::{}", origin.addr());
    let mut command = sandbox.modtape(["record", "-o", "one", "--mode", "gateway"]);
    command.args(["--connect-to", &everywhere, "--metrics", ":0"]);
    command.arg("--upstream-ca").arg(origin.root_pem_path());
    let script = "echo \"#goproxy=$GOPROXY#ready\"; exec cat >/dev/null";
    command.args(["--", "/bin/sh", "-c", script]);
    command.env("GOPROXY", format!("https://{HOST}"));
    let running = Spawned::start(command);
    let said = running.wait_for_stdout("#ready");
    let base = said
        .split("#goproxy=")
        .nth(1)
        .and_then(|rest| rest.split(['#', ',']).next());
    let base = base
        .and_then(|base| base.strip_prefix("http://"))
        .expect("a URL");
    let (address, path) = base.split_once('/').expect("a path");
    let metrics = told(&running);
    let address = address.parse().expect("an address");
    for asked in ["a.example/@v/list", "b.example/@v/list"] {
        get(address, &format!("/{path}/{asked}"), "");
    }
    let text = get(metrics, "/metrics", "").1;
    for outcome in ["ok", "error"] {
        let line = format!(
            "modtape_requests_total{{host=\"{HOST}\",kind=\"list\",outcome=\"{outcome}\"}} 1\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    check(&text);
    running.end().expect_success();
}

#[test]
fn a_replay_counts_what_it_lacks() {
    let sandbox = Sandbox::new();
    let dir = sandbox.join("recordings/one");
    crate::views::sample::write(&dir);
    let mut command = sandbox.modtape(["replay", "one", "--metrics", ":0"]);
    command.args(["--", "/bin/sh", "-c", TELLS]);
    let (running, proxy, root) = Spawned::proxy(command, &sandbox);
    let metrics = told(&running);
    assert!(
        !fetch(&sandbox, proxy, &root, &["/not.example/there/@v/list"])
            .status
            .success()
    );
    let text = get(metrics, "/metrics", "").1;
    assert!(text.contains("\nmodtape_replay_misses_total 1\n"), "{text}");
    check(&text);
    running.end();
}

#[test]
fn an_address_is_one_of_this_machine_or_an_error() {
    let sandbox = Sandbox::new();
    let record = |address: &str| {
        let mut command = sandbox.modtape(["record", "--metrics", address]);
        command.args(["--", "/bin/sh", "-c", "echo started"]);
        run(command, LIMIT)
    };
    for address in ["nowhere", "example.com:9464", ":99999", ":", ""] {
        let output = record(address);
        let (code, said) = (output.status.code(), &output.stderr);
        assert_eq!(
            (code, output.stdout.as_str()),
            (Some(125), ""),
            "{address}: {said}"
        );
        assert!(
            said.contains("127.0.0.1:9464 or :9464"),
            "{address}: {said}"
        );
    }
    for (address, told) in [
        ("127.0.0.1", "modtape: metrics on http://127.0.0.1:"),
        ("127.0.0.1:0", "modtape: metrics on http://127.0.0.1:"),
        (
            "0.0.0.0",
            "/metrics, for anyone who reaches it: host names and numbers, no secrets\n",
        ),
    ] {
        let output = record(address).expect_success();
        assert!(output.stderr.contains(told), "{address}: {}", output.stderr);
        assert_eq!(output.stderr.contains("for anyone"), address == "0.0.0.0");
    }
}

#[test]
fn an_address_in_use_is_an_error_before_the_command_starts() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    for verb in [&["record", "-o", "one"][..], &["replay", "@last"]] {
        let mut command = sandbox.modtape(verb.iter().copied());
        if verb[0] == "replay" {
            crate::views::sample::write(&sandbox.join("recordings/sample"));
        }
        command.args(["--metrics", &address, "--", "/bin/sh", "-c", "echo started"]);
        let output = run(command, LIMIT);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{output:?}"
        );
        assert!(
            output
                .stderr
                .contains(&format!("--metrics: cannot listen on {address}")),
            "{}",
            output.stderr
        );
        assert!(
            output.stderr.contains("--metrics :0 picks a free port"),
            "{}",
            output.stderr
        );
    }
}
