//! Goal: the slot and the checkpoint move as promised: never ahead of what is safe, never behind
//! more than they must be.
//! Method: real load; both places are read from outside while the relay runs.

use std::time::Duration;

use crate::checkpoint;
use crate::load::{Load, check_arrived};
use crate::servers::{Kafka, Postgres, Session, Settings, until};

#[test]
fn a_clean_restart_under_load_repeats_nothing() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("restart"), Kafka::shared());
        database.create_outbox();
        let settings = Settings::new(&database, kafka);
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
        println!("Postgres {}: {} rows over four restarts", server.major(), arrived.rows);
    }
}

#[test]
fn the_slot_is_never_ahead_of_the_checkpoint() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("never_ahead"), Kafka::shared());
        database.create_outbox();
        let settings = Settings::new(&database, kafka);
        let topic = checkpoint::topic(&database);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let load = Load::start(&database, 3, Duration::from_millis(1));
        let mut slots = std::collections::BTreeSet::new();
        for sample in 0..60 {
            // The slot first: what the checkpoint reached since only helps the wrong side less.
            let slot = checkpoint::slot_lsn(&database);
            let stored = checkpoint::resume_lsn(kafka, &topic).unwrap();
            assert!(slot <= stored, "sample {sample}: slot {slot:x}, checkpoint {stored:x}");
            slots.insert(slot);
            if sample % 20 == 19 {
                walpost.kill();
                walpost = settings.start();
            }
        }
        assert!(slots.len() > 10, "the slot moved between samples: {slots:x?}");
        load.stop();
        let arrived = check_arrived(&database, kafka);
        println!("Postgres {}: {arrived:?} over two kills", server.major());
        // After a clean stop both stand at the same place.
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
        let stored = checkpoint::resume_lsn(kafka, &topic).unwrap();
        assert_eq!(checkpoint::slot_lsn(&database), stored);
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
    let settings = Settings::new(&database, kafka).env("DATABASE_URL", url);
    let mut walpost = settings.env("PGTARGETSESSIONATTRS", "primary").start();
    walpost.wait_until_ready();

    let busy = || database.execute("insert into busy select repeat('x', 1000) from generate_series(1, 50)");
    busy();
    let end = checkpoint::wal_end(&database);
    assert!(checkpoint::slot_lsn(&database) < end, "nothing to wait for");
    until("the slot to pass what the busy table wrote", || {
        busy();
        std::thread::sleep(Duration::from_millis(100));
        (checkpoint::slot_lsn(&database) >= end).then_some(())
    });
    let stored = checkpoint::resume_lsn(kafka, &checkpoint::topic(&database)).unwrap();
    assert!(stored >= end, "the slot passed the checkpoint");
    // And the log before it may go. Where decoding would start again follows at the next snapshot of
    // running transactions, which each checkpoint of the server writes.
    until("restart_lsn to follow", || {
        busy();
        database.execute("checkpoint");
        std::thread::sleep(Duration::from_millis(500));
        (checkpoint::restart_lsn(&database) >= end).then_some(())
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
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let open = database.session();
    let insert = "insert into outbox (aggregatetype, aggregateid, type, payload) values ('order', 'key-1', 'Placed', '{\"n\": 1}')";
    open.execute(&format!("begin; {insert}"));
    // Long enough for an idle checkpoint, which moves the slot past the row's own place in the log.
    let before = checkpoint::wal_end(&database);
    until("an idle checkpoint", || {
        database.execute("insert into busy values ('x')");
        (checkpoint::slot_lsn(&database) > before).then_some(())
    });
    walpost.kill();
    open.execute("commit");
    walpost = settings.start();
    walpost.wait_until_ready();
    assert_eq!(check_arrived(&database, kafka).rows, 1);
}

#[test]
fn a_killed_relay_loses_nothing_and_repeats_only_what_was_not_stored() {
    let (database, kafka) = (Postgres::newest().database("killed"), Kafka::shared());
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let load = Load::start(&database, 5, Duration::from_millis(2));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(500));
        walpost.kill();
        walpost = settings.start();
        walpost.wait_until_ready();
    }
    load.stop();
    let arrived = check_arrived(&database, kafka);
    // 100 ms of confirmations and what was in flight, a fifth of what comes between two kills.
    assert!(arrived.repeats * 2 < arrived.rows, "{arrived:?}");
    println!("{arrived:?} over five kills");
    assert!(walpost.is_running());
}
