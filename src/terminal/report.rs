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
use crate::recording::format::RunMode;
use crate::shell;
use crate::words::{count, cut, duration, percent, size};

/// How many findings the end of `record` shows.
const BRIEF: usize = 3;

/// How many pieces of evidence a finding shows to people.
const EVIDENCE: usize = 5;

/// How many findings and hosts a Markdown report has: GitHub takes 1 MiB.
const MARKDOWN_ROWS: usize = 100;

/// How much of the command is shown, columns.
const COMMAND: usize = 120;

/// How many links of the chain, hosts and modules are shown.
const ROWS: usize = 12;

/// The findings for the end of `record`: a line each, with what to try below. Empty if nothing is wrong.
pub(crate) fn brief(report: &Report, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    let causes: Vec<&Finding> = report.causes().collect();
    for finding in causes.iter().take(BRIEF) {
        lines.push(head(finding, report.wall_us, look));
        if let Some(advice) = finding.advice(report.wall_us) {
            lines.push(format!("  try: {}", look.plain(&advice)));
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

/// `problem: goproxy.corp cannot be reached: … 30.0 s, 62%  [MT106]`
fn head(finding: &Finding, wall_us: u64, look: Look) -> String {
    let paint = match finding.severity {
        Severity::Problem => Paint::Red,
        Severity::Slow => Paint::Yellow,
        Severity::Note => Paint::Dim,
    };
    let cost = match finding.cost_us {
        0 => String::new(),
        us => format!("  {}, {}%", duration(us), percent(us, wall_us)),
    };
    let code = look.paint(Paint::Dim, &format!("[{}]", finding.code));
    format!(
        "{} {}{cost}  {code}",
        look.paint(paint, &mark(finding)),
        look.plain(&finding.title)
    )
}

/// How bad it is, and how sure that is: `problem:`, `slow, likely:`
fn mark(finding: &Finding) -> String {
    let likely = match finding.confidence {
        Confidence::Certain => "",
        Confidence::Likely => ", likely",
    };
    format!("{}{likely}:", finding.severity.name())
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
        idle: &report.idle,
        lost: report.lost,
    };
    lines.extend(split_lines(&facts, look));
    for finding in &report.findings {
        lines.push(String::new());
        lines.extend(whole(finding, report.wall_us, look));
    }
    section(
        &mut lines,
        "Critical chain: each waited for the one before",
        chain(report, look),
        look,
    );
    section(&mut lines, "Hosts", hosts(report, look), look);
    section(
        &mut lines,
        "GOPROXY: who answered",
        modules(report, look),
        look,
    );
    lines.join("\n") + "\n"
}

fn headline(report: &Report, look: Look) -> String {
    let command = match report.command.is_empty() {
        true => String::new(),
        false => {
            let words = report.command.iter().map(|word| shell::word(word));
            let line = words.collect::<Vec<_>>().join(" ");
            format!(": {}", cut(&line, COMMAND, look.glyph("…", "...")))
        }
    };
    let ended = match (report.exit_code, report.closed) {
        (Some(code), _) => format!(", exit code {code}"),
        (None, true) => String::new(),
        (None, false) => ", unfinished".into(),
    };
    // What people expect is not said.
    let mode = match report.mode.filter(|mode| *mode != RunMode::Mitm) {
        Some(mode) => format!(", mode {}", mode.name()),
        None => String::new(),
    };
    let damaged = match report.damaged_places {
        0 => String::new(),
        places => format!(", damaged in {}", count(places, "place")),
    };
    let line = format!(
        "{}{command}: {} in {} ({}){ended}{mode}{damaged}",
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
    let shown: Vec<&Evidence> = finding.evidence.iter().take(EVIDENCE).collect();
    // Pieces that show the same share a line.
    for same in shown.chunk_by(|one, next| one.shows == next.shows) {
        let what: Vec<String> = same.iter().map(|one| exhibit(&one.what)).collect();
        let what = look.paint(Paint::Dim, &look.plain(&what.join(", ")));
        // What the title says is not said again.
        let shows = same.first().map(|one| &*one.shows);
        let shows = shows.filter(|shows| !finding.title.contains(*shows));
        let line = format!("    {what}  {}", look.plain(shows.unwrap_or_default()));
        lines.push(line.trim_end().to_owned());
    }
    let more = finding.evidence_total.saturating_sub(shown.len());
    if more > 0 {
        lines.push(format!("    and {more} more"));
    }
    if let Some(advice) = finding.advice(wall_us) {
        lines.push(format!("  try: {}", look.plain(&advice)));
    }
    lines
}

/// `#78`, `connection 3`, `processes at +4.210`, `GOPROXY`
fn exhibit(what: &Exhibit) -> String {
    match what {
        Exhibit::Exchange { id, .. } => format!("#{id}"),
        Exhibit::Connection { id, .. } => format!("connection {id}"),
        Exhibit::Sample { t_us, .. } => {
            format!(
                "processes at {}",
                crate::words::since_start(t_us.as_micros())
            )
        }
        Exhibit::Setting { name } => name.clone(),
        Exhibit::File { path } => path.clone(),
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
    if report.hosts.is_empty() {
        return Vec::new();
    }
    let mut hosts: Vec<(&String, &Host)> = report.hosts.iter().collect();
    hosts.sort_by_key(|(_, host)| std::cmp::Reverse(host.requests + host.dials));
    let shown = &hosts[..hosts.len().min(ROWS)];
    let mut lines = match look.width {
        Some(..NARROW) => narrow_hosts(shown, look),
        _ => wide_hosts(shown, look),
    };
    let more = hosts.len() - shown.len();
    if more > 0 {
        lines.push(format!("and {}", count(more as u64, "more host")));
    }
    lines
}

/// Below so many columns the table of hosts has fewer, so that its lines do not break.
const NARROW: usize = 110;

fn or_dash(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), duration)
}

fn narrow_hosts(hosts: &[(&String, &Host)], look: Look) -> Vec<String> {
    let mut table = Table::new([
        ("REQUESTS", Align::Right),
        ("ERRORS", Align::Right),
        ("WAIT", Align::Right),
        ("HOST", Align::Left),
    ]);
    for (name, host) in hosts {
        table.row([
            host.requests.to_string().into(),
            (host.errors + host.failed_dials).to_string().into(),
            or_dash(host.wait_p50_us).into(),
            look.plain(name).into_owned().into(),
        ]);
    }
    table_lines(&table, look)
}

fn wide_hosts(hosts: &[(&String, &Host)], look: Look) -> Vec<String> {
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
    for (name, host) in hosts {
        table.row([
            look.plain(name).into_owned().into(),
            role(host.role).into(),
            host.requests.to_string().into(),
            host.errors.to_string().into(),
            or_dash(host.wait_p50_us).into(),
            or_dash(host.wait_p95_us).into(),
            size(host.body_bytes).into(),
            host.dials.to_string().into(),
            host.failed_dials.to_string().into(),
            look.plain(&host.protocols.join(" ")).into_owned().into(),
            look.plain(host.addresses.first().map_or("-", String::as_str))
                .into_owned()
                .into(),
        ]);
    }
    table_lines(&table, look)
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
    lines.extend(rungs.map(|rung| format!("- {}", rung_line(rung, look))));
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
    if !report.findings.is_empty() {
        text.push_str("\n| | finding | cost | evidence |\n|---|---|---:|---|\n");
    }
    for finding in report.findings.iter().take(MARKDOWN_ROWS) {
        let shown = finding.evidence.iter().take(EVIDENCE);
        let evidence: Vec<String> = shown.map(|one| exhibit(&one.what)).collect();
        let hint = match finding.advice(report.wall_us) {
            Some(advice) => format!("<br>try: {}", escaped(&advice)),
            None => String::new(),
        };
        let cost = match finding.cost_us {
            0 => String::new(),
            us => duration(us),
        };
        let mark = mark(finding);
        text.push_str(&format!(
            "| {} {} | {}{hint} | {cost} | {} |\n",
            finding.code,
            mark.trim_end_matches(':'),
            escaped(&finding.title),
            escaped(&evidence.join(" ")),
        ));
    }
    let more = report.findings.len().saturating_sub(MARKDOWN_ROWS);
    if more > 0 {
        text.push_str(&format!("\nand {}\n", count(more as u64, "more finding")));
    }
    if !report.hosts.is_empty() {
        text.push_str(
            "\n| host | requests | errors | wait p50 | p95 | bytes |\n|---|---:|---:|---:|---:|---:|\n",
        );
    }
    for (name, host) in report.hosts.iter().take(MARKDOWN_ROWS) {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            escaped(name),
            host.requests,
            host.errors,
            or_dash(host.wait_p50_us),
            or_dash(host.wait_p95_us),
            size(host.body_bytes),
        ));
    }
    let more = report.hosts.len().saturating_sub(MARKDOWN_ROWS);
    if more > 0 {
        text.push_str(&format!("\nand {}\n", count(more as u64, "more host")));
    }
    text
}

