//! The rules that `modtape env` prints: whom they catch, and that nothing is left of them.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use modtape::exchange::Mode;
use modtape::recording::Recording;
use modtape::recording::reader::ConnectionRow;

use super::*;
use crate::support::*;

const HOST: &str = "proxy.golang.org";

#[test]
fn a_killed_recorder_leaves_no_rule_since_it_sets_none() {
    let name = "transparent::rules::a_killed_recorder_leaves_no_rule_since_it_sets_none";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let sandbox = Sandbox::new();
        let script = "nft list ruleset; kill -9 $PPID";
        let fixed = ["record", "--mode", "transparent", "--", "sh", "-c", script];
        let mut modtape = sandbox.modtape(fixed);
        modtape
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let output = modtape.output().expect("it can be run");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        assert!(!output.status.success());
        assert_eq!(sh("nft list ruleset"), "");
    });
}

/// An origin, and what users other than root need to record it: they can read neither the test's folders
/// nor root's.
struct Users {
    sandbox: Sandbox,
    place: tempfile::TempDir,
    _origin: Origin,
}

impl Users {
    fn new() -> Self {
        let content = Content::files([((HOST, "/a"), (200, "text/plain", "from there"))]);
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content).at(at).start();
        let place = tempfile::TempDir::with_prefix("modtape-it-user-").expect("a folder");
        sh(&format!(
            "cd {} && chmod 755 . && cp {} modtape && cp {} root.pem && chmod 644 root.pem",
            text(place.path()),
            text(&tested()),
            text(origin.root_pem_path()),
        ));
        Self {
            sandbox: Sandbox::new(),
            place,
            _origin: origin,
        }
    }

    fn home(&self, user: u32) -> PathBuf {
        self.place.path().join(user.to_string())
    }

    /// A recorder without any right, which runs a script.
    fn recorder(&self, user: u32, script: &str) -> Command {
        let home = self.home(user);
        sh(&format!(
            "mkdir {0} && chown {user}:{user} {0} && chmod 700 {0}",
            text(&home)
        ));
        let mut modtape = self.sandbox.command("setpriv");
        modtape.arg(format!("--reuid={user}"));
        modtape.arg(format!("--regid={user}"));
        modtape.args(["--clear-groups", "--inh-caps=-all", "--"]);
        modtape.arg(self.place.path().join("modtape"));
        modtape.args(["record", "--mode", "transparent", "-o", "one"]);
        modtape.args(["--upstream-ca", "../root.pem", "--", "bash", "-c", script]);
        modtape.current_dir(&home);
        for name in ["HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
            modtape.env(name, &home);
        }
        modtape
    }
}

/// Asks for the rules of several selections, sets those for a port, and has root ask through them.
const SCRIPT: &str = r#"
    for flags in "--uid 65534" "--uid 0" "--port 443" "--uid 0 --port 443,80" "--cgroup /a/b/" ""; do
        echo "== $flags"
        ../modtape env nft --mode transparent $flags 2>&1 | grep -v '^#'
    done
    ../modtape env nft --mode transparent --port 443 >rules
    cp "$SSL_CERT_FILE" bundle
    echo ready; read -r _"#;

#[test]
fn without_rights_modtape_has_a_user_of_its_own_which_the_rules_exempt() {
    let name =
        "transparent::rules::without_rights_modtape_has_a_user_of_its_own_which_the_rules_exempt";
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("only root can become another user: {name}"));
    }
    in_a_world(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let users = Users::new();
        let home = users.home(65534);
        let mut running = Spawned::start(users.recorder(65534, SCRIPT));
        let told = running.wait_for_stdout("ready");
        let section = |flags: &str| {
            let (_, rest) = told
                .split_once(&format!("== {flags}\n"))
                .expect("a section");
            rest.split("== ").next().unwrap_or_default().to_owned()
        };
        let own = section("--uid 65534");
        assert!(own.contains("modtape runs as user 65534 too"), "{own}");
        let other = section("--uid 0");
        assert!(
            !other.contains("65534") && other.contains("meta mark 0x6d74 return"),
            "{other}"
        );
        let rest = "ip daddr != 127.0.0.0/8 meta skuid 0 meta l4proto tcp redirect to :";
        assert!(other.contains(rest), "{other}");
        let refused = "ip6 daddr != ::1 meta skuid 0 meta l4proto tcp reject with tcp reset";
        assert!(other.contains(refused), "{other}");
        let port = section("--port 443");
        assert!(port.contains("meta skuid 65534 return"), "{port}");
        let ports = section("--uid 0 --port 443,80");
        assert!(
            ports.contains("meta skuid 0 tcp dport { 443, 80 } redirect"),
            "{ports}"
        );
        let cgroup = section("--cgroup /a/b/");
        assert!(
            cgroup.contains(r#"socket cgroupv2 level 2 "a/b" meta l4proto tcp"#),
            "{cgroup}"
        );
        let nobody = section("");
        assert!(nobody.contains("whose connections?"), "{nobody}");

        sh(&format!("sh {}", text(&home.join("rules"))));
        let page = sh(&format!(
            "curl -sS --cacert {} --resolve {HOST}:443:{REMOTE} https://{HOST}/a",
            text(&home.join("bundle"))
        ));
        assert_eq!(page, "from there");
        running.type_keys(b"\n");
        let output = running.end();
        assert!(output.status.success(), "{}", output.stderr);
        let recording = Recording::open(&home.join("recordings/one")).expect("a recording");
        assert_eq!(recording.rows().len(), 1);
        let mut dials = recording.connections().flat_map(ConnectionRow::dials);
        assert!(dials.all(|dial| dial.mode == Mode::Intercept && dial.error.is_none()));
    });
}

