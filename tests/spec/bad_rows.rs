//! Goal: a row that cannot become an event stops nothing, hides nothing, and is not lost.
//! Method: rows that break each kind of rule between good ones, under each policy; dead letters are
//! compared whole.

use std::time::Duration;

use crate::oracle::lsn;
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Metrics, Postgres, Record, Settings, figure, until};

/// Text columns, so that every rule can be broken.
const TABLE: &str = "create table outbox (id text, aggregatetype text, aggregateid text, type text,
    payload text, dataschema text)";

#[track_caller]
fn insert(database: &Database, values: &str) {
    database.execute(&format!("insert into outbox values {values}"));
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.header("ce_id").unwrap()).collect()
}

#[track_caller]
fn header<'a>(record: &'a Record, name: &str) -> &'a str {
    record.header(name).unwrap_or_else(|| panic!("no {name} in {record:?}"))
}

#[test]
fn a_bad_row_goes_to_the_dead_letters_and_the_row_after_it_still_comes() {
    for mode in ["binary", "structured"] {
        let (database, kafka) = (Postgres::newest().database("letters"), Kafka::shared());
        let name = database.name();
        database.execute(TABLE);
        let mut walpost = Settings::new(&database, kafka).env("WALPOST_CE_MODE", mode).start();
        walpost.wait_until_ready();
        let from = database.value("select clock_timestamp()");
        insert(&database, "('1', 'order', 'k', 'Placed', '{}')");
        // Five bad rows of the same key, of one transaction with a good one in the middle.
        insert(
            &database,
            "('2', 'order', 'k', 'Placed', '{\"a\": nonsense', 'https://e/s'),
             ('3', 'order', 'k', null, '{\"b\": 1}', null),
             ('', 'order', 'k', 'Placed', '{\"c\": 1}', null),
             ('4', 'order', 'k', 'Placed', '{}', null),
             ('5', 'no topic!', 'k', 'Placed', '{\"d\": 1}', null),
             ('6', 'order', 'k', 'Placed', '{\"e\": 1}', 'relative')",
        );
        insert(&database, "('7', 'order', 'k', 'Placed', '{}')");
        let records = kafka.wait_for_records(&format!("{name}.order"), 3);
        let dlq = format!("{name}.dlq");
        let letters = kafka.wait_for_records(&dlq, 5);
        let good: Vec<_> = records.iter().map(|record| crate::sdk::event(record)).collect();
        let good: Vec<_> = good.iter().map(cloudevents::AttributesReader::id).collect();
        assert_eq!(good, ["1", "4", "7"]);

        check_letters(&database, &letters);
        let time = header(&letters[0], "walpost-error-time");
        let recent = format!("select '{time}'::timestamptz between '{from}' and clock_timestamp()");
        assert_eq!((database.value(&recent).as_str(), time.ends_with('Z')), ("t", true), "{time}");
        check_counts(&walpost, 5.0, 5.0);
        let log = walpost.log();
        assert!(log.contains("invalid_json"), "{log}");
        assert!(!log.contains("nonsense"), "no payload in the log: {log}");
        assert_eq!(walpost.get("/readyz").status, 200);
        // The letters are part of the progress: a restart repeats none of them.
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);
        assert_eq!(kafka.records(&dlq).len(), 5);
    }
}

