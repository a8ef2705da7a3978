//! Goal: no row is lost where the first batch of a partition is refused for a passing reason.
//! Method: a proxy gives that batch to a topic that is not there, so that the broker says what one says
//! that is just being told of a topic; small batches, so that many would be under way behind it.

use std::collections::BTreeSet;

use crate::servers::{Kafka, PATIENCE, Postgres, Settings, within};

/// Rows into a topic with so many partitions, of so many keys or of none.
#[track_caller]
fn check(delivery: &str, partitions: i32, keys: Option<u32>) {
    const ROWS: usize = 1_000;
    let (kafka, proxy, address) = Kafka::start_with_proxy();
    let database = Postgres::newest().database("first_batch");
    database.create_outbox();
    let topic = format!("{}.order", database.name());
    kafka.make_topic(&topic, partitions, &[]);
    let mut walpost = Settings::new(&database, &kafka)
        .env("KAFKA_BOOTSTRAP_SERVERS", &address)
        .env("KAFKA_PROP_BATCH_NUM_MESSAGES", "10")
        .env("WALPOST_DELIVERY", delivery)
        .start();
    walpost.wait_until_ready();
    proxy.misname(&topic);
    let key = keys.map_or("''".to_owned(), |keys| format!("'key-' || n % {keys}"));
    database.execute(&format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         select 'order', {key}, 'Placed', jsonb_build_object('n', n) from generate_series(1, {ROWS}) n"
    ));
    let all = within(PATIENCE, || {
        let records = kafka.committed_records(&topic);
        (records.len() >= ROWS).then_some(records)
    });
    let records = all.unwrap_or_else(|| panic!("{delivery}: lost rows\n{}", walpost.log()));
    assert!(proxy.has_misnamed());
    let numbers: Vec<_> =
        records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), ROWS, "{delivery}");
    assert_eq!(numbers.len(), ROWS, "{delivery}: rows came twice");
    if partitions == 1 {
        assert!(numbers.is_sorted(), "{delivery}: {numbers:?}");
    }
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn a_first_batch_that_is_refused_for_now_loses_and_reorders_nothing() {
    check("at-least-once", 1, Some(7));
    check("at-least-once", 5, Some(50));
    check("exactly-once", 1, Some(7));
}

#[test]
fn nor_does_one_of_records_without_a_key() {
    check("at-least-once", 3, None);
}
