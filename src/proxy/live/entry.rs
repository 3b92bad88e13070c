//! One line of the live view, as whoever is behind it writes it.

use super::{InFlight, LEFT, Live};
use crate::clock::Timestamp;
use crate::exchange::Phase;
use crate::upstream::News;

/// One line of [`Live`], taken out when dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Entry {
    pub(super) live: Live,
    pub(super) key: u64,
}

impl Entry {
    pub(in crate::proxy) fn enter(&self, phase: Phase) {
        self.update(|entry, now| {
            entry.phase = phase;
            entry.progress = now;
        });
    }

    /// A dial came a step further.
    pub(in crate::proxy) fn hears(&self, news: News<'_>) {
        self.update(|entry, now| match news {
            News::Through(via) => entry.via = Some(via.to_owned()),
            News::Entered(phase) => {
                if phase == Phase::Connect {
                    entry.address = None;
                }
                (entry.phase, entry.progress, entry.is_asking) = (phase, now, false);
            }
            News::Trying(addr) => match &mut entry.address {
                Some(tried) => tried.push_str(&format!(", {addr}")),
                tried => *tried = Some(addr.to_string()),
            },
            News::Connected(addr) => entry.address = Some(addr.to_string()),
            News::Asking => (entry.progress, entry.is_asking) = (now, true),
        });
    }

    /// What it waits for is reached through this parent proxy.
    pub(in crate::proxy) fn goes_through(&self, via: Option<&str>) {
        if let Some(via) = via {
            self.update(|entry, _| entry.via = Some(via.to_owned()));
        }
    }

    pub(in crate::proxy) fn add_bytes(&self, bytes: u64) {
        self.update(|entry, now| {
            entry.bytes += bytes;
            entry.progress = now;
            entry.is_held = true;
        });
    }

    /// The disk takes no more for now: silence is not the upstream's.
    pub(in crate::proxy) fn waits_for_disk(&self) {
        self.update(|entry, _| entry.is_held = true);
    }

    /// What there was is taken: silence is the upstream's again.
    pub(in crate::proxy) fn wants_more(&self) {
        self.update(|entry, now| {
            if entry.is_held {
                entry.is_held = false;
                entry.progress = now;
            }
        });
    }

    pub(in crate::proxy) fn connected(&self, address: Option<String>) {
        self.update(|entry, _| entry.address = address);
    }

    /// It ends by itself, and is not left by whoever waited for it.
    pub(in crate::proxy) fn done(&self) {
        if let Some(line) = self.live.lock().entries.get_mut(&self.key) {
            line.is_done = true;
        }
    }

    /// For the request's body, if it has one.
    pub(in crate::proxy) fn upload(&self) -> Upload {
        Upload {
            live: self.live.clone(),
            key: self.key,
        }
    }

    fn update(&self, change: impl FnOnce(&mut InFlight, Timestamp)) {
        self.live.update(self.key, change);
    }
}

/// The request's body of one line of [`Live`], as long as there is no answer.
#[derive(Debug)]
pub(in crate::proxy) struct Upload {
    live: Live,
    key: u64,
}

impl Upload {
    /// The client sends no more for now, or our disk takes none: silence is not the upstream's.
    pub(in crate::proxy) fn is_held(&self) {
        self.update(|entry, _| entry.is_held = true);
    }

    /// A part of it goes on, or all of it has.
    pub(in crate::proxy) fn passes(&self) {
        self.update(|entry, now| {
            entry.is_held = false;
            entry.progress = now;
        });
    }

    fn update(&self, change: impl FnOnce(&mut InFlight, Timestamp)) {
        self.live.update(self.key, |entry, now| {
            if entry.phase == Phase::Wait {
                change(entry, now);
            }
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        let Some(line) = state.entries.remove(&self.key) else {
            return;
        };
        if line.entry.id.is_some() {
            state.done += 1;
            state.bytes += line.entry.bytes;
        }
        if !line.is_done {
            if state.left.len() == LEFT {
                state.left.pop_front();
            }
            let now = self.live.clock.now();
            state.left.push_back((now, self.key, line));
        }
    }
}
