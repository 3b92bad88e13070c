//! TLS handshake messages byte by byte (RFC 8446 section 4), with what no library would send.

/// A ClientHello to be.
#[derive(Clone, Debug)]
pub(super) struct RawHello {
    /// `client_version`; 1.3 stands in an extension of its own.
    pub(super) version: u16,
    /// True to offer TLS 1.3 and no key share, so that the server chooses a suite and asks again.
    pub(super) is_1_3: bool,
    /// The suites.
    pub(super) suites: Vec<u16>,
    /// The content of the server name extension, if there is one.
    pub(super) names: Option<Vec<u8>>,
}

impl RawHello {
    /// TLS 1.2 with suites that a modern server takes.
    pub(super) fn tls12() -> Self {
        Self {
            version: 0x0303,
            is_1_3: false,
            suites: vec![0xc02b, 0xc02f],
            names: None,
        }
    }

    /// As bytes, in one record.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let suites: Vec<u8> = self
            .suites
            .iter()
            .flat_map(|suite| suite.to_be_bytes())
            .collect();
        let mut extensions = Vec::new();
        if let Some(names) = &self.names {
            extensions.extend(extension(0, names));
        }
        // x25519 and P-256; ECDSA with P-256 and RSA-PSS; uncompressed points.
        extensions.extend(extension(10, &[0, 4, 0, 0x1d, 0, 0x17]));
        extensions.extend(extension(13, &[0, 4, 4, 3, 8, 4]));
        extensions.extend(extension(11, &[1, 0]));
        // Extended master secret.
        extensions.extend(extension(23, &[]));
        if self.is_1_3 {
            extensions.extend(extension(43, &[2, 3, 4]));
            extensions.extend(extension(51, &[0, 0]));
        }
        let body = [
            &self.version.to_be_bytes()[..],
            &[7; 32],
            &[0],
            &sized(&suites),
            &[1, 0],
            &sized(&extensions),
        ]
        .concat();
        handshake(1, &body)
    }
}

/// A server name list of host names (RFC 6066 section 3).
pub(super) fn host_names(names: &[&[u8]]) -> Vec<u8> {
    let entries = names
        .iter()
        .flat_map(|name| [&[0][..], &sized(name)].concat());
    sized(&entries.collect::<Vec<u8>>())
}

/// A ServerHello without extensions, in one record.
pub(super) fn server_hello(version: u16, suite: u16, random: [u8; 32]) -> Vec<u8> {
    let body = [
        &version.to_be_bytes()[..],
        &random,
        &[0],
        &suite.to_be_bytes(),
        &[0],
    ]
    .concat();
    handshake(2, &body)
}

/// A fatal alert in clear text.
pub(super) fn alert(code: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, code]
}

/// What a server's first bytes choose: version and suite of its ServerHello.
pub(super) fn chosen(answer: &[u8]) -> Option<(u16, u16)> {
    let body = answer.strip_prefix(&[22, 3, 3])?.get(2..)?;
    if *body.first()? != 2 {
        return None;
    }
    let version = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let after_session = 4 + 2 + 32 + 1 + usize::from(*body.get(38)?);
    let suite = body.get(after_session..after_session + 2)?;
    Some((version, u16::from_be_bytes(suite.try_into().ok()?)))
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0][..], &sized(body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(content)].concat()
}

/// Behind its length in two bytes.
fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a short content");
    [&length.to_be_bytes()[..], content].concat()
}
