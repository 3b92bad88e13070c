//! The results as tables or as JSON, with the machine that they hold for.

use std::fs;
use std::process::Command;

use modtape::clock::Clock;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::figures::{Better, Figure};
use crate::load::{Kind, LOADS, Load, Run};
use crate::plan::Results;

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

/// One load, recorded and direct.
#[derive(Debug, Serialize)]
struct Row {
    load: &'static str,
    #[serde(skip)]
    kind: Kind,
    #[serde(skip)]
    budget_us: f64,
    direct: Measured,
    recorded: Measured,
}

/// What all rounds of one load showed.
#[derive(Debug, Serialize)]
struct Measured {
    requests_per_s: Figure,
    bytes_per_s: Figure,
    cpu_us: Figure,
    p50_us: Figure,
    p99_us: Figure,
    first_us: Figure,
    peak_rss_bytes: Figure,
    journal_bytes: Figure,
}

/// Prints all that was measured.
pub(crate) fn print(results: &Results, json: bool) -> anyhow::Result<()> {
    let machine = Machine::read(results)?;
    let rows: Vec<_> = (0..LOADS.len())
        .filter_map(|load| Row::of(results, load))
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
    print_throughput(&rows);
    print_sequential(&rows);
    print_big(&rows);
    Ok(())
}

fn print_throughput(rows: &[Row]) {
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| matches!(row.kind, Kind::Throughput { .. }))
        .collect();
    if rows.is_empty() {
        return;
    }
    println!(
        "{:<14} {:>12} {:>16} {:>6}   {:>10} {:>12} {:>10} {:>14}",
        "1 KiB bodies",
        "direct req/s",
        "recorded req/s",
        "ratio",
        "CPU µs/req",
        "",
        "journal B",
        "p50/p99 ms"
    );
    for row in rows {
        let (direct, recorded) = (&row.direct, &row.recorded);
        println!(
            "{:<14} {:>12.0} {:>16.0} {:>6.2}   {:>10.1} {:>12} {:>10.0} {:>14}   {}",
            row.load,
            direct.requests_per_s.best_half,
            recorded.requests_per_s.best_half,
            recorded.requests_per_s.best_half / direct.requests_per_s.best_half,
            recorded.cpu_us.best_half,
            format!("({:.1}-{:.1})", recorded.cpu_us.min, recorded.cpu_us.max),
            recorded.journal_bytes.best_half,
            format!("{:.2}/{:.2}", ms(recorded.p50_us), ms(recorded.p99_us)),
            verdict(
                &format!("≤ {:.0} µs", row.budget_us),
                recorded.cpu_us.best_half <= row.budget_us
            ),
        );
    }
    println!();
}

fn print_sequential(rows: &[Row]) {
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.kind == Kind::Sequential)
        .collect();
    if rows.is_empty() {
        return;
    }
    println!(
        "{:<14} {:>16} {:>18} {:>8} {:>8}",
        "p50/p99 ms", "direct", "recorded", "added", ""
    );
    for row in rows {
        let (direct, recorded) = (&row.direct, &row.recorded);
        let p50 = ms(recorded.p50_us) - ms(direct.p50_us);
        let p99 = ms(recorded.p99_us) - ms(direct.p99_us);
        let limit = if row.load.starts_with("h1") {
            0.15
        } else {
            0.25
        };
        println!(
            "{:<14} {:>16} {:>18} {:>8.3} {:>8.3}   {}",
            row.load,
            format!("{:.3}/{:.3}", ms(direct.p50_us), ms(direct.p99_us)),
            format!("{:.3}/{:.3}", ms(recorded.p50_us), ms(recorded.p99_us)),
            p50,
            p99,
            verdict(&format!("≤ {limit} / 0.5 ms"), p50 <= limit && p99 <= 0.5),
        );
    }
    println!();
}

fn print_big(rows: &[Row]) {
    let rows: Vec<_> = rows.iter().filter(|row| row.kind == Kind::Big).collect();
    if rows.is_empty() {
        return;
    }
    println!(
        "{:<14} {:>12} {:>16} {:>6} {:>14} {:>14}",
        "large body", "direct MB/s", "recorded MB/s", "ratio", "first byte ms", "peak RSS MB"
    );
    for row in rows {
        let (direct, recorded) = (&row.direct, &row.recorded);
        let ratio = recorded.bytes_per_s.best_half / direct.bytes_per_s.best_half;
        let least = if row.load.starts_with("h1") { 0.4 } else { 0.3 };
        let rss = recorded.peak_rss_bytes.max / 1e6;
        println!(
            "{:<14} {:>12.0} {:>16.0} {:>6.2} {:>14} {:>14.1}   {}",
            row.load,
            direct.bytes_per_s.best_half / 1e6,
            recorded.bytes_per_s.best_half / 1e6,
            ratio,
            format!("{:.1}/{:.1}", ms(direct.first_us), ms(recorded.first_us)),
            rss,
            verdict(
                &format!("≥ {least}, ≤ 40 MB"),
                ratio >= least && rss <= 40.0
            ),
        );
    }
}

fn ms(figure: Figure) -> f64 {
    figure.best_half / 1000.0
}

fn verdict(budget: &str, is_kept: bool) -> String {
    format!(
        "budget {budget}: {}",
        if is_kept { "kept" } else { "MISSED" }
    )
}

impl Row {
    fn of(results: &Results, load: usize) -> Option<Self> {
        let Load {
            name,
            kind,
            budget_us,
            ..
        } = LOADS[load];
        Some(Self {
            load: name,
            kind,
            budget_us,
            direct: Measured::of(results.runs.get(&(load, false))?)?,
            recorded: Measured::of(results.runs.get(&(load, true))?)?,
        })
    }
}

impl Measured {
    fn of(runs: &[Run]) -> Option<Self> {
        let low = |value: fn(&Run) -> f64| Figure::of(runs.iter().map(value), Better::Low);
        let high = |value: fn(&Run) -> f64| Figure::of(runs.iter().map(value), Better::High);
        Some(Self {
            requests_per_s: high(|run| run.requests as f64 / run.seconds)?,
            bytes_per_s: high(|run| run.octets as f64 / run.seconds)?,
            cpu_us: low(|run| run.cpu_us)?,
            p50_us: low(|run| run.p50_us)?,
            p99_us: low(|run| run.p99_us)?,
            first_us: low(|run| run.first_us)?,
            peak_rss_bytes: low(|run| run.peak_rss_bytes)?,
            journal_bytes: low(|run| run.journal_bytes)?,
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
