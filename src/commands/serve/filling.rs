//! A server without clients, which fills a store.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::config::Settings;
use super::from::Held;
use super::private::Store;
use super::running::{Fixed, Plan, Running};
use crate::clock::Clock;
use crate::commands::failure::Failure;
use crate::commands::session::Variables;
use crate::serve::{Disk, Memory, Server, Tiers, Tree, UNBOUNDED};

/// It runs, and nobody can reach it.
pub(in crate::commands) struct Filling {
    running: Running,
    disk: Disk,
}

impl Filling {
    /// Starts one whose upstream is what these flags of `serve` say, or a tree.
    pub(in crate::commands) async fn start(
        flags: Vec<OsString>,
        disk: Disk,
        tree: Option<(&Path, Tree)>,
    ) -> Result<Self, Failure> {
        let verb = ["modtape", "serve", "--no-ahead"].map(OsString::from);
        let words: Vec<_> = verb.into_iter().chain(flags).collect();
        let settings = Settings::of(&words)?;
        let variables = Variables::read();
        let clock = Clock::start();
        let go = variables.go_settings_of(&[]).await;
        let held = tree.map(|(path, tree)| Held::Tree {
            path: path.to_owned(),
            tree,
        });
        let plan = Plan::of(&settings, &variables, &go, clock, held.as_ref())?;
        let fixed = Fixed {
            clock,
            variables,
            go,
            recording: None,
            redis: None,
            // What is put there on purpose makes room for nothing: the next server's own bound does.
            tiers: Arc::new(Tiers::new(
                clock,
                Memory::new(settings.args.memory),
                disk.clone(),
                UNBOUNDED,
            )),
            counts: Arc::default(),
            private: Store::below(disk.folder(), 0, UNBOUNDED),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let running = plan.start(&fixed).await?;
        Ok(Self { running, disk })
    }

    pub(in crate::commands) const fn server(&self) -> &Arc<Server> {
        &self.running.server
    }

    /// What it fills.
    pub(in crate::commands) const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Ends what is on its way: what is not whole is not kept.
    pub(in crate::commands) async fn close(self) {
        self.running.close().await;
    }
}
