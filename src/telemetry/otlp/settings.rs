//! Where spans are sent and how, by the variables of OpenTelemetry ("OpenTelemetry Protocol Exporter", 1.5x).
//!
//! Those of traces win over those of all signals. A value that cannot be used is an error that names the variable
//! and, where it may be a secret, not the value.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Uri, header};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::telemetry::resource;
use crate::telemetry::variables::{SettingError, Variables};

/// How long a request may take, if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is appended to a base URL.
const PATH: &str = "v1/traces";

/// The method of the collector's service.
const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Header fields that are ours to set, or the connection's.
const RESERVED: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
];

/// How spans are encoded and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Protobuf in a POST.
    HttpProtobuf,
    /// JSON in a POST.
    HttpJson,
    /// gRPC over HTTP/2.
    Grpc,
}

/// A collector, and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Destination {
    /// How spans are encoded and sent.
    pub(crate) protocol: Protocol,
    /// Where each request goes.
    pub(crate) url: Uri,
    /// Header fields of each request; secrets.
    pub(super) headers: HeaderMap,
    /// How long a request may take.
    pub(crate) timeout: Duration,
    /// Whether requests are compressed.
    pub(super) gzip: bool,
    /// The PEM file whose certificates are trusted, instead of the system's.
    pub(crate) certificate: Option<PathBuf>,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("url", &self.to_string())
            .finish_non_exhaustive()
    }
}

/// Without the query, which may have a key. There is no userinfo.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", |it| it.as_str());
        match self.protocol {
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                write!(f, "{scheme}://{authority}{}", self.url.path())
            }
            Protocol::Grpc => write!(f, "{scheme}://{authority} (grpc)"),
        }
    }
}

/// The variable of traces, and that of all signals.
type Names = [&'static str; 2];

const ENDPOINT: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOL: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const HEADERS: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
const TIMEOUTS: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];
const COMPRESSION: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];
const CERTIFICATE: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const INSECURE: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_INSECURE",
];
const CLIENT: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

/// The first of these that is set.
fn set(variables: &Variables, names: Names) -> Option<(&'static str, &str)> {
    let mut names = names.into_iter();
    names.find_map(|name| Some((name, variables.get(name)?.trim())))
}

