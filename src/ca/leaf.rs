//! Leafs: a certificate for one host is minted, and cached with its TLS settings.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType,
};
use rustls::sign::CertifiedKey;
use rustls::{KeyLog, NoKeyLog, ServerConfig};

use super::authority::{BACKDATE, CaError, CertificateAuthority, random_serial};
use super::key::Key;
use crate::tls::{self, Protocol};

/// The size of the cache. A client that requests more names only causes more minting.
const CACHE_LIMIT: usize = 10_000;

/// How long a leaf is valid at most; it is minted anew after half of that.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Why there is no leaf for a host.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The name cannot be in a certificate.
    #[error("cannot mint a certificate for {host}")]
    Mint {
        /// The host.
        host: String,
        /// What was wrong with it.
        source: rcgen::Error,
    },
}

/// The key of the cache.
#[derive(PartialEq, Eq, Hash)]
struct CacheKey {
    host: String,
    /// The protocols that its settings offer.
    protocols: Vec<Protocol>,
}

/// A leaf with its settings, and when it was minted.
struct CachedLeaf {
    settings: Arc<ServerConfig>,
    minted: SystemTime,
}

impl CachedLeaf {
    /// True in the first half of its lifetime; not if the clock was set back to before it was
    /// minted.
    fn is_fresh(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.minted);
        age.is_ok_and(|age| age < LIFETIME / 2)
    }
}

/// Mints leafs and keeps them by host and protocols.
pub struct Leafs {
    authority: CertificateAuthority,
    key: Key,
    // A std Mutex: held for a map look-up or one mint (20 µs), never across an await.
    cache: Mutex<HashMap<CacheKey, CachedLeaf>>,
    key_log: Arc<dyn KeyLog>,
}

impl Leafs {
    /// Mints under `authority`, all with one key that is never stored.
    pub fn new(authority: CertificateAuthority) -> Result<Self, CaError> {
        Ok(Self {
            authority,
            key: Key::generate()?,
            cache: Mutex::default(),
            key_log: Arc::new(NoKeyLog),
        })
    }

    /// The same, with the secrets of each connection logged to `key_log`.
    #[must_use]
    pub(crate) fn logging_keys(self, key_log: Arc<dyn KeyLog>) -> Self {
        Self { key_log, ..self }
    }

    /// The authority that signs.
    pub const fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// TLS settings with a leaf for `host` (a DNS name in lower case, or an IP address) that is
    /// valid at `now`.
    pub(crate) fn settings(
        &self,
        host: &str,
        protocols: &[Protocol],
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        let key = CacheKey {
            host: host.to_owned(),
            protocols: protocols.to_vec(),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = cache.get(&key).filter(|leaf| leaf.is_fresh(now)) {
            return Ok(Arc::clone(&leaf.settings));
        }
        let settings = tls::server_config(self.mint(&[host], now)?, protocols, &self.key_log);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        let leaf = CachedLeaf {
            settings: Arc::clone(&settings),
            minted: now,
        };
        cache.insert(key, leaf);
        Ok(settings)
    }

    /// A leaf for `names`, with the issuer behind it and the key that all leafs share.
    ///
    /// Signs any name: clients refuse one that is outside of the [`Scope`], and tests check that they do. Interception
    /// mints for one name at a time.
    ///
    /// [`Scope`]: super::Scope
    pub fn mint(&self, names: &[&str], now: SystemTime) -> Result<Arc<CertifiedKey>, LeafError> {
        let params = self.params(names, now);
        let leaf = params.and_then(|params| params.signed_by(&self.key, &self.authority.issuer));
        let leaf = leaf.map_err(|source| LeafError::Mint {
            host: names.join(", "),
            source,
        })?;
        let chain = vec![
            leaf.der().clone(),
            self.authority.issuer_certificate.clone(),
        ];
        Ok(Arc::new(CertifiedKey::new(
            chain,
            Arc::new(self.key.clone()),
        )))
    }

    fn params(&self, names: &[&str], now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        // No common name: verifiers that still read it apply DNS constraints to it. The names
        // are critical then (RFC 5280 section 4.2.1.6), which rcgen knows.
        params.distinguished_name = DistinguishedName::new();
        let names = names.iter().map(|name| {
            Ok(match name.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName((*name).try_into()?),
            })
        });
        params.subject_alt_names = names.collect::<Result<_, rcgen::Error>>()?;
        params.serial_number = Some(random_serial());
        params.not_before = (now - BACKDATE).into();
        params.not_after = self.authority.not_after.min(now + LIFETIME).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
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
        let leaf = leafs.mint(&[host], now()).unwrap();
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
        let settings = |protocol, now| leafs.settings("a.example", &[protocol], now).unwrap();
        let now = now();
        let first = settings(Protocol::H2, now);
        let again = settings(Protocol::H2, now + LIFETIME / 3);
        let other = settings(Protocol::Http1, now);
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &other));
        assert_eq!(other.alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn a_leaf_is_minted_anew_before_it_ends_and_when_the_clock_was_set_back() {
        let leafs = leafs(&Scope::Hosts(hosts(&["a.example"])));
        let settings = |now| leafs.settings("a.example", &[], now).unwrap();
        let first = settings(now());
        let late = settings(now() + LIFETIME / 2);
        let early = settings(now() - LIFETIME);
        assert!(!Arc::ptr_eq(&first, &late));
        assert!(!Arc::ptr_eq(&late, &early));
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_an_error() {
        let leafs = leafs(&Scope::AllNames(BTreeSet::new()));
        assert!(leafs.settings("bücher.example", &[], now()).is_err());
    }
}
