//! Goal: in exactly-once, a consumer of committed records sees every committed row once, in order,
//! whatever is killed, frozen or restarted.
//!
//! Method: real servers under load and faults; see [`super::oracle`] for how the truth is known. The
//! topics are read as a consumer with `isolation.level=read_committed` reads them, and a row that comes
//! twice ends the test, wherever it comes.
//!
//! `WALPOST_TEST_KILLS=100` kills a hundred times, `WALPOST_TEST_SEED=N` repeats the choices of a run.

use crate::kill::wait_for_the_moment;
use crate::oracle::{Deliveries, Random, Repeats, Workload, knob, prepare_once, seed};
use crate::outages::flow;
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, PATIENCE, Postgres, Settings, figure};

mod decided;
mod modes;

/// A relay that streams in exactly-once, and writers at work.
#[track_caller]
fn at_work(database: &Database, kafka: &Kafka) -> (Settings, Deliveries, Walpost, Workload) {
    let settings = prepare_once(database, kafka);
    let deliveries = Deliveries::new(database, kafka, Repeats::Never);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    (settings, deliveries, walpost, Workload::start(database, seed()))
}

/// A first start to its end: one that is interrupted before that sends again what it has sent.
#[track_caller]
fn begin(settings: &Settings) {
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

/// Everything has come once, and walpost stops in order.
#[track_caller]
fn conclude(
    what: &str,
    database: &Database,
    (workload, mut deliveries): (Workload, Deliveries),
    mut walpost: Walpost,
) {
    let written = workload.stop();
    deliveries.finish(database, PATIENCE * 2);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    deliveries.read();
    assert_eq!(deliveries.all().len(), deliveries.different());
    figure(&format!(
        "exactly-once, {what}: {} rows in {} transactions, {} rolled back; each came once",
        deliveries.different(),
        written.transactions,
        written.undone,
    ));
}

#[test]
fn a_killed_walpost_sends_every_row_once() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_kill");
    let settings = prepare_once(&database, &kafka);
    kill_under_load(12, (&database, &kafka, &settings));
}

/// Kills so many times, unless `WALPOST_TEST_KILLS` says otherwise.
#[track_caller]
pub(super) fn kill_under_load(
    kills: u64,
    (database, kafka, settings): (&Database, &Kafka, &Settings),
) {
    let kills = usize::try_from(knob("WALPOST_TEST_KILLS", kills)).unwrap();
    let seed = seed();
    let mut random = Random::new(seed, 100);
    let mut deliveries = Deliveries::new(database, kafka, Repeats::Never);
    begin(settings);
    let workload = Workload::start(database, seed);
    let mut busy = 0;
    for number in 0..kills {
        let mut walpost = settings.start();
        busy += usize::from(wait_for_the_moment(&mut walpost, &mut random, number) > 0);
        walpost.kill();
        deliveries.read();
    }
    assert!(busy * 10 >= kills * 6, "too few kills with events in flight: {busy}");
    let what = format!("{kills} kills, {busy} with events in flight, WALPOST_TEST_SEED={seed}");
    conclude(&what, database, (workload, deliveries), settings.start());
}

#[test]
fn a_stopped_walpost_sends_every_row_once() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_stop");
    let settings = prepare_once(&database, &kafka);
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::Never);
    begin(&settings);
    let workload = Workload::start(&database, seed());
    for _ in 0..6 {
        let mut walpost = settings.start();
        flow(&mut deliveries, &mut walpost, 2_000);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    }
    conclude("6 stops", &database, (workload, deliveries), settings.start());
}

#[test]
fn a_frozen_walpost_is_fenced_and_every_row_comes_once() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_frozen");
    let settings = prepare_once(&database, &kafka).env("WALPOST_WAL_SENDER_TIMEOUT", "5s");
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::Never);
    let mut first = settings.start();
    first.wait_until_ready();
    let workload = Workload::start(&database, seed());
    let mut second = settings.second().start();
    for _ in 0..2 {
        flow(&mut deliveries, &mut first, 4_000);
        first.freeze();
        // Its transaction is open, or about to be committed; its successor ends it.
        second.wait_for_state("streaming");
        flow(&mut deliveries, &mut second, 4_000);
        first.thaw();
        first.wait_for_state("standby");
        std::mem::swap(&mut first, &mut second);
    }
    drop(second);
    conclude("2 freezes", &database, (workload, deliveries), first);
}

#[test]
fn a_standby_does_not_disturb_the_walpost_at_work() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_standby");
    let (settings, mut deliveries, mut walpost, workload) = at_work(&database, &kafka);
    flow(&mut deliveries, &mut walpost, 2_000);
    let generation = |walpost: &Walpost| walpost.metrics().sum("walpost_producer_generation", &[]);
    let before = generation(&walpost);
    for _ in 0..3 {
        let mut standby = settings.second().start();
        standby.wait_for_state("standby");
        flow(&mut deliveries, &mut walpost, 4_000);
    }
    let now = generation(&walpost);
    assert!((now - before).abs() < 0.5, "generation {now} after {before}: {}", walpost.log());
    conclude("3 standbys", &database, (workload, deliveries), walpost);
}

#[test]
fn a_killed_kafka_costs_no_row_and_repeats_none() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_broker");
    let (_, mut deliveries, mut walpost, workload) = at_work(&database, &kafka);
    for _ in 0..3 {
        flow(&mut deliveries, &mut walpost, 3_000);
        kafka.kill();
        kafka.start_again();
    }
    flow(&mut deliveries, &mut walpost, 3_000);
    conclude("3 kills of Kafka", &database, (workload, deliveries), walpost);
}

#[test]
fn a_crashed_postgres_costs_no_row_and_repeats_none() {
    let kafka = Kafka::start();
    let postgres = Postgres::start(18);
    let database = postgres.database("once_crash");
    let (_, mut deliveries, mut walpost, workload) = at_work(&database, &kafka);
    for _ in 0..3 {
        flow(&mut deliveries, &mut walpost, 3_000);
        postgres.stop_immediate();
        postgres.start_again();
    }
    flow(&mut deliveries, &mut walpost, 3_000);
    conclude("3 crashes of Postgres", &database, (workload, deliveries), walpost);
}