/// The five letters of the test above, whole.
#[track_caller]
fn check_letters(database: &Database, letters: &[Record]) {
    let name = database.name();
    let reasons = [
        ("payload", "invalid_json", Some("2"), "{\"a\": nonsense"),
        ("type", "missing", Some("3"), "{\"b\": 1}"),
        ("id", "empty", Some(""), "{\"c\": 1}"),
        ("topic", "illegal_name", Some("5"), "{\"d\": 1}"),
        ("dataschema", "not_absolute_uri", Some("6"), "{\"e\": 1}"),
    ];
    assert_eq!(letters.len(), reasons.len(), "{letters:#?}");
    for (letter, (attribute, reason, id, payload)) in letters.iter().zip(reasons) {
        assert_eq!((letter.key_text(), letter.value_text()), ("k", payload), "{letter:?}");
        assert_eq!(header(letter, "walpost-error-attribute"), attribute);
        assert_eq!(header(letter, "walpost-error-reason"), reason);
        assert_eq!(letter.header("walpost-row-id"), id);
        check_common_headers(database, letter);
    }
    // All of one, whole: the attributes that could be made are there, in binary mode always.
    let mut headers: Vec<_> = letters[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    headers.sort_unstable();
    let expected = [
        "ce_dataschema",
        "ce_id",
        "ce_source",
        "ce_specversion",
        "ce_subject",
        "ce_time",
        "ce_type",
        "content-type",
        "walpost-connector",
        "walpost-error-attribute",
        "walpost-error-message",
        "walpost-error-reason",
        "walpost-error-time",
        "walpost-position",
        "walpost-row-id",
        "walpost-table",
        "walpost-topic",
    ];
    assert_eq!(headers, expected);
    assert_eq!(header(&letters[0], "ce_id"), "2");
    assert_eq!(header(&letters[0], "ce_dataschema"), "https://e/s");
    assert_eq!(header(&letters[0], "content-type"), "application/json");
    assert_eq!(header(&letters[0], "walpost-topic"), format!("{name}.order"));
    assert_eq!(letters[1].header("ce_type"), None, "what could not be made is not there");
    assert_eq!(letters[3].header("walpost-topic"), None, "an impossible topic is not named");
    // Rows of one transaction share its place and differ by their ordinal.
    let positions: Vec<_> = letters.iter().map(|l| header(l, "walpost-position")).collect();
    let (commit, _) = positions[0].split_once('+').unwrap();
    assert!(lsn(commit) > 0);
    let expected: Vec<_> = [0, 1, 2, 4, 5].map(|ordinal| format!("{commit}+{ordinal}")).to_vec();
    assert_eq!(positions, expected);
}

/// The headers that every letter has.
#[track_caller]
fn check_common_headers(database: &Database, letter: &Record) {
    let name = database.name();
    assert_eq!(header(letter, "walpost-table"), "public.outbox");
    assert_eq!(header(letter, "walpost-connector"), format!("{name}.{name}"));
    assert_eq!(header(letter, "ce_source"), format!("/{name}/public/outbox"));
    let message = header(letter, "walpost-error-message");
    assert!(message.len() > 5 && !message.contains("nonsense"), "{message}");
}

#[track_caller]
fn check_counts(walpost: &Walpost, bad: f64, letters: f64) {
    until("the counts", || {
        let metrics = walpost.metrics();
        let all = |name| metrics.sum(name, &[]);
        ((all("walpost_bad_rows_total") - bad).abs() < f64::EPSILON
            && (all("walpost_dead_letters_total") - letters).abs() < f64::EPSILON)
            .then_some(())
    });
}

#[test]
fn a_row_that_is_too_large_leaves_a_letter_without_its_payload() {
    let (database, kafka) = (Postgres::oldest().database("too_large"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    let mut walpost = Settings::new(&database, kafka).env("WALPOST_MAX_EVENT", "10KiB").start();
    walpost.wait_until_ready();
    insert(&database, "('1', 'order', 'k', 'Placed', '{}')");
    insert(&database, "('2', 'order', 'k', 'Placed', '\"' || repeat('x', 20000) || '\"')");
    insert(&database, "('3', 'order', 'k', 'Placed', '{}')");
    assert_eq!(ids(&kafka.wait_for_records(&format!("{name}.order"), 2)), ["1", "3"]);
    let letters = kafka.wait_for_records(&format!("{name}.dlq"), 1);
    let [letter] = letters.as_slice() else { panic!("{letters:#?}") };
    assert_eq!((letter.key_text(), &letter.value), ("k", &None));
    assert_eq!(header(letter, "walpost-error-reason"), "too_large");
    assert_eq!(header(letter, "walpost-payload-bytes"), "20002");
    assert_eq!((header(letter, "ce_id"), header(letter, "walpost-row-id")), ("2", "2"));
    assert_eq!(header(letter, "walpost-topic"), format!("{name}.order"));
}

/// `max.message.bytes` limits batches: the rows beside the refused one must not suffer for it.
#[test]
fn a_row_that_the_broker_refuses_is_found_among_those_sent_with_it() {
    let (database, kafka) = (Postgres::newest().database("refused"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    kafka.make_topic(&format!("{name}.order"), 1, &[("max.message.bytes", "5000")]);
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    // Digits of random numbers: what does not shrink below the limit.
    let noise = "(select string_agg(md5(random()::text), '') from generate_series(1, 400))";
    database.execute(&format!(
        "insert into outbox select n::text, 'order', 'k', 'Placed',
         case when n = 50 then '\"' || {noise} || '\"' else '{{}}' end
         from generate_series(1, 100) as n"
    ));
    insert(&database, "('101', 'order', 'k', 'Placed', '{}')");
    let letters = kafka.wait_for_records(&format!("{name}.dlq"), 1);
    let records = until("all good rows", || {
        let records = kafka.records(&format!("{name}.order"));
        records.last().is_some_and(|last| last.header("ce_id") == Some("101")).then_some(records)
    });
    let mut first = Vec::new();
    for id in ids(&records) {
        if !first.contains(&id) {
            first.push(id);
        }
    }
    let expected: Vec<_> = (1..=101).filter(|n| *n != 50).map(|n| n.to_string()).collect();
    assert_eq!(first, expected);
    figure(&format!("a refused row: {} repeats of 100 rows", records.len() - first.len()));
    let [letter] = letters.as_slice() else { panic!("{letters:#?}") };
    assert_eq!(header(letter, "walpost-error-reason"), "refused_by_broker");
    assert_eq!(header(letter, "walpost-row-id"), "50");
    assert_eq!(letter.key_text(), "k");
}

#[test]
fn a_bad_row_halts_where_that_is_asked_for_and_nothing_overtakes_it() {
    let (database, kafka) = (Postgres::newest().database("halt"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    let settings = Settings::new(&database, kafka).env("WALPOST_ON_BAD_ROW", "halt");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    insert(&database, "('1', 'order', 'k', 'Placed', '{}')");
    insert(&database, "('2', 'order', 'k', 'Placed', 'nonsense')");
    insert(&database, "('3', 'order', 'other', 'Placed', '{}')");
    let halt = until("the halt", || {
        let status = walpost.try_get("/status.json")?.json();
        (status["halt"]["code"] == "bad_row").then(|| status["halt"].clone())
    });
    assert_eq!(halt["resumes_by_itself"], true);
    assert!(halt["hint"].as_str().unwrap().contains("WALPOST_ON_BAD_ROW"), "{halt}");
    assert!(!halt.to_string().contains("nonsense"), "{halt}");
    assert_eq!(walpost.metrics().get("walpost_halted", &[("code", "bad_row")]), Some(1.0));
    assert_eq!(walpost.get("/readyz").status, 503);
    // Longer than a held row waits before it is offered again.
    std::thread::sleep(Duration::from_secs(7));
    let topic = format!("{name}.order");
    assert_eq!(ids(&kafka.records(&topic)), ["1"]);
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);
    let holders = format!("select active from pg_replication_slots where slot_name = '{name}'");
    assert_eq!(database.value(&holders), "t", "this halt keeps the slot");
    // A stop is clean, although the row is not dealt with; another policy deals with it.
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    let mut walpost = settings.env("WALPOST_ON_BAD_ROW", "dlq").start();
    walpost.wait_until_ready();
    assert_eq!(ids(&kafka.wait_for_records(&topic, 2)), ["1", "3"]);
    assert_eq!(kafka.wait_for_records(&format!("{name}.dlq"), 1).len(), 1);
}

#[test]
fn a_bad_row_is_skipped_where_that_is_asked_for_and_counted() {
    let (database, kafka) = (Postgres::oldest().database("skip"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    let settings = Settings::new(&database, kafka).env("WALPOST_ON_BAD_ROW", "skip");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    insert(&database, "('1', 'order', 'k', 'Placed', '{}'), (null, 'order', 'k', 'Placed', '{}')");
    insert(&database, "('3', 'order', 'k', 'Placed', '{}')");
    assert_eq!(ids(&kafka.wait_for_records(&format!("{name}.order"), 2)), ["1", "3"]);
    check_counts(&walpost, 1.0, 0.0);
    let metrics: Metrics = walpost.metrics();
    assert_eq!(metrics.get("walpost_bad_rows_total", &[("reason", "missing")]), Some(1.0));
    assert!(walpost.log().contains("skipped"), "{}", walpost.log());
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
}

/// A broker without auto-creation: the row of an unknown topic waits for it, and no longer than that.
#[test]
fn a_row_for_an_unknown_topic_is_a_dead_letter_after_30_seconds() {
    let kafka = Kafka::start_with(&["auto.create.topics.enable=false"]);
    let database = Postgres::newest().database("unknown_topic");
    let name = database.name();
    database.execute(TABLE);
    kafka.make_topic(&format!("{name}.order"), 1, &[]);
    kafka.make_topic(&format!("{name}.late"), 1, &[]);
    let mut walpost = Settings::new(&database, &kafka).start();
    walpost.wait_until_ready();
    insert(&database, "('1', 'order', 'k', 'Placed', '{}')");
    let began = tokio::time::Instant::now();
    insert(&database, "('2', 'nowhere', 'k', 'Placed', '{\"a\": 1}')");
    insert(&database, "('3', 'order', 'k', 'Placed', '{}')");
    let letters = kafka.wait_for_records(&format!("{name}.dlq"), 1);
    let took = began.elapsed();
    figure(&format!("an unknown topic: a dead letter after {took:?}"));
    assert!((Duration::from_secs(25)..Duration::from_secs(50)).contains(&took), "{took:?}");
    let letter = &letters[0];
    assert_eq!(header(letter, "walpost-error-reason"), "unknown_topic");
    assert_eq!(header(letter, "walpost-topic"), format!("{name}.nowhere"));
    assert_eq!((letter.key_text(), letter.value_text()), ("k", "{\"a\": 1}"));
    assert_eq!(ids(&kafka.wait_for_records(&format!("{name}.order"), 2)), ["1", "3"]);
    assert!(!kafka.topics().contains(&format!("{name}.nowhere")));
    assert_eq!(walpost.get("/status.json").json()["state"], "streaming");
}

#[test]
fn missing_topics_are_made_with_the_partitions_that_are_asked_for() {
    let (database, kafka) = (Postgres::newest().database("made"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    let mut walpost = Settings::new(&database, kafka)
        .env("WALPOST_TOPIC_PARTITIONS", "5")
        .env("WALPOST_TOPIC_REPLICATION", "1")
        .start();
    walpost.wait_until_ready();
    let topic = format!("{name}.order");
    database.execute(
        "insert into outbox select n, 'order', 'key-' || n, 'Placed', '{}' from generate_series(1, 50) as n",
    );
    let records = kafka.wait_for_records(&topic, 50);
    crate::partition::check(&records, 5);
    assert_eq!(records.iter().map(|record| record.partition).max(), Some(4));
}
