//! Which dial an exchange went through.

use super::*;

fn dial(mode: Mode, target: &str, sni: Option<&str>, started_us: u64) -> Opened {
    Opened {
        id: 1,
        started_us: Timestamp::from_micros(started_us),
        again: started_us > 0,
        mode,
        target: target.into(),
        client: crate::exchange::ClientSide {
            sni: sni.map(str::to_owned),
            ..Default::default()
        },
        upstream: None,
        dns_us: None,
        connect_us: None,
        tls_us: None,
        tries: Vec::new(),
        error: None,
    }
}

#[test]
fn an_exchange_went_through_the_last_dial_to_its_host_and_through_no_other() {
    let plain = ConnectionRow {
        opened: Some(dial(Mode::Plain, "a.example:80", None, 0)),
        again: vec![
            dial(Mode::Plain, "c.example:80", None, 20),
            dial(Mode::Plain, "a.example:80", None, 40),
        ],
        ..ConnectionRow::default()
    };
    let named = ConnectionRow {
        opened: Some(dial(Mode::Intercept, "192.0.2.1:443", Some("a.example"), 9)),
        ..ConnectionRow::default()
    };
    for (row, url, until, expected) in [
        (&plain, "http://a.example/x", 10, Some(0)),
        (&plain, "http://c.example/x", 30, Some(20)),
        (&plain, "http://a.example/x", 50, Some(40)),
        // Refused before anybody was dialled.
        (&plain, "http://b.example/x", 50, None),
        (&plain, "http://a.example:81/x", 50, None),
        (&plain, "*", 50, Some(40)),
        (&named, "https://a.example/x", 50, Some(9)),
        (&named, "https://a.example/x", 5, Some(9)),
        (&named, "https://192.0.2.1/x", 50, Some(9)),
        (&named, "https://b.example/x", 50, None),
    ] {
        let found = row.dial_of(url, Timestamp::from_micros(until));
        let started = found.map(|dial| dial.started_us.as_micros());
        assert_eq!(started, expected, "{url} at {until}");
    }
}
