//! Who may ask, and private modules.

use std::fs;

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
            .args(["--htpasswd", "users"])
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
