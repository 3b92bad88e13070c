//! The first bytes of a client: a CONNECT, a plain request, or a ClientHello. Read once, with a limit.

use std::io;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::exchange::{Target, TargetError};
use crate::proxy::limits::HEAD_BYTES;
use crate::tls::{Protocol, in_words};

/// The longest CONNECT head, bytes.
const CONNECT_LIMIT: usize = 16 * 1024;

/// Room for nearly every ClientHello, bytes: those of go 1.27 have 1.5 KB.
const HELLO_USUAL: usize = 2048;

/// The longest ClientHello, bytes.
const HELLO_LIMIT: usize = 64 * 1024;

/// The first byte of a TLS handshake record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// What a client of a proxy sends first.
#[derive(Debug)]
pub(super) enum Opening {
    Connect(ConnectHead),
    /// Anything else: for the HTTP server, with what was read.
    Request {
        read: Bytes,
    },
    /// TLS, which a proxy port does not speak.
    Tls,
}

/// The head of a CONNECT.
#[derive(Debug)]
pub(super) struct ConnectHead {
    pub(super) target: Target,
    pub(super) fields: HeaderMap,
    /// Bytes behind it that were read already.
    pub(super) rest: Bytes,
}

/// Why the first bytes of a client are not an opening.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    #[error("the client closed before it said anything")]
    Silent,
    #[error("the client broke off")]
    Io(#[source] io::Error),
    #[error("the CONNECT head is longer than {CONNECT_LIMIT} bytes")]
    TooLong,
    #[error("the CONNECT head is malformed")]
    Head(#[source] httparse::Error),
    #[error("the CONNECT target is malformed")]
    Target(#[source] TargetError),
}

/// Reads up to the end of a CONNECT head, or just enough to see that it is something else.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Opening, OpeningError> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        if read.first() == Some(&HANDSHAKE) {
            return Ok(Opening::Tls);
        }
        let method = b"CONNECT ";
        let seen = read.len().min(method.len());
        if seen > 0 && read[..seen] != method[..seen] {
            return Ok(Opening::Request {
                read: read.freeze(),
            });
        }
        if let Some(opening) = parse(&mut read)? {
            return Ok(opening);
        }
        if read.len() > CONNECT_LIMIT {
            return Err(OpeningError::TooLong);
        }
        let bytes = stream.read_buf(&mut read).await.map_err(OpeningError::Io)?;
        if bytes == 0 {
            let broke = OpeningError::Io(io::ErrorKind::UnexpectedEof.into());
            return Err(if read.is_empty() {
                OpeningError::Silent
            } else {
                broke
            });
        }
    }
}

fn parse(read: &mut BytesMut) -> Result<Option<Opening>, OpeningError> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(read).map_err(OpeningError::Head)?
    else {
        return Ok(None);
    };
    let target = request.path.unwrap_or_default();
    let target = target.parse().map_err(OpeningError::Target)?;
    let fields = request.headers.iter().filter_map(|field| {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(field.value).ok()?))
    });
    let fields = fields.collect();
    Ok(Some(Opening::Connect(ConnectHead {
        target,
        fields,
        rest: read.split_off(length).freeze(),
    })))
}

/// How a client begins inside a CONNECT.
#[derive(Debug)]
pub(super) struct FirstBytes {
    /// All that was read, for the next reader of the connection.
    pub(super) read: Bytes,
    /// `None` if it is not TLS.
    pub(super) client_hello: Option<ClientHello>,
}

/// What we use of a ClientHello.
#[derive(Debug, Default)]
pub(super) struct ClientHello {
    /// The server name, in lower case (RFC 6066 section 3).
    pub(super) server_name: Option<String>,
    /// The protocols that we speak too, in the client's order.
    pub(super) protocols: Vec<Protocol>,
}

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error("the client opened a tunnel and never used it")]
    Unused,
    #[error("the client broke off before its ClientHello")]
    Io(#[source] io::Error),
    #[error("the client sent a malformed ClientHello: {why}")]
    Malformed {
        /// In words.
        why: String,
        /// What TLS answers.
        alert: Vec<u8>,
    },
    #[error("the client sent a ClientHello of more than {HELLO_LIMIT} bytes")]
    TooLong,
}

impl HelloError {
    /// False for a client that merely closed the connection: go races several and uses one.
    pub(super) const fn is_worth_telling(&self) -> bool {
        matches!(self, Self::Malformed { .. } | Self::TooLong)
    }

    /// What to send to the client.
    pub(super) fn alert(&self) -> Option<&[u8]> {
        match self {
            Self::Malformed { alert, .. } => Some(alert),
            _ => None,
        }
    }
}

