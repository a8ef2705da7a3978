//! What could fool the proof: transactions in every state, a relay in every state.

use std::time::Duration;

use super::*;
use crate::servers::until;

#[test]
fn rows_of_before_an_open_transaction_wait_for_it_and_savepoints_count() {
    let shop = Shop::open(Postgres::newest(), "open");
    let _walpost = shop.start();
    let insert = |n: u32| {
        format!(
            "insert into outbox (aggregatetype, aggregateid, type, payload)
             values ('order', 'a', 'Placed', jsonb_build_object('n', {n}))"
        )
    };
    let (old, other) = (shop.database.session(), shop.database.session());
    old.execute(&format!("begin; {}", insert(1)));
    shop.database.execute(&insert(2));
    other.execute(&format!("begin; savepoint a; {}; release a; {}", insert(3), insert(4)));
    shop.database.execute(&insert(5));
    shop.note(2, 1);
    shop.note(5, 1);
    // 2 and 5 are delivered, but younger than a transaction that may still commit.
    assert_eq!(shop.pruned(), [2, 5].into());
    other.execute("commit");
    shop.note(3, 2);
    assert_eq!(shop.pruned(), [2, 3, 4, 5].into());
    old.execute(&format!(
        "savepoint b; {}; rollback to b; {}; savepoint c; {}; release c; commit",
        insert(6),
        insert(7),
        insert(8)
    ));
    shop.note(1, 1);
    shop.note(7, 2);
    assert_eq!(shop.pruned(), BTreeSet::new());
    // Rolled back, so it never was.
    assert!(!shop.arrived().contains(&6));
}

#[test]
fn a_transaction_of_another_database_holds_nothing_back() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let shop = Shop::open(server, "beside");
        let other = server.database("neighbour");
        other.execute("create table note (n int)");
        let _walpost = shop.start();
        let neighbour = other.session();
        neighbour.execute("begin; savepoint a; insert into note values (1)");
        shop.insert(1, 3);
        assert_eq!(shop.pruned(), BTreeSet::new());
        let here = shop.database.session();
        here.execute("begin; create table note (n int)");
        shop.insert(4, 3);
        assert_eq!(shop.pruned(), numbers(4..=6));
        here.execute("rollback");
        shop.insert(7, 3);
        assert_eq!(shop.pruned(), BTreeSet::new());
        neighbour.execute("rollback");
    }
}

#[test]
fn a_paused_relay_proves_nothing() {
    let shop = Shop::open(Postgres::oldest(), "paused");
    let walpost = shop.start();
    shop.insert(1, 3);
    shop.kafka.wait_for_records(&shop.topic(), 3);
    walpost.freeze();
    shop.insert(4, 3);
    let refused = shop.prune(&["--wait", "2s"]);
    let left = shop.compare();
    walpost.thaw();
    assert_eq!((refused.code, left), (1, numbers(1..=6)));
    assert!(refused.stderr.contains("has not passed"), "{}", refused.stderr);
    assert_eq!(shop.pruned(), BTreeSet::new());
}

#[test]
fn a_row_that_is_locked_is_waited_for_only_a_moment() {
    let shop = Shop::open(Postgres::newest(), "locked");
    let _walpost = shop.start();
    shop.insert(1, 300);
    let holder = shop.database.session();
    holder.execute("begin; select from outbox where payload->>'n' = '7' for update");
    let said = done(&shop.settings, &["prune", "--older-than", "0"]);
    let left = shop.compare();
    assert!(said.contains("left out"), "{said}");
    assert!(left.contains(&7) && left.len() < 300, "{left:?}");
    holder.execute("commit");
    assert_eq!(shop.pruned(), BTreeSet::new());
}

#[test]
fn a_publication_that_changed_for_a_moment_keeps_the_rows_of_before() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let shop = Shop::open(server, "moment");
        let walpost = shop.start();
        shop.insert(1, 3);
        shop.kafka.wait_for_records(&shop.topic(), 3);
        shop.database.execute("alter publication walpost drop table outbox");
        shop.insert(4, 3);
        shop.database.execute("alter publication walpost add table outbox");
        shop.insert(7, 3);
        let refused = shop.prune(&[]);
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        wait_for_halt(&walpost, "table_changed");
        let refused = shop.prune(&[]);
        assert!(refused.stderr.contains("table_changed"), "{}", refused.stderr);
        assert_eq!(shop.compare(), numbers(1..=9));
        done(&shop.settings, &["checkpoint", "accept", "--yes"]);
        until("the relay to go on", || (walpost.try_get("/readyz")?.status == 200).then_some(()));
        shop.insert(10, 3);
        let left = shop.pruned();
        assert_eq!(left, numbers(1..=9), "which of these were sent, nobody knows");
        drop(walpost);
    }
}

