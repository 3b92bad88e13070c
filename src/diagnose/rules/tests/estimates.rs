//! How long a run would have taken but for a cause, from rows that are made by hand.

use super::*;

const MS: u64 = 1000;

/// The estimate of the first finding, which is of this code.
fn estimate(made: &Made, code: &str) -> Option<u64> {
    let first = made.first();
    assert_eq!(first.code, code, "{first:#?}");
    first.estimate_us
}

fn module(n: u64) -> String {
    format!("a.example/m{n}")
}

fn requiring(modules: impl Iterator<Item = u64>) -> String {
    modules
        .map(|n| format!("require {} v1.0.0\n", module(n)))
        .collect()
}

/// So many go.mod files, two at a time, each 100 ms; all required by the main module.
fn pairs(files: u64) -> Made {
    let rows = (0..files).map(|n| go_mod_of(n + 1, &module(n), n / 2 * 100 * MS, 100 * MS));
    let main = format!("module a.example/main\ngo 1.16\n{}", requiring(0..files));
    let made = Made::of(rows.collect()).processors(2).main(&main);
    (0..files).fold(made, |made, n| {
        made.serves(n + 1, &format!("module {}\ngo 1.17\n", module(n)))
    })
}

#[test]
fn more_workers_take_as_many_rounds_as_they_need() {
    assert_eq!(estimate(&pairs(96), "MT201"), Some(600 * MS));
    assert_eq!(estimate(&pairs(97), "MT201"), Some(700 * MS));
    // In a moment: no step is quadratic.
    assert_eq!(estimate(&pairs(20_000), "MT201"), Some(125 * S));
}

#[test]
fn more_workers_wait_for_what_must_be_there_first() {
    // Of 100 files the last 60 are required by the 40th alone, and the first of them by the last of the rest.
    let made = pairs(100);
    let main = format!("module a.example/main\ngo 1.16\n{}", requiring(0..40));
    let last = format!("module {}\n{}", module(39), requiring(40..100));
    let made = made.main(&main).serves(40, &last);
    // Three rounds of 16 for 40 files, the last of which lets 60 others begin: four more.
    assert_eq!(estimate(&made, "MT201"), Some(700 * MS));
    // Each pair is required by the one before.
    let chain = (0..100).fold(pairs(100), |made, n| {
        let next = requiring(n + 2..(n + 4 - n % 2 * 2).min(100));
        made.serves(n + 1, &format!("module {}\n{next}", module(n)))
    });
    let main = format!("module a.example/main\ngo 1.16\n{}", requiring(0..2));
    // More workers have nothing to do.
    assert_eq!(estimate(&chain.main(&main), "MT201"), None);
}

#[test]
fn an_estimate_needs_a_whole_run_whose_order_is_understood() {
    let unknown = || {
        let mut made = pairs(96);
        made.go_mods.clear();
        made
    };
    assert_eq!(estimate(&unknown(), "MT201"), None);
    assert_eq!(estimate(&pairs(96).exit(1), "MT201"), None);
    // With zips it is a matter of unpacking, too.
    let mut zips = pairs(96);
    for row in &mut zips.rows[80..] {
        row.url = row.url.replace(".mod", ".zip");
    }
    assert_eq!(estimate(&zips, "MT201"), None);
    // Something else took most of the time.
    let mut long = pairs(96);
    long.rows[95].phases[Phase::Wait] = Some(900 * S);
    assert!(
        long.findings()
            .iter()
            .all(|one| one.code != "MT201" || one.estimate_us.is_none())
    );
}

/// Modules one after another, each asked first of an entry that answers 504 after a second.
fn dead_entry(modules: u64) -> Made {
    let url = |host: &str, n| format!("https://{host}/{}/@v/v1.0.0.mod", module(n));
    let rows = (0..modules).flat_map(|n| {
        let begin = n * 1300 * MS;
        let dead = Row {
            status: Some(504),
            ..row(
                2 * n + 1,
                &url("goproxy.corp", n),
                begin,
                &[(Phase::Wait, S)],
            )
        };
        let wait = &[(Phase::Wait, 300 * MS)];
        [
            dead,
            row(2 * n + 2, &url("proxy.golang.org", n), begin + S, wait),
        ]
    });
    Made::of(rows.collect())
        .goproxy("https://goproxy.corp|https://proxy.golang.org")
        .processors(1)
}

#[test]
fn without_a_dead_entry_the_rest_remains() {
    assert_eq!(estimate(&dead_entry(5), "MT116"), Some(1500 * MS));
    let mut unknown = dead_entry(5);
    unknown.manifest.processors = None;
    assert_eq!(estimate(&unknown, "MT116"), None);
}

#[test]
fn what_saves_little_is_not_estimated() {
    let mut made = dead_entry(1);
    assert_eq!(estimate(&made, "MT116"), Some(300 * MS));
    made.manifest.wall_us = 9 * S;
    assert_eq!(estimate(&made, "MT116"), Some(8 * S));
    made.manifest.wall_us = 11 * S;
    assert_eq!(estimate(&made, "MT116"), None);
}

#[test]
fn http_2_shakes_hands_once() {
    let rows = (0..10).map(|n| Row {
        connection: n + 1,
        ..row(
            n + 1,
            &format!("{GOLANG}/{}/@v/v1.0.0.mod", module(n)),
            n * 400 * MS,
            &[(Phase::Tls, 300 * MS), (Phase::Wait, 100 * MS)],
        )
    });
    let dials = (0..10).map(|n| {
        let mut opened = dialled(n + 1, "proxy.golang.org");
        opened.upstream.as_mut().expect("it has one").alpn = Some("http/1.1".into());
        opened
    });
    let made = Made::of(rows.collect())
        .through(dials.collect())
        .processors(1);
    assert_eq!(estimate(&made, "MT204"), Some(1300 * MS));
}

#[test]
fn a_relayed_database_takes_as_long_as_the_proxy() {
    let rows = (0..4).flat_map(|n| {
        let begin = n * 2200 * MS;
        let lookup = format!("https://sum.golang.org/lookup/{}@v1.0.0", module(n));
        let wait = |us| [(Phase::Wait, us)];
        [
            go_mod_of(2 * n + 1, &module(n), begin, 200 * MS),
            row(2 * n + 2, &lookup, begin + 200 * MS, &wait(2 * S)),
        ]
    });
    let dials = vec![dialled(1, "proxy.golang.org"), dialled(2, "sum.golang.org")];
    let made = Made::of(rows.collect()).through(dials).processors(1);
    assert_eq!(estimate(&made, "MT112"), Some(1600 * MS));
}
