//! Bad upstreams: each is refused with its reason, and no byte of it reaches the client.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use modtape::exchange::MadeBy;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use super::chain_table::*;
use super::pinned::trusted;
use super::pki::{Openssl, Pki};
use super::*;

/// What no client may see of an upstream that was not verified.
pub(super) const MARK: &str = "bytes of the origin";

/// Hosts that were asked something inside TLS.
type Asked = Arc<Mutex<Vec<String>>>;

/// Serves all rows on one port until dropped.
async fn listen(rows: &[Row], key: &KeyPair, asked: &Asked) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut hosts = BTreeMap::new();
    for Row(host, shows, _) in rows {
        hosts.insert((*host).to_owned(), Arc::new(acting(shows, key)));
    }
    let (hosts, asked) = (Arc::new(hosts), Arc::clone(asked));
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut serving = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (hosts, asked) = (Arc::clone(&hosts), Arc::clone(&asked));
            // A client that leaves is what most of this is about.
            serving.spawn(async move { drop(serve(stream, &hosts, &asked).await) });
        }
    });
    (port, accepting)
}

/// What a host does, ready to be done.
enum Acts {
    Tls(Arc<ServerConfig>),
    Bytes(Vec<u8>),
}

fn acting(shows: &Shows, common: &KeyPair) -> Acts {
    let (chain, key) = match shows {
        Shows::Bytes(bytes) => return Acts::Bytes(bytes.clone()),
        Shows::Chain(chain, key) => (chain.clone(), key.as_ref().unwrap_or(common)),
    };
    let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = aws_lc_rs::sign::any_ecdsa_type(&der).expect("a P-256 key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            chain, key,
        ))));
    Acts::Tls(Arc::new(config))
}

async fn serve(
    stream: TcpStream,
    hosts: &BTreeMap<String, Arc<Acts>>,
    asked: &Asked,
) -> std::io::Result<()> {
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let host = hello.server_name().unwrap_or(ADDRESS).to_owned();
    let config = match hosts.get(&host).map(|acts| &**acts) {
        None => return Ok(()),
        Some(Acts::Bytes(bytes)) => {
            start.io.write_all(bytes).await?;
            return start.io.shutdown().await;
        }
        Some(Acts::Tls(config)) => Arc::clone(config),
    };
    let mut tls = start.into_stream(config).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await?);
    }
    asked.lock().expect("no panic while locked").push(host);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{MARK}",
        MARK.len()
    );
    tls.write_all(answer.as_bytes()).await?;
    tls.shutdown().await
}

/// What is wrong with an answer to a request for a row's host.
fn complaint(Row(host, _, words): &Row, answer: &Response) -> Option<String> {
    let text = answer.text();
    let is_right = if words.is_empty() {
        answer.status == 200 && text == MARK
    } else {
        answer.status == 502
            && text.starts_with(&format!("modtape: TLS with {host}: "))
            && words.split('|').any(|word| text.contains(word))
            && !text.contains(MARK)
            && !is_debug(&text)
            && answer.ended == Ended::Clean
    };
    (!is_right).then(|| format!("{host}: {} {text:?}, not {words:?}", answer.status))
}

/// Whether a text has a library's type in it: `OtherError(CaUsedAsEndEntity)`.
fn is_debug(text: &str) -> bool {
    let is_camel = |word: &str| {
        let mut pairs = word.as_bytes().windows(2);
        pairs.any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
    };
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(is_camel)
}

fn file(pem: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".pem").expect("a temporary file");
    file.write_all(pem.as_bytes()).expect("it takes it");
    file
}

#[tokio::test]
async fn every_bad_upstream_is_refused_with_its_reason_and_every_good_one_passes() {
    let pki = Pki::new();
    let openssl = Openssl::new(&pki.key);
    let good = good(&pki, &openssl);
    let trusted = trusted(&pki);
    let own = trusted.iter().map(|row| row.pem()).collect::<String>();
    let both = good.iter().chain(&trusted);
    let controls = both
        .filter(|row| row.2.is_empty())
        .map(|row| row.0.to_owned());
    let controls: Vec<_> = controls.collect();
    let parts = [
        leafs(&pki),
        issuers(&pki),
        broken(&pki),
        old(&openssl),
        protocols(),
        good,
        trusted,
    ];
    let rows: Vec<Row> = parts.into_iter().flatten().collect();
    assert!(rows.len() - controls.len() >= 40, "{} rows", rows.len());

    let asked = Asked::default();
    let (port, _serving) = listen(&rows, &pki.key, &asked).await;
    let root = file(&format!("{}{own}", pki.root_pem));
    let second = file(&openssl.root_pem());
    let everywhere = format!("--connect-to=::127.0.0.1:{port}");
    let hosts: Vec<_> = rows.iter().map(|row| row.0).collect();
    let second = second.path().to_string_lossy().into_owned();
    let flags = [
        "--intercept",
        &hosts.join(","),
        "--upstream-ca",
        &second,
        &everywhere,
    ];
    let recorder = Recorder::trusting(root.path(), &flags);
    let mut failures = Vec::new();
    for row in &rows {
        let hello = recorder.hello(row.0).alpn(Alpn::Http1);
        let mut session = Client::session(recorder.proxy(), &hello).await;
        let answer = session.get("/a").await.expect("an answer, whatever it is");
        failures.extend(complaint(row, &answer));
    }
    assert_none(&failures);
    assert_eq!(
        *asked.lock().expect("no panic while locked"),
        controls,
        "no other was asked"
    );

    let recorded = recorder.finish().await;
    let refused = recorded.exchanges().into_iter().filter(|exchange| {
        exchange
            .end()
            .is_some_and(|end| end.status == 502 && end.made_by == MadeBy::Modtape)
    });
    assert_eq!(refused.count(), rows.len() - controls.len());
    let unnamed = recorded
        .opened()
        .into_iter()
        .filter(|opened| opened.error.is_none());
    assert_eq!(
        unnamed.count(),
        controls.len(),
        "each failure is in the journal"
    );
}
