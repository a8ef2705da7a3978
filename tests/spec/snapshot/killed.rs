//! Goal: a first start may be killed at any moment, again and again, while others write.
//!
//! Method: rows that lie in the table; then, once there is a slot, a writer that inserts rows and a
//! writer that inserts and deletes in one transaction. Both also write what they committed into a
//! table that nobody follows. Every row of that table has to come.
//!
//! `WALPOST_TEST_KILLS=100` kills a hundred times, `WALPOST_TEST_SEED=N` repeats the choices of a run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{ids, stop, topic};
use crate::oracle::{Random, knob, seed};
use crate::servers::{
    Database, Kafka, PATIENCE, Postgres, Session, Settings, figure, until, within,
};

const ROWS: u32 = 10_000;

#[track_caller]
fn prepare(database: &Database) {
    database.execute(&format!(
        "create table outbox (id text primary key, aggregatetype text, aggregateid text, type text,
             payload text, created_at timestamptz not null default clock_timestamp());
         create table truth (place bigserial, id text, key text, kept boolean);
         create function write(number bigint, first text, keep boolean) returns void language sql as $$
             insert into outbox select first || number, 'order', first || number % 5, 'Placed', '{{}}';
             insert into truth (id, key, kept) values (first || number, first || number % 5, keep);
             delete from outbox where not keep and id = first || number
         $$;
         select write(n, 'before-', true) from generate_series(1, {ROWS}) as n"
    ));
}

/// Writes until it is told to stop.
fn writer(database: &Database, stop: &Arc<AtomicBool>, keep: bool) -> JoinHandle<()> {
    let (url, stop) = (database.url().to_owned(), Arc::clone(stop));
    std::thread::spawn(move || {
        let session = Session::open(&url);
        let first = if keep { "kept-" } else { "fleeting-" };
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            session.execute(&format!("select write({number}, '{first}', {keep})"));
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

/// Waits until the slot is there, which is when the promise for fleeting rows begins.
#[track_caller]
fn wait_for_slot(database: &Database) {
    let sql = format!(
        "select count(confirmed_flush_lsn) from pg_replication_slots where slot_name = '{}'",
        database.name()
    );
    until("the slot", || (database.value(&sql) == "1").then_some(()));
}

#[test]
fn a_first_start_that_is_killed_again_and_again_loses_nothing() {
    let kills = knob("WALPOST_TEST_KILLS", 20);
    let mut random = Random::new(seed(), 500);
    let (database, kafka) = (Postgres::newest().database("kill_snapshot"), Kafka::start());
    prepare(&database);
    kafka.make_topic(&topic(&database), 1, &[]);
    // So little in flight that the snapshot takes its time.
    let settings = Settings::new(&database, &kafka).env("WALPOST_MAX_IN_FLIGHT", "64KiB");
    let done = Arc::<AtomicBool>::default();
    let mut writers = Vec::new();
    let (mut in_snapshot, mut in_stream) = (0, 0);
    for kill in 0..kills {
        let mut walpost = settings.start();
        if writers.is_empty() {
            wait_for_slot(&database);
            writers = vec![writer(&database, &done, true), writer(&database, &done, false)];
        } else if kill * 4 < kills * 3 {
            // In the middle of the rows, or before the slot is taken again.
            let rows = random.between(0, u64::from(ROWS) / 2);
            within(PATIENCE, || {
                let status = walpost.try_get("/status.json")?.json();
                let done = status["snapshot"]["rows_done"].as_u64();
                (status["state"] == "streaming" || done? >= rows).then_some(())
            });
        } else {
            // Perhaps at the end of the rows, or in the stream.
            std::thread::sleep(Duration::from_millis(random.between(0, 2_000)));
        }
        let state = walpost.try_get("/status.json").map(|status| status.json()["state"].clone());
        in_snapshot += u64::from(state == Some("snapshotting".into()));
        in_stream += u32::from(state == Some("streaming".into()));
        walpost.kill();
    }
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    let truth = database.query("select id, key, kept from truth order by place");
    let records = until("every row that was committed", || {
        let records = kafka.records(&topic(&database));
        let came: std::collections::HashSet<_> = ids(&records).into_iter().collect();
        truth.iter().all(|row| came.contains(row[0].as_deref().unwrap())).then_some(records)
    });
    stop(walpost);
    let came = super::first_deliveries(&records);
    assert_eq!(came.len(), truth.len(), "rows came that nobody committed");
    check_order(&came, &truth);
    figure(&format!(
        "killed first starts: {kills} kills, {in_snapshot} in the snapshot, {in_stream} in the \
         stream; {} rows, {} repeats",
        truth.len(),
        records.len() - came.len()
    ));
    assert!(in_snapshot * 2 > kills, "too few kills in the middle of a snapshot: {in_snapshot}");
}

/// Within a key, rows of one kind come first in the order of their commits: those of the table by
/// their times, those of the stream as it has them.
#[track_caller]
fn check_order(came: &[&str], truth: &[Vec<Option<String>>]) {
    let place: HashMap<&str, usize> =
        truth.iter().enumerate().map(|(place, row)| (row[0].as_deref().unwrap(), place)).collect();
    let mut last: HashMap<&str, usize> = HashMap::new();
    for id in came {
        let place = place[id];
        let key = truth[place][1].as_deref().unwrap();
        let before = last.insert(key, place);
        assert!(before.is_none_or(|before| before < place), "{id} of {key} comes too late");
    }
}
