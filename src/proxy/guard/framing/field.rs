//! One field line of a head or of trailers.

use super::Violation;

/// A field without the whitespace around its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Takes a line without its CRLF (RFC 9112 section 5).
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, Violation> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Violation::Folded);
        }
        let colon = line.iter().position(|octet| *octet == b':');
        let Some(colon) = colon else {
            return Err(odd(line).unwrap_or(Violation::FieldName));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if let Some(b' ' | b'\t') = name.last() {
            return Err(Violation::SpaceBeforeColon);
        }
        if !is_token(name) {
            return Err(odd(name).unwrap_or(Violation::FieldName));
        }
        if let Some(violation) = odd(value) {
            return Err(violation);
        }
        let value = trim(value);
        Ok(Self { name, value })
    }

    /// Whether this is the field `name`, given in lower case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether this would be the field `name` for whoever takes `_` for `-`, as CGI does.
    pub(super) fn resembles(&self, name: &str) -> bool {
        let plain = |octet: &u8| match octet {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        };
        self.name.len() == name.len() && self.name.iter().map(plain).eq(name.bytes())
    }
}

/// A token of RFC 9110 section 5.6.2.
pub(crate) fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| TOKEN[usize::from(*octet)])
}

/// What no value may hold: controls other than HTAB (RFC 9110 section 5.5).
pub(super) fn odd(octets: &[u8]) -> Option<Violation> {
    let is_odd = |octet: &&u8| (**octet < b' ' && **octet != b'\t') || **octet == 127;
    octets.iter().find(is_odd).map(|octet| match octet {
        b'\r' => Violation::BareCr,
        _ => Violation::Control,
    })
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = matches!(
            octet as u8,
            b'0'..=b'9'
                | b'A'..=b'Z'
                | b'a'..=b'z'
                | b'!'
                | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
        octet += 1;
    }
    table
};
