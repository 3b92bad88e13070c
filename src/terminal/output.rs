//! Output: data goes to stdout, messages go to stderr, and a closed pipe is not an error.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use super::look::{Look, Paint};
use crate::cli::Global;
use crate::shell::plain;

/// Prints lines to stderr, unless `--quiet`. Control sequences are escaped, except for our own
/// colours.
///
/// A closed stderr is not an error.
pub(crate) fn say(global: &Global, text: impl Display) {
    if !global.quiet {
        let _ = writeln!(io::stderr().lock(), "{}", painted_only(&text.to_string()));
    }
}

/// Prints lines to stderr, also with `--quiet`: what somebody has just asked for.
pub(crate) fn say_always(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", painted_only(&text.to_string()));
}

/// Prints a warning to stderr, also with `--quiet`: `warning: …`, one line of visible characters.
pub(crate) fn warn(global: &Global, text: impl Display) {
    let mark = Look::of_stderr(global).paint(Paint::Yellow, "warning:");
    let _ = writeln!(io::stderr().lock(), "{mark} {}", plain(&text.to_string()));
}

/// `text` with its line feeds and our own colours, and everything else [`plain`].
///
/// Text of a recording should be [`plain`] before it is painted; this catches what was forgotten.
fn painted_only(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let mut pieces = line.split('\u{1b}');
        let first = plain(pieces.next().unwrap_or_default()).into_owned();
        pieces.fold(first, |mut shown, piece| {
            match COLOURS.iter().find(|code| piece.starts_with(**code)) {
                Some(code) => {
                    shown.push('\u{1b}');
                    shown.push_str(code);
                    shown.push_str(&plain(&piece[code.len()..]));
                }
                None => shown.push_str(&plain(&format!("\u{1b}{piece}"))),
            }
            shown
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What [`Look::paint`] writes after ESC (ECMA-48, SGR).
const COLOURS: [&str; 5] = ["[0m", "[1m", "[2m", "[31m", "[33m"];

/// A line on a terminal that is rewritten in place; erased on drop.
#[derive(Default)]
pub(super) struct StatusLine {
    is_drawn: bool,
}

impl StatusLine {
    /// Draws the line and returns to the first column, so that the command's next output overwrites
    /// it.
    pub(super) fn draw(&mut self, text: &str) {
        if text.is_empty() {
            self.clear();
            return;
        }
        self.is_drawn = true;
        let _ = write!(io::stderr(), "\r{text}\x1b[K\r");
    }

    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Lets `write` write to stdout, buffered. A reader that closes the pipe early is not a failure.
pub(crate) fn to_stdout(
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    to_open_stdout(write).map(|_| ())
}

/// The same for what is written again and again; false once the reader has closed the pipe.
pub(crate) fn to_open_stdout(
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    give(io::stdout().lock(), write)
}

fn give(
    out: impl Write,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let mut out = BufWriter::with_capacity(
        1 << 16,
        Pipe {
            out,
            is_closed: false,
        },
    );
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    // Dropping a BufWriter would try to write the rest of the buffer again.
    let (pipe, _) = out.into_parts();
    match pipe.is_closed {
        true => Ok(false),
        false => written.map(|()| true),
    }
}

/// Remembers that the reader closed the pipe, however the error is wrapped further up.
struct Pipe<W> {
    out: W,
    is_closed: bool,
}

impl<W: Write> Pipe<W> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.note(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_keeps_our_colours_and_no_other_sequence() {
        let said = "\u{1b}[31merror\u{1b}[0m: \u{1b}[2J\u{1b}]8;;x\u{7}\r\n\u{9b}0m\u{1b}";
        let shown = "\u{1b}[31merror\u{1b}[0m: \\x1b[2J\\x1b]8;;x\\x07\\r\n\\x9b0m\\x1b";
        assert_eq!(painted_only(said), shown);
    }

    /// Takes so many bytes, then fails.
    struct Reader(usize, io::ErrorKind);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(left) = self.0.checked_sub(bytes.len()) else {
                return Err(self.1.into());
            };
            self.0 = left;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one() {
        let write = |out: &mut dyn Write| {
            for _ in 0..100 {
                out.write_all(&[b'x'; 4_096])
                    .map_err(|error| anyhow::Error::new(error).context("somewhere below"))?;
            }
            Ok(())
        };
        assert!(give(Reader(1 << 20, io::ErrorKind::BrokenPipe), write).unwrap());
        assert!(!give(Reader(10, io::ErrorKind::BrokenPipe), write).unwrap());
        give(Reader(10, io::ErrorKind::StorageFull), write).unwrap_err();
        give(io::sink(), |_| anyhow::bail!("its own")).unwrap_err();
    }
}
