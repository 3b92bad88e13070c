//! TLS errors for people: one sentence each, without the type names of a library.
//!
//! In the sentences the peer is "it"; they follow its name: `TLS with a.example: its certificate
//! expired on 2021-01-01`.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};
use time::OffsetDateTime;

use super::verify::{Distrust, of_webpki};

/// How many names of a certificate are listed.
const NAMES: usize = 3;

/// The same error with a message for people; an error that is not from TLS does not change.
pub(crate) fn readable(error: io::Error) -> io::Error {
    let Some(inner) = error.get_ref() else {
        return error;
    };
    let words = match inner.downcast_ref::<Error>() {
        Some(tls) => in_words(tls),
        None if inner.to_string() == HANDSHAKE_EOF => {
            String::from("it closed the connection in the middle of the handshake")
        }
        None => return error,
    };
    io::Error::new(error.kind(), words)
}

/// tokio-rustls's message for a connection that ends within the handshake.
const HANDSHAKE_EOF: &str = "tls handshake eof";

/// What a TLS error means.
pub(crate) fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::AlertReceived(alert) => format!("it sent the alert {}", alert_name(*alert)),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::PeerSentOversizedRecord => {
            String::from("its answer is not TLS, or was damaged on the way")
        }
        Error::InappropriateHandshakeMessage { .. } => {
            String::from("it breaks the rules of TLS (a handshake message out of turn)")
        }
        Error::NoCertificatesPresented => String::from("it sent no certificate"),
        Error::DecryptError => String::from("what it sent cannot be decrypted"),
        Error::NoApplicationProtocol => {
            String::from("it speaks none of the protocols that were offered")
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => String::from("it supports only TLS 1.1 or older, which is not secure"),
        Error::PeerIncompatible(why) => format!(
            "it and modtape have no TLS version and cipher suite in common: modtape supports TLS 1.3, \
             and TLS 1.2 with AEAD ({})",
            spaced(why)
        ),
        Error::PeerMisbehaved(why) => format!("it breaks the rules of TLS ({})", spaced(why)),
        Error::General(text) => text.clone(),
        other => format!("TLS failed ({})", spaced(other)),
    }
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired on {}{}",
            date(*not_after),
            today(*time)
        ),
        CertificateError::Expired => String::from("its certificate has expired"),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is not valid before {}{}",
            date(*not_before),
            today(*time)
        ),
        CertificateError::NotValidYet => String::from("its certificate is not valid yet"),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            format!(
                "its certificate is not for the name {expected}{}",
                names(presented)
            )
        }
        CertificateError::NotValidForName => {
            String::from("its certificate is not for the name that was asked for")
        }
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer(None).to_string(),
        CertificateError::Revoked => String::from("its certificate was revoked"),
        CertificateError::BadSignature => {
            String::from("a signature in its handshake or of its certificates is wrong")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            String::from(OLD_SIGNATURE)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            String::from("its certificate, or an issuer's, is not meant for servers")
        }
        CertificateError::BadEncoding => String::from("its certificate cannot be read"),
        CertificateError::UnhandledCriticalExtension => String::from(UNKNOWN_CRITICAL),
        CertificateError::Other(why) => other(why),
        #[expect(deprecated, reason = "webpki may still say it")]
        CertificateError::UnsupportedSignatureAlgorithm => String::from(OLD_SIGNATURE),
        other => not_accepted(&spaced(other)),
    }
}

