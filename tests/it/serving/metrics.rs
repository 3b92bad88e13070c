//! What Prometheus is told: the numbers of a scrape are those of the answers that clients got, and of what the origin
//! saw.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::answers::{MOD, PROXY, ZIP, hello};
use super::replicas::Server as Redis;
use super::store::Bucket;
use super::*;

/// The values of a scrape, by name and labels as they are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    values: BTreeMap<String, f64>,
}

impl Scrape {
    fn of(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        };
        let values = lines.map(value).collect();
        Self { text, values }
    }

    /// The values of a metric whose labels have these words, in the order of the series.
    fn each<'a>(&'a self, name: &'a str, words: &'a [&'a str]) -> impl Iterator<Item = f64> + 'a {
        let series = self.values.iter().filter(move |(series, _)| {
            let (metric, labels) = series.split_once('{').unwrap_or((series, ""));
            metric == name && words.iter().all(|word| labels.contains(word))
        });
        series.map(|(_, value)| *value)
    }

    fn sum(&self, name: &str, words: &[&str]) -> u64 {
        self.each(name, words).sum::<f64>() as u64
    }

    /// A metric of one series.
    fn one(&self, name: &str, words: &[&str]) -> u64 {
        let all: Vec<_> = self.each(name, words).collect();
        assert_eq!(all.len(), 1, "{name} {words:?}: {}", self.text);
        all[0] as u64
    }
}

/// A server, and what its clients were told.
struct Measured {
    serving: Serving,
    metrics: SocketAddr,
    /// Answers by their tier; `failed` if nobody upstream had one, `none` if nobody was asked.
    tiers: BTreeMap<String, u64>,
    /// Answers by their outcome.
    outcomes: BTreeMap<&'static str, u64>,
    bytes: u64,
}

impl Measured {
    fn told(serving: Serving) -> Self {
        let told = serving.modtape.wait_for_stderr("/metrics");
        let (_, rest) = told.split_once("metrics on http://").expect("it is told");
        let (address, _) = rest.split_once('/').expect("a path");
        Self {
            metrics: address.parse().expect("an address"),
            serving,
            tiers: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            bytes: 0,
        }
    }

    fn note(&mut self, answer: &Answer) {
        let tier = match answer.status {
            502.. => "failed",
            _ => answer.tier(),
        };
        *self.tiers.entry(tier.to_owned()).or_default() += 1;
        let outcome = match answer.status {
            404 | 410 => "fallthrough",
            400.. => "error",
            _ if answer.is_whole => "ok",
            _ => "aborted",
        };
        *self.outcomes.entry(outcome).or_default() += 1;
        self.bytes += answer.body.len() as u64;
    }

    fn get(&mut self, path: &str) -> Answer {
        let answer = self.serving.get(path);
        self.note(&answer);
        answer
    }

