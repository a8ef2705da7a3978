//! Goal: whatever is done to table and publication while rows come, no row is lost in silence:
//! the change is taken, or halts under its name with the range.
//! Method: insert all the time, change something, and account for every row that was committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::checkpoint_command::{arrived, command, done, listed, wait_for_halt};
use super::servers::{Database, Kafka, Postgres, Session, Settings, until};

/// Inserts one row after the other until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<u64>>,
}

impl Load {
    /// `insert` is a statement with `$n` for the number.
    fn start(database: &Database, insert: &str) -> Self {
        let (session, insert) = (database.session(), insert.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut committed = BTreeSet::new();
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                // A table that is being exchanged refuses some; those never were.
                if session.try_query(&insert.replace("$n", &number.to_string())).is_ok() {
                    committed.insert(number);
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            committed
        });
        Self { stop, thread }
    }

    /// The numbers that were committed.
    fn finish(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

const INSERT: &str = "insert into outbox (aggregatetype, aggregateid, type, payload)
    values ('order', 'key-' || ($n % 5), 'Placed', jsonb_build_object('n', $n))";

fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(300));
}

#[track_caller]
fn wait_for_all(kafka: &Kafka, topic: &str, expected: &BTreeSet<u64>) {
    let mut missing = BTreeSet::new();
    let found = super::servers::within(super::servers::PATIENCE, || {
        missing = expected.difference(&arrived(kafka, topic)).copied().collect();
        missing.is_empty().then_some(())
    });
    assert!(found.is_some(), "rows that never arrived: {missing:?}");
}

/// Each row once, since nothing was interrupted.
#[track_caller]
fn assert_once(kafka: &Kafka, topic: &str, expected: &BTreeSet<u64>) {
    assert_eq!(kafka.records(topic).len(), expected.len(), "no row came twice");
}

#[test]
fn changes_of_columns_that_are_not_needed_are_taken() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("columns"), Kafka::shared());
        database.create_outbox();
        database.execute("alter table outbox add column spare int");
        let topic = format!("{}.order", database.name());
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_until_ready();
        let load = Load::start(&database, INSERT);
        for change in [
            "add column note text not null default 'x'",
            "drop column spare",
            "rename column payload to data",
            "rename column data to payload",
            "alter column aggregateid type varchar(100)",
            "drop column note",
        ] {
            pause();
            database.execute(&format!("alter table outbox {change}"));
        }
        pause();
        let committed = load.finish();
        assert!(committed.len() > 50, "{} rows", committed.len());
        wait_for_all(kafka, &topic, &committed);
        assert_once(kafka, &topic, &committed);
        assert!(walpost.log().contains("the table was altered"), "{}", walpost.log());
    }
}

#[test]
fn a_new_partition_is_taken() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("partition"), Kafka::shared());
        database.execute(
            "create table outbox (id uuid default gen_random_uuid(), aggregatetype text,
                aggregateid text, type text, payload jsonb, n int not null) partition by range (n);
            create table outbox_1 partition of outbox for values from (0) to (100)",
        );
        let topic = format!("{}.order", database.name());
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_until_ready();
        let load = Load::start(
            &database,
            "insert into outbox (aggregatetype, aggregateid, type, payload, n)
             values ('order', 'k', 'Placed', jsonb_build_object('n', $n), $n)",
        );
        pause();
        database.execute(
            "create table outbox_2 partition of outbox for values from (100) to (1000000)",
        );
        pause();
        pause();
        let committed = load.finish();
        wait_for_all(kafka, &topic, &committed);
        assert_once(kafka, &topic, &committed);
        assert!(
            kafka
                .records(&topic)
                .iter()
                .all(|record| { record.header("ce_source").unwrap().ends_with("/public/outbox") })
        );
    }
}

