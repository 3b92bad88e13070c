//! The rules that `modtape env` prints: whom they catch, and that nothing is left of them.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

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
        let sandbox = Sandbox::new();
        let content = Content::files([((HOST, "/a"), (200, "text/plain", "from there"))]);
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content).at(at).start();
        // Another user can read neither the test's folders nor root's.
        let place = tempfile::TempDir::with_prefix("modtape-it-user-").expect("a folder");
        let place = place.path();
        sh(&format!(
            "cd {} && chmod 755 . && mkdir home && cp {} modtape && cp {} root.pem && chmod 644 root.pem \
             && chown 65534:65534 home && chmod 700 home",
            text(place),
            text(&tested()),
            text(origin.root_pem_path()),
        ));
        let home = place.join("home");
        let mut modtape = sandbox.command("setpriv");
        let user = [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--",
        ];
        modtape.args(user).arg(place.join("modtape"));
        modtape.args([
            "record",
            "--mode",
            "transparent",
            "-o",
            "one",
            "--upstream-ca",
            "../root.pem",
        ]);
        modtape.args(["--", "bash", "-c", SCRIPT]);
        modtape.current_dir(&home);
        for name in ["HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
            modtape.env(name, &home);
        }
        let mut running = Spawned::start(modtape);
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
            !other.contains("65534") && !other.contains("mark"),
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
