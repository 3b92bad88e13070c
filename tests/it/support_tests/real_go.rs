//! The real go command against the corpus: the origin's content is what it takes for the internet.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::*;

#[test]
fn go_downloads_through_a_connect_relay_with_verification_on() {
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = go_with_project(&sandbox) else {
        return;
    };
    let origin = Origin::start(content.supported_is_404());
    let relay = ParentProxy::http(origin.addr()).start();
    go_mod_download(&sandbox, &go, &relay, &origin);
    let paths = origin.paths();
    assert!(
        paths.contains(&"/github.com/!burnt!sushi/toml/@v/v1.3.2.zip".to_owned()),
        "{paths:?}"
    );
    assert!(
        paths
            .iter()
            .any(|path| path.starts_with("/lookup/golang.org/x/sync@")),
        "{paths:?}"
    );
    assert!(relay.targets().contains(&"sum.golang.org:443".to_owned()));
    let is_served = |served: &Served| served.is_complete && served.is_over;
    origin.wait_for(|log| log.requests.iter().all(is_served), LIMIT);
}

#[test]
fn go_verifies_the_heads_as_they_really_are_through_the_module_proxy() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = go_with_project(&sandbox) else {
        return;
    };
    let origin = Origin::start(content);
    let relay = ParentProxy::http(origin.addr()).start();
    go_mod_download(&sandbox, &go, &relay, &origin);
    let lookups = origin
        .requests()
        .into_iter()
        .filter(|served| served.path.contains("/lookup/"));
    assert_eq!(
        lookups
            .filter(|served| served.host == "proxy.golang.org")
            .count(),
        3
    );
}

#[test]
fn go_refuses_a_zip_that_the_checksum_database_does_not_know() {
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = go_with_project(&sandbox) else {
        return;
    };
    let other = content.find("proxy.golang.org", "/golang.org/x/sync/@v/v0.24.0.mod");
    let path = "/golang.org/x/sync/@v/v0.3.0.mod";
    let content = content.and_file("proxy.golang.org", path, 200, "text/plain", other.body);
    let origin = Origin::start(content);
    let relay = ParentProxy::http(origin.addr()).start();
    let output = run(go_command(&sandbox, &go, &relay, &origin), GO_LIMIT);
    assert!(output.stderr.contains("checksum mismatch"), "{output:?}");
}

const GO_LIMIT: Duration = Duration::from_secs(60);

/// The oldest and the newest speak the same protocol: one that is there will do.
fn any_go(sandbox: &Sandbox) -> Option<PathBuf> {
    sandbox.go("1.27").or_else(|| sandbox.go("1.19"))
}

/// A go command for the project `hello`, which is put into the sandbox.
fn go_with_project(sandbox: &Sandbox) -> Option<PathBuf> {
    let go = any_go(sandbox)?;
    sandbox
        .project_without_sums("hello")
        .expect("the corpus is there");
    Some(go)
}

fn go_command(sandbox: &Sandbox, go: &Path, relay: &ParentProxy, origin: &Origin) -> Command {
    let mut command = sandbox.command(go);
    command.args(["mod", "download", "-x"]);
    command
        .env("HTTPS_PROXY", relay.url())
        .env("SSL_CERT_FILE", origin.root_pem_path());
    command
}

fn go_mod_download(sandbox: &Sandbox, go: &Path, relay: &ParentProxy, origin: &Origin) {
    run(go_command(sandbox, go, relay, origin), GO_LIMIT).expect_success();
}
