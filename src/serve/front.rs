//! One request of a client, and the response to it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use super::answer::{Answer, Content};
use super::body::Sent;
use super::failure::Failure;
use super::item::{Item, Life};
use super::server::{Obtained, Server, Source};
use crate::clock::Clock;
use crate::gomod::Kind;

/// Says which tier answered.
const CACHE: &str = "x-modtape-cache";

/// Stands in front of every reason, so that it is not taken for the upstream's.
const NAME: &str = "modtape: ";

/// Answers a request.
pub(super) async fn respond<B>(
    server: Arc<Server>,
    request: Request<B>,
) -> Result<Response<Sent>, Infallible> {
    let is_head = request.method() == Method::HEAD;
    let mut response = answer(&server, &request).await;
    if is_head {
        *response.body_mut() = Sent::bytes(Bytes::new());
    }
    Ok(response)
}

async fn answer<B>(server: &Arc<Server>, request: &Request<B>) -> Response<Sent> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = said(
            StatusCode::METHOD_NOT_ALLOWED,
            "a module proxy takes GET and HEAD",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let item = match Item::of_path(request.uri().path()) {
        Ok(item) => item,
        // Not 404, which would send go on to the next entry of its list.
        Err(why) => return said(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    if item.kind() == Kind::SumdbSupported {
        let name = item.route.sumdb.as_deref().unwrap_or_default();
        return match server.truth.knows(name) {
            true => said(StatusCode::OK, "the checksum database is relayed"),
            false => said(
                StatusCode::NOT_FOUND,
                "the key of this checksum database is not known",
            ),
        };
    }
    let (content_type, life) = (item.content_type(), item.life());
    match server.answer(item).await {
        Obtained::Whole(answer, source) => whole(&answer, source, content_type, life),
        Obtained::Growing(following) => {
            let Some(growing) = following.flight.state().borrow().growing.clone() else {
                return failed(&Failure::bad_gateway("the request was given up"));
            };
            let body = Sent::growing(Arc::clone(&following.flight), growing.file, growing.length);
            let mut response = Response::new(body);
            describe(&mut response, content_type, following.source);
            if let Some(length) = growing.length {
                let fields = response.headers_mut();
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            response
        }
        Obtained::Failed(failure) => failed(&failure),
    }
}

fn whole(
    answer: &Answer,
    source: Source,
    content_type: &'static str,
    life: Life,
) -> Response<Sent> {
    let body = match &answer.content {
        Content::Bytes(bytes) => Sent::bytes(bytes.clone()),
        Content::File(file, bytes) => Sent::file(Arc::clone(file), 0, *bytes),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let content_type = match answer.status {
        StatusCode::OK => content_type,
        _ => "text/plain; charset=utf-8",
    };
    describe(&mut response, content_type, source);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.bytes()));
    if life == Life::Mutable {
        let age = Clock::wall_now()
            .duration_since(answer.at)
            .unwrap_or_default();
        fields.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    response
}

fn describe(response: &mut Response<Sent>, content_type: &'static str, source: Source) {
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CACHE, HeaderValue::from_static(source.name()));
}

/// What is said of a request without an answer: go prints it.
fn failed(failure: &Failure) -> Response<Sent> {
    said(failure.status, &failure.lines.join("\n"))
}

fn said(status: StatusCode, text: &str) -> Response<Sent> {
    // go prints it to a terminal, and an upstream may have had a word in it.
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    let text = Bytes::from(format!("{NAME}{text}\n"));
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Sent::bytes(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    fields.insert(header::CONTENT_TYPE, plain);
    fields.insert(header::CONTENT_LENGTH, length);
    response
}
