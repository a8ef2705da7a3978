//! Goal: what a schema registry says is what consumers get, and no row is lost or sent unchecked when
//! the registry is away.
//! Method: a real Apicurio; schemas come to it by `walpost schema register`. What Confluent's own
//! serializers and deserializers say to the same bytes is asked by deploy/test-tools/registry.

use std::path::Path;

use crate::servers::registry::Registry;
use crate::servers::{Database, Kafka, Postgres, Settings, folder, until};

mod messages;
mod tls;
mod versions;

/// An order; its total is any number.
const ORDER: &str = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
    "properties": {"total": {"type": "number"}}, "required": ["total"], "additionalProperties": false}"#;

/// The same with one property more, which no order needs.
const ORDER_2: &str = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
    "properties": {"total": {"type": "number"}, "note": {"type": "string"}}, "required": ["total"],
    "additionalProperties": false}"#;

/// An order whose total is a text.
const ORDER_BROKEN: &str = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
    "properties": {"total": {"type": "string"}}, "required": ["total"], "additionalProperties": false}"#;

/// A relay of its own database, in a mode of the registry.
struct Case {
    database: Database,
    settings: Settings,
}

impl Case {
    #[track_caller]
    fn new(name: &str, mode: &str, url: &str) -> Self {
        let database = Postgres::newest().database(name);
        database.execute(
            "create table outbox (id int primary key, aggregatetype text, aggregateid text, type text, payload json)",
        );
        let settings = Settings::new(&database, Kafka::shared())
            .env("WALPOST_REGISTRY_URL", url)
            .env("WALPOST_REGISTRY_MODE", mode)
            .env("WALPOST_REGISTRY_REFRESH", "1s");
        Self { database, settings }
    }

    fn topic(&self) -> String {
        format!("{}.order", self.database.name())
    }

    fn subject(&self) -> String {
        format!("{}-value", self.topic())
    }

    fn insert(&self, id: u32, payload: &str) {
        self.database.execute(&format!(
            "insert into outbox values ({id}, 'order', 'k', 'Placed', {payload})"
        ));
    }

    /// Registers a schema under the subject of the topic; returns its id.
    #[track_caller]
    fn register(&self, schema: &str) -> u32 {
        register(&self.subject(), schema)
    }
}

fn schema_command(folder: &Path, words: &[&str]) -> crate::servers::walpost::Finished {
    let (command, rest) = words.split_first().unwrap();
    let folder = folder.to_str().unwrap();
    let arguments = [&["schema", command, folder][..], rest].concat();
    Settings::none()
        .env("WALPOST_REGISTRY_URL", Registry::shared().url())
        .arguments(&arguments)
        .run()
}

