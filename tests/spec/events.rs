//! Goal: a committed row becomes one record, and everything about that record is as promised:
//! topic, partition, key, value, headers.
//! Method: rows are inserted while the relay runs; whole records are compared, in both content
//! modes, on the oldest and the newest Postgres, and read again by the CloudEvents SDK for Rust.

use std::sync::{Mutex, PoisonError};

use cloudevents::AttributesReader;
use serde_json::{Value, json};

use crate::servers::{Database, Kafka, Postgres, Record, Settings, free_ports};
use crate::{partition, sdk};

/// More than one, or every key would be in the right partition.
const PARTITIONS: i32 = 7;

/// Held while a relay uses the default slot, `walpost`: a server has one namespace for slots.
static DEFAULT_SLOT: Mutex<()> = Mutex::new(());

/// Only the two addresses, and a port of one's own for HTTP, since tests run side by side.
fn two_addresses(database: &Database, kafka: &Kafka) -> Settings {
    Settings::none()
        .env("DATABASE_URL", database.url())
        .env("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap())
        .env("WALPOST_HTTP_ADDR", format!("127.0.0.1:{}", free_ports(1)))
}

/// The headers, sorted: names and values, none null.
#[track_caller]
fn headers(record: &Record) -> Vec<(&str, &str)> {
    let mut headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| {
            let Some(bytes) = value else { panic!("a null header: {record:?}") };
            (name.as_str(), std::str::from_utf8(bytes).unwrap())
        })
        .collect();
    headers.sort_unstable();
    headers
}

/// The one record whose `id` is `id`, in either mode.
#[track_caller]
fn with_id<'a>(records: &'a [Record], id: &str) -> &'a Record {
    let found: Vec<_> = records.iter().filter(|record| sdk::event(record).id() == id).collect();
    assert_eq!(found.len(), 1, "records with id {id} among {records:#?}");
    found[0]
}

/// A time of the form that every SDK reads, in UTC, between two moments of the database's clock.
#[track_caller]
fn check_commit_time(database: &Database, time: &str, (from, to): (&str, &str)) {
    assert!(time.contains('T') && time.ends_with('Z'), "{time}");
    let between = format!(
        "select '{time}'::timestamptz between '{from}'::timestamptz and '{to}'::timestamptz"
    );
    assert_eq!(database.value(&between), "t", "{time} is not between {from} and {to}");
}

#[test]
fn debeziums_table_needs_no_setting_besides_the_two_addresses() {
    let _slot = DEFAULT_SLOT.lock().unwrap_or_else(PoisonError::into_inner);
    for server in [Postgres::oldest(), Postgres::newest()] {
        debeziums_table(server, "binary");
        debeziums_table(server, "structured");
    }
}

#[track_caller]
fn debeziums_table(server: &Postgres, mode: &str) {
    let (database, kafka) = (server.database("debezium"), Kafka::shared());
    let name = database.name();
    // As in Debezium's documentation of the outbox event router.
    database.execute(
        "create table outbox (id uuid not null primary key, aggregatetype varchar(255) not null,
         aggregateid varchar(255) not null, type varchar(255) not null, payload jsonb)",
    );
    // The default topic carries the aggregate type only, and the broker is shared.
    let topic = format!("outbox.event.order-{name}");
    kafka.make_topic(&topic, PARTITIONS, &[]);
    let mut settings = two_addresses(&database, kafka);
    if mode != "binary" {
        settings = settings.env("WALPOST_CE_MODE", mode);
    }
    let mut walpost = settings.start();
    walpost.wait_until_ready();

    let from = database.value("select clock_timestamp()");
    for n in 0..20 {
        database.execute(&format!(
            "insert into outbox select ('00000000-0000-4000-8000-' || lpad('{n}', 12, '0'))::uuid,
             'order-{name}', 'Bestellung {n} ü', 'order.placed',
             '{{\"total\": 12.30, \"n\": {n}, \"big\": 12345678901234567890123}}'"
        ));
    }
    let records = kafka.wait_for_records(&topic, 20);
    let to = database.value("select clock_timestamp()");
    assert_eq!(records.len(), 20);
    partition::check(&records, PARTITIONS);
    let used: std::collections::BTreeSet<_> = records.iter().map(|r| r.partition).collect();
    assert!(used.len() > 3, "twenty keys in {used:?}");

    for n in 0..20 {
        check_debezium_record(&database, &records, n, (mode, &from, &to));
    }
}

