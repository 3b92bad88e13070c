//! Probes of a host before any command needs it: each step of a dial, by the dialer's own code.
//!
//! Everything is measured side by side, and all of it ends within [`TOTAL`].

mod dns;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

pub(crate) use requests::Ask;

use super::eyeballs::Race;
use super::{DialError, Dialer, Journey, Limits, ParentError, Step as DialStep, journey};
use crate::capture::Wire;
use crate::clock::Clock;
use crate::diagnose::doctor::facts::{
    Asked, Certificate, Failure, Handshake, Host, Lookup, Outcome, Step, Tcp, Verdict,
};
use crate::exchange::{Target, chain};
use crate::tls::{self, Hello, Protocol, Roots, Seen, SeenCertificate};
use dns::Resolvers;

/// How long the steps of a dial may take.
pub(crate) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(9),
    tls: Duration::from_secs(9),
};

/// How long the probe of a host may take, with its requests.
const TOTAL: Duration = Duration::from_millis(9_500);

/// A host to probe.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Where it is.
    pub(crate) target: Target,
    /// Whether it is reached by https.
    pub(crate) is_secure: bool,
    /// What is asked there, in order.
    pub(crate) asks: Vec<Ask>,
}

/// The roots of a probe.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    /// All of them.
    pub(crate) roots: Roots,
    /// Those of the system, which is what go trusts.
    pub(crate) system: Roots,
}

/// Finds out how `site` is reached. The answers to what was asked are in the same order.
pub(crate) async fn probe(dialer: Dialer, trust: Trust, site: Site) -> (Host, Vec<Asked>) {
    let clock = dialer.settings.clock;
    let deadline = clock.instant(clock.now() + TOTAL);
    let probe = Probe {
        dialer,
        trust,
        site,
        deadline,
    };
    let (network, small, large) = tokio::join!(
        probe.network(),
        probe.path(Hello::Small),
        probe.path(Hello::PostQuantum)
    );
    let (lookup, tcp) = network;
    let name = match probe.site.is_secure {
        true => probe.site.target.authority(443),
        false => probe.site.target.authority(80),
    };
    let host = Host {
        name,
        via: small.via,
        lookup,
        tcp,
        dial: small.dial,
        small: small.handshake,
        large: large.handshake,
        places: Vec::new(),
    };
    (host, small.answers)
}

struct Probe {
    dialer: Dialer,
    trust: Trust,
    site: Site,
    deadline: Instant,
}

/// A connection, as far as it came.
#[derive(Default)]
struct Path {
    via: Option<String>,
    dial: Outcome,
    handshake: Option<Handshake>,
    answers: Vec<Asked>,
}

impl Probe {
    fn clock(&self) -> &Clock {
        &self.dialer.settings.clock
    }

    /// The name of the next hop and TCP to its addresses, by family.
    async fn network(&self) -> (Option<Lookup>, Vec<Tcp>) {
        let settings = &*self.dialer.settings;
        let dialled = settings.overrides.dialled(&self.site.target).target;
        let Ok(parent) = settings.parents.proxy_for(&dialled, self.site.is_secure) else {
            return (None, Vec::new());
        };
        let next_hop = parent.as_ref().map_or(&dialled, |parent| parent.target());
        let is_given = settings.overrides.addresses(next_hop).is_some();
        let has_name = next_hop.ip().is_none() && !is_given;
        let (resolved, queries) = tokio::join!(self.resolve(next_hop), async {
            match has_name {
                true => {
                    Resolvers::of_system()
                        .ask(next_hop.host(), self.clock())
                        .await
                }
                false => Vec::new(),
            }
        });
        let (took_us, resolved) = resolved;
        let lookup = has_name.then(|| Lookup {
            name: next_hop.host().to_owned(),
            took_us,
            error: resolved.as_ref().err().cloned(),
            queries,
        });
        let addresses = resolved.unwrap_or_default();
        let family = |is_v6| {
            let of_family = addresses.iter().filter(move |one| one.is_ipv6() == is_v6);
            self.tcp(is_v6, of_family.copied().collect())
        };
        let (v4, v6) = tokio::join!(family(false), family(true));
        (lookup, v4.into_iter().chain(v6).collect())
    }

