//! Why a module was asked for, for people.
//!
//! Pure: plain data in, text out. Everything that came from a peer or a file goes through
//! [`Look::plain`].

use super::look::{Look, Paint};
use super::table::{Align, Cell, Table};
use crate::diagnose::why::{Request, Step, Version, Why};
use crate::words::{count, duration, percent, since_start, size};

/// How many requests are listed.
const REQUESTS: usize = 20;

/// How many modules that require a version are named.
const NAMED: usize = 3;

/// The explanation for a terminal, with its last line feed.
pub(crate) fn text(why: &Why, look: Look) -> String {
    let mut lines = Vec::new();
    if why.chain.is_empty() {
        let name = name(&why.module, why.version.as_deref().unwrap_or_default());
        lines.push(look.paint(Paint::Bold, &look.plain(&name)));
    }
    for (depth, step) in why.chain.iter().enumerate() {
        lines.push(step_line(step, depth, why, look));
    }
    for note in &why.notes {
        lines.push(format!("- {}", look.plain(note)));
    }
    if !why.versions.is_empty() {
        lines.push(String::new());
        lines.extend(versions(&why.versions, look));
    }
    if !why.requests.is_empty() {
        lines.push(String::new());
        lines.extend(requests(&why.requests, look));
        lines.push(footer(why));
    }
    lines.join("\n") + "\n"
}

fn name(module: &str, version: &str) -> String {
    format!("{module} {version}").trim_end().to_owned()
}

fn step_line(step: &Step, depth: usize, why: &Why, look: Look) -> String {
    let Step {
        module,
        version,
        link,
    } = step;
    let name = name(module, version);
    let name = look.plain(&name);
    let is_last = depth + 1 == why.chain.len();
    let name = match is_last {
        true => look.paint(Paint::Bold, &name),
        false => name.into_owned(),
    };
    let indent = "  ".repeat(depth);
    match *link {
        None if version.is_empty() && why.workspace => format!("{name} (in the workspace)"),
        None if version.is_empty() => format!("{name} (the main module)"),
        None => name,
        Some("requires-indirectly") => format!("{indent}requires {name} (indirect)"),
        Some("replaced-by") => format!("{indent}is replaced by {name}"),
        Some(_) => format!("{indent}requires {name}"),
    }
}

fn versions(versions: &[Version], look: Look) -> Vec<String> {
    let mut table = Table::new([
        ("VERSION", Align::Left),
        ("", Align::Left),
        ("REQUESTS", Align::Right),
        ("REQUIRED BY", Align::Left),
    ]);
    for version in versions {
        let named = version.required_by.len().min(NAMED);
        let mut by = version.required_by[..named].join(", ");
        let more = version.required_by_total.saturating_sub(named);
        if more > 0 {
            by.push_str(&format!(" and {more} more"));
        }
        let chosen = match version.chosen {
            true => Cell::painted("chosen".into(), Some(Paint::Bold)),
            false => "".into(),
        };
        let by = match by.is_empty() {
            true => "-".into(),
            false => look.plain(&by).into_owned(),
        };
        table.row([
            look.plain(&version.version).into_owned().into(),
            chosen,
            version.requests.to_string().into(),
            by.into(),
        ]);
    }
    let lines = table.lines(look);
    lines.map(|line| line.trim_end().to_owned()).collect()
}

fn requests(requests: &[Request], look: Look) -> Vec<String> {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("START", Align::Right),
        ("TIME", Align::Right),
        ("SIZE", Align::Right),
        ("STATUS", Align::Left),
        ("KIND", Align::Left),
        ("VERSION", Align::Left),
        ("HOST", Align::Left),
    ]);
    for request in requests.iter().take(REQUESTS) {
        let status = request.status.map(|status| status.to_string());
        table.row([
            format!("#{}", request.id).into(),
            since_start(request.started_us).into(),
            duration(request.total_us).into(),
            size(request.body_bytes).into(),
            status.unwrap_or_else(|| request.outcome.into()).into(),
            request.kind.into(),
            look.plain(request.version.as_deref().unwrap_or("-"))
                .into_owned()
                .into(),
            look.plain(&request.host).into_owned().into(),
        ]);
    }
    let lines = table.lines(look);
    let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    let more = requests.len().saturating_sub(REQUESTS);
    if more > 0 {
        lines.push(format!("and {}", count(more as u64, "more request")));
    }
    lines
}

/// `4 requests, 230 ms, 1.2 MB: 90.0 ms of the 2.30 s, 4%`
fn footer(why: &Why) -> String {
    format!(
        "{}, {}, {}: {} of the {}, {}%",
        count(why.requests.len() as u64, "request"),
        duration(why.total_us),
        size(why.body_bytes),
        duration(why.share_us),
        duration(why.wall_us),
        percent(why.share_us, why.wall_us),
    )
}
