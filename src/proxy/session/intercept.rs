//! Interception: TLS with the upstream, then with the client in the protocol that the upstream
//! chose.
//!
//! An upstream whose TLS fails is told to the client inside a completed handshake: each request is
//! answered with the reason, and no byte of the origin passes.
//!
//! Our own handshake nearly always fails because the client does not know our root: then its alert
//! says so (RFC 8446 section 6.2), or it leaves once it has seen our certificate. Every text begins
//! with "the client", which tells these failures from the upstream's ([`Opened::is_the_clients`]).
//!
//! [`Opened::is_the_clients`]: crate::exchange::Opened::is_the_clients

use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{AlertDescription, Error};
use tokio_rustls::server::TlsStream;

use super::client::{Client, ClientIo};
use super::connect::{Dialled, GAVE_UP, Hello, leaves};
use super::serve;
use crate::capture::Stream;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{DISTRUST, Mode, Phase, Target, chain};
use crate::proxy::client_leg::{ClientLeg, Destination};
use crate::proxy::context::Responder;
use crate::proxy::io::Prefixed;
use crate::proxy::upstream_connection::UpstreamIo;
use crate::proxy::upstreams::{FirstDial, Upstreams};
use crate::tls::{self, Protocol, alert_name, in_words};
use crate::upstream::News;

/// Both handshakes are over, and requests may come.
pub(super) struct Intercepted {
    upstreams: Arc<Upstreams>,
    // Boxed: a future holds a value once for every step that passes it on.
    io: Box<TlsStream<Prefixed<ClientIo>>>,
}

impl Intercepted {
    /// Shakes hands with the upstream, then with the client in the protocol that the upstream chose,
    /// both in the name of the same host.
    pub(super) async fn after(mut hello: Hello, client: &Client) -> Result<Self, String> {
        let context = &client.context;
        client.place.waits_for_upstream();
        let shaken = upstream_tls(&mut hello, client).await;
        client.place.waits_for_client();
        let (upstream, failure) = match shaken {
            Ok(upstream) => (upstream, None),
            Err(why) => (None, Some(why)),
        };
        let offered = client_protocol(&hello, client, failure.is_some());
        let Hello {
            io,
            host,
            client_hello,
            dialled,
        } = hello;
        let accepted = accept(client, io, &host, offered).await;
        let mut side = client.side();
        side.sni = client_hello.server_name;
        let mut protocol = None;
        if let Ok(tls) = &accepted {
            let (_, session) = tls.get_ref();
            protocol = session.alpn_protocol().and_then(Protocol::from_alpn);
            side.alpn = protocol.map(|protocol| protocol.name().to_owned());
            let version = session.protocol_version();
            side.tls = version.map(|version| tls::version_name(version).to_owned());
        }
        let journey = context.is_live().then_some(&dialled.journey);
        let error = failure.as_ref().or_else(|| accepted.as_ref().err());
        client.opened(
            Mode::Intercept,
            &dialled.target.to_string(),
            &side,
            journey,
            error.map(String::as_str),
        );
        let tls = accepted?;
        let Dialled {
            target, journey, ..
        } = dialled;
        let named = Target::new(&host, target.port()).map_err(|error| error.to_string())?;
        let first = context.is_live().then(|| FirstDial {
            started: client.started,
            journey,
            until: grace_ends(client),
        });
        let leg = ClientLeg::new(
            context,
            client.id,
            side,
            Destination::Tunnelled {
                target,
                host: named.host().to_owned(),
            },
            protocol.unwrap_or(Protocol::Http1),
            client.captured.clone(),
        );
        let upstreams = Upstreams::new(leg, first, failure);
        if let Some(upstream) = upstream {
            upstreams.adopt(&named, upstream).await;
        }
        Ok(Self {
            upstreams,
            io: Box::new(tls),
        })
    }

    /// Serves the requests inside.
    pub(super) async fn serve(self, client: &Client) -> String {
        serve::run(client, self.upstreams, self.io, None).await
    }
}

/// Until when a request still owns the dial.
fn grace_ends(client: &Client) -> Timestamp {
    let now = client.context.clock.now();
    let grace = client.context.deadlines.first_request.as_micros();
    let grace = u64::try_from(grace).unwrap_or(u64::MAX / 2);
    Timestamp::from_micros(now.as_micros() + grace)
}

