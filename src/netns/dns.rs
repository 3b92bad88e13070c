//! What a DNS query asks for, and our answer to it (RFC 1035).
//!
//! A and AAAA get the name's synthetic addresses, PTR the name of such an address. Other types exist as
//! little as they do for most hosts: the answer is empty, so that no HTTPS record leads to HTTP/3, and no
//! SRV record to a name that we have not seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};

/// How long a client may keep an answer, seconds. The addresses stand for their names as long as the
/// namespace lives, but a name that exists now may not later.
const TIME_TO_LIVE: u32 = 30;

/// The longest answer over UDP, bytes, to a client that does not say more (RFC 1035 section 4.2.1). None
/// of ours is longer: a question is at most 259 bytes, and an answer holds one record.
#[cfg(any(test, fuzzing))]
const SHORT: usize = 512;

/// A query that can be answered.
#[derive(Debug)]
pub(super) struct Query<'a> {
    packet: Packet<'a>,
    /// The name, in lower case, without the last dot.
    pub(super) name: String,
    pub(super) asked: Asked,
}

/// What is asked about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    V4,
    V6,
    /// The name of an address.
    NameOf(IpAddr),
    /// Any other type: whether the name exists.
    Other,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
}

/// What a query is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Known(Known),
    /// The name of an address.
    Name(String),
    /// There is no such name.
    NoSuchName,
    /// Nobody could say.
    Failed,
}

/// Reads a query. The error is the answer to one that cannot be read; `None` is no answer at all.
pub(super) fn read(bytes: &[u8]) -> Result<Query<'_>, Option<Vec<u8>>> {
    let Ok(packet) = Packet::parse(bytes) else {
        let id = bytes.first_chunk().map(|id| u16::from_be_bytes(*id));
        return Err(id.and_then(|id| refusal(id, RCODE::FormatError)));
    };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Err(None);
    }
    if packet.opcode() != OPCODE::StandardQuery {
        return Err(refusal(packet.id(), RCODE::NotImplemented));
    }
    let [question] = &packet.questions[..] else {
        return Err(refusal(packet.id(), RCODE::FormatError));
    };
    let name = question.qname.to_string().to_ascii_lowercase();
    let asked = match (question.qclass, question.qtype) {
        (QCLASS::CLASS(CLASS::IN), QTYPE::TYPE(TYPE::A)) => Asked::V4,
        (QCLASS::CLASS(CLASS::IN), QTYPE::TYPE(TYPE::AAAA)) => Asked::V6,
        (QCLASS::CLASS(CLASS::IN), QTYPE::TYPE(TYPE::PTR)) => {
            reversed(&name).map_or(Asked::Other, Asked::NameOf)
        }
        _ => Asked::Other,
    };
    Ok(Query {
        name: name.trim_end_matches('.').to_owned(),
        asked,
        packet,
    })
}

impl Query<'_> {
    /// The answer.
    pub(super) fn answer(&self, reply: &Reply) -> Option<Vec<u8>> {
        let mut answer = Packet::new_reply(self.packet.id());
        let wanted = self.packet.has_flags(PacketFlag::RECURSION_DESIRED);
        answer.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if wanted {
            answer.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        let question: &Question<'_> = self.packet.questions.first()?;
        answer.questions.push(question.clone());
        let name = || question.qname.clone();
        let mut add = |data| {
            let record = ResourceRecord::new(name(), CLASS::IN, TIME_TO_LIVE, data);
            answer.answers.push(record);
        };
        match (reply, self.asked) {
            (Reply::Known(known), Asked::V4) => {
                let address = known.v4.map(|ip| RData::A(A::from(ip)));
                address.into_iter().for_each(&mut add);
            }
            (Reply::Known(known), Asked::V6) => {
                let address = known.v6.map(|ip| RData::AAAA(AAAA::from(ip)));
                address.into_iter().for_each(&mut add);
            }
            (Reply::Name(name), Asked::NameOf(_)) => {
                let name = Name::new(name).ok()?;
                add(RData::PTR(PTR(name)));
            }
            (Reply::Known(_) | Reply::Name(_), _) => {}
            (Reply::NoSuchName, _) => *answer.rcode_mut() = RCODE::NameError,
            (Reply::Failed, _) => *answer.rcode_mut() = RCODE::ServerFailure,
        }
        answer.build_bytes_vec_compressed().ok()
    }
}

fn refusal(id: u16, code: RCODE) -> Option<Vec<u8>> {
    let mut answer = Packet::new_reply(id);
    *answer.rcode_mut() = code;
    answer.build_bytes_vec().ok()
}

/// The address in `4.3.2.1.in-addr.arpa` (RFC 1035 section 3.5) or `….ip6.arpa` (RFC 3596 section 2.5).
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let parts: Option<Vec<u8>> = octets.split('.').map(|octet| octet.parse().ok()).collect();
        let mut octets: [u8; 4] = parts?.try_into().ok()?;
        octets.reverse();
        return Some(octets.into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let digits: Vec<&str> = digits.split('.').collect();
    if digits.len() != 32 {
        return None;
    }
    for digit in digits.iter().rev() {
        let [digit] = digit.as_bytes() else {
            return None;
        };
        let digit = char::from(*digit).to_digit(16)?;
        bits = bits << 4 | u128::from(digit);
    }
    Some(Ipv6Addr::from_bits(bits).into())
}

