//! W3C Trace Context: one trace for a recorded command, continued where there is one already.

use crate::exchange::{Hex, SpanId, TraceId};
use crate::tls;

/// The trace that we are part of, or a new one (W3C Trace Context section 3.2).
pub(crate) fn continued(traceparent: Option<&str>) -> TraceId {
    let given = traceparent.and_then(|text| {
        let mut parts = text.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        parent.parse::<SpanId>().ok().filter(|_| flags.len() == 2)?;
        trace
            .parse::<TraceId>()
            .ok()
            .filter(|trace| version.len() == 2 && trace.0 != [0; 16])
    });
    if let (None, Some(text)) = (given, traceparent) {
        // Not the text: whatever was put there by mistake may be a secret.
        tracing::debug!(target: "modtape::connection", bytes = text.len(), "ignoring an invalid TRACEPARENT");
    }
    given.unwrap_or_else(|| Hex(tls::random()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_and_a_malformed_one_ignored() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            continued(Some(given)).to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        for bad in [
            "",
            "00",
            "00-0af7-b7ad-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            let fresh = continued(Some(bad)).to_string();
            assert_ne!(fresh, "00000000000000000000000000000000", "{bad}");
            assert_ne!(fresh, continued(None).to_string());
        }
    }
}
