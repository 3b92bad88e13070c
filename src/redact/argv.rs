//! Secrets in command lines and in go's own settings.

use std::ffi::OsStr;
use std::ops::Range;

use super::fields::Rule;
use super::names::{Place, secrecy};
use super::redactor::Redactor;
use super::rules::{FLAGS, Flag, Holds, Secrecy, Stands};
use super::text::secret_pair;
use super::url::ends_in_password;

impl Redactor {
    /// A command's words with marks for their secrets: the value of `--token X` and
    /// `--password=X`, `KEY=VALUE` with a telling key, URLs, header fields behind `-H`; and the same
    /// in the words of a line for a shell.
    ///
    /// Bytes that are not UTF-8 become `\u{fffd}`.
    pub(crate) fn argv<S: AsRef<OsStr>>(&self, argv: &[S]) -> Vec<String> {
        let mut before = Before::default();
        argv.iter()
            .map(|word| {
                let word = word.as_ref().to_string_lossy();
                let known = self.without_known(&word);
                let word = known.map_or(word, Into::into);
                let redacted = match self.is_on() {
                    true => self.settled(&word, |word| self.read_argument(word, before)),
                    false => None,
                };
                let redacted = redacted.unwrap_or_else(|| word.into_owned());
                // From what stays: so the same words follow it when it is redacted again.
                before = before.and(&redacted);
                redacted
            })
            .collect()
    }

    /// One of go's settings: GOFLAGS and GOAUTH are command lines, the others are lists of URLs.
    pub(crate) fn go_setting(&self, name: &str, value: &str) -> String {
        match name {
            "GOFLAGS" | "GOAUTH" => self.argv(&value.split(' ').collect::<Vec<_>>()).join(" "),
            _ => self.goproxy(value),
        }
    }

