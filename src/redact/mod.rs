//! What a secret looks like, and what stands in its place.
//!
//! A secret becomes `redacted:` and 16 hexadecimal digits of HMAC-SHA-256 under a random key that
//! lives for one run, in memory only: equal secrets still compare equal, and none can be guessed
//! from what stands there. It runs before the recorder, so no file ever holds the secret. It keeps
//! URLs parseable and field names in place, never looks into bodies, and takes any text.

mod argv;
#[cfg(any(test, fuzzing))]
pub mod check;
mod fields;
mod names;
mod redactor;
mod rules;
mod screen;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod url;

pub use redactor::Redactor;
pub(crate) use redactor::with_placeholders;
pub(crate) use url::{url_key, url_without_secrets, url_without_userinfo};
