//! With a token only who shows it is a client; it is shown to nobody else and kept nowhere.

use std::process::Stdio;

use super::super::support::LIMIT;
use super::super::support::{
    Client, Content, Origin, Recorder, Rule, Sandbox, Spawned, program, run, search_path, tested,
};
use super::{SHOWN, TOKEN, assert_nowhere, raw, status};

const WRONG: (&str, &str) = ("Proxy-Authorization", "Basic bW9kdGFwZTp3cm9uZw==");

fn origin() -> Origin {
    Origin::builder(Content::default())
        .rule(Rule::any().status(200).body("fetched\n"))
        .start()
}

#[tokio::test]
async fn a_client_that_is_asked_for_the_token_goes_on_on_the_same_connection() {
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--token", TOKEN]);
    let mut client = Client::open(recorder.proxy()).await;
    for shown in [&[][..], &[WRONG], &[SHOWN, SHOWN]] {
        let connected = client.connect("proxy.golang.org:443", shown).await;
        assert_eq!(connected.status, 407, "{}", connected.head);
        let asks = "proxy-authenticate: Basic realm=\"modtape\"\r\n";
        assert!(connected.head.contains(asks), "{}", connected.head);
        assert!(
            connected.body.contains("`modtape env`"),
            "{}",
            connected.body
        );
        client = connected.client;
    }
    let connected = client.connect("proxy.golang.org:443", &[SHOWN]).await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    let hello = recorder.hello("proxy.golang.org");
    let client = connected.client.handshake(&hello).await;
    let mut session = client.expect("TLS").into_session().await.expect("HTTP");
    let response = session.get("/a").await.expect("an answer");
    assert_eq!(response.text(), "fetched\n");
    drop(session);
    let recorded = recorder.finish().await;
    assert_eq!(recorded.only().begin.url, "https://proxy.golang.org/a");
    assert_eq!(recorded.opened().len(), 1);
    let told = "3 requests refused with 407: no valid token";
    assert!(
        recorded.output.stderr.contains(told),
        "{}",
        recorded.output.stderr
    );
    assert!(recorded.recording.damage().is_empty());
    assert_nowhere(TOKEN, recorded.recording.dir(), &recorded.output);
}

