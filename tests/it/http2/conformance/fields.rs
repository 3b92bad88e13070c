//! Section 8: messages, their fields, their lengths, their trailers.

use super::*;

/// A GET on stream 1 with these fields behind its own.
fn with(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut all = get(HOST, "/");
    all.extend(fields);
    Frame::headers(1, &all, true).encode()
}

/// A request on stream 1 of just these fields.
fn of(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    Frame::headers(1, fields, true).encode()
}

/// What the RFC wants for a request that is malformed.
const MALFORMED: &str = "a stream error of PROTOCOL_ERROR";

const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"https");
const AUTHORITY: (&[u8], &[u8]) = (b":authority", HOST.as_bytes());
const PATH: (&[u8], &[u8]) = (b":path", b"/");

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("8.1", "a request", ask, Answer(200)),
    case("8.1", "a body", || then(post(&[]), &[Frame::data(1, b"body", true)]), Answer(200)),
    case("8.1", "a body and trailers", || {
        then(post(&[]), &[Frame::data(1, b"body", false), Frame::headers(1, &[(b"a", b"b")], true)])
    }, Answer(200)),
    case("8.1", "trailers that do not end the stream", || {
        then(post(&[]), &[Frame::data(1, b"x", false), Frame::headers(1, &[(b"a", b"b")], false)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.1", "trailers with a pseudo-field", || {
        then(post(&[]), &[Frame::data(1, b"x", false), Frame::headers(1, &[PATH], true)])
    }, Answer(200)).instead_of(MALFORMED),
    case("8.1", "DATA behind the trailers", || {
        then(post(&[]), &[Frame::headers(1, &[(b"a", b"b")], true), Frame::data(1, b"x", true)])
    }, Connection(PROTOCOL_ERROR)).instead_of("an error of STREAM_CLOSED"),
    case("8.1.1", "a body as long as its content-length", || {
        then(post(&[("content-length", "4")]), &[Frame::data(1, b"body", true)])
    }, Answer(200)),
    case("8.1.1", "a body in parts as long as its content-length", || {
        then(post(&[("content-length", "4")]), &[
            Frame::data(1, b"bo", false), Frame::data(1, b"", false), Frame::data(1, b"dy", true)])
    }, Answer(200)),
    case("8.1.1", "a body shorter than its content-length", || {
        then(post(&[("content-length", "5")]), &[Frame::data(1, b"body", true)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.1.1", "a body longer than its content-length", || {
        then(post(&[("content-length", "3")]), &[Frame::data(1, b"body", true)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.1.1", "a content-length and no body", || with(&[(b"content-length", b"5")]),
        Reset(PROTOCOL_ERROR)),
    case("8.1.1", "a content-length of 0 and no body", || with(&[(b"content-length", b"0")]),
        Answer(200)),
    case("8.1.1", "two different lengths", || {
        then(post(&[("content-length", "4"), ("content-length", "5")]),
            &[Frame::data(1, b"body", true)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.1.1", "a content-length that is no number", || {
        then(post(&[("content-length", "four")]), &[Frame::data(1, b"body", true)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.1.1", "a content-length with a sign", || {
        then(post(&[("content-length", "+4")]), &[Frame::data(1, b"body", true)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.1.1", "a shorter body with trailers", || {
        then(post(&[("content-length", "5")]),
            &[Frame::data(1, b"body", false), Frame::headers(1, &[(b"a", b"b")], true)])
    }, Reset(PROTOCOL_ERROR)),
    case("8.2.1", "a name in upper case", || with(&[(b"Upper", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a name with a space", || with(&[(b"a b", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a name with a colon", || with(&[(b"a:b", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a name with CR LF", || with(&[(b"a\r\nb", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a name with NUL", || with(&[(b"a\0b", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a name beyond ASCII", || with(&[(b"caf\xe9", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a name of nothing", || with(&[(b"", b"x")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a value with CR LF", || with(&[(b"a", b"x\r\nb: y")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a value with LF", || with(&[(b"a", b"x\ny")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a value with NUL", || with(&[(b"a", b"x\0y")]),
        Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.2.1", "a value beyond ASCII", || with(&[(b"a", b"caf\xe9")]), Answer(200)),
    case("8.2.1", "a value of nothing", || with(&[(b"a", b"")]), Answer(200)),
    case("8.2.1", "a value that begins with a space", || with(&[(b"a", b" x")]),
        Answer(400)).instead_of(MALFORMED),
    case("8.2.1", "a value that ends with a tab", || with(&[(b"a", b"x\t")]),
        Answer(400)).instead_of(MALFORMED),
    case("8.2.2", "connection", || with(&[(b"connection", b"close")]), Reset(PROTOCOL_ERROR)),
    case("8.2.2", "keep-alive", || with(&[(b"keep-alive", b"9")]), Reset(PROTOCOL_ERROR)),
    case("8.2.2", "proxy-connection", || with(&[(b"proxy-connection", b"close")]),
        Reset(PROTOCOL_ERROR)),
    case("8.2.2", "transfer-encoding", || with(&[(b"transfer-encoding", b"chunked")]),
        Reset(PROTOCOL_ERROR)),
    case("8.2.2", "upgrade", || with(&[(b"upgrade", b"h2c")]), Reset(PROTOCOL_ERROR)),
    case("8.2.2", "te: trailers", || with(&[(b"te", b"trailers")]), Answer(200)),
    case("8.2.2", "te: gzip", || with(&[(b"te", b"gzip")]), Reset(PROTOCOL_ERROR)),
    case("8.2.3", "cookies in crumbs", || with(&[(b"cookie", b"a=1"), (b"cookie", b"b=2")]),
        Answer(200)),
    case("8.3", "a pseudo-field behind a field", || {
        of(&[METHOD, SCHEME, AUTHORITY, (b"a", b"b"), PATH])
    }, Reset(PROTOCOL_ERROR)),
    case("8.3", "a pseudo-field that nobody knows", || {
        of(&[METHOD, SCHEME, AUTHORITY, PATH, (b":unknown", b"x")])
    }, Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.3", "a pseudo-field of answers", || {
        of(&[METHOD, SCHEME, AUTHORITY, PATH, (b":status", b"200")])
    }, Reset(PROTOCOL_ERROR)),
    case("8.3.1", "no method", || of(&[SCHEME, AUTHORITY, PATH]), Reset(PROTOCOL_ERROR)),
    case("8.3.1", "no scheme", || of(&[METHOD, AUTHORITY, PATH]), Reset(PROTOCOL_ERROR)),
    case("8.3.1", "no path", || of(&[METHOD, SCHEME, AUTHORITY]), Reset(PROTOCOL_ERROR)),
    case("8.3.1", "a path of nothing", || of(&[METHOD, SCHEME, AUTHORITY, (b":path", b"")]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "a path without a slash", || of(&[METHOD, SCHEME, AUTHORITY, (b":path", b"x")]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "a path with CR LF", || {
        of(&[METHOD, SCHEME, AUTHORITY, (b":path", b"/ HTTP/1.1\r\na: b")])
    }, Reset(PROTOCOL_ERROR)),
    case("8.3.1", "a path with a space", || of(&[METHOD, SCHEME, AUTHORITY, (b":path", b"/a b")]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "OPTIONS of everything", || {
        of(&[(b":method", b"OPTIONS"), SCHEME, AUTHORITY, (b":path", b"*")])
    }, Answer(200)),
    case("8.3.1", "two methods", || of(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "two schemes", || of(&[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "two authorities", || of(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "two paths", || of(&[METHOD, SCHEME, AUTHORITY, PATH, PATH]),
        Reset(PROTOCOL_ERROR)),
    case("8.3.1", "a method with a space", || {
        of(&[(b":method", b"GET /"), SCHEME, AUTHORITY, PATH])
    }, Connection(PROTOCOL_ERROR)).instead_of(MALFORMED),
    case("8.3.1", "a host instead of an authority", || {
        of(&[METHOD, SCHEME, PATH, (b"host", HOST.as_bytes())])
    }, Answer(200)),
    case("8.3.1", "neither host nor authority", || of(&[METHOD, SCHEME, PATH]), Answer(400)),
    case("8.3.1", "another authority than the connection's", || {
        of(&[METHOD, SCHEME, (b":authority", b"other.test"), PATH])
    }, Answer(421)),
    case("8.3.1", "an authority with a password", || {
        of(&[METHOD, SCHEME, (b":authority", b"user:secret@rules.test"), PATH])
    }, Answer(400)).instead_of(MALFORMED),
    case("8.3.1", "an authority that is none", || {
        of(&[METHOD, SCHEME, (b":authority", b"rules.test/x"), PATH])
    }, Reset(PROTOCOL_ERROR)),
    case("8.3.1", "a scheme that is none", || of(&[METHOD, (b":scheme", b"h t"), AUTHORITY, PATH]),
        Reset(PROTOCOL_ERROR)),
    case("8.5", "CONNECT inside a tunnel", || of(&[(b":method", b"CONNECT"), AUTHORITY]),
        Answer(400)),
    case("8.5", "CONNECT with a path", || of(&[(b":method", b"CONNECT"), SCHEME, AUTHORITY, PATH]),
        Reset(PROTOCOL_ERROR)),
];