    fn scrape(&self) -> Scrape {
        let answer = get(self.metrics, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        Scrape::of(answer.text())
    }

    /// Scrapes until it is so.
    fn scrape_until(&self, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
        let mut last = Scrape::default();
        until(|| {
            last = self.scrape();
            is_so(&last).then_some(()).ok_or_else(|| last.text.clone())
        });
        last
    }

    /// A scrape once all requests so far are over, held against what clients got.
    fn judge(&self) -> Scrape {
        let all: u64 = self.tiers.values().sum();
        let is_over = |scrape: &Scrape| {
            scrape.sum("modtape_requests_total", &[]) >= all
                && scrape.one("modtape_in_flight_requests", &[]) == 0
        };
        let scrape = self.scrape_until(is_over);
        assert_eq!(scrape.sum("modtape_requests_total", &[]), all);
        let outcome = |outcome: &str| {
            let label = format!("outcome=\"{outcome}\"");
            scrape.sum("modtape_requests_total", &["host=\"self\"", &label])
        };
        for word in ["ok", "fallthrough", "error", "aborted"] {
            let expected = self.outcomes.get(word).copied().unwrap_or(0);
            assert_eq!(outcome(word), expected, "{word}: {}", scrape.text);
        }
        let durations = "modtape_request_duration_seconds_count";
        assert_eq!(scrape.sum(durations, &[]), all);
        let bytes = scrape.one("modtape_body_bytes_total", &["response"]);
        assert_eq!(bytes, self.bytes);
        let of = |tier: &str| self.tiers.get(tier).copied().unwrap_or(0);
        for tier in ["memory", "disk", "store", "redis", "stale"] {
            let label = format!("tier=\"{tier}\"");
            let hits = scrape.one("modtape_serve_hits_total", &[&label]);
            assert_eq!(hits, of(tier), "{tier}: {}", scrape.text);
        }
        assert_eq!(scrape.one("modtape_serve_joined_total", &[]), of("joined"));
        let misses = scrape.one("modtape_serve_misses_total", &[]);
        assert_eq!(misses, of("miss") + of("failed"));
        scrape
    }

    fn end(self) {
        let output = self.serving.end();
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    }
}

fn start(sandbox: &Sandbox, origin: &Origin, goproxy: &str, flags: &[&str]) -> Measured {
    let flags = [flags, &["--metrics", "127.0.0.1:0"]].concat();
    Measured::told(Serving::start(sandbox, origin, goproxy, &flags))
}

/// Holds a scrape against promtool, where there is one.
fn check_metrics(sandbox: &Sandbox, scrape: &Scrape) {
    if !has_program("promtool") {
        skipped("metrics: there is no promtool");
        return;
    }
    let mut command = sandbox.command("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("it starts");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(scrape.text.as_bytes()).expect("it reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Whether no counter of `before` has gone down.
fn assert_grown(before: &Scrape, after: &Scrape) {
    for (series, value) in &before.values {
        let name = series.split('{').next().unwrap_or(series);
        let grows = ["_total", "_count", "_sum", "_bucket"];
        if grows.iter().any(|end| name.ends_with(end)) {
            let now = after.values.get(series).copied();
            assert!(now >= Some(*value), "{series}: {value}, then {now:?}");
        }
    }
}

fn list(name: &str) -> String {
    format!("/a.example/{name}/@v/list")
}

/// Requests that the origin has got for a host.
fn seen(origin: &Origin, host: &str) -> u64 {
    let requests = origin.requests();
    requests.iter().filter(|it| it.host == host).count() as u64
}

#[test]
fn a_scrape_agrees_with_clients_and_the_origin_and_a_reload_takes_nothing_away() {
    let origin = Origin::builder(Content::default())
        .rule(Rule::host("silent.example").silent())
        .rule(Rule::suffix("/none/@v/list").status(404).body("not found"))
        .rule(Rule::suffix("/broken/@v/list").status(500).body("oh"))
        .rule(
            Rule::suffix("/slow/@v/list")
                .status(200)
                .body("v1.0.0\n")
                .delay(Duration::from_secs(1)),
        )
        .rule(Rule::any().status(200).body("v1.0.0\n"))
        .start();
    let sandbox = Sandbox::new();
    let configure = |upstream: &str, rest: &str| {
        let text = format!(
            "upstream = '{upstream}'\nlisten = '127.0.0.1:0'\nstore = 'store'\n\
             metrics = '127.0.0.1:0'\nupstream-idle-timeout = '2s'\n\
             connect-to = ['::127.0.0.1:{}']\nupstream-ca = '{}'\n{rest}",
            origin.addr().port(),
            origin.root_pem_path().display()
        );
        fs::write(sandbox.join("modtape.toml"), text).expect("our own folder");
    };
    configure("https://user:secret@a.example/some/token", "");
    let mut command = sandbox.modtape(["serve", "--config", "modtape.toml"]);
    command.current_dir(sandbox.path());
    let mut measured = Measured::told(Serving::told(Spawned::start(command)));
    for name in ["x", "x", "none", "broken"] {
        measured.get(&list(name));
    }
    // A path that asks for nothing is a request, too; but not whether it runs.
    assert_eq!(measured.serving.get("/readyz").status, 200);
    let address = measured.serving.address;
    let path = list("slow");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| get(address, &path)))
            .collect();
        for client in clients {
            measured.note(&client.join().expect("no panic"));
        }
    });
    assert!(measured.tiers["memory"] > 0 && measured.tiers["joined"] > 0);
    let before = measured.judge();
    check_metrics(&sandbox, &before);
    let attempts = "modtape_serve_upstream_requests_total";
    let of = |scrape: &Scrape, entry: &str, outcome: &str| {
        let labels = [
            format!("entry=\"{entry}\""),
            format!("outcome=\"{outcome}\""),
        ];
        scrape.one(attempts, &labels.each_ref().map(String::as_str))
    };
    assert_eq!(before.sum(attempts, &[]), seen(&origin, "a.example"));
    let outcomes = ["ok", "absent", "error", "timeout"].map(|it| of(&before, "a.example", it));
    assert_eq!(outcomes, [2, 1, 1, 0], "{}", before.text);
    assert!(!before.text.contains("secret") && !before.text.contains("some/token"));
    // No module, and nothing of one.
    assert!(!before.text.contains("broken"), "{}", before.text);

    let private = "[private.'corp.example/*']\n\
                   upstream = 'https://user:secret@private.example/some/token'\n";
    configure("https://silent.example,https://a.example", private);
    measured.serving.modtape.signal(Signal::HUP);
    let told = "changed: upstream, private";
    measured.serving.modtape.wait_for_stderr(told);
    let answer = measured.get("/corp.example/team/@v/list");
    assert_eq!(answer.status, 200, "{answer:?}");
    for name in ["y", "y", "z"] {
        let answer = measured.get(&list(name));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let after = measured.judge();
    assert_grown(&before, &after);
    check_metrics(&sandbox, &after);
    assert_eq!(of(&after, "silent.example", "timeout"), 1);
    assert_eq!(seen(&origin, "silent.example"), 1);
    assert_eq!(of(&after, "a.example", "ok"), 4);
    assert_eq!(of(&after, "private.example", "ok"), 1);
    for word in ["secret", "some/token", "corp.example", "team"] {
        assert!(!after.text.contains(word), "{word}: {}", after.text);
    }
    let open = |entry: &str| after.one("modtape_serve_breaker_open", &[entry]);
    assert_eq!((open("silent.example"), open("\"a.example")), (1, 0));
    // The entry is gone, and what was counted of it is not.
    configure("https://a.example", "");
    measured.serving.modtape.signal(Signal::HUP);
    let is_gone = |scrape: &Scrape| {
        let mut entries = scrape.each("modtape_serve_breaker_open", &["silent"]);
        entries.next().is_none()
    };
    assert_grown(&after, &measured.scrape_until(is_gone));
    measured.end();
}

