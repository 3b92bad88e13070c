//! The real go command, redirected: it works as it does without modtape, and a replay answers it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use modtape::recording::format::RunMode;

use super::*;
use crate::record::recording;
use crate::support::*;

/// A guard, no judgement.
const GO_LIMIT: Duration = Duration::from_secs(600);

/// What each module proxy and database of `hello` is called.
const HOSTS: [(&str, &str); 2] = [("proxy.golang.org", REMOTE), ("sum.golang.org", REMOTE)];

/// An internet with the corpus project `hello`, and a go command.
struct World {
    sandbox: Sandbox,
    origin: Origin,
    go: PathBuf,
}

impl World {
    fn new(release: &str, alpn: Alpn) -> Option<Self> {
        let content = Content::corpus("hello", Sumdb::Heads)?;
        let sandbox = Sandbox::new();
        let go = sandbox.go(release)?;
        sandbox.project_without_sums("hello")?;
        names(&sandbox, &HOSTS);
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content).alpn(alpn).at(at).start();
        Some(Self {
            sandbox,
            origin,
            go,
        })
    }

    /// What `go mod tidy` prints and writes, in a fresh module cache.
    fn tidy(&self, mut command: std::process::Command) -> Outcome {
        self.sandbox.forget_modules();
        fs::write(self.sandbox.join("project/go.sum"), "").expect("our own folder");
        command.env("SSL_CERT_FILE", self.origin.root_pem_path());
        let output = run(command, GO_LIMIT);
        let lines = |text: &str| -> BTreeSet<String> {
            let own = text.lines().filter(|line| !line.starts_with("modtape"));
            own.map(str::to_owned).collect()
        };
        Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            downloads: lines(&output.stderr)
                .into_iter()
                .filter(|line| line.starts_with("go: "))
                .collect(),
            go_sum: fs::read_to_string(self.sandbox.join("project/go.sum")).expect("it is there"),
            stderr: output.stderr,
        }
    }

    /// `modtape VERB … --mode MODE`, redirecting where that is needed.
    fn modtape(&self, verb: &[&str], mode: &str) -> std::process::Command {
        let mut command = self.sandbox.modtape(verb.iter().copied());
        command.args(["--mode", mode, "--", "sh", "-euc"]);
        let rules = match mode {
            "transparent" => REDIRECT,
            _ => "/proc/$PPID/exe env nft --mode transparent --uid 0 --unset | sh",
        };
        command.arg(format!("{rules}; exec \"$0\" \"$@\""));
        command.arg(&self.go).args(["mod", "tidy"]);
        command
    }

    fn record(&self, name: &str, mode: &str) -> Outcome {
        let root = text(self.origin.root_pem_path());
        let verb = ["record", "--cold", "-o", name, "--upstream-ca", root];
        self.tidy(self.modtape(&verb, mode))
    }

    #[track_caller]
    fn replay(&self, name: &str, mode: &str, expected: &Outcome) {
        let replayed = self.tidy(self.modtape(&["replay", name, "--strict"], mode));
        replayed.assert_like(expected);
        assert!(
            replayed.stderr.contains(" 0 missing"),
            "{}",
            replayed.stderr
        );
    }
}

/// What a user sees of a go command.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    downloads: BTreeSet<String>,
    go_sum: String,
    stderr: String,
}

impl Outcome {
    #[track_caller]
    fn assert_like(&self, direct: &Self) {
        assert_eq!(self.code, direct.code, "{}", self.stderr);
        assert_eq!(self.stdout, direct.stdout);
        assert_eq!(self.downloads, direct.downloads);
        assert_eq!(self.go_sum, direct.go_sum);
    }
}

#[test]
fn a_redirected_tidy_is_as_a_direct_one_and_each_mode_replays_the_other() {
    let name = "transparent::go::\
        a_redirected_tidy_is_as_a_direct_one_and_each_mode_replays_the_other";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        for (release, alpn) in [
            ("1.21", Alpn::Http1),
            ("1.24", Alpn::Both),
            ("1.27", Alpn::Both),
        ] {
            let Some(world) = World::new(release, alpn) else {
                continue;
            };
            let mut direct = world.sandbox.command(&world.go);
            direct.args(["mod", "tidy"]);
            let direct = world.tidy(direct);
            assert_eq!(direct.code, Some(0), "{}", direct.stderr);
            let served = world.origin.requests().len();

            let recorded = world.record("transparent", "transparent");
            recorded.assert_like(&direct);
            let made = recording(&world.sandbox, "transparent");
            assert_eq!(made.manifest().mode, Some(RunMode::Transparent));
            assert_eq!(made.rows().len(), world.origin.requests().len() - served);
            if release == "1.27" {
                let mitm = world.record("mitm", "mitm");
                mitm.assert_like(&direct);
            }
            let served = world.origin.requests().len();
            world.replay("transparent", "transparent", &direct);
            world.replay("transparent", "mitm", &direct);
            if release == "1.27" {
                world.replay("mitm", "transparent", &direct);
            }
            assert_eq!(
                world.origin.requests().len(),
                served,
                "a replay asks nobody"
            );
            sh("nft add table inet modtape_uid_0 && nft delete table inet modtape_uid_0");
            sh("umount /etc/hosts");
        }
    });
}
