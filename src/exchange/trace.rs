//! W3C Trace Context: the ids of a command and of its exchanges, and the text that carries them.

use std::fmt;

use super::bytes::Hex;

/// `trace-id`: one for a recorded command.
pub(crate) type TraceId = Hex<16>;

/// `parent-id`: one for an exchange.
pub(crate) type SpanId = Hex<8>;

/// A sampled span of a trace; its text is the value of `traceparent` (section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
}

impl TraceParent {
    /// Reads the text of this version, and of later ones, which may say more behind it (section 4.3).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next();
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let has_more = next().is_some();
        let version: Hex<1> = version.parse().ok()?;
        let _: Hex<1> = flags.parse().ok()?;
        let trace: TraceId = trace.parse().ok()?;
        let span: SpanId = span.parse().ok()?;
        let is_known = match version.0 {
            [0] => !has_more,
            [0xff] => false,
            _ => true,
        };
        let is_valid = is_known && trace.0 != [0; 16] && span.0 != [0; 8];
        is_valid.then_some(Self { trace, span })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_it_is_written_and_a_malformed_one_is_none() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parsed = TraceParent::parse(given).unwrap();
        assert_eq!(parsed.to_string(), given);
        let later = format!("{}-more", given.replacen("00", "01", 1));
        assert_eq!(TraceParent::parse(&later), Some(parsed));
        for bad in [
            "",
            "00",
            "00-0af7-b7ad-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
