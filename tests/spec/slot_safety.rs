//! Goal: whatever could have cost a row is named, within ten seconds, and nothing is published.
//! Method: a relay works, is stopped, the world changes behind its back, and it is started again;
//! or the world changes while it runs. Then `/status.json`, `/metrics` and the topic are read.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::servers::{Database, Kafka, Postgres, Settings, until, walpost::Walpost, within};

/// A change that may have cost rows is named within ten seconds. A machine that runs
/// other tests beside this one gets three times as long before the test fails; what it took is
/// printed.
const NAMED_WITHIN: Duration = Duration::from_secs(30);

/// A relay that has published ten rows, and was stopped in peace.
struct Stopped {
    database: Database,
    settings: Settings,
    topic: String,
}

fn stopped(server: &Postgres, kafka: &Kafka, name: &str) -> Stopped {
    let database = server.database(name);
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let topic = format!("{}.order", database.name());
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    database.insert_rows("order", 1, 10, 3);
    kafka.wait_for_records(&topic, 10);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    Stopped { database, settings, topic }
}

/// Waits for the halt, and checks that it is told everywhere and that nothing was published.
#[track_caller]
fn check_halted(walpost: &mut Walpost, kafka: &Kafka, topic: &str, code: &str, records: usize) {
    let began = Instant::now();
    let halted = within(NAMED_WITHIN, || {
        let metrics = walpost.try_get("/metrics")?;
        let metrics = crate::servers::Metrics::parse(&metrics.body);
        (metrics.sum("walpost_halted", &[("code", code)]) > 0.0).then_some(())
    });
    let status = walpost.get("/status.json").body;
    assert!(halted.is_some(), "not halted with {code} within {NAMED_WITHIN:?}: {status}");
    println!("{code}: named within {:?}", began.elapsed());
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"], "halted");
    assert_eq!(status["halt"]["code"], code);
    for part in ["message", "hint"] {
        let text = status["halt"][part].as_str().unwrap();
        assert!(text.len() > 20, "the {part} says nothing: {text:?}");
    }
    assert_eq!(walpost.get("/readyz").status, 503);
    assert_eq!(walpost.get("/livez").status, 200);
    assert!(walpost.is_running(), "a halted relay stays up");
    assert_eq!(kafka.records(topic).len(), records, "nothing was published");
}

#[test]
fn a_slot_that_somebody_moved_ahead_of_the_checkpoint_halts() {
    let (server, kafka) = (Postgres::oldest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "ahead");
    database.insert_rows("order", 11, 5, 3);
    let slot = database.name();
    database.value(&format!(
        "select end_lsn from pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"
    ));
    let mut walpost = settings.start();
    check_halted(&mut walpost, kafka, &topic, "slot_ahead", 10);
}

#[test]
fn a_slot_that_is_gone_although_a_checkpoint_is_there_halts_and_is_not_made_anew() {
    let (server, kafka) = (Postgres::newest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "gone");
    let slot = database.name();
    database.value(&format!("select pg_drop_replication_slot('{slot}')::text"));
    database.insert_rows("order", 11, 5, 3);
    let mut walpost = settings.start();
    check_halted(&mut walpost, kafka, &topic, "slot_missing", 10);
    let slots = format!("select count(*) from pg_replication_slots where slot_name = '{slot}'");
    assert_eq!(database.value(&slots), "0");
}

#[test]
fn a_slot_that_was_dropped_and_made_anew_halts() {
    let (server, kafka) = (Postgres::oldest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "anew");
    let slot = database.name();
    database.value(&format!("select pg_drop_replication_slot('{slot}')::text"));
    database.insert_rows("order", 11, 5, 3);
    database.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{slot}', 'pgoutput')"
    ));
    let mut walpost = settings.start();
    check_halted(&mut walpost, kafka, &topic, "slot_ahead", 10);
}