#[test]
fn a_required_column_that_is_gone_halts_before_its_first_row() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("required"), Kafka::shared());
        database.create_outbox();
        let topic = format!("{}.order", database.name());
        let settings = Settings::new(&database, kafka);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let load = Load::start(&database, INSERT);
        pause();
        let before = load.finish();
        wait_for_all(kafka, &topic, &before);
        database.execute("alter table outbox rename column payload to body");
        database.execute(
            "insert into outbox (aggregatetype, aggregateid, type, body)
             values ('order', 'k', 'Placed', '{\"n\": 1000000}')",
        );
        wait_for_halt(&walpost, "table_changed");
        assert_eq!(arrived(kafka, &topic), before, "nothing of it was sent");
        let page = walpost.get("/status.json").body;
        assert!(page.contains("WALPOST_COLUMN_PAYLOAD"), "{page}");
        walpost.terminate();
        walpost.wait();
        // The rows of before the change are read by their own columns and are not in the way.
        let mut walpost = settings.env("WALPOST_COLUMN_PAYLOAD", "body").start();
        walpost.wait_until_ready();
        let mut all = before;
        all.insert(1_000_000);
        wait_for_all(kafka, &topic, &all);
        assert_once(kafka, &topic, &all);
    }
}

#[test]
fn a_required_column_of_an_impossible_type_halts() {
    let (database, kafka) = (Postgres::newest().database("retyped"), Kafka::shared());
    database.create_outbox();
    let topic = format!("{}.order", database.name());
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 3, 1);
    kafka.wait_for_records(&topic, 3);
    database.execute("alter table outbox alter column created_at drop default");
    database.execute("alter table outbox alter column created_at type boolean using true");
    database.execute(
        "insert into outbox (aggregatetype, aggregateid, type, payload, created_at)
         values ('order', 'k', 'Placed', '{\"n\": 4}', true)",
    );
    wait_for_halt(&walpost, "table_changed");
    assert_eq!(kafka.records(&topic).len(), 3);
    // Not a row of that type is skipped by decision, and the next one goes on.
    database.execute("alter table outbox alter column created_at type timestamptz using now()");
    database.execute("alter table outbox alter column created_at set default now()");
    database.insert_rows("order", 5, 1, 1);
    let page = walpost.get("/status.json").body;
    let skip = page.split("--commit-lsn ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let settings = Settings::new(&database, kafka);
    done(&settings, &["checkpoint", "set", "--commit-lsn", skip, "--yes"]);
    walpost.wait_until_ready();
    kafka.wait_for_records(&topic, 4);
    assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 5]));
}

#[test]
fn a_renamed_table_goes_on_and_is_named() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("renamed"), Kafka::shared());
        database.create_outbox();
        let topic = format!("{}.order", database.name());
        let settings = Settings::new(&database, kafka);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let load = Load::start(&database, INSERT);
        pause();
        let mut committed = load.finish();
        database.execute("alter table outbox rename to events");
        let load = Load::start(
            &database,
            &INSERT.replace("outbox", "events").replace("$n", "($n + 1000000)"),
        );
        walpost.wait_for_line("table public.outbox is called public.events now");
        committed.extend(load.finish().into_iter().map(|n| n + 1_000_000));
        wait_for_all(kafka, &topic, &committed);
        assert_once(kafka, &topic, &committed);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);

        let walpost = settings.start();
        wait_for_halt(&walpost, "table_changed");
        let page = walpost.get("/status.json").body;
        assert!(page.contains("Set WALPOST_TABLE to public.events"), "{page}");
        drop(walpost);
        let mut walpost = settings.env("WALPOST_TABLE", "events").start();
        walpost.wait_until_ready();
        database.execute(&INSERT.replace("outbox", "events").replace("$n", "2000000"));
        committed.insert(2_000_000);
        wait_for_all(kafka, &topic, &committed);
        assert_once(kafka, &topic, &committed);
    }
}

#[test]
fn a_second_table_is_taken_at_the_next_start() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("second"), Kafka::shared());
        database.create_outbox();
        database.execute("create table more (like outbox including all)");
        let topic = format!("{}.order", database.name());
        let settings = Settings::new(&database, kafka);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let load = Load::start(&database, INSERT);
        pause();
        // While it runs: the table that is not configured is left out, the other goes on.
        database.execute("alter publication walpost add table more");
        let into_more = INSERT.replace("into outbox", "into more");
        database.execute(&into_more.replace("$n", "1000000"));
        walpost.wait_for_line("that WALPOST_TABLE does not list");
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);
        // The order of the list does not matter.
        let settings = settings.env("WALPOST_TABLE", "more, outbox");
        let mut walpost = settings.start();
        walpost.wait_for_line("a table was added");
        walpost.wait_until_ready();
        database.execute(&into_more.replace("$n", "1000001"));
        let mut committed = load.finish();
        committed.insert(1_000_001);
        wait_for_all(kafka, &topic, &committed);
        assert_once(kafka, &topic, &committed);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);
        // One less is a change that somebody has to mean.
        let settings = settings.env("WALPOST_TABLE", "outbox");
        let mut walpost = settings.start();
        wait_for_halt(&walpost, "table_changed");
        done(&settings, &["checkpoint", "accept", "--yes"]);
        walpost.wait_until_ready();
    }
}