/// Text of a recording in a Markdown table: on one line, and nothing in it acts.
///
/// GitHub makes links of URLs, of `@name` and of `#12`, emoji of `:name:` and formulas of `$…$`, all of
/// them after the escapes have been read. A tag in the middle stops that, and a reader who copies a
/// command from the page gets what is to be run.
fn escaped(text: &str) -> String {
    let text = shell::plain(text);
    let mut escaped = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(char) = rest.chars().next() {
        let (here, behind) = rest.split_at(char.len_utf8());
        let is_url = rest.starts_with("://");
        let is_www = rest
            .get(..4)
            .is_some_and(|www| www.eq_ignore_ascii_case("www."));
        match char {
            _ if is_url => {
                escaped.push_str(":<span>//</span>");
                rest = &rest[3..];
                continue;
            }
            _ if is_www => {
                escaped.push_str(&format!("<span>{}</span>", &rest[..3]));
                rest = &rest[3..];
                continue;
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' | '#' | '$' => escaped.push_str(&format!("<span>{char}</span>")),
            ':' if is_emoji(behind) => escaped.push_str("<span>:</span>"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(char);
            }
            _ => escaped.push_str(here),
        }
        rest = behind;
    }
    escaped
}

/// Whether what stands behind a colon is the name of an emoji, and another colon.
fn is_emoji(behind: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    let name = behind.bytes().take_while(|byte| is_name(*byte)).count();
    name > 0 && behind.as_bytes().get(name) == Some(&b':')
}

/// The problems and delays as annotations of GitHub Actions (workflow commands).
pub(crate) fn annotations(report: &Report) -> Vec<String> {
    let causes = report.causes();
    causes
        .map(|finding| annotation(finding, report.wall_us))
        .collect()
}

fn annotation(finding: &Finding, wall_us: u64) -> String {
    let data = |text: &str| {
        let text = shell::plain(text);
        let text = text.replace('%', "%25").replace('\r', "%0D");
        text.replace('\n', "%0A")
    };
    let title = format!("modtape {} {}", finding.code, finding.severity.name());
    // In a property, `:` and `,` end the value.
    let title = data(&title).replace(':', "%3A").replace(',', "%2C");
    let hint = match finding.advice(wall_us) {
        Some(advice) => format!("%0Atry: {}", data(&advice)),
        None => String::new(),
    };
    format!("::warning title={title}::{}{hint}", data(&finding.title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn finding(title: &str) -> Finding {
        let exchange = |id, shows: &str| Evidence {
            what: Exhibit::Exchange { run: 0, id },
            shows: shows.into(),
        };
        Finding {
            code: "MT106",
            severity: Severity::Slow,
            title: title.into(),
            cost_us: 30_000_000,
            is_stall: false,
            confidence: Confidence::Likely,
            evidence: vec![
                exchange(1, "no answer"),
                exchange(4, "no answer"),
                exchange(7, "refused"),
                Evidence {
                    what: Exhibit::Sample {
                        run: 0,
                        t_us: Timestamp::from_micros(4_210_000),
                    },
                    shows: "go waits".into(),
                },
            ],
            evidence_total: 9,
            hint: Some("try again".into()),
            estimate_us: None,
            help: "MT106",
        }
    }

    fn look(colour: bool) -> Look {
        Look {
            colour,
            ascii: false,
            width: None,
            is_terminal: colour,
        }
    }

    #[test]
    fn a_finding_says_how_bad_it_is_in_words_and_evidence_of_one_kind_shares_a_line() {
        let lines = whole(&finding("a.example is dead"), 60_000_000, look(false));
        let expected = [
            "slow, likely: a.example is dead  30.0 s, 50%  [MT106]",
            "    #1, #4  no answer",
            "    #7  refused",
            "    processes at +4.210  go waits",
            "    and 5 more",
            "  try: try again",
        ];
        assert_eq!(lines, expected);
        let problem = Finding {
            severity: Severity::Problem,
            confidence: Confidence::Certain,
            cost_us: 0,
            ..finding("x")
        };
        assert_eq!(head(&problem, 1, look(false)), "problem: x  [MT106]");
        let painted = head(&problem, 1, look(true));
        assert!(
            painted.starts_with("\u{1b}[31mproblem:\u{1b}[0m x"),
            "{painted:?}"
        );
    }

    #[test]
    fn markdown_of_a_recording_is_text_and_nothing_else() {
        for (text, written) in [
            ("a|b", "a\\|b"),
            (
                "`rm` *x* _y_ ~z~ [l](u) ![i]",
                "\\`rm\\` \\*x\\* \\_y\\_ \\~z\\~ \\[l\\](u) \\!\\[i\\]",
            ),
            ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
            ("@ana fixes #12", "<span>@</span>ana fixes <span>#</span>12"),
            ("https://a.b/c", "https:<span>//</span>a.b/c"),
            ("WWW.a.b", "<span>WWW</span>.a.b"),
            ("$(id -u):$x", "<span>$</span>(id -u):<span>$</span>x"),
            (
                ":100: a.b:443: no",
                "<span>:</span>100: a.b<span>:</span>443: no",
            ),
            ("two\nlines\r", "two\\\\nlines\\\\r"),
            ("größe 模块", "größe 模块"),
        ] {
            assert_eq!(escaped(text), written, "{text}");
        }
    }

    #[test]
    fn an_annotation_is_one_command_whatever_the_title_holds() {
        let hostile = "100 %0A\r\n::stop-commands::x";
        let line = annotation(&finding(hostile), 0);
        let expected = "::warning title=modtape MT106 slow::100 %250A\\r\\n::stop-commands::x%0Atry: try again";
        assert_eq!(line, expected);
    }
}
