//! How one stream is written to: colour, ASCII or not, its width; and text without control
//! characters.
//!
//! Colour never carries a meaning alone. Text from a recording or a peer goes through
//! [`Look::plain`] before it is shown.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use crate::cli::{Color, Global};
use crate::shell::{escape, is_terminal_control};

/// How one stream is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether colour may be used.
    pub(crate) colour: bool,
    /// Whether only ASCII may be used.
    pub(crate) ascii: bool,
    /// Columns, if the stream is a terminal that reports its width.
    pub(crate) width: Option<usize>,
    /// Whether the stream is a terminal.
    pub(crate) is_terminal: bool,
}

/// The role of a painted text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// A heading.
    Bold,
    /// Less important.
    Dim,
    /// An error.
    Red,
    /// A warning.
    Yellow,
}

impl Look {
    /// How stdout is written to.
    pub(crate) fn of_stdout(global: &Global) -> Self {
        let stdout = io::stdout();
        Self::of(global, stdout.is_terminal(), columns(&stdout))
    }

    /// How stderr is written to.
    pub(crate) fn of_stderr(global: &Global) -> Self {
        let stderr = io::stderr();
        Self::of(global, stderr.is_terminal(), columns(&stderr))
    }

    /// How a file is written to: colour only with `--color always`, or if a variable forces it.
    pub(crate) fn of_file(global: &Global) -> Self {
        Self::of(global, false, None)
    }

    fn of(global: &Global, is_terminal: bool, width: Option<usize>) -> Self {
        let variable = |name: &str| std::env::var_os(name);
        Self {
            colour: colour(global.color, variable, is_terminal),
            ascii: global.ascii || !is_utf8(variable),
            width: width.filter(|_| is_terminal),
            is_terminal,
        }
    }

    /// `text` in a colour, if colour may be used.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            _ if !self.colour || text.is_empty() => return text.into(),
            Paint::Bold => 1,
            Paint::Dim => 2,
            Paint::Red => 31,
            Paint::Yellow => 33,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// `unicode`, or `ascii` if only ASCII may be used.
    pub(crate) const fn glyph<'a>(self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.ascii { ascii } else { unicode }
    }

    /// `text` as one line of visible characters, without anything that a terminal acts on.
    ///
    /// With [`ascii`](Self::ascii) only ASCII: in other encodings the bytes of UTF-8 hold C1
    /// control characters.
    pub(crate) fn plain(self, text: &str) -> Cow<'_, str> {
        escape(text, |c| {
            is_terminal_control(c) || (self.ascii && !c.is_ascii())
        })
    }
}

/// Whether there is colour: `--color`, then `NO_COLOR` (no-color.org), `CLICOLOR_FORCE` and
/// `FORCE_COLOR`, `CLICOLOR` (bixense.com/clicolors) and `TERM`, then the stream.
fn colour(choice: Color, variable: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is = |name, wanted: &str| variable(name).is_some_and(|value| value == wanted);
    let is_forced = |name| is_set(name) && !is(name, "0");
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if is_set("NO_COLOR") => false,
        Color::Auto if is_forced("CLICOLOR_FORCE") || is_forced("FORCE_COLOR") => true,
        Color::Auto if is("CLICOLOR", "0") || is("TERM", "dumb") => false,
        Color::Auto => is_terminal,
    }
}

/// Whether the locale's encoding is UTF-8: the first of these that is not empty says so (POSIX,
/// Base Definitions, section 8.2).
fn is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let values = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable);
    let locale = values.into_iter().find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

fn columns(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::plain;

    fn colour_with(choice: Color, set: &[(&str, &str)], is_terminal: bool) -> bool {
        let variable = |name: &str| {
            let found = set.iter().find(|(candidate, _)| *candidate == name);
            found.map(|(_, value)| OsString::from(value))
        };
        colour(choice, variable, is_terminal)
    }

    #[test]
    fn the_flag_beats_the_environment_and_the_environment_the_terminal() {
        let auto = |set: &[(&str, &str)], is_terminal| colour_with(Color::Auto, set, is_terminal);
        assert!(colour_with(Color::Always, &[("NO_COLOR", "1")], false));
        assert!(!colour_with(Color::Never, &[("FORCE_COLOR", "1")], true));
        assert!(!auto(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true));
        assert!(auto(&[("NO_COLOR", "")], true));
        assert!(auto(&[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], false));
        assert!(auto(&[("FORCE_COLOR", "3")], false));
        assert!(!auto(&[("FORCE_COLOR", "0")], false));
        assert!(!auto(&[("CLICOLOR", "0")], true));
        assert!(!auto(&[("TERM", "dumb")], true));
        assert!(auto(&[("TERM", "xterm")], true));
        assert!(!auto(&[("TERM", "xterm")], false));
    }

    #[test]
    fn the_first_locale_that_is_set_decides_on_the_glyphs() {
        let is_utf8 = |set: &[(&str, &str)]| {
            is_utf8(|name| {
                let found = set.iter().find(|(candidate, _)| *candidate == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        assert!(is_utf8(&[("LANG", "de_DE.UTF-8")]));
        assert!(is_utf8(&[("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(is_utf8(&[("LC_ALL", ""), ("LANG", "C.UTF-8")]));
        assert!(!is_utf8(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!is_utf8(&[]));
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let hostile = "a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{7}\u{2028}\u{e0041}\u{7f}é";
        let shown = plain(hostile);
        assert!(!shown.chars().any(is_terminal_control), "{shown:?}");
        assert_eq!(
            shown,
            "a\\x1b[2J\\r\\n\\x9b31m\\u{202e}\\x07\\u{2028}\\u{e0041}\\x7fé"
        );
        assert!(matches!(plain("plain, größe"), Cow::Borrowed(_)));
    }

    #[test]
    fn ascii_is_ascii_whatever_is_shown() {
        let look = Look {
            colour: false,
            ascii: true,
            width: None,
            is_terminal: true,
        };
        assert_eq!(look.plain("caf\u{e9} \u{41b}"), "caf\\xe9 \\u{41b}");
        assert_eq!(look.glyph("→", "->"), "->");
        assert_eq!(look.paint(Paint::Red, "x"), "x");
    }
}