fn files_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("it is there");
    let count = |path: PathBuf| match path.is_dir() {
        true => files_below(&path),
        false => 1,
    };
    let paths = entries.map(|entry| entry.expect("it is read").path());
    paths.map(count).sum()
}

#[test]
fn each_tier_is_counted_and_what_it_holds() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let mut measured = start(&sandbox, &origin, PROXY, &["--no-ahead"]);
    let info = MOD.replace(".mod", ".info");
    for path in [MOD, MOD, ZIP, ZIP, &info, "/not/a/path"] {
        measured.get(path);
    }
    // Nobody tells which versions there are, but what is kept.
    origin.add_rule(Rule::suffix("/list").reset());
    measured.get(&MOD.replace("v1.3.2.mod", "list"));
    for tier in ["memory", "disk", "stale"] {
        assert!(measured.tiers.contains_key(tier), "{:?}", measured.tiers);
    }
    measured.judge();
    // Proofs are kept beside what clients wait for.
    let entries = "modtape_serve_stored_entries";
    let folder = sandbox.join("store/v1/answers");
    let scrape = measured.scrape_until(|it| it.one(entries, &["disk"]) == files_below(&folder));
    let stored = |name: &str, tier: &str| scrape.one(name, &[tier]);
    let bytes = stored("modtape_serve_stored_bytes", "disk");
    let zip = super::answers::file(ZIP).len() as u64;
    assert!(bytes > zip && bytes < 2 * zip + 400_000, "{bytes}");
    assert!(stored("modtape_serve_stored_bytes", "memory") > 0);
    assert_eq!(
        stored("modtape_serve_stored_limit_bytes", "disk"),
        20_000_000_000
    );
    assert_eq!(stored("modtape_serve_evictions_total", "disk"), 0);
    assert_eq!(stored("modtape_serve_tier_up", "disk"), 1);
    measured.end();
}

