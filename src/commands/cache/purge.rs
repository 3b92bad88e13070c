//! `modtape cache purge`: drops a module, or a part of it, from every place where answers are kept.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use crate::cli::{Global, PurgeArgs};
use crate::clock::Clock;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::objects::open;
use crate::commands::runtime::block_on;
use crate::commands::serve::default_store;
use crate::commands::session::Variables;
use crate::objects::{self, Objects};
use crate::redact::url_without_secrets;
use crate::serve::{Disk, Purge, Redis, Removed};
use crate::terminal::words::{count, size};
use crate::terminal::{json, plain, say, to_stdout};
use crate::tls::{RootSources, Roots};
use crate::upstream::ParentProxies;

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
    let variables = Variables::read();
    let stores = Stores::of(args, &variables)?;
    // Servers read a folder again that they have purged: what they share goes first.
    for (place, objects) in stores.shared {
        let removed = block_on(crate::serve::purge_objects(&objects, &purge))?;
        let place = place.to_string();
        let removed = removed.with_context(|| format!("cannot purge {place}"))?;
        purged.places.push(Place { place, removed });
    }
    for (folder, disk) in stores.folders {
        let place = folder.display().to_string();
        let removed = disk.purge(&purge).and_then(|mut removed| {
            // Private modules are kept apart (`commands/serve/private.rs`).
            if let Some(private) = Disk::existing(&folder.join("private"))? {
                removed.extend(private.purge(&purge)?);
            }
            // Last, so that a server that hears of it finds it removed.
            disk.tell(&purge)?;
            Ok(removed)
        });
        let removed = removed.with_context(|| format!("cannot purge {place}"))?;
        purged.places.push(Place { place, removed });
    }
    if let Some(url) = &args.redis {
        let redis = redis_of(url, &roots(args, &variables)?)?;
        let removed = block_on(redis.purge(&purge))?;
        let place = redis.name().to_owned();
        let removed = removed.map_err(|why| anyhow!("cannot purge {place}: {why}"))?;
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

/// Where answers are kept.
struct Stores {
    folders: Vec<(PathBuf, Disk)>,
    shared: Vec<(objects::Place, Objects)>,
}

impl Stores {
    /// Those that are named; or else the default folder, which need not be there where a Redis is named.
    fn of(args: &PurgeArgs, variables: &Variables) -> Result<Self, Failure> {
        let is_needed = !args.store.is_empty() || args.redis.is_none();
        let named = match &args.store[..] {
            [] if is_needed => vec![default_store(variables)?],
            [] => default_store(variables).into_iter().collect(),
            stores => stores.to_vec(),
        };
        let mut stores = Self {
            folders: Vec::new(),
            shared: Vec::new(),
        };
        for store in named {
            if let Some(url) = store.to_str().filter(|text| objects::Place::is_url(text)) {
                stores.shared.push(shared(url, args, variables)?);
                continue;
            }
            let shown = store.display();
            let disk = Disk::existing(&store).with_context(|| format!("cannot open {shown}"))?;
            match disk {
                Some(disk) => stores.folders.push((store, disk)),
                None if is_needed => {
                    let missing: anyhow::Result<Self> = Err(anyhow!("{shown} holds no answers"));
                    return Ok(missing.help("--store DIR names the folder of `modtape serve`")?);
                }
                None => {}
            }
        }
        Ok(stores)
    }
}

fn shared(
    url: &str,
    args: &PurgeArgs,
    variables: &Variables,
) -> Result<(objects::Place, Objects), Failure> {
    let usage = |error| Failure::new(USAGE, error);
    let place = url.parse::<objects::Place>();
    let place = place.with_context(|| format!("--store {}", url_without_secrets(url)));
    let place = place.map_err(usage)?;
    let parents = ParentProxies::from_variables(
        &variables.https_proxy,
        &variables.http_proxy,
        &variables.no_proxy,
    );
    let objects = open(&place, Clock::start(), &roots(args, variables)?, parents);
    Ok((place, objects.map_err(usage)?))
}

fn roots(args: &PurgeArgs, variables: &Variables) -> anyhow::Result<Roots> {
    let roots = Roots::load(&RootSources {
        file: variables.ssl_cert_file.clone(),
        dirs: variables.ssl_cert_dir.clone(),
        extra: args.upstream_ca.clone(),
    });
    Ok(roots?)
}

fn redis_of(url: &str, roots: &Roots) -> Result<Redis, Failure> {
    let redis = Redis::new(Clock::start(), url, roots);
    redis.map_err(|why| Failure::new(USAGE, anyhow!("--redis {why}")))
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
