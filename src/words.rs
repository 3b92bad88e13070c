//! Numbers as people read them: durations, sizes, times since the start, shares and bars.
//!
//! Pure: integers in, text out. Every output for people takes its words from here; outputs for
//! programs keep integers.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Microseconds as a duration: `0.4 ms`, `142 ms`, `3.41 s`, `48.2 s`, `2m05s`, `1h02m`.
pub(crate) fn duration(us: u64) -> String {
    let rounded = |unit: u64| us.saturating_add(unit / 2) / unit;
    if us == 0 {
        "0 ms".into()
    } else if us < 100 {
        "<0.1 ms".into()
    } else if rounded(100) < 100 {
        format!("{} ms", tenths(rounded(100)))
    } else if rounded(1_000) < 1_000 {
        format!("{} ms", rounded(1_000))
    } else if rounded(10_000) < 1_000 {
        let hundredths = rounded(10_000);
        format!("{}.{:02} s", hundredths / 100, hundredths % 100)
    } else if rounded(100_000) < 600 {
        format!("{} s", tenths(rounded(100_000)))
    } else if rounded(1_000_000) < 3_600 {
        let seconds = rounded(1_000_000);
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    } else {
        let minutes = rounded(60_000_000);
        format!("{}h{:02}m", minutes / 60, minutes % 60)
    }
}

/// Microseconds in whole seconds: `34 s`, `2m05s`; below a second as any other [`duration`].
pub(crate) fn seconds(us: u64) -> String {
    match us / 1_000_000 {
        0 => duration(us),
        seconds @ 1..60 => format!("{seconds} s"),
        _ => duration(us),
    }
}

/// Bytes in decimal units: `412 B`, `1.4 kB`, `63.1 MB`, `128 MB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let bytes = u128::from(bytes);
    let mut unit: u128 = 1_000;
    for name in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        let in_tenths = (bytes * 10 + unit / 2) / unit;
        if in_tenths < 1_000 {
            return format!("{}.{} {name}", in_tenths / 10, in_tenths % 10);
        }
        let whole = (bytes + unit / 2) / unit;
        if whole < 1_000 {
            return format!("{whole} {name}");
        }
        unit *= 1_000;
    }
    unreachable!("2^64 bytes are 18.4 EB")
}

/// Microseconds since the start, to the millisecond: `+3.214`.
pub(crate) fn since_start(us: u64) -> String {
    let ms = us / 1_000;
    format!("+{}.{:03}", ms / 1_000, ms % 1_000)
}

/// `1 exchange`, `412 exchanges`; for nouns that take an s.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The share of `part` in `whole`, in per cent; 0 if `whole` is 0.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let (part, whole) = (u128::from(part), u128::from(whole));
    u64::try_from((part * 100 + whole / 2) / whole).unwrap_or(u64::MAX)
}

/// A bar as long as `part` is of `whole`, `width` characters for all of it.
///
/// In eighths of a character, or with `ascii` in whole `#`; a part above zero is always visible.
pub(crate) fn bar(part: u64, whole: u64, width: usize, ascii: bool) -> String {
    if part == 0 || whole == 0 {
        return String::new();
    }
    let steps = if ascii { 1 } else { EIGHTHS.len() as u128 };
    let all = width as u128 * steps;
    let filled = (u128::from(part.min(whole)) * all + u128::from(whole) / 2) / u128::from(whole);
    let filled = usize::try_from(filled.max(1)).unwrap_or(usize::MAX);
    if ascii {
        return "#".repeat(filled);
    }
    let mut bar = EIGHTHS[7].to_string().repeat(filled / 8);
    if let Some(rest) = (filled % 8).checked_sub(1) {
        bar.push(EIGHTHS[rest]);
    }
    bar
}

/// One to eight eighths of a block.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// How many columns a text takes on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// `text`, or as much of it as fits into `width` columns, with `mark` at its end.
pub(crate) fn cut<'a>(text: &'a str, width: usize, mark: &str) -> Cow<'a, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mark = if mark.width() <= width { mark } else { "" };
    let mut room = width - mark.width();
    let fits = |c: &char| {
        let needed = c.width().unwrap_or(0);
        let has_room = needed <= room;
        room = room.saturating_sub(needed);
        has_room
    };
    text.chars().take_while(fits).chain(mark.chars()).collect()
}

fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_in_which_it_is_short() {
        for (us, text) in [
            (0, "0 ms"),
            (99, "<0.1 ms"),
            (100, "0.1 ms"),
            (3_249, "3.2 ms"),
            (9_950, "10 ms"),
            (142_400, "142 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (3_414_999, "3.41 s"),
            (9_994_999, "9.99 s"),
            (9_995_000, "10.0 s"),
            (48_249_999, "48.2 s"),
            (59_950_000, "1m00s"),
            (125_000_000, "2m05s"),
            (3_599_499_999, "59m59s"),
            (3_599_500_000, "1h00m"),
            (3_720_000_000, "1h02m"),
        ] {
            assert_eq!(duration(us), text, "{us}");
        }
        assert!(duration(u64::MAX).ends_with('m'));
    }

    #[test]
    fn a_size_is_decimal_and_has_three_digits_at_most() {
        for (bytes, text) in [
            (0, "0 B"),
            (412, "412 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_449, "1.4 kB"),
            (63_100_000, "63.1 MB"),
            (99_950, "100 kB"),
            (128_499, "128 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn times_count_from_the_start() {
        assert_eq!(since_start(3_214_999), "+3.214");
        assert_eq!(since_start(0), "+0.000");
        assert_eq!(since_start(93_700_000), "+93.700");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "exchange"), "1 exchange");
        assert_eq!(count(0, "exchange"), "0 exchanges");
    }

    #[test]
    fn a_bar_is_as_long_as_the_part() {
        assert_eq!(bar(1, 2, 4, false), "██");
        assert_eq!(bar(9, 16, 2, false), "█▏");
        assert_eq!(bar(1, 1_000_000, 4, false), "▏");
        assert_eq!(bar(7, 5, 3, true), "###");
        assert_eq!(bar(0, 5, 3, true), "");
        assert_eq!(bar(5, 0, 3, true), "");
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(percent(399, 482), 83);
        assert_eq!(percent(1, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn a_text_is_cut_by_columns_and_says_so() {
        for (text, width, cut_to) in [
            ("größe", 5, "größe"),
            ("größen", 5, "größ…"),
            ("模块代理", 8, "模块代理"),
            ("模块代理", 7, "模块代…"),
            ("模块代理", 6, "模块…"),
            ("x", 0, ""),
        ] {
            assert_eq!(cut(text, width, "…"), cut_to, "{text} {width}");
        }
        assert_eq!(cut("abc", 1, " …"), "a");
    }
}
