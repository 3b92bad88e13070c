//! The results as tables or as JSON, with the machine that they hold for.

use std::fs;
use std::process::Command;

use modtape::clock::Clock;
use modtape::tls::Protocol;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::figures::{Better, Figure};
use crate::load::{Kind, LOADS, Load, Run};
use crate::plan::{DIRECT, RECORDED, Results};

/// What the figures hold for.
#[derive(Debug, Serialize)]
struct Machine {
    date: String,
    cpu: String,
    cores: usize,
    kernel: String,
    /// Of the last minute, when the report was made: this bench makes about 2.
    load_average: String,
    modtape: String,
    rustc: String,
    rounds: u32,
    window_seconds: f64,
}

/// One load, one way.
#[derive(Debug, Serialize)]
struct Row {
    load: &'static str,
    way: String,
    #[serde(skip)]
    kind: Kind,
    #[serde(flatten)]
    measured: Measured,
    /// Throughput (bytes of the large body, else requests) by that of the direct way.
    by_direct: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
}

/// What all rounds of one load showed.
#[derive(Debug, Serialize)]
struct Measured {
    requests_per_s: Figure,
    bytes_per_s: Figure,
    cpu_us: Figure,
    cpu_s_per_gb: Figure,
    p50_us: Figure,
    p99_us: Figure,
    first_us: Figure,
    peak_rss_bytes: Figure,
    journal_bytes: Figure,
    idle_bytes: Figure,
}

/// Prints all that was measured.
pub(crate) fn print(results: &Results, json: bool) -> anyhow::Result<()> {
    let machine = Machine::read(results)?;
    let rows: Vec<_> = (0..LOADS.len())
        .flat_map(|load| Row::all_of(results, load))
        .collect();
    if json {
        println!("{}", serde_json::json!({"machine": machine, "loads": rows}));
        return Ok(());
    }
    println!(
        "{} · {} × {} · kernel {}",
        machine.date, machine.cores, machine.cpu, machine.kernel
    );
    println!(
        "{} · {} · load average {}",
        machine.modtape, machine.rustc, machine.load_average
    );
    println!(
        "best half of {} rounds of {} s; least to most of all rounds in brackets\n",
        machine.rounds, machine.window_seconds
    );
    for table in TABLES {
        table.print(&rows);
    }
    Ok(())
}

/// Rows of like loads under one head.
struct Table {
    holds: fn(Kind) -> bool,
    columns: &'static [Column],
}

/// A column: its head and what stands in it.
type Column = (&'static str, fn(&Row) -> String);

const RATE: Column = ("req/s", |row| {
    format!("{:.0}", row.measured.requests_per_s.best_half)
});
const BY_DIRECT: Column = ("× direct", |row| format!("{:.2}", row.by_direct));
const CPU: Column = ("CPU µs/req", |row| {
    let cpu = row.measured.cpu_us;
    match cpu.max > 0.0 {
        true => format!("{:.1} ({:.1}-{:.1})", cpu.best_half, cpu.min, cpu.max),
        false => String::from("-"),
    }
});
const LATENCY: Column = ("p50/p99 ms", |row| {
    let Measured { p50_us, p99_us, .. } = row.measured;
    format!("{:.3}/{:.3}", ms(p50_us), ms(p99_us))
});
const PEAK: Column = ("peak RSS MB", |row| {
    format!("{:.1}", row.measured.peak_rss_bytes.max / 1e6)
});

const TABLES: [Table; 4] = [
    Table {
        holds: |kind| matches!(kind, Kind::Throughput { .. } | Kind::Connect { .. }),
        columns: &[
            RATE,
            BY_DIRECT,
            CPU,
            LATENCY,
            ("journal B", |row| {
                format!("{:.0}", row.measured.journal_bytes.best_half)
            }),
        ],
    },
    Table {
        holds: |kind| matches!(kind, Kind::Sequential | Kind::OpenLoop { .. }),
        columns: &[RATE, LATENCY],
    },
    Table {
        holds: |kind| kind == Kind::Big,
        columns: &[
            ("MB/s", |row| {
                format!("{:.0}", row.measured.bytes_per_s.best_half / 1e6)
            }),
            BY_DIRECT,
            ("CPU s/GB", |row| {
                let Figure {
                    best_half,
                    min,
                    max,
                } = row.measured.cpu_s_per_gb;
                format!("{best_half:.2} ({min:.2}-{max:.2})")
            }),
            ("first byte ms", |row| {
                format!("{:.1}", ms(row.measured.first_us))
            }),
            PEAK,
        ],
    },
    Table {
        holds: |kind| kind == Kind::Idle,
        columns: &[
            ("KiB each", |row| {
                format!("{:.1}", row.measured.idle_bytes.best_half / 1024.0)
            }),
            PEAK,
        ],
    },
];

impl Table {
    fn print(&self, rows: &[Row]) {
        let rows: Vec<_> = rows.iter().filter(|row| (self.holds)(row.kind)).collect();
        if rows.is_empty() {
            return;
        }
        print!("{:<14} {:<12}", "", "");
        for (head, _) in self.columns {
            print!(" {head:>20}");
        }
        println!();
        let mut before = "";
        for row in rows {
            let load = if row.load == before { "" } else { row.load };
            before = row.load;
            print!("{load:<14} {:<12}", row.way);
            for (_, column) in self.columns {
                print!(" {:>20}", column(row));
            }
            match &row.budget {
                Some(budget) => println!("   {budget}"),
                None => println!(),
            }
        }
        println!();
    }
}

fn ms(figure: Figure) -> f64 {
    figure.best_half / 1000.0
}

/// What modtape promises of a load, and whether this run kept it.
#[derive(Debug, Serialize)]
struct Budget {
    is_kept: bool,
    says: String,
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.is_kept { "kept" } else { "MISSED" };
        write!(f, "{}: {verdict}", self.says)
    }
}

