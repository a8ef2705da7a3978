//! Topic and key of a row.

use super::fixture::*;
use crate::cloudevent::Reason;
use crate::outbox::spread::HotAggregate;

#[track_caller]
fn check_topic(case: &Case, expected: Result<&str, Reason>) {
    for case in [case.clone(), case.clone().structured()] {
        let topic = case.encode().map(|record| record.topic).map_err(|bad| {
            assert_eq!(bad.attribute, "topic");
            bad.reason
        });
        assert_eq!(topic.as_deref().map_err(|reason| *reason), expected);
    }
}

#[test]
fn a_topic_is_the_rows_own_or_the_templates() {
    check_topic(&order(), Ok("outbox.event.order"));
    check_topic(&order().with("topic", TEXT, "orders"), Ok("orders"));
    check_topic(&order().with("topic", TEXT, ""), Ok("outbox.event.order"));
    check_topic(&order().with("topic", BPCHAR, "a  "), Ok("a"));
    check_topic(&order().with_null("topic", TEXT), Ok("outbox.event.order"));
    check_topic(&order().with("aggregatetype", BPCHAR, "order   "), Ok("outbox.event.order"));
}

#[test]
fn a_topic_that_cannot_be_is_a_bad_row_and_never_another_topic() {
    check_topic(&order().with_null("aggregatetype", TEXT), Err(Reason::Missing));
    check_topic(&order().with("aggregatetype", TEXT, ""), Err(Reason::Empty));
    check_topic(&order().with("aggregatetype", TEXT, "a b"), Err(Reason::IllegalName));
    check_topic(&order().with("aggregatetype", TEXT, "é"), Err(Reason::IllegalName));
    check_topic(&order().with("aggregatetype", TEXT, b"\xff"), Err(Reason::NotRepresentable));
    check_topic(&order().with("aggregatetype", TEXT, "a".repeat(237)), Err(Reason::TooLong));
    check_topic(&order().with("aggregatetype", TEXT, "a".repeat(70_000)), Err(Reason::TooLong));
    for own in [".", "..", "__consumer_offsets", "walpost.dlq", "a/b", "a\n"] {
        check_topic(&order().with("topic", TEXT, own), Err(Reason::IllegalName));
    }
    let without = order().without("aggregatetype");
    check_topic(&without.clone().with("topic", TEXT, "a"), Ok("a"));
    check_topic(&without.with_null("topic", TEXT), Err(Reason::Missing));
}

#[track_caller]
fn check_key(case: &Case, expected: Option<&[u8]>) {
    for case in [case.clone(), case.clone().structured()] {
        assert_eq!(case.record().key.as_deref(), expected);
    }
}

#[test]
fn a_key_is_the_partition_key_or_the_aggregate_id() {
    check_key(&order(), Some(b"42"));
    check_key(&order().with("partition_key", TEXT, "p"), Some(b"p"));
    check_key(&order().with("partition_key", TEXT, ""), Some(b"42"));
    check_key(&order().with_null("partition_key", TEXT), Some(b"42"));
    check_key(&order().with("partition_key", BYTEA, "\\x"), Some(b"42"));
    check_key(&order().with_null("aggregateid", TEXT), None);
    check_key(&order().with("aggregateid", TEXT, ""), Some(b""));
    check_key(&order().with("aggregateid", BYTEA, "\\x00ff"), Some(&[0, 255]));
    check_key(&order().with("aggregateid", BYTEA, "\\x"), Some(b""));
    check_key(&order().with("aggregateid", BOOL, "f"), Some(b"false"));
    check_key(&order().with("aggregateid", BPCHAR, "ab  "), Some(b"ab"));
    check_key(&order().with("aggregateid", INT8, "-7"), Some(b"-7"));
    check_key(&order().without("aggregateid"), None);
}

#[test]
fn a_key_has_a_limit() {
    let bad = order().with("aggregateid", TEXT, "a".repeat(65_537)).bad();
    assert_eq!((bad.attribute.as_ref(), bad.reason), ("key", Reason::TooLong));
    let bad = order().with("aggregateid", BYTEA, "a").bad();
    assert_eq!((bad.attribute.as_ref(), bad.reason), ("key", Reason::NotRepresentable));
}

/// A row of aggregate 4711 of `order`, which is spread over four keys by its line.
fn hot() -> Case {
    order().with("aggregateid", TEXT, "4711").with("line", INT4, "1").set(|options| {
        options.virtual_partitions = vec![HotAggregate {
            aggregate_type: "order".to_owned(),
            aggregate_id: "4711".to_owned(),
            sub_keys: 4,
            column: "line".to_owned(),
        }];
    })
}

#[track_caller]
fn check_hot(case: &Case, key: Option<&str>, partition_key: Option<&str>) {
    let record = case.record();
    assert_eq!(record.key.as_deref(), key.map(str::as_bytes));
    assert_eq!(record.header("ce_partitionkey"), partition_key);
    let subject = record.header("ce_subject").expect("a subject");
    assert!(["4711", "4712"].contains(&subject), "{subject}");
    let structured = case.clone().structured().record();
    assert_eq!(structured.key, record.key);
    let envelope: serde_json::Value = serde_json::from_str(structured.text()).expect("JSON");
    assert_eq!(envelope.get("partitionkey").and_then(|key| key.as_str()), partition_key);
}

#[test]
fn a_hot_aggregate_has_a_key_for_each_hash_of_its_column_and_keeps_its_subject() {
    for (line, key) in [("1", "4711#3"), ("2", "4711#0"), ("3", "4711#3"), ("4", "4711#1")] {
        check_hot(&hot().with("line", INT4, line), Some(key), Some(key));
    }
    check_hot(&hot().with_null("line", INT4), Some("4711#0"), Some("4711#0"));
    let blank = hot().with("aggregateid", BPCHAR, "4711  ");
    check_hot(&blank, Some("4711#3"), Some("4711#3"));
}

#[test]
fn another_aggregate_and_a_row_with_a_key_of_its_own_are_not_spread() {
    check_hot(&hot().with("aggregateid", TEXT, "4712"), Some("4712"), None);
    let other = hot().with("aggregatetype", TEXT, "invoice");
    check_hot(&other, Some("4711"), None);
    let own = hot().with("partition_key", TEXT, "mine");
    check_hot(&own, Some("mine"), Some("mine"));
    let empty = hot().with("partition_key", TEXT, "");
    check_hot(&empty, Some("4711#3"), Some("4711#3"));
}

#[test]
fn a_dead_letter_of_a_hot_aggregate_keeps_its_key() {
    let case = hot().with("id", TEXT, "");
    let letter = case.letter(&case.bad());
    assert_eq!(letter.key.as_deref(), Some(&b"4711#3"[..]));
    assert_eq!(letter.header("ce_partitionkey"), Some("4711#3"));
}
