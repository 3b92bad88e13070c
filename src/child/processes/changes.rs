//! Which samples are recorded: those that show a change, and now and then one that shows none.

use std::time::Duration;

use super::watch::LOOK;
use crate::clock::Timestamp;
use crate::recording::processes::{Process, ProcessState, Sample};

/// A picture that stays the same is recorded again after this time, and then after twice as long.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest time after which it is recorded again.
const AGAIN_AT_MOST: Duration = Duration::from_secs(10);

/// How many samples are recorded in the time that a run has taken so far, at most: those of a long
/// run lie further apart, and its journal stays small.
const SAMPLES: u32 = 300;

/// The sample that was recorded last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    last: Option<(Timestamp, Sample)>,
    again: Duration,
}

impl Changes {
    /// Whether this sample, the next one, is to be recorded.
    pub(super) fn is_due(&mut self, at: Timestamp, sample: &Sample) -> bool {
        let last = self.last.as_ref();
        let is_same = last.is_some_and(|(_, shown)| shows_same(shown, sample));
        let run = at.since(Timestamp::default());
        let apart = match is_same {
            true => self.again,
            false => LOOK,
        };
        let apart = apart.max(run / SAMPLES);
        let is_due = last.is_none_or(|(last, _)| at.since(*last) >= apart);
        if is_due {
            self.again = match is_same {
                true => (self.again * 2).min(AGAIN_AT_MOST),
                false => AGAIN,
            };
            self.last = Some((at, sample.clone()));
        }
        is_due
    }

    /// Nobody looks any more, for now. Returns whether that is to be recorded: something was shown.
    pub(super) fn pause(&mut self) -> bool {
        let last = self.last.take();
        last.is_some_and(|(_, sample)| !sample.processes.is_empty())
    }
}

/// Whether two samples show the same, whatever was counted in between.
fn shows_same(one: &Sample, other: &Sample) -> bool {
    // Of tools there are now more and now fewer, and now these and now those; and the go command that
    // runs them works a little in between.
    let is_tool = |process: &&Process| process.command.is_empty();
    let singles = |sample: &Sample| -> Vec<_> {
        let builds = sample.processes.iter().any(|process| is_tool(&process));
        let singles = sample.processes.iter().filter(|process| !is_tool(process));
        singles
            .map(|process| {
                let state = match process.state {
                    ProcessState::Running | ProcessState::Sleeping if builds => {
                        ProcessState::WaitsChild
                    }
                    _ => process.state.clone(),
                };
                let Process { pid, name, .. } = process;
                (*pid, name.clone(), state, process.keeps_pipe_of)
            })
            .collect()
    };
    let tools = |sample: &Sample| -> Vec<_> {
        let tools = sample.processes.iter().filter(is_tool);
        let mut tools: Vec<_> = tools.map(|process| process.name.clone()).collect();
        tools.sort();
        tools
    };
    singles(one) == singles(other) && tools(one) == tools(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(state: ProcessState, cpu_us: u64) -> Sample {
        let process = Process {
            pid: 7,
            parent: 1,
            name: "go".into(),
            command: vec!["go".into()],
            count: 1,
            state,
            file: None,
            keeps_pipe_of: None,
            cpu_permille: 0,
            cpu_us,
            read_bytes: 0,
            written_bytes: 0,
        };
        let processes = vec![process];
        Sample {
            processes,
            ..Sample::default()
        }
    }

    /// When samples are recorded of a process whose state at each look is told by `state`, looked at for `looks`
    /// times from `from` milliseconds on; in milliseconds since then.
    fn recorded(from: u64, looks: u64, state: impl Fn(u64) -> ProcessState) -> Vec<u64> {
        let mut changes = Changes::default();
        let looks = (0..looks).map(|look| (look, look * LOOK.as_millis() as u64));
        let due = looks.filter(|(look, at)| {
            let at = Timestamp::from_micros((from + at) * 1000);
            changes.is_due(at, &sample(state(*look), *look))
        });
        due.map(|(_, at)| at).collect()
    }

    #[test]
    fn what_stays_the_same_is_recorded_ever_more_seldom() {
        let recorded = recorded(0, 200, |_| ProcessState::Running);
        assert_eq!(recorded, [0, 1000, 3000, 7000, 15_000, 25_000, 35_000]);
    }

    #[test]
    fn each_change_is_recorded_in_a_short_run_and_few_in_a_long_one() {
        let flips = |look| match look % 2 {
            0 => ProcessState::Running,
            _ => ProcessState::Sleeping,
        };
        assert_eq!(recorded(0, 5, flips), [0, 200, 400, 600, 800]);
        // After an hour, twelve seconds lie between two.
        assert_eq!(recorded(3_600_000, 65, flips), [0, 12_200]);
    }

    #[test]
    fn a_pause_is_recorded_once() {
        let mut changes = Changes::default();
        assert!(!changes.pause());
        assert!(changes.is_due(Timestamp::default(), &sample(ProcessState::Running, 0)));
        assert!(changes.pause() && !changes.pause());
    }
}
