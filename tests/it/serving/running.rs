//! What operators do with it: a file of options, a reload, certificates, limits, an end.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(60);

/// A list of versions that every upstream has.
const LIST: &str = "/a.example/x/@v/list";

fn origin() -> Origin {
    let rule = Rule::any().status(200).body("v1.0.0\n");
    Origin::builder(Content::default()).rule(rule).start()
}

/// Writes a file of options whose upstream is `origin`, with these lines before it.
fn configure(sandbox: &Sandbox, origin: &Origin, lines: &str) {
    let port = origin.addr().port();
    let root = origin.root_pem_path();
    let root = root.display();
    let text = format!(
        "{lines}listen = '127.0.0.1:0'\nstore = 'store'\nconnect-to = ['::127.0.0.1:{port}']\n\
         upstream-ca = '{root}'\n"
    );
    fs::write(sandbox.join("modtape.toml"), text).expect("our own folder");
}

fn configured(sandbox: &Sandbox, flags: &[&str]) -> Serving {
    let mut command = sandbox.modtape(["serve", "--config", "modtape.toml"]);
    command.args(flags).current_dir(sandbox.path());
    Serving::told(Spawned::start(command))
}

#[test]
fn options_come_from_a_file_and_those_of_the_command_line_win() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    configure(
        &sandbox,
        &origin,
        "upstream = 'https://a.example'\nlog-file = 'log'\nlog-format = 'json'\n",
    );
    let serving = configured(&sandbox, &[]);
    assert_eq!(serving.get(LIST).text(), "v1.0.0\n");
    serving.end();
    assert!(sandbox.join("store/v1").is_dir());
    let log = fs::read_to_string(sandbox.join("log")).expect("there is a log");
    assert!(log.contains(&format!("\"url.path\":\"{LIST}\"")), "{log}");
    let served = origin.requests().len();
    let serving = configured(&sandbox, &["--offline", "--store", "other"]);
    assert_eq!(serving.get(LIST).status, 504);
    serving.end();
    assert_eq!(origin.requests().len(), served);
}

#[test]
fn a_variable_wins_over_the_file() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let [own, other] = ["test-token-0123456789abcdef", "test-token-fedcba9876543210"];
    let lines = format!("upstream = 'https://a.example'\ntoken = '{own}'\n");
    configure(&sandbox, &origin, &lines);
    for (variable, counts) in [(other, other), ("", own)] {
        let mut command = sandbox.modtape(["serve", "--config", "modtape.toml"]);
        command.current_dir(sandbox.path());
        command.env("MODTAPE_TOKEN", variable);
        let serving = Serving::told(Spawned::start(command));
        for token in [own, other] {
            let status = serving.get(&format!("/{token}{LIST}")).status;
            assert_eq!(status == 200, token == counts, "{variable}: {token}");
        }
        serving.end();
    }
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    for (lines, told) in [
        (
            "\ndisk_max = 1\n",
            "error: modtape.toml:2: unknown key \"disk_max\": did you mean disk-max?\nhelp: ",
        ),
        (
            "grace = 'soon'\n",
            "error: modtape.toml:1: invalid value 'soon' for '--grace <DURATION>': expected a duration",
        ),
        (
            "\n\nupstream = 'htp://a.example'\n",
            "error: modtape.toml:3: --upstream: htp://a.example is no http or https URL",
        ),
        ("connect-to = 1\n", "error: modtape.toml:4:1: duplicate key"),
        ("resolve = 'x'\n", "error: modtape.toml:1: --resolve x: "),
    ] {
        configure(&sandbox, &origin, lines);
        let mut command = sandbox.modtape(["serve", "--config", "modtape.toml"]);
        command.current_dir(sandbox.path());
        let output = run(command, LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert!(!sandbox.join("store").exists());
    }
    let mut command = sandbox.modtape(["serve", "--config", "missing.toml"]);
    command.current_dir(sandbox.path());
    let output = run(command, LIMIT);
    assert!(
        output.stderr.contains("cannot read missing.toml"),
        "{}",
        output.stderr
    );
}

