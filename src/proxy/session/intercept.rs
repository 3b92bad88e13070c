//! Interception: TLS with the upstream, then with the client in the protocol that came of it.
//!
//! An upstream whose TLS fails is told to the client inside a completed handshake: each request is
//! answered with the reason, and no octet of the origin passes.

use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{AlertDescription, Error};

use super::connect::{GAVE_UP, leaves};
use super::opening::Asked;
use super::{ClientIo, Connection, Dialled, Next};
use crate::capture::Stream;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{DISTRUST, Mode, Phase, Target, chain};
use crate::proxy::connection_log::note_opened;
use crate::proxy::context::Responder;
use crate::proxy::io::Prefixed;
use crate::proxy::room::Doing;
use crate::proxy::upstream_connection::UpstreamIo;
use crate::proxy::upstreams::{Channel, Destination, First};
use crate::tls::{self, Protocol, alert_name, in_words};
use crate::upstream::News;

impl Connection {
    /// Shakes hands with the upstream, then with the client in the protocol that came of it, both in
    /// the name of `host`.
    pub(super) async fn intercept(
        &self,
        mut io: Prefixed<ClientIo>,
        (host, asked): (String, Asked),
        mut dialled: Dialled,
    ) -> Next {
        let seat = &self.place.seat;
        seat.does(Doing::Working);
        let mut ahead = BytesMut::new();
        let leg = (io.stream(), &mut ahead);
        let (upstream, broken) = self.upstream_tls(leg, &host, &asked, &mut dialled).await;
        io.add(&ahead);
        seat.does(Doing::Opening(self.context.clock.now()));
        let offered = self.client_protocols(&host, &asked, &dialled, broken.is_some());
        let mut client = self.client();
        client.sni = asked.server_name;
        let accepted = self.accept(io, &host, &offered).await;
        if let Ok(tls) = &accepted {
            let (_, session) = tls.get_ref();
            let alpn = session.alpn_protocol().and_then(Protocol::from_alpn);
            client.alpn = alpn.map(|protocol| protocol.name().to_owned());
            client.tls = session
                .protocol_version()
                .map(|v| tls::version_name(v).to_owned());
        }
        let refusal = accepted.as_ref().err().cloned();
        let what = (self.id, self.started, Mode::Intercept);
        let journey = self.context.is_live().then_some(&dialled.journey);
        let target = dialled.target.to_string();
        let error = broken.clone().or(refusal);
        note_opened(&self.context, what, &target, &client, (journey, error));
        let tls = match accepted {
            Ok(tls) => tls,
            Err(why) => return Next::Over(why),
        };
        let protocol = match client.alpn.as_deref() {
            Some("h2") => Protocol::H2,
            _ => Protocol::Http1,
        };
        let now = self.context.clock.now();
        let grace = u64::try_from(self.context.deadlines.first_request.as_micros());
        let first = First {
            started: self.started,
            until: Timestamp::from_micros(now.as_micros() + grace.unwrap_or(u64::MAX / 2)),
            journey: dialled.journey,
        };
        let target = match Target::new(&host, dialled.target.port()) {
            Ok(target) => target,
            Err(error) => return Next::Over(error.to_string()),
        };
        let destination = Destination::Tunnelled {
            target: dialled.target,
            host: target.host().to_owned(),
        };
        let parts = (destination, protocol);
        let first = self.context.is_live().then_some(first);
        let channel = Channel::new(&self.context, self.id, client, parts, broken, first);
        let channel = channel.captured_as(self.stream.clone());
        let channel = Arc::new(channel);
        if let Some(upstream) = upstream {
            channel.pair_with(&target, upstream).await;
        }
        Next::Intercepted(channel, Box::new(tls))
    }

    /// The upstream handshake, as long as the client is there to wait; a failure becomes the reason
    /// that every request is answered with. What the client says meanwhile is added to `ahead`.
    async fn upstream_tls(
        &self,
        (client, ahead): (&mut ClientIo, &mut BytesMut),
        host: &str,
        asked: &Asked,
        dialled: &mut Dialled,
    ) -> (Option<UpstreamIo>, Option<String>) {
        let (Responder::Upstream(dialer), Some(stream)) =
            (&self.context.responder, dialled.upstream.take())
        else {
            return (None, None);
        };
        let entry = self.context.live.begin(None, host, None, Phase::Tls);
        entry.goes_through(dialled.journey.via.as_deref());
        let addr = dialled.journey.addr;
        entry.connected(addr.map(|addr| addr.to_string()));
        let protocols = &asked.protocols;
        let journey = &mut dialled.journey;
        let hear = |news: News<'_>| entry.hears(news);
        let began = self.context.clock.now();
        let why = tokio::select! {
            shaken = dialer.handshake(stream, host, protocols, journey, &hear) => {
                entry.done();
                return match shaken {
                    Ok(tls) => (Some(UpstreamIo::Tls(Box::new(tls))), None),
                    Err(error) => (None, Some(chain(&error))),
                };
            }
            () = leaves(client, ahead) => self.context.left(GAVE_UP),
            () = self.context.stop.cancelled() => self.context.stopped(),
        };
        journey.tls_us = Some(self.context.clock.now().micros_since(began));
        let at = addr.map_or_else(String::new, |addr| format!(" ({addr}: no answer)"));
        (
            None,
            Some(format!("{why} while {host} was shaking hands{at}")),
        )
    }

    /// What the client is offered: just what the upstream chose, so that both legs speak the same.
    fn client_protocols(
        &self,
        host: &str,
        asked: &Asked,
        dialled: &Dialled,
        broken: bool,
    ) -> Vec<Protocol> {
        let chosen = match &self.context.responder {
            Responder::Upstream(_) if broken => asked.protocols.first().copied(),
            Responder::Upstream(_) => dialled.journey.alpn,
            Responder::Replay(replay) => replay
                .protocol(host)
                .filter(|protocol| asked.protocols.contains(protocol))
                .or_else(|| asked.protocols.first().copied()),
        };
        chosen.into_iter().collect()
    }

    /// Our handshake with the client, with a leaf for `host`.
    async fn accept(
        &self,
        io: Prefixed<ClientIo>,
        host: &str,
        offered: &[Protocol],
    ) -> Result<tokio_rustls::server::TlsStream<Prefixed<ClientIo>>, String> {
        let now = Clock::wall_now();
        let settings = self.context.leafs.settings(host, offered, now);
        let settings = settings.map_err(|error| chain(&error))?;
        self.stream.iter().for_each(Stream::shakes);
        let accepting = tokio_rustls::TlsAcceptor::from(settings).accept(io);
        let limit = self.context.deadlines.client_hello;
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(limit, accepting) => accepted,
            () = self.context.stop.cancelled() => return Err(self.context.stopped()),
        };
        match accepted {
            Ok(Ok(tls)) => {
                self.stream.iter().for_each(Stream::settles);
                Ok(tls)
            }
            Ok(Err(error)) => Err(self.context.left(&failure(&error))),
            Err(_) => Err(format!("the client did not complete TLS within {limit:?}")),
        }
    }
}

/// Names a failure of our handshake with the client.
pub(super) fn failure(error: &io::Error) -> String {
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
