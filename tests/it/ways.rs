//! The promises of a recording, in each mode: the command is as without modtape, what the origin served is what is
//! on record, the tools that people use read it, and it replays in every mode.
//!
//! Each test has a network of its own, in which the hosts of the default internet lead to one origin.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use modtape::clock::Clock;
use modtape::exchange::{MadeBy, Phase};
use modtape::recording::Recording;
use modtape::recording::format::RunMode;
use modtape::recording::reader::ConnectionRow;

use crate::gateway::sorted;
use crate::record::recording;
use crate::support::*;
use crate::transparent::{REMOTE, has_rules, names};

/// A guard, no judgement: a cold tidy of `web` keeps two cores busy for half a minute.
const GO_LIMIT: Duration = Duration::from_secs(600);

/// What is run: both of its streams have something to say.
const COMMAND: &str = "go mod tidy && go list -m all";

/// The releases that are tried.
const RELEASES: [&str; 3] = ["1.21", "1.24", "1.27"];

/// What the upstream speaks.
const UPSTREAMS: [Alpn; 2] = [Alpn::Http1, Alpn::Both];

/// The hosts of the default internet, and where a zip lies that the module proxy does not serve itself.
const HOSTS: [&str; 3] = ["proxy.golang.org", "sum.golang.org", STORAGE];
const STORAGE: &str = "storage.googleapis.com";

/// What the origin waits before it answers one of the requests.
const DELAY: Duration = Duration::from_millis(200);

/// A mode, as a user asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Mitm,
    Gateway,
    Transparent,
    Netns,
}

impl Way {
    const ALL: [Self; 4] = [Self::Mitm, Self::Gateway, Self::Transparent, Self::Netns];

    fn mode(self) -> RunMode {
        match self {
            Self::Mitm => RunMode::Mitm,
            Self::Gateway => RunMode::Gateway,
            Self::Transparent => RunMode::Transparent,
            Self::Netns => RunMode::Netns,
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Mitm => &["--mode", "mitm"],
            Self::Gateway => &["--mode", "gateway"],
            Self::Transparent => &["--mode", "transparent"],
            // The origin is on this machine, of which a command reaches what is named.
            Self::Netns => &["--netns", "--host-port", "443"],
        }
    }

    /// What the wrapped shell does.
    fn script(self) -> String {
        match self {
            Self::Transparent => {
                let rules = "modtape env nft --mode transparent --uid 0";
                format!("{rules} | sh; {COMMAND}; {rules} --unset | sh")
            }
            Self::Mitm | Self::Gateway | Self::Netns => COMMAND.to_owned(),
        }
    }
}

/// A project of the corpus.
struct Project {
    name: &'static str,
    /// A zip that the module proxy redirects to [`STORAGE`].
    moved: &'static str,
    /// What the origin answers late.
    slow: &'static str,
}

const HELLO: Project = Project {
    name: "hello",
    moved: "/github.com/!burnt!sushi/toml/@v/v1.3.2.zip",
    slow: "/golang.org/x/sync/@v/v0.3.0.mod",
};

const WEB: Project = Project {
    name: "web",
    moved: "/golang.org/x/net/@v/v0.17.0.zip",
    slow: "/golang.org/x/net/@v/v0.17.0.mod",
};

/// One of the table.
#[derive(Clone, Copy)]
struct Cell {
    project: &'static Project,
    way: Way,
    release: &'static str,
    upstream: Alpn,
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, way) = (self.project.name, self.way);
        let (release, upstream) = (self.release, self.upstream);
        write!(formatter, "{name}, {way:?}, go {release}, {upstream:?}")
    }
}

/// What is run where, and by which programs.
struct World {
    sandbox: Sandbox,
    path: PathBuf,
    clock: Clock,
}

/// What a user sees of a command.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    /// Sorted: go says what it downloads as it comes.
    stderr: Vec<String>,
    go_mod: String,
    go_sum: String,
}

