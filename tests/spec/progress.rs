//! Goal: the slot and the checkpoint move as promised: never ahead of what is safe, never behind
//! more than they must be.
//! Method: real load; both places are read from outside while the relay runs.

use std::time::Duration;

use crate::load::{Load, check_arrived};
use crate::oracle::Checkpoints;
use crate::servers::{Database, Kafka, Postgres, Session, Settings, figure, until};
use crate::slot;

/// As [`Settings::new`], with the name by which [`Checkpoints`] finds the topic.
fn settings(database: &Database) -> Settings {
    Settings::new(database, Kafka::shared()).env("WALPOST_NAME", database.name())
}

#[test]
fn a_clean_restart_under_load_repeats_nothing() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("restart"), Kafka::shared());
        database.create_outbox();
        let settings = settings(&database);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let load = Load::start(&database, 7, Duration::from_millis(2));
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(700));
            walpost.terminate();
            assert_eq!(walpost.wait(), 0, "{}", walpost.log());
            walpost = settings.start();
            walpost.wait_until_ready();
        }
        load.stop();
        let arrived = check_arrived(&database, kafka);
        assert_eq!(arrived.repeats, 0, "{arrived:?}");
        figure(&format!(
            "Postgres {}: {} rows over four clean restarts, {} repeats",
            server.major(),
            arrived.rows,
            arrived.repeats
        ));
    }
}

#[test]
fn the_slot_is_never_ahead_of_the_checkpoint() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("never_ahead"), Kafka::shared());
        database.create_outbox();
        let settings = settings(&database);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let mut checkpoints = Checkpoints::new(&database, kafka);
        let load = Load::start(&database, 3, Duration::from_millis(1));
        let mut slots = std::collections::BTreeSet::new();
        for sample in 0..150 {
            std::thread::sleep(Duration::from_millis(20));
            // The slot first: the checkpoint may only have moved on since.
            let flushed = slot::confirmed_flush(&database);
            let stored = checkpoints.newest().unwrap().resume_lsn;
            assert!(flushed <= stored, "sample {sample}: slot {flushed:x}, checkpoint {stored:x}");
            slots.insert(flushed);
            if sample % 50 == 49 {
                walpost.kill();
                walpost = settings.start();
            }
        }
        assert!(slots.len() > 5, "the slot moved between samples: {slots:x?}");
        load.stop();
        let arrived = check_arrived(&database, kafka);
        figure(&format!("Postgres {}: {arrived:?} over three kills", server.major()));
        // After a clean stop both stand at the same place.
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
        let stored = checkpoints.newest().unwrap().resume_lsn;
        assert_eq!(slot::confirmed_flush(&database), stored);
    }
}

#[test]
fn a_quiet_outbox_beside_a_busy_table_holds_no_wal_and_needs_no_write() {
    std::thread::scope(|scope| {
        for server in [Postgres::oldest(), Postgres::newest()] {
            scope.spawn(move || quiet_outbox(server));
        }
    });
}

fn quiet_outbox(server: &Postgres) {
    let (database, kafka) = (server.database("quiet"), Kafka::shared());
    let name = database.name();
    database.create_outbox();
    database.execute(&format!(
        "create table busy (text text);
         create publication walpost for table outbox with (publish = 'insert');
         create role {name}_relay login replication;
         alter role {name}_relay set default_transaction_read_only = on;
         revoke all on database {name} from public;
         grant connect on database {name} to {name}_relay;
         do $$ declare f regprocedure; begin
             for f in select oid from pg_proc where proname = 'pg_logical_emit_message' loop
                 execute format('revoke execute on function %s from public', f);
             end loop;
         end $$"
    ));
    let slot = format!("select lsn from pg_create_logical_replication_slot('{name}', 'pgoutput')");
    database.value(&slot);
    // This role can write nowhere: not to a table, not a temporary one, not a message to the log.
    let url = database.url().replace("postgres@", &format!("{name}_relay@"));
    let role = Session::open(&url);
    assert!(role.try_query("insert into busy values ('x')").is_err());
    assert!(role.try_query("select pg_logical_emit_message(false, 'a', 'b')").is_err());
    // `read-write` means what it means to libpq: no session that is read-only by default.
    let settings = settings(&database).env("DATABASE_URL", url);
    let mut walpost = settings.env("PGTARGETSESSIONATTRS", "primary").start();
    walpost.wait_until_ready();

    let busy = || {
        database.execute("insert into busy select repeat('x', 1000) from generate_series(1, 50)");
    };
    busy();
    let end = slot::wal_end(&database);
    assert!(slot::confirmed_flush(&database) < end, "nothing to wait for");
    until("the slot to pass what the busy table wrote", || {
        busy();
        std::thread::sleep(Duration::from_millis(100));
        (slot::confirmed_flush(&database) >= end).then_some(())
    });
    let stored = Checkpoints::new(&database, kafka).newest().unwrap().resume_lsn;
    assert!(stored >= end, "the slot passed the checkpoint");
    // And the log before it may go. Where decoding would start again follows at the next snapshot of
    // running transactions, which each checkpoint of the server writes.
    until("restart_lsn to follow", || {
        busy();
        database.execute("checkpoint");
        std::thread::sleep(Duration::from_millis(500));
        (slot::restart(&database) >= end).then_some(())
    });
    drop(walpost);
    drop(role);
    database.execute(&format!("drop owned by {name}_relay; drop role {name}_relay"));
}

#[test]
fn an_open_transaction_holds_the_slot_before_its_rows() {
    let (database, kafka) = (Postgres::newest().database("open"), Kafka::shared());
    database.create_outbox();
    database.execute("create table busy (text text)");
    let settings = settings(&database);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let open = database.session();
    let insert = "insert into outbox (aggregatetype, aggregateid, type, payload) values ('order', 'key-1', 'Placed', '{\"n\": 1}')";
    open.execute(&format!("begin; {insert}"));
    // Long enough for an idle checkpoint, which moves the slot past the row's own place in the log.
    let before = slot::wal_end(&database);
    until("an idle checkpoint", || {
        database.execute("insert into busy values ('x')");
        (slot::confirmed_flush(&database) > before).then_some(())
    });
    walpost.kill();
    open.execute("commit");
    walpost = settings.start();
    walpost.wait_until_ready();
    assert_eq!(check_arrived(&database, kafka).rows, 1);
}