/// The upstream handshake, as long as the client is there to wait; the error is what every request
/// is answered with. `None` in a replay. What the client sends meanwhile is given back to its stream.
async fn upstream_tls(hello: &mut Hello, client: &Client) -> Result<Option<UpstreamIo>, String> {
    let context = &client.context;
    let host = &hello.host;
    let Dialled {
        upstream, journey, ..
    } = &mut hello.dialled;
    let (Responder::Upstream(dialer), Some(stream)) = (&context.responder, upstream.take()) else {
        return Ok(None);
    };
    let entry = context.live.begin(None, host, None, Phase::Tls);
    let addr = journey.addr;
    entry.connected(
        addr.map(|addr| addr.to_string().into()),
        journey.via.as_deref().map(Into::into),
    );
    let protocols = &hello.client_hello.protocols;
    let hear = |news: News<'_>| entry.hears(news);
    let began = context.clock.now();
    let mut ahead = BytesMut::new();
    let why = tokio::select! {
        shaken = dialer.handshake(stream, host, protocols, journey, &hear) => {
            entry.done();
            hello.io.add(&ahead);
            return match shaken {
                Ok(tls) => Ok(Some(UpstreamIo::Tls(Box::new(tls)))),
                Err(error) => Err(chain(&error)),
            };
        }
        () = leaves(hello.io.stream(), &mut ahead) => context.left(GAVE_UP),
        () = context.stop.cancelled() => context.stopped(),
    };
    hello.io.add(&ahead);
    journey.tls_us = Some(context.clock.now().micros_since(began));
    let at = addr.map_or_else(String::new, |addr| format!(" ({addr}: no answer)"));
    Err(format!("{why} while {host} was shaking hands{at}"))
}

/// The protocol that the client is offered: the one that the upstream chose, so that both legs speak
/// the same.
fn client_protocol(hello: &Hello, client: &Client, upstream_failed: bool) -> Option<Protocol> {
    let wanted = &hello.client_hello.protocols;
    let preferred = wanted.first().copied();
    match &client.context.responder {
        Responder::Upstream(_) if upstream_failed => preferred,
        Responder::Upstream(_) => hello.dialled.journey.alpn,
        Responder::Replay(replay) => {
            let recorded = replay.protocol(&hello.host);
            let recorded = recorded.filter(|protocol| wanted.contains(protocol));
            recorded.or(preferred)
        }
    }
}

/// Our handshake with the client, with a leaf for `host`.
async fn accept(
    client: &Client,
    io: Prefixed<ClientIo>,
    host: &str,
    offered: Option<Protocol>,
) -> Result<TlsStream<Prefixed<ClientIo>>, String> {
    let context = &client.context;
    let settings = context
        .leafs
        .settings(host, offered.as_slice(), Clock::wall_now());
    let settings = settings.map_err(|error| chain(&error))?;
    client.captured.iter().for_each(Stream::shakes);
    let accepting = tokio_rustls::TlsAcceptor::from(settings).accept(io);
    let limit = context.deadlines.client_hello;
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(limit, accepting) => accepted,
        () = context.stop.cancelled() => return Err(context.stopped()),
    };
    match accepted {
        Ok(Ok(tls)) => {
            client.captured.iter().for_each(Stream::settles);
            Ok(tls)
        }
        Ok(Err(error)) => Err(context.left(&failure(&error))),
        Err(_) => Err(format!("the client did not complete TLS within {limit:?}")),
    }
}

/// Names a failure of our handshake with the client.
fn failure(error: &io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match (tls, error.kind()) {
        (Some(Error::AlertReceived(alert)), _) => of_alert(*alert),
        (Some(Error::PeerIncompatible(_)), _) => {
            String::from("the client offers no TLS that modtape speaks: 1.3, and 1.2 with AEAD")
        }
        (Some(tls), _) => format!("the client's TLS failed: {}", in_words(tls)),
        (None, UnexpectedEof | ConnectionReset | BrokenPipe) => String::from(
            "the client broke off once it had modtape's certificate, without an alert, as some do \
             that do not trust its root",
        ),
        _ => format!("the client's TLS failed: {error}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let name = alert_name(alert);
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown => {
            format!("{DISTRUST}: it sent the alert {name}")
        }
        AlertDescription::CertificateExpired => format!(
            "the client takes modtape's certificate for expired: its clock is wrong, or the run is \
             older than its root (alert {name})"
        ),
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => {
            format!("the client broke off the handshake (alert {name})")
        }
        _ => format!("the client refused modtape's handshake: it sent the alert {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert: AlertDescription) -> String {
        failure(&io::Error::other(Error::AlertReceived(alert)))
    }

    #[test]
    fn alerts_are_spelled_as_in_the_rfc() {
        for (alert, spelled) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadCertificate, "bad_certificate"),
            (AlertDescription::CertificateUnknown, "certificate_unknown"),
            (
                AlertDescription::NoApplicationProtocol,
                "no_application_protocol",
            ),
            (AlertDescription::Unknown(200), "200"),
        ] {
            assert_eq!(alert_name(alert), spelled);
        }
    }

    #[test]
    fn distrust_is_told_from_other_refusals() {
        for word in [
            AlertDescription::UnknownCA,
            AlertDescription::BadCertificate,
            AlertDescription::CertificateUnknown,
        ] {
            assert!(alert(word).starts_with(DISTRUST));
        }
        for word in [
            AlertDescription::CertificateExpired,
            AlertDescription::InternalError,
            AlertDescription::CloseNotify,
        ] {
            let text = alert(word);
            assert!(!text.starts_with(DISTRUST), "{text}");
            assert!(text.starts_with("the client "), "{text}");
        }
    }
}
