//! Upstream connections that clients share: what one of them meets is no other's matter.

use super::front::{answers, command, get};
use super::*;

#[test]
fn a_connection_that_was_silent_gets_no_further_request() {
    for alpn in [Alpn::Both, Alpn::Http1] {
        let silent = Rule::when(|served| served.path == "/go/silent");
        let origin = Origin::builder(Content::default())
            .alpn(alpn)
            .rule(silent.silent())
            .rule(Rule::any().status(200).body("fetched\n"))
            .start();
        let sandbox = Sandbox::new();
        let flags = ["--token", "none", "--upstream-idle-timeout", "200ms"];
        let record = command(&sandbox, &origin, &flags);
        let asked = ["/p0/a", "/p0/silent", "/p0/b", "/p0/c"].map(|path| get(path, "ADDRESS"));
        let asked = asked.each_ref().map(String::as_str);
        let (answers, _) = answers(&sandbox, record, &asked);
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [200, 504, 200, 200], "{alpn:?}");
        assert_eq!(origin.connections(), 2, "{alpn:?}");
    }
}
