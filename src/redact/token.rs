//! Tokens that give themselves away by their shape, wherever they stand.
//!
//! The prefixes are those that the issuers publish so that leaks can be found. The lengths are lower
//! bounds, below the issuers' own, yet above what a module path or a pseudo-version reaches.

use std::borrow::Cow;
use std::ops::Range;

use super::screen::Screen;
use super::{MARK, MARK_BYTES, Redactor, is_mark};

/// What may follow a prefix.
#[derive(Clone, Copy)]
enum Alphabet {
    /// `A-Z 0-9`
    Upper,
    /// `A-Z a-z 0-9 _`
    Word,
    /// The same and `-`: base64url.
    Dash,
    /// The same and `. + =`: several parts of base64.
    Dot,
}

impl Alphabet {
    const fn holds(self, octet: u8) -> bool {
        match self {
            Self::Upper => octet.is_ascii_uppercase() || octet.is_ascii_digit(),
            Self::Word => octet.is_ascii_alphanumeric() || octet == b'_',
            Self::Dash => octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'),
            Self::Dot => {
                octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.' | b'+' | b'=')
            }
        }
    }
}

/// Prefix, how many octets must follow at least, and which.
const SHAPES: [(&str, usize, Alphabet); 44] = [
    // GitHub: personal, OAuth, user-to-server, server-to-server, refresh; fine-grained.
    ("ghp_", 20, Alphabet::Word),
    ("gho_", 20, Alphabet::Word),
    ("ghu_", 20, Alphabet::Word),
    ("ghs_", 20, Alphabet::Dot),
    ("ghr_", 20, Alphabet::Word),
    ("github_pat_", 20, Alphabet::Word),
    // GitLab: personal, deploy, runner, CI job, trigger, feed, agent, OAuth, SCIM, mail.
    ("glpat-", 16, Alphabet::Dot),
    ("gldt-", 16, Alphabet::Dot),
    ("glrt-", 16, Alphabet::Dot),
    ("glcbt-", 16, Alphabet::Dot),
    ("glptt-", 16, Alphabet::Dot),
    ("glft-", 16, Alphabet::Dot),
    ("glagent-", 16, Alphabet::Dot),
    ("gloas-", 16, Alphabet::Dot),
    ("glsoat-", 16, Alphabet::Dot),
    ("glimt-", 16, Alphabet::Dot),
    // Amazon access key identifiers: long-lived and temporary.
    ("AKIA", 16, Alphabet::Upper),
    ("ASIA", 16, Alphabet::Upper),
    // JSON Web Tokens, and any other JSON object in base64: `{"`.
    ("eyJ", 16, Alphabet::Dot),
    // Slack.
    ("xoxa-", 10, Alphabet::Dash),
    ("xoxb-", 10, Alphabet::Dash),
    ("xoxe-", 10, Alphabet::Dash),
    ("xoxe.", 10, Alphabet::Dot),
    ("xoxo-", 10, Alphabet::Dash),
    ("xoxp-", 10, Alphabet::Dash),
    ("xoxr-", 10, Alphabet::Dash),
    ("xoxs-", 10, Alphabet::Dash),
    ("xapp-", 10, Alphabet::Dash),
    // Package and container registries.
    ("npm_", 30, Alphabet::Word),
    ("dckr_pat_", 20, Alphabet::Dash),
    // Artifactory: API key; reference token, which is base64 of `reftkn`.
    ("AKCp", 50, Alphabet::Word),
    ("cmVmdGtu", 50, Alphabet::Word),
    // Atlassian and Bitbucket.
    ("ATATT3", 20, Alphabet::Dot),
    ("ATCTT3", 20, Alphabet::Dot),
    ("ATBB", 20, Alphabet::Word),
    // Google: API key, OAuth access token, OAuth client secret.
    ("AIza", 30, Alphabet::Dash),
    ("ya29.", 20, Alphabet::Dot),
    ("GOCSPX-", 20, Alphabet::Dash),
    // HashiCorp Vault.
    ("hvs.", 20, Alphabet::Dash),
    ("hvb.", 20, Alphabet::Dash),
    // Stripe; model vendors.
    ("sk_live_", 16, Alphabet::Word),
    ("rk_live_", 16, Alphabet::Word),
    ("sk-ant-", 30, Alphabet::Dash),
    ("sk-proj-", 30, Alphabet::Dash),
];

/// Notices where a token or a mark may begin.
pub(super) const SCREEN: Screen = {
    let mut screen = Screen::EMPTY.with(&[MARK]);
    let mut i = 0;
    while i < SHAPES.len() {
        screen = screen.with(&[SHAPES[i].0]);
        i += 1;
    }
    screen
};
static TOKENS: Screen = SCREEN;

/// The first token or mark at or behind `from`, as a range of octets.
pub(super) fn find(octets: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = TOKENS.find(octets, from, |at| token_at(octets, at).is_some())?;
    Some((start, start + token_at(octets, start)?))
}

/// The length of the token or mark that begins at `start`.
pub(super) fn token_at(octets: &[u8], start: usize) -> Option<usize> {
    let (before, octets) = octets.split_at(start);
    match is_inside_a_word(before) {
        true => None,
        false => len_at(octets),
    }
}

/// Does what stands before belong to the same word? The digits of `%40` do not; a digest `h1:…` does.
fn is_inside_a_word(before: &[u8]) -> bool {
    match before {
        [.., last] if last.is_ascii_alphanumeric() => !matches!(
            before,
            [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()
        ),
        [.., b'h', b'1', b':'] => true,
        _ => false,
    }
}

/// The length of the token or mark that `octets` begin with.
fn len_at(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(MARK.as_bytes()) {
        let len = MARK.len() + 2 * MARK_BYTES;
        let mark = std::str::from_utf8(octets.get(..len)?).ok()?;
        return is_mark(mark).then_some(len);
    }
    let &[first, second, ..] = octets else {
        return None;
    };
    SHAPES.iter().find_map(|(prefix, least, alphabet)| {
        let prefix = prefix.as_bytes();
        if prefix[0] != first || prefix[1] != second {
            return None;
        }
        let rest = octets.strip_prefix(prefix)?;
        let len = rest.iter().take_while(|b| alphabet.holds(**b)).count();
        (len >= *least).then_some(prefix.len() + len)
    })
}

/// Where the tokens and marks of a text are.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (start, end) = find(text.as_bytes(), from)?;
        from = end;
        Some(start..end)
    })
}

impl Redactor {
    /// `text` with a mark for each token; `None` where there is none.
    pub(super) fn read_tokens(&self, text: &str) -> Option<String> {
        self.marked(text, tokens(text).collect())
    }
}

/// The percent-decoded text, where decoding changes it.
pub(super) fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    match percent_encoding::percent_decode_str(text).decode_utf8_lossy() {
        Cow::Owned(decoded) => Some(decoded),
        Cow::Borrowed(_) => None,
    }
}
