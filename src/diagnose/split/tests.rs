use proptest::prelude::*;

use super::super::sample::{connection, connections, in_flight, row};
use super::super::timeline::Connections;
use super::*;
use crate::clock::Timestamp;
use crate::exchange::Mode;
use crate::recording::Row;
use crate::recording::reader::RowState;

const A: &str = "https://a.example/x";
const B: &str = "https://b.example:8443/x";

fn of(rows: &[Row], wall_us: u64) -> Split {
    Split::of(&Timeline::of(rows, &Connections::new(), wall_us, |_| false))
}

#[test]
fn one_request_has_its_time_to_itself() {
    let phases = [
        (Phase::Dns, 5),
        (Phase::Send, 1),
        (Phase::Wait, 30),
        (Phase::Receive, 4),
    ];
    let split = of(&[row(1, A, 10, &phases)], 100);
    assert_eq!((split.wall_us, split.idle_us), (100, 60));
    for (phase, us) in phases {
        assert_eq!(split.phases[phase], us, "{phase}");
    }
    assert_eq!(split.phases.total_us(), 40);
    assert_eq!(split.in_flight_us, [60, 40]);
}

#[test]
fn an_instant_is_shared_equally_by_the_phase_each_is_in() {
    let rows = [
        row(1, A, 0, &[(Phase::Wait, 100)]),
        row(2, B, 40, &[(Phase::Receive, 60)]),
    ];
    let split = of(&rows, 100);
    assert_eq!(split.phases[Phase::Wait], 40 + 30);
    assert_eq!(split.phases[Phase::Receive], 30);
    assert_eq!(split.idle_us, 0);
    assert_eq!(split.in_flight_us, [0, 40, 60]);
    assert_eq!(split.by_host["a.example"].total_us(), 70);
    assert_eq!(split.by_host["b.example:8443"][Phase::Receive], 30);
    assert_eq!(
        split.hosts(&[Phase::Wait, Phase::Receive]),
        [("a.example", 70), ("b.example:8443", 30)]
    );
    assert_eq!(split.hosts(&[Phase::Receive]), [("b.example:8443", 30)]);
}

#[test]
fn requests_that_follow_each_other_are_never_in_flight_together() {
    let rows = [
        row(1, A, 0, &[(Phase::Wait, 50)]),
        row(2, A, 50, &[(Phase::Wait, 50)]),
    ];
    assert_eq!(of(&rows, 100).in_flight_us, [0, 100]);
}

#[test]
fn what_does_not_divide_is_lost_nowhere() {
    let hosts = ["https://a/", "https://b/", "https://c/"];
    let rows: Vec<Row> = hosts
        .iter()
        .map(|url| row(1, url, 0, &[(Phase::Wait, 100)]))
        .collect();
    let split = of(&rows, 100);
    let mut shares: Vec<u64> = split.by_host.values().map(Shares::total_us).collect();
    shares.sort_unstable();
    assert_eq!(shares, [33, 33, 34]);
}

#[test]
fn what_has_no_end_waits_to_the_end() {
    let mut aborted = in_flight(2, B, 90);
    aborted.state = RowState::Aborted;
    let split = of(&[in_flight(1, A, 20), aborted], 100);
    assert_eq!(split.idle_us, 20);
    assert_eq!(split.phases[Phase::Wait], 80);
    assert_eq!(split.by_host["b.example:8443"][Phase::Wait], 5);
}

#[test]
fn what_lost_its_end_on_the_way_to_the_disk_takes_no_time() {
    let rows = [in_flight(1, A, 20), row(2, B, 50, &[(Phase::Wait, 10)])];
    let is_lost = |row: &Row| row.state == RowState::InFlight;
    let split = Split::of(&Timeline::of(&rows, &Connections::new(), 100, is_lost));
    assert_eq!((split.idle_us, split.phases[Phase::Wait]), (90, 10));
}

#[test]
fn a_failed_dial_counts_and_an_unused_one_does_not() {
    let mut failed = connection(2, Mode::Intercept, "a.example:443");
    failed.started_us = Timestamp::from_micros(10);
    failed.dns_us = Some(20);
    failed.connect_us = Some(30);
    failed.error = Some("no connection".into());
    let mut spare = failed.clone();
    (spare.id, spare.error) = (3, None);
    let mut owned = failed.clone();
    owned.id = 1;
    let rows = [row(1, A, 70, &[(Phase::Connect, 20)])];
    let split = Split::of(&Timeline::of(
        &rows,
        &connections(vec![owned, failed, spare]),
        100,
        |_| false,
    ));
    assert_eq!(split.phases[Phase::Dns], 20);
    assert_eq!(split.phases[Phase::Connect], 30 + 20);
    assert_eq!(split.idle_us, 30);
    assert_eq!(split.by_host.keys().collect::<Vec<_>>(), ["a.example"]);
}

