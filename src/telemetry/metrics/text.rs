//! The two texts that Prometheus reads, and which of them a scraper asks for.

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0: with examples, which name spans.
    OpenMetrics,
    /// Prometheus' own text, 0.0.4: what everybody reads.
    Prometheus,
}

impl Format {
    /// The format that a scraper likes best, by its `Accept` fields (RFC 9110 section 12.5.1); Prometheus' own where
    /// it has none, or none that fits.
    pub(crate) fn accepted<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges = fields.into_iter().flat_map(|field| field.split(','));
        let (mut open, mut plain) = (0, None);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1000, None);
            for part in parts {
                match part.split_once('=') {
                    Some(("q" | "Q", q)) => weight = thousandths(q),
                    Some(("version", it)) => version = Some(it.trim_matches('"')),
                    _ => {}
                }
            }
            match (&*name, version) {
                ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => {
                    open = open.max(weight);
                }
                ("text/plain", None | Some("0.0.4")) => {
                    plain = plain.max(Some(weight));
                }
                _ => {}
            }
        }
        match open > 0 && Some(open) >= plain {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The media type of such a text.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// A weight of RFC 9110 section 12.4.2, times 1000; what is none counts as 0.
fn thousandths(weight: &str) -> u16 {
    let weight = weight.trim().parse::<f32>().ok();
    let weight = weight.filter(|weight| (0.0..=1.0).contains(weight));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is 1000 at most"
    )]
    weight.map_or(0, |weight| (weight * 1000.0).round() as u16)
}

/// Writes all values.
pub(super) fn write(registry: &Registry, format: Format) -> String {
    let mut out = String::new();
    let written = match format {
        Format::OpenMetrics => text::encode(&mut out, registry),
        Format::Prometheus => prometheus_text::encode(&mut out, registry),
    };
    // A String takes whatever is written.
    debug_assert!(written.is_ok());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_likes_best() {
        for (accept, format) in [
            // Prometheus 2.42, and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;\
                 escaping=allow-utf-8;q=0.5,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=\"1.0.0\"",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=2.0.0",
                Format::Prometheus,
            ),
            (
                "application/openmetrics-text;q=0.2, text/plain;q=0.9",
                Format::Prometheus,
            ),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=many", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html", Format::Prometheus),
            ("", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted([accept]), format, "{accept}");
        }
        assert_eq!(Format::accepted([]), Format::Prometheus);
        let two = ["text/plain;q=0.5", "application/openmetrics-text"];
        assert_eq!(Format::accepted(two), Format::OpenMetrics);
    }
}
