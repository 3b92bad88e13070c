//! The spans of a recording, a batch at a time.

use std::collections::VecDeque;
use std::slice::Iter;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use crate::exchange::chain;
use crate::recording::Row;
use crate::telemetry::spans::Spans;

/// The most spans of a batch.
const SPANS: usize = 512;

/// The size of a batch above which no span is added, bytes of protobuf: collectors take 4 MiB by default.
const BYTES: usize = 2 << 20;

/// The version of the semantic conventions.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";

/// How many of the exchanges are named of which there is no span.
const NAMED: usize = 20;

/// Spans that are sent together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) request: ExportTraceServiceRequest,
    /// How many spans there are.
    pub(crate) spans: u64,
}

impl Batch {
    /// OTLP's JSON, in one line.
    pub(crate) fn json(&self) -> String {
        super::json(&self.request)
    }
}

/// Reads exchanges of a recording as they are asked for; what is held is one batch.
pub(crate) struct Batches<'a> {
    spans: Spans<'a>,
    resource: Resource,
    rows: Iter<'a, &'a Row>,
    ready: VecDeque<Span>,
    /// The exchanges that cannot be read, each with why.
    pub(crate) missing: Vec<String>,
    /// How many more there are.
    pub(crate) unnamed: u64,
}

impl<'a> Batches<'a> {
    /// First `roots`, then the spans of the exchanges of `rows`.
    pub(crate) fn of(
        spans: Spans<'a>,
        roots: Vec<Span>,
        rows: &'a [&'a Row],
        resource: Resource,
    ) -> Self {
        Self {
            spans,
            resource,
            rows: rows.iter(),
            ready: roots.into(),
            missing: Vec::new(),
            unnamed: 0,
        }
    }

    /// How many exchanges are still to be read.
    pub(crate) fn left(&self) -> usize {
        self.rows.len()
    }

    /// The next span.
    fn span(&mut self) -> Option<Span> {
        loop {
            if let Some(span) = self.ready.pop_front() {
                return Some(span);
            }
            let row = self.rows.next()?;
            match self.spans.of_exchange(row) {
                Ok(spans) => self.ready = spans.into(),
                Err(error) if self.missing.len() < NAMED => {
                    let missing = format!("exchange {}: {}", row.id, chain(&error));
                    self.missing.push(missing);
                }
                Err(_) => self.unnamed += 1,
            }
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let (mut spans, mut bytes) = (Vec::new(), 0);
        while spans.len() < SPANS && bytes < BYTES {
            let Some(span) = self.span() else { break };
            bytes += span.encoded_len();
            spans.push(span);
        }
        if spans.is_empty() {
            return None;
        }
        let count = spans.len() as u64;
        let scope = InstrumentationScope {
            name: String::from("modtape"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans {
            scope: Some(scope),
            spans,
            schema_url: SCHEMA.to_owned(),
        }];
        let resource_spans = vec![ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans,
            schema_url: SCHEMA.to_owned(),
        }];
        Some(Batch {
            request: ExportTraceServiceRequest { resource_spans },
            spans: count,
        })
    }
}
