//! Goal: a JSON payload becomes the bytes that Confluent's own serializer writes, or is refused.
//! Method: bytes recorded by tests/registry/record.py (confluent-kafka 2.12, fastavro); and values that
//! would lose something on the way.

use super::*;

const ORDER: &str = include_str!("recorded/order.avsc");
const PAYLOAD: &str = include_str!("recorded/order.json");
const BYTES: &str = include_str!("recorded/order.hex");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_type_is_written_as_confluents_serializer_writes_it() {
    let schema = AvroSchema::new(ORDER, &[]).expect("a schema");
    let mut out = Vec::new();
    schema.write(PAYLOAD.as_bytes(), &mut out).expect("it fits");
    assert_eq!(hex(&out), BYTES.trim());
}

/// `expected` are bytes in hexadecimal, or words of what is wrong.
#[track_caller]
fn check(schema: &str, payload: &str, expected: Result<&str, &str>) {
    let schema = AvroSchema::new(schema, &[]).expect(schema);
    let mut out = Vec::new();
    let written = schema.write(payload.as_bytes(), &mut out);
    match (written, expected) {
        (Ok(()), Ok(bytes)) => assert_eq!(hex(&out), bytes, "{payload}"),
        (Err(mismatch), Err(words)) => {
            assert!(mismatch.what.contains(words), "{payload}: {}", mismatch.what);
        }
        (written, expected) => panic!("{payload}: {written:?}, {out:?} and not {expected:?}"),
    }
}

#[test]
fn a_value_that_would_change_is_refused() {
    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}"#;
    check(decimal, "12.30", Ok("0404ce"));
    check(decimal, "\"12.30\"", Ok("0404ce"));
    check(decimal, "-12.3", Ok("04fb32"));
    check(decimal, "0", Ok("0200"));
    check(decimal, "12.305", Err("2 of them after the point"));
    check(decimal, "12345.00", Err("at most 6 digits"));
    check(decimal, "\"x\"", Err("at most 6 digits"));
    check(
        r#"{"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 3}"#,
        "200",
        Err("fits in 1 bytes"),
    );
    check("\"int\"", "2147483648", Err("32 bits"));
    check("int", "1.5", Err("32 bits"));
    check("\"long\"", "9223372036854775808", Err("64 bits"));
    check("\"long\"", "\"1\"", Err("64 bits"));
    check("\"double\"", "1e400", Err("64 bits"));
    check("\"double\"", "\"1\"", Err("64 bits"));
    check("\"string\"", "1", Err("a text"));
    check("\"bytes\"", "\"äö\"", Err("Base64"));
    let millis = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;
    check(millis, "\"1970-01-01T00:00:00.001Z\"", Ok("02"));
    check(millis, "1", Ok("02"));
    check(millis, "\"1970-01-01T00:00:00.0015Z\"", Err("finer than its type"));
    check(millis, "\"1970-01-01T00:00:00\"", Err("2024-05-01T10:00:00Z"));
    let local = r#"{"type": "long", "logicalType": "local-timestamp-millis"}"#;
    check(local, "\"1970-01-01T00:00:00.001\"", Ok("02"));
    check(local, "\"1970-01-01T00:00:00.001Z\"", Err("2024-05-01T10:00:00,"));
    check(r#"{"type": "int", "logicalType": "date"}"#, "\"1970-01-02\"", Ok("02"));
    check(r#"{"type": "string", "logicalType": "uuid"}"#, "\"x\"", Err("a UUID"));
}

#[test]
fn a_record_has_all_its_fields_and_no_other_member() {
    let record = r#"{"type": "record", "name": "R", "fields": [
        {"name": "a", "type": "int"},
        {"name": "b", "type": ["null", {"type": "record", "name": "S", "fields": [{"name": "c", "type": "int"}]}]},
        {"name": "d", "type": "int", "default": 7}]}"#;
    check(record, r#"{"a": 1}"#, Ok("02000e"));
    check(record, r#"{"d": 1, "a": 1, "b": {"c": 2}}"#, Ok("02020402"));
    check(record, r#"{"a": 1, "a": 2}"#, Ok("04000e"));
    check(record, r#"{"a": 1, "hunter2": 2}"#, Err("a member that the schema has not"));
    check(record, r#"{"b": null}"#, Err("at a: it is missing"));
    check(record, r#"{"a": 1, "b": {"c": "hunter2"}}"#, Err("at b.c: an integer of 32 bits"));
    let schema = AvroSchema::new(record, &[]).expect("a schema");
    let error = schema.write(br#"{"a": 1, "hunter2": 2}"#, &mut Vec::new()).expect_err("more");
    assert!(!error.what.contains("hunter2"), "{}", error.what);
}

#[test]
fn a_union_has_the_first_branch_that_fits() {
    let union = r#"["null", "long", "double", "string"]"#;
    check(union, "null", Ok("00"));
    check(union, "1", Ok("0202"));
    check(union, "1.5", Ok("04000000000000f83f"));
    check(union, "\"1\"", Ok("060231"));
    check(union, "true", Err("no branch"));
}

#[test]
fn a_schema_may_use_others_and_itself_and_nothing_unknown() {
    let used = r#"{"type": "enum", "name": "State", "namespace": "acme", "symbols": ["A", "B"]}"#;
    let user = r#"{"type": "record", "name": "R", "namespace": "acme", "fields": [
        {"name": "state", "type": "State"}, {"name": "next", "type": ["null", "R"], "default": null}]}"#;
    let references = [("acme.State".to_owned(), used.to_owned())];
    let schema = AvroSchema::new(user, &references).expect("a schema");
    let mut out = Vec::new();
    let payload = r#"{"state": "B", "next": {"state": "A"}}"#;
    schema.write(payload.as_bytes(), &mut out).expect("it fits");
    assert_eq!(hex(&out), "02020000");
    let alone = AvroSchema::new(user, &[]).expect_err("no State").to_string();
    assert!(alone.contains("acme.State"), "{alone}");
    for wrong in [
        "{",
        "{}",
        "7",
        "\"nothing\"",
        "[]",
        r#"["null", ["int"]]"#,
        r#"{"type": "enum", "name": "E"}"#,
    ] {
        assert!(AvroSchema::new(wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn a_payload_without_end_is_refused_and_nothing_overflows() {
    let list =
        r#"{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#;
    let deep = format!("{}null{}", r#"{"next": "#.repeat(100_000), "}".repeat(100_000));
    check(list, &deep, Err("does not fit"));
    // Two records that only the last leaf tells apart, at each of many levels.
    let twins = r#"{"type": "record", "name": "A", "fields": [{"name": "n", "type": ["null", "A",
        {"type": "record", "name": "B", "fields": [{"name": "n", "type": ["null", "A", "B"]}]}]}]}"#;
    let wrong = format!("{}7{}", r#"{"n": "#.repeat(60), "}".repeat(60));
    check(twins, &wrong, Err("does not fit"));
}
