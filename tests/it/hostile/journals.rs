//! Journals and indexes that lie about numbers, or are made to be slow or large.

use std::fs;

use serde_json::{Value, json};

use super::forgery::line;
use super::verbs::{Row, judge};

#[test]
fn numbers_beyond_all_bounds_are_shown_or_refused() {
    let rows: &[Row] = &[
        ("times of 2^64-1", |craft| {
            let phases = [
                "blocked", "dns", "connect", "tls", "send", "wait", "receive",
            ];
            let phases: serde_json::Map<String, Value> = phases
                .iter()
                .map(|name| ((*name).to_owned(), json!(u64::MAX)))
                .collect();
            craft
                .with("begin", "t_us", json!(u64::MAX))
                .with("end", "phases_us", Value::Object(phases))
                .with("end", "own_us", json!(u64::MAX))
                .with("end", "client_wait_us", json!(u64::MAX))
                .with("connection", "started_us", json!(u64::MAX))
                .write()
        }),
        ("times of 2^63", |craft| {
            craft
                .with("begin", "t_us", json!(1_u64 << 63))
                .with("close", "t_us", json!(1_u64 << 63))
                .says("wall_us", json!(u64::MAX))
                .says("started", json!("9999-12-31T23:59:59Z"))
                .write()
        }),
        ("numbers that repeat, skip and wrap", |craft| {
            let journal = craft.journal();
            let more = [u64::MAX, 1, u64::MAX - 1, 1 << 63].map(|seq| {
                let gap = json!({"seq": seq, "t_us": 0, "type": "gap", "what": "18446744073709551615 lines before this one", "why": ""});
                line(&gap.to_string())
            });
            craft.write_journal(&[journal, more.concat()].concat())
        }),
        ("ids of 2^64-1", |craft| {
            let max = json!(u64::MAX);
            craft
                .with("begin", "connection", max.clone())
                .with("connection", "id", max)
                .write()
        }),
        ("ids that repeat", |mut craft| {
            let records = craft.records.clone();
            craft.records.extend(records);
            craft.write()
        }),
        ("ids that are texts", |craft| {
            craft.with("begin", "id", json!("1")).write()
        }),
        ("an end before its begin", |mut craft| {
            craft.records.reverse();
            craft.write()
        }),
        ("totals of 2^64-1", |craft| {
            let max = u64::MAX;
            let totals = json!({"exchanges": max, "aborted": max, "made_by_modtape": max, "connections": max,
                "tunnels": max, "body_bytes": max, "tunnel_bytes": max, "gaps": max});
            craft
                .says("totals", totals.clone())
                .with("close", "totals", totals)
                .says("exit_code", json!(i32::MIN))
                .write()
        }),
    ];
    judge(rows);
}