/// The versions that each of these upstreams has; the answer of the last one is late.
fn origins() -> Origin {
    let rule = |host: &str, text: &'static str| Rule::host(host).status(200).body(text);
    Origin::builder(Content::default())
        .rule(rule("a.example", "v1.0.0\n"))
        .rule(rule("b.example", "v2.0.0\n"))
        // Longer than a server that ends waits.
        .rule(rule("slow.example", "v3.0.0\n").delay(Duration::from_secs(3)))
        .start()
}

#[test]
fn a_reload_takes_what_it_can_says_what_it_cannot_and_cuts_nobody_off() {
    let (origin, sandbox) = (origins(), Sandbox::new());
    configure(&sandbox, &origin, "upstream = 'https://slow.example'\n");
    let serving = configured(&sandbox, &[]);
    let address = serving.address;
    thread::scope(|scope| {
        let slow = scope.spawn(|| get(address, "/slow.example/x/@v/list"));
        origin.wait_for(|log| !log.requests.is_empty(), LIMIT);
        configure(
            &sandbox,
            &origin,
            "upstream = 'https://b.example'\n\nmemory = '1MB'\n",
        );
        serving.modtape.signal(Signal::HUP);
        let told = serving.modtape.wait_for_stderr("until a restart\n");
        assert!(
            told.contains("modtape.toml: read again; changed: upstream\n"),
            "{told}"
        );
        let cannot = "warning: modtape.toml:3: memory stays as it was until a restart\n";
        assert!(told.contains(cannot), "{told}");
        assert_eq!(get(address, LIST).text(), "v2.0.0\n");
        let slow = slow.join().expect("no panic");
        assert_eq!((slow.status, slow.text()), (200, "v3.0.0\n".to_owned()));
    });
    // A mistake changes nothing.
    configure(
        &sandbox,
        &origin,
        "upstream = 'https://a.example'\ntoken = 'short'\n",
    );
    serving.modtape.signal(Signal::HUP);
    let told = serving
        .modtape
        .wait_for_stderr("the settings stay as they were");
    let why =
        "modtape.toml:2: --token cannot be used: a token has 24 to 256 characters; the settings";
    assert!(told.contains(why), "{told}");
    assert_eq!(serving.get("/b.example/y/@v/list").text(), "v2.0.0\n");
    // What was right is taken.
    configure(
        &sandbox,
        &origin,
        "upstream = 'https://a.example'\ntoken = 'test-token-0123456789abcdef'\n",
    );
    serving.modtape.signal(Signal::HUP);
    let told = serving
        .modtape
        .wait_for_stderr("clients need another GOPROXY");
    assert!(told.contains("changed: token, upstream\n"), "{told}");
    assert_eq!(serving.get("/a.example/z/@v/list").status, 401);
    let path = "/test-token-0123456789abcdef/a.example/z/@v/list";
    assert_eq!(serving.get(path).text(), "v1.0.0\n");
    let output = serving.end();
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
}

#[test]
fn a_reload_says_which_of_gos_settings_are_others_now() {
    let (origin, sandbox) = (origins(), Sandbox::new());
    configure(&sandbox, &origin, "");
    let goenv = sandbox.join("goenv");
    fs::write(&goenv, "GOPROXY=https://a.example\n").expect("our own folder");
    let mut command = sandbox.modtape(["serve", "--config", "modtape.toml", "--store", "store"]);
    command
        .args(["--listen", "127.0.0.1:0"])
        .current_dir(sandbox.path());
    command.env("GOENV", &goenv);
    command.env_remove("GOPROXY").env_remove("GOSUMDB");
    let serving = Serving::told(Spawned::start(command));
    assert_eq!(serving.get(LIST).text(), "v1.0.0\n");
    // What the server has printed is no other upstream.
    let own = format!("GOPROXY=http://{},direct\n", serving.address);
    fs::write(&goenv, own).expect("our own folder");
    serving.modtape.signal(Signal::HUP);
    let told = serving.modtape.wait_for_stderr("read again");
    assert!(!told.contains("another one now"), "{told}");
    fs::write(&goenv, "GOPROXY=https://b.example\nGOSUMDB=off\n").expect("our own folder");
    serving.modtape.signal(Signal::HUP);
    for name in ["GOPROXY", "GOSUMDB"] {
        let told = format!("go's {name} is another one now, and stays as it was until a restart");
        serving.modtape.wait_for_stderr(&told);
    }
    assert_eq!(serving.get("/a.example/y/@v/list").text(), "v1.0.0\n");
    serving.end();
}

