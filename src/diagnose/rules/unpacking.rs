//! MT210: the go command unpacks and hashes zips. That is its work; it is slow where it uses little CPU.

use super::looks::Looks;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::processes::Kind;
use crate::gomod::Kind as Route;
use crate::words::duration;

/// It is told from here on, microseconds, if it takes so many percent of the time.
const LEAST_US: u64 = 1_000_000;
const LEAST_PERCENT: u64 = 20;

/// The disk, or who watches it, keeps it waiting if it uses less CPU, in thousandths of a processor, for
/// so long. A busy machine leaves it 250 and more.
const LITTLE_CPU: u64 = 100;
const SLOW_US: u64 = 3_000_000;

/// A pace at which zips are unpacked on a busy machine, bytes of them a second.
const FAIR: u128 = 2_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let looks = Looks::at(case, &[Kind::Unpacks], LEAST_US);
    let looks = looks.filter(|looks| looks.percent(case) >= LEAST_PERCENT);
    let found = looks.map(|looks| {
        let zips = case.asked.iter().filter(|asked| asked.listed.route.kind == Route::Zip);
        let bytes = zips.fold(0_u64, |sum, asked| sum.saturating_add(asked.row.bytes));
        let pace = u128::from(bytes) * 1_000_000 / u128::from(looks.us.max(1));
        // Other programs take CPU away too: what is unpacked at a fair pace waits for nobody.
        let is_slow = looks.cpu_permille < LITTLE_CPU && looks.us >= SLOW_US && pace < FAIR;
        let hint = "a virus scanner, or a module cache on a network file system, makes this slow: exclude GOMODCACHE from the one, and keep it off the other";
        Found {
            severity: if is_slow { Severity::Slow } else { Severity::Note },
            title: format!(
                "{} unpacked and hashed zips for {} ({})",
                looks.longest.who(),
                duration(looks.us),
                looks.cpu()
            ),
            confidence: Confidence::Likely,
            hint: is_slow.then(|| hint.to_owned()),
            evidence: looks.evidence,
            explains: Explained::idle(looks.idle),
        }
    });
    found.into_iter().collect()
}
