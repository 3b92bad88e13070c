//! What of a run is kept, and how safely.

use clap::ValueEnum;

/// When a recorded exchange is safe from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Safe from a kill of modtape: written before the command sees the end
    Process,
    /// And from a power cut, all but the last 50 ms
    Group,
    /// And from a power cut, wholly: every end waits for the disk
    Strict,
}

/// Which bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepBodies {
    /// All of them
    All,
    /// None: digests and sizes only; cannot be replayed
    None,
}

/// Which bodies an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bodies {
    /// All of them
    All,
    /// Up to 64 KiB
    Small,
    /// None
    None,
}

/// Which packet captures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pcap {
    /// None
    None,
    /// The exchanges in clear text, each a TCP stream of its own; made when the recording closes
    Clear,
    /// The real records of both legs as they pass, with the secrets that open them: not to be shared
    Tls,
    /// Both
    Both,
}

impl Pcap {
    /// Whether the exchanges are shown in clear text.
    pub(crate) const fn has_clear(self) -> bool {
        matches!(self, Self::Clear | Self::Both)
    }

    /// Whether the real records are captured.
    pub(crate) const fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Both)
    }
}

/// What happens where packets come faster than the disk takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SlowDisk {
    /// The traffic waits: nothing is missing
    Wait,
    /// Packets are cut to their headers, which tell the true length
    Cut,
}
