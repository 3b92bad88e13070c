//! A recording explained, for people: on a terminal, and as Markdown for a CI summary.
//!
//! Pure: plain data in, text out. Everything that came from a peer or a file goes through
//! [`Look::plain`], or is escaped for Markdown.

use super::look::{Look, Paint};
use super::split::{self, split_lines};
use super::table::{Align, Cell, Table};
use crate::diagnose::chain::Link;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Finding, Severity};
use crate::diagnose::hosts::{Host, Role};
use crate::diagnose::ladder::Rung;
use crate::diagnose::report::Report;
use crate::shell;
use crate::words::{count, duration, percent, size};

/// How many findings the end of `record` shows.
const BRIEF: usize = 3;

/// How many pieces of evidence a finding shows to people.
const EVIDENCE: usize = 5;

/// How many findings and hosts a Markdown report has: GitHub takes 1 MiB.
const MARKDOWN_ROWS: usize = 100;

/// How many links of the chain, hosts and modules are shown.
const ROWS: usize = 12;

/// The findings for the end of `record`: a line each, with what to try below. Empty if nothing is wrong.
pub(crate) fn brief(report: &Report, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    let causes: Vec<&Finding> = report.causes().collect();
    for finding in causes.iter().take(BRIEF) {
        lines.push(head(finding, report.wall_us, look));
        if let Some(hint) = &finding.hint {
            lines.push(format!("  try: {}", look.plain(hint)));
        }
    }
    if !causes.is_empty() {
        let more = causes.len().saturating_sub(BRIEF);
        let more = match more {
            0 => String::new(),
            more => format!(" and {}", count(more as u64, "more finding")),
        };
        lines.push(format!("  see: modtape report (the evidence{more})"));
    }
    lines
}

/// `! goproxy.corp cannot be reached: … 30.0 s, 62%  [MT106]`
fn head(finding: &Finding, wall_us: u64, look: Look) -> String {
    let (mark, paint) = match finding.severity {
        Severity::Problem => ("!", Paint::Red),
        Severity::Slow => ("!", Paint::Yellow),
        Severity::Note => ("-", Paint::Dim),
    };
    let cost = match finding.cost_us {
        0 => String::new(),
        us => format!("  {}, {}%", duration(us), percent(us, wall_us)),
    };
    let likely = match finding.confidence {
        Confidence::Certain => "",
        Confidence::Likely => "likely: ",
    };
    let code = look.paint(Paint::Dim, &format!("[{}]", finding.code));
    format!(
        "{} {likely}{}{cost}  {code}",
        look.paint(paint, mark),
        look.plain(&finding.title)
    )
}

/// The whole report for a terminal, with its last line feed.
pub(crate) fn text(report: &Report, look: Look) -> String {
    let mut lines = vec![look.paint(Paint::Bold, &headline(report, look))];
    // Where something is wrong, the first finding is the sentence.
    if report.causes().next().is_none() {
        lines.push(look.plain(&report.sentence).into_owned());
    }
    lines.push(String::new());
    let facts = split::Facts {
        split: &report.split,
        tally: &report.tally,
        durability: None,
    };
    lines.extend(split_lines(&facts, look));
    for finding in &report.findings {
        lines.push(String::new());
        lines.extend(whole(finding, report.wall_us, look));
    }
    section(&mut lines, "Critical chain", chain(report, look), look);
    section(&mut lines, "Hosts", hosts(report, look), look);
    section(&mut lines, "GOPROXY", modules(report, look), look);
    lines.join("\n") + "\n"
}

fn headline(report: &Report, look: Look) -> String {
    let command = match report.command.is_empty() {
        true => String::new(),
        false => {
            let words = report.command.iter().map(|word| shell::word(word));
            format!(": {}", words.collect::<Vec<_>>().join(" "))
        }
    };
    let ended = match (report.exit_code, report.closed) {
        (Some(code), _) => format!(", exit code {code}"),
        (None, true) => String::new(),
        (None, false) => ", unfinished".into(),
    };
    let line = format!(
        "{}{command}: {} in {} ({}){ended}",
        report.recording,
        count(report.requests, "request"),
        duration(report.wall_us),
        size(report.body_bytes),
    );
    look.plain(&line).into_owned()
}

fn section(lines: &mut Vec<String>, title: &str, body: Vec<String>, look: Look) {
    if body.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(look.paint(Paint::Bold, title));
    lines.extend(body);
}

