//! The parts of an exchange's time.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of an exchange's time, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for us or for the client: whatever lies between the phases below.
    Blocked,
    /// Resolving the name of what is dialled.
    Dns,
    /// TCP, and the parent proxy's answer where there is one.
    Connect,
    /// The upstream TLS handshake.
    ///
    /// HAR calls it `ssl` and counts it inside `connect`; only `export::har` adds them.
    Tls,
    /// From the first request byte written to the last.
    Send,
    /// From the last request byte written to the first byte of the final (not 1xx) head.
    Wait,
    /// From the first byte of the final head to the last byte read from upstream.
    Receive,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 7] = [
        Self::Blocked,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Wait,
        Self::Receive,
    ];

    /// The phase's name in the recording and in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long each phase took, in microseconds; `None` where a phase did not happen.
///
/// `None` is not zero: a reused connection has no connect phase at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings([Option<u64>; 7]);

impl Timings {
    /// The sum of all phases: the exchange's whole time, microseconds.
    pub fn total_us(&self) -> u64 {
        self.0
            .iter()
            .flatten()
            .fold(0, |sum, us| sum.saturating_add(*us))
    }

    /// The phases that happened, in order, with their microseconds.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, u64)> + '_ {
        Phase::ALL
            .into_iter()
            .filter_map(|phase| Some((phase, self[phase]?)))
    }
}

impl Index<Phase> for Timings {
    type Output = Option<u64>;

    fn index(&self, phase: Phase) -> &Option<u64> {
        &self.0[phase as usize]
    }
}

impl IndexMut<Phase> for Timings {
    fn index_mut(&mut self, phase: Phase) -> &mut Option<u64> {
        &mut self.0[phase as usize]
    }
}

impl FromIterator<(Phase, u64)> for Timings {
    fn from_iter<I: IntoIterator<Item = (Phase, u64)>>(phases: I) -> Self {
        let mut timings = Self::default();
        for (phase, us) in phases {
            timings[phase] = Some(us);
        }
        timings
    }
}

impl Serialize for Timings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(phase, us)| (phase.name(), us)))
    }
}

impl<'de> Deserialize<'de> for Timings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Named {
            blocked: Option<u64>,
            dns: Option<u64>,
            connect: Option<u64>,
            tls: Option<u64>,
            send: Option<u64>,
            wait: Option<u64>,
            receive: Option<u64>,
        }
        let n = Named::deserialize(deserializer)?;
        Ok(Self([
            n.blocked, n.dns, n.connect, n.tls, n.send, n.wait, n.receive,
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_did_not_happen_is_absent_not_zero() {
        let timings = Timings::from_iter([(Phase::Send, 2), (Phase::Wait, 80)]);
        let json = serde_json::to_string(&timings).unwrap();
        assert_eq!(json, r#"{"send":2,"wait":80}"#);
        assert_eq!(serde_json::from_str::<Timings>(&json).unwrap(), timings);
        assert_eq!(timings[Phase::Connect], None);
        assert_eq!(timings.total_us(), 82);
    }
}
