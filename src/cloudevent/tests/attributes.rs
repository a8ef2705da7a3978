//! The rules of each attribute, in both modes.

use std::fmt::Write;

use super::fixture::*;
use crate::cloudevent::options::TimeUnit;
use crate::cloudevent::{Encoder, Reason};
use crate::outbox::template::Template;

#[track_caller]
fn check_bad(case: &Case, attribute: &str, reason: Reason) {
    for case in [case.clone(), case.clone().structured()] {
        let bad = case.bad();
        assert_eq!((bad.attribute.as_ref(), bad.reason), (attribute, reason), "{bad}");
        assert!(bad.message.starts_with(&format!("{attribute} ")), "{bad}");
    }
}

/// The value of an attribute in both modes, `None` where there is none.
#[track_caller]
fn check(case: &Case, attribute: &str, expected: Option<&str>) {
    assert_eq!(case.record().header(&format!("ce_{attribute}")), expected, "{attribute}");
    let structured = case.clone().structured().record();
    let value: serde_json::Value = serde_json::from_str(structured.text()).expect("JSON");
    assert_eq!(value.get(attribute).map(|member| member.as_str().expect("text")), expected);
}

#[test]
fn id_and_type_are_there_and_not_empty() {
    for name in ["id", "type"] {
        check_bad(&order().with_null(name, TEXT), name, Reason::Missing);
        check_bad(&order().with(name, TEXT, ""), name, Reason::Empty);
        check_bad(&order().with(name, BPCHAR, "   "), name, Reason::Empty);
        check(&order().with(name, BPCHAR, "a  "), name, Some("a"));
        check(&order().with(name, INT8, "7"), name, Some("7"));
        check(&order().with(name, BOOL, "t"), name, Some("true"));
        check(&order().with(name, BYTEA, "\\x00ff"), name, Some("00ff"));
    }
}

#[test]
fn control_characters_are_refused_in_every_attribute() {
    for (column, attribute) in [
        ("id", "id"),
        ("type", "type"),
        ("source", "source"),
        ("aggregateid", "subject"),
        ("subject", "subject"),
        ("dataschema", "dataschema"),
        ("content_type", "datacontenttype"),
        ("partition_key", "partitionkey"),
        ("traceparent", "traceparent"),
        ("tracestate", "tracestate"),
        ("correlation_id", "correlationid"),
        ("causation_id", "causationid"),
        ("tenant_id", "tenantid"),
        ("region", "region"),
    ] {
        let with = |value: &[u8]| {
            order()
                .with("region", TEXT, "")
                .with(column, TEXT, value)
                .set(|options| options.extensions = vec![("region".into(), "region".into())])
        };
        for value in ["a\r\nce_source: /evil", "\u{7f}", "a\u{85}", "\u{fdd0}", "\u{1ffff}"] {
            check_bad(&with(value.as_bytes()), attribute, Reason::ControlCharacter);
        }
        check_bad(&with(b"\xff"), attribute, Reason::NotRepresentable);
        if !matches!(column, "aggregateid" | "partition_key") {
            check_bad(&with(&[b'a'; 65_537]), attribute, Reason::TooLong);
        }
    }
}

#[test]
fn optional_attributes_are_left_out_when_null_or_empty() {
    for (column, attribute) in [
        ("aggregateid", "subject"),
        ("dataschema", "dataschema"),
        ("partition_key", "partitionkey"),
        ("traceparent", "traceparent"),
        ("tracestate", "tracestate"),
        ("correlation_id", "correlationid"),
        ("causation_id", "causationid"),
        ("tenant_id", "tenantid"),
    ] {
        check(&order().with_null(column, TEXT), attribute, None);
        check(&order().with(column, TEXT, ""), attribute, None);
        check(&order().with(column, BPCHAR, "  "), attribute, None);
    }
    for (oid, empty) in [(TEXT, ""), (BYTEA, "\\x")] {
        let case = order()
            .with("e", oid, empty)
            .set(|options| options.extensions = vec![("e".into(), "e".into())]);
        check(&case, "e", None);
    }
}

#[test]
fn an_override_that_is_null_or_empty_is_none() {
    for (column, attribute, default) in
        [("subject", "subject", "42"), ("source", "source", "/shop/public/outbox")]
    {
        check(&order().with_null(column, TEXT), attribute, Some(default));
        check(&order().with(column, TEXT, ""), attribute, Some(default));
        check(&order().with(column, TEXT, "urn:a"), attribute, Some("urn:a"));
    }
}

#[test]
fn source_is_a_uri_reference_and_dataschema_an_absolute_one() {
    for value in ["a b", "{a}", "%", "é", "http://[::1"] {
        check_bad(&order().with("source", TEXT, value), "source", Reason::InvalidUri);
        check_bad(&order().with("dataschema", TEXT, value), "dataschema", Reason::InvalidUri);
    }
    for value in ["/a", "//h/a", "?a"] {
        check(&order().with("source", TEXT, value), "source", Some(value));
        let bad = order().with("dataschema", TEXT, value);
        check_bad(&bad, "dataschema", Reason::NotAbsoluteUri);
    }
    check(&order().with("dataschema", TEXT, "urn:a"), "dataschema", Some("urn:a"));
}

