//! Goal: the oracle tells right from wrong, or no fault test proves anything.
//! Method: rows of the workload, relayed by the test itself: rightly once, and then with one mistake
//! of each kind, which must be noticed.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::super::servers::{Database, Kafka, PATIENCE, Postgres};
use super::commits::id;
use super::{Commits, Deliveries, PARTITIONS, Repeats, Workload, prepare, seed, topics};

/// An event as it should be relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    id: String,
    key: String,
    payload: String,
    partition: i32,
}

#[test]
fn the_count_of_a_key_is_its_commit_order_in_the_log() {
    let database = Postgres::oldest().database("counted");
    database.create_outbox();
    Workload::create_tables(&database);
    database.execute("create publication walpost for table outbox with (publish = 'insert')");
    let slot = Commits::slot(&database);
    database.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{slot}', 'pgoutput')"
    ));
    let workload = Workload::start(&database, seed());
    std::thread::sleep(Duration::from_secs(3));
    let written = workload.stop();
    assert!(written.rows > 500 && written.undone > 0 && written.failures == 0, "{written:?}");

    let commits = Commits::read(&database);
    assert_eq!(u64::try_from(commits.rows.len()).unwrap(), written.rows);
    let mut counts = HashMap::new();
    for event in in_order(&database, &commits) {
        let number: u64 =
            event.payload.rsplit_once(' ').unwrap().1.trim_end_matches('}').parse().unwrap();
        let count = counts.entry(event.key).or_insert(0);
        *count += 1;
        assert_eq!(number, *count);
    }
    let kept = database.query("select key, n from counter where n > 0");
    assert_eq!(kept.len(), counts.len());
    let transactions = commits.transactions();
    assert_eq!(u64::try_from(transactions.len()).unwrap(), written.transactions);
}

/// What a relay does with the events.
type Relay = fn(Vec<Event>) -> Vec<Event>;

#[test]
fn every_mistake_of_a_relay_is_noticed() {
    let kafka = Kafka::shared();
    let mistakes: [(&str, Relay); 8] = [
        ("", |events| events),
        ("are missing", |mut events| {
            events.pop();
            events
        }),
        ("came before row", |mut events| {
            // Of a key that has more rows.
            let later = |event: &Event| events.iter().filter(|it| it.key == event.key).count() > 1;
            let gone = events.iter().position(later).unwrap();
            events.remove(gone);
            events
        }),
        ("never committed", |mut events| {
            let mut phantom = events.last().unwrap().clone();
            phantom.id = "00000000-0000-0000-0000-000000000001".to_owned();
            let (head, number) = phantom.payload.rsplit_once(' ').unwrap();
            let number: u64 = number.trim_end_matches('}').parse().unwrap();
            assert!(head.ends_with("\"seq\":"));
            phantom.payload = super::workload::payload(&phantom.key, number + 1);
            events.push(phantom);
            events
        }),
        ("do not follow each other", |mut events| {
            events.push(events.last().unwrap().clone());
            events
        }),
        ("changed its partition", |mut events| {
            let mut moved = events[0].clone();
            moved.partition = (moved.partition + 1) % i32::try_from(PARTITIONS).unwrap();
            events.push(moved);
            events
        }),
        ("the payload was changed", |mut events| {
            events[0].payload = events[0].payload.replace("\"pad\": \"", "\"pad\": \"y");
            events
        }),
        ("two rows are numbered", |mut events| {
            let mut other = events[0].clone();
            other.id = "00000000-0000-0000-0000-000000000002".to_owned();
            events.insert(1, other);
            events
        }),
    ];
    let database = Postgres::newest().database("mistakes");
    prepare(&database, kafka);
    let workload = Workload::start(&database, seed());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(workload.stop().failures, 0);
    let events = in_order(&database, &Commits::read(&database));
    let names = topics(&database);
    let mut start = super::reader::Ends::new();
    for (expected, relay) in mistakes {
        let mut deliveries = Deliveries::new(&database, kafka, Repeats::BetweenPeriods);
        deliveries.begin_at(&start);
        publish(kafka, &names, &relay(events.clone()));
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            deliveries.finish(&database, Duration::ZERO);
        }));
        match judged {
            Ok(()) => assert_eq!(expected, "", "not noticed: {expected}"),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().unwrap();
                assert!(!expected.is_empty() && said.contains(expected), "{expected:?}: {said}");
            }
        }
        start = deliveries.ends();
    }
}

/// The committed rows in the order of the log, as events.
fn in_order(database: &Database, commits: &Commits) -> Vec<Event> {
    let rows = database.query("select id, aggregateid, payload from outbox");
    let mut events: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let [Some(id), Some(key), Some(payload)] = row.as_slice() else { panic!("{row:?}") };
            let sum = key.bytes().map(u32::from).sum::<u32>() % PARTITIONS;
            let partition = i32::try_from(sum).unwrap();
            Event { id: id.clone(), key: key.clone(), payload: payload.clone(), partition }
        })
        .collect();
    events.sort_by_key(|event| commits.place(id(&event.id)));
    events
}

fn publish(kafka: &Kafka, topics: &[String], events: &[Event]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    for event in events {
        let kind = event.key.split('-').next().unwrap();
        let topic = topics.iter().find(|topic| topic.ends_with(kind)).unwrap();
        let headers = OwnedHeaders::new().insert(Header { key: "ce_id", value: Some(&event.id) });
        let record = BaseRecord::to(topic)
            .key(&event.key)
            .payload(&event.payload)
            .partition(event.partition)
            .headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}
