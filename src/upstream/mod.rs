//! The upstream leg: the only code that dials.
//!
//! resolve → TCP (both families raced) → parent proxy, if any → TLS. Each step is timed, and each
//! failure names the step. Never retries, never falls back to plain text, never skips verification.

mod connector;
mod eyeballs;
mod failure;
mod journey;
mod no_proxy;
mod overrides;
mod parent;
mod plain_or_tls;
mod private;
pub(crate) mod probe;
mod reach;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use connector::Connector;
pub(crate) use eyeballs::keep_alive;
pub(crate) use journey::{Hear, Journey, News, Step};
pub use overrides::Overrides;
pub(crate) use parent::ParentError;
pub use parent::ParentProxies;
pub(crate) use plain_or_tls::PlainOrTls;
pub use reach::Reach;
pub(crate) use reach::{Exposed, Named, canonical, is_of_this_machine};

use crate::capture::{Capture, Stream, Wire};
use crate::clock::Clock;
use crate::exchange::{DialFailure, Phase, Target, chain};
use crate::sockets::OwnSockets;
use crate::tls::{ClientConfigs, Protocol, readable};
use eyeballs::Race;
use overrides::Dialled;
use reach::Barred;

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Resolving, TCP and the parent proxy's answer together; the go command's own is 30 s.
    pub connect: Duration,
    /// The TLS handshake; the go command gives up after 10 s, and our error should come before.
    pub tls: Duration,
}

/// Why there is no upstream connection; each variant is the step that failed.
/// A lookup that gave no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedLookup {
    pub(crate) reason: DialFailure,
    /// The resolver's error, in words.
    pub(crate) why: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("cannot resolve {host}")]
    Resolve {
        /// What was looked up.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// No address could be connected to.
    #[error("cannot connect to {target} ({tried})")]
    Connect {
        /// The target.
        target: Target,
        /// The addresses tried, each with its error.
        tried: String,
    },
    /// The time for dialling ran out.
    #[error("no connection to {target} within {limit:?} ({step})")]
    Timeout {
        /// The target.
        target: Target,
        /// The limit.
        limit: Duration,
        /// The step that was not completed, and the host that did not answer.
        step: String,
    },
    /// The target is one of our own listeners.
    #[error("{target} is modtape itself")]
    Loop {
        /// The target.
        target: Target,
    },
    /// A rule of the firewall sent the connection back to modtape.
    #[error(
        "modtape's own connection to {host} was redirected back to modtape: the rules have to exempt \
         its user or its mark (`modtape env --mode transparent`)"
    )]
    Redirected {
        /// The host whose TLS was expected.
        host: String,
    },
    /// A client on another machine requested a private address that the user did not name.
    #[error(
        "{what} is {is}, and modtape accepts clients from other machines: \
         --tunnel {host} or --intercept {host} allows it"
    )]
    Private {
        /// The address, or the name where a parent proxy would resolve it.
        what: String,
        /// The purpose of the address.
        is: &'static str,
        /// The host that was requested.
        host: String,
    },
    /// The command asked for a port of this machine, which is not that of its own loopback.
    #[error(
        "{target} leads to this machine, of which a command with --netns reaches its GOPROXY and what \
         --host-port names"
    )]
    Host {
        /// The target.
        target: Target,
    },
    /// The parent proxy gave no tunnel.
    #[error("parent proxy {proxy}")]
    Parent {
        /// Its address, without credentials.
        proxy: String,
        /// Its error.
        source: ParentError,
    },
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("TLS with {host}")]
    Tls {
        /// The name that was verified.
        host: String,
        /// What was wrong.
        source: io::Error,
    },
}

/// The settings of a dialer.
pub struct Settings {
    /// Stamps each step.
    pub clock: Clock,
    /// How long each step may take.
    pub limits: Limits,
    /// TLS settings, with the roots to verify by.
    pub tls: ClientConfigs,
    /// Which parent proxy is used for which target.
    pub parents: ParentProxies,
    /// `--resolve` and `--connect-to`.
    pub overrides: Overrides,
    /// Which targets and addresses may be dialled.
    pub reach: Reach,
    /// Marks and knows our own connections, where the firewall might redirect them.
    pub sockets: OwnSockets,
}

/// Dials; cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    settings: Arc<Settings>,
    capture: Option<Capture>,
}

/// The addresses of a target.
struct Resolved {
    addresses: Vec<SocketAddr>,
    /// Whether the user gave them with `--resolve`.
    is_given: bool,
}

