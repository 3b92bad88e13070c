//! What a collector's answer means: over HTTP by its status, over gRPC by its trailer.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use percent_encoding::percent_decode_str;
use prost::Message;
use serde_json::Value;

use super::{Answer, Taken, Verdict};

/// The longest pause that a collector may ask for; what is longer is not waited for anyway.
const PAUSE: Duration = Duration::from_secs(3600);

/// Base64 as gRPC has it, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `google.rpc.Status`, less what is not needed.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Of a POST of protobuf.
pub(super) fn of_protobuf(answer: &Answer) -> Verdict {
    by_status(answer).unwrap_or_else(|| {
        // A collector that answers with something else has taken it all the same.
        let response = ExportTraceServiceResponse::decode(answer.body.clone());
        taken(response.unwrap_or_default().partial_success)
    })
}

/// Of a POST of JSON.
pub(super) fn of_json(answer: &Answer) -> Verdict {
    by_status(answer).unwrap_or_else(|| {
        // Not by its own type, which takes a number for a number only: Protobuf's JSON writes it as text.
        let response = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        let partial = &response["partialSuccess"];
        let rejected = match &partial["rejectedSpans"] {
            Value::String(text) => text.parse().unwrap_or(0),
            number => number.as_i64().unwrap_or(0),
        };
        let message = partial["errorMessage"].as_str().unwrap_or_default();
        taken(Some(ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: message.to_owned(),
        }))
    })
}

/// What a status says that is not 200 to 299.
fn by_status(answer: &Answer) -> Option<Verdict> {
    let status = answer.status;
    if status.is_success() {
        return None;
    }
    // Not its body, which may be a page of HTML.
    let why = status.to_string();
    Some(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Verdict::Again(why, retry_after(&answer.headers)),
        _ => Verdict::Refused(why),
    })
}

/// Seconds of `Retry-After`; the dates that it may have too are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE))
}

fn taken(partial: Option<ExportTracePartialSuccess>) -> Verdict {
    let partial = partial.unwrap_or_default();
    let message = partial.error_message.trim();
    Verdict::Taken(Taken {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
        message: (!message.is_empty()).then(|| message.to_owned()),
    })
}

/// A message as gRPC frames it: whether it is compressed, its length, and itself.
pub(super) fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let length = u32::try_from(message.len()).expect("a batch has few MiB");
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(is_compressed.into());
    framed.put_u32(length);
    framed.put_slice(message);
    framed.freeze()
}

/// Of a call of gRPC ("gRPC over HTTP2").
pub(super) fn of_grpc(answer: &Answer) -> Verdict {
    // An answer without a message has the status in its head.
    let field = |name: &str| {
        let found = answer
            .trailers
            .get(name)
            .or_else(|| answer.headers.get(name));
        found.and_then(|value| value.to_str().ok())
    };
    let Some(code) = field("grpc-status").and_then(|code| code.parse::<u16>().ok()) else {
        // It is no gRPC server that answers, or something on the way to it.
        return by_status(answer).unwrap_or_else(|| {
            let status = answer.status;
            Verdict::Refused(format!(
                "{status} without grpc-status: it does not speak gRPC"
            ))
        });
    };
    if code == 0 {
        let message = answer.body.get(5..).filter(|_| answer.body[0] == 0);
        let response = message.and_then(|it| ExportTraceServiceResponse::decode(it).ok());
        return taken(response.unwrap_or_default().partial_success);
    }
    let message =
        field("grpc-message").map(|message| percent_decode_str(message).decode_utf8_lossy());
    let message = message.unwrap_or_default();
    let message = message.trim();
    let why = match message.is_empty() {
        true => name(code).to_owned(),
        false => format!("{}: {message}", name(code)),
    };
    let asked = field("grpc-status-details-bin").and_then(retry_info);
    match code {
        1 | 4 | 10 | 11 | 14 | 15 => Verdict::Again(why, asked),
        8 if asked.is_some() => Verdict::Again(why, asked),
        _ => Verdict::Refused(why),
    }
}

/// How long a server asks to wait.
fn retry_info(details: &str) -> Option<Duration> {
    let status = BASE64.decode(details).ok()?;
    let status = RpcStatus::decode(&*status).ok()?;
    let mut details = status.details.iter();
    let info = details.find(|it| it.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    let nanos = u32::try_from(delay.nanos).ok()?;
    let delay = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))?;
    Some(delay.min(PAUSE))
}

/// The name of a status of gRPC.
const fn name(code: u16) -> &'static str {
    match code {
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let fields = fields.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        let fields: HeaderMap = fields.collect();
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: fields.clone(),
            body: Bytes::copy_from_slice(body),
            trailers: fields,
        }
    }

    fn in_words(verdict: Verdict) -> String {
        match verdict {
            Verdict::Taken(taken) => {
                let message = taken.message.unwrap_or_default();
                format!("taken {} {message}", taken.rejected)
            }
            Verdict::Again(why, after) => format!("again {why} {after:?}"),
            Verdict::Refused(why) => format!("refused {why}"),
        }
    }

    #[test]
    fn over_http_the_status_decides_and_a_pause_is_heeded() {
        for (status, fields, expected) in [
            (200, &[][..], "taken 0 "),
            (400, &[], "refused 400 Bad Request"),
            (301, &[], "refused 301 Moved Permanently"),
            (500, &[], "refused 500 Internal Server Error"),
            (429, &[], "again 429 Too Many Requests None"),
            (
                503,
                &[("retry-after", "7")],
                "again 503 Service Unavailable Some(7s)",
            ),
            (
                503,
                &[("retry-after", "Mon, 30 Nov 2026")],
                "again 503 Service Unavailable None",
            ),
        ] {
            let verdict = of_protobuf(&answer(status, fields, b""));
            assert_eq!(in_words(verdict), expected);
        }
        let partial = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 3,
                error_message: String::from("too\nold"),
            }),
        };
        let verdict = of_protobuf(&answer(200, &[], &partial.encode_to_vec()));
        assert_eq!(in_words(verdict), "taken 3 too\nold");
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}"#;
        assert_eq!(in_words(of_json(&answer(200, &[], json))), "taken 3 old");
    }

    #[test]
    fn over_grpc_the_trailer_decides() {
        let info = RetryInfo {
            retry_delay: Some(Delay {
                seconds: 2,
                nanos: 500_000_000,
            }),
        };
        let status = RpcStatus {
            details: vec![Any {
                type_url: String::from("type.googleapis.com/google.rpc.RetryInfo"),
                value: info.encode_to_vec(),
            }],
        };
        let details = BASE64.encode(status.encode_to_vec());
        let details: &str = &details;
        for (fields, expected) in [
            (vec![("grpc-status", "0")], "taken 0 "),
            (vec![("grpc-status", "14")], "again UNAVAILABLE None"),
            (
                vec![("grpc-status", "16"), ("grpc-message", "who%20are you")],
                "refused UNAUTHENTICATED: who are you",
            ),
            (vec![("grpc-status", "8")], "refused RESOURCE_EXHAUSTED"),
            (
                vec![("grpc-status", "8"), ("grpc-status-details-bin", details)],
                "again RESOURCE_EXHAUSTED Some(2.5s)",
            ),
            (
                vec![],
                "refused 200 OK without grpc-status: it does not speak gRPC",
            ),
        ] {
            assert_eq!(in_words(of_grpc(&answer(200, &fields, b""))), expected);
        }
        assert_eq!(
            in_words(of_grpc(&answer(404, &[], b""))),
            "refused 404 Not Found"
        );
        assert_eq!(&framed(b"abc", true)[..], b"\x01\0\0\0\x03abc");
    }
}
