//! What the integration tests stand on: a scripted internet on loopback.
//!
//! - [`Origin`]: an HTTPS origin with corpus or made-up content, a log and scripted faults.
//! - [`Database`]: a checksum database that it can serve, whose key the tests hold.
//! - [`RawOrigin`]: the same listener, but a test writes every byte of the answers.
//! - [`ParentProxy`]: an HTTP CONNECT or SOCKS5 proxy that relays every name to one address.
//! - [`Blackhole`]: an address whose connections never come up.
//! - [`Middlebox`]: a way to an address on which large ClientHellos are lost.
//! - [`Client`]: a raw client that goes through an HTTP proxy.
//! - [`Recorder`]: a `modtape record` at work; [`Inside`]: the same legs in this process.
//! - [`Spawned`]: a command that runs while a test looks on.
//! - [`Prometheus`]: a real one that scrapes modtape.
//! - [`Sandbox`]: temporary folders and environments for `go` and `modtape`.
//!
//! Every server is a thread with its own runtime, stopped and joined when its value is dropped.
//! Nothing here sleeps to wait for something: waits are condition variables with a limit. Errors
//! are panics, because a test that cannot be set up has failed.

#![allow(
    dead_code,
    reason = "a library for tests: each part is used by some of them"
)]

mod answer;
mod background;
mod body;
mod certs;
mod client;
mod corpus;
mod database;
pub mod frames;
mod git;
mod handshake;
pub mod hpack;
mod inside;
mod log;
mod middlebox;
mod network;
mod origin;
mod parent;
mod process;
mod prometheus;
mod raw;
mod recorder;
pub mod resolver;
mod rules;
mod sandbox;
mod serve;
mod session;
mod socks;
mod spawned;
mod ssh;
mod zips;

#[allow(unused_imports, reason = "the same: not every test names every part")]
pub use self::{
    background::{Background, Blackhole},
    body::{generated_sha256, sha256_hex},
    certs::{Leaf, TestRoot},
    client::{Client, Connected, Established, Hello, LIMIT, within},
    corpus::{Content, Sumdb, corpus_folder, skipped},
    database::Database,
    git::repository,
    handshake::Handshake,
    inside::Inside,
    log::{ConnectionSeen, Log, Served, TlsFailure},
    middlebox::Middlebox,
    network::{FAR, alone, in_a_world, mount_etc},
    origin::{Alpn, Origin, OriginBuilder, Tls},
    parent::{ParentProxy, ParentProxyBuilder, Relayed},
    process::Process,
    prometheus::{Prometheus, until},
    raw::{RawOrigin, Step},
    recorder::{Recorded, Recorder, Wrapping, exchanges, own_root, records},
    rules::Rule,
    sandbox::{
        Output, Sandbox, count, has_program, is_long, is_release, program, run, search_path, tested,
    },
    session::{Ended, Response, Session},
    spawned::{Spawned, TELLS},
    ssh::sshd,
    zips::zip,
};
