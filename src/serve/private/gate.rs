//! The way out of go and git, where modules come from their repositories: a proxy on loopback that connects to the hosts
//! of the pattern, and to no other, whatever a go-import page or a redirect names.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::exchange::Target;
use crate::upstream::{Dialer, Journey, News};

/// How long the head of a request may take, and how long it may be, bytes.
const HEAD: (Duration, usize) = (Duration::from_secs(10), 8 << 10);

/// Connections at once: git opens few.
const AT_ONCE: usize = 64;

/// How long is waited after an accept that failed.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The hosts that repositories of a pattern may lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// That of the pattern, and others; each is a name, or `*.` and a domain. An error names one that is neither.
    pub(crate) fn new(pattern: &str, others: &[String]) -> Result<Self, String> {
        let own = pattern.split('/').next().unwrap_or_default();
        let all = [own].into_iter().chain(others.iter().map(String::as_str));
        let all: Vec<String> = all.map(str::to_lowercase).collect();
        let is_name = |host: &&String| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            let is_plain = name.chars().all(fits) && !name.starts_with(['.', '-']);
            is_plain && name.contains('.') && !name.contains("..")
        };
        match all.iter().find(|host| !is_name(host)) {
            Some(other) => Err(format!("{other:?} is neither a host nor `*.` and a domain")),
            None => Ok(Self(all)),
        }
    }

    fn has(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        self.0.iter().any(|own| match own.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == own,
        })
    }

    /// A command in the place of `ssh` that runs it for these hosts alone. The host is a word of its own, with the user
    /// before it; names of repositories are words with more in them.
    pub(super) fn ssh(&self, ssh: &str) -> String {
        let hosts: Vec<_> = self
            .0
            .iter()
            .map(|host| format!("{host}|*@{host}"))
            .collect();
        let hosts = hosts.join("|");
        format!(
            "modtape_ssh() {{ for word; do case \"$word\" in -*) ;; {hosts}) exec {ssh} \"$@\";; esac; done; \
             echo 'modtape: no host of this pattern (vcs-hosts)' >&2; exit 1; }}; modtape_ssh"
        )
    }
}

/// A gate that is open as long as this is there.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) hosts: Hosts,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Gate {
    /// Opens one on a free port.
    pub(crate) async fn open(hosts: Hosts, dialer: Dialer) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, hosts.clone(), dialer));
        Ok(Self {
            hosts,
            address,
            _serving: serving,
        })
    }

    /// Its URL, as HTTPS_PROXY has it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(listener: TcpListener, hosts: Hosts, dialer: Dialer) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (hosts, dialer) = (hosts.clone(), dialer.clone());
        connections.spawn(async move {
            let _place = place;
            let _ = relay(stream, &hosts, &dialer).await;
        });
    }
}

/// Connects a client to the host that it names, if it may.
async fn relay(mut client: TcpStream, hosts: &Hosts, dialer: &Dialer) -> io::Result<()> {
    let head = tokio::time::timeout(HEAD.0, read_head(&mut client)).await??;
    let target = target_of(&head);
    let Some(target) = target.filter(|target| hosts.has(target.host())) else {
        // What go and git show of it.
        let why = "Forbidden by modtape: no host of this pattern (vcs-hosts)";
        let refusal =
            format!("HTTP/1.1 403 {why}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        client.write_all(refusal.as_bytes()).await?;
        return client.shutdown().await;
    };
    let (mut journey, hear) = (Journey::default(), &|_: News<'_>| {});
    let mut upstream = match dialer.connect(&target, true, &mut journey, hear).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let why: String = error
                .to_string()
                .chars()
                .filter(|c| !c.is_control())
                .collect();
            let refusal =
                format!("HTTP/1.1 502 {why}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.write_all(refusal.as_bytes()).await?;
            return client.shutdown().await;
        }
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

/// A request head: a client says nothing behind it before it is answered.
async fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = client.read(&mut piece).await?;
        head.extend_from_slice(&piece[..read]);
        if read == 0 || head.len() > HEAD.1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// Where a CONNECT leads; `None` for any other request.
fn target_of(head: &[u8]) -> Option<Target> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("CONNECT ")?;
    let (authority, _) = rest.split_once(' ')?;
    let (host, port) = authority.rsplit_once(':')?;
    Target::new(host, port.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_pattern_and_those_that_are_named() {
        let others = ["code.example.org".to_owned(), "*.lab.example".to_owned()];
        let hosts = Hosts::new("Git.Corp.Example/team/*", &others).expect("they are hosts");
        for host in [
            "git.corp.example",
            "GIT.corp.example.",
            "code.example.org",
            "a.b.lab.example",
        ] {
            assert!(hosts.has(host), "{host}");
        }
        for host in [
            "lab.example",
            ".lab.example",
            "evil.example",
            "git.corp.example.evil.example",
            "xgit.corp.example",
            "127.0.0.1",
            "[::1]",
            "",
        ] {
            assert!(!hosts.has(host), "{host}");
        }
        for other in [
            "",
            "*",
            "*.example",
            "a b.example",
            "x$(id).example",
            "-o.example",
            "a..example",
            "10.0.0.1/8",
        ] {
            assert!(
                Hosts::new("git.corp.example", &[other.to_owned()]).is_err(),
                "{other}"
            );
        }
    }

    #[test]
    fn only_a_connect_leads_anywhere() {
        let target = target_of(b"CONNECT git.corp.example:443 HTTP/1.1\r\n\r\n").expect("one");
        assert_eq!((target.host(), target.port()), ("git.corp.example", 443));
        for head in [
            "GET http://git.corp.example/ HTTP/1.1\r\n\r\n",
            "CONNECT git.corp.example HTTP/1.1\r\n\r\n",
            "CONNECT git.corp.example:x HTTP/1.1\r\n\r\n",
            "CONNECT git.corp.example:443\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert!(target_of(head.as_bytes()).is_none(), "{head}");
        }
    }

    #[test]
    fn ssh_runs_for_these_hosts_alone() {
        let hosts = Hosts::new("git.corp.example", &["*.lab.example".to_owned()]);
        let ssh = hosts.expect("they are hosts").ssh("echo ran");
        let runs = |words: &[&str]| {
            let mut sh = std::process::Command::new("/bin/sh");
            sh.env_clear()
                .args(["-c", &format!("{ssh} \"$@\""), "sh"])
                .args(words);
            let output = sh.output().expect("there is a shell");
            output.status.success() && output.stdout.starts_with(b"ran ")
        };
        for host in [
            "git.corp.example",
            "git@git.corp.example",
            "git@a.lab.example",
        ] {
            let words = [
                "-o",
                "SendEnv=GIT_PROTOCOL",
                "-p",
                "22",
                host,
                "git-upload-pack '/x'",
            ];
            assert!(runs(&words), "{host}");
        }
        for host in [
            "evil.example",
            "git@evil.example",
            "git.corp.example@evil.example",
            "-oProxyCommand=x.lab.example",
        ] {
            let words = [host, "git-upload-pack '/git.corp.example'"];
            assert!(!runs(&words), "{host}");
            assert!(
                !runs(&[host, "git-upload-pack 'git@x.lab.example'"]),
                "{host}"
            );
        }
    }
}