#[test]
fn status_lists_a_server_and_what_it_waits_for() {
    let sandbox = Sandbox::new();
    let silent = Rule::suffix(LIST).silent();
    let origin = Origin::builder(Content::default()).rule(silent).start();
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    let address = serving.address;
    let status = |words: &[&str]| {
        let mut status = sandbox.modtape(["status"]);
        status.args(words);
        run(status, super::LIMIT)
    };
    let json = |output: &Output| -> serde_json::Value {
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
    };
    let idle = json(&status(&["--json"]).expect_success());
    assert_eq!((&idle["verb"], &idle["done"]), (&"serve".into(), &0.into()));
    assert_eq!(idle["recording"], address.to_string());
    assert_eq!(
        idle["in_flight"].as_array().map(Vec::len),
        Some(0),
        "{idle}"
    );
    thread::scope(|scope| {
        let asked = scope.spawn(|| get(address, LIST));
        origin.wait_for(|log| !log.requests.is_empty(), LIMIT);
        let busy = json(&status(&["--json"]).expect_success());
        assert_eq!(busy["in_flight"][0]["host"], "a.example", "{busy}");
        // A reload changes whom to ask, and neither what is on its way nor who is seen.
        serving.modtape.signal(Signal::HUP);
        serving.modtape.wait_for_stderr("read again");
        let text = status(&[]).expect_success().stdout;
        assert!(
            text.contains("  serving ") && text.contains("store"),
            "{text}"
        );
        // No other command takes it for a recorder.
        let env = run(sandbox.modtape(["env"]), LIMIT);
        assert!(env.stderr.contains("no recorder is running"), "{env:?}");
        serving.modtape.signal(Signal::TERM);
        serving.modtape.signal(Signal::TERM);
        let _ = asked.join();
    });
    serving.modtape.end();
    let none = status(&[]);
    assert!(none.stderr.contains("nothing is recorded"), "{none:?}");
}

#[test]
fn tables_of_private_modules_are_reloaded_too() {
    let (origin, sandbox) = (origins(), Sandbox::new());
    let with_table = |upstream: &str| {
        configure(&sandbox, &origin, "upstream = 'https://a.example'\n");
        let path = sandbox.join("modtape.toml");
        let text = fs::read_to_string(&path).expect("our own file");
        let table = format!("[private.'corp.example/*']\nupstream = 'https://{upstream}'\n");
        fs::write(path, text + &table).expect("our own folder");
    };
    with_table("slow.example");
    let serving = configured(&sandbox, &[]);
    let address = serving.address;
    let path = "/corp.example/x/@v/list";
    thread::scope(|scope| {
        let slow = scope.spawn(|| get(address, path));
        origin.wait_for(|log| !log.requests.is_empty(), LIMIT);
        with_table("b.example");
        serving.modtape.signal(Signal::HUP);
        serving
            .modtape
            .wait_for_stderr("read again; changed: private\n");
        assert_eq!(get(address, "/corp.example/y/@v/list").text(), "v2.0.0\n");
        assert_eq!(get(address, LIST).text(), "v1.0.0\n");
        let slow = slow.join().expect("no panic");
        assert_eq!((slow.status, slow.text()), (200, "v3.0.0\n".to_owned()));
    });
    serving.end();
}

