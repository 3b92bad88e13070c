//! What a server is made of: checked first, then started. A reload does both anew, with the same port and tiers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::config::Settings;
use super::from::Held;
use super::gateway::{Asking, InProcess, Outgoing};
use super::private::{Common, Rule, Store};
use super::recording::UpstreamRecording;
use crate::child::GoFacts;
use crate::cli::ServeArgs;
use crate::clock::Clock;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::session::{Variables, token};
use crate::commands::{dialling, objects};
use crate::gomod::{Base, GoProxy, ProxyTarget, Separator};
use crate::objects::Place;
use crate::redact::url_without_secrets;
use crate::serve::{
    Access, Counts, Parts, Passwords, Private, Redis, Server, Shared, Tiers, Truth, Upstream,
};
use crate::terminal::status::SessionId;
use crate::tls::{RootSources, Roots};
use crate::upstream::{Overrides, ParentProxies};

/// The options that a [`Plan`] is made of, so that a reload takes them. What others say is fixed at the start.
pub(super) const RELOADED: [&str; 14] = [
    "upstream",
    "offline",
    "no-ahead",
    "token",
    "htpasswd",
    "host",
    "tls-cert",
    "tls-key",
    "upstream-idle-timeout",
    "upstream-proxy",
    "upstream-ca",
    "resolve",
    "connect-to",
    "private",
];

/// How long what is on its way may take in a server that another one has followed.
const DRAIN: Duration = Duration::from_secs(600);

/// What stays as long as the process does.
pub(super) struct Fixed {
    pub(super) clock: Clock,
    pub(super) variables: Variables,
    pub(super) go: GoFacts,
    /// What goes upstream is recorded here, if it is.
    pub(super) recording: Option<UpstreamRecording>,
    pub(super) tiers: Arc<Tiers>,
    pub(super) redis: Option<Arc<Redis>>,
    pub(super) counts: Arc<Counts>,
    /// Where private modules are kept.
    pub(super) private: Store,
    /// Where clients are served.
    pub(super) address: SocketAddr,
}

/// Settings that fit together. Nothing is started, and nothing was written.
pub(super) struct Plan {
    /// The upstream list, as it was given.
    pub(super) goproxy: String,
    pub(super) list: GoProxy,
    /// Where answers are kept, if a folder was named.
    pub(super) folder: Option<PathBuf>,
    /// What is shared with other machines.
    pub(super) shared: Option<Place>,
    is_offline: bool,
    /// What answers in the place of everybody else.
    held: Option<Held>,
    truth: Truth,
    /// What replicas share; nothing is connected.
    pub(super) redis: Option<Arc<Redis>>,
    overrides: Overrides,
    parents: ParentProxies,
    roots: Roots,
    idle: Duration,
    is_ahead: bool,
    pub(super) access: Access,
    private: Vec<Rule>,
}

/// A server, and the gateway through which it asks upstream.
pub(super) struct Running {
    pub(super) server: Arc<Server>,
    insides: Vec<InProcess>,
}

impl Plan {
    /// Takes what the options say, and Go's settings where they say nothing.
    pub(super) fn of(
        settings: &Settings,
        variables: &Variables,
        go: &GoFacts,
        clock: Clock,
        held: Option<&Held>,
    ) -> Result<Self, Failure> {
        let checked = Self::checked(settings, variables, go, clock, held);
        checked.map_err(|failure| settings.locate(failure))
    }