    /// The addresses of the next hop, and how long the lookup took, microseconds.
    async fn resolve(&self, next_hop: &Target) -> (u64, Result<Vec<SocketAddr>, String>) {
        let begun = self.clock().now();
        let limit = self.dialer.settings.limits.connect;
        let resolved = tokio::time::timeout(limit, self.dialer.resolve(next_hop)).await;
        let took_us = self.clock().now().micros_since(begun);
        let resolved = match resolved {
            Ok(Ok(resolved)) => Ok(resolved.addresses),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("no answer within {limit:?}")),
        };
        (took_us, resolved)
    }

    /// TCP to the addresses of one family, if there are any.
    async fn tcp(&self, is_v6: bool, addresses: Vec<SocketAddr>) -> Option<Tcp> {
        if addresses.is_empty() {
            return None;
        }
        let clock = self.clock();
        let begun = clock.now();
        let race = Race {
            clock,
            hear: &|_| (),
            capture: None,
            sockets: &self.dialer.settings.sockets,
        };
        let mut tries = Vec::new();
        // Over before a dial of both families would be, which begins with a lookup of its own.
        let limit = clock.instant(begun + self.dialer.settings.limits.connect);
        let limit = limit.min(self.deadline);
        let raced = tokio::time::timeout_at(limit, race.run(&addresses, &mut tries)).await;
        journey::end_race(clock, &mut tries);
        let is_connected = matches!(raced, Ok(Some(_)));
        Some(Tcp {
            is_v6,
            addresses: addresses.len(),
            took_us: clock.now().micros_since(begun),
            error: (!is_connected).then(|| journey::tries_text(&tries)),
        })
    }

    /// Dials, shakes hands and, with the small ClientHello, sends the requests.
    async fn path(&self, hello: Hello) -> Path {
        let Site {
            target, is_secure, ..
        } = &self.site;
        // In clear text there is no ClientHello to compare.
        if !is_secure && hello == Hello::PostQuantum {
            return Path::default();
        }
        let mut journey = Journey::default();
        let connected = self
            .dialer
            .connect(target, *is_secure, &mut journey, &|_| ());
        let connected = connected.await;
        let mut path = Path {
            via: journey.via.clone(),
            ..Path::default()
        };
        let wire = match connected {
            Ok(wire) => wire,
            Err(error) => {
                path.dial = Outcome::Failed(failure(&error, &journey));
                return path;
            }
        };
        path.dial = Outcome::Took(journey.connect_us.unwrap_or(0));
        let mut protocol = Protocol::Http1;
        let io = match is_secure {
            false => Either::Left(wire),
            true => {
                let (handshake, stream) = self.shake(wire, hello, &mut journey).await;
                path.handshake = Some(handshake);
                protocol = journey.alpn.unwrap_or(Protocol::Http1);
                match stream {
                    Some(stream) => Either::Right(stream),
                    None => return path,
                }
            }
        };
        if hello == Hello::Small {
            let tasks = TaskTracker::new();
            path.answers = requests::ask(self, io, protocol, &tasks).await;
        }
        path
    }

    /// Another connection like the one that was measured.
    async fn connect_again(&self) -> Result<(requests::Connection, Protocol), String> {
        let Site {
            target, is_secure, ..
        } = &self.site;
        let mut journey = Journey::default();
        let connected = self
            .dialer
            .connect(target, *is_secure, &mut journey, &|_| ());
        let wire = connected.await.map_err(|error| chain(&error))?;
        if !is_secure {
            return Ok((Either::Left(wire), Protocol::Http1));
        }
        let (handshake, stream) = self.shake(wire, Hello::Small, &mut journey).await;
        let protocol = journey.alpn.unwrap_or(Protocol::Http1);
        match stream {
            Some(stream) => Ok((Either::Right(stream), protocol)),
            None => Err(handshake.error.unwrap_or_default()),
        }
    }

    /// One handshake, with what the server showed.
    async fn shake(
        &self,
        wire: Wire,
        hello: Hello,
        journey: &mut Journey,
    ) -> (Handshake, Option<Box<TlsStream<Wire>>>) {
        let host = self.site.target.host().to_owned();
        let seen = Seen::default();
        let Trust { roots, system } = &self.trust;
        let config = tls::watched(roots, system, hello, &seen);
        let config = tls::offer(config, &[Protocol::H2, Protocol::Http1]);
        let name = ServerName::try_from(host.clone());
        let hello_bytes = name.map(|name| tls::hello_bytes(Arc::clone(&config), name));
        let begun = self.clock().now();
        let hear = |_: super::News<'_>| ();
        let shaken = self
            .dialer
            .handshake_with(config, wire, &host, journey, &hear);
        let shaken = tokio::time::timeout_at(self.deadline, shaken).await;
        let took_us = self.clock().now().micros_since(begun);
        let (error, is_silent, stream) = match shaken {
            Ok(Ok(stream)) => (None, false, Some(Box::new(stream))),
            Ok(Err(DialError::Tls { source, .. })) => {
                let is_silent = source.kind() == std::io::ErrorKind::TimedOut;
                (Some(source.to_string()), is_silent, None)
            }
            Ok(Err(error)) => (Some(chain(&error)), false, None),
            Err(_) => (Some(String::from("no answer")), true, None),
        };
        let handshake = Handshake {
            took_us,
            error,
            is_silent,
            hello_bytes: hello_bytes.unwrap_or(0),
            version: journey.tls,
            alpn: journey.alpn.map(Protocol::name),
            certificate: seen.get().map(certificate),
        };
        (handshake, stream)
    }
}

