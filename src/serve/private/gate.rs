//! The way out of go and git, where modules come from their repositories: a proxy on loopback that connects to the hosts
//! of the pattern, and to no other, whatever a go-import page or a redirect names.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::exchange::Target;
use crate::upstream::{Dialer, Journey, News};

/// How long the head of a request may take, and how long it may be, bytes.
const HEAD: (Duration, usize) = (Duration::from_secs(10), 8 << 10);

/// Connections at once: git opens few.
const AT_ONCE: usize = 64;

/// How long a connection may take: as long as a command, and some more.
const LIMIT: Duration = Duration::from_secs(60 + 30);

/// How long upstream may go on once the client has ended its half: go and git that were killed read no more.
const PARTING: Duration = Duration::from_secs(5);

/// The ports of the two schemes that repositories come by. Others are those that are configured.
const HTTPS: u16 = 443;
const SSH: u16 = 22;

/// How long is waited after an accept that failed.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The hosts that repositories of a pattern may lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<Host>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// A name, or `*.` and a domain.
    name: String,
    /// The only port, for https and ssh alike; without it each has its own.
    port: Option<u16>,
}

impl Hosts {
    /// That of the pattern, and others; each is a name, or `*.` and a domain, and may have a port. An error names one
    /// that is neither.
    pub(crate) fn new(pattern: &str, others: &[String]) -> Result<Self, String> {
        let own = pattern.split('/').next().unwrap_or_default();
        let all = [own].into_iter().chain(others.iter().map(String::as_str));
        let is_name = |host: &str| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            let is_plain = name.chars().all(fits) && !name.starts_with(['.', '-']);
            is_plain && name.contains('.') && !name.contains("..")
        };
        let hosts = all.map(|one| {
            let one = one.to_lowercase();
            let (name, port) = match one.split_once(':') {
                Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0)),
                None => (&*one, None),
            };
            let has_port = name.len() < one.len();
            if !is_name(name) || has_port != port.is_some() {
                return Err(format!(
                    "{one:?} is neither a host nor `*.` and a domain, with or without a port"
                ));
            }
            let name = name.to_owned();
            Ok(Host { name, port })
        });
        hosts.collect::<Result<_, _>>().map(Self)
    }

    /// Whether that port of a host may be connected to for https.
    fn has(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let of_port = |own: &&Host| own.port.unwrap_or(HTTPS) == port;
        let mut hosts = self.0.iter().filter(of_port);
        hosts.any(|own| match own.name.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == own.name,
        })
    }

    /// A command in the place of `ssh` that runs it for these hosts alone. The host is a word of its own, with the user
    /// before it, and behind the port, if there is one; names of repositories are words with more in them.
    pub(super) fn ssh(&self, ssh: &str) -> String {
        let hosts: Vec<_> = self
            .0
            .iter()
            .map(|host| {
                let (name, port) = (&host.name, host.port.unwrap_or(SSH));
                format!("{name}:{port}|*@{name}:{port}")
            })
            .collect();
        let hosts = hosts.join("|");
        format!(
            "modtape_ssh() {{ port={SSH}; last=; for word; do case \"$last\" in -p) port=\"$word\";; esac; \
             last=\"$word\"; case \"$word:$port\" in -*) ;; {hosts}) exec {ssh} \"$@\";; esac; done; \
             echo 'modtape: no host of this pattern, or another port (vcs-hosts)' >&2; exit 1; }}; modtape_ssh"
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
            let _ = tokio::time::timeout(LIMIT, relay(stream, &hosts, &dialer)).await;
        });
    }
}

