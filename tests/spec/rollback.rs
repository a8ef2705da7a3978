//! Goal: an older walpost goes on from the checkpoint of a newer one, or says that it cannot.
//! Method: the record that the newer one would have left behind is written to the checkpoint topic
//! while nobody runs: the next generation, with fields that this program does not know.

use serde_json::{Value, json};

use super::checkpoint_command::{done, wait_for_halt};
use super::servers::{Database, Kafka, Postgres, Settings, until};

/// The topic of the connector that [`Settings::new`] names.
fn checkpoints(database: &Database) -> String {
    format!("walpost.checkpoint.{0}.{0}", database.name())
}

/// The newest record of the topic and its key.
#[track_caller]
fn newest(database: &Database, kafka: &Kafka) -> (String, Value) {
    let records = kafka.records(&checkpoints(database));
    let with_value = records.iter().filter(|record| record.value.is_some());
    let all = with_value.map(|record| (record.key_text().to_owned(), record.value_json()));
    all.max_by_key(|(_, value)| (value["generation"].as_u64(), value["resume_lsn"].to_string()))
        .unwrap()
}

/// Three rows are delivered, and the relay is stopped.
#[track_caller]
fn begun(database: &Database, kafka: &Kafka) -> Settings {
    database.create_outbox();
    let settings = Settings::new(database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 3, 2);
    kafka.wait_for_records(&format!("{}.order", database.name()), 3);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    settings
}

/// What a newer program leaves behind: it had taken over, so its generation is the next one.
#[track_caller]
fn write_as_newer(database: &Database, kafka: &Kafka, change: impl FnOnce(&mut Value)) {
    let (_, mut record) = newest(database, kafka);
    let generation = record["generation"].as_u64().unwrap() + 1;
    record["generation"] = generation.into();
    record["nonce"] = "newer".into();
    change(&mut record);
    let (key, value) = (format!("0/{generation}"), record.to_string());
    kafka.write(&checkpoints(database), Some(key.as_bytes()), Some(value.as_bytes()));
}

#[test]
fn after_a_rollback_the_older_program_goes_on_from_a_checkpoint_with_newer_fields_and_keeps_them() {
    let (database, kafka) = (Postgres::newest().database("rollback"), Kafka::shared());
    let settings = begun(&database, kafka);
    write_as_newer(&database, kafka, |record| {
        record["later"] = json!({"deep": [1, {"er": null}]});
        record["a_list"] = json!(["of", "things"]);
        record["kept"]["later"] = json!(1);
        for floor in record["floors"].as_array_mut().unwrap() {
            floor["later"] = json!("x");
        }
    });
    let (_, by_newer) = newest(&database, kafka);
    assert_eq!(by_newer["nonce"], "newer");

    database.insert_rows("order", 4, 3, 2);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    kafka.wait_for_records(&format!("{}.order", database.name()), 6);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    let records = kafka.records(&format!("{}.order", database.name()));
    let mut numbers: Vec<_> = records.iter().map(|r| r.value_json()["n"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=6).map(Some).collect::<Vec<_>>(), "each once");

    let (_, by_older) = newest(&database, kafka);
    assert!(by_older["generation"].as_u64() > by_newer["generation"].as_u64(), "{by_older}");
    assert_ne!(by_older["nonce"], "newer");
    for field in ["later", "a_list"] {
        assert_eq!(by_older[field], by_newer[field], "{field} in {by_older}");
    }
    let shown = done(&settings, &["checkpoint", "show"]);
    assert!(!shown.contains("unreadable"), "{shown}");
}

#[test]
fn a_checkpoint_of_a_newer_format_halts_and_is_left_to_the_newer_program() {
    let (database, kafka) = (Postgres::newest().database("format"), Kafka::shared());
    let settings = begun(&database, kafka);
    write_as_newer(&database, kafka, |record| record["format"] = json!(2));
    let by_newer = newest(&database, kafka);
    let ends = |kafka: &Kafka| kafka.records(&checkpoints(&database)).len();
    let before = ends(kafka);

    database.insert_rows("order", 4, 3, 2);
    let mut walpost = settings.start();
    wait_for_halt(&walpost, "checkpoint_newer");
    assert_eq!(walpost.get("/readyz").status, 503, "a rolling back must not seem done");
    let halt = walpost.get("/status.json").json()["halt"].clone();
    assert!(halt["hint"].as_str().unwrap().contains("start the newer walpost again"), "{halt}");
    assert_eq!(newest(&database, kafka), by_newer);
    assert_eq!(ends(kafka), before, "nothing was written behind it");
    assert_eq!(kafka.records(&format!("{}.order", database.name())).len(), 3, "nothing was sent");

    // The newer one starts again, and goes on: played by this program with a record that it knows.
    walpost.terminate();
    walpost.wait();
    let mut known = by_newer.1;
    known["format"] = json!(1);
    let known = known.to_string();
    kafka.write(&checkpoints(&database), Some(by_newer.0.as_bytes()), Some(known.as_bytes()));
    write_as_newer(&database, kafka, |_| ());
    let mut newer = settings.start();
    newer.wait_until_ready();
    let topic = format!("{}.order", database.name());
    until("the rows that waited", || (kafka.records(&topic).len() == 6).then_some(()));
    newer.terminate();
    assert_eq!(newer.wait(), 0, "{}", newer.log());
}