/// Which step of a dial failed.
fn failure(error: &DialError, journey: &Journey) -> Failure {
    let step = match error {
        DialError::Resolve { .. } => Step::Lookup,
        DialError::Connect { .. } => Step::Tcp,
        DialError::Parent { source, .. } => match source {
            ParentError::Scheme(scheme) if scheme == "https" => Step::Untested,
            ParentError::Scheme(_) | ParentError::Address(_) => Step::Settings,
            ParentError::Unauthorized { .. } => Step::Parent {
                is_unauthorized: true,
            },
            _ => Step::Parent {
                is_unauthorized: false,
            },
        },
        DialError::Timeout { .. } => match journey.step {
            DialStep::Resolving => Step::Lookup,
            DialStep::Connecting | DialStep::Connected => Step::Tcp,
            DialStep::Asking => Step::Parent {
                is_unauthorized: false,
            },
        },
        DialError::Loop { .. }
        | DialError::Host { .. }
        | DialError::Redirected { .. }
        | DialError::Private { .. }
        | DialError::Tls { .. } => Step::Settings,
    };
    let dns_us = journey.dns_us.unwrap_or(0);
    Failure {
        step,
        text: chain(error),
        after_us: dns_us + journey.connect_us.unwrap_or(0),
    }
}

fn certificate(seen: &SeenCertificate) -> Certificate {
    use rustls::CertificateError as Error;
    let verdict = match &seen.error {
        None => Verdict::Trusted,
        Some(_) if seen.is_issuer_unknown => Verdict::UnknownIssuer,
        Some(Error::Expired | Error::ExpiredContext { .. }) => Verdict::Expired,
        Some(Error::NotValidYet | Error::NotValidYetContext { .. }) => Verdict::NotYetValid,
        Some(Error::NotValidForName | Error::NotValidForNameContext { .. }) => Verdict::WrongName,
        Some(_) => Verdict::Other,
    };
    let until = seen.not_after.and_then(|until| {
        let seconds = i64::try_from(until.as_secs()).ok()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    });
    let now = OffsetDateTime::from(Clock::wall_now());
    Certificate {
        issuer: seen.issuer.clone(),
        issuer_organisation: seen.issuer_organisation.clone(),
        expires: until.map(|until| until.date().to_string()),
        valid_s: until.map(|until| (until - now).whole_seconds()),
        verdict,
        is_trusted_by_go: seen.is_trusted_by_system,
    }
}
