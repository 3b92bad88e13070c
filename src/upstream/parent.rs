//! Parent proxies: HTTP CONNECT with Basic credentials (RFC 9110 section 9.3.6), and SOCKS5.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::no_proxy::NoProxy;
use crate::capture::Wire;
use crate::exchange::{Target, TargetError};

/// The longest response to CONNECT that is read, bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// The most header fields of such a response.
const FIELDS: usize = 128;

/// Why there is no tunnel through the parent proxy.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// Its scheme is not supported.
    #[error("has the scheme {0}: only http, socks5 and socks5h are supported")]
    Scheme(String),
    /// Its host or port is invalid.
    #[error("has no usable address")]
    Address(#[source] TargetError),
    /// It refused the tunnel.
    #[error("answered {status} {reason}")]
    Refused {
        /// Status code.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// It requires credentials (RFC 9110 section 15.5.8).
    #[error("answered 407 {reason}: {}", remedy(offered, *had_credentials))]
    Unauthorized {
        /// Its reason phrase.
        reason: String,
        /// The schemes of its `Proxy-Authenticate`, as it spells them.
        offered: Vec<String>,
        /// Whether a user and a password were sent.
        had_credentials: bool,
    },
    /// Its response is not HTTP.
    #[error("sent a response that is not HTTP")]
    Answer,
    /// The SOCKS5 exchange failed.
    #[error("SOCKS5")]
    Socks(#[source] tokio_socks::Error),
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

/// The schemes of a 407, and what can be done about it.
fn remedy(offered: &[String], had_credentials: bool) -> String {
    let basic = offered
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case("Basic"));
    let offers = match offered {
        [] => String::from("it names no scheme"),
        _ => format!("it offers {}", offered.join(", ")),
    };
    match (basic, had_credentials) {
        (true, true) => format!("{offers}, and does not accept the user and password of its URL"),
        (true, false) => format!("{offers}: put USER:PASSWORD and @ before the host in its URL"),
        (false, _) => format!(
            "{offers}, and modtape supports only Basic: connect through a local proxy that signs \
             in, such as px or cntlm (--upstream-proxy)"
        ),
    }
}

/// The schemes in the values of `Proxy-Authenticate` (RFC 9110 section 11.6.1): words at the
/// beginning or after a comma that no `=` follows.
fn schemes<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut schemes: Vec<String> = Vec::new();
    for value in values {
        let value = String::from_utf8_lossy(value);
        for part in value.split(',') {
            let mut words = part.split_ascii_whitespace();
            let Some(word) = words.next() else { continue };
            let is_parameter = word.contains(['=', '"']) || words.next() == Some("=");
            if !is_parameter && schemes.len() < SCHEMES && !schemes.iter().any(|one| one == word) {
                schemes.push(word.chars().take(SCHEME_LENGTH).collect());
            }
        }
    }
    schemes
}

/// How many schemes are named, and the longest name.
const SCHEMES: usize = 5;
const SCHEME_LENGTH: usize = 20;

/// Which proxy is used for which target.
pub struct ParentProxies {
    matcher: Option<Matcher>,
    direct: NoProxy,
}

impl ParentProxies {
    /// Every target is dialled directly.
    pub fn none() -> Self {
        Self {
            matcher: None,
            direct: NoProxy::default(),
        }
    }

    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say; empty means not set.
    pub(crate) fn from_variables(https: &str, http: &str, no_proxy: &str) -> Self {
        if https.is_empty() && http.is_empty() {
            return Self::none();
        }
        // NO_PROXY is read as go reads it: the matcher knows neither ports nor `*.name`.
        let matcher = Matcher::builder().https(https).http(http);
        Self {
            matcher: Some(matcher.build()),
            direct: NoProxy::of(no_proxy),
        }
    }

    /// All targets go through the proxy `url`, except for `no_proxy`. An unusable URL is an error
    /// at once.
    pub fn checked(url: &str, no_proxy: &str) -> Result<Self, ParentError> {
        let scheme = url.split_once("://").map_or("http", |(scheme, _)| scheme);
        if !matches!(scheme, "http" | "socks5" | "socks5h") {
            return Err(ParentError::Scheme(scheme.to_owned()));
        }
        let proxies = Self::from_variables(url, url, "");
        let probe = Target::new("probe.invalid", 443).map_err(ParentError::Address)?;
        match proxies.proxy_for(&probe, true)? {
            Some(_) => Ok(Self::from_variables(url, url, no_proxy)),
            None => Err(ParentError::Address(TargetError::Host)),
        }
    }

    /// The proxy for `target`, if there is one.
    pub(super) fn proxy_for(
        &self,
        target: &Target,
        secure: bool,
    ) -> Result<Option<Parent>, ParentError> {
        if self.direct.covers(target) {
            return Ok(None);
        }
        let scheme = if secure { "https" } else { "http" };
        let Ok(uri) = format!("{scheme}://{target}/").parse() else {
            return Ok(None);
        };
        let found = self
            .matcher
            .as_ref()
            .and_then(|matcher| matcher.intercept(&uri));
        let Some(found) = found else {
            return Ok(None);
        };
        let kind = match found.uri().scheme_str() {
            Some("http") => Kind::Http,
            Some("socks5" | "socks5h") => Kind::Socks5,
            other => return Err(ParentError::Scheme(other.unwrap_or("none").to_owned())),
        };
        let port = found
            .uri()
            .port_u16()
            .unwrap_or_else(|| kind.default_port());
        let target = Target::new(found.uri().host().unwrap_or_default(), port)
            .map_err(ParentError::Address)?;
        let credentials = match kind {
            Kind::Http => found.basic_auth().and_then(|basic| {
                let text = basic.to_str().ok()?.strip_prefix("Basic ")?;
                let decoded = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
                let (user, password) = decoded.split_once(':')?;
                Some(Credentials::new(user, password))
            }),
            Kind::Socks5 => found
                .raw_auth()
                .map(|(user, password)| Credentials::new(user, password)),
        };
        Ok(Some(Parent {
            kind,
            target,
            credentials,
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

impl Kind {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Socks5 => 1080,
        }
    }
}

/// Basic credentials for HTTP, username and password for SOCKS5.
struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }
}

/// The proxy on the way to a target.
pub(super) struct Parent {
    kind: Kind,
    target: Target,
    credentials: Option<Credentials>,
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", self.target)
    }
}

impl Parent {
    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Requests a tunnel to `target`; afterwards `stream` is the tunnel.
    pub(super) async fn open(&self, stream: &mut Wire, target: &Target) -> Result<(), ParentError> {
        match self.kind {
            Kind::Http => self.open_http(stream, target).await,
            Kind::Socks5 => self.open_socks(stream, target).await,
        }
    }

    async fn open_http(&self, stream: &mut Wire, target: &Target) -> Result<(), ParentError> {
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(Credentials { user, password }) = &self.credentials {
            let basic = BASE64.encode(format!("{user}:{password}"));
            head.push_str(&format!("Proxy-Authorization: Basic {basic}\r\n"));
        }
        head.push_str("\r\n");
        stream
            .write_all(head.as_bytes())
            .await
            .map_err(ParentError::Io)?;

        let answer = read_head(stream).await?;
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(&answer).map_err(|_| ParentError::Answer)?;
        let reason = response.reason.unwrap_or_default().to_owned();
        match response.code {
            Some(200..=299) => Ok(()),
            Some(407) => {
                let asked = response.headers.iter().filter(|field| {
                    let name = http::header::PROXY_AUTHENTICATE;
                    field.name.eq_ignore_ascii_case(name.as_str())
                });
                Err(ParentError::Unauthorized {
                    reason,
                    offered: schemes(asked.map(|field| field.value)),
                    had_credentials: self.credentials.is_some(),
                })
            }
            Some(status) => Err(ParentError::Refused { status, reason }),
            None => Err(ParentError::Answer),
        }
    }

    async fn open_socks(&self, stream: &mut Wire, target: &Target) -> Result<(), ParentError> {
        use tokio_socks::tcp::Socks5Stream;
        let wanted = (target.host(), target.port());
        let opened = match &self.credentials {
            None => Socks5Stream::connect_with_socket(stream, wanted).await,
            Some(Credentials { user, password }) => {
                Socks5Stream::connect_with_password_and_socket(stream, wanted, user, password).await
            }
        };
        opened.map(|_| ()).map_err(ParentError::Socks)
    }
}

/// Reads the head of a response and no byte more: what follows belongs to the tunnel. The data is
/// peeked at before it is read, and a line may end with a bare LF (RFC 9112 section 2.2).
async fn read_head(stream: &mut Wire) -> Result<Vec<u8>, ParentError> {
    let (mut head, mut ahead) = (Vec::new(), vec![0; 2048]);
    loop {
        let seen = stream.socket().peek(&mut ahead).await;
        let seen = seen.map_err(ParentError::Io)?;
        if seen == 0 {
            return Err(ParentError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = head.len();
        head.extend_from_slice(&ahead[..seen]);
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let parsed = httparse::Response::new(&mut fields).parse(&head);
        let end = match parsed.map_err(|_| ParentError::Answer)? {
            httparse::Status::Complete(end) => Some(end),
            httparse::Status::Partial => None,
        };
        head.truncate(end.unwrap_or(head.len()));
        let read = stream.read_exact(&mut head[taken..]).await;
        read.map_err(ParentError::Io)?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > HEAD_LIMIT {
            return Err(ParentError::Answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(https: &str, no_proxy: &str, target: &str) -> Result<Option<Parent>, ParentError> {
        ParentProxies::from_variables(https, "", no_proxy).proxy_for(&target.parse().unwrap(), true)
    }

    #[test]
    fn credentials_are_used_and_never_shown() {
        let parent = proxy("http://ana:p%40ss@proxy.corp:3128", "", "a.example:443");
        let parent = parent.unwrap().unwrap();
        let Credentials { user, password } = parent.credentials.as_ref().unwrap();
        assert_eq!((&**user, &**password), ("ana", "p@ss"));
        assert_eq!(parent.to_string(), "http://proxy.corp:3128");
    }

    #[test]
    fn the_schemes_of_a_407_are_named_with_what_can_be_done() {
        for (values, sent, expected) in [
            (
                &["NTLM", "Negotiate"][..],
                true,
                "it offers NTLM, Negotiate, and modtape supports only Basic",
            ),
            (
                &["Digest realm=\"a, b\", qop = \"auth\", nonce=\"x==\", Basic realm=\"c\""],
                false,
                "it offers Digest, Basic: put USER:PASSWORD and @ before the host in its URL",
            ),
            (
                &["basic realm=x"],
                true,
                "it offers basic, and does not accept the user and password of its URL",
            ),
            (
                &[],
                false,
                "it names no scheme, and modtape supports only Basic",
            ),
        ] {
            let offered = schemes(values.iter().map(|value| value.as_bytes()));
            let told = remedy(&offered, sent);
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn no_proxy_goes_round_it() {
        assert!(
            proxy("proxy.corp:3128", "a.example", "a.example:443")
                .unwrap()
                .is_none()
        );
        assert!(
            proxy("proxy.corp:3128", "a.example", "b.example:443")
                .unwrap()
                .is_some()
        );
        assert!(proxy("", "", "b.example:443").unwrap().is_none());
    }

    #[test]
    fn a_scheme_that_we_do_not_speak_is_named() {
        let error = proxy("https://proxy.corp", "", "a.example:443")
            .err()
            .unwrap();
        assert!(error.to_string().contains("https"), "{error}");
    }
}
