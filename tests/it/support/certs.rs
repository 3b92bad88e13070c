//! The certificates of the scripted servers: a root in memory, leaves by name, and bad ones.
//!
//! The root and its keys live as long as the test; only its certificate reaches a file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::origin::Tls;

/// What is wrong with a leaf, if anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// Nothing: the asked name, valid now, signed by the test root.
    #[default]
    Good,
    /// Ended in 2021.
    Expired,
    /// Begins in 2090.
    NotYetValid,
    /// Good, but for `wrong-host.example`.
    WrongHost,
    /// Signed by its own key.
    SelfSigned,
    /// Signed by a root that nobody was given.
    UnknownCa,
}

/// A root made for one test; clones are the same root.
#[derive(Clone)]
pub struct TestRoot(Arc<Inner>);

struct Inner {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
    /// One per shape, so that sessions can be resumed as with a real host.
    configs: Mutex<HashMap<Shape, Arc<ServerConfig>>>,
}

/// What a server configuration is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The name (or IP address) in the leaf.
    pub name: String,
    /// What is wrong with the leaf.
    pub leaf: Leaf,
    /// Protocols to choose from; empty for a server without ALPN.
    pub alpn: Vec<&'static str>,
    /// The TLS versions that are spoken.
    pub versions: Tls,
    /// Clients have to show a certificate.
    pub wants_certificate: bool,
}

impl TestRoot {
    /// A new root with a P-256 key.
    pub fn new() -> Self {
        Self::named("modtape test root")
    }

    /// The same with this common name.
    pub fn named(name: &str) -> Self {
        let (pem, issuer) = new_authority(name);
        let (_, stranger) = new_authority("a root that nobody trusts");
        let configs = Mutex::default();
        Self(Arc::new(Inner {
            pem,
            issuer,
            stranger,
            configs,
        }))
    }

    /// The root certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// The TLS side of a server of that shape, the same one each time.
    pub fn config(&self, shape: &Shape) -> Arc<ServerConfig> {
        let mut configs = self.0.configs.lock().expect("no panic while locked");
        let config = configs
            .entry(shape.clone())
            .or_insert_with(|| Arc::new(self.build(shape)));
        config.clone()
    }

    /// A chain and its key for that name, as PEM: new ones each time.
    pub fn pem_pair(&self, name: &str) -> (String, String) {
        let (chain, key) = self.mint(name, Leaf::Good);
        let pem = |label: &str, der: &[u8]| pem::encode(&pem::Pem::new(label, der));
        let chain = chain.iter().map(|one| pem("CERTIFICATE", one)).collect();
        (chain, pem("PRIVATE KEY", key.secret_der()))
    }

    fn build(&self, shape: &Shape) -> ServerConfig {
        let (chain, key) = self.mint(&shape.name, shape.leaf);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&shape.versions.supported())
            .expect("the provider speaks both versions");
        let config = match shape.wants_certificate {
            true => config.with_client_cert_verifier(self.verifier(provider)),
            false => config.with_no_client_auth(),
        };
        let mut config = config
            .with_single_cert(chain, key)
            .expect("the key is the leaf's");
        config.alpn_protocols = shape
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    }

    /// Takes clients whose certificate this root has signed: nobody has one.
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem().as_bytes());
        roots.add(root.expect("a PEM file")).expect("a usable root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        verifier.build().expect("there is a root")
    }

    fn mint(
        &self,
        name: &str,
        leaf: Leaf,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let name = if leaf == Leaf::WrongHost {
            "wrong-host.example"
        } else {
            name
        };
        let mut params = CertificateParams::new([name.to_owned()]).expect("a usable name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = match leaf {
            Leaf::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Leaf::NotYetValid => (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1)),
            _ => (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1)),
        };
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = match leaf {
            Leaf::SelfSigned => params.self_signed(&key),
            Leaf::UnknownCa => params.signed_by(&key, &self.0.stranger),
            _ => params.signed_by(&key, &self.0.issuer),
        };
        let chain = vec![certificate.expect("a leaf can be signed").der().clone()];
        (chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }
}

/// The name for a leaf: the SNI, else the address that was dialled.
pub fn leaf_name(sni: Option<&str>, dialled: IpAddr) -> String {
    sni.map_or_else(|| dialled.to_string(), str::to_owned)
}

fn new_authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2095, 1, 1));
    let pem = params.self_signed(&key).expect("a root signs itself").pem();
    (pem, Issuer::new(params, key))
}
