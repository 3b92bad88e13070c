//! The fields of a certificate that webpki does not expose (RFC 5280 section 4.1).
//!
//! Certificates are untrusted input: an invalid field is `None`, never a panic. The parser is
//! lenient on purpose, since webpki verifies the chain: a strict one would refuse roots that Go
//! accepts. Verifies nothing.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use time::{Date, Month, PrimitiveDateTime, Time};

/// How much of a subject's or an issuer's name is shown, characters: the longest common name of
/// X.520.
const SHOWN: usize = 64;

/// The longest URL that is shown, bytes.
const URL: usize = 200;

/// The fields of a certificate, each still DER.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// The issuer's name.
    pub(super) issuer: &'a [u8],
    /// The subject's name.
    pub(super) subject: &'a [u8],
    is_version_1: bool,
    validity: &'a [u8],
    extensions: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Finds the fields.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let (_, certificate, _) = element(certificate)?;
        let (_, fields, _) = element(certificate)?;
        let mut fields = Elements(fields);
        // Version 1 has no version field; then come serial number and algorithm.
        let (first, _) = fields.next()?;
        let is_version_1 = first != VERSION;
        if !is_version_1 {
            fields.next()?;
        }
        fields.next()?;
        let (_, issuer) = fields.next()?;
        let (_, validity) = fields.next()?;
        let (_, subject) = fields.next()?;
        let extensions = fields.find(|(tag, _)| *tag == EXTENSIONS);
        Some(Self {
            issuer,
            subject,
            is_version_1,
            validity,
            extensions: extensions.and_then(|(_, list)| Some(element(list)?.1)),
        })
    }

    /// True if subject and issuer are the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The first and the last moment at which it is valid.
    pub(super) fn validity(&self) -> Option<(UnixTime, UnixTime)> {
        let mut times = Elements(self.validity);
        let (from, until) = (times.next()?, times.next()?);
        Some((instant(from)?, instant(until)?))
    }

    /// The first byte of the key usage (section 4.2.1.3), if there is that extension.
    fn key_usage(&self) -> Option<u8> {
        // A BIT STRING: the number of unused bits, then the bits.
        let (_, bits, _) = element(self.extension(&KEY_USAGE)?)?;
        bits.get(1).copied()
    }

    /// False if there is a key usage without keyCertSign.
    pub(super) fn may_sign(&self) -> bool {
        let usage = self.key_usage();
        usage.is_none_or(|usage| usage == 0 || usage & KEY_CERT_SIGN != 0)
    }

    /// True if it may be an issuer (section 4.2.1.9). Before version 3 there was no such field.
    pub(super) fn is_authority(&self) -> bool {
        let constraints = self.extension(&BASIC_CONSTRAINTS).and_then(element);
        let is_ca = constraints.and_then(|(_, fields, _)| element(fields));
        self.is_version_1 || matches!(is_ca, Some((BOOLEAN, [1..=u8::MAX], _)))
    }

    /// False if there is an extended key usage (section 4.2.1.12) without serverAuth.
    pub(super) fn may_serve(&self) -> bool {
        let Some(list) = self.extension(&EXTENDED_KEY_USAGE) else {
            return true;
        };
        let Some((_, purposes, _)) = element(list) else {
            return false;
        };
        Elements(purposes).any(|(_, purpose)| purpose == SERVER_AUTH || purpose == ANY_PURPOSE)
    }

    /// Where the certificate of its issuer is published (section 4.2.2.1): the first URL with http
    /// or https.
    pub(super) fn issuer_url(&self) -> Option<&'a str> {
        let (_, descriptions, _) = element(self.extension(&AUTHORITY_INFORMATION)?)?;
        Elements(descriptions).find_map(|(_, description)| {
            let mut description = Elements(description);
            let (method, location) = (description.next()?, description.next()?);
            let url = std::str::from_utf8(location.1).ok()?;
            let is_web = url.starts_with("http://") || url.starts_with("https://");
            let is_plain = url.len() <= URL && url.bytes().all(|c| c.is_ascii_graphic());
            let is_found = method.1 == CA_ISSUERS && location.0 == URI && is_web && is_plain;
            is_found.then_some(url)
        })
    }

    /// The value of an extension.
    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        Elements(self.extensions?).find_map(|(_, extension)| {
            let (_, identifier, value) = element(extension)?;
            let mut value = Elements(value).filter(|(tag, _)| *tag == OCTET_STRING);
            (identifier == wanted)
                .then(|| value.next())?
                .map(|(_, value)| value)
        })
    }
}

