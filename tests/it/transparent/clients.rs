//! Programs that know nothing of modtape, over both families, with each program that sets rules.

use std::path::{Path, PathBuf};

use modtape::exchange::Mode;
use modtape::recording::Recording;
use modtape::recording::reader::ConnectionRow;

use super::*;
use crate::support::*;

/// Intercepted, over each family and in clear text.
const FOUR: &str = "four.example";
const SIX: &str = "six.example";
/// On no list.
const OTHER: &str = "other.example";

/// What each client says, one line each: the same with modtape and without.
const CLIENTS: &str = r#"
    test -z "${HTTPS_PROXY-}${https_proxy-}${HTTP_PROXY-}${http_proxy-}"
    for url in https://four.example/a https://six.example/a http://four.example/a https://other.example/a; do
        curl -sS "$url" || echo "curl: $?"
    done
    python3 - <<'END'
from urllib.request import urlopen
for url in "https://four.example/b", "https://six.example/b", "http://six.example/b":
    print(urlopen(url, timeout=30).read().decode())
END
    git ls-remote https://four.example/r.git main | cut -c41-
    curl -sS --http1.1 -o out https://six.example/c && cmp out big && echo same
"#;

/// The internet: a listener for each family and port, under one root.
struct Internet {
    origins: Vec<Origin>,
    sandbox: Sandbox,
}

impl Internet {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        names(
            &sandbox,
            &[(FOUR, REMOTE), (SIX, REMOTE_6), (OTHER, REMOTE)],
        );
        let repositories = repository(&sandbox);
        let big: String = (0..200_000).map(|n| format!("{n:06}\n")).collect();
        fs::write(sandbox.join("big"), &big).expect("our own folder");
        let mut origins: Vec<Origin> = Vec::new();
        for (ip, port) in [(REMOTE, 443), (REMOTE, 80), (REMOTE_6, 443), (REMOTE_6, 80)] {
            let mut content = Content::default();
            for host in [FOUR, SIX, OTHER] {
                for path in ["/a", "/b"] {
                    let body = format!("{path} of {host} at {ip} port {port}");
                    content = content.and_file(host, path, 200, "text/plain", body);
                }
                content = content.and_file(host, "/c", 200, "text/plain", big.clone());
            }
            let ip: std::net::IpAddr = ip.parse().expect("an address");
            let mut builder = Origin::builder(content).at((ip, port).into());
            if let Some(first) = origins.first() {
                builder = builder.root(first.root());
            }
            let git = Rule::when(|served| served.path.starts_with("/r.git/")).git(&repositories);
            origins.push(builder.rule(git).start());
        }
        Self { origins, sandbox }
    }

    fn root(&self) -> &Path {
        self.origins[0].root_pem_path()
    }

    fn requests(&self) -> usize {
        self.origins
            .iter()
            .map(|origin| origin.requests().len())
            .sum()
    }
}

fn repository(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.join("repositories");
    fs::create_dir(&root).expect("our own folder");
    sh(&format!(
        "cd {} && export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
         git init -q -b main w && cd w && git commit -q --allow-empty -m one && cd .. && git clone -q --bare w r.git",
        text(&root)
    ));
    root
}

/// Commands of that name lead to another: `iptables` to `iptables-legacy`.
fn instead(sandbox: &Sandbox, legacy: bool) -> PathBuf {
    let folder = sandbox.join("tools");
    fs::create_dir_all(&folder).expect("our own folder");
    for name in ["iptables", "ip6tables"] {
        let kind = if legacy { "legacy" } else { "nft" };
        let real = sh(&format!("command -v {name}-{kind}"));
        std::os::unix::fs::symlink(real.trim(), folder.join(name)).expect("our own folder");
    }
    folder
}

