//! Topic and key of a row.

use super::fixture::*;
use crate::cloudevent::Reason;

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
