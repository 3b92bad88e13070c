use std::sync::LazyLock;

use serde::Deserialize;

use super::*;
use crate::exchange::{Phase, Timings};
use crate::gomod::Route;

const URL: &str = "https://goproxy.cn:8443/golang.org/x/net/@v/v0.34.0.zip";

fn subject() -> Subject<'static> {
    static PHASES: LazyLock<Timings> = LazyLock::new(|| {
        Timings::from_iter([
            (Phase::Blocked, 1000),
            (Phase::Wait, 900_000),
            (Phase::Receive, 99_000),
        ])
    });
    static ROUTE: LazyLock<Route> = LazyLock::new(|| Route::of(URL, &[]));
    Subject {
        id: 12,
        connection: 3,
        method: "GET",
        url: URL,
        host: "goproxy.cn:8443",
        route: &ROUTE,
        status: Some(200),
        outcome: Outcome::Ok,
        phases: &PHASES,
        bytes: 1_500_000,
    }
}

/// What filters say of [`subject`]. The page of a report has a parser of its own (`web/src/filter.ts`), which is
/// held against the same.
#[derive(Deserialize)]
struct Vectors {
    takes: Vec<String>,
    leaves: Vec<String>,
    /// Texts that are no filters, each with what is said of it.
    errors: Vec<(String, String)>,
}

impl Vectors {
    fn read() -> Self {
        serde_json::from_str(include_str!("vectors.json")).expect("as it is declared")
    }
}

fn takes(filter: &str) -> bool {
    filter.parse::<Filter>().expect(filter).takes(&subject())
}

#[test]
fn each_key_asks_what_it_says() {
    let vectors = Vectors::read();
    assert!(takes("") && takes("  "));
    for filter in &vectors.takes {
        assert!(takes(filter), "{filter}");
    }
    for filter in &vectors.leaves {
        assert!(!takes(filter), "{filter}");
    }
}

#[test]
fn an_error_stands_at_its_column_and_says_what_would_be_right() {
    for (filter, message) in Vectors::read().errors {
        let error = filter.parse::<Filter>().expect_err(&filter);
        assert_eq!(error.to_string(), message, "{filter}");
    }
}

#[test]
fn any_text_is_a_filter_or_an_error_at_a_place() {
    crate::hostile::twin("filter", 2_000, check::check);
}
