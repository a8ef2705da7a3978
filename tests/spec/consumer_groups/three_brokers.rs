//! Each broker of three is the coordinator of some groups and the leader of some partitions: whichever
//! goes away, how far a group is behind is told again, from those that are left.

use crate::servers::cluster::{BROKERS, Cluster};
use crate::servers::{Postgres, Settings, until};

use super::member::Member;
use super::{number, shown};

/// Each broker leads one.
const PARTITIONS: i32 = 3;

/// For each of these groups some other broker may be the coordinator: it is chosen by a hash of the name.
const GROUPS: [&str; 3] = ["billing", "mail", "search"];

/// How many rows each time.
const ROWS: u32 = 12;

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
    let readers = groups.each_ref().map(|group| Member::join(cluster.any(), group, &topic));
    let mut written = 0;
    let mut write = || {
        database.insert_rows("order", written, ROWS, 6);
        written += ROWS;
        written
    };
    let first = write();
    readers.iter().for_each(|reader| reader.read_to(PARTITIONS, first));
    for away in 0..BROKERS {
        cluster.broker(away).kill();
        let count = write();
        for (group, reader) in groups.iter().zip(&readers) {
            let lag = || number(&walpost, "lag", group, Some(&topic));
            until(&format!("a lag of {ROWS} of {group} without broker {away}"), || {
                let untroubled = shown(&walpost, group)["trouble"].is_null();
                (lag() == Some(f64::from(ROWS)) && untroubled).then_some(())
            });
            reader.read_to(PARTITIONS, count);
            until(&format!("no lag of {group} without broker {away}"), || {
                (lag() == Some(0.0)).then_some(())
            });
        }
        cluster.broker(away).start_again();
        cluster.wait_until_whole();
    }
    let count = write();
    for (group, reader) in groups.iter().zip(&readers) {
        reader.read_to(PARTITIONS, count);
        until(&format!("one member of {group}"), || {
            (number(&walpost, "members", group, None) == Some(1.0)).then_some(())
        });
        assert_eq!(shown(&walpost, group)["trouble"], serde_json::Value::Null);
    }
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
}
