//! Clients on other machines, whose connections pass through this one: REDIRECT and TPROXY in
//! prerouting, and who else may connect.

use modtape::exchange::Mode;
use modtape::recording::Recording;
use modtape::recording::reader::ConnectionRow;

use super::*;
use crate::support::*;

/// A client's network and a server's, with this one between them. What is printed: a page that was asked
/// for directly, with each kind of rules, and without them; and how a client of another network ends.
const SCRIPT: &str = r#"
    modtape=/proc/$PPID/exe
    # Open for both: a reader who comes while the last writer has not closed yet would find the end.
    mkfifo ready; exec 9<>ready
    unshare -n sh -c 'echo >ready; exec sleep 600' & client=$!; read -r _ <&9
    unshare -n sh -c 'echo >ready; exec sleep 600' & server=$!; read -r _ <&9
    trap 'kill $client $server' EXIT
    echo 1 >/proc/sys/net/ipv4/ip_forward
    far() { nsenter -t "$client" -n "$@"; }
    ip link add c0 type veth peer name c1 netns "$client"
    ip link add s0 type veth peer name s1 netns "$server"
    ip address add 10.1.0.1/24 dev c0; ip address add 10.2.0.1/24 dev c0; ip link set c0 up
    ip address add 10.9.0.254/24 dev s0; ip link set s0 up
    far ip address add 10.1.0.2/24 dev c1; far ip address add 10.2.0.2/24 dev c1; far ip link set c1 up
    far ip route add default via 10.1.0.1
    nsenter -t "$server" -n ip address add 10.9.0.1/24 dev s1
    nsenter -t "$server" -n ip link set s1 up
    nsenter -t "$server" -n ip route add default via 10.9.0.254
    nsenter -t "$server" -n python3 -c '
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("asked by " + self.client_address[0] + "\n").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("10.9.0.1", 80), Page)
open("ready", "w").write("\n")
server.serve_forever()' & page=$!; read -r _ <&9
    trap 'kill $client $server $page' EXIT
    ask() { far curl -sS -m 20 -H 'Host: named.example' http://10.9.0.1/"$1"; }
    ask direct
    for tool in nft iptables tproxy; do
        env="$modtape env $tool --mode transparent --port 80,443"
        $env | sh; ask "$tool"; $env | sh; ask "$tool"; $env --unset | sh; ask undone
    done
    rules=$($modtape env nft --mode transparent --port 80)
    port=${rules##*redirect to :}; port=${port%%[!0-9]*}
    nsenter -t "$server" -n nft "add table ip own
        add chain ip own in { type nat hook prerouting priority -100; }
        add rule ip own in tcp dport $port redirect to :80"
    $modtape env tproxy --mode transparent --port "$port" | sh
    far curl -sS -m 20 -H "Host: named.example:$port" "http://10.9.0.1:$port/own"
    $modtape env tproxy --mode transparent --port "$port" --unset | sh
    far curl -sS -m 20 --interface 10.2.0.2 "http://10.2.0.1:$port/" 2>/dev/null || echo "stranger refused"
    nft list ruleset; ip rule list | grep -c 0x6d75 || true
"#;

#[test]
fn clients_of_another_machine_are_redirected_by_their_network() {
    let name = "transparent::passing::clients_of_another_machine_are_redirected_by_their_network";
    alone(name, || {
        if !has_rules(name, "nft") || !has_program("iptables") {
            return;
        }
        let sandbox = Sandbox::new();
        let fixed = [
            "record",
            "--mode",
            "transparent",
            "-o",
            "one",
            "--intercept",
            "named.example",
        ];
        let listen = [
            "--listen",
            "0.0.0.0",
            "--from",
            "10.1.0.0/24",
            "--",
            "bash",
            "-euc",
            SCRIPT,
        ];
        let output = run(sandbox.modtape(fixed.into_iter().chain(listen)), LIMIT * 2);
        let output = output.expect_success();
        let (client, ours) = ("asked by 10.1.0.2\n", "asked by 10.9.0.254\n");
        let each = [ours, ours, client].concat();
        // modtape's own port at another machine is a port like any other.
        let expected = format!("{client}{each}{each}{each}{ours}stranger refused\n");
        assert!(
            output.stdout.starts_with(&expected),
            "{}\n{}",
            output.stdout,
            output.stderr
        );
        assert!(!output.stdout.contains("modtape"), "{}", output.stdout);
        assert!(output.stdout.ends_with("0\n"), "{}", output.stdout);
        let recording = Recording::open(&sandbox.join("recordings/one")).expect("a recording");
        let mut urls: Vec<_> = recording.rows().iter().map(|row| &row.url[..]).collect();
        let own = urls.pop().expect("several exchanges");
        assert!(
            own.starts_with("http://named.example:") && own.ends_with("/own"),
            "{own}"
        );
        let tools = ["nft", "iptables", "tproxy"];
        let expected = tools.iter().flat_map(|tool| [tool; 2]);
        let expected: Vec<_> = expected
            .map(|tool| format!("http://named.example/{tool}"))
            .collect();
        assert_eq!(urls, expected);
        let opened = recording.connections().flat_map(ConnectionRow::dials);
        for opened in opened.filter(|opened| opened.mode == Mode::Plain) {
            let upstream = opened
                .upstream
                .as_ref()
                .and_then(|upstream| upstream.addr.as_deref());
            let is_own = opened.target != "named.example:80";
            let expected = match is_own {
                true => opened.target.replace("named.example", "10.9.0.1"),
                false => String::from("10.9.0.1:80"),
            };
            assert_eq!(upstream, Some(&expected[..]));
            assert!(
                opened.client.addr.starts_with("10.1.0.2:"),
                "{}",
                opened.client.addr
            );
        }
        let mut refused = recording.connections().flat_map(ConnectionRow::dials);
        let refused = refused
            .find(|opened| opened.mode == Mode::Refuse)
            .expect("the stranger");
        let why = refused.error.as_deref();
        assert_eq!(why, Some("10.2.0.2 is in no network of --from"));
    });
}

#[test]
fn other_machines_need_their_network_named() {
    let sandbox = Sandbox::new();
    for (flags, told) in [
        (
            &["--listen", "0.0.0.0"][..],
            "add --from with the network of your clients",
        ),
        (
            &["--listen", "0.0.0.0", "--from", "10.0.0.0/33"],
            "expected a network",
        ),
        (
            &["--from", "10.0.0.0/8"],
            "--from has no effect without --listen",
        ),
        (
            &[
                "--listen",
                "0.0.0.0",
                "--from",
                "10.0.0.0/8",
                "--from",
                "fd00::/8",
            ],
            "--from fd00::/8 has no effect without --listen with an IPv6 address other than loopback: add --listen '[::]'",
        ),
        (
            &[
                "--listen",
                "127.0.0.1",
                "--listen",
                "[fd00::1]",
                "--from",
                "10.0.0.0/8",
            ],
            "--from 10.0.0.0/8 has no effect without --listen with an IPv4 address",
        ),
        (&["--token", "auto"], "--from names their networks"),
        (
            &["--listen", "127.0.0.1", "--listen", "127.0.0.2"],
            "one IPv4 and one IPv6 address",
        ),
    ] {
        let command = ["record", "--mode", "transparent"]
            .into_iter()
            .chain(flags.iter().copied());
        let output = run(sandbox.modtape(command.chain(["--", "true"])), LIMIT);
        assert_eq!(
            output.status.code(),
            Some(125),
            "{flags:?}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(told), "{flags:?}: {}", output.stderr);
    }
    for (flags, told) in [
        (
            &["--listen", "127.0.0.1", "--listen", "[::1]"][..],
            "with --mode transparent only",
        ),
        (
            &["--from", "10.0.0.0/8"],
            "--from is for --mode transparent",
        ),
    ] {
        let command = ["record"].into_iter().chain(flags.iter().copied());
        let output = run(sandbox.modtape(command.chain(["--", "true"])), LIMIT);
        assert!(output.stderr.contains(told), "{flags:?}: {}", output.stderr);
    }
}
