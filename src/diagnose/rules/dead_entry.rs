//! MT116: an entry of GOPROXY that cannot be reached stands before a bar, and every request pays for it.

use super::Found;
use super::dead::Dead;
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::diagnose::finding::Severity;
use crate::diagnose::hosts::{Role, next_entry, separator_of};
use crate::gomod::Separator;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |step, _| step != Step::Certificate);
    dead.filter_map(|dead| {
        let Some(Role::Proxy { entry }) = dead.host.role else {
            return None;
        };
        let is_bar = separator_of(case, entry) == Some(Separator::Pipe);
        // One that answered others is not dead.
        let answered = dead.host.requests.saturating_sub(dead.host.errors);
        let next = next_entry(case, entry).filter(|_| is_bar && answered == 0)?;
        let title = format!(
            "{} cannot be reached, and each request waits for it before the go command asks {next}: {}",
            dead.name,
            dead.how(case)
        );
        let rest = without_entry(case, entry);
        let hint = format!("go env -w GOPROXY='{rest}' leaves it out: the go command remembers no failure from one request to the next");
        let mut found = dead.found(case, title, Some(hint));
        found.severity = found.severity.max(Severity::Slow);
        Some(found)
    })
    .collect()
}

/// GOPROXY without one of its entries.
fn without_entry(case: &Case<'_>, entry: usize) -> String {
    let mut text = String::new();
    let entries = case.goproxy.entries.iter().enumerate();
    for (_, one) in entries.filter(|(index, _)| *index != entry) {
        text.push_str(&one.target.to_string());
        if let Some(separator) = one.separator {
            text.push(separator.as_char());
        }
    }
    text
}
