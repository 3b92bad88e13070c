//! What a gateway records, and what its command sees of it.

use std::fs;

use modtape::exchange::Phase;

use super::*;
use crate::record::recording;

fn go_sum(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.join("project/go.sum")).expect("there is a go.sum")
}

#[test]
fn hello_is_tidied_as_without_modtape_and_each_request_of_the_origin_is_on_record() {
    let expected = Sandbox::new();
    if expected.project("hello").is_none() {
        return;
    }
    for (release, alpn) in [
        ("1.21", Alpn::Both),
        ("1.24", Alpn::Http1),
        ("1.27", Alpn::Both),
        ("1.27", Alpn::Http1),
    ] {
        let Some((sandbox, go)) = hello(release) else {
            continue;
        };
        let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
        let origin = Origin::builder(content.supported_is_404())
            .alpn(alpn)
            .start();
        let command = [text(&go), "mod", "tidy"];
        let output = run(record(&sandbox, &origin, &command), GO_LIMIT).expect_success();
        assert_eq!(output.stdout, "");
        assert_eq!(go_sum(&sandbox), go_sum(&expected), "{release} {alpn:?}");
        let recording = recording(&sandbox, "one");
        assert_eq!(
            sorted(asked(&recording)),
            sorted(served(&origin)),
            "{release} {alpn:?}"
        );
        let dialled = recording.rows().iter().filter(|row| {
            let exchange = recording.exchange(row).expect("a record can be read");
            exchange.timings()[Phase::Connect].is_some()
        });
        let dialled = dialled.count();
        assert_eq!(dialled, origin.connections(), "{release} {alpn:?}");
        if alpn == Alpn::Both {
            assert_eq!(dialled, 2, "a module proxy and a checksum database");
        }
        let lookup = "https://sum.golang.org/lookup/";
        assert!(
            asked(&recording)
                .iter()
                .any(|(url, _)| url.starts_with(lookup))
        );
    }
}
