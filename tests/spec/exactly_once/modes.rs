//! Goal: exactly-once begins, ends and goes on without a gap or a repeat.
//! Method: the mode is changed under load; a slot without a checkpoint is given; one huge transaction
//! and a bad row are followed to the topics.

use std::time::Duration;

use super::{begin, conclude};
use crate::oracle::{Checkpoints, Deliveries, Repeats, Workload, prepare, prepare_once, seed};
use crate::outages::flow;
use crate::servers::{Kafka, PATIENCE, Postgres, Settings, figure, until};

#[test]
fn the_mode_may_be_changed_both_ways() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_modes");
    let plain = prepare(&database, &kafka).env("WALPOST_WAL_SENDER_TIMEOUT", "5s");
    let once = plain.second().env("WALPOST_DELIVERY", "exactly-once");
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::Never);
    let workload = Workload::start(&database, seed());
    for round in 0..2 {
        let mut walpost = plain.start();
        flow(&mut deliveries, &mut walpost, 2_000);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
        let mut walpost = once.start();
        flow(&mut deliveries, &mut walpost, 2_000);
        // Its transaction is left open, or still to be committed by a process that stands still.
        if round == 0 {
            walpost.kill();
            continue;
        }
        walpost.freeze();
        let mut successor = plain.start();
        successor.wait_for_state("streaming");
        flow(&mut deliveries, &mut successor, 2_000);
        walpost.thaw();
        walpost.wait_for_state("standby");
        flow(&mut deliveries, &mut successor, 2_000);
        drop(walpost);
        conclude("modes changed", &database, (workload, deliveries), successor);
        return;
    }
}

#[test]
fn a_slot_without_a_checkpoint_halts_until_somebody_says_where_to_begin() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("once_lost");
    let settings = prepare(&database, kafka).env("WALPOST_DELIVERY", "exactly-once");
    let mut walpost = settings.start();
    walpost.wait_for_state("halted");
    let status = walpost.get("/status.json").json();
    assert_eq!(status["halt"]["code"], "checkpoint_lost", "{status}");
    let hint = status["halt"]["hint"].as_str().unwrap();
    let command = hint.split('`').nth(1).unwrap().strip_prefix("walpost ").unwrap().to_owned();
    walpost.kill();
    let accepted = settings.clone().arguments(&["checkpoint", "accept"]).run();
    let place = command.trim_end_matches(" --yes");
    assert!(accepted.stdout.contains(&format!("`walpost {place}`")), "{}", accepted.stdout);
    let words: Vec<_> = command.split(' ').collect();
    let done = settings.clone().arguments(&words).run();
    assert_eq!(done.code, 0, "{command}: {}{}", done.stdout, done.stderr);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("cold", 1, 10, 2);
    let topic = format!("{}.cold", database.name());
    until("ten rows", || (kafka.committed_records(&topic).len() >= 10).then_some(()));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    assert_eq!(kafka.committed_records(&topic).len(), 10);
}

#[test]
fn a_huge_transaction_is_cut_into_pieces_and_goes_on_inside_after_a_kill() {
    const ROWS: u32 = 150_000;
    let kafka = Kafka::start();
    let database = Postgres::newest().database("once_huge");
    let settings = prepare_once(&database, &kafka).env("WALPOST_MAX_IN_FLIGHT", "1MiB");
    let mut checkpoints = Checkpoints::new(&database, &kafka);
    begin(&settings);
    database.insert_rows("cold", 1, ROWS, 7);
    let mut inside = Vec::new();
    let mut walpost = settings.start();
    for _ in 0..3 {
        let before = inside.last().copied().unwrap_or(0);
        inside.push(until("a checkpoint inside the transaction", || {
            assert!(walpost.is_running(), "{}", walpost.log());
            let newest = checkpoints.newest().filter(|newest| !newest.complete);
            newest.map(|newest| newest.next_ordinal).filter(|next| *next > before)
        }));
        walpost.kill();
        walpost = settings.start();
    }
    let topic = format!("{}.cold", database.name());
    until("all rows", || {
        checkpoints.newest().filter(|newest| newest.complete && newest.commit_lsn > 0)
    });
    walpost.terminate();
    assert_eq!(walpost.wait_for(PATIENCE), 0, "{}", walpost.log());
    let records = kafka.committed_records(&topic);
    let ids: std::collections::BTreeSet<_> =
        records.iter().map(|record| record.header("ce_id").unwrap()).collect();
    assert_eq!((records.len(), ids.len()), (ROWS as usize, ROWS as usize));
    figure(&format!("exactly-once, {ROWS} rows in one transaction: killed behind rows {inside:?}"));
}

