//! Who is answered, and what is no request to a module proxy.

use std::process::Command;

use super::*;
use crate::record::recording;

/// Asks as the lines of `heads` say, one a connection, and shows the first two lines of what comes back
/// and of its body.
const SCRIPT: &str = r#"
    address=${GOPROXY#http://}; address=${address%%/*}
    while IFS= read -r head; do
        exec 3<>"/dev/tcp/127.0.0.1/${address##*:}"
        printf '%b' "${head//ADDRESS/$address}" >&3
        answer=$(tr -d '\r' <&3)
        echo "${answer%%$'\n'*}"
        body=${answer#*$'\n\n'}
        echo "${body%%$'\n'*}"
        exec 3>&-
    done <heads
"#;

const TOKEN: &str = "test-token-0123456789abcdef";

/// What comes back for each head: a status, and the first line of the body.
pub(super) fn answers(
    sandbox: &Sandbox,
    mut record: Command,
    heads: &[&str],
) -> (Vec<(u16, String)>, Output) {
    let lines: Vec<_> = heads
        .iter()
        .map(|head| head.replace('\r', "\\r").replace('\n', "\\n"))
        .collect();
    std::fs::write(sandbox.join("heads"), lines.join("\n") + "\n").expect("our own folder");
    record.args(["--", "bash", "-c", SCRIPT]);
    let output = run(record, GO_LIMIT).expect_success();
    let lines: Vec<_> = output.stdout.lines().collect();
    let status = |line: &str| {
        let code = line.split(' ').nth(1);
        code.and_then(|code| code.parse().ok()).unwrap_or(0)
    };
    let pairs = lines.chunks(2);
    let answers = pairs.map(|pair| {
        (
            status(pair[0]),
            pair.get(1).map_or("", |line| *line).to_owned(),
        )
    });
    (answers.collect(), output)
}

fn origin() -> Origin {
    Origin::builder(Content::default())
        .rule(Rule::any().status(200).body("fetched\n"))
        .start()
}

pub(super) fn command(sandbox: &Sandbox, origin: &Origin, flags: &[&str]) -> Command {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut modtape = sandbox.modtape(["record", "-o", "one", "--mode", "gateway"]);
    modtape.args(["--connect-to", &everywhere]).args(flags);
    modtape.arg("--upstream-ca").arg(origin.root_pem_path());
    modtape.env("GOPROXY", "https://a.example/go,https://b.example,off");
    modtape
}

pub(super) fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_path_is_an_entry_and_all_else_is_told_what_is_wrong() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let own = "ADDRESS";
    let rows = [
        (get("/p0/x/@v/list", own), 200, "fetched"),
        (get("/p1/x/@v/list?a=%21b", "localhost:1"), 200, "fetched"),
        (get("/p1/%21x/@v/list", "[::1]"), 200, "fetched"),
        (
            get("/p2/x", own),
            400,
            "GOPROXY has no module proxy at place 2",
        ),
        (
            get("/", own),
            400,
            "no path of a module proxy begins like this",
        ),
        (
            get("/x/@v/list", own),
            400,
            "no path of a module proxy begins",
        ),
        (
            get("/p0/x/../../y", own),
            400,
            "the path has an element of dots",
        ),
        (
            get("/p0/x/%2e%2E/y", own),
            400,
            "the path has an element of dots",
        ),
        (
            get("http://a.example/p0/x", "a.example"),
            400,
            "a module proxy, and no HTTP proxy",
        ),
        (
            format!(
                "POST /p0/x HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            405,
            "a module proxy is asked with GET",
        ),
        (
            format!(
                "GET /p0/x HTTP/1.1\r\nHost: {own}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
            ),
            400,
            "a request to a module proxy has no body",
        ),
        // A page in a browser whose name leads to loopback.
        (
            get("/p0/x", "evil.example"),
            403,
            "clients that name it by its address",
        ),
        // One that asks by the address.
        (
            get("/p0/x", "ADDRESS\r\nOrigin: https://evil.example"),
            403,
            "for no page in a browser",
        ),
        (
            get("/p0/x", "ADDRESS\r\nSec-Fetch-Site: cross-site"),
            403,
            "for no page in a browser",
        ),
    ];
    let heads: Vec<_> = rows.iter().map(|(head, ..)| head.as_str()).collect();
    let record = command(&sandbox, &origin, &["--token", "none"]);
    let (answers, _) = answers(&sandbox, record, &heads);
    assert_eq!(answers.len(), rows.len());
    for ((status, line), (head, expected, told)) in answers.iter().zip(&rows) {
        assert_eq!(status, expected, "{head}: {line}");
        assert!(line.contains(told), "{head}: {line}");
    }
    let urls: Vec<_> = served(&origin).into_iter().map(|(url, _)| url).collect();
    let expected = [
        "https://a.example/go/x/@v/list",
        "https://b.example/x/@v/list?a=%21b",
        "https://b.example/%21x/@v/list",
    ];
    assert_eq!(urls, expected);
    let recording = recording(&sandbox, "one");
    let asked = asked(&recording).into_iter().map(|(url, _)| url);
    assert_eq!(asked.collect::<Vec<_>>(), expected);
    assert_eq!(recording.rows().len(), rows.len());
}

#[test]
fn a_permission_for_pages_in_browsers_is_not_passed_on() {
    let rule = Rule::any().status(200).body("fetched\n");
    let rule = rule.header("Access-Control-Allow-Origin", "*");
    let rule = rule.header("Access-Control-Allow-Credentials", "true");
    let origin = Origin::builder(Content::default())
        .rule(rule.header("X-Other", "stays"))
        .start();
    let gateway = super::clients::Asking::start(&origin, |_| {});
    let mut asked = gateway.ask("/p0/x");
    let (status, fields) = asked.head();
    let fields: Vec<_> = fields.iter().map(|field| field.to_lowercase()).collect();
    assert_eq!(status, 200);
    assert!(
        fields.contains(&String::from("x-other: stays")),
        "{fields:?}"
    );
    assert!(
        !fields
            .iter()
            .any(|field| field.starts_with("access-control")),
        "{fields:?}"
    );
    drop(asked);
    let (recording, _) = gateway.end();
    // What the origin said is on record all the same.
    let all = exchanges(&recording);
    let headers = &all[0].end().expect("it is over").headers;
    let mut names = headers.iter().map(|(name, _)| name.to_lowercase());
    assert!(names.any(|name| name == "access-control-allow-origin"));
}

#[test]
fn with_a_token_each_path_begins_with_it_and_env_prints_it_for_any_name() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let shown = |path: &str| get(&format!("/{TOKEN}{path}"), "docker.example");
    let rows = [
        (shown("/p0/x"), 200),
        (shown("/p1/x?q"), 200),
        (get("/p0/x", "ADDRESS"), 403),
        (get(&format!("/{TOKEN}x/p0/x"), "ADDRESS"), 403),
        (get(&format!("/{}/p0/x", &TOKEN[1..]), "ADDRESS"), 403),
        (shown(""), 400),
        (shown("/"), 400),
    ];
    let heads: Vec<_> = rows.iter().map(|(head, _)| head.as_str()).collect();
    let record = command(&sandbox, &origin, &["--token", TOKEN]);
    let (answers, output) = answers(&sandbox, record, &heads);
    let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    let expected: Vec<_> = rows.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, expected, "{answers:?}");
    let told = "3 requests refused with 403: no valid token";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    let recording = recording(&sandbox, "one");
    assert_eq!(asked(&recording).len(), 2);
    crate::reach::assert_nowhere(TOKEN, &sandbox.join("recordings"), &output);
}

