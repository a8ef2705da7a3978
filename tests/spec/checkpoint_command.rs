//! Goal: a halt that may have cost rows ends only by a decision, which names the range, and after
//! it the relay goes on.
//! Method: make the loss, read what `accept` prints, run the query that it prints, and compare
//! with what never arrived.

use std::collections::BTreeSet;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use super::servers::walpost::{Finished, Walpost};
use super::servers::{Database, Kafka, PATIENCE, Postgres, Settings, until};

/// Waits until walpost is halted under this word.
#[track_caller]
pub(crate) fn wait_for_halt(walpost: &Walpost, code: &str) {
    until(&format!("halted: {code}"), || {
        let halted = walpost.try_get("/metrics")?;
        let halted = super::servers::Metrics::parse(&halted.body);
        (halted.sum("walpost_halted", &[("code", code)]) > 0.0).then_some(())
    });
}

#[track_caller]
pub(crate) fn command(settings: &Settings, arguments: &[&str]) -> Finished {
    settings.clone().arguments(arguments).run()
}

/// As [`command`], which must succeed; gives back what it printed.
#[track_caller]
pub(crate) fn done(settings: &Settings, arguments: &[&str]) -> String {
    let finished = command(settings, arguments);
    assert_eq!(finished.code, 0, "{arguments:?}: {}{}", finished.stdout, finished.stderr);
    finished.stdout
}

#[track_caller]
fn stored(settings: &Settings) -> Value {
    serde_json::from_str(&done(settings, &["checkpoint", "show", "--json"])).unwrap()
}

/// The numbers of the rows that the printed queries list.
#[track_caller]
pub(crate) fn listed(database: &Database, printed: &str) -> BTreeSet<u64> {
    let queries: Vec<_> =
        printed.lines().map(str::trim).filter(|line| line.starts_with("SELECT ")).collect();
    assert!(!queries.is_empty(), "no query in:\n{printed}");
    let numbers = queries.iter().flat_map(|query| {
        let query = query.trim_end_matches(';');
        database.query(&format!("select payload->>'n' from ({query}) q"))
    });
    numbers.map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
}

/// The numbers of the rows that have arrived.
#[track_caller]
pub(crate) fn arrived(kafka: &Kafka, topic: &str) -> BTreeSet<u64> {
    let records = kafka.records(topic);
    records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect()
}

/// The generation of a first start: one record says that a snapshot begins, the next one where.
const FIRST: u64 = 2;

/// Starts, sends three rows, stops.
#[track_caller]
fn begun(settings: &Settings, database: &Database, kafka: &Kafka) -> String {
    let topic = format!("{}.order", database.name());
    database.create_outbox();
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 3, 2);
    kafka.wait_for_records(&topic, 3);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    topic
}

fn slot_place(database: &Database) -> String {
    let name = database.name();
    database.value(&format!(
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = '{name}'"
    ))
}

fn log_end(database: &Database) -> String {
    database.value("select pg_current_wal_lsn()")
}

