//! An outbox row as the server sends it, for the binaries that count what its way costs.

use std::collections::BTreeMap;

use walpost::cloudevent::options::{EventOptions, Mode, NullPayload, TimeUnit};
use walpost::outbox::template::Template;

pub(crate) const JSONB: u32 = 3802;
pub(crate) const TEXT: u32 = 25;
pub(crate) const BYTEA: u32 = 17;

/// Every option that costs work.
pub(crate) fn options(mode: Mode) -> EventOptions {
    EventOptions {
        database: "shop".into(),
        columns: BTreeMap::new(),
        topic: Template::parse("outbox.event.{aggregate_type}").expect("template"),
        mode,
        source: None,
        type_template: Template::parse("com.shop.{type}").expect("template"),
        datacontenttype: None,
        extensions: vec![("region".into(), "region".into()), ("until".into(), "until".into())],
        time_unit: TimeUnit::Milliseconds,
        time_zone: "Europe/Berlin".into(),
        null_payload: NullPayload::Tombstone,
        debezium_headers: true,
        max_event: 1_000_000,
        virtual_partitions: Vec::new(),
        schemas: None,
        reserved_topics: vec!["walpost.dlq".into()],
    }
}

/// A relation and an insert with every role that costs work.
pub(crate) fn every_role(payload_oid: u32, payload: &str) -> (Vec<u8>, Vec<u8>) {
    messages(&[
        ("id", 2950, "6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("aggregatetype", TEXT, "order"),
        ("aggregateid", BYTEA, "\\x00ff"),
        ("type", TEXT, "OrderCreated"),
        ("payload", payload_oid, payload),
        ("created_at", 1114, "2024-05-01 10:00:00.123456"),
        ("source", TEXT, "https://example.com/shop"),
        ("dataschema", TEXT, "https://example.com/schema"),
        ("tracingspancontext", TEXT, "traceparent=00-a-b-01\ntracestate=a\\=1\n"),
        ("headers", JSONB, "{\"a\": \"\\u00e9\\n\", \"b\": {\"c\": [[1]]}, \"ce_id\": \"evil\"}"),
        ("region", BYTEA, "\\x0102"),
        ("until", 1184, "2024-05-01 10:00:00+00"),
    ])
}

/// A relation and an insert with these columns: name, object id of the type, value as text.
pub(crate) fn messages(columns: &[(&str, u32, &str)]) -> (Vec<u8>, Vec<u8>) {
    let mut relation = b"R\0\0\0\x01public\0outbox\0d".to_vec();
    let mut insert = b"I\0\0\0\x01N".to_vec();
    let count = u16::try_from(columns.len()).expect("few").to_be_bytes();
    relation.extend(count);
    insert.extend(count);
    for (name, oid, value) in columns {
        relation.push(0);
        relation.extend(name.as_bytes());
        relation.push(0);
        relation.extend(oid.to_be_bytes());
        relation.extend((-1_i32).to_be_bytes());
        insert.push(b't');
        insert.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
        insert.extend(value.as_bytes());
    }
    (relation, insert)
}
