//! A go command in a container, as the network sees it: another network namespace, in which nothing but
//! GOPROXY is set.

use super::*;
use crate::record::recording;

/// After [`FAR`]: with the value that `env` prints for the name of this machine there, and without the token.
const SCRIPT: &str = r#"
    list=$("$MODTAPE" env GOPROXY --host 192.0.2.1)
    GOPROXY=$list far "$GO" mod download && echo downloaded
    rm -rf "$GOMODCACHE"/cache
    GOPROXY=${list//$TOKEN\//} far "$GO" mod download 2>&1 | grep -o '403 Forbidden' | head -1
"#;

const TOKEN: &str = "test-token-0123456789abcdef";

#[test]
fn a_container_downloads_through_the_gateway_with_the_token_and_not_without() {
    let name = "gateway::container::\
        a_container_downloads_through_the_gateway_with_the_token_and_not_without";
    alone(name, || {
        let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
            return;
        };
        let Some((sandbox, go)) = hello("1.27") else {
            return;
        };
        let origin = Origin::start(content.supported_is_404());
        let flags = ["--mode=gateway", "--listen=0.0.0.0", "--token", TOKEN];
        let script = format!("{FAR}{SCRIPT}");
        let command = ["bash", "-c", &script];
        let mut record = crate::record::record(&sandbox, &origin, &flags, &command);
        record.env("GO", &go).env("MODTAPE", tested());
        record.env("TOKEN", TOKEN);
        let output = run(record, GO_LIMIT).expect_success();
        assert_eq!(
            output.stdout, "downloaded\n403 Forbidden\n",
            "{}",
            output.stderr
        );
        let recording = recording(&sandbox, "one");
        assert_eq!(sorted(asked(&recording)), sorted(served(&origin)));
        let lookup = "https://sum.golang.org/lookup/";
        assert!(
            asked(&recording)
                .iter()
                .any(|(url, _)| url.starts_with(lookup))
        );
    });
}

#[test]
fn a_gateway_on_another_address_is_reached_past_a_proxy_for_http() {
    let name = "gateway::container::\
        a_gateway_on_another_address_is_reached_past_a_proxy_for_http";
    alone(name, || {
        let address = ["address", "add", "192.0.2.1/32", "dev", "lo"];
        let mut ip = program("ip");
        ip.args(address);
        run(ip, LIMIT).expect_success();
        let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
            return;
        };
        let Some((sandbox, go)) = hello("1.27") else {
            return;
        };
        let origin = Origin::start(content.supported_is_404());
        let flags = ["--mode=gateway", "--listen=192.0.2.1", "--token", TOKEN];
        let script = "echo \"$NO_PROXY $no_proxy\"; \
            \"$MODTAPE\" env NO_PROXY --host docker.example; exec \"$GO\" mod download";
        let command = ["sh", "-c", script];
        let mut record = crate::record::record(&sandbox, &origin, &flags, &command);
        record.env("GO", &go).env("MODTAPE", tested());
        // Nobody listens there.
        record.env("HTTP_PROXY", "http://127.0.0.1:9");
        record.env("NO_PROXY", "corp.example");
        let output = run(record, GO_LIMIT).expect_success();
        let own = "corp.example,192.0.2.1";
        let expected = format!("{own} {own}\n{own},docker.example\n");
        assert_eq!(output.stdout, expected);
        let recording = recording(&sandbox, "one");
        assert_eq!(sorted(asked(&recording)), sorted(served(&origin)));
    });
}
