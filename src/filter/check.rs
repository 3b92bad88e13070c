//! What holds for any text: for a fuzz target and its twin.

use super::terms::Term;
use super::*;
use crate::exchange::{Phase, Timings};
use crate::gomod::Route;

/// A text is a filter or an error at a place of the text; a filter decides about anything, and
/// about the same thing the same way with `-` before each term.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let subject = Subject {
        id: 7,
        connection: 3,
        method: "GET",
        url: &text,
        host: "proxy.golang.org:8443",
        route: &Route::of(&text, &[]),
        status: Some(404),
        outcome: Outcome::Probe,
        phases: &Timings::from_iter([(Phase::Wait, 80), (Phase::Receive, 20)]),
        bytes: 1 << 20,
    };
    match text.parse::<Filter>() {
        Err(error) => {
            let columns = text.chars().count() + 1;
            assert!((1..=columns).contains(&error.column), "{error}");
            assert!(!error.problem.is_empty());
        }
        Ok(filter) => {
            let taken = filter.takes(&subject);
            let opposite = Filter {
                terms: filter.terms.iter().cloned().map(negated).collect(),
            };
            let [_] = filter.terms.as_slice() else {
                return;
            };
            assert_ne!(taken, opposite.takes(&subject), "{text}");
        }
    }
}

fn negated(term: Term) -> Term {
    Term {
        is_negated: !term.is_negated,
        ..term
    }
}
