//! Quoting for shells, which no other room does: a shell reads the quoted text back unchanged. And
//! escaping for terminals.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` as one word for a POSIX shell (XCU section 2.2.2): unchanged if no character is special
/// in any shell, else in single quotes.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    // zsh expands `=ls` to the path of ls.
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(quoted(text))
}

/// `text` in single quotes, for a POSIX shell. Not `$'…'`, which dash and other shells do not know.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `text` in single quotes, for fish.
pub(crate) fn fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// `text` in single quotes, for PowerShell. PowerShell treats typographic quotes as
/// quotes too (about_Quoting_Rules); a doubled quote is a literal one.
pub(crate) fn powershell(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        quoted.push(c);
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// Whether a terminal may act on a character instead of showing it: control characters (C0, DEL,
/// C1), line separators, and characters that are invisible or change the direction of writing.
pub(crate) fn is_terminal_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// `text` as one line of visible characters, whatever the locale.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escape(text, is_terminal_control)
}

/// `text` with the characters for which `is_hidden` is true written as escapes.
pub(crate) fn escape(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => plain.extend(c.escape_default()),
            c if is_hidden(c) && u32::from(c) < 0x100 => {
                // Writing to a String cannot fail.
                let _ = write!(plain, "\\x{:02x}", u32::from(c));
            }
            c if is_hidden(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// JSON that is safe to print to a terminal. JSON escapes only the control characters below U+0020;
/// the others that a terminal acts on are escaped here. No value changes: such characters are only
/// in strings, and line feeds only between values.
pub(crate) fn escape_json(json: String) -> String {
    let is_hidden = |c| c != '\n' && is_terminal_control(c);
    if !json.chars().any(is_hidden) {
        return json;
    }
    json.chars().fold(String::new(), |mut escaped, c| {
        if is_hidden(c) {
            let mut units = [0; 2];
            let escapes = c.encode_utf16(&mut units).iter();
            escaped.extend(escapes.map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What a shell could read something into, each with what would happen.
    const HOSTILE: [&str; 14] = [
        "",
        " two  words ",
        "it's; touch pwned #",
        r"\'; touch pwned #",
        "\u{1b}'; touch pwned #",
        "$'\\'; touch pwned #'",
        "$(touch pwned)`touch pwned`${HOME}",
        "a\nb\r\n\tc\n",
        "!! *?[a]{b,c}~",
        "~",
        "=ls",
        "&|<>()\"\\",
        "’; touch pwned #",
        "é\u{202e}\u{9b}",
    ];

    #[test]
    fn every_posix_shell_reads_the_words_back() {
        let words: Vec<_> = HOSTILE.iter().map(|text| word(text)).collect();
        let quoted: Vec<_> = HOSTILE.iter().map(|text| quoted(text)).collect();
        let script = format!("printf '%s\\0' {} {}", words.join(" "), quoted.join(" "));
        let shells: [&[&str]; 5] = [&["sh"], &["dash"], &["bash"], &["busybox", "sh"], &["zsh"]];
        let mut asked = 0;
        for shell in shells {
            let temp = tempfile::tempdir().unwrap();
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", &script]);
            // Which of them there are is the machine's business; tests/run gets the first four.
            let Ok(output) = command.current_dir(&temp).output() else {
                continue;
            };
            asked += 1;
            let read = String::from_utf8(output.stdout).unwrap();
            let read: Vec<_> = read.split_terminator('\0').collect();
            assert_eq!(read, [HOSTILE, HOSTILE].concat(), "{shell:?}");
            assert_eq!(temp.path().read_dir().unwrap().count(), 0, "{shell:?}");
        }
        assert!(asked > 0);
    }

    #[test]
    fn what_no_shell_reads_anything_into_stays_readable() {
        for text in [
            "go",
            "./...",
            "--connect-to=::127.0.0.1:1",
            "a.b/c@v1.2,d+e%20f",
        ] {
            assert_eq!(word(text), text);
        }
    }

    #[test]
    fn other_shells_have_other_quotes() {
        assert_eq!(fish(r"it's \"), r"'it\'s \\'");
        assert_eq!(powershell("it's a ’quote‘"), "'it''s a ’’quote‘‘'");
    }
}
