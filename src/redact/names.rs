//! What the name of a value says about it.

use super::redactor::is_mark;
use super::rules::{
    ABOUT, FIELDS, KEYS, Match, OPEN_NAMES, OPEN_TOKENS, OTHER_WORDS, QUERY_KEYS, Secrecy, WORDS,
};
use super::screen::{Screen, begins};

/// Where a name stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A key in a query, or in a path's parameters.
    Query,
    /// A header or trailer field.
    Field,
    /// Before `=` or in quotes, or a flag: a variable, a setting, JSON.
    Setting,
    /// Before a colon in a sentence.
    Prose,
}

/// Notices where a telling word may begin.
pub(super) const SCREEN: Screen = {
    let mut screen = Screen::EMPTY;
    let mut i = 0;
    while i < WORDS.len() {
        screen = screen.with(&[WORDS[i].word]);
        i += 1;
    }
    screen
};
static WORDS_SCREEN: Screen = SCREEN;

/// Does a telling word stand at the beginning?
pub(super) fn begins_telling(bytes: &[u8]) -> bool {
    let first = bytes.first().map_or(0, u8::to_ascii_lowercase);
    WORDS
        .iter()
        .any(|row| row.word.as_bytes()[0] == first && begins(bytes, row.word))
}

/// What a name says about its value in this place. Case does not matter.
pub(super) fn secrecy(name: &str, place: Place) -> Secrecy {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    let listed = match place {
        Place::Query => QUERY_KEYS.iter().find(|(key, _)| is(key)).map(|row| row.1),
        Place::Field => FIELDS
            .iter()
            .any(|field| is(field))
            .then_some(Secrecy::Secret),
        Place::Setting | Place::Prose => None,
    };
    listed.unwrap_or_else(|| match WORDS_SCREEN.any(name.as_bytes(), |_| true) {
        true => of_words(name, place),
        false => Secrecy::Open,
    })
}

fn of_words(name: &str, place: Place) -> Secrecy {
    let is_open = match place {
        Place::Query => false,
        // `Access-Control-Allow-Credentials: true` tells a browser, and nobody else.
        Place::Field => begins(name.as_bytes(), "access-control-"),
        Place::Setting => OPEN_NAMES.contains(&name),
        Place::Prose => is_go_test(name),
    };
    if is_open {
        return Secrecy::Open;
    }
    let words = words(name);
    let about = words.iter().rposition(|word| ABOUT.contains(&&**word));
    let telling = about.map_or(0, |at| at + 1)..words.len();
    let said = telling.map(|at| of_word(&words, at, place));
    said.max().unwrap_or(Secrecy::Open)
}

/// What one of a name's words says.
fn of_word(words: &[String], at: usize, place: Place) -> Secrecy {
    let (before, word) = (at.checked_sub(1).map(|at| &*words[at]), &*words[at]);
    let is_last = at + 1 == words.len();
    let is = |telling: &str, how: &Match| match how {
        Match::Whole => word == telling,
        Match::Last => is_last && word == telling,
        Match::End => word.ends_with(telling),
        Match::Part => word.contains(telling),
    };
    if let Some(kind) = word.strip_suffix("key") {
        let kind = if kind.is_empty() { before } else { Some(kind) };
        let row = KEYS
            .iter()
            .find(|(word, _)| kind.is_some_and(|kind| kind.ends_with(word)));
        match (row, place) {
            (Some((_, Secrecy::Open)), _) => return Secrecy::Open,
            (Some(_), Place::Field) => return Secrecy::Secret,
            (Some(_), Place::Prose) => return Secrecy::Possible,
            (Some((_, said)), Place::Query | Place::Setting) => return *said,
            // A lone `key=` is any pair's first half.
            (None, Place::Setting) if kind.is_none() => return Secrecy::Open,
            (None, _) => {}
        }
    }
    if OTHER_WORDS.contains(&word)
        || word == "token" && before.is_some_and(|before| OPEN_TOKENS.contains(&before))
    {
        return Secrecy::Open;
    }
    let rows = WORDS.iter().filter(|row| is(row.word, &row.how));
    let said = rows.map(|row| row.secrecy[place as usize]);
    said.max().unwrap_or(Secrecy::Open)
}

/// `TestToken:` names a test, and what went wrong in it follows.
fn is_go_test(name: &str) -> bool {
    ["Test", "Benchmark", "Fuzz", "Example"].iter().any(|kind| {
        let rest = name.strip_prefix(kind);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

/// The words of a name in lower case: `X-GitHub-OTP` has `x`, `git`, `hub`, `otp`, `APIKey2` `api`, `key`.
fn words(name: &str) -> Vec<String> {
    let bytes = name.as_bytes();
    let mut words = vec![String::new()];
    for (i, byte) in bytes.iter().enumerate() {
        let before = i.checked_sub(1).map_or(b' ', |at| bytes[at]);
        let behind = bytes.get(i + 1).copied().unwrap_or(b' ');
        let begins = !before.is_ascii_alphabetic()
            || byte.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || behind.is_ascii_lowercase());
        if byte.is_ascii_alphabetic() {
            if begins {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(char::from(byte.to_ascii_lowercase()));
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A secret behind a name that only perhaps means one has this many bytes, and more than the
/// letters of a word: `code=404`, `key=b`, `auth=netrc` and `SSH_KEY=~/.ssh/id` are none.
const SECRET_BYTES: usize = 6;

impl Secrecy {
    /// Is this value a secret, given what its name says?
    pub(super) fn is_secret(self, value: &str) -> bool {
        match self {
            Self::Open => false,
            Self::Secret => true,
            Self::Possible => {
                let is_path = value.starts_with(['/', '~']) || value.starts_with("./");
                let mut behind_first = value.bytes().skip(1);
                is_mark(value)
                    || value.len() >= SECRET_BYTES
                        && !is_path
                        && behind_first
                            .any(|b| !b.is_ascii_lowercase() && !b"-_./,:!?".contains(&b))
            }
        }
    }
}
