//! One exchange as an entry of a HAR: borrowed views that serde writes out.
//!
//! HAR 1.2 names, and the fields that begin with an underscore for what it has no name for.

use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use super::har::{Bodies, Content, Item};
use super::har_message::{Request, Response};
use super::har_page::Run;
use crate::exchange::{Attempt, Body, Digest, ExchangeId, MadeBy, Opened, Outcome, Phase, Timings};
use crate::recording::format::BODIES;

/// HAR's `entry`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry<'a> {
    pageref: &'a str,
    started_date_time: &'a str,
    time: Millis,
    request: Request<'a>,
    response: Response<'a>,
    cache: Object,
    timings: HarTimings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server_ip_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(rename = "_connectionId")]
    connection_id: String,
    #[serde(rename = "_initiator")]
    initiator: Initiator,
    #[serde(rename = "_resourceType")]
    resource_type: &'static str,
    #[serde(rename = "_traceparent")]
    traceparent: String,
    #[serde(rename = "_modtape")]
    modtape: Modtape<'a>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(item: &'a Item, run: &'a Run<'_>, started: &'a str, bodies: Bodies) -> Self {
        let exchange = &item.exchange;
        let begin = &exchange.begin;
        let timings = exchange.timings();
        let remote = item.connection.as_ref().and_then(remote_addr);
        Self {
            pageref: &run.id,
            started_date_time: started,
            time: Millis(Some(timings.total_us())),
            request: Request::new(item, bodies),
            response: Response::new(item, bodies),
            cache: Object {},
            timings: HarTimings::from(timings),
            server_ip_address: remote
                .filter(|_| item.connection.as_ref().is_some_and(is_direct))
                .map(|addr| addr.ip().to_canonical()),
            connection: remote.map(|addr| addr.port().to_string()),
            connection_id: begin.connection.to_string(),
            initiator: Initiator { r#type: "other" },
            resource_type: "fetch",
            traceparent: format!("00-{}-{}-01", run.trace(), begin.span),
            modtape: Modtape::new(item, bodies),
        }
    }
}

fn remote_addr(connection: &Opened) -> Option<SocketAddr> {
    connection.upstream.as_ref()?.addr.as_ref()?.parse().ok()
}

/// Through a parent proxy the address that we dialled is not the server's.
fn is_direct(connection: &Opened) -> bool {
    connection
        .upstream
        .as_ref()
        .is_some_and(|upstream| upstream.via.is_none())
}

/// Milliseconds to HAR, microseconds here; HAR's -1 where there is no value.
#[derive(Clone, Copy)]
struct Millis(Option<u64>);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_i8(-1),
            Some(us) if us % 1000 == 0 => serializer.serialize_u64(us / 1000),
            // Exact to the microsecond up to 285 years, where a double has no more digits.
            #[expect(clippy::cast_precision_loss, reason = "see above")]
            Some(us) => serializer.serialize_f64(us as f64 / 1000.0),
        }
    }
}

#[derive(Serialize)]
struct Object {}

#[derive(Serialize)]
struct Initiator {
    r#type: &'static str,
}

/// HAR's `timings`, where `ssl` is a part of `connect`, not a phase of its own.
#[derive(Serialize)]
struct HarTimings {
    blocked: Millis,
    dns: Millis,
    connect: Millis,
    ssl: Millis,
    send: Millis,
    wait: Millis,
    receive: Millis,
}

impl From<Timings> for HarTimings {
    fn from(timings: Timings) -> Self {
        let optional = |phase| Millis(timings[phase]);
        let mandatory = |phase| Millis(Some(timings[phase].unwrap_or(0)));
        let connect = match (timings[Phase::Connect], timings[Phase::Tls]) {
            (None, None) => None,
            (connect, tls) => Some(connect.unwrap_or(0).saturating_add(tls.unwrap_or(0))),
        };
        Self {
            blocked: optional(Phase::Blocked),
            dns: optional(Phase::Dns),
            connect: Millis(connect),
            ssl: optional(Phase::Tls),
            send: mandatory(Phase::Send),
            wait: mandatory(Phase::Wait),
            receive: mandatory(Phase::Receive),
        }
    }
}

/// What HAR has no name for.
#[derive(Serialize)]
struct Modtape<'a> {
    id: ExchangeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeBy>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_wait_us: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

impl<'a> Modtape<'a> {
    fn new(item: &'a Item, bodies: Bodies) -> Self {
        let exchange = &item.exchange;
        let end = exchange.end();
        let body = end.and_then(|end| end.body.as_ref());
        Self {
            id: exchange.begin.id,
            kind: item.what.kind.as_deref(),
            module: item.what.module.as_deref(),
            version: item.what.version.as_deref(),
            outcome: item.fate.name(),
            made_by: end.map(|end| end.made_by),
            phase: match &exchange.outcome {
                Outcome::Aborted(abort) => Some(abort.phase),
                Outcome::InFlight | Outcome::Ended(_) => None,
            },
            status: match &exchange.outcome {
                Outcome::Aborted(abort) => abort.status,
                Outcome::InFlight | Outcome::Ended(_) => None,
            },
            sha256: body.map(|body| body.sha256),
            body: body
                .filter(|body| !bodies.takes(body.bytes) || item.body == Content::LeftOut)
                .and_then(body_path),
            own_us: end.map(|end| end.own_us),
            client_wait_us: end.map(|end| end.client_wait_us),
            attempts: end.map_or(&[], |end| &end.attempts),
            notes: end.map_or(&[], |end| &end.notes),
        }
    }
}

