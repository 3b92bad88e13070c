//! What a replay gives, seen by the command that it wraps.

mod answers;
pub(crate) mod as_of;
mod git;
mod git_modules;

use std::fs;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::hostile::forgery::{Craft, URL, gzip};
use crate::support::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(120);

const HOST: &str = "proxy.golang.org";

/// A second exchange behind the first, which is edited as the first can be.
fn with_second(craft: &mut Craft, edit: impl Fn(&mut Value, &mut Value)) {
    let (mut begin, mut end) = (craft.record("begin").clone(), craft.record("end").clone());
    (begin["id"], end["id"]) = (2.into(), 2.into());
    (begin["t_us"], end["t_us"]) = (900_000.into(), 900_001.into());
    edit(&mut begin, &mut end);
    let close = craft.records.len() - 1;
    craft.records.splice(close..close, [begin, end]);
}

/// A body of a record that stands in the journal.
fn inline(text: &str) -> Value {
    json!({"sha256": sha256_hex(text.as_bytes()), "bytes": text.len(), "inline": text})
}

/// A command that asks for [`URL`] and does not care what becomes of it.
const ASKS: [&str; 4] = ["--", "/bin/sh", "-c", "\"$0\" fetch \"$1\"; true"];

#[test]
fn a_body_that_turns_out_to_be_damaged_is_missing_though_its_beginning_was_given() {
    let bytes = vec![7; 9 << 20];
    for is_damaged in [false, true] {
        let sandbox = Sandbox::new();
        let dir = Craft::new(&sandbox.join("recordings/one"))
            .body(&bytes, "identity")
            .write();
        if is_damaged {
            let sha256 = sha256_hex(&bytes);
            let path = dir.join("bodies").join(&sha256[..2]).join(&sha256);
            let mut altered = bytes.clone();
            altered[1 << 20] ^= 1;
            fs::write(path, altered).expect("our own folder");
        }
        let mut modtape = sandbox.modtape(["replay", "one", "--strict"]);
        modtape.args(ASKS).arg(tested()).arg(URL);
        let output = run(modtape, LIMIT);
        let (code, told) = match is_damaged {
            false => (0, "1 answered, 0 missing"),
            true => (1, "0 answered, 1 missing"),
        };
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        let listed =
            "missing: mod github.com/BurntSushi/toml v1.3.2 (the recorded body is damaged: ";
        assert_eq!(
            output.stderr.contains(listed),
            is_damaged,
            "{}",
            output.stderr
        );
    }
}

#[test]
fn a_host_that_is_not_on_the_recording_is_missing() {
    let sandbox = Sandbox::new();
    Craft::new(&sandbox.join("recordings/one")).write();
    let mut modtape = sandbox.modtape(["replay", "one", "--strict"]);
    modtape
        .args(ASKS)
        .arg(tested())
        .arg("https://other.example/x");
    let output = run(modtape, LIMIT);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let listed = "missing: CONNECT other.example:443 (other.example is not on recording one)";
    assert!(output.stderr.contains(listed), "{}", output.stderr);
}

#[test]
fn an_address_that_no_name_has_is_missing() {
    let name = "an_address_that_no_name_has_is_missing";
    if !crate::netns::has_namespaces(name) {
        return;
    }
    let sandbox = Sandbox::new();
    Craft::new(&sandbox.join("recordings/one")).write();
    let mut modtape = sandbox.modtape(["replay", "one", "--netns", "--strict"]);
    modtape.args(["--", "sh", "-c", "curl -s http://198.18.9.9/x; true"]);
    let output = run(modtape, LIMIT);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let listed = "missing: connection to 198.18.9.9:80 (no name has the address 198.18.9.9)";
    assert!(output.stderr.contains(listed), "{}", output.stderr);
}

#[test]
fn a_name_that_is_not_on_the_recording_is_missing_though_nobody_connects() {
    let name = "a_name_that_is_not_on_the_recording_is_missing_though_nobody_connects";
    if !crate::netns::has_namespaces(name) {
        return;
    }
    let sandbox = Sandbox::new();
    Craft::new(&sandbox.join("recordings/one")).write();
    let mut modtape = sandbox.modtape(["replay", "one", "--netns", "--strict"]);
    modtape.args(["--", "sh", "-c", "getent hosts other.example; true"]);
    let output = run(modtape, LIMIT);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let listed = "missing: address of other.example (other.example is not on recording one)";
    assert!(output.stderr.contains(listed), "{}", output.stderr);
    assert!(!output.stderr.contains("CONNECT"), "{}", output.stderr);
}