#[test]
fn the_stored_place_is_shown_beside_the_slots() {
    let (database, kafka) = (Postgres::newest().database("show"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let none = done(&settings, &["checkpoint", "show"]);
    assert!(none.contains("checkpoint  none"), "{none}");
    begun(&settings, &database, kafka);
    let shown = stored(&settings);
    assert_eq!(shown["checkpoint"]["generation"], FIRST);
    assert_eq!(shown["slot"]["active"], false);
    assert!(shown["written_at"].is_string(), "{shown}");
    let text = done(&settings, &["checkpoint", "show"]);
    for part in ["generation 2, written 2", "sent        up to transaction ", "idle"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Without the database, half of it.
    let away =
        settings.env("DATABASE_URL", format!("postgres://x@127.0.0.1:1/{}", database.name()));
    let shown = stored(&away.env("WALPOST_NAME", format!("{0}.{0}", database.name())));
    assert_eq!(shown["checkpoint"]["generation"], FIRST);
    assert!(shown["database_error"].is_string(), "{shown}");
}

#[test]
fn without_a_halt_there_is_nothing_to_accept() {
    let (database, kafka) = (Postgres::newest().database("nothing"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    begun(&settings, &database, kafka);
    for arguments in [&["checkpoint", "accept"][..], &["checkpoint", "accept", "--yes"]] {
        let said = done(&settings, arguments);
        assert!(said.contains("nothing to decide"), "{said}");
    }
    assert_eq!(stored(&settings)["checkpoint"]["generation"], FIRST);
}

#[test]
fn a_slot_that_somebody_moved_is_accepted_with_the_range_named() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("ahead"), Kafka::shared());
        let settings = Settings::new(&database, kafka);
        let topic = begun(&settings, &database, kafka);
        database.insert_rows("order", 4, 5, 2);
        let name = database.name();
        database.value(&format!(
            "select end_lsn from pg_replication_slot_advance('{name}', pg_current_wal_lsn())"
        ));
        let mut walpost = settings.start();
        wait_for_halt(&walpost, "slot_ahead");

        let dry = done(&settings, &["checkpoint", "accept"]);
        assert!(dry.contains("halts       slot_ahead") && dry.contains("--yes"), "{dry}");
        assert!(dry.contains("may be missing in Kafka"), "{dry}");
        let lost = listed(&database, &dry);
        assert!((4..9).all(|n| lost.contains(&n)), "{lost:?} in {dry}");
        assert_eq!(
            stored(&settings)["checkpoint"]["generation"],
            FIRST,
            "a dry run writes nothing"
        );

        let said = done(&settings, &["checkpoint", "accept", "--yes"]);
        assert!(said.contains("done        generation 3"), "{said}");
        walpost.wait_until_ready();
        database.insert_rows("order", 100, 3, 2);
        kafka.wait_for_records(&topic, 6);
        assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 100, 101, 102]));
        // What it printed brings the missing rows.
        let printed = dry.lines().find_map(|line| line.trim().strip_prefix("walpost "));
        let replay: Vec<_> = printed.unwrap().split(' ').chain(["--yes"]).collect();
        done(&settings, &replay);
        assert!((4..9).all(|n| arrived(kafka, &topic).contains(&n)), "{replay:?}");
        let again = done(&settings, &["checkpoint", "accept", "--yes"]);
        assert!(again.contains("nothing to decide"), "{again}");
    }
}

#[test]
fn a_slot_that_is_gone_is_made_anew() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("gone"), Kafka::shared());
        let settings = Settings::new(&database, kafka);
        let topic = begun(&settings, &database, kafka);
        database.value(&format!("select pg_drop_replication_slot('{}')", database.name()));
        database.insert_rows("order", 4, 5, 2);
        let mut walpost = settings.start();
        wait_for_halt(&walpost, "slot_missing");
        let said = done(&settings, &["checkpoint", "accept", "--yes"]);
        let lost = listed(&database, &said);
        assert!((4..9).all(|n| lost.contains(&n)), "{lost:?} in {said}");
        walpost.wait_until_ready();
        database.insert_rows("order", 100, 3, 2);
        kafka.wait_for_records(&topic, 6);
        assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 100, 101, 102]));
    }
}

#[test]
fn a_slot_whose_log_was_removed_is_dropped_and_made_anew() {
    let limits = ["max_slot_wal_keep_size=16MB", "min_wal_size=32MB", "max_wal_size=32MB"];
    let server = Postgres::start_with(18, &limits);
    let (database, kafka) = (server.database("lost"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let topic = begun(&settings, &database, kafka);
    database.insert_rows("order", 4, 5, 2);
    let name = database.name();
    until("the slot to be lost", || {
        database
            .execute("create table if not exists filler (n int); insert into filler values (1)");
        database.value("select pg_switch_wal()");
        database.execute("checkpoint");
        let status = database.value(&format!(
            "select wal_status from pg_replication_slots where slot_name = '{name}'"
        ));
        (status == "lost").then_some(())
    });
    let mut walpost = settings.start();
    wait_for_halt(&walpost, "slot_lost");
    let said = done(&settings, &["checkpoint", "accept", "--yes"]);
    let lost = listed(&database, &said);
    assert!((4..9).all(|n| lost.contains(&n)), "{lost:?} in {said}");
    walpost.wait_until_ready();
    database.insert_rows("order", 100, 3, 2);
    kafka.wait_for_records(&topic, 6);
    assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 100, 101, 102]));
}