/// Connects a client to the host that it names, if it may.
async fn relay(mut client: TcpStream, hosts: &Hosts, dialer: &Dialer) -> io::Result<()> {
    let head = tokio::time::timeout(HEAD.0, read_head(&mut client)).await??;
    let target = target_of(&head);
    let Some(target) = target.filter(|target| hosts.has(target.host(), target.port())) else {
        // What go and git show of it.
        let why = "Forbidden by modtape: no host of this pattern, or another port (vcs-hosts)";
        let refusal =
            format!("HTTP/1.1 403 {why}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        client.write_all(refusal.as_bytes()).await?;
        return client.shutdown().await;
    };
    let (mut journey, hear) = (Journey::default(), &|_: News<'_>| {});
    let upstream = match dialer.connect(&target, true, &mut journey, hear).await {
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
    copy(client, upstream).await
}

/// Copies both halves until both end, or upstream takes too long once the client's has.
async fn copy(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
    let mut sent = pin!(async {
        tokio::io::copy(&mut from_client, &mut to_upstream).await?;
        to_upstream.shutdown().await
    });
    let mut received = pin!(async {
        tokio::io::copy(&mut from_upstream, &mut to_client).await?;
        to_client.shutdown().await
    });
    tokio::select! {
        ended = &mut sent => {
            ended?;
            tokio::time::timeout(PARTING, received).await?
        }
        ended = &mut received => {
            ended?;
            sent.await
        }
    }
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
            assert!(hosts.has(host, 443), "{host}");
            for port in [22, 80, 8443, 9418] {
                assert!(!hosts.has(host, port), "{host} {port}");
            }
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
            assert!(!hosts.has(host, 443), "{host}");
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
            "git.lab.example:",
            "git.lab.example:0",
            "git.lab.example:65536",
            "git.lab.example:443:443",
        ] {
            assert!(
                Hosts::new("git.corp.example", &[other.to_owned()]).is_err(),
                "{other}"
            );
        }
    }

    #[test]
    fn another_port_is_open_where_it_is_configured() {
        let others = ["git.corp.example:8443", "*.lab.example:2222"].map(str::to_owned);
        let hosts = Hosts::new("git.corp.example/*", &others).expect("they are hosts");
        for (host, port, is_open) in [
            ("git.corp.example", 443, true),
            ("git.corp.example", 8443, true),
            ("git.corp.example", 2222, false),
            ("a.lab.example", 2222, true),
            ("a.lab.example", 443, false),
        ] {
            assert_eq!(hosts.has(host, port), is_open, "{host} {port}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_stays_silent_is_left_soon_after_the_client() {
        let ((client, near), (far, mut upstream)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let copying = tokio::time::timeout(PARTING * 2, copy(near, far));
        let mut client = client;
        client.write_all(b"want").await.expect("there is room");
        drop(client);
        let ended = copying.await.expect("it ends");
        assert_eq!(ended.expect_err("late").kind(), io::ErrorKind::TimedOut);
        let mut sent = String::new();
        let read = upstream.read_to_string(&mut sent).await;
        read.expect("the connection is closed");
        assert_eq!(sent, "want");
    }

    #[tokio::test(start_paused = true)]
    async fn what_upstream_says_arrives_whole_after_a_half_is_closed() {
        let ((mut client, near), (far, mut upstream)) =
            (tokio::io::duplex(64), tokio::io::duplex(64));
        let talking = async {
            client.write_all(b"want").await?;
            client.shutdown().await?;
            let mut sent = String::new();
            upstream.read_to_string(&mut sent).await?;
            tokio::time::sleep(PARTING / 2).await;
            upstream.write_all(b"pack").await?;
            upstream.shutdown().await?;
            let mut received = String::new();
            client.read_to_string(&mut received).await?;
            Ok::<_, io::Error>((sent, received))
        };
        let (copied, talked) = tokio::join!(copy(near, far), talking);
        copied.expect("both ended");
        let expected = ("want".to_owned(), "pack".to_owned());
        assert_eq!(talked.expect("it is open"), expected);
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
        let others = ["*.lab.example", "git.corp.example:2222"].map(str::to_owned);
        let hosts = Hosts::new("git.corp.example", &others);
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
        for (host, port, is_open) in [
            ("git.corp.example", "2222", true),
            ("git@git.corp.example", "2222", true),
            ("git@git.corp.example", "9418", false),
            ("git@a.lab.example", "2222", false),
        ] {
            let words = ["-p", port, host, "git-upload-pack '/x'"];
            assert_eq!(runs(&words), is_open, "{host} {port}");
        }
        assert!(runs(&["git@git.corp.example", "git-upload-pack '/x'"]));
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
