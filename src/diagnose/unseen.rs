//! Entries of GOPROXY that the go command never asks through a proxy: no recorder sees them.
//!
//! Sources: `golang.org/x/net/http/httpproxy` for loopback, the Go modules reference ("GOPROXY
//! protocol") for folders. Reads the setting alone; never says whether an entry was asked.

use std::net::IpAddr;

use crate::gomod::{Base, GoProxy};

use super::tally::listed;

/// How many hosts are named.
const NAMED: usize = 3;

/// The module proxies on loopback, as a sentence has them.
pub(super) fn loopback(goproxy: &GoProxy) -> Option<String> {
    let bases = goproxy.bases();
    let mut on_loopback = bases
        .iter()
        .filter(|base| is_loopback(base.host_name()))
        .map(|base: &Base| &*base.host)
        .peekable();
    on_loopback.peek()?;
    Some(listed(on_loopback, NAMED))
}

/// The first entry that is a folder.
pub(super) fn folder(goproxy: &GoProxy) -> Option<&str> {
    let is_folder = |url: &&str| url.starts_with("file:") || url.starts_with('/');
    goproxy.urls().find(is_folder)
}

/// As `httpproxy.Config.useProxy` has it.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
