//! The exchange that `show` prints.

use anyhow::anyhow;

use super::super::failure::Advise as _;
use crate::cli::{Global, ShowArgs};
use crate::export::source::{Item, Source};
use crate::recording::{Recording, Row};
use crate::shell;
use crate::terminal::say;

/// An exchange of a recording.
pub(crate) struct Shown<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) item: Item<'a>,
}

impl<'a> Shown<'a> {
    /// Finds it by its number, in the last run that has one.
    pub(crate) fn find(
        recording: &'a Recording,
        args: &ShowArgs,
        global: &Global,
    ) -> anyhow::Result<Self> {
        let rows = recording.rows().iter().filter(|row| row.id == args.id);
        let rows: Vec<&Row> = rows.collect();
        let Some(row) = rows.last() else {
            let (id, name) = (args.id, recording.name());
            let missing = anyhow!("there is no exchange {id} in {name}");
            let path = recording.dir().to_string_lossy();
            return Err(missing).help(format!("try `modtape ls {}`", shell::word(&path)));
        };
        if rows.len() > 1 {
            let runs = rows.len();
            say(
                global,
                format!("{runs} runs have an exchange {}: this is the last", args.id),
            );
        }
        let item = Source::of(recording).item(row)?;
        Ok(Self { recording, item })
    }
}
