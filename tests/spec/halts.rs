//! Goal: whatever may have cost rows is named within ten seconds, under its own code, with a remedy,
//! and nothing is sent until somebody has decided.
//! Method: a relay that has published something; then its slot, server, cluster, publication or table
//! is exchanged, while it runs and while it does not.

use std::time::Duration;

use serde_json::Value;

use crate::oracle::Checkpoints;
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Session, Settings, figure, until, within};
use crate::slot;

/// How soon a halt must be told: ten seconds are promised, and normal is one to four. Twice that is
/// for a machine that runs other tests beside this one; what it took is printed.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// How long nothing must happen.
const QUIET: Duration = Duration::from_secs(2);

/// A relay that has published three rows.
struct Relay {
    database: Database,
    settings: Settings,
    walpost: Walpost,
}

impl Relay {
    #[track_caller]
    fn start(server: &Postgres, name: &str) -> Self {
        let database = server.database(name);
        database.create_outbox();
        let settings =
            Settings::new(&database, Kafka::shared()).env("WALPOST_NAME", database.name());
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let relay = Self { database, settings, walpost };
        relay.insert(1);
        assert_eq!(Kafka::shared().wait_for_records(&relay.topic(), 3).len(), 3);
        relay
    }

    fn topic(&self) -> String {
        format!("{}.order", self.database.name())
    }

    fn insert(&self, first: u32) {
        self.database.insert_rows("order", first, 3, 1);
    }

    #[track_caller]
    fn stop(&mut self) {
        self.walpost.terminate();
        assert_eq!(self.walpost.wait(), 0, "{}", self.walpost.log());
    }

    /// Stops it, makes a change, and starts it again.
    #[track_caller]
    fn change_while_down(mut self, change: impl FnOnce(&Self)) -> Self {
        self.stop();
        change(&self);
        self.walpost = self.settings.start();
        self
    }

    /// Waits for the halt, and asserts all that is promised of one.
    #[track_caller]
    fn check_halted(&mut self, code: &str) -> Value {
        let changed = tokio::time::Instant::now();
        let halted = within(TOLD_WITHIN, || {
            let status = self.walpost.try_get("/status.json")?.json();
            (status["halt"]["code"] == code).then_some(status)
        });
        let Some(status) = halted else {
            let now = self.walpost.try_get("/status.json").map(|response| response.json());
            panic!("no halt `{code}` after {TOLD_WITHIN:?}: {now:#?}\n{}", self.walpost.log())
        };
        figure(&format!("{code}: told {:?} after the change", changed.elapsed()));
        let halt = &status["halt"];
        assert_eq!(status["state"], "halted");
        assert_eq!(halt["resumes_by_itself"], false, "{halt}");
        let text = |member: &str| halt[member].as_str().unwrap_or_default().to_owned();
        assert!(text("message").len() > 20, "what is wrong: {halt}");
        assert!(text("hint").to_lowercase().contains("rows"), "what it may have cost: {halt}");
        let said = format!("{} {}", text("message"), text("hint"));
        assert!(said.split([' ', ',', ';', '\'']).any(is_position), "from where on: {halt}");
        let verdict = status["verdict"].as_str().unwrap();
        assert!(verdict.contains(&text("message")), "{verdict}");
        check_metrics(&self.walpost, code);
        assert_eq!(self.walpost.get("/readyz").status, 503);
        assert_eq!(self.walpost.get("/livez").status, 200);
        assert!(self.walpost.get("/").body.contains(code));
        // It is logged when the page has it already.
        until("the log to name it", || self.walpost.log().contains(code).then_some(()));
        status
    }

    /// Asserts that nothing is published and nothing moves; `count` records are in the topic.
    #[track_caller]
    fn check_quiet(&mut self, count: usize) {
        let kafka = Kafka::shared();
        let mut checkpoints = Checkpoints::new(&self.database, kafka);
        let before = checkpoints.newest();
        std::thread::sleep(QUIET);
        assert_eq!(kafka.records(&self.topic()).len(), count, "{}", self.walpost.log());
        assert_eq!(checkpoints.newest(), before, "the checkpoint moved");
        assert!(self.walpost.is_running(), "a halted process stays up");
        assert_eq!(self.walpost.get("/status.json").json()["state"], "halted");
        let holders = format!(
            "select count(*) from pg_replication_slots where slot_name = '{}' and active",
            self.database.name()
        );
        // Each of its tries takes the slot for a moment: under it nothing can change.
        until("the slot to be free", || (self.database.value(&holders) == "0").then_some(()));
    }
}

