//! Secrets in free text: error messages, and header fields that hold URLs among other things.

use super::Redactor;
use super::fields::is_scheme;
use super::names::{is_secret_query_key, is_secret_word};
use super::url::{ends_in_password, has_password};

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
        if !self.is_on() {
            return None;
        }
        let mut redacted = String::with_capacity(text.len() + 16);
        let mut is_changed = false;
        let mut sense = Sense::Nothing;
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(len) = private_key_len(rest) {
                redacted.push_str(&self.mark(&rest[..len]));
                rest = &rest[len..];
                is_changed = true;
                continue;
            }
            if sense == Sense::Value
                && let Some((redacted_value, len)) = self.quoted(rest)
            {
                redacted.push_str(&redacted_value);
                is_changed |= redacted_value != rest[..len];
                (rest, sense) = (&rest[len..], Sense::Nothing);
                continue;
            }
            let (word, behind) = rest.split_at(word_len(rest, sense));
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
    /// what it takes the place of.
    fn quoted(&self, text: &str) -> Option<(String, usize)> {
        let quote = text.chars().next()?;
        if matches!(quote, '"' | '\'' | '`') {
            let inside = &text[1..];
            let len = closing(inside, quote).filter(|len| *len > 0)?;
            let secret = &inside[..len];
            let redacted = match secret.split_once(' ') {
                Some((scheme, _)) if is_scheme(scheme) => self.credentials(secret),
                _ => self.mark_whole(secret),
            };
            return Some((format!("{quote}{redacted}{quote}"), len + 2));
        }
        let line = &text[..text.find('\n').unwrap_or(text.len())];
        let (scheme, secret) = line.split_once(' ')?;
        let is_list = is_scheme(scheme) && secret.contains('=') && secret.contains(',');
        is_list.then(|| (format!("{scheme} {}", self.mark_whole(secret)), line.len()))
    }

    /// One word with its secrets and all tokens marked.
    fn word(&self, word: &str, sense: Sense) -> Option<String> {
        match self.sensed_word(word, sense) {
            Some(redacted) => Some(self.tokens(&redacted).unwrap_or(redacted)),
            None => self.tokens(word),
        }
    }

    /// One word, read in the sense that the words before it gave it.
    fn sensed_word(&self, word: &str, sense: Sense) -> Option<String> {
        match sense {
            Sense::Value if !is_operator(word) && !is_scheme(word) => {
                let (secret, tail) = without_punctuation(word);
                return Some(format!("{}{tail}", self.mark(secret)));
            }
            Sense::Credential if is_credential(word) => {
                let (secret, tail) = without_punctuation(word);
                return Some(format!("{}{tail}", self.mark(secret)));
            }
            _ => {}
        }
        if word.contains("://") {
            return self.urls(word);
        }
        self.assignments(word).or_else(|| self.bare_userinfo(word))
    }

    /// A word that holds one URL or several: `HTTPS_PROXY=http://a,http://b:`.
    fn urls(&self, word: &str) -> Option<String> {
        let mut starts: Vec<usize> = word
            .match_indices("://")
            .map(|(colon, _)| (colon - scheme_len(&word[..colon]), colon))
            .enumerate()
            .filter(|(i, (start, colon))| *i == 0 || is_common_scheme(&word[*start..*colon]))
            .map(|(_, (start, _))| start)
            .collect();
        let lead = &word[..starts[0]];
        starts.push(word.len());
        let mut redacted = match lead.strip_suffix('=') {
            Some(name) if is_secret_word(name) => {
                let (secret, tail) = without_punctuation(&word[lead.len()..]);
                return Some(format!("{lead}{}{tail}", self.mark(secret)));
            }
            _ => lead.to_owned(),
        };
        for ends in starts.windows(2) {
            let (url, tail) = without_punctuation(&word[ends[0]..ends[1]]);
            redacted.push_str(&self.url(url));
            redacted.push_str(tail);
        }
        (redacted != word).then_some(redacted)
    }

    /// `password=hunter2`, `a=1&token=x`, `password:hunter2`.
    fn assignments(&self, word: &str) -> Option<String> {
        if let Some((name, value)) = word.split_once(':')
            && is_secret_word(last_name(name))
            && !value.is_empty()
        {
            let (secret, tail) = without_punctuation(value);
            return Some(format!("{name}:{}{tail}", self.mark(secret)));
        }
        if !word.contains('=') {
            return None;
        }
        let mut redacted = String::with_capacity(word.len() + 16);
        for (i, pair) in pairs(word).enumerate() {
            if i > 0 {
                redacted.push('&');
            }
            let is_query = word.contains(['?', '&']);
            match secret_pair(pair, is_query) {
                Some((name, value)) => {
                    let (secret, tail) = without_punctuation(value);
                    redacted.push_str(name);
                    redacted.push('=');
                    redacted.push_str(&self.mark_decoded(secret));
                    redacted.push_str(tail);
                }
                _ => redacted.push_str(pair),
            }
        }
        (redacted != word).then_some(redacted)
    }

    /// `user:password@host:3128`, as proxy variables may have it.
    fn bare_userinfo(&self, word: &str) -> Option<String> {
        let (userinfo, host) = word.rsplit_once('@')?;
        let is_version = host
            .strip_prefix('v')
            .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
        let is_host =
            !is_version && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        (is_host && has_password(userinfo) && !userinfo.contains('/'))
            .then(|| format!("{}@{host}", self.mark_decoded(userinfo)))
    }
}

