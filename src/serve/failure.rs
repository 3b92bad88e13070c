//! Why a request has no answer.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

/// What is said instead of an answer: never 404, which would send go to the next entry of its list.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(super) status: StatusCode,
    /// What was wrong, an entry a line. go prints eight lines of 81 characters (`cmd/go/internal/web`).
    pub(super) lines: Arc<[String]>,
    /// What upstream wants a client to show: `WWW-Authenticate`.
    pub(super) challenges: Vec<HeaderValue>,
}

impl Failure {
    /// Nobody gave an answer.
    pub(super) fn bad_gateway(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, why)
    }

    /// Nobody gave an answer in time.
    pub(super) fn timeout(why: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, why)
    }

    /// No server can be asked for it.
    pub(super) fn unaskable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// Too much waits to be asked.
    pub(super) fn overloaded(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            lines: Arc::new([why.into()]),
            challenges: Vec::new(),
        }
    }

    /// What all entries said; there is at least one.
    pub(super) fn of_all(failures: &[Self]) -> Self {
        if let [only] = failures {
            return only.clone();
        }
        let is_slow = |it: &Self| it.status == StatusCode::GATEWAY_TIMEOUT;
        let status = match failures.iter().all(is_slow) {
            true => StatusCode::GATEWAY_TIMEOUT,
            false => StatusCode::BAD_GATEWAY,
        };
        let lines = failures.iter().flat_map(|it| it.lines.iter().cloned());
        Self {
            status,
            lines: lines.collect(),
            challenges: Vec::new(),
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("; ")
    }
}