/// Whether a word is a place in the log, as the server prints it.
fn is_position(word: &str) -> bool {
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let upper = !word.bytes().any(|byte| byte.is_ascii_lowercase());
    // Not `16406/741`, which is an object and its row version: the first servers' logs are short.
    word.split_once('/').is_some_and(|(high, low)| upper && high == "0" && hex(low))
}

/// `walpost_halted` is 1 for this code only, and every code has a series.
#[track_caller]
fn check_metrics(walpost: &Walpost, code: &str) {
    let metrics = walpost.metrics();
    assert_eq!(metrics.get("walpost_halted", &[("code", code)]), Some(1.0));
    assert!((metrics.sum("walpost_halted", &[]) - 1.0).abs() < f64::EPSILON, "{metrics:#?}");
    assert_eq!(metrics.get("walpost_state", &[("state", "halted")]), Some(1.0));
    for code in [
        "authentication",
        "authorization",
        "topic_missing",
        "dead_letter_failed",
        "bad_row",
        "fenced",
        "not_ready",
        "slot_lost",
        "slot_missing",
        "slot_ahead",
        "publication_changed",
        "table_changed",
        "system_changed",
        "timeline_changed",
        "kafka_changed",
        "checkpoint_lost",
        "checkpoint_ahead",
        "checkpoint_newer",
    ] {
        assert!(metrics.get("walpost_halted", &[("code", code)]).is_some(), "no series for {code}");
    }
}

#[test]
fn a_slot_that_was_moved_past_the_checkpoint_halts() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let mut relay = Relay::start(server, "slot_ahead").change_while_down(|relay| {
            relay.insert(4);
            relay.database.value(&format!(
                "select end_lsn from pg_replication_slot_advance('{}', pg_current_wal_lsn())",
                relay.database.name()
            ));
        });
        let status = relay.check_halted("slot_ahead");
        let message = status["halt"]["message"].as_str().unwrap();
        assert!(message.contains(relay.database.name()), "names the slot: {message}");
        relay.check_quiet(3);
    }
}

fn drop_slot(relay: &Relay) {
    relay
        .database
        .execute(&format!("select pg_drop_replication_slot('{}')", relay.database.name()));
}

#[test]
fn a_slot_that_is_gone_halts_and_is_not_made_again() {
    let mut relay = Relay::start(Postgres::newest(), "slot_gone").change_while_down(|relay| {
        drop_slot(relay);
        relay.insert(4);
    });
    relay.check_halted("slot_missing");
    relay.check_quiet(3);
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        relay.database.name()
    );
    assert_eq!(relay.database.value(&slots), "0");
}

#[test]
fn a_slot_that_was_made_again_halts() {
    let mut relay = Relay::start(Postgres::oldest(), "slot_again").change_while_down(|relay| {
        drop_slot(relay);
        relay.insert(4);
        relay.database.value(&format!(
            "select lsn from pg_create_logical_replication_slot('{}', 'pgoutput')",
            relay.database.name()
        ));
    });
    relay.check_halted("slot_ahead");
    relay.check_quiet(3);
}