#[track_caller]
fn register(subject: &str, schema: &str) -> u32 {
    let folder = folder("schemas");
    std::fs::write(folder.path().join(format!("{subject}.json")), schema).unwrap();
    let done = schema_command(folder.path(), &["register", "--yes", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let said: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let id = said["schemas"][0]["id"].as_u64();
    id.unwrap_or_else(|| panic!("no id: {said}")).try_into().unwrap()
}

#[test]
fn a_payload_that_fits_its_schema_is_sent_unchanged_and_says_where_the_schema_is() {
    let case = Case::new("validate", "validate", &Registry::shared().url());
    let id = case.register(ORDER);
    let mut walpost = case.settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{ \"total\" : 12.30 }'");
    case.insert(2, "'{\"total\": \"hunter2\"}'");
    case.insert(3, "null");
    case.insert(4, "'{\"total\": 1e2}'");
    let records = Kafka::shared().wait_for_records(&case.topic(), 3);
    let values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
    let expected =
        [Some(b"{ \"total\" : 12.30 }".to_vec()), None, Some(b"{\"total\": 1e2}".to_vec())];
    assert_eq!(values, expected);
    let address = format!("{}/schemas/ids/{id}", Registry::shared().url());
    let addresses: Vec<_> = records.iter().map(|record| record.header("ce_dataschema")).collect();
    assert_eq!(addresses, [Some(address.as_str()), None, Some(address.as_str())]);

    let letters = Kafka::shared().wait_for_records(&format!("{}.dlq", case.database.name()), 1);
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.header("walpost-error-reason"), Some("schema_mismatch"));
    assert_eq!(letter.header("walpost-error-attribute"), Some("payload"));
    assert_eq!(letter.value_text(), "{\"total\": \"hunter2\"}");
    let message = letter.header("walpost-error-message").unwrap();
    assert!(message.contains("/properties/total/type"), "{message}");
    assert!(!message.contains("hunter2") && !walpost.log().contains("hunter2"), "{message}");
}

#[test]
fn a_framed_value_begins_with_the_id_of_its_schema_and_ends_with_the_payload_as_it_was() {
    let case = Case::new("prefix", "prefix", &Registry::shared().url());
    let first = case.register(ORDER);
    let mut walpost = case.settings.start();
    walpost.wait_until_ready();
    let framed = |id: u32, payload: &[u8]| [&[0][..], &id.to_be_bytes(), payload].concat();
    case.insert(1, "'{ \"total\" : 12.30 }'");
    case.insert(2, "null");
    case.insert(3, "'{\"total\": 1, \"note\": \"n\"}'");
    let records = Kafka::shared().wait_for_records(&case.topic(), 2);
    let values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
    assert_eq!(values, [Some(framed(first, b"{ \"total\" : 12.30 }")), None]);
    assert_eq!(records[0].header("content-type"), Some("application/json"));
    let shown = case.settings.clone().arguments(&["peek", "--json"]).run();
    assert!(shown.code == 0 && shown.stdout.contains("dataschema"), "{shown:?}");

    // A newer version is taken by itself, and rows that the older one refused are taken then.
    let second = case.register(ORDER_2);
    assert_ne!(first, second);
    walpost.wait_for_line(&format!("\"id\":{second},"));
    case.insert(4, "'{\"total\": 1, \"note\": \"n\"}'");
    let records = Kafka::shared().wait_for_records(&case.topic(), 3);
    assert_eq!(records[2].value, Some(framed(second, b"{\"total\": 1, \"note\": \"n\"}")));
    let letters = Kafka::shared().records(&format!("{}.dlq", case.database.name()));
    assert_eq!(letters.len(), 1, "row 3 came before its schema: {letters:?}");
}

#[test]
fn rows_wait_for_a_registry_that_is_away_and_known_schemas_are_used_without_it() {
    let door = Registry::shared().door();
    let case = Case::new("away", "validate", &door.url());
    case.register(ORDER);
    door.close();
    let mut walpost = case.settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"total\": 1}'");
    case.insert(2, "'{\"total\": 2}'");
    walpost.wait_for_state("backpressured");
    let status = until("the status names the registry", || {
        let status = walpost.try_get("/status.json")?.json();
        status["waits_for_registry"].is_string().then_some(status)
    });
    let verdict = status["verdict"].as_str().unwrap();
    assert!(verdict.contains("wait for the schema registry"), "{verdict}");
    assert!(status["errors"][0]["code"] == "registry", "{status:#}");
    let dlq = format!("{}.dlq", case.database.name());
    assert!(Kafka::shared().records_of(&[&case.topic(), &dlq]).is_empty());

    door.open_again();
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 2).len(), 2);
    walpost.wait_for_state("streaming");
    door.close();
    walpost.wait_for_line("no newer schema is known");
    case.insert(3, "'{\"total\": 3}'");
    case.insert(4, "'{\"total\": \"4\"}'");
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 3).len(), 3);
    assert_eq!(Kafka::shared().wait_for_records(&dlq, 1).len(), 1);
    assert_eq!(walpost.get("/readyz").status, 200);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn a_password_of_the_registry_that_is_rotated_in_its_file_is_taken() {
    let door = Registry::shared().door();
    let case = Case::new("rotated", "validate", &door.url());
    case.register(ORDER);
    // `walpost:right` in base64, as RFC 7617 has it.
    door.ask_for("Basic d2FscG9zdDpyaWdodA==");
    let folder = folder("password");
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let settings = case
        .settings
        .clone()
        .env("WALPOST_REGISTRY_USERNAME", "walpost")
        .env("WALPOST_REGISTRY_PASSWORD_FILE", file.to_str().unwrap());
    let check = settings.clone().arguments(&["check", "--json"]).run();
    assert!(check.stdout.contains("WALPOST_REGISTRY_PASSWORD"), "{check:?}");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"total\": 1}'");
    let status = until("a halt", || {
        let status = walpost.try_get("/status.json")?.json();
        (status["halt"]["code"] == "authentication").then_some(status)
    });
    let hint = status["halt"]["hint"].as_str().unwrap();
    assert!(hint.contains("WALPOST_REGISTRY_PASSWORD"), "{hint}");
    std::fs::write(&file, "right\n").unwrap();
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 1).len(), 1);
    walpost.wait_for_state("streaming");
    assert!(!walpost.log().contains("d2FscG9zd"), "no password in the log");
}

