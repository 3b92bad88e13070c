//! What cost time though no request shows it: dials that led nowhere, and our own work.

use super::*;
use crate::exchange::{ClientSide, Mode, Opened, Tried};
use crate::recording::reader::ConnectionRow;

/// A CONNECT to an address that never answered.
fn hang(id: u64, why: &str) -> Opened {
    Opened {
        id,
        started_us: Timestamp::default(),
        again: false,
        mode: Mode::Refuse,
        target: "proxy.golang.org:443".into(),
        client: ClientSide::default(),
        upstream: None,
        dns_us: Some(500_000),
        connect_us: Some(5_500_000),
        tls_us: None,
        tries: vec![Tried {
            addr: "192.0.2.1:443".into(),
            took_us: 5_500_000,
            error: Some("no answer".into()),
            reason: None,
        }],
        error: Some(why.into()),
        reason: None,
    }
}

fn connections(opened: Vec<Opened>) -> Connections {
    let row = |opened: Opened| {
        let row = ConnectionRow {
            opened: Some(opened.clone()),
            ..ConnectionRow::default()
        };
        ((0, opened.id), row)
    };
    opened.into_iter().map(row).collect()
}

#[test]
fn a_hang_in_connecting_shows_its_time_though_there_was_no_request() {
    let why = "cut off by --timeout 6s while its tunnel was being connected \
               (192.0.2.1:443: no answer)";
    let connections = connections(vec![hang(1, why), hang(2, why)]);
    let mut case = Case::of(&[], 6_000_000);
    case.split = Split::of(&Timeline::of(&[], &connections, 6_000_000, |_| false));
    case.tally = Tally::of(&[], &connections);
    case.why_empty = vec!["no request came over the connection".into()];
    assert_text(
        &case.render(look(120)),
        &[
            "modtape: no requests in 6.00 s  recording: recordings/tidy-1122-0452",
            "  connecting (DNS+TCP+TLS)   6.00 s 100%  ███████████████████████  proxy.golang.org (192.0.2.1:443) 6.00 s",
            "  no request came over the connection",
        ],
    );
}

#[test]
fn what_could_not_be_reached_beside_other_requests_is_named() {
    let connections = connections(vec![hang(2, "no way"), hang(3, "no way either")]);
    let mut case = Case::tidy();
    case.tally.failed = Tally::of(&[], &connections).failed;
    let text = case.render(look(80));
    let expected = "\n! 2 connections to proxy.golang.org failed: no way";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn our_own_time_shows_from_one_part_in_twenty_with_what_costs_it() {
    let of = |own_us, durability| {
        let mut held = row(GOLANG, 0, &[(Phase::Wait, 100_000_000 - own_us)]);
        held.own_us = own_us;
        let mut case = Case::of(&[held], 100_000_000);
        case.durability = durability;
        let text = case.render(look(120));
        let line = text.lines().find(|line| line.contains("own time"));
        line.map(|line| line.trim_start().to_owned())
    };
    assert_eq!(of(5_000_000, Durability::Strict), None);
    let strict = of(20_000_000, Durability::Strict).expect("a line");
    let expected = "by --durability strict, which waits for the disk";
    assert!(
        strict.starts_with("modtape's own time         20.0 s  20%"),
        "{strict}"
    );
    assert!(strict.ends_with(expected), "{strict}");
    let other = of(5_000_001, Durability::Process).expect("a line");
    assert!(other.ends_with("slow disk?"), "{other}");
}