impl Dialer {
    /// A dialer without a capture.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            capture: None,
        }
    }

    /// The same, with all bytes that pass captured.
    #[must_use]
    pub(crate) fn capturing(self, capture: Option<Capture>) -> Self {
        Self { capture, ..self }
    }

    /// Opens TCP to `target`, through the parent proxy if there is one for it.
    ///
    /// `secure` says whether TLS will follow, which decides which proxy variable is used.
    /// `hear` is called for each step when it begins.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        secure: bool,
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> Result<Wire, DialError> {
        let limit = self.settings.limits.connect;
        journey.started = self.settings.clock.now();
        let dialling = self.connect_steps(target, secure, journey, hear);
        let outcome = tokio::time::timeout(limit, dialling).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(DialError::Timeout {
                target: target.clone(),
                limit,
                step: self.give_up(target, journey),
            })
        });
        if let Err(error) = &outcome {
            journey.failure = Some(failure::of_dial(error, journey));
        }
        outcome
    }

    /// Notes the duration of a dial that is given up, and returns its step in words.
    pub(crate) fn give_up(&self, target: &Target, journey: &mut Journey) -> String {
        let spent = self.settings.clock.now().micros_since(journey.started);
        let dns = *journey.dns_us.get_or_insert(spent);
        match journey.step {
            Step::Resolving => {}
            Step::Connecting | Step::Asking => {
                journey.connect_us = Some(spent.saturating_sub(dns));
            }
            Step::Connected => {
                let connect = journey.connect_us.unwrap_or_default();
                let shaken = spent.saturating_sub(dns).saturating_sub(connect);
                journey.tls_us.get_or_insert(shaken);
            }
        }
        journey::end_race(&self.settings.clock, &mut journey.tries);
        let tried = journey::tries_text(&journey.tries);
        match (journey.step, &journey.via) {
            (Step::Resolving, None) => format!("resolving {}", target.host()),
            (Step::Resolving, Some(via)) => format!("resolving parent proxy {via}"),
            (Step::Connecting, None) => tried,
            (Step::Connecting, Some(via)) => format!("parent proxy {via}, {tried}"),
            (Step::Asking, via) => {
                let via = via.as_deref().unwrap_or_default();
                format!("parent proxy {via} took the connection and did not answer")
            }
            (Step::Connected, _) => match journey.addr {
                Some(addr) => format!("{addr}: no answer to the TLS handshake"),
                None => String::from("no answer to the TLS handshake"),
            },
        }
    }

    async fn connect_steps(
        &self,
        target: &Target,
        secure: bool,
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> Result<Wire, DialError> {
        let Settings {
            clock,
            parents,
            reach,
            overrides,
            ..
        } = &*self.settings;
        let Dialled {
            target: dialled,
            is_chosen,
        } = overrides.dialled(target);
        let parent = parents
            .proxy_for(&dialled, secure)
            .map_err(|source| DialError::Parent {
                proxy: String::from("settings"),
                source,
            })?;
        let next_hop = parent.as_ref().map_or(&dialled, |parent| parent.target());
        journey.via = parent.as_ref().map(ToString::to_string);
        if let Some(via) = &journey.via {
            hear(News::Through(via));
        }
        let bound = !is_chosen && reach.is_bound(target);
        if parent.is_some() {
            let checked = reach.check_spelling(&dialled, bound);
            let checked = checked.and_then(|()| match is_chosen {
                true => Ok(()),
                false => reach.check_host_spelling(&dialled),
            });
            checked.map_err(|barred| barred_from(barred, target))?;
        }

        hear(News::Entered(Phase::Dns));
        let resolving = clock.now();
        let resolved = self.resolve(next_hop).await;
        let connecting = clock.now();
        journey.dns_us = Some(connecting.micros_since(resolving));
        let Resolved {
            addresses,
            is_given,
        } = resolved?;
        let bound = bound && parent.is_none() && !is_given;
        let is_users = is_chosen || is_given || parent.is_some();
        for address in &addresses {
            let checked = reach.check(*address, bound);
            let checked = checked.and_then(|()| match is_users {
                true => Ok(()),
                false => reach.check_host(*address, target),
            });
            checked.map_err(|barred| barred_from(barred, target))?;
        }

        let capture = self.capture.as_ref();
        if let Some(capture) = capture.filter(|_| next_hop.ip().is_none()) {
            capture.names(&addresses, next_hop.host());
        }
        hear(News::Entered(Phase::Connect));
        journey.step = Step::Connecting;
        let race = Race {
            clock,
            hear,
            capture,
            sockets: &self.settings.sockets,
        };
        let raced = race.run(&addresses, &mut journey.tries).await;
        let mut stream = raced.ok_or_else(|| DialError::Connect {
            target: next_hop.clone(),
            tried: journey::tries_text(&journey.tries),
        });
        if let (Ok(stream), Some(parent)) = (&mut stream, &parent) {
            journey.step = Step::Asking;
            hear(News::Asking);
            if let Err(source) = parent.open(stream, &dialled).await {
                journey.connect_us = Some(clock.now().micros_since(connecting));
                return Err(DialError::Parent {
                    proxy: parent.to_string(),
                    source,
                });
            }
        }
        journey.connect_us = Some(clock.now().micros_since(connecting));
        let stream = stream?;
        journey.step = Step::Connected;
        journey.addr = stream.socket().peer_addr().ok();
        journey.local_addr = stream.socket().local_addr().ok();
        Ok(stream)
    }

    /// Completes TLS for `host`, offering `protocols`.
    pub(crate) async fn handshake(
        &self,
        stream: Wire,
        host: &str,
        protocols: &[Protocol],
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> Result<TlsStream<Wire>, DialError> {
        let config = self.settings.tls.offering(protocols);
        self.handshake_with(config, stream, host, journey, hear)
            .await
    }

    /// The same with these TLS settings.
    async fn handshake_with(
        &self,
        config: Arc<ClientConfig>,
        stream: Wire,
        host: &str,
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> Result<TlsStream<Wire>, DialError> {
        let is_redirected = stream.is_redirected();
        let shaken = self
            .handshake_steps(config, stream, host, journey, hear)
            .await;
        shaken.map_err(|source| {
            if is_redirected.is_some_and(|is_redirected| is_redirected.load(Ordering::Relaxed)) {
                let host = host.to_owned();
                journey.failure = Some(DialFailure::Forbidden);
                return DialError::Redirected { host };
            }
            journey.failure = Some(failure::of_tls(&source));
            DialError::Tls {
                host: host.to_owned(),
                source: readable(source),
            }
        })
    }

    async fn handshake_steps(
        &self,
        config: Arc<ClientConfig>,
        stream: Wire,
        host: &str,
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> io::Result<TlsStream<Wire>> {
        let Settings { clock, limits, .. } = &*self.settings;
        hear(News::Entered(Phase::Tls));
        let started = clock.now();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(config);
        let captured = stream.stream().cloned();
        captured.iter().for_each(Stream::shakes);
        let outcome = tokio::time::timeout(limits.tls, connector.connect(name, stream)).await;
        journey.tls_us = Some(clock.now().micros_since(started));
        let stream = outcome.map_err(|_| {
            let text = format!("no answer within {:?}", limits.tls);
            io::Error::new(io::ErrorKind::TimedOut, text)
        })??;
        captured.iter().for_each(Stream::settles);
        let (_, session) = stream.get_ref();
        journey.alpn = session.alpn_protocol().and_then(Protocol::from_alpn);
        journey.tls = session.protocol_version().map(crate::tls::version_name);
        let certificates = session.peer_certificates().unwrap_or_default();
        journey.issuer = certificates.first().and_then(|own| crate::tls::issuer(own));
        Ok(stream)
    }

    /// The addresses that a client would have been given for `target`: those of `--resolve`, else of the
    /// system's resolver.
    pub(crate) async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, DialError> {
        let resolved = self.resolve(target).await?;
        Ok(resolved.addresses)
    }

    /// The addresses of a host by its full name, as a resolver gives them without its list of domains.
    /// `None` where nobody asks for them: a parent proxy does, or the user says where the host leads.
    pub(crate) async fn host_addresses(
        &self,
        host: &Target,
    ) -> Result<Option<Vec<IpAddr>>, FailedLookup> {
        let Settings {
            overrides, parents, ..
        } = &*self.settings;
        let is_direct = matches!(parents.proxy_for(host, true), Ok(None));
        if overrides.name(host.host()) || !is_direct {
            return Ok(None);
        }
        let found = tokio::net::lookup_host((format!("{}.", host.host()), host.port())).await;
        let addresses: Vec<_> = match found {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(source) => {
                let reason = failure::of_lookup(&source);
                let host = host.host().to_owned();
                let why = chain(&DialError::Resolve { host, source });
                return Err(FailedLookup { reason, why });
            }
        };
        Ok(Some(addresses))
    }

    async fn resolve(&self, target: &Target) -> Result<Resolved, DialError> {
        let resolved = |addresses, is_given| Resolved {
            addresses,
            is_given,
        };
        if let Some(ip) = target.ip() {
            return Ok(resolved(vec![SocketAddr::new(ip, target.port())], false));
        }
        if let Some(addresses) = self.settings.overrides.addresses(target) {
            return Ok(resolved(addresses, true));
        }
        let failed = |source| DialError::Resolve {
            host: target.host().to_owned(),
            source,
        };
        let found = tokio::net::lookup_host((target.host(), target.port())).await;
        let addresses: Vec<_> = found.map_err(failed)?.collect();
        if addresses.is_empty() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        Ok(resolved(addresses, false))
    }
}

fn barred_from(barred: Barred, target: &Target) -> DialError {
    match barred {
        Barred::Own => DialError::Loop {
            target: target.clone(),
        },
        Barred::Private { what, is } => DialError::Private {
            what,
            is,
            host: target.host().to_owned(),
        },
        Barred::Host => DialError::Host {
            target: target.clone(),
        },
    }
}
