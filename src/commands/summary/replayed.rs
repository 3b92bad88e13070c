//! A replay's last words.

use std::collections::HashMap;

use super::super::terminal::{Look, Paint};
use super::text_of;
use crate::replay::Miss;

/// How many misses are listed.
const LISTED: usize = 20;

/// A replay's last words.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Replayed<'a> {
    /// Requests that were answered.
    pub(in crate::commands) hits: u64,
    /// Requests that were not, in order.
    pub(in crate::commands) misses: &'a [Miss],
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
    let missing = misses.len();
    let mut missing = format!("{missing} missing");
    if !misses.is_empty() {
        missing = look.paint(Paint::Red, &missing);
    }
    let mut lines = vec![format!(
        "modtape: {hits} answered, {missing}, 0 went to the network"
    )];
    let asked = by_question(misses);
    let listed = asked.iter().take(LISTED);
    lines.extend(listed.map(|(miss, times)| miss_line(miss, *times, look)));
    match asked.len().saturating_sub(LISTED) {
        0 => {}
        more => lines.push(format!("  and {more} more")),
    }
    if !asked.is_empty() {
        lines.push(format!(
            "  record what is missing: {}",
            look.plain(recorder)
        ));
    }
    text_of(&lines)
}

/// Each miss once, in the order of their first times, with how often it was asked for.
fn by_question(misses: &[Miss]) -> Vec<(&Miss, usize)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut asked: Vec<(&Miss, usize)> = Vec::new();
    for miss in misses {
        let place = *places.entry(&miss.what).or_insert(asked.len());
        match asked.get_mut(place) {
            Some((_, times)) => *times += 1,
            None => asked.push((miss, 1)),
        }
    }
    asked
}

fn miss_line(miss: &Miss, times: usize, look: Look) -> String {
    let mut line = format!("  missing: {}", look.plain(&miss.what));
    if times > 1 {
        line.push_str(&format!(", asked {times} times"));
    }
    if let Some(instead) = &miss.instead {
        line.push_str(&format!(" ({})", look.plain(instead)));
    }
    line
}
