//! What stands in a secret's place, and how it is told from everything else.

use std::borrow::Cow;

/// What every mark begins with.
pub(super) const MARK: &str = "redacted:";
/// Bytes of the HMAC that a mark shows.
pub(super) const MARK_BYTES: usize = 8;

/// What stands in place of a mark where somebody is to write the value again.
const PLACEHOLDER: &str = "<…>";

/// `text` with a placeholder for each mark: a mark is no value that could be used again.
pub(crate) fn with_placeholders(text: &str) -> Cow<'_, str> {
    let len = MARK.len() + 2 * MARK_BYTES;
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let end = if rest.get(at..at + len).is_some_and(is_mark) {
            replaced.push_str(&rest[..at]);
            replaced.push_str(PLACEHOLDER);
            at + len
        } else {
            replaced.push_str(&rest[..at + MARK.len()]);
            at + MARK.len()
        };
        rest = &rest[end..];
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
}

/// Is this a mark, and nothing but a mark?
pub(super) fn is_mark(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|digits| {
        digits.len() == 2 * MARK_BYTES
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::redactor;
    use super::*;

    #[test]
    fn marks_become_placeholders_and_nothing_else_does() {
        let mark = redactor().mark("hunter2");
        for (text, expected) in [
            ("plain".to_owned(), "plain"),
            (format!("http://{mark}@h/{mark}"), "http://<…>@h/<…>"),
            (
                "redacted: none, redacted:é".into(),
                "redacted: none, redacted:é",
            ),
            (format!("redacted:{mark}"), "redacted:<…>"),
        ] {
            assert_eq!(with_placeholders(&text), expected);
        }
    }
}
