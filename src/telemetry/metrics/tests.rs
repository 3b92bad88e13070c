use super::*;
use crate::exchange::Hex;

fn knowing(hosts: impl IntoIterator<Item = String>) -> Metrics {
    Metrics::new(Setup {
        clock: Clock::start(),
        hosts: hosts.into_iter().collect(),
        goproxy: GoProxy::parse("https://proxy.golang.org,direct"),
    })
}

fn span() -> Span {
    Span {
        trace: Hex([0x0a; 16]),
        id: Hex([0x0b; 8]),
        at: Timestamp::from_micros(1_500_000),
    }
}

fn finished(metrics: &Metrics, host: &str, us: u64) {
    metrics.finished(&Finished {
        host,
        kind: Kind::Zip,
        outcome: Outcome::Ok,
        us,
        span: Some(span()),
    });
}

fn counted() -> Metrics {
    let known = ["proxy.golang.org", "sum.golang.org"].map(str::to_owned);
    let metrics = knowing(known);
    finished(&metrics, "proxy.golang.org", 20_000);
    finished(&metrics, "proxy.golang.org", 400_000_000);
    finished(&metrics, "secret.corp.example", 1);
    metrics.passed(Direction::Response, 1_000);
    metrics.tls_failed(Leg::Upstream);
    let mut timings = Timings::default();
    timings[Phase::Wait] = Some(7_000);
    metrics.phases(&timings, span());
    metrics.add(Family {
        name: "modtape_test_stored_bytes",
        help: "Bytes.",
        kind: FamilyKind::Gauge,
        read: Box::new(|| vec![Sample::labelled("tier", "a \"b\"\n\\", 7)]),
    });
    metrics.add(Family {
        name: "modtape_test_errors_total",
        help: "Errors.",
        kind: FamilyKind::Counter,
        read: Box::new(|| vec![Sample::alone(u64::MAX)]),
    });
    metrics
}

#[test]
fn hosts_that_are_not_known_are_counted_together() {
    let text = counted().text(Format::Prometheus);
    for line in [
        "# TYPE modtape_requests_total counter",
        "modtape_requests_total{host=\"proxy.golang.org\",kind=\"zip\",outcome=\"ok\"} 2",
        "modtape_requests_total{host=\"other\",kind=\"zip\",outcome=\"ok\"} 1",
        "# TYPE modtape_request_duration_seconds histogram",
        "modtape_request_duration_seconds_bucket{host=\"proxy.golang.org\",kind=\"zip\",le=\"0.025\"} 1",
        "modtape_request_duration_seconds_bucket{host=\"proxy.golang.org\",kind=\"zip\",le=\"+Inf\"} 2",
        "modtape_request_duration_seconds_sum{host=\"proxy.golang.org\",kind=\"zip\"} 400.02",
        "modtape_phase_duration_seconds_count{phase=\"wait\"} 1",
        "modtape_phase_duration_seconds_count{phase=\"dns\"} 0",
        "modtape_body_bytes_total{direction=\"response\"} 1000",
        "modtape_body_bytes_total{direction=\"request\"} 0",
        "modtape_tls_failures_total{side=\"upstream\"} 1",
        "# TYPE modtape_test_stored_bytes gauge",
        "modtape_test_stored_bytes{tier=\"a \\\"b\\\"\\n\\\\\"} 7",
        "modtape_test_errors_total 18446744073709551615",
        concat!(
            "modtape_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(
        !text.contains("secret") && !text.contains("trace_id"),
        "{text}"
    );
}

#[test]
fn open_metrics_have_examples_that_name_a_span() {
    let clock = Clock::start();
    let text = counted().text(Format::OpenMetrics);
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(
        text.contains("# UNIT modtape_request_duration_seconds seconds\n"),
        "{text}"
    );
    assert!(text.contains("# TYPE modtape_requests counter\n"), "{text}");
    let labels = format!(
        "# {{trace_id=\"{}\",span_id=\"{}\"}} 0.02 ",
        "0a".repeat(16),
        "0b".repeat(8)
    );
    let line = text.lines().find(|line| line.contains(&labels)).unwrap();
    let at: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let wall = clock
        .wall_start()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!((at - wall.as_secs_f64() - 1.5).abs() < 60.0, "{line}");
}

#[test]
fn however_many_hosts_there_are_few_are_known_by_name() {
    let many = (0..10_000).map(|number| format!("h{number:05}.example"));
    let metrics = knowing(many);
    finished(&metrics, "h00000.example", 1);
    finished(&metrics, "h09999.example", 1);
    let text = metrics.text(Format::Prometheus);
    assert!(text.contains("host=\"h00000.example\""), "{text}");
    assert!(!text.contains("h09999"), "{text}");
    assert_eq!(metrics.counts.hosts.len(), HOSTS);
}

#[test]
fn a_request_counts_by_what_came_of_it() {
    let metrics = knowing(["proxy.golang.org".to_owned()]);
    let url = "https://proxy.golang.org/x.example/y/@v/list";
    let route = Route::of(url, &GoProxy::parse("https://proxy.golang.org").bases());
    let mut timings = Timings::default();
    timings[Phase::Wait] = Some(7_000);
    for answer in [
        Some((200, MadeBy::Origin)),
        Some((302, MadeBy::Origin)),
        Some((404, MadeBy::Origin)),
        Some((500, MadeBy::Origin)),
        Some((502, MadeBy::Modtape)),
        None,
    ] {
        let exchange = Exchanged {
            host: "proxy.golang.org",
            route: &route,
            url,
            answer,
            timings: &timings,
            span: span(),
        };
        metrics.exchanged(&exchange);
        metrics.of_upstream().exchanged(&exchange);
    }
    metrics.of_upstream().passed(Direction::Request, 1);
    let text = metrics.text(Format::Prometheus);
    for (outcome, count) in [
        ("ok", 2),
        ("fallthrough", 1),
        ("error", 1),
        ("modtape", 1),
        ("aborted", 1),
    ] {
        let line = format!(
            "modtape_requests_total{{host=\"proxy.golang.org\",kind=\"list\",outcome=\"{outcome}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(
        text.contains("modtape_phase_duration_seconds_count{phase=\"wait\"} 12\n"),
        "{text}"
    );
    assert!(text.contains("{direction=\"request\"} 0\n"), "{text}");
}

/// The rows of a table of metrics in docs/telemetry.md: name, type and labels.
fn documented() -> BTreeSet<(String, String, Vec<String>)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telemetry.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| `modtape_"));
    let rows = rows.map(|row| {
        let cells: Vec<_> = row
            .split('|')
            .map(|cell| cell.replace('`', "").trim().to_owned())
            .collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        (
            cells[1].clone(),
            cells[2].clone(),
            labels.map(str::to_owned).collect(),
        )
    });
    rows.collect()
}

