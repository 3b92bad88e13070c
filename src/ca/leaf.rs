//! Minting leafs: a certificate for one host, kept with its whole TLS settings.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::{CaError, CertificateAuthority, random_serial};
use crate::tls::{self, Protocol};

/// Leafs kept at most; a client that asks for more names makes us mint again, no more.
const CACHE_LIMIT: usize = 10_000;

/// Why there is no leaf for a host.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The name cannot stand in a certificate.
    #[error("cannot mint a certificate for {host}")]
    Mint {
        /// The host.
        host: String,
        /// What was wrong with it.
        source: rcgen::Error,
    },
}

/// What a leaf is kept by: the settings that it stands in offer just these protocols.
type Slot = (String, Vec<Protocol>);

/// Mints leafs and keeps them by host and protocols.
pub struct Leafs {
    authority: CertificateAuthority,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    // A std Mutex: held for a map look-up or one mint (20 µs), never across an await.
    cache: Mutex<HashMap<Slot, Arc<ServerConfig>>>,
}

impl Leafs {
    /// Mints under `authority`, all with one key that is never stored.
    pub fn new(authority: CertificateAuthority) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = tls::provider()
            .key_provider
            .load_private_key(der)
            .expect("the provider reads the keys that it generated");
        Ok(Self {
            authority,
            key,
            signer,
            cache: Mutex::default(),
        })
    }

    /// The authority that signs.
    pub const fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// TLS settings with a leaf for `host` (a DNS name in lower case, or an IP address).
    pub fn settings(
        &self,
        host: &str,
        protocols: &[Protocol],
    ) -> Result<Arc<ServerConfig>, LeafError> {
        let slot = (host.to_owned(), protocols.to_vec());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = cache.get(&slot) {
            return Ok(Arc::clone(settings));
        }
        let leaf = self.mint(host).map_err(|source| LeafError::Mint {
            host: host.to_owned(),
            source,
        })?;
        let settings = tls::server_config(leaf, protocols);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        cache.insert(slot, Arc::clone(&settings));
        Ok(settings)
    }

    fn mint(&self, host: &str) -> Result<Arc<CertifiedKey>, rcgen::Error> {
        let mut params = CertificateParams::default();
        // No common name: verifiers that still read it apply DNS constraints to it.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(host.try_into()?),
        }];
        params.serial_number = Some(random_serial());
        params.not_before = self.authority.not_before.into();
        params.not_after = self.authority.not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.key, &self.authority.issuer)?;
        let chain = vec![
            leaf.der().clone(),
            self.authority.issuer_certificate.clone(),
        ];
        Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signer))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, SystemTime};

    use rustls::RootCertStore;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::super::Scope;
    use super::*;

    fn leafs(scope: &Scope) -> Leafs {
        let authority = CertificateAuthority::new(scope, now(), Duration::from_secs(60)).unwrap();
        Leafs::new(authority).unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "verification asks for the present"
    )]
    fn now() -> SystemTime {
        SystemTime::now()
    }

    fn hosts(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Asks rustls' own verifier (webpki), as a client that trusts the root would.
    fn verifies(leafs: &Leafs, host: &str) -> bool {
        let leaf = leafs.mint(host).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(leafs.authority().root().clone()).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            tls::provider(),
        )
        .build()
        .unwrap();
        let (end_entity, intermediates) = leaf.cert.split_first().unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            end_entity,
            intermediates,
            &name,
            &[],
            UnixTime::now(),
        )
        .is_ok()
    }

    #[test]
    fn the_root_vouches_for_intercepted_hosts_only() {
        let leafs = leafs(&Scope::Hosts(hosts(&["proxy.golang.org"])));
        assert!(verifies(&leafs, "proxy.golang.org"));
        for other in [
            "golang.org",
            "evilproxy.golang.org.example",
            "127.0.0.1",
            "::1",
        ] {
            assert!(!verifies(&leafs, other), "{other}");
        }
    }

    #[test]
    fn an_intercepted_address_is_permitted_and_its_neighbour_is_not() {
        let leafs = leafs(&Scope::Hosts(hosts(&["proxy.golang.org", "192.0.2.7"])));
        assert!(verifies(&leafs, "192.0.2.7"));
        assert!(verifies(&leafs, "proxy.golang.org"));
        assert!(!verifies(&leafs, "192.0.2.8"));
        assert!(!verifies(&leafs, "2001:db8::1"));
    }

    #[test]
    fn where_no_name_is_intercepted_no_name_is_vouched_for() {
        for listed in [&[][..], &["192.0.2.7"][..]] {
            let leafs = leafs(&Scope::Hosts(hosts(listed)));
            assert!(!verifies(&leafs, "proxy.golang.org"), "{listed:?}");
        }
    }

    #[test]
    fn without_a_constraint_on_names_addresses_stay_excluded() {
        let leafs = leafs(&Scope::AllNames(BTreeSet::new()));
        assert!(verifies(&leafs, "anything.example"));
        assert!(!verifies(&leafs, "192.0.2.7"));
    }

    #[test]
    fn settings_are_kept_by_host_and_protocols() {
        let leafs = leafs(&Scope::Hosts(hosts(&["a.example"])));
        let first = leafs.settings("a.example", &[Protocol::H2]).unwrap();
        let again = leafs.settings("a.example", &[Protocol::H2]).unwrap();
        let other = leafs.settings("a.example", &[Protocol::Http1]).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &other));
        assert_eq!(other.alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_an_error() {
        let leafs = leafs(&Scope::AllNames(BTreeSet::new()));
        assert!(leafs.settings("bücher.example", &[]).is_err());
    }
}