#[test]
fn a_row_without_a_schema_is_a_bad_row_and_one_after_it_was_registered_is_none() {
    let case = Case::new("absent", "validate", &Registry::shared().url());
    let settings = case.settings.clone().env("WALPOST_REGISTRY_SUBJECT", "{topic}-{type}");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"total\": 1}'");
    let dlq = format!("{}.dlq", case.database.name());
    let letters = Kafka::shared().wait_for_records(&dlq, 1);
    assert_eq!(letters[0].header("walpost-error-reason"), Some("schema_mismatch"));
    let subject = format!("{}-Placed", case.topic());
    assert!(walpost.log().contains(&subject), "the log names the subject: {}", walpost.log());
    register(&subject, ORDER);
    let mut id = 1;
    until("rows are taken once the registry has a schema", || {
        id += 1;
        case.insert(id, "'{\"total\": 1}'");
        std::thread::sleep(std::time::Duration::from_millis(200));
        (!Kafka::shared().records(&case.topic()).is_empty()).then_some(())
    });
}

#[test]
fn a_wrong_address_of_the_registry_makes_no_row_bad() {
    // A web server that says 404 to everything: the registry's own, below another path.
    let url = Registry::shared().url().replace("/apis/ccompat/v7", "/wrong");
    let case = Case::new("wrongly", "validate", &url);
    let mut walpost = case.settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"total\": 1}'");
    let line = walpost.wait_for_line("rows wait for the schema registry");
    assert!(line.contains("WALPOST_REGISTRY_URL"), "{line}");
    let dlq = format!("{}.dlq", case.database.name());
    assert!(Kafka::shared().records_of(&[&case.topic(), &dlq]).is_empty());
}

#[test]
fn schemas_in_files_are_tested_before_they_are_registered() {
    let folder = folder("schemas");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    let said = |words: &[&str], code: i32, expected: &[&str]| {
        let done = schema_command(folder.path(), words);
        assert_eq!(done.code, code, "{done:?}");
        let all = format!("{}{}", done.stdout, done.stderr);
        expected.iter().for_each(|text| assert!(all.contains(text), "no `{text}` in {all}"));
    };
    said(&["check"], 1, &["has no schemas"]);
    let order = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": {"customer": {"$ref": "files-customer.json"}}}"#;
    write("files-order-value.json", order);
    write("files-customer.json", ORDER);
    said(&["check"], 0, &["files-customer", "new", "waiting", "2 to be registered"]);
    said(&["register"], 0, &["2 to be registered", "--yes registers"]);
    said(&["register", "--dry-run"], 0, &["nothing was changed"]);
    said(&["check"], 0, &["2 to be registered"]);
    said(&["register", "--yes"], 0, &["done: 2 registered"]);
    said(&["check"], 0, &["the registry has them all", "unchanged, version 1"]);

    write("files-customer.json", ORDER_2);
    said(&["check"], 0, &["files-customer     compatible"]);
    write("files-customer.json", ORDER_BROKEN);
    write("files-another.json", ORDER);
    said(&["check", "--json"], 1, &["\"ok\": false", "is not compatible with version 1"]);
    said(&["register", "--yes"], 1, &["REFUSED", "nothing was registered"]);
    write(
        "files-customer.json",
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": 7}"#,
    );
    said(&["check"], 1, &["is no JSON Schema"]);
    std::fs::remove_file(folder.path().join("files-another.json")).unwrap();
    write("files-customer.json", ORDER);
    said(&["check"], 0, &["the registry has them all"]);

    let none = Settings::none().arguments(&["schema", "check", "."]).run();
    assert_eq!(none.code, 78, "{none:?}");
    assert!(none.stderr.contains("WALPOST_REGISTRY_URL"), "{none:?}");
    let nobody = Settings::none()
        .env("WALPOST_REGISTRY_URL", "http://127.0.0.1:1")
        .arguments(&["schema", "check", folder.path().to_str().unwrap()])
        .run();
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.stderr.contains("is not reached"), "{nobody:?}");
}

#[test]
fn a_schema_that_uses_others_checks_what_they_say() {
    let case = Case::new("refers", "validate", &Registry::shared().url());
    let folder = folder("schemas");
    let part = format!("{}.part.json", case.database.name());
    let whole = format!(
        r#"{{"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/order.json",
        "type": "object", "properties": {{"first": {{"$ref": "{part}"}}}}}}"#
    );
    std::fs::write(folder.path().join(&part), ORDER).unwrap();
    std::fs::write(folder.path().join(format!("{}.json", case.subject())), whole).unwrap();
    let done = schema_command(folder.path(), &["register", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    let mut walpost = case.settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"first\": {\"total\": 1}}'");
    case.insert(2, "'{\"first\": {\"total\": \"1\"}}'");
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 1).len(), 1);
    let dlq = format!("{}.dlq", case.database.name());
    assert_eq!(Kafka::shared().wait_for_records(&dlq, 1).len(), 1);
}
