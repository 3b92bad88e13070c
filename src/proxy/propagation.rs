//! Requests that carry the ids of their exchange to the hosts that a user names (`--propagate`), and to no other.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::headers::belongs_to_the_message;
use crate::exchange::TraceParent;

/// The hosts whose requests carry ids, and in which field.
#[derive(Debug, Clone, Default)]
pub struct Propagation(BTreeMap<String, HeaderName>);

/// The field of W3C Trace Context, which says trace and span.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The field of W3C Trace Context that belongs to a `traceparent`.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Fields of tracers whose values are more than a trace's id: with the id alone they would be invalid.
const OF_TRACERS: [&str; 4] = [
    "b3",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
];

impl Propagation {
    /// Has the requests for `host` carry the whole context in `traceparent`, or the trace's id in the field `named`.
    ///
    /// `host` is a name in lower case, or an address. An error says why the field cannot be used.
    pub(crate) fn add(&mut self, host: String, named: Option<&str>) -> Result<(), String> {
        let field = match named {
            None => TRACEPARENT,
            Some(name) => field(name)?,
        };
        self.0.insert(host, field);
        Ok(())
    }

    /// The hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The field that a request for `host` gets; `None` if it has that already, as its client wrote it.
    pub(super) fn field(
        &self,
        host: &str,
        fields: &HeaderMap,
        own: TraceParent,
    ) -> Option<(HeaderName, HeaderValue)> {
        let name = self.0.get(host)?;
        if fields.contains_key(name) {
            return None;
        }
        let value = match *name == TRACEPARENT {
            true => own.to_string(),
            false => own.trace.to_string(),
        };
        // Digits and dashes.
        Some((name.clone(), HeaderValue::try_from(value).ok()?))
    }

    /// Adds that field to the others of the request. A `tracestate` that came without a `traceparent` is of another
    /// trace than ours, and goes (W3C Trace Context, section 3.3).
    pub(super) fn add_to(fields: &mut HeaderMap, (name, value): &(HeaderName, HeaderValue)) {
        if *name == TRACEPARENT {
            fields.remove(TRACESTATE);
        }
        fields.insert(name.clone(), value.clone());
    }
}

/// A field that may carry an id: none that an origin, a proxy or HTTP itself gives a meaning.
fn field(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::try_from(name.trim());
    let field = parsed.map_err(|_| format!("{name:?} is no name of a header field"))?;
    if OF_TRACERS.contains(&field.as_str()) {
        return Err(format!(
            "the value of {field} is more than a trace's id: take traceparent, or a field whose value is any text"
        ));
    }
    // Of another form than an id.
    let is_context = matches!(field.as_str(), "tracestate" | "baggage");
    match belongs_to_the_message(&field) || is_context {
        true => Err(format!("the field {field} has a meaning of its own")),
        false => Ok(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Hex, TraceFlags};

    const OWN: TraceParent = TraceParent {
        trace: Hex([0xab; 16]),
        span: Hex([1; 8]),
        flags: TraceFlags::SAMPLED,
    };

    #[test]
    fn a_field_with_a_meaning_carries_no_id() {
        let mut propagation = Propagation::default();
        for name in [
            "",
            "a b",
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "TE",
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "expect",
            "Range",
            "If-None-Match",
            "accept-encoding",
            "tracestate",
            "b3",
            "Uber-Trace-Id",
            "X-Amzn-Trace-Id",
            "X-Cloud-Trace-Context",
            ":path",
            "upgrade",
            "User-Agent",
            "via",
        ] {
            let added = propagation.add("a.example".into(), Some(name));
            assert!(added.is_err(), "{name}");
        }
        for name in ["X-Trace-ID", "x-request-id", "traceparent", "X-B3-TraceId"] {
            assert_eq!(propagation.add("a.example".into(), Some(name)), Ok(()));
        }
    }

    #[test]
    fn only_named_hosts_get_a_field_that_they_have_not() {
        let mut propagation = Propagation::default();
        propagation.add("a.example".into(), None).unwrap();
        propagation
            .add("b.example".into(), Some("X-Trace-ID"))
            .unwrap();
        let mut fields = HeaderMap::new();
        let (name, value) = propagation.field("a.example", &fields, OWN).unwrap();
        assert_eq!(
            (name.as_str(), value),
            ("traceparent", OWN.to_string().parse().unwrap())
        );
        let (name, value) = propagation.field("b.example", &fields, OWN).unwrap();
        assert_eq!(
            (name.as_str(), value),
            ("x-trace-id", "ab".repeat(16).parse().unwrap())
        );
        for host in ["c.example", "x.a.example", "example"] {
            assert_eq!(propagation.field(host, &fields, OWN), None);
        }
        fields.insert("traceparent", HeaderValue::from_static("its own"));
        assert_eq!(propagation.field("a.example", &fields, OWN), None);
    }

    #[test]
    fn the_state_of_another_trace_goes() {
        let mut propagation = Propagation::default();
        propagation.add("a.example".into(), None).unwrap();
        propagation
            .add("b.example".into(), Some("X-Trace-ID"))
            .unwrap();
        for (host, is_kept) in [("a.example", false), ("b.example", true)] {
            let mut fields = HeaderMap::new();
            fields.insert(TRACESTATE, HeaderValue::from_static("a=1"));
            let field = propagation.field(host, &fields, OWN).unwrap();
            Propagation::add_to(&mut fields, &field);
            assert_eq!(fields.contains_key(TRACESTATE), is_kept, "{host}");
            assert_eq!(fields[&field.0], field.1);
        }
    }
}
