//! By which settings a recording is sealed, and what is not enough for it.

use std::fs;
use std::path::PathBuf;

use super::{LIMIT, go_mod_tidy, is_sealed, seal};
use crate::record::record;
use crate::support::*;

const PROXY: &str = "proxy.golang.org";

/// A recording of one go.mod file, `/example.com/m/@v/v1.0.0.mod`, without a go command: it has go's default
/// settings. Everything else that the origin does not have is a 404.
fn go_mod(go_mod: &str, others: &[(&str, &str)]) -> (Sandbox, Origin) {
    let text = "text/plain";
    let path = "/example.com/m/@v/v1.0.0.mod";
    let mut content = Content::default().and_file(PROXY, path, 200, text, go_mod.to_owned());
    for (path, body) in others {
        content = content.and_file(PROXY, path, 200, text, (*body).to_owned());
    }
    let origin = Origin::start(content);
    let sandbox = Sandbox::new();
    let fetch = tested().to_string_lossy().into_owned();
    let url = format!("https://{PROXY}{path}");
    let flags = ["--no-har", "--pcap", "none"];
    run(
        record(&sandbox, &origin, &flags, &[&fetch, "fetch", &url]),
        LIMIT,
    )
    .expect_success();
    (sandbox, origin)
}

const INFO: (&str, &str) = ("/example.com/m/@v/v1.0.0.info", r#"{"Version":"v1.0.0"}"#);
const LIST: (&str, &str) = ("/example.com/m/@v/list", "v1.0.0\n");

fn manifest(sandbox: &Sandbox) -> PathBuf {
    sandbox.join("recordings/one/recording.json")
}

/// Replaces a text in the manifest.
fn edit(sandbox: &Sandbox, from: &str, to: &str) {
    let text = fs::read_to_string(manifest(sandbox)).expect("a manifest");
    assert!(text.contains(from), "{text}");
    fs::write(manifest(sandbox), text.replace(from, to)).expect("our own file");
}

/// Where `direct` stands behind the module proxies, what these do not have is not known to be nowhere.
#[test]
fn what_a_repository_may_have_is_not_absent() {
    let text = "module example.com/m\n\ngo 1.16\n\nrequire example.com/dep v1.0.0\n";
    let (sandbox, origin) = go_mod(text, &[INFO, LIST]);
    for _ in 0..2 {
        let sealed = seal(&sandbox, &origin, &[]);
        assert_eq!(sealed.status.code(), Some(1), "{}", sealed.stderr);
        let told = "info example.com/dep v1.0.0 and 3 more: proxy.golang.org: it is not there, and go would go on to the repository";
        assert!(sealed.stderr.contains(told), "{}", sealed.stderr);
        // The list names a version, so that nobody asks for the latest.
        assert!(
            !sealed.stderr.contains("example.com/m"),
            "{}",
            sealed.stderr
        );
    }
    // Who asks nobody else has the last word.
    edit(
        &sandbox,
        "https://proxy.golang.org,direct",
        "https://proxy.golang.org",
    );
    seal(&sandbox, &origin, &[]).expect_success();
}

/// Which versions there are of what is replaced is asked for in vain.
#[test]
fn what_is_replaced_need_not_be_anywhere() {
    let text = "module example.com/m\n\ngo 1.16\n";
    let (sandbox, origin) = go_mod(text, &[INFO, LIST]);
    let main = "module example.com/app\n\ngo 1.20\n\nrequire (\n\texample.com/m v1.0.0\n\texample.com/inner v0.0.0\n)\n\n\
        replace example.com/inner => ./inner\n";
    fs::write(sandbox.join("recordings/one/main.mod"), main).expect("our own folder");
    let zip = zip(
        &[("example.com/m@v1.0.0/go.mod", text.as_bytes())],
        rawzip::CompressionMethod::STORE,
    );
    origin.add_rule(
        Rule::suffix("/example.com/m/@v/v1.0.0.zip")
            .status(200)
            .body(zip),
    );
    seal(&sandbox, &origin, &[]).expect_success();
    assert!(
        origin
            .paths()
            .iter()
            .any(|path| path == "/example.com/inner/@v/list")
    );
}

/// A go.mod file may be as long as go takes it, and what it requires counts.
#[test]
fn a_long_go_mod_is_followed() {
    let more = "// more\n".repeat((3 << 20) / 8);
    let text = format!("module example.com/m\n\ngo 1.16\n{more}\nrequire example.com/dep v1.0.0\n");
    let dep = ("/example.com/dep/@v/v1.0.0.mod", "module example.com/dep\n");
    let (sandbox, origin) = go_mod(&text, &[INFO, LIST, dep]);
    seal(&sandbox, &origin, &[]);
    assert!(
        origin.paths().iter().any(|path| path == dep.0),
        "{:?}",
        origin.paths()
    );
}

/// What was written by `go env -w` counts with and without a go command that could be asked.
#[test]
fn go_env_w_counts() {
    let text = "module example.com/m\n\ngo 1.16\n\nrequire private.example/dep v1.0.0\n";
    for release in [None, Some("1.27")] {
        let (sandbox, origin) = go_mod(text, &[INFO, LIST]);
        // Without credentials nothing is answered.
        let has_none =
            |served: &Served| served.host == PROXY && !served.headers.contains_key("authorization");
        origin.add_rule(Rule::when(has_none).status(401));
        let path = match release.map(|release| sandbox.go(release)) {
            None => search_path(&[]),
            Some(Some(go)) => search_path(&[go.parent().expect("it lies in a folder")]),
            Some(None) => return,
        };
        let env = sandbox.join("home/.config/go/env");
        fs::create_dir_all(env.parent().expect("a folder")).expect("our own folder");
        let written = "GOPROXY=https://ada:s3cret@proxy.golang.org\nGOPRIVATE=private.example\n";
        fs::write(env, written).expect("our own folder");
        let asked = origin.requests().len();
        let set = |command: &mut std::process::Command| {
            command.env("PATH", &path);
            for name in ["GOENV", "GOPROXY", "GOSUMDB"] {
                command.env_remove(name);
            }
        };
        let mut sealing = super::sealing(&sandbox, &origin, &[]);
        set(&mut sealing);
        let sealed = run(sealing, LIMIT);
        let told =
            "private.example/dep v1.0.0 and 3 more: GONOPROXY: by your own setting it is private";
        assert!(
            sealed.stderr.contains(told),
            "{release:?}: {}",
            sealed.stderr
        );
        let requests = &origin.requests()[asked..];
        assert!(
            requests
                .iter()
                .any(|it| it.path == LIST.0 && it.status == Some(200))
        );
        assert!(
            !requests
                .iter()
                .any(|it| it.path.contains("private.example"))
        );
        // The same holds for a second proxy.
        edit(
            &sandbox,
            "https://proxy.golang.org,direct",
            "https://proxy.golang.org",
        );
        let asked = origin.requests().len();
        let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
        let mut verify =
            sandbox.modtape(["verify", "one", "--against", "https://proxy.golang.org"]);
        verify.args(["--connect-to", &everywhere, "--upstream-ca"]);
        verify.arg(origin.root_pem_path());
        set(&mut verify);
        run(verify, LIMIT).expect_success();
        let requests = &origin.requests()[asked..];
        assert!(
            requests.iter().all(|it| it.status == Some(200)),
            "{requests:?}"
        );
        assert_eq!(requests.len(), 1, "{requests:?}");
    }
}

/// What is recorded in addition leaves a sealed recording sealed if it still answers every command.
#[test]
fn what_is_added_unseals_only_what_it_makes_incomplete() {
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    let sync = "/golang.org/x/sync/@v/v0.2.0.mod";
    origin.add_rule(
        Rule::suffix(sync)
            .status(200)
            .body("module golang.org/x/sync\n"),
    );
    seal(&sandbox, &origin, &[]).expect_success();
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let fill = |path: &str| {
        let mut fill = sandbox.modtape(["replay", "one", "--on-miss", "record"]);
        fill.args(["--connect-to", &everywhere, "--upstream-ca"]);
        fill.arg(origin.root_pem_path()).arg("--").arg(tested());
        fill.args(["fetch", &format!("https://{PROXY}{path}")]);
        run(fill, LIMIT).expect_success()
    };
    // Nothing that commands need hangs on it.
    let other = fill("/example.com/other/@v/list");
    assert!(
        other.stderr.contains("1 fetched and added"),
        "{}",
        other.stderr
    );
    assert!(!other.stderr.contains("sealed"), "{}", other.stderr);
    assert!(is_sealed(&sandbox));
    // Another version wants an .info and a lookup.
    let more = fill(sync);
    let told = "modtape: one is no longer sealed: 2 answers missing for other commands; `modtape seal` asks for them";
    assert!(more.stderr.contains(told), "{}", more.stderr);
    assert!(!is_sealed(&sandbox));
    seal(&sandbox, &origin, &[]).expect_success();
    assert!(is_sealed(&sandbox));
}

/// Without a repository on the recording, go is told that there is no such module, and does not go to one.
#[test]
fn a_replay_does_not_lead_to_repositories_that_it_does_not_have() {
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    let go = sandbox.go("1.27").expect("it was there");
    let text = fs::read_to_string(sandbox.join("project/recordings/one/recording.json"));
    let text = text.expect("a manifest");
    let direct = text.replace(
        "\"https://proxy.golang.org\"",
        "\"https://proxy.golang.org,direct\"",
    );
    assert_ne!(direct, text);
    fs::write(
        sandbox.join("project/recordings/one/recording.json"),
        direct,
    )
    .expect("our own file");
    seal(&sandbox, &origin, &[]).expect_success();
    drop(origin);
    for query in [
        "github.com/BurntSushi/toml/v9@latest",
        "github.com/BurntSushi/toml/cmd/x@latest",
    ] {
        let mut replay = sandbox.modtape(["replay", "one", "--"]);
        replay.arg(&go).args(["list", "-m", query]);
        let replayed = run(replay, LIMIT);
        assert!(!replayed.status.success());
        let told = "not found: recording one has no whole version of github.com/BurntSushi/toml/";
        assert!(replayed.stderr.contains(told), "{}", replayed.stderr);
        assert!(
            replayed.stderr.contains(" 0 missing"),
            "{}",
            replayed.stderr
        );
    }
    // What is found needs no repository.
    let mut replay = sandbox.modtape(["replay", "one", "--strict", "--"]);
    replay
        .arg(&go)
        .args(["get", "github.com/BurntSushi/toml/internal@latest"]);
    run(replay, LIMIT).expect_success();
}
