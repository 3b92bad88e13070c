//! Times of a HAR: ISO 8601 in the forms that are met, and milliseconds.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::entry::HarTimings;
use crate::exchange::{Phase, Timings};

/// What no browser lived before, and what is too far for a recording's microseconds to be of use.
const YEARS: std::ops::Range<i32> = 1990..2200;

/// The longest phase that is believed, milliseconds: 30 years.
const LONGEST_MS: f64 = 1e12;

/// A date and time, and whether it said its zone; without one it is taken to be UTC.
///
/// Takes what RFC 3339 has, a space for the `T`, and `+0800`.
pub(super) fn date_time(text: &str) -> Option<(OffsetDateTime, bool)> {
    let mut text = text.trim().to_ascii_uppercase();
    if text.as_bytes().get(10) == Some(&b' ') {
        text.replace_range(10..11, "T");
    }
    let clock = text.split_once('T')?.1;
    let has_zone = clock.ends_with('Z') || clock.contains(['+', '-']);
    if !has_zone {
        text.push('Z');
    }
    let zone = text.rfind(['+', '-']).filter(|at| *at > 10);
    if let Some(at) = zone.filter(|at| text.len() == at + 5 && !text.ends_with('Z')) {
        text.insert(at + 3, ':');
    }
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok()?;
    YEARS.contains(&time.year()).then_some((time, has_zone))
}

/// The phases; HAR counts `ssl` inside `connect`, though not everybody does.
pub(super) fn phases(timings: &HarTimings) -> Timings {
    let tls = micros(timings.ssl);
    let connect = micros(timings.connect).map(|connect| {
        let without = tls.map(|tls| connect.checked_sub(tls));
        without.flatten().unwrap_or(connect)
    });
    // All of it was TLS: the connection was made before.
    let connect = connect.filter(|us| *us > 0 || tls.is_none());
    let phases = [
        (Phase::Blocked, micros(timings.blocked)),
        (Phase::Dns, micros(timings.dns)),
        (Phase::Connect, connect),
        (Phase::Tls, tls),
        (Phase::Send, micros(timings.send)),
        (Phase::Wait, micros(timings.wait)),
        (Phase::Receive, micros(timings.receive)),
    ];
    phases
        .into_iter()
        .filter_map(|(phase, us)| Some((phase, us?)))
        .collect()
}

/// Milliseconds as microseconds; `None` for -1 and whatever is no duration.
fn micros(ms: Option<f64>) -> Option<u64> {
    let ms = ms.filter(|ms| (0.0..LONGEST_MS).contains(ms))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 10^15"
    )]
    Some((ms * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_others_write_them() {
        for (text, expected) in [
            (
                "2026-11-22T04:52:00.000001Z",
                Some(("2026-11-22T04:52:00.000001Z", true)),
            ),
            (
                "2026-11-22T12:52:00+08:00",
                Some(("2026-11-22T04:52:00Z", true)),
            ),
            (
                "2026-11-22T12:52:00.5+0800",
                Some(("2026-11-22T04:52:00.5Z", true)),
            ),
            (
                "2026-11-21T23:52:00-0500",
                Some(("2026-11-22T04:52:00Z", true)),
            ),
            ("2026-11-22t04:52:00z", Some(("2026-11-22T04:52:00Z", true))),
            (
                "2026-11-22 04:52:00.123456789",
                Some(("2026-11-22T04:52:00.123456789Z", false)),
            ),
            ("2026-11-22T04:52:00", Some(("2026-11-22T04:52:00Z", false))),
            ("0001-01-01T00:00:00Z", None),
            ("9999-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("2026-11-22", None),
            ("é026-11-22T04:52:00+é", None),
            ("T", None),
            ("", None),
        ] {
            let found = date_time(text);
            let found = found.map(|(time, zone)| (time.to_offset(time::UtcOffset::UTC), zone));
            let expected =
                expected.map(|(text, zone)| (OffsetDateTime::parse(text, &Rfc3339).unwrap(), zone));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn phases_that_did_not_happen_are_none_whatever_stands_for_them() {
        let timings = HarTimings {
            blocked: Some(-1.0),
            dns: None,
            connect: Some(12.0),
            ssl: Some(8.0),
            send: Some(0.0),
            wait: Some(80.5),
            receive: Some(f64::INFINITY),
        };
        let expected = [
            (Phase::Connect, 4_000),
            (Phase::Tls, 8_000),
            (Phase::Send, 0),
            (Phase::Wait, 80_500),
        ];
        assert_eq!(phases(&timings), Timings::from_iter(expected));
        let apart = HarTimings {
            connect: Some(3.0),
            ssl: Some(8.0),
            ..HarTimings::default()
        };
        assert_eq!(phases(&apart)[Phase::Connect], Some(3_000));
        let within = HarTimings {
            connect: Some(8.0),
            ssl: Some(8.0),
            ..HarTimings::default()
        };
        assert_eq!(phases(&within)[Phase::Connect], None);
    }
}
