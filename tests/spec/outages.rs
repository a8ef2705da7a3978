//! Goal: walpost comes through outages of its servers, and of itself, without help: the replication
//! connection lives as long as Postgres does, memory stays bounded, nothing is lost.
//!
//! Method: real servers under load, frozen, stopped, restarted; see [`super::oracle`] for how the truth
//! is known. `WALPOST_TEST_OUTAGE_SECONDS=120` makes Kafka's outages that long.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::oracle::{Commits, Deliveries, Repeats, Workload, knob, lsn, prepare, seed};
use super::servers::walpost::Walpost;
use super::servers::{Database, Kafka, PATIENCE, Postgres, until};

/// What an outage may add to the most memory walpost had before, under the same load: the receive
/// buffer, and what is in flight (1 MiB here) with librdkafka's share of it.
const MEMORY: u64 = 32 * 1024 * 1024;

#[test]
fn a_frozen_kafka_costs_neither_the_replication_connection_nor_memory_nor_a_row() {
    kafka_outage("frozen", Kafka::freeze, Kafka::thaw);
}

#[test]
fn a_stopped_kafka_costs_neither_the_replication_connection_nor_memory_nor_a_row() {
    kafka_outage("stopped", Kafka::stop, Kafka::start_again);
}

/// Kafka is away for several times `wal_sender_timeout`, while rows are written: the in-flight limit
/// is reached, then the socket is full and the server waits for us to read.
#[track_caller]
fn kafka_outage(what: &str, begin: fn(&Kafka), end: fn(&Kafka)) {
    let time = Duration::from_secs(knob("WALPOST_TEST_OUTAGE_SECONDS", 25));
    let kafka = Kafka::start();
    let database = Postgres::newest().database("outage");
    let settings = prepare(&database, &kafka)
        .env("WALPOST_WAL_SENDER_TIMEOUT", "5s")
        .env("WALPOST_MAX_IN_FLIGHT", "1MiB");
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::WithinPeriods);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let workload = Workload::start(&database, seed());
    until("the first events", || (deliveries.end() > 10_000).then_some(()));
    let connection = connection(&database);
    let memory = walpost.memory_peak();

    begin(&kafka);
    // A machine that is busy with other things writes more slowly: the outage lasts until the socket
    // was full, or it would prove nothing.
    let over = Instant::now() + time;
    let mut full = false;
    while Instant::now() < over || (!full && Instant::now() < over + PATIENCE * 3) {
        assert_eq!(self::connection(&database), connection, "{}", walpost.log());
        assert_eq!(walpost.get("/livez").status, 200);
        full |= is_full(&database);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(
        full,
        "the server never waited for the socket: the load is too small to prove anything"
    );
    end(&kafka);

    until("events after the outage", || (deliveries.end() > 20_000).then_some(()));
    let written = workload.stop();
    deliveries.finish(&database, PATIENCE * 2);
    assert_eq!(self::connection(&database), connection, "{}", walpost.log());
    let grown = walpost.memory_peak().saturating_sub(memory);
    let repeats = deliveries.all().len() - deliveries.different();
    writeln!(
        std::io::stderr(),
        "kafka {what} for {time:?}: {} rows written, {repeats} repeats, peak memory {} MiB, {} KiB \
         more than before",
        written.rows,
        walpost.memory_peak() >> 20,
        grown >> 10,
    )
    .unwrap();
    assert!(grown < MEMORY, "{grown} bytes of memory more than before the outage");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

/// Process id and start of the replication connection's server process.
#[track_caller]
fn connection(database: &Database) -> Vec<Vec<Option<String>>> {
    let rows = database.query(&format!(
        "select pid, backend_start from pg_stat_replication
         where application_name = 'walpost/{}'",
        database.name()
    ));
    assert_eq!(rows.len(), 1, "not one replication connection: {rows:?}");
    rows
}

/// Whether the server waits for us to read.
fn is_full(database: &Database) -> bool {
    let event = database.query(&format!(
        "select wait_event from pg_stat_activity join pg_stat_replication using (pid)
         where pg_stat_replication.application_name = 'walpost/{}'",
        database.name()
    ));
    event == [[Some("WalSenderWriteData".to_owned())]]
}

#[test]
fn walpost_recovers_by_itself_from_every_way_to_restart_postgres() {
    let kafka = Kafka::start();
    let postgres = Postgres::start(18);
    let database = postgres.database("restart");
    let settings = prepare(&database, &kafka);
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::WithinPeriods);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let workload = Workload::start(&database, seed());
    let ways: [fn(&Postgres); 3] = [Postgres::stop_fast, Postgres::stop_immediate, Postgres::kill];
    for stop in ways {
        flow(&mut deliveries, &mut walpost, 5_000);
        stop(&postgres);
        std::thread::sleep(Duration::from_secs(1));
        postgres.start_again();
    }
    flow(&mut deliveries, &mut walpost, 5_000);
    let written = workload.stop();
    assert!(written.failures > 0, "no writer noticed a restart");
    deliveries.finish(&database, PATIENCE * 2);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn walpost_recovers_by_itself_from_a_killed_kafka() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("broker");
    let settings = prepare(&database, &kafka);
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::WithinPeriods);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let workload = Workload::start(&database, seed());
    for _ in 0..3 {
        flow(&mut deliveries, &mut walpost, 5_000);
        kafka.kill();
        kafka.start_again();
    }
    flow(&mut deliveries, &mut walpost, 5_000);
    assert_eq!(workload.stop().failures, 0);
    deliveries.finish(&database, PATIENCE * 2);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

