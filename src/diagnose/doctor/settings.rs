//! The settings of the go command: what it would refuse, and what would match nothing.

use super::facts::{self, Facts, Folder, Origin, Setting};
use super::{Row, State};
use crate::gomod::{
    GoProxy, GoSumDb, PATTERN_SETTINGS, ProxyMistake, ProxyTarget, goproxy_mistakes,
    pattern_mistakes,
};

/// The rows on settings.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![go(facts)];
    rows.extend(facts.go.setting("GOPROXY").map(goproxy));
    rows.extend(facts.go.setting("GOSUMDB").map(gosumdb));
    rows.extend(facts.folders.iter().map(folder));
    for name in PATTERN_SETTINGS {
        rows.extend(facts.go.setting(name).and_then(patterns));
    }
    rows.push(way_in(facts));
    rows
}

fn go(facts: &Facts) -> Row {
    match (&facts.go.version, &facts.go.missing) {
        (_, Some(why)) => {
            let text = format!("{why}; the settings are those of the environment and of files");
            Row::new("go", "go", State::Broken, text)
        }
        (version, None) => {
            let version = version.as_deref().unwrap_or("of an unknown version");
            let row = Row::new("go", "go", State::Ok, version.to_owned());
            row.name("version", facts.go.version.as_deref())
        }
    }
}

fn way_in(facts: &Facts) -> Row {
    let facts::WayIn { mode, why } = &facts.way_in;
    let goproxy = facts.go.setting("GOPROXY").map_or("", |it| &it.value);
    let hosts = GoProxy::parse(goproxy).loopback_hosts();
    let text = match *mode == "mitm" && !hosts.is_empty() {
        false => format!("mode {mode}: {why}"),
        true => format!(
            "mode {mode}: {why}; but go asks {} past every proxy: --mode gateway sees it",
            hosts.join(", ")
        ),
    };
    Row::new("mode", "modtape record", State::Ok, text).name("mode", Some(mode))
}

/// Where a value comes from, in words.
pub(crate) fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Environment(name) => format!("environment, {name}"),
        Origin::UserFile(path) => format!("go env -w, {path}"),
        Origin::Installation(path) => format!("Go's installation, {path}"),
        Origin::Other(name) => format!("from {name}"),
        Origin::Default => String::from("default"),
    }
}

/// How many mistakes in a list are named.
const NAMED: usize = 3;

fn goproxy(setting: &Setting) -> Row {
    let value = &setting.value;
    let list = GoProxy::parse(value);
    let mistakes = goproxy_mistakes(value);
    let row = |state, text: String| {
        let text = format!("{text} ({})", origin(&setting.origin));
        let row = Row::new("setting", "GOPROXY", state, text);
        let row = row.name("value", Some(value));
        match mistakes.len() {
            0 => row,
            all => row.number("mistakes", all as i64),
        }
    };
    let named = |mistakes: &[&ProxyMistake]| {
        let named = mistakes.iter().take(NAMED);
        let named = named.map(|mistake| format!("{:?} {}", mistake.entry, mistake.what));
        let named: Vec<String> = named.collect();
        match mistakes.len().saturating_sub(NAMED) {
            0 => named.join("; "),
            more => format!("{}; and {more} more", named.join("; ")),
        }
    };
    let (harmless, refused): (Vec<_>, Vec<_>) =
        mistakes.iter().partition(|mistake| mistake.is_harmless);
    if list.entries.is_empty() {
        let text = format!("{value:?} has no entries, which go refuses");
        return row(State::Broken, text);
    }
    if !refused.is_empty() {
        return row(State::Broken, named(&refused));
    }
    if let [only] = &list.entries[..]
        && only.target == ProxyTarget::Off
    {
        let text =
            String::from("off: go downloads nothing, and fails where its cache lacks a module");
        return row(State::Broken, text);
    }
    match harmless.is_empty() {
        true => row(State::Ok, list.to_string()),
        false => row(State::Ok, format!("{list}; {}", named(&harmless))),
    }
}

fn folder(folder: &Folder) -> Row {
    let (state, text) = match &folder.error {
        Some(error) => (State::Broken, format!("cannot be read: {error}")),
        None => (State::Ok, String::from("a folder, read without a request")),
    };
    Row::new("folder", folder.url.as_str(), state, text)
}

fn gosumdb(setting: &Setting) -> Row {
    let value = &setting.value;
    let row = |state, text: String| {
        let text = format!("{text} ({})", origin(&setting.origin));
        let row = Row::new("setting", "GOSUMDB", state, text);
        row.name("value", Some(value))
    };
    match value.parse::<GoSumDb>() {
        Err(error) => row(State::Broken, error.to_string()),
        Ok(GoSumDb::Off) => row(
            State::Ok,
            String::from("off: no checksum is compared with a database"),
        ),
        Ok(GoSumDb::On {
            name, key: None, ..
        }) => row(
            State::Broken,
            format!("{name}: go knows no key for it: write NAME+HASH+KEY"),
        ),
        Ok(GoSumDb::On { name, url, .. }) => row(
            State::Ok,
            url.map_or_else(|| name.clone(), |url| format!("{name} at {url}")),
        ),
    }
}

/// A list of patterns, if it is set by itself.
fn patterns(setting: &Setting) -> Option<Row> {
    if setting.value.is_empty() || matches!(setting.origin, Origin::Other(_)) {
        return None;
    }
    let mistakes = pattern_mistakes(&setting.value);
    let origin = origin(&setting.origin);
    let (state, text) = match mistakes.first() {
        None => (State::Ok, format!("{} ({origin})", setting.value)),
        Some(first) => {
            let more = match mistakes.len() {
                1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            let (pattern, what) = (&first.pattern, first.what);
            let text = format!("{pattern:?} {what}: it matches nothing{more} ({origin})");
            (State::Broken, text)
        }
    };
    let row = Row::new("setting", setting.name, state, text);
    Some(
        row.name("value", Some(&setting.value))
            .number("mistakes", mistakes.len() as i64),
    )
}