    fn checked(
        settings: &Settings,
        variables: &Variables,
        go: &GoFacts,
        clock: Clock,
        held: Option<&Held>,
    ) -> Result<Self, Failure> {
        let args = &settings.args;
        let usage = |error| Failure::new(USAGE, error);
        let access = access(args, clock)?;
        let (named, goproxy) = match (&args.upstream, held) {
            (Some(upstream), _) => ("--upstream", upstream.as_str()),
            (None, Some(held)) => ("--from", held.goproxy()),
            (None, None) => ("GOPROXY", go.get("GOPROXY")),
        };
        let own = own_address(args);
        let list = GoProxy::parse(goproxy);
        let is_own = |url: &str| own.is_some_and(|own| leads_to(url, own));
        if args.upstream.is_some()
            && let Some(url) = list.urls().find(|url| is_own(url))
        {
            let url = url_without_secrets(url);
            let message = anyhow::anyhow!("{named}: {url} is where this server listens");
            return Err(usage(message));
        }
        // As `go env -w GOPROXY=` with our own line leaves it: who starts again wants the others.
        let goproxy = match args.upstream.is_none() && list.urls().any(is_own) {
            true => without(&list, is_own),
            false => goproxy.to_owned(),
        };
        let list = GoProxy::parse(&goproxy);
        if args.upstream.is_some()
            && let Some(url) = list.urls().find(|url| Base::of(url).is_none())
        {
            let url = url_without_secrets(url);
            let message = anyhow::anyhow!("{named}: {url} is no http or https URL");
            return Err(usage(message));
        }
        if !args.offline && held.is_none() && list.urls().next().is_none() {
            let message = anyhow::anyhow!("{named}={goproxy} has no module proxy to fetch from");
            return Err::<_, _>(message)
                .help("--upstream https://proxy.golang.org names one")
                .map_err(usage);
        }
        let truth = Truth::new(go.get("GOSUMDB"), go.get("GONOSUMDB"));
        let truth = truth.map_err(|why| usage(anyhow::anyhow!(why)))?;
        let (folder, shared) = stores(&args.store).map_err(usage)?;
        let patterns = settings.private.iter().map(|table| table.pattern.as_str());
        let truth = truth.without(&patterns.collect::<Vec<_>>());
        let dial = &args.dial;
        let has_passwords = access.passwords.is_some();
        if held.is_some()
            && let Some(table) = settings.private.first()
        {
            let why = "--from serves what it holds to all, and asks nobody";
            let place = &table.place;
            let message = anyhow::anyhow!("{place}: {why}: it takes no private modules");
            return Err(usage(message));
        }
        let private = settings.private.iter();
        let private = private.map(|table| Rule::of(table, dial, variables, has_passwords));
        let private = private.collect::<Result<Vec<_>, _>>()?;
        let roots = Roots::load(&RootSources {
            file: variables.ssl_cert_file.clone(),
            dirs: variables.ssl_cert_dir.clone(),
            extra: dial.upstream_ca.clone(),
        });
        let roots = roots?;
        let redis = args.redis.as_deref();
        let redis = redis.map(|url| Redis::new(clock, url, &roots)).transpose();
        let redis = redis.map_err(|why| usage(anyhow::anyhow!("--redis {why}")))?;
        Ok(Self {
            goproxy,
            list,
            folder,
            shared,
            is_offline: args.offline,
            held: held.cloned(),
            truth,
            redis: redis.map(Arc::new),
            overrides: dialling::overrides(dial).map_err(usage)?,
            parents: dialling::parents(dial, variables).map_err(usage)?,
            roots,
            idle: args.upstream_idle_timeout,
            // There is nothing to be faster than.
            is_ahead: !args.no_ahead && held.is_none(),
            access,
            private,
        })
    }

    /// Opens the store that is shared with other machines; nothing is asked yet.
    pub(super) fn shared_store(
        &self,
        args: &ServeArgs,
        variables: &Variables,
        clock: Clock,
    ) -> Result<Option<Shared>, Failure> {
        let Some(place) = &self.shared else {
            return Ok(None);
        };
        let parents = dialling::parents(&args.dial, variables)?;
        let objects = objects::open(place, clock, &self.roots, parents);
        let objects = objects.map_err(|error| Failure::new(USAGE, error))?;
        Ok(Some(Shared::new(clock, objects)))
    }

    /// Starts what it says.
    pub(super) async fn start(self, fixed: &Fixed) -> anyhow::Result<Running> {
        let common = Common {
            fixed,
            roots: &self.roots,
            idle: self.idle,
            is_offline: self.is_offline,
        };
        let (mut areas, mut insides) = (Vec::new(), Vec::new());
        for rule in self.private {
            let (pattern, server, inside) = rule.start(&common).await?;
            areas.push((pattern, server));
            insides.extend(inside);
        }
        let recorded = self.held.as_ref().and_then(Held::recorded);
        let inside = InProcess::start(Outgoing {
            clock: fixed.clock,
            goproxy: &self.goproxy,
            gosumdb: match recorded {
                Some(recorded) => &recorded.gosumdb,
                None => fixed.go.get("GOSUMDB"),
            },
            replay: recorded.map(|recorded| Arc::clone(&recorded.replay)),
            go: &fixed.go,
            variables: &fixed.variables,
            overrides: self.overrides,
            parents: self.parents,
            roots: self.roots,
            idle: self.idle,
            own: fixed.address,
            recording: fixed.recording.as_ref(),
            metrics: fixed.counts.metrics(),
            shows_netrc: true,
        });
        let inside = inside.await?;
        let upstream = Upstream::new(inside.base().to_owned(), self.idle);
        let server = Server::new(Parts {
            clock: fixed.clock,
            tiers: Arc::clone(&fixed.tiers),
            redis: fixed.redis.clone(),
            counts: Arc::clone(&fixed.counts),
            goproxy: match self.is_offline {
                true => GoProxy::parse(""),
                false => self.list,
            },
            upstream: match recorded {
                Some(_) => upstream.recorded(),
                None => upstream,
            },
            tree: self.held.as_ref().and_then(Held::files),
            git: None,
            private: Private::new(areas),
            users: None,
            truth: self.truth,
            is_ahead: self.is_ahead,
            access: self.access,
        });
        insides.push(inside);
        Ok(Running { server, insides })
    }
}

