//! What an exchange asks for. Its meaning to the go command is found out when somebody looks: most
//! exchanges are over before that, and it costs as much as writing their first line.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::gomod::{Base, Route};

/// A URL, and what it means once somebody wants to know.
pub(super) struct Wanted {
    /// Redacted: it goes to the log and the terminal.
    pub(super) url: String,
    bases: Arc<[Base]>,
    route: OnceLock<Route>,
}

impl Wanted {
    pub(super) const fn new(url: String, bases: Arc<[Base]>) -> Self {
        let route = OnceLock::new();
        Self { url, bases, route }
    }

    pub(super) fn route(&self) -> &Route {
        self.route.get_or_init(|| Route::of(&self.url, &self.bases))
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}
