//! A first start that ends between two of its steps: the next one recovers by itself.

use super::{TABLE, ids, insert, records_up_to, stored, topic};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Session, Settings, until};

/// A first start that has announced its snapshot and waits for the slot, because of a transaction that
/// is open; and that transaction, which has inserted row `open`.
#[track_caller]
fn announced(database: &Database, kafka: &Kafka) -> (Settings, Walpost, Session) {
    database.execute(TABLE);
    insert(database, (1, 2));
    let session = database.session();
    session.execute(
        "begin;
         insert into outbox (id, aggregatetype, aggregateid, type, payload)
             values ('open', 'order', 'k', 'Placed', '{}')",
    );
    let settings = Settings::new(database, kafka).env("WALPOST_NAME", database.name());
    let walpost = settings.start();
    // Postgres shows the slot from the beginning of its making on.
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        database.name()
    );
    until("the making of the slot", || (database.value(&slots) == "1").then_some(()));
    assert_eq!(stored(&settings)["phase"], "snapshot");
    (settings, walpost, session)
}

#[test]
fn a_first_start_that_ended_before_its_slot_was_made_is_a_first_start_again() {
    let (database, kafka) = (Postgres::newest().database("before_slot"), Kafka::shared());
    let (settings, mut walpost, session) = announced(&database, kafka);
    walpost.kill();
    let accept = crate::checkpoint_command::done(&settings, &["checkpoint", "accept"]);
    assert!(accept.contains("nothing to decide"), "{accept}");
    let mut walpost = settings.start();
    session.execute("commit");
    walpost.wait_for_state("streaming");
    insert(&database, (3, 3));
    assert_eq!(ids(&records_up_to(kafka, &topic(&database), "3")), ["1", "2", "open", "3"]);
    assert!(!walpost.log().contains("halted"), "{}", walpost.log());
}

#[test]
fn a_first_start_that_ended_after_its_slot_was_made_loses_nothing_that_came_after_the_slot() {
    let (database, kafka) = (Postgres::oldest().database("after_slot"), Kafka::shared());
    let (settings, mut walpost, session) = announced(&database, kafka);
    walpost.kill();
    session.execute("commit");
    // As walpost would have been left: announced, with a slot, and no more.
    let name = database.name();
    let gone = format!("select count(*) from pg_replication_slots where slot_name = '{name}'");
    until("the unfinished slot to be gone", || (database.value(&gone) == "0").then_some(()));
    database.value(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    database.execute(
        "begin;
         insert into outbox (id, aggregatetype, aggregateid, type, payload)
             values ('fleeting', 'order', 'k', 'Placed', '{}');
         delete from outbox where id = 'fleeting';
         commit",
    );
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    insert(&database, (3, 3));
    let records = records_up_to(kafka, &topic(&database), "3");
    assert_eq!(ids(&records), ["1", "2", "open", "fleeting", "3"]);
}