#[test]
fn another_database_server_halts() {
    let mut relay = Relay::start(Postgres::newest(), "system");
    relay.stop();
    // The same names on another server, as after a move or a restore elsewhere.
    let (name, other) = (relay.database.name().to_owned(), Postgres::oldest());
    let admin = Session::open(&other.url("postgres"));
    admin.execute(&format!("create database {name}"));
    let url = other.url(&name);
    let there = Session::open(&url);
    there.execute(
        "create table outbox (id uuid primary key, aggregatetype text, aggregateid text, type text,
         payload jsonb)",
    );
    there.execute("create publication walpost for table outbox with (publish = 'insert')");
    there.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{name}', 'pgoutput')"
    ));
    there.execute("insert into outbox values (gen_random_uuid(), 'order', 'k', 'Placed', '{}')");
    relay.walpost = relay.settings.clone().env("DATABASE_URL", url).start();
    relay.check_halted("system_changed");
    relay.check_quiet(3);
    drop(relay);
    there.execute(&format!("select pg_drop_replication_slot('{name}')"));
    drop(there);
    admin.execute(&format!("drop database {name} with (force)"));
}

#[test]
fn another_kafka_cluster_halts() {
    let mut relay = Relay::start(Postgres::newest(), "cluster");
    relay.stop();
    relay.insert(4);
    // Another cluster, to which a mirror has copied the checkpoint.
    let (here, there) = (Kafka::shared(), Kafka::start());
    let topic = format!("walpost.checkpoint.{}", relay.database.name());
    there.make_topic(&topic, 1, &[("cleanup.policy", "compact")]);
    let records = here.records(&topic);
    assert!(!records.is_empty());
    for record in records {
        there.write(&topic, record.key.as_deref(), record.value.as_deref());
    }
    relay.walpost =
        relay.settings.clone().env("KAFKA_BOOTSTRAP_SERVERS", there.bootstrap()).start();
    relay.check_halted("kafka_changed");
    relay.check_quiet(3);
    assert_eq!(there.records(&relay.topic()), []);
}

/// A publication that is dropped, while it runs and while it does not.
///
/// Postgres 18 goes on and leaves the rows out, with a warning in its own log only.
#[test]
fn a_publication_that_is_dropped_halts() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let drop_it = |relay: &Relay| {
            relay.database.execute("drop publication walpost");
            relay.insert(4);
        };
        let mut relay = Relay::start(server, "pub_dropped");
        drop_it(&relay);
        relay.check_halted("publication_changed");
        relay.check_quiet(3);

        let mut relay = Relay::start(server, "pub_dropped").change_while_down(drop_it);
        relay.check_halted("publication_changed");
        relay.check_quiet(3);
        // Made again it is another one: what was committed in between is not in it.
        relay
            .database
            .execute("create publication walpost for table outbox with (publish = 'insert')");
        relay.stop();
        relay.walpost = relay.settings.start();
        relay.check_halted("publication_changed");
        relay.check_quiet(3);
    }
}

#[test]
fn a_publication_that_is_altered_halts() {
    let ways = [
        "alter publication walpost set (publish = 'insert, update')",
        "alter publication walpost set (publish = 'update')",
        // The rows in between are missing even if it is put right.
        "alter publication walpost set (publish = 'delete');
         insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'key-1', 'Placed', '{}');
         alter publication walpost set (publish = 'insert')",
    ];
    for way in ways {
        let mut relay = Relay::start(Postgres::newest(), "pub_altered");
        relay.database.execute(way);
        relay.check_halted("publication_changed");
        relay.check_quiet(3);

        let mut relay = Relay::start(Postgres::oldest(), "pub_altered")
            .change_while_down(|relay| relay.database.execute(way));
        relay.check_halted("publication_changed");
        relay.check_quiet(3);
    }
}

#[test]
fn a_table_that_left_the_publication_halts() {
    let leave = "alter publication walpost drop table outbox";
    let leave_and_come_back = "alter publication walpost drop table outbox;
         insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'key-1', 'Placed', '{}');
         alter publication walpost add table outbox";
    for way in [leave, leave_and_come_back] {
        let mut relay = Relay::start(Postgres::oldest(), "table_left");
        relay.database.execute(way);
        relay.check_halted("table_changed");
        relay.check_quiet(3);

        let mut relay = Relay::start(Postgres::newest(), "table_left")
            .change_while_down(|relay| relay.database.execute(way));
        relay.check_halted("table_changed");
        relay.check_quiet(3);
    }
}

