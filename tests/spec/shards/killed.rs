//! A process with several streams is killed under load, again and again, in both ways of delivery.

use crate::kill::wait_for_the_moment;
use crate::oracle::{Deliveries, Random, Repeats, Workload, prepare_without_slot, seed};
use crate::servers::{Kafka, PATIENCE, Postgres};

/// Kills of each run.
const KILLS: usize = 6;

#[track_caller]
fn check(server: &Postgres, name: &str, delivery: &str) {
    let seed = seed();
    let mut random = Random::new(seed, 100);
    let kafka = Kafka::start();
    let database = server.database(name);
    let settings = prepare_without_slot(&database, &kafka)
        .env("WALPOST_SHARDS", "4")
        .env("WALPOST_DELIVERY", delivery);
    let repeats = match delivery {
        "exactly-once" => Repeats::Never,
        _ => Repeats::BetweenPeriods,
    };
    let mut deliveries = Deliveries::new(&database, &kafka, repeats);
    // Rows that are there before the slots have no order.
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let workload = Workload::start(&database, seed);
    for number in 0..KILLS {
        let _in_flight = wait_for_the_moment(&mut walpost, &mut random, number);
        walpost.kill();
        // The broker works off what the dead process had sent.
        let mut end = -1;
        while end != deliveries.end() {
            end = deliveries.end();
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        deliveries.close_period();
        walpost = settings.start();
    }
    walpost.wait_until_ready();
    assert_eq!(workload.stop().failures, 0);
    deliveries.finish(&database, PATIENCE * 2);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    deliveries.read();
    let repeated = deliveries.all().len() - deliveries.different();
    crate::servers::figure(&format!(
        "shards, {delivery}: {KILLS} kills, {} rows, {repeated} repeats; WALPOST_TEST_SEED={seed}",
        deliveries.different()
    ));
}

#[test]
fn killed_shards_lose_nothing_and_keep_the_order_of_each_key() {
    check(Postgres::newest(), "shards_kill", "at-least-once");
}

#[test]
fn killed_shards_repeat_nothing_in_exactly_once() {
    check(&Postgres::start(15), "shards_once", "exactly-once");
}
