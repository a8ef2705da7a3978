//! The record key, and the partition that follows from it.

use super::relay::Relay;
use super::{Case, EVENT, Example, check};
use crate::partition;
use crate::servers::{Kafka, until};

pub(super) const CASES: &[Case] = &[PARTITION_KEY, BYTES, BYTES_PARTITION_KEY, TYPES];

const PARTITION_KEY: Case = Case {
    title: "The key",
    about: "The partition key, else the aggregate id. The partition is the one that Java's clients \
            choose (murmur2 of the key); records with a null key are spread and have no order.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text, type text default 'Placed', payload json default '{}', partition_key text)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "The partition key is the extension `partitionkey` too; `subject` stays the aggregate id.",
            row: "(aggregateid, partition_key) values ('42', 'customer-7')",
            events: &[&["key: customer-7", "ce_partitionkey: customer-7", "ce_subject: 42"]],
        },
        Example {
            rule: "NULL: the aggregate id is the key.",
            row: "(aggregateid, partition_key) values ('42', null)",
            events: &[&["key: 42", "ce_subject: 42"]],
        },
        Example {
            rule: "An empty partition key is as NULL …",
            row: "(aggregateid, partition_key) values ('42', '')",
            events: &[&["key: 42", "ce_subject: 42"]],
        },
        Example {
            rule: "… also where the aggregate id is empty, which is an empty key …",
            row: "(aggregateid, partition_key) values ('', '')",
            events: &[&["key: (empty)"]],
        },
        Example {
            rule: "… or NULL, which is a null key.",
            row: "(aggregateid, partition_key) values (null, '')",
            events: &[&[]],
        },
    ],
};

const BYTES: Case = Case {
    title: "A key of bytes",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid bytea, type text default 'Placed', payload json default '{}')",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "A `bytea` is the key as raw bytes, and `subject` in lower-case hexadecimal digits.",
            row: "(aggregateid) values ('\\xC3FF00')",
            events: &[&["key: (hex) c3ff00", "ce_subject: c3ff00"]],
        },
        Example {
            rule: "No bytes are an empty key.",
            row: "(aggregateid) values ('')",
            events: &[&["key: (empty)"]],
        },
        Example { rule: "NULL is a null key.", row: "(aggregateid) values (null)", events: &[&[]] },
    ],
};

const BYTES_PARTITION_KEY: Case = Case {
    title: "A partition key of bytes",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid bytea, type text default 'Placed', payload json default '{}',
    partition_key bytea)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Raw bytes as the key, hexadecimal digits as `partitionkey`.",
            row: "(aggregateid, partition_key) values ('\\xAA', '\\xFFFE')",
            events: &[&["key: (hex) fffe", "ce_partitionkey: fffe", "ce_subject: aa"]],
        },
        Example {
            rule: "No bytes are as NULL.",
            row: "(aggregateid, partition_key) values ('\\xAA', '')",
            events: &[&["key: (hex) aa", "ce_subject: aa"]],
        },
    ],
};

const TYPES: Case = Case {
    title: "Keys of other types",
    about: "The same text in every place.",
    table: "create domain customer as char(6);
    create table outbox (id int default 1, aggregatetype text default 'order', aggregateid uuid,
    type text default 'Placed', payload json default '{}', partition_key customer)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "A `uuid` is its text in lower case, a number its digits.",
            row: "(id, aggregateid) values (-7, '6E8BC430-9C3A-11D9-9669-0800200C9A66')",
            events: &[&[
                "ce_id: -7",
                "key: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
                "ce_subject: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
            ]],
        },
        Example {
            rule: "A `char(n)` has no blanks at its end; one of blanks only is empty.",
            row: "(partition_key) values ('ab'), (' ')",
            events: &[&["ce_id: 1", "key: ab", "ce_partitionkey: ab"], &["ce_id: 1"]],
        },
    ],
};

#[test]
fn the_partition_key_is_the_key_and_else_the_aggregate_id() {
    check(&PARTITION_KEY);
    check(&TYPES);
}

