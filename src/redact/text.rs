//! Secrets in free text: error messages, and header fields that hold URLs among other things.

use std::ops::Range;

use super::fields::is_scheme;
use super::names::{Place, secrecy};
use super::redactor::Redactor;
use super::rules::Secrecy;
use super::screen::{Screen, begins};
use super::token::{self, token_at, tokens};
use super::url::{ends_in_password, scheme_len, userinfos};

/// A word after `Basic` or `Bearer` is a credential from this many bytes on.
const CREDENTIAL_BYTES: usize = 8;

impl Redactor {
    /// Free text with marks for its secrets: URLs with userinfo or signatures, tokens,
    /// `password=…`, `Authorization: Basic …`, `"token": "…"`, private keys in PEM.
    ///
    /// It would rather hide a harmless word than show a secret.
    pub(crate) fn text(&self, text: &str) -> String {
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
            if let Sense::Value(value) = sense
                && let Some((redacted_value, len)) = self.whole_value(rest, value, at, ahead)
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
            // A private key ends a word too, and is no gap; nor is the quote before a value.
            let is_open = !word.is_empty() && matches!(sense, Sense::Value(_));
            let is_gap = |c: &char| ends_word(*c) && !(is_open && is_quote(*c));
            let gap = behind.chars().next().filter(is_gap);
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

    /// A secret in quotes, or a scheme's parameters or cookies up to the end of the line; and the
    /// length of what it takes the place of. `text` begins `at` so many bytes.
    fn whole_value(
        &self,
        text: &str,
        value: Value,
        at: usize,
        ahead: &mut Ahead,
    ) -> Option<(String, usize)> {
        let quote = text.chars().next()?;
        if is_quote(quote) {
            let inside = &text[1..];
            let len = closing(inside, quote).filter(|len| *len > 0)?;
            let secret = &inside[..len];
            if !value.quoted.is_secret(secret) {
                return None;
            }
            let redacted = match secret.split_once(' ') {
                Some((scheme, _)) if is_scheme(scheme) => self.credentials(secret),
                _ => self.mark(secret),
            };
            return Some((format!("{quote}{redacted}{quote}"), len + 2));
        }
        if value.is_cookie && !quote.is_whitespace() && at >= ahead.no_cookie {
            let len = text.find(['\n', '"', '\'', '`']).unwrap_or(text.len());
            #[cfg(test)]
            {
                ahead.looked += len;
            }
            if !text[..len].contains('=') {
                ahead.no_cookie = at + len;
                return None;
            }
            return Some((self.cookie_line(&text[..len]), len));
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

    /// Cookies in a text, whose names stay where they are nothing but names.
    fn cookie_line(&self, text: &str) -> String {
        let is_name = |name: &str| {
            let mut bytes = name.trim().bytes();
            bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                && tokens(name).next().is_none()
        };
        let mut pairs = text.split(';').map(|pair| pair.split_once('='));
        match pairs.all(|pair| pair.is_some_and(|(name, _)| is_name(name))) {
            true => self.cookie(text, false),
            false => self.mark(text.trim_end()),
        }
    }

    /// One word, read in the sense that the words before it gave it.
    fn word(&self, word: &str, sense: Sense) -> Option<String> {
        let is_secret = match sense {
            Sense::Value(value) => {
                !is_operator(word)
                    && !is_scheme(word)
                    && value.bare.is_secret(without_punctuation(word).0)
            }
            Sense::Credential => is_credential(word),
            Sense::Nothing | Sense::Name { .. } => false,
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
    let bytes = text.as_bytes();
    !SCREEN.any(bytes, |at| {
        let rest = &bytes[at..];
        match rest[0] {
            b'@' | b':' | b'=' => true,
            b'-' => rest.starts_with(BEGIN.as_bytes()),
            _ => begins(rest, "basic") || begins(rest, "bearer") || token_at(bytes, at).is_some(),
        }
    })
}

/// Up to where, in bytes of the whole text, something was looked for and is not: so that a long
/// row of what may begin it is not searched over and over.
#[derive(Default)]
struct Ahead {
    /// No `@` ends what may be a URL's password.
    no_userinfo: usize,
    /// The line is no list of a scheme's parameters.
    no_list: usize,
    /// The line holds no pairs.
    no_cookie: usize,
    /// How many bytes were searched in all.
    #[cfg(test)]
    looked: usize,
}

/// The length of the first word; a secret goes on behind a quote that no white space follows.
/// `text` begins `at` so many bytes.
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
    let is_secret = matches!(sense, Sense::Value(_))
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
#[derive(Clone, Copy)]
enum Sense {
    Nothing,
    /// A telling name, without a sign behind it yet: what it says before `=`, and before a colon.
    Name {
        setting: Secrecy,
        prose: Secrecy,
    },
    /// A telling name and a sign: the next word is its value.
    Value(Value),
    /// `Basic` or `Bearer`: the next word is a credential, if it looks like one.
    Credential,
}

/// What a name and the sign behind it say about the value that comes.
#[derive(Clone, Copy)]
struct Value {
    bare: Secrecy,
    quoted: Secrecy,
    /// It goes on to the end of the line.
    is_cookie: bool,
}

impl Sense {
    fn after(self, word: &str) -> Self {
        if is_operator(word) {
            return match self {
                Self::Name { setting, prose } => Self::value(setting, prose, word == ":"),
                Self::Value(_) => self,
                _ => Self::Nothing,
            };
        }
        if matches!(self, Self::Value(_)) && is_scheme(word) {
            return self;
        }
        if ["basic", "bearer"]
            .iter()
            .any(|scheme| scheme.eq_ignore_ascii_case(word))
        {
            return Self::Credential;
        }
        let name = word.trim_end_matches([':', '=']);
        let last = last_name(name);
        let (setting, prose) = (secrecy(last, Place::Setting), before_colon(last));
        if setting.max(prose) == Secrecy::Open {
            return Self::Nothing;
        }
        match &word[name.len()..] {
            "" => Self::Name { setting, prose },
            ":" => match Self::value(setting, prose, true) {
                Self::Value(value) => Self::Value(Value {
                    is_cookie: is_cookie(last),
                    ..value
                }),
                sense => sense,
            },
            _ => Self::value(setting, prose, false),
        }
    }

    const fn value(setting: Secrecy, prose: Secrecy, is_colon: bool) -> Self {
        Self::Value(Value {
            bare: if is_colon { prose } else { setting },
            quoted: setting,
            is_cookie: false,
        })
    }
}

/// What a name says about what stands behind a colon: in a header field, or in a sentence.
fn before_colon(name: &str) -> Secrecy {
    match name.contains('-') {
        _ if is_cookie(name) => Secrecy::Possible,
        true => secrecy(name, Place::Field),
        false => secrecy(name, Place::Prose),
    }
}

/// Is this one of the fields that hold cookies?
fn is_cookie(name: &str) -> bool {
    name.eq_ignore_ascii_case("cookie") || name.eq_ignore_ascii_case("set-cookie")
}

/// `"token": "x"` and `token = x` have a sign of its own between name and value.
fn is_operator(word: &str) -> bool {
    matches!(word, ":" | "=" | ":=" | "=>" | "==")
}

const fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
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

/// More bytes than any scheme's name has.
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

/// A word is a row of URLs, and what leads up to the first: pairs of names and values between `&`,
/// and elements between `/`, of which each may hold a `user:password@host`. A secret's name makes
/// all behind it the secret, the URLs too.
impl Redactor {
    /// One reading of a word; `None` where it holds no secret.
    pub(super) fn read_word(&self, word: &str) -> Option<String> {
        let starts = url_starts(word);
        let (lead, secrets) = lead(word, starts.first().copied());
        let redacted = self.marked(lead, secrets);
        if lead.len() == word.len() {
            return redacted;
        }
        let mut redacted = redacted.unwrap_or_else(|| lead.to_owned());
        let ends = starts.iter().skip(1).copied().chain([word.len()]);
        for (start, end) in starts.iter().zip(ends) {
            let (url, tail) = without_punctuation(&word[*start..end]);
            redacted.push_str(&self.url_and_tokens(url));
            redacted.push_str(tail);
        }
        Some(redacted)
    }

    /// In text, a token goes even where a URL has to have a host.
    fn url_and_tokens(&self, url: &str) -> String {
        let url = self.read_url(url).unwrap_or_else(|| url.to_owned());
        self.read_tokens(&url).unwrap_or(url)
    }
}

/// What leads up to the first URL, and where the secrets are in it: the whole word, where a secret's
/// name makes the URL a part of the secret.
fn lead(word: &str, first_url: Option<usize>) -> (&str, Vec<Range<usize>>) {
    let mut lead = &word[..first_url.unwrap_or(word.len())];
    let mut secrets = named_values(lead);
    if let Some(value) = secrets.last_mut()
        && value.end == lead.len()
    {
        lead = word;
        value.end = word.len();
    }
    for value in &mut secrets {
        value.end = value.start + without_punctuation(&word[value.clone()]).0.len();
    }
    secrets.extend(userinfos(lead));
    secrets.extend(tokens(lead));
    (lead, secrets)
}

/// Where the URLs of `HTTPS_PROXY=http://a,http://b` begin.
fn url_starts(word: &str) -> Vec<usize> {
    let schemes = word.match_indices("://").map(|(colon, _)| {
        let start = colon - scheme_len(&word[..colon]);
        (start, &word[start..colon])
    });
    schemes
        .enumerate()
        .filter(|(i, (_, scheme))| *i == 0 || is_common_scheme(scheme))
        .map(|(_, (start, _))| start)
        .collect()
}

/// Where the values are in `password=hunter2`, `a=1&token=x`, `password:hunter2`.
fn named_values(text: &str) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    if let Some((name, value)) = text.split_once(':')
        && before_colon(last_name(name)).is_secret(value)
    {
        values.push(name.len() + 1..text.len());
        return values;
    }
    if !text.contains('=') {
        return values;
    }
    let is_query = text.contains(['?', '&']);
    let mut start = 0;
    for pair in pairs(text) {
        let end = start + pair.len();
        if let Some((_, value)) = secret_pair(pair, is_query) {
            values.push(end - value.len()..end);
        }
        start = end + 1;
    }
    values
}

/// The first name of a secret in `-ldflags=-X=main.token=x`, and its value.
pub(super) fn secret_pair(pair: &str, is_query: bool) -> Option<(&str, &str)> {
    let signs = pair.match_indices('=');
    let mut split = signs.map(|(at, _)| (&pair[..at], &pair[at + 1..]));
    split.find(|(name, value)| {
        let name = last_name(name);
        let said = secrecy(name, Place::Setting);
        said.is_secret(value) || is_query && secrecy(name, Place::Query).is_secret(value)
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

/// More signs than these behind a name, or a name of more characters, is none: so a long row of
/// either is not read over and over.
const SIGNS: usize = 8;
const NAME: usize = 256;

/// The name at the end of `main.token`, `--token`, `?token`, `,token`.
pub(super) fn last_name(text: &str) -> &str {
    let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let signs = text.chars().rev().take(SIGNS).take_while(|c| !is_part(c));
    let end = text.len() - signs.map(char::len_utf8).sum::<usize>();
    let name = text[..end].chars().rev().take(NAME).take_while(is_part);
    let start = end - name.map(char::len_utf8).sum::<usize>();
    &text[start..end]
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
pub(super) fn without_punctuation(word: &str) -> (&str, &str) {
    word.split_at(word.trim_end_matches([',', '.', ':', '|', ']', '!']).len())
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
            ("", "Cookie: "),
            ("", "Cookie: a=b\n"),
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
