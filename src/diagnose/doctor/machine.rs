//! This machine: its roots and credentials, its clock, and the module cache.

use super::facts::{Cache, Facts};
use super::{Row, State};
use crate::diagnose::{damage, rights};
use crate::recording::caches::{CheckedModules, Damage};
use crate::words::{count, duration};

/// Clocks further apart than this are wrong, seconds: certificates are issued a few minutes before
/// they are used.
const SKEW_S: i64 = 300;

/// With less than this no module of any size can be unpacked, bytes.
pub(super) const FULL: u64 = 100 << 20;

/// With less than this a large download may fail, bytes: a toolchain takes 300 MB unpacked.
const SCARCE: u64 = 1 << 30;

/// Roots and credentials.
pub(super) fn trust(facts: &Facts) -> Vec<Row> {
    let roots = &facts.roots;
    let extra = match roots.extra {
        0 => String::new(),
        extra => format!(", and {extra} of --upstream-ca"),
    };
    let count = format!("go trusts {}{extra}", count(roots.count as u64, "root"));
    let (state, text) = match (&roots.file_error, roots.count + roots.extra) {
        (Some(error), 0) => (
            State::Broken,
            format!(
                "SSL_CERT_FILE gives none ({error}), nor do folders: every https connection fails"
            ),
        ),
        // `loadSystemRoots` keeps an error only as long as no folder gives a root.
        (Some(error), _) => (
            State::Ok,
            format!(
                "{count}; SSL_CERT_FILE gives none ({error}), which go passes over: it reads folders all the same"
            ),
        ),
        (None, 0) => (
            State::Broken,
            String::from("go trusts no root, so that every https connection fails"),
        ),
        (None, _) => (State::Ok, count),
    };
    let row = Row::new("roots", "certificates", state, text);
    let row = row.number("roots", roots.count as i64);
    std::iter::once(row).chain(netrc(facts)).collect()
}

fn netrc(facts: &Facts) -> Option<Row> {
    let file = &facts.netrc;
    let path = file.path.as_deref()?;
    let row = |state, text| Some(Row::new("netrc", path, state, text));
    if let Some(goauth) = &file.goauth {
        let text = format!("not read: GOAUTH={goauth}, which doctor does not run");
        return row(State::Ok, text);
    }
    if !file.exists {
        return None;
    }
    if let Some(error) = &file.error {
        return row(State::Broken, format!("cannot be read: {error}"));
    }
    if let Some(mistake) = file.mistakes.first() {
        let (machine, expected) = (&mistake.machine, &mistake.expected);
        let text = format!("`machine {machine}` is not used: go looks for `machine {expected}`");
        return row(State::Broken, text);
    }
    if let Some(machine) = file.incomplete.first() {
        let text = format!("`machine {machine}` has no login or no password: go passes it over");
        return row(State::Broken, text);
    }
    if let Some(machine) = file.unread.first() {
        let text = format!(
            "`machine {machine}` is never reached: go stops reading at the word `default` that ends a line before it"
        );
        return row(State::Broken, text);
    }
    let mut text = count(file.machines as u64, "machine");
    if file.has_default {
        text.push_str(", and `default`, which go does not use");
    }
    if file.is_open {
        text.push_str(", and others can read it");
    }
    row(State::Ok, text)
}

/// The clock, compared with the servers' own.
pub(super) fn clock(facts: &Facts) -> Option<Row> {
    let places = facts.hosts.iter().flat_map(|host| {
        let places = host.places.iter();
        places.filter_map(|place| Some((&host.name, place.request.as_ref()?.skew_s?)))
    });
    // The server that is closest: one whose own clock is wrong says nothing about ours.
    let places: Vec<(&String, i64)> = places.collect();
    let (host, skew) = *places.iter().min_by_key(|(_, skew)| skew.abs())?;
    let is_alone = places.iter().all(|(other, _)| *other == host);
    let (state, text) = match skew.abs() {
        0..=SKEW_S => (State::Ok, format!("{skew} s from {host}'s")),
        // A stored answer looks the same, and not every cache says that it is one.
        _ if is_alone && skew < 0 => {
            let apart = duration(skew.unsigned_abs().saturating_mul(1_000_000));
            let text = format!(
                "not known: {host} answers with a time {apart} ago, which may be that of a stored answer"
            );
            (State::Ok, text)
        }
        _ => {
            let by = match skew > 0 {
                true => "behind",
                false => "ahead of",
            };
            let apart = duration(skew.unsigned_abs().saturating_mul(1_000_000));
            let text = format!("{apart} {by} {host}'s: certificates are judged by it");
            (State::Broken, text)
        }
    };
    let row = Row::new("clock", "this machine", state, text);
    Some(row.number("skew_s", skew))
}