#[test]
fn what_makes_room_and_a_tier_that_is_away_are_counted() {
    let Some(content) = hello() else { return };
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let away = "redis://127.0.0.1:1";
    let flags = ["--no-ahead", "--disk-max", "20KB", "--redis", away];
    let mut measured = start(&sandbox, &origin, PROXY, &flags);
    for path in [MOD, ZIP] {
        assert_eq!(measured.get(path).status, 200);
    }
    let evictions = "modtape_serve_evictions_total";
    measured.scrape_until(|scrape| scrape.one(evictions, &["disk"]) > 0);
    let scrape = measured.judge();
    assert!(scrape.one("modtape_serve_tier_errors_total", &["redis"]) > 0);
    assert_eq!(scrape.one("modtape_serve_tier_up", &["redis"]), 0);
    assert_eq!(scrape.one("modtape_serve_tier_errors_total", &["disk"]), 0);
    check_metrics(&sandbox, &scrape);
    measured.end();
}

#[test]
fn what_is_fetched_ahead_is_counted_when_it_is_made_and_when_it_is_used() {
    let files = |it: &'static str, text: &'static str| {
        let rule = Rule::suffix(it).status(200);
        (rule.body(text), text.len() as u64)
    };
    let (x, _) = files(
        "/x/@v/v1.0.0.mod",
        "module a.example/x\n\nrequire (\n\ta.example/y v1.0.0\n\ta.example/z v1.0.0\n)\n",
    );
    let (y, y_bytes) = files("/y/@v/v1.0.0.mod", "module a.example/y\n\ngo 1.21\n");
    let (z, z_bytes) = files("/z/@v/v1.0.0.mod", "module a.example/z\n");
    let origin = Origin::builder(Content::default());
    let origin = origin.rule(x).rule(y).rule(z).start();
    let sandbox = Sandbox::new();
    let flags = ["--metrics", "127.0.0.1:0"];
    let mut command = Serving::command(&sandbox, &origin, "https://a.example", &flags);
    command.env("GOSUMDB", "off");
    let mut measured = Measured::told(Serving::told(Spawned::start(command)));
    let counts = |scrape: &Scrape| {
        let of = |name, state| scrape.one(name, &[state]);
        let states = ["made", "used", "wasted"];
        states.map(|state| {
            let files = of("modtape_serve_ahead_total", state);
            (files, of("modtape_serve_ahead_bytes_total", state))
        })
    };
    measured.get("/a.example/x/@v/v1.0.0.mod");
    let is_made = |scrape: &Scrape| scrape.one("modtape_serve_ahead_total", &["made"]) == 2;
    let made = (2, y_bytes + z_bytes);
    let scrape = measured.scrape_until(is_made);
    assert_eq!(counts(&scrape), [made, (0, 0), (0, 0)]);
    // Another server of the same process knows what the one before has fetched.
    measured.serving.modtape.signal(Signal::HUP);
    measured.serving.modtape.wait_for_stderr("read again");
    for _ in 0..2 {
        measured.get("/a.example/y/@v/v1.0.0.mod");
    }
    let scrape = measured.judge();
    assert_eq!(counts(&scrape), [made, (1, y_bytes), (0, 0)]);
    measured.end();
}

