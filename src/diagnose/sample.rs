//! Rows and connections made by hand, for the tests of this room.

use crate::clock::Timestamp;
use crate::exchange::*;
use crate::recording::ConnectionRow;
use crate::recording::Row;
use crate::recording::reader::RowState;
use crate::recording::reader::Span;

use super::timeline::Connections;

/// An exchange of run 0 on connection 1 that ended with 200.
pub(super) fn row(id: ExchangeId, url: &str, started: u64, phases: &[(Phase, u64)]) -> Row {
    Row {
        started: Timestamp::from_micros(started),
        phases: phases.iter().copied().collect(),
        end: Some(Span::default()),
        ..Row::answered(id, url, 200)
    }
}

/// An exchange whose end is not recorded.
pub(super) fn in_flight(id: ExchangeId, url: &str, started: u64) -> Row {
    Row {
        status: None,
        state: RowState::InFlight,
        made_by: None,
        end: None,
        ..row(id, url, started, &[])
    }
}

/// A connection of run 0.
pub(super) fn connection(id: ConnectionId, mode: Mode, target: &str) -> Opened {
    Opened {
        id,
        again: false,
        started_us: Timestamp::default(),
        mode,
        target: target.into(),
        client: ClientSide::default(),
        upstream: None,
        dns_us: None,
        connect_us: None,
        tls_us: None,
        tries: Vec::new(),
        error: None,
        reason: None,
    }
}

/// Connections of run 0 by their ids.
pub(super) fn connections(opened: Vec<Opened>) -> Connections {
    let row = |opened: Opened| {
        let row = ConnectionRow {
            opened: Some(opened.clone()),
            ..ConnectionRow::default()
        };
        ((0, opened.id), row)
    };
    opened.into_iter().map(row).collect()
}
