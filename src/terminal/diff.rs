//! What differs between two recordings, for people.
//!
//! Pure: plain data in, text out. Everything that came from a peer or a file goes through
//! [`Look::plain`].

use std::collections::{BTreeMap, BTreeSet};

use super::look::{Look, Paint};
use super::table::{Align, Table};
use crate::diagnose::diff::{
    Change, Content, Diff, File, Heads, HostTimes, Named, Pair, PhaseTimes, Setting, Side, Timing,
};
use crate::exchange::Phase;
use crate::gomod::Kind;
use crate::words::{count, duration, size};

/// How many changes, modules, hosts or settings are listed of one sort.
const LISTED: usize = 20;

/// How many files or lines are listed of one change.
const INSIDE: usize = 10;

/// How many parts of the time are listed.
const PARTS: usize = 10;

/// The differences for a terminal, with the last line feed.
pub(crate) fn text(diff: &Diff, look: Look) -> String {
    let mut page = Page {
        lines: Vec::new(),
        look,
    };
    page.sides(&diff.sides);
    page.settings(&diff.settings);
    if let Some(content) = &diff.content {
        page.content(content);
    }
    if let Some(timing) = &diff.timing {
        page.timing(timing);
    }
    page.lines.join("\n") + "\n"
}

struct Page {
    lines: Vec<String>,
    look: Look,
}

impl Page {
    fn sides(&mut self, sides: &Pair<Side>) {
        let mut table = Table::new([("", Align::Left); 5]);
        for (letter, side) in [("A", &sides.a), ("B", &sides.b)] {
            let requests = count(side.requests, "request");
            let took = duration(side.wall_us);
            let unfinished = if side.closed { "" } else { ", unfinished" };
            table.row([
                letter.into(),
                self.plain(&side.recording).into(),
                self.plain(&side.started).into(),
                format!(
                    "{requests} in {took} ({}){unfinished}",
                    size(side.body_bytes)
                )
                .into(),
                self.plain(&side.command.join(" ")).into(),
            ]);
        }
        self.table(&table, 1);
    }

    fn settings(&mut self, settings: &[Setting]) {
        if settings.is_empty() {
            return;
        }
        self.heading("settings that differ");
        let mut table = Table::new([("", Align::Left); 2]);
        for setting in settings.iter().take(LISTED) {
            let values = setting
                .values
                .map(|value| value.clone().unwrap_or_else(|| "-".into()));
            let values = values.map(|value| if value.is_empty() { "\"\"" } else { value });
            table.row([
                self.plain(&setting.name).into(),
                self.became(&values).into(),
            ]);
        }
        self.table(&table, 1);
        self.more(settings.len(), "setting");
    }

    fn content(&mut self, content: &Content) {
        let changed = content.changes.iter().filter(|change| is_of_both(change));
        let (changed, compared) = (changed.count() as u64, content.compared);
        let only = content.changes.len() as u64 - changed;
        let verdict = match (content.differs, changed, only) {
            (false, ..) => {
                format!("the content is the same: {}", count(compared, "answer"))
            }
            (true, 0, 0) => "the checksum database shows two histories".into(),
            (true, changed, 0) => format!("the content differs: {}", count(changed, "answer")),
            (true, 0, only) => format!("the content differs: {only} only in one recording"),
            (true, changed, only) => format!(
                "the content differs: {}, and {only} only in one recording",
                count(changed, "answer")
            ),
        };
        self.heading(&verdict);
        self.changes(&content.changes);
        self.only_one(&content.changes);
        self.section(
            "refused otherwise",
            "refusal",
            &content.statuses,
            Self::refusal,
        );
        self.section(
            "the same in other bytes",
            "answer",
            &content.rewritten,
            Self::change,
        );
        if !content.hosts.is_empty() {
            self.heading("the same content from another host");
            for moved in content.hosts.iter().take(LISTED) {
                let answers = count(moved.answers, "answer");
                let hosts = self.became(&moved.hosts.map(String::as_str));
                let what = self.plain(&moved.what);
                self.line(format!("{hosts}: {answers}, the first {what}"));
            }
            self.more(content.hosts.len(), "pair");
        }
        self.section("tree heads", "database", &content.heads, Self::heads);
        self.section("protocols", "host", &content.protocols, Self::named);
        self.section(
            "issuers of certificates",
            "host",
            &content.issuers,
            Self::named,
        );
    }

