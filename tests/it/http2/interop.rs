//! Other people's clients through `modtape record`, with nothing but the environment they are given:
//! each gets the same bytes over the protocol that it is told to speak. The go commands of all
//! versions are in `record`.

use std::io::Write as _;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::record::{record, recording};
use crate::support::{
    Client, Content, LIMIT, Origin, Output, Recorder, Rule, Sandbox, program, run, sha256_hex,
    skipped, within,
};

const HOST: &str = "interop.test";
const URL: &str = "https://interop.test/body";

/// Several windows and many frames of text.
fn body() -> String {
    let line = |n| format!("line {n} of a body that takes more than one window\n");
    (0..8000).map(line).collect()
}

fn origin() -> Origin {
    let refs = "0123456789012345678901234567890123456789\trefs/heads/main\n";
    Origin::builder(Content::default())
        .rule(Rule::suffix("/info/refs").status(200).body(refs))
        .rule(Rule::suffix("/body").status(200).body(body()))
        .start()
}

/// Whether a command can be started here; a line says so if not.
fn is_there(command: &str) -> bool {
    let probe = program(command).arg("--version").output();
    let is_there = probe.is_ok_and(|output| output.status.success());
    if !is_there {
        skipped(&format!("no {command} here"));
    }
    is_there
}

/// Runs a client under `record` and holds what was recorded against what it should be.
#[track_caller]
fn through(files: &[(&str, &str)], version: &str, command: &[&str]) -> Output {
    let (sandbox, origin) = (Sandbox::new(), origin());
    for (name, text) in files {
        let mut file = std::fs::File::create(sandbox.join(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("the file takes it");
    }
    let flags = ["--intercept", HOST];
    let output = run(record(&sandbox, &origin, &flags, command), LIMIT).expect_success();
    let recording = recording(&sandbox, "one");
    let row = recording.rows().first().expect("an exchange");
    assert_eq!(row.status, Some(200), "{command:?}");
    let exchange = recording.exchange(row).expect("it can be read");
    assert_eq!(exchange.begin.version, version, "{command:?}");
    if row.url == URL {
        let digest = row.body.map(|digest| digest.to_string());
        let expected = sha256_hex(body().as_bytes());
        assert_eq!(digest, Some(expected), "{command:?}");
    }
    output
}

#[test]
fn curl_is_served_in_both_versions() {
    for (flag, version, told) in [
        ("--http1.1", "HTTP/1.1", "200 1.1"),
        ("--http2", "HTTP/2", "200 2"),
    ] {
        let tell = "%{stderr}%{http_code} %{http_version}\n";
        let output = through(&[], version, &["curl", "-sS", flag, "-w", tell, URL]);
        assert_eq!(output.stdout, body(), "{flag}");
        assert!(output.stderr.contains(told), "{flag}: {}", output.stderr);
    }
}

#[test]
fn git_is_served() {
    let url = "https://interop.test/repository.git";
    let output = through(&[], "HTTP/2", &["git", "ls-remote", url]);
    let expected = "0123456789012345678901234567890123456789\trefs/heads/main\n";
    assert_eq!(output.stdout, expected);
}

#[test]
fn python_is_served() {
    if !is_there("python3") {
        return;
    }
    let script = "import hashlib, sys, urllib.request
answer = urllib.request.urlopen(sys.argv[1], timeout=30)
print(answer.status, answer.version, hashlib.sha256(answer.read()).hexdigest())
";
    let command = ["python3", "client.py", URL];
    let output = through(&[("client.py", script)], "HTTP/1.1", &command);
    let expected = format!("200 11 {}\n", sha256_hex(body().as_bytes()));
    assert_eq!(output.stdout, expected);
}

#[test]
fn node_is_served_in_both_versions() {
    if !is_there("node") {
        return;
    }
    for (protocol, version) in [("h2", "HTTP/2"), ("http/1.1", "HTTP/1.1")] {
        let command = ["node", "client.js", protocol, URL];
        let output = through(&[("client.js", NODE)], version, &command);
        let expected = format!("200 {}\n", sha256_hex(body().as_bytes()));
        assert_eq!(output.stdout, expected, "{protocol}");
    }
}

/// Node knows no proxy: CONNECT, TLS with the bundle, then its own HTTP/2 or HTTP/1.1.
const NODE: &str = r"
const [protocol, url] = process.argv.slice(2), { host, pathname } = new URL(url);
const http = require('http'), https = require('https'), http2 = require('http2');
const ca = require('fs').readFileSync(process.env.SSL_CERT_FILE);
const digest = require('crypto').createHash('sha256');
const proxy = new URL(process.env.HTTPS_PROXY);
const end = status => console.log(status, digest.digest('hex'));
http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: `${host}:443` })
  .on('connect', (answer, socket) => {
    const options = { socket, ca, servername: host, ALPNProtocols: [protocol] };
    const tls = require('tls').connect(options, () => {
      if (protocol !== 'h2') {
        const asked = { createConnection: () => tls, host, port: 443, defaultPort: 443, path: pathname };
        return https.get(asked, answer => answer
          .on('data', data => digest.update(data)).on('end', () => end(answer.statusCode)));
      }
      const session = http2.connect(url, { createConnection: () => tls });
      let status;
      session.request({ ':path': pathname })
        .on('response', headers => { status = headers[':status']; })
        .on('data', data => digest.update(data))
        .on('end', () => { end(status); session.close(); });
    });
  }).end();
";

/// nghttp knows no proxy either: a listener of the test says CONNECT for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nghttp_is_served() {
    if !is_there("nghttp") {
        return;
    }
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--intercept", HOST]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (proxy, mut relay) = (recorder.proxy(), JoinSet::new());
    relay.spawn(async move {
        let (mut near, _) = listener.accept().await.expect("nghttp comes");
        let connected = Client::open(proxy)
            .await
            .connect("interop.test:443", &[])
            .await;
        let mut far = connected.client.into_stream();
        let _ = copy_bidirectional(&mut near, &mut far).await;
    });
    let url = format!("https://127.0.0.1:{port}/body");
    let authority = format!(":authority: {HOST}");
    let mut nghttp = program("nghttp");
    nghttp.args(["--no-verify-peer", "-H", &authority, &url]);
    let running = tokio::task::spawn_blocking(move || run(nghttp, LIMIT));
    let output = within(running)
        .await
        .expect("it is waited for")
        .expect_success();
    assert!(
        output.stdout == body(),
        "{} bytes: {}",
        output.stdout.len(),
        output.stderr
    );
    within(relay.join_next()).await;
    let exchange = recorder.finish().await.only();
    assert_eq!(exchange.begin.version, "HTTP/2");
    assert_eq!(exchange.begin.url, URL);
}