/// Asks for rules that redirect the connections of the other's user.
const EACH_OTHERS: &str = r#"
    ../modtape env nft --mode transparent --uid $((2147 - $(id -u))) >rules
    cp "$SSL_CERT_FILE" bundle; chmod 644 bundle; chmod 755 .
    echo ready; read -r _"#;

#[test]
fn two_recorders_that_redirect_each_other_end_within_one_hop_and_say_which_rule_is_missing() {
    let name = "transparent::rules::\
        two_recorders_that_redirect_each_other_end_within_one_hop_and_say_which_rule_is_missing";
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("only root can become another user: {name}"));
    }
    in_a_world(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let users = Users::new();
        let (one, another) = (1073, 1074);
        let running = [one, another].map(|user| {
            let running = Spawned::start(users.recorder(user, EACH_OTHERS));
            running.wait_for_stdout("ready");
            sh(&format!("sh {}", text(&users.home(user).join("rules"))));
            running
        });
        let asked = sh(&format!(
            "setpriv --reuid={another} --regid={another} --clear-groups curl -sS --cacert {} \
             --resolve {HOST}:443:{REMOTE} https://{HOST}/a -w '\n%{{http_code}}'",
            text(&users.home(one).join("bundle"))
        ));
        assert!(asked.ends_with("\n502"), "{asked}");
        for mut running in running {
            running.type_keys(b"\n");
            let output = running.end();
            assert!(output.status.success(), "{}", output.stderr);
        }
        let dials = |user: u32| -> Vec<_> {
            let recording = users.home(user).join("recordings/one");
            let recording = Recording::open(&recording).expect("a recording");
            let dials = recording.connections().flat_map(ConnectionRow::dials);
            dials.cloned().collect()
        };
        let of_one = dials(one);
        let modes: Vec<_> = of_one.iter().map(|dial| dial.mode).collect();
        assert_eq!(modes, [Mode::Intercept], "{of_one:#?}");
        let refused = dials(another);
        let modes: Vec<_> = refused.iter().map(|dial| dial.mode).collect();
        assert_eq!(modes, [Mode::Refuse], "{refused:#?}");
        let told = format!(
            "the connection to {REMOTE}:443 is that of another modtape, of user {one}: the rules that \
             redirect here have to exempt its mark (0x6d74), or that user where it may not set one"
        );
        assert_eq!(refused[0].error.as_deref(), Some(&told[..]));
    });
}

/// A control group of the test's own, below that of the system; removed when this is dropped.
struct ControlGroup(String);

impl ControlGroup {
    const MOUNTED: &str = "/sys/fs/cgroup";

    /// `None`, with a line on stderr, where the test may make none.
    fn new(test: &str) -> Option<Self> {
        let path = format!("modtape-it-{}/inner", std::process::id());
        let script = format!(
            "mount -t cgroup2 none {0} && mkdir -p {0}/{path}",
            Self::MOUNTED
        );
        let made = program("sh").args(["-c", &script]).output();
        if !made.is_ok_and(|output| output.status.success()) {
            skipped(&format!(
                "no control groups (cgroup v2) can be made here: {test}"
            ));
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let inner = Path::new(Self::MOUNTED).join(&self.0);
        let outer = inner.parent().map(Path::to_owned);
        for folder in [Some(inner), outer].into_iter().flatten() {
            // What is left is empty.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[test]
fn a_control_group_is_redirected_and_nobody_else() {
    let name = "transparent::rules::a_control_group_is_redirected_and_nobody_else";
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("only root can make control groups: {name}"));
    }
    in_a_world(name, || {
        if !has_rules(name, "nft") || !has_program("iptables") {
            return;
        }
        let Some(group) = ControlGroup::new(name) else {
            return;
        };
        let sandbox = Sandbox::new();
        names(&sandbox, &[(HOST, REMOTE)]);
        let content = Content::files(
            ["/nft", "/iptables"].map(|path| ((HOST, path), (200, "text/plain", path))),
        );
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content).at(at).start();
        // Whoever trusts the origin alone is not redirected.
        let script = format!(
            "for tool in nft iptables; do
                 rules=\"/proc/$PPID/exe env $tool --mode transparent --cgroup {group}\"
                 $rules | sh
                 curl -sS --cacert {root} https://{HOST}/$tool
                 (echo $BASHPID >{mounted}/{group}/cgroup.procs; exec curl -sS https://{HOST}/$tool)
                 $rules --unset | sh
             done",
            group = group.0,
            mounted = ControlGroup::MOUNTED,
            root = text(origin.root_pem_path()),
        );
        let fixed = ["record", "--mode", "transparent", "-o", "one"];
        let mut modtape = sandbox.modtape(fixed);
        modtape.arg("--upstream-ca").arg(origin.root_pem_path());
        modtape.args(["--", "bash", "-euc", &script]);
        let output = run(modtape, LIMIT * 2).expect_success();
        assert_eq!(
            output.stdout, "/nft/nft/iptables/iptables",
            "{}",
            output.stderr
        );
        let recording = Recording::open(&sandbox.join("recordings/one")).expect("a recording");
        let urls: Vec<_> = recording.rows().iter().map(|row| &row.url[..]).collect();
        let expected = ["nft", "iptables"].map(|tool| format!("https://{HOST}/{tool}"));
        assert_eq!(urls, expected);
        assert_eq!(origin.requests().len(), 4);
        assert!(!sh("nft list ruleset").contains("modtape"));
    });
}