#[test]
fn journals_that_are_made_to_be_large_or_slow_are_read_in_bounds() {
    let rows: &[Row] = &[
        ("an empty journal", |craft| craft.write_journal(b"")),
        ("a line of 100 MB", |craft| {
            let dir = craft.write();
            super::zeros(&dir.join("journal.ndjson"), 100 << 20);
            dir
        }),
        ("a header of 2 MB", |craft| {
            craft
                .with("end", "headers", json!([["x", "y".repeat(2 << 20)]]))
                .write()
        }),
        ("two hundred thousand headers", |craft| {
            craft
                .with("end", "headers", json!(vec![["", ""]; 200_000]))
                .write()
        }),
        ("a command of two hundred thousand words", |craft| {
            craft
                .with("open", "command", json!(vec![""; 200_000]))
                .write()
        }),
        ("a url of 1 MB", |craft| {
            craft
                .with(
                    "begin",
                    "url",
                    json!(format!("https://h/{}", "%41".repeat(1 << 18))),
                )
                .write()
        }),
        ("a host of 1 MB beside two thousand lines", |mut craft| {
            let begin = craft.record("begin").clone();
            craft.record("begin")["url"] = json!(format!("https://{}/", "h".repeat(1 << 20)));
            craft.records.extend((2..2_000).map(|id| {
                let mut begin = begin.clone();
                begin["id"] = json!(id);
                begin
            }));
            craft.write()
        }),
        ("nested a hundred thousand deep", |craft| {
            let journal = craft.journal();
            let deep = format!(
                "{{\"seq\":9,\"t_us\":1,\"type\":\"gap\",\"what\":{}",
                "[".repeat(100_000)
            );
            let whole = format!(
                "{{\"seq\":10,\"t_us\":1,\"type\":\"x\",\"y\":{}{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            );
            let header = format!(
                "{{\"seq\":11,\"t_us\":1,\"type\":\"begin\",\"headers\":{}{}}}",
                "[".repeat(9_999),
                "]".repeat(9_999)
            );
            craft.write_journal(&[journal, line(&deep), line(&whole), line(&header)].concat())
        }),
        ("starts of records that are none", |craft| {
            let journal = craft.journal();
            let starts = "00000000 {\"a\":[\"".repeat(30_000);
            craft.write_journal(&[journal, starts.into_bytes()].concat())
        }),
        ("twenty thousand unknown records", |craft| {
            let journal = craft.journal();
            craft.write_journal(&[journal, line("{}").repeat(20_000)].concat())
        }),
        ("bytes that are not UTF-8", |craft| {
            let journal = craft.journal();
            let crc = crc32c::crc32c(b"{\"seq\":9,\"x\":\"\xff\xfe\"}");
            let wrong = [
                format!("{crc:08x} ").as_bytes(),
                b"{\"seq\":9,\"x\":\"\xff\xfe\"}\n",
            ]
            .concat();
            craft.write_journal(&[journal, wrong, vec![0xff; 4_000]].concat())
        }),
    ];
    judge(rows);
}

#[test]
fn an_index_that_disagrees_with_the_journal_leads_nowhere() {
    let rows: &[Row] = &[
        ("rows at other places", |craft| {
            craft.write_index(|_, row| {
                let places = [u64::MAX, u64::MAX, 1 << 63, 5];
                (1..5)
                    .rev()
                    .zip(places)
                    .for_each(|(back, place)| *row.number(back) = place);
            })
        }),
        ("rows of 16 MB each", |craft| {
            craft.write_index(|_, row| {
                let places = [0, 16 << 20, 0, 16 << 20];
                (1..5)
                    .rev()
                    .zip(places)
                    .for_each(|(back, place)| *row.number(back) = place);
            })
        }),
        ("counts beyond all bounds", |craft| {
            craft.write_index(|header, _| {
                header["rows"] = json!(u64::MAX);
                header["connections"] = json!(u64::MAX);
            })
        }),
        ("more rows than there are", |craft| {
            craft.write_index(|header, _| header["rows"] = json!(u64::MAX))
        }),
        ("a run that is not there", |craft| {
            craft.write_index(|_, row| *row.number(9) = u32::MAX.into())
        }),
        ("numbers and texts without an end", |craft| {
            craft.write_index(|_, row| row.bits = [0xff, 0xff])
        }),
        ("another method, outcome and status", |craft| {
            craft.write_index(|_, row| {
                row.bits[0] = row.bits[0] & !3 | 0b0110_0010;
                *row.number(0) = 599;
                *row.number(5) = u64::MAX;
                row.texts[0] = String::from("\u{1b}[2J");
            })
        }),
        ("an index that is cut off", |craft| {
            let dir = craft.write_index(|_, _| {});
            let index = fs::read(dir.join("index")).unwrap();
            fs::write(dir.join("index"), &index[..index.len() - 20]).unwrap();
            dir
        }),
        ("an index of 100 MB", |craft| {
            let dir = craft.write();
            super::zeros(&dir.join("index"), 100 << 20);
            dir
        }),
    ];
    judge(rows);
}
