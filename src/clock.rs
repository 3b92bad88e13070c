//! Wall-clock anchor and monotonic stamps: the one place that asks what time it is.
//!
//! Every time in the program is a [`Timestamp`]: microseconds since the recording opened. The wall
//! clock is read once, so a clock that jumps during a run bends no measured duration.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use tokio::time::Instant;

/// Microseconds since the clock was started; monotonic, never negative.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The stamp that lies `micros` after the start of the clock.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of the clock.
    pub(crate) const fn as_micros(self) -> u64 {
        self.0
    }

    /// Microseconds from `earlier` to here; 0 if `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Ties monotonic stamps to the wall clock at one instant, the anchor.
///
/// Follows tokio's clock, so a test that pauses it moves these stamps too.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: SystemTime,
    anchor: Instant,
}

impl Clock {
    /// Starts a clock now: this instant becomes stamp 0.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clocks"
    )]
    pub fn start() -> Self {
        Self {
            wall: SystemTime::now(),
            anchor: Instant::now(),
        }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.anchor.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The wall clock at stamp 0.
    pub const fn wall_start(&self) -> SystemTime {
        self.wall
    }

    /// The wall clock as it stands now, whatever it was at stamp 0: what a certificate is valid
    /// by. Never to be measured with.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clocks"
    )]
    pub fn wall_now() -> SystemTime {
        SystemTime::now()
    }

    /// The instant of a stamp, for timers.
    pub fn instant(&self, stamp: Timestamp) -> Instant {
        self.anchor + Duration::from_micros(stamp.as_micros())
    }
}

/// The CPU time that this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The time since the system was booted, as processes' starts are counted: `/proc/uptime` may be that of a
/// container.
pub(crate) fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

/// A wall-clock time as every output has it: RFC 3339 in UTC, cut to microseconds, all six digits
/// written, so that the order of such texts is the order of their times.
pub(crate) fn wall_text(wall: OffsetDateTime) -> Option<String> {
    wall.checked_to_offset(UtcOffset::UTC)?.format(&WALL).ok()
}

/// The same of the time at `stamp`, of a run whose stamp 0 lay at `start` (RFC 3339).
pub(crate) fn wall_text_at(start: &str, stamp: Timestamp) -> Option<String> {
    let start = OffsetDateTime::parse(start, &Rfc3339).ok()?;
    let stamp = time::Duration::microseconds(i64::try_from(stamp.as_micros()).ok()?);
    wall_text(start.checked_add(stamp)?)
}

/// The stamp of a wall-clock time, of a run whose stamp 0 lay at `start` (RFC 3339); `None` before.
pub(crate) fn stamp_at(start: &str, wall: SystemTime) -> Option<Timestamp> {
    let start = OffsetDateTime::parse(start, &Rfc3339).ok()?;
    let since = OffsetDateTime::from(wall) - start;
    u64::try_from(since.whole_microseconds())
        .ok()
        .map(Timestamp)
}

const WALL: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_times_sort_as_the_times_do() {
        let at = |start, us| wall_text_at(start, Timestamp::from_micros(us));
        for (start, us, expected) in [
            (
                "2026-11-22T04:52:00Z",
                0,
                Some("2026-11-22T04:52:00.000000Z"),
            ),
            (
                "2026-11-22T04:52:00Z",
                120_000,
                Some("2026-11-22T04:52:00.120000Z"),
            ),
            (
                "2026-11-22T12:52:00.5+08:00",
                1,
                Some("2026-11-22T04:52:00.500001Z"),
            ),
            (
                "2026-11-22T04:52:00.123456789Z",
                0,
                Some("2026-11-22T04:52:00.123456Z"),
            ),
            (
                "2026-11-22T23:59:59.999999Z",
                1,
                Some("2026-11-23T00:00:00.000000Z"),
            ),
            ("yesterday", 0, None),
            ("9999-12-31T23:59:59Z", u64::MAX, None),
            ("9999-12-31T23:59:59Z", 1 << 60, None),
        ] {
            assert_eq!(at(start, us).as_deref(), expected, "{start} + {us}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stamps_follow_the_paused_clock() {
        let clock = Clock::start();
        let before = clock.now();
        tokio::time::advance(Duration::from_millis(7)).await;
        assert_eq!(clock.now().since(before), Duration::from_millis(7));
        assert_eq!(before.micros_since(clock.now()), 0);
    }
}
