//! Goal: memory is small, and the same whatever passes through.
//! Method: the kernel's own count (`VmRSS`, `VmHWM`) of the program as built for tests, whose pages of
//! code are more than those of a release.

use std::time::Duration;

use crate::servers::{Kafka, Postgres, Settings, figure};

const MIB: u64 = 1024 * 1024;

#[test]
fn an_idle_relay_takes_at_most_30_mebibytes() {
    let (database, kafka) = (Postgres::newest().database("idle"), Kafka::shared());
    database.create_outbox();
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 10, 3);
    kafka.wait_for_records(&format!("{}.order", database.name()), 10);
    std::thread::sleep(Duration::from_secs(3));
    let memory = walpost.memory();
    figure(&format!("an idle relay: {:.1} MiB resident", to_mib(memory)));
    assert!(memory <= 30 * MIB, "{:.1} MiB", to_mib(memory));
}

#[test]
fn a_standby_that_waits_keeps_nothing_of_what_its_clients_are_told() {
    let (database, kafka) = (Postgres::newest().database("waits"), Kafka::shared());
    database.create_outbox();
    // As often as librdkafka can, or it would take a day to see.
    let settings = Settings::new(&database, kafka).env("KAFKA_PROP_STATISTICS_INTERVAL_MS", "10");
    let mut first = settings.start();
    first.wait_until_ready();
    let mut second = settings.second().start();
    second.wait_for_state("standby");
    std::thread::sleep(Duration::from_secs(5));
    let before = second.memory();
    std::thread::sleep(Duration::from_secs(20));
    let grown = second.memory().saturating_sub(before);
    figure(&format!("a standby after 2,000 statistics: {:.1} MiB more", to_mib(grown)));
    assert!(grown < 4 * MIB, "{:.1} MiB", to_mib(grown));
}

#[test]
fn a_transaction_of_a_million_rows_takes_at_most_64_mebibytes() {
    const ROWS: u32 = 1_000_000;
    let (database, kafka) = (Postgres::newest().database("million"), Kafka::shared());
    database.execute(
        "create table outbox (id int, aggregatetype text, aggregateid text, type text, payload text)",
    );
    let topic = format!("{}.order", database.name());
    kafka.make_topic(&topic, 1, &[]);
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    database.execute(&format!(
        "insert into outbox select n, 'order', 'key-' || n % 100, 'Placed',
         '{{\"note\": \"a payload of the size that one sees, say, a hundred bytes or so\", \"n\": ' || n || '}}'
         from generate_series(0, {ROWS} - 1) as n"
    ));
    let mut seen = vec![false; usize::try_from(ROWS).unwrap()];
    let mut last = vec![None; 100];
    let (mut repeats, limit) = (0, Duration::from_secs(300));
    let arrived = kafka.for_each_record(&topic, (seen.len(), limit), |record| {
        let (id, key) = id_and_key(record);
        repeats += usize::from(std::mem::replace(&mut seen[id], true));
        let before = last[key].replace(id);
        assert!(before < Some(id), "key-{key}: {id} after {before:?}");
    });
    assert_eq!((arrived, repeats), (seen.len(), 0), "walpost said:\n{}", walpost.log());
    // No record more than that.
    database.execute("insert into outbox values (0, 'order', 'last', 'Placed', '{}')");
    let mut end = None;
    let more = kafka.for_each_record(&topic, (seen.len() + 1, limit), |record| {
        end = rdkafka::Message::key(record).map(<[u8]>::to_vec);
    });
    assert_eq!((more, end.as_deref()), (seen.len() + 1, Some(&b"last"[..])));
    let peak = walpost.memory_peak();
    figure(&format!("a million rows in one transaction: peak {:.1} MiB", to_mib(peak)));
    assert!(peak <= 64 * MIB, "{:.1} MiB", to_mib(peak));
}

#[track_caller]
fn id_and_key(record: &rdkafka::message::BorrowedMessage<'_>) -> (usize, usize) {
    use rdkafka::message::{Headers, Message};
    let headers = record.headers().unwrap();
    let id = headers.iter().find(|header| header.key == "ce_id").unwrap().value.unwrap();
    let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse().unwrap();
    (number(id), number(record.key().unwrap().strip_prefix(b"key-").unwrap()))
}

/// For people.
fn to_mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap()) / 1024.0
}
