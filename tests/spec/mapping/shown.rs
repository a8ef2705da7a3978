//! A record as lines of text, all of it, and the comparison.

use std::fmt::Write as _;

use super::relay::Transaction;
use super::{Case, DEAD_LETTER, LETTER};
use crate::oracle::lsn;
use crate::servers::Record;

/// One record that a case asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Number of its example.
    pub(super) example: usize,
    /// Its topic.
    pub(super) topic: String,
    /// All its lines, sorted.
    pub(super) lines: Vec<String>,
}

/// The name before the colon.
fn name_of(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

/// The records of a case, in the order of its rows.
pub(super) fn expected(case: &Case) -> Vec<Expected> {
    let mut all = Vec::new();
    for (example, events) in case.examples.iter().map(|example| example.events).enumerate() {
        for own in events {
            let mut lines: Vec<String> = Vec::new();
            let letter = if own.contains(&DEAD_LETTER) { LETTER } else { &[] };
            for line in case.common.iter().chain(letter) {
                let name = name_of(line);
                let replaced = own
                    .iter()
                    .any(|own| name_of(own) == name || own.strip_prefix("no ") == Some(name));
                if !replaced {
                    lines.push((*line).to_owned());
                }
            }
            lines.extend(
                own.iter().filter(|line| !line.starts_with("no ")).map(|line| (*line).to_owned()),
            );
            lines.sort();
            let topic = lines.iter().find_map(|line| line.strip_prefix("topic: "));
            let topic = topic.unwrap_or_else(|| panic!("no topic in {lines:#?}")).to_owned();
            all.push(Expected { example, topic, lines });
        }
    }
    all
}

/// The records in the order of `expected`, with what differs from run to run made the same. Those
/// beyond what is expected come last.
#[track_caller]
pub(super) fn in_order(
    records: &[Record],
    expected: &[Expected],
    transactions: &[Transaction],
    database: &str,
) -> Vec<Record> {
    let mut left: Vec<_> = records.iter().map(|record| outer(record, database)).collect();
    let mut ordered = Vec::new();
    for one in expected {
        // A topic of one partition keeps the order of the rows.
        if let Some(place) = left.iter().position(|record| record.topic == one.topic) {
            ordered.push(settled(left.remove(place), &transactions[one.example]));
        }
    }
    if ordered.len() != expected.len() || !left.is_empty() {
        let (missing, got) = (expected.len() - ordered.len(), texts(records, database));
        panic!("{missing} records are missing, {} too many; all:\n{got}", left.len());
    }
    ordered
}

fn texts(records: &[Record], database: &str) -> String {
    records.iter().fold(String::new(), |mut text, record| {
        for line in lines(&outer(record, database)) {
            writeln!(text, "{line:?},").unwrap();
        }
        text + "\n"
    })
}

/// Every record is what its row asks for, in every line.
#[track_caller]
pub(super) fn compare(records: &[Record], expected: &[Expected]) {
    let mut wrong = String::new();
    for (record, expected) in records.iter().zip(expected) {
        let lines = lines(record);
        if lines != expected.lines {
            let not_got: Vec<_> = expected.lines.iter().filter(|l| !lines.contains(l)).collect();
            let not_asked: Vec<_> =
                lines.iter().filter(|line| !expected.lines.contains(line)).collect();
            writeln!(wrong, "@@ example {}\n- {not_got:#?}\n+ {not_asked:#?}", expected.example)
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A record as lines: topic, key, headers, value.
pub(super) fn lines(record: &Record) -> Vec<String> {
    let mut lines = vec![
        format!("topic: {}", record.topic),
        format!("key: {}", bytes(record.key.as_deref())),
        format!("value: {}", bytes(record.value.as_deref())),
    ];
    for (name, value) in &record.headers {
        lines.push(format!("{name}: {}", bytes(value.as_deref())));
    }
    lines.sort();
    lines
}

/// Bytes as text, and in parentheses what is no plain text.
fn bytes(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "(null)".to_owned(),
        Some(Ok("")) => "(empty)".to_owned(),
        Some(Ok(text)) if text.chars().any(char::is_control) => format!("(escaped) {text:?}"),
        Some(Ok(text)) => text.to_owned(),
        Some(Err(_)) => {
            let hex: String =
                bytes.unwrap_or_default().iter().map(|b| format!("{b:02x}")).collect();
            format!("(hex) {hex}")
        }
    }
}

/// The record as it would be in a database called `shop`.
pub(super) fn outer(record: &Record, database: &str) -> Record {
    replaced(record, database, "shop")
}

/// The record with another text in the place of `from`, wherever there is text.
pub(super) fn replaced(record: &Record, from: &str, to: &str) -> Record {
    let change = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(from, to).into_bytes(),
        Err(_) => bytes.clone(),
    };
    Record {
        topic: record.topic.replace(from, to),
        key: record.key.as_ref().map(change),
        value: record.value.as_ref().map(change),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_ref().map(change)))
            .collect(),
        ..record.clone()
    }
}

/// The record with words in the place of times and positions, which are compared here with what
/// Postgres says of the transaction.
#[track_caller]
fn settled(record: Record, transaction: &Transaction) -> Record {
    let mut record = if transaction.commit_time.is_empty() {
        record
    } else {
        replaced(&record, &transaction.commit_time, "(commit time)")
    };
    for (name, value) in &mut record.headers {
        let text = value.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let text = text.unwrap_or_default();
        if name == "walpost-position" {
            let (commit, ordinal) = text.split_once('+').expect("LSN+ordinal");
            let (from, to) = transaction.positions;
            assert!((from..=to).contains(&lsn(commit)), "{text} is not in {transaction:?}");
            *value = Some(format!("(commit position)+{ordinal}").into_bytes());
        } else if name == "walpost-error-time" {
            // The host's clock; that it is about now is tested with the dead letters.
            assert!(text.len() >= 20 && text.ends_with('Z') && text.contains('T'), "{text}");
            *value = Some(b"(now)".to_vec());
        }
    }
    record
}
