//! Structured mode: one envelope, which no row can forge.

use super::fixture::*;
use crate::cloudevent::Reason;
use crate::cloudevent::options::NullPayload;

const HEAD: &str = "{\"specversion\":\"1.0\",\"id\":\"6e8bc430-9c3a-11d9-9669-0800200c9a66\",\
    \"source\":\"/shop/public/outbox\",\"type\":\"OrderCreated\",\"subject\":\"42\",\
    \"time\":\"2024-05-01T10:00:00.123456Z\"";

#[track_caller]
fn check(case: &Case, tail: &str) {
    let record = case.clone().structured().record();
    assert_eq!(record.text(), format!("{HEAD}{tail}}}"));
}

#[test]
fn a_row_becomes_one_object_and_one_header() {
    check(&order(), ",\"datacontenttype\":\"application/json\",\"data\":{\"total\": 12.30}");
    let record = order().structured().record();
    assert_eq!(
        record.header_lines(),
        ["content-type: application/cloudevents+json; charset=UTF-8"]
    );
    assert_eq!(record.key.as_deref(), Some(b"42".as_slice()));
}

#[test]
fn plain_headers_stay_headers() {
    let record = order()
        .with("traceparent", TEXT, "00-a")
        .with("headers", JSON, "{\"x\":1}")
        .set(|options| options.debezium_headers = true)
        .structured()
        .record();
    assert_eq!(
        record.header_lines(),
        [
            "content-type: application/cloudevents+json; charset=UTF-8",
            "traceparent: 00-a",
            "id: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "eventType: OrderCreated",
            "x: 1",
        ]
    );
    assert!(record.text().contains(",\"traceparent\":\"00-a\","));
}

#[test]
fn json_is_spliced_in_untouched() {
    let deep = format!("{}1{}", "{\"a\":[".repeat(150), "]}".repeat(150));
    for payload in [
        "{\"a\": 12345678901234567890123, \"a\": 1e400, \"b\": 1.10}",
        " \n[1, 2]\t",
        "null",
        "\"\\ud800 \\u0000\"",
        &deep,
    ] {
        for oid in [JSON, TEXT] {
            let tail = format!(",\"datacontenttype\":\"application/json\",\"data\":{payload}");
            check(&order().with("payload", oid, payload), &tail);
        }
    }
}

#[test]
fn text_that_is_no_json_never_reaches_the_envelope() {
    for payload in ["1,\"source\":\"/evil\"", "1}", "", "\"", "{}{}", "\u{feff}1"] {
        let bad = order().with("payload", TEXT, payload).structured().bad();
        assert_eq!((bad.attribute.as_ref(), bad.reason), ("payload", Reason::InvalidJson));
    }
    let invalid = order().with("payload", JSON, b"\"\xff\"").structured().bad();
    assert_eq!(invalid.reason, Reason::NotRepresentable, "a database without encoding");
}

#[test]
fn other_text_is_a_json_string() {
    let case = order().with("payload", TEXT, "1,\"source\":\"/evil\"\n\\").with(
        "content_type",
        TEXT,
        "text/plain",
    );
    check(
        &case,
        ",\"datacontenttype\":\"text/plain\",\"data\":\"1,\\\"source\\\":\\\"/evil\\\"\\u000a\\\\\"",
    );
    let empty = order().with("payload", TEXT, "").with("content_type", TEXT, "text/plain");
    check(&empty, ",\"datacontenttype\":\"text/plain\",\"data\":\"\"");
    // JSON by column, but not by label: a string too.
    let label = order().with("content_type", TEXT, "text/plain");
    check(&label, ",\"datacontenttype\":\"text/plain\",\"data\":\"{\\\"total\\\": 12.30}\"");
    check(
        &order().with("payload", BOOL, "t"),
        ",\"datacontenttype\":\"text/plain\",\"data\":\"true\"",
    );
}

