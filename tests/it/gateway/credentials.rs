//! Credentials reach the module proxy that they are for, no host that it redirects to, and no file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use modtape::exchange::{Ending, Exchange, Phase};

use super::clients::Asking;
use super::*;

const HOST: &str = "goproxy.example";
const STORAGE: &str = "cdn.goproxy.example";
const MODULE: &str = "github.com/BurntSushi/toml@v1.3.2";
const ZIP: &str = "/go/github.com/!burnt!sushi/toml/@v/v1.3.2.zip";
const SECRET: &str = "hunter2-and-more";
/// `Basic` of `ana:hunter2-and-more`.
const BASIC: &str = "Basic YW5hOmh1bnRlcjItYW5kLW1vcmU=";

/// A module proxy below `/go` that wants a header field, and keeps one zip on another host.
fn guarded(field: &'static str, value: &'static str) -> Option<Origin> {
    let corpus = Content::corpus("hello", Sumdb::Proxy)?;
    let mut content = Content::default();
    for file in ["v1.3.2.info", "v1.3.2.mod", "v1.3.2.zip"] {
        let path = format!("/github.com/!burnt!sushi/toml/@v/{file}");
        let found = corpus.find("proxy.golang.org", &path);
        let kind = &found.content_type;
        content = content.and_file(HOST, &format!("/go{path}"), 200, kind, found.body.clone());
        content = content.and_file(STORAGE, &format!("/{file}"), 200, kind, found.body);
    }
    let is_stranger = move |served: &Served| {
        let shown = served.headers.get(field);
        served.host == HOST && shown.is_none_or(|shown| shown != value)
    };
    let refused = Rule::when(is_stranger).status(401).body("who are you?\n");
    let moved = Rule::when(|served| served.host == HOST && served.path == ZIP);
    let moved = moved.redirect(&format!("https://{STORAGE}/v1.3.2.zip"));
    Some(Origin::builder(content).rule(refused).rule(moved).start())
}

