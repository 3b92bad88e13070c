//! The command line that records again, which nearly every advice ends with.
//!
//! Made to be copied into a POSIX shell. Never runs anything.

use std::borrow::Cow;

/// `modtape record OPTIONS -- COMMAND`, each word quoted where a shell would read it otherwise.
///
/// Without a command (a recorder that ran until Ctrl-C) the two dashes are left out too.
pub fn record_line(options: &[&str], command: &[String]) -> String {
    let mut line = String::from("modtape record");
    let dashes = (!command.is_empty()).then_some("--");
    let words = options.iter().copied().chain(dashes);
    for word in words.chain(command.iter().map(String::as_str)) {
        line.push(' ');
        line.push_str(&shell_word(word));
    }
    line
}

/// `word` as a POSIX shell reads it back (XCU section 2.2.2): as it is, or between single quotes.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%^".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_back() {
        let command = ["go", "get", "a.b/c@>=v1", "it's", "", "$HOME"].map(str::to_owned);
        assert_eq!(
            record_line(&["--cold", "-o", "my ci"], &command),
            r"modtape record --cold -o 'my ci' -- go get 'a.b/c@>=v1' 'it'\''s' '' '$HOME'"
        );
        assert_eq!(record_line(&["--force"], &[]), "modtape record --force");
    }
}
