//! Payloads of a schema: what each mode makes of the record.

use super::fixture::*;
use crate::cloudevent::options::{NullPayload, SchemaMode, SchemaOptions};
use crate::cloudevent::{Encoder, Reason, Unencoded};
use crate::outbox::template::Template;
use crate::postgres::timestamp::PgTimestamp;
use crate::registry::client::{Kind, Registered};
use crate::registry::options::{BaseUrl, RegistryOptions};
use crate::registry::schema::Schema;
use crate::registry::schemas::Schemas;

const URL: &str = "https://registry:8081";

const JSON_SCHEMA: &str =
    r#"{"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}"#;

const AVRO_SCHEMA: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "total",
    "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}}]}"#;

const GUID: [u8; 16] = *b"\x01\x89\x79\x17\x62\x23\x10\x41\xb3\xb8\xf6\x3f\xbb\x9d\xd6\xf1";

fn in_mode(mode: SchemaMode) -> Case {
    let subject = Template::parse("{topic}-value").expect("a template");
    order().set(|options| options.schemas = Some(SchemaOptions { mode, subject, message: None }))
}

fn schemas() -> Schemas {
    let url = BaseUrl::parse(URL).expect("a url");
    let refresh = std::time::Duration::from_secs(300);
    Schemas::new(RegistryOptions { url, user: None, ca: None, refresh }, false)
}

/// Schema 258 under the subject of an order.
fn knowing(kind: Kind, text: &str) -> Schemas {
    let registered = Registered {
        id: 258,
        version: 3,
        guid: Some(GUID),
        kind,
        text: text.to_owned(),
        references: Vec::new(),
    };
    let schemas = schemas();
    let schema = Schema::new(URL, registered, &[]).expect("a schema");
    schemas.know("outbox.event.order-value", schema);
    schemas
}

fn encode(case: &Case, schemas: &Schemas) -> Result<Record, Unencoded> {
    case.run(|_, mapping, row| {
        let encoder = Encoder::new(&case.options).expect("an encoder");
        let mut encoder = encoder.with_schemas(&case.options, Some(schemas.clone()));
        encoder.encode(mapping, row, PgTimestamp(0)).map(Record::of)
    })
}

#[track_caller]
fn record(case: &Case, kind: Kind, text: &str) -> Record {
    encode(case, &knowing(kind, text)).expect("a good row")
}

#[track_caller]
fn check_bad(case: &Case, kind: Kind, text: &str, words: &str) {
    let Err(Unencoded::Bad(bad)) = encode(case, &knowing(kind, text)) else {
        panic!("{words}: a good row")
    };
    assert_eq!((bad.attribute.as_ref(), bad.reason), ("payload", Reason::SchemaMismatch));
    assert!(bad.message.contains(words), "{}", bad.message);
    assert!(!bad.message.contains("hunter2"), "{}", bad.message);
}

#[test]
fn a_checked_payload_is_the_payload() {
    let case = in_mode(SchemaMode::Validate);
    let found = record(&case, Kind::Json, JSON_SCHEMA);
    assert_eq!(found.text(), "{\"total\": 12.30}");
    let address = format!("{URL}/schemas/ids/258");
    assert_eq!(found.header("ce_dataschema"), Some(address.as_str()));
    assert_eq!(found.header("content-type"), Some("application/json"));
    // An Avro schema checks JSON too.
    let found = record(&case, Kind::Avro, AVRO_SCHEMA);
    assert_eq!(
        (found.text(), found.header("content-type")),
        ("{\"total\": 12.30}", Some("application/json"))
    );

    let structured = record(&case.clone().structured(), Kind::Json, JSON_SCHEMA);
    let envelope: serde_json::Value = serde_json::from_str(structured.text()).expect("JSON");
    assert_eq!(envelope["dataschema"], address);
    assert!(structured.text().contains("\"data\":{\"total\": 12.30}"), "{}", structured.text());

    let own = case.clone().with("dataschema", TEXT, "https://example.com/order");
    let found = record(&own, Kind::Json, JSON_SCHEMA);
    assert_eq!(found.header("ce_dataschema"), Some("https://example.com/order"));

    let wrong = case.with("payload", JSONB, "{\"total\": \"hunter2\"}");
    check_bad(&wrong, Kind::Json, JSON_SCHEMA, "/properties/total/type");
    check_bad(&wrong.clone().structured(), Kind::Json, JSON_SCHEMA, "/properties/total/type");
    check_bad(&wrong, Kind::Avro, AVRO_SCHEMA, "at total");
}

#[test]
fn a_framed_value_begins_with_a_zero_byte_and_the_id() {
    let case = in_mode(SchemaMode::Prefix);
    let found = record(&case, Kind::Json, JSON_SCHEMA);
    assert_eq!(found.value.as_deref(), Some(&b"\0\0\0\x01\x02{\"total\": 12.30}"[..]));
    assert_eq!(found.header("content-type"), Some("application/json"));
    let found = record(&case, Kind::Avro, AVRO_SCHEMA);
    assert_eq!(found.value.as_deref(), Some(&b"\0\0\0\x01\x02\x04\x04\xce"[..]));
    assert_eq!(found.header("content-type"), Some("application/avro"));
    // Framing counts against the limit.
    let size = record(&case, Kind::Json, JSON_SCHEMA);
    let headers: usize = size.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let whole = headers + size.key.map_or(0, |key| key.len()) + size.value.map_or(0, |v| v.len());
    let small = case.set(|options| options.max_event = whole - 1);
    let Err(Unencoded::Bad(bad)) = encode(&small, &knowing(Kind::Json, JSON_SCHEMA)) else {
        panic!("an event of {whole} bytes")
    };
    assert_eq!(bad.reason, Reason::TooLarge);
}