/// Waits until `count` more rows are there.
#[track_caller]
pub(super) fn flow(deliveries: &mut Deliveries, walpost: &mut Walpost, count: usize) {
    let before = deliveries.different();
    until(&format!("{count} more rows"), || {
        assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
        deliveries.read();
        (deliveries.different() >= before + count).then_some(())
    });
}

#[test]
fn a_frozen_walpost_is_replaced_and_publishes_nothing_newer_when_it_thaws() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("frozen");
    let settings = prepare(&database, &kafka).env("WALPOST_WAL_SENDER_TIMEOUT", "5s");
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::AmongNewer);
    let mut first = settings.start();
    first.wait_until_ready();
    let workload = Workload::start(&database, seed());
    flow(&mut deliveries, &mut first, 10_000);

    first.freeze();
    let frozen_at = lsn(&database.value("select pg_current_wal_insert_lsn()"));
    let mut second = settings.second().start();
    second.wait_for_state("streaming");
    flow(&mut deliveries, &mut second, 10_000);
    let before = deliveries.close_period();

    // Its receive buffer holds rows that were committed after it was frozen: it must not send them.
    first.thaw();
    first.wait_for_state("standby");
    flow(&mut deliveries, &mut second, 5_000);
    let after = deliveries.close_period();
    // What was in flight here may come again.
    second.kill();
    first.wait_for_state("streaming");
    flow(&mut deliveries, &mut first, 5_000);
    let written = workload.stop();
    assert_eq!(written.failures, 0);
    deliveries.finish(&database, PATIENCE * 2);
    first.terminate();
    assert_eq!(first.wait(), 0, "{}", first.log());

    let commits = Commits::read(&database);
    assert_eq!(commits.rows.len(), deliveries.different());
    let late = deliveries.all()[before..after].iter().filter(|delivery| !delivery.first);
    let places: Vec<_> = late.map(|delivery| commits.place(delivery.id)).collect();
    let newer = places.iter().filter(|place| place.commit_lsn >= frozen_at).count();
    writeln!(
        std::io::stderr(),
        "frozen walpost: {} rows written, {} repeats after the thaw",
        written.rows,
        places.len(),
    )
    .unwrap();
    assert_eq!(
        newer,
        0,
        "the thawed walpost published {newer} rows committed after it was frozen ({} in all); it said:\n{}",
        places.len(),
        first.log()
    );
}
