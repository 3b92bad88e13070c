//! The redactor: the key of a run, the known secrets, what stands in a secret's place, and the rule that
//! redacting twice is redacting once. Where the secrets are, the other files of this room find out.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::exchange::Hex;

/// The mark without a key.
const NOTHING: &str = "redacted";
/// Most texts are settled after one reading, and nearly all after two.
const ROUNDS: usize = 8;

/// Replaces secrets by marks; or passes everything unchanged.
#[derive(Clone)]
pub struct Redactor {
    pub(super) replacement: Replacement,
    /// Secrets that are known as such, whatever stands around them.
    pub(super) known: Option<Arc<Vec<String>>>,
}

/// What stands in a secret's place.
#[derive(Clone)]
pub(super) enum Replacement {
    /// The secret itself.
    Off,
    /// A mark under the run's key.
    Keyed(Arc<hmac::Key>),
    /// Nothing where a name gave it away, else a fixed word: for comparing URLs of different runs.
    Nothing,
}

impl Redactor {
    /// Redacts under `key`: random bytes, new for each run, kept nowhere.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            replacement: Replacement::Keyed(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key))),
            known: None,
        }
    }

    /// Passes everything unchanged (`--no-redact`).
    pub(crate) const fn off() -> Self {
        Self {
            replacement: Replacement::Off,
            known: None,
        }
    }

    /// Replaces `secret` too wherever it stands, even if nothing else is replaced.
    #[must_use]
    pub(crate) fn knowing(mut self, secret: &str) -> Self {
        if !secret.is_empty() {
            let known = self.known.get_or_insert_default();
            Arc::make_mut(known).push(secret.to_owned());
        }
        self
    }

    /// The text without the known secrets.
    pub(crate) fn known<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.without_known(text)
            .map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// The text without the known secrets; `None` where it has none.
    pub(super) fn without_known(&self, text: &str) -> Option<String> {
        let known = self.known.as_deref()?;
        let mark = |secret: &str| match &self.replacement {
            Replacement::Keyed(key) => Self::mark_under(key, secret),
            Replacement::Off | Replacement::Nothing => {
                format!("{MARK}{:0width$}", 0, width = 2 * MARK_BYTES)
            }
        };
        let mut found = known
            .iter()
            .filter(|secret| text.contains(*secret))
            .peekable();
        found.peek()?;
        Some(found.fold(text.to_owned(), |text, secret| {
            text.replace(secret, &mark(secret))
        }))
    }

    /// Does it redact?
    pub(crate) const fn is_on(&self) -> bool {
        !matches!(self.replacement, Replacement::Off)
    }

    /// The mark of one secret. A mark is its own, and nothing has none.
    pub(crate) fn mark(&self, secret: &str) -> String {
        match &self.replacement {
            Replacement::Off => secret.to_owned(),
            Replacement::Nothing => NOTHING.to_owned(),
            Replacement::Keyed(_) if self.is_mark_here(secret) => secret.to_owned(),
            Replacement::Keyed(key) => Self::mark_under(key, secret),
        }
    }

    /// Is this what [`Self::mark`] leaves as it is?
    pub(super) fn is_mark_here(&self, secret: &str) -> bool {
        secret.is_empty() || is_mark(secret) && !matches!(self.replacement, Replacement::Nothing)
    }

    fn mark_under(key: &hmac::Key, secret: &str) -> String {
        let tag = hmac::sign(key, secret.as_bytes());
        let start = tag.as_ref().first_chunk::<MARK_BYTES>();
        let start = Hex(*start.expect("SHA-256 has 32 bytes"));
        [MARK, start.digits(&mut [0; 64])].concat()
    }

    /// What `read` makes of the text, of that, and so on, until it finds no secret in it: whatever a
    /// mark does to the meaning of what stands beside it, redacting twice is redacting once.
    ///
    /// `read` says `None` of a text without secrets, as this does, and of a lone mark.
    pub(super) fn settled(
        &self,
        text: &str,
        read: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let mut settled = read(text).filter(|redacted| redacted != text)?;
        for _ in 0..ROUNDS {
            match read(&settled) {
                Some(redacted) if redacted != settled => settled = redacted,
                _ => return Some(settled),
            }
        }
        // A text that was made to change with each reading is hidden as a whole.
        Some(self.mark(text))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

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
    fn equal_secrets_have_equal_marks_within_a_run_only() {
        let run = Redactor::new([1; 32]);
        assert_eq!(run.mark("hunter2"), run.mark("hunter2"));
        assert_ne!(run.mark("hunter2"), run.mark("hunter3"));
        assert_ne!(run.mark("hunter2"), Redactor::new([2; 32]).mark("hunter2"));
        assert_eq!(run.mark("p%40ss"), run.mark("p%40ss"));
        assert_eq!(run.mark_decoded("p%40ss"), run.mark("p@ss"));
    }

    #[test]
    fn a_mark_shows_the_first_eight_bytes_of_the_hmac() {
        // RFC 4231 test case 2 has a short key; HMAC pads it with zeros, and so may we.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mark = Redactor::new(key).mark("what do ya want for nothing?");
        assert_eq!(mark, "redacted:5bdcc146bf60754e");
    }

    #[test]
    fn a_mark_is_its_own_mark() {
        let run = redactor();
        let mark = run.mark("hunter2");
        assert!(is_mark(&mark));
        assert_eq!(run.mark(&mark), mark);
        assert!(
            is_mark(&run.mark(&format!("u:{mark}"))),
            "what stands beside a mark is secret still"
        );
        assert_eq!(run.mark(""), "");
        assert!(!is_mark("redacted:5bdcc146bf60754E"));
        assert!(!is_mark("redacted:5bdcc146bf60754e0"));
    }

    #[test]
    fn a_text_that_never_rests_is_marked_whole() {
        let run = redactor();
        let grows = |text: &str| (!is_mark(text)).then(|| format!("{text} more"));
        assert_eq!(run.settled("hunter2", grows), Some(run.mark("hunter2")));
        assert_eq!(run.settled("text", |text| Some(text.to_owned())), None);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", redactor()), "Redactor { is_on: true, .. }");
        assert!(!Redactor::off().is_on());
    }

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