/// Asks for [`URL`], saying that this coding is accepted if any is.
async fn asked(sandbox: &Sandbox, accepted: Option<&str>) -> Response {
    let mut modtape = sandbox.modtape(["replay", "one", "--"]);
    modtape.args(["/bin/sh", "-c", TELLS]);
    let (replay, proxy, root) = Spawned::proxy(modtape, sandbox);
    let mut session = Client::session(proxy, &Hello::new(HOST, &root)).await;
    let path = URL.split_once(HOST).map_or("/", |(_, path)| path);
    let mut request = session.request(path);
    if let Some(coding) = accepted {
        let coding = coding.parse().expect("a header value");
        request.headers_mut().insert("accept-encoding", coding);
    }
    let answer = session.send(request).await.expect("an answer");
    drop(session);
    let ended = tokio::task::spawn_blocking(move || replay.end()).await;
    ended.expect("no panic").expect_success();
    answer
}

#[tokio::test]
async fn gzip_is_decoded_for_those_who_do_not_take_it_if_the_recorded_client_took_it() {
    let plain = b"module github.com/BurntSushi/toml\n".repeat(3);
    let coded = gzip(&plain);
    let took = json!([["accept-encoding", "gzip"]]);
    let refused = json!([["accept-encoding", "identity"]]);
    let rows = [
        (&took, None, &plain),
        (&took, Some("gzip"), &coded),
        // Who was given gzip without having asked for it gets the same bytes again.
        (&json!([]), None, &coded),
        (&refused, Some("identity"), &coded),
    ];
    for (recorded, accepted, expected) in rows {
        let sandbox = Sandbox::new();
        Craft::new(&sandbox.join("recordings/one"))
            .body(&coded, "gzip")
            .with("begin", "headers", recorded.clone())
            .write();
        let answer = asked(&sandbox, accepted).await;
        assert!(answer.is_whole_ok(), "{recorded} {accepted:?}: {answer:?}");
        assert_eq!(&answer.body, expected, "{recorded} {accepted:?}");
        let coding = (expected == &coded).then_some("gzip");
        assert_eq!(
            answer.header("content-encoding"),
            coding,
            "{recorded} {accepted:?}"
        );
    }
}

#[test]
fn a_body_that_was_not_kept_is_not_called_damaged_and_its_reason_is_told() {
    let sha256 = sha256_hex(b"somebody's bytes");
    let gap =
        json!({"type": "gap", "t_us": 1, "what": "body of exchange 1", "why": "the disk is full"});
    for (gap, why) in [
        (None, "recorded with --bodies none"),
        (Some(gap), "the disk is full"),
    ] {
        let sandbox = Sandbox::new();
        let body = json!({"sha256": sha256, "bytes": 16, "inline": null, "kept": false});
        let mut craft = Craft::new(&sandbox.join("recordings/one")).with("end", "body", body);
        craft.records.splice(1..1, gap);
        craft.write();
        let mut replay = sandbox.modtape(["replay", "one", "--"]);
        replay.args(&ASKS[1..]).arg(tested()).arg(URL);
        let replay = run(replay, LIMIT).expect_success();
        let told = format!("(its body was not kept: {why})");
        assert!(
            replay.stderr.contains("0 answered, 1 missing"),
            "{}",
            replay.stderr
        );
        assert_eq!(
            replay.stderr.matches(&told).count(),
            2,
            "client and summary: {}",
            replay.stderr
        );
        assert!(
            replay.stderr.contains("record it: modtape record "),
            "{}",
            replay.stderr
        );
        let show = |args: &[&str]| run(sandbox.modtape(args.iter().copied()), LIMIT);
        let part = show(&["show", "1", "one", "--body"]);
        assert_eq!(part.status.code(), Some(3), "{}", part.stderr);
        assert!(
            part.stderr.contains(&format!("was not kept: {why}")),
            "{}",
            part.stderr
        );
        let all = show(&["show", "1", "one"]).expect_success();
        assert!(
            all.stdout.contains(&format!("not kept: {why}")),
            "{}",
            all.stdout
        );
        let har = show(&["export", "har", "one", "-o", "a.har"]).expect_success();
        let told = "warning: left out 1 body that was not kept when recorded";
        assert!(har.stderr.contains(told), "{}", har.stderr);
        for output in [replay, part, all, har] {
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(!said.contains("damaged"), "{said}");
        }
    }
}

/// A replay of the sandbox's recording `one`, with a client of the given protocol on it.
async fn replayed(sandbox: &Sandbox, alpn: Alpn) -> (Spawned, Session) {
    let mut modtape = sandbox.modtape(["replay", "one", "--"]);
    modtape.args(["/bin/sh", "-c", TELLS]);
    let (replay, proxy, root) = Spawned::proxy(modtape, sandbox);
    let hello = Hello::new(HOST, &root).alpn(alpn);
    (replay, Client::session(proxy, &hello).await)
}

