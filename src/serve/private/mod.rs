//! Private modules: each pattern has a server of its own, with its own upstream. What it keeps lies apart from what is
//! shared with other machines, the checksum database never hears of its modules, and nothing is fetched ahead of them.

mod gate;
mod git;
mod users;

use std::cmp::Reverse;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tokio::task::JoinSet;

pub(super) use self::git::{Body, Found};

pub(crate) use self::gate::{Gate, Hosts};
pub(crate) use self::git::{Git, mistake_in_git_pattern};
pub(crate) use self::users::Users;

use super::item::Item;
use super::purge::Purge;
use super::server::Server;
use crate::gomod::{Kind, matches_patterns};

/// The patterns, and who answers for each.
#[derive(Debug, Default)]
pub(crate) struct Private {
    /// The most specific one first.
    areas: Vec<Area>,
}

/// Boxed, since a server closes those of its private modules.
pub(super) type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The modules of one pattern.
#[derive(Debug)]
pub(crate) struct Area {
    /// In lower case.
    pattern: String,
    server: Arc<Server>,
}

/// A client in whose name upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// Its `Authorization`, which is marked as sensitive, so that no log shows it; `None` if it has sent none.
    pub(super) authorization: Option<HeaderValue>,
    /// Stands for it, under a key that only this process has.
    pub(super) mark: [u8; 32],
}

impl Private {
    /// Servers by the patterns of their modules, each as one of GOPRIVATE.
    pub(crate) fn new(areas: impl IntoIterator<Item = (String, Arc<Server>)>) -> Self {
        let areas = areas.into_iter().map(|(pattern, server)| Area {
            pattern: pattern.to_lowercase(),
            server,
        });
        let mut areas: Vec<_> = areas.collect();
        areas.sort_by_key(|area| Reverse(area.pattern.len()));
        Self { areas }
    }

    /// Whose modules an item is of, if it is private.
    pub(super) fn of(&self, item: &Item) -> Option<&Area> {
        // A lookup is a question to the database, whatever its module.
        let is_of_module = !matches!(item.kind(), Kind::Lookup | Kind::Tile);
        let mut areas = self.areas.iter().filter(|_| is_of_module);
        areas.find(|area| is_of_pattern(&area.pattern, item.module()))
    }

    /// Drops what a purge covers.
    pub(super) async fn purge(&self, purge: &Purge, is_recent: bool) -> bool {
        let mut is_done = true;
        for area in &self.areas {
            is_done &= Box::pin(area.server.purge(purge, is_recent)).await;
        }
        is_done
    }

    /// Tells each host that an entry of a list has, and whether the entry is left alone at the moment.
    pub(super) fn each_breaker(&self, tell: &mut dyn FnMut(&str, bool)) {
        for area in &self.areas {
            area.server.each_breaker(tell);
        }
    }

    /// Waits until what is on its way has ended by itself.
    pub(super) async fn drain(&self) {
        for area in &self.areas {
            Box::pin(area.server.drain()).await;
        }
    }

    /// Ends what is on its way, of all patterns at once: each may take seconds.
    pub(super) fn close(&self) -> Closing {
        let servers = self.areas.iter().map(|area| Arc::clone(&area.server));
        let servers: Vec<_> = servers.collect();
        Box::pin(async move {
            let mut closing = JoinSet::new();
            for server in servers {
                closing.spawn(async move { server.close().await });
            }
            closing.join_all().await;
        })
    }
}

impl Area {
    pub(super) const fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// An item as it is asked for in the name of a client with these header fields, if upstream judges each by itself.
    pub(super) fn asked_by(&self, item: Item, fields: &HeaderMap) -> Item {
        self.server.asked_by(item, fields)
    }
}

/// Whether a module is one of a list of patterns in lower case. Unlike go we do not tell upper case from lower:
/// to many hosts of repositories both are the same module, which is private by either name.
pub(super) fn is_of_pattern(patterns: &str, module: &str) -> bool {
    matches_patterns(patterns, &module.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_gets_round_a_pattern() {
        let patterns = "git.corp.example/*,code.example/team";
        for path in [
            "/git.corp.example/x/@v/list",
            "/git.corp.example/!x/@v/list",
            "/git.corp.example/%21x/y/@v/v1.0.0.zip",
            "/git.corp.example/x/@v/v1.0.0+incompatible.mod",
            "/git.corp.exampl%65/x/@latest",
            "/code.example/!team/@v/main.info",
            "/code.example/team/v2/@v/list",
        ] {
            let item = Item::of_path(path).expect(path);
            assert!(is_of_pattern(patterns, item.module()), "{path}");
        }
        for path in [
            "/code.example/teams/@v/list",
            "/git.corp.example.org/x/@v/list",
        ] {
            let item = Item::of_path(path).expect(path);
            assert!(!is_of_pattern(patterns, item.module()), "{path}");
        }
        // What names no module is refused before anybody looks at patterns.
        for path in [
            "/!git.corp.example/x/@v/list",
            "/GIT.corp.example/x/@v/list",
            "/git.corp.example./x/@v/list",
            "/.git.corp.example/x/@v/list",
            "/git.corp.example//x/@v/list",
            "//git.corp.example/x/@v/list",
            "/a.example/../git.corp.example/x/@v/list",
            "/a.example/%2e%2e/git.corp.example/x/@v/list",
            "/./git.corp.example/x/@v/list",
            "/git.corp.example%2fx/@v/list",
            "/git.corp.example:443/x/@v/list",
            "/user@git.corp.example/x/@v/list",
            "/git.corp.example/x%00/@v/list",
            "/git.corp.example%5cx/@v/list",
            "/git%E3%80%82corp.example/x/@v/list",
        ] {
            assert!(Item::of_path(path).is_err(), "{path}");
        }
    }
}
