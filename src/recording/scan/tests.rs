use super::*;
use crate::recording::format::Event;
use crate::recording::sample;

fn scanned(journal: &[u8]) -> (Vec<(Span, Record)>, Findings) {
    let mut records = Vec::new();
    let findings = scan(journal, |span, record| records.push((span, record))).unwrap();
    (records, findings)
}

fn numbers(journal: &[u8]) -> Vec<u64> {
    let (records, _) = scanned(journal);
    records.iter().map(|(_, record)| record.seq).collect()
}

/// The sample's lines; tests that take some away or change some join them again.
fn lines() -> Vec<Vec<u8>> {
    sample::lines(1, sample::events())
}

fn kinds(findings: &Findings) -> Vec<DamageKind> {
    findings
        .damage
        .iter()
        .map(|damage| damage.kind.clone())
        .collect()
}

#[test]
fn an_intact_journal_has_all_its_records_and_no_damage() {
    let journal = sample::journal();
    let (records, findings) = scanned(&journal);
    assert_eq!(findings.damage, []);
    assert_eq!(findings.tail, None);
    assert_eq!(findings.last_seq, 12);
    assert_eq!(findings.bytes, journal.len() as u64);
    for (span, record) in &records {
        let line = &journal[span.offset as usize..span.end() as usize];
        assert_eq!(Record::parse_line(line).as_ref(), Ok(record));
    }
    assert_eq!(numbers(&journal), (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_record_behind_half_a_line_is_found() {
    let mut lines = lines();
    lines[4].truncate(31);
    let (records, findings) = scanned(&lines.concat());
    assert_eq!(records.len(), 11);
    let missing = DamageKind::Missing { from: 5, to: 5 };
    assert_eq!(kinds(&findings), [DamageKind::Garbled, missing]);
    assert_eq!(findings.damage[0].span.len, 31);
}

#[test]
fn a_lost_line_feed_loses_no_record() {
    for line in 0..11 {
        let mut lines = lines();
        lines[line].pop();
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 12, "line {line}");
        assert_eq!(findings.damage, []);
    }
}

#[test]
fn a_changed_line_feed_loses_no_record_and_is_noticed() {
    for line in 0..11 {
        let mut lines = lines();
        *lines[line].last_mut().unwrap() ^= 1;
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 12, "line {line}");
        assert_eq!(kinds(&findings), [DamageKind::Garbled], "line {line}");
    }
}

#[test]
fn half_a_last_line_is_a_torn_tail_and_no_damage() {
    let journal = sample::journal();
    let (_, whole) = scanned(&journal);
    let cut = journal.len() - 20;
    let (records, findings) = scanned(&journal[..cut]);
    assert_eq!(records.len(), 11);
    assert_eq!(findings.damage, []);
    assert_eq!(findings.tail.unwrap().end(), cut as u64);
    assert_eq!(whole.tail, None);
}

#[test]
fn octets_that_never_reached_the_disk_are_one_torn_tail() {
    let mut journal = sample::journal();
    journal.extend([0; 4096]);
    journal.extend(b"\n\n\0\n");
    let (records, findings) = scanned(&journal);
    assert_eq!(records.len(), 12);
    assert_eq!(findings.damage, []);
    assert_eq!(findings.tail.unwrap().len, 4100);
}

#[test]
fn a_line_that_is_there_twice_counts_once() {
    let mut lines = lines();
    let again = lines[2].clone();
    lines.insert(6, again);
    let (records, findings) = scanned(&lines.concat());
    assert_eq!(records.len(), 12);
    assert_eq!(kinds(&findings), [DamageKind::Repeated { seq: 3 }]);
}

#[test]
fn lines_in_another_order_are_neither_missing_nor_repeated() {
    let mut lines = lines();
    lines[3..9].reverse();
    let (records, findings) = scanned(&lines.concat());
    assert_eq!(records.len(), 12);
    assert_eq!(findings.damage, []);
}

#[test]
fn lost_lines_are_missing_by_number() {
    let mut lines = lines();
    lines.drain(4..7);
    let (_, findings) = scanned(&lines.concat());
    assert_eq!(kinds(&findings), [DamageKind::Missing { from: 5, to: 7 }]);
}

#[test]
fn a_record_of_a_kind_to_come_is_reported_and_passed_over() {
    let text = r#"{"seq":3,"t_us":1,"type":"push","of":"h3"}"#;
    let mut lines = lines();
    lines[2] = format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes())).into_bytes();
    let (records, findings) = scanned(&lines.concat());
    assert_eq!(records.len(), 11);
    assert_eq!(kinds(&findings), [DamageKind::Unknown { format: None }]);
}

#[test]
fn a_line_without_end_is_cut_and_searched() {
    let mut journal = vec![0; LINE_LIMIT as usize + 5];
    journal.extend(sample::journal());
    let (records, findings) = scanned(&journal);
    assert_eq!(records.len(), 12);
    assert_eq!(kinds(&findings), [DamageKind::Garbled]);
    assert_eq!(findings.damage[0].span.len, LINE_LIMIT + 5);
}

#[test]
fn what_looks_like_a_record_inside_a_record_is_none() {
    let inner = format!("{:08x} {{}}", crc32c::crc32c(b"{}"));
    let Event::Begin(mut begin) = sample::begin(1) else {
        unreachable!()
    };
    begin.url = format!("https://example.com/?{inner}");
    let mut lines = sample::lines(
        1,
        vec![sample::open(), Event::Begin(begin), sample::close()],
    );
    lines[1].pop();
    let (records, findings) = scanned(&lines.concat());
    assert_eq!(records.len(), 3);
    assert_eq!(findings.damage, []);
}
