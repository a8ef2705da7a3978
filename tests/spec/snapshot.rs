//! Goal: what is in the table before the first start is sent too, all of it, and then the stream goes
//! on without a gap.
//! Method: rows before the first start and while it works; what comes to Kafka is held against the
//! table, and against the same rows as the stream sends them.

use std::time::Duration;

use crate::load::{Load, check_arrived};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Record, Settings, until};

mod bytes;
mod interrupted;
mod killed;
mod size;
mod steps;
mod together;

/// Text columns, so that rows can be bad, and a time.
const TABLE: &str =
    "create table outbox (id text primary key, aggregatetype text, aggregateid text,
    type text, payload text, created_at timestamptz not null default clock_timestamp())";

/// Rows `first..=last` of one key, with the time of their number.
#[track_caller]
fn insert(database: &Database, (first, last): (u32, u32)) {
    database.execute(&format!(
        "insert into outbox
         select n::text, 'order', 'k', 'Placed', '{{\"n\": ' || n || '}}',
             '2026-01-01'::timestamptz + n * interval '1 second'
         from generate_series({first}, {last}) as n"
    ));
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.header("ce_id").unwrap()).collect()
}

/// The ids in the order in which they came first.
fn first_deliveries(records: &[Record]) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    ids(records).into_iter().filter(|id| seen.insert(*id)).collect()
}

fn topic(database: &Database) -> String {
    format!("{}.order", database.name())
}

/// Waits until the last record of the topic has this id, and returns all.
#[track_caller]
fn records_up_to(kafka: &Kafka, topic: &str, id: &str) -> Vec<Record> {
    until(&format!("{id} in {topic}"), || {
        let records = kafka.records(topic);
        records.last().is_some_and(|last| last.header("ce_id") == Some(id)).then_some(records)
    })
}

#[track_caller]
fn stop(mut walpost: Walpost) -> String {
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    walpost.log()
}

/// What walpost itself warned of; librdkafka warns of a broker that has just started.
fn warnings(log: &str) -> String {
    let own = |line: &&str| line.contains("WARN") && line.contains("\"target\":\"walpost");
    log.lines().filter(own).collect()
}

/// What is stored, as `walpost checkpoint show --json` has it.
#[track_caller]
fn stored(settings: &Settings) -> serde_json::Value {
    let shown = crate::checkpoint_command::done(settings, &["checkpoint", "show", "--json"]);
    serde_json::from_str::<serde_json::Value>(&shown).unwrap()["checkpoint"].clone()
}

#[test]
fn a_first_start_sends_what_is_in_the_table_by_time_and_then_the_stream() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("snapshot"), Kafka::shared());
        database.execute(TABLE);
        // Later rows first, so that the order is that of the times.
        insert(&database, (51, 100));
        insert(&database, (1, 50));
        let settings = Settings::new(&database, kafka);
        let mut walpost = settings.start();
        walpost.wait_for_state("streaming");
        insert(&database, (101, 110));
        let records = records_up_to(kafka, &topic(&database), "110");
        let expected: Vec<_> = (1..=110).map(|n| n.to_string()).collect();
        assert_eq!(ids(&records), expected, "each once, in order");
        let metrics = walpost.metrics();
        assert_eq!(metrics.get("walpost_snapshot_rows_total", &[]), Some(100.0));
        assert_eq!(walpost.get("/status.json").json()["counts"]["snapshot_rows"], 100);
        let log = stop(walpost);
        assert!(log.contains("publishing the rows that are in the table"), "{log}");
        assert_eq!(warnings(&log), "", "{log}");
        assert_eq!(stored(&settings)["phase"], "stream");
        // A second start has nothing to send.
        let mut walpost = settings.start();
        walpost.wait_for_state("streaming");
        insert(&database, (111, 111));
        assert_eq!(records_up_to(kafka, &topic(&database), "111").len(), 111);
        assert_eq!(walpost.metrics().get("walpost_snapshot_rows_total", &[]), Some(0.0));
    }
}

