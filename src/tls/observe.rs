//! Handshakes that are watched: which certificate came, and what was thought of it.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
};

use super::certificate::{Fields, organisation, shown};
use super::provider::provider;
use super::roots::Roots;
use super::verify::{Verifier, is_unknown_issuer};

/// How large the ClientHello is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hello {
    /// It fits into one packet.
    Small,
    /// It offers X25519MLKEM768 with a key share of 1,216 bytes, as Go does since 1.24
    /// (`crypto/tls`, `tlsmlkem`), and takes two packets.
    PostQuantum,
}

/// What a certificate came to; written once, by the handshake.
pub(crate) type Seen = Arc<OnceLock<SeenCertificate>>;

/// A server's certificate, trusted or not.
#[derive(Debug, Clone)]
pub(crate) struct SeenCertificate {
    /// The issuer, as people know it.
    pub(crate) issuer: Option<String>,
    /// The issuer's organisation.
    pub(crate) issuer_organisation: Option<String>,
    /// The last moment at which it is valid.
    pub(crate) not_after: Option<UnixTime>,
    /// Why it is not trusted.
    pub(crate) error: Option<CertificateError>,
    /// Whether its issuer is unknown.
    pub(crate) is_issuer_unknown: bool,
    /// Whether the system's roots alone lead to it.
    pub(crate) is_trusted_by_system: bool,
}

/// Settings for one watched handshake, which is never a resumed one. `system` are the roots without
/// those that the user added.
pub(crate) fn watched(roots: &Roots, system: &Roots, hello: Hello, seen: &Seen) -> ClientConfig {
    let mut provider = (*provider()).clone();
    provider.kx_groups = match hello {
        Hello::Small => vec![X25519, SECP256R1, SECP384R1],
        Hello::PostQuantum => vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
    };
    let watcher = Watcher {
        all: verifier(roots),
        system: verifier(system),
        seen: Arc::clone(seen),
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(watcher))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// How many bytes the ClientHello for `name` has, its record header included.
pub(crate) fn hello_bytes(config: Arc<ClientConfig>, name: ServerName<'static>) -> usize {
    let mut hello = Vec::new();
    if let Ok(mut connection) = ClientConnection::new(config, name) {
        // Writing to a Vec cannot fail.
        let _ = connection.write_tls(&mut hello);
    }
    hello.len()
}

/// The verifier of all upstream handshakes with these roots.
pub(super) fn verifier(roots: &Roots) -> Verifier {
    let store = Arc::clone(&roots.store);
    let webpki = WebPkiServerVerifier::builder_with_provider(store, provider());
    // It fails if no root may sign. A root that a server sends as its own certificate is
    // trusted all the same.
    Verifier::new(webpki.build().ok(), &roots.certificates)
}

/// Verifies as ever, and notes what came.
#[derive(Debug)]
struct Watcher {
    all: Verifier,
    system: Verifier,
    seen: Seen,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &Verifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let verified = verify(&self.all);
        let fields = Fields::of(end_entity);
        let error = match &verified {
            Ok(_) => None,
            Err(Error::InvalidCertificate(why)) => Some(why.clone()),
            Err(_) => Some(CertificateError::BadEncoding),
        };
        let _ = self.seen.set(SeenCertificate {
            issuer: fields.and_then(|fields| shown(fields.issuer)),
            issuer_organisation: fields.and_then(|fields| organisation(fields.issuer)),
            not_after: fields.and_then(|fields| Some(fields.validity()?.1)),
            is_issuer_unknown: error.as_ref().is_some_and(is_unknown_issuer),
            error,
            is_trusted_by_system: verify(&self.system).is_ok(),
        });
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.all.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Protocol, RootSources};

    /// A TCP segment on Ethernet carries 1,460 bytes.
    const SEGMENT: usize = 1_460;

    #[test]
    fn one_hello_fits_into_a_packet_and_the_other_does_not() {
        let roots = Roots::load(&RootSources {
            file: Some("/does/not/exist".into()),
            dirs: Some("/does/not/exist".into()),
            extra: Vec::new(),
        });
        let roots = roots.unwrap();
        let size = |hello| {
            let mut config = watched(&roots, &roots, hello, &Seen::default());
            let offered = [Protocol::H2, Protocol::Http1];
            config.alpn_protocols = offered.map(|one| one.alpn().to_vec()).into();
            hello_bytes(Arc::new(config), "proxy.golang.org".try_into().unwrap())
        };
        let (small, large) = (size(Hello::Small), size(Hello::PostQuantum));
        assert!((150..600).contains(&small), "{small}");
        assert!((SEGMENT + 1..2 * SEGMENT).contains(&large), "{large}");
    }
}
