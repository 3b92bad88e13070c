//! Secrets in command lines and in go's own settings.

use std::ffi::OsStr;

use super::Redactor;
use super::fields::Rule;
use super::names::is_secret_word;
use super::parts::ends_in_password;
use super::word::secret_pair;

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
                    true => self.settled(&word, |word| self.read_argument(word, next)),
                    false => None,
                };
                let redacted = redacted.unwrap_or_else(|| word.into_owned());
                // From what stays: so the same words follow it when it is redacted again.
                next = Next::after(&redacted);
                redacted
            })
            .collect()
    }

    /// One of go's settings: GOFLAGS is a command line, the others are lists of URLs.
    pub fn go_setting(&self, name: &str, value: &str) -> String {
        match name {
            "GOFLAGS" => self.argv(&value.split(' ').collect::<Vec<_>>()).join(" "),
            _ => self.goproxy(value),
        }
    }

    /// The value of GOPROXY, GOSUMDB and their like: URLs between `,`, `|` and spaces.
    pub fn goproxy(&self, value: &str) -> String {
        let known = self.without_known(value);
        let value = known.as_deref().unwrap_or(value);
        let redacted = match self.is_on() {
            true => self.settled(value, |value| self.read_urls(value)),
            false => None,
        };
        redacted.unwrap_or_else(|| value.to_owned())
    }

    /// One reading of a list of URLs.
    fn read_urls(&self, value: &str) -> Option<String> {
        let mut redacted = String::with_capacity(value.len() + 16);
        let mut rest = value;
        while !rest.is_empty() {
            let (entry, behind) = rest.split_at(entry_len(rest));
            redacted.push_str(self.read_url(entry).as_deref().unwrap_or(entry));
            rest = behind.trim_start_matches(SEPARATORS);
            redacted.push_str(&behind[..behind.len() - rest.len()]);
        }
        (redacted != value).then_some(redacted)
    }

    /// One reading of a command's word, behind another one.
    fn read_argument(&self, word: &str, next: Next) -> Option<String> {
        let redacted = self.argument(word, next);
        let tokens = self.read_tokens(redacted.as_deref().unwrap_or(word));
        tokens.or(redacted)
    }

    fn argument(&self, word: &str, next: Next) -> Option<String> {
        if let Some(redacted) = self.behind(word, next) {
            return Some(redacted);
        }
        if let Some((name, value)) = word.split_once('=')
            && is_name(name)
            && !value.is_empty()
        {
            if is_secret_word(name) {
                return Some(format!("{name}={}", self.mark(value)));
            }
            if let Some(redacted) = self.behind(value, Next::after(name)) {
                return Some(format!("{name}={redacted}"));
            }
            let is_proxy = name.to_ascii_uppercase().contains("PROXY");
            if begins_url(value) || is_proxy && !value.contains(char::is_whitespace) {
                return Some(format!("{name}={}", self.read_urls(value)?));
            }
        }
        if begins_url(word) {
            return self.read_urls(word);
        }
        // curl takes a short flag and its value in one word.
        if let (Some(flag), Some(value)) = (word.get(..2), word.get(2..))
            && matches!(flag, "-u" | "-U" | "-H" | "-b")
            && let Some(redacted) = self.behind(value, Next::after(flag))
        {
            return Some(format!("{flag}{redacted}"));
        }
        let is_line = word.contains(char::is_whitespace);
        if let Some((name, value)) = secret_pair(word, false)
            && !is_line
            && !word.contains('?')
        {
            let before = self.read_word(name);
            let before = before.as_deref().unwrap_or(name);
            return Some(format!("{before}={}", self.mark(value)));
        }
        let redacted = self.read_text(word);
        if !is_line {
            return redacted;
        }
        Some(self.flags_in_line(redacted.as_deref().unwrap_or(word)))
    }

    /// A word whose meaning the flag before it gives.
    fn behind(&self, word: &str, next: Next) -> Option<String> {
        match next {
            Next::Secret if !word.starts_with('-') => Some(self.mark(word)),
            Next::Account if !word.starts_with('-') && word.contains(':') => Some(self.mark(word)),
            Next::Cookie if word.contains('=') => Some(self.cookie(word, false)),
            Next::Field => self.field_line(word),
            _ => None,
        }
    }

    /// A shell's line in one word: the values of its flags.
    fn flags_in_line(&self, line: &str) -> String {
        let mut next = Next::Any;
        let mut redacted = String::with_capacity(line.len() + 16);
        for piece in line.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            match next {
                Next::Secret | Next::Account => {
                    let new = self.behind(word, next);
                    redacted.push_str(new.as_deref().unwrap_or(word));
                }
                _ => redacted.push_str(word),
            }
            redacted.push_str(&piece[word.len()..]);
            next = Next::after(word);
        }
        redacted
    }

    /// `Name: value`, as curl takes it.
    fn field_line(&self, line: &str) -> Option<String> {
        let (name, value) = line.split_once(':')?;
        let trimmed = value.trim_start();
        let space = &value[..value.len() - trimmed.len()];
        let redacted = self.read_field(Rule::of(name.trim()), trimmed);
        let redacted = redacted.as_deref().unwrap_or(trimmed);
        Some(self.and_text(format!("{name}:{space}{redacted}")))
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
    /// Cookies behind curl's `-b`.
    Cookie,
}

impl Next {
    fn after(word: &str) -> Self {
        match word {
            "-u" | "--user" | "--proxy-user" | "-U" => return Self::Account,
            "-H" | "--header" | "--proxy-header" => return Self::Field,
            "-b" | "--cookie" => return Self::Cookie,
            _ => {}
        }
        let name = word.trim_start_matches('-');
        if name.len() < word.len() && !name.contains('=') && is_secret_word(name) {
            return Self::Secret;
        }
        Self::Any
    }
}

/// No userinfo is longer.
const USERINFO_BYTES: usize = 512;

/// What stands between the entries of GOPROXY and GOSUMDB.
const SEPARATORS: [char; 3] = [',', '|', ' '];

/// The first entry's length; a password in it may hold separators that should have been encoded.
fn entry_len(value: &str) -> usize {
    let end = |from: usize| {
        let found = value[from..].find(SEPARATORS);
        found.map_or(value.len(), |at| from + at)
    };
    let first = end(0);
    if !ends_in_password(&value[..first]) {
        return first;
    }
    let octets = value.bytes().take(USERINFO_BYTES);
    match octets.enumerate().find(|(_, octet)| *octet == b'@') {
        Some((at, _)) if value[..at].matches("://").count() == 1 => end(at),
        _ => first,
    }
}

/// `scheme://…`
fn begins_url(word: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    word.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(is_part))
}

/// A flag's or a variable's name.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}