/// Of an exposition in Prometheus' text: name, type, and the labels of its first value, without `le`.
fn exposed(text: &str) -> BTreeSet<(String, String, Vec<String>)> {
    let heads = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let heads = heads.map(|head| {
        let (name, kind) = head.split_once(' ').expect("name and type");
        let values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.split_once(' '));
        let is_its = |labels: &str| labels.is_empty() || labels.starts_with(['{', '_']);
        let mut values = values
            .map(|(labels, _)| labels)
            .filter(|labels| is_its(labels));
        let labels = values
            .next()
            .unwrap_or_else(|| panic!("{name} has no value"));
        let inside = labels.split_once('{').map_or("", |(_, inside)| inside);
        let labels = inside
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0));
        let labels = labels.filter(|label| *label != "le").map(str::to_owned);
        (name.to_owned(), kind.to_owned(), labels.collect())
    });
    heads.collect()
}

/// The metrics of `serve` are held against the page where they are counted.
#[test]
fn what_is_documented_is_exposed_and_what_is_exposed_is_documented() {
    let metrics = knowing(["proxy.golang.org".to_owned()]);
    finished(&metrics, "proxy.golang.org", 1);
    let in_proxy = [
        "modtape_in_flight_requests",
        "modtape_upstream_connections",
        "modtape_replay_misses_total",
    ];
    let is_ours = |name: &str| !in_proxy.contains(&name) && !name.starts_with("modtape_serve_");
    let mut documented = documented();
    assert!(
        in_proxy
            .iter()
            .all(|name| documented.iter().any(|(known, ..)| known == name))
    );
    documented.retain(|(name, ..)| is_ours(name));
    assert_eq!(exposed(&metrics.text(Format::Prometheus)), documented);
}

#[test]
#[ignore = "a measurement: cargo test --release --lib telemetry::metrics -- --ignored --nocapture"]
#[expect(clippy::print_stdout, reason = "it is for whoever measures")]
fn what_a_request_costs() {
    let metrics = counted();
    let mut timings = Timings::default();
    for phase in Phase::ALL {
        timings[phase] = Some(7_000);
    }
    let rounds = 1_000_000;
    let before = crate::clock::thread_cpu();
    for _ in 0..rounds {
        finished(&metrics, "proxy.golang.org", 20_000);
        metrics.phases(&timings, span());
        metrics.passed(Direction::Response, 1_000);
    }
    let took = crate::clock::thread_cpu() - before;
    println!(
        "{} ns a request with {} phases",
        took.as_nanos() / rounds,
        Phase::ALL.len()
    );
}