/// What holds for any bytes that the command sends as a query.
#[cfg(any(test, fuzzing))]
pub(super) fn check(bytes: &[u8]) {
    let query = match read(bytes) {
        Ok(query) => query,
        Err(answer) => {
            let answer = answer.unwrap_or_default();
            assert!(answer.is_empty() || Packet::parse(&answer).is_ok());
            return;
        }
    };
    assert_eq!(query.name, query.name.to_ascii_lowercase());
    let known = Known {
        v4: Some(Ipv4Addr::LOCALHOST),
        v6: Some(Ipv6Addr::LOCALHOST),
    };
    let name = Reply::Name(String::from("a.example"));
    for reply in [Reply::Known(known), name, Reply::NoSuchName, Reply::Failed] {
        let Some(bytes) = query.answer(&reply) else {
            continue;
        };
        assert!(bytes.len() <= SHORT, "{} bytes", bytes.len());
        let answer = Packet::parse(&bytes);
        assert!(answer.is_ok_and(|answer| answer.id() == query.packet.id()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new_unchecked(name);
        let question = Question::new(name, kind.into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        packet.build_bytes_vec().unwrap()
    }

    fn answered(asked: &[u8], reply: &Reply) -> (RCODE, Vec<String>) {
        let query = read(asked).unwrap();
        let bytes = query.answer(reply).unwrap();
        let answer = Packet::parse(&bytes).unwrap();
        assert_eq!((answer.id(), answer.questions.len()), (7, 1));
        let shown = |record: &ResourceRecord<'_>| match &record.rdata {
            RData::A(a) => Ipv4Addr::from_bits(a.address).to_string(),
            RData::AAAA(a) => Ipv6Addr::from_bits(a.address).to_string(),
            RData::PTR(PTR(name)) => name.to_string(),
            other => format!("{other:?}"),
        };
        (answer.rcode(), answer.answers.iter().map(shown).collect())
    }

    #[test]
    fn each_family_gets_its_own_address_and_other_types_nothing() {
        let known = Reply::Known(Known {
            v4: Some(Ipv4Addr::new(198, 18, 0, 1)),
            v6: None,
        });
        for (kind, addresses) in [
            (TYPE::A, &["198.18.0.1"][..]),
            (TYPE::AAAA, &[]),
            (TYPE::MX, &[]),
            (TYPE::TXT, &[]),
            (TYPE::HTTPS, &[]),
        ] {
            let asked = query("Proxy.golang.ORG", kind);
            assert_eq!(read(&asked).unwrap().name, "proxy.golang.org");
            let (code, found) = answered(&asked, &known);
            assert_eq!(code, RCODE::NoError);
            assert_eq!(found, addresses, "{kind:?}");
        }
        let asked = query("nowhere.example", TYPE::A);
        assert_eq!(answered(&asked, &Reply::NoSuchName).0, RCODE::NameError);
        assert_eq!(answered(&asked, &Reply::Failed).0, RCODE::ServerFailure);
    }

    #[test]
    fn an_address_leads_back_to_its_name() {
        let v6 = "2.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.5.6.0.7.1.6.4.7.4.6.f.6.d.6.d.f.ip6.arpa";
        for (name, expected) in [
            ("1.0.18.198.in-addr.arpa", "198.18.0.1"),
            (v6, "fd6d:6f64:7461:7065:0:1:0:2"),
        ] {
            let asked = query(name, TYPE::PTR);
            let asked_for = read(&asked).unwrap().asked;
            assert_eq!(asked_for, Asked::NameOf(expected.parse().unwrap()));
            let (_, found) = answered(&asked, &Reply::Name(String::from("a.example")));
            assert_eq!(found, ["a.example"]);
        }
        for name in [
            "1.0.18.in-addr.arpa",
            "256.0.18.198.in-addr.arpa",
            "x.ip6.arpa",
        ] {
            assert_eq!(read(&query(name, TYPE::PTR)).unwrap().asked, Asked::Other);
        }
    }

    #[test]
    fn what_is_no_query_gets_no_answer_or_an_error() {
        let mut response = query("a.example", TYPE::A);
        response[2] |= 0x80;
        assert!(matches!(read(&response), Err(None)));
        let mut update = query("a.example", TYPE::A);
        update[2] |= 5 << 3;
        let Err(Some(refused)) = read(&update) else {
            panic!()
        };
        assert_eq!(
            Packet::parse(&refused).unwrap().rcode(),
            RCODE::NotImplemented
        );
        assert!(matches!(read(&[]), Err(None)));
    }

    #[test]
    fn queries_of_others_are_read_or_refused() {
        crate::hostile::twin("dns_query", 1_500, check);
    }

    #[test]
    fn any_part_of_a_query_is_read_or_refused() {
        let long = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ]
        .join(".");
        for name in ["proxy.golang.org", &long, "."] {
            let whole = query(name, TYPE::A);
            for end in 0..=whole.len() {
                check(&whole[..end]);
            }
            for place in 0..whole.len() {
                for value in [0, 1, 0x3f, 0x40, 0xc0, 0xff] {
                    let mut changed = whole.clone();
                    changed[place] = value;
                    check(&changed);
                }
            }
        }
    }
}
