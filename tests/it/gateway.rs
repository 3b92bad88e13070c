//! modtape as the go command's module proxy: recorded, replayed, and as without it.

mod clients;
mod container;
mod credentials;
mod database;
mod front;
mod ladder;
mod pool;
mod recorded;
mod redirects;
mod replayed;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modtape::exchange::MadeBy;
use modtape::recording::Recording;

use crate::support::*;

/// A guard, no judgement.
pub(crate) const GO_LIMIT: Duration = Duration::from_secs(120);

/// `record --mode gateway` with the flags that lead to `origin` instead of the internet.
pub(crate) fn record(sandbox: &Sandbox, origin: &Origin, command: &[&str]) -> Command {
    let flags = ["--mode", "gateway", "--cold"];
    crate::record::record(sandbox, origin, &flags, command)
}

/// Each exchange that an origin answered: URL and status, in order.
pub(crate) fn asked(recording: &Recording) -> Vec<(String, u16)> {
    let rows = recording.rows().iter();
    let origins = rows.map(|row| recording.exchange(row).expect("a record can be read"));
    let origins = origins.filter_map(|exchange| {
        let end = exchange.end().filter(|end| end.made_by == MadeBy::Origin);
        Some((exchange.begin.url.clone(), end?.status))
    });
    origins.collect()
}

/// What an origin served: URL and status, in order of arrival.
pub(crate) fn served(origin: &Origin) -> Vec<(String, u16)> {
    let requests = origin.requests();
    let one = |served: &Served| {
        let url = format!("https://{}{}", served.host, served.raw_path);
        (url, served.status.unwrap_or(0))
    };
    requests.iter().map(one).collect()
}

pub(crate) fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// A sandbox with `hello` without its go.sum, and a go command.
pub(crate) fn hello(release: &str) -> Option<(Sandbox, PathBuf)> {
    let sandbox = Sandbox::new();
    let go = sandbox.go(release)?;
    sandbox.project_without_sums("hello")?;
    Some((sandbox, go))
}
