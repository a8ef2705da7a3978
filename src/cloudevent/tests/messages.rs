//! Goal: a message becomes the event of the row that has its members as columns, and one that
//! cannot be read is a bad row with all of it in its letter.
//! Method: messages and rows side by side, through the same encoder.

use super::fixture::*;
use crate::cloudevent::options::{EventOptions, Mode, NullPayload};
use crate::cloudevent::{BadRow, DeadLetterContext, Encoder, Unencoded};
use crate::lsn::Position;
use crate::outbox::message::{MessageReader, MessageRow};
use crate::outbox::role::{ColumnChoice, Role};
use crate::outbox::row::RowScratch;
use crate::outbox::template::Template;
use crate::postgres::timestamp::PgTimestamp;

const ORDER: &str = r#""id": "6e8bc430-9c3a-11d9-9669-0800200c9a66", "aggregatetype": "order",
    "aggregateid": "42", "type": "OrderCreated""#;

/// The members of an order and `more`.
fn order_and(more: &str) -> String {
    format!("{{{ORDER}, {more}}}")
}

/// Reads twice, with another message between, so that nothing of one is left in the other.
fn read<T>(
    options: &EventOptions,
    message: &[u8],
    then: impl FnOnce(&mut Encoder, &MessageRow<'_>) -> T,
) -> T {
    let mut reader = MessageReader::new("shop", options).expect("a reader");
    let mut encoder = Encoder::new(options).expect("an encoder");
    let mut scratch = RowScratch::new();
    let first = reader.read(&mut scratch, message).bad;
    let other =
        br#"{"id": 7, "payload": null, "type": "\u00e9", "topic": "elsewhere", "created_at": 5}"#;
    drop(reader.read(&mut scratch, other).bad);
    let second = reader.read(&mut scratch, message);
    assert_eq!(first, second.bad);
    then(&mut encoder, &second)
}

fn encode(options: &EventOptions, message: &[u8]) -> Result<Record, BadRow> {
    let commit_time = PgTimestamp::from_unix_micros(COMMIT_TIME);
    read(options, message, |encoder, message| {
        if let Some(bad) = &message.bad {
            return Err(bad.clone());
        }
        let event = encoder.encode(&message.mapping, &message.row, commit_time);
        event.map(Record::of).map_err(|refused| match refused {
            Unencoded::Bad(bad) => bad,
            Unencoded::NeedsSchema(subject) => panic!("no registry, but {subject}"),
        })
    })
}

fn letter(options: &EventOptions, message: &[u8]) -> Record {
    let bad = encode(options, message).expect_err("a bad row");
    read(options, message, |encoder, message| {
        let found = DeadLetterContext {
            largest: usize::MAX,
            topic: "walpost.dlq",
            connector: "shop.walpost",
            position: Position::default(),
            commit_time: PgTimestamp::from_unix_micros(COMMIT_TIME),
            now_unix_micros: COMMIT_TIME,
        };
        Record::of(encoder.dead_letter(&message.mapping, &message.row, &bad, &found))
    })
}

/// The event is that of the row, but for where it came from.
#[track_caller]
fn check(message: &str, row: &Case) {
    for mode in [Mode::Binary, Mode::Structured] {
        let row = row.clone().set(|options| options.mode = mode);
        let mut expected = row.record();
        let source = |text: &[u8]| {
            let text = String::from_utf8(text.to_vec()).expect("UTF-8");
            text.replace("/shop/public/outbox", "/shop/pg_logical_emit_message/shop").into_bytes()
        };
        expected.headers.iter_mut().for_each(|(_, value)| *value = source(value));
        expected.value = expected.value.as_deref().map(source);
        let found = encode(&row.options, message.as_bytes());
        assert_eq!(found, Ok(expected), "{message}");
    }
}

#[track_caller]
fn check_bad(message: impl AsRef<[u8]>, attribute: &str, reason: &str, message_has: &str) {
    let bad = encode(&options(), message.as_ref()).expect_err("a bad row");
    assert_eq!((&*bad.attribute, bad.reason.word()), (attribute, reason), "{bad}");
    assert!(bad.message.contains(message_has), "{bad}");
}

#[test]
fn a_message_becomes_the_event_of_the_row_with_its_members() {
    check(&order_and(r#""payload": {"total": 12.30}"#), &order());
    // The member's place and the white space around it do not matter; that within the payload stays.
    let message = format!(" \n{{\"payload\" :\t{{\"total\": 12.30}} ,{ORDER}\r}} ");
    check(&message, &order());
    let payload = r#"{ "b":[ 1.0e2 ,-0,"é" ],"a" : {} }"#;
    check(&order_and(&format!("\"payload\":{payload}")), &order().with("payload", JSON, payload));
}

#[test]
fn names_are_those_of_columns() {
    let message = r#"{"event_id": "6e8bc430-9c3a-11d9-9669-0800200c9a66", "aggregate_type": "order",
        "aggregate_id": "42", "\u0065vent_type": "OrderCreated", "data": {"total": 12.30}}"#;
    check(message, &order());
    // The first name that a role is looked for under wins, null as it may be.
    let both = order_and(r#""aggregate_id": "43", "payload": {"total": 12.30}"#);
    check(&both, &order().with("aggregate_id", TEXT, "43"));
    let null = order_and(r#""payload": null, "data": {}"#);
    check(&null, &order().with_null("payload", JSONB).with("data", JSONB, "{}"));
}

#[test]
fn every_role_has_its_member() {
    let message = order_and(
        r#""payload": {}, "occurred_at": "2024-05-01T12:00:00.123456+02:00", "content_type": "text/x",
        "dataschema": "urn:schema", "source": "/mine", "subject": "about", "partition_key": "p",
        "topic": "elsewhere", "headers": {"a": "b", "c": [1]}, "traceparent": "00-a",
        "tracestate": "x=1", "correlation_id": "co", "causation_id": "ca", "tenant": 7,
        "schema_version": 2"#,
    );
    let row = order()
        .with("payload", JSON, "{}")
        .with("occurred_at", TIMESTAMPTZ, "2024-05-01 10:00:00.123456+00")
        .with("content_type", TEXT, "text/x")
        .with("dataschema", TEXT, "urn:schema")
        .with("source", TEXT, "/mine")
        .with("subject", TEXT, "about")
        .with("partition_key", TEXT, "p")
        .with("topic", TEXT, "elsewhere")
        .with("headers", JSON, r#"{"a": "b", "c": [1]}"#)
        .with("traceparent", TEXT, "00-a")
        .with("tracestate", TEXT, "x=1")
        .with("correlation_id", TEXT, "co")
        .with("causation_id", TEXT, "ca")
        .with("tenant", INT4, "7")
        .with("schema_version", INT4, "2");
    let versioned = |options: &mut EventOptions| {
        options.type_template = Template::parse("com.{type}.v{schema_version}").expect("template");
    };
    check(&message, &row.set(versioned));
    let span =
        order_and(r#""payload": {}, "tracingspancontext": "traceparent=00-b\ntracestate=y=2""#);
    let text = "traceparent=00-b\ntracestate=y=2";
    check(&span, &order().with("payload", JSON, "{}").with("tracingspancontext", TEXT, text));
}

#[test]
fn each_json_value_is_a_column_of_its_type() {
    let with = |value: &str| order_and(&format!("\"payload\": {{}}, \"extra\": {value}"));
    let row = |oid: u32, printed: &str| {
        let row = order().with("payload", JSON, "{}").with("extra", oid, printed);
        row.set(|options| options.extensions = vec![("extra".into(), "extra".into())])
    };
    check(&with("\"a\\\"\\u00e9\\ud83d\\ude00\\/b\""), &row(TEXT, "a\"é😀/b"));
    check(&with("-5"), &row(INT4, "-5"));
    check(&with("2147483648"), &row(INT8, "2147483648"));
    check(&with("9223372036854775808"), &row(NUMERIC, "9223372036854775808"));
    check(&with("1.10"), &row(NUMERIC, "1.10"));
    check(&with("1E400"), &row(NUMERIC, "1E400"));
    check(&with("true"), &row(BOOL, "t"));
    check(&with("false"), &row(BOOL, "f"));
    check(&with("[1, 2.0]"), &row(JSON, "[1, 2.0]"));
    let absent = order().with("payload", JSON, "{}").with_null("extra", TEXT);
    let absent = absent.set(|options| options.extensions = vec![("extra".into(), "extra".into())]);
    check(&with("null"), &absent);
    check(&order_and("\"payload\": {}"), &absent);
}

#[test]
fn a_number_as_the_time_has_the_unit_of_the_configuration() {
    let message = order_and(r#""payload": {}, "timestamp": 1714557600123"#);
    check(&message, &order().with("payload", JSON, "{}").with("timestamp", INT8, "1714557600123"));
}

#[test]
fn a_payload_that_is_no_string_is_json_and_a_string_is_its_text() {
    let with = |value: &str| order_and(&format!("\"payload\": {value}"));
    for json in ["5", "-1.50", "true", "[]", "{}", "[null]"] {
        check(&with(json), &order().with("payload", JSON, json));
    }
    check(&with(r#""{\"a\": 1.0}""#), &order().with("payload", TEXT, "{\"a\": 1.0}"));
    check(&with("null"), &order().with_null("payload", JSON));
    check_bad(with(r#""hello""#), "payload", "invalid_json", "is not JSON at byte 0");
    let plain = order_and(r#""payload": "hello\u0000", "content_type": "text/plain""#);
    let row = order().with("payload", TEXT, "hello\0").with("content_type", TEXT, "text/plain");
    let found = encode(&options(), plain.as_bytes()).expect("an event");
    assert_eq!(found.value, row.record().value);
    let reject = |options: &mut EventOptions| options.null_payload = NullPayload::Reject;
    let bad = encode(&order().set(reject).options, with("null").as_bytes()).expect_err("refused");
    assert_eq!(bad.reason.word(), "missing");
}

#[test]
fn columns_that_are_named_are_members_of_that_name() {
    let named = |options: &mut EventOptions| {
        options.columns.insert(Role::AggregateId, ColumnChoice::Named("Order Id".into()));
        options.columns.insert(Role::Payload, ColumnChoice::Named("body".into()));
        options.columns.insert(Role::Time, ColumnChoice::Absent);
        options.topic = Template::parse("{region}.{aggregate_type}.{time}").expect("template");
    };
    let message = r#"{"id": 1, "aggregatetype": "order", "Order Id": 42, "type": "T", "body": 12,
        "region": "eu", "time": "noon"}"#;
    let row = Case { options: options(), columns: Vec::new() }
        .with("id", INT4, "1")
        .with("aggregatetype", TEXT, "order")
        .with("Order Id", INT4, "42")
        .with("type", TEXT, "T")
        .with("body", JSON, "12")
        .with("region", TEXT, "eu")
        .with("time", TEXT, "noon")
        .set(named);
    check(message, &row);
    let bad = encode(
        &row.options,
        br#"{"id": 1, "aggregatetype": "o", "type": "T", "body": {}, "time": "n"}"#,
    );
    let bad = bad.expect_err("no region");
    assert_eq!((&*bad.attribute, bad.reason.word()), ("topic", "missing"), "{bad}");
}

#[test]
fn what_is_missing_is_named() {
    let without = |name: &str| {
        let members = ["id", "aggregatetype", "aggregateid", "type", "payload"];
        let members = members.iter().filter(|member| **member != name);
        let members: Vec<_> = members.map(|member| format!("\"{member}\": \"1\"")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(encode(&options(), without("nothing").as_bytes()).is_ok());
    check_bad(without("id"), "id", "missing", "is NULL");
    check_bad(without("type"), "type", "missing", "type");
    check_bad(without("aggregatetype"), "topic", "missing", "aggregate_type");
    check_bad(without("payload"), "payload", "missing", "a null is written as null");
    let event = encode(&options(), without("aggregateid").as_bytes()).expect("a null key");
    assert_eq!(event.key, None);
    check_bad("{}", "payload", "missing", "not in the message");
}

#[test]
fn what_is_no_object_of_known_members_is_bad() {
    for text in
        ["", "5", "[]", "\"a\"", "null", "{", "{}}", "{\"id\": 1,}", "{id: 1}", "{\"id\": +1}"]
    {
        check_bad(text, "message", "invalid_json", "is not a JSON object, at byte");
    }
    check_bad(b"{\"id\": \"\xff\"}", "message", "not_representable", "convert_to(");
    check_bad(r#"{"id": "\ud800"}"#, "message", "not_representable", "surrogate");
    check_bad(r#"{"\udc00": 1}"#, "message", "not_representable", "surrogate");
    check_bad(r#"{"id": 1, "i\u0064": 1}"#, "message", "invalid_json", "\"id\" twice");
    check_bad(r#"{"id": 1, "created_at": {}}"#, "message", "not_representable", "created_at");
    check_bad(r#"{"id": 1, "headers": 5}"#, "message", "not_representable", "headers");
    check_bad(order_and(r#""payload": 1, "headers": [5]"#), "headers", "invalid_json", "object");
    let unknown = order_and(r#""payload": {}, "secret": 1"#);
    check_bad(&unknown, "message", "illegal_name", "no column of a role");
    let bad = encode(&options(), unknown.as_bytes()).expect_err("an unknown member");
    assert!(!bad.message.contains("secret"), "{bad}");
    check_bad(
        order_and(r#""payload": {}, "aggregateId": 1"#),
        "message",
        "illegal_name",
        "did you mean \"aggregate_id\"?",
    );
    // As deep as it likes: nothing here recurses.
    let deep = "[".repeat(100_000);
    check_bad(order_and(&format!("\"payload\": {deep}")), "message", "invalid_json", "at byte");
}

#[test]
fn a_message_that_cannot_be_read_is_whole_in_its_letter() {
    let lines = |record: &Record| -> Vec<String> {
        let lines = record.header_lines().into_iter();
        lines.filter(|line| line.starts_with("walpost-")).collect()
    };
    for message in [&b"no json"[..], b"{\"id\": \"\xff\"}", br#"{"id": 1, "id": 2}"#] {
        let letter = letter(&options(), message);
        assert_eq!(letter.value.as_deref(), Some(message));
        assert_eq!((letter.key.as_deref(), letter.header("walpost-topic")), (None, None));
        assert_eq!(letter.header("walpost-table"), Some("pg_logical_emit_message.shop"));
        assert_eq!(letter.header("walpost-error-attribute"), Some("message"));
        assert_eq!(lines(&letter).len(), 7, "{letter:?}");
    }
    // One that can be read but for a member keeps its payload, its key and where it should have gone.
    let letter = letter(&options(), order_and(r#""payload": {"a": 1}, "x": 1"#).as_bytes());
    assert_eq!(letter.text(), "{\"a\": 1}");
    assert_eq!(letter.key.as_deref(), Some(b"42".as_slice()));
    assert_eq!(letter.header("walpost-topic"), Some("outbox.event.order"));
    assert_eq!(letter.header("walpost-row-id"), Some("6e8bc430-9c3a-11d9-9669-0800200c9a66"));
}

#[test]
fn a_message_is_bounded_as_a_row_is() {
    let payload = format!("[\"{}\"]", "x".repeat(1_000_000));
    let message = order_and(&format!("\"payload\": {payload}"));
    check_bad(&message, "payload", "too_large", "");
    let letter = letter(&options(), message.as_bytes());
    assert_eq!(letter.value, None);
    assert!(letter.header("walpost-payload-bytes").is_some());
}

#[test]
fn every_prefix_of_a_message_is_a_bad_row() {
    let message = order_and(r#""payload": {"total": [12.30, "\u00e9"]}, "headers": {"a": null}"#);
    assert!(encode(&options(), message.as_bytes()).is_ok());
    for length in 0..message.len() {
        let prefix = &message.as_bytes()[..length];
        let bad = encode(&options(), prefix).expect_err("a prefix");
        assert_eq!(bad.reason.word(), "invalid_json", "{length}");
        assert_eq!(letter(&options(), prefix).value.as_deref(), Some(prefix));
    }
}

#[test]
fn more_shapes_than_are_remembered_are_read_all_the_same() {
    let options = options();
    let mut reader = MessageReader::new("shop", &options).expect("a reader");
    let mut scratch = RowScratch::new();
    let names = [
        "subject",
        "source",
        "topic",
        "traceparent",
        "tracestate",
        "partition_key",
        "correlation_id",
        "causation_id",
        "tenant",
        "schema_version",
        "dataschema",
    ];
    for shape in 0..2_048_usize {
        let mut message = format!("{{{ORDER}, \"payload\": {shape}");
        for (bit, name) in names.iter().enumerate().filter(|(bit, _)| shape >> bit & 1 == 1) {
            message += &format!(", \"{name}\": \"{bit}\"");
        }
        let read = reader.read(&mut scratch, (message + "}").as_bytes());
        assert_eq!(read.bad, None);
        let payload = read.mapping.role(Role::Payload).and_then(|field| read.row.text(field));
        assert_eq!(payload, Some(shape.to_string().as_bytes()));
        let subject = read.mapping.role(Role::Subject).is_some();
        assert_eq!(subject, shape & 1 == 1);
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_become_an_event_or_a_letter(bytes in proptest::collection::vec(0_u8.., 0..200)) {
        if encode(&options(), &bytes).is_err() {
            proptest::prop_assert_eq!(letter(&options(), &bytes).value, Some(bytes));
        }
    }

    #[test]
    fn a_message_with_some_bytes_changed_never_panics(
        changes in proptest::collection::vec((0_usize..600, 0_u8..), 1..4),
    ) {
        let mut message = order_and(r#""payload": {"a": [1]}, "headers": {"a": "b"}"#).into_bytes();
        let length = message.len();
        for (at, byte) in changes {
            message[at % length] = byte;
        }
        if encode(&options(), &message).is_err() {
            let letter = letter(&options(), &message);
            proptest::prop_assert!(letter.header("walpost-error-reason").is_some());
        }
    }
}
