//! Which processes are the command's: the descendants of this process, and what left them, a daemon
//! or an ssh master, by its session, by `MODTAPE_PID` in its environment, or by a pipe.

use std::collections::{BTreeMap, HashMap};

use super::budget::Budget;
use super::proc::Proc;
use super::stat::Stat;

/// A process of the command's, alive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) stat: Stat,
    /// True for one that is no descendant of ours any more.
    pub(super) is_detached: bool,
}

/// The members, from one look to the next.
#[derive(Debug)]
pub(super) struct Members {
    own: u32,
    /// `MODTAPE_PID=` and our own number.
    variable: String,
    /// Every process that was there at the last look, and was looked at.
    known: HashMap<u32, Known>,
    /// The sessions that members are in, each with the last look at which one was. The number of one
    /// that is over is used again.
    sessions: HashMap<u32, u32>,
    /// Counts the looks.
    looks: u32,
}

/// What is known of a process; with its start, since numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is the command's.
    Member(u64),
    /// It seems to be none: while a process begins to run a program, it has no environment.
    Unclear(u64),
    /// It is none.
    Foreign(u64),
}

impl Known {
    const fn start(self) -> u64 {
        match self {
            Self::Member(start) | Self::Unclear(start) | Self::Foreign(start) => start,
        }
    }
}

/// Whether the number of one that is none belongs to another process by now is looked at again after so
/// many looks, at each look of another part of them.
const FOREIGN: u32 = 32;

/// A session is remembered for so many looks after its last member: what it started last may not have been
/// seen.
const SESSION: u32 = 3;

/// The members at one look.
pub(super) struct Found {
    /// Those that are alive, by number.
    pub(super) members: BTreeMap<u32, Member>,
    /// False if there was no time to look at all processes.
    pub(super) is_whole: bool,
}

impl Members {
    pub(super) fn new(own: u32) -> Self {
        Self {
            own,
            variable: format!("MODTAPE_PID={own}"),
            known: HashMap::new(),
            sessions: HashMap::new(),
            looks: 0,
        }
    }

    /// The members that are alive now.
    ///
    /// Of other processes nothing is read more than twice but their starts, now and then; and of those
    /// that are older than this one only that.
    pub(super) fn look(&mut self, proc: &Proc, budget: &Budget) -> Found {
        self.looks = self.looks.wrapping_add(1);
        let mut members: BTreeMap<u32, Stat> = BTreeMap::new();
        let mut known = HashMap::with_capacity(self.known.len());
        let mut new: Vec<(u32, Stat)> = Vec::new();
        let mut is_whole = true;
        let mut pids = proc.pids();
        // In case there is no time for all: first those that were members before, and then those whose
        // numbers are higher than ours, as most that we start.
        pids.sort_by_key(|pid| {
            let was_member = matches!(self.known.get(pid), Some(Known::Member(_)));
            (!was_member, *pid < self.own, *pid)
        });
        for pid in pids.into_iter().filter(|pid| *pid != self.own) {
            let before = self.known.get(&pid).copied();
            if let Some(foreign @ Known::Foreign(_)) = before
                && !self.looks.wrapping_add(pid).is_multiple_of(FOREIGN)
            {
                known.insert(pid, foreign);
                continue;
            }
            if budget.is_spent() {
                is_whole = false;
                known.extend(before.map(|before| (pid, before)));
                continue;
            }
            let Some(stat) = proc.stat(pid) else {
                continue;
            };
            match before.filter(|before| before.start() == stat.start_ticks) {
                Some(Known::Member(_)) => {
                    members.insert(pid, stat);
                }
                Some(foreign @ Known::Foreign(_)) => {
                    known.insert(pid, foreign);
                }
                Some(Known::Unclear(_)) | None => new.push((pid, stat)),
            }
        }
        let own_start = proc.stat(self.own).map_or(0, |own| own.start_ticks);
        // Parents before their children.
        new.sort_by_key(|(pid, stat)| (stat.start_ticks, *pid));
        for (pid, stat) in new {
            let is_young = stat.start_ticks >= own_start;
            let is_member = stat.parent == self.own
                || members.contains_key(&stat.parent)
                || is_young
                    && proc.is_ours(pid)
                    && (self.sessions.contains_key(&stat.session)
                        || proc.has_variable(pid, &self.variable));
            if is_member {
                members.insert(pid, stat);
                continue;
            }
            let start = stat.start_ticks;
            let was_unclear = self.known.get(&pid) == Some(&Known::Unclear(start));
            // Its parent may be one of those for which there was no time.
            let is_clear = !is_young || (was_unclear && is_whole);
            let verdict = match is_clear {
                true => Known::Foreign(start),
                false => Known::Unclear(start),
            };
            known.insert(pid, verdict);
        }
        for (pid, stat) in &members {
            known.insert(*pid, Known::Member(stat.start_ticks));
            if stat.session == *pid || self.sessions.contains_key(&stat.session) {
                self.sessions.insert(stat.session, self.looks);
            }
        }
        let looks = self.looks;
        self.sessions
            .retain(|_, seen| looks.wrapping_sub(*seen) <= SESSION);
        self.known = known;
        Found {
            members: self.with_ancestry(members),
            is_whole,
        }
    }