#[test]
fn bytes_are_a_key_as_they_are() {
    check(&BYTES);
    check(&BYTES_PARTITION_KEY);
}

/// Java's own producer writes the same keys; a record of either lies beside that of the other.
#[test]
fn a_key_is_in_the_partition_that_javas_client_chooses() {
    const PARTITIONS: i32 = 11;
    let (relay, kafka) = (Relay::start(&PARTITION_KEY, "binary"), Kafka::shared());
    let topic = format!("{}.order", relay.name());
    let by_java = format!("{}.java", relay.name());
    kafka.make_topic(&topic, PARTITIONS, &[]);
    kafka.make_topic(&by_java, PARTITIONS, &[]);
    let keys: Vec<String> = (0..40).map(|n| "kü😀y-".repeat(n % 4) + &n.to_string()).collect();
    for key in &keys {
        relay.insert(&format!("(aggregateid) values ('{key}')"));
    }
    kafka.produce_by_java(&by_java, &keys);
    let records = kafka.wait_for_records(&topic, keys.len());
    partition::check(&records, PARTITIONS);
    let java = kafka.wait_for_records(&by_java, keys.len());
    for key in &keys {
        let partition_in = |records: &[crate::servers::Record]| {
            records.iter().find(|record| record.key_text() == key).map(|record| record.partition)
        };
        let java = partition_in(&java).expect("Java wrote it");
        assert_eq!(partition_in(&records), Some(java), "{key}");
    }
    let used: std::collections::BTreeSet<_> = records.iter().map(|r| r.partition).collect();
    assert!(used.len() > 5, "forty keys in {used:?}");
    // The empty key has a hash as any other; records without a key stay together for a while only.
    relay.insert("(aggregateid) values ('')");
    let empty = until("the empty key", || {
        kafka.records(&topic).into_iter().find(|record| record.key.as_deref() == Some(b""))
    });
    assert_eq!(empty.partition, partition::of_key(b"", PARTITIONS));
    until("null keys in more than two partitions", || {
        relay.insert("(aggregateid) values (null)");
        let records = kafka.records(&topic);
        let keyless = records.iter().filter(|record| record.key.is_none());
        let used: std::collections::BTreeSet<_> = keyless.map(|r| r.partition).collect();
        (used.len() > 2).then_some(())
    });
}

#[test]
fn a_changed_number_of_partitions_is_told_and_counted() {
    const MORE_OFTEN: &[(&str, &str)] =
        &[("KAFKA_PROP_TOPIC_METADATA_REFRESH_INTERVAL_MS", "1000")];
    let case = Case { settings: MORE_OFTEN, ..PARTITION_KEY };
    let (relay, kafka) = (Relay::start(&case, "binary"), Kafka::shared());
    let topic = format!("{}.order", relay.name());
    kafka.make_topic(&topic, 2, &[]);
    relay.insert("(aggregateid) values ('first')");
    kafka.wait_for_records(&topic, 1);
    let bootstrap = kafka.bootstrap();
    kafka.run(&format!(
        "kafka-topics.sh --bootstrap-server {bootstrap} --alter --topic {topic} --partitions 7"
    ));
    let line = until("the change to be told", || {
        let log = relay.log();
        log.lines()
            .find(|line| line.contains("the number of partitions changed"))
            .map(str::to_owned)
    });
    assert!(line.contains(&topic) && line.contains("\"before\":2,\"now\":7"), "{line}");
    assert_eq!(relay.metrics().get("walpost_partition_changes_total", &[]), Some(1.0));
    // From then on keys are where a Java producer would put them now.
    until("a key in a partition that was not there", || {
        relay.insert("(aggregateid) values ('moves: ' || gen_random_uuid())");
        kafka.records(&topic).into_iter().find(|record| record.partition > 1)
    });
    let records = kafka.records(&topic);
    for record in records.iter().filter(|record| record.partition > 1) {
        assert_eq!(record.partition, partition::of_key(record.key.as_deref().unwrap(), 7));
    }
    assert_eq!(relay.log().matches("the number of partitions changed").count(), 1);
}
