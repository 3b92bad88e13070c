//! Tokens that give themselves away by their shape, wherever they stand.

use std::borrow::Cow;
use std::ops::Range;

use super::redactor::Redactor;
use super::redactor::{MARK, MARK_BYTES, is_mark};
use super::rules::{TOKENS, Token};
use super::screen::Screen;

/// Notices where a token or a mark may begin.
pub(super) const SCREEN: Screen = {
    let mut screen = Screen::EMPTY.with(&[MARK]);
    let mut i = 0;
    while i < TOKENS.len() {
        // Their case matters.
        screen = screen.beginning(TOKENS[i].prefix.as_bytes()[0], TOKENS[i].prefix);
        i += 1;
    }
    screen
};
static TOKENS_SCREEN: Screen = SCREEN;

/// The first token or mark at or behind `from`, as a range of bytes.
pub(super) fn find(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = TOKENS_SCREEN.find(bytes, from, |at| token_at(bytes, at).is_some())?;
    Some((start, start + token_at(bytes, start)?))
}

/// The length of the token or mark that begins at `start`.
pub(super) fn token_at(bytes: &[u8], start: usize) -> Option<usize> {
    let (before, bytes) = bytes.split_at(start);
    match is_inside_a_word(before) {
        true => None,
        false => len_at(bytes),
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

/// The length of the token or mark that `bytes` begin with.
fn len_at(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(MARK.as_bytes()) {
        let len = MARK.len() + 2 * MARK_BYTES;
        let mark = std::str::from_utf8(bytes.get(..len)?).ok()?;
        return is_mark(mark).then_some(len);
    }
    let pair = bytes.first_chunk::<2>()?;
    let pair_of = |row: &Token| row.prefix.as_bytes().first_chunk::<2>().copied();
    let first = TOKENS.partition_point(|row| pair_of(row) < Some(*pair));
    let rows = TOKENS[first..].iter();
    rows.take_while(|row| pair_of(row) == Some(*pair))
        .find_map(|row| {
            let rest = bytes.strip_prefix(row.prefix.as_bytes())?;
            let len = rest.iter().take_while(|b| row.letters.hold(**b)).count();
            (len >= row.least).then_some(row.prefix.len() + len)
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

    /// `text` with a mark for each token; `None` where there is none.
    pub(super) fn read_tokens(&self, text: &str) -> Option<String> {
        self.marked(text, tokens(text).collect())
    }

    /// [`Self::mark`] of a secret that may be percent-encoded: the encoding does not matter.
    pub(super) fn mark_decoded(&self, secret: &str) -> String {
        match decoded(secret) {
            Some(decoded) => self.mark(&decoded),
            None => self.mark(secret),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(TOKENS.is_sorted_by(|a, b| a.prefix < b.prefix));
    }
}