#[test]
fn runs_follow_each_other() {
    let mut later = row(1, A, 10, &[(Phase::Receive, 5)]);
    later.run = 1;
    let rows = [
        row(1, A, 0, &[(Phase::Wait, 50)]),
        in_flight(2, A, 40),
        later,
    ];
    let split = of(&rows, 100);
    assert_eq!(split.in_flight_us, [45, 45, 10]);
    assert_eq!(split.phases[Phase::Receive], 5);
    assert_eq!(split.phases[Phase::Wait], 50);
}

#[test]
fn a_wall_time_that_is_not_known_is_what_the_rows_cover() {
    let split = of(&[row(1, A, 10, &[(Phase::Wait, 50)])], 0);
    assert_eq!((split.wall_us, split.idle_us), (60, 10));
    assert_eq!(of(&[], 0), Split::default());
    assert_eq!(of(&[], 7).in_flight_us, [7]);
}

#[test]
fn our_own_time_behind_an_answer_is_shared_like_any_other() {
    let mut held = row(1, A, 10, &[(Phase::Wait, 30)]);
    held.own_us = 40;
    let other = row(2, B, 60, &[(Phase::Receive, 40)]);
    let split = of(&[held, other], 100);
    assert_eq!(split.own_us, 20 + 20 / 2);
    assert_eq!(split.phases[Phase::Receive], 20 / 2 + 20);
    assert_eq!((split.idle_us, split.phases[Phase::Wait]), (10, 30));
    assert_adds_up(&split);
}

#[test]
fn stamps_at_the_end_of_time_do_no_harm() {
    let huge = [(Phase::Wait, u64::MAX), (Phase::Receive, u64::MAX)];
    let mut other = row(3, B, u64::MAX, &huge);
    other.run = u32::MAX;
    let split = of(
        &[row(1, A, u64::MAX - 1, &huge), row(2, B, 1, &huge), other],
        5,
    );
    assert_eq!(split.wall_us, u64::MAX);
    assert_adds_up(&split);
}

fn assert_adds_up(split: &Split) {
    let known = split.idle_us + split.own_us;
    assert_eq!(known + split.phases.total_us(), split.wall_us);
    let hosts: u64 = split.by_host.values().map(Shares::total_us).sum();
    assert_eq!(known + hosts, split.wall_us);
    assert_eq!(split.in_flight_us.iter().sum::<u64>(), split.wall_us);
    assert_eq!(
        split.in_flight_us.first().copied().unwrap_or(0),
        split.idle_us
    );
    assert_ne!(split.in_flight_us.last(), Some(&0));
}

/// What the rule says, instant by instant; our own time comes behind the phases.
fn by_the_rule(rows: &[Row], wall_us: u64) -> [f64; Phase::ALL.len() + 1] {
    let part_at = |row: &Row, at: u64| {
        let mut from = row.started.as_micros();
        if row.state == RowState::InFlight {
            return (from <= at).then_some(Phase::Wait as usize);
        }
        let own = (Phase::ALL.len(), row.own_us);
        let phases = row.phases.iter().map(|(phase, us)| (phase as usize, us));
        phases.chain([own]).find_map(|(part, us)| {
            let since = from;
            from += us;
            (since <= at && at < from).then_some(part)
        })
    };
    let mut sums = [0.0; Phase::ALL.len() + 1];
    for at in 0..wall_us {
        let now: Vec<usize> = rows.iter().filter_map(|row| part_at(row, at)).collect();
        for part in &now {
            sums[*part] += 1.0 / now.len() as f64;
        }
    }
    sums
}

fn any_row() -> impl Strategy<Value = Row> {
    let phases = prop::collection::vec((0..Phase::ALL.len(), 0..60_u64), 0..7);
    let own = prop_oneof![Just(0), 0..60_u64];
    (0..200_u64, phases, any::<bool>(), own).prop_map(|(started, mut phases, first, own)| {
        phases.sort_unstable();
        phases.dedup_by_key(|(phase, _)| *phase);
        let phases: Vec<_> = phases
            .into_iter()
            .map(|(phase, us)| (Phase::ALL[phase], us))
            .collect();
        let url = if first { A } else { B };
        if phases.is_empty() {
            in_flight(1, url, started)
        } else {
            let mut row = row(1, url, started, &phases);
            row.own_us = own;
            row
        }
    })
}

proptest! {
    #[test]
    fn parts_add_up_to_the_wall_time(rows in prop::collection::vec(any_row(), 0..40), wall in 0..700_u64) {
        assert_adds_up(&of(&rows, wall));
    }

    #[test]
    fn the_sweep_gives_what_the_rule_says(rows in prop::collection::vec(any_row(), 0..12), wall in 0..700_u64) {
        let split = of(&rows, wall);
        let parts = Phase::ALL.into_iter().map(|phase| split.phases[phase]).chain([split.own_us]);
        for (part, sum) in parts.zip(by_the_rule(&rows, split.wall_us)) {
            // Each of two hosts may be rounded by less than one microsecond.
            let off = (part as f64 - sum).abs();
            prop_assert!(off < 2.0, "{part} is not {sum}: {split:?}");
        }
    }
}
