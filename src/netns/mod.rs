//! A network namespace of the command's own, which nothing leaves: its only interface is loopback, all TCP
//! arrives at listeners that the recorder serves, and names get synthetic addresses.
//!
//! Inside is one process, which becomes the command (`entry`); outside is the recorder, which holds
//! sockets of the namespace (`gate`). Linux only; elsewhere it is refused.

#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "elsewhere nothing sets it up")
)]
mod addresses;
mod dns;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod entry;
#[cfg(target_os = "linux")]
mod gate;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(target_os = "linux")]
mod links;
mod lookups;
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "elsewhere nothing sets it up")
)]
mod refusal;
#[cfg(target_os = "linux")]
mod rules;
mod server;
#[cfg(target_os = "linux")]
mod users;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub(crate) use addresses::Names;
pub(crate) use dns::Known;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Gate, Namespace, enter};
#[cfg(target_os = "linux")]
pub(crate) use entry::enter;
#[cfg(target_os = "linux")]
pub(crate) use gate::{Gate, Namespace};
pub(crate) use lookups::Lookups;
pub(crate) use refusal::{AdmitError, EntryError, System};
pub(crate) use server::{LookingUp, Lookup, Resolve, Served, Server};

/// What the namespace has inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inside {
    /// The resolvers of the host on loopback: what they are asked reaches us.
    pub(crate) resolvers: Vec<IpAddr>,
    /// The ports on loopback that lead to those of the host.
    pub(crate) host_ports: Vec<HostPort>,
    /// Whether the recorder maps all users into the user namespace of the command.
    pub(crate) maps_all_users: bool,
}

/// A port on the loopback of the host that can be reached inside, under its own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostPort {
    pub(crate) port: u16,
    /// Whether 127.0.0.0/8 leads there.
    pub(crate) v4: bool,
    /// Whether ::1 leads there.
    pub(crate) v6: bool,
}

/// What holds for any bytes of the command that are read here: for fuzz targets and their twins in the
/// tests.
#[cfg(any(test, fuzzing))]
pub mod check {
    /// A DNS query.
    pub fn query(bytes: &[u8]) {
        super::dns::check(bytes);
    }
}
