//! W3C Trace Context: the ids of a command and of its exchanges, and the text that carries them.

use std::fmt;

use super::bytes::Hex;

/// `trace-id`: one for a recorded command.
pub(crate) type TraceId = Hex<16>;

/// `parent-id`: one for an exchange.
pub(crate) type SpanId = Hex<8>;

/// `trace-flags`: what those who began a trace say of it (section 3.2.2.5, and `random` of level 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// The trace is recorded, where nobody says otherwise.
    pub const SAMPLED: Self = Self(1);

    /// The flags that are known; others are not passed on.
    const KNOWN: u8 = 0b11;

    /// Whether the trace is recorded by those who began it.
    pub(crate) const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }
}

/// A span of a trace; its text is the value of `traceparent` (section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) flags: TraceFlags,
}

impl TraceParent {
    /// Reads the text of this version, and of later ones, which may say more behind it (section 4.3).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next();
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let has_more = next().is_some();
        let version: Hex<1> = version.parse().ok()?;
        let flags: Hex<1> = flags.parse().ok()?;
        let trace: TraceId = trace.parse().ok()?;
        let span: SpanId = span.parse().ok()?;
        let is_known = match version.0 {
            [0] => !has_more,
            [0xff] => false,
            _ => true,
        };
        let is_valid = is_known && trace.0 != [0; 16] && span.0 != [0; 8];
        let flags = TraceFlags(flags.0[0] & TraceFlags::KNOWN);
        is_valid.then_some(Self { trace, span, flags })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceFlags(flags) = self.flags;
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
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
        for (flags, kept) in [("00", "00"), ("02", "02"), ("03", "03"), ("fd", "01")] {
            let with = |flags: &str| format!("{}{flags}", &given[..given.len() - 2]);
            let parsed = TraceParent::parse(&with(flags)).unwrap();
            assert_eq!(parsed.to_string(), with(kept));
            assert_eq!(parsed.flags.is_sampled(), kept == "01" || kept == "03");
        }
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
