//! Keeps the modules that came from their repositories: what was recorded of those is git's, and holds
//! no file of a module.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::child::{Asked, Found, direct_modules};
use crate::cli::Global;
use crate::diagnose::routes::Routes;
use crate::files::open_regular;
use crate::gomod::{Kind, ZIP_LIMIT};
use crate::recording::format::{DirectModule, KeptFile};
use crate::recording::reader::RowState;
use crate::recording::{Durability, Recording, writer};
use crate::terminal::{plain, warn};

/// The modules in the module cache `cache` that the command of `recording` got from repositories since
/// then, their files kept in the recording.
pub(super) async fn keep_direct(
    recording: &Recording,
    routes: &Routes,
    cache: PathBuf,
    since: SystemTime,
    durability: Durability,
    global: &Global,
) -> Vec<DirectModule> {
    let asked = asked(recording, routes);
    if asked.repositories.is_empty() {
        return Vec::new();
    }
    let dir = recording.dir().to_owned();
    // Files may be large, and other tasks run on this thread.
    let keeping = tokio::task::spawn_blocking(move || {
        let found = direct_modules(&cache, since, &asked).into_iter();
        let mut failures = Vec::new();
        let modules = found.map(|found| keep(&dir, found, durability, &mut failures));
        (modules.collect(), failures)
    });
    let kept = keeping.await.unwrap_or_else(|error| {
        let failure = format!("cannot keep the modules that came from repositories: {error}");
        (Vec::new(), vec![failure])
    });
    let (modules, failures): (Vec<_>, Vec<String>) = kept;
    for failure in failures {
        warn(global, plain(&failure));
    }
    modules
}

fn keep(
    dir: &Path,
    found: Found,
    durability: Durability,
    failures: &mut Vec<String>,
) -> DirectModule {
    let Found {
        module,
        version,
        repository,
        files,
    } = found;
    let mut keep = |kind: Kind| -> Option<KeptFile> {
        let path = files.get(&kind)?;
        let kept =
            open_regular(path).and_then(|file| writer::keep_file(dir, file, ZIP_LIMIT, durability));
        kept.inspect_err(|error| {
            failures.push(format!("cannot keep {kind} {module} {version}: {error}"));
        })
        .ok()
    };
    let (info, go_mod, zip) = (keep(Kind::Info), keep(Kind::Mod), keep(Kind::Zip));
    DirectModule {
        run: 0,
        module,
        version,
        repository,
        info,
        go_mod,
        zip,
    }
}

/// What the command asked for, and was answered.
fn asked(recording: &Recording, routes: &Routes) -> Asked {
    let mut asked = Asked::default();
    for row in recording.rows() {
        let route = routes.route(row);
        let (kind, Some(module)) = (route.kind, route.module) else {
            continue;
        };
        match (kind, route.version) {
            (Kind::Vcs, _) => {
                asked.roots.insert(module.clone());
                asked.repositories.insert(module);
            }
            (Kind::Discovery, _) => drop(asked.roots.insert(module)),
            (Kind::Info | Kind::Mod | Kind::Zip, Some(version))
                if row.state == RowState::Ended && row.status == Some(200) =>
            {
                asked.answered.insert((kind, module, version));
            }
            _ => {}
        }
    }
    asked
}