#[test]
fn an_adopted_slot_keeps_what_is_older_than_its_adoption() {
    let shop = Shop::open(Postgres::newest(), "adopted");
    let name = shop.database.name().to_owned();
    shop.insert(1, 3);
    shop.database.execute(
        "create publication walpost for table outbox
         with (publish = 'insert', publish_via_partition_root = true)",
    );
    shop.database.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{name}', 'pgoutput')"
    ));
    shop.insert(4, 3);
    let insert = "insert into outbox (aggregatetype, aggregateid, type, payload) values
         ('order', 'a', 'Placed', jsonb_build_object('n', ";
    let old = shop.database.session();
    old.execute(&format!("begin; {insert} 7))"));
    let never = shop.settings.clone().env("WALPOST_SNAPSHOT", "never");
    let mut walpost = never.start();
    walpost.wait_until_ready();
    old.execute(&format!("savepoint a; {insert} 8)); commit"));
    shop.note(7, 2);
    shop.insert(9, 3);
    let left = shop.pruned();
    assert!(left.is_superset(&numbers(1..=3)), "never sent: {left:?}");
    assert!(left.is_disjoint(&numbers(9..=11)), "{left:?}");
    assert_eq!(shop.arrived(), numbers(4..=11));
}

#[test]
fn skipped_rows_and_letters_without_payload_stay() {
    let shop = Shop::open(Postgres::newest(), "skipped");
    let skip = shop.settings.clone().env("WALPOST_ON_BAD_ROW", "skip");
    let mut walpost = skip.start();
    walpost.wait_until_ready();
    shop.insert(1, 3);
    shop.note(4, 1);
    shop.database.insert_rows("no topic", 4, 1, 1);
    shop.insert(5, 2);
    assert_eq!(shop.pruned(), numbers(4..=4));
    assert_eq!(shop.counted(&[])["kept"], 1);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    // Another policy and another limit, the same checkpoint.
    let small = shop.settings.clone().env("WALPOST_MAX_EVENT", "2kB");
    let mut walpost = small.start();
    walpost.wait_until_ready();
    shop.note(7, 1);
    shop.database.execute(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'a', 'Placed', jsonb_build_object('n', 7, 'x', repeat('x', 5000)))",
    );
    shop.note(8, 1);
    shop.database.insert_rows("no topic", 8, 1, 1);
    // The letter of 8 has its payload, that of 7 does not.
    assert_eq!(shop.pruned(), [4, 7].into());
}

#[test]
fn under_load_with_a_relay_that_is_killed_no_row_is_lost() {
    const WRITERS: u32 = 3;
    const ROUNDS: u32 = 60;
    let shop = Shop::open(Postgres::newest(), "load");
    let mut walpost = shop.start();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let session = shop.database.session();
            let committed = Arc::clone(&shop.inserted);
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    let rows = |first: u32, count: u32| {
                        format!(
                            "insert into outbox (aggregatetype, aggregateid, type, payload)
                             select 'order', 'k' || n % 5, 'Placed', jsonb_build_object('n', n)
                             from generate_series({first}, {first} + {count} - 1) n;"
                        )
                    };
                    let first = writer * 100_000 + round * 20;
                    session.execute(&format!(
                        "begin; {} savepoint a; {} release a; savepoint b; {} rollback to b; {} commit",
                        rows(first, 5),
                        rows(first + 5, 5),
                        rows(first + 90_000, 3),
                        rows(first + 10, 10),
                    ));
                    committed.lock().unwrap().extend((first..first + 20).map(u64::from));
                    std::thread::sleep(Duration::from_millis(u64::from(round % 7) * 20));
                }
            })
        })
        .collect();
    let mut runs = 0;
    while writers.iter().any(|writer| !writer.is_finished()) || runs < 3 {
        runs += 1;
        let ran = shop.prune(&["--rest", "0"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        shop.compare();
        if runs == 1 {
            walpost.kill();
            walpost = shop.start();
        }
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(shop.pruned(), BTreeSet::new());
    assert_eq!(shop.arrived().len(), (WRITERS * ROUNDS * 20) as usize);
}