#[test]
fn a_dead_letter_stands_in_the_transaction_of_its_row() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("once_letter");
    let name = database.name();
    database.execute(
        "create table outbox (id text, aggregatetype text, aggregateid text, type text,
         payload text)",
    );
    let settings = Settings::new(&database, kafka)
        .env("WALPOST_DELIVERY", "exactly-once")
        .env("WALPOST_TRANSACTION_INTERVAL", "3s");
    let (events, letters) = (format!("{name}.order"), format!("{name}.dlq"));
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.execute(
        "insert into outbox values ('1', 'order', 'k', 'Placed', '{}'),
         ('2', 'order', 'k', 'Placed', 'nonsense'), ('3', 'order', 'k', 'Placed', '{}')",
    );
    // All of it is there before any of it counts.
    let count = |records: Vec<_>| records.len();
    until("two events and a letter, not committed", || {
        let written = (count(kafka.records(&events)), count(kafka.records(&letters)));
        (written == (2, 1)).then_some(())
    });
    let committed =
        || (count(kafka.committed_records(&events)), count(kafka.committed_records(&letters)));
    assert_eq!(committed(), (0, 0), "the events or the letter count before the transaction's end");
    // Killed before that: written again, and once for who reads what is committed.
    walpost.kill();
    let mut walpost = settings.start();
    until("two events and a letter, committed", || (committed() == (2, 1)).then_some(()));
    std::thread::sleep(Duration::from_millis(100));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    assert_eq!(committed(), (2, 1));
}

#[test]
fn a_record_that_kafka_refuses_is_the_only_one_that_does_not_come() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("once_refused");
    let name = database.name();
    let (events, letters) = (format!("{name}.cold"), format!("{name}.dlq"));
    database.create_outbox();
    kafka.create_topic(&events, 1, &["max.message.bytes=20000"]);
    let settings = Settings::new(&database, kafka)
        .env("WALPOST_DELIVERY", "exactly-once")
        .env("KAFKA_PROP_COMPRESSION_TYPE", "none");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("cold", 1, 20, 2);
    let large = r#"'{"pad": "' || repeat('x', 50000) || '"}'"#;
    database.execute(&format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('cold', 'k', 'Large', ({large})::jsonb)"
    ));
    database.insert_rows("cold", 21, 20, 2);
    until("all others and one letter", || {
        let come =
            (kafka.committed_records(&events).len(), kafka.committed_records(&letters).len());
        assert!(come.0 <= 40 && come.1 <= 1, "{come:?}");
        (come == (40, 1)).then_some(())
    });
    let letter = kafka.committed_records(&letters).remove(0);
    assert_eq!(letter.header("walpost-error-reason"), Some("refused_by_broker"), "{letter:?}");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    assert_eq!(kafka.committed_records(&events).len(), 40);
}

#[test]
fn the_rows_of_a_first_start_come_once_where_nothing_goes_wrong() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("once_first");
    database.create_outbox();
    database.insert_rows("cold", 1, 5_000, 7);
    let settings = Settings::new(&database, kafka)
        .env("WALPOST_DELIVERY", "exactly-once")
        .env("WALPOST_MAX_IN_FLIGHT", "256KiB");
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    database.insert_rows("cold", 5_001, 1_000, 7);
    let topic = format!("{}.cold", database.name());
    until("all rows", || (kafka.committed_records(&topic).len() >= 6_000).then_some(()));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    let records = kafka.committed_records(&topic);
    let ids: std::collections::BTreeSet<_> =
        records.iter().map(|record| record.header("ce_id").unwrap()).collect();
    assert_eq!((records.len(), ids.len()), (6_000, 6_000));
}