#[test]
fn a_log_that_became_a_pipe_nobody_reads_holds_nobody_up() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let flags = ["--log-file", "log"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    fs::remove_file(sandbox.join("log")).expect("our own folder");
    let mut mkfifo = sandbox.command("mkfifo");
    mkfifo.arg("log");
    run(mkfifo, LIMIT).expect_success();
    serving.modtape.signal(Signal::HUP);
    serving
        .modtape
        .wait_for_stderr("the log file is not open yet");
    assert_eq!(serving.get(LIST).status, 200);
    serving.modtape.wait_for_stderr("credentials: read again");
    serving.end();
}

#[test]
fn a_token_that_was_made_stays_and_a_log_that_was_renamed_is_begun_anew() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let flags = ["--token", "auto", "--log-file", "log"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let told = serving.modtape.wait_for_stderr("undo");
    let (_, token) = told
        .split_once(&format!("{}/", serving.address))
        .expect("it is told");
    let token = token.split_whitespace().next().expect("a token");
    let token = token.split(',').next().expect("a token");
    let path = format!("/{token}{LIST}");
    assert_eq!(serving.get(&path).status, 200);
    fs::rename(sandbox.join("log"), sandbox.join("log.1")).expect("our own folder");
    serving.modtape.signal(Signal::HUP);
    serving
        .modtape
        .wait_for_stderr("certificates and credentials: read again");
    assert_eq!(serving.get(&path).status, 200);
    let stderr = serving.end().stderr;
    assert!(!stderr.contains("another GOPROXY"), "{stderr}");
    for name in ["log", "log.1"] {
        let log = fs::read_to_string(sandbox.join(name)).expect("there is a log");
        assert_eq!(log.matches("modtape::access").count(), 1, "{name}: {log}");
        assert!(!log.contains(token), "{log}");
    }
}

/// Files of a certificate for this machine, signed by `root`.
fn renew(sandbox: &Sandbox, root: &TestRoot) -> [PathBuf; 2] {
    let (chain, key) = root.pem_pair("127.0.0.1");
    [("chain.pem", chain), ("key.pem", key)].map(|(name, text)| {
        let (path, new) = (sandbox.join(name), sandbox.join("new.pem"));
        fs::write(&new, text).expect("our own folder");
        fs::rename(new, &path).expect("our own folder");
        path
    })
}

/// One that speaks TLS; its clients trust `root`, whose certificate is in the file that comes with it.
fn serving_tls(
    sandbox: &Sandbox,
    origin: &Origin,
    root: &TestRoot,
    flags: &[&str],
) -> (Serving, PathBuf) {
    renew(sandbox, root);
    let trusted = sandbox.join("trusted.pem");
    fs::write(&trusted, root.pem()).expect("our own folder");
    let mut all = vec!["--tls-cert", "chain.pem", "--tls-key", "key.pem"];
    all.extend(flags);
    let serving = Serving::start(sandbox, origin, "https://a.example", &all);
    (serving, trusted)
}