/// Where a body lies below the recording's folder, if it has a file of its own.
fn body_path(body: &Body) -> Option<String> {
    let has_file = body.kept && body.inline.is_none() && body.bytes > 0;
    let digest = body.sha256.to_string();
    has_file.then(|| format!("{BODIES}/{}/{digest}", &digest[..2]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample;
    use super::*;

    #[test]
    fn ssl_lies_inside_connect_and_time_counts_it_once() {
        let phases = Phase::ALL.map(|phase| (phase, 1_000 << (phase as u64)));
        let item = sample::answered(1, sample::PROXY, 200, b"")
            .with(|end| end.phases_us = Timings::from_iter(phases));
        let entry = sample::entry(item, Bodies::All);
        assert_eq!(
            entry["timings"],
            json!({"blocked": 1, "dns": 2, "connect": 4 + 8, "ssl": 8, "send": 16, "wait": 32, "receive": 64})
        );
        assert_eq!(entry["time"], 127);
    }

    #[test]
    fn a_reused_connection_has_minus_one_where_phases_did_not_happen() {
        let entry = sample::entry(sample::answered(1, sample::PROXY, 200, b""), Bodies::All);
        assert_eq!(
            entry["timings"],
            json!({"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0.02, "wait": 80.5, "receive": 1})
        );
        assert_eq!(entry["time"], 81.52);
    }

    #[test]
    fn tls_over_a_connection_made_elsewhere_is_all_of_connect() {
        let timings = Timings::from_iter([(Phase::Tls, 5_000)]);
        let json = serde_json::to_value(HarTimings::from(timings)).unwrap();
        assert_eq!((&json["connect"], &json["ssl"]), (&json!(5), &json!(5)));
    }

    #[test]
    fn what_never_ended_has_mandatory_timings_of_zero() {
        let entry = sample::entry(sample::in_flight(1, sample::PROXY), Bodies::All);
        assert_eq!(entry["time"], 0);
        assert_eq!(entry["timings"]["wait"], 0);
        assert_eq!(entry["_modtape"]["outcome"], "in-flight");
    }

    #[test]
    fn addresses_have_no_brackets_and_ports_name_the_connection() {
        let entry = sample::entry(sample::in_flight(1, sample::PROXY), Bodies::All);
        assert_eq!(entry["serverIPAddress"], "2001:db8::17");
        assert_eq!(entry["connection"], "443");
        assert_eq!(entry["_connectionId"], "3");
        let mut item = sample::in_flight(1, sample::PROXY);
        item.connection = Some(sample::connection("[::ffff:192.0.2.1]:80"));
        assert_eq!(
            sample::entry(item, Bodies::All)["serverIPAddress"],
            "192.0.2.1"
        );
    }

    #[test]
    fn an_unknown_server_address_is_absent() {
        let mut item = sample::in_flight(1, sample::PROXY);
        item.connection = Some(sample::connection("nonsense"));
        let entry = sample::entry(item.clone(), Bodies::All);
        assert!(entry.get("serverIPAddress").is_none() && entry.get("connection").is_none());
        let mut through_parent = sample::connection("192.0.2.1:3128");
        through_parent.upstream.as_mut().unwrap().via = Some("http://parent:3128".into());
        item.connection = Some(through_parent);
        let entry = sample::entry(item, Bodies::All);
        assert_eq!(entry.get("serverIPAddress"), None);
        assert_eq!(entry["connection"], "3128");
    }

    #[test]
    fn the_trace_names_the_run_and_the_exchange() {
        let entry = sample::entry(sample::in_flight(17, sample::PROXY), Bodies::All);
        let expected = format!("00-{}-0000000000000011-01", "ab".repeat(16));
        assert_eq!(entry["_traceparent"], expected);
        assert_eq!(entry["_initiator"], json!({"type": "other"}));
        assert_eq!(entry["cache"], json!({}));
    }

    #[test]
    fn a_large_body_is_left_out_but_can_be_found() {
        let octets = vec![b'a'; 64 * 1024 + 1];
        let item = || sample::answered(1, sample::PROXY, 200, &octets);
        let digest = sample::body(&octets).sha256.to_string();
        let small = sample::entry(item(), Bodies::Small);
        assert_eq!(small["response"]["content"].get("text"), None);
        assert_eq!(small["response"]["content"]["size"], 65_537);
        assert_eq!(small["_modtape"]["sha256"], digest);
        assert_eq!(
            small["_modtape"]["body"],
            format!("bodies/{}/{digest}", &digest[..2])
        );
        let all = sample::entry(item(), Bodies::All);
        assert_eq!(
            all["response"]["content"]["text"].as_str().map(str::len),
            Some(65_537)
        );
        assert_eq!(all["_modtape"].get("body"), None);
    }

    #[test]
    fn an_abort_says_where_and_with_which_status() {
        let item = sample::aborted(1, sample::PROXY, Phase::Receive, Some(200));
        let entry = sample::entry(item, Bodies::All);
        let Value::Object(modtape) = &entry["_modtape"] else {
            panic!("{entry}");
        };
        let expected = json!({"id": 1, "outcome": "aborted", "where": "receive", "status": 200});
        assert_eq!(Value::Object(modtape.clone()), expected);
        assert_eq!(entry["response"]["status"], 0);
    }
}
