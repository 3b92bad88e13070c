//! An answer as it lies in Redis: a line of JSON, then the body.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::serve::answer::{Answer, Content, Proof};
use crate::serve::kept::hex;

/// The version of the format: what has another one is not read.
const FORMAT: u32 = 1;

/// The line at the beginning.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    /// The path below a module proxy.
    path: String,
    status: u16,
    /// When it came from upstream, milliseconds since 1970 (UTC).
    at: u64,
    proof: Proof,
    /// Of the body, hexadecimal.
    sha256: String,
}

/// Milliseconds since 1970 (UTC) at which an answer came from upstream.
pub(super) fn milliseconds(answer: &Answer) -> u64 {
    let at = answer.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// An answer to this path, with its body.
pub(super) fn encode(path: &str, answer: &Answer, body: &Bytes) -> Option<Vec<u8>> {
    let head = Head {
        format: FORMAT,
        path: path.to_owned(),
        status: answer.status.as_u16(),
        at: milliseconds(answer),
        proof: answer.proof.clone(),
        sha256: hex(Sha256::digest(body)),
    };
    let mut value = serde_json::to_vec(&head).ok()?;
    value.push(b'\n');
    value.extend_from_slice(body);
    Some(value)
}

/// The answer to this path; an error says why it is none.
pub(super) fn decode(path: &str, value: Vec<u8>) -> Result<Answer, &'static str> {
    let value = Bytes::from(value);
    let end = value
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("it has no head")?;
    let head: Head =
        serde_json::from_slice(&value[..end]).map_err(|_| "its head cannot be read")?;
    if head.format != FORMAT {
        return Err("it has another format");
    }
    if head.path != path {
        return Err("it is that of another path");
    }
    let status = StatusCode::from_u16(head.status).ok();
    let is_known = |status: &StatusCode| {
        matches!(
            *status,
            StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE
        )
    };
    let body = value.slice(end + 1..);
    if hex(Sha256::digest(&body)) != head.sha256 {
        return Err("its body is another one");
    }
    Ok(Answer {
        status: status.filter(is_known).ok_or("its status is unknown")?,
        content: Content::Bytes(body),
        at: UNIX_EPOCH
            .checked_add(Duration::from_millis(head.at))
            .ok_or("its time is none")?,
        proof: head.proof,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_and_what_was_changed_does_not() {
        let body = Bytes::from_static(b"v1.0.0\n");
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(body.clone()),
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            proof: Proof::Database("sum.golang.org+033de0ae".into()),
        };
        let value = encode("a.b/c/@v/list", &answer, &body).expect("it can be written");
        let back = decode("a.b/c/@v/list", value.clone()).expect("it is whole");
        assert_eq!(back.at, answer.at);
        assert_eq!(back.proof, answer.proof);
        assert_eq!(back.text().expect("a text"), body);
        assert!(decode("a.b/d/@v/list", value.clone()).is_err());
        for cut in 0..value.len() {
            assert!(
                decode("a.b/c/@v/list", value[..cut].to_vec()).is_err(),
                "{cut}"
            );
        }
        let text = String::from_utf8(value).expect("a text");
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            (":200", ":302"),
            ("v1.0.0", "v1.0.1"),
        ] {
            assert!(
                decode("a.b/c/@v/list", text.replace(from, to).into()).is_err(),
                "{to}"
            );
        }
    }
}
