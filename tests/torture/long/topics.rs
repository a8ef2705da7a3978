//! A thousand topics.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::{IN_FLIGHT, allowed, mb, size, tell, told_of};
use crate::scene::stop;
use crate::servers::{Kafka, PATIENCE, Postgres, Settings};

/// What each partition after a topic's first may take besides, in bytes: librdkafka's (2.12.1) own books.
const A_PARTITION: u64 = 5_000;

/// Aggregates of a topic: each is a key.
const KEYS: u64 = 8;

/// Rows of a transaction.
const TOGETHER: u64 = 1_000;

/// How the memory of one walpost was.
#[derive(Clone, Copy, Debug)]
struct Memory {
    peak: u64,
    after: u64,
}

#[test]
fn a_thousand_topics_take_a_bounded_amount_of_memory_each_and_every_row_comes() {
    let topics = size("TOPICS", 50, 1_000);
    let rows = size("TOPIC_ROWS", 20_000, 1_000_000);
    let partitions = size("TOPIC_PARTITIONS", 2, 4);
    let kafka = Kafka::start();
    // The same rows each time: what differs is where they go.
    let one = relay(&kafka, (1, 1), rows);
    let single = relay(&kafka, (topics, 1), rows);
    let several = relay(&kafka, (topics, partitions), rows);
    let share = |memory: Memory, before: Memory, count: u64| {
        memory.peak.saturating_sub(before.peak) / count.max(1)
    };
    let limit = |topics, partitions| allowed(IN_FLIGHT) + topics * (partitions - 1) * A_PARTITION;
    let line = |memory: Memory, limit| {
        format!(
            "at most {}, {} afterwards; {} are allowed",
            mb(memory.peak),
            mb(memory.after),
            mb(limit)
        )
    };
    tell(
        "topics",
        &format!(
            "{rows} rows of small transactions each time, every row once and every key in order. Memory with one \
             topic: {}. With {topics} topics of one partition: {}, which is {} kB a topic. With {topics} \
             topics of {partitions} partitions: {}, which is {} kB for each partition more, of which each may \
             take {} kB{}.",
            line(one, limit(1, 1)),
            line(single, limit(topics, 1)),
            share(single, one, topics) / 1000,
            line(several, limit(topics, partitions)),
            share(several, single, topics * (partitions - 1)) / 1000,
            A_PARTITION / 1000,
            told_of(),
        ),
    );
    for (memory, limit) in
        [(one, limit(1, 1)), (single, limit(topics, 1)), (several, limit(topics, partitions))]
    {
        assert!(memory.peak <= limit, "{} of memory, of {}", mb(memory.peak), mb(limit));
    }
}

/// Relays rows over so many topics of so many partitions, and compares what came.
#[track_caller]
fn relay(kafka: &Kafka, (topics, partitions): (u64, u64), rows: u64) -> Memory {
    let database = Postgres::newest().database("topics");
    database.execute(
        "create table outbox (id bigint, aggregatetype text, aggregateid text, type text, payload text)",
    );
    let names: Vec<_> = (0..topics).map(|n| format!("{}.kind-{n}", database.name())).collect();
    kafka.make_topics(&names, i32::try_from(partitions).unwrap());
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    // One row for each topic after the other, key after key.
    database.execute(&format!(
        "do $$ begin for begun in 0 .. {rows} - 1 by {TOGETHER} loop
           insert into outbox select n, 'kind-' || n % {topics}, 'key-' || n / {topics} % {KEYS}, 'Placed',
               '{{\"n\": ' || n || '}}'
           from generate_series(begun, least(begun + {TOGETHER}, {rows}) - 1) n;
           commit;
         end loop; end $$"
    ));
    let expected = f64::from(u32::try_from(rows).unwrap());
    let (mut confirmed, mut heard) = (0.0, Instant::now());
    while confirmed < expected {
        assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
        let late = heard.elapsed() > PATIENCE;
        assert!(!late, "{confirmed} of {rows} rows were confirmed, and no more: {}", walpost.log());
        std::thread::sleep(Duration::from_millis(200));
        let by_now = walpost.metrics().sum("walpost_events_total", &[]);
        if by_now > confirmed {
            (confirmed, heard) = (by_now, Instant::now());
        }
    }
    let memory = Memory { peak: walpost.memory_peak(), after: walpost.memory() };
    check(kafka, &names, partitions, rows);
    stop(walpost);
    memory
}

/// Every row once, and the rows of each key in order; nothing is kept but the next row of each key.
#[track_caller]
fn check(kafka: &Kafka, names: &[String], partitions: u64, rows: u64) {
    let topics = u64::try_from(names.len()).unwrap();
    let mut next: Vec<u64> = (0..topics * KEYS).collect();
    let mut places = TopicPartitionList::new();
    for name in names {
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap();
            places.add_partition_offset(name, partition, Offset::Beginning).unwrap();
        }
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "walpost-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .create()
        .unwrap();
    consumer.assign(&places).unwrap();
    let mut unfinished = topics * partitions;
    let (mut seen, mut heard, mut trouble) = (0, Instant::now(), None);
    // Nobody writes any more, so each partition ends once.
    while unfinished > 0 {
        let late = heard.elapsed() > PATIENCE;
        assert!(!late, "{unfinished} partitions were not read to their end: {trouble:?}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                heard = Instant::now();
                seen += 1;
                let value = std::str::from_utf8(record.payload().unwrap()).unwrap();
                let n = value.strip_prefix("{\"n\": ").and_then(|rest| rest.strip_suffix('}'));
                let n: u64 = n.unwrap().parse().unwrap();
                let (topic, key) = (n % topics, n / topics % KEYS);
                assert_eq!(record.topic(), names[usize::try_from(topic).unwrap()], "{value}");
                assert_eq!(record.key(), Some(format!("key-{key}").as_bytes()), "{value}");
                let place = &mut next[usize::try_from(topic + topics * key).unwrap()];
                assert_eq!(n, *place, "the rows of a key are not in order");
                *place += topics * KEYS;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                heard = Instant::now();
                unfinished -= 1;
            }
            // Connections end on a busy machine, and are made anew.
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
    }
    assert_eq!(seen, rows);
}
