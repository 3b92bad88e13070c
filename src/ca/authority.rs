//! Root and issuer: the names that they can sign for, and how they are made.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints,
    SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::key::Key;
use crate::exchange::Hex;
use crate::tls;

/// How long before now a certificate becomes valid, since the clocks of clients may be slow.
pub(super) const BACKDATE: Duration = Duration::from_secs(600);

/// A name that no host can have (RFC 6761 section 6.4).
const NOBODY: &str = "modtape.invalid";

const fn is_name(subtree: &GeneralSubtree) -> bool {
    matches!(subtree, GeneralSubtree::DnsName(_))
}

/// The names that the root can sign for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// These hosts, and their subdomains, which a name constraint always includes.
    Hosts(BTreeSet<String>),
    /// Any DNS name (`--intercept-all`); IP addresses only if listed.
    AllNames(BTreeSet<String>),
}

impl Scope {
    fn constraints(&self) -> NameConstraints {
        let (Self::Hosts(hosts) | Self::AllNames(hosts)) = self;
        let (ips, names): (Vec<_>, Vec<_>) = hosts
            .iter()
            .partition(|host| host.parse::<IpAddr>().is_ok());
        let mut permitted: Vec<_> = ips
            .iter()
            .filter_map(|ip| ip.parse::<IpAddr>().ok())
            .map(|ip| {
                let prefix = if ip.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, prefix))
            })
            .collect();
        if matches!(self, Self::Hosts(_)) {
            permitted.extend(
                names
                    .into_iter()
                    .map(|name| GeneralSubtree::DnsName(name.clone())),
            );
        }
        // Without a permitted name, every name would be permitted.
        if matches!(self, Self::Hosts(_)) && !permitted.iter().any(is_name) {
            permitted.push(GeneralSubtree::DnsName(NOBODY.to_owned()));
        }
        // A constraint on names alone would leave IP addresses free; one permitted address of any
        // family already excludes all others (the type is iPAddress, whatever its length).
        let excluded = if ips.is_empty() {
            vec![
                GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
                GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
            ]
        } else {
            Vec::new()
        };
        NameConstraints {
            permitted_subtrees: permitted,
            excluded_subtrees: excluded,
        }
    }
}

/// The root and the issuer could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the certificate authority")]
pub struct CaError(#[from] rcgen::Error);

/// The certificate authority of one run.
pub struct CertificateAuthority {
    root: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, Key>,
    pub(super) issuer_certificate: CertificateDer<'static>,
    /// When root and issuer expire; no leaf is valid longer.
    pub(super) not_after: SystemTime,
}

impl CertificateAuthority {
    /// Makes a root and an issuer that are valid from `now` for `lifetime`. The root's key is wiped
    /// as soon as the issuer is signed.
    pub fn new(scope: &Scope, now: SystemTime, lifetime: Duration) -> Result<Self, CaError> {
        // A tag in the names: two runs never share an issuer name and serial number.
        let tag = Hex(tls::random::<4>());
        let not_after = now + lifetime;
        let authority = |name: String, path_length| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.serial_number = Some(random_serial());
            params.not_before = (now - BACKDATE).into();
            params.not_after = not_after.into();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.name_constraints = Some(scope.constraints());
            params.use_authority_key_identifier_extension = true;
            params
        };
        let root_params = authority(format!("modtape root {tag}"), 1);
        let root_key = Key::generate()?;
        let root = root_params.self_signed(&root_key)?.der().clone();
        let root_issuer = Issuer::new(root_params, root_key);

        let issuer_params = authority(format!("modtape issuer {tag}"), 0);
        let issuer_key = Key::generate()?;
        let issuer_certificate = issuer_params
            .signed_by(&issuer_key, &root_issuer)?
            .der()
            .clone();
        Ok(Self {
            root,
            issuer: Issuer::new(issuer_params, issuer_key),
            issuer_certificate,
            not_after,
        })
    }

    /// The root's certificate, the only part that clients are given.
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }
}

/// 128 random bits, positive (RFC 5280 section 4.1.2.2).
pub(super) fn random_serial() -> SerialNumber {
    let mut bytes = tls::random::<16>();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