/// Records a download with `settings`, which `prepare` makes in the sandbox.
fn recorded(
    release: &str,
    origin: &Origin,
    prepare: impl Fn(&Sandbox) -> Vec<(&'static str, String)>,
) -> Option<(Output, Sandbox)> {
    let sandbox = Sandbox::new();
    let go = sandbox.go(release)?;
    sandbox.project("hello")?;
    let command = [text(&go), "mod", "download", MODULE];
    let mut record = record(&sandbox, origin, &command);
    record.env("GOPROXY", format!("https://{HOST}/go"));
    record.envs(prepare(&sandbox));
    Some((run(record, GO_LIMIT), sandbox))
}

/// Panics if a secret stands in a file of the recording, or was said.
fn assert_kept_nowhere(sandbox: &Sandbox, output: &Output) {
    let folder = sandbox.join("project/recordings");
    for secret in [SECRET, &BASIC["Basic ".len()..]] {
        crate::reach::assert_nowhere(secret, &folder, output);
    }
}

type Settings = Vec<(&'static str, String)>;

fn userinfo(_: &Sandbox) -> Settings {
    vec![("GOPROXY", format!("https://ana:{SECRET}@{HOST}/go"))]
}

fn netrc(sandbox: &Sandbox) -> Settings {
    let path = sandbox.join("home/netrc");
    let text = format!("machine {HOST}\n\tlogin ana\n\tpassword {SECRET}\n");
    fs::write(&path, text).expect("our own folder");
    vec![("NETRC", path.display().to_string())]
}

/// A program of GOAUTH that knows what to send only once it is told what got a 401.
fn program(sandbox: &Sandbox) -> Settings {
    let path = sandbox.join("home/auth.sh");
    let text = format!(
        "test -z \"$1\" && exit\nread -r _ status _\ntest \"$status\" = 401 || exit 1\n\
         printf 'https://{HOST}/go\\n\\nX-Api-Key: {SECRET}\\n\\n'\n"
    );
    fs::write(&path, text).expect("our own folder");
    vec![("GOAUTH", format!("sh {}", path.display()))]
}

/// A repository whose credential helper knows the password.
fn git(sandbox: &Sandbox) -> Settings {
    let folder = sandbox.join("home/repository");
    let git = |args: &[&str]| {
        let mut git = sandbox.command("git");
        git.args(["-C", text(&sandbox.join("home"))]).args(args);
        run(git, GO_LIMIT).expect_success();
    };
    git(&["init", "-q", "repository"]);
    let helper = format!(
        "!f() {{ echo \"$1\" >>'{}'; test $1 = get && printf 'username=ana\\npassword={SECRET}\\n'; }}; f",
        sandbox.join("home/told").display()
    );
    git(&["-C", "repository", "config", "credential.helper", &helper]);
    vec![("GOAUTH", format!("git {}", folder.display()))]
}

#[test]
fn credentials_are_sent_to_their_host_alone_and_kept_nowhere() {
    type Prepare = fn(&Sandbox) -> Settings;
    for (release, field, value, prepare, tries) in [
        ("1.27", "authorization", BASIC, userinfo as Prepare, 1),
        ("1.21", "authorization", BASIC, netrc, 1),
        ("1.27", "authorization", BASIC, netrc, 1),
        ("1.24", "x-api-key", SECRET, program, 2),
        ("1.27", "authorization", BASIC, git, 2),
    ] {
        let Some(origin) = guarded(field, value) else {
            return;
        };
        let Some((output, sandbox)) = recorded(release, &origin, prepare) else {
            continue;
        };
        let output = output.expect_success();
        let requests = origin.requests();
        let (own, others): (Vec<_>, Vec<_>) =
            requests.iter().partition(|served| served.host == HOST);
        assert!(others.iter().any(|served| served.host == STORAGE));
        for served in others {
            for name in ["authorization", "x-api-key"] {
                assert!(!served.headers.contains_key(name), "{release}: {served:?}");
            }
        }
        let refused = own
            .iter()
            .filter(|served| served.status == Some(401))
            .count();
        assert_eq!(refused > 0, tries == 2, "{release} {field}: {own:?}");
        assert_kept_nowhere(&sandbox, &output);
        let recording = crate::record::recording(&sandbox, "one");
        assert_eq!(sorted(asked(&recording)), sorted(served(&origin)));
        let told = fs::read_to_string(sandbox.join("home/told")).unwrap_or_default();
        let is_git = told.contains("get");
        assert_eq!(told.contains("store"), is_git, "{told}");
    }
}

#[test]
fn without_credentials_go_ends_as_a_401_lets_it_and_a_wrong_one_is_told_to_git() {
    let Some(origin) = guarded("authorization", "Bearer nobody has it") else {
        return;
    };
    let nothing = |_: &Sandbox| Vec::new();
    let Some((output, _)) = recorded("1.27", &origin, nothing) else {
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("401 Unauthorized"),
        "{}",
        output.stderr
    );
    let (output, sandbox) = recorded("1.27", &origin, git).expect("go is there");
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let told = fs::read_to_string(sandbox.join("home/told")).expect("git asked its helper");
    assert!(told.contains("erase") && !told.contains("store"), "{told}");
}

#[test]
fn a_program_that_takes_its_time_is_told_of_and_on_record() {
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    let origin = Origin::builder(Content::default())
        .rule(Rule::any().status(200).body("fetched\n"))
        .start();
    // It ends when somebody writes there.
    let (answer, script) = (sandbox.join("answer"), sandbox.join("slow-auth"));
    let mut mkfifo = sandbox.command("mkfifo");
    mkfifo.arg(&answer);
    run(mkfifo, LIMIT).expect_success();
    let text = format!("#!/bin/sh\nread -r said <'{}'\n", answer.display());
    fs::write(&script, text).expect("our own folder");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("our own file");
    let start = || {
        Asking::start(&origin, |record| {
            record
                .env("GOAUTH", &script)
                .args(["--stall-after", "200ms"]);
            let folder = go.parent().expect("go has a folder");
            record.env("PATH", search_path(&[folder]));
        })
    };
    let gateway = start();
    let asked = gateway.ask("/p0/x/@v/list");
    let name = script.display();
    let told =
        format!("for the GOAUTH program {name}, which is to say what credentials a.example gets");
    gateway.wait_for_stderr(&told);
    let status = gateway.modtape(&["status"]);
    let waits = format!("/x/@v/list (waits for GOAUTH program {name})");
    assert!(status.contains(&waits), "{status}");
    assert!(status.contains("GOAUTH=netrc, if ~/.netrc has"), "{status}");
    fs::write(&answer, "now\n").expect("it reads");
    assert_eq!(asked.answer(), (200, String::from("fetched\n")));
    assert_eq!(gateway.answer("/p0/x/@v/list").0, 200);
    let (recording, _) = gateway.end();
    let all = exchanges(&recording);
    let [waited, next] = &all[..] else {
        panic!("{all:#?}");
    };
    let notes = |exchange: &Exchange| exchange.end().expect("it is over").notes.join("\n");
    assert!(notes(waited).starts_with("waited "), "{waited:#?}");
    let who = format!("for the GOAUTH program {name}");
    assert!(notes(waited).ends_with(&who), "{waited:#?}");
    assert!(
        waited.timings()[Phase::Blocked] >= Some(200_000),
        "{waited:#?}"
    );
    assert_eq!(notes(next), "");
    // A client that leaves meanwhile.
    let gateway = start();
    let asked = gateway.ask("/p0/x/@v/list");
    gateway.wait_for_stderr("[MT208]");
    drop(asked);
    let (recording, _) = gateway.end();
    let Ending::Aborted(abort) = exchanges(&recording).remove(0).ending else {
        panic!("it has an end");
    };
    // The recorder is told to end, and the client has left: either may be seen first.
    let waited = ": the request had waited ";
    assert!(abort.why.contains(waited), "{}", abort.why);
    assert!(abort.why.ends_with(&who), "{}", abort.why);
}

#[test]
fn what_go_refuses_is_refused() {
    let Some(origin) = guarded("authorization", BASIC) else {
        return;
    };
    let insecure = |_: &Sandbox| vec![("GOPROXY", format!("http://ana:{SECRET}@{HOST}/go"))];
    let Some((output, sandbox)) = recorded("1.27", &origin, insecure) else {
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let told = "refusing to pass credentials to an insecure URL";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    assert_eq!(origin.connections(), 0);
    assert_kept_nowhere(&sandbox, &output);
    let broken = |_: &Sandbox| vec![("GOAUTH", String::from("netrc;off"))];
    let (output, _) = recorded("1.27", &origin, broken).expect("go is there");
    assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
    assert!(output.stderr.contains("GOAUTH=off"), "{}", output.stderr);
}