#[test]
fn a_first_start_while_others_write_sends_each_row_once() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("snapshot_load"), Kafka::shared());
        database.create_outbox();
        let load = Load::start(&database, 3, Duration::from_millis(1));
        until("some rows", || {
            (database.value("select count(*) > 300 from outbox") == "t").then_some(())
        });
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_for_state("streaming");
        std::thread::sleep(Duration::from_secs(1));
        load.stop();
        let arrived = check_arrived(&database, kafka);
        assert_eq!(arrived.repeats, 0, "{arrived:?}");
    }
}

#[test]
fn an_empty_table_makes_no_fuss() {
    let (database, kafka) = (Postgres::newest().database("empty"), Kafka::shared());
    database.execute(TABLE);
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_for_state("streaming");
    insert(&database, (1, 1));
    assert_eq!(ids(&kafka.wait_for_records(&topic(&database), 1)), ["1"]);
    let log = stop(walpost);
    assert!(warnings(&log).is_empty() && !log.contains("in the table"), "{log}");
}

#[test]
fn without_a_snapshot_the_rows_that_are_not_sent_are_counted() {
    let (database, kafka) = (Postgres::newest().database("never"), Kafka::shared());
    database.execute(TABLE);
    insert(&database, (1, 7));
    let settings = Settings::new(&database, kafka).env("WALPOST_SNAPSHOT", "never");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    insert(&database, (8, 8));
    assert_eq!(ids(&kafka.wait_for_records(&topic(&database), 1)), ["8"]);
    let log = walpost.log();
    let warned = log.lines().find(|line| line.contains("are not sent")).unwrap();
    assert!(warned.contains("WARN") && warned.contains("\"rows\":7"), "{warned}");
    // The command that it names is one.
    let warned: serde_json::Value = serde_json::from_str(warned).unwrap();
    let replay = warned["fields"]["replay"].as_str().unwrap();
    let words: Vec<_> = replay.split(' ').skip(1).collect();
    let planned = settings.second().arguments(&words).run();
    assert_eq!(planned.code, 0, "{replay}: {}", planned.stderr);
    assert!(planned.stdout.contains("nothing was sent; --yes sends them"), "{}", planned.stdout);
    assert!(!log.contains("no checkpoint is stored"), "a first start is no surprise: {log}");
    // It stays so, whatever the variable says later.
    stop(walpost);
    let mut walpost = settings.env("WALPOST_SNAPSHOT", "initial").start();
    walpost.wait_for_state("streaming");
    insert(&database, (9, 9));
    assert_eq!(ids(&records_up_to(kafka, &topic(&database), "9")), ["8", "9"]);
}

#[test]
fn rows_without_a_time_come_as_they_lie_and_have_the_time_of_the_slot() {
    let (database, kafka) = (Postgres::oldest().database("place"), Kafka::shared());
    database.execute(
        "create table outbox (id int, aggregatetype text, aggregateid text, type text, payload text)",
    );
    let from = database.value("select clock_timestamp()");
    database.execute(
        "insert into outbox select 301 - n, 'order', 'k', 'Placed', '{}' from generate_series(1, 300) n",
    );
    let before = database.value("select clock_timestamp()");
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_for_state("streaming");
    let after = database.value("select clock_timestamp()");
    let records = kafka.wait_for_records(&topic(&database), 300);
    let expected: Vec<_> = (1..=300).rev().map(|n| n.to_string()).collect();
    assert_eq!(ids(&records), expected);
    let times: std::collections::BTreeSet<_> =
        records.iter().map(|record| record.header("ce_time").unwrap()).collect();
    let times: Vec<_> = times.into_iter().collect();
    let [time] = times.as_slice() else { panic!("{times:?}") };
    let sql = format!("select '{time}'::timestamptz between '{before}' and '{after}'");
    assert_eq!(database.value(&sql), "t", "{time}, inserted {from} to {before}");
}

