//! The words for lines of the journal that could not be written, and how they are read back.
//!
//! Never decides what is missing: the journal's owner does.

use super::format::Gap;
use crate::clock::Timestamp;

impl Gap {
    /// That `count` lines of the journal could not be written, the first of them at `since`.
    pub(crate) fn of_lines(count: u64, since: Timestamp, why: String) -> Self {
        let lines = if count == 1 { "line" } else { "lines" };
        let millis = since.as_micros() / 1000;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let what = format!("{count} journal {lines} since {seconds}.{millis:03} s");
        Self { what, why }
    }

    /// How many lines of the journal are lost, if that is what is missing; see
    /// [`of_lines`](Self::of_lines).
    pub fn lost_lines(&self) -> Option<u64> {
        let (count, rest) = self.what.split_once(" journal line")?;
        let is_ours = rest.starts_with(" since ") || rest.starts_with("s since ");
        count.parse().ok().filter(|_| is_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_lines_tells_how_many_and_since_when() {
        let at = Timestamp::from_micros(12_345_678);
        for (count, what) in [
            (1, "1 journal line since 12.345 s"),
            (3, "3 journal lines since 12.345 s"),
        ] {
            let gap = Gap::of_lines(count, at, String::from("the disk is full"));
            assert_eq!(
                (gap.what.as_str(), gap.lost_lines()),
                (what, Some(count)),
                "{gap:?}"
            );
        }
        assert_eq!(gap_of("body of exchange 3").lost_lines(), None);
        assert_eq!(gap_of("2 journal liners since 3").lost_lines(), None);
    }

    fn gap_of(what: &str) -> Gap {
        let (what, why) = (what.into(), String::new());
        Gap { what, why }
    }
}
