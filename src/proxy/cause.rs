//! Why a message or a connection ended before its end: one sentence whose subject is who ended it.
//!
//! hyper says "error reading a body from connection" of a reset, an end and a bad chunk alike. What
//! happened stands in the causes below: the code of a frame and its sender, the error of a socket,
//! an alert of TLS.

use std::error::Error;
use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};

use rustls::AlertDescription;

use super::guard::Violation;
use crate::exchange::DISTRUST;
use crate::tls::{alert_name, in_words};

/// Why `error` came about, without control characters. `peer` is who is on the other side: "the
/// client", or the upstream's host; `when` stands behind what a peer did: " before it answered".
pub(super) fn of(error: &(dyn Error + 'static), peer: &str, when: &str) -> String {
    let mut cause = error;
    while cause.is::<hyper::Error>()
        && let Some(next) = cause.source()
    {
        cause = next;
    }
    let sentence = if let Some(error) = cause.downcast_ref() {
        message(error, peer, when)
    } else if let Some(error) = cause.downcast_ref() {
        h2(error, peer, when)
    } else if let Some(error) = cause.downcast_ref() {
        socket(error, peer, when)
    } else {
        // A sentence of ours, such as why the other leg ended.
        cause.to_string()
    };
    sentence.replace(char::is_control, "?")
}

/// What hyper itself found.
fn message(error: &hyper::Error, peer: &str, when: &str) -> String {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return format!("{peer} closed the connection{when}");
    }
    if error.is_parse_too_large() {
        return format!("{peer} sent a message head that is too large");
    }
    // hyper has no method that tells these apart.
    match &error.to_string()[..] {
        "invalid content-length parsed" => format!("{peer} sent an invalid Content-Length"),
        "unexpected transfer-encoding parsed" => {
            format!("{peer} sent an unexpected Transfer-Encoding")
        }
        SURPLUS => {
            format!("{peer} sent bytes that nobody asked for")
        }
        _ if error.is_parse() => format!("{peer} {INVALID_HEAD}"),
        other => format!("{peer}: {other}"),
    }
}

fn h2(error: &h2::Error, peer: &str, when: &str) -> String {
    if let Some(error) = error.get_io() {
        return socket(error, peer, when);
    }
    let Some(reason) = error.reason() else {
        return format!("modtape could not send to {peer}: {error}");
    };
    // With the words that a GOAWAY may carry.
    let shown = error.to_string();
    let words = shown.split_once(" (b").filter(|_| error.is_go_away());
    let words = words.map_or_else(String::new, |(_, words)| format!(" ({words}"));
    let ours = match (error.is_go_away(), error.is_library()) {
        (true, false) => return format!("{peer} sent GOAWAY {reason:?}{words}{when}"),
        (false, false) => return format!("{peer} sent RST_STREAM {reason:?}{when}"),
        (true, true) => "ended the connection with GOAWAY",
        (false, true) => "reset the stream with RST_STREAM",
    };
    let what = match reason {
        h2::Reason::ENHANCE_YOUR_CALM => {
            "flooded the connection with resets, small frames or header fields"
        }
        h2::Reason::PROTOCOL_ERROR if error.is_go_away() => {
            "sent a frame that is invalid or out of place"
        }
        h2::Reason::PROTOCOL_ERROR => {
            "sent a malformed message, such as one with a Connection field (RFC 9113 section 8)"
        }
        h2::Reason::COMPRESSION_ERROR => "sent a HEADERS frame with an invalid field or encoding",
        h2::Reason::FRAME_SIZE_ERROR => "sent a frame of an invalid size",
        h2::Reason::FLOW_CONTROL_ERROR => "sent more than its window allows",
        h2::Reason::STREAM_CLOSED => "sent a frame on a closed stream",
        _ => "sent what HTTP/2 does not allow",
    };
    format!("modtape {ours} {reason:?}{words}: {peer} {what}")
}

fn socket(error: &io::Error, peer: &str, when: &str) -> String {
    let inner = error.get_ref();
    if let Some(violation) = inner.and_then(|inner| inner.downcast_ref::<Violation>()) {
        return format!("{peer} sent an invalid request: {violation}");
    }
    let tls = inner.and_then(|inner| inner.downcast_ref()).map(in_words);
    let text = tls.unwrap_or_else(|| error.to_string());
    // Words of `tls` have the peer as "it"; the guard's are whole sentences.
    if let Some(rest) = text.strip_prefix("it ") {
        return format!("{peer} {rest}{when}");
    }
    if text.starts_with(peer) {
        return text;
    }
    let lower = text.to_ascii_lowercase();
    match error.kind() {
        ConnectionReset => format!("{peer} reset the connection (TCP RST){when}"),
        ConnectionAborted => format!("{peer} aborted the connection{when}"),
        UnexpectedEof if lower.contains("close_notify") => {
            format!("{peer} closed the connection without a close_notify of TLS{when}")
        }
        UnexpectedEof | BrokenPipe => format!("{peer} closed the connection{when}"),
        TimedOut if error.raw_os_error().is_some() => {
            format!("{peer} did not acknowledge what was sent (TCP){when}")
        }
        // What hyper says of chunks: "Invalid chunk size line: Invalid Size".
        _ if lower.starts_with("invalid chunk size") => {
            format!("{peer} sent an invalid chunk size{when}")
        }
        _ if lower.starts_with("invalid chunk") => {
            format!("{peer} sent a chunk that does not end where its size says{when}")
        }
        _ if lower.starts_with("invalid trailer") || lower.starts_with("invalid header") => {
            format!("{peer} sent invalid trailers{when}")
        }
        _ if lower.starts_with("chunk trailers") || lower.starts_with("chunk extensions") => {
            format!("{peer} sent too many {lower}{when}")
        }
        _ => format!("{peer}: {text}"),
    }
}