/// Reads a ClientHello, or the first bytes of something else.
pub(super) async fn read_hello(
    stream: &mut (impl AsyncRead + Unpin),
    rest: Bytes,
) -> Result<FirstBytes, HelloError> {
    let mut read = BytesMut::with_capacity(rest.len().max(HELLO_USUAL));
    read.extend_from_slice(&rest);
    let client_hello = read_hello_into(stream, &mut read).await?;
    Ok(FirstBytes {
        read: read.freeze(),
        client_hello,
    })
}

/// The same, where `read` has what came before. It keeps all that was read, also where this fails or is
/// dropped. `None` if it is not TLS.
async fn read_hello_into(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
) -> Result<Option<ClientHello>, HelloError> {
    let mut acceptor = Acceptor::default();
    let mut given = 0;
    loop {
        if read.first().is_some_and(|&first| first != HANDSHAKE) {
            return Ok(None);
        }
        while given < read.len() {
            let mut fresh = &read[given..];
            given += acceptor.read_tls(&mut fresh).map_err(HelloError::Io)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return Ok(Some(ClientHello::of(&accepted.client_hello()))),
                Err((error, mut answer)) => {
                    let (why, mut alert) = (in_words(&error), Vec::new());
                    answer.write_all(&mut alert).map_err(HelloError::Io)?;
                    return Err(HelloError::Malformed { why, alert });
                }
            }
        }
        if read.len() > HELLO_LIMIT {
            return Err(HelloError::TooLong);
        }
        let bytes = stream.read_buf(read).await.map_err(HelloError::Io)?;
        if bytes == 0 {
            let broke = HelloError::Io(io::ErrorKind::UnexpectedEof.into());
            return Err(if read.is_empty() {
                HelloError::Unused
            } else {
                broke
            });
        }
    }
}

/// How a client begins that believes it speaks to the origin.
#[derive(Debug)]
pub(super) enum Beginning {
    /// TLS.
    Hello(ClientHello),
    /// HTTP/1 in clear text: the host and port that the request is for.
    Request(Target),
    /// Anything else: another protocol, what is malformed, or no byte at all.
    Other,
}

/// Reads the first bytes of a client that believes it speaks to the origin. `read` keeps them, also
/// where this is dropped before it is ready.
pub(super) async fn read_beginning(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
) -> Beginning {
    if let Ok(Some(hello)) = read_hello_into(stream, read).await {
        return Beginning::Hello(hello);
    }
    loop {
        match ClearHead::parse(read) {
            ClearHead::Complete(host) => return Beginning::Request(host),
            ClearHead::Other => return Beginning::Other,
            ClearHead::Partial => {}
        }
        if !matches!(stream.read_buf(read).await, Ok(1..)) {
            return Beginning::Other;
        }
    }
}

/// A request head in clear text, from a client that believes it speaks to the origin.
#[derive(Debug, PartialEq, Eq)]
enum ClearHead {
    /// It may be one, once more has come.
    Partial,
    /// The host and port of its Host field.
    Complete(Target),
    /// It is none, or none that modtape could pass on: for a proxy, for two hosts or none, or with a
    /// wish for another protocol (RFC 9110 section 7.8).
    Other,
}

impl ClearHead {
    fn parse(read: &[u8]) -> Self {
        let end = read.iter().position(|byte| *byte == b' ');
        let word = &read[..end.unwrap_or(read.len())];
        let may_be = |method: &&[u8]| match end {
            Some(_) => *method == word,
            None => method.starts_with(word),
        };
        if !METHODS.iter().any(may_be) {
            return Self::Other;
        }
        let mut fields = [httparse::EMPTY_HEADER; CLEAR_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(read) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if read.len() <= HEAD_BYTES as usize => {
                return Self::Partial;
            }
            Ok(httparse::Status::Partial) | Err(_) => return Self::Other,
        }
        let has = |name: &str| {
            let fields = request.headers.iter();
            fields
                .filter(|field| field.name.eq_ignore_ascii_case(name))
                .count()
        };
        let is_path = request.path.is_some_and(|path| path.starts_with('/'));
        if !is_path || has("host") != 1 || has("upgrade") > 0 {
            return Self::Other;
        }
        let host = request
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("host"));
        let host = host.and_then(|host| std::str::from_utf8(host.value).ok());
        match host.map(|host| Target::with_default_port(host, 80)) {
            Some(Ok(host)) => Self::Complete(host),
            _ => Self::Other,
        }
    }
}

/// The methods of RFC 9110 section 9.3 and RFC 5789, without CONNECT.
const METHODS: [&[u8]; 8] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH",
];

