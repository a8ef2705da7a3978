//! Goal: a failover loses nothing in silence. With a slot that the standby keeps in step with (17
//! and newer) the relay goes on; without one, or where events were sent that the new primary never
//! had, it halts and names it.
//! Method: a real standby that is promoted after the primary was killed under load, with the relay
//! told of both by `DATABASE_URL`. The new primary's table is the truth.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::checkpoint_command::{done, wait_for_halt};
use super::servers::walpost::Walpost;
use super::servers::{
    Database, Kafka, PATIENCE, Postgres, Session, Settings, figure, until, within,
};

/// The physical slot by which the standby follows.
const STANDBY: &str = "standby_1";

/// A primary, its standby, and an outbox.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    database: Database,
    kafka: &'static Kafka,
    settings: Settings,
}

impl Pair {
    #[track_caller]
    fn start(major: u8) -> Self {
        let primary = Postgres::start(major);
        let admin = Session::open(&primary.url("postgres"));
        admin.value(&format!(
            "select slot_name from pg_create_physical_replication_slot('{STANDBY}')"
        ));
        drop(admin);
        let slot = format!("primary_slot_name={STANDBY}");
        let mut settings = vec![slot.as_str(), "hot_standby_feedback=on"];
        if major >= 17 {
            settings.push("sync_replication_slots=on");
        }
        let standby = primary.standby_with(&settings);
        let kafka = Kafka::shared();
        let database = primary.database(&format!("failover_{major}"));
        database.create_outbox();
        let url = format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}",
            primary.port(),
            standby.port(),
            database.name()
        );
        let settings = Settings::new(&database, kafka).env("DATABASE_URL", url);
        Self { primary, standby, database, kafka, settings }
    }

    fn topic(&self) -> String {
        format!("{}.order", self.database.name())
    }

    fn url_there(&self) -> String {
        self.standby.url(self.database.name())
    }

    #[track_caller]
    fn relay(&self) -> Walpost {
        let mut walpost = self.settings.start();
        walpost.wait_until_ready();
        walpost
    }

    /// Waits until the standby has the slot as one that it would go on with.
    #[track_caller]
    fn wait_for_synced_slot(&self) {
        let ready = format!(
            "select count(*) from pg_replication_slots
             where slot_name = '{}' and synced and not temporary and invalidation_reason is null",
            self.database.name()
        );
        let there = Session::open(&self.standby.url("postgres"));
        // The slot is kept there once the primary's reads from where the standby can: a record of
        // running transactions lets it, and the worker that copies it may sleep for 30 s.
        let ready = within(PATIENCE * 3, || {
            self.database.execute("select pg_log_standby_snapshot()");
            std::thread::sleep(Duration::from_millis(500));
            (there.value(&ready) == "1").then_some(())
        });
        assert!(ready.is_some(), "the standby never had the slot");
    }

    /// The primary is gone for good, and the standby takes its place.
    #[track_caller]
    fn fail_over(&self) -> Session {
        self.primary.kill();
        let there = Session::open(&self.url_there());
        assert_eq!(there.value("select pg_promote()"), "t");
        there
    }

    /// Numbers of the rows in Kafka, in the order of the topic's one partition.
    #[track_caller]
    fn sent(&self) -> Vec<u64> {
        let records = self.kafka.records(&self.topic());
        records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect()
    }

    /// Every row of the new primary's table is in Kafka, first deliveries in order, and nothing
    /// else is.
    #[track_caller]
    fn check_sent(&self, there: &Session) -> usize {
        let rows = there.query("select payload->>'n' from outbox order by 1");
        let rows: BTreeSet<u64> =
            rows.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect();
        until("all rows of the new primary to arrive", || {
            let sent: BTreeSet<_> = self.sent().into_iter().collect();
            sent.is_superset(&rows).then_some(())
        });
        let sent = self.sent();
        let mut seen = BTreeSet::new();
        let first: Vec<_> = sent.iter().copied().filter(|n| seen.insert(*n)).collect();
        assert!(first.is_sorted(), "first deliveries in another order than the commits");
        let phantoms: Vec<_> = seen.difference(&rows).collect();
        assert!(phantoms.is_empty(), "sent, but the new primary never had them: {phantoms:?}");
        sent.len() - seen.len()
    }
}

