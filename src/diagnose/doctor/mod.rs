//! What `modtape doctor` concludes from what it found out: a row for each check, and the one change
//! that would help most.

mod advice;
pub(crate) mod facts;
mod hosts;
mod machine;
mod next_step;
mod settings;

use self::facts::Facts;

pub(crate) use self::advice::Advice;
pub(crate) use self::settings::origin as origin_text;

/// The conclusions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// One row for each check, in the order in which they are read.
    pub(crate) rows: Vec<Row>,
    /// The change that would help most, if a setting can help at all.
    pub(crate) advice: Option<Advice>,
    /// What to do if something is broken and no setting helps: whom to ask, and with which evidence.
    pub(crate) next: Option<String>,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name, which does not change.
    pub(crate) check: &'static str,
    /// What was checked: a host, a URL, a setting, a folder.
    pub(crate) subject: String,
    /// How it is.
    pub(crate) state: State,
    /// Why, in words, with the number that was measured.
    pub(crate) text: String,
    /// The numbers and names in it.
    pub(crate) measured: Vec<(&'static str, Measure)>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It works.
    Ok,
    /// It works, and costs time.
    Slow,
    /// It does not work.
    Broken,
}

/// A number, or a name. The unit of a number is in its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A number.
    Number(i64),
    /// A name.
    Text(String),
}

impl State {
    /// Its word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }
}

impl Row {
    fn new(check: &'static str, subject: impl Into<String>, state: State, text: String) -> Self {
        Self {
            check,
            subject: subject.into(),
            state,
            text,
            measured: Vec::new(),
        }
    }

    fn number(mut self, key: &'static str, number: impl TryInto<i64>) -> Self {
        let number = number.try_into().unwrap_or(i64::MAX);
        self.measured.push((key, Measure::Number(number)));
        self
    }

    fn name(mut self, key: &'static str, name: Option<&str>) -> Self {
        let name = name.map(|name| (key, Measure::Text(name.to_owned())));
        self.measured.extend(name);
        self
    }
}

impl Report {
    /// Whether anything is broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.rows.iter().any(|row| row.state == State::Broken)
    }
}

/// Judges the facts.
pub(crate) fn report(facts: &Facts) -> Report {
    let mut rows = settings::rows(facts);
    rows.extend(machine::trust(facts));
    for row in facts.hosts.iter().flat_map(|host| hosts::rows(facts, host)) {
        // One parent proxy may be on the way to several hosts.
        let is_same = |other: &&mut Row| other.check == row.check && other.subject == row.subject;
        match rows.iter_mut().find(is_same) {
            Some(other) if other.state >= row.state => {}
            Some(other) => *other = row,
            None => rows.push(row),
        }
    }
    rows.extend(machine::clock(facts));
    rows.extend(machine::cache(facts));
    let advice = advice::best(facts);
    let next = match &advice {
        Some(_) => None,
        None => next_step::next_step(facts, &rows),
    };
    Report { rows, advice, next }
}

#[cfg(test)]
mod tests;
