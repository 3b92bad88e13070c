//! Ids that requests carry upstream, judged by what the origin sees; and what of a trace the command finds.

use modtape::exchange::Exchange;

use crate::record::{record, recording};
use crate::support::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const HOST: &str = "proxy.golang.org";
const OTHER: &str = "modules.example";
const LIST: &str = "/example.com/m/@v/list";

fn origin() -> Origin {
    let list = (200, "text/plain", "v1.0.0\n");
    Origin::start(Content::files(
        [HOST, OTHER].map(|host| ((host, LIST), list)),
    ))
}

/// What was recorded of a request for the list of each host, with these flags.
fn recorded(sandbox: &Sandbox, origin: &Origin, flags: &[&str]) -> Vec<Exchange> {
    let urls = [HOST, OTHER].map(|host| format!("https://{host}{LIST}"));
    let modtape = tested();
    let fetch = [&*modtape.to_string_lossy(), "fetch", &urls[0], &urls[1]];
    let flags = [&["--intercept", OTHER], flags].concat();
    let mut command = record(sandbox, origin, &flags, &fetch);
    command.env("TRACEPARENT", TRACEPARENT);
    run(command, LIMIT).expect_success();
    let recording = recording(sandbox, "one");
    let exchanges = recording.rows().iter().map(|row| recording.exchange(row));
    exchanges
        .map(|exchange| exchange.expect("it can be read"))
        .collect()
}

/// The values of a field in the requests for a host that the origin saw.
fn seen(origin: &Origin, host: &str, name: &str) -> Vec<String> {
    let requests = origin
        .requests()
        .into_iter()
        .filter(|served| served.host == host);
    let values = requests.map(|served| served.headers.get(name).cloned());
    let text = |value: http::HeaderValue| value.to_str().expect("ASCII").to_owned();
    values
        .map(|value| value.map_or_else(String::new, text))
        .collect()
}

#[test]
fn a_host_that_is_named_gets_the_exchanges_own_span_and_no_other_gets_anything() {
    for (flag, field, value) in [
        ("modules.example", "traceparent", None),
        ("modules.example=X-Trace-ID", "x-trace-id", Some(TRACE)),
    ] {
        let (origin, sandbox) = (origin(), Sandbox::new());
        let exchanges = recorded(&sandbox, &origin, &["--propagate", flag]);
        let [other, named] = &exchanges[..] else {
            panic!("{exchanges:#?}");
        };
        let own = format!("00-{TRACE}-{}-01", named.begin.span);
        let value = value.unwrap_or(&own);
        assert_eq!(seen(&origin, OTHER, field), [value], "{flag}");
        let is_recorded = |exchange: &Exchange| {
            let mut fields = exchange.begin.headers.iter();
            fields.any(|(name, text)| name == field && text.to_text() == value)
        };
        assert!(is_recorded(named), "{named:#?}");
        assert!(!is_recorded(other), "{other:#?}");
        for field in ["traceparent", "tracestate", "baggage", "x-trace-id"] {
            assert_eq!(seen(&origin, HOST, field), [""], "{field}");
        }
    }
}

#[test]
fn without_the_flag_no_request_carries_anything() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    recorded(&sandbox, &origin, &[]);
    for host in [HOST, OTHER] {
        for field in ["traceparent", "tracestate", "baggage"] {
            assert_eq!(seen(&origin, host, field), [""], "{host} {field}");
        }
    }
}

#[tokio::test]
async fn a_clients_own_traceparent_stays_and_a_replay_finds_what_was_sent_with_one() {
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--propagate", HOST]);
    let mut session = recorder.session(HOST).await;
    let mut request = session.request(LIST);
    let own = TRACEPARENT.parse().expect("ASCII");
    request.headers_mut().insert("traceparent", own);
    session.send(request).await.expect("an answer");
    session.get(LIST).await.expect("an answer");
    drop(session);
    let recorded = recorder.finish().await;
    let seen = seen(&origin, HOST, "traceparent");
    assert_eq!(seen[0], TRACEPARENT);
    assert!(
        seen[1].starts_with("00-") && seen[1] != TRACEPARENT,
        "{seen:?}"
    );
    let sandbox = recorded.sandbox.expect("it is kept");
    let modtape = tested();
    let url = format!("https://{HOST}{LIST}");
    let mut replay = sandbox.modtape(["replay", "one", "--strict", "--"]);
    replay.arg(&modtape).args(["fetch", &url]);
    run(replay, LIMIT).expect_success();
}

#[test]
fn a_field_with_a_meaning_of_its_own_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    for (value, told) in [
        (
            "a.example=Authorization",
            "the field authorization has a meaning of its own",
        ),
        ("a.example=Host", "the field host has a meaning of its own"),
        ("a.example=a b", "no name of a header field"),
        ("https://a.example", "expected a host without a port"),
        ("*.example", "patterns are not supported"),
    ] {
        let command = sandbox.modtape(["record", "--propagate", value, "--", "touch", "ran"]);
        let output = run(command, LIMIT);
        assert_eq!(
            output.status.code(),
            Some(125),
            "{value}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(told), "{value}: {}", output.stderr);
    }
    assert!(!sandbox.join("ran").exists());
}

#[test]
fn the_command_gets_what_belongs_to_its_trace() {
    let origin = origin();
    let unsampled = TRACEPARENT.replace("-01", "-00");
    for (traceparent, state, flags) in [
        (TRACEPARENT, "a=1", "-01"),
        (&*unsampled, "a=1", "-00"),
        ("nonsense", "none", "-01"),
        ("", "none", "-01"),
    ] {
        for verb in ["record", "replay"] {
            let sandbox = Sandbox::new();
            recorded(&sandbox, &origin, &[]);
            let mut command = match verb {
                "record" => sandbox.modtape(["record", "-o", "two"]),
                _ => sandbox.modtape(["replay", "one"]),
            };
            let script = "echo $TRACEPARENT ${TRACESTATE-none} $BAGGAGE";
            command.args(["--", "sh", "-c", script]);
            command.env("TRACESTATE", "a=1").env("BAGGAGE", "b=2");
            if !traceparent.is_empty() {
                command.env("TRACEPARENT", traceparent);
            }
            let output = run(command, LIMIT).expect_success();
            let words: Vec<&str> = output.stdout.split_whitespace().collect();
            assert_eq!(words[1..], [state, "b=2"], "{verb} {traceparent}");
            let is_joined = words[0].starts_with(&format!("00-{TRACE}-"));
            assert_eq!(is_joined, state == "a=1", "{verb}: {words:?}");
            assert!(words[0].ends_with(flags), "{verb}: {words:?}");
        }
    }
}

#[test]
fn the_id_under_which_a_server_knows_a_request_is_shown() {
    let content = Content::default();
    let rule = Rule::any()
        .status(200)
        .header("X-Request-Id", "their-17")
        .body("x");
    let (origin, sandbox) = (Origin::builder(content).rule(rule).start(), Sandbox::new());
    recorded(&sandbox, &origin, &[]);
    let shown = run(sandbox.modtape(["show", "1", "one"]), LIMIT).expect_success();
    let told = "  their id    x-request-id: their-17\n";
    assert!(shown.stdout.contains(told), "{}", shown.stdout);
}
