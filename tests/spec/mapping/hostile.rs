//! Goal: no text in a row, of whoever may insert one, becomes more than a text in its event.
//! Method: texts that try to close the envelope, to begin a header, to be another event, to reach
//! another topic, in every column; what comes out is the same event with these texts in their places.

use std::collections::BTreeMap;

use cloudevents::AttributesReader as _;
use serde_json::value::RawValue;

use super::relay::Relay;
use super::{Case, EVENT};
use crate::sdk;

const TABLE: &str = "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text, type text default 'Placed', payload text default '{}', content_type text,
    subject text, partition_key text, tenant_id text, traceparent text, headers jsonb, ext text)";

const CASE: Case = Case {
    title: "",
    about: "",
    table: TABLE,
    settings: &[("WALPOST_CE_EXTENSIONS", "ext=ext"), ("WALPOST_MAX_EVENT", "1MB")],
    common: EVENT,
    examples: &[],
};

/// Texts without control characters, which every attribute takes.
const TEXTS: [&str; 12] = [
    "\",\"source\":\"/evil",
    "\"}",
    "\\",
    "\\\",\"id\":\"x",
    "\\u0022,\\u0022id\\u0022:\\u0022x",
    "{\"specversion\":\"1.0\"}",
    "ce_id: x; content-type: y",
    "${jndi:ldap://evil}",
    "{aggregate_type}",
    "'; drop table outbox; --",
    "\u{202E}gpj.exe",
    "\u{2028}\u{2029}\u{FEFF}",
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn a_text_in_an_attribute_stays_a_text() {
    for mode in ["binary", "structured"] {
        let mut relay = Relay::start(&CASE, mode);
        for text in TEXTS {
            let text = literal(text);
            relay.insert(&format!(
                "(id, aggregateid, type, subject, partition_key, tenant_id, traceparent, ext, headers)
                 values ({text}, {text}, {text}, {text}, {text}, {text}, {text}, {text},
                 jsonb_build_object({text}, {text}))"
            ));
        }
        let records = relay.finish(TEXTS.len());
        assert_eq!(records.len(), TEXTS.len(), "{}", relay.log());
        for (record, text) in records.iter().zip(TEXTS) {
            assert_eq!(record.topic, format!("{}.order", relay.name()));
            assert_eq!(record.key_text(), text);
            // The row's own header, and the trace's; a name that begins as ours do is left out.
            let own = record.header(text);
            assert_eq!(own, (!text.starts_with("ce_")).then_some(text), "{record:?}");
            assert_eq!(record.header("traceparent"), Some(text));
            let event = sdk::event(record);
            assert_eq!((event.id(), event.ty(), event.subject()), (text, text, Some(text)));
            assert_eq!(event.source().as_str(), format!("/{}/public/outbox", relay.name()));
            let names: Vec<_> = event.iter_extensions().map(|(name, _)| name).collect();
            let mut expected = ["ext", "partitionkey", "tenantid", "traceparent"].to_vec();
            expected.sort_unstable();
            assert_eq!(
                names.iter().copied().collect::<std::collections::BTreeSet<_>>(),
                expected.into_iter().collect()
            );
            for (name, value) in event.iter_extensions() {
                assert_eq!(value.to_string(), text, "{name}");
            }
            let count = if mode == "binary" { 13 } else { 3 };
            let left_out = usize::from(text.starts_with("ce_"));
            assert_eq!(record.headers.len() + left_out, count, "{:?}", record.headers);
        }
    }
}

/// No JSON text ends where it should not, so the splice into the envelope cannot be left.
#[test]
fn a_payload_cannot_leave_its_place_in_the_envelope() {
    let payloads = [
        "{}},\"id\":\"x\"",
        "{},\"source\":\"/evil\"",
        "1,\"data\":2",
        "\"a\",\"b\":\"c\"",
        "{}}{\"specversion\":\"1.0\"",
        "/**/{}",
        "{} //",
        "NaN",
        "\u{FEFF}{}",
        "'a'",
        "[1,]",
    ];
    let mut relay = Relay::start(&CASE, "structured");
    for payload in payloads {
        relay.insert(&format!("(payload) values ({})", literal(payload)));
    }
    // As a plain text every one of them is a string.
    for payload in payloads {
        relay.insert(&format!(
            "(payload, content_type) values ({}, 'text/plain')",
            literal(payload)
        ));
    }
    let records = relay.finish(2 * payloads.len());
    let dlq = format!("{}.dlq", relay.name());
    let (letters, events): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.topic == dlq);
    assert_eq!((letters.len(), events.len()), (payloads.len(), payloads.len()));
    for (letter, payload) in letters.iter().zip(payloads) {
        assert_eq!(letter.header("walpost-error-reason"), Some("invalid_json"), "{payload}");
        assert_eq!(letter.value_text(), payload);
    }
    for (event, payload) in events.iter().zip(payloads) {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_str(event.value_text()).unwrap();
        let names: Vec<_> = members.keys().map(String::as_str).collect();
        let expected = ["data", "datacontenttype", "id", "source", "specversion", "time", "type"];
        assert_eq!(names, expected);
        assert_eq!(serde_json::from_str::<String>(members["data"].get()).unwrap(), payload);
    }
}