fn whole(finding: &Finding, wall_us: u64, look: Look) -> Vec<String> {
    let mut lines = vec![head(finding, wall_us, look)];
    let shown = finding.evidence.iter().take(EVIDENCE);
    lines.extend(shown.map(|evidence| {
        let Evidence { what, shows } = evidence;
        let what = look.paint(Paint::Dim, &exhibit(what));
        format!("    {what}  {}", look.plain(shows))
    }));
    let more = finding.evidence_total.saturating_sub(EVIDENCE);
    if more > 0 {
        lines.push(format!("    and {more} more"));
    }
    if let Some(hint) = &finding.hint {
        lines.push(format!("  try: {}", look.plain(hint)));
    }
    lines
}

/// `#78`, `connection 3`, `at 4.210 s`, `GOPROXY`
fn exhibit(what: &Exhibit) -> String {
    match what {
        Exhibit::Exchange { id, .. } => format!("#{id}"),
        Exhibit::Connection { id, .. } => format!("connection {id}"),
        Exhibit::Sample { t_us, .. } => crate::words::since_start(t_us.as_micros()),
        Exhibit::Setting { name } => name.clone(),
    }
}

fn table_lines<const N: usize>(table: &Table<N>, look: Look) -> Vec<String> {
    let lines = table.lines(look);
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The links that took longest, in their order, and how much of the time the chain covers.
fn chain(report: &Report, look: Look) -> Vec<String> {
    let links = &report.critical_chain;
    if links.is_empty() {
        return Vec::new();
    }
    let all: u64 = links.iter().map(|link| link.took_us).sum();
    let mut longest: Vec<usize> = (0..links.len()).collect();
    longest.sort_by_key(|link| std::cmp::Reverse(links[*link].took_us));
    longest.truncate(ROWS);
    longest.sort_unstable();
    let mut table = Table::new([
        ("ID", Align::Right),
        ("TIME", Align::Right),
        ("AFTER", Align::Right),
        ("HOST", Align::Left),
        ("WHAT", Align::Left),
    ]);
    for link in longest.iter().map(|link| &links[*link]) {
        table.row(link_cells(link, look));
    }
    let mut lines = table_lines(&table, look);
    let shown = match links.len() > ROWS {
        true => format!(", the longest {ROWS} shown"),
        false => String::new(),
    };
    lines.push(format!(
        "{} one after another, {} of {}{shown}",
        count(links.len() as u64, "request"),
        duration(all),
        duration(report.wall_us),
    ));
    lines
}

fn link_cells(link: &Link, look: Look) -> [Cell; 5] {
    [
        link.exchange
            .map_or_else(|| "-".into(), |id| format!("#{id}"))
            .into(),
        duration(link.took_us).into(),
        format!("+{}", duration(link.gap_us)).into(),
        look.plain(&link.host).into_owned().into(),
        look.plain(&link.what).into_owned().into(),
    ]
}

fn hosts(report: &Report, look: Look) -> Vec<String> {
    let mut table = Table::new([
        ("HOST", Align::Left),
        ("ROLE", Align::Left),
        ("REQUESTS", Align::Right),
        ("ERRORS", Align::Right),
        ("WAIT P50", Align::Right),
        ("P95", Align::Right),
        ("BYTES", Align::Right),
        ("DIALS", Align::Right),
        ("FAILED", Align::Right),
        ("PROTOCOL", Align::Left),
        ("ADDRESS", Align::Left),
    ]);
    if report.hosts.is_empty() {
        return Vec::new();
    }
    let mut hosts: Vec<(&String, &Host)> = report.hosts.iter().collect();
    hosts.sort_by_key(|(_, host)| std::cmp::Reverse(host.requests + host.dials));
    for (name, host) in hosts.iter().take(ROWS) {
        let time = |us: Option<u64>| us.map_or_else(|| "-".into(), duration).into();
        table.row([
            look.plain(name).into_owned().into(),
            role(host.role).into(),
            host.requests.to_string().into(),
            host.errors.to_string().into(),
            time(host.wait_p50_us),
            time(host.wait_p95_us),
            size(host.body_bytes).into(),
            host.dials.to_string().into(),
            host.failed_dials.to_string().into(),
            look.plain(&host.protocols.join(" ")).into_owned().into(),
            look.plain(host.addresses.first().map_or("-", String::as_str))
                .into_owned()
                .into(),
        ]);
    }
    let mut lines = table_lines(&table, look);
    let more = hosts.len().saturating_sub(ROWS);
    if more > 0 {
        lines.push(format!("and {}", count(more as u64, "more host")));
    }
    lines
}

fn role(role: Option<Role>) -> String {
    match role {
        Some(Role::Proxy { entry }) => format!("GOPROXY {}", entry + 1),
        Some(Role::ChecksumDatabase) => "checksums".into(),
        Some(Role::Redirected) => "redirected".into(),
        Some(Role::Direct) => "direct".into(),
        Some(Role::Other) | None => "-".into(),
    }
}

/// Who answered for how many modules, and the modules that fell through.
fn modules(report: &Report, look: Look) -> Vec<String> {
    let answered = report.answered.iter();
    let mut lines: Vec<String> = answered
        .map(|(host, modules)| {
            format!(
                "{} answered for {}",
                look.plain(host),
                count(*modules, "module")
            )
        })
        .collect();
    let rungs = report.ladder.iter().take(ROWS);
    lines.extend(rungs.map(|rung| rung_line(rung, look)));
    let more = report.ladder.len().saturating_sub(ROWS);
    if more > 0 {
        lines.push(format!("and {}", count(more as u64, "more module")));
    }
    lines
}

/// `corp.example/lib: goproxy.corp 404, proxy.golang.org 410, then git.corp.example (1.23 s lost)`
fn rung_line(rung: &Rung, look: Look) -> String {
    let refused = rung.refused_by.iter().map(|one| {
        let status = one
            .status
            .map_or_else(|| "unreachable".into(), |status| status.to_string());
        format!("{} {status}", one.host)
    });
    let refused: Vec<String> = refused.collect();
    let then = match &rung.answered_by {
        Some(host) => format!("then {host}"),
        None => "then nobody".into(),
    };
    let lost = duration(rung.lost_us);
    let line = format!(
        "{}: {}, {then} ({lost} lost)",
        rung.module,
        refused.join(", ")
    );
    look.plain(&line).into_owned()
}

/// The report as Markdown for a CI summary, with its last line feed.
pub(crate) fn markdown(report: &Report) -> String {
    let look = Look {
        colour: false,
        ascii: false,
        width: None,
        is_terminal: false,
    };
    let mut text = format!(
        "### modtape: {}\n\n{}\n",
        escaped(&headline(report, look)),
        escaped(&report.sentence)
    );
    let mut findings = report.findings.iter().peekable();
    if findings.peek().is_some() {
        text.push_str("\n| | finding | cost | evidence |\n|---|---|---:|---|\n");
    }
    for finding in findings.by_ref().take(MARKDOWN_ROWS) {
        let shown = finding.evidence.iter().take(EVIDENCE);
        let evidence: Vec<String> = shown.map(|one| exhibit(&one.what)).collect();
        let hint = match &finding.hint {
            Some(hint) => format!("<br>try: {}", escaped(hint)),
            None => String::new(),
        };
        let cost = match finding.cost_us {
            0 => String::new(),
            us => duration(us),
        };
        let (code, severity) = (finding.code, finding.severity.name());
        text.push_str(&format!(
            "| {code} {severity} | {}{hint} | {cost} | {} |\n",
            escaped(&finding.title),
            escaped(&evidence.join(" ")),
        ));
    }
    text.push_str(
        "\n| host | requests | errors | wait p50 | p95 | bytes |\n|---|---:|---:|---:|---:|---:|\n",
    );
    let left = findings.count();
    if left > 0 {
        text.push_str(&format!("\nand {}\n", count(left as u64, "more finding")));
    }
    for (name, host) in report.hosts.iter().take(MARKDOWN_ROWS) {
        let time = |us: Option<u64>| us.map_or_else(|| "-".into(), duration);
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            escaped(name),
            host.requests,
            host.errors,
            time(host.wait_p50_us),
            time(host.wait_p95_us),
            size(host.body_bytes),
        ));
    }
    text
}

/// Text of a recording in a Markdown table: on one line, and nothing in it acts.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // GitHub makes a link of every URL.
    for char in shell::plain(text).replace("://", "\u{2060}://").chars() {
        match char {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '@' => {
                escaped.push('\\');
                escaped.push(char);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// The problems and delays as annotations of GitHub Actions (workflow commands).
pub(crate) fn annotations(report: &Report) -> Vec<String> {
    let causes = report.causes();
    causes
        .map(|finding| {
            let data = |text: &str| {
                text.replace('%', "%25")
                    .replace('\r', "%0D")
                    .replace('\n', "%0A")
            };
            let title = data(finding.code);
            format!(
                "::warning title=modtape {title}::{}",
                data(&shell::plain(&finding.title))
            )
        })
        .collect()
}