/// Who issued a certificate: `WR2 (Google Trust Services)`.
pub(crate) fn issuer(certificate: &[u8]) -> Option<String> {
    let name = Fields::of(certificate)?.issuer;
    let (shown, organisation) = (shown(name)?, organisation(name));
    Some(
        match organisation.filter(|organisation| *organisation != shown) {
            Some(organisation) => format!("{shown} ({organisation})"),
            None => shown,
        },
    )
}

/// The best-known part of a name: its common name, else its organisation, else its unit.
pub(super) fn shown(name: &[u8]) -> Option<String> {
    first_of(name, &[COMMON_NAME, ORGANISATION, UNIT])
}

/// The organisation in a name.
pub(super) fn organisation(name: &[u8]) -> Option<String> {
    first_of(name, &[ORGANISATION])
}

/// The first of these attributes that a name has, cut to what is shown.
fn first_of(name: &[u8], kinds: &[[u8; 3]]) -> Option<String> {
    kinds.iter().find_map(|wanted| {
        let attributes = Elements(name).flat_map(|(_, set)| Elements(set));
        let mut values = attributes.filter_map(|(_, attribute)| {
            let (_, kind, value) = element(attribute)?;
            let (tag, text, _) = element(value)?;
            (kind == wanted && TEXTS.contains(&tag)).then_some(text)
        });
        let text = String::from_utf8_lossy(values.next()?).into_owned();
        let text: String = text.chars().take(SHOWN).collect();
        (!text.trim().is_empty()).then_some(text)
    })
}

/// A time of section 4.1.2.5: UTCTime up to 2049, else GeneralizedTime; both in Zulu, to the
/// second.
fn instant((tag, text): (u8, &[u8])) -> Option<UnixTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: i32 = text[..2].parse().ok()?;
            let century = if year < 50 { 2000 } else { 1900 };
            (century + year, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(2)?);
    let time = Time::from_hms(part(4)?, part(6)?, part(8)?);
    let seconds = PrimitiveDateTime::new(date.ok()?, time.ok()?).assume_utc();
    // Any time before 1970 counts as 1970.
    let seconds = u64::try_from(seconds.unix_timestamp()).unwrap_or(0);
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// DER elements one after the other: tag and content.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, content, rest) = element(self.0)?;
        self.0 = rest;
        Some((tag, content))
    }
}

/// Splits off the first DER element (X.690 section 8.1): tag, content, rest.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = bytes else {
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

/// `[0]` of a TBSCertificate.
const VERSION: u8 = 0xa0;

/// `[3]` of a TBSCertificate.
const EXTENSIONS: u8 = 0xa3;

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// UTF8String, PrintableString, T61String, IA5String.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// 2.5.4.10
const ORGANISATION: [u8; 3] = [0x55, 0x04, 0x0a];
/// 2.5.4.11
const UNIT: [u8; 3] = [0x55, 0x04, 0x0b];

/// 2.5.29.15
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];

/// 2.5.29.19
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];

/// 2.5.29.37
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];

/// 1.3.6.1.5.5.7.1.1
const AUTHORITY_INFORMATION: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];

/// 1.3.6.1.5.5.7.48.2
const CA_ISSUERS: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];

/// uniformResourceIdentifier of a GeneralName (section 4.2.1.6).
const URI: u8 = 0x86;

/// 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// 2.5.29.37.0
const ANY_PURPOSE: [u8; 4] = [0x55, 0x1d, 0x25, 0x00];

