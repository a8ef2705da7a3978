//! A snapshot that was interrupted begins again: what comes twice is allowed, a gap is not.

use std::time::Duration;

use tokio::time::Instant;

use super::{TABLE, first_deliveries, ids, insert, records_up_to, stop, stored, topic};
use crate::checkpoint_command::{done, wait_for_halt};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Settings, figure, until};

/// A first start that stands still in the middle of its snapshot: row 1 is sent, row 2 is bad and
/// halts, row 3 waits.
#[track_caller]
fn halfway(database: &Database, kafka: &Kafka) -> (Settings, Walpost) {
    database.execute(TABLE);
    insert(database, (1, 3));
    database.execute("update outbox set payload = 'nonsense' where id = '2'");
    let settings = Settings::new(database, kafka).env("WALPOST_NAME", database.name());
    let walpost = settings.clone().env("WALPOST_ON_BAD_ROW", "halt").start();
    wait_for_halt(&walpost, "bad_row");
    kafka.wait_for_records(&topic(database), 1);
    (settings.env("WALPOST_ON_BAD_ROW", "skip"), walpost)
}

/// The pattern in which the table stays empty.
#[track_caller]
fn insert_and_delete(database: &Database, id: &str) {
    database.execute(&format!(
        "begin;
         insert into outbox (id, aggregatetype, aggregateid, type, payload)
             values ('{id}', 'order', 'k', 'Placed', '{{}}');
         delete from outbox where id = '{id}';
         commit"
    ));
}

#[track_caller]
fn slot_at(database: &Database) -> String {
    database.value(&format!(
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}'",
        database.name()
    ))
}

#[test]
fn rows_that_were_inserted_and_deleted_while_a_snapshot_was_interrupted_are_sent() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("interrupted"), Kafka::shared());
        let (settings, mut walpost) = halfway(&database, kafka);
        let at = slot_at(&database);
        insert_and_delete(&database, "while it ran");
        walpost.kill();
        insert_and_delete(&database, "while it was down");
        insert(&database, (4, 4));
        assert_eq!(slot_at(&database), at, "the slot does not move before all rows are sent");
        let mut walpost = settings.start();
        walpost.wait_for_state("streaming");
        insert(&database, (5, 5));
        let records = records_up_to(kafka, &topic(&database), "5");
        // The first attempt; the second snapshot; the stream from the slot on.
        let expected = ["1", "1", "3", "4", "while it ran", "while it was down", "4", "5"];
        assert_eq!(ids(&records), expected);
        let left = "select count(*) from pg_replication_slots where temporary";
        assert_eq!(database.value(left), "0");
        assert!(walpost.log().contains("it begins again"), "{}", walpost.log());
    }
}

#[test]
fn an_interrupted_snapshot_of_rows_without_a_time_keeps_their_time() {
    let (database, kafka) = (Postgres::newest().database("same_time"), Kafka::shared());
    database
        .execute(&TABLE.replace(", created_at timestamptz not null default clock_timestamp()", ""));
    database.execute(
        "insert into outbox values ('1', 'order', 'k', 'Placed', '{}'), ('2', 'order', 'k', 'Placed', 'no')",
    );
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.clone().env("WALPOST_ON_BAD_ROW", "halt").start();
    wait_for_halt(&walpost, "bad_row");
    kafka.wait_for_records(&topic(&database), 1);
    walpost.kill();
    settings.env("WALPOST_ON_BAD_ROW", "skip").start().wait_for_state("streaming");
    let records = kafka.wait_for_records(&topic(&database), 2);
    let times: Vec<_> = records.iter().map(|record| record.header("ce_time").unwrap()).collect();
    assert_eq!((ids(&records), times[0]), (vec!["1", "1"], times[1]));
}

#[test]
fn never_gives_up_a_snapshot_that_was_interrupted_and_counts_the_rows() {
    let (database, kafka) = (Postgres::newest().database("given_up"), Kafka::shared());
    let (settings, mut walpost) = halfway(&database, kafka);
    walpost.kill();
    insert(&database, (4, 4));
    let mut walpost = settings.env("WALPOST_SNAPSHOT", "never").start();
    walpost.wait_for_state("streaming");
    insert(&database, (5, 5));
    assert_eq!(ids(&records_up_to(kafka, &topic(&database), "5")), ["1", "4", "5"]);
    let log = walpost.log();
    assert!(log.contains("gives it up") && log.contains("\"rows\":4"), "{log}");
}

