//! What an answer to `fetch` holds: which commits it cuts the history at, and a pack.

use std::io::{self, Read, Write};

use super::is_object_id;
use super::pkt_line::{PktLine, PktLines, invalid};

/// What an answer holds besides the pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Bytes of the pack; 0 without one.
    pub(crate) bytes: u64,
    /// Commits whose parents the client is not given.
    pub(crate) shallow: Vec<String>,
    /// Why the server refused or gave up.
    pub(crate) error: Option<String>,
}

/// Reads an answer to `fetch` of version 2, or to a request of a version before, and writes its pack to
/// `pack`. An error is that of a stream that breaks off or is none of these.
pub(crate) fn unpack(answer: impl Read, pack: &mut impl Write) -> io::Result<Packed> {
    let mut lines = PktLines::new(answer);
    let mut packed = Packed::default();
    // Version 2 says where the pack begins; before it, the pack follows in a side band.
    let mut is_pack = false;
    while let Some(line) = lines.next()? {
        let PktLine::Data(bytes) = line else {
            is_pack = false;
            continue;
        };
        if !is_pack && let Some(text) = line.text() {
            if let Some(why) = text.strip_prefix("ERR ") {
                packed.error = Some(why.to_owned());
                return Ok(packed);
            }
            if let Some(commit) = text.strip_prefix("shallow ") {
                if !is_object_id(commit) {
                    return Err(invalid("the name of a commit is invalid"));
                }
                packed.shallow.push(commit.to_owned());
            }
            if text == "packfile" {
                is_pack = true;
                continue;
            }
        }
        match bytes.split_first() {
            Some((1, bytes)) => {
                packed.bytes += bytes.len() as u64;
                pack.write_all(bytes)?;
            }
            Some((3, why)) => {
                let why = String::from_utf8_lossy(why).trim().to_owned();
                packed.error = Some(why);
                return Ok(packed);
            }
            _ => {}
        }
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::super::pkt_line::push;
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn unpacked(lines: &[&str]) -> (Packed, Vec<u8>) {
        let mut answer = Vec::new();
        for line in lines {
            match *line {
                "0000" | "0001" => answer.extend_from_slice(line.as_bytes()),
                line => push(&mut answer, line),
            }
        }
        let mut pack = Vec::new();
        let packed = unpack(&answer[..], &mut pack).unwrap();
        assert_eq!(packed.bytes, pack.len() as u64);
        (packed, pack)
    }

    #[test]
    fn the_pack_of_each_version_is_put_together_again() {
        let shallow = format!("shallow {A}\n");
        let v2 = [
            "shallow-info\n",
            &shallow,
            "0001",
            "packfile\n",
            "\u{1}PA",
            "\u{2}half\r",
            "\u{1}CK",
            "0000",
        ];
        let (packed, pack) = unpacked(&v2);
        assert_eq!(
            (&pack[..], packed.shallow),
            (&b"PACK"[..], vec![A.to_owned()])
        );
        let v0 = ["NAK\n", "\u{2}counting", "\u{1}PACK", "0000"];
        assert_eq!(unpacked(&v0).1, b"PACK");
        let negotiation = ["acknowledgments\n", "NAK\n", "0000"];
        assert_eq!(unpacked(&negotiation), Default::default());
    }

    #[test]
    fn a_refusal_is_told() {
        let refused = unpacked(&["ERR upload-pack: not our ref\n"]).0;
        assert_eq!(refused.error.as_deref(), Some("upload-pack: not our ref"));
        let gave_up = unpacked(&["packfile\n", "\u{1}PA", "\u{3}no memory\n"]).0;
        assert_eq!(gave_up.error.as_deref(), Some("no memory"));
    }

    #[test]
    fn a_pack_that_is_cut_off_is_an_error() {
        let mut answer = Vec::new();
        push(&mut answer, "packfile\n");
        push(&mut answer, "\u{1}PACK");
        answer.truncate(answer.len() - 1);
        assert!(unpack(&answer[..], &mut Vec::new()).is_err());
    }
}
