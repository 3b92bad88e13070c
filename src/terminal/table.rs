//! Tables for people: a heading, columns as wide as they need to be, the last one cut to fit.
//!
//! Pure. Cells are plain text already; painting happens here, so that widths are those of the text.

use std::fmt::Write as _;

use super::look::{Look, Paint};
use super::words::{columns, cut};

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One field of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, paint: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// A cell in a colour, or in none.
    pub(crate) fn painted(text: String, paint: Option<Paint>) -> Self {
        Self { text, paint }
    }
}

/// Rows of as many cells as there are columns.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[Cell; N]>,
}

/// The space between columns.
const GAP: &str = "  ";

/// A last column is not cut to less than this.
const NARROWEST: usize = 12;

/// No other column is wider than this: a column is as wide as its widest cell, so one cell of a
/// megabyte would make every line a megabyte.
const WIDEST: usize = 64;

impl<const N: usize> Table<N> {
    /// No rows yet.
    pub(crate) const fn new(columns: [(&'static str, Align); N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The lines, each with its line feed.
    pub(crate) fn lines(&self, look: Look) -> impl Iterator<Item = String> + '_ {
        let widths = self.widths(look);
        let heading = self.columns.map(|(title, _)| Cell {
            text: title.into(),
            paint: Some(Paint::Bold),
        });
        let heading = self.line(&heading, &widths, look);
        let rows = self.rows.iter();
        std::iter::once(heading).chain(rows.map(move |row| self.line(row, &widths, look)))
    }

    fn widths(&self, look: Look) -> [usize; N] {
        let mut widths = self.columns.map(|(title, _)| title.len());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(&cell.text));
            }
        }
        let Some((last, others)) = widths.split_last_mut() else {
            return widths;
        };
        for width in &mut *others {
            *width = (*width).min(WIDEST);
        }
        if let Some(width) = look.width {
            let taken: usize = others.iter().map(|width| width + GAP.len()).sum();
            *last = (*last).min(width.saturating_sub(taken).max(NARROWEST));
        }
        widths
    }

    fn line(&self, row: &[Cell; N], widths: &[usize; N], look: Look) -> String {
        let mut line = String::new();
        for (number, cell) in row.iter().enumerate() {
            let ((_, align), width) = (self.columns[number], widths[number]);
            let text = cut(&cell.text, width, look.glyph("…", "..."));
            let spaces = width.saturating_sub(columns(&text));
            let text = match cell.paint {
                Some(paint) => look.paint(paint, &text),
                None => text.into_owned(),
            };
            let is_last = number + 1 == N;
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Right => write!(line, "{:spaces$}{text}", ""),
                Align::Left if is_last => write!(line, "{text}"),
                Align::Left => write!(line, "{text}{:spaces$}", ""),
            };
            line.push_str(if is_last { "\n" } else { GAP });
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(width: Option<usize>, colour: bool) -> Look {
        Look {
            colour,
            ascii: false,
            width,
            is_terminal: width.is_some(),
        }
    }

    fn table() -> Table<3> {
        let mut table = Table::new([
            ("ID", Align::Right),
            ("HOST", Align::Left),
            ("WHAT", Align::Left),
        ]);
        let slow = Cell::painted("#78".into(), Some(Paint::Red));
        table.row([slow, "h".into(), "list example.com/a".into()]);
        table.row(["#1".into(), "größe.example".into(), "x".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_spaces() {
        let lines: String = table().lines(look(None, false)).collect();
        let expected = "
 ID  HOST           WHAT
#78  h              list example.com/a
 #1  größe.example  x
";
        assert_eq!(lines, expected[1..]);
    }

    #[test]
    fn only_the_last_column_is_cut_and_colour_takes_no_room() {
        let lines: Vec<_> = table().lines(look(Some(33), true)).collect();
        assert_eq!(
            lines[1],
            "\u{1b}[31m#78\u{1b}[0m  h              list example…\n"
        );
        let lines: Vec<_> = table().lines(look(Some(5), false)).collect();
        assert!(lines[1].ends_with("list exampl…\n"), "{lines:?}");
    }
}
