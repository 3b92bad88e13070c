//! What the tables of private modules say, and the servers that it takes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};

use super::config::Private as Table;
use super::gateway::{InProcess, Outgoing, Way, dialer};
use super::running::Fixed;
use crate::child::go_for;
use crate::cli::DialArgs;
use crate::clock::Clock;
use crate::commands::dialling;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::session::Variables;
use crate::gomod::{Base, GoProxy, ProxyTarget, pattern_mistakes};
use crate::redact::{url_without_secrets, url_without_userinfo};
use crate::serve::{
    Access, Gate, Git, Hosts, Parts, Private, Server, Tiers, Truth, Upstream, Users,
    mistake_in_git_pattern,
};
use crate::tls::Roots;
use crate::upstream::{Overrides, ParentProxies};

/// Version control systems that go knows (`cmd/go/internal/vcs`).
const SYSTEMS: [&str; 5] = ["bzr", "fossil", "git", "hg", "svn"];

/// What fetches from repositories where nothing else is said.
const SYSTEM: &str = "git";

/// Modules of a pattern, and what answers for them.
pub(super) struct Rule {
    pub(super) pattern: String,
    from: From,
}

enum From {
    Proxies(Box<Proxies>),
    Repositories(Box<Repositories>),
}

struct Repositories {
    /// Version control systems, such as `git|hg`.
    systems: String,
    /// Where they may lie.
    hosts: Hosts,
    overrides: Overrides,
    parents: ParentProxies,
}

struct Proxies {
    /// A list as GOPROXY has it.
    goproxy: String,
    /// Whether each client is judged by its own credentials, and ours are not shown.
    is_judged: bool,
    overrides: Overrides,
    parents: ParentProxies,
}

/// What all of them need.
pub(super) struct Common<'a> {
    pub(super) fixed: &'a Fixed,
    pub(super) roots: &'a Roots,
    pub(super) idle: std::time::Duration,
    pub(super) is_offline: bool,
}

impl Rule {
    /// Takes a table; an error names the place where it is. `has_passwords` says that `Authorization` shows us who a
    /// client is.
    pub(super) fn of(
        table: &Table,
        dial: &DialArgs,
        variables: &Variables,
        has_passwords: bool,
    ) -> Result<Self, Failure> {
        let pattern = &table.pattern;
        let wrong = |why: &str| {
            let error = anyhow!("{}: [private.{pattern:?}] {why}", table.place);
            Failure::new(USAGE, error)
        };
        if pattern.is_empty() || pattern.contains(',') {
            return Err(wrong("is no pattern: each has a table of its own"));
        }
        if let Some(mistake) = pattern_mistakes(pattern).first() {
            return Err(wrong(&format!(
                "matches nothing: the pattern {}",
                mistake.what
            )));
        }
        let is_judged = match table.auth.as_deref() {
            None => false,
            Some("client") => true,
            Some(_) => return Err(wrong("auth is \"client\", or left out")),
        };
        if table.upstream == "git" {
            if is_judged {
                return Err(wrong(
                    "a repository is asked with the server's own credentials: auth = \"client\" takes a module proxy",
                ));
            }
            if let Some(why) = mistake_in_git_pattern(pattern) {
                return Err(wrong(&format!("the pattern {why}")));
            }
            let own = [SYSTEM.to_owned()];
            let systems = table.vcs.as_deref().unwrap_or(&own);
            let unknown = systems.iter().find(|it| !SYSTEMS.contains(&it.as_str()));
            if let Some(unknown) = unknown {
                let why = format!("vcs: {unknown:?} is none of {}", SYSTEMS.join(", "));
                return Err(wrong(&why));
            }
            if systems.is_empty() {
                return Err(wrong("vcs names no version control system"));
            }
            let others = table.vcs_hosts.as_deref().unwrap_or_default();
            let hosts = Hosts::new(pattern, others);
            let usage = |error| Failure::new(USAGE, error);
            return Ok(Self {
                pattern: pattern.clone(),
                from: From::Repositories(Box::new(Repositories {
                    systems: systems.join("|"),
                    hosts: hosts.map_err(|why| wrong(&format!("vcs-hosts: {why}")))?,
                    overrides: dialling::overrides(dial).map_err(usage)?,
                    parents: dialling::parents(dial, variables).map_err(usage)?,
                })),
            });
        }
        for (name, is_given) in [
            ("vcs", table.vcs.is_some()),
            ("vcs-hosts", table.vcs_hosts.is_some()),
        ] {
            if is_given {
                return Err(wrong(&format!("{name} goes with upstream = \"git\"")));
            }
        }
        let list = GoProxy::parse(&table.upstream);
        for entry in &list.entries {
            match &entry.target {
                ProxyTarget::Url(url) if url.contains("://") && Base::of(url).is_some() => {}
                target => {
                    let shown = url_without_secrets(&target.to_string());
                    let why =
                        format!("upstream: {shown} is neither \"git\" nor an http or https URL");
                    return Err(wrong(&why));
                }
            }
        }
        let mut urls = list.urls();
        let (Some(first), second) = (urls.next(), urls.next()) else {
            return Err(wrong("upstream names nothing"));
        };
        if is_judged {
            if second.is_some() {
                return Err(wrong(
                    "with auth = \"client\", credentials go to one URL and no other",
                ));
            }
            if !first.to_lowercase().starts_with("https://") {
                return Err(wrong("with auth = \"client\", upstream is an https URL"));
            }
            if url_without_userinfo(first) != first {
                return Err(wrong(
                    "with auth = \"client\", the URL has no credentials of its own",
                ));
            }
            if has_passwords {
                return Err(wrong(
                    "--htpasswd takes the Authorization that auth = \"client\" is to pass on: --token in the path goes with it",
                ));
            }
        }
        let usage = |error| Failure::new(USAGE, error);
        Ok(Self {
            pattern: pattern.clone(),
            from: From::Proxies(Box::new(Proxies {
                goproxy: table.upstream.clone(),
                is_judged,
                overrides: dialling::overrides(dial).map_err(usage)?,
                parents: dialling::parents(dial, variables).map_err(usage)?,
            })),
        })
    }

