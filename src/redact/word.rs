//! Secrets in one word: of an error message, a field, a command line.
//!
//! A word is a row of URLs, and what leads up to the first: pairs of names and values between `&`,
//! and elements between `/`, of which each may hold a `user:password@host`. A secret's name makes
//! all behind it the secret, the URLs too.

use std::ops::Range;

use super::Redactor;
use super::names::{is_secret_query_key, is_secret_word};
use super::parts::userinfos;
use super::token::tokens;

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

    /// The text with a mark for each of the `secrets` in it; those that overlap or touch are one.
    pub(super) fn marked(&self, text: &str, mut secrets: Vec<Range<usize>>) -> Option<String> {
        secrets.retain(|secret| !self.is_mark_here(&text[secret.clone()]));
        secrets.sort_unstable_by_key(|secret| secret.start);
        secrets.dedup_by(|next, secret| {
            let is_one = next.start <= secret.end;
            if is_one {
                secret.end = secret.end.max(next.end);
            }
            is_one
        });
        if secrets.is_empty() {
            return None;
        }
        let mut redacted = String::with_capacity(text.len() + 16);
        let mut done = 0;
        for secret in secrets {
            redacted.push_str(&text[done..secret.start]);
            redacted.push_str(&self.mark_decoded(&text[secret.clone()]));
            done = secret.end;
        }
        redacted.push_str(&text[done..]);
        Some(redacted)
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
    if let Some((name, _)) = text.split_once(':')
        && is_secret_word(last_name(name))
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

/// How many octets before `://` are the scheme's.
pub(super) fn scheme_len(before: &str) -> usize {
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
pub(super) fn without_punctuation(word: &str) -> (&str, &str) {
    word.split_at(word.trim_end_matches([',', '.', ':', '|', ']', '!']).len())
}
