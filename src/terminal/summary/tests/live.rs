//! Lines that are said while something waits, and those of a replay.

use super::super::super::live::status_line;
use super::*;

#[test]
fn a_stall_line_says_the_cause_and_what_waits_for_it() {
    let lookup = "lookup github.com/spf13/cobra@v1.8.1";
    for (what, others, expected) in [
        (
            lookup,
            3,
            " (lookup github.com/spf13/cobra@v1.8.1 and 3 more)",
        ),
        (lookup, 0, " (lookup github.com/spf13/cobra@v1.8.1)"),
        ("", 2, " (and 2 more wait)"),
        ("", 0, ""),
    ] {
        let found = notice(entry(Phase::Wait, what, 0), others);
        let expected = format!("modtape: still waiting: nobody answers{expected} [MT101]");
        assert_text(&stall_line(&found, look(80)), &[&expected]);
    }
}

pub(super) fn status_of(in_flight: &[InFlight], look: Look) -> String {
    let passed = Passed {
        exchanges: 207,
        bytes: 12_300_000,
    };
    status_line(in_flight, passed, Timestamp::from_micros(60_000_000), look)
}

#[test]
fn the_status_line_fits_the_terminal() {
    let zip = entry(Phase::Receive, "zip golang.org/x/net v0.34.0", 57);
    let dial = entry(Phase::Connect, "", 59);
    let both = [zip, dial];
    let line = "modtape: 2 in flight, 207 done, 12.3 MB: zip golang.org/x/net v0.34.0 3.00 s";
    let more = ", connecting sum.golang.org 1.00 s";
    assert_eq!(status_of(&both, look(120)), format!("{line}{more}"));
    assert_eq!(status_of(&both, look(80)), format!("{line} …"));
    let ascii = Look {
        ascii: true,
        ..look(80)
    };
    assert_eq!(status_of(&both, ascii), format!("{line} ..."));
    assert_eq!(
        status_of(&both, look(60)),
        "modtape: 2 in flight, 207 done, 12.3 MB: zip golang.org/x/ …"
    );
    assert_eq!(
        status_of(&[], look(60)),
        "modtape: 0 in flight, 207 done, 12.3 MB"
    );
    let whole = "modtape: 1 in flight, 207 done, 12.3 MB: connecting sum.golang.org 1.00 s";
    assert_eq!(status_of(&both[1..], look(whole.len())), whole);
    let cut = status_of(&both[1..], look(whole.len() - 1));
    assert_eq!(cut, format!("{} …", &whole[..whole.len() - 3]));
}

pub(super) fn misses(asked: &[(&str, Option<&str>)]) -> Misses {
    let mut misses = Misses::default();
    for (what, instead) in asked {
        misses.add((*what).into(), instead.map(str::to_owned));
    }
    misses
}

#[test]
fn a_replay_counts_and_lists_what_was_missing() {
    let of = |hits, misses: &Misses| {
        let recorder = "modtape record -o ci --force -- go build";
        replayed(
            &Replayed {
                hits,
                misses,
                recorder,
                packets: None,
            },
            look(80),
        )
    };
    assert_text(
        &of(376, &misses(&[])),
        &["modtape: 376 answered, 0 missing, 0 went to the network"],
    );
    let asked = misses(&[
        ("zip a.b/c v1.0.0", None),
        ("list a.b/d", Some("it was recorded only in part")),
        ("zip a.b/c v1.0.0", None),
    ]);
    assert_text(
        &of(1, &asked),
        &[
            "modtape: 1 answered, 3 missing, 0 went to the network",
            "  missing: zip a.b/c v1.0.0, asked 2 times",
            "  missing: list a.b/d (it was recorded only in part)",
            "  record what is missing: modtape record -o ci --force -- go build",
        ],
    );
    let mut many = Misses::default();
    (0..23).for_each(|id| many.add(format!("list m{id}"), None));
    let text = of(0, &many);
    assert!(
        text.contains("\n  missing: list m19\n  and 3 more\n"),
        "{text}"
    );
    (0..2_000).for_each(|id| many.add(format!("list m{id}"), None));
    let text = of(0, &many);
    assert!(text.contains(" 2023 missing, "), "{text}");
    assert!(
        text.contains("\n  and 980 more, and others 1000 times\n"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn the_status_line_is_never_too_wide(
        whats in prop::collection::vec(any::<String>(), 0..5),
        width in 1..130_usize,
        ascii in any::<bool>(),
    ) {
        let entries: Vec<_> = whats.iter().map(|what| entry(Phase::Wait, what, 1)).collect();
        let line = status_of(&entries, Look { ascii, ..look(width) });
        prop_assert!(columns(&line) <= width, "{} > {width}: {line}", columns(&line));
        prop_assert_eq!(plain(&line), &*line);
        prop_assert!(!ascii || line.is_ascii());
    }
}
