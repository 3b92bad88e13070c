//! Conditional and range requests: 304, 206, 412 and 416 answer only the requests that asked for them
//! (RFC 9110 sections 13 and 14).
//!
//! A whole response answers every request: a server may ignore Range, and evaluates a condition anew.

use crate::exchange::{ByteString, Fields};

/// The request fields that an answer may depend on.
const NAMES: [&str; 6] = [
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// What a request makes its answer depend on; nearly all make it depend on nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions(Vec<(&'static str, ByteString)>);

/// How an answer fits a request, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It does not answer this request.
    Not,
    /// It was given to a condition of this kind, with another value.
    Alike,
    /// It answers any request.
    Fits,
    /// It was given to the same condition.
    Same,
}

impl Conditions {
    /// The conditions among a request's fields.
    pub(crate) fn of<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let known = fields.filter_map(|(name, value)| {
            let name = NAMES
                .iter()
                .find(|known| known.eq_ignore_ascii_case(name))?;
            Some((*name, ByteString::from(value)))
        });
        Self(known.collect())
    }

    /// The conditions that a recorded request had.
    pub(super) fn recorded(fields: &Fields) -> Self {
        Self::of(fields.iter().map(|(name, value)| (&**name, &*value.0)))
    }

    /// Does the request make its answer depend on nothing?
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, name: &str) -> impl Iterator<Item = &ByteString> {
        let is = move |(known, _): &&(&str, ByteString)| *known == name;
        self.0.iter().filter(is).map(|(_, value)| value)
    }

    /// How an answer of this status, which a request under `recorded` was given, fits this one.
    ///
    /// A part fits only a request for the same part.
    pub(super) fn fit(&self, status: u16, recorded: impl FnOnce() -> Option<Self>) -> Fit {
        let names = conditions_for(status);
        if names.is_empty() {
            return Fit::Fits;
        }
        if names.iter().all(|name| self.get(name).next().is_none()) {
            return Fit::Not;
        }
        let Some(recorded) = recorded() else {
            return Fit::Not;
        };
        let is_same = |name: &&str| self.get(name).eq(recorded.get(name));
        match (names.iter().all(is_same), is_part(status)) {
            (true, _) => Fit::Same,
            (false, false) => Fit::Alike,
            (false, true) => Fit::Not,
        }
    }
}

/// Is an answer of this status one to any request?
pub(super) const fn is_unconditional(status: u16) -> bool {
    conditions_for(status).is_empty()
}

/// What a request must have had that was answered so; nothing where any may be.
const fn conditions_for(status: u16) -> &'static [&'static str] {
    match status {
        // RFC 9110 section 15.4.5.
        304 => &["if-none-match", "if-modified-since"],
        // Sections 15.3.7 and 15.5.17.
        206 | 416 => &["range", "if-range"],
        // Section 15.5.13.
        412 => &["if-match", "if-unmodified-since", "if-none-match"],
        _ => &[],
    }
}

const fn is_part(status: u16) -> bool {
    matches!(status, 206 | 416)
}

#[cfg(test)]
mod tests {
    use super::Fit::{Alike, Fits, Not, Same};
    use super::*;

    fn conditions(fields: &[(&str, &str)]) -> Conditions {
        Conditions::of(fields.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    type Pairs = &'static [(&'static str, &'static str)];

    #[test]
    fn a_conditional_answer_fits_who_set_the_condition() {
        let etag: Pairs = &[("If-None-Match", "\"a\"")];
        let range: Pairs = &[("range", "bytes=0-9")];
        let rows: &[(u16, Pairs, Pairs, Fit)] = &[
            (200, &[], &[], Fits),
            (200, etag, range, Fits),
            (404, etag, &[], Fits),
            (304, &[], etag, Not),
            (304, etag, etag, Same),
            (304, &[("if-none-match", "\"b\"")], etag, Alike),
            (304, &[("if-modified-since", "yesterday")], etag, Alike),
            (304, range, etag, Not),
            (206, &[], range, Not),
            (206, range, range, Same),
            (206, &[("range", "bytes=10-")], range, Not),
            (
                206,
                &[("range", "bytes=0-9"), ("if-range", "\"a\"")],
                range,
                Not,
            ),
            (206, etag, range, Not),
            (416, &[], range, Not),
            (416, range, range, Same),
            (412, &[], &[("if-match", "\"a\"")], Not),
            (
                412,
                &[("if-match", "\"a\"")],
                &[("if-match", "\"a\"")],
                Same,
            ),
        ];
        for (status, asked, recorded, expected) in rows {
            let fit = conditions(asked).fit(*status, || Some(conditions(recorded)));
            assert_eq!(fit, *expected, "{status} {asked:?} {recorded:?}");
        }
        assert_eq!(conditions(etag).fit(304, || None), Not, "it cannot be read");
    }
}
