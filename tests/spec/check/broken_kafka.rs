//! Kafkas that are broken in one way each.

use super::{check, outbox, remedy, set};
use crate::servers::{Kafka, Postgres};

#[test]
fn an_unreachable_kafka_is_found() {
    let (_database, settings) = outbox(Postgres::newest(), Kafka::shared(), "no_kafka");
    let settings = settings.env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1");
    let checked = check(&settings);
    let problem = checked.problem("kafka", "127.0.0.1:1");
    assert!(
        problem["remedy"]["note"].as_str().expect("a note").contains("KAFKA_BOOTSTRAP_SERVERS")
    );
}

#[test]
fn another_security_protocol_is_found() {
    let (_database, settings) = outbox(Postgres::newest(), Kafka::shared(), "protocol");
    let checked = check(&settings.env("KAFKA_SECURITY_PROTOCOL", "ssl"));
    checked.problem("kafka", "no broker answers");
}

#[test]
fn a_checkpoint_topic_that_forgets_is_found() {
    let kafka = Kafka::shared();
    let (database, settings) = outbox(Postgres::newest(), kafka, "forgets");
    let name = database.name();
    let topic = format!("walpost.checkpoint.{name}.{name}");
    kafka.create_topic(&topic, 1, &["cleanup.policy=delete"]);
    let checked = check(&settings);
    let problem = checked.problem("checkpoint_topic", "cleanup.policy=delete");
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();
}

#[test]
fn a_checkpoint_topic_with_several_partitions_is_found() {
    let kafka = Kafka::shared();
    let (database, settings) = outbox(Postgres::newest(), kafka, "wide");
    let name = database.name();
    kafka.create_topic(
        &format!("walpost.checkpoint.{name}.{name}"),
        2,
        &["cleanup.policy=compact"],
    );
    let checked = check(&settings);
    let problem = checked.problem("checkpoint_topic", "2 partitions");
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&set(settings, problem)).is_ready();
}

#[test]
fn topics_that_refuse_what_comes_are_found() {
    let kafka = Kafka::shared();
    let (database, settings) = outbox(Postgres::newest(), kafka, "small");
    let name = database.name();
    kafka.create_topic(&format!("{name}.order"), 3, &["max.message.bytes=500000"]);
    database.insert_rows("order", 1, 1, 1);
    let checked = check(&settings);
    let problem = checked.problem("topic_size", "500000");
    check(&set(settings.clone(), problem)).is_ready();
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();

    kafka.create_topic(&format!("{name}.item"), 1, &["cleanup.policy=compact"]);
    database.insert_rows("item", 1, 1, 1);
    check(&settings).is_ready();
    database.execute("alter table outbox alter aggregateid drop not null; update outbox set aggregateid = null where aggregatetype = 'item'");
    let checked = check(&settings);
    let problem = checked.problem("event_topic", "without a key");
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();
}

#[test]
fn dead_letters_that_would_vanish_are_a_warning() {
    let kafka = Kafka::shared();
    let (database, settings) = outbox(Postgres::newest(), kafka, "letters");
    kafka.create_topic(&format!("{}.dlq", database.name()), 1, &["retention.ms=1000"]);
    let checked = check(&settings);
    checked.is_ready_but_for(&["dead_letter_topic"]);
    let warning = checked.warning("dead_letter_topic", "1000 ms");
    remedy(warning, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();
}

#[test]
fn a_topic_that_nobody_makes_is_found() {
    let kafka = Kafka::start_with(&["auto.create.topics.enable=false"]);
    let (database, settings) = outbox(Postgres::newest(), &kafka, "nobody");
    database.insert_rows("order", 1, 1, 1);
    let checked = check(&settings);
    let problem = checked.problem("event_topic", ".order does not exist");
    check(&set(settings.clone(), problem)).is_ready();
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();
}

#[test]
fn a_topic_that_wants_more_copies_in_step_than_it_has_is_found() {
    let kafka = Kafka::shared();
    let (database, settings) = outbox(Postgres::newest(), kafka, "in_step");
    let topic = format!("{}.order", database.name());
    kafka.create_topic(&topic, 1, &["min.insync.replicas=2"]);
    database.insert_rows("order", 1, 1, 1);
    let checked = check(&settings);
    let problem = checked.problem("topic_copies", "min.insync.replicas is 2");
    assert!(problem["found"].as_str().expect("a text").contains(&topic));
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();
}

#[test]
fn a_dead_letter_topic_that_keeps_one_letter_of_a_key_is_found() {
    let kafka = Kafka::shared();
    let (database, settings) = outbox(Postgres::newest(), kafka, "compacted");
    kafka.create_topic(
        &format!("{}.dlq", database.name()),
        1,
        &["cleanup.policy=compact", "retention.ms=-1"],
    );
    let checked = check(&settings);
    let problem = checked.problem("dead_letter_topic", "cleanup.policy=compact");
    remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    check(&settings).is_ready();
}

#[test]
fn brokers_that_cannot_keep_transactions_are_found() {
    let kafka = Kafka::start_with(&["transaction.max.timeout.ms=60000"]);
    let (_database, settings) = outbox(Postgres::newest(), &kafka, "short");
    check(&settings).is_ready();
    let once = settings.env("WALPOST_DELIVERY", "exactly-once");
    let checked = check(&once);
    let problem = checked.problem("transactions", "the brokers allow 60000 ms");
    let note = problem["remedy"]["note"].as_str().expect("a note");
    assert!(note.contains("transaction.max.timeout.ms=60100"), "{note}");
}

#[test]
fn a_log_of_transactions_with_more_copies_than_brokers_is_found() {
    let kafka = Kafka::start_with(&["transaction.state.log.replication.factor=3"]);
    let (_database, settings) = outbox(Postgres::newest(), &kafka, "copies");
    check(&settings).is_ready();
    let checked = check(&settings.env("WALPOST_DELIVERY", "exactly-once"));
    let problem = checked.problem("transactions", "is to have 3 copies, and brokers there are 1");
    let note = problem["remedy"]["note"].as_str().expect("a note");
    assert!(note.contains("transaction.state.log.replication.factor=1"), "{note}");
}
