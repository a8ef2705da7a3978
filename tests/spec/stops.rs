//! Goal: a stop ends in time, with the exit code that tells how.
//! Method: real signals, with a broker that answers, and with one that is frozen.

use std::time::Duration;

use crate::servers::{Kafka, Postgres, Settings, until};

#[test]
fn a_stop_that_kafka_does_not_confirm_in_time_is_exit_code_1_with_the_number_of_repeats() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("deadline");
    database.create_outbox();
    let settings = Settings::new(&database, &kafka).env("WALPOST_SHUTDOWN_TIMEOUT", "2s");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 5, 1);
    let topic = format!("{}.order", database.name());
    kafka.wait_for_records(&topic, 5);
    kafka.freeze();
    database.insert_rows("order", 6, 7, 1);
    until("the rows to be in flight", || {
        (walpost.metrics().sum("walpost_in_flight_events", &[]) >= 7.0).then_some(())
    });
    walpost.terminate();
    walpost.wait_for_state("draining");
    assert_eq!(walpost.get("/readyz").status, 503, "readiness is off while draining");
    let began = tokio::time::Instant::now();
    assert_eq!(walpost.wait_for(Duration::from_secs(20)), 1, "{}", walpost.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = walpost.log();
    let line = log.lines().find(|line| line.contains("will be sent again")).unwrap_or_default();
    assert!(line.contains("\"events\":7"), "the number of events that may repeat: {log}");

    // A second signal ends it at once.
    let mut walpost = settings.env("WALPOST_SHUTDOWN_TIMEOUT", "60s").start();
    walpost.wait_for_line("walpost starts");
    kafka.thaw();
    walpost.wait_until_ready();
    // The new process has asked for the topic, and what it repeats is over.
    until("the seven rows to be confirmed", || {
        (walpost.metrics().sum("walpost_events_total", &[]) >= 7.0).then_some(())
    });
    kafka.freeze();
    database.insert_rows("order", 13, 3, 1);
    until("the rows to be in flight", || {
        (walpost.metrics().sum("walpost_in_flight_events", &[]) >= 3.0).then_some(())
    });
    walpost.terminate();
    walpost.wait_for_state("draining");
    walpost.terminate();
    assert_eq!(walpost.wait_for(Duration::from_secs(10)), 143, "{}", walpost.log());
    kafka.thaw();
}

#[test]
fn a_stop_is_clean_in_every_state() {
    let (database, kafka) = (Postgres::newest().database("states"), Kafka::shared());
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let mut first = settings.start();
    first.wait_until_ready();
    let mut standby = settings.second().start();
    standby.wait_for_state("standby");
    standby.terminate();
    assert_eq!(standby.wait_for(Duration::from_secs(5)), 0, "{}", standby.log());
    assert!(first.is_running());
    // Halted: the slot is gone.
    first.terminate();
    assert_eq!(first.wait_for(Duration::from_secs(5)), 0, "{}", first.log());
    database.execute(&format!("select pg_drop_replication_slot('{}')", database.name()));
    let mut halted = settings.start();
    halted.wait_for_state("halted");
    halted.terminate();
    assert_eq!(halted.wait_for(Duration::from_secs(5)), 0, "{}", halted.log());
}