/// Makes a change under load that may cost rows, and accounts for each of them: it arrived, or the
/// query that `accept` prints lists it.
#[track_caller]
fn check_halting(server: &Postgres, code: &str, name: &str, changes: &[&str]) {
    let (database, kafka) = (server.database(name), Kafka::shared());
    database.create_outbox();
    let topic = format!("{}.order", database.name());
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let load = Load::start(&database, INSERT);
    pause();
    let admin = Session::open(database.url());
    for change in changes {
        admin.execute(change);
        pause();
    }
    wait_for_halt(&walpost, code);
    let page = walpost.get("/status.json").body;
    assert!(
        page.contains("ows committed between") || page.contains("ows committed after"),
        "{page}"
    );
    let printed = done(&settings, &["checkpoint", "accept", "--yes"]);
    assert!(printed.contains(&format!("halts       {code}")), "{printed}");
    until("the relay goes on", || {
        let ready = walpost.try_get("/readyz")?;
        (ready.status == 200).then_some(())
    });
    pause();
    let committed = load.finish();
    let listed = listed(&database, &printed);
    let last = *committed.last().unwrap();
    wait_for_all(kafka, &topic, &BTreeSet::from([last]));
    let arrived = arrived(kafka, &topic);
    let silent: Vec<_> =
        committed.iter().filter(|n| !arrived.contains(n) && !listed.contains(n)).collect();
    assert!(silent.is_empty(), "lost in silence: {silent:?}; accept said:\n{printed}");
    assert!(arrived.is_subset(&committed));
    let again = command(&settings, &["checkpoint", "accept"]);
    assert!(again.stdout.contains("nothing to decide"), "{}", again.stdout);
}

#[test]
fn a_publication_that_was_made_again_is_named_with_its_range() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        check_halting(
            server,
            "publication_changed",
            "remade",
            &[
                "drop publication walpost",
                "create publication walpost for table outbox
                 with (publish = 'insert', publish_via_partition_root = true)",
            ],
        );
    }
}

#[test]
fn a_publication_that_left_out_inserts_is_named_with_its_range() {
    check_halting(
        Postgres::newest(),
        "publication_changed",
        "altered",
        &[
            "alter publication walpost set (publish = 'delete')",
            "alter publication walpost set (publish = 'insert')",
        ],
    );
}

#[test]
fn a_table_that_left_the_publication_for_a_while_is_named_with_its_range() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        check_halting(
            server,
            "table_changed",
            "left",
            &[
                "create table filler (id int)",
                "alter publication walpost add table filler",
                "alter publication walpost drop table outbox",
                "alter publication walpost add table outbox",
            ],
        );
    }
}

#[test]
fn a_table_that_was_made_again_is_named_and_goes_on_when_it_is_published() {
    let (database, kafka) = (Postgres::newest().database("remade_table"), Kafka::shared());
    database.create_outbox();
    let topic = format!("{}.order", database.name());
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 3, 1);
    kafka.wait_for_records(&topic, 3);
    database.execute("drop table outbox");
    database.create_outbox();
    database.insert_rows("order", 4, 2, 1);
    wait_for_halt(&walpost, "table_changed");
    let early = command(&settings, &["checkpoint", "accept", "--yes"]);
    assert_eq!(early.code, 1, "{}", early.stdout);
    assert!(early.stderr.contains("ALTER PUBLICATION walpost ADD TABLE"), "{}", early.stderr);
    database.execute("alter publication walpost add table outbox");
    let said = done(&settings, &["checkpoint", "accept", "--yes"]);
    assert_eq!(listed(&database, &said), BTreeSet::from([4, 5]), "{said}");
    walpost.wait_until_ready();
    database.insert_rows("order", 6, 1, 1);
    kafka.wait_for_records(&topic, 4);
    assert_eq!(arrived(kafka, &topic), BTreeSet::from([1, 2, 3, 6]));
}
