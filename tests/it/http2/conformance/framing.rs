//! Sections 3.4 to 4.2 and 6.1 to 6.10: the form of frames, and where each may stand.

use super::*;

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("3.4", "a preface and settings", || {
        then(frames::PREFACE.to_vec(), &[Frame::settings(&[]), asking("/")])
    }, Answer(200)),
    case("3.4", "HTTP/1.1 instead of a preface", || {
        b"GET / HTTP/1.1\r\nHost: rules.test\r\n\r\n".to_vec()
    }, Closed),
    case("3.4", "a preface with a wrong last byte", || {
        then(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec(), &[Frame::settings(&[])])
    }, Closed),
    case("3.4", "a preface twice", || {
        then([frames::PREFACE, frames::PREFACE].concat(), &[Frame::settings(&[])])
    }, Connection(FRAME_SIZE_ERROR)),
    case("3.4", "a ping before the settings", || {
        then(frames::PREFACE.to_vec(), &[Frame::ping(*b"earlyone"), Frame::settings(&[])])
    }, Ignored).instead_of("PROTOCOL_ERROR"),
    case("4.1", "a frame of an unknown type", || {
        only(&[Frame::new(0xfe, 0xff, 0, *b"whatever")])
    }, Ignored),
    case("4.1", "a frame of an unknown type on a stream", || {
        only(&[asking("/"), Frame::new(0xfe, 0, 1, *b"whatever")])
    }, Answer(200)),
    case("4.1", "flags that ping does not have", || {
        only(&[Frame::new(kind::PING, 0xfe, 0, *b"whatever")])
    }, Ignored),
    case("4.1", "flags that settings do not have", || {
        only(&[Frame::new(kind::SETTINGS, 0xfe, 0, *b"")])
    }, Ignored),
    case("4.1", "the reserved bit on the connection", || {
        only(&[Frame::new(kind::PING, 0, 1 << 31, *b"whatever")])
    }, Ignored),
    case("4.1", "the reserved bit on a stream", || {
        let mut frame = asking("/");
        frame.stream |= 1 << 31;
        frame.encode()
    }, Answer(200)),
    case("4.2", "16,384 bytes of DATA", || {
        then(post(&[]), &[Frame::data(1, &[b'x'; 16_384], true)])
    }, Answer(200)),
    case("4.2", "16,385 bytes of DATA", || {
        then(post(&[]), &[Frame::data(1, &[b'x'; 16_385], true)])
    }, Connection(FRAME_SIZE_ERROR)),
    case("4.2", "16,385 bytes of a head", || {
        only(&[Frame::new(kind::HEADERS, 4, 1, [0; 16_385])])
    }, Connection(FRAME_SIZE_ERROR)),
    case("4.2", "16,385 bytes of an unknown type", || {
        only(&[Frame::new(0xfe, 0, 0, [0; 16_385])])
    }, Connection(FRAME_SIZE_ERROR)),
    case("6.1", "DATA on the connection", || only(&[Frame::data(0, b"x", false)]),
        Connection(PROTOCOL_ERROR)),
    case("6.1", "padding as long as the frame", || {
        then(post(&[]), &[Frame::new(kind::DATA, flag::PADDED, 1, [4, 0, 0, 0])])
    }, Connection(PROTOCOL_ERROR)),
    case("6.1", "padding longer than the frame", || {
        then(post(&[]), &[Frame::new(kind::DATA, flag::PADDED, 1, [200, 0, 0, 0])])
    }, Connection(PROTOCOL_ERROR)),
    case("6.1", "a padded frame without a padding length", || {
        then(post(&[]), &[Frame::new(kind::DATA, flag::PADDED, 1, *b"")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.1", "nothing but padding", || {
        then(post(&[]), &[Frame::new(kind::DATA, flag::PADDED | flag::END_STREAM, 1, [3, 0, 0, 0])])
    }, Answer(200)),
    case("6.1", "padding that is not zeros", || {
        then(post(&[]), &[Frame::new(kind::DATA, flag::PADDED | flag::END_STREAM, 1, *b"\x02xab")])
    }, Answer(200)),
    case("6.2", "a head on the connection", || {
        only(&[Frame::headers(0, &get(HOST, "/"), true)])
    }, Connection(PROTOCOL_ERROR)),
    case("6.2", "a head with padding", || {
        let block = frames::block(&get(HOST, "/"));
        let padded = [&[5][..], &block, &[0; 5]].concat();
        only(&[Frame::new(kind::HEADERS, 4 | flag::PADDED | flag::END_STREAM, 1, padded)])
    }, Answer(200)),
    case("6.2", "a head with padding and priority", || {
        let block = frames::block(&get(HOST, "/"));
        let padded = [&[5, 0, 0, 0, 0, 9][..], &block, &[0; 5]].concat();
        let flags = 4 | flag::PADDED | flag::PRIORITY | flag::END_STREAM;
        only(&[Frame::new(kind::HEADERS, flags, 1, padded)])
    }, Answer(200)),
    case("6.2", "a head whose padding is too long", || {
        only(&[Frame::new(kind::HEADERS, 4 | flag::PADDED | flag::END_STREAM, 1, *b"\xff\x82\x84")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.2", "a head with half a priority", || {
        only(&[Frame::new(kind::HEADERS, 4 | flag::PRIORITY | flag::END_STREAM, 1, [0, 0, 0])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR (section 4.2)"),
    case("6.3", "PRIORITY on the connection", || {
        only(&[Frame::new(kind::PRIORITY, 0, 0, [0, 0, 0, 1, 9])])
    }, Connection(PROTOCOL_ERROR)),
    case("6.3", "PRIORITY of four bytes", || {
        only(&[Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 3])])
    }, Connection(PROTOCOL_ERROR)).instead_of("a stream error of FRAME_SIZE_ERROR"),
    case("6.3", "PRIORITY of six bytes", || {
        only(&[Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 3, 9, 9])])
    }, Connection(PROTOCOL_ERROR)).instead_of("a stream error of FRAME_SIZE_ERROR"),
    case("6.4", "RST_STREAM on the connection", || only(&[Frame::reset(0, 8)]),
        Connection(PROTOCOL_ERROR)),
    case("6.4", "RST_STREAM of three bytes", || {
        only(&[asking("/silent"), Frame::new(kind::RST_STREAM, 0, 1, [0, 0, 8])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.4", "RST_STREAM of five bytes", || {
        only(&[asking("/silent"), Frame::new(kind::RST_STREAM, 0, 1, [0, 0, 0, 8, 0])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.4", "RST_STREAM with a code that nobody knows", || {
        only(&[asking("/silent"), Frame::reset(1, 0xdead_beef)])
    }, Ignored),
    case("6.6", "PUSH_PROMISE from a client", || {
        only(&[asking("/silent"), Frame::new(kind::PUSH_PROMISE, 4, 1, *b"\0\0\0\x02\x82\x87\x84")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.7", "PING on a stream", || only(&[Frame::new(kind::PING, 0, 1, *b"whatever")]),
        Connection(PROTOCOL_ERROR)),
    case("6.7", "PING of seven bytes", || only(&[Frame::new(kind::PING, 0, 0, *b"whateve")]),
        Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.7", "PING of nine bytes", || only(&[Frame::new(kind::PING, 0, 0, *b"whatever!")]),
        Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.7", "an answer to a ping that was not sent", || {
        only(&[Frame::new(kind::PING, flag::ACK, 0, *b"whatever")])
    }, Ignored),
    case("6.8", "GOAWAY on a stream", || {
        only(&[Frame::new(kind::GOAWAY, 0, 1, [0; 8])])
    }, Connection(PROTOCOL_ERROR)),
    case("6.8", "GOAWAY of seven bytes", || {
        only(&[Frame::new(kind::GOAWAY, 0, 0, [0; 7])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.8", "GOAWAY with words and a code that nobody knows", || {
        only(&[Frame::new(kind::GOAWAY, 0, 0, *b"\0\0\0\0\xde\xad\xbe\xefwords")])
    }, Connection(NO_ERROR)),
    case("6.9", "WINDOW_UPDATE of three bytes", || {
        only(&[Frame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 1])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.9", "WINDOW_UPDATE of five bytes", || {
        only(&[Frame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 0, 1])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.10", "a head in three frames", || {
        let block = frames::block(&get(HOST, "/"));
        only(&[
            Frame::new(kind::HEADERS, flag::END_STREAM, 1, &block[..7]),
            Frame::new(kind::CONTINUATION, 0, 1, &block[7..20]),
            Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, &block[20..]),
        ])
    }, Answer(200)),
    case("6.10", "a head whose last frame is empty", || {
        let block = frames::block(&get(HOST, "/"));
        only(&[
            Frame::new(kind::HEADERS, flag::END_STREAM, 1, block),
            Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, *b""),
        ])
    }, Answer(200)),
    case("6.10", "CONTINUATION on another stream", || {
        only(&[Frame::new(kind::HEADERS, 0, 1, *b"\x82"), Frame::new(kind::CONTINUATION, 4, 3, *b"")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION on the connection", || {
        only(&[Frame::new(kind::HEADERS, 0, 1, *b"\x82"), Frame::new(kind::CONTINUATION, 4, 0, *b"")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION after the end of a head", || {
        only(&[asking("/silent"), Frame::new(kind::CONTINUATION, 4, 1, *b"")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION after DATA", || {
        then(post(&[]), &[Frame::data(1, b"x", false), Frame::new(kind::CONTINUATION, 4, 1, *b"")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "CONTINUATION first of all", || {
        only(&[Frame::new(kind::CONTINUATION, 4, 1, *b"")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "DATA inside a head", || {
        only(&[Frame::new(kind::HEADERS, 0, 1, *b"\x82"), Frame::data(1, b"x", false)])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "a ping inside a head", || {
        only(&[Frame::new(kind::HEADERS, 0, 1, *b"\x82"), Frame::ping(*b"whatever")])
    }, Connection(PROTOCOL_ERROR)),
    case("6.10", "another head inside a head", || {
        only(&[Frame::new(kind::HEADERS, 0, 1, *b"\x82"), Frame::headers(3, &get(HOST, "/"), true)])
    }, Connection(PROTOCOL_ERROR)),
    case("5.5", "a frame of an unknown type inside a head", || {
        only(&[Frame::new(kind::HEADERS, 0, 1, *b"\x82"), Frame::new(0xfe, 0, 1, *b"x")])
    }, Connection(PROTOCOL_ERROR)),
];