#[test]
fn a_commands_gateway_has_a_token_that_nobody_asked_for() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let record = command(&sandbox, &origin, &[]);
    let (answers, output) = answers(&sandbox, record, &[&get("/p0/x", "ADDRESS")]);
    assert_eq!(answers[0].0, 403, "{answers:?}");
    assert_eq!(origin.connections(), 0);
    let list = output.stderr.contains("127.0.0.1");
    assert!(!list, "{}", output.stderr);
}

#[test]
fn env_prints_the_variables_of_a_gateway() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let mut record = command(&sandbox, &origin, &["--token", TOKEN]);
    let script = "echo \"$GOPROXY\"; \"$0\" env GOPROXY --host docker.example; \
        \"$0\" env GOPROXY --host docker.example:81; \"$0\" env sh; \"$0\" ca path || echo none";
    record.args(["--", "sh", "-c", script]).arg(tested());
    let output = run(record, GO_LIMIT).expect_success();
    let lines: Vec<_> = output.stdout.lines().collect();
    let address = lines[0].split('/').nth(2).expect("a URL has a host");
    let port = address.rsplit(':').next().unwrap_or_default();
    let list =
        |address: &str| format!("http://{address}/{TOKEN}/p0,http://{address}/{TOKEN}/p1,off");
    assert_eq!(lines[0], list(address));
    assert_eq!(lines[1], list(&format!("docker.example:{port}")));
    assert_eq!(lines[2], list("docker.example:81"));
    let names = lines[3..]
        .iter()
        .filter_map(|line| line.strip_prefix("export "));
    let names: Vec<_> = names
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    let expected = [
        "GOPROXY",
        "MODTAPE_NAME",
        "MODTAPE_PID",
        "MODTAPE_SAVED",
        "TRACEPARENT",
    ];
    assert_eq!(names, expected);
    assert_eq!(lines.last(), Some(&"none"), "a gateway has no root");
}

#[test]
fn a_list_without_a_module_proxy_is_refused_and_what_passes_by_is_told() {
    let sandbox = Sandbox::new();
    for list in ["direct", "off", "file:///srv/go,direct"] {
        let mut record = sandbox.modtape(["record", "--mode", "gateway", "--", "true"]);
        record.env("GOPROXY", list);
        let output = run(record, GO_LIMIT);
        assert_eq!(output.status.code(), Some(125), "{list}");
        let told = format!("GOPROXY={list} has no module proxy");
        assert!(output.stderr.contains(&told), "{}", output.stderr);
    }
    let Some(go) = sandbox.go("1.27") else { return };
    let mut record = sandbox.modtape(["record", "-o", "one", "--mode", "gateway", "--"]);
    record.arg(&go).arg("version");
    record.env("GOPROXY", "https://a.example,file:///srv/go,direct");
    let output = run(record, GO_LIMIT).expect_success();
    let told = "a gateway does not see what comes straight from repositories, file:///srv/go; \
        --mode mitm does";
    assert!(output.stderr.contains(told), "{}", output.stderr);
}
