//! Messages of `pg_logical_emit_message` → row → event.

use walpost::outbox::{MessageReader, RowScratch};

use crate::rows::Reader;
use crate::trial::Target;

/// A reader of messages knows each shape that it has met, up to a thousand.
const TARGET: Target =
    Target { name: "messages", cases: 10_000, fixed: 128 * 1024, each: 16, says: " " };

const MESSAGES: [&str; 3] = [
    r#"{"id": 1, "aggregatetype": "order", "aggregateid": "\u00e9", "type": "Placed",
        "payload": {"a": [[1.10]]}, "headers": {"a": "b"}, "region": true}"#,
    r#"{"type": "Paid", "id": "2", "aggregatetype": "order", "payload": "\"\\u00e9\""}"#,
    r#"{"id":"6e8bc430-9c3a-11d9-9669-0800200c9a66","aggregatetype":"order","type":"x","payload":null}"#,
];

#[test]
fn a_changed_message_becomes_an_event_or_a_dead_letter() {
    let from = MESSAGES.map(|message| vec![message.as_bytes().to_vec()]);
    let mut readers = Reader::both();
    TARGET.run(&from, |parts| {
        for reader in &mut readers {
            let mut messages = MessageReader::new("shop", &reader.options).expect("a reader");
            let mut scratch = RowScratch::new();
            for part in parts {
                let read = messages.read(&mut scratch, part);
                reader.encode(&read.mapping, &read.row, read.bad)?;
            }
        }
        Ok(())
    });
}
