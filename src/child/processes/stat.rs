//! `/proc/PID/stat` (proc(5)).

/// What is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// The program's name, at most 15 bytes of it.
    pub(super) comm: String,
    /// `R` running, `S` sleeping, `D` waiting for a disk, `T` stopped, `Z` ended.
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) session: u32,
    /// Whether it has a controlling terminal.
    pub(super) has_terminal: bool,
    /// CPU time of all threads, in ticks.
    pub(super) cpu_ticks: u64,
    /// When it started, in ticks since the system was booted: no later process of the same number
    /// has the same.
    pub(super) start_ticks: u64,
}

impl Stat {
    /// Parses the line. The second field is a name with any characters.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (_, named) = line.split_once('(')?;
        let (comm, rest) = named.rsplit_once(')')?;
        // From the third field of proc(5) on.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let id = |field: usize| number(field)?.try_into().ok();
        Some(Self {
            comm: comm.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: id(4)?,
            session: id(6)?,
            has_terminal: fields.get(4).is_some_and(|device| *device != "0"),
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            start_ticks: number(22)?,
        })
    }

    /// True for one that has ended and is not waited for yet.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "26001 (a) R (b)) S 26000 25989 20687 34816 26001 4194304 128 0 1 0 7 5 0 0 20 \
         0 1 0 3354057 2990080 412 18446744073709551615 9 9 1 0 0 0 0 0 6 0 1 0 0 17 1 0 0 0 0 0 9";

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let stat = Stat::parse(LINE).unwrap();
        let expected = Stat {
            comm: "a) R (b)".into(),
            state: 'S',
            parent: 26000,
            session: 20687,
            has_terminal: true,
            cpu_ticks: 12,
            start_ticks: 3_354_057,
        };
        assert_eq!(stat, expected);
    }

    #[test]
    fn half_a_line_is_none() {
        for end in 0..LINE.find(" 3354057").unwrap() {
            assert_eq!(Stat::parse(&LINE[..end]), None, "{end}");
        }
    }
}