    /// Makes members of those young processes of our own user for which `is_it` says so, from the next
    /// look on.
    pub(super) fn adopt(&mut self, proc: &Proc, budget: &Budget, is_it: impl Fn(u32) -> bool) {
        let own_start = proc.stat(self.own).map_or(0, |own| own.start_ticks);
        for (pid, known) in &mut self.known {
            let (Known::Unclear(start) | Known::Foreign(start)) = *known else {
                continue;
            };
            if budget.is_spent() {
                return;
            }
            if start >= own_start && proc.is_ours(*pid) && is_it(*pid) {
                *known = Known::Member(start);
            }
        }
    }

    /// Finds out which of them have left the tree, and drops those that have ended.
    fn with_ancestry(&self, members: BTreeMap<u32, Stat>) -> BTreeMap<u32, Member> {
        // Whether each is a descendant of ours, once that is known.
        let mut verdicts: HashMap<u32, bool> = HashMap::with_capacity(members.len());
        for pid in members.keys() {
            let mut way = Vec::new();
            let mut at = *pid;
            let verdict = loop {
                if let Some(verdict) = verdicts.get(&at) {
                    break *verdict;
                }
                let Some(stat) = members.get(&at) else {
                    break false;
                };
                if stat.parent == self.own {
                    break true;
                }
                // Numbers that are used again could form a circle.
                verdicts.insert(at, false);
                way.push(at);
                at = stat.parent;
            };
            verdicts.extend(way.into_iter().map(|pid| (pid, verdict)));
            verdicts.insert(*pid, verdict);
        }
        let alive = members.into_iter().filter(|(_, stat)| !stat.is_over());
        alive
            .map(|(pid, stat)| {
                let is_detached = !verdicts[&pid];
                (pid, Member { stat, is_detached })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    const OWN: u32 = 50;

    /// A process as `/proc` shows it.
    fn put(root: &Path, pid: u32, parent: u32, session: u32, start: u64, environment: &str) {
        let own = root.join(pid.to_string());
        fs::create_dir_all(&own).unwrap();
        let stat = format!(
            "{pid} (x) S {parent} {pid} {session} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0"
        );
        fs::write(own.join("stat"), stat).unwrap();
        fs::write(own.join("environ"), environment).unwrap();
    }

    fn found(members: &mut Members, root: &Path) -> Vec<u32> {
        let budget = Budget::of(Duration::from_secs(60));
        let found = members.look(&Proc::new(root), &budget);
        assert!(found.is_whole);
        found.members.into_keys().collect()
    }

    #[test]
    fn a_number_that_was_a_strangers_may_be_a_members_later() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        put(root, OWN, 1, 1, 1000, "");
        put(root, 100, 1, 100, 2000, "");
        let mut members = Members::new(OWN);
        for _ in 0..3 {
            assert_eq!(found(&mut members, root), [0; 0]);
        }
        put(root, 100, 1, 100, 3000, "A=b\0MODTAPE_PID=50\0");
        let mut looks = (0..=FOREIGN).map(|_| found(&mut members, root));
        assert!(looks.any(|found| found == [100]));
    }

    #[test]
    fn the_session_of_a_member_is_known_for_a_while_after_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        put(root, OWN, 1, 1, 1000, "");
        put(root, 100, OWN, 100, 2000, "");
        let mut members = Members::new(OWN);
        assert_eq!(found(&mut members, root), [100]);
        fs::remove_dir_all(root.join("100")).unwrap();
        // What it left behind is in its session.
        put(root, 101, 1, 100, 2001, "");
        assert_eq!(found(&mut members, root), [101]);
        fs::remove_dir_all(root.join("101")).unwrap();
        for _ in 0..=SESSION {
            assert_eq!(found(&mut members, root), [0; 0]);
        }
        // Later the number is another's.
        put(root, 102, 1, 100, 4000, "");
        assert_eq!(found(&mut members, root), [0; 0]);
    }
}