#[test]
fn several_tables_and_partitions_are_sent_and_children_of_a_table_are_not() {
    let (database, kafka) = (Postgres::newest().database("tables"), Kafka::shared());
    let columns = "id int, aggregatetype text, aggregateid text, type text, payload text,
        created_at timestamptz";
    let row = |table: &str, id: u32, day: u32| {
        format!(
            "insert into {table} values ({id}, 'order', 'k', 'Placed', '{{}}', '2026-01-{day}');"
        )
    };
    database.execute(&format!(
        "create schema \"App\";
         create table \"App\".\"Events\" ({columns}) partition by range (created_at);
         create table \"App\".first partition of \"App\".\"Events\" for values from ('2026-01-01') to ('2026-01-15');
         create table \"App\".rest partition of \"App\".\"Events\" default;
         create table plain ({columns});
         create table child () inherits (plain);
         {}{}{}{}{}{}",
        row("\"App\".\"Events\"", 1, 20),
        row("\"App\".\"Events\"", 2, 10),
        row("\"App\".\"Events\"", 3, 21),
        row("plain", 4, 12),
        row("plain", 5, 11),
        row("child", 6, 1),
    ));
    let settings =
        Settings::new(&database, kafka).env("WALPOST_TABLE", "\"App\".\"Events\", public.plain");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    database.execute(&format!("{}{}", row("\"App\".\"Events\"", 7, 2), row("plain", 8, 2)));
    let records = records_up_to(kafka, &topic(&database), "8");
    assert_eq!(ids(&records), ["2", "1", "3", "5", "4", "7", "8"]);
    let source = |id: &str| {
        let record = records.iter().find(|record| record.header("ce_id") == Some(id)).unwrap();
        record.header("ce_source").unwrap().to_owned()
    };
    // A row of a partition has the root's name in both.
    assert_eq!((source("2"), source("5")), (source("7"), source("8")));
    assert_ne!(source("2"), source("5"));
}

#[test]
fn a_snapshot_has_the_rows_and_columns_that_the_publication_has() {
    let (database, kafka) = (Postgres::newest().database("filtered"), Kafka::shared());
    database.execute(
        "create table outbox (id int primary key, aggregatetype text, aggregateid text, type text,
             payload text, secret text, twice int generated always as (id * 2) stored);
         create publication walpost
             for table outbox (id, aggregatetype, aggregateid, type, payload) where (id % 2 = 1)
             with (publish = 'insert', publish_via_partition_root = true);
         insert into outbox select n, 'order', 'k', 'Placed', '{}', 'hidden' from generate_series(1, 6) n",
    );
    let mut walpost = Settings::new(&database, kafka).env("WALPOST_CE_EXTENSIONS", "").start();
    walpost.wait_for_state("streaming");
    database.execute(
        "insert into outbox select n, 'order', 'k', 'Placed', '{}' from generate_series(7, 9) n",
    );
    assert_eq!(ids(&records_up_to(kafka, &topic(&database), "9")), ["1", "3", "5", "7", "9"]);
}

#[test]
fn a_bad_row_of_the_snapshot_is_a_dead_letter() {
    let (database, kafka) = (Postgres::newest().database("snapshot_letter"), Kafka::shared());
    database.execute(TABLE);
    insert(&database, (1, 3));
    database.execute("update outbox set payload = 'nonsense' where id = '2'");
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_for_state("streaming");
    assert_eq!(ids(&kafka.wait_for_records(&topic(&database), 2)), ["1", "3"]);
    let letters = kafka.wait_for_records(&format!("{}.dlq", database.name()), 1);
    let [letter] = letters.as_slice() else { panic!("{letters:#?}") };
    assert_eq!(letter.header("walpost-error-reason"), Some("invalid_json"));
    assert_eq!(letter.header("walpost-row-id"), Some("2"));
    assert_eq!((letter.key_text(), letter.value_text()), ("k", "nonsense"));
    assert_eq!(walpost.metrics().sum("walpost_dead_letters_total", &[]), 1.0);
    assert!(!walpost.log().contains("nonsense"));
}

#[test]
fn a_bad_row_of_the_snapshot_halts_where_that_is_asked_for() {
    let (database, kafka) = (Postgres::oldest().database("snapshot_halt"), Kafka::shared());
    database.execute(TABLE);
    insert(&database, (1, 3));
    database.execute("update outbox set payload = 'nonsense' where id = '2'");
    let settings = Settings::new(&database, kafka).env("WALPOST_ON_BAD_ROW", "halt");
    let walpost = settings.start();
    crate::checkpoint_command::wait_for_halt(&walpost, "bad_row");
    assert_eq!(ids(&kafka.wait_for_records(&topic(&database), 1)), ["1"]);
    let log = stop(walpost);
    assert!(log.contains("the next start begins the snapshot again"), "{log}");
    let mut walpost = settings.env("WALPOST_ON_BAD_ROW", "skip").start();
    walpost.wait_for_state("streaming");
    assert_eq!(ids(&records_up_to(kafka, &topic(&database), "3")), ["1", "1", "3"]);
}