/// Bit 5, counted from the left.
const KEY_CERT_SIGN: u8 = 0x04;

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
        date_time_ymd,
    };
    use rustls::pki_types::CertificateDer;

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".into()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        change(&mut params);
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
            let certificate = certificate(|params| params.key_usages = usages.to_vec());
            let fields = Fields::of(&certificate).unwrap();
            assert_eq!(fields.may_sign(), expected, "{usages:?}");
        }
    }

    #[test]
    fn who_is_an_authority_is_read_from_the_basic_constraints() {
        use rcgen::BasicConstraints::{Constrained, Unconstrained};
        for (is_ca, expected) in [
            (IsCa::NoCa, false),
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(Unconstrained), true),
            (IsCa::Ca(Constrained(0)), true),
        ] {
            let certificate = certificate(|params| params.is_ca = is_ca);
            let fields = Fields::of(&certificate).unwrap();
            assert_eq!(fields.is_authority(), expected, "{is_ca:?}");
        }
    }

    #[test]
    fn who_may_serve_is_read_from_the_extended_key_usage() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
        for (purposes, expected) in [
            (&[][..], true),
            (&[ServerAuth], true),
            (&[ClientAuth, ServerAuth], true),
            (&[Any], true),
            (&[ClientAuth], false),
            (&[ClientAuth, CodeSigning], false),
        ] {
            let certificate = certificate(|params| params.extended_key_usages = purposes.to_vec());
            let fields = Fields::of(&certificate).unwrap();
            assert_eq!(fields.may_serve(), expected, "{purposes:?}");
        }
    }

    #[test]
    fn where_the_issuers_certificate_is_published_is_read_from_the_authority_information() {
        let description = |method: u8, tag: u8, location: &[u8]| {
            let oid = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, method];
            let mut content =
                [&[0x06, 8][..], &oid, &[tag, location.len() as u8], location].concat();
            content.splice(0..0, [0x30, content.len() as u8]);
            content
        };
        let of = |descriptions: &[Vec<u8>]| {
            let mut value = descriptions.concat();
            value.splice(0..0, [0x30, value.len() as u8]);
            let certificate = certificate(|params| {
                let id = [1, 3, 6, 1, 5, 5, 7, 1, 1];
                let extension = rcgen::CustomExtension::from_oid_content(&id, value);
                params.custom_extensions = vec![extension];
            });
            let fields = Fields::of(&certificate).unwrap();
            fields.issuer_url().map(str::to_owned)
        };
        let ocsp = description(1, URI, b"http://ocsp.example");
        let ldap = description(2, URI, b"ldap:///CN=x");
        let http = description(2, URI, b"http://ca.example/x.crt");
        let found = Some(String::from("http://ca.example/x.crt"));
        assert_eq!(of(&[ocsp.clone(), ldap, http]), found);
        assert_eq!(of(&[ocsp]), None);
        assert_eq!(of(&[description(2, URI, b"http://x\n")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_time_of_a_certificate_is_read_in_both_spellings() {
        for (year, from) in [
            (1999, 915_148_800),
            (2020, 1_577_836_800),
            (2051, 2_556_144_000),
        ] {
            let certificate = certificate(|params| {
                params.not_before = date_time_ymd(year, 1, 1);
                params.not_after = date_time_ymd(2090, 12, 31);
            });
            let (start, end) = Fields::of(&certificate).unwrap().validity().unwrap();
            assert_eq!(
                (start.as_secs(), end.as_secs()),
                (from, 3_818_361_600),
                "{year}"
            );
        }
        for (tag, text) in [
            (UTC_TIME, &b"250101000000"[..]),
            (UTC_TIME, b"2501010000Z"),
            (UTC_TIME, b"251301000000Z"),
            (UTC_TIME, b"25\xc3\xa901000000Z"),
            (GENERALIZED_TIME, b"20250101000000+0100"),
        ] {
            assert!(instant((tag, text)).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_shown_by_what_people_know_it_by() {
        let of = |names: &[(DnType, &str)]| {
            let certificate = certificate(|params| {
                params.distinguished_name = rcgen::DistinguishedName::new();
                for (kind, value) in names {
                    params.distinguished_name.push(kind.clone(), *value);
                }
            });
            shown(Fields::of(&certificate).unwrap().issuer)
        };
        let organisation = (DnType::OrganizationName, "Corp");
        assert_eq!(
            of(&[organisation.clone(), (DnType::CommonName, "a root")]),
            Some(String::from("a root"))
        );
        assert_eq!(of(&[organisation]), Some(String::from("Corp")));
        assert_eq!(of(&[]), None);
        let long = "x".repeat(300);
        assert_eq!(
            of(&[(DnType::CommonName, &long)]).map(|name| name.len()),
            Some(SHOWN)
        );
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_of_a_certificate_is_read_without_a_panic() {
        let whole = certificate(|params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let read = |bytes: &[u8]| {
            let Some(fields) = Fields::of(bytes) else {
                return;
            };
            let _ = (fields.may_sign(), fields.may_serve(), fields.validity());
            let _ = (fields.is_authority(), fields.issuer_url());
            let _ = (shown(fields.issuer), shown(fields.subject));
        };
        for end in 0..whole.len() {
            read(&whole[..end]);
        }
        let mut flipped = whole.to_vec();
        for bit in 0..whole.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            read(&flipped);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
