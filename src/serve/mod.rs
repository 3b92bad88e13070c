//! A module proxy for a team: it answers from what it keeps, asks others for the rest, once for all who wait, and
//! keeps only what it has proved.
//!
//! A request is an [`Item`]. The [`Server`] looks for its answer in the tiers (`tiers.rs`: memory, then disk, then what
//! is shared with other machines);
//! what none has is fetched by a task of its own (`fetch.rs`), which whoever asks for the same joins. Entries of the
//! upstream GOPROXY are asked in turn (`entries.rs`), through a gateway in this process (`upstream.rs`), so that what goes
//! out has the deadlines, the diagnosis and the record of what a recorded go command asks. What came is held against
//! the checksum database (`truth.rs`) before it is kept, and names what is fetched next (`ahead.rs`). A folder of files may
//! stand in for all entries (`tree.rs`).

mod access;
mod ahead;
mod answer;
mod audit;
mod body;
mod breaker;
mod caching;
mod certificate;
mod chunk;
mod clients;
mod counts;
mod disk;
mod entries;
mod failure;
mod fetch;
mod fill;
mod front;
mod guard;
mod gzip;
mod hearing;
mod item;
mod kept;
mod listener;
mod measured;
mod memory;
mod metrics;
mod pace;
mod places;
mod private;
mod purge;
mod reads;
mod redis;
mod request_log;
mod server;
mod shared;
mod spool;
mod tiers;
mod tree;
mod truth;
mod upstream;

pub(crate) use access::{Access, Passwords};
pub(crate) use audit::{Audit, Finding, UNBOUNDED};
pub(crate) use certificate::{Certificate, Files};
pub(crate) use counts::{Counts, Done};
pub(crate) use disk::{ByKind, Disk, Inventory, Kept, Lying, Removed, Sweep, Swept};
pub(crate) use fill::Filled;
pub(crate) use hearing::hear;
pub(crate) use item::{Item, Life};
pub(crate) use listener::{Listening, serve};
pub(crate) use measured::HOST;
pub(crate) use memory::Memory;
pub(crate) use metrics::Sources;
pub(crate) use private::{Gate, Git, Hosts, Private, Users, mistake_in_git_pattern};
pub(crate) use purge::Purge;
pub(crate) use redis::Redis;
pub(crate) use server::{Parts, Server};
pub(crate) use shared::{Shared, purge as purge_objects};
pub(crate) use tiers::Tiers;
pub(crate) use tree::Tree;
pub(crate) use truth::Truth;
pub(crate) use upstream::Upstream;
