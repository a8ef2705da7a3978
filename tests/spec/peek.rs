//! Goal: what `walpost peek` shows is what the relay sends.
//! Method: both, of the same rows, compared member by member.

use serde_json::{Value, json};

use super::servers::{Kafka, Postgres, Record, Settings};

/// A record as `peek --json` writes it, less what only the stream knows.
fn as_peeked(record: &Record) -> Value {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    };
    let headers =
        record.headers.iter().map(|(name, value)| json!({"name": name, "value": text(value)}));
    json!({
        "topic": record.topic,
        "key": text(&record.key),
        "headers": headers.collect::<Vec<_>>(),
        "value": text(&record.value),
    })
}

#[track_caller]
fn peeked(settings: &Settings, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = ["peek", "--json"].iter().chain(arguments).copied().collect();
    let finished = settings.clone().arguments(&arguments).run();
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sent_members(events: &[Value]) -> Vec<Value> {
    let members = |event: &Value| {
        json!({
            "topic": event["topic"],
            "key": event["key"],
            "headers": event["headers"],
            "value": event["value"],
        })
    };
    events.iter().map(members).collect()
}

#[test]
fn the_newest_rows_are_shown_as_the_relay_sends_them() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("peek"), Kafka::shared());
        database.create_outbox();
        let settings = Settings::new(&database, kafka);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        database.insert_rows("order", 1, 20, 3);
        let records = kafka.wait_for_records(&format!("{}.order", database.name()), 20);
        let newest = peeked(&settings, &["-n", "5"]);
        let sent: Vec<_> = records[15..].iter().map(as_peeked).collect();
        assert_eq!(sent_members(&newest), sent);
        assert_eq!(peeked(&settings, &[]).len(), 10, "ten by default");

        let text = settings.clone().env("COLUMNS", "60").arguments(&["peek", "-n", "1"]).run();
        assert!(text.stdout.contains("ce_type: Placed"), "{}", text.stdout);
        assert!(text.stdout.lines().all(|line| line.chars().count() <= 60), "{}", text.stdout);
    }
}

#[test]
fn a_bad_row_is_shown_as_its_dead_letter() {
    let (database, kafka) = (Postgres::newest().database("peek_bad"), Kafka::shared());
    database.create_outbox();
    database.insert_rows("no topic", 1, 1, 1);
    let settings = Settings::new(&database, kafka);
    let shown = peeked(&settings, &[]);
    assert_eq!(shown[0]["bad_row"]["reason"], "illegal_name");
    assert_eq!(shown[0]["topic"], format!("{}.dlq", database.name()));
    let text = settings.arguments(&["peek"]).run().stdout;
    assert!(text.contains("bad row: ") && text.contains("illegal_name"), "{text}");
}

#[test]
fn a_role_that_may_not_read_the_table_is_told_so() {
    let (database, kafka) = (Postgres::newest().database("peek_role"), Kafka::shared());
    database.create_outbox();
    let role = format!("{}_reader", database.name());
    database.execute(&format!("create role {role} login replication"));
    let url = database.url().replace("postgres://postgres@", &format!("postgres://{role}@"));
    let settings = Settings::new(&database, kafka).env("DATABASE_URL", url).arguments(&["peek"]);
    let finished = settings.run();
    database.execute(&format!("drop role {role}"));
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("GRANT SELECT ON public.outbox"), "{}", finished.stderr);
}

#[test]
fn what_an_idle_slot_holds_is_shown_and_stays() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("peek_slot"), Kafka::shared());
        database.create_outbox();
        let settings = Settings::new(&database, kafka);
        let topic = format!("{}.order", database.name());
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        database.insert_rows("order", 1, 3, 1);
        kafka.wait_for_records(&topic, 3);
        let busy = settings.clone().arguments(&["peek", "--slot"]).run();
        assert_eq!(busy.code, 1);
        assert!(busy.stderr.contains("is in use"), "{}", busy.stderr);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);

        database.insert_rows("order", 4, 30, 2);
        let place = format!(
            "select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}'",
            database.name()
        );
        let before = database.value(&place);
        let held = peeked(&settings, &["--slot", "-n", "100"]);
        assert_eq!(held.len(), 30);
        assert_eq!(held[29]["ordinal"], 29);
        assert_eq!(peeked(&settings, &["--slot", "-n", "2"])[..], held[..2]);
        assert_eq!(database.value(&place), before, "nothing is consumed");

        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let records = kafka.wait_for_records(&topic, 33);
        let sent: Vec<_> = records[3..].iter().map(as_peeked).collect();
        assert_eq!(sent_members(&held), sent);
    }
}
