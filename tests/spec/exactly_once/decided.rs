//! Goal: whatever becomes of the request to end a transaction, each row comes once.
//! Method: a proxy between walpost and the broker holds that request, and delivers it late or never.

use std::time::Duration;

use super::{begin, conclude};
use crate::oracle::{Checkpoints, Deliveries, Repeats, Workload, prepare_once, seed};
use crate::outages::flow;
use crate::servers::proxy::{END_TXN, Held, INIT_PRODUCER_ID, Proxy};
use crate::servers::{Database, Kafka, Postgres, Settings, until};

/// The broker knows the producer, but under a newer epoch.
const FENCED: [i16; 2] = [47, 90];

struct Scene {
    database: Database,
    proxy: Proxy,
    settings: Settings,
    deliveries: Deliveries,
    // Last, because all the others need it until their end.
    _kafka: Kafka,
}

/// A walpost that reaches its broker through a proxy, in transactions long enough that something can
/// happen in the middle of one.
fn scene(name: &str) -> Scene {
    let (kafka, proxy, address) = Kafka::start_with_proxy();
    let database = Postgres::newest().database(name);
    let settings = prepare_once(&database, &kafka)
        .env("KAFKA_BOOTSTRAP_SERVERS", address)
        .env("WALPOST_TRANSACTION_INTERVAL", "1s");
    let deliveries = Deliveries::new(&database, &kafka, Repeats::Never);
    Scene { database, proxy, settings, deliveries, _kafka: kafka }
}

/// The error code of an answer to a request to end a transaction, behind the number of the request and
/// the time to wait.
fn error(answer: &[u8]) -> i16 {
    i16::from_be_bytes([answer[8], answer[9]])
}

#[test]
fn a_commit_that_arrives_late_does_not_end_the_next_transaction() {
    let Scene { database, proxy, settings, mut deliveries, _kafka: kafka } = scene("once_late");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    let checkpoints = Checkpoints::new(&database, &kafka);
    let workload = Workload::start(&database, seed());
    for _ in 0..3 {
        flow(&mut deliveries, &mut walpost, 1_000);
        // librdkafka asks again on another connection, and that request ends the transaction.
        proxy.hold(END_TXN, 0, Held::Closed);
        proxy.wait_until_held();
        flow(&mut deliveries, &mut walpost, 1);
        // A checkpoint and its marker are of that transaction, two more of the one after it: so the one
        // that is open now has begun, on however busy a machine.
        let end = checkpoints.end();
        until("another transaction", || (checkpoints.end() >= end + 4).then_some(()));
        let answer = error(&proxy.deliver(&proxy.take()));
        assert!(FENCED.contains(&answer), "the broker took a late request: {answer}");
    }
    conclude("3 late commits", &database, (workload, deliveries), walpost);
}

#[test]
fn a_commit_that_arrives_after_its_walpost_died_is_found_in_the_checkpoint() {
    let Scene { database, proxy, settings, mut deliveries, _kafka } = scene("once_between");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    let workload = Workload::start(&database, seed());
    for _ in 0..3 {
        flow(&mut deliveries, &mut walpost, 1_000);
        proxy.hold(END_TXN, 0, Held::Swallowed);
        proxy.wait_until_held();
        walpost.kill();
        let request = proxy.take();
        proxy.hold(INIT_PRODUCER_ID, 0, Held::Waiting);
        walpost = settings.start();
        proxy.wait_until_held();
        // The successor is about to take over, and has not. What its predecessor asked for happens now.
        assert_eq!(error(&proxy.deliver(&request)), 0, "the broker did not commit");
        std::thread::sleep(Duration::from_millis(300));
        proxy.release();
    }
    flow(&mut deliveries, &mut walpost, 1_000);
    conclude("3 commits after a death", &database, (workload, deliveries), walpost);
}

#[test]
fn a_commit_that_never_arrives_is_undone_as_a_whole() {
    let Scene { database, proxy, settings, mut deliveries, _kafka } = scene("once_never");
    begin(&settings);
    let workload = Workload::start(&database, seed());
    // Were events and checkpoint in two transactions, one of these would cut between them.
    let mut late: Option<Vec<u8>> = None;
    for passing in 1..=4 {
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        if let Some(request) = late.take() {
            let answer = error(&proxy.deliver(&request));
            assert!(FENCED.contains(&answer), "a dead walpost may still commit: {answer}");
        }
        proxy.hold(END_TXN, passing, Held::Swallowed);
        proxy.wait_until_held();
        walpost.kill();
        late = Some(proxy.take());
        deliveries.read();
    }
    conclude("4 commits that never arrive", &database, (workload, deliveries), settings.start());
}

#[test]
fn after_a_change_to_at_least_once_a_commit_that_was_left_behind_is_refused() {
    let Scene { database, proxy, settings, mut deliveries, _kafka } = scene("once_left");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    let workload = Workload::start(&database, seed());
    flow(&mut deliveries, &mut walpost, 1_000);
    proxy.hold(END_TXN, 0, Held::Swallowed);
    proxy.wait_until_held();
    walpost.kill();
    let mut plain = settings.env("WALPOST_DELIVERY", "at-least-once").start();
    plain.wait_until_ready();
    let answer = error(&proxy.deliver(&proxy.take()));
    assert!(FENCED.contains(&answer), "a dead walpost may still commit: {answer}");
    flow(&mut deliveries, &mut plain, 1_000);
    conclude("a change to at-least-once", &database, (workload, deliveries), plain);
}
