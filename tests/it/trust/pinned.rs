//! Servers whose own certificate is trusted as it stands, with no issuer above it.

use rcgen::{
    BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::chain_table::{Row, Shows, chain};
use super::pki::*;

/// Certificates that are trusted as they stand, and shown by servers: none needs to be a CA's.
pub(super) fn trusted(pki: &Pki) -> Vec<Row> {
    let key = &pki.key;
    let one = |host, words, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        chain(host, vec![alone(host, key, change)], words)
    };
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    vec![
        one("own.example", "", &|own| own.key_usages.clear()),
        one("own-no-ca.example", "", &|own| {
            own.is_ca = IsCa::ExplicitNoCa
        }),
        one("own-ca.example", "", &|own| own.is_ca = ca()),
        one("own-ca-signs.example", "", &|own| {
            own.is_ca = ca();
            own.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            own.extended_key_usages.clear();
        }),
        one(
            "own-expired.example",
            "its certificate expired on 2021-01-01",
            &|own| own.not_after = date_time_ymd(2021, 1, 1),
        ),
        one(
            "own-early.example",
            "its certificate is not valid before 2089-01-01",
            &|own| {
                own.is_ca = ca();
                own.not_before = date_time_ymd(2089, 1, 1);
            },
        ),
        one("own-other.example", "but for elsewhere.example", &|own| {
            own.is_ca = ca();
            own.subject_alt_names = leaf(&["elsewhere.example"]).subject_alt_names;
        }),
        one("own-client.example", "is not meant for servers", &|own| {
            own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        one(
            "own-critical.example",
            "has an unknown critical extension",
            &|own| {
                own.custom_extensions.push(unknown_critical());
            },
        ),
        Row(
            "own-stolen.example",
            Shows::Chain(
                vec![alone("own-stolen.example", key, |_| ())],
                Some(KeyPair::generate().expect("a key can be made")),
            ),
            "a signature in its handshake",
        ),
    ]
}

/// A leaf that one of them signed, which may not.
pub(super) fn below_own(key: &KeyPair) -> Chain {
    let own = || {
        changed("own.example", |own| {
            own.key_usages.clear();
            own.distinguished_name
                .push(DnType::CommonName, "own.example");
        })
    };
    let params = own();
    let issuer = rcgen::Issuer::from_params(&params, key);
    let below = leaf(&["below-own.example"]).signed_by(key, &issuer);
    let own = own().self_signed(key).expect("it can");
    vec![
        below.expect("it can be signed").der().clone(),
        own.der().clone(),
    ]
}

/// A certificate that vouches for itself.
pub(super) fn alone(
    host: &str,
    key: &KeyPair,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> CertificateDer<'static> {
    let named = |own: &mut rcgen::CertificateParams| {
        own.distinguished_name.push(DnType::CommonName, host);
        change(own);
    };
    let own = changed(host, named).self_signed(key);
    own.expect("it can").der().clone()
}