    /// Starts the server of its modules, and the gateway through which it asks, if it asks proxies.
    pub(super) async fn start(
        self,
        common: &Common<'_>,
    ) -> anyhow::Result<(String, Arc<Server>, Option<InProcess>)> {
        let fixed = common.fixed;
        let mut parts = Parts {
            clock: fixed.clock,
            tiers: fixed.private.tiers(fixed)?,
            counts: Arc::clone(&fixed.counts),
            goproxy: GoProxy::parse(""),
            upstream: Upstream::new(String::new(), common.idle),
            tree: None,
            redis: None,
            git: None,
            private: Private::default(),
            users: None,
            truth: Truth::new("off", "").map_err(|why| anyhow!(why))?,
            is_ahead: false,
            access: Access::default(),
        };
        let inside = match self.from {
            From::Repositories(repositories) if !common.is_offline => {
                parts.git = Some(git(common, *repositories).await?);
                None
            }
            From::Repositories(_) => None,
            From::Proxies(proxies) => {
                let inside = InProcess::start(Outgoing {
                    clock: fixed.clock,
                    goproxy: &proxies.goproxy,
                    go: &fixed.go,
                    variables: &fixed.variables,
                    overrides: proxies.overrides,
                    parents: proxies.parents,
                    roots: common.roots.clone(),
                    idle: common.idle,
                    own: fixed.address,
                    shows_netrc: !proxies.is_judged,
                    gosumdb: "off",
                    replay: None,
                    // Recordings are passed on.
                    recording: None,
                    metrics: fixed.counts.metrics(),
                });
                let inside = inside.await?;
                if !common.is_offline {
                    parts.goproxy = GoProxy::parse(&proxies.goproxy);
                }
                parts.upstream = Upstream::new(inside.base().to_owned(), common.idle);
                if proxies.is_judged {
                    let users = fixed
                        .private
                        .users(fixed.clock, &self.pattern, &proxies.goproxy);
                    parts.users = Some(users);
                }
                Some(inside)
            }
        };
        Ok((self.pattern, Server::new(parts), inside))
    }
}

async fn git(common: &Common<'_>, repositories: Repositories) -> anyhow::Result<Git> {
    let fixed = common.fixed;
    let go = go_for(None, fixed.variables.path.as_ref());
    let go = go
        .context("private modules are to come from their repositories, and there is no go command on the PATH")
        .help("install go, or name a module proxy as upstream")?;
    let folder = fixed.private.folder().join("go");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("go gets no folder in {}", folder.display()))?;
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let has_ssh = is_set("GIT_SSH_COMMAND") || is_set("GIT_SSH");
    let dialer = dialer(Way {
        clock: fixed.clock,
        roots: common.roots,
        parents: repositories.parents,
        overrides: repositories.overrides,
        barred: vec![fixed.address],
    });
    let gate = Gate::open(repositories.hosts, dialer).await;
    let gate = gate.context("there is no way out for go")?;
    Ok(Git::new(go, folder, &repositories.systems, has_ssh, gate))
}

/// Where private modules are kept: apart from what is shared, exported or looked after.
pub(super) struct Store {
    /// The folder, which is made with the first rule.
    folder: std::path::PathBuf,
    memory: u64,
    disk: u64,
    tiers: Arc<std::sync::OnceLock<Arc<Tiers>>>,
    /// What each upstream has said of its users, by pattern and URL: a reload is no reason to forget it.
    // A std Mutex: held for a look at the map, never across an await.
    users: Mutex<HashMap<(String, String), Arc<Users>>>,
}

impl Store {
    /// A part of the store `store`, and of the memory and disk that it may take.
    pub(super) fn below(store: &Path, memory: u64, disk: u64) -> Self {
        Self {
            folder: store.join("private"),
            memory: memory / 8,
            disk,
            tiers: Arc::default(),
            users: Mutex::default(),
        }
    }

    /// What the upstream of a pattern has said of its users so far.
    fn users(&self, clock: Clock, pattern: &str, upstream: &str) -> Arc<Users> {
        let mut all = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of no server any more are forgotten.
        all.retain(|_, users| Arc::strong_count(users) > 1);
        let name = (pattern.to_owned(), upstream.to_owned());
        let users = all.entry(name);
        Arc::clone(users.or_insert_with(|| Arc::new(Users::new(clock))))
    }

    /// The tiers, which are made with the first rule.
    pub(super) const fn shared_tiers(&self) -> &Arc<std::sync::OnceLock<Arc<Tiers>>> {
        &self.tiers
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn tiers(&self, fixed: &Fixed) -> anyhow::Result<Arc<Tiers>> {
        if let Some(tiers) = self.tiers.get() {
            return Ok(Arc::clone(tiers));
        }
        let folder = self.folder.display();
        let disk = crate::serve::Disk::open(&self.folder)
            .with_context(|| format!("cannot keep anything in {folder}"))?;
        let memory = crate::serve::Memory::new(self.memory);
        let tiers = Arc::new(Tiers::new(fixed.clock, memory, disk, self.disk));
        if fixed.counts.metrics().is_some() {
            tiers.make_room();
        }
        Ok(Arc::clone(self.tiers.get_or_init(|| tiers)))
    }
}
