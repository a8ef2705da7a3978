//! Goal: the payload's bytes reach the consumer as Postgres has them, whatever they are.
//! Method: payloads that a parser would change or refuse, in every type of column, in both modes.

use super::relay::Relay;
use super::{Case, EVENT};
use crate::servers::Record;

/// Payloads of every text type beside each other; the row says which one it has.
const TABLE: &str = "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload PAYLOAD)";

fn case(table: &'static str) -> Case {
    Case { title: "", about: "", table, settings: &[], common: EVENT, examples: &[] }
}

/// What parsers change or refuse, and Postgres takes as `json`.
fn payloads() -> Vec<String> {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    vec![
        // Numbers beyond what a double holds, in size and in digits.
        "12345678901234567890123456789012345678901234567890".to_owned(),
        "[1e400, -1E-400, 0.10, -0, 1.7976931348623157e309]".to_owned(),
        // Members that are there twice, in this order.
        r#"{"b":1,"a":2,"b":3,"a":{"a":1,"a":2}}"#.to_owned(),
        deep(200),
        objects,
        // White space around and within.
        " \t\n{ \"a\" :\r\n1 } \n\n".to_owned(),
        // Escapes that a printer would write otherwise.
        r#"["\u00fc", "ü", "\/", "/", "\u0041", "😀", "\ud83d\ude00", "\u2028", "\u007f"]"#
            .to_owned(),
        // Half a surrogate pair is a valid escape by the grammar.
        r#"["\ud800", "\udfff x"]"#.to_owned(),
        "\"\"".to_owned(),
        "null".to_owned(),
        format!("{{\"large\":\"{}\"}}", "0123456789".repeat(7_000)),
    ]
}

/// The text as an SQL literal.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Inserts payloads and returns the values of their records, in order.
#[track_caller]
fn relayed(column: &str, mode: &str, payloads: &[String]) -> Vec<Record> {
    let table: &'static str = Box::leak(TABLE.replace("PAYLOAD", column).into_boxed_str());
    let mut relay = Relay::start(&case(table), mode);
    for payload in payloads {
        relay.insert(&format!("(payload) values ({})", literal(payload)));
    }
    let records = relay.finish(payloads.len());
    assert_eq!(records.len(), payloads.len());
    let topic = format!("{}.order", relay.name());
    assert!(records.iter().all(|record| record.topic == topic), "{records:?}");
    records
}

#[track_caller]
fn check(column: &str, payloads: &[String]) {
    for (record, payload) in relayed(column, "binary", payloads).iter().zip(payloads) {
        assert_eq!(record.value_text(), payload, "{column}");
    }
    for (record, payload) in relayed(column, "structured", payloads).iter().zip(payloads) {
        let end = format!(",\"datacontenttype\":\"application/json\",\"data\":{payload}}}");
        assert!(record.value_text().ends_with(&end), "{column}: {payload}");
        // The whole is still one JSON object, whose depth does not matter to this reader.
        let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
            serde_json::from_str(record.value_text()).unwrap();
        assert_eq!(members["data"].get(), payload.trim(), "{column}");
    }
}

#[test]
fn a_json_column_is_sent_byte_for_byte() {
    check("json", &payloads());
}

#[test]
fn a_text_column_is_sent_byte_for_byte() {
    check("text", &payloads());
    check("varchar", &payloads());
}

/// Postgres has parsed these: what it prints is what is sent.
#[test]
fn a_jsonb_column_is_sent_as_postgres_prints_it() {
    let taken: Vec<_> = payloads()
        .into_iter()
        // `jsonb` itself refuses these.
        .filter(|payload| !payload.contains("\\ud800") && !payload.contains("1e400"))
        .collect();
    let database = super::relay::server().database("printed");
    let printed: Vec<_> = taken
        .iter()
        .map(|payload| database.value(&format!("select {}::jsonb::text", literal(payload))))
        .collect();
    for (record, printed) in relayed("jsonb", "binary", &taken).iter().zip(&printed) {
        assert_eq!(record.value_text(), printed);
    }
    for (record, printed) in relayed("jsonb", "structured", &taken).iter().zip(&printed) {
        assert!(record.value_text().ends_with(&format!("\"data\":{printed}}}")), "{printed}");
    }
}

#[test]
fn a_bytea_column_is_sent_byte_for_byte() {
    use base64::Engine as _;
    let bytes: Vec<Vec<u8>> = vec![
        (0..=255).collect(),
        vec![],
        vec![0],
        // An Avro record in Confluent's framing.
        vec![0, 0, 0, 0, 1, 0x82, 0x80],
        b"{\"specversion\":\"1.0\"}".to_vec(),
        (0..=255).cycle().take(70_000).collect(),
    ];
    let texts: Vec<String> = bytes
        .iter()
        .map(|bytes| {
            "\\x".to_owned() + &bytes.iter().map(|b| format!("{b:02X}")).collect::<String>()
        })
        .collect();
    for (record, bytes) in relayed("bytea", "binary", &texts).iter().zip(&bytes) {
        assert_eq!(record.value.as_ref(), Some(bytes));
        assert_eq!(record.header("content-type"), Some("application/octet-stream"));
    }
    for (record, bytes) in relayed("bytea", "structured", &texts).iter().zip(&bytes) {
        let envelope = record.value_json();
        let data = envelope["data_base64"].as_str().unwrap();
        assert_eq!(&base64::engine::general_purpose::STANDARD.decode(data).unwrap(), bytes);
        assert_eq!(envelope.get("data"), None);
        let event = crate::sdk::event(record);
        assert!(matches!(event.data(), Some(cloudevents::Data::Binary(data)) if data == bytes));
    }
}
