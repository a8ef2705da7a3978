//! Goal: a JSON payload becomes the bytes that Confluent's own serializer writes, or is refused.
//! Method: bytes recorded by tests/registry/record_protobuf.py; and values that would lose something
//! on the way.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ORDER: &str = include_str!("recorded/order.proto");
const CUSTOMER: &str = include_str!("recorded/customer.proto");

/// The schema with the one that it imports.
fn recorded() -> ProtobufSchema {
    let customer = ("customer.proto".to_owned(), CUSTOMER.to_owned());
    ProtobufSchema::new(ORDER, &[customer]).expect("a schema")
}

/// Indexes and message, as they stand behind the id.
fn framed(schema: &ProtobufSchema, name: Option<&str>, payload: &str) -> String {
    let mut out = schema.indexes(name).expect("a message").to_vec();
    schema.write(name, payload.as_bytes(), &mut out).expect("it fits");
    hex(&out)
}

#[test]
fn every_type_is_written_as_confluents_serializer_writes_it() {
    let schema = recorded();
    let order = include_str!("recorded/order.json");
    assert_eq!(framed(&schema, None, order), include_str!("recorded/Order.hex").trim());
    let refund = r#"{"id": 7, "reason": "late"}"#;
    let expected = include_str!("recorded/Refund.hex").trim();
    assert_eq!(framed(&schema, Some("acme.Refund"), refund), expected);
    let line = r#"{"sku": "a", "change": -2, "pieces": [1, 300]}"#;
    let expected = include_str!("recorded/Order.Line.hex").trim();
    assert_eq!(framed(&schema, Some("Order.Line"), line), expected);
}