/// Whether the variables alone ask for traces to be sent.
pub(crate) fn are_asked_for(variables: &Variables) -> bool {
    let is = |name: &str, wanted: &str| {
        let value = variables.get(name);
        value.is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let exporters = variables.get("OTEL_TRACES_EXPORTER");
    let has_otlp = exporters.is_none_or(|list| list.split(',').any(|it| it.trim() == "otlp"));
    set(variables, ENDPOINT).is_some() && has_otlp && !is("OTEL_SDK_DISABLED", "true")
}

impl Destination {
    /// Where the variables, and before them a base URL on the command line with the flag's name, lead.
    pub(crate) fn of(
        variables: &Variables,
        given: Option<(&'static str, &str)>,
    ) -> Result<Self, SettingError> {
        if let Some(name) = CLIENT
            .into_iter()
            .find(|name| variables.contains_key(*name))
        {
            return Err(SettingError::new(
                name,
                "modtape has no client certificates",
            ));
        }
        let protocol = set(variables, PROTOCOL).map(|(name, value)| protocol(name, value));
        let protocol = protocol.unwrap_or(Ok(Protocol::HttpProtobuf))?;
        let is_whole = given.is_none() && variables.contains_key(ENDPOINT[0]);
        let default = match protocol {
            Protocol::Grpc => "http://localhost:4317",
            Protocol::HttpProtobuf | Protocol::HttpJson => "http://localhost:4318",
        };
        let endpoint = given.or_else(|| set(variables, ENDPOINT));
        let endpoint = endpoint.unwrap_or((ENDPOINT[1], default));
        Ok(Self {
            protocol,
            url: url(variables, endpoint, protocol, is_whole)?,
            headers: headers(variables)?,
            timeout: timeout(variables)?,
            gzip: set(variables, COMPRESSION)
                .map_or(Ok(false), |(name, value)| is_gzip(name, value))?,
            certificate: set(variables, CERTIFICATE).map(|(_, path)| PathBuf::from(path)),
        })
    }
}

fn protocol(name: &'static str, value: &str) -> Result<Protocol, SettingError> {
    match value {
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        "http/json" => Ok(Protocol::HttpJson),
        "grpc" => Ok(Protocol::Grpc),
        other => {
            let why = format!("{other:?} is not http/protobuf, http/json or grpc");
            Err(SettingError::new(name, why))
        }
    }
}

fn is_gzip(name: &'static str, value: &str) -> Result<bool, SettingError> {
    match value {
        "none" => Ok(false),
        "gzip" => Ok(true),
        other => {
            let why = format!("{other:?} is not gzip or none");
            Err(SettingError::new(name, why))
        }
    }
}

/// The variables that are to be ignored as if they were not set: with an unknown value of those that there are
/// ("Environment Variable Specification"), and attributes that cannot be read.
pub(crate) fn unusable(variables: &Variables) -> Vec<SettingError> {
    let value = |name: &'static str| Some((name, variables.get(name)?.trim()));
    let protocols = PROTOCOL.into_iter().filter_map(value);
    let protocols = protocols.filter_map(|(name, value)| protocol(name, value).err());
    let compressions = COMPRESSION.into_iter().filter_map(value);
    let compressions = compressions.filter_map(|(name, value)| is_gzip(name, value).err());
    let attributes = resource::attributes(variables).err();
    protocols.chain(compressions).chain(attributes).collect()
}

/// Where requests go; `is_whole` if nothing is appended to the path.
fn url(
    variables: &Variables,
    (name, value): (&'static str, &str),
    protocol: Protocol,
    is_whole: bool,
) -> Result<Uri, SettingError> {
    let value = value.trim();
    let shown = shown(value);
    let wrong = |why: &str| SettingError::new(name, format!("{shown}: {why}"));
    let whole = match value.contains("://") {
        true => value.to_owned(),
        false if protocol == Protocol::Grpc => {
            let insecure = set(variables, INSECURE);
            let is_insecure = insecure.is_some_and(|(_, it)| it.eq_ignore_ascii_case("true"));
            let scheme = if is_insecure { "http" } else { "https" };
            format!("{scheme}://{value}")
        }
        false => return Err(wrong("it has no scheme: http://HOST:4318 is a URL")),
    };
    let mut url: Url = whole.parse().map_err(|_| wrong("it is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("its scheme is not http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "credentials belong in OTEL_EXPORTER_OTLP_HEADERS: Authorization=Basic%20…",
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    url.set_fragment(None);
    match protocol {
        Protocol::Grpc => {
            url.set_path(METHOD);
            url.set_query(None);
        }
        Protocol::HttpProtobuf | Protocol::HttpJson if !is_whole => {
            let path = format!("{}/{PATH}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Protocol::HttpProtobuf | Protocol::HttpJson => {}
    }
    let uri = url.as_str().parse::<Uri>();
    uri.map_err(|_| wrong("it is no URL"))
}

/// What of an endpoint that cannot be used is shown: nothing before an `@`, and no query.
fn shown(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['@', '?', '#']) => (format!("{scheme}://"), rest),
        _ => (String::new(), value),
    };
    let place = match rest.rsplit_once('@') {
        // The `@` may be the query's own.
        Some((before, _)) if before.contains(['?', '#']) => "…",
        Some((_, place)) => place,
        None => rest,
    };
    let end = place.find(['?', '#']).unwrap_or(place.len());
    format!("{scheme}{}", &place[..end])
}

/// `key=value,key=value`, values percent-encoded (W3C Baggage without properties).
fn headers(variables: &Variables) -> Result<HeaderMap, SettingError> {
    let mut headers = HeaderMap::new();
    let Some((variable, list)) = set(variables, HEADERS) else {
        return Ok(headers);
    };
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    for (number, pair) in (1_usize..).zip(pairs) {
        // Never the words themselves: they may be the secret.
        let wrong = |why: &str| SettingError::new(variable, format!("pair {number} {why}"));
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("has no ="))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| wrong("has no valid name"))?;
        if RESERVED.contains(&name) {
            return Err(wrong(&format!("sets {name}, which is not yours to set")));
        }
        let value: Vec<u8> = percent_decode_str(value.trim()).collect();
        let value = HeaderValue::from_bytes(&value);
        let mut value = value.map_err(|_| wrong("has a value that no header field can have"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn timeout(variables: &Variables) -> Result<Duration, SettingError> {
    let Some((name, value)) = set(variables, TIMEOUTS) else {
        return Ok(TIMEOUT);
    };
    match value.parse::<u32>() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis.into())),
        _ => {
            let why = format!("{value:?} is no number of milliseconds from 1");
            Err(SettingError::new(name, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)], given: Option<&str>) -> Result<Destination, SettingError> {
        let variables = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Destination::of(&variables.collect(), given.map(|url| ("--otlp", url)))
    }

    #[test]
    fn a_base_url_gets_the_path_of_traces_and_one_of_traces_is_taken_as_it_is() {
        let (base, own) = (ENDPOINT[1], ENDPOINT[0]);
        let grpc = (PROTOCOL[1], "grpc");
        let method = |place: &str| format!("{place}{METHOD}");
        for (pairs, given, url) in [
            (vec![], None, "http://localhost:4318/v1/traces".to_owned()),
            (
                vec![],
                Some("https://c.example"),
                "https://c.example/v1/traces".into(),
            ),
            (
                vec![(base, "http://c/x/")],
                None,
                "http://c/x/v1/traces".into(),
            ),
            (
                vec![(base, "http://c/x?k=v")],
                None,
                "http://c/x/v1/traces?k=v".into(),
            ),
            (
                vec![(own, "http://c/x"), (base, "http://d")],
                None,
                "http://c/x".into(),
            ),
            (
                vec![(own, "http://c/x")],
                Some("http://e"),
                "http://e/v1/traces".into(),
            ),
            (vec![grpc], None, method("http://localhost:4317")),
            (vec![grpc, (base, "c:1")], None, method("https://c:1")),
            (
                vec![grpc, (base, "c:1"), (INSECURE[1], "true")],
                None,
                method("http://c:1"),
            ),
            (
                vec![grpc, (base, "http://c:1/x")],
                None,
                method("http://c:1"),
            ),
        ] {
            assert_eq!(of(&pairs, given).unwrap().url.to_string(), url, "{pairs:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_names_the_variable_and_no_secret() {
        for (name, value) in [
            (ENDPOINT[1], "collector:4318"),
            (ENDPOINT[0], "ftp://collector"),
            (ENDPOINT[1], "http://user:sesame@collector"),
            (ENDPOINT[1], "sesame@collector:4318"),
            (ENDPOINT[1], "user:sesame@collector:4318"),
            (ENDPOINT[1], "user:pass?sesame@collector:4318"),
            (ENDPOINT[1], "collector:4318?api_key=sesame"),
            (ENDPOINT[1], "ftp://collector/?mail=a@b&api_key=sesame"),
            (ENDPOINT[0], "sesame@x://collector"),
            (ENDPOINT[1], "http://"),
            (PROTOCOL[1], "http"),
            (HEADERS[1], "sesame"),
            (HEADERS[0], "a b=sesame"),
            (HEADERS[1], "a=sesame%0a"),
            (HEADERS[1], "host=sesame"),
            (TIMEOUTS[1], "10s"),
            (TIMEOUTS[0], "0"),
            (COMPRESSION[1], "zstd"),
            (CLIENT[1], "client.pem"),
        ] {
            let error = of(&[(name, value)], None).unwrap_err().to_string();
            assert!(
                error.starts_with(name) && !error.contains("sesame"),
                "{error}"
            );
        }
    }

    #[test]
    fn header_fields_are_decoded_and_shown_nowhere() {
        let of = of(
            &[(HEADERS[1], "authorization=Bearer%20sesame, x-scope = a,")],
            None,
        )
        .unwrap();
        assert_eq!(of.headers["authorization"], "Bearer sesame");
        assert_eq!(of.headers["x-scope"], "a");
        assert!(!format!("{of:?} {of} {:?}", of.headers).contains("sesame"));
    }

    #[test]
    fn what_is_unknown_or_unreadable_is_ignored() {
        let pairs = [
            (PROTOCOL[0], "http"),
            (PROTOCOL[1], "grpc"),
            (COMPRESSION[1], "zstd"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ];
        let mut variables: Variables = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let unusable = unusable(&variables);
        let names: Vec<_> = unusable.iter().map(|error| error.variable).collect();
        assert_eq!(
            names,
            [PROTOCOL[0], COMPRESSION[1], "OTEL_RESOURCE_ATTRIBUTES"]
        );
        for name in names {
            variables.remove(name);
        }
        let of = Destination::of(&variables, None).unwrap();
        assert_eq!((of.protocol, of.gzip), (Protocol::Grpc, false));
    }

    #[test]
    fn a_query_is_sent_and_shown_nowhere() {
        let url = "http://c:1/x?api_key=sesame";
        let of = of(&[(ENDPOINT[0], url)], None).unwrap();
        assert_eq!(of.url.to_string(), url);
        assert_eq!(of.to_string(), "http://c:1/x");
        assert!(!format!("{of:?}").contains("sesame"));
    }

    #[test]
    fn an_endpoint_asks_for_traces_unless_they_are_switched_off() {
        let asked = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            are_asked_for(&pairs.collect())
        };
        let endpoint = (ENDPOINT[1], "http://c");
        assert!(asked(&[endpoint]));
        assert!(asked(&[
            endpoint,
            ("OTEL_TRACES_EXPORTER", "console, otlp")
        ]));
        assert!(!asked(&[]));
        assert!(!asked(&[endpoint, ("OTEL_SDK_DISABLED", "True")]));
        assert!(!asked(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }
}
