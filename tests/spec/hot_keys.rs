//! Goal: a hot aggregate has several keys, the same ones whoever makes the event.
//! Method: one table, and all that makes events of its rows: snapshot, stream, peek, replay, dead
//! letters sent again.

use std::collections::BTreeMap;

use crate::checkpoint_command::done;
use crate::servers::{Database, Kafka, Postgres, Record, Settings, until};

const LINES: u32 = 40;

/// Rows of aggregate 4711, of as many lines, and one of another aggregate.
fn insert(database: &Database, first: u32) {
    database.execute(&format!(
        "insert into outbox (id, aggregatetype, aggregateid, type, payload, line)
         select n, 'order', '4711', 'Placed', '{{}}', n - {first} from generate_series({first}, {}) n",
        first + LINES - 1
    ));
    database.execute(&format!(
        "insert into outbox (id, aggregatetype, aggregateid, type, payload, line)
         values ({}, 'order', '4712', 'Placed', '{{}}', 1), ({}, 'order', '4711', 'Placed', '{{}}', null)",
        first + LINES,
        first + LINES + 1
    ));
}

/// The key of each line of the hot aggregate; every record says it in its attributes too.
#[track_caller]
fn keys(records: &[Record], first: u32) -> BTreeMap<u32, String> {
    let of = |record: &Record| {
        let line = record.header("ce_id").unwrap().parse::<u32>().unwrap().checked_sub(first)?;
        let own = if line == LINES { "4712" } else { "4711" };
        assert_eq!(record.header("ce_subject"), Some(own));
        let key = record.key_text().to_owned();
        let attribute = (line != LINES).then_some(key.as_str());
        assert_eq!(record.header("ce_partitionkey"), attribute);
        (line < LINES + 2).then_some((line, key))
    };
    records.iter().filter_map(of).collect()
}

#[test]
fn snapshot_stream_peek_replay_and_redrive_give_a_hot_aggregate_the_same_keys() {
    let (database, kafka) = (Postgres::newest().database("hot"), Kafka::shared());
    database.execute(
        "create table outbox (id int primary key, aggregatetype text, aggregateid text, type text,
                              payload text, line int)",
    );
    let topic = format!("{}.order", database.name());
    kafka.make_topic(&topic, 8, &[]);
    let settings = Settings::new(&database, kafka)
        .env("WALPOST_VIRTUAL_PARTITIONS", "order/4711=8:line, order/9=2:line");
    let all = usize::try_from(LINES + 2).unwrap();

    insert(&database, 0);
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    let snapshot = keys(&kafka.wait_for_records(&topic, all), 0);
    insert(&database, 1_000);
    let records = kafka.wait_for_records(&topic, 2 * all);
    let stream = keys(&records, 1_000);
    assert_eq!(stream, snapshot);
    assert_eq!((stream[&LINES].as_str(), stream[&(LINES + 1)].as_str()), ("4712", "4711#0"));
    let hot: std::collections::BTreeSet<_> =
        stream.values().filter(|key| key.starts_with("4711#")).collect();
    assert_eq!(hot.len(), 8, "{hot:?}");
    // One partition for a key, and several for the aggregate.
    let mut places = BTreeMap::new();
    for record in &records {
        let place = *places.entry(record.key_text().to_owned()).or_insert(record.partition);
        assert_eq!(place, record.partition, "{}", record.key_text());
    }
    let partitions: std::collections::BTreeSet<_> = places.values().collect();
    assert!(partitions.len() > 3, "{places:?}");

    let peeked = done(&settings, &["peek", "-n", "1", "--json"]);
    assert!(peeked.contains("4711#0"), "{peeked}");
    let copy = format!("{}.copy", database.name());
    kafka.make_topic(&copy, 1, &[]);
    done(&settings, &["replay", "--aggregate", "4711", "--to-topic", &copy, "--yes"]);
    let replayed = keys(&kafka.wait_for_records(&copy, 2 * (all - 1)), 1_000);
    let expected: BTreeMap<_, _> =
        stream.iter().filter(|(line, _)| **line != LINES).map(|(l, k)| (*l, k.clone())).collect();
    assert_eq!(replayed, expected);

    // A row that is bad for its content type becomes a letter with the key, and goes out with it.
    database.execute("insert into outbox values (5000, 'order', '4711', 'Placed', '{', 3)");
    until("a letter", || {
        done(&settings, &["dlq", "list", "--json"]).contains("invalid_json").then_some(())
    });
    let letter = done(&settings, &["dlq", "show", "0:0", "--json"]);
    assert!(letter.contains(&snapshot[&3]), "{letter} has the key {}", snapshot[&3]);
}

#[test]
fn a_column_that_the_table_does_not_have_is_named_before_anything_is_sent() {
    let (database, kafka) = (Postgres::newest().database("hot_no_column"), Kafka::shared());
    database.create_outbox();
    let settings =
        Settings::new(&database, kafka).env("WALPOST_VIRTUAL_PARTITIONS", "order/4711=8:line_id");
    let checked = settings.clone().arguments(&["check"]).run();
    assert_eq!(checked.code, 1, "{}", checked.stdout);
    assert!(checked.stdout.contains("\"line_id\""), "{}", checked.stdout);
    let wrong = settings.env("WALPOST_VIRTUAL_PARTITIONS", "order/4711=8").arguments(&["check"]);
    let wrong = wrong.run();
    assert_eq!(wrong.code, 78, "{}", wrong.stdout);
    assert!(wrong.stdout.contains("order/4711=16:line_id"), "{}", wrong.stdout);
}
