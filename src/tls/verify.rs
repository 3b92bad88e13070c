//! Verification of the upstream: webpki's, and the one check that Go has on top of it.
//!
//! webpki leaves the key usage of issuers alone. Go does not (crypto/x509 `CheckSignatureFrom`), and
//! what go would refuse must not pass here. Only ever adds a reason to refuse.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

/// webpki's verifier, which is not shown issuers that may not sign certificates.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let issuers: Vec<_> = intermediates
            .iter()
            .filter(|certificate| may_sign(certificate))
            .cloned()
            .collect();
        let verified =
            self.0
                .verify_server_cert(end_entity, &issuers, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if issuers.len() < intermediates.len() =>
            {
                let why = OtherError(Arc::new(IssuerMayNotSign));
                Err(Error::InvalidCertificate(CertificateError::Other(why)))
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct IssuerMayNotSign;

impl fmt::Display for IssuerMayNotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an issuer's key usage does not let it sign certificates")
    }
}

impl std::error::Error for IssuerMayNotSign {}

/// False if a certificate says what its key may be used for, and signing certificates is not there.
pub(super) fn may_sign(certificate: &[u8]) -> bool {
    key_usage(certificate).is_none_or(|usage| usage == 0 || usage & KEY_CERT_SIGN != 0)
}

/// The first octet of the key usage (RFC 5280 section 4.2.1.3); `None` without that extension, and
/// for what is no certificate, which webpki refuses itself.
fn key_usage(certificate: &[u8]) -> Option<u8> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    let extensions = loop {
        let (tag, content, rest) = element(fields)?;
        if tag == EXTENSIONS {
            break content;
        }
        fields = rest;
    };
    let (_, mut extensions, _) = element(extensions)?;
    loop {
        let (_, extension, rest) = element(extensions)?;
        let (_, identifier, mut value) = element(extension)?;
        if identifier == KEY_USAGE {
            loop {
                let (tag, content, rest) = element(value)?;
                if tag == OCTET_STRING {
                    // A BIT STRING: the number of unused bits, then the bits.
                    let (_, bits, _) = element(content)?;
                    return bits.get(1).copied();
                }
                value = rest;
            }
        }
        extensions = rest;
    }
}

/// Cuts the first DER element off (X.690 section 8.1): tag, content, rest.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = octets else {
        return None;
    };
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `[3]` of a TBSCertificate.
const EXTENSIONS: u8 = 0xa3;

const OCTET_STRING: u8 = 0x04;

/// 2.5.29.15
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];

/// Bit 5, counted from the left.
const KEY_CERT_SIGN: u8 = 0x04;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    fn certificate(usages: &[KeyUsagePurpose]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".into()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = usages.to_vec();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn who_may_sign_is_read_from_the_key_usage() {
        use KeyUsagePurpose::{CrlSign, DataEncipherment, DigitalSignature, KeyCertSign};
        for (usages, expected) in [
            (&[][..], true),
            (&[KeyCertSign], true),
            (&[DigitalSignature, KeyCertSign, CrlSign], true),
            (&[DigitalSignature], false),
            (&[CrlSign, DataEncipherment], false),
        ] {
            assert_eq!(may_sign(&certificate(usages)), expected, "{usages:?}");
        }
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_of_a_certificate_is_read_without_a_panic() {
        let whole = certificate(&[KeyUsagePurpose::DigitalSignature]);
        for end in 0..whole.len() {
            let _ = may_sign(&whole[..end]);
        }
        let mut flipped = whole.to_vec();
        for bit in 0..whole.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = may_sign(&flipped);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
