//! What the rules on requests without an answer have in common.

use crate::diagnose::case::{Asked, Case};
use crate::diagnose::dials::{is_given_up, is_timed_out};
use crate::exchange::{MadeBy, Phase, Stall};
use crate::recording::reader::RowState;

/// A silence is told from here on if it lasted until the client, or the run, gave up, though nobody was
/// told while it lasted; microseconds.
const GIVEN_UP_US: u64 = 5_000_000;

/// And from here on if something came in the end.
const ENDED_US: u64 = 5_000_000;

/// And if it is so many times as long as the median of the waits for that host.
const TIMES: u64 = 4;

/// A request that got no answer for long.
pub(super) struct Silent {
    /// The item.
    pub(super) item: usize,
    /// Where it stopped.
    pub(super) phase: Phase,
    /// How long it was silent, microseconds.
    pub(super) us: u64,
    /// True if something came in the end.
    pub(super) has_ended: bool,
    /// True if bytes came, and so few that the time went all the same.
    pub(super) trickles: bool,
}

/// The requests that got no answer for long.
pub(super) fn all(case: &Case<'_>) -> Vec<Silent> {
    let items = 0..case.timeline.items.len();
    items.filter_map(|item| of(case, item)).collect()
}

fn of(case: &Case<'_>, item: usize) -> Option<Silent> {
    let one = &case.timeline.items[item];
    let asked = case.asked_by(one)?;
    let stall = case.stall_of(asked.row);
    // What a closed recording has no end of was lost on the way to the disk.
    if asked.row.state == RowState::InFlight && case.is_closed && stall.is_none() {
        return None;
    }
    let phase = where_it_stopped(asked, stall)?;
    let phase_us = case.phase_us(one, phase);
    let is_body = phase == Phase::Receive;
    let trickles = is_body && stall.is_none() && is_trickle(asked.row.bytes, phase_us);
    // What is not in flight any more has its phases. A body may have come all the time: only a silence on
    // record tells that it stood.
    let us = match stall {
        Some(stall) if is_body || asked.row.state == RowState::InFlight => stall.silent_us,
        None if is_body && !trickles => {
            let refusal = asked.refusal.as_ref();
            refusal
                .and_then(|refusal| refusal.longest_silence_us)
                .unwrap_or(0)
        }
        _ => phase_us,
    };
    let has_ended = asked.row.state == RowState::Ended && asked.row.made_by == Some(MadeBy::Origin);
    let usual = case.hosts.get(&one.host).and_then(|host| host.wait_p50_us);
    let least = match has_ended {
        true => ENDED_US,
        false => GIVEN_UP_US,
    };
    let usual = usual.unwrap_or(0);
    // What was told as a stall while it lasted, and never went on, is one.
    let is_stall = !has_ended && stall.is_some_and(|stall| !stall.is_over);
    let is_long = is_stall || (us >= least && us >= usual.saturating_mul(TIMES));
    is_long.then_some(Silent {
        item,
        phase,
        us,
        has_ended,
        trickles,
    })
}

/// A body that comes slower than this is no download, bytes a second: a line over a telephone has ten
/// times as many.
const TRICKLE: u64 = 512;

fn is_trickle(bytes: u64, us: u64) -> bool {
    let pace = u128::from(bytes) * 1_000_000 / u128::from(us.max(1));
    bytes > 0 && pace < u128::from(TRICKLE)
}

/// The phase in which a request waited for bytes that did not come.
fn where_it_stopped(asked: &Asked<'_>, stall: Option<&Stall>) -> Option<Phase> {
    let why = asked.refusal.as_ref().map_or("", |refusal| &*refusal.why);
    let phases = asked.row.phases;
    match asked.row.state {
        // Nothing else tells what it was doing.
        RowState::InFlight => match stall.map(|stall| stall.phase) {
            Some(Phase::Receive) => Some(Phase::Receive),
            // A recorder that was killed before the silence was told leaves nothing else.
            Some(Phase::Send | Phase::Wait) | None => Some(Phase::Wait),
            // It waits for a connection, which is no matter of its server's.
            Some(Phase::Blocked | Phase::Dns | Phase::Connect | Phase::Tls) => None,
        },
        RowState::Aborted if is_given_up(why) || is_timed_out(why) => {
            match phases[Phase::Receive] {
                Some(_) => Some(Phase::Receive),
                None => phases[Phase::Wait].map(|_| Phase::Wait),
            }
        }
        RowState::Aborted => None,
        // Our own 504 of `--upstream-idle-timeout`.
        RowState::Ended if asked.is_ours() => is_timed_out(why).then_some(Phase::Wait),
        RowState::Ended => match stall.map(|stall| stall.phase) {
            Some(Phase::Receive) => Some(Phase::Receive),
            _ => Some(Phase::Wait),
        },
    }
}

/// The pieces of a silence. What is in flight has no phases on record: all of it is silent.
pub(super) fn pieces_of(case: &Case<'_>, silent: &Silent) -> Vec<usize> {
    let asked = case.asked_by(&case.timeline.items[silent.item]);
    let is_open = asked.is_some_and(|asked| asked.row.state == RowState::InFlight);
    let phase = Some(silent.phase).filter(|_| !is_open);
    case.pieces_of(&[silent.item], phase)
}
