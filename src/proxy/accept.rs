//! What a handshake that failed on the client leg means, in the user's words.
//!
//! Nearly always the client does not know our root: then its alert says so (RFC 8446 section 6.2),
//! or it leaves once it has seen our certificate. Every text begins with "the client", which tells
//! these failures from the upstream's ([`Opened::is_the_clients`]).
//!
//! [`Opened::is_the_clients`]: crate::exchange::Opened::is_the_clients

use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};

use rustls::{AlertDescription, Error};

use crate::exchange::DISTRUST;
use crate::tls::{alert_name, in_words};

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
