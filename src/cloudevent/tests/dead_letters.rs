//! Dead letters: what could be made, and what was wrong.

use super::fixture::*;
use crate::cloudevent::{BadRow, Reason};

#[test]
fn a_letter_keeps_payload_and_key_and_says_what_was_wrong() {
    let case = order()
        .with("id", TEXT, "a\tb")
        .with("headers", JSONB, "{\"x\": 1, \"walpost-topic\": \"evil\"}")
        .structured();
    let letter = case.letter(&case.bad());
    assert_eq!(letter.topic, "walpost.dlq");
    assert_eq!(letter.key.as_deref(), Some(b"42".as_slice()));
    assert_eq!(letter.text(), "{\"total\": 12.30}");
    assert_eq!(
        letter.header_lines(),
        [
            "ce_specversion: 1.0",
            "ce_source: /shop/public/outbox",
            "ce_type: OrderCreated",
            "ce_subject: 42",
            "ce_time: 2024-05-01T10:00:00.123456Z",
            "content-type: application/json",
            "x: 1",
            "walpost-error-attribute: id",
            "walpost-error-reason: control_character",
            "walpost-error-message: id has the character U+0009, which CloudEvents refuses in \
         attributes",
            "walpost-error-time: 2024-05-01T10:00:01.123456Z",
            "walpost-topic: outbox.event.order",
            "walpost-position: 0/192DBB8+3",
            "walpost-table: public.outbox",
            "walpost-row-id: a\tb",
            "walpost-connector: shop.walpost",
        ]
    );
}

#[test]
fn a_letter_carries_what_can_be_made() {
    let case = order()
        .with_null("id", TEXT)
        .with("type", TEXT, "")
        .with("source", TEXT, "a b")
        .with("aggregateid", TEXT, "\u{1}")
        .with("created_at", TIMESTAMPTZ, "infinity")
        .with("dataschema", TEXT, "/relative")
        .with("content_type", TEXT, "none")
        .with("headers", TEXT, "{\"x\": 1, \"y\"")
        .with("topic", TEXT, "__evil")
        .with("payload", TEXT, "{")
        .set(|options| options.debezium_headers = true);
    let letter = case.letter(&case.bad());
    assert_eq!(letter.text(), "{");
    assert_eq!(letter.key.as_deref(), Some(b"\x01".as_slice()));
    assert_eq!(
        letter.header_lines(),
        [
            "ce_specversion: 1.0",
            "walpost-error-attribute: topic",
            "walpost-error-reason: illegal_name",
            "walpost-error-message: topic begins with __, as Kafka's own topics do",
            "walpost-error-time: 2024-05-01T10:00:01.123456Z",
            "walpost-position: 0/192DBB8+3",
            "walpost-table: public.outbox",
            "walpost-connector: shop.walpost",
        ]
    );
}

#[test]
fn a_letter_for_size_has_no_value() {
    let size = |case: Case| {
        let letter = case.letter(&case.bad());
        assert_eq!(letter.value, None);
        letter.header("walpost-payload-bytes").map(str::to_owned)
    };
    let large = "x".repeat(1_000_001);
    let text = order().with("payload", TEXT, large).with("content_type", TEXT, "text/plain");
    assert_eq!(size(text).as_deref(), Some("1000001"));
    let bytea = order().with("payload", BYTEA, format!("\\x{}", "00".repeat(1_000_002)));
    assert_eq!(size(bytea).as_deref(), Some("1000002"));
}

#[test]
fn a_letter_is_never_much_larger_than_an_event() {
    let case = order().with("payload", TEXT, "x".repeat(1_000_000)).with(
        "headers",
        JSON,
        format!("{{\"a\":\"{}\"}}", "x".repeat(20_000)),
    );
    let letter = case.letter(&case.bad());
    assert_eq!(letter.value, None, "no room beside the headers");
    assert_eq!(letter.header("walpost-payload-bytes"), Some("1000000"));
}

#[test]
fn a_letter_of_a_null_payload_has_no_value_and_no_size() {
    let case = order().with_null("payload", JSONB).with("id", TEXT, "");
    let letter = case.letter(&case.bad());
    assert_eq!((letter.value.as_deref(), letter.header("content-type")), (None, None));
    assert_eq!(letter.header("walpost-payload-bytes"), None);
    assert_eq!(letter.header("walpost-row-id"), Some(""));
}

#[test]
fn a_letter_of_a_good_row_that_the_broker_refused_is_whole() {
    let refused = BadRow::new("record", Reason::RefusedByBroker, "was refused");
    let letter = order().letter(&refused);
    assert_eq!(letter.text(), "{\"total\": 12.30}");
    assert_eq!(letter.header("ce_id"), Some("6e8bc430-9c3a-11d9-9669-0800200c9a66"));
    assert_eq!(letter.header("walpost-error-message"), Some("record was refused"));
}

#[test]
fn reasons_are_words() {
    let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    assert_eq!(
        words.join(" "),
        "missing empty control_character invalid_uri not_absolute_uri invalid_media_type \
         invalid_json not_representable illegal_name too_long too_large schema_mismatch \
         unknown_topic refused_by_broker"
    );
}
