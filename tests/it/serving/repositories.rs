//! Private modules that the real go command fetches from their repositories.

use std::fs;
use std::time::Duration;

use super::*;

const MODULE: &str = "git.corp.example/team/lib";

/// A guard, no judgement.
const GO_LIMIT: Duration = Duration::from_secs(120);

/// A page that says where the repository of a module of the team lies.
fn discovery(name: &'static str) -> Rule {
    let page = format!(
        r#"<html><head><meta name="go-import" content="git.corp.example/team/{name} git https://git.corp.example/team/{name}.git">"#
    );
    let path = format!("/team/{name}");
    let is_asked =
        move |served: &Served| served.raw_path.contains("go-get=1") && served.path == path;
    Rule::when(is_asked)
        .status(200)
        .header("content-type", "text/html")
        .body(page)
}

/// A server of the modules of the team, with further lines in its table, that leaves by `parent`.
fn serving(
    sandbox: &Sandbox,
    origin: &Origin,
    parent: &ParentProxy,
    lines: &str,
) -> Option<Serving> {
    let go = sandbox.go("1.27")?;
    let table = format!("[private.\"git.corp.example\"]\nupstream = \"git\"\n{lines}");
    fs::write(sandbox.join("modtape.toml"), table).expect("our own folder");
    let flags = ["serve", "--listen", "127.0.0.1:0", "--store", "store"];
    let mut command = sandbox.modtape(flags);
    let go_folder = go.parent().expect("it lies in a folder");
    command
        .args(["--config", "modtape.toml"])
        .current_dir(sandbox.path())
        .env("PATH", search_path(&[go_folder]))
        .env("HTTPS_PROXY", parent.url())
        .env("SSL_CERT_FILE", origin.root_pem_path())
        .env("GIT_SSL_CAINFO", origin.root_pem_path());
    Some(Serving::told(Spawned::start(command)))
}

#[test]
fn repositories_lie_on_the_hosts_that_are_allowed_and_on_no_other() {
    let sandbox = Sandbox::new();
    let repositories = repository(MODULE, 1000);
    let is_git = |served: &Served| served.raw_path.contains("git-upload-pack");
    let page = |name: &'static str, repository: &str| {
        let page = format!(
            r#"<html><head><meta name="go-import" content="git.corp.example/team/{name} git {repository}">"#
        );
        let path = format!("/team/{name}");
        Rule::when(move |served: &Served| served.path == path && !is_git(served))
            .status(200)
            .header("content-type", "text/html")
            .body(page)
    };
    let origin = Origin::builder(Content::default())
        .rule(page("lib", "https://other.lab.example/team/lib.git"))
        .rule(page("ssh", "ssh://git@elsewhere.example/team/lib.git"))
        .rule(page("away", "https://elsewhere.example/team/lib.git"))
        .rule(
            Rule::suffix("/team/sent")
                .status(302)
                .header("location", "https://elsewhere.example/team/sent?go-get=1"),
        )
        .rule(Rule::when(is_git).git(repositories.path()))
        .start();
    let parent = ParentProxy::http(origin.addr()).start();
    let lines = "vcs-hosts = [\"*.lab.example\"]\n";
    let Some(allowed) = serving(&sandbox, &origin, &parent, lines) else {
        return;
    };
    let list = |serving: &Serving, name: &str| {
        serving.get(&format!("/git.corp.example/team/{name}/@v/list"))
    };
    assert_eq!(list(&allowed, "lib").text(), "v1.0.0\n");
    for name in ["ssh", "away", "sent"] {
        let answer = list(&allowed, name);
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
    }
    let why = list(&allowed, "away").text();
    assert!(why.contains("403"), "{why}");
    allowed.end();
    for target in parent.targets() {
        let is_allowed = matches!(&*target, "git.corp.example:443" | "other.lab.example:443");
        assert!(is_allowed, "{target}");
    }
    let before = parent.targets().len();
    let other = Sandbox::new();
    let strict = serving(&other, &origin, &parent, "").expect("there is a go");
    assert_eq!(list(&strict, "lib").status, 502);
    strict.end();
    for target in &parent.targets()[before..] {
        assert_eq!(target, "git.corp.example:443");
    }
}

#[test]
fn a_module_comes_from_its_repository_and_what_is_not_there_is_a_404() {
    let (sandbox, client) = (Sandbox::new(), Sandbox::new());
    let Some(go) = sandbox.go("1.27") else { return };
    let repositories = repository(MODULE, 1000);
    let is_git = |served: &Served| served.raw_path.contains("git-upload-pack");
    let locked = move |served: &Served| is_git(served) && served.path.starts_with("/team/locked");
    let refused = Rule::when(locked).status(401);
    let origin = Origin::builder(Content::default())
        .rule(discovery("lib"))
        .rule(discovery("locked"))
        .rule(refused.header("www-authenticate", r#"Basic realm="corp""#))
        .rule(Rule::when(is_git).git(repositories.path()))
        .start();
    let parent = ParentProxy::http(origin.addr()).start();
    let serving = serving(&sandbox, &origin, &parent, "").expect("there is a go");
    for (path, expected, told) in [
        ("team/lib/@v/list", 200, "v1.0.0\n"),
        ("team/lib/@latest", 200, r#"{"Version":"v1.0.0","Time":""#),
        (
            "team/lib/@v/main.info",
            200,
            r#"{"Version":"v1.0.0","Time":""#,
        ),
        (
            "team/lib/@v/v1.0.0.info",
            200,
            r#"{"Version":"v1.0.0","Time":""#,
        ),
        (
            "team/lib/@v/v1.0.0.mod",
            200,
            "module git.corp.example/team/lib\n",
        ),
        ("team/lib/@v/v1.0.0.zip", 200, "PK"),
        ("team/lib/@v/v9.9.9.info", 404, "unknown revision v9.9.9"),
        ("team/lib/@v/nosuch.info", 404, "unknown revision nosuch"),
        ("team/none/@v/list", 404, "404"),
        // It may be there: git could not tell.
        ("team/locked/@v/list", 502, "Authentication failed"),
    ] {
        let answer = serving.get(&format!("/git.corp.example/{path}"));
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
        let text = answer.text();
        assert!(text.contains(told), "{path}: {text}");
        assert!(!text.contains("Origin"), "{path}: {text}");
        assert!(!text.contains("private/go"), "{path}: {text}");
        let cached = field(&answer.head, "cache-control");
        assert_eq!(cached, Some("private"), "{path}");
    }
    // A version's three files come with one fetch.
    let later = serving.get("/git.corp.example/team/lib/@v/v1.0.0.mod");
    assert!(matches!(later.tier(), "memory" | "disk"), "{later:?}");
    let mut download = client.command(&go);
    download
        .args(["mod", "download", "-json"])
        .arg(format!("{MODULE}@v1.0.0"))
        .env("GOPROXY", format!("http://{}", serving.address))
        .env("GONOSUMDB", "git.corp.example")
        .env("GOFLAGS", "-modcacherw");
    let downloaded = run(download, GO_LIMIT).expect_success();
    assert!(
        downloaded.stdout.contains(r#""Sum": "h1:"#),
        "{}",
        downloaded.stdout
    );
    serving.end();
    for target in parent.targets() {
        assert_eq!(target, "git.corp.example:443");
    }
    let left = fs::read_dir(sandbox.join("store/private/go")).expect("a folder");
    assert_eq!(left.count(), 0, "what go used is gone");
}
