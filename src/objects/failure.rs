//! What a store could not do, in one sentence.

use crate::exchange::chain;

/// Characters of an error that are told.
const LONGEST: usize = 300;

/// Why a store did not do what it was asked for. Without secrets: neither queries of URLs, where signatures are, nor
/// what a server wrote but for its code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let what = match &error {
            E::PermissionDenied { .. } => "the store denies it (403)",
            E::Unauthenticated { .. } => "the store does not know these keys (401)",
            E::NotFound { .. } => "there is no such bucket or object (404)",
            _ => "",
        };
        let said = in_words(&chain(&error));
        Self(match (what, code(&chain(&error))) {
            ("", _) => said,
            (what, Some(code)) => format!("{what}: {code}"),
            (what, None) => what.to_owned(),
        })
    }
}

/// The code in the XML of an error, such as `NoSuchBucket`.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    Some(code).filter(|code| code.len() <= 64 && code.chars().all(is_word))
}

/// An error without queries, without what a server wrote beside its code, without line ends, and not too long.
fn in_words(text: &str) -> String {
    // What a server wrote begins with a tag.
    let ours = text.split(['<', '\n']).next().unwrap_or_default();
    let words = ours.split(' ').map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => url,
        _ => word,
    });
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let mut said: String = words.join(" ").chars().take(LONGEST).collect();
    if let Some(code) = code(text) {
        said = format!("{} ({code})", said.trim_end_matches([':', ' ']));
    }
    said.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_signatures_nor_keys_are_told() {
        let text = "Server returned non-2xx status code: 400 Bad Request: \
                    <?xml version=\"1.0\"?><Error><Code>InvalidRequest</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId>";
        assert_eq!(
            in_words(text),
            "Server returned non-2xx status code: 400 Bad Request (InvalidRequest)"
        );
        assert_eq!(
            in_words("cannot ask https://a.example/b?sig=SECRET now"),
            "cannot ask https://a.example/b now"
        );
    }
}