/// The most fields of a head that is looked at in clear text; one with more is relayed unread.
const CLEAR_FIELDS: usize = 100;

impl ClientHello {
    fn of(hello: &rustls::server::ClientHello<'_>) -> Self {
        let offered = hello.alpn().into_iter().flatten();
        Self {
            server_name: hello.server_name().map(|name| {
                // RFC 6066 section 3 allows no dot at the end; some clients send one.
                let name = name.strip_suffix('.').unwrap_or(name);
                name.to_ascii_lowercase()
            }),
            protocols: offered.filter_map(Protocol::from_alpn).collect(),
        }
    }
}

/// What holds for any first bytes of a client: for fuzz targets and their twins in the tests.
#[cfg(any(test, fuzzing))]
pub(in crate::proxy) mod check {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use tokio::io::ReadBuf;

    use super::*;

    /// A CONNECT head and its target: one reading, however the bytes arrive; what follows the head is
    /// kept, and a target is written back as the same target.
    pub fn connect_head(bytes: &[u8]) {
        let [whole, pieces] = [bytes.len().max(1), 1]
            .map(|size| comparable(ready(read(&mut Pieces { bytes, size }))));
        assert_eq!(whole, pieces);
        if let Ok(text) = std::str::from_utf8(bytes) {
            target(text);
        }
        let words = bytes.split(|byte| byte.is_ascii_whitespace());
        words
            .filter_map(|word| std::str::from_utf8(word).ok())
            .for_each(target);
        let mut unread = bytes;
        if let Ok(Opening::Connect(ConnectHead { rest, .. })) = ready(read(&mut unread)) {
            let read = &bytes[..bytes.len() - unread.len()];
            assert!(read.ends_with(&rest) && read.starts_with(b"CONNECT "));
            let head = &read[..read.len() - rest.len()];
            assert!(
                head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"),
                "{head:?}"
            );
        }
    }

    fn target(text: &str) {
        let Ok(target) = text.parse::<Target>() else {
            return;
        };
        let written = target.to_string();
        assert_eq!(written.parse::<Target>().as_ref(), Ok(&target));
        let host = target.host();
        assert!((1..=253).contains(&host.len()) && !host.bytes().any(|c| c.is_ascii_uppercase()));
        let is_known = |c: u8| c.is_ascii_alphanumeric() || b"-._:".contains(&c);
        assert!(host.bytes().all(is_known), "{host:?}");
        assert_eq!(
            host.contains(':'),
            target.ip().is_some_and(|ip| ip.is_ipv6())
        );
    }

    /// Comparable, and without what depends on how many bytes came at once.
    fn comparable(opening: Result<Opening, OpeningError>) -> String {
        match opening {
            Ok(Opening::Connect(ConnectHead { target, .. })) => format!("CONNECT {target}"),
            Ok(Opening::Request { .. }) => "request".into(),
            Ok(Opening::Tls) => "tls".into(),
            // Which of the two limits is hit first depends on the pieces.
            Err(OpeningError::TooLong | OpeningError::Io(_)) => "no end".into(),
            Err(error) => format!("{error:?}"),
        }
    }

    /// A ClientHello: one reading, however the bytes arrive, and none of them lost.
    pub fn hello(bytes: &[u8]) {
        let at_once = Bytes::copy_from_slice(bytes);
        let readings = [
            (bytes.len().max(1), Bytes::new()),
            (7, Bytes::new()),
            (1, at_once.slice(..bytes.len() / 2)),
        ];
        let found = readings.map(|(size, rest)| {
            let mut pieces = Pieces {
                bytes: &bytes[rest.len()..],
                size,
            };
            match ready(read_hello(&mut pieces, rest)) {
                Ok(first) => {
                    let given = bytes.len() - pieces.bytes.len();
                    assert_eq!(first.read, bytes[..given]);
                    if let Some(hello) = &first.client_hello {
                        let name = hello.server_name.as_deref().unwrap_or_default();
                        assert!(
                            name.bytes()
                                .all(|c| c.is_ascii_graphic() && !c.is_ascii_uppercase()),
                            "{name:?}"
                        );
                        assert!(!name.contains(['/', '@', ':', '\\']), "{name:?}");
                    }
                    format!("{:?}", first.client_hello)
                }
                Err(error) => format!("{error:?}"),
            }
        });
        // Behind the limit it matters how many bytes came at once.
        if bytes.len() < 64 << 10 {
            assert_eq!(found[0], found[1]);
            assert_eq!(found[0], found[2]);
        }
    }

