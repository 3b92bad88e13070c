//! Sections 5.1, 5.3 and 6.9: the states of streams, their number, their windows.

use super::*;

/// What the RFC wants for frames on a stream that is over.
const CLOSED: &str = "an error of STREAM_CLOSED";

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("5.1", "DATA on an idle stream", || only(&[Frame::data(1, b"x", false)]),
        Connection(PROTOCOL_ERROR)),
    case("5.1", "RST_STREAM on an idle stream", || only(&[Frame::reset(1, 8)]),
        Connection(PROTOCOL_ERROR)),
    case("5.1", "WINDOW_UPDATE on an idle stream", || only(&[Frame::window_update(1, 9)]),
        Connection(PROTOCOL_ERROR)),
    case("5.1", "PRIORITY on an idle stream", || {
        only(&[Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 9])])
    }, Ignored),
    case("5.1", "DATA after the end of a request", || {
        only(&[asking("/silent"), Frame::data(1, b"x", false)])
    }, Connection(PROTOCOL_ERROR)).instead_of(CLOSED),
    case("5.1", "DATA after the end of a body", || {
        then(post(&[]), &[Frame::data(1, b"x", true), Frame::data(1, b"x", true)])
    }, Connection(PROTOCOL_ERROR)).instead_of(CLOSED),
    case("5.1", "a head after the end of a request", || {
        only(&[asking("/silent"), asking("/silent")])
    }, Connection(PROTOCOL_ERROR)).instead_of(CLOSED),
    case("5.1", "WINDOW_UPDATE after the end of a request", || {
        only(&[asking("/"), Frame::window_update(1, 9)])
    }, Answer(200)),
    case("5.1", "PRIORITY after the end of a request", || {
        only(&[asking("/"), Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 9])])
    }, Answer(200)),
    case("5.1", "RST_STREAM after the end of a request", || {
        only(&[asking("/silent"), Frame::reset(1, 8)])
    }, Ignored),
    case("5.1", "DATA on a stream that the client reset", || {
        only(&[asking("/silent"), Frame::reset(1, 8), Frame::data(1, b"x", false)])
    }, Reset(STREAM_CLOSED)),
    case("5.1", "a head on a stream that the client reset", || {
        only(&[asking("/silent"), Frame::reset(1, 8), asking("/")])
    }, Connection(PROTOCOL_ERROR)).instead_of(CLOSED),
    case("5.1", "PRIORITY on a stream that the client reset", || {
        let late = Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 9]);
        only(&[asking("/silent"), Frame::reset(1, 8), late])
    }, Ignored),
    case("5.1", "WINDOW_UPDATE on a stream that the client reset", || {
        only(&[asking("/silent"), Frame::reset(1, 8), Frame::window_update(1, 9)])
    }, Ignored),
    case("5.1", "RST_STREAM twice", || {
        only(&[asking("/silent"), Frame::reset(1, 8), Frame::reset(1, 8)])
    }, Ignored),
    case("5.1.1", "a stream of the server's", || {
        only(&[Frame::headers(2, &get(HOST, "/"), true)])
    }, Connection(PROTOCOL_ERROR)),
    case("5.1.1", "a stream below the last", || {
        only(&[Frame::headers(3, &get(HOST, "/silent"), true), asking("/")])
    }, Connection(PROTOCOL_ERROR)),
    case("5.1.1", "identifiers left out", || {
        only(&[asking("/"), Frame::headers(1001, &get(HOST, "/"), true)])
    }, Answer(200)),
    case("5.1.2", "more streams than we allow", || {
        let ids = (0..250).map(|n| 2 * n + 1);
        let mut all: Vec<_> = ids.map(|id| Frame::headers(id, &get(HOST, "/silent"), true)).collect();
        let last = Frame::headers(601, &get(HOST, "/"), true);
        all.push(last);
        frames::encode(&all)
    }, Refused),
    case("5.3.1", "a head that depends on itself", || {
        let block = [&[0, 0, 0, 1, 9][..], &frames::block(&get(HOST, "/"))].concat();
        only(&[Frame::new(kind::HEADERS, 4 | flag::PRIORITY | flag::END_STREAM, 1, block)])
    }, Reset(PROTOCOL_ERROR)),
    case("5.3.1", "PRIORITY of a stream that depends on itself", || {
        only(&[asking("/silent"), Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 1, 9])])
    }, Reset(PROTOCOL_ERROR)),
    case("5.3.1", "PRIORITY that is exclusive and depends on nobody", || {
        only(&[asking("/"), Frame::new(kind::PRIORITY, 0, 1, [0x80, 0, 0, 0, 255])])
    }, Answer(200)),
    case("6.9", "WINDOW_UPDATE of 0 on the connection", || only(&[Frame::window_update(0, 0)]),
        Connection(PROTOCOL_ERROR)),
    case("6.9", "WINDOW_UPDATE of 0 on a stream", || {
        only(&[asking("/silent"), Frame::window_update(1, 0)])
    }, Connection(PROTOCOL_ERROR)).instead_of("a stream error"),
    case("6.9", "the reserved bit of WINDOW_UPDATE", || {
        only(&[Frame::window_update(0, 1 << 31 | 9)])
    }, Ignored),
    case("6.9.1", "a window of the connection above 2^31-1", || {
        only(&[Frame::window_update(0, i32::MAX as u32)])
    }, Connection(FLOW_CONTROL_ERROR)),
    case("6.9.1", "a window of the connection above 2^31-1 in two steps", || {
        only(&[Frame::window_update(0, 1 << 30), Frame::window_update(0, 1 << 30)])
    }, Connection(FLOW_CONTROL_ERROR)),
    case("6.9.1", "a window of a stream above 2^31-1", || {
        only(&[asking("/silent"), Frame::window_update(1, i32::MAX as u32)])
    }, Reset(FLOW_CONTROL_ERROR)),
    case("6.9.1", "a window of the connection of just 2^31-1", || {
        only(&[Frame::window_update(0, i32::MAX as u32 - 65_535), asking("/")])
    }, Answer(200)),
];
