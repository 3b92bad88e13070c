//! MT307: the module cache cannot be written, or is full.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::rights;
use crate::recording::caches::{CacheFolder, Caches, Forbidden};
use crate::shell;
use crate::words::{count, size};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let Some(caches) = &case.manifest.caches else {
        return Vec::new();
    };
    let found = full(case, caches).or_else(|| unwritable(case, caches));
    found.into_iter().collect()
}

/// What was served takes more than there is room for.
fn full(case: &Case<'_>, caches: &Caches) -> Option<Found> {
    let folder = &caches.modules;
    let free = folder.free_bytes?;
    let first = caches.unkept.first()?;
    if caches.unkept_bytes <= free {
        return None;
    }
    let more = match caches.unkept.len() {
        1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    let free = size(free);
    Some(Found {
        severity: case.severity(),
        title: format!(
            "the file system of the module cache is full: {free} are free, and {} takes {}{more}",
            first.what,
            size(first.bytes)
        ),
        confidence: Confidence::Certain,
        evidence: evidence(case, caches, format!("{free} free")),
        hint: Some(format!(
            "make room there (`df -h {}`), or put GOMODCACHE on a larger file system; `go clean -modcache` empties it, and `go clean -cache` the build cache",
            shell::word(&folder.path)
        )),
        explains: Explained::default(),
    })
}

/// Files that were served could not be written.
fn unwritable(case: &Case<'_>, caches: &Caches) -> Option<Found> {
    let folder = &caches.modules;
    let path = &folder.path;
    let missing = caches.checked.missing;
    let error = folder.write_error.as_deref();
    let (what, confidence) = match (error, &folder.forbidden) {
        (Some(error), _) => {
            let cannot = match folder.exists {
                true => "written",
                false => "made",
            };
            let what = format!("the module cache cannot be {cannot} ({error})");
            (what, Confidence::Certain)
        }
        (None, Some(forbidden)) => {
            let Forbidden { path, .. } = forbidden;
            let whose = match (forbidden.is_own, forbidden.owner) {
                (true, _) => String::from("yours, and its mode forbids it"),
                (false, 0) => String::from("root's"),
                (false, owner) => format!("user {owner}'s"),
            };
            let what = format!("the module cache cannot be written everywhere: {path} is {whose}");
            (what, Confidence::Likely)
        }
        (None, None) => return None,
    };
    let (severity, confidence, why) = match caches.unkept.first() {
        Some(first) => {
            let all = count(caches.unkept.len() as u64, "file");
            let why = format!("{all} that came could not be kept, first {}", first.what);
            (case.severity(), confidence, why)
        }
        // Nobody was asked for anything: it may have failed before that, or for another reason.
        None if !folder.exists && missing > 0 && case.asked.is_empty() => {
            let why = format!("{} of go.sum cannot be kept", count(missing, "module"));
            (case.severity(), Confidence::Likely, why)
        }
        None if missing > 0 => {
            let why = format!("{} of go.sum are not in it", count(missing, "module"));
            (Severity::Note, confidence, why)
        }
        None => return None,
    };
    let shown = shell::word(path);
    let hint = match &folder.forbidden {
        Some(forbidden) => rights::advice(forbidden, path, folder.exists),
        None => format!(
            "`mount` and `df {shown}` tell why; make the file system writable, or set GOMODCACHE to another folder"
        ),
    };
    Some(Found {
        severity,
        title: format!("{what}: {why}"),
        confidence,
        evidence: evidence(case, caches, error.unwrap_or(&what).to_owned()),
        hint: Some(hint),
        explains: Explained::default(),
    })
}

/// The folder, and the answers whose content is not in it.
fn evidence(case: &Case<'_>, caches: &Caches, shows: String) -> Vec<Evidence> {
    let keys = caches.unkept.iter().map(|one| (one.run, one.exchange));
    let items = case.items_named(keys);
    let unkept = caches.unkept.iter().filter_map(|one| {
        let item = *items.get(&(one.run, one.exchange))?;
        let bytes = size(one.bytes);
        let shows = format!(
            "{}: not in the module cache, where it takes {bytes}",
            one.what
        );
        Some(case.exhibit(item, shows))
    });
    let folder = of_folder(&caches.modules, shows);
    std::iter::once(folder).chain(unkept).collect()
}

fn of_folder(folder: &CacheFolder, shows: String) -> Evidence {
    let path = folder.path.clone();
    Evidence {
        what: Exhibit::File { path },
        shows,
    }
}