    /// Those that both were asked for.
    fn changes(&mut self, changes: &[Change]) {
        let both: Vec<&Change> = changes.iter().filter(|change| is_of_both(change)).collect();
        both.iter()
            .take(LISTED)
            .for_each(|change| self.change(change));
        self.more(both.len(), "answer");
    }

    fn change(&mut self, change: &Change) {
        self.refusal(change);
        let inside = &change.inside;
        for file in inside.files.iter().take(INSIDE) {
            let file = self.file(file);
            self.line(format!("    {file}"));
        }
        let more = inside.files_total.saturating_sub(INSIDE as u64);
        if more > 0 {
            self.line(format!("    and {}", count(more, "more file")));
        }
        for line in inside.lines.iter().take(INSIDE) {
            let line = self.plain(line);
            self.line(format!("    {line}"));
        }
        let more = inside.lines_total.saturating_sub(INSIDE as u64);
        if more > 0 {
            self.line(format!("    and {}", count(more, "more line")));
        }
        if let Some(note) = &inside.note {
            let note = self.plain(note);
            self.line(format!("    {note}"));
        }
    }

    /// `zip golang.org/x/net v0.34.0  #12 200 → #14 404`
    fn refusal(&mut self, change: &Change) {
        let answers = change.answers.map(|answer| {
            let Some(answer) = answer else {
                return String::from("-");
            };
            let status = answer.status.map(|status| format!(" {status}"));
            let how = match answer.outcome {
                "ok" | "probe" | "fallthrough" | "error" => "",
                "modtape" => " by modtape",
                "aborted" => " aborted",
                _ => " in flight",
            };
            format!(
                "#{}{}{how} {}",
                answer.id,
                status.unwrap_or_default(),
                answer.host
            )
        });
        let answers = self.became(&answers.map(String::as_str));
        let what = self.plain(&change.what);
        self.line(format!("{what}  {answers}"));
    }

    /// `+ evil.go (120 B)`
    fn file(&self, file: &File) -> String {
        let path = self.plain(&file.path);
        match file.bytes {
            Pair { a: None, b } => format!("+ {path} ({})", size(b.unwrap_or_default())),
            Pair {
                a: Some(a),
                b: None,
            } => format!("- {path} ({})", size(a)),
            Pair {
                a: Some(a),
                b: Some(b),
            } if a == b => format!("~ {path} ({})", size(a)),
            Pair {
                a: Some(a),
                b: Some(b),
            } => {
                let arrow = self.arrow();
                format!("~ {path} ({} {arrow} {})", size(a), size(b))
            }
        }
    }

    /// Those that only one was asked for, a line a module.
    fn only_one(&mut self, changes: &[Change]) {
        let mut modules: BTreeMap<&str, Versions<'_>> = BTreeMap::new();
        for change in changes.iter().filter(|change| !is_of_both(change)) {
            let module = change.module.as_deref().unwrap_or(&change.what);
            let versions = modules.entry(module).or_default();
            versions.kinds.insert(change.kind);
            let side = match change.answers.a {
                Some(_) => &mut versions.versions.a,
                None => &mut versions.versions.b,
            };
            side.insert(change.version.as_deref().unwrap_or_default());
        }
        for (module, versions) in modules.iter().take(LISTED) {
            let module = self.plain(module);
            let kinds: Vec<&str> = versions.kinds.iter().map(|kind| kind.name()).collect();
            let kinds = kinds.join(", ");
            let named = versions.versions.map(|versions| self.versions(versions));
            let line = match (
                versions.versions.a.is_empty(),
                versions.versions.b.is_empty(),
            ) {
                (false, false) => {
                    let became = self.became(&named.map(String::as_str));
                    format!("{module}  {became} ({kinds})")
                }
                (false, true) => format!("only in A: {module} {} ({kinds})", named.a),
                _ => format!("only in B: {module} {} ({kinds})", named.b),
            };
            self.line(line.replace("  (", " ("));
        }
        self.more(modules.len(), "module");
    }

