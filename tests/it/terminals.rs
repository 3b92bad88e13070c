//! A recorder or a replay in one terminal, used from another.

use std::process::Command;
use std::time::Duration;

use modtape::recording::Recording;
use modtape::recording::reader::Status;
use rustix::process::Signal;

use super::support::*;

const HOST: &str = "proxy.golang.org";
const LIST: &str = "/rsc.io/quote/@v/list";

fn origin() -> Origin {
    let list = ((HOST, LIST), (200, "text/plain", "v1.5.2\n"));
    Origin::start(Content::files([list]))
}

/// A recorder without a command, once other terminals can find it.
fn recorder(sandbox: &Sandbox, origin: &Origin, name: &str) -> Spawned {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut modtape = sandbox.modtape(["record", "-o", name, "--connect-to", &everywhere]);
    modtape.arg("--upstream-ca").arg(origin.root_pem_path());
    let recorder = Spawned::start(modtape);
    recorder.wait_for_stderr("modtape env");
    recorder
}

/// Ends it as Ctrl-C would.
#[track_caller]
fn ended(recorder: Spawned) -> Output {
    recorder.signal(Signal::INT);
    recorder.end().expect_success()
}

fn modtape(sandbox: &Sandbox, args: &[&str]) -> Output {
    run(sandbox.modtape(args.iter().copied()), LIMIT)
}

#[track_caller]
fn stdout(sandbox: &Sandbox, args: &[&str]) -> String {
    modtape(sandbox, args).expect_success().stdout
}

/// `program`'s script, in which `$MODTAPE` is the one that is tested.
fn script(sandbox: &Sandbox, program: &str, script: &str) -> Command {
    let mut shell = sandbox.command(program);
    shell.env("MODTAPE", tested());
    shell.args(["-c", script]);
    shell
}

#[test]
fn what_another_terminal_asks_for_is_recorded_until_ctrl_c() {
    let sandbox = Sandbox::new();
    let origin = origin();
    let recorder = recorder(&sandbox, &origin, "one");
    let fetch = format!(r#"eval "$("$MODTAPE" env)" && "$MODTAPE" fetch https://{HOST}{LIST}"#);
    run(script(&sandbox, "sh", &fetch), LIMIT).expect_success();
    let output = ended(recorder);
    assert_eq!(output.stdout, "");
    assert!(
        output.stderr.contains("modtape: 1 request in "),
        "{}",
        output.stderr
    );
    let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
    assert_eq!(recording.status(), Status::Closed);
    assert_eq!(recording.rows()[0].url, format!("https://{HOST}{LIST}"));
    assert_eq!(recording.manifest().exit_code, None);
}

#[test]
fn a_recording_made_so_is_replayed_to_another_terminal() {
    let sandbox = Sandbox::new();
    let fetch = format!(r#"eval "$("$MODTAPE" env)" && "$MODTAPE" fetch https://{HOST}{LIST}"#);
    let origin = origin();
    let recorder = recorder(&sandbox, &origin, "one");
    run(script(&sandbox, "sh", &fetch), LIMIT).expect_success();
    ended(recorder);
    drop(origin);
    let replay = Spawned::start(sandbox.modtape(["replay", "one"]));
    replay.wait_for_stderr("modtape env");
    run(script(&sandbox, "sh", &fetch), LIMIT).expect_success();
    let output = ended(replay);
    assert!(
        output.stderr.contains("1 answered, 0 missing"),
        "{}",
        output.stderr
    );
}

#[test]
fn term_and_hang_up_end_a_recorder_as_well_as_ctrl_c_does() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let sandbox = Sandbox::new();
        let recorder = recorder(&sandbox, &origin(), "one");
        recorder.signal(signal);
        recorder.end().expect_success();
        let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
        assert_eq!(recording.status(), Status::Closed, "{signal:?}");
    }
}

