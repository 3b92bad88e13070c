//! The settings of the go command: what it would refuse, and what would match nothing.

use super::facts::{Facts, Folder, Origin, Setting};
use super::{Row, State};
use crate::gomod::{GoProxy, GoSumDb, PATTERN_SETTINGS, ProxyTarget, pattern_mistakes};

/// The rows on settings.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![go(facts)];
    rows.extend(facts.go.setting("GOPROXY").map(goproxy));
    rows.extend(facts.go.setting("GOSUMDB").map(gosumdb));
    rows.extend(facts.folders.iter().map(folder));
    for name in PATTERN_SETTINGS {
        rows.extend(facts.go.setting(name).and_then(patterns));
    }
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

fn goproxy(setting: &Setting) -> Row {
    let value = &setting.value;
    let list = GoProxy::parse(value);
    let row = |state, text: String| {
        let text = format!("{text} ({})", origin(&setting.origin));
        let row = Row::new("setting", "GOPROXY", state, text);
        row.name("value", Some(value))
    };
    let wrong = list.urls().find_map(|url| Some((url, refused(url)?)));
    match (&list.entries[..], wrong) {
        ([], _) => row(
            State::Broken,
            format!("{value:?} has no entries, which go refuses"),
        ),
        (_, Some((url, why))) => row(State::Broken, format!("{url}: {why}")),
        ([only], _) if only.target == ProxyTarget::Off => row(
            State::Broken,
            String::from("off: go downloads nothing, and fails where its cache lacks a module"),
        ),
        _ => row(State::Ok, list.to_string()),
    }
}

fn folder(folder: &Folder) -> Row {
    let (state, text) = match &folder.error {
        Some(error) => (State::Broken, format!("cannot be read: {error}")),
        None => (State::Ok, String::from("a folder, read without a request")),
    };
    Row::new("folder", folder.url.as_str(), state, text)
}

/// Why cmd/go refuses an entry (`modfetch.newProxyRepo`), if it does.
fn refused(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once(":/") else {
        return Some("go expects a URL, `direct` or `off`");
    };
    match scheme {
        "http" | "https" if rest.trim_start_matches('/').is_empty() => Some("it has no host"),
        "http" | "https" | "file" => None,
        _ => Some("go supports https, http and file only"),
    }
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