/// A TLS connection to it.
fn connect_tls(
    address: SocketAddr,
    root: &Path,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = Hello::new("127.0.0.1", root).alpn(Alpn::Http1).config();
    let name = ServerName::from(address.ip());
    let session = ClientConnection::new(Arc::new(config), name).expect("a usable configuration");
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut stream = StreamOwned::new(session, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

fn curl(sandbox: &Sandbox, flags: &[&str], url: &str) -> Command {
    let mut curl = sandbox.command("curl");
    curl.args([
        "-sS",
        "--noproxy",
        "*",
        "-w",
        "\n%{http_version} %{http_code}",
    ]);
    curl.args(flags).arg(url);
    curl
}

/// Whether curl is there, with HTTP/2.
fn has_curl(sandbox: &Sandbox) -> bool {
    if has_program("curl") {
        let mut curl = sandbox.command("curl");
        curl.arg("--version");
        if run(curl, LIMIT).stdout.contains("HTTP2") {
            return true;
        }
    }
    skipped("serving: there is no curl with HTTP/2");
    false
}

#[test]
fn clients_speak_tls_in_both_protocols_and_a_renewed_certificate_is_shown_after_a_signal() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let root = TestRoot::new();
    let (serving, trusted) = serving_tls(&sandbox, &origin, &root, &[]);
    let told = serving.modtape.wait_for_stderr("undo");
    assert!(
        told.contains(&format!("GOPROXY=https://{} ", serving.address)),
        "{told}"
    );
    let mut stream = connect_tls(serving.address, &trusted).expect("a handshake");
    let asks = format!("GET {LIST} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(asks.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is whole");
    assert!(answer.ends_with("v1.0.0\n"), "{answer}");
    if has_curl(&sandbox) {
        let trusted = trusted.to_string_lossy();
        for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let url = format!("https://{}{LIST}", serving.address);
            let output = run(curl(&sandbox, &[flag, "--cacert", &trusted], &url), LIMIT);
            assert_eq!(
                output.stdout,
                format!("v1.0.0\n\n{version} 200"),
                "{}",
                output.stderr
            );
        }
    }
    // In clear text it is told what is spoken.
    let clear = serving.get(LIST);
    assert_eq!(clear.status, 400, "{clear:?}");
    assert!(
        clear.is_whole && clear.text().contains("https://"),
        "{clear:?}"
    );
    // Another root: who trusts the old one sees whether the certificate is the new one.
    let other = TestRoot::new();
    renew(&sandbox, &other);
    serving.modtape.signal(Signal::HUP);
    serving.modtape.wait_for_stderr("read again");
    assert!(connect_tls(serving.address, &trusted).is_err());
    fs::write(&trusted, other.pem()).expect("our own folder");
    connect_tls(serving.address, &trusted).expect("a handshake");
    // A key of somebody else changes nothing.
    let kept = fs::read(sandbox.join("key.pem")).expect("our own file");
    renew(&sandbox, &other);
    fs::write(sandbox.join("key.pem"), kept).expect("our own folder");
    serving.modtape.signal(Signal::HUP);
    let told = serving
        .modtape
        .wait_for_stderr("the settings stay as they were");
    assert!(
        told.contains("cannot use chain.pem with the key key.pem"),
        "{told}"
    );
    connect_tls(serving.address, &trusted).expect("a handshake");
    assert_eq!(serving.end().status.code(), Some(0));
}

#[test]
fn go_downloads_over_tls() {
    let sandbox = Sandbox::new();
    let (Some(go), Some(project)) = (sandbox.go("1.27"), sandbox.project("hello")) else {
        return;
    };
    let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
    let (origin, root) = (Origin::start(content), TestRoot::new());
    renew(&sandbox, &root);
    let trusted = sandbox.join("trusted.pem");
    fs::write(&trusted, root.pem()).expect("our own folder");
    let flags = ["--tls-cert", "chain.pem", "--tls-key", "key.pem"];
    let serving = Serving::start(&sandbox, &origin, "https://proxy.golang.org", &flags);
    let mut command = sandbox.command(&go);
    command.args(["mod", "download"]).current_dir(&project);
    command.env("GOPROXY", format!("https://{}", serving.address));
    command
        .env("SSL_CERT_FILE", trusted)
        .env("GOTOOLCHAIN", "local");
    run(command, LIMIT).expect_success();
    let done = serving.end().stderr;
    assert!(!done.contains("0 answers"), "{done}");
}

