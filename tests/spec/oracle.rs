//! What the fault tests know better than walpost: what was committed, in which order, and what
//! Kafka holds.
//!
//! *Goal*: after any fault, tell whether a row is missing, was never committed, came in the wrong
//! order, changed its partition, or was repeated without need.
//!
//! *Method*: three independent sources, none of which passes through walpost.
//!
//! - [`Workload`] writes rows that say of themselves which key they belong to and the how manieth of
//!   that key they are. The counter of a key is a row of Postgres, locked until the transaction ends,
//!   so the count in the payload *is* the commit order of the key, whichever connection wrote it, and
//!   a rollback leaves no gap.
//! - [`Commits`] reads a second replication slot of the same publication and so has the server's own
//!   list: commit LSN and ordinal of every row. That is what a checkpoint is compared with.
//! - [`Deliveries`] reads the topics, each record once, and holds them against the rules.
//!
//! The outbox table itself is the last word on what was committed: [`Deliveries::finish`].

pub(crate) use self::checkpoints::{Checkpoint, Checkpoints, lsn};
pub(crate) use self::commits::{Commits, Place};
pub(crate) use self::deliveries::{Deliveries, Repeats};
pub(crate) use self::random::Random;
pub(crate) use self::workload::Workload;

use super::servers::{Database, Kafka, Settings};

mod checkpoints;
mod commits;
mod deliveries;
#[cfg(not(feature = "crash-points"))] // The oracle is tried once, by `spec`.
mod proof;
mod random;
mod reader;
mod workload;

/// The aggregate types of the workload. Each has a topic of its own.
pub(crate) const TYPES: [&str; 2] = ["cold", "hot"];

/// Partitions of each topic.
pub(crate) const PARTITIONS: u32 = 4;

/// Makes everything a run of the workload needs, and returns the settings of a walpost that relays it:
/// tables, publication, walpost's slot and the slot that [`Commits`] reads, topics.
#[track_caller]
pub(crate) fn prepare(database: &Database, kafka: &Kafka) -> Settings {
    let settings = prepare_without_slot(database, kafka);
    make_slot(database, database.name());
    settings
}

/// As [`prepare`], in exactly-once, where walpost makes its slot itself.
#[track_caller]
pub(crate) fn prepare_once(database: &Database, kafka: &Kafka) -> Settings {
    prepare_without_slot(database, kafka).env("WALPOST_DELIVERY", "exactly-once")
}

/// As [`prepare`], but the rows reach walpost as messages, in the order in which they were inserted:
/// what it reads is a publication without a table.
#[track_caller]
pub(crate) fn prepare_messages(database: &Database, kafka: &Kafka) -> Settings {
    let settings = prepare_messages_without_slot(database, kafka);
    make_slot(database, database.name());
    settings
}

/// As [`prepare_messages`], in exactly-once, where walpost makes its slot itself.
#[track_caller]
pub(crate) fn prepare_messages_once(database: &Database, kafka: &Kafka) -> Settings {
    prepare_messages_without_slot(database, kafka).env("WALPOST_DELIVERY", "exactly-once")
}

#[track_caller]
fn prepare_messages_without_slot(database: &Database, kafka: &Kafka) -> Settings {
    let settings = prepare_without_slot(database, kafka);
    let prefix = database.name();
    // A trigger for each row runs at the end of its statement, in the order of the rows.
    database.execute(&format!(
        "create function emit() returns trigger language plpgsql as $$ begin
           perform pg_logical_emit_message(true, '{prefix}', row_to_json(new)::text);
           return null;
         end $$;
         create trigger emit after insert on outbox for each row execute function emit();
         create publication messages with (publish = 'insert', publish_via_partition_root = true)"
    ));
    settings.env("WALPOST_MESSAGES", prefix).env("WALPOST_PUBLICATION", "messages")
}

#[track_caller]
fn make_slot(database: &Database, slot: &str) {
    let made = format!("select lsn from pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    database.value(&made);
}

#[track_caller]
pub(crate) fn prepare_without_slot(database: &Database, kafka: &Kafka) -> Settings {
    let name = database.name();
    database.create_outbox();
    Workload::create_tables(database);
    database.execute(
        "create publication walpost for table outbox
         with (publish = 'insert', publish_via_partition_root = true)",
    );
    make_slot(database, &Commits::slot(database));
    for topic in topics(database) {
        kafka.make_topic(&topic, i32::try_from(PARTITIONS).unwrap(), &[]);
    }
    Settings::new(database, kafka).env("WALPOST_NAME", name)
}

/// The topics of the workload's events.
pub(crate) fn topics(database: &Database) -> Vec<String> {
    TYPES.iter().map(|kind| format!("{}.{kind}", database.name())).collect()
}

/// A number from the environment: how long or how often a test does something. Panics on nonsense.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
pub(crate) fn knob(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// The seed of this run: `WALPOST_TEST_SEED`, else by the clock. Printed, so that a failure can be
/// tried again; processes are not deterministic, so the same seed gives the same rows and the same
/// choices, not the same interleaving.
#[track_caller]
pub(crate) fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = knob("WALPOST_TEST_SEED", u64::from(now.subsec_nanos()) ^ now.as_secs());
    println!("WALPOST_TEST_SEED={seed}");
    seed
}

impl Random {
    /// A number of `from..=to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}
