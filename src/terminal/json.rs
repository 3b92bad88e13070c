//! JSON for programs, which a terminal can be shown without harm.
//!
//! JSON escapes the control characters below U+0020 only; the others that a terminal obeys are
//! escaped here, which changes no value.

use serde::Serialize;

use crate::shell::is_terminal_control;

/// One line, with its line feed.
pub(crate) fn line(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(harmless(serde_json::to_string(value)?))
}

/// Indented, with a line feed at the end.
pub(crate) fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(harmless(serde_json::to_string_pretty(value)?))
}

/// Such characters stand in strings only; line feeds stand between values only.
fn harmless(json: String) -> String {
    let mut json = if json.chars().any(|c| c != '\n' && is_terminal_control(c)) {
        json.chars().fold(String::new(), |mut harmless, c| {
            if c != '\n' && is_terminal_control(c) {
                let mut units = [0; 2];
                let escapes = c.encode_utf16(&mut units).iter();
                harmless.extend(escapes.map(|unit| format!("\\u{unit:04x}")));
            } else {
                harmless.push(c);
            }
            harmless
        })
    } else {
        json
    };
    json.push('\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_the_value_stays() {
        let value = ["\u{1b}[2J\u{9b}\u{202e}\u{e0041}é\n", "plain"];
        for json in [line(&value).unwrap(), pretty(&value).unwrap()] {
            assert!(
                !json.chars().any(|c| c != '\n' && is_terminal_control(c)),
                "{json:?}"
            );
            assert_eq!(serde_json::from_str::<[&str; 2]>(&json).ok(), None);
            assert_eq!(serde_json::from_str::<[String; 2]>(&json).unwrap(), value);
        }
        assert_eq!(line(&value).unwrap().matches('\n').count(), 1);
    }
}
