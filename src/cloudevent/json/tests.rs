//! Goal: a text is JSON here exactly when it is JSON to `serde_json`.
//! Method: its answers are the oracle for cases, for random texts and for damaged documents.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn is_json(text: &str) -> bool {
    check(text, &mut Nesting::default()).is_ok()
}

/// Strict, of any depth, and with lone surrogates: all that RFC 8259 calls JSON.
fn oracle(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[track_caller]
fn check_text(text: &str, expected: bool) {
    assert_eq!(is_json(text), expected, "{text:?}");
    assert_eq!(oracle(text), expected, "serde_json: {text:?}");
}

#[test]
fn json_is_told_from_what_is_none() {
    for text in [
        "0",
        "-0",
        "1e400",
        "-1.5E+10",
        "12345678901234567890123",
        "true",
        "false",
        "null",
        "\"\"",
        "{}",
        "[]",
        " [ ] ",
        "\t{ \"a\" : [ 1 , { \"b\" : null } ] }\r\n",
        "\"\\ud800\"",
        "\"\\u0000\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "{\"a\":1,\"a\":2}",
        "[[],{},[{}]]",
        "\"\u{7f}é😀\"",
    ] {
        check_text(text, true);
    }
    for text in [
        "",
        " ",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "NaN",
        "Infinity",
        "tru",
        "truex",
        "nul",
        "{",
        "[",
        "]",
        "}",
        "[1,]",
        "[,]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{1:2}",
        "{a:1}",
        "'a'",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\0\"",
        "1 2",
        "1,\"source\":\"/evil\"",
        "{}{}",
        "[1}",
        "{\"a\":1]",
        "// a\n1",
        "\u{feff}1",
        "[1 2]",
        "nulll",
    ] {
        check_text(text, false);
    }
}

#[test]
fn depth_has_no_limit_but_the_text() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(is_json(&deep));
    assert!(!is_json(deep.get(1..).expect("ASCII")));
    let objects = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    assert!(is_json(&objects));
}

#[test]
fn members_of_an_object_are_found() {
    #[track_caller]
    fn check_members(text: &str, expected: Option<&[(&str, &str)]>) {
        let mut members = Vec::new();
        let walked = for_each_member::<Invalid>(text, &mut Nesting::default(), |name, value| {
            members.push((name, value));
            Ok(())
        });
        assert_eq!(walked.ok().map(|()| members.as_slice()), expected, "{text:?}");
    }
    check_members(" { } ", Some(&[]));
    check_members(
        "{ \"a\" : [ 1, 2 ] ,\"b\":\"x\", \"\\u0061\":{\"c\": null}}",
        Some(&[("\"a\"", "[ 1, 2 ]"), ("\"b\"", "\"x\""), ("\"\\u0061\"", "{\"c\": null}")]),
    );
    for text in ["", "1", "[]", "null", "{", "{\"a\":1", "{\"a\":1,}", "{\"a\":1}x", "{\"a\" 1}"] {
        check_members(text, None);
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_as_serde_json_does(text in "[\\[\\]{}\",:0-9eE+\\-.tfnrulase\\\\ \\n]{0,24}|\\PC*") {
        prop_assert_eq!(is_json(&text), oracle(&text));
    }

    #[test]
    fn any_tokens_are_judged_as_serde_json_does(text in "([{}\\[\\],:]|\"a\"|1|null| ){0,12}") {
        prop_assert_eq!(is_json(&text), oracle(&text));
    }

    #[test]
    fn a_damaged_document_is_judged_as_serde_json_does(at in 0_usize..140, with in "[\\[\\]{}\",:0e\\-\\\\ ]?") {
        let document = r#" {"a": [1, -2.5e10, {"b": [true, false, null]}, "x\u00e9\n"], "c": {}, "d": [], "e": {"f": {"g": [[["h"]]]}}} "#;
        let mut damaged = document.to_owned();
        let at = at % document.len();
        damaged.replace_range(at..=at, &with);
        prop_assert_eq!(is_json(&damaged), oracle(&damaged), "{}", damaged);
    }

    #[test]
    fn a_string_survives_the_way_there_and_back(text in any::<String>()) {
        let mut written = Vec::new();
        push_string(&mut written, &text);
        let written = String::from_utf8(written).expect("UTF-8");
        prop_assert_eq!(&serde_json::from_str::<String>(&written).expect("JSON"), &text);
        let mut read = String::new();
        prop_assert_eq!(unescape(&written, |piece| read.push_str(piece)), Ok(()));
        prop_assert_eq!(read, text);
    }

    #[test]
    fn escapes_are_read_as_serde_json_does(text in "\"(\\\\(u[dD][89a-fA-F][0-9a-f]{2}|u[0-9a-f]{4}|[bfnrt/\"\\\\])|[a-zé😀])*\"") {
        prop_assert!(is_json(&text));
        let mut read = String::new();
        let unescaped = unescape(&text, |piece| read.push_str(piece));
        match serde_json::from_str::<String>(&text) {
            Ok(expected) => {
                prop_assert_eq!(unescaped, Ok(()));
                prop_assert_eq!(read, expected);
            }
            Err(_) => prop_assert_eq!(unescaped, Err(LoneSurrogate)),
        }
    }
}
