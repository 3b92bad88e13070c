//! A replay's last words.

use super::super::terminal::{Look, Paint};
use super::text_of;
use crate::replay::{Miss, Misses};

/// How many misses are listed.
const LISTED: usize = 20;

/// A replay's last words.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Replayed<'a> {
    /// Requests that were answered.
    pub(in crate::commands) hits: u64,
    /// Requests that were not.
    pub(in crate::commands) misses: &'a Misses,
    /// The command line that records what is missing.
    pub(in crate::commands) recorder: &'a str,
}

/// All lines, without the last line feed. What was asked for more than once is listed once.
///
/// That nothing went to the network is no count: a replay holds no dialer.
pub(in crate::commands) fn replayed(replayed: &Replayed<'_>, look: Look) -> String {
    let Replayed {
        hits,
        misses,
        recorder,
    } = *replayed;
    let mut missing = format!("{} missing", misses.total());
    if !misses.is_empty() {
        missing = look.paint(Paint::Red, &missing);
    }
    let mut lines = vec![format!(
        "modtape: {hits} answered, {missing}, 0 went to the network"
    )];
    let asked = misses.distinct();
    let listed = asked.iter().take(LISTED);
    lines.extend(listed.map(|miss| miss_line(miss, look)));
    match (asked.len().saturating_sub(LISTED), misses.unlisted()) {
        (0, _) => {}
        (more, 0) => lines.push(format!("  and {more} more")),
        (more, others) => lines.push(format!("  and {more} more, and others {others} times")),
    }
    if !misses.is_empty() {
        lines.push(format!(
            "  record what is missing: {}",
            look.plain(recorder)
        ));
    }
    text_of(&lines)
}

fn miss_line(miss: &Miss, look: Look) -> String {
    let mut line = format!("  missing: {}", look.plain(&miss.what));
    if miss.times > 1 {
        line.push_str(&format!(", asked {} times", miss.times));
    }
    if let Some(instead) = &miss.instead {
        line.push_str(&format!(" ({})", look.plain(instead)));
    }
    line
}
