//! Recordings of very many of one thing. A step that is quadratic in them makes these tests take minutes
//! where they take seconds: nothing is measured here, and a rule that is slow in another shape is not
//! seen.

use super::*;
use crate::diagnose::processes::Activity;
use crate::diagnose::{chain, hosts, ladder, split, tally};

const MANY: u64 = 20_000;

/// All that a report says of it, as codes.
fn explained(made: &Made) -> Vec<&'static str> {
    let told = made.on_case(|case| {
        chain::chain(case);
        ladder::ladder(case);
        ladder::answered(case);
        hosts::hosts(case);
        split::Split::of(&case.timeline);
        findings(case)
    });
    tally::Tally::of(&made.rows, &made.connections);
    let mut codes: Vec<&str> = told.into_iter().map(|finding| finding.code).collect();
    codes.dedup();
    codes
}

/// A request of a host of its own, on a connection of its own.
fn apart(id: u64, path: &str, us: u64) -> Row {
    Row {
        connection: id,
        ..row(
            id,
            &format!("https://h{id}.example/{path}"),
            id * 1000,
            &[(Phase::Wait, us)],
        )
    }
}

fn hosts_of(rows: impl Iterator<Item = Row>) -> Made {
    let dials = (1..=MANY).map(|id| dialled(id, &format!("h{id}.example")));
    Made::of(rows.collect()).through(dials.collect())
}

#[test]
fn many_hosts_that_refuse() {
    for (path, status) in [
        ("a.example/m/@v/v1.0.0.zip", 401),
        ("a.example/m/@v/v1.0.0.info", 404),
        ("a.example/m/@v/list", 500),
        ("m/info/refs?service=git-upload-pack", 401),
    ] {
        let refused = (1..=MANY).map(|id| Row {
            status: Some(status),
            ..apart(id, path, S)
        });
        assert!(explained(&hosts_of(refused).exit(1)).len() < 10);
    }
}

#[test]
fn many_modules_that_fell_through_to_repositories_of_their_own() {
    let refused = (1..=MANY).map(|n| {
        let path = format!("h{n}.example/m/@v/v1.0.0.info");
        refused(MANY + n, &path, 404, n, 1000)
    });
    let cloned = (1..=MANY).map(|id| apart(id, "m.git/info/refs?service=git-upload-pack", S));
    let made = hosts_of(refused.chain(cloned));
    assert!(explained(&made).contains(&"MT113"));
    let refused = made.rows.into_iter().take(20_000);
    let tunnels = (1..=MANY).map(|id| Opened {
        started_us: Timestamp::from_micros(id * S),
        mode: Mode::Tunnel,
        ..dialled(id, &format!("h{id}.example"))
    });
    let made = Made::of(refused.collect()).through(tunnels.collect());
    explained(&made);
}

#[test]
fn many_hosts_and_connections_that_are_silent() {
    let silent = |id: u64| given_up(apart(id, "a.example/m/@v/v1.0.0.zip", 20 * S));
    let made = hosts_of((1..=MANY).map(silent)).exit(130);
    let made = (1..=MANY).fold(made, |made, id| made.breaks(id, "cut off by Ctrl-C"));
    assert!(explained(&made).contains(&"MT101"));
    let slow = |id: u64| apart(id, "a.example/m/@v/list", 9 * S);
    explained(&hosts_of((1..=MANY).map(slow)));
}

#[test]
fn many_dials_of_one_connection() {
    let rows = (1..=MANY).map(|n| {
        let host = n % 2;
        let url = format!("http://h{host}.example/a.example/m{n}/@v/v1.0.0.mod");
        row(n, &url, 0, &[(Phase::Wait, 1000)])
    });
    let mut made = Made::of(rows.collect());
    let dial = |n: u64| Opened {
        started_us: Timestamp::from_micros(n),
        again: n > 1,
        ..connection(1, Mode::Plain, &format!("h{}.example:80", n.min(2)))
    };
    made = made.through(vec![dial(1)]);
    let connection = made.connections.get_mut(&(0, 1)).unwrap();
    connection.again = (2..=MANY).map(dial).collect();
    explained(&made);
    // And nobody asked for anything.
    made.rows.clear();
    let connection = made.connections.get_mut(&(0, 1)).unwrap();
    for dial in &mut connection.again {
        dial.connect_us = Some(S);
        dial.error = Some("cannot connect to h2.example:80 (192.0.2.1:80: refused)".into());
        dial.tries = vec![Tried {
            addr: format!("192.0.2.1:{}", dial.started_us.as_micros()),
            took_us: S,
            error: Some("refused".into()),
            reason: None,
        }];
    }
    assert!(explained(&made).contains(&"MT106"));
}

#[test]
fn many_times_without_a_request() {
    let rows = (1..=MANY).map(|n| answer(n, ZIP, n * 2 * S, S));
    let mut made = Made::of(rows.collect()).exit(1);
    made.samples = (1..=MANY)
        .map(|n| Sampled {
            run: 0,
            at: Timestamp::from_micros(n * 2 * S + 3 * S / 2),
            sample: Sample {
                processes: processes::waiting_in_turn(n),
                ..Sample::default()
            },
        })
        .collect();
    assert!(explained(&made).contains(&"MT207"));
}

#[test]
fn many_processes_in_one_look() {
    let sample = Sample {
        processes: processes::chain_of(u32::try_from(MANY).unwrap()),
        ..Sample::default()
    };
    assert!(Activity::of(&sample).is_some());
}

#[test]
fn many_requirements_that_are_renamed_replaced_and_retracted() {
    let rows = (1..=MANY).map(|n| {
        let path = format!("a.example/m{n}/@v/v1.0.0.mod");
        answer(n, &path, n * 1000, 1000)
    });
    let mut made = Made::of(rows.collect()).exit(1);
    let mut main = String::from("module a.example/main\ngo 1.16\n");
    for n in 1..=MANY {
        main.push_str(&format!("require a.example/m{n} v1.0.0\n"));
        main.push_str(&format!(
            "replace a.example/x{n} => a.example/y{n} v1.0.0\n"
        ));
    }
    made = made.main(&main);
    for n in 1..=MANY {
        let mut text = format!("module a.example/other{n} // Deprecated: no\ngo 1.16\n");
        for of in n..n + 10 {
            text.push_str(&format!("require a.example/m{} v1.0.0\n", of % MANY + 1));
        }
        made = made.serves(n, &text);
    }
    assert!(explained(&made).contains(&"MT305"));
}

#[test]
fn many_contents_that_differ() {
    let rows = (1..=MANY).map(|id| answer(id, &format!("a.example/m{id}/@v/v1.0.0.zip"), id, 10));
    let mut made = Made::of(rows.collect()).exit(1);
    made.manifest.conflicts = (1..=MANY).map(content::differing).collect();
    assert_eq!(explained(&made), ["MT301"]);
}
