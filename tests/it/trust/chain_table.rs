//! The upstreams of the table, good and bad: what each shows, and why it is refused.

use rcgen::{
    BasicConstraints, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::chains::MARK;
use super::pinned::{alone, below_own};
use super::pki::*;
use super::raw_hello::{alert, server_hello};

/// The one address among the hosts; a client that dials an address sends no server name.
pub(super) const ADDRESS: &str = "192.0.2.7";

/// What a host does with a ClientHello.
pub(super) enum Shows {
    /// Goes on with this chain, signing with the common key or another.
    Chain(Chain, Option<KeyPair>),
    /// Writes this and closes.
    Bytes(Vec<u8>),
}

/// A host, what it shows, and the words of our refusal; no words: it is good.
pub(super) struct Row(
    pub(super) &'static str,
    pub(super) Shows,
    pub(super) &'static str,
);

impl Row {
    /// What it shows first, PEM.
    pub(super) fn pem(&self) -> String {
        match &self.1 {
            Shows::Chain(chain, _) => modtape::ca::to_pem(&chain[0]),
            Shows::Bytes(_) => String::new(),
        }
    }
}

pub(super) fn chain(host: &'static str, chain: Chain, words: &'static str) -> Row {
    Row(host, Shows::Chain(chain, None), words)
}

fn bytes(host: &'static str, bytes: impl AsRef<[u8]>, words: &'static str) -> Row {
    Row(host, Shows::Bytes(bytes.as_ref().to_vec()), words)
}

/// Leafs that are wrong by themselves.
pub(super) fn leafs(pki: &Pki) -> Vec<Row> {
    let one = |host, words, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        chain(host, pki.signed(&changed(host, change)), words)
    };
    let named = |host, name: &str, words| chain(host, pki.signed(&leaf(&[name])), words);
    let not_named = "its certificate is not for the name ";
    vec![
        one(
            "expired.example",
            "its certificate expired on 2021-01-01",
            &|leaf| {
                leaf.not_after = date_time_ymd(2021, 1, 1);
            },
        ),
        one(
            "early.example",
            "its certificate is not valid before 2089-01-01",
            &|leaf| {
                leaf.not_before = date_time_ymd(2089, 1, 1);
            },
        ),
        named("other.example", "wrong-host.example", not_named),
        one("client-auth.example", "is not meant for servers", &|leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        one("code.example", "is not meant for servers", &|leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        }),
        one(
            "is-a-ca.example",
            "its certificate is a CA certificate",
            &|leaf| {
                leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            },
        ),
        one(
            "critical.example",
            "has an unknown critical extension",
            &|leaf| {
                leaf.custom_extensions.push(unknown_critical());
            },
        ),
        one(
            "empty-names.example",
            "cannot be read|is not for the name|malformed",
            &|leaf| {
                leaf.subject_alt_names.clear();
                leaf.custom_extensions.push(raw_names(&[0x30, 0]));
            },
        ),
        one(
            "twice.example",
            "extension value invalid|cannot be read",
            &|leaf| {
                leaf.custom_extensions.push(raw_names(&[0x30, 0]));
            },
        ),
        chain(
            "common-name.example",
            pki.signed(&common_name_only("common-name.example")),
            not_named,
        ),
        named(
            "nul.example",
            "nul.example\0.evil.example",
            "is not for the name|cannot be read|malformed dns identifier",
        ),
        named(ADDRESS, ADDRESS, not_named),
        named("any.example", "*", not_named),
        named("tld-wildcard.example", "*.example", not_named),
        named("ab.part.example", "a*.part.example", not_named),
        named("x.y.deep.example", "*.deep.example", not_named),
        named("x.y.inner.example", "x.*.inner.example", not_named),
        named("base.example", "*.base.example", not_named),
        named("dot.example", ".dot.example", not_named),
    ]
}

