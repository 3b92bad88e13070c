//! Why a dial led nowhere, in one word, by the error of the step that failed.

use std::io;

use rustls::{CertificateError, Error as Tls, OtherError};

use super::journey::{Journey, Step, Try};
use super::{DialError, ParentError};
use crate::exchange::DialFailure;
use crate::tls::Distrust;

/// Of a dial that failed before TLS.
pub(super) fn of_dial(error: &DialError, journey: &Journey) -> DialFailure {
    match error {
        DialError::Resolve { source, .. } => of_lookup(source),
        DialError::Connect { .. } => of_tries(&journey.tries),
        DialError::Timeout { .. } => match journey.step {
            Step::Resolving => DialFailure::DnsTimeout,
            Step::Connecting => DialFailure::Timeout,
            Step::Asking => DialFailure::ProxyTimeout,
            Step::Connected => DialFailure::TlsTimeout,
        },
        DialError::Loop { .. }
        | DialError::Redirected { .. }
        | DialError::Private { .. }
        | DialError::Host { .. } => DialFailure::Forbidden,
        DialError::Parent { source, .. } => match source {
            ParentError::Scheme(_) | ParentError::Address(_) => DialFailure::ProxySetting,
            ParentError::Unauthorized { .. } => DialFailure::Proxy407,
            ParentError::Refused { .. } => DialFailure::ProxyRefused,
            ParentError::Answer | ParentError::Socks(_) | ParentError::Io(_) => {
                DialFailure::ProxyFailed
            }
        },
        DialError::Tls { source, .. } => of_tls(source),
    }
}

/// What the system's resolver says has no number here: these are the words of gai_strerror(3) in glibc and
/// musl for a name without an address.
pub(super) fn of_lookup(error: &io::Error) -> DialFailure {
    const NOT_FOUND: [&str; 4] = [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "nodename nor servname provided",
    ];
    let text = error.to_string();
    let is_absent = NOT_FOUND.iter().any(|words| text.contains(words));
    match is_absent || error.kind() == io::ErrorKind::NotFound {
        true => DialFailure::DnsNotFound,
        false => DialFailure::DnsFailed,
    }
}

/// Of all attempts together: what was answered says more than what was not.
fn of_tries(tries: &[Try]) -> DialFailure {
    let mut answers = tries.iter().filter_map(|tried| tried.failure);
    let answer = answers.find(|failure| *failure != DialFailure::Timeout);
    answer.unwrap_or(DialFailure::Timeout)
}

/// Of one attempt to connect.
pub(super) fn of_tcp(error: &io::Error) -> DialFailure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error.kind() {
        ConnectionRefused => DialFailure::Refused,
        HostUnreachable | NetworkUnreachable => DialFailure::NoRoute,
        TimedOut => DialFailure::Timeout,
        _ => DialFailure::TcpFailed,
    }
}

/// Of a handshake.
pub(super) fn of_tls(error: &io::Error) -> DialFailure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Tls>());
    match (tls, error.kind()) {
        (Some(Tls::InvalidCertificate(why)), _) => of_certificate(why),
        (Some(Tls::NoCertificatesPresented), _) => DialFailure::TlsCertificate,
        (Some(Tls::AlertReceived(_)), _) => DialFailure::TlsAlert,
        (Some(_), _) => DialFailure::TlsFailed,
        (None, TimedOut) => DialFailure::TlsTimeout,
        (None, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe) => {
            DialFailure::TlsClosed
        }
        (None, _) => DialFailure::TlsFailed,
    }
}

fn of_certificate(why: &CertificateError) -> DialFailure {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            DialFailure::TlsExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            DialFailure::TlsNotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            DialFailure::TlsWrongName
        }
        CertificateError::UnknownIssuer => DialFailure::TlsUnknownAuthority,
        CertificateError::Other(OtherError(other)) => match other.downcast_ref::<Distrust>() {
            Some(
                Distrust::UnknownIssuer(_)
                | Distrust::SelfSigned(_)
                | Distrust::Unsent { url: None, .. },
            ) => DialFailure::TlsUnknownAuthority,
            _ => DialFailure::TlsCertificate,
        },
        // The signature of the handshake itself may be meant: then the peer is not who it says.
        _ => DialFailure::TlsCertificate,
    }
}
