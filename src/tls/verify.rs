//! Verification of the upstream: webpki's, with the additional rules of Go (crypto/x509 `Verify`).
//!
//! webpki does not check the key usage of issuers, and accepts any root as an authority. Go does
//! not (`CheckSignatureFrom`), and a chain that go would refuse must not pass here. A server that
//! sends a trusted certificate as its own is trusted, whatever that certificate may sign:
//! `opts.Roots.contains(c)`. Dates, names and signatures of the handshake are verified for every
//! certificate.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::{Fields, shown};
use super::provider::provider;

/// The verifier of all upstream handshakes.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` if no root may sign: then no chain is valid.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are trusted by themselves.
    roots: HashSet<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn new(
        webpki: Option<Arc<WebPkiServerVerifier>>,
        roots: &[CertificateDer<'static>],
    ) -> Self {
        Self {
            webpki,
            roots: roots.iter().cloned().collect(),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.roots.contains(end_entity) {
            return verify_root(end_entity, server_name, now);
        }
        let issuers: Vec<_> = intermediates
            .iter()
            .filter(|certificate| may_sign(certificate))
            .cloned()
            .collect();
        let verified = match &self.webpki {
            Some(webpki) => {
                webpki.verify_server_cert(end_entity, &issuers, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let some_may_not_sign = issuers.len() < intermediates.len();
        verified
            .map_err(|error| self.explained(error, end_entity, intermediates, some_may_not_sign))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Verifies a server that sends a trusted certificate as its own: it is the whole chain, as in Go.
fn verify_root(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let fields = Fields::of(certificate).ok_or(CertificateError::BadEncoding)?;
    let (not_before, not_after) = fields.validity().ok_or(CertificateError::BadEncoding)?;
    if now < not_before {
        let time = now;
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    if now > not_after {
        let time = now;
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    if !fields.may_serve() {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&parsed, server_name)?;
    Ok(ServerCertVerified::assertion())
}

impl Verifier {
    /// Adds to an error what a person can do about it.
    fn explained(
        &self,
        error: Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        some_may_not_sign: bool,
    ) -> Error {
        let is_unknown = matches!(
            &error,
            Error::InvalidCertificate(why) if *why == CertificateError::UnknownIssuer
        );
        let is_ca = matches!(
            &error,
            Error::InvalidCertificate(CertificateError::Other(why))
                if of_webpki(why) == Some(&webpki::Error::CaUsedAsEndEntity)
        );
        if !is_unknown && !is_ca {
            return error;
        }
        let own = Fields::of(end_entity);
        let distrust = match own {
            Some(own) if own.is_self_issued() => Distrust::SelfSigned(shown(own.subject)),
            _ if is_ca => Distrust::CaAsServer,
            _ if some_may_not_sign => Distrust::IssuerMayNotSign,
            Some(own) => self.unknown(own, intermediates),
            None => Distrust::UnknownIssuer(None),
        };
        CertificateError::Other(OtherError(Arc::new(distrust))).into()
    }

    /// The issuer of the last certificate that can be reached from `own` is unknown: either it is a
    /// root that is not trusted here, or an intermediate that the server does not send. If it is
    /// published at a URL, it is most likely an intermediate: roots are installed, not downloaded.
    fn unknown(&self, own: Fields<'_>, intermediates: &[CertificateDer<'_>]) -> Distrust {
        let last = last(own, intermediates);
        let name = shown(last.issuer);
        let names_a_root = || {
            let mut roots = self.roots.iter().filter_map(|root| Fields::of(root));
            roots.any(|root| root.subject == last.issuer)
        };
        if last.is_self_issued() || names_a_root() {
            return Distrust::UnknownIssuer(name);
        }
        let url = last.issuer_url().map(str::to_owned);
        Distrust::Unsent { name, url }
    }
}

/// True if an error says that nobody trusted has issued the certificate.
pub(super) fn is_unknown_issuer(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(why) => matches!(
            why.0.downcast_ref(),
            Some(Distrust::SelfSigned(_) | Distrust::UnknownIssuer(_) | Distrust::Unsent { .. })
        ),
        _ => false,
    }
}

/// webpki's own error, where rustls has none for it.
pub(super) fn of_webpki(why: &OtherError) -> Option<&webpki::Error> {
    why.0.downcast_ref()
}

/// The last certificate that can be reached from `own`.
fn last<'a>(own: Fields<'a>, intermediates: &'a [CertificateDer<'_>]) -> Fields<'a> {
    let others: Vec<Fields<'a>> = intermediates
        .iter()
        .filter_map(|certificate| Fields::of(certificate))
        .collect();
    let mut last = own;
    // Each at most once: names may form a loop.
    for _ in &others {
        let next = others.iter().find(|other| other.subject == last.issuer);
        match next.filter(|_| !last.is_self_issued()) {
            Some(next) => last = *next,
            None => break,
        }
    }
    last
}

/// Why a chain is not trusted, in words; wrapped in an error of rustls.
#[derive(Debug)]
pub(crate) enum Distrust {
    /// It is self-signed; its subject.
    SelfSigned(Option<String>),
    /// Its issuer is not trusted; the name.
    UnknownIssuer(Option<String>),
    /// Its issuer is neither trusted nor sent: an intermediate, or a root.
    Unsent {
        /// The issuer's name.
        name: Option<String>,
        /// Where its certificate is published, if that is known.
        url: Option<String>,
    },
    /// It is a CA certificate, which webpki does not accept from a server.
    CaAsServer,
    /// The chain has an issuer that may not sign certificates.
    IssuerMayNotSign,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &Option<String>| match name {
            Some(name) => format!(" (\"{name}\")"),
            None => String::new(),
        };
        match self {
            Self::SelfSigned(name) => write!(
                f,
                "its certificate{} is self-signed and not trusted: if you know it, \
                 --upstream-ca FILE with that certificate trusts it",
                quoted(name)
            ),
            Self::UnknownIssuer(name) => write!(
                f,
                "its certificate comes from an unknown issuer{}: if you trust that issuer, \
                 give its certificate with --upstream-ca FILE",
                quoted(name)
            ),
            Self::Unsent { name, url: None } => write!(
                f,
                "its certificate comes from an unknown issuer{}, whose certificate it does not \
                 send: if you trust that issuer, give its certificate with --upstream-ca FILE; \
                 if it is an intermediate, the server's operator has to add it",
                quoted(name)
            ),
            Self::Unsent {
                name,
                url: Some(url),
            } => write!(
                f,
                "it does not send its intermediate certificate{}, which its operator has to add \
                 (it is published at {url}); or, if that is a root that you trust, \
                 give it with --upstream-ca FILE",
                quoted(name)
            ),
            Self::CaAsServer => f.write_str(
                "its certificate is a CA certificate, which a server must not use: \
                 --upstream-ca FILE with that certificate trusts it",
            ),
            Self::IssuerMayNotSign => {
                f.write_str("an issuer's key usage does not let it sign certificates")
            }
        }
    }
}

impl std::error::Error for Distrust {}

/// True if a root may be an issuer, and is not only trusted by itself.
pub(super) fn is_anchor(root: &[u8]) -> bool {
    Fields::of(root).is_some_and(|fields| fields.is_authority() && fields.may_sign())
}

/// False if a certificate has a key usage without keyCertSign.
/// An invalid certificate is left to webpki, which refuses it.
fn may_sign(certificate: &[u8]) -> bool {
    Fields::of(certificate).is_none_or(|fields| fields.may_sign())
}
