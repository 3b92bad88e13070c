//! Header fields and bodies of a HAR's messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::entry::{HarContent, Pair, PostData};
use super::exchange::EntryError;
use crate::exchange::{Fields, Octets};

/// What our exports say where a value's octets are no UTF-8.
const LATIN: &str = "not UTF-8";

/// The fields as they were sent: without what HTTP/2 has instead of a request line, which browsers
/// list among them.
pub(super) fn fields(pairs: Option<Vec<Pair>>) -> Fields {
    let pairs = pairs.unwrap_or_default().into_iter();
    let fields = pairs.map(|pair| match pair {
        Pair::Named {
            name,
            value,
            comment,
        } => {
            let value = value.unwrap_or_default();
            let is_latin = comment.is_some_and(|comment| comment.starts_with(LATIN));
            let octets = is_latin.then(|| value.chars().map(|c| u8::try_from(c).ok()).collect());
            (name, octets.flatten().map_or_else(|| value.into(), Octets))
        }
        Pair::Listed(name, value) => (name, value.unwrap_or_default().into()),
    });
    fields
        .filter(|(name, _)| !name.starts_with(':') && !name.is_empty())
        .collect()
}

/// A protocol version as recordings have it; HAR knows many names for each.
pub(super) fn version(told: Option<&str>) -> String {
    let told = told.unwrap_or_default().trim().to_ascii_uppercase();
    match told.as_str() {
        "H2" | "H2C" | "HTTP/2" | "HTTP/2.0" => "HTTP/2".into(),
        "H3" | "HTTP/3" | "HTTP/3.0" => "HTTP/3".into(),
        "HTTP/1.0" => "HTTP/1.0".into(),
        "HTTP/1.1" => "HTTP/1.1".into(),
        _ => "unknown".into(),
    }
}

/// The octets of a response's content, if they stand in the file.
pub(super) fn content(content: &HarContent) -> Result<Option<Vec<u8>>, EntryError> {
    let Some(text) = &content.text else {
        return Ok(None);
    };
    match content.encoding.as_deref() {
        Some(base64) if base64.eq_ignore_ascii_case("base64") => {
            decode(text).map(Some).ok_or(EntryError::Base64)
        }
        _ => Ok(Some(text.clone().into_bytes())),
    }
}

/// The octets of a request's body, if they stand in the file.
pub(super) fn post(data: &PostData) -> Result<Option<Vec<u8>>, EntryError> {
    if let Some(base64) = &data.base64 {
        return decode(base64).map(Some).ok_or(EntryError::Base64);
    }
    let text = data.text.as_ref();
    // Our exports say in a comment why it is not there.
    let text = text.filter(|text| !text.is_empty() || data.comment.is_none());
    Ok(text.map(|text| text.clone().into_bytes()))
}

/// Some break base64 into lines.
fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.contains(char::is_whitespace) {
        return BASE64.decode(text).ok();
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    BASE64.decode(text).ok()
}
