//! The wrapped command: its environment, its signals, its exit status, its process tree; and git, where a
//! replay needs it.
//!
//! Its standard streams are its own. Nothing here prints, and nothing decides what is recorded.

mod cached_modules;
mod caches;
mod direct_modules;
mod env_file;
mod environment;
mod git;
mod go;
mod goauth;
mod limits;
mod module_cache;
mod private;
mod processes;
mod run;
mod tree_head;
mod trust;

pub(crate) use caches::{CachePlaces, Served, look_at_caches};
pub(crate) use direct_modules::{Asked, Found, direct_modules};
pub(crate) use env_file::read_env_file;
pub(crate) use environment::{
    Environment, Recorder, SETTINGS, WayIn, past_proxies, private_cache, private_go_dirs,
    replayed_settings,
};
pub use git::Repositories;
pub(crate) use git::{GitAsked, Repository};
pub(crate) use go::{GoFacts, folder_of, go_for, is_go, look_up, main_module};
pub(crate) use goauth::{GoAuth, Refused, basic};
pub(crate) use limits::{ProcessLimits, guard_memory};
pub(crate) use module_cache::{check_modules, look_at, storage};
pub(crate) use private::{PrivateDir, open_dir};
pub(crate) use processes::{Ends, Latest, Watch, unacknowledged};
pub(crate) use run::{Command, Heard, Interruption, Signals, SpawnError, StatusSignals, run};
pub(crate) use tree_head::{Remembered, remembered};
pub(crate) use trust::ignores_ssl_cert_file;
