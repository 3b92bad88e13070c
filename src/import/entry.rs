//! HAR's entry as others write it: whatever may be missing is missing.

use serde::Deserialize;

use super::few::{few, maybe_few};
use crate::exchange::{Attempt, Digest, ExchangeId, MadeBy, Phase};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) started_date_time: Option<String>,
    pub(super) request: Option<Request>,
    pub(super) response: Option<Response>,
    pub(super) timings: Option<HarTimings>,
    #[serde(rename = "serverIPAddress")]
    pub(super) server_ip_address: Option<String>,
    pub(super) connection: Option<Word>,
    #[serde(rename = "_connectionId")]
    pub(super) connection_id: Option<Word>,
    #[serde(rename = "_traceparent")]
    pub(super) traceparent: Option<String>,
    #[serde(rename = "_modtape")]
    pub(super) modtape: Option<Modtape>,
}

/// What is to be known of all entries before the first is taken.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Glance {
    pub(super) started_date_time: Option<String>,
    #[serde(rename = "_traceparent")]
    pub(super) traceparent: Option<String>,
    #[serde(rename = "_modtape")]
    pub(super) modtape: Option<Modtape>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) started_date_time: Option<String>,
    #[serde(rename = "_modtape")]
    pub(super) modtape: Option<Run>,
}

/// What a page of ours tells of its run.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) recording: Option<String>,
    pub(super) trace: Option<String>,
    #[serde(default, deserialize_with = "few")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    pub(super) http_version: Option<String>,
    #[serde(default, deserialize_with = "maybe_few")]
    pub(super) headers: Option<Vec<Pair>>,
    pub(super) post_data: Option<PostData>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostData {
    pub(super) text: Option<String>,
    #[serde(rename = "_base64")]
    pub(super) base64: Option<String>,
    pub(super) comment: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    pub(super) status: Option<f64>,
    pub(super) status_text: Option<String>,
    pub(super) http_version: Option<String>,
    #[serde(default, deserialize_with = "maybe_few")]
    pub(super) headers: Option<Vec<Pair>>,
    pub(super) content: Option<HarContent>,
    pub(super) body_size: Option<f64>,
    #[serde(rename = "_error")]
    pub(super) error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HarContent {
    pub(super) size: Option<f64>,
    pub(super) text: Option<String>,
    pub(super) encoding: Option<String>,
}

/// A header field: HAR's object, or Slack's array of name and value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Pair {
    Named {
        name: String,
        value: Option<String>,
        comment: Option<String>,
    },
    Listed(String, Option<String>),
}

/// Milliseconds; -1 where a phase did not happen.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HarTimings {
    pub(super) blocked: Option<f64>,
    pub(super) dns: Option<f64>,
    pub(super) connect: Option<f64>,
    pub(super) ssl: Option<f64>,
    pub(super) send: Option<f64>,
    pub(super) wait: Option<f64>,
    pub(super) receive: Option<f64>,
}

/// A text that some write as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Word {
    Text(String),
    Number(serde_json::Number),
}

impl Word {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// What our own exports say besides.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Modtape {
    pub(super) id: Option<ExchangeId>,
    pub(super) outcome: Option<String>,
    pub(super) made_by: Option<MadeBy>,
    #[serde(rename = "where")]
    pub(super) phase: Option<Phase>,
    pub(super) status: Option<u16>,
    pub(super) sha256: Option<Digest>,
    pub(super) own_us: Option<u64>,
    pub(super) client_wait_us: Option<u64>,
    #[serde(default, deserialize_with = "few")]
    pub(super) attempts: Vec<Attempt>,
}
