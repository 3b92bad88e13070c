//! Certificates with something wrong: rcgen's where it can make them, else openssl's.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use crate::support::program;

/// What a server shows, leaf first.
pub(super) type Chain = Vec<CertificateDer<'static>>;

/// A trusted root, an impostor of the same name, and the key of all leafs.
pub(super) struct Pki {
    /// The trusted root, PEM.
    pub(super) root_pem: String,
    /// The key that servers sign with.
    pub(super) key: KeyPair,
    pub(super) root: Issuer<'static, KeyPair>,
    pub(super) impostor: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(super) fn new() -> Self {
        let name = "a root that the recorder trusts";
        let params = || authority(name, BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let root_pem = params()
            .self_signed(&key)
            .expect("a root signs itself")
            .pem();
        let other = KeyPair::generate().expect("a key can be made");
        Self {
            root_pem,
            key: KeyPair::generate().expect("a key can be made"),
            root: Issuer::new(params(), key),
            impostor: Issuer::new(params(), other),
        }
    }

    /// The root's own signature.
    pub(super) fn signed(&self, params: &CertificateParams) -> Chain {
        self.by(params, &self.root)
    }

    /// Somebody's signature.
    pub(super) fn by(
        &self,
        params: &CertificateParams,
        issuer: &Issuer<'static, KeyPair>,
    ) -> Chain {
        let leaf = params
            .signed_by(&self.key, issuer)
            .expect("it can be signed");
        vec![leaf.der().clone()]
    }

    /// A leaf under an issuer of these parameters, which the root signed.
    pub(super) fn below(&self, issuer: CertificateParams, leaf: &CertificateParams) -> Chain {
        self.below_all(vec![issuer], leaf)
    }

    /// A leaf under a row of issuers, the root's first.
    pub(super) fn below_all(
        &self,
        issuers: Vec<CertificateParams>,
        leaf: &CertificateParams,
    ) -> Chain {
        let mut chain = Vec::new();
        let mut last: Option<Issuer<'static, KeyPair>> = None;
        for params in issuers {
            let key = KeyPair::generate().expect("a key can be made");
            let signer = last.as_ref().unwrap_or(&self.root);
            let certificate = params.signed_by(&key, signer).expect("it can be signed");
            chain.insert(0, certificate.der().clone());
            last = Some(Issuer::new(params, key));
        }
        let signer = last.as_ref().unwrap_or(&self.root);
        chain.insert(0, self.by(leaf, signer).remove(0));
        chain
    }
}

/// A leaf as it should be.
pub(super) fn leaf(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names
        .iter()
        .map(|&name| SanType::DnsName(name.try_into().expect("ASCII")))
        .collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    params
}

/// A leaf with something changed.
pub(super) fn changed(
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateParams {
    let mut params = leaf(&[name]);
    change(&mut params);
    params
}

/// A leaf that is known by its common name only.
pub(super) fn common_name_only(name: &str) -> CertificateParams {
    changed(name, |params| {
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, name);
    })
}

/// An issuer as it should be.
pub(super) fn authority(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2095, 1, 1));
    params
}

/// An intermediate with something changed.
pub(super) fn issuer(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = authority("an issuer", BasicConstraints::Unconstrained);
    change(&mut params);
    params
}

/// Name constraints on DNS names.
pub(super) fn constraints(permitted: &[&str], excluded: &[&str]) -> Option<NameConstraints> {
    let trees = |names: &[&str]| {
        let tree = |name: &&str| GeneralSubtree::DnsName((*name).to_owned());
        names.iter().map(tree).collect()
    };
    Some(NameConstraints {
        permitted_subtrees: trees(permitted),
        excluded_subtrees: trees(excluded),
    })
}

/// An extension that nobody knows, which must not be passed over.
pub(super) fn unknown_critical() -> CustomExtension {
    let mut extension =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

/// Tells where the issuer's certificate is to be had (RFC 5280 section 4.2.2.1).
pub(super) fn published_at(url: &str) -> CustomExtension {
    let in_one = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("a short element");
        [&[tag, length][..], content].concat()
    };
    let ca_issuers = [0x06, 8, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let description = [&ca_issuers[..], &in_one(0x86, url.as_bytes())].concat();
    let list = in_one(0x30, &in_one(0x30, &description));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], list)
}

/// Subject alternative names in raw DER.
pub(super) fn raw_names(der: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 17], der.to_vec())
}

/// What only openssl makes: an RSA root of its own and leafs with old algorithms.
pub(super) struct Openssl {
    folder: TempDir,
}

impl Openssl {
    /// Makes the root and a request for `key`.
    pub(super) fn new(key: &KeyPair) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let made = Self { folder };
        made.write("leaf.key", &key.serialize_pem());
        made.write(
            "ca.cnf",
            "[req]\nprompt=no\ndistinguished_name=n\nx509_extensions=e\n[n]\nCN=an RSA root\n[e]\n\
             basicConstraints=critical,CA:true\n",
        );
        made.write("issuer.ext", "basicConstraints=critical,CA:true\n");
        made.openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -config ca.cnf");
        made.openssl("req -new -key leaf.key -subj /CN=leaf -config ca.cnf -out leaf.csr");
        made.openssl("req -new -newkey rsa:1024 -nodes -keyout weak.key -subj /CN=weak -config ca.cnf -out weak.csr");
        made.openssl("x509 -req -in weak.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -sha256 -extfile issuer.ext -out weak.pem");
        made
    }

    /// The root, PEM.
    pub(super) fn root_pem(&self) -> String {
        fs::read_to_string(self.folder.path().join("ca.pem")).expect("it was made")
    }

    /// A leaf for `host`, signed by the root with this digest.
    pub(super) fn leaf(&self, host: &str, digest: &str) -> Chain {
        self.write("leaf.ext", &format!("subjectAltName=DNS:{host}\n"));
        self.sign(&format!(
            "-CA ca.pem -CAkey ca.key -{digest} -extfile leaf.ext"
        ))
    }

    /// A leaf of X.509 version 1, which has no extensions.
    pub(super) fn version_1(&self) -> Chain {
        self.sign("-CA ca.pem -CAkey ca.key -sha256")
    }

    /// A leaf for `host` under an issuer with a key of 1,024 bits.
    pub(super) fn below_weak(&self, host: &str) -> Chain {
        self.write("leaf.ext", &format!("subjectAltName=DNS:{host}\n"));
        let mut chain = self.sign("-CA weak.pem -CAkey weak.key -sha256 -extfile leaf.ext");
        chain.push(pem_file(&self.folder.path().join("weak.pem")));
        chain
    }

    fn sign(&self, how: &str) -> Chain {
        self.openssl(&format!(
            "x509 -req -in leaf.csr -CAcreateserial -days 3650 -out leaf.pem {how}"
        ));
        vec![pem_file(&self.folder.path().join("leaf.pem"))]
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("our own folder");
    }

    fn openssl(&self, args: &str) {
        let output = program("openssl")
            .args(args.split(' '))
            .current_dir(self.folder.path())
            .output()
            .expect("openssl can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {args}: {said}");
    }
}

fn pem_file(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).expect("openssl wrote a certificate")
}
