//! What caches between a client and this server are told: how long an answer is good, and what it is known by.

use std::time::UNIX_EPOCH;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, StatusCode};

use super::answer::{Answer, Proof};
use super::item::Life;

/// An answer that is right for ever: a year is the most that caches heed.
const FOR_EVER: [&str; 2] = [
    "private, max-age=31536000, immutable",
    "public, max-age=31536000, immutable",
];

/// One that can change: as long as it is fresh here.
const BRIEFLY: [&str; 2] = ["private, max-age=60", "public, max-age=60"];

/// What an answer is known by: when it came, and its length, as servers of files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// That of an answer, as it is or in gzip.
    pub(super) fn of(answer: &Answer, is_gzip: bool) -> Self {
        let at = answer.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let coding = if is_gzip { "-gzip" } else { "" };
        let (at, bytes) = (at.as_secs(), answer.bytes());
        Self(format!("\"{at:x}-{bytes:x}{coding}\""))
    }

    /// Whether the client has this answer already (RFC 9110 section 13.1.2).
    pub(super) fn is_known<B>(&self, request: &Request<B>) -> bool {
        let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
        let mut known = known
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        known.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.0)
    }

    /// Whether a range that the client asks for is one of this answer (section 13.1.5).
    pub(super) fn has_range<B>(&self, request: &Request<B>) -> bool {
        let of = request.headers().get(header::IF_RANGE);
        of.is_none_or(|of| of.as_bytes() == self.0.as_bytes())
    }

    pub(super) fn put(&self, fields: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            fields.insert(header::ETAG, value);
        }
    }
}

/// Says how long an answer is good; where `is_public` is false, only to the client's own cache.
pub(super) fn put_lifetime(fields: &mut HeaderMap, answer: &Answer, life: Life, is_public: bool) {
    let words = match is_immutable(answer, life) {
        true => FOR_EVER,
        false => BRIEFLY,
    };
    let words = words[usize::from(is_public)];
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(words));
}

/// Whether an answer will never be another one.
pub(super) fn is_immutable(answer: &Answer, life: Life) -> bool {
    life == Life::Immutable && answer.status == StatusCode::OK && answer.proof != Proof::None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::answer::Content;
    use super::*;

    fn answer() -> Answer {
        Answer {
            status: StatusCode::OK,
            content: Content::Bytes(Bytes::from_static(b"module a.b/c\n")),
            at: UNIX_EPOCH + Duration::from_secs(0x1000),
            proof: Proof::Form,
        }
    }

    #[test]
    fn a_client_knows_an_answer_by_its_tag() {
        let tag = Tag::of(&answer(), false);
        assert_eq!(tag, Tag("\"1000-d\"".into()));
        assert_ne!(tag, Tag::of(&answer(), true));
        let asked = |name: &str, value: &str| Request::get("/").header(name, value).body(());
        for (value, is_known) in [
            ("\"1000-d\"", true),
            ("\"x\", W/\"1000-d\"", true),
            ("*", true),
            ("\"1000-d-gzip\"", false),
            ("1000-d", false),
        ] {
            let request = asked("if-none-match", value).expect("a request");
            assert_eq!(tag.is_known(&request), is_known, "{value}");
        }
        for (value, has_range) in [("\"1000-d\"", true), ("\"1000-e\"", false)] {
            let request = asked("if-range", value).expect("a request");
            assert_eq!(tag.has_range(&request), has_range, "{value}");
        }
    }

    #[test]
    fn only_what_is_proved_is_said_to_be_immutable() {
        let said = |answer: &Answer, life, is_public| {
            let mut fields = HeaderMap::new();
            put_lifetime(&mut fields, answer, life, is_public);
            fields[header::CACHE_CONTROL].clone()
        };
        let proved = answer();
        let unproved = Answer {
            proof: Proof::None,
            ..answer()
        };
        assert_eq!(said(&proved, Life::Immutable, true), FOR_EVER[1]);
        assert_eq!(said(&proved, Life::Immutable, false), FOR_EVER[0]);
        assert_eq!(said(&proved, Life::Mutable, true), BRIEFLY[1]);
        assert_eq!(said(&unproved, Life::Immutable, true), BRIEFLY[1]);
    }
}