#[test]
fn another_database_system_is_accepted_from_where_its_slot_stands() {
    let (before, after) =
        (Postgres::oldest().database("moved"), Postgres::newest().database("moved"));
    let kafka = Kafka::shared();
    let settings = Settings::new(&before, kafka).env("WALPOST_NAME", before.name());
    let topic = begun(&settings, &before, kafka);
    after.create_outbox();
    after.execute("create publication walpost for table outbox with (publish = 'insert', publish_via_partition_root)");
    after.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{}', 'pgoutput')",
        before.name()
    ));
    after.insert_rows("order", 100, 3, 2);
    let settings = settings.env("DATABASE_URL", after.url());
    let mut walpost = settings.start();
    wait_for_halt(&walpost, "system_changed");
    let said = done(&settings, &["checkpoint", "accept", "--yes"]);
    assert!(said.contains("halts       system_changed"), "{said}");
    walpost.wait_until_ready();
    kafka.wait_for_records(&topic, 6);
    assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 100, 101, 102]));
}

#[test]
fn a_checkpoint_topic_that_somebody_wrote_to_is_put_right() {
    let (database, kafka) = (Postgres::newest().database("garbage"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let topic = begun(&settings, &database, kafka);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let checkpoints = format!("walpost.checkpoint.{0}.{0}", database.name());
    producer.send(BaseRecord::<str, str>::to(&checkpoints).key("x").payload("garbage")).unwrap();
    producer.flush(PATIENCE).unwrap();
    database.insert_rows("order", 4, 2, 2);
    let mut walpost = settings.start();
    wait_for_halt(&walpost, "checkpoint_lost");
    let shown = command(&settings, &["checkpoint", "show"]);
    assert_eq!(shown.code, 1);
    assert!(shown.stdout.contains("unreadable  offset"), "{}", shown.stdout);
    done(&settings, &["checkpoint", "accept", "--yes"]);
    walpost.wait_until_ready();
    let records = kafka.wait_for_records(&topic, 5);
    assert_eq!(arrived(kafka, &topic), (1..6).collect(), "{records:?}");
    // And a start after it reads the good record.
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    settings.start().wait_until_ready();
}

#[test]
fn a_place_is_set_only_where_the_stream_can_go_on() {
    let (database, kafka) = (Postgres::newest().database("set"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let topic = begun(&settings, &database, kafka);
    let slot = slot_place(&database);
    database.insert_rows("order", 4, 2, 2);
    let skip_to = log_end(&database);
    database.insert_rows("order", 6, 2, 2);

    let refused = |lsn: &str, why: &str| {
        let finished = command(&settings, &["checkpoint", "set", "--resume-lsn", lsn, "--yes"]);
        assert_eq!(finished.code, 1, "{}", finished.stdout);
        assert!(finished.stderr.contains(why), "{}", finished.stderr);
    };
    refused("0/1", "is before slot");
    refused("FFFFFFFF/0", "is after the end");
    assert_eq!(command(&settings, &["checkpoint", "set", "--yes"]).code, 2, "no place is named");

    let dry = done(&settings, &["checkpoint", "set", "--resume-lsn", &skip_to]);
    assert!(dry.contains("are skipped and will not be sent"), "{dry}");
    assert_eq!(stored(&settings)["checkpoint"]["generation"], FIRST, "a dry run writes nothing");
    done(&settings, &["checkpoint", "set", "--resume-lsn", &skip_to, "--yes"]);
    let back = done(&settings, &["checkpoint", "set", "--resume-lsn", &slot]);
    assert!(back.contains("are sent again"), "{back}");

    let mut walpost = settings.start();
    walpost.wait_until_ready();
    kafka.wait_for_records(&topic, 5);
    assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 6, 7]), "4 and 5 were skipped");

    let end = log_end(&database);
    let busy = command(&settings, &["checkpoint", "set", "--resume-lsn", &end, "--yes"]);
    assert_eq!(busy.code, 1);
    assert!(busy.stderr.contains("is in use"), "{}", busy.stderr);
}

#[test]
fn a_transaction_is_skipped_by_its_commit_record() {
    let (database, kafka) = (Postgres::newest().database("skip"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let topic = begun(&settings, &database, kafka);
    database.insert_rows("order", 4, 2, 2);
    database.insert_rows("order", 6, 2, 2);
    let held = done(&settings, &["peek", "--slot", "--json"]);
    let first: Value = serde_json::from_str(held.lines().next().unwrap()).unwrap();
    let commit = first["commit_lsn"].as_str().unwrap();
    done(&settings, &["checkpoint", "set", "--commit-lsn", commit, "--yes"]);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    kafka.wait_for_records(&topic, 5);
    assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 6, 7]), "4 and 5 were skipped");
}
