//! Which processes are the command's: the descendants of this process, and what left them, a daemon
//! or an ssh master, by its session or by `MODTAPE_PID` in its environment.

use std::collections::{BTreeMap, HashMap, HashSet};

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
    /// Every process that was there at the last look.
    known: HashMap<u32, Known>,
    /// The sessions that members have begun.
    sessions: HashSet<u32>,
}

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is the command's: with its start, since numbers are used again.
    Member(u64),
    /// It seems to be none: while a process begins to run a program, it has no environment.
    Unclear,
    /// It is none.
    Foreign,
}

impl Members {
    pub(super) fn new(own: u32) -> Self {
        Self {
            own,
            variable: format!("MODTAPE_PID={own}"),
            known: HashMap::new(),
            sessions: HashSet::new(),
        }
    }

    /// The members that are alive now, by number.
    ///
    /// Of other processes nothing is read more than twice, and of those that are older than this one
    /// only when they started.
    pub(super) fn look(&mut self, proc: &Proc) -> BTreeMap<u32, Member> {
        let pids = proc.pids();
        let mut members: BTreeMap<u32, Stat> = BTreeMap::new();
        let mut new: Vec<(u32, Stat)> = Vec::new();
        for &pid in &pids {
            let known = self.known.get(&pid);
            if known == Some(&Known::Foreign) || pid == self.own {
                continue;
            }
            let Some(stat) = proc.stat(pid) else {
                continue;
            };
            if known == Some(&Known::Member(stat.start_ticks)) {
                members.insert(pid, stat);
            } else {
                new.push((pid, stat));
            }
        }
        let own_start = proc.stat(self.own).map_or(0, |own| own.start_ticks);
        // Parents before their children.
        new.sort_by_key(|(pid, stat)| (stat.start_ticks, *pid));
        let mut known = HashMap::with_capacity(pids.len());
        for pid in pids {
            let is_foreign = self.known.get(&pid) == Some(&Known::Foreign);
            if is_foreign {
                known.insert(pid, Known::Foreign);
            }
        }
        for (pid, stat) in new {
            let is_young = stat.start_ticks >= own_start;
            let is_member = stat.parent == self.own
                || members.contains_key(&stat.parent)
                || is_young
                    && proc.is_ours(pid)
                    && (self.sessions.contains(&stat.session)
                        || proc.has_variable(pid, &self.variable));
            if is_member {
                members.insert(pid, stat);
            } else {
                let is_clear = !is_young || self.known.contains_key(&pid);
                let verdict = match is_clear {
                    true => Known::Foreign,
                    false => Known::Unclear,
                };
                known.insert(pid, verdict);
            }
        }
        for (pid, stat) in &members {
            known.insert(*pid, Known::Member(stat.start_ticks));
            if stat.session == *pid {
                self.sessions.insert(*pid);
            }
        }
        self.known = known;
        self.with_ancestry(members)
    }

    /// Finds out which of them have left the tree, and drops those that have ended.
    fn with_ancestry(&self, members: BTreeMap<u32, Stat>) -> BTreeMap<u32, Member> {
        let is_descendant = |pid: u32| {
            let mut at = pid;
            // No longer than there are members: numbers that are used again could form a circle.
            for _ in 0..=members.len() {
                match members.get(&at) {
                    Some(stat) if stat.parent == self.own => return true,
                    Some(stat) => at = stat.parent,
                    None => return false,
                }
            }
            false
        };
        let detached: HashSet<u32> = members
            .keys()
            .copied()
            .filter(|pid| !is_descendant(*pid))
            .collect();
        let alive = members.into_iter().filter(|(_, stat)| !stat.is_over());
        alive
            .map(|(pid, stat)| {
                let is_detached = detached.contains(&pid);
                (pid, Member { stat, is_detached })
            })
            .collect()
    }
}
