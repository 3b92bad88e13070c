//! Sources that break each rule once: a rule that cannot complain proves nothing.

use super::*;

fn source(path: &str, text: &str) -> Source {
    let (path, text) = (path.to_owned(), text.to_owned());
    Source { path, text }
}

/// Asserts that `rule` has these complaints about one file.
#[track_caller]
fn assert_says(rule: fn(&[Source]) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
    assert_eq!(rule(&[source(path, text)]), expected, "{path}: {text}");
}

#[test]
fn the_extractor_opens_braces_and_passes_over_prose() {
    let text = r#"
        // use crate::commands;
        use crate::clock;
        use crate::exchange::{Begin, End};
        use crate::{self, gomod::{route::Route, zip}, tls, r#import::*};
        pub(crate) fn f() -> crate::sumdb::Note { my_crate::other(); "crate::string" }
        macro_rules! m { () => { $crate::redact::x() } }
    "#;
    let expected = [
        "clock", "exchange", "gomod", "tls", "import", "sumdb", "redact",
    ];
    assert_eq!(crate_imports(&tokens(text), 1), expected);
}

#[test]
fn an_import_from_a_lower_line_or_the_own_room_is_fine() {
    let text = "use crate::{clock::Clock, exchange, recording::format};";
    assert_says(import_complaints, "src/recording/writer.rs", text, &[]);
}

#[test]
fn an_import_from_a_higher_line_is_found() {
    let text = "fn f() { crate::proxy::handler::serve() }";
    let complaint = "src/exchange.rs: `exchange` may not import `proxy`";
    assert_says(import_complaints, "src/exchange.rs", text, &[complaint]);
}

#[test]
fn a_sideways_import_is_found_in_braces_too() {
    let text = "use crate::{clock::Clock, upstream::Upstream};";
    let complaint = "src/replay/mod.rs: `replay` may not import `upstream`";
    assert_says(import_complaints, "src/replay/mod.rs", text, &[complaint]);
}

#[test]
fn what_lies_in_no_room_cannot_be_imported() {
    let text = "use crate::Error; use crate::*;";
    let complaints = [
        "src/ca/mod.rs: `ca` may not import `Error`",
        "src/ca/mod.rs: `ca` may not import `*`",
    ];
    assert_says(import_complaints, "src/ca/mod.rs", text, &complaints);
}

#[test]
fn a_room_is_not_left_through_super() {
    let text = "mod own { use super::thing; } use super::{proxy, ca::Root};";
    let complaints = [
        "src/tls.rs: `tls` may not import `proxy`",
        "src/tls.rs: `tls` may not import `ca`",
    ];
    assert_says(import_complaints, "src/tls.rs", text, &complaints);
    assert_says(import_complaints, "src/upstream/proxy.rs", text, &[]);
    let inner = "mod tests { fn f() {} use super::super::proxy::Proxy; }";
    let complaint = "src/upstream/mod.rs: `upstream` may not import `proxy`";
    assert_says(
        import_complaints,
        "src/upstream/mod.rs",
        inner,
        &[complaint],
    );
    assert_says(import_complaints, "src/upstream/connect.rs", inner, &[]);
}

#[test]
fn a_room_without_a_place_is_found() {
    let sources = [
        source("src/lib.rs", "//! 1. [`util`]\npub mod util;"),
        source("src/util.rs", ""),
    ];
    let complaint = "`util` has no place in the order of the rooms";
    assert_eq!(map_complaints(&sources), [complaint]);
}

#[test]
fn a_room_that_lib_rs_does_not_name_is_found() {
    let sources = [
        source("src/lib.rs", "//! 1. [`clock`]\npub mod clock;"),
        source("src/clock.rs", ""),
        source("src/ca/mint.rs", ""),
    ];
    let complaints = [
        "the map in lib.rs does not name `ca`",
        "lib.rs does not declare `ca`",
    ];
    assert_eq!(map_complaints(&sources), complaints);
}

#[test]
fn a_map_out_of_order_is_found() {
    let lib = "//! 1. [`exchange`] [`redact`]\n//! 2. [`clock`]";
    let complaint = r#"the map in lib.rs is out of order: ["exchange", "redact", "clock"]"#;
    assert_says(map_complaints, "src/lib.rs", lib, &[complaint]);
}

#[test]
fn printing_is_found_outside_commands_and_tests() {
    let text = r#"fn f() { eprintln!("x") } #[cfg(test)] mod tests { fn g() { dbg!(1) } }"#;
    let complaint = "src/ca/mod.rs: `eprintln!` outside commands";
    assert_says(talk_complaints, "src/ca/mod.rs", text, &[complaint]);
    assert_says(talk_complaints, "src/commands/ls.rs", text, &[]);
    assert_says(talk_complaints, "src/main.rs", text, &[]);
    assert_says(talk_complaints, "src/ca/tests.rs", text, &[]);
    for macro_name in ["print", "println", "eprint", "dbg"] {
        let complaint = format!("src/ca/mod.rs: `{macro_name}!` outside commands");
        let text = format!("fn f() {{ {macro_name}!() }}");
        assert_says(talk_complaints, "src/ca/mod.rs", &text, &[&complaint]);
    }
}

#[test]
fn reading_the_environment_is_found_outside_commands() {
    let complaint = "src/child/mod.rs: the environment is read outside commands";
    for text in [
        "let home = std::env::var_os(name);",
        "env::vars()",
        "use std::env::{self, var};",
    ] {
        assert_says(talk_complaints, "src/child/mod.rs", text, &[complaint]);
        assert_says(talk_complaints, "src/commands/record.rs", text, &[]);
    }
    let other = "std::env::consts::OS; env!(name); x.env::<T>();";
    assert_says(talk_complaints, "src/child/mod.rs", other, &[]);
}

#[test]
fn tokio_and_sockets_are_found_in_pure_rooms() {
    for word in SOCKETS.into_iter().chain(["tokio"]) {
        let text = format!("use a::{word};");
        let complaint = format!("src/gomod/route.rs: `{word}` in a pure room");
        assert_says(
            purity_complaints,
            "src/gomod/route.rs",
            &text,
            &[&complaint],
        );
        assert_says(purity_complaints, "src/upstream/mod.rs", &text, &[]);
    }
    let addresses = "use std::net::SocketAddr; // tokio";
    assert_says(purity_complaints, "src/exchange.rs", addresses, &[]);
}

#[test]
fn a_dialer_is_found_in_replay() {
    let complaint = "src/replay/serve.rs: replay holds no dialer";
    for text in [
        "use crate::upstream::Upstream;",
        "use crate::{clock, upstream};",
        "use super::upstream::send;",
        "use tokio::net::TcpStream;",
        "dialer.connect(address)",
        "rustix::net::connect",
        "tokio::net::lookup_host(host)",
    ] {
        assert_says(
            offline_complaints,
            "src/replay/serve.rs",
            text,
            &[complaint],
        );
        assert_says(offline_complaints, "src/proxy/responder.rs", text, &[]);
    }
    let data = "let alpn = connection.upstream.alpn; timings[Phase::Connect]; timings.connect_us";
    assert_says(offline_complaints, "src/replay/serve.rs", data, &[]);
}

#[test]
fn a_program_that_inherits_the_environment_is_found() {
    let text = "let output = std::process::Command::new(\"curl\").output();";
    let complaint =
        "tests/it/x.rs: `support::program` starts programs with an environment of their own";
    assert_says(program_complaints, "tests/it/x.rs", text, &[complaint]);
    assert_says(program_complaints, "tests/it/support/x.rs", text, &[]);
}