/// The new table is not in the publication, which Postgres tells nobody.
#[test]
fn a_table_that_is_dropped_and_made_again_halts() {
    let again = |relay: &Relay| {
        relay.database.execute("drop table outbox");
        relay.database.create_outbox();
        relay.insert(4);
    };
    for server in [Postgres::oldest(), Postgres::newest()] {
        let mut relay = Relay::start(server, "table_again");
        again(&relay);
        relay.check_halted("table_changed");
        relay.check_quiet(3);

        let mut relay = Relay::start(server, "table_again").change_while_down(again);
        relay.check_halted("table_changed");
        relay.check_quiet(3);
    }
}

#[test]
fn a_table_that_is_dropped_halts() {
    let mut relay = Relay::start(Postgres::newest(), "table_gone");
    relay.database.execute("drop table outbox");
    relay.check_halted("table_changed");
    relay.check_quiet(3);
}

#[test]
fn a_column_that_is_added_is_no_change_of_the_table() {
    let relay = Relay::start(Postgres::newest(), "column");
    relay.database.execute("alter table outbox add column note text default 'x'");
    relay.insert(4);
    assert_eq!(Kafka::shared().wait_for_records(&relay.topic(), 6).len(), 6);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(relay.walpost.get("/status.json").json()["state"], "streaming");
}

/// The slot is never ahead of the checkpoint, so its position repeats some rows and loses none.
#[test]
fn a_lost_checkpoint_repeats_from_the_slot_and_loses_nothing() {
    let mut relay = Relay::start(Postgres::newest(), "checkpoint_lost");
    let kafka = Kafka::shared();
    // Killed, the slot stands where it was; rows come while nobody reads.
    relay.walpost.kill();
    relay.insert(4);
    kafka.delete_topic(&format!("walpost.checkpoint.{}", relay.database.name()));
    let before = slot::confirmed_flush(&relay.database);
    relay.walpost = relay.settings.start();
    relay.walpost.wait_until_ready();
    let line = relay.walpost.wait_for_line("no checkpoint is stored");
    assert!(line.contains("WARN"), "{line}");
    let records = until("all six rows", || {
        let records = kafka.records(&relay.topic());
        let mut numbers: Vec<_> =
            records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers == [1, 2, 3, 4, 5, 6]).then_some(records)
    });
    assert!(records.len() <= 9, "repeats what the slot had not passed, once");
    relay.insert(7);
    kafka.wait_for_records(&relay.topic(), records.len() + 3);
    assert!(slot::confirmed_flush(&relay.database) >= before);
}

#[test]
fn a_slot_without_a_checkpoint_is_taken_as_it_stands_with_a_warning_that_counts() {
    let (database, kafka) = (Postgres::oldest().database("taken"), Kafka::shared());
    database.create_outbox();
    database.insert_rows("order", 1, 5, 1);
    database.execute("create publication walpost for table outbox with (publish = 'insert')");
    database.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{}', 'pgoutput')",
        database.name()
    ));
    database.insert_rows("order", 6, 2, 1);
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    let records = kafka.wait_for_records(&format!("{}.order", database.name()), 2);
    let first: Vec<_> = records.iter().map(|record| record.value_json()["n"].clone()).collect();
    assert_eq!(first, [6, 7]);
    let line = walpost.wait_for_line("not sent");
    assert!(line.contains("WARN"), "{line}");
}

#[test]
fn a_checkpoint_topic_that_would_be_deleted_by_time_is_refused() {
    let (database, kafka) = (Postgres::newest().database("policy"), Kafka::shared());
    database.create_outbox();
    let topic = format!("walpost.checkpoint.{}", database.name());
    kafka.make_topic(&topic, 1, &[("cleanup.policy", "delete")]);
    let settings = Settings::new(&database, kafka).env("WALPOST_NAME", database.name());
    let walpost = settings.start();
    let halt = until("the halt", || {
        let status = walpost.try_get("/status.json")?.json();
        (status["halt"]["code"] == "not_ready").then(|| status["halt"].clone())
    });
    assert!(halt["hint"].as_str().unwrap().contains("cleanup.policy=compact"), "{halt}");
    assert_eq!(kafka.records(&topic), []);
}