impl World {
    /// With the origin that stands for the default internet; `None`, with a line on stderr, where something is
    /// not here.
    fn new(cell: &Cell) -> Option<(Self, Origin)> {
        let sandbox = Sandbox::new();
        let go = sandbox.go(cell.release)?;
        let project = cell.project;
        sandbox.project_without_sums(project.name)?;
        let programs = sandbox.join("programs");
        fs::create_dir(&programs).expect("our own folder");
        std::os::unix::fs::symlink(tested(), programs.join("modtape")).expect("our own folder");
        let path = search_path(&[go.parent().expect("go has a folder"), &programs]);
        // No module proxy relays the checksum database.
        let content = Content::corpus(project.name, Sumdb::Heads)?.supported_is_404();
        let zip = content.find("proxy.golang.org", project.moved).body;
        let content = content.and_file(STORAGE, "/zip", 200, "application/zip", zip);
        let is_moved =
            |served: &Served| served.host == "proxy.golang.org" && served.path == project.moved;
        let stored = format!("https://{STORAGE}/zip?Expires=1&Signature=abcdefgh");
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content)
            .alpn(cell.upstream)
            .rule(Rule::when(is_moved).redirect(&stored))
            .rule(Rule::suffix(project.slow).delay(DELAY))
            .at(at)
            .start();
        let clock = Clock::start();
        let world = Self {
            sandbox,
            path,
            clock,
        };
        Some((world, origin))
    }

    /// Runs it with no module in the caches and no checksum in go.sum; also what modtape said, and how long it took.
    fn run(&self, mut command: Command) -> (Outcome, String, Duration) {
        let file = |name: &str| self.sandbox.join("project").join(name);
        self.sandbox.forget_modules();
        fs::write(file("go.sum"), "").expect("our own file");
        command.env("PATH", &self.path);
        let started = self.clock.now();
        let output = run(command, GO_LIMIT);
        let took = self.clock.now().since(started);
        let is_own = |line: &&str| line.starts_with("modtape: ") || line.starts_with("  ");
        let (own, mut stderr): (Vec<_>, Vec<_>) = output.stderr.lines().partition(is_own);
        stderr.sort_unstable();
        let read = |name: &str| fs::read_to_string(file(name)).expect("it is there");
        let outcome = Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: stderr.into_iter().map(str::to_owned).collect(),
            go_mod: read("go.mod"),
            go_sum: read("go.sum"),
        };
        (outcome, own.join("\n"), took)
    }

    fn direct(&self, root: &str) -> Outcome {
        let mut shell = self.sandbox.command("sh");
        shell.args(["-euc", COMMAND]).env("SSL_CERT_FILE", root);
        let (outcome, _, _) = self.run(shell);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        outcome
    }

    fn modtape(&self, way: Way, words: &[&str]) -> (Outcome, String, Duration) {
        let mut modtape = self.sandbox.modtape(words.iter().copied());
        modtape.args(way.flags());
        modtape.args(["--", "sh", "-euc", &way.script()]);
        self.run(modtape)
    }
}

/// Plays a cell: without modtape, recorded, and replayed in every mode.
fn play(cell: &Cell) {
    let Some((world, origin)) = World::new(cell) else {
        return;
    };
    let root = origin.root_pem_path().to_str().expect("a text");
    let direct = world.direct(root);
    let before = origin.log();

    let har = ["--har-bodies", "all"];
    let words = ["record", "-q", "--cold", "-o", "one", "--upstream-ca", root];
    let (outcome, said, took) = world.modtape(cell.way, &[&words[..], &har].concat());
    assert_eq!(outcome, direct, "{cell}");
    assert_eq!(said, "", "{cell}: -q says nothing");
    let recording = recording(&world.sandbox, "one");
    let manifest = recording.manifest();
    assert_eq!(manifest.mode, Some(cell.way.mode()), "{cell}");
    assert_eq!(manifest.replayable.reasons, [""; 0], "{cell}");
    let log = origin.log();
    let served = &log.requests[before.requests.len()..];
    assert_holds(cell, &recording, served);
    assert_waits(cell, &recording, took);
    crate::phases::assert_sums(&recording);
    let accepted = log.connections.len() - before.connections.len();
    // What clients of a gateway share has been dialled once.
    let dials = recording.connections().flat_map(ConnectionRow::dials);
    let dialled = dials.filter(|dial| dial.connect_us.is_some()).count();
    assert_eq!(dialled, accepted, "{cell}");
    if (cell.way, cell.upstream) == (Way::Gateway, Alpn::Both) {
        assert_eq!(accepted, HOSTS.len(), "{cell}: one a host");
    }
    assert_is_read(cell, &recording);

    // Nobody else is in this network.
    drop(origin);
    for way in Way::ALL {
        let (outcome, said, _) = world.modtape(way, &["replay", "one", "--strict"]);
        assert_eq!(outcome, direct, "{cell}, replayed by {way:?}: {said}");
        let told = said.contains(", 0 missing, 0 went to the network");
        assert!(told, "{cell}, replayed by {way:?}: {said}");
        let stayed = said.contains("namespace: 0 packets left");
        assert_eq!(stayed, way == Way::Netns, "{cell}, {way:?}: {said}");
    }
}