#[test]
fn a_header_has_the_guid_and_no_row_can_give_another() {
    let case = in_mode(SchemaMode::Header).with(
        "headers",
        JSONB,
        "{\"a\": \"b\", \"__VALUE_schema_id\": \"forged\"}",
    );
    let found = record(&case, Kind::Json, JSON_SCHEMA);
    assert_eq!(found.text(), "{\"total\": 12.30}");
    let guids: Vec<_> = found
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("__value_schema_id"))
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(guids, [[&[1][..], &GUID].concat()]);
    assert_eq!(found.left_out_headers, 1);
    let found = record(&case, Kind::Avro, AVRO_SCHEMA);
    assert_eq!(found.value.as_deref(), Some(&b"\x04\x04\xce"[..]));
}

#[test]
fn a_null_payload_is_of_no_schema() {
    for mode in [SchemaMode::Validate, SchemaMode::Prefix, SchemaMode::Header] {
        let null = in_mode(mode).with_null("payload", JSONB);
        let found = encode(&null, &schemas()).expect("no schema is asked for");
        assert_eq!((found.value.as_deref(), found.header("ce_dataschema")), (None, None));
        let empty = null.set(|options| options.null_payload = NullPayload::Empty);
        let found = encode(&empty, &schemas()).expect("no schema is asked for");
        assert_eq!(found.value.as_deref(), Some(&b""[..]));
    }
}

#[test]
fn a_schema_that_is_not_known_is_asked_for_by_its_subject() {
    #[track_caller]
    fn check(template: &str, expected: &str) {
        let subject = Template::parse(template).expect(template);
        let mode = SchemaMode::Validate;
        let case = order()
            .set(|options| options.schemas = Some(SchemaOptions { mode, subject, message: None }));
        let asked = encode(&case, &schemas());
        assert_eq!(asked, Err(Unencoded::NeedsSchema(expected.to_owned())), "{template}");
    }
    check("{topic}-value", "outbox.event.order-value");
    check("{topic}-{type}", "outbox.event.order-OrderCreated");
    check("{type}", "OrderCreated");
    check("acme.{aggregate_type}", "acme.order");
}

#[test]
fn a_payload_that_is_no_json_does_not_pass_by_a_schema() {
    let case = in_mode(SchemaMode::Validate);
    let text = case.clone().with("payload", TEXT, "hunter2").set(|options| {
        options.datacontenttype = Some("text/plain".to_owned());
    });
    check_bad(&text, Kind::Json, JSON_SCHEMA, "not labelled as JSON");
    let bytes = case.clone().with("payload", BYTEA, "\\x7b22746f74616c223a317d");
    check_bad(&bytes, Kind::Json, JSON_SCHEMA, "not labelled as JSON");
    let labelled = bytes.set(|options| {
        options.datacontenttype = Some("application/json".to_owned());
    });
    assert_eq!(record(&labelled, Kind::Json, JSON_SCHEMA).text(), "{\"total\":1}");
    let broken = labelled.with("payload", BYTEA, "\\x7b22");
    let Err(Unencoded::Bad(bad)) = encode(&broken, &knowing(Kind::Json, JSON_SCHEMA)) else {
        panic!("broken JSON")
    };
    assert_eq!(bad.reason, Reason::InvalidJson);
}

#[test]
fn a_message_is_the_first_of_its_schema_or_the_one_that_the_template_names() {
    const MESSAGES: &str = "syntax = \"proto3\"; package acme;
        message Order { double total = 1; } message OrderCreated { string total = 1; }";
    let case = in_mode(SchemaMode::Prefix);
    let found = record(&case, Kind::Protobuf, MESSAGES);
    let total = 12.30_f64.to_le_bytes();
    let expected = [&b"\0\0\0\x01\x02\0\x09"[..], &total].concat();
    assert_eq!(found.value.as_deref(), Some(expected.as_slice()));
    assert_eq!(found.header("content-type"), Some("application/x-protobuf"));

    let by = |template: &str| {
        let message = Template::parse(template).expect(template);
        case.clone().set(|options| {
            if let Some(schemas) = &mut options.schemas {
                schemas.message = Some(message.clone());
            }
        })
    };
    let text = by("acme.{type}").with("payload", JSONB, "{\"total\": \"x\"}");
    let found = record(&text, Kind::Protobuf, MESSAGES);
    assert_eq!(found.value.as_deref(), Some(&b"\0\0\0\x01\x02\x02\x02\x0a\x01x"[..]));
    check_bad(&by("{type}"), Kind::Protobuf, MESSAGES, "at total: a text is expected");
    check_bad(&by("{aggregate_type}"), Kind::Protobuf, MESSAGES, "WALPOST_REGISTRY_MESSAGE");
    // A schema of one type has nothing to choose.
    let found = record(&by("{type}"), Kind::Avro, AVRO_SCHEMA);
    assert_eq!(found.value.as_deref(), Some(&b"\0\0\0\x01\x02\x04\x04\xce"[..]));
}