#[test]
fn a_bytea_is_base64_whatever_its_label() {
    check(
        &order().with("payload", BYTEA, "\\x00ff"),
        ",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"AP8=\"",
    );
    check(
        &order().with("payload", BYTEA, "\\x7b7d").with("content_type", TEXT, "application/json"),
        ",\"datacontenttype\":\"application/json\",\"data_base64\":\"e30=\"",
    );
    check(
        &order().with("payload", BYTEA, "\\x"),
        ",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"\"",
    );
}

#[test]
fn a_null_payload_is_no_data() {
    let null = order().with_null("payload", JSONB);
    check(&null, "");
    check(&null.clone().set(|options| options.null_payload = NullPayload::Empty), "");
    let refused = null.set(|options| options.null_payload = NullPayload::Reject).structured().bad();
    assert_eq!(refused.reason, Reason::Missing);
}

#[test]
fn attributes_are_escaped() {
    let case = order()
        .with("type", TEXT, "a\",\"source\":\"/evil")
        .with("aggregateid", TEXT, "\\\"{")
        .structured();
    let value: serde_json::Value = serde_json::from_str(case.record().text()).expect("JSON");
    assert_eq!(value["source"], "/shop/public/outbox");
    assert_eq!(value["type"], "a\",\"source\":\"/evil");
    assert_eq!(value["subject"], "\\\"{");
}

#[test]
fn extensions_keep_their_types() {
    let extensions = ["b", "s", "i", "l", "t", "u", "y", "n", "d", "x"];
    let case = order()
        .with("b", BOOL, "t")
        .with("s", INT2, "-1")
        .with("i", INT4, "2147483647")
        .with("l", INT8, "9007199254740993")
        .with("t", TIMESTAMPTZ, "2024-05-01 10:00:00+00")
        .with("u", TIMESTAMP, "2024-05-01 10:00:00")
        .with("y", BYTEA, "\\x00ff")
        .with("n", NUMERIC, "1.10")
        .with("d", DATE, "2024-05-01")
        .with("x", BPCHAR, "ab   ")
        .set(|options| {
            options.time_zone = "Europe/Berlin".into();
            options.extensions =
                extensions.iter().map(|name| (format!("x{name}"), (*name).into())).collect();
        });
    let expected = [
        ("xb", "true", "true"),
        ("xs", "-1", "-1"),
        ("xi", "2147483647", "2147483647"),
        ("xl", "\"9007199254740993\"", "9007199254740993"),
        ("xt", "\"2024-05-01T10:00:00Z\"", "2024-05-01T10:00:00Z"),
        ("xu", "\"2024-05-01T08:00:00Z\"", "2024-05-01T08:00:00Z"),
        ("xy", "\"AP8=\"", "AP8="),
        ("xn", "\"1.10\"", "1.10"),
        ("xd", "\"2024-05-01\"", "2024-05-01"),
        ("xx", "\"ab\"", "ab"),
    ];
    let binary = case.record();
    for (name, _, header) in expected {
        assert_eq!(binary.header(&format!("ce_{name}")), Some(header), "{name}");
    }
    let members: String =
        expected.iter().map(|(name, member, _)| format!(",\"{name}\":{member}")).collect();
    check(
        &case,
        &format!(
            "{members},\"datacontenttype\":\"application/json\",\"data\":{{\"total\": 12.30}}"
        ),
    );
}

#[test]
fn what_is_written_without_quotes_is_a_number_whatever_the_server_prints() {
    for printed in ["1,\"source\":\"/evil\"", "007", "+1", "1e5", "NaN"] {
        let case = order()
            .with("n", INT4, printed)
            .set(|options| options.extensions = vec![("n".into(), "n".into())])
            .structured();
        let value: serde_json::Value = serde_json::from_str(case.record().text()).expect("JSON");
        assert_eq!(value["n"], printed);
        assert_eq!(value["source"], "/shop/public/outbox");
    }
}