/// What the origin served is what is on record, and nothing else.
#[track_caller]
fn assert_holds(cell: &Cell, recording: &Recording, served: &[Served]) {
    // Of a signature only the mark is on record.
    let plain = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    let served = served.iter().map(|served| {
        let url = format!("https://{}{}", served.host, served.raw_path);
        let version = match served.version {
            http::Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        };
        let digest = served.body_sha256.clone().unwrap_or_default();
        let status = served.status.unwrap_or(0);
        (plain(&url), status, version.to_owned(), digest)
    });
    let served: Vec<_> = served.collect();
    let version = match cell.upstream {
        Alpn::Http1 => "HTTP/1.1",
        _ => "HTTP/2",
    };
    assert!(
        served.iter().all(|(_, _, spoken, _)| spoken == version),
        "{cell}"
    );
    let (mut recorded, mut made) = (Vec::new(), Vec::new());
    for exchange in exchanges(recording) {
        let url = plain(&exchange.begin.url);
        let end = exchange
            .end()
            .unwrap_or_else(|| panic!("{cell}: {exchange:?}"));
        if end.made_by == MadeBy::Modtape {
            made.push(url);
            continue;
        }
        let body = end.body.as_ref();
        let digest = body.map_or_else(String::new, |body| body.sha256.to_string());
        recorded.push((url, end.status, end.version.clone(), digest));
    }
    assert_eq!(sorted(recorded), sorted(served), "{cell}");
    // A gateway relays the checksum database where no entry of GOPROXY does.
    let supported = "https://proxy.golang.org/sumdb/sum.golang.org/supported";
    let expected = (cell.way == Way::Gateway).then_some(supported);
    assert_eq!(made, Vec::from_iter(expected), "{cell}");
}

/// What the origin waited shows in `wait`, and in no other phase.
#[track_caller]
fn assert_waits(cell: &Cell, recording: &Recording, took: Duration) {
    let slow = exchanges(recording)
        .into_iter()
        .filter(|exchange| exchange.begin.url.ends_with(cell.project.slow));
    let waited: Vec<_> = slow
        .map(|exchange| exchange.timings()[Phase::Wait].map(Duration::from_micros))
        .collect();
    let is_true = |waited: &Option<Duration>| waited.is_some_and(|it| it >= DELAY && it <= took);
    assert!(
        !waited.is_empty() && waited.iter().all(is_true),
        "{cell}: {waited:?} of {took:?}"
    );
}

/// The tools that people use read HAR and capture whole.
#[track_caller]
fn assert_is_read(cell: &Cell, recording: &Recording) {
    let path = recording.dir().join("session.har");
    let har = fs::read(&path).expect("there is a HAR");
    let har: serde_json::Value = serde_json::from_slice(&har).expect("it is JSON");
    for entry in har["log"]["entries"].as_array().expect("a list") {
        let from = (&entry["serverIPAddress"], &entry["connection"]);
        assert_eq!(from, (&REMOTE.into(), &"443".into()), "{cell}: {entry:#}");
    }
    crate::har::assert_valid(&path);
    crate::har::assert_read_whole(&path, recording);
    if !crate::pcapng::has("tshark") {
        return;
    }
    let capture = recording.dir().join("capture.pcapng");
    crate::pcapng::tshark::assert_reads_well(&capture, recording);
}