/// The record of the row number `n`, whole.
#[track_caller]
fn check_debezium_record(
    database: &Database,
    records: &[Record],
    n: u32,
    (mode, from, to): (&str, &str, &str),
) {
    let name = database.name();
    let id = format!("00000000-0000-4000-8000-{n:012}");
    let record = with_id(records, &id);
    let key = format!("Bestellung {n} ü");
    assert_eq!(record.key_text(), key);
    let payload = database.value(&format!("select payload::text from outbox where id = '{id}'"));
    let time = if mode == "binary" {
        let time = record.header("ce_time").unwrap();
        let expected = [
            ("ce_id", id.as_str()),
            ("ce_source", &format!("/{name}/public/outbox")),
            ("ce_specversion", "1.0"),
            ("ce_subject", &key),
            ("ce_time", time),
            ("ce_type", "order.placed"),
            ("content-type", "application/json"),
        ];
        assert_eq!(headers(record), expected);
        assert_eq!(record.value_text(), payload);
        time.to_owned()
    } else {
        let expected = [("content-type", "application/cloudevents+json; charset=UTF-8")];
        assert_eq!(headers(record), expected);
        // Spliced in as it stands: a parser would have rounded the large number.
        assert!(record.value_text().contains(&payload), "{record:?}");
        let mut envelope = record.value_json();
        let time = envelope["time"].as_str().unwrap().to_owned();
        envelope.as_object_mut().unwrap().remove("data").unwrap();
        let expected = json!({
            "specversion": "1.0", "id": id, "source": format!("/{name}/public/outbox"),
            "type": "order.placed", "subject": key, "time": time,
            "datacontenttype": "application/json",
        });
        assert_eq!(envelope, expected);
        time
    };
    check_commit_time(database, &time, (from, to));
    let event = sdk::event(record);
    assert_eq!(event.source().as_str(), format!("/{name}/public/outbox"));
    assert_eq!((event.ty(), event.subject()), ("order.placed", Some(key.as_str())));
    assert_eq!(event.datacontenttype(), Some("application/json"));
    assert_eq!(event.time().unwrap().timestamp_micros(), micros(database, &time));
    assert_eq!(data_of(&event)["n"], n);
}

/// Microseconds since 1970, by Postgres.
fn micros(database: &Database, time: &str) -> i64 {
    let micros = format!("select (extract(epoch from '{time}'::timestamptz) * 1000000)::bigint");
    database.value(&micros).parse().unwrap()
}

/// The event's data as JSON.
#[track_caller]
fn data_of(event: &cloudevents::Event) -> Value {
    match event.data() {
        Some(cloudevents::Data::Binary(bytes)) => serde_json::from_slice(bytes).unwrap(),
        Some(cloudevents::Data::String(text)) => serde_json::from_str(text).unwrap(),
        Some(cloudevents::Data::Json(value)) => value.clone(),
        None => panic!("no data in {event:?}"),
    }
}

#[test]
fn a_table_of_ones_own_needs_only_the_topic() {
    let _slot = DEFAULT_SLOT.lock().unwrap_or_else(PoisonError::into_inner);
    for server in [Postgres::oldest(), Postgres::newest()] {
        table_of_ones_own(server, "binary");
        table_of_ones_own(server, "structured");
    }
}

