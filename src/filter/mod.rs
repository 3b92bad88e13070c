//! The small language that picks exchanges: `host:goproxy.cn kind:zip time:>500ms -probe`.
//!
//! One parser and one evaluator for `ls`, `export` and whatever else lists exchanges. Terms are
//! separated by spaces, and all must hold; `-` before a term turns it round; commas inside a term
//! are alternatives. Quotes (`"`) keep spaces, commas and colons together. Pure.

#[cfg(any(test, fuzzing))]
pub mod check;
mod globs;
mod measures;
mod parse;
mod terms;
#[cfg(test)]
mod tests;

pub(crate) use terms::{Filter, Outcome, Subject};