#[tokio::test]
async fn strangers_reach_nobody_and_are_named() {
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--token", TOKEN]);
    let mut wrong = Vec::new();
    let (name, value) = WRONG;
    for line in [
        "CONNECT proxy.golang.org:443",
        "GET http://a.example/",
        "POST http://a.example/",
        "GET /",
        "OPTIONS *",
    ] {
        for field in [String::new(), format!("{name}: {value}\r\n")] {
            let head = format!(
                "{line} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\nConnection: close\r\n{field}\r\n"
            );
            let mut client = Client::open(recorder.proxy()).await;
            client.send(head).await.expect("the proxy takes a head");
            let head = client.read_head().await.unwrap_or_default();
            if status(&head) != 407 {
                wrong.push(format!("{line} {field:?}: {head:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What follows without waiting for the answer is not taken for a request.
    let eager =
        "CONNECT proxy.golang.org:443 HTTP/1.1\r\n\r\nGET http://a.example/ HTTP/1.1\r\n\r\n";
    let answer = raw(recorder.proxy(), eager).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    // Nor does a connection ask for ever.
    let often = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(100);
    let answer = raw(recorder.proxy(), &often).await;
    assert_eq!(answer.matches("HTTP/1.1 407").count(), 8, "{answer}");
    let recorded = recorder.finish().await;
    assert_eq!(origin.connections(), 0);
    assert!(recorded.exchanges().is_empty());
    for opened in recorded.opened() {
        let told = opened.error.as_deref().unwrap_or_default();
        assert!(told.contains("did not show the token"), "{opened:?}");
    }
    assert_eq!(recorded.opened().len(), 12);
    let told = "19 requests refused with 407: no valid token";
    assert!(
        recorded.output.stderr.contains(told),
        "{}",
        recorded.output.stderr
    );
}

#[tokio::test]
async fn what_shows_the_token_is_not_passed_on_and_other_credentials_are() {
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--token", TOKEN, "--no-redact"]);
    let (name, value) = SHOWN;
    let head = format!(
        "GET http://a.example/?q={TOKEN} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic eDp5\r\n\
         Connection: close\r\n{name}: {value}\r\n\r\n"
    );
    let answer = raw(recorder.proxy(), &head).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let recorded = recorder.finish().await;
    let served = origin.requests();
    assert!(served[0].headers.get("proxy-authorization").is_none());
    assert_eq!(served[0].headers["authorization"], "Basic eDp5");
    let encoded = value.strip_prefix("Basic ").expect("Basic");
    for secret in [TOKEN, encoded] {
        assert_nowhere(secret, recorded.recording.dir(), &recorded.output);
    }
}

/// curl, git, go and modtape's own client find the token in their environment; curl also when it asks
/// first what is wanted.
#[test]
fn clients_follow_their_environment() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let everywhere = format!("--connect-to=::127.0.0.1:{}", origin.addr().port());
    let root = origin.root_pem_path().to_string_lossy().into_owned();
    let script = r#"
        set -e
        curl -sS https://proxy.golang.org/curl
        curl -sS --proxy-anyauth https://proxy.golang.org/asked
        curl -sS http://plain.example/plain
        curl -sS --proxy-anyauth http://plain.example/asked
        test "$(modtape env HTTPS_PROXY)" = "$HTTPS_PROXY"
        if [ -n "$GO" ]; then "$GO" mod download x.example/m@v1.0.0 >/dev/null 2>&1 || true; fi
        modtape fetch https://proxy.golang.org/fetch >/dev/null
        git ls-remote https://proxy.golang.org/git >/dev/null 2>&1 || true
        case $HTTPS_PROXY in http://modtape:*@127.0.0.1:*) ;; *) exit 9;; esac
        printf %s "$HTTPS_PROXY" | sed 's/.*modtape:\(.*\)@.*/\1/' >token
    "#;
    let args = [
        "record",
        "-o",
        "one",
        "--token",
        "auto",
        "--upstream-ca",
        &root,
    ];
    let rest = [&everywhere[..], "--", "bash", "-c", script];
    let mut command = sandbox.modtape(args.into_iter().chain(rest));
    let own = tested();
    command.env("PATH", search_path(&[own.parent().expect("a folder")]));
    let go = sandbox.go("1.27");
    command.env("GO", go.as_deref().unwrap_or("".as_ref()));
    let output = run(command, LIMIT * 2).expect_success();
    assert_eq!(
        output.stdout.matches("fetched").count(),
        4,
        "{}",
        output.stdout
    );
    let paths = origin.paths();
    let by_go = go.map(|_| "/x.example/m/@v/v1.0.0.info");
    let others = ["/curl", "/asked", "/plain", "/fetch", "/git/info/refs"];
    for path in others.into_iter().chain(by_go) {
        assert!(paths.iter().any(|seen| seen == path), "{path}: {paths:?}");
    }
    let token = std::fs::read_to_string(sandbox.join("token")).expect("the script wrote it");
    std::fs::remove_file(sandbox.join("token")).expect("it is there");
    assert_eq!(token.len(), 32, "{token}");
    assert_nowhere(&token, sandbox.path(), &output);
}

/// A recorder without a command: the token is told by `modtape env`, and stands nowhere else.
#[test]
fn only_env_tells_the_token() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.modtape(["-vv", "--log-file", "log", "record", "-o", "one"]);
    command.env("MODTAPE_TOKEN", TOKEN).stdin(Stdio::piped());
    let recorder = Spawned::start(command);
    let said = recorder.wait_for_stderr("end with Ctrl-C");
    assert!(!said.contains(TOKEN), "{said}");
    let told = run(sandbox.modtape(["env", "HTTPS_PROXY"]), LIMIT).expect_success();
    let prefix = format!("http://modtape:{TOKEN}@127.0.0.1:");
    assert!(told.stdout.starts_with(&prefix), "{}", told.stdout);
    let mut curl = program("curl");
    curl.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "http://a.example/",
    ]);
    let proxy = told.stdout.trim().replace(TOKEN, "wrong");
    curl.args(["--proxy", &proxy]);
    let output = run(curl, LIMIT);
    assert_eq!(output.stdout, "407");
    recorder.signal(rustix::process::Signal::INT);
    let output = recorder.end();
    assert!(
        output
            .stderr
            .contains("1 request refused with 407: no valid token"),
        "{}",
        output.stderr
    );
    assert_nowhere(TOKEN, sandbox.path(), &output);
}
