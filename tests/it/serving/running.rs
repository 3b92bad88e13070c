//! What operators do with it: a file of options, a reload, certificates, limits, an end.

use std::fs;
use std::time::Duration;

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
    assert!(log.contains(&format!("\"path\":\"{LIST}\"")), "{log}");
    let served = origin.requests().len();
    let serving = configured(&sandbox, &["--offline", "--store", "other"]);
    assert_eq!(serving.get(LIST).status, 504);
    serving.end();
    assert_eq!(origin.requests().len(), served);
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
