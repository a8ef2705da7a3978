//! Goal: walpost goes on behind the last row that a connector sent, and refuses what it cannot prove.
//! Method: write the offset that Debezium would have stored (deploy/test-tools/debezium has a real one) for a row whose
//! place Postgres itself names, adopt it, and see which rows come.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use super::checkpoint_command::{arrived, command, done};
use super::servers::{Database, Kafka, PATIENCE, Postgres, Settings};

const PUBLICATION: &str = "create publication walpost for table outbox with (publish = 'insert', publish_via_partition_root = true)";

struct Scene {
    database: Database,
    kafka: &'static Kafka,
    settings: Settings,
    topic: String,
}

/// An outbox with the connector's publication and slot.
fn scene(server: &Postgres, name: &str) -> Scene {
    let (database, kafka) = (server.database(name), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    database.create_outbox();
    database.execute("create publication dbz_publication for table outbox");
    database.value(&format!(
        "select pg_create_logical_replication_slot('{}_dbz', 'pgoutput')",
        database.name()
    ));
    let topic = format!("{}.order", database.name());
    Scene { database, kafka, settings, topic }
}

impl Scene {
    fn make_publication(&self) {
        self.database.execute(PUBLICATION);
    }

    fn make_slot(&self) {
        self.database.value(&format!(
            "select pg_create_logical_replication_slot('{}', 'pgoutput')",
            self.database.name()
        ));
    }

    /// Stores the offset of a connector that has sent the first `rows` rows and no more.
    fn connector_stops_after(&self, rows: usize) {
        let name = self.database.name();
        let messages = self.database.query(&format!(
            "select lsn - '0/0', xid, chr(get_byte(data, 0)) from pg_logical_slot_peek_binary_changes('{name}_dbz',
                null, null, 'proto_version', '1', 'publication_names', 'dbz_publication')"
        ));
        let (mut sent, mut commit, mut offset) = (0, None, None);
        for message in messages {
            let number = |n: usize| message[n].as_deref().unwrap().parse::<u64>().unwrap();
            match message[2].as_deref().unwrap() {
                "C" => commit = Some(number(0)),
                "I" => {
                    sent += 1;
                    if sent == rows {
                        offset = Some(json!({
                            "lsn": number(0), "lsn_proc": number(0), "lsn_commit": commit, "txId": number(1),
                            "messageType": "INSERT", "lsn_events_processed": 1, "ts_usec": 0,
                        }));
                    }
                }
                _ => {}
            }
        }
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", self.kafka.bootstrap()).create().unwrap();
        let key = format!(r#"["{name}",{{"server":"shop"}}]"#);
        let value = offset.expect("so many rows").to_string();
        let topic = format!("{name}.offsets");
        producer.send(BaseRecord::<str, str>::to(&topic).key(&key).payload(&value)).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let name = self.database.name();
        let mut arguments =
            vec!["adopt".to_owned(), "debezium".to_owned(), format!("--debezium-slot={name}_dbz")];
        if !more.contains(&"--from-slot") {
            arguments.extend(["--connector".to_owned(), name.to_owned()]);
            arguments.extend(["--offsets-topic".to_owned(), format!("{name}.offsets")]);
        }
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments
    }

    #[track_caller]
    fn adopt(&self, more: &[&str]) -> String {
        let arguments = self.arguments(more);
        done(&self.settings, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn refuses(&self, more: &[&str], expected: &str) {
        let arguments = self.arguments(more);
        let finished =
            command(&self.settings, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(finished.code, 1, "{}{}", finished.stdout, finished.stderr);
        assert!(finished.stderr.contains(expected), "{expected}: {}", finished.stderr);
    }

    #[track_caller]
    fn nothing_is_stored(&self) {
        let shown = done(&self.settings, &["checkpoint", "show"]);
        assert!(shown.contains("checkpoint  none"), "{shown}");
    }

    /// Starts, and compares the numbers of the rows that come.
    #[track_caller]
    fn goes_on(&self, expected: std::ops::Range<u64>) {
        let mut walpost = self.settings.start();
        walpost.wait_until_ready();
        let count = usize::try_from(expected.end - expected.start).unwrap();
        self.kafka.wait_for_records(&self.topic, count);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);
        assert_eq!(arrived(self.kafka, &self.topic), expected.collect());
        assert_eq!(self.kafka.committed_records(&self.topic).len(), count);
    }
}

#[test]
fn the_stream_goes_on_behind_the_last_row_that_the_connector_sent() {
    for (server, delivery) in
        [(Postgres::oldest(), "at-least-once"), (Postgres::newest(), "exactly-once")]
    {
        let mut scene = scene(server, "adopt");
        scene.settings = scene.settings.env("WALPOST_DELIVERY", delivery);
        scene.make_publication();
        scene.make_slot();
        for (first, count) in [(1, 3), (4, 5), (9, 2)] {
            scene.database.insert_rows("order", first, count, 2);
        }
        for (rows, ordinal, complete) in [(1, 1, false), (3, 3, true), (6, 3, false), (10, 2, true)]
        {
            scene.connector_stops_after(rows);
            let plan: Value = serde_json::from_str(&scene.adopt(&["--json"])).unwrap();
            assert_eq!(
                (&plan["next_ordinal"], &plan["complete"]),
                (&json!(ordinal), &json!(complete)),
                "{plan}"
            );
            assert_eq!(
                (&plan["written"], &plan["rows_that_may_repeat"]),
                (&json!(false), &json!(0)),
                "{plan}"
            );
        }
        scene.nothing_is_stored();
        scene.connector_stops_after(6);
        let said = scene.adopt(&["--yes"]);
        assert!(said.contains("the first 3 of its 5 rows") && said.contains("is stored"), "{said}");
        scene.refuses(&["--yes"], "is stored already");
        scene.goes_on(7..11);
    }
}

#[test]
fn rows_that_share_a_place_with_the_last_one_are_sent_again() {
    let scene = scene(Postgres::newest(), "adopt_copy");
    scene.make_publication();
    scene.make_slot();
    scene.database.insert_rows("order", 1, 2, 2);
    // Every column is given: with a volatile default COPY writes row by row.
    scene.database.execute(
        r#"copy outbox (id, aggregatetype, aggregateid, type, payload, created_at) from program
            'seq 3 5 | sed "s/.*/00000000-0000-4000-8000-00000000000&|order|key|Placed|{\"n\": &}|2026-01-01/"' (delimiter '|')"#,
    );
    scene.connector_stops_after(4);
    let said = scene.adopt(&["--yes"]);
    assert!(said.contains("up to 3 rows that share a place in the log"), "{said}");
    scene.goes_on(3..6);
}

#[test]
fn a_publication_that_is_younger_than_the_place_is_refused() {
    for (server, why) in
        [(Postgres::oldest(), "did not exist"), (Postgres::newest(), "cannot be proven")]
    {
        let scene = scene(server, "adopt_young");
        scene.refuses(&[], "does not exist in this Kafka");
        scene.make_slot();
        scene.database.insert_rows("order", 1, 3, 2);
        scene.connector_stops_after(3);
        scene.refuses(&["--yes"], "publication walpost does not exist");
        scene.make_publication();
        scene.refuses(&["--yes"], why);
        scene.nothing_is_stored();
        // One more row, sent by the connector after that, is no proof of those before it on 14, where they cannot be
        // read; on 18 it shows the publication at a time after which nothing is missing.
        if why == "cannot be proven" {
            scene.database.insert_rows("order", 4, 2, 2);
            scene.connector_stops_after(4);
            scene.adopt(&["--yes"]);
            scene.goes_on(5..6);
        }
    }
}

#[test]
fn a_slot_that_begins_behind_what_was_sent_is_refused() {
    let scene = scene(Postgres::newest(), "adopt_late");
    scene.make_publication();
    scene.database.insert_rows("order", 1, 3, 2);
    scene.connector_stops_after(3);
    scene.refuses(&["--yes"], "one that is made now begins too late");
    scene.database.insert_rows("order", 4, 3, 2);
    scene.make_slot();
    scene.refuses(&["--yes"], "cannot be proven");
    scene.nothing_is_stored();
    // The connector goes on for one row.
    scene.database.insert_rows("order", 7, 3, 2);
    scene.connector_stops_after(7);
    scene.adopt(&["--yes"]);
    scene.goes_on(8..10);
}

#[test]
fn a_connector_that_is_at_work_is_not_adopted() {
    let scene = scene(Postgres::newest(), "adopt_works");
    scene.make_publication();
    scene.make_slot();
    scene.database.insert_rows("order", 1, 3, 2);
    scene.connector_stops_after(3);
    let name = scene.database.name();
    // In the place of the connector, since it holds the slot and confirms to it as well.
    let mut connector = scene
        .settings
        .second()
        .env("WALPOST_SLOT", format!("{name}_dbz"))
        .env("WALPOST_PUBLICATION", "dbz_publication")
        .env("WALPOST_TOPIC", format!("{name}.by.connector"))
        .start();
    connector.wait_until_ready();
    scene.kafka.wait_for_records(&format!("{name}.by.connector"), 3);
    for more in [&["--yes"][..], &["--from-slot", "--yes"]] {
        scene.refuses(more, "the connector is at work");
    }
    scene.nothing_is_stored();
    connector.terminate();
    assert_eq!(connector.wait(), 0);
    scene.database.insert_rows("order", 4, 3, 2);
    scene.adopt(&["--from-slot", "--yes"]);
    scene.goes_on(4..7);
}
