//! Lines that are said while something waits, and those of a replay.

use super::super::super::live::status_line;
use super::*;

#[test]
fn a_stall_says_who_is_silent_in_which_phase() {
    let lookup = "lookup github.com/spf13/cobra@v1.8.1";
    for (phase, address, what, others, expected) in [
        (
            Phase::Wait,
            Some("142.250.4.141:443"),
            lookup,
            3,
            "no response head from sum.golang.org (142.250.4.141:443, TCP ok, TLS ok): \
             lookup github.com/spf13/cobra@v1.8.1, and 3 more",
        ),
        (
            Phase::Send,
            Some("10.0.0.1:8080"),
            lookup,
            0,
            "no response head from sum.golang.org (10.0.0.1:8080, TCP ok): \
             lookup github.com/spf13/cobra@v1.8.1",
        ),
        (
            Phase::Wait,
            None,
            "",
            0,
            "no response head from sum.golang.org",
        ),
        (
            Phase::Dns,
            None,
            "",
            2,
            "no answer from DNS for sum.golang.org (2 more are waiting)",
        ),
        (
            Phase::Connect,
            None,
            "",
            0,
            "no TCP connection to sum.golang.org",
        ),
        (
            Phase::Connect,
            Some("[2001:db8::1]:443"),
            "",
            0,
            "no TCP connection to sum.golang.org ([2001:db8::1]:443)",
        ),
        (
            Phase::Connect,
            Some("192.0.2.1:443, [2001:db8::1]:443"),
            "",
            0,
            "no TCP connection to sum.golang.org (192.0.2.1:443, [2001:db8::1]:443)",
        ),
        (
            Phase::Tls,
            Some("142.250.4.141:443"),
            "",
            0,
            "no TLS answer from sum.golang.org (142.250.4.141:443, TCP ok)",
        ),
        (
            Phase::Receive,
            None,
            "zip a.b/c v1.0.0",
            0,
            "no data from sum.golang.org, 4.1 MB so far: zip a.b/c v1.0.0",
        ),
        (
            Phase::Blocked,
            None,
            "list m",
            0,
            "a request to sum.golang.org is blocked: list m",
        ),
    ] {
        let mut entry = entry(phase, what, 0);
        entry.address = address.map(str::to_owned);
        entry.is_tls = address.is_some_and(|address| address.ends_with(":443"));
        let silent = std::time::Duration::from_millis(34_900);
        let text = stall_line(
            &Stall {
                entry,
                silent,
                others,
            },
            look(80),
        );
        assert_text(
            &text,
            &[&format!("modtape: still waiting, 34 s: {expected}")],
        );
    }
}

#[test]
fn a_stall_behind_a_parent_proxy_says_which_step_it_is() {
    let (named, literal) = ("http://proxy.corp:3128", "http://10.0.0.1:3128");
    let address = Some("10.0.0.1:3128");
    for (phase, via, address, is_asking, expected) in [
        (
            Phase::Dns,
            named,
            None,
            false,
            "no answer from DNS for parent proxy http://proxy.corp:3128, to reach sum.golang.org",
        ),
        (
            Phase::Connect,
            named,
            address,
            false,
            "no TCP connection to parent proxy http://proxy.corp:3128 (10.0.0.1:3128), \
             to reach sum.golang.org",
        ),
        (
            Phase::Connect,
            named,
            address,
            true,
            "no answer from parent proxy http://proxy.corp:3128 (10.0.0.1:3128, TCP ok) \
             to CONNECT sum.golang.org",
        ),
        (
            Phase::Connect,
            literal,
            address,
            true,
            "no answer from parent proxy http://10.0.0.1:3128 (TCP ok) to CONNECT sum.golang.org",
        ),
        (
            Phase::Tls,
            named,
            address,
            false,
            "no TLS answer from sum.golang.org through parent proxy http://proxy.corp:3128 \
             (10.0.0.1:3128, TCP ok)",
        ),
        (
            Phase::Wait,
            literal,
            address,
            false,
            "no response head from sum.golang.org through parent proxy http://10.0.0.1:3128 \
             (TCP ok, TLS ok)",
        ),
    ] {
        let mut entry = entry(phase, "", 0);
        entry.via = Some(via.to_owned());
        entry.address = address.map(str::to_owned);
        entry.is_asking = is_asking;
        let stalled = Stall {
            entry,
            silent: std::time::Duration::from_secs(34),
            others: 0,
        };
        let expected = format!("modtape: still waiting, 34 s: {expected}");
        assert_text(&stall_line(&stalled, look(80)), &[&expected]);
    }
}

#[test]
fn a_silence_is_told_in_whole_seconds() {
    for (millis, expected) in [
        (900, "900 ms"),
        (59_999, "59 s"),
        (60_000, "1m00s"),
        (125_400, "2m05s"),
    ] {
        let silent = std::time::Duration::from_millis(millis);
        let found = Stall {
            entry: entry(Phase::Wait, "", 0),
            silent,
            others: 0,
        };
        let text = stall_line(&found, look(80));
        assert!(
            text.starts_with(&format!("modtape: still waiting, {expected}: ")),
            "{text}"
        );
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
