//! W3C Trace Context: the ids of a command and of its exchanges, and the text that carries them.

use super::bytes::Hex;

/// `trace-id`: one for a recorded command.
pub(crate) type TraceId = Hex<16>;

/// `parent-id`: one for an exchange.
pub(crate) type SpanId = Hex<8>;

/// The value of `traceparent` for a sampled span (section 3.2).
pub(crate) fn traceparent(trace: TraceId, span: SpanId) -> String {
    format!("00-{trace}-{span}-01")
}
