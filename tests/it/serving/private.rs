//! Who may ask, and private modules.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

const LIST: &str = "/a.example/x/@v/list";

/// The field `Authorization` of a user, with its line end.
fn basic(user: &str, password: &str) -> String {
    let shown = BASE64.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {shown}\r\n")
}

/// A line of an htpasswd file.
fn htpasswd(user: &str, password: &str) -> String {
    let hash = bcrypt::hash_with_result(password, 4).expect("it can be hashed");
    format!(
        "{user}:{}\n",
        hash.format_for_version(bcrypt::Version::TwoY)
    )
}

fn lists() -> Origin {
    let rule = Rule::any().status(200).body("v1.0.0\n");
    Origin::builder(Content::default()).rule(rule).start()
}

#[test]
fn a_token_or_a_password_opens_and_nothing_else_does() {
    let (origin, sandbox) = (lists(), Sandbox::new());
    fs::write(sandbox.join("users"), htpasswd("ada", "lovelace")).expect("our own folder");
    let token = "test-token-0123456789abcdef";
    let flags = ["--token", token, "--htpasswd", "users", "-v"];
    let serving = Serving::start(&sandbox, &origin, "https://a.example", &flags);
    let status = |fields: &str| {
        let answer = ask(serving.address, "GET", LIST, fields);
        let challenge = field(&answer.head, "www-authenticate").map(str::to_owned);
        (answer.status, challenge)
    };
    for fields in [
        basic("ada", "lovelace"),
        basic("anybody", token),
        format!("Authorization: Bearer {token}\r\n"),
    ] {
        assert_eq!(status(&fields), (200, None), "{fields}");
    }
    let challenge = Some(r#"basic realm="modtape""#.to_owned());
    let twice = basic("ada", "lovelace") + &basic("ada", "lovelace");
    for fields in [
        String::new(),
        basic("ada", "byron"),
        basic("eve", "lovelace"),
        basic("ada", ""),
        "Authorization: Bearer lovelace\r\n".to_owned(),
        "Authorization: Digest x\r\n".to_owned(),
        "Authorization: Basic %%%\r\n".to_owned(),
        twice,
    ] {
        assert_eq!(status(&fields), (401, challenge.clone()), "{fields}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(serving.get(path).status, 200);
    }
    // A client's credentials are for us: upstream sees none of them.
    let requests = origin.requests();
    assert!(!requests.is_empty());
    for served in requests {
        assert_eq!(served.headers.get("authorization"), None);
    }
    let output = serving.end();
    assert!(output.stderr.contains("user=\"ada\""), "{}", output.stderr);
    assert!(!output.stderr.contains("lovelace"), "{}", output.stderr);
}

#[test]
fn an_htpasswd_file_opens_an_address_that_others_reach_and_its_mistakes_have_a_line() {
    let sandbox = Sandbox::new();
    let start = |users: &str| {
        fs::write(sandbox.join("users"), users).expect("our own folder");
        let mut command = sandbox.modtape(["serve", "--listen", "0.0.0.0:0", "--store", "store"]);
        command
            .args(["--htpasswd", "users", "--host", "127.0.0.1"])
            .current_dir(sandbox.path());
        command
    };
    let wrong = htpasswd("ada", "lovelace") + "bob:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n";
    let refused = run(start(&wrong), LIMIT);
    assert_eq!(refused.status.code(), Some(125), "{}", refused.stderr);
    let told = "--htpasswd: users:2: the hash is not one of bcrypt";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    assert!(!refused.stderr.contains("fEqN"), "{}", refused.stderr);
    let serving = Serving::told(Spawned::start(start(&htpasswd("ada", "lovelace"))));
    assert_eq!(serving.get(LIST).status, 401);
    serving.end();
}

/// A module of the corpus, which is private here.
const MODULE: &str = "/github.com/!burnt!sushi/toml";

const TABLE: &str = r#"
    [private."github.com/BurntSushi/*"]
    upstream = "https://athens.corp.example"
    auth = "client"
"#;

/// Whose credentials the private upstream takes, and what it says to others.
const USERS: [(&str, &str, u16); 4] = [
    ("ada", "lovelace-secret", 200),
    ("carol", "shaw-secret", 200),
    ("bob", "builder-secret", 403),
    ("eve", "dropper-secret", 404),
];

fn shown_by(who: &str) -> String {
    let user = USERS.iter().find(|(user, ..)| *user == who);
    user.map_or_else(String::new, |(user, password, _)| basic(user, password))
}

/// Requests to the private upstream without credentials that it takes.
fn judge() -> Vec<Rule> {
    let is_of = |served: &Served, who: &str| {
        let shown = served.headers.get("authorization");
        let shown = shown.and_then(|value| value.to_str().ok());
        let expected = shown_by(who);
        shown.is_some_and(|shown| expected == format!("Authorization: {shown}\r\n"))
    };
    let is_private = |served: &Served| served.host == "athens.corp.example";
    let mut rules = Vec::new();
    for (who, _, status) in USERS.into_iter().filter(|(.., status)| *status != 200) {
        let is_theirs = move |served: &Served| is_private(served) && is_of(served, who);
        rules.push(Rule::when(is_theirs).status(status).body("not for you\n"));
    }
    let is_taken = move |served: &Served| {
        let taken = USERS.into_iter().filter(|(.., status)| *status == 200);
        taken.into_iter().any(|(who, ..)| is_of(served, who))
    };
    let stranger = Rule::when(move |served| is_private(served) && !is_taken(served));
    let stranger = stranger.status(401).body("who are you?\n");
    rules.push(stranger.header("www-authenticate", r#"Basic realm="corp""#));
    rules
}

/// An origin that is the public upstream, and the private one, which judges its users.
fn both() -> Option<Origin> {
    let mut content = Content::corpus("hello", Sumdb::Heads)?;
    let folder = corpus_folder("hello")?.join("proxy");
    for (file, kind) in [
        ("@v/v1.3.2.info", "application/json"),
        ("@v/v1.3.2.mod", "text/plain"),
        ("@v/v1.3.2.zip", "application/zip"),
    ] {
        let path = format!("{MODULE}/{file}");
        let body = fs::read(folder.join(&path[1..])).expect("it is in the corpus");
        content = content.and_file("athens.corp.example", &path, 200, kind, body);
    }
    let path = format!("{MODULE}/@v/list");
    let list = "v1.3.2\n".as_bytes();
    let content = content.and_file("athens.corp.example", &path, 200, "text/plain", list);
    let origin = Origin::builder(content).start();
    judge().into_iter().for_each(|rule| origin.add_rule(rule));
    Some(origin)
}

fn serving(sandbox: &Sandbox, origin: &Origin, table: &str) -> Serving {
    fs::write(sandbox.join("modtape.toml"), table).expect("our own folder");
    let flags = ["--config", "modtape.toml", "-vv"];
    Serving::start(sandbox, origin, "https://proxy.golang.org", &flags)
}

impl Serving {
    fn get_as(&self, who: &str, path: &str) -> Answer {
        ask(self.address, "GET", path, &shown_by(who))
    }
}

/// How often the private upstream was asked for a path by this method.
fn asked_privately(origin: &Origin, method: &str, path: &str) -> usize {
    let requests = origin.requests();
    let asked = requests.iter().filter(|served| {
        let is_it = served.method.as_str() == method && served.path == path;
        is_it && served.host == "athens.corp.example"
    });
    asked.count()
}

/// That no file below a folder, and no text, has a user's secret.
fn has_no_secret(folder: &Path, said: &str) {
    let mut files = vec![folder.to_owned()];
    let mut texts = vec![said.as_bytes().to_vec()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).expect("our own folder");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            texts.push(fs::read(path).expect("our own file"));
        }
    }
    assert!(texts.len() > 1, "something is kept");
    for (user, password, _) in USERS {
        let encoded = BASE64.encode(format!("{user}:{password}"));
        for text in &texts {
            for secret in [password.as_bytes(), encoded.as_bytes()] {
                let is_there = text.windows(secret.len()).any(|part| part == secret);
                assert!(!is_there, "{user}: {}", String::from_utf8_lossy(text));
            }
        }
    }
}

#[test]
fn a_purge_of_a_private_module_needs_no_server_that_runs() {
    let Some(origin) = both() else { return };
    let sandbox = Sandbox::new();
    let kept = MODULE.to_owned() + "/@v/v1.3.2.mod";
    let first = serving(&sandbox, &origin, TABLE);
    assert_eq!(first.get_as("ada", &kept).tier(), "miss");
    first.end();
    let file = sandbox.join("store/private/v1/answers").join(&kept[1..]);
    assert!(file.exists());
    let module = "github.com/BurntSushi/toml@v1.3.2";
    let mut purge = sandbox.modtape(["cache", "purge", module, "--store", "store"]);
    purge.current_dir(sandbox.path());
    let purged = run(purge, LIMIT).expect_success();
    assert!(purged.stdout.starts_with(&kept[1..]), "{}", purged.stdout);
    assert!(!file.exists());
}

#[test]
fn what_one_user_may_have_is_not_served_to_another() {
    let Some(origin) = both() else { return };
    let sandbox = Sandbox::new();
    let serving = serving(&sandbox, &origin, TABLE);
    for file in [
        "@v/list",
        "@v/v1.3.2.info",
        "@v/v1.3.2.mod",
        "@v/v1.3.2.zip",
    ] {
        let path = format!("{MODULE}/{file}");
        // Before anything is kept, and after somebody has it.
        for round in 0..2 {
            for (who, expected) in [
                ("", 401),
                ("bob", 403),
                ("eve", 404),
                ("ada", 200),
                ("", 401),
                ("bob", 403),
                ("eve", 404),
                ("carol", 200),
                ("ada", 200),
            ] {
                let answer = serving.get_as(who, &path);
                assert_eq!(answer.status, expected, "{round} {who} {path}: {answer:?}");
                let fields = ["cache-control", "vary"].map(|name| field(&answer.head, name));
                assert_eq!(fields, [Some("private"), Some("authorization")]);
                let challenge = field(&answer.head, "www-authenticate");
                let expected = (expected == 401).then_some(r#"basic realm="corp""#);
                assert_eq!(challenge, expected);
            }
        }
    }
    // One body for both who may have it; carol was let in by HEAD.
    let zip = format!("{MODULE}/@v/v1.3.2.zip");
    let requests = origin.requests();
    let bodies = requests.iter().filter(|served| {
        let by_ada = format!("{:?}", served.headers).contains(shown_by("ada")[21..].trim());
        served.path == zip && served.method == "GET" && by_ada
    });
    assert_eq!(bodies.count(), 1);
    let public: Vec<_> = requests
        .iter()
        .filter(|served| served.host != "athens.corp.example")
        .collect();
    for served in &public {
        assert_eq!(served.headers.get("authorization"), None, "{served:?}");
        assert!(!served.path.contains("toml"), "{}", served.path);
    }
    // The checksum database does not hear of it either.
    let lookup = format!("/sumdb/sum.golang.org/lookup{MODULE}@v1.3.2");
    let refused = serving.get_as("ada", &lookup);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(asked(&origin, &lookup), 0);
    let output = serving.end();
    assert!(output.stderr.contains("v1.3.2.zip"), "{}", output.stderr);
    has_no_secret(&sandbox.join("store"), &output.stderr);
}

#[test]
fn a_zip_is_asked_for_by_get_where_head_is_not_taken() {
    let Some(origin) = both() else { return };
    let is_head = |served: &Served| served.method == "HEAD";
    origin.add_rule(Rule::when(is_head).status(405));
    let sandbox = Sandbox::new();
    let serving = serving(&sandbox, &origin, TABLE);
    let zip = format!("{MODULE}/@v/v1.3.2.zip");
    for who in ["ada", "carol", "carol", "ada"] {
        assert_eq!(serving.get_as(who, &zip).status, 200, "{who}");
    }
    for who in ["bob", ""] {
        assert!(serving.get_as(who, &zip).status >= 400, "{who}");
    }
    // Ada's and carol's, and the others'; within the minute none again.
    assert_eq!(asked_privately(&origin, "GET", &zip), 4);
    serving.end();
}

#[test]
fn while_the_private_upstream_is_away_those_whom_it_took_have_what_is_kept() {
    let Some(origin) = both() else { return };
    let sandbox = Sandbox::new();
    let serving = serving(&sandbox, &origin, TABLE);
    let [zip, go_mod] = ["zip", "mod"].map(|kind| format!("{MODULE}/@v/v1.3.2.{kind}"));
    assert_eq!(serving.get_as("ada", &zip).status, 200);
    assert_eq!(serving.get_as("carol", &go_mod).status, 200);
    // A reload is no reason to forget whom it took.
    serving.modtape.signal(Signal::HUP);
    serving.modtape.wait_for_stderr("read again");
    origin.clear_rules();
    origin.add_rule(Rule::host("athens.corp.example").status(503));
    // Of this very item it has taken carol's request; ada's for another one of the module.
    let answer = serving.get_as("ada", &go_mod);
    assert_eq!((answer.status, answer.tier()), (200, "stale"), "{answer:?}");
    for who in ["", "bob", "eve"] {
        for path in [&zip, &go_mod] {
            let answer = serving.get_as(who, path);
            assert_eq!(answer.status, 502, "{who} {path}: {answer:?}");
        }
    }
    serving.end();
}

#[test]
fn no_spelling_of_a_private_module_reaches_the_public_upstream() {
    let Some(origin) = both() else { return };
    let sandbox = Sandbox::new();
    let table = TABLE.replace("BurntSushi", "burntsushi")
        + "[private.\"git.corp.example\"]\nupstream = \"https://athens.corp.example\"\n";
    let serving = serving(&sandbox, &origin, &table);
    for path in [
        "/github.com/!burnt!sushi/toml/@v/list",
        "/github.com/burntsushi/toml/@v/list",
        "/github.com/%21burnt%21sushi/toml/@v/list",
        "/github.com/!b!u!r!n!t!s!u!s!h!i/toml/@v/main.info",
        "/github.com/BurntSushi/toml/@v/list",
        "/github.com//!burnt!sushi/toml/@v/list",
        "/github.com/./!burnt!sushi/toml/@v/list",
        "/github.com/x/%2E%2E/!burnt!sushi/toml/@v/list",
        "/github.com%2F!burnt!sushi/toml/@v/list",
        "/git.corp.example/x/@v/list",
        "/git.corp.example./x/@v/list",
        "/!git.corp.example/x/@v/list",
        "/git.corp.example:443/x/@v/list",
        "/sumdb/sum.golang.org/lookup/github.com/!burnt!sushi/toml@v1.3.2",
        "/sumdb/sum.golang.org/lookup/github.com/burntsushi/toml@v1.3.2",
    ] {
        let answer = serving.get_as("bob", path);
        assert!(answer.status >= 400, "{path}: {answer:?}");
    }
    for served in origin.requests() {
        assert_eq!(served.host, "athens.corp.example", "{}", served.path);
    }
    serving.end();
}

#[test]
fn a_private_module_with_the_servers_own_credentials_is_kept_apart() {
    let Some(origin) = both() else { return };
    let sandbox = Sandbox::new();
    let (user, password, _) = USERS[0];
    let table = TABLE
        .replace("auth = \"client\"", "")
        .replace("https://", &format!("https://{user}:{password}@"));
    let serving = serving(&sandbox, &origin, &table);
    let zip = format!("{MODULE}/@v/v1.3.2.zip");
    // Whatever clients show is not passed on.
    for who in ["", "bob"] {
        assert_eq!(serving.get_as(who, &zip).status, 200);
    }
    assert_eq!(asked_privately(&origin, "GET", &zip), 1);
    let output = serving.end();
    has_no_secret(&sandbox.join("store"), &output.stderr);
    assert!(sandbox.join("store/private/v1/answers").exists());
    for served in origin.requests() {
        assert_eq!(served.host, "athens.corp.example", "{}", served.path);
    }
}

#[test]
fn a_table_that_cannot_be_served_is_an_error_with_its_line() {
    let sandbox = Sandbox::new();
    for (pattern, table, told) in [
        (
            "a.example/*",
            "upstream = \"direct\"",
            "direct is neither \"git\" nor",
        ),
        (
            "a.example/*",
            "upstream = \"htp://u:secret@x\"",
            "is neither \"git\" nor",
        ),
        (
            "a.example/*",
            "upstream = \"https://x.example\"\nauth = \"user\"",
            "auth is \"client\"",
        ),
        (
            "a.example/*",
            "upstream = \"http://x.example\"\nauth = \"client\"",
            "an https URL",
        ),
        (
            "a.example/*",
            "upstream = \"https://x.example,https://y.example\"\nauth = \"client\"",
            "one URL",
        ),
        (
            "a.example/*",
            "upstream = \"https://u:secret@x.example\"\nauth = \"client\"",
            "no credentials of its own",
        ),
        (
            "a.example/*",
            "upstream = \"git\"\nauth = \"client\"",
            "the server's own credentials",
        ),
        (
            "a.example/*",
            "upstream = \"git\"\nvcs = [\"cvs\"]",
            "\"cvs\" is none of",
        ),
        (
            "a.example/*",
            "upstream = \"https://x.example\"\nvcs-hosts = [\"y.example\"]",
            "vcs-hosts goes with",
        ),
        (
            "a.example/*",
            "upstream = \"git\"\nvcs-hosts = [\"*\"]",
            "vcs-hosts: \"*\" is neither a host nor",
        ),
        (
            "a.example/*",
            "upstream = \"https://x.example\"\nvcs = [\"git\"]",
            "vcs goes with",
        ),
        ("*/x", "upstream = \"git\"", "has to name the host"),
        (
            "a.example/*,b.example",
            "upstream = \"git\"",
            "is no pattern",
        ),
        ("https://a.example", "upstream = \"git\"", "matches nothing"),
    ] {
        let text = format!("\n[private.{pattern:?}]\n{table}\n");
        fs::write(sandbox.join("modtape.toml"), &text).expect("our own folder");
        let flags = [
            "serve",
            "--config",
            "modtape.toml",
            "--store",
            "store",
            "--",
            "true",
        ];
        let mut command = sandbox.modtape(flags);
        command.current_dir(sandbox.path());
        let refused = run(command, LIMIT);
        assert_eq!(
            refused.status.code(),
            Some(125),
            "{text}: {}",
            refused.stderr
        );
        let place = "modtape.toml:2: [private.";
        assert!(refused.stderr.contains(place), "{}", refused.stderr);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
        assert!(!refused.stderr.contains("secret"), "{}", refused.stderr);
    }
}
