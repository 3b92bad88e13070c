//! What is refused, by name.

use super::{Violation as V, chunked, refusal, with};

#[test]
fn what_two_parsers_read_differently_is_refused_by_name() {
    let line = |line: &str| format!("{line}\r\nHost: a.example\r\n\r\n").into_bytes();
    let rows: Vec<(&str, Vec<u8>, V)> = vec![
        ("HTTP/0.9", b"GET /\r\n".to_vec(), V::RequestLine),
        ("two spaces", line("GET  / HTTP/1.1"), V::RequestLine),
        ("space in target", line("GET /a b HTTP/1.1"), V::RequestLine),
        ("space at end", line("GET / HTTP/1.1 "), V::RequestLine),
        ("space at start", line(" GET / HTTP/1.1"), V::RequestLine),
        ("tab", line("GET\t/\tHTTP/1.1"), V::RequestLine),
        ("no method", line(" / HTTP/1.1"), V::RequestLine),
        ("odd method", line("G(T / HTTP/1.1"), V::RequestLine),
        (
            "two empty lines",
            line("\r\n\r\nGET / HTTP/1.1"),
            V::RequestLine,
        ),
        ("1.2", line("GET / HTTP/1.2"), V::Version),
        ("2.0", line("PRI * HTTP/2.0"), V::Target),
        ("lower case", line("GET / http/1.1"), V::Version),
        ("01.1", line("GET / HTTP/01.1"), V::Version),
        ("no form", line("GET a HTTP/1.1"), V::Target),
        ("fragment", line("GET /a#b HTTP/1.1"), V::Target),
        ("not ASCII", line("GET /\u{f6} HTTP/1.1"), V::RawTarget),
        ("not encoded", line("GET /a?b=<c> HTTP/1.1"), V::RawTarget),
        ("no authority", line("GET http://a<b/ HTTP/1.1"), V::Target),
        ("asterisk", line("GET * HTTP/1.1"), V::Target),
        ("other scheme", line("GET gopher://a/ HTTP/1.1"), V::Target),
        ("NUL in target", line("GET /\0 HTTP/1.1"), V::Control),
        ("CR in line", line("GET / HTTP/1.1\rX: y"), V::BareCr),
        (
            "LF alone",
            b"GET / HTTP/1.1\nHost: a\n\n".to_vec(),
            V::BareLf,
        ),
        ("LF in fields", with("A: b\nC: d\r\n"), V::BareLf),
        ("LF at end", with("A: b\r\n\n"), V::BareLf),
        (
            "CR in value",
            with("A: b\rTransfer-Encoding: chunked\r\n"),
            V::BareCr,
        ),
        ("two CRs", with("A: b\r\r\n"), V::BareCr),
        ("NUL in value", with("A: b\0\r\n"), V::Control),
        ("DEL in value", with("A: b\x7f\r\n"), V::Control),
        (
            "VT before chunked",
            with("Transfer-Encoding: \x0bchunked\r\n"),
            V::Control,
        ),
        ("NUL in name", with("A\0: b\r\n"), V::Control),
        ("fold", with("A: b\r\n c\r\n"), V::Folded),
        ("fold by tab", with("A: b\r\n\tc\r\n"), V::Folded),
        ("space first", line("GET / HTTP/1.1\r\n A: b"), V::Folded),
        ("no colon", with("A\r\n"), V::FieldName),
        ("no name", with(": b\r\n"), V::FieldName),
        ("space in name", with("A B: c\r\n"), V::FieldName),
        ("not ASCII name", with("A\u{f6}: c\r\n"), V::FieldName),
        (
            "space before colon",
            with("Transfer-Encoding : chunked\r\n"),
            V::SpaceBeforeColon,
        ),
        (
            "tab before colon",
            with("Content-Length\t: 3\r\n"),
            V::SpaceBeforeColon,
        ),
        (
            "CL and TE",
            with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
            V::LengthAndEncoding,
        ),
        (
            "TE and CL",
            with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
            V::LengthAndEncoding,
        ),
        (
            "CL differing",
            with("Content-Length: 3\r\nContent-Length: 4\r\n"),
            V::RepeatedLength,
        ),
        (
            "CL equal",
            with("Content-Length: 3\r\ncontent-length: 3\r\n"),
            V::RepeatedLength,
        ),
        ("CL list", with("Content-Length: 3, 3\r\n"), V::Length),
        ("CL empty", with("Content-Length:\r\n"), V::Length),
        ("CL +", with("Content-Length: +3\r\n"), V::Length),
        ("CL -", with("Content-Length: -3\r\n"), V::Length),
        ("CL hex", with("Content-Length: 0x3\r\n"), V::Length),
        ("CL octal", with("Content-Length: 010\r\n"), V::Length),
        ("CL 1e1", with("Content-Length: 1e1\r\n"), V::Length),
        (
            "CL wraps",
            with("Content-Length: 18446744073709551617\r\n"),
            V::Length,
        ),
        (
            "CL long",
            with("Content-Length: 1000000000000000000\r\n"),
            V::Length,
        ),
        ("CL two words", with("Content-Length: 3 4\r\n"), V::Length),
        ("CL_", with("Content_Length: 3\r\n"), V::Underscore),
        ("TE_", with("TRANSFER_ENCODING: chunked\r\n"), V::Underscore),
        (
            "TE twice",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            V::Encoding,
        ),
        (
            "TE list",
            with("Transfer-Encoding: chunked, identity\r\n"),
            V::Encoding,
        ),
        (
            "TE gzip",
            with("Transfer-Encoding: gzip, chunked\r\n"),
            V::Encoding,
        ),
        (
            "TE identity",
            with("Transfer-Encoding: identity\r\n"),
            V::Encoding,
        ),
        ("TE empty", with("Transfer-Encoding:\r\n"), V::Encoding),
        ("TE x", with("Transfer-Encoding: xchunked\r\n"), V::Encoding),
        (
            "TE comma",
            with("Transfer-Encoding: chunked,\r\n"),
            V::Encoding,
        ),
        (
            "TE quoted",
            with("Transfer-Encoding: \"chunked\"\r\n"),
            V::Encoding,
        ),
        (
            "TE parameter",
            with("Transfer-Encoding: chunked;q=1\r\n"),
            V::Encoding,
        ),
        (
            "TE in 1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            V::EncodingInHttp10,
        ),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), V::NoHost),
        ("two Hosts", with("host: a.example\r\n"), V::RepeatedHost),
        (
            "Host list",
            line("GET / HTTP/1.1\r\nHost: a, b").split_off(0),
            V::Host,
        ),
        (
            "Host empty",
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n".to_vec(),
            V::Host,
        ),
        (
            "Host user",
            b"GET / HTTP/1.1\r\nHost: b@a.example\r\n\r\n".to_vec(),
            V::Host,
        ),
        (
            "Host path",
            b"GET / HTTP/1.1\r\nHost: a.example/b\r\n\r\n".to_vec(),
            V::Host,
        ),
        ("chunk +", chunked("+3\r\nabc\r\n0\r\n\r\n"), V::ChunkSize),
        ("chunk 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), V::ChunkSize),
        (
            "chunk space",
            chunked("3 \r\nabc\r\n0\r\n\r\n"),
            V::ChunkSize,
        ),
        (
            "chunk space first",
            chunked(" 3\r\nabc\r\n0\r\n\r\n"),
            V::ChunkSize,
        ),
        (
            "chunk without size",
            chunked("\r\nabc\r\n0\r\n\r\n"),
            V::ChunkSize,
        ),
        (
            "chunk extension without size",
            chunked(";a\r\nabc\r\n0\r\n\r\n"),
            V::ChunkSize,
        ),
        (
            "chunk wraps",
            chunked("10000000000000003\r\nabc\r\n"),
            V::ChunkSize,
        ),
        ("chunk LF", chunked("3\nabc\r\n0\r\n\r\n"), V::BareLf),
        ("chunk CR", chunked("3\rabc\r\n0\r\n\r\n"), V::BareCr),
        ("chunk long", chunked("3\r\nabcd\r\n0\r\n\r\n"), V::ChunkEnd),
        ("chunk end LF", chunked("3\r\nabc\n0\r\n\r\n"), V::ChunkEnd),
        ("chunk end CR", chunked("3\r\nabc\rX0\r\n\r\n"), V::ChunkEnd),
        (
            "extension LF",
            chunked("3;a=b\nabc\r\n0\r\n\r\n"),
            V::BareLf,
        ),
        (
            "extension CR",
            chunked("3;a=b\rabc\r\n0\r\n\r\n"),
            V::BareCr,
        ),
        (
            "extension NUL",
            chunked("3;a=\0\r\nabc\r\n0\r\n\r\n"),
            V::Extension,
        ),
        (
            "extension quotes CRLF",
            chunked("3;a=\"\r\nabc\r\n0\r\n\r\n"),
            V::Extension,
        ),
        (
            "extension quotes LF",
            chunked("3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"),
            V::BareLf,
        ),
        (
            "trailer CL",
            chunked("0\r\nContent-Length: 3\r\n\r\n"),
            V::Trailer,
        ),
        (
            "trailer TE",
            chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            V::Trailer,
        ),
        (
            "trailer Host",
            chunked("0\r\nHost: b.example\r\n\r\n"),
            V::Trailer,
        ),
        ("trailer LF", chunked("0\r\nA: b\n\r\n"), V::BareLf),
        (
            "trailer fold",
            chunked("0\r\nA: b\r\n c\r\n\r\n"),
            V::Folded,
        ),
        ("trailer end LF", chunked("0\r\n\n"), V::BareLf),
        (
            "behind a body",
            [with("Content-Length: 3\r\n"), b"abcGET /\r\n".to_vec()].concat(),
            V::RequestLine,
        ),
        (
            "a request in a short body",
            [
                with("Content-Length: 1\r\n"),
                b"abGET / HTTP/1.1\r\n".to_vec(),
            ]
            .concat(),
            V::NoHost,
        ),
    ];
    let mut failed = Vec::new();
    for (name, octets, expected) in &rows {
        let mut octets = octets.clone();
        octets.extend_from_slice(b"\r\n\r\n");
        let got = refusal(&octets);
        if got != Some(*expected) {
            failed.push(format!("{name}: {got:?}, not {expected:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