#[test]
fn certificates_that_cannot_be_used_are_told_by_name() {
    let sandbox = Sandbox::new();
    let root = TestRoot::new();
    renew(&sandbox, &root);
    fs::write(sandbox.join("other.pem"), root.pem_pair("127.0.0.1").1).expect("our own folder");
    for (flags, told) in [
        (&["--tls-cert", "chain.pem"][..], "--tls-key"),
        (
            &["--tls-cert", "chain.pem", "--tls-key", "other.pem"],
            "cannot use chain.pem with the key other.pem",
        ),
        (
            &["--tls-cert", "key.pem", "--tls-key", "key.pem"],
            "cannot use key.pem: it holds no PEM certificate",
        ),
        (
            &["--tls-cert", "chain.pem", "--tls-key", "chain.pem"],
            "cannot use chain.pem: it holds no PEM private key",
        ),
        (
            &["--tls-cert", "missing.pem", "--tls-key", "key.pem"],
            "cannot read missing.pem",
        ),
    ] {
        let mut command = sandbox.modtape(["serve", "--store", "store"]);
        command.args(flags).current_dir(sandbox.path());
        let output = run(command, LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert!(!sandbox.join("store").exists());
    }
}

/// What comes back for these bytes, until the connection ends.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a time");
    // It may refuse before it has read all.
    let _ = stream.write_all(bytes);
    let answer = to_end(&mut stream);
    String::from_utf8_lossy(&answer).into_owned()
}

/// What comes until the connection ends or breaks; it has to.
fn to_end(stream: &mut impl io::Read) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let is_open = error.kind() == io::ErrorKind::WouldBlock;
        assert!(!is_open, "it is still open after {LIMIT:?}");
    }
    answer
}

#[test]
fn requests_that_are_too_large_are_refused_by_number() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    let head = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n")
    };
    let long = format!("/a.example/{}/@v/list", "x".repeat(9 << 10));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(40 << 10));
    let body = format!("Content-Length: {}\r\n", 100 << 20);
    for (request, status) in [
        (head(&long, ""), 414),
        (head(LIST, &many), 431),
        (head(LIST, &large), 431),
        (head(LIST, &body), 200),
        (String::from("GET\r\n\r\n"), 400),
    ] {
        let answer = exchange(serving.address, request.as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{expected}: {answer}");
    }
    assert_eq!(asked(&origin, LIST), 1);
    serving.end();
}