/// Our own errors have a sentence already; webpki's errors come through where rustls has none for
/// them.
fn other(why: &OtherError) -> String {
    use webpki::Error as Webpki;
    if let Some(distrust) = why.0.downcast_ref::<Distrust>() {
        return distrust.to_string();
    }
    let known = match of_webpki(why) {
        Some(Webpki::EndEntityUsedAsCa) => "an issuer of its certificate is not a CA",
        Some(Webpki::CaUsedAsEndEntity) => return Distrust::CaAsServer.to_string(),
        Some(Webpki::NameConstraintViolation) => {
            "an issuer of its certificate may not vouch for that name"
        }
        Some(Webpki::PathLenConstraintViolated) => {
            "an issuer of its certificate may not vouch for issuers"
        }
        Some(Webpki::UnsupportedCertVersion) => "its certificate has an X.509 version before 3",
        Some(Webpki::UnsupportedCriticalExtension) => UNKNOWN_CRITICAL,
        Some(
            Webpki::UnsupportedSignatureAlgorithmContext(_)
            | Webpki::UnsupportedSignatureAlgorithmForPublicKeyContext(_),
        ) => OLD_SIGNATURE,
        Some(why) => return not_accepted(&spaced(why)),
        None => return not_accepted(&why.to_string()),
    };
    known.to_owned()
}

const OLD_SIGNATURE: &str =
    "its certificate, or an issuer's, is signed with an algorithm that is not secure";

const UNKNOWN_CRITICAL: &str = "its certificate, or an issuer's, has an unknown critical extension";

fn not_accepted(why: &str) -> String {
    format!("its certificate is not accepted ({why})")
}

/// An alert as RFC 8446 section 6 spells it: `unknown_ca`.
pub(crate) fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::Unknown(code) => code.to_string(),
        known => spaced(&known).replace(' ', "_"),
    }
}

