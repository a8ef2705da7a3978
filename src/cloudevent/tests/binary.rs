//! Binary mode: the whole record, and payloads that nobody touches.

use super::fixture::*;

use crate::cloudevent::options::NullPayload;
use crate::cloudevent::{Encoder, Reason, Unencoded};
use crate::outbox::column::TypeNames;
use crate::outbox::{Mapping, RowScratch};
use crate::pgoutput::{self, LogicalMessage};
use crate::postgres::timestamp::PgTimestamp;

#[test]
fn a_row_becomes_headers_and_its_payload() {
    let record = order().record();
    assert_eq!(record.topic, "outbox.event.order");
    assert_eq!(record.key.as_deref(), Some(b"42".as_slice()));
    assert_eq!(record.text(), "{\"total\": 12.30}");
    assert_eq!(
        record.header_lines(),
        [
            "ce_specversion: 1.0",
            "ce_id: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "ce_source: /shop/public/outbox",
            "ce_type: OrderCreated",
            "ce_subject: 42",
            "ce_time: 2024-05-01T10:00:00.123456Z",
            "content-type: application/json",
        ]
    );
    assert_eq!(record.left_out_headers, 0);
}

#[test]
fn a_row_with_all_roles_becomes_all_headers() {
    let record = order()
        .with("created_at", TIMESTAMPTZ, "2024-05-01 09:00:00+00")
        .with("content_type", TEXT, "application/vnd.shop+json")
        .with("dataschema", TEXT, "https://example.com/order.json")
        .with("source", TEXT, "urn:shop")
        .with("subject", TEXT, "order 42")
        .with("partition_key", TEXT, "customer-7")
        .with("topic", TEXT, "orders")
        .with("headers", JSONB, "{\"x\": \"1\"}")
        .with("traceparent", TEXT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with("tracestate", TEXT, "a=1")
        .with("correlation_id", TEXT, "c1")
        .with("causation_id", TEXT, "c2")
        .with("tenant_id", TEXT, "t")
        .with("schema_version", INT4, "2")
        .with("note", TEXT, "not sent")
        .set(|options| {
            options.debezium_headers = true;
            options.type_template =
                crate::outbox::template::Template::parse("com.shop.{type}.v{schema_version}")
                    .expect("template");
        })
        .record();
    assert_eq!(record.topic, "orders");
    assert_eq!(record.key.as_deref(), Some(b"customer-7".as_slice()));
    assert_eq!(
        record.header_lines(),
        [
            "ce_specversion: 1.0",
            "ce_id: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "ce_source: urn:shop",
            "ce_type: com.shop.OrderCreated.v2",
            "ce_subject: order 42",
            "ce_time: 2024-05-01T09:00:00Z",
            "ce_dataschema: https://example.com/order.json",
            "ce_traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ce_tracestate: a=1",
            "ce_partitionkey: customer-7",
            "ce_correlationid: c1",
            "ce_causationid: c2",
            "ce_tenantid: t",
            "content-type: application/vnd.shop+json",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate: a=1",
            "id: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "eventType: OrderCreated",
            "x: 1",
        ]
    );
}

#[test]
fn a_payload_is_sent_as_it_is() {
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let long = format!("\"{}\"", "x".repeat(70_000));
    for payload in [
        "{\"a\": 12345678901234567890123, \"a\": 1e400, \"b\": 1.10}",
        "\t {\"a\" : -0.0}\r\n ",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "null",
        "\"é\u{7f}😀\"",
        &deep,
        &long,
    ] {
        for oid in [JSON, TEXT] {
            let record = order().with("payload", oid, payload).record();
            assert_eq!(record.text(), payload);
            assert_eq!(record.header("content-type"), Some("application/json"));
        }
    }
}

#[track_caller]
fn check_content_type(case: &Case, expected: &str) {
    assert_eq!(case.record().header("content-type"), Some(expected));
}

#[test]
fn the_content_type_is_the_rows_or_configured_or_by_the_columns_type() {
    check_content_type(&order(), "application/json");
    check_content_type(&order().with("payload", TEXT, "1"), "application/json");
    check_content_type(&order().with("payload", BYTEA, "\\x"), "application/octet-stream");
    check_content_type(&order().with("payload", NUMERIC, "1.10"), "text/plain");
    let configured =
        |case: Case| case.set(|options| options.datacontenttype = Some("text/markdown".into()));
    let marked = configured(order().with("payload", TEXT, "# 1"));
    check_content_type(&marked, "text/markdown");
    let own = marked.clone().with("content_type", TEXT, "text/plain; charset=utf-8");
    check_content_type(&own, "text/plain; charset=utf-8");
    check_content_type(&marked.clone().with("content_type", TEXT, ""), "text/markdown");
    check_content_type(&marked.with_null("content_type", TEXT), "text/markdown");
}

#[test]
fn text_that_is_labelled_json_has_to_be_json() {
    for payload in ["", "hello", "{\"a\":1", "1,\"source\":\"/evil\"", "NaN", "01", "1 2"] {
        let bad = order().with("payload", TEXT, payload).bad();
        assert_eq!((bad.attribute.as_ref(), bad.reason), ("payload", Reason::InvalidJson));
        // It is the label that is checked, not the column.
        let plain = order().with("payload", TEXT, payload).with("content_type", TEXT, "text/plain");
        assert_eq!(plain.record().text(), payload);
        let labelled = order().with("payload", TEXT, payload).with(
            "content_type",
            TEXT,
            "application/vnd.a.b+JSON; v=1",
        );
        assert_eq!(labelled.bad().reason, Reason::InvalidJson);
    }
    let bad = order().with("payload", TEXT, "{\"secret\" 1}").bad();
    assert_eq!(
        bad.message,
        "payload is not JSON at byte 10; if it is not meant to be, set \
         WALPOST_CE_DATACONTENTTYPE or a content type column"
    );
}

#[test]
fn a_bytea_is_decoded_and_never_read() {
    let record = order().with("payload", BYTEA, "\\x00ff0a").record();
    assert_eq!(record.value.as_deref(), Some(&[0, 255, 10][..]));
    let labelled =
        order().with("payload", BYTEA, "\\x7b").with("content_type", TEXT, "application/json");
    assert_eq!(labelled.record().text(), "{");
    let empty = order().with("payload", BYTEA, "\\x").record();
    assert_eq!(empty.value.as_deref(), Some(&[][..]), "no bytes, and not null");
    let escaped = order().with("payload", BYTEA, "\\000").bad();
    assert_eq!((escaped.attribute.as_ref(), escaped.reason), ("payload", Reason::NotRepresentable));
}

#[test]
fn other_types_are_sent_as_text() {
    for (oid, printed, sent) in [
        (BOOL, "t", "true"),
        (BOOL, "f", "false"),
        (INT8, "9007199254740993", "9007199254740993"),
        (NUMERIC, "1.10", "1.10"),
        (16_386, "happy", "happy"),
        (1007, "{1,NULL}", "{1,NULL}"),
    ] {
        assert_eq!(order().with("payload", oid, printed).record().text(), sent, "{oid}");
    }
    let padded = order().with("payload", BPCHAR, "{}    ").record();
    assert_eq!(padded.text(), "{}    ", "blanks are part of a payload");
}

#[test]
fn a_null_payload_is_what_was_configured() {
    for oid in [JSONB, TEXT, BYTEA] {
        let null = order().with_null("payload", oid);
        let tombstone = null.record();
        assert_eq!((tombstone.value.as_deref(), tombstone.header("content-type")), (None, None));
        let empty = null.clone().set(|options| options.null_payload = NullPayload::Empty).record();
        assert_eq!(empty.value.as_deref(), Some(&[][..]));
        assert_eq!(empty.header("content-type"), None);
        let refused = null.set(|options| options.null_payload = NullPayload::Reject).bad();
        assert_eq!((refused.attribute.as_ref(), refused.reason), ("payload", Reason::Missing));
    }
}

#[test]
fn a_row_cannot_pass_its_payload_for_an_event() {
    let forged = order()
        .with("payload", TEXT, "{\"specversion\":\"1.0\",\"source\":\"/evil\"}")
        .with("content_type", TEXT, "application/CloudEvents+json; charset=UTF-8");
    let bad = forged.bad();
    assert_eq!((bad.attribute.as_ref(), bad.reason), ("datacontenttype", Reason::InvalidMediaType));
}

#[test]
fn an_event_over_the_limit_is_too_large() {
    let size = {
        let record = order().record();
        let headers: usize =
            record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        headers + 2 + record.text().len()
    };
    let limited = |max| order().set(|options| options.max_event = max);
    assert_eq!(limited(size).encode().map(|_| ()), Ok(()));
    let bad = limited(size - 1).bad();
    assert_eq!((bad.attribute.as_ref(), bad.reason), ("event", Reason::TooLarge));
    let bad = limited(10).bad();
    assert_eq!((bad.attribute.as_ref(), bad.reason), ("payload", Reason::TooLarge));
    assert_eq!(bad.message, "payload is larger than 10 bytes (WALPOST_MAX_EVENT)");
    for mode in [order(), order().structured()] {
        let large = mode.with("payload", BYTEA, format!("\\x{}", "00".repeat(1_000_001)));
        assert_eq!(large.bad().reason, Reason::TooLarge);
    }
}

#[test]
fn what_a_real_server_sends_becomes_events() {
    let recorded = pgoutput::tests::recorded();
    let options = options();
    let mut encoder = Encoder::new(&options).expect("an encoder");
    let (mut types, mut mapping, mut scratch) = (TypeNames::new(), None, RowScratch::new());
    let mut results = Vec::new();
    for message in recorded.iter().take(7) {
        let message = pgoutput::decode(message).expect("recorded");
        if let LogicalMessage::Type(message) = &message {
            types.learn(message);
        } else if let LogicalMessage::Relation(relation) = &message {
            mapping = Some(Mapping::new(relation, &types, &options).expect("an outbox"));
        } else if let LogicalMessage::Insert { tuple, .. } = message {
            let mapping = mapping.as_ref().expect("a relation before its rows");
            let row = mapping.row(&mut scratch, tuple).expect("a row");
            results.push(encoder.encode(mapping, &row, PgTimestamp(0)).map(Record::of));
        }
    }
    let first = results.remove(0).expect("a good row");
    assert_eq!(first.topic, "outbox.event.order");
    assert_eq!(first.key.as_deref(), Some(&[0x00, 0xFF][..]));
    assert_eq!(first.text(), "{\"id\": 9007199254740993, \"total\": 12.30}");
    assert_eq!(
        first.header_lines(),
        [
            "ce_specversion: 1.0",
            "ce_id: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "ce_source: /shop/public/outbox",
            "ce_type: OrderCreated",
            "ce_subject: ö 42",
            "ce_time: 2024-05-01T10:00:00.123456Z",
            "ce_partitionkey: 00ff",
            "content-type: application/json",
            "a: b",
        ]
    );
    let second = results.remove(0).expect_err("a time without a form");
    let Unencoded::Bad(second) = second else { panic!("no registry, but {second:?}") };
    assert_eq!((second.attribute.as_ref(), second.reason), ("time", Reason::NotRepresentable));
}
