//! What the fields of log lines are called in each format: the one table of their names.
//!
//! Those who log use short names of their own, which the text format shows as they are. OpenTelemetry's names are
//! those of its semantic conventions (version 1.44) where these have one, Elastic's those of the Elastic Common
//! Schema (ECS, version 8.11). What neither knows lies below `modtape.`.

/// A field of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Its name in JSON with OpenTelemetry's names.
    pub(super) otel: &'static str,
    /// Its name in ECS.
    pub(super) ecs: &'static str,
    pub(super) shape: Shape,
}

/// What becomes of a value, besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is written as it is.
    Plain,
    /// Microseconds, which ECS has in nanoseconds.
    Duration,
    /// `IP:PORT`, whose parts are two fields: NAME and the same with `port` as its last word. ECS has the IP twice.
    Address,
    /// A URL, of which ECS has the parts too.
    Url,
    /// `HTTP/2`, of which the number is written.
    HttpVersion,
    /// `TLS 1.3`, of which the number is written.
    TlsVersion,
}

macro_rules! table {
    ($($own:literal, $otel:literal, $ecs:literal, $shape:ident;)*) => {
        /// The field that those who log call `name`.
        pub(super) fn field(name: &str) -> Option<&'static Field> {
            // A match, since each line asks for twenty.
            match name {
                $($own => Some(&Field { otel: $otel, ecs: $ecs, shape: Shape::$shape }),)*
                _ => None,
            }
        }

        /// The short names, in the order of the table.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($own),*];
    };
}

table! {
    // Which exchange, which connection, whose trace.
    "trace_id", "trace_id", "trace.id", Plain;
    "span_id", "span_id", "span.id", Plain;
    "exchange", "modtape.exchange.id", "modtape.exchange.id", Plain;
    "connection", "modtape.connection.id", "modtape.connection.id", Plain;
    // What was asked, and the answer.
    "method", "http.request.method", "http.request.method", Plain;
    "url", "url.full", "url.full", Url;
    "path", "url.path", "url.path", Plain;
    "host", "server.address", "server.address", Plain;
    "user", "user.name", "user.name", Plain;
    "protocol", "network.protocol.version", "http.version", HttpVersion;
    "kind", "modtape.kind", "modtape.kind", Plain;
    "module", "go.module.path", "modtape.module.path", Plain;
    "version", "go.module.version", "modtape.module.version", Plain;
    "status", "http.response.status_code", "http.response.status_code", Plain;
    "bytes", "http.response.body.size", "http.response.body.bytes", Plain;
    "made_by", "modtape.made_by", "modtape.made_by", Plain;
    "tier", "modtape.tier", "modtape.tier", Plain;
    "error", "error.message", "error.message", Plain;
    // When, and how long.
    "start_us", "modtape.start_us", "modtape.start_us", Plain;
    "duration_us", "modtape.duration_us", "event.duration", Duration;
    "head_us", "modtape.head_us", "modtape.head_us", Plain;
    "blocked_us", "modtape.phases.blocked_us", "modtape.phases.blocked_us", Plain;
    "dns_us", "modtape.phases.dns_us", "modtape.phases.dns_us", Plain;
    "connect_us", "modtape.phases.connect_us", "modtape.phases.connect_us", Plain;
    "tls_us", "modtape.phases.tls_us", "modtape.phases.tls_us", Plain;
    "send_us", "modtape.phases.send_us", "modtape.phases.send_us", Plain;
    "wait_us", "modtape.phases.wait_us", "modtape.phases.wait_us", Plain;
    "receive_us", "modtape.phases.receive_us", "modtape.phases.receive_us", Plain;
    // Connections.
    "mode", "modtape.mode", "modtape.mode", Plain;
    "again", "modtape.again", "modtape.again", Plain;
    "client", "client.address", "client.address", Address;
    "client_sni", "modtape.client.sni", "tls.client.server_name", Plain;
    "client_alpn", "modtape.client.alpn", "modtape.client.alpn", Plain;
    "client_tls", "modtape.client.tls", "modtape.client.tls", TlsVersion;
    "server", "server.address", "server.address", Plain;
    "port", "server.port", "server.port", Plain;
    "peer", "network.peer.address", "destination.address", Address;
    "local", "network.local.address", "source.address", Address;
    "alpn", "tls.next_protocol", "tls.next_protocol", Plain;
    "tls", "tls.protocol.version", "tls.version", TlsVersion;
    "via", "modtape.via", "modtape.via", Plain;
    "from_client_bytes", "modtape.from_client_bytes", "client.bytes", Plain;
    "to_client_bytes", "modtape.to_client_bytes", "server.bytes", Plain;
    "why", "modtape.why", "event.reason", Plain;
    "note", "modtape.note", "modtape.note", Plain;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_part_of_another() {
        for name_of in [|field: &Field| field.otel, |field: &Field| field.ecs] {
            let names = NAMES.iter().map(|own| name_of(field(own).unwrap()));
            let names: Vec<_> = names.collect();
            for (outer, inner) in names.iter().flat_map(|a| names.iter().map(move |b| (a, b))) {
                assert!(
                    !inner.starts_with(&format!("{outer}.")),
                    "{outer} is a field and has {inner}"
                );
            }
        }
    }

    #[test]
    fn an_address_has_a_port_beside_it() {
        for own in NAMES {
            let field = field(own).unwrap();
            if field.shape == Shape::Address {
                assert!(field.otel.ends_with(".address"), "{own}");
                assert!(field.ecs.ends_with(".address"), "{own}");
            }
        }
    }
}
