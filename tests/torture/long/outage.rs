//! Kafka away for half an hour, while rows are written.

use std::time::Duration;

use tokio::time::Instant;

use super::{IN_FLIGHT, allowed, mb, size, tell, told_of};
use crate::oracle::{Deliveries, Repeats, Workload, seed};
use crate::scene::{Mode, stop};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, PATIENCE, Postgres, until, within};

/// From this length on what is in flight reaches the usual limit; before, it is set lower.
const LONG: Duration = Duration::from_secs(300);

/// How far the lag may be from the time that Kafka is away: the oldest row that was not confirmed is a
/// little older or younger than that, and a busy machine answers late.
const NEAR: f64 = 15.0;

#[test]
fn kafka_away_for_long_costs_no_row_no_connection_and_no_memory_in_at_least_once() {
    run(Mode::AtLeastOnce);
}

#[test]
fn kafka_away_for_long_costs_no_row_no_connection_and_no_memory_in_exactly_once() {
    run(Mode::ExactlyOnce);
}

#[track_caller]
fn run(mode: Mode) {
    let time = Duration::from_secs(size("OUTAGE_SECONDS", 15, 1_800));
    let in_flight = if time >= LONG { IN_FLIGHT } else { 256 * 1024 };
    let (postgres, kafka) = (Postgres::start(18), Kafka::start());
    let database = postgres.database("away");
    let settings = mode
        .prepare(&database, &kafka)
        .env("WALPOST_MAX_IN_FLIGHT", format!("{}KiB", in_flight >> 10));
    let mut deliveries = Deliveries::new(&database, &kafka, mode.allows(Repeats::WithinPeriods));
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let workload = Workload::start_gentle(&database, seed());
    until("the first events", || (deliveries.end() > 1_000).then_some(()));
    deliveries.read();
    let before = (rows(&database), walpost.memory_peak());

    let seen = Outage::watch(&database, &kafka, &mut walpost, (time, in_flight));
    let written = rows(&database) - before.0;

    kafka.start_again();
    let back = Instant::now();
    // As long again, and what a slow machine needs besides.
    let caught_up = within(time + PATIENCE * 5, || {
        assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
        (walpost.metrics().sum("walpost_caught_up", &[]) == 1.0).then_some(())
    });
    assert!(caught_up.is_some(), "not caught up; walpost said:\n{}", walpost.log());
    let caught_up = back.elapsed();
    let peak = walpost.memory_peak();
    let kept = seen.connection == connection(&database);
    assert_eq!(workload.stop().failures, 0);
    deliveries.finish(&database, PATIENCE * 5);
    let repeats = deliveries.all().len() - deliveries.different();
    assert!(kept || mode == Mode::ExactlyOnce, "another connection: {}", walpost.log());
    stop(walpost);
    let limit = allowed(in_flight);
    tell(
        &format!("outage {}", mode.name()),
        &format!(
            "`{}`: Kafka was stopped for {} s; {written} rows were committed meanwhile, the connection to \
             Postgres stayed{}, `walpost_state` said `backpressured` after {:.0} s, `walpost_lag_seconds` {:.0} \
             at the end, {} of log were held back. {:.1} s after Kafka was back all of it was confirmed; \
             nothing lost, every key in order, {repeats} rows repeated. Memory: at most {} before, {} in \
             the outage, {} in all; {} are allowed{}.",
            mode.name(),
            seen.away.as_secs(),
            if kept { " also afterwards" } else { ", and was made anew when Kafka was back" },
            seen.told.as_secs_f64(),
            seen.lag,
            mb(seen.retained),
            caught_up.as_secs_f64(),
            mb(before.1),
            mb(seen.peak),
            mb(peak),
            mb(limit),
            told_of(),
        ),
    );
    assert!(peak <= limit, "{} of memory, of {}", mb(peak), mb(limit));
}

/// What was seen while Kafka was away.
#[derive(Debug)]
struct Outage {
    away: Duration,
    /// Until the state said so.
    told: Duration,
    /// Seconds, at the end.
    lag: f64,
    /// Bytes of log that the slot held back, at the end.
    retained: u64,
    peak: u64,
    connection: Vec<Vec<Option<String>>>,
}

impl Outage {
    /// Stops Kafka for that long: what is in flight reaches its limit, and walpost says so and stays.
    #[track_caller]
    fn watch(
        database: &Database,
        kafka: &Kafka,
        walpost: &mut Walpost,
        (time, in_flight): (Duration, u64),
    ) -> Self {
        let connection = connection(database);
        let begun = Instant::now();
        kafka.stop();
        let away = Instant::now();
        let mut told = None;
        // A machine that is busy with other things writes more slowly: the outage lasts until the limit
        // was reached, or it would prove nothing.
        while away.elapsed() < time || (told.is_none() && away.elapsed() < time + PATIENCE * 3) {
            assert_eq!(self::connection(database), connection, "{}", walpost.log());
            assert_eq!(walpost.get("/livez").status, 200);
            let metrics = walpost.metrics();
            if metrics.sum("walpost_state", &[("state", "backpressured")]) == 1.0 {
                told.get_or_insert_with(|| away.elapsed());
            }
            // The last event may be larger than what was left.
            let held = metrics.sum("walpost_in_flight_bytes", &[]);
            let limit = f64::from(u32::try_from(in_flight + 64 * 1024).unwrap());
            assert!(held <= limit, "{held} bytes in flight");
            std::thread::sleep(Duration::from_millis(500));
        }
        let told = told.unwrap_or_else(|| panic!("never backpressured: {}", walpost.log()));
        let least = away.elapsed();
        let metrics = walpost.metrics();
        let lag = metrics.sum("walpost_lag_seconds", &[]);
        let most = begun.elapsed();
        assert!(
            lag >= least.as_secs_f64() - NEAR && lag <= most.as_secs_f64() + NEAR,
            "Kafka is away for {least:?} to {most:?}, and the lag is {lag} s"
        );
        let connected = metrics.sum("walpost_postgres_connected", &[]);
        assert!((connected - 1.0).abs() < f64::EPSILON, "no connection is told");
        let retained = format!("{:.0}", metrics.sum("walpost_slot_retained_wal_bytes", &[]));
        Self {
            away: least,
            told,
            lag,
            retained: retained.parse().unwrap(),
            peak: walpost.memory_peak(),
            connection,
        }
    }
}

/// Process id and start of the server's process that serves walpost.
#[track_caller]
fn connection(database: &Database) -> Vec<Vec<Option<String>>> {
    let rows = database.query(&format!(
        "select pid, backend_start from pg_stat_replication where application_name = 'walpost/{}'",
        database.name()
    ));
    assert_eq!(rows.len(), 1, "not one replication connection: {rows:?}");
    rows
}

#[track_caller]
fn rows(database: &Database) -> u64 {
    database.value("select count(*) from outbox").parse().unwrap()
}