#[test]
fn a_body_is_passed_over_if_it_is_small_and_ends_the_connection_if_it_is_not() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    let get = |fields: &str| format!("GET {LIST} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    // The second request is read behind the body of the first.
    let two = format!(
        "{}12345{}",
        get("Content-Length: 5\r\n"),
        get("Connection: close\r\n")
    );
    let answer = exchange(serving.address, two.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
    // A body that never comes is not waited for.
    for method in ["GET", "POST"] {
        let endless =
            format!("{method} {LIST} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
        let answer = exchange(serving.address, endless.as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    serving.end();
}

#[test]
fn one_address_has_so_many_connections_and_no_more() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let flags = ["--client-connections", "2"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    // A response shows that the connection has its place.
    let open = || {
        let mut stream = TcpStream::connect(serving.address).expect("it listens");
        let asks = format!("GET {LIST} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(asks.as_bytes()).expect("it reads");
        let mut line = String::new();
        let mut lines = BufReader::new(stream);
        lines.read_line(&mut line).expect("an answer");
        (line, lines)
    };
    let (first, held) = open();
    let (second, _other) = open();
    assert!(
        first.contains(" 200 ") && second.contains(" 200 "),
        "{first}{second}"
    );
    assert!(exchange(serving.address, b"").starts_with("HTTP/1.1 429 "));
    let told = serving.modtape.wait_for_stderr("--client-connections");
    assert!(told.contains("127.0.0.1 has 2 connections"), "{told}");
    drop(held);
    // It takes a moment until the end of the first is seen.
    let served = (0..10_000).any(|_| open().0.contains(" 200 "));
    assert!(served, "the place is not given back");
    serving.end();
}

#[test]
fn a_client_that_says_nothing_more_loses_its_connection() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &[]);
    let other = Sandbox::new();
    let (tls, trusted) = serving_tls(&other, &origin, &TestRoot::new(), &[]);
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let hello = Hello::new("127.0.0.1", &trusted).bytes();
    let (clear, secure) = (serving.address, tls.address);
    thread::scope(|scope| {
        // Whoever is not cut off hangs here.
        for begun in [
            "",
            "G",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "PRI * HTT",
            preface,
        ] {
            scope.spawn(move || exchange(clear, begun.as_bytes()));
        }
        for begun in [&b""[..], &hello[..hello.len() / 2], &hello] {
            scope.spawn(move || exchange(secure, begun));
        }
        scope.spawn(|| {
            let mut stream = connect_tls(secure, &trusted).expect("a handshake");
            to_end(&mut stream);
        });
    });
    assert_eq!(serving.get(LIST).status, 200);
    serving.end();
    tls.end();
}

#[test]
fn requests_in_flight_end_before_it_does() {
    let sandbox = Sandbox::new();
    let slow = Rule::any().status(200).body("v1.0.0\n");
    let slow = slow.delay(Duration::from_millis(700));
    let origin = Origin::builder(Content::default()).rule(slow).start();
    let root = TestRoot::new();
    let [h1, h2] = ["/a.example/h1/@v/list", "/a.example/h2/@v/list"];
    let has_curl = has_curl(&sandbox);
    for is_tls in [false, true] {
        let store = if is_tls { "tls" } else { "clear" };
        let flags = ["--grace", "1m"];
        let (serving, trusted) = match is_tls {
            true => serving_tls(&sandbox, &origin, &root, &flags),
            false => {
                let upstream = "https://a.example";
                let serving = Serving::start(&sandbox, &origin, upstream, &flags);
                (serving, PathBuf::new())
            }
        };
        let address = serving.address;
        let [h1, h2] = [h1, h2].map(|path| path.replace("/h", &format!("/{store}")));
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let asks = format!("GET {h1} HTTP/1.1\r\nHost: a\r\n\r\n");
                if !is_tls {
                    return exchange(address, asks.as_bytes());
                }
                let mut stream = connect_tls(address, &trusted).expect("a handshake");
                stream.write_all(asks.as_bytes()).expect("it reads");
                let answer = to_end(&mut stream);
                String::from_utf8_lossy(&answer).into_owned()
            });
            let second = has_curl.then(|| {
                let pem = trusted.to_string_lossy();
                let command = match is_tls {
                    true => {
                        let flags = ["--http2", "--cacert", &pem];
                        curl(&sandbox, &flags, &format!("https://{address}{h2}"))
                    }
                    false => {
                        let flags = ["--http2-prior-knowledge"];
                        curl(&sandbox, &flags, &format!("http://{address}{h2}"))
                    }
                };
                scope.spawn(|| run(command, LIMIT).stdout)
            });
            let is_met = |log: &Log| {
                let asks = |path: &str| log.requests.iter().any(|one| one.path == path);
                asks(&h1) && (!has_curl || asks(&h2))
            };
            origin.wait_for(is_met, LIMIT);
            serving.modtape.signal(Signal::TERM);
            let answer = first.join().expect("no panic");
            assert!(answer.ends_with("v1.0.0\n"), "{answer}");
            if let Some(second) = second {
                let answer = second.join().expect("no panic");
                assert_eq!(answer, "v1.0.0\n\n2 200");
            }
        });
        let output = serving.modtape.end();
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    }
}

