//! What the rules on the command's processes have in common.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::processes::{Activity, Doing, Gap, Kind};
use crate::words::{count, duration};

/// The command counts as stuck to the end if it did nothing else for the last part of the time,
/// microseconds.
const END_US: u64 = 2_000_000;

/// The times without a request in which the command did one thing.
pub(super) struct Looks<'a> {
    /// The times: from, to.
    pub(super) idle: Vec<(u64, u64)>,
    /// How long they are together, microseconds.
    pub(super) us: u64,
    /// The process that did it for the longest time, and how long that was in all, microseconds.
    pub(super) longest: Activity<'a>,
    longest_us: u64,
    /// In how many parts, and in how many the others did it, who did the same kind of thing.
    parts: usize,
    other_parts: usize,
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
        let (longest, longest_us, parts) = longest(&stretches)?;
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
            other_parts: stretches.len() - parts,
            longest,
            longest_us,
            parts,
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
        let mut title = self.longest.past(self.longest_us);
        if self.parts > 1 {
            title = format!("{title}, in {} parts", self.parts);
        }
        match self.other_parts {
            0 => title,
            others => format!(
                "{title}, and {} of the same kind took {}",
                count(others as u64, "other wait"),
                duration(self.us.saturating_sub(self.longest_us))
            ),
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

/// Who waited for the longest time, for how long in all its stretches, and how many these are. A process
/// may do the same to several: each host that ssh waits for is another wait.
fn longest<'a>(stretches: &[Stretch<'a>]) -> Option<(Activity<'a>, u64, usize)> {
    let mut waits: BTreeMap<_, (usize, u64, usize)> = BTreeMap::new();
    for (index, one) in stretches.iter().enumerate() {
        let wait = waits.entry(wait_of(&one.activity)).or_insert((index, 0, 0));
        wait.1 += one.to - one.from;
        wait.2 += 1;
    }
    // Of two that are as long, the one with the longer stretch.
    let waits = waits.into_values();
    let (first, us, parts) = waits.max_by_key(|(first, us, _)| (*us, Reverse(*first)))?;
    Some((stretches[first].activity.clone(), us, parts))
}

/// A process, by its name, and what it waits for: what is the same wait, whichever process it is. A
/// command runs many a git, each for a moment.
fn wait_of<'a>(activity: &Activity<'a>) -> (Kind, String, Option<&'a str>) {
    let what = match activity.doing {
        Doing::Peer(address, _) => Some(address),
        Doing::Lock(lock) => lock.path.as_deref(),
        Doing::Disk(channel) => Some(channel),
        _ => None,
    };
    (activity.doing.kind(), activity.who(), what)
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
