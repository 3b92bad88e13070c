//! Why a dial led nowhere, as one word that stays: what rules go by. The sentence beside it is for people.

use serde::{Deserialize, Serialize};

/// Why a dial led nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DialFailure {
    /// The name does not exist, or has no address.
    DnsNotFound,
    /// The resolver failed, or could not be asked.
    DnsFailed,
    /// The resolver did not answer within the time that there was.
    DnsTimeout,
    /// Nothing listens there: TCP was refused.
    Refused,
    /// There is no route to the address.
    NoRoute,
    /// TCP got no answer within the time that there was.
    Timeout,
    /// TCP failed in another way.
    TcpFailed,
    /// The parent proxy wants credentials, or others.
    #[serde(rename = "proxy-407")]
    Proxy407,
    /// The parent proxy answered with another status than 200.
    ProxyRefused,
    /// The parent proxy took the connection and did not answer.
    ProxyTimeout,
    /// The parent proxy broke off, or answered with what is no answer.
    ProxyFailed,
    /// The setting that names the parent proxy cannot be used.
    ProxySetting,
    /// The TLS handshake got no answer within the time that there was.
    TlsTimeout,
    /// The peer closed or reset the connection in the handshake.
    TlsClosed,
    /// The peer sent an alert.
    TlsAlert,
    /// The handshake failed in another way: no TLS, or none that both speak.
    TlsFailed,
    /// No trusted authority has signed the certificate.
    TlsUnknownAuthority,
    /// The certificate has expired.
    TlsExpired,
    /// The certificate is not valid yet.
    TlsNotYetValid,
    /// The certificate is for other names.
    TlsWrongName,
    /// The certificate is not accepted for another reason.
    TlsCertificate,
    /// modtape dials no such target: itself, or what only this machine or its network reaches.
    Forbidden,
    /// The client closed its connection before the dial was over.
    ClientLeft,
    /// The client does not trust modtape's root; what had become of the dial does not matter.
    ClientDistrust,
    /// The client's own handshake failed otherwise.
    ClientTls,
    /// The recorded command had ended.
    Stopped,
    /// Ctrl-C, a signal or `--timeout` ended the command.
    CutOff,
    /// Of a recording that a newer modtape made, or an older one.
    #[serde(other)]
    Unknown,
}

impl DialFailure {
    /// True if nothing came back within the time that there was; false if something answered, and said no,
    /// or if it is not known.
    pub(crate) const fn is_silence(self) -> bool {
        matches!(
            self,
            Self::DnsTimeout | Self::Timeout | Self::ProxyTimeout | Self::TlsTimeout
        )
    }

    /// True if TCP was there, and the upstream TLS handshake failed.
    pub(crate) const fn is_of_upstream_tls(self) -> bool {
        matches!(
            self,
            Self::TlsTimeout | Self::TlsClosed | Self::TlsAlert | Self::TlsFailed
        ) || self.is_of_certificate()
    }

    /// True if the certificate was judged.
    pub(crate) const fn is_of_certificate(self) -> bool {
        matches!(
            self,
            Self::TlsUnknownAuthority
                | Self::TlsExpired
                | Self::TlsNotYetValid
                | Self::TlsWrongName
                | Self::TlsCertificate
        )
    }

    /// True if it was the client's doing, whatever had become of the dial.
    pub(crate) const fn is_the_clients(self) -> bool {
        matches!(
            self,
            Self::ClientLeft | Self::ClientDistrust | Self::ClientTls
        )
    }

    /// True if it was ended before it was over.
    pub(crate) const fn is_cut(self) -> bool {
        matches!(self, Self::Stopped | Self::CutOff) || self.is_the_clients()
    }

    /// True if the next hop itself was not reached: its name, or TCP.
    pub(crate) const fn is_before_tcp(self) -> bool {
        matches!(
            self,
            Self::DnsNotFound
                | Self::DnsFailed
                | Self::DnsTimeout
                | Self::Refused
                | Self::NoRoute
                | Self::Timeout
                | Self::TcpFailed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_word_and_one_of_a_newer_modtape_is_unknown() {
        for (failure, word) in [
            (DialFailure::Proxy407, "\"proxy-407\""),
            (
                DialFailure::TlsUnknownAuthority,
                "\"tls-unknown-authority\"",
            ),
            (DialFailure::DnsNotFound, "\"dns-not-found\""),
        ] {
            assert_eq!(serde_json::to_string(&failure).unwrap(), word);
            assert_eq!(serde_json::from_str::<DialFailure>(word).unwrap(), failure);
        }
        let newer = serde_json::from_str::<DialFailure>("\"quic-timeout\"").unwrap();
        assert_eq!(newer, DialFailure::Unknown);
    }
}
