//! The headers column: what becomes a header, and what no row may say.

use super::fixture::*;
use crate::cloudevent::Reason;

/// The headers after the content type, and how many were left out.
#[track_caller]
fn check(case: &Case, expected: &[&str], left_out: usize) {
    let record = case.record();
    let lines = record.header_lines();
    let start = lines.iter().position(|line| line.starts_with("content-type: ")).expect("one") + 1;
    assert_eq!((&lines[start..], record.left_out_headers), (&expected.map_lines()[..], left_out));
}

trait MapLines {
    fn map_lines(&self) -> Vec<String>;
}

impl MapLines for &[&str] {
    fn map_lines(&self) -> Vec<String> {
        self.iter().map(|line| (*line).to_owned()).collect()
    }
}

fn with(headers: &str) -> Case {
    order().with("headers", JSON, headers)
}

#[track_caller]
fn check_bad(headers: &[u8], reason: Reason) {
    for case in [order(), order().structured()] {
        let bad = case.with("headers", TEXT, headers).bad();
        assert_eq!((bad.attribute.as_ref(), bad.reason), ("headers", reason), "{bad}");
    }
}

#[test]
fn members_become_headers() {
    check(
        &with(
            "{ \"s\": \"a\\u00e9\\n\\\"\\ud83d\\ude00\", \"n\": 1.10, \"b\": true, \"z\": null, \
             \"o\": {\"x\" :[1, 2]}, \"e\": \"\", \"a\\u002fb\": [ ] }",
        ),
        &["s: aé\n\"😀", "n: 1.10", "b: true", "o: {\"x\" :[1, 2]}", "e: ", "a/b: [ ]"],
        0,
    );
    check(&with("{}"), &[], 0);
    check(&with("null"), &[], 0);
    check(&order().with_null("headers", JSONB), &[], 0);
    check(&with("{\"x\":\"1\",\"x\":\"2\"}"), &["x: 1", "x: 2"], 0);
}

#[test]
fn no_row_overrides_an_attribute() {
    check(
        &with(
            "{\"ce_id\":\"evil\",\"CE_ID\":\"evil\",\"Ce_Source\":\"/evil\",\"ce_\":\"\",\
             \"content-type\":\"text/html\",\"Content-Type\":\"text/html\",\
             \"\\u0063e_type\":\"evil\",\"walpost-topic\":\"evil\",\"WALPOST-replay\":\"evil\",\
             \"ce_null\":null,\"ce\":\"fine\",\"x-ce_id\":\"fine\"}",
        ),
        &["ce: fine", "x-ce_id: fine"],
        9,
    );
    let structured = with("{\"CE_ID\":\"evil\",\"Content-Type\":\"text/html\"}").structured();
    let record = structured.record();
    assert_eq!(record.headers.len(), 1);
    assert_eq!(record.left_out_headers, 2);
}

#[test]
fn a_header_from_a_column_of_its_own_is_there_once() {
    let case = with("{\"TraceParent\":\"other\",\"id\":\"other\",\"x\":\"1\"}").with(
        "traceparent",
        TEXT,
        "00-a",
    );
    check(&case, &["traceparent: 00-a", "id: other", "x: 1"], 1);
    let debezium = case.set(|options| options.debezium_headers = true);
    check(
        &debezium,
        &[
            "traceparent: 00-a",
            "id: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "eventType: OrderCreated",
            "x: 1",
        ],
        2,
    );
}

#[test]
fn what_is_no_object_of_texts_is_a_bad_row() {
    for headers in ["[]", "1", "\"a\"", "{", "{\"a\":}", "{\"a\":1}{}", "{\"a\":01}", "x"] {
        check_bad(headers.as_bytes(), Reason::InvalidJson);
    }
    check_bad(b"{\"a\":\"\\ud800\"}", Reason::NotRepresentable);
    check_bad(b"{\"\\udc00\":\"a\"}", Reason::NotRepresentable);
    check_bad(b"{\"a\":\"\xff\"}", Reason::NotRepresentable);
    check_bad(b"{\"\":\"a\"}", Reason::Empty);
    check_bad(b"{\"a\\u0000b\":\"a\"}", Reason::ControlCharacter);
    check_bad(b"{\"a\\nb\":\"a\"}", Reason::ControlCharacter);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(65_536));
    check_bad(long.as_bytes(), Reason::TooLong);
}
