//! The page while its recording is written.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::*;

const HOST: &str = "proxy.golang.org";

/// A running `modtape view`.
struct View {
    program: Spawned,
    address: SocketAddr,
    token: String,
}

impl View {
    fn of(sandbox: &Sandbox, recording: &Path) -> Self {
        let mut view = sandbox.modtape(["view", "--no-open"]);
        view.arg(recording);
        let program = Spawned::start(view);
        let told = program.wait_for_stderr("Ctrl-C ends it");
        let url = told
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let url = url
            .expect("an address")
            .strip_prefix("http://")
            .expect("it begins so");
        let (address, token) = url.split_once("/#token=").expect("a token");
        Self {
            program,
            address: address.parse().expect("an address"),
            token: token.to_owned(),
        }
    }

    /// Asks with these header fields beside `Host`; gives the response as far as it has come when `until` is there.
    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("a socket can be set");
        let host = fields.iter().find(|(name, _)| *name == "Host");
        let own = self.address.to_string();
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n",
            host.map_or(&*own, |host| host.1)
        );
        for (name, value) in fields.iter().filter(|(name, _)| *name != "Host") {
            head += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all((head + "\r\n").as_bytes())
            .expect("it reads");
        BufReader::new(stream)
    }

    fn status(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let mut line = String::new();
        self.ask(path, fields)
            .read_line(&mut line)
            .expect("a response");
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// What it tells from a place of the journal on.
    fn events(&self, since: &str) -> Events {
        let bearer = format!("Bearer {}", self.token);
        Events(self.ask(
            &format!("/api/events?since={since}"),
            &[("Authorization", &bearer)],
        ))
    }
}

/// Events that come one after the other.
struct Events(BufReader<TcpStream>);

impl Events {
    /// The next: how far it tells, and what.
    fn next(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.0.read_line(&mut line).expect("more comes") > 0,
                "it ended"
            );
            if let Some(text) = line.strip_prefix("id: ") {
                text.trim().clone_into(&mut id);
            }
            if let Some(text) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(text).expect("JSON"));
            }
        }
    }

    /// Those until one has so many exchanges in all, of which each is told once it is over.
    fn until(&mut self, exchanges: usize) -> (String, Vec<Value>) {
        let mut told = Vec::new();
        loop {
            let (id, event) = self.next();
            told.push(event);
            let over = told
                .iter()
                .flat_map(|event| event["exchanges"]["outcome"].as_array().expect("a column"));
            if over.filter(|outcome| **outcome != "in-flight").count() == exchanges {
                return (id, told);
            }
        }
    }
}

#[tokio::test]
async fn what_is_added_is_told_and_a_reader_that_comes_back_misses_nothing() {
    let files = ["/example.com/a/@v/list", "/example.com/b/@v/list"]
        .map(|path| ((HOST, path), (200, "text/plain", "v1.0.0\n")));
    let origin = Origin::start(Content::files(files));
    let recorder = Recorder::to(&origin, &[]);
    let recording = recorder.folder().join("recordings/one");
    let sandbox = Sandbox::new();
    let view = View::of(&sandbox, &recording);

    let mut session = recorder.session(HOST).await;
    session
        .get("/example.com/a/@v/list")
        .await
        .expect("an answer");
    let mut events = view.events("");
    let (first, told) = events.until(1);
    assert_eq!(told.last().expect("an event")["report"]["closed"], false);
    session
        .get("/example.com/b/@v/list")
        .await
        .expect("an answer");
    let (_, more) = events.until(1);
    let last = more.last().expect("an event");
    assert_eq!(last["exchanges"]["what"][0], "list example.com/b", "{last}");
    // Whoever comes back names what was told last.
    let (_, again) = view.events(&first).until(1);
    let again = again.last().expect("an event");
    assert_eq!(again["exchanges"], last["exchanges"]);
    drop(session);
    let recorded = recorder.finish().await;
    // What is known at the end only changes what was told: all of it is told again.
    let is_whole = |event: &Value| {
        event["reset"] == true && event["exchanges"]["id"] == serde_json::json!([1, 1])
    };
    while !Some(events.next().1)
        .is_some_and(|event| event["report"]["closed"] == true && is_whole(&event))
    {}
    // Another recording in its place is not mixed with it.
    let (_, other) = view.events("5-another").next();
    assert_eq!(other["reset"], true);

    // What it saves is what the program writes.
    let bearer = format!("Bearer {}", view.token);
    let mut saved = view.ask(
        "/api/page",
        &[("Authorization", &bearer), ("Connection", "close")],
    );
    let mut text = String::new();
    saved.read_to_string(&mut text).expect("a page");
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    let page = page_of(&sandbox, recorded.recording.dir());
    assert!(fs::read_to_string(page).expect("the page") == body);
    view.program.signal(Signal::INT);
    assert_eq!(view.program.end().status.code(), Some(0));
}

#[test]
fn nobody_else_is_answered() {
    let sandbox = Sandbox::new();
    let view = View::of(&sandbox, &root().join("recordings/hello"));
    let bearer = format!("Bearer {}", view.token);
    let known = ("Authorization", bearer.as_str());
    assert_eq!(view.status("/", &[]), "200");
    assert_eq!(view.status("/api/events", &[known]), "200");
    assert_eq!(view.status("/api/events", &[]), "401");
    assert_eq!(
        view.status("/api/page", &[("Authorization", "Bearer 0")]),
        "401"
    );
    assert_eq!(view.status("/api/page?token=0", &[]), "401");
    // Another site of the same browser: by its own name, which it lets lead here, or from its own page.
    // The page without its data is for whoever comes to it, such as from a file.
    assert_eq!(view.status("/", &[("Sec-Fetch-Site", "cross-site")]), "200");
    assert_eq!(view.status("/", &[("Host", "evil.example")]), "403");
    for path in ["/api/page", "/api/events"] {
        assert_eq!(view.status(path, &[known, ("Host", "evil.example")]), "403");
        assert_eq!(
            view.status(path, &[known, ("Origin", "http://evil.example")]),
            "403"
        );
        assert_eq!(
            view.status(path, &[known, ("Sec-Fetch-Site", "cross-site")]),
            "403"
        );
    }
    assert_eq!(view.status("/other", &[known]), "404");
    let other = sandbox.modtape(["view", "--no-open", "--listen", "0.0.0.0:0", "x"]);
    let refused = run(other, LIMIT);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("for this machine"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_browser_shows_it_and_says_when_nobody_tells_any_more() {
    let Some(mut look) = script("live.mjs") else {
        return;
    };
    let Some(chromium) = tool("MODTAPE_CHROMIUM") else {
        return;
    };
    let sandbox = Sandbox::new();
    let view = View::of(&sandbox, &root().join("recordings/hello"));
    look.env("MODTAPE_CHROMIUM", chromium);
    look.arg(format!("http://{}/#token={}", view.address, view.token));
    look.arg(view.program.id().to_string());
    run(look, LIMIT).expect_success();
}