/// The module cache.
pub(super) fn cache(facts: &Facts) -> Vec<Row> {
    let cache = &facts.cache;
    let Some(path) = cache.path.as_deref() else {
        return Vec::new();
    };
    let mut rows = vec![writable(cache, path)];
    rows.extend(forbidden(cache));
    rows.extend(space(cache));
    rows.extend(file_system(cache));
    rows.extend(locks(cache, path));
    rows.extend(modules(cache, path));
    rows
}

fn writable(cache: &Cache, path: &str) -> Row {
    let (state, text) = match (&cache.write_error, cache.exists) {
        (Some(error), true) => (State::Broken, format!("cannot be written: {error}")),
        (Some(error), false) => {
            let above = &cache.looked_at;
            (State::Broken, format!("cannot be made in {above}: {error}"))
        }
        (None, true) => (State::Ok, String::from("can be written")),
        (None, false) => (State::Ok, String::from("not there yet, and can be made")),
    };
    Row::new("module-cache", path, state, text)
}

/// What lies in it and cannot be written, where it can be written itself.
fn forbidden(cache: &Cache) -> Option<Row> {
    let forbidden = cache.forbidden.as_ref()?;
    if cache.write_error.is_some() {
        return None;
    }
    let text = match (forbidden.is_own, forbidden.owner) {
        (true, _) => String::from("cannot be written: its mode does not allow it"),
        (false, 0) => String::from("cannot be written: it belongs to root, as `sudo go` leaves it"),
        (false, _) => format!(
            "cannot be written: it belongs to {}",
            rights::owner(forbidden)
        ),
    };
    let row = Row::new("module-cache", forbidden.path.as_str(), State::Broken, text);
    Some(row.number("owner", forbidden.owner))
}

fn space(cache: &Cache) -> Option<Row> {
    let free = cache.free_bytes?;
    let mega = free / 1_000_000;
    let (state, text) = match free {
        0..FULL => (
            State::Broken,
            format!("{mega} MB free: too little for a large module"),
        ),
        FULL..SCARCE => (
            State::Slow,
            format!("{mega} MB free: too little for a toolchain"),
        ),
        _ => (State::Ok, format!("{} GB free", free / 1_000_000_000)),
    };
    let row = Row::new("space", cache.looked_at.as_str(), state, text);
    Some(row.number("free_bytes", free))
}

fn file_system(cache: &Cache) -> Option<Row> {
    let kind = cache.file_system.as_deref()?;
    let (state, text) = match cache.is_remote {
        true => {
            let text = format!("{kind}, over a network: locks and many small files are slow there");
            (State::Slow, text)
        }
        false => (State::Ok, kind.to_owned()),
    };
    let row = Row::new("file-system", cache.looked_at.as_str(), state, text);
    Some(row.name("type", Some(kind)))
}

fn locks(cache: &Cache, path: &str) -> Option<Row> {
    let locks = cache.locks.as_deref()?;
    let row = match locks.first() {
        None => Row::new(
            "locks",
            path,
            State::Ok,
            String::from("nobody holds a lock"),
        ),
        Some(lock) => {
            let more = match locks.len() {
                1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            let (file, pid, command) = (&lock.file, lock.pid, &lock.command);
            let text = format!("{file} is held by pid {pid} ({command}){more}: others wait for it");
            let row = Row::new("locks", path, State::Slow, text);
            row.number("pid", pid).name("command", Some(command))
        }
    };
    Some(row.number("held", locks.len() as i64))
}

/// The modules of go.sum in it.
fn modules(cache: &Cache, path: &str) -> Option<Row> {
    let CheckedModules {
        named,
        looked_at,
        missing,
        damaged,
    } = cache.modules.as_ref()?;
    let there = looked_at - missing;
    let (state, text) = match damaged.first() {
        Some(first) => {
            let more = match damaged.len() {
                1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            // With another content, go.sum may be what is wrong.
            let cure = match first.damage {
                Damage::Content { .. } => String::new(),
                _ => format!("; {}", damage::advice(path, first)),
            };
            let text = format!("{}{more}{cure}", damage::sentence(first));
            (State::Broken, text)
        }
        None => {
            let left = match named - looked_at {
                0 => String::new(),
                left => format!("; {left} more were not looked at"),
            };
            let there = count(there, "module");
            (State::Ok, format!("{there} of go.sum looked at{left}"))
        }
    };
    let row = Row::new("cached-modules", path, state, text);
    let row = row.number("modules", there);
    Some(row.number("damaged", damaged.len() as i64))
}
