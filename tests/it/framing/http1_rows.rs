//! HTTP/1 requests that two parsers read differently, as bytes.
//!
//! Each asks for `/hostile`; what another parser would find hidden in it asks for `/smuggled`.

use super::http1::Fate::{self, Cut, Mended, Misdirected, Refused, TooLarge};

/// A request line, a Host field, these lines, the end, and a body.
pub fn with(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /hostile HTTP/1.1\r\nHost: proxy.golang.org\r\n{lines}\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    with("Transfer-Encoding: chunked\r\n", body)
}

/// A request line and the Host field.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: proxy.golang.org\r\n\r\n").into_bytes()
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: proxy.golang.org\r\n\r\n";

/// Name, bytes, what becomes of them.
pub fn hostile() -> Vec<(&'static str, Vec<u8>, Fate)> {
    let hidden = |lines: &str| with(lines, &format!("0\r\n\r\n{SMUGGLED}"));
    let long = |lines: String| with(&lines, "");
    vec![
        // Two framings.
        ("CL.TE", hidden("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Refused),
        ("TE.CL", hidden("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), Refused),
        ("CL.0 and TE", hidden("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), Refused),
        ("empty CL and TE", hidden("Content-Length:\r\nTransfer-Encoding: chunked\r\n"), Refused),
        ("two CLs", with("Content-Length: 0\r\nContent-Length: 5\r\n", "abcde"), Refused),
        ("two equal CLs", with("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"), Refused),
        ("CL list", with("Content-Length: 5, 5\r\n", "abcde"), Refused),
        ("cve_2023_40225 empty CL", with("Content-Length:\r\n", ""), Refused),
        ("cve_2021_32715 signed CL", with("Content-Length: +5\r\n", "abcde"), Refused),
        ("negative CL", with("Content-Length: -5\r\n", "abcde"), Refused),
        ("hex CL", with("Content-Length: 0x5\r\n", "abcde"), Refused),
        ("octal CL", with("Content-Length: 010\r\n", "abcdefgh"), Refused),
        ("CL with a fraction", with("Content-Length: 5.0\r\n", "abcde"), Refused),
        ("CL of two words", with("Content-Length: 5 0\r\n", "abcde"), Refused),
        ("CL past 64 bits", with("Content-Length: 18446744073709551621\r\n", "abcde"), Refused),
        ("cve_2021_40346 CL past 255 bytes", long(format!("Content-Length0{}: 0\r\nContent-Length: 5\r\nContent-Length: 0\r\n", "a".repeat(255))), Refused),
        ("CL with an underscore", with("Content_Length: 5\r\n", "abcde"), Refused),
        // Transfer-Encoding in other words.
        ("cve_2021_39214 TE identity", hidden("Transfer-Encoding: identity\r\n"), Refused),
        ("cve_2021_39214 TE with VT", hidden("Transfer-Encoding: \x0bchunked\r\n"), Refused),
        ("cve_2022_24766 space before colon", hidden("Transfer-Encoding : chunked\r\n"), Refused),
        ("cve_2021_21299 TE twice", hidden("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), Refused),
        ("TE list", hidden("Transfer-Encoding: identity, chunked\r\n"), Refused),
        ("chunked is not last", hidden("Transfer-Encoding: chunked, identity\r\n"), Refused),
        ("cve_2022_1705 TE xchunked", hidden("Transfer-Encoding: xchunked\r\n"), Refused),
        ("TE quoted", hidden("Transfer-Encoding: \"chunked\"\r\n"), Refused),
        ("TE with a comma", hidden("Transfer-Encoding: ,chunked\r\n"), Refused),
        ("TE empty", hidden("Transfer-Encoding:\r\n"), Refused),
        ("TE with an underscore", hidden("Transfer_Encoding: chunked\r\n"), Refused),
        ("TE folded", hidden("Transfer-Encoding:\r\n chunked\r\n"), Refused),
        ("TE behind a bare CR", hidden("X: y\rTransfer-Encoding: chunked\r\n"), Refused),
        ("TE behind a bare LF", hidden("X: y\nTransfer-Encoding: chunked\r\n"), Refused),
        ("TE with NUL", hidden("Transfer-Encoding: chunked\0\r\n"), Refused),
        ("TE with a tab before the colon", hidden("Transfer-Encoding\t: chunked\r\n"), Refused),
        ("TE with a control in its name", hidden("Transfer-Encoding\x1f: chunked\r\n"), Refused),
        ("cve_2026_2835 TE in HTTP/1.0", b"POST /hostile HTTP/1.0\r\nHost: proxy.golang.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(), Refused),
        // Lines and names.
        ("bare LF", b"GET /hostile HTTP/1.1\nHost: proxy.golang.org\n\n".to_vec(), Refused),
        ("bare CR", b"GET /hostile HTTP/1.1\rHost: proxy.golang.org\r\r\n\r\n".to_vec(), Refused),
        ("an end of LF", with("X: y\r\n\n", ""), Refused),
        ("CR CR LF", with("X: y\r\r\n", ""), Refused),
        ("NUL in a value", with("X: y\0z\r\n", ""), Refused),
        ("DEL in a value", with("X: y\x7f\r\n", ""), Refused),
        ("fold", with("X: y\r\n z\r\n", ""), Refused),
        ("first field folded", b"GET /hostile HTTP/1.1\r\n Host: proxy.golang.org\r\n\r\n".to_vec(), Refused),
        ("no colon", with("X\r\n", ""), Refused),
        ("cve_2023_25725 no name", with(": y\r\nContent-Length: 5\r\n", "abcde"), Refused),
        ("space in a name", with("X Y: z\r\n", ""), Refused),
        ("101 fields", long("X: y\r\n".repeat(101)), TooLarge),
        ("a head past its limit", long(format!("X: {}\r\n", "y".repeat(65_536))), TooLarge),
        // Request lines.
        ("HTTP/0.9", b"GET /hostile\r\n\r\n".to_vec(), Refused),
        ("HTTP/1.2", line("GET /hostile HTTP/1.2"), Refused),
        ("HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Refused),
        ("two spaces", line("GET  /hostile HTTP/1.1"), Refused),
        ("space in the target", line("GET /hostile HTTP/1.1 HTTP/1.1"), Refused),
        ("cve_2023_45539 fragment", line("GET /hostile#/smuggled HTTP/1.1"), Refused),
        ("an authority with a quote", line("GET https://proxy.golang.org\"/hostile HTTP/1.1"), Refused),
        ("no slash", line("GET hostile HTTP/1.1"), Refused),
        ("tabs", line("GET\t/hostile\tHTTP/1.1"), Refused),
        // Hosts.
        ("no Host", b"GET /hostile HTTP/1.1\r\n\r\n".to_vec(), Refused),
        ("two Hosts", with("Host: proxy.golang.org\r\n", ""), Refused),
        ("another second Host", with("Host: sum.golang.org\r\n", ""), Refused),
        ("userinfo in Host", b"GET /hostile HTTP/1.1\r\nHost: proxy.golang.org@sum.golang.org\r\n\r\n".to_vec(), Refused),
        ("Host list", b"GET /hostile HTTP/1.1\r\nHost: proxy.golang.org, sum.golang.org\r\n\r\n".to_vec(), Refused),
        ("another Host", b"GET /hostile HTTP/1.1\r\nHost: sum.golang.org\r\n\r\n".to_vec(), Misdirected),
        ("another port", b"GET /hostile HTTP/1.1\r\nHost: proxy.golang.org:80\r\n\r\n".to_vec(), Misdirected),
        ("another URL", b"GET https://sum.golang.org/hostile HTTP/1.1\r\nHost: sum.golang.org\r\n\r\n".to_vec(), Misdirected),
        ("another scheme", b"GET http://proxy.golang.org:443/hostile HTTP/1.1\r\nHost: proxy.golang.org:443\r\n\r\n".to_vec(), Misdirected),
        ("URL and Host differ", b"GET https://proxy.golang.org/hostile HTTP/1.1\r\nHost: sum.golang.org\r\n\r\n".to_vec(), Refused),
        ("a CONNECT inside", b"CONNECT sum.golang.org:443 HTTP/1.1\r\nHost: sum.golang.org:443\r\n\r\n".to_vec(), Refused),
        // Chunks.
        ("signed size", chunked("+0\r\n\r\n"), Cut),
        ("size with 0x", chunked("0x0\r\n\r\n"), Cut),
        ("size with a space", chunked("5 \r\nabcde\r\n0\r\n\r\n"), Cut),
        ("size with a space first", chunked(" 5\r\nabcde\r\n0\r\n\r\n"), Cut),
        ("cve_2021_32714 size past 64 bits", chunked("10000000000000005\r\nabcde\r\n0\r\n\r\n"), Cut),
        ("cve_2025_22871 size with bare LF", chunked("5\nabcde\r\n0\r\n\r\n"), Cut),
        ("cve_2025_4366 bare LF in an extension", chunked("5;a\nabcde\r\n0\r\n\r\n"), Cut),
        ("bare CR in an extension", chunked("5;a\rabcde\r\n0\r\n\r\n"), Cut),
        ("NUL in an extension", chunked("5;a\0\r\nabcde\r\n0\r\n\r\n"), Mended),
        ("quotes over a line", chunked("5;a=\"\r\nabcde\"\r\n0\r\n\r\n"), Cut),
        ("extension past its limit", chunked(&format!("5;{}\r\nabcde\r\n0\r\n\r\n", "a".repeat(20_000))), Cut),
        ("chunk longer than its size", chunked("5\r\nabcdefgh\r\n0\r\n\r\n"), Cut),
        ("chunk without CRLF", chunked("5\r\nabcde0\r\n\r\n"), Cut),
        ("chunk with LF behind it", chunked("5\r\nabcde\n0\r\n\r\n"), Cut),
        ("CL in trailers", chunked("0\r\nContent-Length: 5\r\n\r\n"), Mended),
        ("Host in trailers", chunked("0\r\nHost: sum.golang.org\r\n\r\n"), Mended),
        ("folded trailers", chunked("0\r\nX: y\r\n z\r\n\r\n"), Cut),
        ("trailers with LF", chunked("0\r\nX: y\n\r\n"), Cut),
    ]
}

/// Requests that are plain, if unusual: name, bytes, what the origin is asked for.
pub fn honest() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let get = "GET /second HTTP/1.1\r\nHost: proxy.golang.org\r\n\r\n";
    let one: &[&str] = &["/hostile"];
    let two: &[&str] = &["/hostile", "/second"];
    vec![
        ("a GET", line("GET /hostile HTTP/1.1"), one),
        (
            "an empty line first",
            [&b"\r\n"[..], &line("GET /hostile HTTP/1.1")].concat(),
            one,
        ),
        (
            "two in one write",
            [&line("GET /hostile HTTP/1.1"), get.as_bytes()].concat(),
            two,
        ),
        (
            "a body",
            with("Content-Length: 5\r\n", &format!("abcde{get}")),
            two,
        ),
        (
            "a body that looks like a request",
            with("Content-Length: 25\r\n", "GET /smuggled HTTP/1.1\r\n\r"),
            one,
        ),
        ("no body", with("Content-Length: 0\r\n", get), two),
        (
            "chunks",
            chunked(&format!(
                "5\r\nabcde\r\nA;a=\"b;c\"\r\n0123456789\r\n0\r\n\r\n{get}"
            )),
            two,
        ),
        (
            "CHUNKED",
            with("transfer-encoding: \tCHUNKED\t\r\n", "1\r\na\r\n0\r\n\r\n"),
            one,
        ),
        (
            "trailers",
            chunked("1\r\na\r\n0;x\r\nX-Sum: y\r\n\r\n"),
            one,
        ),
        (
            "the port in Host",
            b"GET /hostile HTTP/1.1\r\nhost: Proxy.golang.org:443\r\n\r\n".to_vec(),
            one,
        ),
        (
            "absolute form",
            line("GET https://proxy.golang.org/hostile HTTP/1.1"),
            one,
        ),
        (
            "hop by hop",
            with(
                "Connection: X-Hop, te\r\nX-Hop: y\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic eDp5\r\n",
                "",
            ),
            one,
        ),
        (
            "h2c",
            with(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                get,
            ),
            two,
        ),
        (
            "cve_2026_2833 a request behind an Upgrade",
            with("Connection: Upgrade\r\nUpgrade: websocket\r\n", get),
            two,
        ),
        ("obs-text", with("X: \u{f6}\r\nY:\t\r\n", ""), one),
    ]
}