#[test]
fn a_second_signal_ends_it_at_once_but_a_reload_does_not() {
    let silent = Rule::any().silent();
    let origin = Origin::builder(Content::default()).rule(silent).start();
    let sandbox = Sandbox::new();
    let flags = ["--grace", "1h", "--upstream-idle-timeout", "1h"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let address = serving.address;
    thread::scope(|scope| {
        scope.spawn(|| get(address, LIST));
        origin.wait_for(|log| !log.requests.is_empty(), LIMIT);
        serving.modtape.signal(Signal::TERM);
        serving.modtape.wait_for_stderr("Ctrl-C again ends them");
        serving.modtape.signal(Signal::HUP);
        // Longer than what is on its way has once nobody waits.
        assert!(serving.modtape.runs_for(Duration::from_secs(3)));
        serving.modtape.signal(Signal::INT);
        assert_eq!(serving.modtape.end().status.code(), Some(0));
    });
}

#[test]
fn a_service_manager_hears_that_it_is_ready() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    configure(&sandbox, &origin, "");
    let socket = UnixDatagram::bind(sandbox.join("notify")).expect("a socket");
    socket.set_read_timeout(Some(LIMIT)).expect("a time");
    let mut command = sandbox.modtape(["serve", "--config", "modtape.toml"]);
    command
        .current_dir(sandbox.path())
        .env("NOTIFY_SOCKET", sandbox.join("notify"));
    let serving = Serving::told(Spawned::start(command));
    let mut heard = [0; 64];
    let length = socket.recv(&mut heard).expect("it is told");
    assert_eq!(&heard[..length], b"READY=1");
    serving.end();
}

#[test]
fn clients_are_told_the_host_that_they_know() {
    let (origin, sandbox) = (origin(), Sandbox::new());
    let token = "test-token-0123456789abcdef";
    let told = |flags: &[&str]| {
        let mut command = sandbox.modtape([
            "serve",
            "--store",
            "store",
            "--token",
            token,
            "--upstream",
            "https://a.example",
        ]);
        command.args(flags).current_dir(sandbox.path());
        let modtape = Spawned::start(command);
        let told = modtape.wait_for_stderr("undo");
        modtape.signal(Signal::TERM);
        let told = format!("{told}{}", modtape.end().stderr);
        let (_, goproxy) = told.split_once("GOPROXY=").expect("it is told");
        (
            goproxy
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned(),
            told,
        )
    };
    let (goproxy, text) = told(&["--listen", "0.0.0.0:0"]);
    assert!(
        !goproxy.contains("127.0.0.1") && !goproxy.contains("0.0.0.0"),
        "{goproxy}"
    );
    assert!(text.contains("--host NAME"), "{text}");
    let (goproxy, text) = told(&["--listen", "0.0.0.0:0", "--host", "modules.corp.example"]);
    assert!(
        goproxy.starts_with("http://modules.corp.example:"),
        "{goproxy}"
    );
    assert!(!text.contains("--host NAME"), "{text}");
    drop(origin);
}

#[test]
fn a_port_that_is_taken_is_told_with_advice() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = sandbox.modtape(["serve", "--store", "store", "--listen", &address]);
    command
        .current_dir(sandbox.path())
        .env("GOPROXY", "https://a.example");
    let output = run(command, LIMIT);
    assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
    let told = format!("cannot listen on {address}: ");
    assert!(output.stderr.contains(&told), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("help: another program listens there"),
        "{}",
        output.stderr
    );
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let sandbox = Sandbox::new();
    if !has_program("systemd-analyze") {
        skipped("serving: there is no systemd-analyze");
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/modtape.service");
    let unit = fs::read_to_string(unit).expect("the unit is there");
    let program = "/usr/local/bin/modtape";
    assert!(unit.contains(program), "{unit}");
    // Where nothing is installed, any program stands for it.
    let path = sandbox.join("modtape.service");
    fs::write(&path, unit.replace(program, "/bin/true")).expect("our own folder");
    let mut command = sandbox.command("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(&path);
    let output = run(command, LIMIT);
    // Other units of the machine may have faults too.
    let told: Vec<_> = output
        .stderr
        .lines()
        .filter(|line| line.contains("modtape"))
        .collect();
    assert!(told.is_empty(), "{told:?}");
    assert!(output.status.success(), "{}", output.stderr);
}