impl Budget {
    fn of(load: &Load, direct: &Measured, recorded: &Measured) -> Option<Self> {
        let added = |figure: fn(&Measured) -> Figure| ms(figure(recorded)) - ms(figure(direct));
        let (p50, p99) = (added(|m| m.p50_us), added(|m| m.p99_us));
        let is_h1 = load.protocol == Protocol::Http1;
        let latency = |most: (f64, f64)| Self {
            is_kept: p50 <= most.0 && p99 <= most.1,
            says: format!("added {p50:.3}/{p99:.3} ≤ {}/{} ms", most.0, most.1),
        };
        Some(match load.kind {
            Kind::Throughput { .. } | Kind::Connect { .. } => Self {
                is_kept: recorded.cpu_us.best_half <= load.budget_us,
                says: format!("≤ {:.0} µs", load.budget_us),
            },
            Kind::Sequential => latency((if is_h1 { 0.15 } else { 0.25 }, 0.5)),
            Kind::OpenLoop { .. } => latency((0.5, 2.0)),
            Kind::Big => {
                let ratio = recorded.bytes_per_s.best_half / direct.bytes_per_s.best_half;
                let later = ms(recorded.first_us) - ms(direct.first_us);
                let least = if is_h1 { 0.4 } else { 0.3 };
                Self {
                    is_kept: ratio >= least && later <= 3.0 && recorded.peak_rss_bytes.max <= 40e6,
                    says: format!("≥ {least}, first byte +{later:.1} ≤ 3 ms, ≤ 40 MB"),
                }
            }
            Kind::Idle => {
                let most = if is_h1 { 56.0 } else { 76.0 };
                Self {
                    is_kept: recorded.idle_bytes.best_half <= most * 1024.0,
                    says: format!("≤ {most} KiB"),
                }
            }
        })
    }
}

impl Row {
    /// Every way of a load that was run.
    fn all_of(results: &Results, load: usize) -> Vec<Self> {
        let measured = |way| Measured::of(results.runs.get(&(load, way))?);
        let Some(direct) = measured(DIRECT) else {
            return Vec::new();
        };
        let rate = |measured: &Measured| match LOADS[load].kind {
            Kind::Big => measured.bytes_per_s.best_half,
            _ => measured.requests_per_s.best_half,
        };
        let rows = results.ways.iter().enumerate().filter_map(|(at, way)| {
            let measured = measured(at)?;
            Some(Self {
                load: LOADS[load].name,
                way: way.name.clone(),
                kind: LOADS[load].kind,
                by_direct: rate(&measured) / rate(&direct),
                budget: (at == RECORDED)
                    .then(|| Budget::of(&LOADS[load], &direct, &measured))
                    .flatten(),
                measured,
            })
        });
        rows.collect()
    }
}

impl Measured {
    fn of(runs: &[Run]) -> Option<Self> {
        let low = |value: fn(&Run) -> f64| Figure::of(runs.iter().map(value), Better::Low);
        let high = |value: fn(&Run) -> f64| Figure::of(runs.iter().map(value), Better::High);
        Some(Self {
            requests_per_s: high(|run| run.requests as f64 / run.seconds)?,
            bytes_per_s: high(|run| run.bytes as f64 / run.seconds)?,
            cpu_us: low(|run| run.cpu_us)?,
            cpu_s_per_gb: low(|run| {
                run.cpu_us * run.requests as f64 * 1e3 / run.bytes.max(1) as f64
            })?,
            p50_us: low(|run| run.p50_us)?,
            p99_us: low(|run| run.p99_us)?,
            first_us: low(|run| run.first_us)?,
            peak_rss_bytes: low(|run| run.peak_rss_bytes)?,
            journal_bytes: low(|run| run.journal_bytes)?,
            idle_bytes: low(|run| run.idle_bytes)?,
        })
    }
}

impl Machine {
    fn read(results: &Results) -> anyhow::Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let first_word = |path| anyhow::Ok(fs::read_to_string(path)?.trim().to_owned());
        let said = |program: &mut Command| match program.output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let load = first_word("/proc/loadavg")?;
        let now = OffsetDateTime::from(Clock::start().wall_start());
        Ok(Self {
            date: now.replace_nanosecond(0)?.format(&Rfc3339)?,
            cpu: model
                .map_or("unknown", |model| {
                    model.trim_start_matches([' ', '\t', ':'])
                })
                .into(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: first_word("/proc/sys/kernel/osrelease")?,
            load_average: load.split(' ').next().unwrap_or_default().to_owned(),
            modtape: said(Command::new(&results.args.modtape).arg("--version")),
            rustc: said(Command::new("rustc").arg("--version")),
            rounds: results.args.rounds,
            window_seconds: results.args.window,
        })
    }
}
