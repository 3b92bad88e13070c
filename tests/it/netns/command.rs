//! The command is as without a namespace: its user, its files, its exit code, its signals, its servers.

use rustix::process::Signal;

use super::*;

/// Runs a script in a namespace and returns what it left behind.
fn in_namespace(user: User, sandbox: &Sandbox, flags: &[&str], script: &str) -> Output {
    let args = [&["record", "--netns", "-o", "one"][..], flags].concat();
    let args = [&args[..], &["--", "sh", "-c", script]].concat();
    run(user.modtape(sandbox, &args), LIMIT)
}

#[test]
fn user_files_and_exit_code_are_those_of_the_command() {
    let name = "user_files_and_exit_code_are_those_of_the_command";
    if !has_namespaces(name) {
        return;
    }
    for user in USERS {
        let sandbox = Sandbox::new();
        let script = "id -u; id -g; pwd; echo in > file; test -O file; echo $?; exit 42";
        let outside = sandbox.command("sh");
        let inside = in_namespace(user, &sandbox, &[], script);
        assert_eq!(
            inside.status.code(),
            Some(42),
            "{user:?}: {}",
            inside.stderr
        );
        let id = match user.is_other() {
            true => NOBODY,
            false => rustix::process::geteuid().as_raw(),
        };
        let lines: Vec<_> = inside.stdout.lines().collect();
        assert_eq!(lines[0], id.to_string(), "{user:?}");
        let folder = outside.get_current_dir().expect("it has one");
        let folder = folder.canonicalize().expect("it is there");
        assert_eq!(lines[2], folder.display().to_string());
        assert_eq!(lines[3], "0");
        let kept = std::fs::read_to_string(sandbox.join("file"));
        assert_eq!(kept.expect("it was written"), "in\n");
        assert_eq!(recorded(&sandbox, "one").manifest().exit_code, Some(42));
    }
}

#[test]
fn what_cannot_be_run_is_told_as_without_a_namespace() {
    let name = "what_cannot_be_run_is_told_as_without_a_namespace";
    if !has_namespaces(name) {
        return;
    }
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.join("script"), "#!/does/not/exist\n").expect("our own folder");
    for (mode, code) in [("700", 127), ("600", 126)] {
        let mut chmod = sandbox.command("chmod");
        chmod.args([mode, "script"]);
        run(chmod, LIMIT).expect_success();
        let plain = ["record", "-o", "one", "--", "./script"];
        let netns = ["record", "--netns", "-o", "one", "--", "./script"];
        let [outside, inside] =
            [&plain[..], &netns].map(|args| run(sandbox.modtape(args.iter().copied()), LIMIT));
        assert_eq!(inside.status.code(), Some(code), "{}", inside.stderr);
        assert_eq!(inside.status.code(), outside.status.code());
        assert_eq!(inside.stderr, outside.stderr);
        assert!(!sandbox.join("recordings/one").exists());
    }
}

#[test]
fn signals_reach_the_command_and_only_it() {
    let name = "signals_reach_the_command_and_only_it";
    if !has_namespaces(name) {
        return;
    }
    for (signal, word) in [(Signal::INT, "INT"), (Signal::TERM, "TERM")] {
        let sandbox = Sandbox::new();
        let script = format!(
            "sleep 600 & p=$!; trap 'echo got {word}; kill $p; exit 7' {word}; echo ready; wait"
        );
        let args = ["record", "--netns", "-o", "one", "--", "sh", "-c", &script];
        let modtape = Spawned::start(sandbox.modtape(args));
        modtape.wait_for_stdout("ready");
        modtape.signal(signal);
        let output = modtape.end();
        assert_eq!(output.stdout, format!("ready\ngot {word}\n"));
        assert_eq!(output.status.code(), Some(7), "{}", output.stderr);
        let left = std::fs::read_dir(sandbox.join("run/modtape")).expect("it is there");
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn its_own_servers_on_loopback_are_its_own() {
    let name = "its_own_servers_on_loopback_are_its_own";
    if !has_namespaces(name) || !has_program("python3") {
        return;
    }
    let script = "python3 - <<'E'
import socket
listener = socket.create_server(('', 0))
port = listener.getsockname()[1]
for host in ('127.0.0.1', '127.9.9.9', 'localhost', '0.0.0.0', socket.gethostbyname('localhost')):
    client = socket.create_connection((host, port), 5)
    server, _ = listener.accept()
    server.sendall(b'own')
    assert client.recv(9) == b'own', host
six = socket.create_server(('::1', 0), family=socket.AF_INET6)
client = socket.create_connection(('::1', six.getsockname()[1]), 5)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(('127.0.0.1', 0))
datagrams.sendto(b'own', datagrams.getsockname())
assert datagrams.recv(9) == b'own'
E";
    for user in USERS {
        let sandbox = Sandbox::new();
        let output = in_namespace(user, &sandbox, &[], script);
        assert!(output.status.success(), "{user:?}: {}", output.stderr);
        let recording = recorded(&sandbox, "one");
        assert_eq!(recording.connections().count(), 0);
        let packets = recording.manifest().packets.expect("they are counted");
        assert_eq!(packets, modtape::recording::format::Packets::default());
    }
}

#[test]
fn two_at_once_do_not_meet() {
    let name = "two_at_once_do_not_meet";
    if !has_namespaces(name) || !has_program("curl") {
        return;
    }
    let worlds = ["/one", "/two"].map(|own| {
        let file = (("a.example", own), (200, "text/plain", own));
        (own, Sandbox::new(), Origin::start(Content::files([file])))
    });
    let both = worlds.each_ref().map(|(own, sandbox, origin)| {
        let [everywhere, root] = to(origin, sandbox);
        let script = "echo ready; read -r go; curl -sS \"https://a.example$0\"; exec sleep 600";
        let flags = ["record", "--netns", "-o", "one", "--intercept", "a.example"];
        let command = [&*everywhere, &root, "--", "sh", "-c", script, own];
        Spawned::start(sandbox.modtape([&flags[..], &command].concat()))
    });
    for modtape in &both {
        modtape.wait_for_stdout("ready");
    }
    // The same name, at the same synthetic address, while both run.
    let both = both.map(|mut modtape| {
        modtape.type_keys(b"go\n");
        modtape
    });
    for (modtape, (own, sandbox, _origin)) in both.into_iter().zip(&worlds) {
        modtape.wait_for_stdout(own);
        modtape.signal(Signal::TERM);
        assert_eq!(modtape.end().status.code(), Some(143));
        let asked: Vec<_> = recorded(sandbox, "one")
            .rows()
            .iter()
            .map(|row| row.url.clone())
            .collect();
        assert_eq!(asked, [format!("https://a.example{own}")]);
    }
}