#[test]
fn a_schema_may_be_the_base64_of_its_descriptor() {
    use base64::Engine as _;
    let encoded = |name: &str, text: &str| {
        let file = protox::file::File::from_source(name, text).expect("a file");
        let bytes = protox::prost::Message::encode_to_vec(file.file_descriptor_proto());
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let customer = ("customer.proto".to_owned(), encoded("customer.proto", CUSTOMER));
    let schema =
        ProtobufSchema::new(&encoded("order.proto", ORDER), &[customer]).expect("a schema");
    let order = include_str!("recorded/order.json");
    assert_eq!(framed(&schema, None, order), include_str!("recorded/Order.hex").trim());
}

/// `schema` are the fields of the first message, or a whole file; `expected` are bytes in
/// hexadecimal, or words of what is wrong.
#[track_caller]
fn check(schema: &str, payload: &str, expected: Result<&str, &str>) {
    let schema = match schema.starts_with("syntax") {
        true => schema.to_owned(),
        false => format!("syntax = \"proto3\"; package acme; message M {{ {schema} }}"),
    };
    let compiled = ProtobufSchema::new(&schema, &[]).expect(&schema);
    let mut out = b"before".to_vec();
    let written = compiled.write(None, payload.as_bytes(), &mut out);
    match (written, expected) {
        (Ok(()), Ok(bytes)) => {
            assert_eq!(hex(out.strip_prefix(b"before").expect("untouched")), bytes, "{payload}");
        }
        (Err(mismatch), Err(words)) => {
            assert!(mismatch.what.contains(words), "{payload}: {}", mismatch.what);
            assert!(!mismatch.what.contains("hunter2"), "{payload}: {}", mismatch.what);
        }
        (written, expected) => panic!("{payload}: {written:?}, {out:?} and not {expected:?}"),
    }
}

#[test]
fn a_number_is_its_text_and_one_that_would_change_is_refused() {
    check("int32 a = 1;", r#"{"a": 150}"#, Ok("089601"));
    check("int32 a = 1;", r#"{"a": "150"}"#, Ok("089601"));
    check("int32 a = 1;", r#"{"a": 1.5e2}"#, Ok("089601"));
    check("int32 a = 1;", r#"{"a": -1}"#, Ok("08ffffffffffffffffff01"));
    check("int32 a = 1;", r#"{"a": 2147483648}"#, Err("at a: an integer of 32 bits"));
    check("int32 a = 1;", r#"{"a": 1.5}"#, Err("at a: an integer of 32 bits"));
    check("int32 a = 1;", r#"{"a": "hunter2"}"#, Err("at a: an integer of 32 bits"));
    check("int32 a = 1;", r#"{"a": ""}"#, Err("at a: an integer"));
    check("int32 a = 1;", r#"{"a": " 1"}"#, Err("at a: an integer"));
    check("int32 a = 1;", r#"{"a": true}"#, Err("at a: an integer"));
    check(
        "int64 a = 1;",
        r#"{"a": 9007199254740993}"#,
        Ok("0881808080808080 10".replace(' ', "").as_str()),
    );
    check("int64 a = 1;", r#"{"a": "9223372036854775808"}"#, Err("64 bits"));
    check("uint32 a = 1;", r#"{"a": 4294967295}"#, Ok("08ffffffff0f"));
    check("uint32 a = 1;", r#"{"a": -1}"#, Err("not below zero"));
    check("uint64 a = 1;", r#"{"a": 18446744073709551615}"#, Ok("08ffffffffffffffffff01"));
    check("sint32 a = 1;", r#"{"a": -2}"#, Ok("0803"));
    check("sint64 a = 1;", r#"{"a": -9223372036854775808}"#, Ok("08ffffffffffffffffff01"));
    check("fixed32 a = 1;", r#"{"a": 1}"#, Ok("0d01000000"));
    check("sfixed32 a = 1;", r#"{"a": -1}"#, Ok("0dffffffff"));
    check("fixed64 a = 1;", r#"{"a": 1}"#, Ok("090100000000000000"));
    check("sfixed64 a = 1;", r#"{"a": -1}"#, Ok("09ffffffffffffffff"));
    check("float a = 1;", r#"{"a": 1.5}"#, Ok("0d0000c03f"));
    check("float a = 1;", r#"{"a": 1e39}"#, Err("a number of 32 bits"));
    check("float a = 1;", r#"{"a": "NaN"}"#, Ok("0d0000c07f"));
    check("double a = 1;", r#"{"a": "-Infinity"}"#, Ok("09000000000000f0ff"));
    check("double a = 1;", r#"{"a": "inf"}"#, Err("a number of 64 bits"));
    check("double a = 1;", r#"{"a": -0.0}"#, Ok("090000000000000080"));
    check("double a = 1;", r#"{"a": 1e400}"#, Err("a number of 64 bits"));
}

#[test]
fn texts_bytes_booleans_and_enums_are_what_they_say() {
    check("string a = 1;", r#"{"a": "g\u00fcrn"}"#, Ok("0a0567c3bc726e"));
    check("string a = 1;", r#"{"a": 1}"#, Err("at a: a text"));
    check("bytes a = 1;", r#"{"a": "+/8="}"#, Ok("0a02fbff"));
    check("bytes a = 1;", r#"{"a": "-_8"}"#, Ok("0a02fbff"));
    check("bytes a = 1;", r#"{"a": "hunter2!"}"#, Err("Base64"));
    check("bool a = 1;", r#"{"a": true}"#, Ok("0801"));
    check("bool a = 1;", r#"{"a": "true"}"#, Err("true or false"));
    let state = "enum S { NONE = 0; PAID = 7; } S a = 1;";
    check(state, r#"{"a": "PAID"}"#, Ok("0807"));
    check(state, r#"{"a": 9}"#, Ok("0809"));
    check(state, r#"{"a": "hunter2"}"#, Err("a name of the enum"));
    let closed =
        "syntax = \"proto2\"; message M { enum S { NONE = 0; PAID = 7; } optional S a = 1; }";
    check(closed, r#"{"a": 0}"#, Ok("0800"));
    check(closed, r#"{"a": 9}"#, Err("a name of the enum"));
}

#[test]
fn a_field_is_written_when_it_says_something() {
    let all = "int32 a = 1; string b = 2; bool c = 3; double d = 4; repeated int32 e = 5; map<string, int32> f = 6;";
    check(all, r#"{"a": 0, "b": "", "c": false, "d": 0, "e": [], "f": {}}"#, Ok(""));
    check(all, r#"{"a": null, "b": null, "e": null, "f": null}"#, Ok(""));
    check(
        "optional int32 a = 1; oneof x { string b = 2; int32 c = 3; }",
        r#"{"a": 0, "b": ""}"#,
        Ok("08001200"),
    );
    check(
        "oneof x { string b = 2; int32 c = 3; }",
        r#"{"b": "", "c": 0}"#,
        Err("at c: another field of its oneof"),
    );
    check("oneof x { string b = 2; int32 c = 3; }", r#"{"b": null, "c": 0}"#, Ok("1800"));
    check("int32 b = 2; int32 a = 1;", r#"{"b": 2, "a": 1}"#, Ok("08011002"));
    let required = "syntax = \"proto2\"; message M { required int32 a = 1; optional group G = 2 { optional int32 x = 3; } }";
    check(required, "{}", Err("at a: it is missing"));
    check(required, r#"{"a": 0, "g": {"x": 1}}"#, Ok("0800131801 14".replace(' ', "").as_str()));
}

#[test]
fn a_member_that_the_schema_has_not_is_refused_and_not_named() {
    check("int32 ship_to = 1;", r#"{"shipTo": 1}"#, Ok("0801"));
    check("int32 ship_to = 1;", r#"{"ship_to": 1}"#, Ok("0801"));
    check("int32 ship_to = 1;", r#"{"ship_to": 2, "ship_to": 1}"#, Ok("0801"));
    check("int32 ship_to = 1;", r#"{"ship_to": 2, "shipTo": 1}"#, Err("two members"));
    check("int32 ship_to = 1 [json_name = \"to\"];", r#"{"to": 1}"#, Ok("0801"));
    check(
        "int32 ship_to = 1 [json_name = \"to\"];",
        r#"{"shipTo": 1}"#,
        Err("a member that the schema has not"),
    );
    check("int32 a = 1;", r#"{"hunter2": 1}"#, Err("a member that the schema has not"));
    check(
        "message N { int32 b = 1; } N a = 1;",
        r#"{"a": {"hunter2": 1}}"#,
        Err("at a: it has a member"),
    );
    check(
        "message N { int32 b = 1; } N a = 1;",
        r#"{"a": {"b": "hunter2"}}"#,
        Err("at a.b: an integer"),
    );
    check("int32 a = 1;", "[]", Err("an object is expected"));
    check("int32 a = 1;", "null", Err("an object is expected"));
}

#[test]
fn many_values_are_written_as_the_schema_says() {
    check("repeated int32 a = 1;", r#"{"a": [1, 150]}"#, Ok("0a03019601"));
    check("repeated int32 a = 1 [packed = false];", r#"{"a": [1, 0]}"#, Ok("08010800"));
    let two = "syntax = \"proto2\"; message M { repeated int32 a = 1; repeated int32 b = 2 [packed = true]; }";
    check(two, r#"{"a": [1, 0], "b": [1]}"#, Ok("08010800120101"));
    check("repeated string a = 1;", r#"{"a": ["", "b"]}"#, Ok("0a000a0162"));
    check("repeated string a = 1;", r#"{"a": ["b", null]}"#, Err("at a: null"));
    check("repeated string a = 1;", r#"{"a": "b"}"#, Err("at a: an array"));
    check(
        "message N { int32 b = 1; } repeated N a = 1;",
        r#"{"a": [{}, {"b": 1}]}"#,
        Ok("0a000a020801"),
    );
    check(
        "map<string, int32> a = 1;",
        r#"{"a": {"k": 1, "": 0}}"#,
        Ok("0a050a016b10010a040a001000"),
    );
    check(
        "map<int64, string> a = 1;",
        r#"{"a": {"-1": "x"}}"#,
        Ok("0a0e08ffffffffffffffffff01120178"),
    );
    check("map<bool, string> a = 1;", r#"{"a": {"true": ""}}"#, Ok("0a0408011200"));
    check("map<bool, string> a = 1;", r#"{"a": {"hunter2": ""}}"#, Err("as a key"));
    check("map<string, int32> a = 1;", r#"{"a": {"hunter2": null}}"#, Err("at a: null"));
    // A length of two bytes, in one of two bytes.
    let text = "x".repeat(200);
    let expected = format!("0acb010ac801{}", "78".repeat(200));
    check(
        "message N { string b = 1; } N a = 1;",
        &format!(r#"{{"a": {{"b": "{text}"}}}}"#),
        Ok(&expected),
    );
}

#[test]
fn the_messages_of_google_have_their_own_json() {
    #[track_caller]
    fn known(of: &str, payload: &str, expected: Result<&str, &str>) {
        let imports: String =
            ["timestamp", "duration", "field_mask", "struct", "any", "wrappers", "empty"]
                .map(|file| format!("import \"google/protobuf/{file}.proto\";"))
                .concat();
        let file = format!(
            "syntax = \"proto3\"; {imports} message M {{ google.protobuf.{of} a = 1; }} message N {{ int32 b = 1; }}"
        );
        check(&file, &format!(r#"{{"a": {payload}}}"#), expected);
    }
    known("Timestamp", r#""1970-01-01T00:00:01Z""#, Ok("0a020801"));
    known("Timestamp", r#""1969-12-31T23:59:59.5Z""#, Ok("0a1108ffffffffffffffffff011080cab5ee01"));
    known("Timestamp", r#""1970-01-01T01:00:00+01:00""#, Ok("0a00"));
    known("Timestamp", r#""hunter2""#, Err("at a: a time"));
    known("Timestamp", "1", Err("at a: a time"));
    known("Timestamp", r#""-0001-01-01T00:00:00Z""#, Err("at a: a time"));
    known("Duration", r#""1.5s""#, Ok("0a0808011080cab5ee01"));
    known("Duration", r#""-0.000000001s""#, Ok("0a0b10ffffffffffffffffff01"));
    known("Duration", r#""1.0000000001s""#, Err("a duration"));
    known("Duration", r#""315576000001s""#, Err("a duration"));
    known("Duration", r#""1""#, Err("a duration"));
    known(
        "FieldMask",
        r#""total,shipTo.city""#,
        Ok("0a150a05746f74616c0a0c736869705f746f2e63697479"),
    );
    known("FieldMask", r#""ship_to""#, Err("names of fields"));
    known("FieldMask", r#""""#, Ok("0a00"));
    known("Int64Value", r#""7""#, Ok("0a020807"));
    known("StringValue", r#""""#, Ok("0a00"));
    known("BoolValue", "null", Ok(""));
    known("DoubleValue", "\"hunter2\"", Err("a number"));
    known("Value", "null", Ok("0a020800"));
    known("Value", "1", Ok("0a0911000000000000f03f"));
    known("Value", r#"[true, "x"]"#, Ok("0a0b32090a0220010a031a0178"));
    known("NullValue", "null", Ok(""));
    known("Struct", r#"{"k": null}"#, Ok("0a090a070a016b12020800"));
    known("Struct", "[]", Err("at a: an object"));
    known("ListValue", "[1]", Ok("0a0b0a0911000000000000f03f"));
    known("Empty", "{}", Ok("0a00"));
    known("Empty", r#"{"hunter2": 1}"#, Err("a member"));
    known(
        "Any",
        r#"{"@type": "type.googleapis.com/N", "b": 1}"#,
        Ok("0a1b0a15747970652e676f6f676c65617069732e636f6d2f4e12020801"),
    );
    known("Any", r#"{"b": 1}"#, Err("@type"));
    known("Any", r#"{"@type": "x/hunter2"}"#, Err("no message that the schema imports"));
}

#[test]
fn a_message_is_chosen_by_its_name_and_stands_at_its_place() {
    let text = r#"syntax = "proto3"; package acme.shop;
        message First { map<string, int32> m = 1; message Inner { int32 a = 1; } message Second { int32 b = 1; } }
        message Other { int32 c = 1; }"#;
    let schema = ProtobufSchema::new(text, &[]).expect("a schema");
    let check = |name: Option<&str>, indexes: &str, payload: &str| {
        assert_eq!(schema.indexes(name).map(hex).as_deref(), Ok(indexes), "{name:?}");
        schema.write(name, payload.as_bytes(), &mut Vec::new()).expect("it fits");
    };
    check(None, "00", r#"{"m": {}}"#);
    check(Some("First"), "00", r#"{"m": {}}"#);
    check(Some("acme.shop.Other"), "0202", r#"{"c": 1}"#);
    check(Some("Other"), "0202", r#"{"c": 1}"#);
    // The entries of the map are no message of the text.
    check(Some("First.Inner"), "040000", r#"{"a": 1}"#);
    check(Some("acme.shop.First.Second"), "040002", r#"{"b": 1}"#);
    for wrong in ["", "Second", "shop.Other", "hunter2", "First.MEntry"] {
        let error = schema.indexes(Some(wrong)).expect_err(wrong);
        assert!(error.what.contains("WALPOST_REGISTRY_MESSAGE"), "{error:?}");
        assert!(!error.what.contains("hunter2"), "{error:?}");
        assert!(schema.write(Some(wrong), b"{}", &mut Vec::new()).is_err());
    }
}

#[test]
fn a_schema_may_import_its_references_and_nothing_unknown() {
    let used =
        "syntax = \"proto3\"; package acme; import \"base.proto\"; message Used { Base b = 1; }";
    let base = "syntax = \"proto3\"; package acme; message Base { int32 a = 1; }";
    let user = "syntax = \"proto3\"; package acme; import \"acme/used.proto\"; message User { Used u = 1; }";
    let references = [("base.proto", base), ("acme/used.proto", used)];
    let references = references.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let schema = ProtobufSchema::new(user, &references).expect("a schema");
    let mut out = Vec::new();
    schema.write(None, br#"{"u": {"b": {"a": 1}}}"#, &mut out).expect("it fits");
    assert_eq!(hex(&out), "0a040a020801");
    // A payload is of the schema itself, not of what it imports.
    assert!(schema.write(Some("acme.Used"), b"{}", &mut Vec::new()).is_err());
    let alone = ProtobufSchema::new(user, &[]).expect_err("no reference").to_string();
    assert!(alone.contains("acme/used.proto") && alone.contains("references"), "{alone}");
    let decimal = "syntax = \"proto3\"; import \"confluent/type/decimal.proto\"; import \"confluent/meta.proto\";
        message M { confluent.type.Decimal a = 1 [(confluent.field_meta) = { params: [{ key: \"scale\", value: \"2\" }] }]; }";
    check(
        decimal,
        r#"{"a": {"value": "BM4=", "precision": 4, "scale": 2}}"#,
        Ok("0a080a0204ce10041802"),
    );
    for wrong in [
        "",
        "{",
        "syntax = \"proto3\";",
        "syntax = \"proto9\"; message M {}",
        "syntax = \"proto3\"; message M { Missing a = 1; }",
        "syntax = \"proto3\"; message M { int32 a = 1; int32 b = 1; }",
        "syntax = \"proto3\"; import \"the schema.proto\"; message M {}",
        "message",
    ] {
        let error = ProtobufSchema::new(wrong, &[]).expect_err(wrong).to_string();
        assert!(error.contains("Protobuf schema"), "{wrong}: {error}");
    }
}

#[test]
fn a_payload_without_end_is_refused_and_nothing_overflows() {
    let deep = format!("{}{}", r#"{"a": "#.repeat(100_000), "}".repeat(100_000));
    check("M a = 1;", &deep, Err("nested deeper"));
    let deepest = format!("{}{{}}{}", r#"{"a": "#.repeat(127), "}".repeat(127));
    let schema = ProtobufSchema::new("syntax = \"proto3\"; message M { M a = 1; }", &[]);
    let mut out = Vec::new();
    schema.expect("a schema").write(None, deepest.as_bytes(), &mut out).expect("it fits");
    assert_eq!(out.len(), 2 * 63 + 3 * 64 - 1);
}
