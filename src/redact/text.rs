//! Secrets in free text: error messages, and header fields that hold URLs among other things.

use super::Redactor;
use super::fields::is_scheme;
use super::names::is_secret_word;
use super::parts::ends_in_password;
use super::screen::{Screen, begins};
use super::token::{self, token_at};
use super::word::{last_name, secret_pair, without_punctuation};

/// A word after `Basic` or `Bearer` is a credential from this many octets on.
const CREDENTIAL_BYTES: usize = 8;

impl Redactor {
    /// Free text with marks for its secrets: URLs with userinfo or signatures, tokens,
    /// `password=…`, `Authorization: Basic …`, `"token": "…"`, private keys in PEM.
    ///
    /// It would rather hide a harmless word than show a secret.
    pub fn text(&self, text: &str) -> String {
        let known = self.without_known(text);
        let text = known.as_deref().unwrap_or(text);
        self.changed_text(text).unwrap_or_else(|| text.to_owned())
    }

    /// The text with marks for its secrets; `None` where it has none.
    pub(super) fn changed_text(&self, text: &str) -> Option<String> {
        if !self.is_on() || is_plain(text) {
            return None;
        }
        self.settled(text, |text| self.read_text(text))
    }

    /// One reading of a text, word by word.
    pub(super) fn read_text(&self, text: &str) -> Option<String> {
        self.read_words(text, &mut Ahead::default())
    }

    fn read_words(&self, text: &str, ahead: &mut Ahead) -> Option<String> {
        let mut redacted = String::with_capacity(text.len() + 16);
        let mut is_changed = false;
        let mut sense = Sense::Nothing;
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            if let Some(len) = private_key_len(rest) {
                redacted.push_str(&self.mark(&rest[..len]));
                rest = &rest[len..];
                is_changed = true;
                continue;
            }
            if sense == Sense::Value
                && let Some((redacted_value, len)) = self.quoted(rest, at, ahead)
            {
                redacted.push_str(&redacted_value);
                is_changed |= redacted_value != rest[..len];
                (rest, sense) = (&rest[len..], Sense::Nothing);
                continue;
            }
            let (word, behind) = rest.split_at(word_len(rest, sense, at, ahead));
            if !word.is_empty() {
                let new = self.word(word, sense);
                is_changed |= new.as_deref().is_some_and(|new| new != word);
                redacted.push_str(new.as_deref().unwrap_or(word));
                sense = sense.after(word);
            }
            // A key's beginning ends a word too, and is no gap.
            let gap = behind.chars().next().filter(|c| ends_word(*c));
            let gap_len = gap.map_or(0, char::len_utf8);
            let (gap, behind) = behind.split_at(gap_len);
            if gap == "\n" {
                sense = Sense::Nothing;
            }
            redacted.push_str(gap);
            rest = behind;
        }
        is_changed.then_some(redacted)
    }

    /// A secret in quotes, or a scheme's parameters up to the end of the line; and the length of
    /// what it takes the place of. `text` begins `at` so many octets.
    fn quoted(&self, text: &str, at: usize, ahead: &mut Ahead) -> Option<(String, usize)> {
        let quote = text.chars().next()?;
        if matches!(quote, '"' | '\'' | '`') {
            let inside = &text[1..];
            let len = closing(inside, quote).filter(|len| *len > 0)?;
            let secret = &inside[..len];
            let redacted = match secret.split_once(' ') {
                Some((scheme, _)) if is_scheme(scheme) => self.credentials(secret),
                _ => self.mark(secret),
            };
            return Some((format!("{quote}{redacted}{quote}"), len + 2));
        }
        let space = text.bytes().take(SCHEME_BYTES).position(|b| b == b' ')?;
        let (scheme, rest) = text.split_at(space);
        if !is_scheme(scheme) || at < ahead.no_list {
            return None;
        }
        let len = space + rest.find('\n').unwrap_or(rest.len());
        #[cfg(test)]
        {
            ahead.looked += len;
        }
        let secret = &text[space + 1..len];
        if secret.contains('=') && secret.contains(',') {
            return Some((format!("{scheme} {}", self.mark(secret)), len));
        }
        ahead.no_list = at + len;
        None
    }

    /// One word, read in the sense that the words before it gave it.
    fn word(&self, word: &str, sense: Sense) -> Option<String> {
        let is_secret = match sense {
            Sense::Value => !is_operator(word) && !is_scheme(word),
            Sense::Credential => is_credential(word),
            Sense::Nothing | Sense::Name => false,
        };
        if !is_secret {
            return self.read_word(word);
        }
        let (secret, tail) = without_punctuation(word);
        Some(format!("{}{tail}", self.mark(secret)))
    }
}

/// Notices what may make a text worth reading.
static SCREEN: Screen = Screen::EMPTY
    .with(&["@", ":", "=", "basic", "bearer", BEGIN])
    .and(&token::SCREEN);

/// Is there no sign behind a name, no userinfo, no credential, no token and no key?
pub(super) fn is_plain(text: &str) -> bool {
    let octets = text.as_bytes();
    !SCREEN.any(octets, |at| {
        let rest = &octets[at..];
        match rest[0] {
            b'@' | b':' | b'=' => true,
            b'-' => rest.starts_with(BEGIN.as_bytes()),
            _ => begins(rest, "basic") || begins(rest, "bearer") || token_at(octets, at).is_some(),
        }
    })
}

/// Up to where, in octets of the whole text, something was looked for and is not: so that a long
/// row of what may begin it is not searched over and over.
#[derive(Default)]
struct Ahead {
    /// No `@` ends what may be a URL's password.
    no_userinfo: usize,
    /// The line is no list of a scheme's parameters.
    no_list: usize,
    /// How many octets were searched in all.
    #[cfg(test)]
    looked: usize,
}