/// Chains whose fault is above the leaf, or between.
pub(super) fn issuers(pki: &Pki) -> Vec<Row> {
    let below = |host, words, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        chain(host, pki.below(issuer(change), &leaf(&[host])), words)
    };
    let open = || authority("a second issuer", BasicConstraints::Unconstrained);
    let leaf_only = |leaf| {
        let mut whole = pki.below(issuer(|_| ()), &leaf);
        whole.truncate(1);
        whole
    };
    let missing = leaf_only(leaf(&["missing.example"]));
    let published = leaf_only(changed("published.example", |leaf| {
        leaf.custom_extensions = vec![published_at("http://ca.example/issuer.crt")];
    }));
    let foreign = {
        let params = authority("a private root", BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let root = params.self_signed(&key).expect("it can").der().clone();
        let root_key = rcgen::Issuer::new(params, key);
        let leaf = changed("foreign.example", |leaf| {
            leaf.custom_extensions = vec![published_at("http://ca.example/root.crt")];
        });
        [pki.by(&leaf, &root_key), vec![root]].concat()
    };
    vec![
        chain(
            "self.example",
            vec![
                leaf(&["self.example"])
                    .self_signed(&pki.key)
                    .expect("it can")
                    .der()
                    .clone(),
            ],
            "its certificate is self-signed and not trusted",
        ),
        chain(
            "self-ca.example",
            vec![alone("self-ca.example", &pki.key, |leaf| {
                leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            })],
            "its certificate (\"self-ca.example\") is self-signed and not trusted: if you know it, \
             --upstream-ca FILE",
        ),
        chain(
            "impostor.example",
            pki.by(&leaf(&["impostor.example"]), &pki.impostor),
            "a signature in its handshake|unknown issuer (\"a root that the recorder trusts\"): if",
        ),
        // The key of one that is trusted as it stands vouches for nobody else.
        chain(
            "below-own.example",
            below_own(&pki.key),
            "an issuer of its certificate is not a CA",
        ),
        chain(
            "missing.example",
            missing,
            "unknown issuer (\"an issuer\"), whose certificate it does not send",
        ),
        chain(
            "published.example",
            published,
            "it does not send its intermediate certificate (\"an issuer\"), which its operator has \
             to add (it is published at http://ca.example/issuer.crt)",
        ),
        chain(
            "foreign.example",
            foreign,
            "unknown issuer (\"a private root\"): if you trust that issuer, give its certificate with",
        ),
        below(
            "no-ca.example",
            "an issuer of its certificate is not a CA",
            &|issuer| issuer.is_ca = IsCa::ExplicitNoCa,
        ),
        below(
            "no-constraints.example",
            "an issuer of its certificate is not a CA",
            &|issuer| issuer.is_ca = IsCa::NoCa,
        ),
        chain(
            "path.example",
            pki.below_all(
                vec![
                    issuer(|issuer| issuer.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
                    open(),
                ],
                &leaf(&["path.example"]),
            ),
            "may not vouch for issuers",
        ),
        below(
            "permitted.example",
            "may not vouch for that name",
            &|issuer| {
                issuer.name_constraints = constraints(&["elsewhere.example"], &[]);
            },
        ),
        below(
            "excluded.example",
            "may not vouch for that name",
            &|issuer| {
                issuer.name_constraints = constraints(&[], &["excluded.example"]);
            },
        ),
        below(
            "client-issuer.example",
            "is not meant for servers",
            &|issuer| {
                issuer.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            },
        ),
        below(
            "expired-issuer.example",
            "its certificate expired on 2021-01-01",
            &|issuer| {
                issuer.not_after = date_time_ymd(2021, 1, 1);
            },
        ),
        below(
            "early-issuer.example",
            "is not valid before 2089-01-01",
            &|issuer| {
                issuer.not_before = date_time_ymd(2089, 1, 1);
            },
        ),
        below(
            "usage.example",
            "an issuer's key usage does not let it sign certificates",
            &|issuer| {
                issuer.key_usages =
                    vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
            },
        ),
        below(
            "critical-issuer.example",
            "has an unknown critical extension",
            &|issuer| {
                issuer.custom_extensions.push(unknown_critical());
            },
        ),
    ]
}

/// Bytes that are no certificate any more, or belong to somebody else.
pub(super) fn broken(pki: &Pki) -> Vec<Row> {
    let good = |host| pki.signed(&leaf(&[host])).remove(0).to_vec();
    let one = |host, der: Vec<u8>, words| chain(host, vec![CertificateDer::from(der)], words);
    let mut flipped = good("signature.example");
    *flipped.last_mut().expect("it is not empty") ^= 1;
    let mut cut = good("cut.example");
    cut.truncate(cut.len() / 2);
    let mut longer = good("longer.example");
    longer.extend([0; 4]);
    let stolen = Shows::Chain(
        pki.signed(&leaf(&["stolen.example"])),
        Some(KeyPair::generate().expect("a key can be made")),
    );
    vec![
        one(
            "signature.example",
            flipped,
            "a signature in its handshake|cannot be read",
        ),
        one("cut.example", cut, "cannot be read"),
        one("longer.example", longer, "cannot be read"),
        one("garbage.example", vec![0xff; 300], "cannot be read"),
        Row("stolen.example", stolen, "a signature in its handshake"),
    ]
}

/// Old algorithms, and X.509 of before 1996.
pub(super) fn old(openssl: &Openssl) -> Vec<Row> {
    let unsupported = "a signature in its handshake|an algorithm that is not secure";
    vec![
        chain(
            "sha1.example",
            openssl.leaf("sha1.example", "sha1"),
            unsupported,
        ),
        chain(
            "md5.example",
            openssl.leaf("md5.example", "md5"),
            unsupported,
        ),
        chain(
            "rsa1024.example",
            openssl.below_weak("rsa1024.example"),
            unsupported,
        ),
        chain(
            "v1.example",
            openssl.version_1(),
            "its certificate has an X.509 version before 3",
        ),
    ]
}

/// Hosts that do not get as far as a certificate.
pub(super) fn protocols() -> Vec<Row> {
    let choosing = |suite| server_hello(0x0303, suite, [9; 32]);
    let mut downgraded = [9; 32];
    // RFC 8446 section 4.1.3: a server of 1.3 that was made to take 1.2 says so here.
    downgraded[24..].copy_from_slice(b"DOWNGRD\x01");
    let cut = &choosing(0xc02b)[..30];
    let page = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{MARK}",
        MARK.len()
    );
    vec![
        bytes("plain.example", page, "its answer is not TLS"),
        bytes(
            "ssh.example",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "its answer is not TLS",
        ),
        bytes(
            "cut-hello.example",
            cut,
            "it closed the connection in the middle of the handshake",
        ),
        bytes(
            "nothing.example",
            "",
            "it closed the connection in the middle of the handshake",
        ),
        bytes(
            "alert.example",
            alert(40),
            "it sent the alert handshake_failure",
        ),
        bytes("ssl3.example", server_hello(0x0300, 0xc013, [9; 32]), ""),
        bytes("tls10.example", server_hello(0x0301, 0xc013, [9; 32]), ""),
        bytes("tls11.example", server_hello(0x0302, 0xc013, [9; 32]), ""),
        bytes("rc4.example", choosing(0x0005), ""),
        bytes("export.example", choosing(0x0003), ""),
        bytes("null.example", choosing(0x0001), ""),
        bytes("anonymous.example", choosing(0xc018), ""),
        bytes("3des.example", choosing(0x000a), ""),
        bytes("cbc.example", choosing(0xc013), ""),
        bytes("rsa-exchange.example", choosing(0x009c), ""),
        bytes(
            "downgraded.example",
            server_hello(0x0303, 0xc02b, downgraded),
            "attempted downgrade to tls12 when tls13 is supported|downgrade",
        ),
    ]
    .into_iter()
    .map(|Row(host, shows, words)| {
        // rustls names what was not offered: a version or a suite.
        let words = if words.is_empty() {
            "no TLS version and cipher suite in common|it supports only TLS 1.1 or older|it breaks the rules of TLS ("
        } else {
            words
        };
        Row(host, shows, words)
    })
    .collect()
}

/// What shows that the others are refused for their fault, and not for something all share.
pub(super) fn good(pki: &Pki, openssl: &Openssl) -> Vec<Row> {
    let narrow = issuer(|issuer| {
        issuer.name_constraints = constraints(&["narrow.example"], &[]);
        let any = CidrSubnet::from_v4_prefix([0; 4], 0);
        let excluded = GeneralSubtree::IpAddress(any);
        let constraints = issuer.name_constraints.as_mut().expect("just set");
        constraints.excluded_subtrees.push(excluded);
    });
    vec![
        chain("good.example", pki.signed(&leaf(&["good.example"])), ""),
        chain(
            "below.example",
            pki.below(issuer(|_| ()), &leaf(&["below.example"])),
            "",
        ),
        chain("a.wild.example", pki.signed(&leaf(&["*.wild.example"])), ""),
        chain(
            "narrow.example",
            pki.below(narrow, &leaf(&["narrow.example"])),
            "",
        ),
        chain(
            "rsa2048.example",
            openssl.leaf("rsa2048.example", "sha256"),
            "",
        ),
    ]
}