    fn versions(&self, versions: &BTreeSet<&str>) -> String {
        const NAMED: usize = 3;
        // A list is of no version.
        let versions = versions.iter().filter(|version| !version.is_empty());
        let versions: Vec<&str> = versions.copied().collect();
        let named = &versions[..versions.len().min(NAMED)];
        let more = versions.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("{}{more}", self.plain(&named.join(", ")))
    }

    fn heads(&mut self, heads: &Heads) {
        let sizes = heads.sizes.map(|sizes| match sizes.as_slice() {
            [] => String::from("-"),
            [only] => only.to_string(),
            [first, .., last] => format!("{} from {last} to {first}", sizes.len()),
        });
        let sizes = self.became(&sizes.map(String::as_str));
        let database = self.plain(&heads.database);
        let fork = if heads.is_fork {
            ": two trees of one size differ"
        } else {
            ""
        };
        self.line(format!("{database}  {sizes}{fork}"));
    }

    fn named(&mut self, named: &Named) {
        let names = named.names.map(|names| names.join(", "));
        let names = self.became(&names.map(String::as_str));
        let host = self.plain(&named.host);
        self.line(format!("{host}  {names}"));
    }

    fn timing(&mut self, timing: &Timing) {
        let Pair { a, b } = timing.wall_us;
        let change = signed(a, b);
        let words = format!(
            "the time: {} {} {} ({change})",
            duration(a),
            self.arrow(),
            duration(b)
        );
        self.heading(&words);
        let mut parts: Vec<Part> = timing
            .hosts
            .iter()
            .flat_map(|host| self.parts(host))
            .collect();
        parts.push(Part::of("no request in flight", timing.idle_us));
        parts.push(Part::of("modtape's own time", timing.own_us));
        parts.retain(|part| part.us != Pair::default());
        parts.sort_by_key(|part| std::cmp::Reverse(part.us.a.abs_diff(part.us.b)));
        let rest = parts.split_off(parts.len().min(PARTS));
        if !rest.is_empty() {
            let sum = |of: fn(&Part) -> u64| rest.iter().map(of).fold(0, u64::saturating_add);
            let us = Pair {
                a: sum(|part| part.us.a),
                b: sum(|part| part.us.b),
            };
            parts.push(Part::of("all else", us));
        }
        let mut table = Table::new([
            ("WHERE", Align::Left),
            ("A", Align::Right),
            ("B", Align::Right),
            ("CHANGE", Align::Right),
            ("", Align::Left),
        ]);
        for part in parts {
            let Pair { a, b } = part.us;
            table.row([
                part.place.into(),
                duration(a).into(),
                duration(b).into(),
                signed(a, b).into(),
                part.evidence.into(),
            ]);
        }
        self.table(&table, 0);
        for (letter, causes) in [("A", &timing.findings.a), ("B", &timing.findings.b)] {
            for cause in causes.iter().take(LISTED) {
                let title = self.plain(&cause.title);
                self.line(format!("only in {letter}: {title}  [{}]", cause.code));
            }
        }
    }

    fn parts(&self, host: &HostTimes) -> Vec<Part> {
        let name = self.plain(&host.host);
        let part = |times: &PhaseTimes| Part {
            place: format!("{name}: {}", doing(times.phase)),
            us: times.share_us,
            evidence: self.evidence(host, times),
        };
        host.phases.iter().map(part).collect()
    }

