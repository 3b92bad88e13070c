//! What went wrong and why, in one line.

use std::error::Error;

/// An error and its causes: `a: b: c`, without control characters.
///
/// A cause whose words stand there already is left out: many errors quote their source.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Told {
        words: &'static str,
        source: Option<Box<Self>>,
    }

    fn told(words: &'static str, source: Option<Told>) -> Told {
        let source = source.map(Box::new);
        Told { words, source }
    }

    #[test]
    fn each_cause_is_told_once_and_in_one_line() {
        let last = told("c\r\n\u{1b}[2J", None);
        let error = told("a", Some(told("b", Some(told("b", Some(last))))));
        assert_eq!(chain(&error), "a: b: c???[2J");
        assert_eq!(chain(&told("alone", None)), "alone");
    }
}