/// Why a connection ended that its client closed before it was set up.
pub(super) const GAVE_UP: &str = "the client gave up";

/// Whether h2 found fault with what the peer sent; with which frame, it does not say.
pub(super) fn blames_a_frame(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(<dyn Error>::downcast_ref);
    cause.is_some_and(h2::Error::is_library)
}

/// Whether something came behind the end of a response.
pub(super) fn is_surplus(error: &hyper::Error) -> bool {
    error.to_string() == SURPLUS
}

const SURPLUS: &str = "received unexpected message from connection";

/// Whether hyper could not parse a head; where, it does not say.
pub(super) fn blames_a_head(error: &hyper::Error) -> bool {
    error.is_parse() && message(error, "", "").ends_with(INVALID_HEAD)
}

const INVALID_HEAD: &str = "sent an invalid message head";

/// What is wrong in the bytes of a response head that hyper could not parse: it says only that
/// something is.
pub(super) fn invalid_head(bytes: &[u8]) -> Option<String> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let shown = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
        text.replace(char::is_control, "?")
    };
    let first = trim_cr(lines.next()?);
    let is_status = first.strip_prefix(b"HTTP/1.").is_some_and(|rest| {
        let digits = rest.get(2..5);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    });
    if !is_status {
        return Some(format!("it begins with \"{}\"", shown(first)));
    }
    for line in lines.map(trim_cr).take_while(|line| !line.is_empty()) {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Some(format!("the line \"{}\" has no colon", shown(line)));
        };
        let (name, value) = line.split_at(colon);
        if name.is_empty() {
            return Some(String::from("a field has no name"));
        }
        let is_token = |byte: &&u8| super::headers::is_token(&[**byte]);
        if let Some(byte) = name.iter().find(|byte| !is_token(byte)) {
            let name = shown(name);
            return Some(format!(
                "the field name \"{name}\" holds the byte 0x{byte:02x}"
            ));
        }
        let is_control = |byte: &&u8| byte.is_ascii_control() && **byte != b'\t';
        if let Some(byte) = value.iter().find(is_control) {
            let name = shown(name);
            return Some(format!("the field {name} holds the byte 0x{byte:02x}"));
        }
    }
    None
}

/// Bytes of a peer that a sentence shows at most.
const SHOWN: usize = 60;

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Why our TLS handshake with the client failed.
///
/// It nearly always fails because the client does not know our root: then its alert says so (RFC 8446
/// section 6.2), or it leaves once it has seen our certificate. Every text begins with "the client",
/// which tells these failures from the upstream's ([`Opened::is_the_clients`]).
///
/// [`Opened::is_the_clients`]: crate::exchange::Opened::is_the_clients
pub(super) fn of_handshake(error: &io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => of_alert(*alert),
        (Some(rustls::Error::PeerIncompatible(_)), _) => {
            String::from("the client offers no TLS that modtape speaks: 1.3, and 1.2 with AEAD")
        }
        (Some(tls), _) => format!("the client's TLS failed: {}", in_words(tls)),
        (None, UnexpectedEof | ConnectionReset | BrokenPipe) => String::from(
            "the client broke off once it had modtape's certificate, without an alert, as some do \
             that do not trust its root",
        ),
        _ => format!("the client's TLS failed: {error}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let name = alert_name(alert);
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown => {
            format!("{DISTRUST}: it sent the alert {name}")
        }
        AlertDescription::CertificateExpired => format!(
            "the client takes modtape's certificate for expired: its clock is wrong, or the run is \
             older than its root (alert {name})"
        ),
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => {
            format!("the client broke off the handshake (alert {name})")
        }
        _ => format!("the client refused modtape's handshake: it sent the alert {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(alert: AlertDescription) -> String {
        of_handshake(&io::Error::other(rustls::Error::AlertReceived(alert)))
    }

    #[test]
    fn alerts_are_spelled_as_in_the_rfc() {
        for (alert, spelled) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadCertificate, "bad_certificate"),
            (AlertDescription::CertificateUnknown, "certificate_unknown"),
            (
                AlertDescription::NoApplicationProtocol,
                "no_application_protocol",
            ),
            (AlertDescription::Unknown(200), "200"),
        ] {
            assert_eq!(alert_name(alert), spelled);
        }
    }

    #[test]
    fn distrust_is_told_from_other_refusals() {
        for word in [
            AlertDescription::UnknownCA,
            AlertDescription::BadCertificate,
            AlertDescription::CertificateUnknown,
        ] {
            assert!(alert(word).starts_with(DISTRUST));
        }
        for word in [
            AlertDescription::CertificateExpired,
            AlertDescription::InternalError,
            AlertDescription::CloseNotify,
        ] {
            let text = alert(word);
            assert!(!text.starts_with(DISTRUST), "{text}");
            assert!(text.starts_with("the client "), "{text}");
        }
    }
}