#[test]
fn what_replicas_share_is_counted_by_each() {
    let Some(content) = hello() else { return };
    let slow = Rule::suffix("/slow/@v/list").status(200).body("v1.0.0\n");
    let slow = slow.delay(Duration::from_secs(1));
    let lists = Rule::suffix("/@v/list").status(200).body("v1.0.0\n");
    let origin = Origin::builder(content).rule(slow).rule(lists).start();
    let sandboxes = [Sandbox::new(), Sandbox::new()];
    let (Some(bucket), Some(redis)) = (Bucket::start(), Redis::start(&sandboxes[0])) else {
        return;
    };
    let url = redis.url();
    let mut replicas = sandboxes.each_ref().map(|sandbox| {
        let flags = [
            "--store",
            "s3://team/modules",
            "--redis",
            &url,
            "--no-ahead",
        ];
        let flags = [&flags[..], &["--metrics", "127.0.0.1:0"]].concat();
        let mut command = Serving::command(sandbox, &origin, PROXY, &flags);
        bucket.env(&mut command);
        Measured::told(Serving::told(Spawned::start(command)))
    });
    let [one, two] = &mut replicas;
    for path in [MOD, &list("x")] {
        assert_eq!(one.get(path).tier(), "miss", "{path}");
    }
    // It is there once it was sent.
    while !bucket.keys().iter().any(|key| key.ends_with("v1.3.2.mod")) {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(two.get(MOD).tier(), "store");
    assert_eq!(two.get(&list("x")).tier(), "redis");
    // Of two that lack it one waits, unless the other was done before.
    let path = list("slow");
    let addresses = [&*one, &*two].map(|it| it.serving.address);
    thread::scope(|scope| {
        let clients = addresses.map(|address| {
            let path = &path;
            scope.spawn(move || get(address, path))
        });
        let [first, second] = clients.map(|it| it.join().expect("no panic"));
        one.note(&first);
        two.note(&second);
    });
    let scrapes = [one.judge(), two.judge()];
    let waits = scrapes
        .each_ref()
        .map(|it| it.one("modtape_serve_lock_waits_total", &[]));
    assert_eq!(waits.iter().sum::<u64>(), 1, "{waits:?}");
    for scrape in &scrapes {
        check_metrics(&sandboxes[0], scrape);
        for tier in ["disk", "store", "redis"] {
            assert_eq!(scrape.one("modtape_serve_tier_up", &[tier]), 1, "{tier}");
        }
    }
    // Proofs are fetched beside what clients wait for.
    let attempts = "modtape_serve_upstream_requests_total";
    let [one, two] = &replicas;
    one.scrape_until(|scrape| {
        let sum = scrape.sum(attempts, &[]) + two.scrape().sum(attempts, &[]);
        sum == origin.requests().len() as u64
    });
    for replica in replicas {
        replica.end();
    }
}

#[test]
fn examples_are_spans_of_the_access_log_and_another_address_takes_a_restart() {
    let lists = Rule::any().status(200).body("v1.0.0\n");
    let origin = Origin::builder(Content::default()).rule(lists).start();
    let sandbox = Sandbox::new();
    let configure = |metrics: &str| {
        let text = format!("metrics = '{metrics}'\n");
        fs::write(sandbox.join("modtape.toml"), text).expect("our own folder");
    };
    configure("127.0.0.1:0");
    let flags = ["--config", "modtape.toml", "--log-file", "log"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let mut measured = Measured::told(serving);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let fields = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let answer = ask(measured.serving.address, "GET", &list("x"), &fields);
    measured.note(&answer);
    measured.judge();
    let fields = "accept: application/openmetrics-text; version=1.0.0\r\n";
    let scrape = ask(measured.metrics, "GET", "/metrics", fields).text();
    // Lines are written a moment later.
    let mut line = String::new();
    until(|| {
        let log = fs::read_to_string(sandbox.join("log")).expect("there is a log");
        let found = log.lines().find(|line| line.contains(trace));
        line = found.ok_or_else(|| log.clone())?.to_owned();
        Ok(())
    });
    let (_, rest) = line.split_once("span_id=").expect("a span");
    let span = rest.split_whitespace().next().unwrap_or_default();
    let span = span.trim_matches('"');
    let example = format!("# {{trace_id=\"{trace}\",span_id=\"{span}\"}} ");
    let is_bucket = |line: &&str| line.starts_with("modtape_request_duration_seconds_bucket");
    let mut lines = scrape.lines().filter(is_bucket);
    assert!(
        lines.any(|line| line.contains(&example)),
        "{example}: {scrape}"
    );
    configure("127.0.0.1:1");
    measured.serving.modtape.signal(Signal::HUP);
    let told = "modtape.toml:1: metrics stays as it was until a restart";
    measured.serving.modtape.wait_for_stderr(told);
    measured.judge();
    measured.end();
}

#[test]
fn a_client_that_leaves_before_the_head_is_counted_by_what_it_asked_for() {
    let origin = Origin::builder(Content::default());
    let origin = origin.rule(Rule::suffix(ZIP).silent()).start();
    let sandbox = Sandbox::new();
    let measured = start(
        &sandbox,
        &origin,
        "https://a.example",
        &["--log-file", "log"],
    );
    let asks = || {
        let mut stream = TcpStream::connect(measured.serving.address).expect("it listens");
        let head = format!("GET {ZIP} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it is taken");
        stream
    };
    let first = asks();
    let is_asked = |log: &Log| log.requests.iter().any(|served| served.path == ZIP);
    origin.wait_for(is_asked, LIMIT);
    let second = asks();
    let waiting = |scrape: &Scrape| scrape.one("modtape_in_flight_requests", &[]) == 2;
    measured.scrape_until(waiting);
    thread::sleep(Duration::from_millis(100));
    drop((first, second));
    let labels = ["kind=\"zip\"", "outcome=\"aborted\""];
    let are_over = |scrape: &Scrape| scrape.sum("modtape_requests_total", &labels) == 2;
    let scrape = measured.scrape_until(are_over);
    assert_eq!(scrape.one("modtape_serve_misses_total", &[]), 1);
    assert_eq!(scrape.one("modtape_serve_joined_total", &[]), 1);
    let mut log = String::new();
    until(|| {
        log = fs::read_to_string(sandbox.join("log")).expect("there is a log");
        let paths = log.matches(&format!("path=\"{ZIP}\"")).count();
        (paths == 2).then_some(()).ok_or_else(|| log.clone())
    });
    assert!(log.contains("before there was a response"), "{log}");
    measured.end();
}

#[test]
fn a_real_prometheus_takes_its_scrapes_and_the_rules() {
    let lists = Rule::any().status(200).body("v1.0.0\n");
    let origin = Origin::builder(Content::default()).rule(lists).start();
    let sandbox = Sandbox::new();
    let mut measured = start(&sandbox, &origin, "https://a.example", &[]);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml");
    let prometheus = Prometheus::scraping(&sandbox, measured.metrics, &[&rules]);
    let Some(prometheus) = prometheus else { return };
    for name in ["x", "x", "x", "y"] {
        measured.get(&list(name));
    }
    measured.judge();
    let ours = "{job=\"modtape\",host=\"self\"}";
    prometheus.wait_for(&format!("sum(modtape_requests_total{ours})"), 4.0);
    prometheus.wait_for("sum(modtape_serve_hits_total)", 2.0);
    prometheus.wait_for("sum(modtape_serve_misses_total)", 2.0);
    let upstream = "modtape_serve_upstream_requests_total{entry=\"a.example\",outcome=\"ok\"}";
    prometheus.wait_for(upstream, 2.0);
    // Each rule was evaluated without an error, and none fires.
    let groups = prometheus.get("rules");
    let rules = groups["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() >= 10, "{groups}");
    for rule in rules {
        assert_eq!(rule["lastError"], Value::Null, "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    measured.end();
}

/// The names of our metrics in an expression of PromQL, each with the labels that it is picked or grouped by there.
/// Labels of a grouping count for every metric of the expression.
fn used_in(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut grouped = BTreeSet::new();
    for clause in ["by (", "on ("] {
        for rest in expression.split(clause).skip(1) {
            let labels = rest.split(')').next().unwrap_or_default();
            grouped.extend(labels.split(',').map(|label| label.trim().to_owned()));
        }
    }
    let mut used = BTreeMap::new();
    let mut rest = expression;
    while let Some(at) = rest.find("modtape_") {
        rest = &rest[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let labels: &mut BTreeSet<String> = used.entry(name.to_owned()).or_default();
        labels.extend(grouped.iter().cloned());
        if let Some(inside) = behind.strip_prefix('{') {
            let inside = inside.split('}').next().unwrap_or_default();
            let matchers = inside.split("\",").map(|it| it.split(['=', '!']).next());
            labels.extend(matchers.flatten().map(|label| label.trim().to_owned()));
        }
        rest = behind;
    }
    used
}

/// Labels that Prometheus adds.
const OF_SCRAPES: [&str; 2] = ["instance", "job"];

/// Holds names and labels of an expression against what is exposed: the labels of each series by its name.
fn assert_exposed(expression: &str, exposed: &BTreeMap<String, BTreeSet<String>>) -> usize {
    let used = used_in(expression);
    for (name, labels) in &used {
        let has = exposed.get(name);
        let has = has.unwrap_or_else(|| panic!("{name} is not exposed: {expression}"));
        for label in labels {
            let is_there = has.contains(label) || OF_SCRAPES.contains(&label.as_str());
            assert!(is_there, "{name} has no {label}: {expression}");
        }
    }
    used.len()
}

impl Scrape {
    /// The labels of each series by its name.
    fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for series in self.values.keys() {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels
                .split("\",")
                .filter_map(|it| Some(it.split_once('=')?.0));
            let known = all.entry(name.to_owned()).or_default();
            known.extend(labels.map(str::to_owned));
        }
        all
    }
}

#[test]
fn expressions_are_read_for_names_and_labels() {
    let used = used_in(
        "sum by (instance, le) (rate(modtape_a_bucket{host=\"self\",kind!~\"zip|x\"}[5m])) / modtape_b > 1",
    );
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let expected: [(String, BTreeSet<String>); 2] = [
        (
            "modtape_a_bucket".into(),
            words(&["host", "instance", "kind", "le"]),
        ),
        ("modtape_b".into(), words(&["instance", "le"])),
    ];
    assert_eq!(used, expected.into());
}

#[test]
fn the_page_the_dashboard_and_the_rules_use_what_is_exposed() {
    let lists = Rule::any().status(200).body("v1.0.0\n");
    let origin = Origin::builder(Content::default()).rule(lists).start();
    let sandbox = Sandbox::new();
    let flags = ["--redis", "redis://127.0.0.1:1"];
    let mut measured = start(&sandbox, &origin, "https://a.example", &flags);
    measured.get(&list("x"));
    let is_looked_through = |scrape: &Scrape| {
        let mut disk = scrape.each("modtape_serve_stored_bytes", &["disk"]);
        disk.next().is_some()
    };
    measured.scrape_until(is_looked_through);
    let scrape = measured.judge();
    measured.end();
    let exposed = scrape.labels();
    let docs = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(name);
        fs::read_to_string(path).expect("it is there")
    };

    // What only a server has, with types and labels.
    let types = scrape.text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let labels = exposed.get(name)?.iter().cloned().collect::<Vec<_>>();
        Some((name.to_owned(), kind.to_owned(), labels))
    });
    let of_servers: BTreeSet<_> = types.filter(|it| it.0.contains("_serve_")).collect();
    let page = docs("telemetry.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `modtape_serve_"));
    let rows = rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(|it| it.replace('`', "")).collect();
        let labels = cells[3].trim().split(", ").filter(|it| !it.is_empty());
        let labels = labels.map(str::to_owned).collect::<Vec<_>>();
        (
            cells[1].trim().to_owned(),
            cells[2].trim().to_owned(),
            labels,
        )
    });
    assert_eq!(of_servers, rows.collect());

    let dashboard: Value = serde_json::from_str(&docs("grafana-dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let mut shown = 0;
    for target in targets.flatten() {
        let expression = target["expr"].as_str().expect("a text");
        assert!(assert_exposed(expression, &exposed) > 0, "{expression}");
        shown += 1;
    }
    assert!(shown >= 15, "{shown}");
    // Of a server all that the page has is to be seen.
    let text = docs("grafana-dashboard.json");
    for (name, ..) in &of_servers {
        assert!(text.contains(name.as_str()), "{name}");
    }

    let rules = docs("alerts.yml");
    let mut read = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').expect("a rule");
        let (_, expression) = rest.split_once("expr: ").expect("an expression");
        let end = ["for: ", "labels: "].map(|key| expression.find(&format!("\n        {key}")));
        let end = end.into_iter().flatten().min().expect("an end");
        assert_exposed(&expression[..end], &exposed);
        let (_, runbook) = rest.split_once("runbook: ").expect("a runbook");
        let (_, anchor) = runbook.split_once("docs/operating.md#").expect("a link");
        let anchor = anchor.split('"').next().unwrap_or_default();
        let operating = docs("operating.md");
        let mut headings = operating
            .lines()
            .filter_map(|line| line.strip_prefix("### "));
        let is_it = |heading: &str| heading.to_lowercase().replace(' ', "-") == anchor;
        assert!(headings.any(is_it), "{name}: #{anchor}");
        read += 1;
    }
    assert!(read >= 10, "{read}");
}

#[test]
fn the_rules_fire_for_what_they_are_about() {
    if !has_program("promtool") {
        skipped("metrics: there is no promtool");
        return;
    }
    let sandbox = Sandbox::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for words in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let mut command = sandbox.command("promtool");
        command.args(words).current_dir(&docs);
        run(command, LIMIT).expect_success();
    }
    // Each of them is among those that fire.
    let [rules, tests] = ["alerts.yml", "alerts.test.yml"]
        .map(|name| fs::read_to_string(docs.join(name)).expect("it is there"));
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default();
        let fires = format!("{{alertname=\"{name}\"}}', value: 1");
        assert!(tests.contains(&fires), "{name}");
    }
}
