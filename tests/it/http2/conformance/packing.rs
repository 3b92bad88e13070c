//! Section 4.3 and RFC 7541: header blocks that do not unpack, and those that just do.

use super::*;

/// A GET whose block is this, and then what every request has.
fn led_by(lead: &[u8]) -> Vec<u8> {
    whole([lead, &frames::block(&get(HOST, "/"))].concat())
}

/// A GET whose block ends with this.
fn followed_by(trail: &[u8]) -> Vec<u8> {
    whole([&frames::block(&get(HOST, "/")), trail].concat())
}

fn whole(block: Vec<u8>) -> Vec<u8> {
    Frame::new(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        1,
        block,
    )
    .encode()
}

const WRONG_CODE: &str = "COMPRESSION_ERROR";

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("7541 6.1", "the static table", || {
        let mut block = vec![0x82, 0x87, 0x84];
        block.extend(frames::block(&[(b":authority", HOST.as_bytes())]));
        whole(block)
    }, Answer(200)),
    case("7541 6.1", "index 0", || followed_by(&[0x80]),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 6.1", "an index behind both tables", || followed_by(&[0x80 | 62]),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 6.2.1", "a field that is indexed and used", || {
        followed_by(b"\x40\x01a\x01b\xbe\xbe")
    }, Answer(200)),
    case("7541 6.2.1", "a name behind both tables", || followed_by(b"\x7f\x00\x01b"),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 6.2.3", "a field that must never be indexed", || {
        followed_by(b"\x10\x01a\x01b")
    }, Answer(200)),
    case("7541 6.3", "a table of nothing", || led_by(&[0x20]), Answer(200)),
    case("7541 4.2", "a table of 4096, which is the most", || led_by(b"\x3f\xe1\x1f"),
        Answer(200)),
    case("7541 4.2", "a table of 4097", || led_by(b"\x3f\xe2\x1f"),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 4.2", "a table of two sizes, one after the other", || led_by(b"\x20\x3f\xe1\x1f"),
        Answer(200)),
    case("7541 4.2", "a table's size behind a field", || followed_by(&[0x20]),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 4.3", "an index into a table that was emptied", || {
        let first = Frame::new(kind::HEADERS, 4 | flag::END_STREAM, 1, [
            &frames::block(&get(HOST, "/silent"))[..], b"\x40\x01a\x01b"].concat());
        let second = [b"\x20", &frames::block(&get(HOST, "/"))[..], &[0xbe]].concat();
        only(&[first, Frame::new(kind::HEADERS, 4 | flag::END_STREAM, 3, second)])
    }, Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.1", "an integer of ten bytes", || {
        followed_by(b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x0f\x01b")
    }, Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.1", "half an integer", || followed_by(&[0x7f, 0x80]),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.2", "a text longer than its block", || followed_by(b"\x00\x01a\x7fb"),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.2", "a block that ends in a name", || followed_by(b"\x00\x05a"),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.2", "Huffman padding of zeros", || followed_by(b"\x00\x01a\x81\x18"),
        Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.2", "Huffman padding of ones", || followed_by(b"\x00\x01a\x81\x1f"), Answer(200)),
    case("7541 5.2", "Huffman padding of more than seven bits", || {
        followed_by(b"\x00\x01a\x82\x1f\xff")
    }, Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("7541 5.2", "Huffman's end of string", || {
        followed_by(b"\x00\x01a\x84\xff\xff\xff\xff")
    }, Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("4.3", "a block that is half a field, in two frames", || {
        only(&[
            Frame::new(kind::HEADERS, flag::END_STREAM, 1, *b"\x00\x05a"),
            Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, *b"b"),
        ])
    }, Connection(PROTOCOL_ERROR)).instead_of(WRONG_CODE),
    case("4.3", "an empty block", || whole(Vec::new()), Reset(PROTOCOL_ERROR)),
    case("4.3", "a head of 12 KB in three frames", || {
        let value = vec![b'v'; 3000];
        let mut all = get(HOST, "/");
        all.extend([(&b"a"[..], &value[..]), (b"b", &value), (b"c", &value), (b"d", &value)]);
        in_frames(&frames::block(&all), 5000)
    }, Answer(200)),
    case("10.5.1", "a head of 70 KB", || {
        let value = vec![b'v'; 70_000];
        let mut all = get(HOST, "/");
        all.push((b"a", &value));
        in_frames(&frames::block(&all), 16_384)
    }, Answer(431)),
];

/// A GET on stream 1 in frames of that size.
fn in_frames(block: &[u8], size: usize) -> Vec<u8> {
    let pieces: Vec<_> = block.chunks(size).collect();
    let last = pieces.len() - 1;
    let all = pieces.iter().enumerate().map(|(at, piece)| {
        let kind = if at == 0 {
            kind::HEADERS
        } else {
            kind::CONTINUATION
        };
        let begin = if at == 0 { flag::END_STREAM } else { 0 };
        let end = if at == last { flag::END_HEADERS } else { 0 };
        Frame::new(kind, begin | end, 1, *piece)
    });
    frames::encode(&all.collect::<Vec<_>>())
}