#[test]
fn another_database_system_under_the_same_name_halts() {
    let kafka = Kafka::shared();
    let Stopped { database, settings, topic } = stopped(Postgres::oldest(), kafka, "system");
    let other = Postgres::start(14);
    let there = other.database("system");
    there.execute(&format!("create database {0}", database.name()));
    let url = other.url(database.name());
    let session = crate::servers::Session::open(&url);
    session.execute(
        "create table outbox (id uuid primary key default gen_random_uuid(),
            aggregatetype text not null, aggregateid text not null, type text not null, payload jsonb);
         create publication walpost for table outbox
            with (publish = 'insert', publish_via_partition_root = true)",
    );
    let slot = database.name();
    session.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{slot}', 'pgoutput')"
    ));
    let mut walpost = settings.env("DATABASE_URL", url).start();
    check_halted(&mut walpost, kafka, &topic, "system_changed", 10);
}

#[test]
fn another_kafka_cluster_with_the_same_checkpoint_halts() {
    let (server, kafka) = (Postgres::newest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "cluster");
    let other = Kafka::start();
    let checkpoints = format!("walpost.checkpoint.{0}.{0}", database.name());
    other.create_topic(&checkpoints, 1, &["cleanup.policy=compact"]);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", other.bootstrap()).create().unwrap();
    for record in kafka.records(&checkpoints) {
        let (key, value) = (record.key.unwrap(), record.value);
        let mut copy = BaseRecord::to(&checkpoints).key(&key);
        if let Some(value) = &value {
            copy = copy.payload(value);
        }
        producer.send(copy).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let mut walpost = settings.env("KAFKA_BOOTSTRAP_SERVERS", other.bootstrap()).start();
    check_halted(&mut walpost, &other, &topic, "kafka_changed", 0);
}

#[test]
fn a_publication_that_changed_while_the_relay_was_away_halts() {
    let (server, kafka) = (Postgres::oldest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "altered");
    // Taken out, a row missed, and put back: only the row versions of the catalog tell.
    database.execute("alter publication walpost drop table outbox");
    database.insert_rows("order", 11, 5, 3);
    database.execute("alter publication walpost add table outbox");
    let mut walpost = settings.start();
    check_halted(&mut walpost, kafka, &topic, "table_changed", 10);
}

#[test]
fn a_publication_that_is_dropped_while_the_relay_runs_halts() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let kafka = Kafka::shared();
        let Stopped { database, settings, topic } = stopped(server, kafka, "dropped");
        let mut walpost = settings.start();
        walpost.wait_for_state("streaming");
        database.execute("drop publication walpost");
        database.insert_rows("order", 11, 5, 3);
        check_halted(&mut walpost, kafka, &topic, "publication_changed", 10);
    }
}

#[test]
fn a_publication_that_no_longer_sends_inserts_halts() {
    let (server, kafka) = (Postgres::newest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "noinsert");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    database.execute("alter publication walpost set (publish = 'update')");
    check_halted(&mut walpost, kafka, &topic, "publication_changed", 10);
}

#[test]
fn a_table_that_was_dropped_and_made_anew_halts() {
    let (server, kafka) = (Postgres::newest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "table");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    database.execute("drop table outbox");
    database.create_outbox();
    check_halted(&mut walpost, kafka, &topic, "table_changed", 10);
}

#[test]
fn a_lost_checkpoint_repeats_from_the_slot_loses_nothing_and_warns() {
    let (server, kafka) = (Postgres::oldest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "lost");
    let checkpoints = format!("walpost.checkpoint.{0}.{0}", database.name());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let deleted = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(admin.delete_topics(&[&checkpoints], &AdminOptions::new()))
        .unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    until("the topic to be gone", || (!kafka.topics().contains(&checkpoints)).then_some(()));
    database.insert_rows("order", 11, 5, 3);
    let mut walpost = settings.start();
    walpost.wait_for_line("no checkpoint is stored for this connector");
    let records = kafka.wait_for_records(&topic, 15);
    let ids: std::collections::BTreeSet<_> =
        records.iter().map(|record| record.header("ce_id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 15, "every row, some perhaps again");
}

#[test]
fn a_checkpoint_topic_that_would_be_deleted_by_time_is_refused() {
    let (server, kafka) = (Postgres::newest(), Kafka::shared());
    let database = server.database("policy");
    database.create_outbox();
    let checkpoints = format!("walpost.checkpoint.{0}.{0}", database.name());
    kafka.create_topic(&checkpoints, 1, &["cleanup.policy=delete"]);
    let mut walpost = Settings::new(&database, kafka).start();
    let topic = format!("{}.order", database.name());
    check_halted(&mut walpost, kafka, &topic, "not_ready", 0);
}
