//! A change that consumers cannot follow: a type of its own, beside the old one.

use super::{Case, ORDER, register, schema_command};
use crate::servers::registry::Registry;
use crate::servers::{Kafka, folder};

#[test]
fn a_second_version_of_a_type_has_its_own_schema_and_consumers_of_the_first_go_on() {
    /// What consumers of each version read.
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct First {
        total: f64,
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Second {
        total: String,
        currency: String,
    }
    const ORDER_V2: &str = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": {"total": {"type": "string"}, "currency": {"type": "string"}},
        "required": ["total", "currency"], "additionalProperties": false}"#;
    let case = Case::new("versions", "validate", &Registry::shared().url());
    let subject = |event_type: &str| format!("{}-{event_type}", case.topic());
    let first = register(&subject("Placed"), ORDER);
    // As a version of the same subject it is refused; as a type of its own it is the first.
    let folder = folder("schemas");
    std::fs::write(folder.path().join(format!("{}.json", subject("Placed"))), ORDER_V2).unwrap();
    let refused = schema_command(folder.path(), &["check"]);
    assert!(refused.code == 1 && refused.stdout.contains("is not compatible"), "{refused:?}");
    let second = register(&subject("Placed.v2"), ORDER_V2);

    let mut walpost =
        case.settings.clone().env("WALPOST_REGISTRY_SUBJECT", "{topic}-{type}").start();
    walpost.wait_until_ready();
    // The producer writes both while there are consumers of the first.
    case.database.execute(
        "insert into outbox values
            (1, 'order', 'k', 'Placed', '{\"total\": 12.30}'),
            (2, 'order', 'k', 'Placed.v2', '{\"total\": \"12.30\", \"currency\": \"EUR\"}'),
            (3, 'order', 'k', 'Placed.v2', '{\"total\": 12.30}'),
            (4, 'order', 'k', 'Placed', '{\"total\": 5}')",
    );
    let records = Kafka::shared().wait_for_records(&case.topic(), 3);
    let of = |event_type: &'static str| {
        records.iter().filter(move |record| record.header("ce_type") == Some(event_type))
    };
    let old: Vec<First> =
        of("Placed").map(|record| serde_json::from_str(record.value_text()).unwrap()).collect();
    assert_eq!(old, [First { total: 12.30 }, First { total: 5.0 }]);
    let new: Vec<Second> =
        of("Placed.v2").map(|record| serde_json::from_str(record.value_text()).unwrap()).collect();
    assert_eq!(new, [Second { total: "12.30".to_owned(), currency: "EUR".to_owned() }]);
    let ids = |event_type| {
        of(event_type).map(|record| {
            record.header("ce_dataschema").unwrap().rsplit('/').next().unwrap().to_owned()
        })
    };
    assert!(ids("Placed").all(|id| id == first.to_string()), "{records:?}");
    assert!(ids("Placed.v2").all(|id| id == second.to_string()), "{records:?}");
    // A row that says the new type and has the old form reaches no consumer.
    let letters = Kafka::shared().wait_for_records(&format!("{}.dlq", case.database.name()), 1);
    assert_eq!((letters.len(), letters[0].value_text()), (1, "{\"total\": 12.30}"));
}