/// The length of the first word; a secret goes on behind a quote that no white space follows.
/// `text` begins `at` so many octets.
fn word_len(text: &str, sense: Sense, at: usize, ahead: &mut Ahead) -> usize {
    let end = |from: usize| {
        let found = text[from..].find(ends_word);
        found.map_or(text.len(), |at| from + at)
    };
    let mut len = end(0);
    let key = text[..len].rfind(BEGIN.trim_end()).filter(|at| *at > 0);
    if let Some(at) = key.filter(|at| private_key_len(&text[*at..]).is_some()) {
        return at;
    }
    let goes_on = |len: usize| {
        let mut next = text[len..].chars();
        let sign = next
            .next()
            .filter(|c| !c.is_whitespace() && !c.is_control());
        sign.is_some() && next.next().is_some_and(char::is_alphanumeric)
    };
    let word = &text[..len];
    let is_url = ends_in_password(word);
    let is_secret = sense == Sense::Value
        || secret_pair(word, false).is_some_and(|(_, secret)| !secret.is_empty());
    if !is_secret && (!is_url || at + len <= ahead.no_userinfo) {
        return len;
    }
    while len > 0 && goes_on(len) {
        len = end(len + 1);
    }
    #[cfg(test)]
    {
        ahead.looked += len;
    }
    if is_secret || text[..len].contains('@') {
        return len;
    }
    ahead.no_userinfo = at + len;
    word.len()
}

/// Where the quote closes; `\` escapes it.
fn closing(inside: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    inside
        .char_indices()
        .find(|(_, c)| {
            let closes = *c == quote && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            closes
        })
        .map(|(at, _)| at)
}

/// What the words before make of the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    Nothing,
    /// A secret's name, without a sign behind it yet.
    Name,
    /// A secret's name and `:` or `=`: the next word is the secret.
    Value,
    /// `Basic` or `Bearer`: the next word is a credential, if it looks like one.
    Credential,
}

impl Sense {
    fn after(self, word: &str) -> Self {
        if is_operator(word) {
            return match self {
                Self::Name | Self::Value => Self::Value,
                _ => Self::Nothing,
            };
        }
        if self == Self::Value && is_scheme(word) {
            return Self::Value;
        }
        if ["basic", "bearer"]
            .iter()
            .any(|scheme| scheme.eq_ignore_ascii_case(word))
        {
            return Self::Credential;
        }
        let name = word.trim_end_matches([':', '=']);
        match (is_secret_word(last_name(name)), name.len() < word.len()) {
            (true, true) => Self::Value,
            (true, false) => Self::Name,
            (false, _) => Self::Nothing,
        }
    }
}

/// `"token": "x"` and `token = x` have a sign of its own between name and value.
fn is_operator(word: &str) -> bool {
    matches!(word, ":" | "=" | ":=" | "=>" | "==")
}

/// White space, quotes and brackets stand between words; what is not ASCII belongs to them.
fn ends_word(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '{' | '}' | ';'
        )
}

/// Base64 has digits, signs or capitals inside; `authentication` and `Required` have not.
fn is_credential(word: &str) -> bool {
    word.len() >= CREDENTIAL_BYTES
        && word
            .bytes()
            .skip(1)
            .any(|b| !b.is_ascii_lowercase() && !b",.:!?".contains(&b))
}

/// More octets than any scheme's name has.
const SCHEME_BYTES: usize = 24;

/// How a key begins in PEM.
const BEGIN: &str = "-----BEGIN ";

/// The length of the PEM private key that `text` begins with (RFC 7468), up to the end if unfinished.
fn private_key_len(text: &str) -> Option<usize> {
    const END: &str = "PRIVATE KEY-----";
    let label = text.strip_prefix(BEGIN)?;
    // The words before it are few: `ENCRYPTED`, `OPENSSH`.
    let head = &label.as_bytes()[..label.len().min(30 + END.len())];
    let first = head
        .windows(END.len())
        .position(|window| window == END.as_bytes())?;
    let body = &label[first + END.len()..];
    let len = body.find(END).map_or(body.len(), |at| at + END.len());
    Some(text.len() - body.len() + len)
}

#[cfg(test)]
mod tests {
    use super::super::tests::redactor;
    use super::*;

    #[test]
    fn no_text_is_searched_over_and_over() {
        for (before, piece) in [
            ("", "a://b:x\""),
            ("", "a://b:x(c\""),
            ("see ", "http://b:x>http://c:y<"),
            ("token:", "("),
            ("token: ", "Basic "),
            ("token: ", "Basic ("),
            ("token: ", "\""),
            ("", "token: 'a\" "),
            ("", "password=a\""),
        ] {
            let text = before.to_owned() + &piece.repeat(64 * 1024 / piece.len());
            let mut ahead = Ahead::default();
            let _ = redactor().read_words(&text, &mut ahead);
            let looked = ahead.looked;
            assert!(looked <= 4 * text.len(), "{before}{piece}: {looked}");
        }
    }

    #[test]
    fn what_was_searched_in_vain_hides_nothing_behind_it() {
        let run = redactor();
        for text in [
            "a://b:x\"a://b:x\" https://bob:hun\"ter2@h/",
            "a://b:x\"c -- a://b:hun\"ter2@h",
            "token: Basic Basic x\ntoken: Digest username=\"u\", response=\"hunter2\"",
        ] {
            let redacted = run.text(text);
            assert!(!redacted.contains("ter2"), "{redacted}");
            assert_eq!(run.text(&redacted), redacted, "twice");
        }
    }
}