/// A writer of single rows, numbered from 1, until it is told to stop or its server is gone.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Writer {
    #[track_caller]
    fn start(url: &str) -> Self {
        let (session, stop) = (Session::open(url), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !told.load(Ordering::Relaxed) && insert(&session, n + 1).is_ok() {
                n += 1;
                // Enough to be under way at any moment, without reading thousands back.
                std::thread::sleep(Duration::from_millis(2));
            }
            n
        });
        Self { stop, thread }
    }

    /// The highest number whose commit the server has acknowledged.
    #[track_caller]
    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn insert(session: &Session, n: u32) -> Result<(), tokio_postgres::Error> {
    let row = format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'key', 'Placed', jsonb_build_object('n', {n}))"
    );
    session.try_query(&row).map(drop)
}

#[test]
fn with_a_failover_slot_the_relay_goes_on_at_the_new_primary_and_nothing_is_lost() {
    for major in [17, 18] {
        let pair = Pair::start(major);
        // The primary sends nothing through the slot that the standby does not have.
        pair.primary.set(&[("synchronized_standby_slots", STANDBY)]);
        let mut walpost = pair.relay();
        let writer = Writer::start(pair.database.url());
        pair.kafka.wait_for_records(&pair.topic(), 50);
        pair.wait_for_synced_slot();
        let before = pair.sent().len();
        pair.kafka.wait_for_records(&pair.topic(), before + 50);
        let there = pair.fail_over();
        let acknowledged = writer.end();
        for n in 1..=100 {
            insert(&there, acknowledged + 1_000 + n).unwrap();
        }
        let repeats = pair.check_sent(&there);
        walpost.wait_for_state("streaming");
        walpost.wait_for_line("a standby was promoted, and has everything that was sent");
        figure(&format!(
            "failover on Postgres {major}: {acknowledged} rows acknowledged, {repeats} repeats"
        ));
    }
}

#[test]
fn without_a_slot_at_the_new_primary_the_relay_halts_and_names_it() {
    for major in [16, 18] {
        let pair = Pair::start(major);
        // Made by hand, as an old guide says: the standby does not keep in step with it.
        pair.database.execute(
            "create publication walpost for table outbox
             with (publish = 'insert', publish_via_partition_root = true)",
        );
        pair.database.value(&format!(
            "select lsn from pg_create_logical_replication_slot('{}', 'pgoutput')",
            pair.database.name()
        ));
        let walpost = pair.relay();
        pair.database.insert_rows("order", 1, 20, 1);
        pair.kafka.wait_for_records(&pair.topic(), 20);
        let copied = Session::open(&pair.standby.url("postgres"));
        let end = pair.database.value("select pg_current_wal_lsn()");
        until("the standby to have the rows", || {
            let replayed = format!("select pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
            (copied.value(&replayed) == "t").then_some(())
        });
        let there = pair.fail_over();
        insert(&there, 21).unwrap();
        wait_for_halt(&walpost, "slot_missing");
        let halt = walpost.get("/status.json").body;
        assert!(halt.contains("checkpoint accept"), "{halt}");
        assert_eq!(pair.sent().len(), 20);
        // The decision is the operator's; what it may cost is named.
        let said = done(&pair.settings, &["checkpoint", "accept", "--yes"]);
        assert!(said.contains("may be missing"), "{said}");
        until("the relay to go on", || (walpost.try_get("/readyz")?.status == 200).then_some(()));
        insert(&there, 22).unwrap();
        until("the row to arrive", || pair.sent().contains(&22).then_some(()));
    }
}

#[test]
fn a_new_primary_that_never_had_what_was_sent_halts_the_relay() {
    for major in [17, 18] {
        let pair = Pair::start(major);
        let walpost = pair.relay();
        let writer = Writer::start(pair.database.url());
        pair.kafka.wait_for_records(&pair.topic(), 50);
        pair.wait_for_synced_slot();
        // From here on the standby hears nothing, and nothing makes the primary wait for it.
        pair.standby.set(&[("primary_conninfo", "")]);
        let there = Session::open(&pair.standby.url("postgres"));
        until("the standby to hear nothing", || {
            (there.value("select count(*) from pg_stat_wal_receiver") == "0").then_some(())
        });
        let before = pair.sent().len();
        pair.kafka.wait_for_records(&pair.topic(), before + 50);
        writer.end();
        until("the checkpoint to pass what was written", || {
            (walpost.metrics().sum("walpost_lag_seconds", &[]) == 0.0).then_some(())
        });
        let there = pair.fail_over();
        for n in 1..=20 {
            insert(&there, 1_000_000 + n).unwrap();
        }
        wait_for_halt(&walpost, "timeline_changed");
        let halt = walpost.get("/status.json").body;
        assert!(halt.contains("events were sent that this server never had"), "{halt}");
        assert!(pair.sent().iter().all(|n| *n < 1_000_000), "nothing is sent before the decision");
    }
}
