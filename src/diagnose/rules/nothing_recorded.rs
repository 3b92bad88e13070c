//! MT901: nothing was recorded.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::empty::{Facts, why_empty};
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::rerun::{COLD, Rerun};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    // A recorder that still runs may see something yet.
    if !case.asked.is_empty() || !case.is_closed {
        return Vec::new();
    }
    let manifest = case.manifest;
    let reasons = why_empty(
        &manifest.go_env,
        &Facts {
            rerun: &Rerun {
                options: manifest.options.clone(),
                place: Vec::new(),
                command: manifest.command.clone(),
            },
            mode: manifest.mode,
            cache: "",
            was_cold: manifest.options.iter().any(|option| option == COLD),
            // It was looked for when that was recorded.
            has_vendor: false,
            connections: case.connections,
        },
    );
    let connections = case.connections.keys();
    let connections = connections.map(|(run, id)| Evidence {
        what: Exhibit::Connection { run: *run, id: *id },
        shows: String::from("a connection without a request"),
    });
    let setting = Evidence {
        what: Exhibit::Setting {
            name: "GOPROXY".into(),
        },
        shows: case.setting("GOPROXY").to_owned(),
    };
    let (reason, advice) = match reasons.split_first() {
        Some((first, _)) => match first.split_once(": `") {
            Some((reason, advice)) => (reason.to_owned(), Some(format!("`{advice}"))),
            None => (first.clone(), None),
        },
        None => return Vec::new(),
    };
    vec![Found {
        severity: Severity::Note,
        title: format!("nothing was recorded: {reason}"),
        confidence: Confidence::Likely,
        evidence: connections.chain([setting]).collect(),
        hint: advice,
        explains: Explained::default(),
    }]
}