#[test]
fn a_slot_that_is_lost_while_a_snapshot_is_interrupted_needs_a_decision_and_then_all_is_sent() {
    let (database, kafka) = (Postgres::newest().database("lost_halfway"), Kafka::shared());
    let (settings, mut walpost) = halfway(&database, kafka);
    walpost.kill();
    let free = format!(
        "select not active from pg_replication_slots where slot_name = '{}'",
        database.name()
    );
    until("the slot to be free", || (database.value(&free) == "t").then_some(()));
    database.value(&format!("select pg_drop_replication_slot('{}')", database.name()));
    insert(&database, (4, 4));
    let walpost = settings.start();
    wait_for_halt(&walpost, "slot_missing");
    stop(walpost);
    let printed = done(&settings, &["checkpoint", "accept"]);
    assert!(printed.contains("begins the snapshot again"), "{printed}");
    done(&settings, &["checkpoint", "accept", "--yes"]);
    assert_eq!(stored(&settings)["phase"], "snapshot");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    insert(&database, (5, 5));
    let records = records_up_to(kafka, &topic(&database), "5");
    assert_eq!(first_deliveries(&records), ["1", "3", "4", "5"]);
}

#[test]
fn a_snapshot_says_how_far_it_is_and_a_stop_ends_it_at_once_even_without_kafka() {
    const ROWS: u32 = 120_000;
    let (database, kafka) = (Postgres::newest().database("progress"), Kafka::start());
    database.execute(&TABLE.replace("primary key", ""));
    insert(&database, (1, ROWS));
    let settings = Settings::new(&database, &kafka).env("WALPOST_MAX_IN_FLIGHT", "1MiB");
    kafka.make_topic(&topic(&database), 1, &[]);
    let mut walpost = settings.start();
    let so_far = until("rows of the snapshot", || {
        let status = walpost.try_get("/status.json")?.json();
        (status["snapshot"]["rows_done"].as_u64()? > 0).then_some(status)
    });
    kafka.freeze();
    assert_eq!(so_far["state"], "snapshotting");
    assert_eq!(so_far["snapshot"]["rows_estimated"], ROWS);
    assert_eq!(so_far["snapshot"]["table"], "public.outbox");
    assert!(so_far["snapshot"]["seconds_left"].as_f64().is_some(), "{so_far}");
    assert_eq!(so_far["lag"]["caught_up"], false);
    let verdict = so_far["verdict"].as_str().unwrap();
    assert!(
        verdict.contains("snapshotting") && verdict.contains(" of about 120000 rows"),
        "{verdict}"
    );
    assert_eq!(walpost.get("/readyz").status, 200);
    assert_eq!(walpost.get("/livez").status, 200);
    let said = settings.clone().arguments(&["status"]).run();
    assert!(said.code == 0 && said.stdout.contains("of about 120000 rows"), "{said:?}");
    assert!(walpost.get("/").body.contains("of about 120000 rows"));
    let line = walpost.wait_for_line("publishing the rows that were in the table");
    let parts = ["rows_done", "\"rows_estimated\":120000", "rows_per_second", "time_left"];
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");

    let asked = Instant::now();
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    figure(&format!("a stop in the middle of a snapshot, without Kafka: {:?}", asked.elapsed()));
    // Less than WALPOST_SHUTDOWN_TIMEOUT, which a drain of the stream would take.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let log = walpost.log();
    assert!(log.contains("the next start begins the snapshot again"), "{log}");
    assert!(!log.contains("a restart repeats nothing"), "{log}");

    kafka.thaw();
    let mut walpost = settings.without("WALPOST_MAX_IN_FLIGHT").start();
    walpost.wait_for_state("streaming");
    let mut seen = vec![false; usize::try_from(ROWS).unwrap() + 1];
    let records = kafka.records(&topic(&database));
    ids(&records).iter().for_each(|id| seen[id.parse::<usize>().unwrap()] = true);
    assert_eq!(seen.iter().filter(|seen| **seen).count(), usize::try_from(ROWS).unwrap());
    assert!(walpost.get("/status.json").json()["snapshot"].is_null());
}