/// The first name of a secret in `-ldflags=-X=main.token=x`, and its value.
pub(super) fn secret_pair(pair: &str, is_query: bool) -> Option<(&str, &str)> {
    let signs = pair.match_indices('=');
    let mut split = signs.map(|(at, _)| (&pair[..at], &pair[at + 1..]));
    split.find(|(name, _)| {
        let name = last_name(name);
        is_secret_word(name) || is_query && is_secret_query_key(name)
    })
}

/// What `&` separates; what has no `=` belongs to what stands before it.
fn pairs(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(word);
    std::iter::from_fn(move || {
        let text = rest?;
        let ends = text.match_indices('&').map(|(at, _)| at);
        let is_pair = |from: &str| {
            from.split('&')
                .next()
                .is_some_and(|pair| pair.contains('='))
        };
        let Some(end) = ends.into_iter().find(|at| is_pair(&text[at + 1..])) else {
            return rest.take();
        };
        rest = Some(&text[end + 1..]);
        Some(&text[..end])
    })
}

/// The length of the first word; a secret goes on behind a quote that no white space follows.
fn word_len(text: &str, sense: Sense) -> usize {
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
    while len > 0 && (is_secret || is_url) && goes_on(len) {
        len = end(len + 1);
    }
    match is_secret || text[..len].contains('@') {
        true => len,
        false => word.len(),
    }
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

/// More signs than these behind a name, or a name of more characters, is none: so a long row of
/// either is not read over and over.
const SIGNS: usize = 8;
const NAME: usize = 256;

/// The name at the end of `main.token`, `--token`, `?token`, `,token`.
fn last_name(text: &str) -> &str {
    let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let signs = text.chars().rev().take(SIGNS).take_while(|c| !is_part(c));
    let end = text.len() - signs.map(char::len_utf8).sum::<usize>();
    let name = text[..end].chars().rev().take(NAME).take_while(is_part);
    let start = end - name.map(char::len_utf8).sum::<usize>();
    &text[start..end]
}

/// How many octets before `://` are the scheme's.
fn scheme_len(before: &str) -> usize {
    before
        .bytes()
        .rev()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.'))
        .count()
}

/// Within a word, only these begin a further URL: anything may stand before `://`, even a mark.
fn is_common_scheme(scheme: &str) -> bool {
    [
        "http", "https", "socks5", "socks5h", "ssh", "git", "git+ssh", "file",
    ]
    .iter()
    .any(|common| common.eq_ignore_ascii_case(scheme))
}

/// A sentence's own punctuation is no part of its last word.
fn without_punctuation(word: &str) -> (&str, &str) {
    word.split_at(word.trim_end_matches([',', '.', ':', '|', ']', '!']).len())
}

/// Base64 has digits, signs or capitals inside; `authentication` and `Required` have not.
fn is_credential(word: &str) -> bool {
    word.len() >= CREDENTIAL_BYTES
        && word
            .bytes()
            .skip(1)
            .any(|b| !b.is_ascii_lowercase() && !b",.:!?".contains(&b))
}

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
