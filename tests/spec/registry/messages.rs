//! Payloads in Protobuf: which message a row is of, and what is framed.

use super::{Case, schema_command};
use crate::servers::registry::Registry;
use crate::servers::{Kafka, folder};

#[test]
fn a_payload_becomes_the_message_that_its_type_names() {
    let case = Case::new("messages", "prefix", &Registry::shared().url());
    let folder = folder("schemas");
    let part = format!("{}.part.proto", case.database.name());
    std::fs::write(
        folder.path().join(&part),
        "syntax = \"proto3\"; package acme; message Part { int64 id = 1; }",
    )
    .unwrap();
    let whole = format!(
        "syntax = \"proto3\";\npackage acme;\nimport \"{part}\";\nmessage Cancelled {{ string why = 1; }}\n\
         message Placed {{ double total = 1; Part part = 2; }}\n"
    );
    std::fs::write(folder.path().join(format!("{}.proto", case.subject())), whole).unwrap();
    let done = schema_command(folder.path(), &["register", "--yes", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let said: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let schemas = said["schemas"].as_array().unwrap();
    let one = schemas.iter().find(|schema| schema["subject"] == case.subject()).unwrap();
    let id = u32::try_from(one["id"].as_u64().unwrap()).unwrap();
    let checked = schema_command(folder.path(), &["check"]);
    assert!(checked.stdout.contains("the registry has them all"), "{checked:?}");

    let settings = case.settings.clone().env("WALPOST_REGISTRY_MESSAGE", "{type}");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"total\": 1, \"part\": {\"id\": \"7\"}}'");
    case.insert(2, "'{\"total\": 1, \"part\": {\"id\": \"hunter2\"}}'");
    case.database.execute(
        "insert into outbox values (3, 'order', 'k', 'Cancelled', '{\"why\": \"x\"}'), (4, 'order', 'k', 'Lost', '{}')",
    );
    let framed = |rest: &[u8]| Some([&[0][..], &id.to_be_bytes(), rest].concat());
    let records = Kafka::shared().wait_for_records(&case.topic(), 2);
    let values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
    // `Placed` is the second message of its file, and `Cancelled` the first.
    let placed = b"\x02\x02\x09\0\0\0\0\0\0\xf0\x3f\x12\x02\x08\x07";
    assert_eq!(values, [framed(placed), framed(b"\0\x0a\x01x")]);
    assert_eq!(records[0].header("content-type"), Some("application/x-protobuf"));

    let letters = Kafka::shared().wait_for_records(&format!("{}.dlq", case.database.name()), 2);
    let messages: Vec<_> =
        letters.iter().map(|letter| letter.header("walpost-error-message").unwrap()).collect();
    assert!(messages[0].contains("at part.id: an integer of 64 bits"), "{messages:?}");
    assert!(messages[1].contains("WALPOST_REGISTRY_MESSAGE"), "{messages:?}");
    assert!(!walpost.log().contains("hunter2"), "{}", walpost.log());
}