/// The folder and the object store that are named, one of each at most.
fn stores(named: &[PathBuf]) -> anyhow::Result<(Option<PathBuf>, Option<Place>)> {
    let (mut folder, mut shared) = (None, None);
    for store in named {
        let url = store.to_str().filter(|text| Place::is_url(text));
        let is_second = match url {
            Some(url) => {
                let place = url
                    .parse::<Place>()
                    .with_context(|| format!("--store {}", url_without_secrets(url)))?;
                shared.replace(place).is_some()
            }
            None => folder.replace(store.clone()).is_some(),
        };
        anyhow::ensure!(
            !is_second,
            "--store takes one folder and one object store, not two of a kind"
        );
    }
    Ok((folder, shared))
}

impl Running {
    /// The gateways through which it asks, for those who look at the session `id` from outside.
    pub(super) fn asking(&self, id: &SessionId) -> Asking {
        self.insides
            .iter()
            .map(|inside| inside.status(id))
            .collect()
    }

    /// Lets what is on its way end, until `hurry` is cancelled; then ends the rest.
    pub(super) async fn retire(self, hurry: CancellationToken) {
        let drain = tokio::time::timeout(DRAIN, self.server.drain());
        let _ = hurry.run_until_cancelled(drain).await;
        self.close().await;
    }

    /// Ends what is on its way.
    pub(super) async fn close(self) {
        self.server.close().await;
        for inside in self.insides {
            inside.close().await;
        }
    }
}

/// Who may ask. What others reach needs a token or passwords.
fn access(args: &ServeArgs, clock: Clock) -> Result<Access, Failure> {
    let Some(file) = &args.htpasswd else {
        return Ok(Access {
            token: token::of_flags(&args.token, args.listen.as_slice())?,
            passwords: None,
        });
    };
    let passwords = Passwords::open(file, clock);
    let passwords = passwords.map_err(|why| anyhow::anyhow!("--htpasswd: {why}"));
    Ok(Access {
        token: token::of_flags(&args.token, &[])?,
        passwords: Some(passwords.map_err(|error| Failure::new(USAGE, error))?),
    })
}

/// Where this server will listen, if that is known before.
fn own_address(args: &ServeArgs) -> Option<SocketAddr> {
    let asked = match args.command.is_empty() {
        true => Some(args.listen.unwrap_or(super::ADDRESS)),
        false => args.listen,
    };
    asked.filter(|asked| asked.port() != 0)
}

/// Whether a URL leads to a server of this machine that listens there.
pub(super) fn leads_to(url: &str, own: SocketAddr) -> bool {
    let Ok(url) = url::Url::parse(url) else {
        return false;
    };
    let is_here = match url.host() {
        Some(url::Host::Ipv4(ip)) => is_reached_by(ip.into(), own.ip()),
        Some(url::Host::Ipv6(ip)) => is_reached_by(ip.into(), own.ip()),
        Some(url::Host::Domain("localhost")) => own.ip().is_loopback() || own.ip().is_unspecified(),
        Some(url::Host::Domain(_)) => false,
        None => false,
    };
    is_here && url.port_or_known_default() == Some(own.port())
}

fn is_reached_by(asked: IpAddr, own: IpAddr) -> bool {
    asked == own || asked.is_loopback() && own.is_unspecified()
}

/// A list without the module proxies that `is_left_out` names; go's own where none would be left.
fn without(list: &GoProxy, is_left_out: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let mut has_url = false;
    for entry in &list.entries {
        match &entry.target {
            ProxyTarget::Url(url) if is_left_out(url) => continue,
            ProxyTarget::Url(url) => {
                has_url = true;
                text.push_str(url);
            }
            other => text.push_str(&other.to_string()),
        }
        text.extend(entry.separator.map(Separator::as_char));
    }
    match has_url {
        true => text,
        false => String::from("https://proxy.golang.org,direct"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_names_this_server_leads_to_the_others() {
        let own: SocketAddr = "127.0.0.1:4080".parse().expect("an address");
        let left = |list: &str, own| without(&GoProxy::parse(list), |url| leads_to(url, own));
        for (list, expected) in [
            (
                "http://127.0.0.1:4080,direct",
                "https://proxy.golang.org,direct",
            ),
            (
                "http://127.0.0.1:4080/some-token|https://a.example,direct",
                "https://a.example,direct",
            ),
            (
                "http://localhost:4080,off",
                "https://proxy.golang.org,direct",
            ),
            (
                "https://a.example,http://127.0.0.1:4081",
                "https://a.example,http://127.0.0.1:4081",
            ),
        ] {
            assert_eq!(left(list, own), expected);
        }
        let any: SocketAddr = "0.0.0.0:4080".parse().expect("an address");
        assert!(leads_to("http://127.0.0.1:4080", any));
        assert!(!leads_to("http://10.0.0.1:4080", own));
    }
}
