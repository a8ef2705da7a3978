//! Goal: pruning never deletes a row that Kafka does not have, whatever else goes on.
//! Method: make each thing that could fool it, prune rows of any age as often as it likes, and
//! compare row by row: what is gone from the table must be in the topics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::checkpoint_command::{command, done, wait_for_halt};
use super::servers::walpost::{Finished, Walpost};
use super::servers::{Database, Kafka, Postgres, Settings};

mod faults;
mod partitions;
mod prepared;
mod relay;
mod speed;

/// A database with an outbox, what relays it, and everything that was ever inserted.
pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) kafka: &'static Kafka,
    pub(crate) settings: Settings,
    inserted: Arc<Mutex<BTreeSet<u64>>>,
}

impl Shop {
    #[track_caller]
    pub(crate) fn open(server: &Postgres, name: &str) -> Self {
        let (database, kafka) = (server.database(name), Kafka::shared());
        let settings = Settings::new(&database, kafka);
        database.create_outbox();
        Self { database, kafka, settings, inserted: Arc::default() }
    }

    pub(crate) fn topic(&self) -> String {
        format!("{}.order", self.database.name())
    }

    /// Notes that rows of these numbers are committed.
    pub(crate) fn note(&self, first: u32, count: u32) {
        self.inserted.lock().unwrap().extend((first..first + count).map(u64::from));
    }

    #[track_caller]
    pub(crate) fn insert(&self, first: u32, count: u32) {
        self.database.insert_rows("order", first, count, 3);
        self.note(first, count);
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Walpost {
        let mut walpost = self.settings.start();
        walpost.wait_until_ready();
        walpost
    }

    /// Numbers of the rows in the table.
    #[track_caller]
    pub(crate) fn left(&self) -> BTreeSet<u64> {
        let rows = self.database.query("select payload->>'n' from outbox");
        rows.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
    }

    /// Numbers of the rows in Kafka, dead letters with a payload among them.
    #[track_caller]
    pub(crate) fn arrived(&self) -> BTreeSet<u64> {
        let name = self.database.name();
        let letters = self.kafka.records(&format!("{name}.dlq"));
        let records = self.kafka.records(&self.topic());
        let with_value = records.iter().chain(&letters).filter(|record| record.value.is_some());
        with_value.map(|record| record.value_json()["n"].as_u64().unwrap()).collect()
    }

    /// What is gone from the table is in Kafka; answers what is left.
    #[track_caller]
    pub(crate) fn compare(&self) -> BTreeSet<u64> {
        // In this order: what comes later is not missed, whoever else is at work.
        let inserted = self.inserted.lock().unwrap().clone();
        let (left, arrived) = (self.left(), self.arrived());
        let lost: Vec<_> =
            inserted.iter().filter(|n| !left.contains(n) && !arrived.contains(n)).collect();
        assert!(lost.is_empty(), "deleted and not in Kafka: {lost:?}");
        left
    }

    #[track_caller]
    pub(crate) fn prune(&self, arguments: &[&str]) -> Finished {
        let all = [&["prune", "--older-than", "0"], arguments].concat();
        command(&self.settings, &all)
    }

    /// Prunes rows of any age; answers what is left.
    #[track_caller]
    pub(crate) fn pruned(&self) -> BTreeSet<u64> {
        let all = ["prune", "--older-than", "0"];
        done(&self.settings, &all);
        self.compare()
    }

    /// The counts of a dry run of rows of any age.
    #[track_caller]
    pub(crate) fn counted(&self, arguments: &[&str]) -> Value {
        let all = [&["prune", "--older-than", "0", "--dry-run", "--json"], arguments].concat();
        let said: Value = serde_json::from_str(&done(&self.settings, &all)).unwrap();
        said["tables"][0]["counted"].clone()
    }
}

pub(crate) fn numbers(range: std::ops::RangeInclusive<u64>) -> BTreeSet<u64> {
    range.collect()
}

#[test]
fn delivered_rows_are_deleted_and_older_than_is_heeded() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let shop = Shop::open(server, "pruned");
        let _walpost = shop.start();
        shop.insert(1, 5_000);
        shop.database.execute(
            "update outbox set created_at = now() + interval '1 hour' where payload->>'n' = '9'",
        );
        // Nothing is a week old.
        let young = done(&shop.settings, &["prune"]);
        assert!(young.contains("public.outbox: 0 rows deleted"), "{young}");
        assert_eq!(shop.compare().len(), 5_000);
        shop.insert(5_001, 20);
        assert_eq!(shop.counted(&[])["due"], 5_020);
        assert_eq!(shop.left().len(), 5_020, "a dry run changes nothing");
        let said = done(&shop.settings, &["prune", "--older-than", "0", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["tables"][0]["deleted"], 5_020);
        assert_eq!(shop.compare(), BTreeSet::new());
        // An age that is not a whole day, by the column.
        shop.insert(6_001, 3);
        shop.database.execute(
            "update outbox set created_at = now() + interval '1 minute' where payload->>'n' = '6001'",
        );
        let said = done(&shop.settings, &["prune", "--older-than", "1ms"]);
        assert!(said.contains("2 rows deleted"), "{said}");
        assert_eq!(shop.compare(), numbers(6_001..=6_001));
    }
}