async fn ended(replay: Spawned) -> Output {
    let ended = tokio::task::spawn_blocking(move || replay.end()).await;
    ended.expect("no panic").expect_success()
}

fn path() -> &'static str {
    URL.split_once(HOST).map_or("/", |(_, path)| path)
}

/// A request with more of a body than any window takes at once.
fn post(session: &Session) -> Request<Full<bytes::Bytes>> {
    let mut request = session.request(path());
    *request.method_mut() = "POST".parse().expect("a method");
    *request.body_mut() = Full::new(vec![b'x'; 1 << 20].into());
    request
}

const PROTOCOLS: [Alpn; 2] = [Alpn::Http2, Alpn::Http1];

#[tokio::test]
async fn a_request_is_read_to_its_end_before_it_is_answered() {
    for alpn in PROTOCOLS {
        let sandbox = Sandbox::new();
        let mut craft = Craft::new(&sandbox.join("recordings/one"))
            .with("begin", "method", "POST".into())
            .with("end", "headers", json!([]))
            .with("end", "body", inline("first"));
        with_second(&mut craft, |begin, end| {
            begin["method"] = "PUT".into();
            end["body"] = inline("second");
        });
        craft.write();
        let (replay, mut session) = replayed(&sandbox, alpn).await;
        for (method, expected) in [("POST", "first"), ("PUT", "second"), ("PATCH", "")] {
            let mut request = post(&session);
            *request.method_mut() = method.parse().expect("a method");
            let answer = session
                .send(request)
                .await
                .expect("an answer, and no reset");
            assert_eq!(answer.ended, Ended::Clean, "{alpn:?} {method}");
            if expected.is_empty() {
                assert_eq!(
                    answer.status, 504,
                    "{alpn:?} {method}: a miss is told as well"
                );
            } else {
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, expected),
                    "{alpn:?}"
                );
            }
        }
        drop(session);
        ended(replay).await;
    }
}

#[tokio::test]
async fn answers_to_requests_at_the_same_time_are_given_once_each_and_the_last_one_stays() {
    let sandbox = Sandbox::new();
    let mut craft = Craft::new(&sandbox.join("recordings/one"))
        .with("end", "headers", json!([]))
        .with("end", "body", inline("first"));
    with_second(&mut craft, |_, end| end["body"] = inline("last"));
    craft.write();
    let (replay, session) = replayed(&sandbox, Alpn::Http2).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut session = session.fork();
        asked.spawn(async move { session.get(path()).await.expect("an answer") });
    }
    let answers = asked.join_all().await;
    assert!(answers.iter().all(Response::is_whole_ok), "{answers:?}");
    let count = |body: &str| {
        answers
            .iter()
            .filter(|answer| answer.text() == body)
            .count()
    };
    assert_eq!((count("first"), count("last")), (1, 39));
    drop(session);
    let told = ended(replay).await.stderr;
    assert!(told.contains("40 answered, 0 missing"), "{told}");
}

