//! One request to an origin and its answer: content, changed by the first rule that takes it.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRAILER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::sleep;

use super::body::{Entry, ScriptedBody, Source, hex};
use super::corpus::File;
use super::git;
use super::log::Served;
use super::rules::{After, Script, gzip};
use super::serve::Link;

/// Answers one request; an error ends the connection (HTTP/1.1) or the stream (HTTP/2).
pub async fn answer(
    link: Arc<Link>,
    request: Request<Incoming>,
) -> io::Result<Response<ScriptedBody>> {
    let served = read_head(&link, &request);
    let mut entry = Entry::begin(link.site.clone(), served.clone());
    let mut script = pick(&link, &served);
    if link.is_last_request() {
        script.after = After::Close;
    }
    if !script.ignores_body {
        let body = read_body(&entry, request.into_body()).await?;
        if let Some(root) = script.git.take() {
            let served = served.clone();
            let answered = tokio::task::spawn_blocking(move || git::answer(&root, &served, &body));
            let answered = answered.await.map_err(io::Error::other)?;
            script.status = Some(answered.status);
            let fields = answered.headers.iter();
            script.headers = fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            script.source = Some(Source::Bytes(answered.body));
        }
    }
    sleep(script.delay).await;
    if let Some(instead) = script.instead {
        return link.act(instead).await;
    }
    match script.after {
        After::Keep => {}
        After::Close => link.finish.notify_one(),
        After::CloseUnannounced => entry.ring_at_end(link.finish.clone()),
    }
    if script.after == After::Close && served.version < Version::HTTP_2 {
        script
            .headers
            .push((CONNECTION, HeaderValue::from_static("close")));
    }
    entry.watch(link.flushed.clone());
    Ok(build(
        &script,
        (served.method == Method::HEAD, usual(&link, &served)),
        entry,
    ))
}

fn read_head(link: &Link, request: &Request<Incoming>) -> Served {
    let uri = request.uri();
    let host = uri.authority().map(|authority| authority.as_str());
    let header = || {
        request
            .headers()
            .get(HOST)
            .and_then(|value| value.to_str().ok())
    };
    let host = host.or_else(header).unwrap_or_default();
    Served {
        connection: link.id,
        host: without_port(host).to_ascii_lowercase(),
        method: request.method().clone(),
        path: percent_decode_str(uri.path())
            .decode_utf8_lossy()
            .into_owned(),
        raw_path: uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        version: request.version(),
        headers: request.headers().clone(),
        request_bytes: 0,
        request_sha256: None,
        status: None,
        body_bytes: 0,
        body_sha256: None,
        is_complete: false,
        is_over: false,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn pick(link: &Link, served: &Served) -> Script {
    let rules = link.site.rules.lock().expect("no panic while locked");
    let found = rules.iter().find(|rule| rule.takes(served));
    found.map(|rule| rule.script.clone()).unwrap_or_default()
}

/// The first bytes of a request's body, as many as a git client sends here; the log has its digest.
async fn read_body(entry: &Entry, mut body: Incoming) -> io::Result<Vec<u8>> {
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            digest.update(&data);
            kept.extend_from_slice(&data[..data.len().min(KEPT_BYTES - kept.len())]);
            entry.update(|served| served.request_bytes += data.len() as u64);
        }
    }
    let sha256 = hex(digest.finish().as_ref());
    entry.update(|served| served.request_sha256 = Some(sha256));
    Ok(kept)
}

const KEPT_BYTES: usize = 1 << 20;

/// What is answered without a rule.
fn usual(link: &Link, served: &Served) -> File {
    if matches!(served.method, Method::GET | Method::HEAD) {
        link.site.content.find(&served.host, &served.path)
    } else {
        File::text(405, "only GET and HEAD are answered here\n")
    }
}

fn build(script: &Script, (is_head, usual): (bool, File), entry: Entry) -> Response<ScriptedBody> {
    let source = script.source.clone().unwrap_or(Source::Bytes(usual.body));
    let source = match source {
        Source::Bytes(bytes) if script.is_gzip => Source::Bytes(gzip(&bytes)),
        other => other,
    };
    let status = script.status.unwrap_or(usual.status);
    entry.update(|served| served.status = Some(status));
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_str(&usual.content_type).expect("a content type");
    headers.insert(CONTENT_TYPE, kind);
    if script.is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if !script.is_chunked {
        let len = script.content_length.unwrap_or_else(|| source.len());
        headers.insert(CONTENT_LENGTH, len.into());
    }
    // The HTTP library sends only those trailers that this header names.
    for name in script.pace.trailers.iter().flat_map(HeaderMap::keys) {
        headers.append(TRAILER, name.clone().into());
    }
    override_headers(&mut headers, script);
    // The HTTP library would send it over HTTP/2, as an error of the protocol.
    let source = if is_head {
        Source::Bytes(Bytes::new())
    } else {
        source
    };
    let mut response = Response::new(ScriptedBody::new(source, script.pace.clone(), entry));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status code");
    *response.headers_mut() = headers;
    response
}

fn override_headers(headers: &mut HeaderMap, script: &Script) {
    for (name, _) in &script.headers {
        headers.remove(name);
    }
    for (name, value) in &script.headers {
        headers.append(name, value.clone());
    }
}