#[test]
fn curl_goes_through_with_the_bundle() {
    let sandbox = Sandbox::new();
    if program("curl").arg("--version").output().is_err() {
        skipped("curl: there is none");
        return;
    }
    let origin = origin();
    let recorder = recorder(&sandbox, &origin, "one");
    let url = format!("https://{HOST}{LIST}");
    let explicit = format!(
        r#"curl -sS --proxy "$("$MODTAPE" env HTTPS_PROXY)" --cacert "$("$MODTAPE" ca path)" {url}"#
    );
    let by_environment = format!(r#"eval "$("$MODTAPE" env bash)" && curl -sS {url}"#);
    for line in [explicit, by_environment] {
        let output = run(script(&sandbox, "bash", &line), LIMIT).expect_success();
        assert_eq!(output.stdout, "v1.5.2\n");
    }
    ended(recorder);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn every_form_names_the_same_recorder() {
    let sandbox = Sandbox::new();
    let recorder = recorder(&sandbox, &origin(), "one");
    let proxy = stdout(&sandbox, &["env", "HTTPS_PROXY"]);
    let proxy = proxy.trim_end();
    assert!(proxy.starts_with("http://127.0.0.1:"), "{proxy}");
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&stdout(&sandbox, args)).expect("it is JSON")
    };
    assert_eq!(json(&["env", "--json"])["HTTPS_PROXY"], proxy);
    assert_eq!(
        json(&["env", "--json"])["MODTAPE_PID"],
        recorder.id().to_string()
    );
    for (form, line) in [
        ("sh", format!("export HTTPS_PROXY='{proxy}'\n")),
        ("bash", format!("export HTTPS_PROXY='{proxy}'\n")),
        ("zsh", format!("export HTTPS_PROXY='{proxy}'\n")),
        ("fish", format!("set -gx HTTPS_PROXY '{proxy}'\n")),
        ("github", format!("HTTPS_PROXY={proxy}\n")),
    ] {
        let text = stdout(&sandbox, &["env", form]);
        assert!(text.contains(&line), "{form}: {text}");
    }
    let output = modtape(&sandbox, &["env", "HTTPS_PROXI"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output.stderr.contains("HTTPS_PROXI is neither"),
        "{}",
        output.stderr
    );
    ended(recorder);
}

#[test]
fn unset_leaves_a_shell_as_it_was_although_the_recorder_has_ended() {
    let sandbox = Sandbox::new();
    let recorder = recorder(&sandbox, &origin(), "one");
    // Twice, as one who forgot the first time; and the recorder ends in between.
    let line = r#"
        export NO_PROXY="it's mine" HTTPS_PROXY=http://corp:8080 all_proxy=
        env | sort | grep -v '^_=' >before
        eval "$("$MODTAPE" env)"; eval "$("$MODTAPE" env)"
        test "$HTTPS_PROXY" != http://corp:8080 && test -n "$SSL_CERT_FILE" || exit 1
        kill -INT "$MODTAPE_PID"; echo ended; read gone
        eval "$("$MODTAPE" env --unset)"
        env | sort | grep -v '^_=' >after
        cmp before after"#;
    let mut shell = Spawned::start(script(&sandbox, "bash", line));
    shell.wait_for_stdout("ended");
    recorder.end().expect_success();
    shell.type_keys(b"\n");
    shell.end().expect_success();
}

#[test]
fn unset_leaves_what_is_the_users_where_nobody_kept_it() {
    let sandbox = Sandbox::new();
    let unset = |command: &mut std::process::Command| {
        command.env("HTTPS_PROXY", "http://corp:8080");
        command.env("NO_PROXY", "localhost,127.0.0.1,::1");
    };
    let mut alone = sandbox.modtape(["env", "--unset"]);
    unset(&mut alone);
    let alone = run(alone, LIMIT).expect_success().stdout;
    let own = "unset MODTAPE_NAME\nunset MODTAPE_PID\nunset MODTAPE_SAVED\n";
    assert_eq!(alone, own);
    // Below a recorder, where no shell has evaluated anything: what it set goes.
    let line = r#"export SSL_CERT_FILE=/etc/corp.pem; "$MODTAPE" env --unset"#;
    let mut wrapped = sandbox.modtape(["record", "-o", "one", "--", "sh", "-c", line]);
    wrapped.env("MODTAPE", tested());
    unset(&mut wrapped);
    let wrapped = run(wrapped, LIMIT).expect_success().stdout;
    assert!(wrapped.contains("unset HTTPS_PROXY\n"), "{wrapped}");
    assert!(wrapped.contains("unset CURL_CA_BUNDLE\n"), "{wrapped}");
    assert!(!wrapped.contains("SSL_CERT_FILE"), "{wrapped}");
}

#[test]
fn the_root_is_shown_with_what_it_can_vouch_for() {
    let sandbox = Sandbox::new();
    let recorder = recorder(&sandbox, &origin(), "one");
    let output = modtape(&sandbox, &["ca", "show"]).expect_success();
    assert!(
        output.stdout.starts_with("-----BEGIN CERTIFICATE-----\n"),
        "{}",
        output.stdout
    );
    assert_eq!(output.stdout.matches("BEGIN").count(), 1);
    assert!(output.stderr.contains(HOST), "{}", output.stderr);
    let path = stdout(&sandbox, &["ca", "path"]);
    let bundle = std::fs::read_to_string(path.trim_end()).expect("it can be read");
    assert!(bundle.ends_with(&output.stdout), "ours is the last");
    ended(recorder);
}

#[test]
fn of_two_recorders_the_newest_is_meant_unless_one_is_named() {
    let sandbox = Sandbox::new();
    let origin = origin();
    let first = recorder(&sandbox, &origin, "first");
    let second = recorder(&sandbox, &origin, "second");
    let name = |args: &[&str]| stdout(&sandbox, &[&["env", "MODTAPE_NAME"], args].concat());
    assert_eq!(name(&[]), "second\n");
    assert_eq!(name(&["--recording", "first"]), "first\n");
    assert_eq!(name(&["--recording", "recordings/first"]), "first\n");
    let path = |recording| stdout(&sandbox, &["ca", "path", "--recording", recording]);
    assert_ne!(path("first"), path("second"));
    let output = modtape(&sandbox, &["env", "--recording", "third"]);
    assert_eq!(output.status.code(), Some(3));
    let told = "no recorder writes third; running: first, second";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    ended(second);
    assert_eq!(name(&[]), "first\n");
    ended(first);
}

#[test]
fn of_several_modes_the_newest_recorder_that_has_what_is_asked_for_is_meant() {
    let sandbox = Sandbox::new();
    let origin = origin();
    let rules = ["env", "nft", "--mode", "transparent", "--uid", "1"];
    let intercepting = recorder(&sandbox, &origin, "intercepting");
    let output = modtape(&sandbox, &rules);
    let told = "the recorder of intercepting is not redirected to";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    let of_mode = |name, mode| {
        let mut modtape = sandbox.modtape(["record", "-o", name, "--mode", mode]);
        // Without a go command it takes go's defaults, whatever the one of this machine says.
        modtape.env("PATH", sandbox.path());
        let recorder = Spawned::start(modtape);
        recorder.wait_for_stderr("modtape env");
        recorder
    };
    let gateway = of_mode("gateway", "gateway");
    let name = || stdout(&sandbox, &["env", "MODTAPE_NAME"]);
    assert_eq!(name(), "gateway\n");
    let root = stdout(&sandbox, &["ca", "path"]);
    let own = stdout(&sandbox, &["ca", "path", "--recording", "intercepting"]);
    assert_eq!(root, own);
    if cfg!(target_os = "linux") {
        let redirected = of_mode("redirected", "transparent");
        let after = recorder(&sandbox, &origin, "after");
        assert_eq!(name(), "after\n");
        assert!(stdout(&sandbox, &rules).contains("redirect to :"));
        ended(after);
        ended(redirected);
    }
    ended(gateway);
    ended(intercepting);
}

#[test]
fn without_a_recorder_that_is_said() {
    let sandbox = Sandbox::new();
    let none = |args: &[&str]| {
        let output = modtape(&sandbox, args);
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(3), ""),
            "{args:?}"
        );
        let told = "error: no recorder is running";
        assert!(
            output.stderr.starts_with(told),
            "{args:?}: {}",
            output.stderr
        );
    };
    let all = || {
        none(&["env"]);
        none(&["env", "HTTPS_PROXY"]);
        none(&["env", "--recording", "one"]);
        none(&["ca", "path"]);
        none(&["ca", "show"]);
    };
    all();
    ended(recorder(&sandbox, &origin(), "one"));
    all();
    let killed = recorder(&sandbox, &origin(), "two");
    killed.signal(Signal::KILL);
    killed.end();
    all();
}

