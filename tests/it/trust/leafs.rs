//! What our root can vouch for, in the eyes of eight clients: the intercepted names and what is
//! below them. A change of any verdict fails here.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use modtape::ca::{CertificateAuthority, Leafs, Scope, to_pem};
use modtape::clock::Clock;
use modtape::tls;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// Asked host, names in its leaf, whether it is accepted: the same for every client.
const LEAFS: [(&str, &[&str], bool); 6] = [
    ("inside.example", &["inside.example"], true),
    ("x.inside.example", &["x.inside.example"], true),
    ("outside.example", &["outside.example"], false),
    ("a.wild.example", &["*.wild.example"], false),
    (
        "mixed.example",
        &["mixed.example", "outside.example"],
        false,
    ),
    ("127.0.0.1", &["127.0.0.1"], false),
];

/// How long a client may take for all six.
const SLOW: Duration = Duration::from_secs(120);

/// A server that shows each host its leaf, and what clients need to go there.
struct Place {
    server: SocketAddr,
    proxy: ParentProxy,
    sandbox: Sandbox,
    root: PathBuf,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shown(Vec<(&'static str, Arc<CertifiedKey>)>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Nobody sends an address as a name.
        let host = hello.server_name().unwrap_or("127.0.0.1");
        let shown = self.0.iter().find(|(name, _)| *name == host);
        shown.map(|(_, leaf)| Arc::clone(leaf))
    }
}

impl Place {
    async fn new() -> Self {
        let hosts: BTreeSet<_> = ["inside.example", "mixed.example"].map(String::from).into();
        let (now, day) = (Clock::wall_now(), Duration::from_secs(86_400));
        let authority = CertificateAuthority::new(&Scope::Hosts(hosts), now, day);
        let leafs = Leafs::new(authority.expect("an authority")).expect("a key");
        let shown = LEAFS.map(|(host, names, _)| (host, leafs.mint(names, now).expect("a leaf")));
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown(shown.to_vec())));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a port");
        let server = listener.local_addr().expect("it is bound");
        let sandbox = Sandbox::new();
        let root = sandbox.join("root.pem");
        fs::write(&root, to_pem(leafs.authority().root())).expect("our own folder");
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::new(config)));
        Self {
            server,
            proxy: ParentProxy::http(server).start(),
            sandbox,
            root,
            _serving: serving,
        }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.server.port())
    }

    /// Runs a script with port, root and hosts; each line of its output is a verdict.
    fn script(&self, mut command: Command) -> Vec<Option<bool>> {
        command.arg(self.server.port().to_string()).arg(&self.root);
        command.args(LEAFS.map(|leaf| leaf.0));
        let output = run(command, SLOW).expect_success();
        let verdict = |host: &str| {
            let mut lines = output.stdout.lines();
            let line = lines.find_map(|line| line.strip_prefix(host)?.strip_prefix(' '));
            match line?.split(' ').next()? {
                "ok" => Some(true),
                "refused" => Some(false),
                _ => None,
            }
        };
        LEAFS.iter().map(|(host, ..)| verdict(host)).collect()
    }

    /// Runs a command for each host; its words decide.
    fn each(&self, ok: &str, command: impl Fn(&str) -> Command) -> Vec<Option<bool>> {
        let verdict = |host: &str| {
            let output = run(command(host), SLOW);
            let said = output.stdout + &output.stderr;
            match said.contains("certificate") || said.contains("x509") {
                true => Some(false),
                false => said.contains(ok).then_some(true),
            }
        };
        LEAFS.iter().map(|(host, ..)| verdict(host)).collect()
    }

    fn curl(&self) -> Vec<Option<bool>> {
        self.each("nothing here", |host| {
            let mut command = self.sandbox.command("/usr/bin/curl");
            command.args(["-sS", "--resolve"]);
            command.arg(format!("{host}:{}:127.0.0.1", self.server.port()));
            command.arg("--cacert").arg(&self.root).arg(self.url(host));
            command
        })
    }

    fn git(&self) -> Vec<Option<bool>> {
        self.each("not found", |host| {
            let mut command = self.sandbox.command("git");
            command.args(["-c", &format!("http.proxy={}", self.proxy.url())]);
            command.args(["-c", &format!("http.sslCAInfo={}", self.root.display())]);
            command.args(["ls-remote", &self.url(host)]);
            command
        })
    }

    fn go(&self, release: &str) -> Option<Vec<Option<bool>>> {
        let go = self.sandbox.go(release)?;
        Some(self.each("404 Not Found", |host| {
            let mut command = self.sandbox.command(&go);
            command.args(["mod", "download", "example.com/m@v1.0.0"]);
            command.env("GOPROXY", self.url(host)).env("GONOSUMDB", "*");
            command.env("HTTPS_PROXY", self.proxy.url());
            command
                .env("SSL_CERT_FILE", &self.root)
                .env("SSL_CERT_DIR", "/does/not/exist");
            command
        }))
    }

    fn java(&self) -> Vec<Option<bool>> {
        let store = self.sandbox.join("roots.p12");
        let mut keytool = self.sandbox.command("/usr/bin/keytool");
        keytool.args([
            "-importcert",
            "-noprompt",
            "-alias",
            "modtape",
            "-storetype",
            "PKCS12",
        ]);
        keytool
            .args(["-storepass", "changeit", "-file"])
            .arg(&self.root);
        keytool.arg("-keystore").arg(&store);
        run(keytool, SLOW).expect_success();
        let mut java = self.sandbox.command("/usr/bin/java");
        java.arg(format!("-Djavax.net.ssl.trustStore={}", store.display()));
        java.arg("-Djavax.net.ssl.trustStorePassword=changeit");
        java.arg(client("Client.java"));
        self.script(java)
    }

    async fn rustls(&self) -> Vec<Option<bool>> {
        let mut verdicts = Vec::new();
        for (host, ..) in LEAFS {
            let client = Client::open(self.server).await;
            let hello = Hello::new(host, &self.root);
            verdicts.push(Some(client.handshake(&hello).await.is_ok()));
        }
        verdicts
    }
}

