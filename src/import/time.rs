//! Times of a HAR: ISO 8601 in the forms that are met, and milliseconds.

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

use super::json::Json;
use super::oddity::{Oddities, Oddity};
use crate::exchange::{Phase, Timings};

/// What no browser lived before, and what is too far for a recording's microseconds to be of use.
const YEARS: std::ops::Range<i32> = 1990..2200;

/// The longest phase that is believed, milliseconds: 30 years.
const LONGEST_MS: f64 = 1e12;

/// Numbers from here on are milliseconds since 1970, smaller ones seconds: 1973, or the year 5138.
const SECONDS_LIMIT: f64 = 1e11;

/// When an entry or a page started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) time: OffsetDateTime,
    /// Whether it named its zone; without one it is taken to be UTC.
    pub(super) has_zone: bool,
}

/// Reads a start: a text, or a number of milliseconds or seconds since 1970.
pub(super) fn start(started: Json, oddities: &mut Oddities) -> Option<Start> {
    let text = match started {
        Json::Number(text) | Json::Text(text) => text,
        Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => return None,
    };
    let Ok(number) = text.trim().parse::<f64>() else {
        return date_time(&text);
    };
    let ms = if number < SECONDS_LIMIT {
        number * 1000.0
    } else {
        number
    };
    let since = Duration::microseconds(i64::try_from(micros(ms, f64::MAX)?).ok()?);
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(since)?;
    oddities.add(Oddity::Converted);
    let has_zone = true;
    YEARS
        .contains(&time.year())
        .then_some(Start { time, has_zone })
}

/// Reads a date and time.
///
/// Takes what RFC 3339 has, a space for the `T`, a comma for the point, numbers of one digit, no
/// seconds, `+08`, `+0800`, `UTC` and `GMT`.
fn date_time(text: &str) -> Option<Start> {
    let mut rest = text.trim().as_bytes();
    let year = number(&mut rest, 4)?;
    let [month, day] = [part(&mut rest, b"-")?, part(&mut rest, b"-")?];
    let [hour, minute] = [part(&mut rest, b"Tt ")?, part(&mut rest, b":")?];
    let second = if rest.starts_with(b":") {
        part(&mut rest, b":")?
    } else {
        0
    };
    let nanos = match rest.first() {
        Some(b'.' | b',') => {
            rest = &rest[1..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let len = digits.count();
            let nanos = (0..9).map(|at| rest.get(at).filter(|_| at < len).map_or(0, |d| d - b'0'));
            let nanos = nanos.fold(0, |nanos, digit| nanos * 10 + u32::from(digit));
            rest = &rest[len..];
            nanos
        }
        _ => 0,
    };
    let has_zone = !rest.is_empty();
    let offset = zone(rest.trim_ascii_start())?;
    let month = Month::try_from(month).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, day).ok()?;
    // A leap second is the end of the one before.
    let time = Time::from_hms_nano(hour, minute, second.min(59), nanos).ok()?;
    let time = date.with_time(time).assume_offset(offset);
    (YEARS.contains(&time.year()) && second < 61).then_some(Start { time, has_zone })
}

/// `Z`, `UTC`, `+8`, `+08`, `+0800` or `+08:00`; of none UTC.
fn zone(mut rest: &[u8]) -> Option<UtcOffset> {
    let is_named = |name: &&[u8]| rest.eq_ignore_ascii_case(name);
    if [&b""[..], b"Z", b"UTC", b"GMT"].iter().any(is_named) {
        return Some(UtcOffset::UTC);
    }
    let is_west = rest.starts_with(b"-");
    rest = rest
        .strip_prefix(b"+")
        .or_else(|| rest.strip_prefix(b"-"))?;
    let hours = i8::try_from(number(&mut rest, 2)?).ok()?;
    rest = rest.strip_prefix(b":").unwrap_or(rest);
    let minutes = match rest {
        b"" => 0,
        _ => i8::try_from(number(&mut rest, 2)?).ok()?,
    };
    if !rest.is_empty() {
        return None;
    }
    let sign = if is_west { -1 } else { 1 };
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// One of these characters, and a number of one or two digits.
fn part(rest: &mut &[u8], before: &[u8]) -> Option<u8> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    let number = number(rest, 2).filter(|_| before.contains(first))?;
    u8::try_from(number).ok()
}

