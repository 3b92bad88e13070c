//! The variables of OpenTelemetry and of CI systems, as somebody else has read them.

use std::collections::BTreeMap;

/// Variables, by name; none is empty.
pub(crate) type Variables = BTreeMap<String, String>;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {why}")]
pub(crate) struct SettingError {
    /// The variable, or the flag.
    pub(crate) variable: &'static str,
    /// What is wrong with its value.
    pub(crate) why: String,
}

impl SettingError {
    pub(super) fn new(variable: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { variable, why }
    }
}