    /// The value of GOPROXY, GOSUMDB and their like: URLs between `,`, `|` and spaces.
    pub(crate) fn goproxy(&self, value: &str) -> String {
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

    /// One reading of a command's word, behind others.
    fn read_argument(&self, word: &str, before: Before) -> Option<String> {
        let redacted = self.argument(word, before, 0);
        let tokens = self.read_tokens(redacted.as_deref().unwrap_or(word));
        tokens.or(redacted)
    }

    /// The same, of a word that stands so deep in lines.
    fn argument(&self, word: &str, before: Before, depth: u8) -> Option<String> {
        if let Some(redacted) = self.value_behind(word, before.next) {
            return Some(redacted);
        }
        if before.next == Next::Holds(Holds::Line) {
            return self.line(word, depth);
        }
        if let Some((name, value)) = word.split_once('=')
            && is_name(name)
            && !value.is_empty()
        {
            if secrecy(name, Place::Setting).is_secret(value) {
                return Some(format!("{name}={}", self.mark(value)));
            }
            if let Some(redacted) = self.value_behind(value, before.and(name).next) {
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
        if let Some(flag) = joined_flag(word, before.program)
            && let value = &word[flag.name.len()..]
            && let Some(redacted) = self.value_behind(value, Next::Holds(flag.holds))
        {
            return Some(format!("{}{redacted}", flag.name));
        }
        if word.contains(char::is_whitespace) {
            return self.line(word, depth);
        }
        if let Some((name, value)) = secret_pair(word, false)
            && !word.contains('?')
        {
            let before = self.read_word(name);
            let before = before.as_deref().unwrap_or(name);
            return Some(format!("{before}={}", self.mark(value)));
        }
        self.read_text(word)
    }

    /// A word whose meaning the flag before it gives.
    fn value_behind(&self, word: &str, next: Next) -> Option<String> {
        let holds = match next {
            Next::Holds(holds) => holds,
            Next::Named(said) if said.is_secret(word) => Holds::Secret,
            Next::Any | Next::Named(_) => return None,
        };
        match holds {
            Holds::Secret if !word.starts_with('-') => Some(self.mark(word)),
            Holds::Account if is_account(word) => Some(self.mark(word)),
            Holds::Cookie if word.contains('=') => Some(self.and_text(self.cookie(word, false))),
            Holds::Field => self.field_line(word),
            Holds::Secret | Holds::Account | Holds::Cookie | Holds::Line => None,
        }
    }

    /// A shell's line in one word: each of its own words, and what they say of each other as text.
    fn line(&self, line: &str, depth: u8) -> Option<String> {
        let mut redacted = String::with_capacity(line.len() + 16);
        let mut done = 0;
        let mut before = Before::default();
        for (range, word) in shell_words(line).filter(|_| depth < LINES) {
            let new = self.argument(&word, before, depth + 1);
            if let Some(new) = &new {
                redacted.push_str(&line[done..range.start]);
                redacted.push_str(&quoted_as(&line[range.clone()], new));
                done = range.end;
            }
            before = before.and(new.as_deref().unwrap_or(&word));
        }
        redacted.push_str(&line[done..]);
        let text = self.read_text(&redacted);
        text.or_else(|| (redacted != line).then_some(redacted))
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

/// What the words before make of the next one.
#[derive(Clone, Copy, Default)]
struct Before {
    next: Next,
    /// The last word that names a program with flags of its own; or nothing.
    program: &'static str,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Any,
    /// The value of a flag that the table has.
    Holds(Holds),
    /// The value of a flag with a telling name.
    Named(Secrecy),
}

impl Before {
    /// What these words and one more make of the next.
    fn and(self, word: &str) -> Self {
        let name = word.trim_start_matches('-');
        if name.len() == word.len() {
            return Self {
                next: Next::Any,
                program: program(word).unwrap_or(self.program),
            };
        }
        let mut flags = FLAGS.iter().filter(|flag| {
            flag.name == word && flag.stands != Stands::Joined && has(flag, self.program)
        });
        if let Some(flag) = flags.next() {
            // What follows a password or a line may be another program's.
            let is_over =
                !flag.programs.is_empty() && matches!(flag.holds, Holds::Secret | Holds::Line);
            return Self {
                next: Next::Holds(flag.holds),
                program: if is_over { "" } else { self.program },
            };
        }
        let next = match secrecy(name, Place::Setting) {
            Secrecy::Possible | Secrecy::Secret if name.contains('=') => Next::Any,
            said => Next::Named(said),
        };
        Self { next, ..self }
    }
}

/// The program of the table that this word names, by a path or not.
fn program(word: &str) -> Option<&'static str> {
    let file = word.rsplit('/').next().unwrap_or(word);
    let mut programs = FLAGS.iter().flat_map(|flag| flag.programs);
    programs.find(|program| **program == file).copied()
}

/// Has this program the flag?
fn has(flag: &Flag, program: &str) -> bool {
    flag.programs.is_empty() || flag.programs.contains(&program)
}

/// The short flag that this word begins with, whose value is joined to it.
fn joined_flag(word: &str, program: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| {
        flag.stands != Stands::Apart
            && word.len() > flag.name.len()
            && word.starts_with(flag.name)
            && has(flag, program)
    })
}

/// `user:password`, and not the numbers of a user and a group.
fn is_account(word: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !word.starts_with('-')
        && word
            .split_once(':')
            .is_some_and(|(user, password)| !is_number(user) || !is_number(password))
}

/// Lines in words of lines are read this deep; what is further down is read as text.
const LINES: u8 = 3;

/// The words of a shell's line (POSIX.1-2024, XCU 2.2): where each stands, and what it is without
/// its quotes.
fn shell_words(line: &str) -> impl Iterator<Item = (Range<usize>, String)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let ends = |c: char| c.is_whitespace() || c == ';';
        let start = at + line[at..].find(|c| !ends(c))?;
        let mut word = String::new();
        let mut quote = None;
        let mut chars = line[start..].char_indices().peekable();
        let end = loop {
            let Some((i, c)) = chars.next() else {
                break line.len();
            };
            match (quote, c) {
                (None, c) if ends(c) => break start + i,
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                (None | Some('"'), '\\') => {
                    let escaped = chars.next_if(|(_, c)| quote.is_none() || "\"\\$`".contains(*c));
                    word.push(escaped.map_or('\\', |(_, c)| c));
                }
                _ => word.push(c),
            }
        };
        at = end;
        Some((start..end, word))
    })
}

/// The word in the quotes of the one that it replaces, or in those that it needs.
fn quoted_as(old: &str, new: &str) -> String {
    for quote in ['\'', '"'] {
        let is_whole = old.len() > 1 && old.starts_with(quote) && old.ends_with(quote);
        if is_whole && !new.contains([quote, '\\']) {
            return format!("{quote}{new}{quote}");
        }
    }
    match new.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c)) {
        true => format!("'{}'", new.replace('\'', r"'\''")),
        false => new.to_owned(),
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
    let bytes = value.bytes().take(USERINFO_BYTES);
    match bytes.enumerate().find(|(_, byte)| *byte == b'@') {
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