    /// `40 → 41 requests, median 20 ms → 790 ms`
    fn evidence(&self, host: &HostTimes, times: &PhaseTimes) -> String {
        let arrow = self.arrow();
        let Pair { a, b } = times.exchanges;
        let many = if a == b {
            a.to_string()
        } else {
            format!("{a} {arrow} {b}")
        };
        let noun = match times.phase {
            Phase::Dns | Phase::Connect | Phase::Tls => "connection",
            _ => "request",
        };
        let plural = if (a, b) == (1, 1) { "" } else { "s" };
        let median = |us: Option<u64>| us.map_or_else(|| "-".into(), duration);
        let (of_a, of_b) = (median(times.median_us.a), median(times.median_us.b));
        let mut evidence = format!("{many} {noun}{plural}, median {of_a} {arrow} {of_b}");
        if times.phase == Phase::Receive {
            let Pair { a, b } = host.body_bytes.map(|bytes| size(*bytes));
            evidence.push_str(&format!(", {a} {arrow} {b}"));
        }
        evidence
    }

    fn section<T>(
        &mut self,
        heading: &str,
        noun: &str,
        things: &[T],
        mut show: impl FnMut(&mut Self, &T),
    ) {
        if things.is_empty() {
            return;
        }
        self.heading(heading);
        things
            .iter()
            .take(LISTED)
            .for_each(|thing| show(self, thing));
        self.more(things.len(), noun);
    }

    fn heading(&mut self, words: &str) {
        self.lines.push(String::new());
        let words = self.look.paint(Paint::Bold, words);
        self.lines.push(words);
    }

    fn line(&mut self, line: String) {
        self.lines.push(format!("  {line}"));
    }

    fn more(&mut self, all: usize, noun: &str) {
        let more = all.saturating_sub(LISTED) as u64;
        if more > 0 {
            let noun = count(more, &format!("more {noun}"));
            self.line(format!("and {noun} (--json names all)"));
        }
    }

    fn table<const N: usize>(&mut self, table: &Table<N>, skip: usize) {
        let indented = Look {
            width: self.look.width.map(|width| width.saturating_sub(2)),
            ..self.look
        };
        let lines: Vec<String> = table.lines(indented).skip(skip).collect();
        lines
            .iter()
            .for_each(|line| self.line(line.trim_end().to_owned()));
    }

    fn became(&self, of: &Pair<&str>) -> String {
        let (a, b) = (self.plain(of.a), self.plain(of.b));
        match a == b {
            true => a,
            false => format!("{a} {} {b}", self.arrow()),
        }
    }

    fn arrow(&self) -> &'static str {
        self.look.glyph("→", "->")
    }

    fn plain(&self, text: &str) -> String {
        self.look.plain(text).into_owned()
    }
}

/// What only one recording was asked for of a module.
#[derive(Default)]
struct Versions<'a> {
    kinds: BTreeSet<Kind>,
    versions: Pair<BTreeSet<&'a str>>,
}

/// A part of the wall time of both runs.
struct Part {
    place: String,
    us: Pair<u64>,
    evidence: String,
}

impl Part {
    fn of(place: &str, us: Pair<u64>) -> Self {
        Self {
            place: place.to_owned(),
            us,
            evidence: String::new(),
        }
    }
}

/// Whether both recordings were asked for it.
const fn is_of_both(change: &Change) -> bool {
    change.answers.a.is_some() && change.answers.b.is_some()
}

/// `+30.1 s`, `-1.20 s`, `0 ms`
fn signed(a: u64, b: u64) -> String {
    let sign = match a.cmp(&b) {
        std::cmp::Ordering::Less => "+",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => "-",
    };
    format!("{sign}{}", duration(a.abs_diff(b)))
}

const fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Blocked => "blocked",
        Phase::Dns => "looking up the name",
        Phase::Connect => "connecting",
        Phase::Tls => "TLS handshake",
        Phase::Send => "sending",
        Phase::Wait => "waiting for first bytes",
        Phase::Receive => "receiving",
    }
}