#[track_caller]
fn table_of_ones_own(server: &Postgres, mode: &str) {
    let (database, kafka) = (server.database("own_table"), Kafka::shared());
    let name = database.name();
    database.execute(
        "create table outbox (id bigint primary key, aggregate_id text, type text not null,
         payload json not null, created_at timestamptz not null)",
    );
    kafka.make_topic(name, PARTITIONS, &[]);
    let mut settings = two_addresses(&database, kafka).env("WALPOST_TOPIC", name);
    if mode != "binary" {
        settings = settings.env("WALPOST_CE_MODE", mode);
    }
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    // A `json` column keeps its text: spaces, order, repeated names.
    let payload = r#"{"b" : 1.10,  "a": [12345678901234567890123, "ü\u00e9"], "b": null}"#;
    database.execute(&format!(
        "insert into outbox values
         (1, 'k', 'Placed', '{payload}', '2024-05-01 10:00:00.123456+02'),
         (2, null, 'Placed', '{payload}', '2024-05-01 10:00:00+02'),
         (3, '', 'Placed', '{payload}', '1999-12-31 23:59:59.9+00')"
    ));
    let records = kafka.wait_for_records(name, 3);
    assert_eq!(records.len(), 3);
    partition::check(&records, PARTITIONS);
    for (id, key, time) in [
        ("1", Some("k"), "2024-05-01T08:00:00.123456Z"),
        ("2", None, "2024-05-01T08:00:00Z"),
        ("3", Some(""), "1999-12-31T23:59:59.900000Z"),
    ] {
        let record = with_id(&records, id);
        assert_eq!(record.key.as_deref(), key.map(str::as_bytes));
        let subject = key.filter(|key| !key.is_empty());
        let source = format!("/{name}/public/outbox");
        if mode == "binary" {
            let mut expected = vec![
                ("ce_id", id),
                ("ce_source", source.as_str()),
                ("ce_specversion", "1.0"),
                ("ce_time", time),
                ("ce_type", "Placed"),
                ("content-type", "application/json"),
            ];
            expected.extend(subject.map(|subject| ("ce_subject", subject)));
            expected.sort_unstable();
            assert_eq!(headers(record), expected);
            assert_eq!(record.value_text(), payload);
        } else {
            assert!(record.value_text().contains(payload), "{record:?}");
            let mut envelope = record.value_json();
            envelope.as_object_mut().unwrap().remove("data").unwrap();
            let mut expected = json!({
                "specversion": "1.0", "id": id, "source": source, "type": "Placed",
                "time": time, "datacontenttype": "application/json",
            });
            if let Some(subject) = subject {
                expected["subject"] = subject.into();
            }
            assert_eq!(envelope, expected);
        }
        assert_eq!(sdk::event(record).subject(), subject);
    }
}

/// Every role has a column; the names are the first ones of the documentation.
const EVERY_ROLE: &str = "create table outbox (
    id text primary key, aggregatetype text, aggregateid text, type text, payload bytea,
    created_at timestamp, content_type text, dataschema text, source text, subject text,
    partition_key text, topic text, headers jsonb, traceparent text, tracestate text,
    correlation_id uuid, causation_id uuid, tenant_id text, schema_version int, region text,
    small smallint, large bigint, yes boolean, unsent text default 'not sent')";

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn every_role_has_its_place_in_the_event() {
    for mode in ["binary", "structured"] {
        every_role(mode);
    }
}

#[track_caller]
fn every_role(mode: &str) {
    let (database, kafka) = (Postgres::newest().database("roles"), Kafka::shared());
    let name = database.name();
    database.execute(EVERY_ROLE);
    let mut walpost = Settings::new(&database, kafka)
        .env("WALPOST_CE_MODE", mode)
        .env("WALPOST_CE_TYPE", "com.example.{type}.v{schema_version}")
        .env("WALPOST_CE_EXTENSIONS", "region=region,small=small,large=large,yes=yes")
        .env("WALPOST_TIME_ZONE", "Europe/Berlin")
        .start();
    walpost.wait_until_ready();
    database.execute(&format!(
        "insert into outbox values ('e1', 'ignored', 'agg', 'placed', '\\x00ff41',
         '2024-07-01 12:00:00.5', 'image/x-walpost', 'https://example.com/s/1', 'urn:shop:42',
         'what it is about', 'pk', '{name}.own', '{{\"plain\": \"text\", \"number\": 1.50,
         \"list\": [1, 2], \"none\": null, \"ce_id\": \"forged\", \"Content-Type\": \"forged\"}}',
         '{TRACEPARENT}', 'a=b', '11111111-1111-4111-8111-111111111111',
         '22222222-2222-4222-8222-222222222222', 'tenant-1', 2, 'eu', 7, 9007199254740993, true)"
    ));
    let records = kafka.wait_for_records(&format!("{name}.own"), 1);
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.key_text(), "pk");
    check_every_role(record, mode);
    let event = sdk::event(record);
    assert_eq!(event.extension("tenantid").unwrap().to_string(), "tenant-1");
    assert_eq!(event.datacontenttype(), Some("image/x-walpost"));
    assert_eq!(event.dataschema().unwrap().as_str(), "https://example.com/s/1");
    let log = walpost.log();
    assert!(log.contains("headers"), "left-out headers are told: {log}");
    assert!(!log.contains("forged"), "row values reach no log: {log}");
}