/// `SelectedUnofferedKxGroup { .. }` as `selected unoffered kx group`.
fn spaced(of: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    let mut was_upper = true;
    for c in name_of(of).chars() {
        if c.is_ascii_uppercase() && !was_upper {
            words.push(' ');
        }
        was_upper = c.is_ascii_uppercase();
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// The name of a variant without its fields.
fn name_of(of: &impl std::fmt::Debug) -> String {
    let text = format!("{of:?}");
    let is_name = |c: char| c.is_ascii_alphanumeric();
    let name = text.split(|c| !is_name(c)).next();
    name.unwrap_or_default().to_owned()
}

/// `, but for a.example, b.example`: the names of a certificate; webpki gives each as
/// `DnsName("a.example")` or `IpAddress(192.0.2.1)`.
fn names(presented: &[String]) -> String {
    let plain = presented.iter().filter_map(|name| {
        let (kind, name) = name.strip_suffix(')')?.split_once('(')?;
        let name = name.trim_matches('"');
        (matches!(kind, "DnsName" | "IpAddress") && !name.is_empty()).then_some(name)
    });
    let plain: Vec<&str> = plain.collect();
    let named = plain.iter().take(NAMES).copied().collect::<Vec<_>>();
    match (named.is_empty(), plain.len() - named.len()) {
        (true, _) => String::from(", and for no other that can be read"),
        (false, 0) => format!(", but for {}", named.join(", ")),
        (false, more) => format!(", but for {} and {more} more", named.join(", ")),
    }
}

/// `2021-01-01`, UTC.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let date = OffsetDateTime::from_unix_timestamp(seconds).map(OffsetDateTime::date);
    date.map_or_else(
        |_| String::from("a day beyond all calendars"),
        |date| date.to_string(),
    )
}

/// The time of this machine's clock, which may be wrong.
fn today(now: UnixTime) -> String {
    format!(" (it is {} by this machine's clock)", date(now))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::ServerName;
    use rustls::{InvalidMessage, PeerMisbehaved};
    use webpki::Error as Webpki;

    use super::*;

    fn other(why: impl std::error::Error + Send + Sync + 'static) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(why)))
    }

    fn at(days: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400))
    }

    fn wrong_name(presented: &[&str]) -> CertificateError {
        CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn certificates() -> Vec<(CertificateError, &'static str)> {
        let (time, not_after, not_before) = (at(20_000), at(18_628), at(43_466));
        let named = || Some(String::from("Corp Root"));
        vec![
            (
                CertificateError::ExpiredContext { time, not_after },
                "its certificate expired on 2021-01-01 (it is 2024-10-04 by this machine's clock)",
            ),
            (
                CertificateError::NotValidYetContext { time, not_before },
                "its certificate is not valid before 2089-01-02 \
                 (it is 2024-10-04 by this machine's clock)",
            ),
            (
                wrong_name(&["DnsName(\"b.example\")", "IpAddress(192.0.2.1)"]),
                "its certificate is not for the name a.example, but for b.example, 192.0.2.1",
            ),
            (
                wrong_name(&[
                    "DnsName(\"b\")",
                    "DnsName(\"c\")",
                    "DnsName(\"d\")",
                    "DnsName(\"e\")",
                ]),
                "its certificate is not for the name a.example, but for b, c, d and 1 more",
            ),
            (
                wrong_name(&["DirectoryName", "Unsupported(0x88)"]),
                "its certificate is not for the name a.example, and for no other that can be read",
            ),
            (
                other(Distrust::SelfSigned(named())),
                "its certificate (\"Corp Root\") is self-signed and not trusted: if you know it, \
                 --upstream-ca FILE with that certificate trusts it",
            ),
            (
                other(Distrust::UnknownIssuer(named())),
                "its certificate comes from an unknown issuer (\"Corp Root\"): if you trust that \
                 issuer, give its certificate with --upstream-ca FILE",
            ),
            (
                CertificateError::UnknownIssuer,
                "its certificate comes from an unknown issuer: if you trust that issuer, \
                 give its certificate with --upstream-ca FILE",
            ),
            (
                other(Distrust::Unsent {
                    name: named(),
                    url: Some(String::from("http://ca.example/x.crt")),
                }),
                "it does not send its intermediate certificate (\"Corp Root\"), which its operator \
                 has to add (it is published at http://ca.example/x.crt); or, if that is a root \
                 that you trust, give it with --upstream-ca FILE",
            ),
            (
                other(Distrust::CaAsServer),
                "its certificate is a CA certificate, which a server must not use: \
                 --upstream-ca FILE with that certificate trusts it",
            ),
            (CertificateError::Revoked, "its certificate was revoked"),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![1],
                    supported_algorithms: Vec::new(),
                },
                OLD_SIGNATURE,
            ),
            (
                other(Webpki::NameConstraintViolation),
                "an issuer of its certificate may not vouch for that name",
            ),
            (
                other(Webpki::UnsupportedCertVersion),
                "its certificate has an X.509 version before 3",
            ),
            (
                other(Webpki::MaximumPathDepthExceeded),
                "its certificate is not accepted (maximum path depth exceeded)",
            ),
        ]
    }

    #[test]
    fn every_verdict_is_one_sentence_without_a_librarys_type() {
        let certificates = certificates().into_iter();
        let mut rows: Vec<_> = certificates
            .map(|(why, expected)| (Error::InvalidCertificate(why), expected))
            .collect();
        rows.extend([
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "its answer is not TLS, or was damaged on the way",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "it sent the alert handshake_failure",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "it supports only TLS 1.1 or older, which is not secure",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "it and modtape have no TLS version and cipher suite in common: modtape supports \
                 TLS 1.3, and TLS 1.2 with AEAD \
                 (no cipher suites in common)",
            ),
            (
                Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite),
                "it breaks the rules of TLS (selected unoffered cipher suite)",
            ),
            (
                Error::HandshakeNotComplete,
                "TLS failed (handshake not complete)",
            ),
        ]);
        let mut wrong = Vec::new();
        for (error, expected) in rows {
            let through = readable(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
            for text in [in_words(&error), through.to_string()] {
                if text != expected {
                    wrong.push(format!("{error:?}: {text}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn what_is_not_of_tls_keeps_its_own_words() {
        let eof = io::Error::new(io::ErrorKind::UnexpectedEof, HANDSHAKE_EOF);
        let text = "it closed the connection in the middle of the handshake";
        assert_eq!(readable(eof).to_string(), text);
        let reset = || io::Error::from_raw_os_error(104);
        assert_eq!(readable(reset()).to_string(), reset().to_string());
    }
}