#[tokio::test]
async fn a_body_that_a_response_must_not_have_is_not_sent() {
    for alpn in PROTOCOLS {
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
            let sandbox = Sandbox::new();
            let condition = json!([["if-none-match", "\"a\""]]);
            let mut craft = Craft::new(&sandbox.join("recordings/one"))
                .with("begin", "method", method.into())
                .with("begin", "headers", condition)
                .with("end", "status", status.into())
                .with("end", "headers", json!([["content-length", "5"]]))
                .with("end", "body", inline("stale"));
            with_second(&mut craft, |begin, end| {
                begin["url"] = format!("https://{HOST}/next").into();
                begin["method"] = "GET".into();
                end["status"] = 200.into();
                end["body"] = inline("fresh");
            });
            craft.write();
            let (replay, mut session) = replayed(&sandbox, alpn).await;
            let mut request = session.request(path());
            *request.method_mut() = method.parse().expect("a method");
            let etag = "\"a\"".parse().expect("a header value");
            request.headers_mut().insert("if-none-match", etag);
            let answer = session.send(request).await.expect("an answer");
            let told = format!("{alpn:?} {method} {status}");
            assert_eq!((answer.status, answer.body_bytes), (status, 0), "{told}");
            assert_eq!(answer.ended, Ended::Clean, "{told}");
            let next = session.get("/next").await.expect("the connection goes on");
            assert_eq!(
                (next.status, next.text().as_str()),
                (200, "fresh"),
                "{told}"
            );
            drop(session);
            ended(replay).await;
        }
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_sent_is_a_502_that_names_the_field_and_commands_no_terminal() {
    let fields = |name: &str, value: &str| json!([[name, value]]);
    let many: Vec<_> = (0..40_000).map(|_| json!(["a", ""])).collect();
    let rows = [
        (
            "headers",
            fields("X-Odd", "a\r\nset-cookie: b"),
            "the value of its field x-odd is invalid",
        ),
        (
            "headers",
            fields("a\u{1b}[2J b", "c"),
            "the name of its field",
        ),
        (
            "trailers",
            fields("x-odd", "\u{1b}[2J"),
            "the value of its field x-odd is invalid",
        ),
        ("headers", many.into(), "more than 20000 fields"),
        ("status", 101.into(), "its status is 101"),
        (
            "reason",
            "OK\r\nx: y".into(),
            "its reason phrase is invalid",
        ),
    ];
    for alpn in PROTOCOLS {
        for (key, value, why) in &rows {
            let sandbox = Sandbox::new();
            Craft::new(&sandbox.join("recordings/one"))
                .with("end", key, value.clone())
                .write();
            let (replay, mut session) = replayed(&sandbox, alpn).await;
            let answer = session.get(path()).await.expect("an answer");
            let text = answer.text();
            assert_eq!(answer.status, 502, "{alpn:?} {why}: {text}");
            assert!(text.contains(why), "{alpn:?} {why}: {text}");
            let is_harmless = text.trim_end().chars().all(|c| !c.is_control());
            assert!(is_harmless, "{alpn:?} {why}: {text:?}");
            drop(session);
            let told = ended(replay).await.stderr;
            assert!(told.contains("0 answered, 1 missing"), "{told}");
        }
    }
}

/// What is recorded, each with its body, what is asked, and what is given; empty for a miss.
type Asked = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

#[tokio::test]
async fn what_differs_in_its_url_is_answered_apart() {
    const MARK: &str = "redacted:0123456789abcdef";
    const OTHER: &str = "redacted:fedcba9876543210";
    let marked = [format!("/v?key={MARK}"), format!("/v?key={OTHER}")];
    let marked: [&'static str; 2] = marked.map(|url| &*url.leak());
    let one: &'static [(&str, &str)] = Box::leak(Box::new([(marked[0], "a")]));
    let two: &'static [(&str, &str)] = Box::leak(Box::new([(marked[0], "a"), (marked[1], "b")]));
    let equal: &'static [(&str, &str)] = Box::leak(Box::new([(marked[0], "a"), (marked[1], "a")]));
    let rows: &[Asked] = &[
        (&[("/p%2Fq", "a"), ("/p/q", "b")], "/p/q", "b"),
        (&[("/p%2Fq", "a")], "/p/q", ""),
        (&[("/a%3Fb", "a")], "/a?b", ""),
        (&[("/a?b", "a")], "/a%3Fb", ""),
        (&[("/x!y", "a")], "/x%21y", "a"),
        (&[("/x%21y", "a")], "/x!y", "a"),
        // In clear text: what is asked for can be told apart.
        (&[("/v?key=a", "a"), ("/v?key=b", "b")], "/v?key=b", "b"),
        (&[("/v?key=a", "a"), ("/v?key=b", "b")], "/v?key=c", ""),
        // One value was recorded: another run has another secret for the same.
        (one, "/v?key=s3cret", "a"),
        (two, "/v?key=s3cret", ""),
        (equal, "/v?key=s3cret", "a"),
        (two, marked[1], "b"),
    ];
    for (recorded, asked, expected) in rows {
        let sandbox = Sandbox::new();
        let url = |path: &str| Value::from(format!("https://{HOST}{path}"));
        let (first, others) = recorded.split_first().expect("something is recorded");
        let mut craft = Craft::new(&sandbox.join("recordings/one"))
            .with("begin", "url", url(first.0))
            .with("end", "headers", json!([]))
            .with("end", "body", inline(first.1));
        for (path, body) in others {
            with_second(&mut craft, |begin, end| {
                begin["url"] = url(path);
                end["body"] = inline(body);
            });
        }
        craft.write();
        let (replay, mut session) = replayed(&sandbox, Alpn::Http2).await;
        let answer = session.get(asked).await.expect("an answer");
        let told = format!("{recorded:?} {asked}: {}", answer.text());
        if expected.is_empty() {
            assert_eq!(answer.status, 504, "{told}");
        } else {
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, *expected),
                "{told}"
            );
        }
        if *recorded == two && answer.status == 504 {
            assert!(
                answer
                    .text()
                    .contains("several values of a secret in its URL"),
                "{told}"
            );
        }
        drop(session);
        ended(replay).await;
    }
}