#[test]
fn control_characters_are_in_no_attribute_and_no_log() {
    let mut relay = Relay::start(&CASE, "binary");
    let columns = ["id", "aggregateid", "type", "subject", "partition_key", "tenant_id", "ext"];
    for column in columns {
        relay.insert(&format!("({column}) values (E'Geheim\\r\\nce_id: x\\u001b[31m')"));
    }
    // As the value of a plain header it is bytes as any other: no client of Kafka's splits lines.
    relay.insert("(headers) values ('{\"h\": \"a\\r\\nce_id: x\"}')");
    let records = relay.finish(columns.len() + 1);
    let dlq = format!("{}.dlq", relay.name());
    let (letters, events): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.topic == dlq);
    assert_eq!(letters.len(), columns.len());
    for letter in letters {
        assert_eq!(letter.header("walpost-error-reason"), Some("control_character"));
        let of_events = letter.headers.iter().filter(|(name, _)| name.starts_with("ce_"));
        for (name, value) in of_events {
            let value = String::from_utf8(value.clone().unwrap()).unwrap();
            assert!(!value.chars().any(char::is_control), "{name}: {value:?}");
        }
    }
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.header("h"), Some("a\r\nce_id: x"));
    assert_eq!(event.header("ce_id"), Some("e1"));
    let log = relay.log();
    assert!(!log.contains("Geheim") && !log.contains('\u{1b}'), "{log}");
}

/// A payload that is an event itself is the data of its row's event, and no event.
#[test]
fn an_event_in_a_payload_is_data() {
    let payload = r#"{"specversion":"1.0","id":"x","source":"/evil","type":"Evil"}"#;
    for mode in ["binary", "structured"] {
        let mut relay = Relay::start(&CASE, mode);
        let row = format!("(payload) values ('{payload}')");
        relay.insert(&row);
        for content_type in ["application/cloudevents+json", "APPLICATION/CLOUDEVENTS-batch+json"] {
            relay
                .insert(&format!("(payload, content_type) values ('{payload}', '{content_type}')"));
        }
        let records = relay.finish(3);
        // Records of two topics come in any order.
        let dlq = format!("{}.dlq", relay.name());
        let (letters, events): (Vec<_>, Vec<_>) =
            records.iter().partition(|record| record.topic == dlq);
        let [event] = events.as_slice() else { panic!("{events:?}") };
        let event = sdk::event(event);
        assert_eq!((event.id(), event.ty()), ("e1", "Placed"));
        assert_eq!(letters.len(), 2);
        for letter in letters {
            assert_eq!(letter.header("walpost-error-reason"), Some("invalid_media_type"));
            assert_eq!(letter.header("content-type"), None);
        }
    }
}
