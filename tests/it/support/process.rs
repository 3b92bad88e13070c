//! What the kernel knows of a running process: memory, time, descriptors (proc(5)).

use std::fs;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// A process by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// The most memory that it has ever had besides the pages of its program's file, in KiB: a debug build
    /// has 30 MB of those, and more with each line of code.
    pub fn peak_rss_kib(self) -> u64 {
        self.peak().expect("it runs")
    }

    fn peak(self) -> Option<u64> {
        let peak = self.status("VmHWM:")?;
        Some(peak.saturating_sub(self.status("RssFile:").unwrap_or(0)))
    }

    /// The memory that it has, in KiB.
    pub fn rss_kib(self) -> u64 {
        self.status("VmRSS:").expect("it runs")
    }

    /// The time that it has spent, its own and the kernel's for it; in steps of 10 ms.
    pub fn cpu(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("it runs");
        // The second field, the name, may hold anything; the fields behind it are numbers.
        let fields = stat.rsplit_once(')').expect("a name in brackets").1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Whether it has not ended: what nobody has waited for yet has no memory.
    pub fn is_running(self) -> bool {
        self.status("VmRSS:").is_some()
    }

    /// How many descriptors it has open.
    pub fn descriptors(self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0));
        open.expect("it runs").count()
    }

    /// Looks at its peak until it has ended, and then gives the last one in KiB.
    pub fn watch_peak(self) -> Receiver<u64> {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut peak = 0;
            // A peak only grows: what may be missed is what came in the last millisecond.
            while let Some(kib) = self.peak() {
                peak = kib.max(peak);
                thread::sleep(Duration::from_millis(1));
            }
            let _ = sender.send(peak);
        });
        receiver
    }

    fn status(self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field))?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    }
}