    /// Gives so many bytes at a time, and is never pending.
    struct Pieces<'a> {
        bytes: &'a [u8],
        size: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let size = self.size.min(self.bytes.len()).min(buffer.remaining());
            let (piece, rest) = self.bytes.split_at(size);
            buffer.put_slice(piece);
            self.bytes = rest;
            Poll::Ready(Ok(()))
        }
    }

    /// The outcome of what never waits.
    fn ready<T>(task: impl Future<Output = T>) -> T {
        match pin!(task).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("it waits though all bytes are there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opening(bytes: &[u8]) -> Result<Opening, OpeningError> {
        read(&mut &bytes[..]).await
    }

    #[tokio::test]
    async fn a_connect_head_is_cut_from_what_follows() {
        let bytes = b"CONNECT Proxy.golang.org:443 HTTP/1.1\r\nHost: x\r\nproxy-AUTHORIZATION: Basic eA==\r\n\r\n\x16\x03";
        let Ok(Opening::Connect(ConnectHead {
            target,
            fields,
            rest,
        })) = opening(bytes).await
        else {
            panic!()
        };
        assert_eq!(target.to_string(), "proxy.golang.org:443");
        let fields: Vec<_> = fields.iter().collect();
        let [host, credentials] = [("host", "x"), ("proxy-authorization", "Basic eA==")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert_eq!(
            fields,
            [(&host.0, &host.1), (&credentials.0, &credentials.1)]
        );
        assert_eq!(&rest[..], b"\x16\x03");
    }

    #[tokio::test]
    async fn every_prefix_of_a_head_waits_and_breaks_off() {
        let bytes = b"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!(matches!(opening(b"").await, Err(OpeningError::Silent)));
        for end in 1..bytes.len() {
            let outcome = opening(&bytes[..end]).await;
            assert!(
                matches!(outcome, Err(OpeningError::Io(_))),
                "{end}: {outcome:?}"
            );
        }
    }

    #[tokio::test]
    async fn other_openings_are_told_apart() {
        let plain = opening(b"GET http://a.example/ HTTP/1.1\r\n").await;
        assert!(matches!(plain, Ok(Opening::Request { .. })));
        assert!(matches!(opening(&[22, 3, 1]).await, Ok(Opening::Tls)));
        let bad = opening(b"CONNECT a.example HTTP/1.1\r\n\r\n").await;
        assert!(matches!(bad, Err(OpeningError::Target(_))));
        let long = [
            &b"CONNECT a.example:443 HTTP/1.1\r\nx: "[..],
            &[b'a'; 20_000],
        ]
        .concat();
        assert!(matches!(opening(&long).await, Err(OpeningError::TooLong)));
    }

    /// A ClientHello of rustls itself for `name`.
    fn client_hello(name: &'static str) -> Vec<u8> {
        let roots = rustls::RootCertStore::empty();
        let mut config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"spdy/1".to_vec(), b"http/1.1".to_vec()];
        let name = name.try_into().unwrap();
        let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_hello_is_read_from_any_two_pieces_and_given_back_whole() {
        let bytes = client_hello("Proxy.golang.org");
        for cut in 0..bytes.len() {
            let (rest, later) = bytes.split_at(cut);
            let mut later = later;
            let hello = read_hello(&mut later, Bytes::copy_from_slice(rest))
                .await
                .unwrap();
            assert_eq!(hello.read, bytes);
            let client_hello = hello.client_hello.unwrap();
            assert_eq!(
                client_hello.server_name.as_deref(),
                Some("proxy.golang.org")
            );
            assert_eq!(client_hello.protocols, [Protocol::H2, Protocol::Http1]);
        }
    }

    #[tokio::test]
    async fn what_is_no_tls_is_given_back_and_what_is_broken_named() {
        let hello = read_hello(&mut &b"SSH-2.0"[..], Bytes::new())
            .await
            .unwrap();
        assert!(hello.client_hello.is_none());
        assert_eq!(&hello.read[..], b"SSH-2.0");
        let unused = read_hello(&mut &b""[..], Bytes::new()).await;
        assert!(matches!(unused, Err(HelloError::Unused)));
        let bad = read_hello(&mut &[22, 3, 1, 0, 4, 1, 0, 0, 0][..], Bytes::new()).await;
        assert!(matches!(bad, Err(HelloError::Malformed { .. })), "{bad:?}");
    }

    #[test]
    fn any_connect_head_is_read_the_same_however_it_arrives() {
        crate::hostile::twin("connect_target", 1_000, check::connect_head);
    }

    #[test]
    fn any_client_hello_is_read_the_same_however_it_arrives() {
        crate::hostile::twin("hello_peek", 400, check::hello);
    }
}