#[test]
fn before_the_first_start_nothing_is_proven() {
    let shop = Shop::open(Postgres::newest(), "never_ran");
    shop.insert(1, 3);
    let refused = shop.prune(&["--including-undelivered", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("before walpost has run"), "{}", refused.stderr);
    assert_eq!(shop.compare().len(), 3);
}

#[test]
fn rows_of_before_the_stream_stay_unless_that_is_said() {
    let mut shop = Shop::open(Postgres::newest(), "before");
    shop.settings = shop.settings.clone().env("WALPOST_SNAPSHOT", "never");
    shop.insert(1, 4);
    let _walpost = shop.start();
    shop.insert(5, 4);
    // What an old publisher does to its rows: a new version by a new transaction.
    shop.database.execute(
        "alter table outbox add column sent boolean; update outbox set sent = true where payload->>'n' in ('2', '6')",
    );
    // A rewrite of the table gives every row a new number.
    shop.database.execute("alter table outbox alter column type type varchar(300)");
    assert_eq!(shop.pruned(), numbers(1..=4));
    assert_eq!(shop.counted(&[])["before"], 4);
    let unconfirmed = shop.prune(&["--including-undelivered"]);
    assert_eq!(unconfirmed.code, 1, "{}", unconfirmed.stderr);
    assert_eq!(shop.compare(), numbers(1..=4));
    let said = shop.prune(&["--including-undelivered", "--yes"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(shop.left().is_empty());
}

#[test]
fn rows_that_were_sent_by_the_snapshot_of_the_first_start_are_deleted() {
    let shop = Shop::open(Postgres::newest(), "snapped");
    shop.insert(1, 40);
    let _walpost = shop.start();
    shop.insert(41, 4);
    // Nobody needs a time to tell that all of them are delivered.
    shop.database.execute("alter table outbox rename created_at to born");
    assert_eq!(shop.pruned(), BTreeSet::new());
    assert_eq!(shop.arrived().len(), 44);
}

#[test]
fn without_the_right_to_delete_the_grant_is_named() {
    let shop = Shop::open(Postgres::newest(), "grant");
    let mut walpost = shop.start();
    shop.insert(1, 3);
    shop.kafka.wait_for_records(&shop.topic(), 3);
    let role = format!("{}_reader", shop.database.name());
    shop.database.execute(&format!(
        "create role {role} login replication; grant usage on schema public to {role};
         grant select on outbox to {role}"
    ));
    let url = shop.database.url().replace("postgres@", &format!("{role}@"));
    let as_role = shop.settings.clone().env("DATABASE_URL", url);
    let refused = command(&as_role, &["prune", "--older-than", "0"]);
    shop.database.execute(&format!("grant delete on outbox to {role}"));
    let said = done(&as_role, &["prune", "--older-than", "0"]);
    let left = shop.compare();
    walpost.kill();
    shop.database.execute(&format!("drop owned by {role}; drop role {role}"));
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains("GRANT SELECT, DELETE"), "{}", refused.stdout);
    assert!(said.contains("3 rows deleted"), "{said}");
    assert!(left.is_empty());
}