/// A number of at most so many digits.
fn number(rest: &mut &[u8], most: usize) -> Option<u16> {
    let digits = rest
        .iter()
        .take(most)
        .take_while(|byte| byte.is_ascii_digit());
    let (digits, others) = rest.split_at(digits.count());
    *rest = others;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The phases; HAR counts `ssl` inside `connect`, though not everybody does.
pub(super) fn phases(mut timings: Json, oddities: &mut Oddities) -> Timings {
    let mut phase = |name: &str| {
        let ms = timings.take(name, oddities).number(oddities)?;
        let us = micros(ms, LONGEST_MS);
        // -1 is HAR's word for a phase that did not happen.
        oddities.add_if(us.is_none() && ms != -1.0, Oddity::Timing);
        us
    };
    let tls = phase("ssl");
    let connect = phase("connect").map(|connect| {
        let without = tls.map(|tls| connect.checked_sub(tls));
        without.flatten().unwrap_or(connect)
    });
    // All of it was TLS: the connection was made before.
    let connect = connect.filter(|us| *us > 0 || tls.is_none());
    let phases = [
        (Phase::Blocked, phase("blocked")),
        (Phase::Dns, phase("dns")),
        (Phase::Connect, connect),
        (Phase::Tls, tls),
        (Phase::Send, phase("send")),
        (Phase::Wait, phase("wait")),
        (Phase::Receive, phase("receive")),
    ];
    phases
        .into_iter()
        .filter_map(|(phase, us)| Some((phase, us?)))
        .collect()
}

/// Milliseconds as microseconds; `None` for -1 and for an invalid duration.
fn micros(ms: f64, longest: f64) -> Option<u64> {
    let ms = Some(ms).filter(|ms| (0.0..longest.min(1e15)).contains(ms))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 10^18"
    )]
    Some((ms * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn times_are_read_as_others_write_them() {
        let text = |text: &str| Json::Text(text.to_owned());
        for (json, expected) in [
            (
                text("2026-11-22T04:52:00.000001Z"),
                Some(("2026-11-22T04:52:00.000001Z", true)),
            ),
            (
                text("2026-11-22T12:52:00+08:00"),
                Some(("2026-11-22T04:52:00Z", true)),
            ),
            (
                text("2026-11-22T12:52:00.5+0800"),
                Some(("2026-11-22T04:52:00.5Z", true)),
            ),
            (
                text("2026-11-22T12:52:00.5+08"),
                Some(("2026-11-22T04:52:00.5Z", true)),
            ),
            (
                text("2026-11-22T12:52:00.5 +8"),
                Some(("2026-11-22T04:52:00.5Z", true)),
            ),
            (
                text("2026-11-21T23:52:00-0500"),
                Some(("2026-11-22T04:52:00Z", true)),
            ),
            (
                text("2026-11-22T10:22:00.7395654+05:30"),
                Some(("2026-11-22T04:52:00.7395654Z", true)),
            ),
            (
                text("2026-11-22t4:52:00z"),
                Some(("2026-11-22T04:52:00Z", true)),
            ),
            (
                text("2026-11-22T04:52Z"),
                Some(("2026-11-22T04:52:00Z", true)),
            ),
            (
                text("2026-11-22 04:52:00,5 UTC"),
                Some(("2026-11-22T04:52:00.5Z", true)),
            ),
            (
                text("2026-11-22 04:52:00.1234567891"),
                Some(("2026-11-22T04:52:00.123456789Z", false)),
            ),
            (
                text("2026-11-22T04:52:00"),
                Some(("2026-11-22T04:52:00Z", false)),
            ),
            (
                text("2016-12-31T23:59:60Z"),
                Some(("2016-12-31T23:59:59Z", true)),
            ),
            (text("1795323120000"), Some(("2026-11-22T04:52:00Z", true))),
            (
                Json::Number("1795323120500.25".into()),
                Some(("2026-11-22T04:52:00.50025Z", true)),
            ),
            (
                Json::Number("1795323120.5".into()),
                Some(("2026-11-22T04:52:00.5Z", true)),
            ),
            (Json::Number("-5".into()), None),
            (Json::Number("1e300".into()), None),
            (text("0001-01-01T00:00:00Z"), None),
            (text("9999-01-01T00:00:00Z"), None),
            (text("2026-13-22T04:52:00Z"), None),
            (text("2026-11-22T04:52:00+99:00"), None),
            (text("2026-11-22T04:52:00+1:2:3:4"), None),
            (text("yesterday"), None),
            (text("2026-11-22"), None),
            (text("\u{e9}026-11-22T04:52:00+\u{e9}"), None),
            (text("T"), None),
            (text(""), None),
            (Json::Null, None),
            (Json::List(Vec::new()), None),
        ] {
            let shown = format!("{json:?}");
            let found = start(json, &mut Oddities::default());
            let found = found.map(|start| (start.time.to_offset(UtcOffset::UTC), start.has_zone));
            let expected =
                expected.map(|(text, zone)| (OffsetDateTime::parse(text, &Rfc3339).unwrap(), zone));
            assert_eq!(found, expected, "{shown}");
        }
    }

    #[test]
    fn phases_that_did_not_happen_are_none_whatever_stands_for_them() {
        let read = |members: &[(&str, &str)]| {
            let number =
                |(name, ms): &(&str, &str)| ((*name).to_owned(), Json::Number((*ms).to_owned()));
            let mut oddities = Oddities::default();
            let timings = Json::Object(members.iter().map(number).collect());
            let phases = phases(timings, &mut oddities);
            (phases, oddities.has(Oddity::Timing))
        };
        let told = [
            ("blocked", "-1"),
            ("connect", "12"),
            ("ssl", "8"),
            ("send", "0"),
            ("wait", "80.5"),
        ];
        let expected = [
            (Phase::Connect, 4_000),
            (Phase::Tls, 8_000),
            (Phase::Send, 0),
            (Phase::Wait, 80_500),
        ];
        assert_eq!(read(&told), (Timings::from_iter(expected), false));
        let (apart, _) = read(&[("connect", "3"), ("ssl", "8")]);
        assert_eq!(apart[Phase::Connect], Some(3_000));
        let (within, _) = read(&[("connect", "8"), ("ssl", "8")]);
        assert_eq!(within[Phase::Connect], None);
        assert_eq!(read(&[("wait", "-1000")]), (Timings::default(), true));
        assert_eq!(read(&[("wait", "1e13")]), (Timings::default(), true));
    }
}
