//! modtape records, explains and replays what the go command fetches.
//!
//! The map, lowest room first; a room imports only from lines with a smaller number, and a test checks it:
//!
//! 0. [`hostile`](crate) what checks of hostile input share: in tests and fuzz targets only
//! 1. [`clock`] what time it is · [`shell`] quoting · `files` whole or not at all · `words` numbers
//!    as people read them · [`gomod`] what a URL means to the go command · `git` its smart protocol · [`tls`] provider, roots, ALPN · [`cli`] the command line
//! 2. [`exchange`] the noun, where a reader best begins · [`sumdb`] the checksum database's log: heads, tiles, records, proofs · `netlink` messages to the kernel
//! 3. [`sockets`] marks, and where the kernel redirects from · [`redact`] what a secret looks like · `coding` content codings, gzip within limits ·
//!    [`ca`] root, issuer, leafs
//! 4. [`recording`] the folder on disk · [`capture`] packets as they pass · [`filter`] the language
//!    that picks exchanges
//! 5. [`diagnose`] what came of an exchange, and where the time went · `catalog` which answer is which
//!    module file
//! 6. [`upstream`] the only code that dials · [`replay`] finds the recorded answer · [`export`] a
//!    recording to bytes · [`import`] others' files to exchanges · [`child`] the wrapped command ·
//!    [`netns`] a network namespace that nothing leaves · [`telemetry`] logs, metrics, traces
//! 7. [`proxy`] the client leg; its heart is `handler.rs` · `objects` object stores, over our dialer · `report` a page to look at
//! 8. `serve` a module proxy for a team: tiers, proofs, one fetch for all · [`terminal`] how things look: tables, words, the status line, the summary
//! 9. [`commands`] a file, or a folder, per verb; with `terminal` the only code that prints or reads the environment
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, elided_lifetimes_in_paths)]
#![warn(
    clippy::unwrap_used,
    clippy::manual_let_else,
    clippy::use_self,
    clippy::or_fun_call
)]
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]
#![warn(clippy::redundant_clone, clippy::needless_pass_by_ref_mut)]

pub mod ca;
pub mod capture;
pub(crate) mod catalog;
pub mod child;
pub mod cli;
pub mod clock;
mod coding;
pub mod commands;
pub mod diagnose;
pub mod exchange;
pub mod export;
pub(crate) mod files;
pub mod filter;
pub mod git;
pub mod gomod;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod import;
#[cfg(target_os = "linux")]
mod netlink;
pub mod netns;
mod objects;
pub mod proxy;
pub mod recording;
pub mod redact;
pub mod replay;
mod report;
pub(crate) mod serve;
pub mod shell;
pub mod sockets;
pub mod sumdb;
pub mod telemetry;
pub mod terminal;
pub mod tls;
pub mod upstream;
pub(crate) mod words;
