//! What `show` says of an exchange: general things, times, header fields.
//!
//! Everything out of the recording is made plain before it is written.

use std::io::Write;

use super::shown::Shown;
use crate::exchange::{Ending, Fields, Mode, Opened};
use crate::terminal::words::{bar, duration, percent, since_start};
use crate::terminal::{Look, Paint};

/// How long a bar is that stands for all of the time.
const BAR: usize = 40;

/// Method and URL, and under them what is known as a whole.
pub(super) fn write_general(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    look: Look,
) -> anyhow::Result<()> {
    let listed = &shown.item.listed;
    let head = format!("#{} {} {}", listed.id, listed.method, listed.url);
    writeln!(out, "{}", look.paint(Paint::Bold, &look.plain(&head)))?;
    let mut line = |name: &str, text: &str| {
        let name = look.paint(Paint::Dim, &format!("{name:<11}"));
        writeln!(out, "  {name} {}", look.plain(text))
    };
    line("what", &listed.what)?;
    line("outcome", &outcome(shown))?;
    if let Some(fault) = &listed.fault {
        line("fault", fault)?;
    }
    if let Some(next) = &listed.next {
        line("then", &format!("the go command asks {next}"))?;
    }
    let since = since_start(listed.started_us.as_micros());
    match &shown.item.started() {
        Some(started) => line("started", &format!("{since} ({started})"))?,
        None => line("started", &since)?,
    }
    line(
        "connection",
        &connection(listed.connection, shown.item.dial),
    )?;
    for attempt in shown
        .item
        .exchange
        .end()
        .map_or(&[][..], |end| &end.attempts)
    {
        let lost = format!("connection {}: {}", attempt.connection, attempt.error);
        line("tried", &lost)?;
    }
    for note in shown.item.exchange.end().map_or(&[][..], |end| &end.notes) {
        line("note", note)?;
    }
    line("trace", &shown.item.traceparent())?;
    Ok(())
}

fn outcome(shown: &Shown<'_>) -> String {
    match &shown.item.exchange.ending {
        Ending::InFlight => "in flight: no end is recorded".into(),
        Ending::Aborted(abort) => {
            let status = abort.status.map(|status| format!("{status}, "));
            let status = status.unwrap_or_default();
            let (phase, why) = (abort.phase, &abort.why);
            format!("{status}aborted in phase {phase}: {why}")
        }
        Ending::Ended(end) => {
            let reason = end
                .reason
                .as_ref()
                .map(|reason| format!(" {}", reason.to_text()));
            let reason = reason.unwrap_or_default();
            let by = match end.made_by {
                crate::exchange::MadeBy::Origin => "",
                crate::exchange::MadeBy::Modtape => ", by modtape itself",
            };
            format!("{}{reason} ({}){by}", end.status, end.version)
        }
    }
}

fn connection(id: u64, opened: Option<&Opened>) -> String {
    let Some(opened) = opened else {
        return format!("{id}, of which nothing is recorded");
    };
    let mode = match opened.mode {
        Mode::Intercept => "intercepted",
        Mode::Tunnel => "tunnelled",
        Mode::Plain => "plain",
        Mode::Refuse => "refused",
    };
    let mut text = format!("{id} to {}, {mode}", opened.target);
    let upstream = opened.upstream.as_ref();
    let mut add = |before: &str, part: Option<&String>| {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
        }
    };
    add(", ", upstream.and_then(|upstream| upstream.addr.as_ref()));
    add(" via ", upstream.and_then(|upstream| upstream.via.as_ref()));
    add(", ", upstream.and_then(|upstream| upstream.tls.as_ref()));
    add(", ", upstream.and_then(|upstream| upstream.alpn.as_ref()));
    add(", ", opened.error.as_ref());
    text
}

/// The phases that happened, each with its share and a bar.
pub(super) fn write_timings(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    look: Look,
) -> anyhow::Result<()> {
    let phases = shown.item.listed.phases_us;
    let total = phases.total_us();
    let head = format!("Timings  {}", duration(total));
    writeln!(out, "{}", look.paint(Paint::Bold, &head))?;
    for (phase, us) in phases.iter() {
        let (share, length) = (percent(us, total), bar(us, total, BAR, look.ascii));
        let text = format!(
            "  {:<8} {:>8}  {share:>3}%  {length}",
            phase.name(),
            duration(us)
        );
        writeln!(out, "{}", text.trim_end())?;
    }
    if let Some(end) = shown.item.exchange.end() {
        let mut note = |us: u64, what: &str| match us {
            0 => Ok(()),
            us => writeln!(out, "  {:<8} {:>8}  {what}", "", duration(us)),
        };
        note(
            end.client_wait_us,
            "of receive: waiting for the client to read",
        )?;
        note(
            end.own_us,
            "of modtape's own time afterwards, not in the sum",
        )?;
    }
    Ok(())
}

/// The header sections, and the trailers if there are any.
pub(super) fn write_headers(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    look: Look,
) -> anyhow::Result<()> {
    write_fields(
        out,
        "Request headers",
        &shown.item.exchange.begin.headers,
        look,
    )?;
    let none = Fields::new();
    let response = match &shown.item.exchange.ending {
        Ending::InFlight => &none,
        Ending::Ended(end) => &end.headers,
        Ending::Aborted(abort) => &abort.headers,
    };
    if shown.item.listed.status.is_some() {
        write_fields(out, "Response headers", response, look)?;
    }
    let trailers = shown.item.exchange.end().map_or(&none, |end| &end.trailers);
    if !trailers.is_empty() {
        write_fields(out, "Response trailers", trailers, look)?;
    }
    Ok(())
}

fn write_fields(
    out: &mut dyn Write,
    title: &str,
    fields: &Fields,
    look: Look,
) -> anyhow::Result<()> {
    writeln!(out, "{}", look.paint(Paint::Bold, title))?;
    for (name, value) in fields {
        let name = look.paint(Paint::Dim, &format!("{}:", look.plain(name)));
        writeln!(out, "  {name} {}", look.plain(&value.to_text()))?;
    }
    if fields.is_empty() {
        writeln!(out, "  {}", look.paint(Paint::Dim, "none"))?;
    }
    Ok(())
}
