//! The report, for people and for programs.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::Global;
use crate::diagnose::doctor::facts::{Facts, Origin};
use crate::diagnose::doctor::{Measure, Report, State, origin_text};
use crate::terminal::table::{Align, Cell, Table};
use crate::terminal::{Look, Paint};
use crate::words::count;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Json<'a> {
    schema: u8,
    broken: bool,
    go_version: Option<&'a str>,
    settings: Vec<Setting<'a>>,
    checks: Vec<Check<'a>>,
    advice: Option<Advice<'a>>,
    next: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
    origin: &'static str,
    from: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Check<'a> {
    check: &'static str,
    subject: &'a str,
    state: &'static str,
    text: &'a str,
    measured: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Advice<'a> {
    command: &'a str,
    reason: &'a str,
}

impl<'a> Json<'a> {
    pub(super) fn of(facts: &'a Facts, report: &'a Report) -> Self {
        let settings = facts.go.settings.iter().map(|setting| {
            let (origin, from) = match &setting.origin {
                Origin::Environment(name) => ("environment", Some(&**name)),
                Origin::UserFile(path) => ("user-file", Some(&**path)),
                Origin::Installation(path) => ("installation", Some(&**path)),
                Origin::Other(name) => ("setting", Some(*name)),
                Origin::Default => ("default", None),
            };
            Setting {
                name: setting.name,
                value: &setting.value,
                origin,
                from,
            }
        });
        let checks = report.rows.iter().map(|row| {
            let measured = row.measured.iter().map(|(key, measure)| {
                let value = match measure {
                    Measure::Number(number) => Value::from(*number),
                    Measure::Text(text) => Value::from(text.as_str()),
                };
                ((*key).to_owned(), value)
            });
            Check {
                check: row.check,
                subject: &row.subject,
                state: row.state.name(),
                text: &row.text,
                measured: measured.collect(),
            }
        });
        Self {
            schema: 1,
            broken: report.is_broken(),
            go_version: facts.go.version.as_deref(),
            settings: settings.collect(),
            checks: checks.collect(),
            advice: report.advice.as_ref().map(|advice| Advice {
                command: &advice.command,
                reason: &advice.reason,
            }),
            next: report.next.as_deref(),
        }
    }
}

/// The page for people: with `-v` the settings, then the checks (with `-q` only what is broken),
/// and what would help.
pub(super) fn text(facts: &Facts, report: &Report, look: Look, global: &Global) -> String {
    // Nothing is cut: the end of a line is the reason.
    let look = Look {
        width: None,
        ..look
    };
    let mut page = String::new();
    if global.verbose > 0 {
        let mut table = Table::new([
            ("SETTING", Align::Left),
            ("VALUE", Align::Left),
            ("ORIGIN", Align::Left),
        ]);
        for setting in &facts.go.settings {
            let value = look.plain(&setting.value).into_owned();
            let is_set = !setting.value.is_empty() || setting.origin != Origin::Default;
            let origin = match is_set {
                true => origin_text(&setting.origin),
                false => String::from("not set"),
            };
            let origin = look.plain(&origin).into_owned();
            table.row([setting.name.into(), value.into(), origin.into()]);
        }
        page.extend(table.lines(look));
        page.push('\n');
    }
    let mut table = Table::new([
        ("STATE", Align::Left),
        ("CHECK", Align::Left),
        ("OF", Align::Left),
        ("RESULT", Align::Left),
    ]);
    let is_shown = |state| !global.quiet || state == State::Broken;
    let rows = report.rows.iter().filter(|row| is_shown(row.state));
    for row in rows.clone() {
        let paint = match row.state {
            State::Ok => None,
            State::Slow => Some(Paint::Yellow),
            State::Broken => Some(Paint::Red),
        };
        let subject = look.plain(&row.subject).into_owned();
        let text = look.plain(&row.text).into_owned();
        let state = Cell::painted(row.state.name().into(), paint);
        table.row([state, row.check.into(), subject.into(), text.into()]);
    }
    if rows.count() > 0 {
        page.extend(table.lines(look));
    }
    if global.quiet && !report.is_broken() {
        return page;
    }
    page.push('\n');
    page.push_str(&conclusion(report, look));
    page
}

/// How many checks are not ok, and the line that would help most.
fn conclusion(report: &Report, look: Look) -> String {
    let number = |state| report.rows.iter().filter(|row| row.state == state).count() as u64;
    let (broken, slow) = (number(State::Broken), number(State::Slow));
    let all = count(report.rows.len() as u64, "check");
    let mut text = match (broken, slow) {
        (0, 0) => format!("{all}, all ok\n"),
        _ => format!("{all}: {broken} broken, {slow} slow\n"),
    };
    if let Some(advice) = &report.advice {
        let command = look.paint(Paint::Bold, &look.plain(&advice.command));
        let reason = look.plain(&advice.reason);
        text.push_str(&format!("try:  {command}\n      {reason}\n"));
    }
    if let Some(next) = &report.next {
        text.push_str(&format!(
            "no setting of Go helps against that\nnext: {}\n",
            look.plain(next)
        ));
    }
    text
}
