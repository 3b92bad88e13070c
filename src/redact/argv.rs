//! Secrets in command lines and in go's own settings.

use std::ffi::OsStr;

use super::Redactor;
use super::names::is_secret_word;

impl Redactor {
    /// A command's words with marks for their secrets: the value of `--token X` and
    /// `--password=X`, `KEY=VALUE` with a telling key, URLs, header fields behind `-H`.
    ///
    /// Octets that are not UTF-8 become `\u{fffd}`.
    pub fn argv<S: AsRef<OsStr>>(&self, argv: &[S]) -> Vec<String> {
        let mut next = Next::Any;
        argv.iter()
            .map(|word| {
                let word = word.as_ref().to_string_lossy();
                let known = self.without_known(&word);
                let word = known.map_or(word, Into::into);
                let redacted = match self.is_on() {
                    true => self
                        .argument(&word, next)
                        .map(|new| self.tokens(&new).unwrap_or(new)),
                    false => None,
                };
                next = Next::after(&word);
                redacted.unwrap_or_else(|| word.into_owned())
            })
            .collect()
    }

    /// The value of GOPROXY, GOSUMDB and their like: URLs between `,`, `|` and spaces.
    pub fn goproxy(&self, value: &str) -> String {
        value
            .split_inclusive([',', '|', ' '])
            .map(|piece| {
                let entry = piece.trim_end_matches([',', '|', ' ']);
                format!("{}{}", self.url(entry), &piece[entry.len()..])
            })
            .collect()
    }

    fn argument(&self, word: &str, next: Next) -> Option<String> {
        match next {
            Next::Secret if !word.starts_with('-') => return Some(self.mark(word)),
            Next::Account if !word.starts_with('-') && word.contains(':') => {
                return Some(self.mark(word));
            }
            Next::Field => {
                if let Some(redacted) = self.field_line(word) {
                    return Some(redacted);
                }
            }
            _ => {}
        }
        if let Some((name, value)) = word.split_once('=')
            && is_name(name)
            && !value.is_empty()
        {
            if is_secret_word(name) {
                return Some(format!("{name}={}", self.mark(value)));
            }
            if name.to_ascii_uppercase().contains("PROXY") && !value.contains(char::is_whitespace) {
                return Some(format!("{name}={}", self.goproxy(value)));
            }
        }
        self.changed_text(word)
    }

    /// `Name: value`, as curl takes it.
    fn field_line(&self, line: &str) -> Option<String> {
        let (name, value) = line.split_once(':')?;
        let trimmed = value.trim_start();
        let space = &value[..value.len() - trimmed.len()];
        let redacted = self.field(name.trim(), trimmed.as_bytes())?;
        Some(format!("{name}:{space}{redacted}"))
    }
}

/// What a flag makes of the word behind it.
#[derive(Clone, Copy)]
enum Next {
    Any,
    /// The value of a flag with a telling name.
    Secret,
    /// `user:password` behind curl's `-u`.
    Account,
    /// A header field behind curl's `-H`.
    Field,
}

impl Next {
    fn after(word: &str) -> Self {
        match word {
            "-u" | "--user" | "--proxy-user" | "-U" => return Self::Account,
            "-H" | "--header" | "--proxy-header" => return Self::Field,
            _ => {}
        }
        let name = word.trim_start_matches('-');
        if name.len() < word.len() && !name.contains('=') && is_secret_word(name) {
            return Self::Secret;
        }
        Self::Any
    }
}

/// A flag's or a variable's name.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}
