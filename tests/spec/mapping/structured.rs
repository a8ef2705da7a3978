//! The same event in both modes: what an envelope has to hold, told from the headers of binary mode.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudevents::AttributesReader as _;
use serde_json::value::RawValue;

use super::shown;
use crate::sdk;
use crate::servers::Record;

/// The records of a case in structured mode are those of binary mode in another form.
#[track_caller]
pub(super) fn check(binary: &[Record], structured: &[Record]) {
    assert_eq!(binary.len(), structured.len());
    for (binary, structured) in binary.iter().zip(structured) {
        assert_eq!((&binary.topic, &binary.key), (&structured.topic, &structured.key));
        if binary.header("walpost-error-reason").is_some() {
            // Dead letters are in binary mode always.
            assert_eq!((&binary.headers, &binary.value), (&structured.headers, &structured.value));
        } else {
            check_headers(binary, structured);
            check_envelope(binary, structured);
        }
    }
}

#[track_caller]
fn check_headers(binary: &Record, structured: &Record) {
    let mut expected: Vec<_> = binary
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with("ce_") && name != "content-type")
        .cloned()
        .collect();
    let content_type = b"application/cloudevents+json; charset=UTF-8".to_vec();
    expected.push(("content-type".to_owned(), Some(content_type)));
    expected.sort();
    let mut headers = structured.headers.clone();
    headers.sort();
    assert_eq!(headers, expected, "{structured:?}");
}

#[track_caller]
fn check_envelope(binary: &Record, structured: &Record) {
    let text = structured.value_text();
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let texts = binary.headers.iter().filter_map(|(name, value)| {
        let name =
            if name == "content-type" { "datacontenttype" } else { name.strip_prefix("ce_")? };
        Some((name, std::str::from_utf8(value.as_deref()?).unwrap()))
    });
    for (name, value) in texts {
        let member = members.remove(name).unwrap_or_else(|| panic!("no {name} in {text}")).get();
        // Integers and booleans are bare, all others strings.
        let text = serde_json::from_str::<String>(member).unwrap_or_else(|_| member.to_owned());
        assert_eq!(text, value, "{name}: {member}");
    }
    let data = (members.remove("data"), members.remove("data_base64"));
    assert!(members.is_empty(), "members that binary mode has no headers for: {members:?}");
    let content_type = binary.header("content-type");
    match (data, binary.value.as_deref()) {
        // No content type: the payload is NULL.
        ((None, None), None) => assert_eq!(content_type, None),
        ((None, None), Some(value)) => assert_eq!((content_type, value), (None, &b""[..])),
        ((Some(data), None), Some(value)) => {
            let value = std::str::from_utf8(value).unwrap();
            if is_json(content_type.unwrap()) {
                // Untouched, with the white space around it, and the last member.
                assert!(text.ends_with(&format!("\"data\":{value}}}")), "{text}");
            } else {
                assert_eq!(serde_json::from_str::<String>(data.get()).unwrap(), value);
            }
        }
        ((None, Some(base64)), Some(value)) => {
            let base64: String = serde_json::from_str(base64.get()).unwrap();
            assert_eq!(STANDARD.decode(base64).unwrap(), value);
        }
        ((data, base64), value) => panic!("data {data:?}, Base64 {base64:?}, value {value:?}"),
    }
    check_sdk(binary, structured);
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// The SDK for Rust reads both forms as one event.
#[track_caller]
fn check_sdk(binary: &Record, structured: &Record) {
    // Any time will do: which one it is has been compared.
    let [binary, structured] = [binary, structured]
        .map(|record| shown::replaced(record, "(commit time)", "2024-05-01T10:00:00Z"));
    let first = sdk::event(&binary);
    // Numbers past double precision and depths past 128 are beyond the SDK, and only those.
    if serde_json::from_str::<serde_json::Value>(structured.value_text()).is_err() {
        return;
    }
    let second = sdk::event(&structured);
    assert_eq!(
        (first.id(), first.source(), first.ty()),
        (second.id(), second.source(), second.ty())
    );
    assert_eq!((first.subject(), first.time()), (second.subject(), second.time()));
    assert_eq!(first.dataschema(), second.dataschema());
    assert_eq!(first.datacontenttype(), second.datacontenttype());
    let extensions = |event: &cloudevents::Event| -> BTreeMap<String, String> {
        event.iter_extensions().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
    };
    assert_eq!(extensions(&first), extensions(&second));
}