#[test]
fn a_content_type_is_a_media_type() {
    for value in ["json", "a/b/c", "a/b; c", "application/cloudevents"] {
        let bad = order().with("content_type", TEXT, value);
        check_bad(&bad, "datacontenttype", Reason::InvalidMediaType);
    }
}

#[test]
fn time_is_the_columns_or_that_of_the_commit() {
    let commit_time = Some("2024-05-01T10:00:00.123456Z");
    check(&order(), "time", commit_time);
    check(&order().with_null("created_at", TIMESTAMPTZ), "time", commit_time);
    let column = |oid, value: &str| order().with("created_at", oid, value);
    check(
        &column(TIMESTAMPTZ, "2023-01-02 03:04:05.6+00"),
        "time",
        Some("2023-01-02T03:04:05.600000Z"),
    );
    check(&column(TIMESTAMP, "2023-01-02 03:04:05"), "time", Some("2023-01-02T03:04:05Z"));
    check(&column(DATE, "2023-01-02"), "time", Some("2023-01-02T00:00:00Z"));
    check(&column(INT8, "1714557600123"), "time", Some("2024-05-01T10:00:00.123000Z"));
    check(&column(TEXT, "2023-01-02T03:04:05+01:00"), "time", Some("2023-01-02T02:04:05Z"));
    let seconds = column(INT4, "1714557600").set(|options| options.time_unit = TimeUnit::Seconds);
    check(&seconds, "time", Some("2024-05-01T10:00:00Z"));
    let berlin =
        column(TIMESTAMP, "2023-07-02 03:04:05").set(|o| o.time_zone = "Europe/Berlin".into());
    check(&berlin, "time", Some("2023-07-02T01:04:05Z"));
    for (oid, value) in [
        (TIMESTAMPTZ, "infinity"),
        (TIMESTAMP, "-infinity"),
        (DATE, "infinity"),
        (TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC"),
        (TIMESTAMPTZ, "10000-01-01 00:00:00+00"),
        (TEXT, ""),
        (TEXT, "yesterday"),
    ] {
        check_bad(&column(oid, value), "time", Reason::NotRepresentable);
    }
}

#[test]
fn an_extension_of_a_time_without_a_form_is_a_bad_row() {
    let case = order()
        .with("until", TIMESTAMPTZ, "infinity")
        .set(|options| options.extensions = vec![("expirytime".into(), "until".into())]);
    check_bad(&case, "expirytime", Reason::NotRepresentable);
}

#[test]
fn a_type_template_needs_all_its_columns() {
    let case = order().with("schema_version", TEXT, "2").set(|options| {
        options.type_template = Template::parse("com.shop.{type}.v{schema_version}").expect("one");
    });
    check(&case, "type", Some("com.shop.OrderCreated.v2"));
    check_bad(&case.clone().with_null("schema_version", TEXT), "type", Reason::Missing);
    check_bad(&case.with("schema_version", TEXT, ""), "type", Reason::Empty);
}

#[test]
fn a_bytea_aggregate_id_is_hexadecimal_in_subject() {
    check(&order().with("aggregateid", BYTEA, "\\x00ff"), "subject", Some("00ff"));
    check(&order().with("partition_key", BYTEA, "\\x00ff"), "partitionkey", Some("00ff"));
}

#[test]
fn debeziums_trace_is_taken_apart() {
    let case = order().with(
        "tracingspancontext",
        TEXT,
        "#Thu Oct 22 10:15:30 UTC 2026\ntracestate=a\\=1\ntraceparent=00-a-b-01\n",
    );
    check(&case, "traceparent", Some("00-a-b-01"));
    check(&case, "tracestate", Some("a=1"));
    let record = case.record();
    assert_eq!(record.header("traceparent"), Some("00-a-b-01"));
    assert_eq!(record.header("tracestate"), Some("a=1"));
    check(&order().with("tracingspancontext", TEXT, "uber-trace-id=1"), "traceparent", None);
    check(&order().with_null("tracingspancontext", TEXT), "traceparent", None);
}

#[test]
fn options_that_no_row_could_satisfy_are_refused() {
    #[track_caller]
    fn check_refused(case: &Case, variable: &str) {
        let refused = Encoder::new(&case.options).expect_err(variable);
        assert_eq!(refused.variable, variable);
        let mut text = String::new();
        write!(text, "{refused}").expect("a string");
        assert!(text.starts_with(variable), "{text}");
    }
    check_refused(&order().set(|o| o.source = Some("a b".into())), "WALPOST_CE_SOURCE");
    check_refused(
        &order().set(|o| o.datacontenttype = Some("json".into())),
        "WALPOST_CE_DATACONTENTTYPE",
    );
    check_refused(&order().set(|o| o.time_zone = "Mars".into()), "WALPOST_TIME_ZONE");
    for extensions in [&["Region"][..], &["id"], &["data"], &["a", "a"]] {
        let extensions = extensions.iter().map(|name| ((*name).into(), "c".into())).collect();
        check_refused(&order().set(|o| o.extensions = extensions), "WALPOST_CE_EXTENSIONS");
    }
}