/// `max.message.bytes` limits batches: the rows beside the refused one must not suffer for it.
#[test]
fn a_row_of_the_snapshot_that_the_broker_refuses_is_found_among_those_sent_with_it() {
    let (database, kafka) = (Postgres::newest().database("snapshot_refused"), Kafka::shared());
    database.execute(TABLE);
    insert(&database, (1, 100));
    // Digits of random numbers: what does not shrink below the limit.
    database.execute(
        "update outbox set payload = '\"' || (select string_agg(md5(random()::text), '')
             from generate_series(1, 400)) || '\"' where id in ('30', '50')",
    );
    kafka.make_topic(&topic(&database), 1, &[("max.message.bytes", "5000")]);
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_for_state("streaming");
    let letters = kafka.wait_for_records(&format!("{}.dlq", database.name()), 2);
    let refused: std::collections::BTreeSet<_> =
        letters.iter().map(|letter| letter.header("walpost-row-id").unwrap()).collect();
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), ["30", "50"]);
    for letter in &letters {
        assert_eq!(letter.header("walpost-error-reason"), Some("refused_by_broker"));
    }
    let records = records_up_to(kafka, &topic(&database), "100");
    let expected: Vec<_> =
        (1..=100).filter(|n| ![30, 50].contains(n)).map(|n| n.to_string()).collect();
    assert_eq!(first_deliveries(&records), expected);
}

#[test]
fn a_table_that_may_not_be_read_halts_before_anything_is_made_and_says_what_to_grant() {
    let (database, kafka) = (Postgres::newest().database("rights"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    insert(&database, (1, 2));
    database.execute(&format!(
        "create role {name}_relay login replication;
         create publication walpost for table outbox with (publish = 'insert')"
    ));
    let url = database.url().replacen("postgres://", "", 1);
    let (_, host) = url.split_once('@').unwrap();
    let settings = Settings::new(&database, kafka)
        .env("DATABASE_URL", format!("postgres://{name}_relay@{host}"));
    let walpost = settings.start();
    crate::checkpoint_command::wait_for_halt(&walpost, "not_ready");
    let halt = walpost.get("/status.json").json()["halt"].clone();
    let hint = halt["hint"].as_str().unwrap();
    assert!(hint.contains("GRANT SELECT ON") && hint.contains("WALPOST_SNAPSHOT=never"), "{halt}");
    let slots = format!("select count(*) from pg_replication_slots where slot_name = '{name}'");
    assert_eq!(database.value(&slots), "0");
    // `walpost check` says the same.
    let checked = settings.clone().arguments(&["check"]).run();
    assert!(checked.stdout.contains("GRANT SELECT ON"), "{}", checked.stdout);
    assert_ne!(checked.code, 0);
    // The grant alone ends the halt.
    database.execute(&format!("grant select on outbox to {name}_relay"));
    assert_eq!(ids(&kafka.wait_for_records(&topic(&database), 2)), ["1", "2"]);
    stop(walpost);
    database.execute(&format!("drop owned by {name}_relay"));
}

/// The stream is unread for as long as the snapshot takes, and the server must not end it.
#[test]
fn the_slot_is_held_for_longer_than_the_servers_time_limit() {
    let (database, kafka) = (Postgres::newest().database("held"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    insert(&database, (1, 2));
    database.execute("update outbox set payload = 'nonsense' where id = '2'");
    let settings = Settings::new(&database, kafka)
        .env("WALPOST_ON_BAD_ROW", "halt")
        .env("WALPOST_WAL_SENDER_TIMEOUT", "3s");
    let walpost = settings.start();
    crate::checkpoint_command::wait_for_halt(&walpost, "bad_row");
    let holder = format!(
        "select active_pid || ' ' || confirmed_flush_lsn from pg_replication_slots where slot_name = '{name}'"
    );
    let before = database.value(&holder);
    for batch in 1..=10 {
        // More in all than the socket's buffers hold, so that the server waits for us as well.
        insert(&database, (batch * 10_000, batch * 10_000 + 9_999));
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(database.value(&holder), before, "{}", walpost.log());
}
