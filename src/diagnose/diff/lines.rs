//! A short difference of two texts.

use std::fmt::Write as _;

/// Texts up to this size are compared line by line, bytes.
pub(super) const LIMIT: usize = 256 << 10;

/// How many lines are kept of a difference.
const LINES: usize = 100;

/// How much of a line is kept, characters.
const COLUMNS: usize = 400;

/// How many lines that are equal stand around those that differ.
const CONTEXT: usize = 1;

/// The most steps that finding the longest common lines may take: beyond it all that lies between
/// the first and the last difference counts as replaced.
const STEPS: usize = 1 << 20;

/// The lines of a difference, as `diff -u` marks them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// The first of them.
    pub(super) lines: Vec<String>,
    /// How many there are in all.
    pub(super) total: u64,
}

impl Lines {
    pub(super) fn push(&mut self, mark: char, line: &str) {
        self.total += 1;
        if self.lines.len() < LINES {
            let line = line.trim_end_matches('\r');
            let mut shown = String::with_capacity(1 + line.len().min(COLUMNS));
            // Writing to a String cannot fail.
            let _ = write!(shown, "{mark}");
            shown.extend(line.chars().take(COLUMNS));
            self.lines.push(shown);
        }
    }
}

/// Compares two texts line by line.
pub(super) fn difference(a: &str, b: &str) -> Lines {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let before = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - before;
    let behind = a.iter().rev().zip(b.iter().rev()).take(rest);
    let behind = behind.take_while(|(a, b)| a == b).count();
    let common: Vec<(char, &str)> = a[..before].iter().map(|line| (' ', *line)).collect();
    let middle = marked(&a[before..a.len() - behind], &b[before..b.len() - behind]);
    let last = a[a.len() - behind..].iter().map(|line| (' ', *line));
    let all: Vec<(char, &str)> = common.into_iter().chain(middle).chain(last).collect();
    let mut lines = Lines::default();
    let mut shown_to = 0;
    for (at, (mark, _)) in all.iter().enumerate() {
        if *mark == ' ' {
            continue;
        }
        for (mark, line) in &all[shown_to.max(at.saturating_sub(CONTEXT))..=at] {
            lines.push(*mark, line);
        }
        shown_to = at + 1;
        for (mark, line) in all[shown_to..].iter().take(CONTEXT) {
            if *mark == ' ' {
                lines.push(*mark, line);
                shown_to += 1;
            }
        }
    }
    lines
}

/// Both texts as one, by their longest common subsequence.
fn marked<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<(char, &'t str)> {
    if a.len().saturating_mul(b.len()) > STEPS {
        let gone = a.iter().map(|line| ('-', *line));
        return gone.chain(b.iter().map(|line| ('+', *line))).collect();
    }
    let width = b.len() + 1;
    // At [i][j]: how many lines a[i..] and b[j..] have in common.
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = match a[i] == b[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = Vec::with_capacity(a.len() + b.len());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            marked.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len()
            || i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            marked.push(('-', a[i]));
            i += 1;
        } else {
            marked.push(('+', b[j]));
            j += 1;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_changed_stands_between_a_line_before_and_one_behind() {
        let a = "module m\n\ngo 1.20\n\nrequire (\n\ta v1.0.0\n\tb v1.0.0\n\tc v1.0.0\n)\n";
        let b =
            "module m\n\ngo 1.21\n\nrequire (\n\ta v1.0.0\n\tb v1.2.0\n\tc v1.0.0\n\td v1.0.0\n)\n";
        let expected = [
            " ",
            "-go 1.20",
            "+go 1.21",
            " ",
            " \ta v1.0.0",
            "-\tb v1.0.0",
            "+\tb v1.2.0",
            " \tc v1.0.0",
            "+\td v1.0.0",
            " )",
        ];
        assert_eq!(difference(a, b).lines, expected);
        assert_eq!(difference(a, a), Lines::default());
        assert_eq!(difference("", "a").lines, ["+a"]);
    }

    #[test]
    fn a_long_difference_is_cut_and_says_how_long_it_is() {
        let a: String = (0..3_000).map(|n| format!("{n}\n")).collect();
        let b: String = (5_000..8_000).map(|n| format!("{n}\n")).collect();
        let lines = difference(&a, &b);
        assert_eq!((lines.lines.len(), lines.total), (LINES, 6_000));
        let line = "x".repeat(10_000);
        assert_eq!(difference(&line, "").lines[0].len(), COLUMNS + 1);
    }

    proptest! {
        #[test]
        fn a_difference_has_what_one_text_has_and_the_other_has_not(
            a in "[a-c\n]{0,40}", b in "[a-c\n]{0,40}",
        ) {
            let lines = difference(&a, &b);
            let marked = |wanted: char| lines.lines.iter().filter(move |line| line.starts_with(wanted)).count();
            prop_assert_eq!(a.lines().count() + marked('+'), b.lines().count() + marked('-'));
            prop_assert_eq!(lines.total == 0, a.lines().eq(b.lines()));
        }
    }
}
