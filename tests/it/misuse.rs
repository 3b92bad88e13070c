//! The command line in the hands of somebody in a hurry: every mistake is told where it is and what
//! to do, with the exit code that scripts go by, and nothing of the user's is touched.

mod destinations;
mod exit_codes;
mod flags;
mod full_disk;
mod har_files;
mod hints;
mod replacement;

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use clap::CommandFactory as _;
use modtape::cli::Cli;

use super::support::{Output, Sandbox, run};

pub(super) const LIMIT: Duration = Duration::from_secs(60);

fn modtape(sandbox: &Sandbox, args: &[&str]) -> Output {
    run(sandbox.modtape(args.iter().copied()), LIMIT)
}

/// Runs, and holds code and stderr against what a user needs to read.
#[track_caller]
fn fails(sandbox: &Sandbox, args: &[&str], code: i32, told: &[&str]) {
    let output = modtape(sandbox, args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        output.stderr
    );
    assert_eq!(output.stdout, "", "{args:?}");
    for words in told {
        let is_told = output.stderr.contains(words);
        assert!(
            is_told,
            "{args:?} does not say {words:?}: {}",
            output.stderr
        );
    }
    assert!(output.stderr.starts_with("error: "), "{}", output.stderr);
    assert!(!output.stderr.contains(r"\n"), "{}", output.stderr);
}

#[test]
fn a_mistyped_flag_is_a_usage_error_with_the_flag_that_was_meant() {
    let sandbox = Sandbox::new();
    fails(
        &sandbox,
        &["record", "--cld", "--", "true"],
        125,
        &["--cld", "--cold"],
    );
    fails(
        &sandbox,
        &["replay", "x", "--strct", "--", "true"],
        125,
        &["--strict"],
    );
    fails(&sandbox, &["ls", "record", "--jsn"], 2, &["--json"]);
    fails(
        &sandbox,
        &["recrod", "--", "true"],
        2,
        &["recrod", "record"],
    );
    assert!(!sandbox.join("recordings").exists());
}

#[test]
fn every_flag_is_found_when_it_is_mistyped() {
    let root = Cli::command();
    for verb in root.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let flags = verb.get_arguments().chain(root.get_arguments());
        for flag in flags.filter_map(clap::Arg::get_long) {
            let words = ["modtape", verb.get_name(), &format!("--{flag}e")].map(Into::into);
            let Err(error) = Cli::of(&words) else {
                panic!("{words:?} is taken");
            };
            let error = error.to_string();
            // A verb with verbs of its own is told of those first.
            let is_told = error.contains("similar argument") || verb.has_subcommands();
            assert!(is_told, "{words:?}: {error}");
        }
    }
}

#[test]
fn a_command_that_is_forgotten_or_misplaced_is_asked_for() {
    let sandbox = Sandbox::new();
    fails(&sandbox, &["record", "--"], 125, &["no command after `--`"]);
    fails(
        &sandbox,
        &["record", "--cold"],
        125,
        &["--cold needs a command"],
    );
    fails(
        &sandbox,
        &["record", "go", "mod", "tidy"],
        125,
        &["`modtape record -- go …`"],
    );
    fails(&sandbox, &["replay", "--", "true"], 125, &["<NAME>"]);
    assert!(!sandbox.join("recordings").exists());
}

#[test]
fn a_recording_is_replaced_only_when_asked_to() {
    let sandbox = Sandbox::new();
    let record = ["record", "-o", "one", "--", "true"];
    modtape(&sandbox, &record).expect_success();
    let manifest = sandbox.join("recordings/one/recording.json");
    let before = fs::read(&manifest).expect("there is a manifest");
    fails(
        &sandbox,
        &record,
        125,
        &["recordings/one exists already", "help: ", "--force"],
    );
    assert_eq!(fs::read(&manifest).expect("there is a manifest"), before);
    // What is advised can be pasted.
    let odd = ["record", "-o", "o d'd", "--", "true"];
    modtape(&sandbox, &odd).expect_success();
    let told = r"`modtape ls 'recordings/o d'\''d'`";
    fails(&sandbox, &odd, 125, &[told]);
    modtape(&sandbox, &["record", "--force", "-o", "one", "--", "true"]).expect_success();
    assert_ne!(fs::read(&manifest).expect("there is a manifest"), before);
}

#[test]
fn a_recording_is_not_replaced_for_a_command_that_does_not_exist() {
    let sandbox = Sandbox::new();
    modtape(&sandbox, &["record", "-o", "one", "--", "true"]).expect_success();
    let replace = ["record", "--force", "-o", "one", "--", "no-such-command"];
    fails(
        &sandbox,
        &replace,
        127,
        &["no-such-command: command not found"],
    );
    assert!(sandbox.join("recordings/one/recording.json").is_file());
}

#[test]
fn force_touches_nothing_that_no_recorder_made() {
    let sandbox = Sandbox::new();
    let thesis = sandbox.join("thesis");
    fs::create_dir(&thesis).expect("a folder");
    fs::write(thesis.join("chapter"), "words").expect("a file");
    let record = ["record", "--force", "-o", "./thesis", "--", "true"];
    fails(
        &sandbox,
        &record,
        125,
        &["./thesis is not a recording", "-o NAME"],
    );
    // Not even the recording in a folder that somebody has put something into.
    modtape(&sandbox, &["record", "-o", "./both", "--", "true"]).expect_success();
    fs::write(sandbox.join("both/notes"), "words").expect("a file");
    let record = ["record", "--force", "-o", "./both", "--", "true"];
    fails(&sandbox, &record, 125, &["./both is not a recording"]);
    for path in ["thesis/chapter", "both/notes", "both/journal.ndjson"] {
        assert!(sandbox.join(path).is_file(), "{path}");
    }
    fs::write(sandbox.join("file"), "words").expect("a file");
    let record = ["record", "--force", "-o", "./file", "--", "true"];
    fails(&sandbox, &record, 125, &["./file"]);
    assert_eq!(
        fs::read_to_string(sandbox.join("file")).expect("it is there"),
        "words"
    );
}

