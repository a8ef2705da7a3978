//! From one stream to several and back, with rows written all the while: each comes once, and in the
//! order of its key.

use std::time::Duration;

use super::{check_order, shards, table, topic};
use crate::checkpoint_command::done;
use crate::servers::{Database, Kafka, Postgres, Session, Settings, until};

/// Writes rows until dropped, numbered from what is there.
struct Writer(Option<std::thread::JoinHandle<()>>, std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Writer {
    fn start(database: &Database) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (url, stopped) = (database.url().to_owned(), std::sync::Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let session = Session::open(&url);
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                session.execute(
                    "insert into outbox (aggregateid, payload)
                     select n % 40, jsonb_build_object('n', n)
                     from (select coalesce(max((payload->>'n')::int), 0) as last from outbox),
                         generate_series(last + 1, last + 10) n",
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self(Some(thread), stop)
    }

    #[track_caller]
    fn stop(mut self) {
        self.1.store(true, std::sync::atomic::Ordering::Relaxed);
        self.0.take().unwrap().join().unwrap();
    }
}

/// Runs until what is in the table now has come.
#[track_caller]
fn run(settings: &Settings, database: &Database, kafka: &Kafka) {
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let rows: usize = database.value("select count(*) from outbox").parse().unwrap();
    until("the rows to come", || (kafka.records(&topic(database)).len() >= rows).then_some(()));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[track_caller]
fn check(delivery: &str) {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_number");
    database.execute(&table("integer", false));
    let of = |number| shards(&database, kafka, number).env("WALPOST_DELIVERY", delivery);
    let (one, four) = (of(1), of(4));
    // Rows of before the slot would have no order, and a snapshot that is stopped begins again.
    let mut walpost = one.start();
    walpost.wait_for_state("streaming");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    let writer = Writer::start(&database);
    run(&one, &database, kafka);

    let plan = done(&one, &["reshard", "4"]);
    assert!(plan.contains("nothing was changed"), "{plan}");
    assert_eq!(database.value("select count(*) from pg_publication"), "1");
    done(&one, &["reshard", "4", "--yes"]);
    assert_eq!(database.value("select count(*) from pg_publication"), "4");
    // It may be run again: what is done is left as it is.
    let again = done(&one, &["reshard", "4", "--yes"]);
    assert!(again.contains("where an earlier run ended"), "{again}");
    run(&four, &database, kafka);

    let refused = four.clone().arguments(&["reshard", "2"]).run();
    assert!(refused.stderr.contains("by way of one"), "{refused:?}");
    done(&four, &["reshard", "1", "--yes"]);
    let mut walpost = one.start();
    walpost.wait_until_ready();
    writer.stop();
    let rows: usize = database.value("select count(*) from outbox").parse().unwrap();
    check_order(&kafka.wait_for_records(&topic(&database), rows), rows);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    let slots = "select string_agg(slot_name, ' ') from pg_replication_slots
        where database = current_database()";
    assert_eq!(database.value(slots), database.name());
}

#[test]
fn another_number_of_streams_loses_nothing_repeats_nothing_and_keeps_the_order() {
    check("at-least-once");
    check("exactly-once");
}

#[test]
fn reshard_is_refused_while_a_walpost_is_at_work_and_without_a_place() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_busy");
    database.execute(&table("integer", false));
    let one = shards(&database, kafka, 1);
    let refused = one.clone().arguments(&["reshard", "2", "--yes"]).run();
    assert!(refused.stderr.contains("no place is stored"), "{refused:?}");
    let mut walpost = one.start();
    walpost.wait_until_ready();
    let refused = one.clone().arguments(&["reshard", "2", "--yes"]).run();
    assert!(refused.stderr.contains("is in use"), "{refused:?}");
    assert_eq!(database.value("select count(*) from pg_publication"), "1");
}
