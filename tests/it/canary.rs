//! No secret that passes reaches a file, a log or a terminal, in whatever form; and without redaction
//! each does, which shows that this would notice.

mod names;
mod places;
mod recorder;
mod search;
mod shapes;

use std::collections::BTreeSet;

use super::support::*;
use modtape::recording::Recording;
use places::{Cell, Place, cells, is_dropped, is_never_recorded, not_promised, seed};
use recorder::{Evidence, HOST, PARENTS, TWICE, record};
use search::Needles;
use shapes::{SHAPES, pieces};

/// All that is looked for, and which cells are.
fn needles(cells: &[Cell]) -> Needles {
    let mut needles = Needles::default();
    for (number, cell) in cells.iter().enumerate() {
        let seed = seed(cell.place, cell.shape);
        for piece in pieces(SHAPES[cell.shape].1, seed) {
            needles.add(number, &piece);
        }
    }
    for text in [
        PARENTS,
        "pArentPa",
        TWICE,
        "sIgnedCredential1",
        "sIgnedSignature1",
    ] {
        needles.add(cells.len(), text);
    }
    needles
}

/// Cells that were found, each with a place where it was.
fn found(evidence: &Evidence, cells: &[Cell]) -> Vec<(usize, String)> {
    let needles = needles(cells);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (sink, bytes) in &evidence.sinks {
        for hit in needles.find(bytes) {
            if seen.insert((hit.cell, sink)) {
                let from = hit.offset.saturating_sub(60);
                let near = &bytes[from.min(bytes.len())..(hit.offset + 40).min(bytes.len())];
                let near = String::from_utf8_lossy(near).into_owned();
                found.push((hit.cell, format!("{} in {sink}: …{near:?}…", hit.form)));
            }
        }
    }
    found
}

fn named(cells: &[Cell], number: usize) -> String {
    match cells.get(number) {
        Some(cell) => format!("{:?} × {}", cell.place, SHAPES[cell.shape].0),
        None => String::from("a secret of its own"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_reaches_a_file_a_log_or_a_terminal() {
    let cells = cells();
    let is_terminal = std::path::Path::new("/usr/bin/script").exists();
    let mut evidence = record(&[], is_terminal).await;
    let replayed = recorder::replay(&evidence).await;
    evidence.sinks.extend(replayed);
    let mut leaks = Vec::new();
    for (number, whence) in found(&evidence, &cells) {
        let excused = cells
            .get(number)
            .and_then(|cell| not_promised(cell.place, cell.shape));
        if excused.is_none() {
            leaks.push(format!("{}: {whence}", named(&cells, number)));
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
    the_traffic_is_unchanged(&evidence);
    equal_secrets_are_equal(&evidence);
}

/// The origin got what the client sent, and the client what the origin sent.
fn the_traffic_is_unchanged(evidence: &Evidence) {
    let holds = |bytes: &[u8], text: &str| {
        let text = text.as_bytes();
        bytes.windows(text.len()).any(|window| window == text)
    };
    let mut missing = Vec::new();
    for shape in 0..SHAPES.len() {
        let request = places::request_fields(shape).into_iter();
        let passed = request.filter(|(name, _)| *name != "proxy-authorization");
        let mut sent: Vec<String> = passed
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        sent.push(format!(
            "GET {} HTTP/1.1\r\n",
            places::request_target(shape)
        ));
        missing.extend(
            sent.into_iter()
                .filter(|text| !holds(&evidence.received, text)),
        );
        let (name, value) = places::trailer(shape);
        let mut sent = vec![format!("{name}: {value}\r\n")];
        if !is_dropped(Place::Reason, shape) {
            sent.push(format!(" {}\r\n", places::reason(shape)));
        }
        let fields = places::answer_fields(shape).into_iter();
        sent.extend(fields.map(|(name, value)| format!("{name}: {value}\r\n")));
        missing.extend(
            sent.into_iter()
                .filter(|text| !holds(&evidence.answers, text)),
        );
    }
    assert!(missing.is_empty(), "changed on the way: {missing:#?}");
    let stripped = places::secret(Place::ProxyAuthorization, 0);
    assert!(
        !holds(&evidence.received, &stripped),
        "it is for the proxy only"
    );
}

/// One mark for one secret, wherever it stands.
fn equal_secrets_are_equal(evidence: &Evidence) {
    let recording =
        Recording::open_whole(&evidence.sandbox.join("recordings/one")).expect("it opens");
    let marks: Vec<String> = exchanges(&recording)
        .iter()
        .filter(|exchange| exchange.begin.url == format!("https://{HOST}/twice"))
        .flat_map(|exchange| exchange.begin.headers.clone())
        .map(|(_, value)| value.to_text().into_owned())
        .filter_map(|value| Some(value.split_once("redacted:")?.1.to_owned()))
        .collect();
    assert_eq!(marks.len(), 2);
    assert_eq!(marks[0], marks[1]);
}

/// Nothing of it is ever recorded, redacted or not.
fn is_out(cell: &Cell) -> bool {
    is_never_recorded(cell.place) || is_dropped(cell.place, cell.shape)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redaction_the_search_finds_what_is_recorded() {
    let cells = cells();
    let evidence = record(&["--no-redact"], false).await;
    let found: BTreeSet<usize> = found(&evidence, &cells)
        .into_iter()
        .map(|(cell, _)| cell)
        .collect();
    let missed: Vec<String> = (0..cells.len())
        .filter(|number| !found.contains(number) && !is_out(&cells[*number]))
        .map(|number| named(&cells, number))
        .collect();
    assert!(missed.is_empty(), "not found: {missed:#?}");
    let leaked = (0..cells.len()).filter(|number| found.contains(number));
    let leaked: Vec<_> = leaked.filter(|number| is_out(&cells[*number])).collect();
    let leaked: Vec<_> = leaked
        .into_iter()
        .map(|number| named(&cells, number))
        .collect();
    assert!(leaked.is_empty(), "recorded: {leaked:#?}");
    let sink = |name: &str| {
        let found = evidence
            .sinks
            .iter()
            .find(|(sink, _)| sink.ends_with(name) && !sink.starts_with("the name"));
        String::from_utf8_lossy(&found.expect("it is there").1).into_owned()
    };
    for (name, marker) in [
        ("one/recording.json", "\"redacted\": false"),
        ("one/session.har", "\"redacted\":false"),
        ("recordings info one", "in clear text"),
        (
            "stderr",
            "--no-redact: the recording will hold secrets in clear text",
        ),
        ("stderr", "not redacted"),
    ] {
        let squeezed = sink(name).replace("\": ", "\":");
        assert!(
            squeezed.contains(&marker.replace("\": ", "\":")),
            "{name} has no {marker}"
        );
    }
}
