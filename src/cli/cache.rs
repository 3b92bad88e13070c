//! The flags of the verbs that look after what `modtape serve` keeps.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::DialArgs;
use super::values::{duration, size};

/// The store that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Folder where a server keeps answers, which may be running [default: modtape/modules in your cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape cache ls`
#[derive(Debug, Args)]
pub(crate) struct CacheLsArgs {
    /// The versions of this module instead of all modules
    pub(crate) module: Option<String>,
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `modtape cache stat`
#[derive(Debug, Args)]
pub(crate) struct CacheStatArgs {
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `modtape cache verify`
#[derive(Debug, Args)]
pub(crate) struct CacheVerifyArgs {
    /// Remove what is damaged: it is fetched again when it is asked for
    #[arg(long)]
    pub(crate) fix: bool,
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `modtape cache gc`
#[derive(Debug, Args)]
pub(crate) struct CacheGcArgs {
    /// How much disk answers may take; those that were not used for longest make room
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) disk_max: Option<u64>,
    /// Remove what was not used for this long, such as 720h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) older: Option<Duration>,
    /// Remove nothing, and tell what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `modtape cache pull`
#[derive(Debug, Args)]
pub(crate) struct CachePullArgs {
    /// A go.sum: all that it has a hash of, compared with that. Any other file is read as a go.mod: its build list
    #[arg(value_name = "go.sum|go.mod", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Module proxies to fetch from, as in GOPROXY [default: GOPROXY]
    #[arg(long, value_name = "LIST")]
    pub(crate) upstream: Option<String>,
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Where it fetches.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// Leave an upstream that has sent nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration, help_heading = "Upstream")]
    pub(crate) upstream_idle_timeout: Duration,
}

/// `modtape cache export`
#[derive(Debug, Args)]
pub(crate) struct CacheExportArgs {
    /// The archive to write: a module proxy's tree, which `modtape cache import` takes
    #[arg(value_name = "FILE.tar")]
    pub(crate) file: PathBuf,
    /// Only these versions, and what proves them
    #[arg(value_name = "MODULE@VERSION")]
    pub(crate) versions: Vec<String>,
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `modtape cache import`
#[derive(Debug, Args)]
pub(crate) struct CacheImportArgs {
    /// The archive that `modtape cache export` has written
    #[arg(value_name = "FILE.tar")]
    pub(crate) file: PathBuf,
    /// The store.
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}
