//! `modtape fetch`: requests URLs through `HTTPS_PROXY`, one after the other on one connection per
//! host. It is the demo's client where there is no go command.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::runtime::block_on;
use super::session::Variables;
use crate::cli::FetchArgs;
use crate::clock::Clock;
use crate::exchange::Target;
use crate::sockets::OwnSockets;
use crate::tls::{ClientConfigs, Protocol, RootSources, Roots};
use crate::upstream::{Dialer, Journey, Limits, Overrides, ParentProxies, Reach, Settings};

type Sender = http1::SendRequest<Empty<Bytes>>;

/// How much of a response is kept for an error message.
const ERROR_BYTES: usize = 4096;

/// Sends the requests, and fails if a response is missing.
pub(super) fn run(args: &FetchArgs) -> anyhow::Result<ExitCode> {
    block_on(fetch(&args.urls))??;
    Ok(ExitCode::SUCCESS)
}

async fn fetch(urls: &[String]) -> anyhow::Result<()> {
    let variables = Variables::read();
    let roots = Roots::load(&RootSources {
        file: variables.ssl_cert_file.clone(),
        dirs: variables.ssl_cert_dir.clone(),
        extra: Vec::new(),
    })?;
    let limit = Duration::from_secs(10);
    let limits = Limits {
        connect: limit,
        tls: limit,
    };
    let parents = ParentProxies::from_variables(&variables.https_proxy, "", &variables.no_proxy);
    let tls = ClientConfigs::new(&roots);
    let dialer = Dialer::new(Settings {
        clock: Clock::start(),
        limits,
        tls,
        parents,
        overrides: Overrides::default(),
        reach: Reach::default(),
        sockets: OwnSockets::default(),
    });
    let mut senders: HashMap<String, Sender> = HashMap::new();
    let mut connections = JoinSet::new();
    for url in urls {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        let host = uri
            .host()
            .with_context(|| format!("{url} names no host"))?
            .to_owned();
        if !senders.contains_key(&host) {
            let sender = connect(&dialer, &host, uri.port_u16(), &mut connections).await?;
            senders.insert(host.clone(), sender);
        }
        let Some(sender) = senders.get_mut(&host) else {
            continue;
        };
        ask(sender, &host, &uri)
            .await
            .with_context(|| url.clone())?;
    }
    Ok(())
}

async fn connect(
    dialer: &Dialer,
    host: &str,
    port: Option<u16>,
    connections: &mut JoinSet<()>,
) -> anyhow::Result<Sender> {
    let target = Target::new(host, port.unwrap_or(443))?;
    let mut journey = Journey::default();
    let stream = dialer.connect(&target, true, &mut journey, &|_| {}).await?;
    let protocols = [Protocol::Http1];
    let tls = dialer
        .handshake(stream, host, &protocols, &mut journey, &|_| {})
        .await?;
    let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    connections.spawn(async move {
        // An error reaches the request that was on the connection.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn ask(sender: &mut Sender, host: &str, uri: &Uri) -> anyhow::Result<()> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header("host", host)
        .header("user-agent", "modtape-demo")
        .header("accept-encoding", "gzip")
        .body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let bytes = frame.data_ref().map_or(&[][..], |bytes| bytes);
        text.extend(bytes.iter().take(ERROR_BYTES - text.len()));
    }
    if status.is_server_error() {
        bail!("{status}: {}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
