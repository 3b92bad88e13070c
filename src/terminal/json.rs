//! JSON for programs that is also safe to print to a terminal.
//!
//! JSON escapes only the control characters below U+0020. The others that a terminal acts on are
//! escaped here, which changes no value.

use serde::Serialize;

use crate::shell::escape_json;

/// On one line, with a line feed at the end.
pub(crate) fn line(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(escape_json(serde_json::to_string(value)?) + "\n")
}

/// Indented, with a line feed at the end.
pub(crate) fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(escape_json(serde_json::to_string_pretty(value)?) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::is_terminal_control;

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