#[test]
fn what_is_no_recording_is_not_read_as_one() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.join("empty")).expect("a folder");
    fs::create_dir(sandbox.join("foreign")).expect("a folder");
    fs::write(sandbox.join("foreign/notes"), "words").expect("a file");
    fs::write(sandbox.join("file"), "words").expect("a file");
    for name in [
        "./empty",
        "./foreign",
        "./file",
        "./nowhere",
        "nowhere",
        "@last",
        "@0",
        "@x",
    ] {
        fails(&sandbox, &["replay", name, "--", "true"], 125, &[name]);
        fails(&sandbox, &["replay", name], 3, &[name]);
        fails(&sandbox, &["ls", name], 3, &[name]);
        fails(&sandbox, &["show", "1", name], 3, &[name]);
    }
    fails(
        &sandbox,
        &["ls", "./file"],
        3,
        &["there is no folder ./file"],
    );
    assert!(!sandbox.join("recordings").exists());
}

#[test]
fn a_name_that_is_almost_right_is_suggested() {
    let sandbox = Sandbox::new();
    modtape(&sandbox, &["record", "-o", "tidy", "--", "true"]).expect_success();
    fails(
        &sandbox,
        &["replay", "tidi", "--", "true"],
        125,
        &["did you mean tidy?"],
    );
}

#[test]
fn a_flag_that_cannot_be_used_is_named_with_its_value() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.join("words.pem"), "words").expect("a file");
    fs::create_dir(sandbox.join("folder")).expect("a folder");
    for (flags, told) in [
        (
            &["--listen", "0.0.0.0:0"][..],
            &[
                "0.0.0.0:0 is not a loopback address",
                "127.0.0.1",
                "--token auto",
            ][..],
        ),
        (
            &["--listen", "localhost:1"],
            &["localhost:1", "127.0.0.1:4040"],
        ),
        (
            &["--token", "short"],
            &["--token cannot be used", "24 to 256 characters"],
        ),
        (
            &["--token", "0123456789@0123456789@0123"],
            &["--token cannot be used", "letters, digits"],
        ),
        (
            &["--resolve", "h:443:x"],
            &["--resolve h:443:x", "HOST:PORT:ADDR"],
        ),
        (
            &["--connect-to", "x"],
            &["--connect-to x", "HOST1:PORT1:HOST2:PORT2"],
        ),
        (&["--upstream-ca", "nowhere.pem"], &["nowhere.pem"]),
        (
            &["--upstream-ca", "words.pem"],
            &["words.pem holds no PEM certificate"],
        ),
        (
            &["--upstream-proxy", "ftp://p"],
            &["--upstream-proxy ftp://p", "ftp", "socks5"],
        ),
        (
            &["--upstream-proxy", "https://u:secret@p"],
            &["--upstream-proxy https://", "https"],
        ),
        (&["--har=nowhere/x.har"], &["nowhere/x.har"]),
        (&["--har=folder"], &["folder"]),
        (&["--intercept", "a b"], &["--intercept a b"]),
        (&["--tunnel", "a/b"], &["--tunnel a/b"]),
        (&["--timeout", "soon"], &["soon", "--timeout", "1h30m"]),
        (&["--timeout", "0"], &["--timeout"]),
        (&["--log-file", "nowhere/log"], &["nowhere/log"]),
        (&["--log-format", "xml"], &["xml", "json"]),
        (&["--durability", "often"], &["often", "strict"]),
        (&["-o", ".hidden"], &["-o .hidden", "'.'"]),
        (&["-o", "@last"], &["-o @last", "'@'"]),
        (&["-o", ""], &["-o"]),
        (&["--no-har", "--har=a.har"], &["--no-har", "--har"]),
        (&["-q", "-v"], &["--quiet", "--verbose"]),
    ] {
        let args = [&["record"], flags, &["--", "true"]].concat();
        fails(&sandbox, &args, 125, told);
        let output = modtape(&sandbox, &args);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
    assert!(!sandbox.join("recordings").exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let sandbox = Sandbox::new();
    let record = ["record", "--listen", &address, "--", "true"];
    let told = [&address, "in use", "--listen 127.0.0.1 picks a free port"];
    fails(&sandbox, &record, 125, &told);
    assert!(!sandbox.join("recordings").exists());
}

#[test]
fn a_folder_of_recordings_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.join("file"), "words").expect("a file");
    let told = ["cannot write", "file/"];
    fails(
        &sandbox,
        &["--recordings", "file", "record", "--", "true"],
        125,
        &told,
    );
    let mut modtape = sandbox.modtape(["record", "-o", "one", "--", "true"]);
    modtape.env("MODTAPE_RECORDINGS", "");
    run(modtape, LIMIT).expect_success();
    assert!(
        sandbox.join("recordings/one").is_dir(),
        "an empty variable is none"
    );
}
