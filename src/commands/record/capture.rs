//! The live capture of a run: begun beside the journal, ended before anything is told.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::capture::sink::Section;
use crate::capture::{Capture, Running, WhenFull};
use crate::cli::{self, Global, RecordArgs};
use crate::clock::Clock;
use crate::recording::format::{LIVE_CAPTURE, Manifest};
use crate::terminal::words::{self, count};
use crate::terminal::{say, warn};

/// Begins it, if there is to be one.
pub(super) fn start(
    args: &RecordArgs,
    dir: &Path,
    manifest: &Manifest,
    clock: Clock,
) -> anyhow::Result<Option<(Capture, Running)>> {
    if !args.pcap.has_tls() {
        return Ok(None);
    }
    let path = dir.join(LIVE_CAPTURE);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let when_full = match args.pcap_slow_disk {
        cli::SlowDisk::Wait => WhenFull::Wait,
        cli::SlowDisk::Cut => WhenFull::Cut,
    };
    let comment = format!(
        "recording={} trace={}\nThe records of both legs as they passed, made by {}. HOLDS THE \
         SECRETS that open them: share what `modtape export pcapng --no-secrets` makes of it.",
        manifest.id, manifest.trace, manifest.tool
    );
    let section = Section {
        tool: &manifest.tool,
        comment: &comment,
        origin: "as it passed",
    };
    let started = file.and_then(|file| Capture::start(file, clock, when_full, &section));
    let started = started.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(started))
}

/// Waits for its last packets.
pub(super) async fn finish(running: Running, global: &Global) {
    // The disk may take its time, and others run on this thread.
    let outcome = tokio::task::spawn_blocking(|| running.finish()).await;
    let outcome = outcome.unwrap_or_default();
    if let Some(error) = &outcome.error {
        let packets = count(outcome.packets, "packet");
        let message = format!("{LIVE_CAPTURE} ends after {packets}: {error}");
        warn(global, message);
    }
    if outcome.cut_bytes > 0 {
        let size = words::size(outcome.cut_bytes);
        let message = format!("{LIVE_CAPTURE} lacks {size}: the disk was too slow");
        warn(global, message);
    }
}

/// Says that there is one, and what it holds.
pub(super) fn tell(global: &Global) {
    let message =
        "contains TLS secrets; `modtape export pcapng --no-secrets` writes a copy to share";
    say(global, format!("  {LIVE_CAPTURE} {message}"));
}