/// The plain headers of that row.
const PLAIN: [(&str, &str); 5] = [
    ("list", "[1, 2]"),
    ("number", "1.50"),
    ("plain", "text"),
    ("traceparent", TRACEPARENT),
    ("tracestate", "a=b"),
];

/// Its attributes, as texts.
const ATTRIBUTES: [(&str, &str); 15] = [
    ("causationid", "22222222-2222-4222-8222-222222222222"),
    ("correlationid", "11111111-1111-4111-8111-111111111111"),
    ("dataschema", "https://example.com/s/1"),
    ("id", "e1"),
    ("large", "9007199254740993"),
    ("partitionkey", "pk"),
    ("region", "eu"),
    ("source", "urn:shop:42"),
    ("specversion", "1.0"),
    ("subject", "what it is about"),
    ("tenantid", "tenant-1"),
    ("time", "2024-07-01T10:00:00.500000Z"),
    ("traceparent", TRACEPARENT),
    ("tracestate", "a=b"),
    ("type", "com.example.placed.v2"),
];

#[track_caller]
fn check_every_role(record: &Record, mode: &str) {
    if mode == "binary" {
        let own = ATTRIBUTES.map(|(name, value)| (format!("ce_{name}"), value));
        let mut expected: Vec<_> =
            own.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        expected.extend([
            ("ce_small", "7"),
            ("ce_yes", "true"),
            ("content-type", "image/x-walpost"),
        ]);
        expected.extend(PLAIN);
        expected.sort_unstable();
        assert_eq!(headers(record), expected);
        assert_eq!(record.value.as_deref(), Some(&b"\x00\xffA"[..]));
    } else {
        let mut expected = vec![("content-type", "application/cloudevents+json; charset=UTF-8")];
        expected.extend(PLAIN);
        expected.sort_unstable();
        assert_eq!(headers(record), expected);
        let mut envelope: serde_json::Map<_, _> =
            ATTRIBUTES.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect();
        envelope.insert("small".into(), 7.into());
        envelope.insert("yes".into(), true.into());
        envelope.insert("datacontenttype".into(), "image/x-walpost".into());
        envelope.insert("data_base64".into(), "AP9B".into());
        assert_eq!(record.value_json(), Value::Object(envelope));
    }
}

#[test]
fn a_null_payload_is_a_tombstone_unless_told_otherwise() {
    for (setting, value) in [("", None), ("empty", Some(&b""[..]))] {
        let (database, kafka) = (Postgres::oldest().database("null_payload"), Kafka::shared());
        database.create_outbox();
        let mut settings = Settings::new(&database, kafka);
        if !setting.is_empty() {
            settings = settings.env("WALPOST_NULL_PAYLOAD", setting);
        }
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        database.execute(
            "insert into outbox (aggregatetype, aggregateid, type) values ('order', 'k', 'Gone')",
        );
        let topic = format!("{}.order", database.name());
        let records = kafka.wait_for_records(&topic, 1);
        assert_eq!(records[0].value.as_deref(), value, "{setting}");
        assert_eq!((records[0].key_text(), records.len()), ("k", 1));
        assert_eq!(records[0].header("ce_type"), Some("Gone"));
    }
}
