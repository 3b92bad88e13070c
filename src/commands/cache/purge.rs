//! `modtape cache purge`: drops a module, or a part of it, from every place where answers are kept.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use crate::cli::{Global, PurgeArgs};
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::serve::default_store;
use crate::commands::session::Variables;
use crate::serve::{Disk, Purge, Removed};
use crate::terminal::words::{count, size};
use crate::terminal::{json, plain, say, to_stdout};

/// What came of it.
#[derive(Debug, Serialize)]
struct Purged {
    /// `MODULE[@VERSION]`
    purge: String,
    places: Vec<Place>,
}

/// A place where answers are kept.
#[derive(Debug, Serialize)]
struct Place {
    /// A folder or a URL without secrets.
    place: String,
    removed: Vec<Removed>,
}

pub(super) fn run(args: &PurgeArgs, global: &Global) -> Result<ExitCode, Failure> {
    let purge: Purge = args.module.parse().map_err(|why| {
        let error = anyhow!("{}: {why}", args.module);
        Failure::new(USAGE, error)
    })?;
    let mut purged = Purged {
        purge: purge.to_string(),
        places: Vec::new(),
    };
    for (folder, disk) in stores(args)? {
        let place = folder.display().to_string();
        let removed = disk.purge(&purge).and_then(|removed| {
            // Last, so that a server that hears of it finds it removed.
            disk.tell(&purge)?;
            Ok(removed)
        });
        let removed = removed.with_context(|| format!("cannot purge {place}"))?;
        purged.places.push(Place { place, removed });
    }
    let text = match args.json {
        true => json::pretty(&purged)?,
        false => purged.lines(),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    say(global, plain(&purged.summary()));
    Ok(ExitCode::SUCCESS)
}

/// The folders that are named; or else the default one, if there is one.
fn stores(args: &PurgeArgs) -> anyhow::Result<Vec<(PathBuf, Disk)>> {
    let folders = match &args.store[..] {
        [] => vec![default_store(&Variables::read())?],
        folders => folders.to_vec(),
    };
    let mut stores = Vec::new();
    for folder in folders {
        let shown = folder.display();
        let disk = Disk::existing(&folder).with_context(|| format!("cannot open {shown}"))?;
        let disk = disk.with_context(|| format!("{shown} holds no answers"));
        let disk = disk.help("--store DIR names the folder of `modtape serve`")?;
        stores.push((folder, disk));
    }
    Ok(stores)
}

impl Purged {
    /// What was removed, a line each.
    fn lines(&self) -> String {
        let lines = self.places.iter().flat_map(|place| {
            let line = |it: &Removed| format!("{} ({}) {}\n", it.path, size(it.bytes), place.place);
            place.removed.iter().map(move |it| plain(&line(it)).into())
        });
        lines.collect::<Vec<String>>().concat()
    }

    fn summary(&self) -> String {
        let removed = self.places.iter().map(|it| it.removed.len() as u64).sum();
        let places = self.places.iter().map(|it| it.place.as_str());
        let places = places.collect::<Vec<_>>().join(", ");
        let answers = count(removed, "answer");
        format!(
            "{answers} of {} removed from {places}; servers hear of it within a second",
            self.purge
        )
    }
}
