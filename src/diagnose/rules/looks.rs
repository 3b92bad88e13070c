//! What the rules on the command's processes have in common.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::processes::{Activity, Gap, Kind};

/// The command counts as stuck to the end if it did nothing else for the last part of the time,
/// microseconds.
const END_US: u64 = 2_000_000;

/// The times without a request in which the command did one thing.
pub(super) struct Looks<'a> {
    /// The times: from, to.
    pub(super) idle: Vec<(u64, u64)>,
    /// How long they are together, microseconds.
    pub(super) us: u64,
    /// The process that did it for the longest time.
    pub(super) longest: Activity<'a>,
    /// CPU use in these times, in thousandths of a processor.
    pub(super) cpu_permille: u64,
    /// True if it lasted until the command was ended, which had not done its work.
    pub(super) to_the_end: bool,
    /// The looks that show it.
    pub(super) evidence: Vec<Evidence>,
}

/// One process that did one thing, without a break.
struct Stretch<'a> {
    activity: Activity<'a>,
    from: u64,
    to: u64,
    first: usize,
}

impl<'a> Looks<'a> {
    /// Those that show one of `kinds`, if they last for `least` microseconds together.
    pub(super) fn at(case: &'a Case<'_>, kinds: &[Kind], least: u64) -> Option<Self> {
        let mut stretches: Vec<Stretch<'a>> = Vec::new();
        let mut cpu = 0_u128;
        for gap in &case.gaps {
            let sample = &case.samples[gap.sample].sample;
            let activity = Activity::of(sample).filter(|one| kinds.contains(&one.doing.kind()));
            let Some(activity) = activity else {
                continue;
            };
            cpu += u128::from(cpu_permille(case, gap, &activity)) * u128::from(gap.to - gap.from);
            match stretches.last_mut() {
                Some(last)
                    if last.to == gap.from && last.activity.subject() == activity.subject() =>
                {
                    last.to = gap.to;
                }
                _ => stretches.push(Stretch {
                    activity,
                    from: gap.from,
                    to: gap.to,
                    first: gap.sample,
                }),
            }
        }
        let us: u64 = stretches.iter().map(|one| one.to - one.from).sum();
        let last = stretches.last()?.to;
        let idle = stretches.iter().map(|one| (one.from, one.to)).collect();
        stretches.sort_by_key(|one| std::cmp::Reverse(one.to - one.from));
        let evidence = stretches.iter().map(|one| {
            let sampled = &case.samples[one.first];
            Evidence {
                what: Exhibit::Sample {
                    run: sampled.run,
                    t_us: sampled.at,
                },
                shows: one.activity.past(one.to - one.from),
            }
        });
        let has_failed = case.manifest.exit_code != Some(0);
        (us >= least).then(|| Self {
            evidence: evidence.collect(),
            cpu_permille: u64::try_from(cpu / u128::from(us.max(1))).unwrap_or(u64::MAX),
            to_the_end: has_failed && case.timeline.wall_us - last <= END_US,
            longest: stretches[0].activity.clone(),
            idle,
            us,
        })
    }

    /// How bad it is: what lasted to the end is why the command was ended.
    pub(super) const fn severity(&self) -> Severity {
        match self.to_the_end {
            true => Severity::Problem,
            false => Severity::Slow,
        }
    }

    /// A finding of them.
    pub(super) fn found(self, confidence: Confidence) -> Found {
        Found {
            severity: self.severity(),
            title: self.title(),
            confidence: match self.longest.is_part {
                true => Confidence::Likely,
                false => confidence,
            },
            hint: self.hint(),
            evidence: self.evidence,
            explains: Explained::idle(self.idle).hung(self.to_the_end),
        }
    }

    /// What to try.
    pub(super) fn hint(&self) -> Option<String> {
        let choices = self.longest.choices();
        (!choices.is_empty()).then(|| choices.join("; or "))
    }

    /// What there was, and how often.
    pub(super) fn title(&self) -> String {
        let title = self.longest.past(self.us);
        match self.evidence.len() {
            1 => title,
            times => format!("{title}, in {times} parts"),
        }
    }

    /// How much CPU it used: `190 % CPU`.
    pub(super) fn cpu(&self) -> String {
        format!("{} % CPU", self.cpu_permille / 10)
    }

    /// How much of the whole time this is, in percent.
    pub(super) fn percent(&self, case: &Case<'_>) -> u64 {
        crate::words::percent(self.us, case.timeline.wall_us)
    }
}

/// The CPU use of the process in a gap: by what it had used in sum at both ends, if that is known.
fn cpu_permille(case: &Case<'_>, gap: &Gap, activity: &Activity<'_>) -> u64 {
    let process = activity.process;
    let own = &case.samples[gap.sample];
    let next = case.samples.get(gap.sample + 1);
    let later = next.and_then(|next| {
        let mut processes = next.sample.processes.iter();
        let same = processes.find(|one| one.pid == process.pid && one.name == process.name)?;
        let us = next.at.micros_since(own.at);
        let used = same.cpu_us.checked_sub(process.cpu_us)?;
        (next.run == own.run && us > 0).then(|| used.saturating_mul(1000) / us)
    });
    later.unwrap_or_else(|| process.cpu_permille.into())
}