#[test]
fn a_dead_recorder_is_not_trusted_because_its_number_is_another_process_now() {
    let sandbox = Sandbox::new();
    let killed = recorder(&sandbox, &origin(), "one");
    let old = killed.id();
    killed.signal(Signal::KILL);
    killed.end();
    // This process has got the number: it is alive, and no recorder.
    let now = std::process::id();
    let place = |pid: u32, extension: &str| sandbox.join(format!("run/modtape/{pid}{extension}"));
    let announced = std::fs::read_to_string(place(old, ".json")).expect("it was killed");
    let announced = announced.replace(&format!("\"pid\": {old}"), &format!("\"pid\": {now}"));
    assert!(announced.contains(&now.to_string()), "{announced}");
    let leave = || {
        std::fs::create_dir_all(place(now, "")).expect("our own folder");
        std::fs::write(place(now, ".json"), &announced).expect("our own folder");
    };
    let verbs: [&[&str]; 4] = [
        &["env"],
        &["env", "--recording", "one"],
        &["ca", "path"],
        &["ca", "show"],
    ];
    for verb in verbs {
        leave();
        let output = modtape(&sandbox, verb);
        assert_eq!(output.status.code(), Some(3), "{verb:?}: {}", output.stdout);
        assert!(
            output.stderr.contains("no recorder is running"),
            "{}",
            output.stderr
        );
        assert!(!place(now, ".json").exists() && !place(now, "").exists());
    }
    // Nor does a command that inherits the number run below it.
    leave();
    let mut record = sandbox.modtape(["record", "-o", "two", "--", "true"]);
    record.env("MODTAPE_PID", now.to_string());
    let output = run(record, LIMIT).expect_success();
    assert!(!output.stderr.contains("below"), "{}", output.stderr);
}

#[test]
fn a_recorder_below_another_says_so() {
    let sandbox = Sandbox::new();
    let inner = r#"exec "$MODTAPE" record -o inner -- true"#;
    let mut outer = sandbox.modtape(["record", "-o", "outer", "--", "sh", "-c", inner]);
    outer.env("MODTAPE", tested());
    let output = run(outer, LIMIT).expect_success();
    let told = "modtape: running inside the recorder with pid ";
    assert_eq!(output.stderr.matches(told).count(), 1, "{}", output.stderr);
}

#[test]
fn a_recorder_ends_by_itself_when_its_time_is_over() {
    let sandbox = Sandbox::new();
    let modtape = sandbox.modtape(["record", "-o", "one", "--timeout", "100ms"]);
    let output = run(modtape, Duration::from_secs(60));
    assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
    let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
    assert_eq!(recording.status(), Status::Closed);
    assert_eq!(recording.manifest().exit_code, None);
}
