//! `--metrics`: the address that Prometheus scrapes, bound before anything else begins.

use anyhow::Context as _;

use super::failure::Advise as _;
use crate::cli::{Global, MetricsArgs};
use crate::telemetry::metrics::{Metrics, Scrapes, Scraping};
use crate::terminal::say;

/// Binds the address, if one is given.
pub(super) fn bind(args: &MetricsArgs) -> anyhow::Result<Option<Scrapes>> {
    let Some(address) = args.metrics else {
        return Ok(None);
    };
    let bound = Scrapes::bind(address);
    let bound = bound.with_context(|| format!("--metrics: cannot listen on {address}"));
    bound.help("--metrics :0 picks a free port").map(Some)
}

/// Answers scrapes from now on, until what this returns is dropped, and says where.
pub(super) fn answer(
    scrapes: Scrapes,
    metrics: Metrics,
    global: &Global,
) -> anyhow::Result<Scraping> {
    let url = scrapes.url();
    let is_open = !scrapes.is_on_loopback();
    let scraping = scrapes.answer(metrics);
    let scraping = scraping.context("cannot start the thread that answers scrapes")?;
    let who = match is_open {
        true => ", for anyone who reaches it: host names and numbers, no secrets",
        false => "",
    };
    say(global, format!("modtape: metrics on {url}{who}"));
    Ok(scraping)
}
