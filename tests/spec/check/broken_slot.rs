//! Slots that are broken in one way each.

use super::{PUBLICATION, check, execute, outbox, remedy, set};
use crate::servers::{Kafka, PATIENCE, Postgres, within};

#[test]
fn a_lost_slot_is_found() {
    let settings = ["max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB"];
    let server = Postgres::start_with(17, &settings);
    let (database, settings) = outbox(&server, Kafka::shared(), "lost");
    database.execute(PUBLICATION);
    let name = database.name();
    database.value(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    check(&settings).is_ready();
    database.execute("create table filler (t text)");
    let lost = within(PATIENCE, || {
        database
            .execute("insert into filler select repeat('x', 1000) from generate_series(1, 20000)");
        database.value("select pg_switch_wal()");
        database.execute("checkpoint");
        let status = database.value(&format!(
            "select wal_status from pg_replication_slots where slot_name = '{name}'"
        ));
        (status == "lost").then_some(())
    });
    assert!(lost.is_some(), "the server keeps the log all the same");
    let checked = check(&settings);
    let problem = checked.problem("slot", "is lost");
    assert_eq!(problem["halt"], "slot_lost");
    execute(&database, problem);
    check(&settings).is_ready();
}

#[test]
fn a_slot_of_another_kind_database_or_reader_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "foreign");
    database.execute(PUBLICATION);
    let name = database.name();
    database
        .value(&format!("select pg_create_logical_replication_slot('{name}', 'test_decoding')"));
    let checked = check(&settings);
    let problem = checked.problem("slot", "test_decoding");
    check(&set(settings.clone(), problem)).is_ready();
    database.value(&format!("select pg_drop_replication_slot('{name}')"));

    database.value(&format!("select pg_create_physical_replication_slot('{name}')"));
    check(&settings).problem("slot", "physical");
    database.value(&format!("select pg_drop_replication_slot('{name}')"));

    let (other, _) = outbox(server, Kafka::shared(), "foreign_other");
    other.value(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    let checked = check(&settings);
    let problem = checked.problem("slot", other.name());
    check(&set(settings.clone(), problem)).is_ready();
    other.value(&format!("select pg_drop_replication_slot('{name}')"));

    // Another walpost reads it, under another name.
    let mut walpost = settings.second().env("WALPOST_NAME", format!("{name}-thief")).start();
    walpost.wait_until_ready();
    let checked = check(&settings);
    let problem = checked.problem("slot", &format!("walpost/{name}-thief"));
    let statements = remedy(problem, "sql");
    walpost.freeze();
    database.value(&statements[1]);
    let free = within(PATIENCE, || (check(&settings).code == 0).then_some(()));
    assert!(free.is_some(), "{statements:?} did not end the reader");
}

#[test]
fn a_slot_or_publication_that_is_gone_is_a_problem_once_a_checkpoint_is_stored() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "gone");
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    check(&settings).is_ready();
    // The slot is moved by somebody else.
    let name = database.name();
    database.insert_rows("order", 1, 3, 1);
    database.value(&format!("select pg_replication_slot_advance('{name}', pg_current_wal_lsn())"));
    assert_eq!(check(&settings).problem("checkpoint", "stands at")["halt"], "slot_ahead");
    database.value(&format!("select pg_drop_replication_slot('{name}')"));
    assert_eq!(check(&settings).problem("slot", "does not exist")["halt"], "slot_missing");
}

#[test]
fn a_slot_that_is_about_to_be_lost_is_found() {
    let server = Postgres::start_with(
        17,
        &["max_slot_wal_keep_size=1MB", "min_wal_size=1GB", "max_wal_size=4GB"],
    );
    let (database, settings) = outbox(&server, Kafka::shared(), "headroom");
    database.execute(PUBLICATION);
    let name = database.name();
    database.value(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    check(&settings).is_ready();
    database.execute(
        "create table filler (t text);
         insert into filler select repeat('x', 1000) from generate_series(1, 60000)",
    );
    let checked = check(&settings);
    checked.is_ready_but_for(&["slot_headroom"]);
    execute(&database, checked.warning("slot_headroom", "unreserved"));
    let taken =
        within(PATIENCE, || (!check(&settings).complains_of("slot_headroom")).then_some(()));
    assert!(taken.is_some(), "{:#?}", check(&settings));
    check(&settings).is_ready();
}