/// Plays one mode's cells: all, or half of them, so that each two of mode, release and protocol meet.
fn plays(way: Way, test: &str, project: &'static Project, is_whole: bool) {
    alone(test, || {
        if !has_rules(test, "nft") {
            return;
        }
        let hosts = Sandbox::new();
        names(&hosts, &HOSTS.map(|host| (host, REMOTE)));
        for (row, release) in RELEASES.into_iter().enumerate() {
            for (column, upstream) in UPSTREAMS.into_iter().enumerate() {
                if is_whole || (way as usize + row + column).is_multiple_of(2) {
                    play(&Cell {
                        project,
                        way,
                        release,
                        upstream,
                    });
                }
            }
        }
    });
}

/// Whatever the port of a module proxy is: what is asked of it is recorded, and replays.
#[test]
fn a_goproxy_with_a_port_is_seen_and_on_loopback_by_a_gateway_and_in_a_namespace() {
    let test =
        "ways::a_goproxy_with_a_port_is_seen_and_on_loopback_by_a_gateway_and_in_a_namespace";
    alone(test, || {
        for (way, is_here) in [
            (Way::Mitm, false),
            (Way::Netns, false),
            (Way::Gateway, true),
            (Way::Netns, true),
        ] {
            let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
                return;
            };
            let sandbox = Sandbox::new();
            let Some(go) = sandbox.go("1.27") else { return };
            sandbox.project("hello").expect("the corpus is there");
            let origin = Origin::start(content);
            let goproxy = match is_here {
                true => format!("http://{}", origin.addr()),
                false => String::from("https://goproxy.corp.example:8443"),
            };
            let command = [go.to_str().expect("a text"), "mod", "download"];
            let flags = [&["--cold"][..], way.flags()].concat();
            let mut record = crate::record::record(&sandbox, &origin, &flags, &command);
            record.env("GOPROXY", &goproxy);
            let told = run(record, GO_LIMIT).expect_success().stderr;
            assert!(!told.contains("loopback"), "{way:?}: {told}");
            let recording = recording(&sandbox, "one");
            assert!(!recording.rows().is_empty(), "{way:?} {goproxy}: {told}");
            crate::record::assert_same(&recording, &origin);
            assert_eq!(recording.manifest().replayable.reasons, [""; 0], "{way:?}");
            drop(origin);
            let mut replay = sandbox.modtape(["replay", "one", "--strict"]);
            replay.args(way.flags()).arg("--").args(command);
            replay.env("GOPROXY", &goproxy);
            run(replay, GO_LIMIT).expect_success();
        }
    });
}

#[test]
fn hello_by_mitm() {
    plays(Way::Mitm, "ways::hello_by_mitm", &HELLO, is_long());
}

#[test]
fn hello_by_gateway() {
    plays(Way::Gateway, "ways::hello_by_gateway", &HELLO, is_long());
}

#[test]
fn hello_by_transparent() {
    let test = "ways::hello_by_transparent";
    plays(Way::Transparent, test, &HELLO, is_long());
}

#[test]
fn hello_by_netns() {
    plays(Way::Netns, "ways::hello_by_netns", &HELLO, is_long());
}

#[test]
#[ignore = "takes minutes"]
fn web_by_mitm() {
    plays(Way::Mitm, "ways::web_by_mitm", &WEB, false);
}

#[test]
#[ignore = "takes minutes"]
fn web_by_gateway() {
    plays(Way::Gateway, "ways::web_by_gateway", &WEB, false);
}

#[test]
#[ignore = "takes minutes"]
fn web_by_transparent() {
    plays(Way::Transparent, "ways::web_by_transparent", &WEB, false);
}

#[test]
#[ignore = "takes minutes"]
fn web_by_netns() {
    plays(Way::Netns, "ways::web_by_netns", &WEB, false);
}
