//! What an entry tells of its response.

use sha2::{Digest as _, Sha256};

use super::entry::{Modtape, Response};
use super::exchange::{Changes, EntryError};
use super::messages::{content, fields, version};
use crate::exchange::{
    Abort, Body, End, ExchangeId, Fields, Hex, MadeBy, Octets, Outcome, Phase, Timings,
};
use crate::filter::Fate;

/// What is known of an answer while its entry is read.
pub(super) struct Answer<'a> {
    pub(super) id: ExchangeId,
    /// Method and version of the request.
    pub(super) asked: (&'a str, &'a str),
    pub(super) timings: Timings,
    pub(super) changes: Changes,
    pub(super) body: Option<Vec<u8>>,
}

impl Answer<'_> {
    /// What became of the request.
    pub(super) fn outcome(
        &mut self,
        response: Response,
        modtape: Option<Modtape>,
    ) -> Result<Outcome, EntryError> {
        let modtape = modtape.unwrap_or_default();
        let is = |fate: Fate| modtape.outcome.as_deref() == Some(fate.name());
        if is(Fate::InFlight) {
            return Ok(Outcome::InFlight);
        }
        let status = status(response.status)?;
        let Some(status) = status.filter(|_| !is(Fate::Aborted)) else {
            return Ok(Outcome::Aborted(self.abort(response, &modtape)));
        };
        let whole = self.whole(status, response, modtape)?;
        Ok(whole.map_or_else(Outcome::Aborted, Outcome::Ended))
    }

    /// A whole response, or, where its body is not in the file, the rest of it.
    fn whole(
        &mut self,
        status: u16,
        response: Response,
        modtape: Modtape,
    ) -> Result<Result<End, Abort>, EntryError> {
        let mut headers = fields(response.headers);
        let told = response.content.unwrap_or_default();
        let bytes = length(response.body_size);
        let bytes = bytes.max(length(told.size)).unwrap_or(0);
        let recorded = modtape.sha256.map(|sha256| Body {
            sha256,
            bytes: length(response.body_size).unwrap_or(bytes),
            inline: None,
            kept: false,
        });
        // Of ours it is known whether there was one.
        let is_known = recorded.is_some() || modtape.outcome.is_some();
        let has_none = self.asked.0 == "HEAD" || matches!(status, 204 | 304);
        match content(&told)? {
            Some(octets) => {
                self.keep(octets, &mut headers, (recorded.as_ref(), length(told.size)))?
            }
            None if is_known || has_none => {}
            None if bytes == 0 => self.body = Some(Vec::new()),
            None => {
                self.changes.is_bodiless = true;
                return Ok(Err(Abort {
                    id: self.id,
                    phase: Phase::Receive,
                    why: String::from("its body is not in the HAR"),
                    status: Some(status),
                    headers,
                    body_bytes: bytes,
                    phases_us: self.timings,
                }));
            }
        }
        let version = match version(response.http_version.as_deref()) {
            unknown if unknown == "unknown" => self.asked.1.to_owned(),
            version => version,
        };
        Ok(Ok(End {
            id: self.id,
            status,
            reason: reason(response.status_text, status, &version),
            version,
            headers,
            trailers: Fields::new(),
            request_body: None,
            body: recorded.filter(|_| self.body.is_none()),
            phases_us: self.timings,
            own_us: modtape.own_us.unwrap_or(0),
            client_wait_us: modtape.client_wait_us.unwrap_or(0),
            made_by: modtape.made_by.unwrap_or(MadeBy::Origin),
            attempts: modtape.attempts,
        }))
    }

    /// Takes the content for the body, and takes from the header what is not true of it.
    fn keep(
        &mut self,
        octets: Vec<u8>,
        headers: &mut Fields,
        (recorded, told): (Option<&Body>, Option<u64>),
    ) -> Result<(), EntryError> {
        let is_same =
            recorded.is_some_and(|body| body.sha256 == Hex(Sha256::digest(&octets).into()));
        if !is_same && !octets.is_empty() && is_coded(headers) {
            self.changes.is_decoded = true;
            headers.retain(|field| !is(field, "content-encoding") && !is(field, "content-length"));
        } else if !is_same && recorded.is_some() {
            return Err(EntryError::Digest);
        } else if self.asked.0 != "HEAD" {
            let len = octets.len() as u64;
            let field = headers.iter().find(|field| is(field, "content-length"));
            let announced = field.map(|(_, value)| value.to_text().trim().parse());
            let is_other = announced.is_some_and(|announced| announced != Ok(len));
            if is_other {
                headers.retain(|field| !is(field, "content-length"));
            }
            self.changes.is_converted = is_other || told.is_some_and(|told| told != len);
        }
        self.body = Some(octets);
        Ok(())
    }

    fn abort(&self, response: Response, modtape: &Modtape) -> Abort {
        let last = self.timings.iter().filter(|(_, us)| *us > 0).last();
        let phase = modtape
            .phase
            .unwrap_or_else(|| last.map_or(Phase::Send, |(phase, _)| phase));
        let why = response.error.unwrap_or_default();
        let stopped = format!("stopped in {phase}: ");
        let why = why.strip_prefix(&stopped).unwrap_or(&why);
        Abort {
            id: self.id,
            phase,
            why: match why {
                "" => String::from("the HAR tells of no answer"),
                why => why.to_owned(),
            },
            status: modtape.status,
            headers: fields(response.headers),
            body_bytes: length(response.body_size).unwrap_or(0),
            phases_us: self.timings,
        }
    }
}

/// Does the header name a coding that a HAR undoes?
fn is_coded(headers: &Fields) -> bool {
    let codings = headers.iter().filter(|field| is(field, "content-encoding"));
    let mut codings = codings.map(|(_, value)| value.to_text().trim().to_owned());
    codings.any(|coding| !matches!(coding.as_str(), "" | "identity"))
}

fn is((field, _): &(String, Octets), name: &str) -> bool {
    field.eq_ignore_ascii_case(name)
}

/// `None` for 0 and -1, which stand where no answer came.
fn status(status: Option<f64>) -> Result<Option<u16>, EntryError> {
    let status = status.unwrap_or(0.0);
    if status == 0.0 || status == -1.0 {
        return Ok(None);
    }
    let whole = (100_u16..1000).find(|code| f64::from(*code) == status);
    whole.map(Some).ok_or(EntryError::Status)
}

/// A length in octets; `None` for -1.
fn length(size: Option<f64>) -> Option<u64> {
    let size = size.filter(|size| (0.0..LONGEST).contains(size))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 2^53"
    )]
    Some(size as u64)
}

/// 2^53: no double has more whole numbers in a row.
const LONGEST: f64 = 9_007_199_254_740_992.0;

/// The reason phrase, where it is not the usual one; HTTP/2 has none.
fn reason(text: Option<String>, status: u16, version: &str) -> Option<Octets> {
    let text = text.filter(|text| !text.is_empty() && version.starts_with("HTTP/1"))?;
    let usual = http::StatusCode::from_u16(status).ok();
    let usual = usual.and_then(|status| status.canonical_reason());
    (usual != Some(text.as_str())).then(|| text.into())
}