fn real_clients(test: &str, tool: &str, program: &str, legacy: bool) {
    alone(test, || {
        if !has_rules(test, program) {
            return;
        }
        let internet = Internet::new();
        let sandbox = &internet.sandbox;
        let root = internet.root().to_owned();
        let mut direct = sandbox.command("bash");
        direct.args(["-euc", CLIENTS]);
        for name in ["SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE"] {
            direct.env(name, &root);
        }
        let direct = run(direct, LIMIT).expect_success();
        let before = internet.requests();

        let hosts = format!("--intercept={FOUR},{SIX}");
        let fixed = ["record", "--mode", "transparent", "-o", "one", &hosts];
        let listen = ["--listen", "127.0.0.1", "--listen", "[::1]"];
        let mut modtape = sandbox.modtape(fixed.into_iter().chain(listen));
        modtape.arg("--upstream-ca").arg(&root);
        // The rules may be set twice, and are gone once they are undone.
        let env = format!("/proc/$PPID/exe env {tool} --mode transparent --uid 0");
        let script = format!(
            "{env} >rules; sh rules; sh rules; (set +e; {CLIENTS}\n); {env} --unset | sh; {env} --unset | sh
             curl -sS --cacert {} https://four.example/a",
            text(&root)
        );
        modtape.args(["--", "bash", "-euc", &script]);
        if tool == "iptables" {
            let first = instead(sandbox, legacy);
            modtape.env("PATH", search_path(&[&first]));
        }
        let output = run(modtape, LIMIT * 2).expect_success();
        // The bundle has both roots, so that a client could not tell who answers it.
        let last = "/a of four.example at 192.0.2.1 port 443";
        assert_eq!(
            output.stdout,
            format!("{}{last}", direct.stdout),
            "{}",
            output.stderr
        );

        let recording = Recording::open(&sandbox.join("recordings/one")).expect("a recording");
        let served = internet.requests() - before;
        let relayed = 1;
        let after = 1;
        assert_eq!(recording.rows().len(), served - relayed - after);
        let opened: Vec<_> = recording
            .connections()
            .flat_map(ConnectionRow::dials)
            .collect();
        let found = |mode: Mode, target: &str| {
            let mut found = opened
                .iter()
                .filter(|opened| (opened.mode, &opened.target[..]) == (mode, target));
            let found = found.next();
            let found = found.unwrap_or_else(|| panic!("no {mode:?} to {target}: {opened:#?}"));
            found
                .upstream
                .as_ref()
                .and_then(|upstream| upstream.addr.clone())
        };
        for (mode, target, real) in [
            (Mode::Intercept, "four.example:443", "192.0.2.1:443"),
            (Mode::Intercept, "six.example:443", "[2001:db8::1]:443"),
            (Mode::Plain, "four.example:80", "192.0.2.1:80"),
            (Mode::Plain, "six.example:80", "[2001:db8::1]:80"),
            (Mode::Tunnel, "other.example:443", "192.0.2.1:443"),
        ] {
            assert_eq!(found(mode, target).as_deref(), Some(real));
        }
        let closed = recording
            .connections()
            .filter_map(|row| row.closed.as_ref());
        let notes: Vec<_> = closed.filter_map(|closed| closed.note.as_ref()).collect();
        assert!(notes.is_empty(), "{notes:?}");
        let har = fs::read_to_string(sandbox.join("recordings/one/session.har")).expect("a HAR");
        assert!(har.contains(r#""serverIPAddress":"2001:db8::1""#), "{har}");
        let rules = fs::read_to_string(sandbox.join("rules")).expect("they were printed");
        assert!(
            rules.starts_with("# Redirects the connections of user 0 to modtape."),
            "{rules}"
        );
    });
}

#[test]
fn real_clients_are_recorded_with_rules_of_nft() {
    let name = "transparent::clients::real_clients_are_recorded_with_rules_of_nft";
    real_clients(name, "nft", "nft", false);
}

#[test]
fn real_clients_are_recorded_with_rules_of_iptables() {
    let name = "transparent::clients::real_clients_are_recorded_with_rules_of_iptables";
    real_clients(name, "iptables", "iptables-nft", false);
}

#[test]
fn real_clients_are_recorded_with_rules_of_iptables_legacy() {
    let name = "transparent::clients::real_clients_are_recorded_with_rules_of_iptables_legacy";
    real_clients(name, "iptables", "iptables-legacy", true);
}

/// Programs that know of no modtape; their user tells each which root to trust.
const GET_JS: &str = r"
const get = ([url, ...rest]) => url && require('https').get(url, answer => answer
  .on('data', data => process.stdout.write(data))
  .on('end', () => { console.log(); get(rest); }));
get(process.argv.slice(2));
";

const GET_JAVA: &str = r"
public class Get {
    public static void main(String[] urls) throws Exception {
        for (String url : urls) {
            try (var body = new java.net.URL(url).openStream()) {
                System.out.println(new String(body.readAllBytes()));
            }
        }
    }
}
";

#[test]
fn node_and_java_are_recorded_as_they_are() {
    let name = "transparent::clients::node_and_java_are_recorded_as_they_are";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let internet = Internet::new();
        let sandbox = &internet.sandbox;
        fs::write(sandbox.join("get.js"), GET_JS).expect("our own folder");
        fs::write(sandbox.join("Get.java"), GET_JAVA).expect("our own folder");
        let node = r#"NODE_EXTRA_CA_CERTS="$SSL_CERT_FILE" node get.js"#;
        let java = "/proc/$PPID/exe ca show 2>/dev/null >root.pem
            keytool -importcert -noprompt -alias modtape -file root.pem -keystore roots -storepass changeit 2>/dev/null
            java -Djavax.net.ssl.trustStore=roots -Djavax.net.ssl.trustStorePassword=changeit Get.java";
        let urls = format!("https://{FOUR}/a https://{SIX}/b https://{FOUR}/c");
        let big = fs::read_to_string(sandbox.join("big")).expect("it is ours");
        let expected = format!(
            "/a of {FOUR} at {REMOTE} port 443\n/b of {SIX} at {REMOTE_6} port 443\n{big}\n"
        );
        for (program, command) in [("node", node), ("java", java)] {
            if !has_program(program) || (program == "java" && !has_program("keytool")) {
                skipped(&format!("no {program} here: {name}"));
                continue;
            }
            let hosts = format!("--intercept={FOUR},{SIX}");
            let mut modtape = sandbox.modtape(["record", "--mode", "transparent", "-o", program]);
            modtape.args(["--listen", "127.0.0.1", "--listen", "[::1]", &hosts]);
            modtape.arg("--upstream-ca").arg(internet.root());
            let script = format!("{REDIRECT}; {command} {urls}");
            modtape.args(["--", "sh", "-euc", &script]);
            let output = run(modtape, LIMIT * 4).expect_success();
            assert!(
                output.stdout == expected,
                "{program}: {}\n{}",
                output.stdout,
                output.stderr
            );
            let recording = sandbox.join("recordings").join(program);
            let recording = Recording::open(&recording).expect("a recording");
            let found: Vec<_> = recording.rows().iter().map(|row| &row.url[..]).collect();
            assert_eq!(found, urls.split(' ').collect::<Vec<_>>(), "{program}");
        }
    });
}