fn client(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/trust")
        .join(name)
}

async fn accept(listener: TcpListener, config: Arc<ServerConfig>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let mut serving = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        // A client that refuses is what half of this is about.
        serving.spawn(async move { drop(answer(acceptor, stream).await) });
    }
}

async fn answer(acceptor: tokio_rustls::TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut tls = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await?);
    }
    let answer =
        "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 12\r\n\r\nnothing here";
    tls.write_all(answer.as_bytes()).await?;
    tls.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_root_vouches_for_intercepted_names_and_nothing_else_in_eight_clients() {
    let place = Place::new().await;
    let mut verdicts = vec![("rustls", Some(place.rustls().await))];
    let others = tokio::task::spawn_blocking(move || {
        let node = place.sandbox.command("/usr/bin/node");
        let python = place.sandbox.command("/usr/bin/python3");
        let script = |mut command: Command, name| {
            command.arg(client(name));
            Some(place.script(command))
        };
        vec![
            ("curl", Some(place.curl())),
            ("git", Some(place.git())),
            ("node", script(node, "client.js")),
            ("python", script(python, "client.py")),
            ("java", Some(place.java())),
            ("go 1.19", place.go("1.19")),
            ("go 1.27", place.go("1.27")),
        ]
    });
    verdicts.extend(others.await.expect("no client is missing"));
    let mut failures = Vec::new();
    for (client, verdicts) in verdicts {
        // A go command that is not there has said so.
        for ((host, names, expected), verdict) in LEAFS.iter().zip(verdicts.into_iter().flatten()) {
            if verdict != Some(*expected) {
                failures.push(format!(
                    "{client}: {host} with a leaf for {names:?}: {verdict:?}"
                ));
            }
        }
    }
    assert_none(&failures);
}
