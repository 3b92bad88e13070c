//! The module proxies and checksum databases that anybody may ask. Whoever asks any other host may ask for
//! the paths of private modules, which no advice may lead on to these.

use crate::gomod::{Base, GoProxy, ProxyTarget};

/// Their names, and that of anything below.
const PUBLIC: [&str; 7] = [
    "golang.org",
    "sum.golang.google.cn",
    "goproxy.cn",
    "goproxy.io",
    "mirrors.aliyun.com",
    "goproxy.golang.com.cn",
    "mirrors.cloud.tencent.com",
];

/// Whether a host is a public module proxy or checksum database.
pub(crate) fn is_public(host: &str) -> bool {
    PUBLIC.iter().any(|public| {
        let below = host.strip_suffix(public);
        below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    })
}

/// Whether an entry of GOPROXY may be passed over, left out or moved: what it is asked for, public hosts
/// may be asked for as well.
pub(crate) fn is_public_entry(list: &GoProxy, entry: usize) -> bool {
    match list.entries.get(entry).map(|entry| &entry.target) {
        Some(ProxyTarget::Url(url)) => Base::of(url).is_some_and(|base| is_public(&base.host)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_public_by_its_whole_name() {
        for (host, expected) in [
            ("proxy.golang.org", true),
            ("goproxy.cn", true),
            ("proxy.golang.org.corp.example", false),
            ("notgoproxy.cn", false),
            ("goproxy.corp.example", false),
        ] {
            assert_eq!(is_public(host), expected, "{host}");
        }
        let list = GoProxy::parse("https://goproxy.corp/go|https://goproxy.cn/,file:///srv,direct");
        let public = (0..5).map(|entry| is_public_entry(&list, entry));
        assert!(public.eq([false, true, false, false, false]));
    }
}
