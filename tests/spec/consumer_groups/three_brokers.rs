//! Each broker of three is the coordinator of some groups and the leader of some partitions: whichever
//! goes away, how far a group is behind is told again, from those that are left.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use crate::servers::cluster::{BROKERS, Cluster};
use crate::servers::{Postgres, Settings, until};

use super::{consumer, number, shown};

/// Each broker leads one.
const PARTITIONS: i32 = 3;

/// For each of these groups some other broker may be the coordinator: it is chosen by a hash of the name.
const GROUPS: [&str; 3] = ["billing", "mail", "search"];

/// How many rows each time.
const ROWS: u32 = 12;

/// Reads until the group has stored that it read `count` records of the topic in all. A store that finds
/// the coordinator on its way to another broker is done again.
#[track_caller]
fn read_to(reader: &BaseConsumer, topic: &str, count: u32) {
    let mut places = TopicPartitionList::new();
    places.add_partition_range(topic, 0, PARTITIONS - 1);
    let mut last = None;
    until(&format!("{count} records to be read"), || {
        if let Some(Err(error)) = reader.poll(Duration::from_millis(100)) {
            last = Some(error);
        }
        if let Err(error) = reader.commit_consumer_state(CommitMode::Sync) {
            last = Some(error);
        }
        let stored = reader.committed_offsets(places.clone(), Duration::from_secs(5)).ok()?;
        let stored = stored.elements();
        let stored: i64 =
            stored.iter().filter_map(|it| it.offset().to_raw()).map(|it| it.max(0)).sum();
        assert!(stored <= i64::from(count), "{stored} of {count} records, last {last:?}");
        (stored == i64::from(count)).then_some(())
    });
}

#[test]
fn whichever_of_three_brokers_is_away_the_lag_of_each_group_is_told() {
    let cluster = Cluster::start();
    let database = Postgres::newest().database("groups_of_three");
    database.create_outbox();
    let topic = format!("{}.order", database.name());
    cluster.any().create_topic(&topic, PARTITIONS.unsigned_abs(), &[]);
    cluster.wait_until_whole();
    let groups = GROUPS.map(|name| format!("{}.{name}", database.name()));
    let mut walpost = Settings::new(&database, cluster.any())
        .env("WALPOST_CONSUMER_GROUPS", groups.join(","))
        .start();
    walpost.wait_until_ready();
    let readers = groups.each_ref().map(|group| consumer(cluster.any(), group, &topic));
    let mut written = 0;
    let mut write = || {
        database.insert_rows("order", written, ROWS, 6);
        written += ROWS;
        written
    };
    let first = write();
    readers.iter().for_each(|reader| read_to(reader, &topic, first));
    for away in 0..BROKERS {
        cluster.broker(away).kill();
        let count = write();
        for (group, reader) in groups.iter().zip(&readers) {
            let lag = || number(&walpost, "lag", group, Some(&topic));
            until(&format!("a lag of {ROWS} of {group} without broker {away}"), || {
                let untroubled = shown(&walpost, group)["trouble"].is_null();
                (lag() == Some(f64::from(ROWS)) && untroubled).then_some(())
            });
            read_to(reader, &topic, count);
            until(&format!("no lag of {group} without broker {away}"), || {
                (lag() == Some(0.0)).then_some(())
            });
        }
        cluster.broker(away).start_again();
        cluster.wait_until_whole();
    }
    let count = write();
    for (group, reader) in groups.iter().zip(&readers) {
        read_to(reader, &topic, count);
        until(&format!("one member of {group}"), || {
            (number(&walpost, "members", group, None) == Some(1.0)).then_some(())
        });
        assert_eq!(shown(&walpost, group)["trouble"], serde_json::Value::Null);
    }
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
}
