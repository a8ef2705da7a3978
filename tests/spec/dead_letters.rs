//! Goal: a dead letter can be looked at, goes to its topic again as the event it was, is marked,
//! and is removed only when it is done with.
//! Method: letters of a relay, and as many as are needed written in the relay's form; redrives
//! killed at random; everything compared record by record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::checkpoint_command::{command, done};
use crate::servers::{Database, Kafka, PATIENCE, Postgres, Record, Settings, figure, until};

#[track_caller]
fn answer(settings: &Settings, arguments: &[&str]) -> Value {
    let printed = done(settings, &[&["dlq"], arguments, &["--json"]].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// Letters in the relay's form, to partitions in turn.
fn write_letters(
    kafka: &Kafka,
    topic: &str,
    partitions: i32,
    letters: impl Iterator<Item = (u64, Vec<(String, String)>)>,
) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    for (n, headers) in letters {
        let mut all = OwnedHeaders::new();
        for (name, value) in &headers {
            all = all.insert(Header { key: name, value: Some(value) });
        }
        let (key, value) = (format!("key-{}", n % 20), format!("{{\"n\": {n}}}"));
        let partition = i32::try_from(n % 20).unwrap() % partitions;
        let record = BaseRecord::to(topic).key(&key).payload(&value).partition(partition);
        producer.send(record.headers(all)).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

fn letter(n: u64, connector: &str, topic: &str, reason: &str) -> Vec<(String, String)> {
    [
        ("ce_id", n.to_string().as_str()),
        ("ce_source", "/s"),
        ("ce_correlationid", &format!("c{n}")),
        ("walpost-error-reason", reason),
        ("walpost-error-time", "2026-11-21T10:00:00Z"),
        ("walpost-topic", topic),
        ("walpost-row-id", &n.to_string()),
        ("walpost-connector", connector),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The connector's name, its dead-letter topic, and settings for commands that need no relay.
fn named(database: &Database, kafka: &Kafka) -> (String, String, Settings) {
    let name = database.name();
    (format!("{name}.{name}"), format!("{name}.dlq"), Settings::new(database, kafka))
}

/// Four letters of a relay: malformed, of policy, for size, without a topic.
fn relayed(database: &Database, kafka: &Kafka, settings: &Settings) -> Vec<Record> {
    database.execute(
        "create table outbox (id text, aggregatetype text, aggregateid text, type text, payload text)",
    );
    let mut walpost = settings.clone().env("WALPOST_MAX_EVENT", "2kB").start();
    walpost.wait_until_ready();
    database.execute(
        "insert into outbox values ('1', 'order', 'k', 'Placed', 'nonsense'),
         ('2', 'no topic', 'k', 'Placed', '{}'), ('3', 'order', 'k2', 'Placed', '\"' || repeat('x', 3000) || '\"'),
         ('4', 'order', null, null, '{}')",
    );
    let letters = kafka.wait_for_records(&format!("{}.dlq", database.name()), 4);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    letters
}

#[test]
fn letters_of_a_relay_are_listed_shown_and_left_with_what_to_do() {
    let (database, kafka) = (Postgres::newest().database("dlq_list"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let missing = command(&settings, &["dlq", "list"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("does not exist"), "{}", missing.stderr);
    relayed(&database, kafka, &settings);
    // One of another connector, and one of nobody's.
    let other = letter(9, "another", "x", "unknown_topic");
    write_letters(kafka, &topic, 1, [(9, other), (10, Vec::new())].into_iter());

    let listed = answer(&settings, &["list"]);
    assert_eq!(
        listed["counts"],
        json!([
            {"class": "malformed", "reason": "invalid_json", "unresolved": 1, "resolved": 0},
            {"class": "malformed", "reason": "missing", "unresolved": 1, "resolved": 0},
            {"class": "policy", "reason": "illegal_name", "unresolved": 1, "resolved": 0},
            {"class": "policy", "reason": "too_large", "unresolved": 1, "resolved": 0},
        ])
    );
    assert_eq!(listed["letters"][0]["letter"], "0:0");
    assert_eq!(listed["letters"][2]["value_bytes"], Value::Null);
    assert_eq!(listed["letters"][2]["connector"], connector.as_str());
    for (filter, expected) in [
        (&["--reason", "invalid_json"][..], &["1"][..]),
        (&["--reason", "policy"], &["2", "3"]),
        (&["--reason", "policy", "--reason", "missing"], &["2", "3", "4"]),
        (&["--key", "k"], &["1", "2"]),
        (&["--id", "3"], &["3"]),
        (&["--topic", "x"], &[]),
        (&["--topic", "x", "--all-connectors"], &["9"]),
        (&["--since", "1h"], &["1", "2", "3", "4"]),
        (&["--until", "2026-01-01"], &[]),
        (&["-n", "1"], &["1"]),
    ] {
        let listed = answer(&settings, &[&["list"], filter].concat());
        let ids = listed["letters"].as_array().unwrap().iter();
        let ids: Vec<_> = ids.map(|letter| letter["row_id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    let text = done(&settings, &["dlq", "list", "--all-connectors"]);
    assert!(text.contains("6 unresolved letters in topic "), "{text}");
    assert!(text.contains("unknown, not of walpost: 1 unresolved"), "{text}");
    let refused = command(&settings, &["dlq", "list", "--reason", "nonsense"]);
    assert!(refused.stderr.contains("there is no reason or class nonsense"), "{}", refused.stderr);

    let shown = done(&settings, &["dlq", "show", "0:0"]);
    assert!(shown.contains("walpost-error-message: ") && shown.contains("8 bytes"), "{shown}");
    assert!(!shown.contains("nonsense"), "the payload only on request: {shown}");
    let shown = done(&settings, &["dlq", "show", "0:0", "--payload"]);
    assert!(shown.contains("payload     nonsense"), "{shown}");
    let shown = answer(&settings, &["show", "0:0"]);
    assert_eq!((shown.get("value"), &shown["value_bytes"]), (None, &json!(8)));
    assert_eq!(answer(&settings, &["show", "0:0", "--payload"])["value"], "nonsense");
    let gone = command(&settings, &["dlq", "show", "0:999"]);
    assert!(gone.stderr.contains("there is no letter at 0:999"), "{}", gone.stderr);

    left_letters(&database, kafka, (&settings, &topic));
}

/// None of the relay's letters is sent by itself, and the printed replay brings the row that can be
/// brought.
#[track_caller]
fn left_letters(database: &Database, kafka: &Kafka, (settings, topic): (&Settings, &str)) {
    let before = kafka.records(topic).len();
    let plan = answer(settings, &["redrive", "--all", "--yes"]);
    let left: BTreeMap<_, _> = plan["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| (left["cause"].as_str().unwrap(), left["letters"].as_u64().unwrap()))
        .collect();
    assert_eq!(left, [("malformed", 2), ("no_topic", 1), ("payload_left_out", 1)].into());
    assert_eq!(plan["outcome"]["sent"], 0);
    assert_eq!(kafka.records(topic).len(), before);
    let replay = plan["replay"].as_str().unwrap();
    assert_eq!(replay, "walpost replay --id=1 --id=2 --id=3 --id=4 --same-topic");
    let words: Vec<_> = replay.split(' ').skip(1).chain(["--yes"]).collect();
    let printed = done(settings, &words);
    assert!(
        printed.contains("done        1 sent"),
        "the one that is too large for 2 kB: {printed}"
    );
    let orders = kafka.records(&format!("{}.order", database.name()));
    assert_eq!(orders.iter().map(|r| r.header("ce_id").unwrap()).collect::<Vec<_>>(), ["3"]);

    // Malformed letters on purpose, as they are.
    let sent = answer(settings, &["redrive", "0:0", "--malformed", "--yes"]);
    assert_eq!((&sent["letters"], &sent["outcome"]["marked"]), (&json!(1), &json!(1)));
    let orders = kafka.records(&format!("{}.order", database.name()));
    assert_eq!(orders[1].value_text(), "nonsense");
    // The others are done with.
    let marked = answer(settings, &["redrive", "--all", "--resolve-only", "--yes"]);
    assert_eq!((&marked["letters"], &marked["outcome"]["sent"]), (&json!(3), &json!(0)));
    assert_eq!(answer(settings, &["list"])["letters"], json!([]));
    assert_eq!(answer(settings, &["list", "--resolved"])["letters"].as_array().unwrap().len(), 4);
}

#[test]
fn a_letter_that_the_broker_refused_is_redriven_when_the_cause_is_gone_and_counted_before() {
    let (database, kafka) = (Postgres::oldest().database("dlq_again"), Kafka::shared());
    let (_, topic, settings) = named(&database, kafka);
    let orders = format!("{}.order", database.name());
    kafka.make_topic(&orders, 1, &[("max.message.bytes", "2000")]);
    database.execute(
        "create table outbox (id text, aggregatetype text, aggregateid text, type text, payload text, correlation_id text)",
    );
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.execute(
        "insert into outbox select n::text, 'order', 'k', 'Placed',
           case when n in (2, 4) then '\"' || (select string_agg(md5(n || '.' || i), '') from generate_series(1, 200) i) || '\"' else '{}' end, 'c' || n
         from generate_series(1, 5) n",
    );
    kafka.wait_for_records(&topic, 2);
    kafka.wait_for_records(&orders, 3);
    // A letter is stored before the next row is sent, so that no refusal writes it again.
    assert_eq!(kafka.records(&topic).len(), 2);
    // Once in vain, beside the relay.
    let beside = settings.second();
    let vain = command(&beside, &["dlq", "redrive", "--all", "--yes"]);
    assert_eq!(vain.code, 1, "{}{}", vain.stdout, vain.stderr);
    assert!(vain.stdout.contains("refused     0:0: kafka refuses it"), "{}", vain.stdout);
    assert!(vain.stdout.contains("done        0 sent"), "{}", vain.stdout);
    let plan = answer(&beside, &["redrive", "--all", "--max-attempts", "1"]);
    assert_eq!(plan["left"][0]["cause"], "attempts", "{plan}");
    assert_eq!(plan["letters"], 0);

    let bootstrap = kafka.bootstrap();
    kafka.run(&format!(
        "kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {orders} --add-config max.message.bytes=100000"
    ));
    let dry = answer(&beside, &["redrive", "--all"]);
    let act = until("the broker to take both", || {
        let finished = command(
            &beside,
            &["dlq", "redrive", "--all", "--yes", "--max-attempts", "99", "--json"],
        );
        (finished.code == 0).then(|| serde_json::from_str::<Value>(&finished.stdout).unwrap())
    });
    assert_eq!((&dry["letters"], &dry["outcome"]), (&json!(2), &Value::Null));
    assert_eq!(dry["copies"], 0);
    assert_eq!(act["outcome"]["marked"], 2, "{act}");
    assert_eq!(dry["topics"], json!([{"topic": orders, "letters": 2}]));
    assert_eq!(act["letters"], act["outcome"]["sent"]);
    let records = kafka.records(&orders);
    let is_redriven = |record: &&Record| record.header("walpost-redrive-attempts").is_some();
    let redriven: Vec<_> = records.iter().filter(is_redriven).collect();
    let ids: Vec<_> = redriven.iter().map(|record| record.header("ce_id").unwrap()).collect();
    assert_eq!(ids, ["2", "4"], "each once, in order");
    let first = redriven[0];
    assert_eq!((first.key_text(), first.header("ce_correlationid")), ("k", Some("c2")));
    assert_eq!(first.header("walpost-redrive-attempts"), Some("1"));
    let mut names: Vec<_> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| *name != "walpost-redrive-attempts");
    let own: Vec<_> = records[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, own, "the event's own headers and no other");
    assert_eq!(answer(&beside, &["redrive", "--all", "--yes"])["resolved_before"], 2);
    assert_eq!(kafka.records(&orders).len(), records.len(), "what is marked is not sent again");
    // The relay went its way.
    database.execute("insert into outbox values ('6', 'order', 'k', 'Placed', '{}')");
    let now = kafka.wait_for_records(&orders, records.len() + 1);
    assert_eq!(now.last().unwrap().header("ce_id"), Some("6"));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
}

#[test]
fn a_redrive_that_is_killed_at_random_repeats_no_more_than_its_window() {
    const LETTERS: u64 = 1_500;
    let (database, kafka) = (Postgres::newest().database("dlq_kill"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let target = format!("{}.order", database.name());
    kafka.make_topic(&topic, 3, &[]);
    kafka.make_topic(&target, 3, &[]);
    let letters = (0..LETTERS).map(|n| (n, letter(n, &connector, &target, "unknown_topic")));
    write_letters(kafka, &topic, 3, letters);
    let arguments = ["dlq", "redrive", "--all", "--yes"];
    let (mut kills, mut seed) = (0_u64, u64::from(std::process::id()));
    loop {
        let before = kafka.records(&target).len();
        let mut redrive = settings.clone().arguments(&arguments).start();
        if kills == 4 {
            assert_eq!(redrive.wait(), 0, "{}", redrive.log());
            break;
        }
        // Once it has begun to send, at any moment.
        until("the first of them", || {
            (kafka.records(&target).len() > before || !redrive.is_running()).then_some(())
        });
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(seed >> 33 & 0x3FFF));
        redrive.kill();
        kills += 1;
    }
    let records = kafka.records(&target);
    let mut times = BTreeMap::new();
    for record in &records {
        *times.entry(record.header("ce_id").unwrap().parse::<u64>().unwrap()).or_insert(0_u64) += 1;
    }
    assert_eq!(times.keys().copied().collect::<BTreeSet<_>>(), (0..LETTERS).collect());
    let repeats = u64::try_from(records.len()).unwrap() - LETTERS;
    assert!(repeats <= 100 * kills, "{repeats} repeats after {kills} kills");
    // First deliveries of one key are in order.
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    for record in &records {
        let n: u64 = record.header("ce_id").unwrap().parse().unwrap();
        assert_eq!(record.header("ce_correlationid"), Some(format!("c{n}").as_str()));
        assert_eq!(record.value_json()["n"], n);
        if seen.insert(n) {
            let before = last.insert(record.key_text().to_owned(), n);
            assert!(before < Some(n), "{before:?} before {n}");
        }
    }
    let listed = answer(&settings, &["list"]);
    assert_eq!(listed["counts"][0]["unresolved"], 0);
    assert_eq!(listed["counts"][0]["resolved"], LETTERS);
    figure(&format!("a redrive of {LETTERS} letters was killed {kills} times; {repeats} repeats"));

    // And all of them, with their markers, can go.
    let purged = answer(&settings, &["purge", "--yes"]);
    assert_eq!((&purged["removed"], &purged["unresolved"]), (&json!(LETTERS), &json!(0)));
    assert_eq!(kafka.records(&topic), []);
}

#[test]
fn a_redrive_that_cannot_mark_has_sent_one_window() {
    let (database, kafka) = (Postgres::newest().database("dlq_mark"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let target = format!("{}.order", database.name());
    let letters = (0..250).map(|n| (n, letter(n, &connector, &target, "unknown_topic")));
    write_letters(kafka, &topic, 1, letters);
    let limit = |bytes: u32| {
        let bootstrap = kafka.bootstrap();
        kafka.run(&format!(
            "kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} --add-config max.message.bytes={bytes}"
        ));
    };
    limit(60);
    let stopped = command(&settings, &["dlq", "redrive", "--all", "--yes"]);
    assert_eq!(stopped.code, 1, "{}", stopped.stdout);
    assert!(stopped.stderr.contains("max.message.bytes"), "{}", stopped.stderr);
    assert_eq!(kafka.records(&target).len(), 100);
    assert_eq!(kafka.records(&topic).len(), 250, "no marker");
    limit(1_000_000);
    let act = until("the markers to be taken", || {
        let finished = command(&settings, &["dlq", "redrive", "--all", "--yes", "--json"]);
        (finished.code == 0).then(|| serde_json::from_str::<Value>(&finished.stdout).unwrap())
    });
    assert_eq!(act["left"], json!([]));
    let ids: BTreeSet<_> = kafka
        .records(&target)
        .iter()
        .map(|record| record.header("ce_id").unwrap().parse::<u64>().unwrap())
        .collect();
    assert_eq!(ids, (0..250).collect());
    assert_eq!(answer(&settings, &["list"])["counts"][0]["unresolved"], 0);
}

#[test]
fn a_row_with_several_letters_is_redriven_once() {
    let (database, kafka) = (Postgres::newest().database("dlq_copy"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let target = format!("{}.order", database.name());
    let at = |n: u64, position: &str| {
        let mut headers = letter(n, &connector, &target, "unknown_topic");
        headers.push(("walpost-position".to_owned(), position.to_owned()));
        (n, headers)
    };
    let letters =
        [at(1, "0/10+0"), at(2, "0/10+1"), at(1, "0/10+0"), at(3, "0/10+0"), at(1, "0/10+0")];
    write_letters(kafka, &topic, 1, letters.into_iter());
    let listed = answer(&settings, &["list"]);
    let copies = listed["letters"].as_array().unwrap().iter();
    let copies: Vec<_> = copies.map(|letter| letter["copy_of"].as_str()).collect();
    // Another id at the same place is another row: of a database that took this one's place.
    assert_eq!(copies, [None, None, Some("0:0"), None, Some("0:0")]);
    let dry = answer(&settings, &["redrive", "--all"]);
    assert_eq!((&dry["letters"], &dry["copies"]), (&json!(3), &json!(2)));
    assert_eq!(answer(&settings, &["redrive", "0:2", "--yes"])["letters"], 0, "a copy alone");
    let act = answer(&settings, &["redrive", "--all", "--yes"]);
    assert_eq!((&act["outcome"]["sent"], &act["outcome"]["marked"]), (&json!(3), &json!(5)));
    // A relay that stood still comes with one more.
    write_letters(kafka, &topic, 1, [at(1, "0/10+0")].into_iter());
    let late = answer(&settings, &["redrive", "--all", "--yes"]);
    assert_eq!((&late["outcome"]["sent"], &late["outcome"]["marked"]), (&json!(0), &json!(1)));
    let sent = kafka.records(&target);
    let ids: Vec<_> = sent.iter().map(|record| record.header("ce_id").unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(answer(&settings, &["purge", "--yes"])["removed"], 6);
}

#[test]
fn loops_are_refused() {
    let (database, kafka) = (Postgres::newest().database("dlq_loop"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let target = format!("{}.order", database.name());
    let with_attempts = |n: u64, attempts: &str| {
        let mut headers = letter(n, &connector, &target, "schema_mismatch");
        headers.push(("walpost-redrive-attempts".to_owned(), attempts.to_owned()));
        headers
    };
    let letters = [
        (1, letter(1, &connector, &topic, "unknown_topic")),
        (2, letter(2, &connector, &format!("walpost.checkpoint.{connector}"), "unknown_topic")),
        (3, with_attempts(3, "3")),
        (4, with_attempts(4, "2")),
        (5, letter(5, &connector, "__consumer_offsets", "unknown_topic")),
    ];
    write_letters(kafka, &topic, 1, letters.into_iter());
    let said = done(&settings, &["dlq", "redrive", "--all", "--yes"]);
    assert!(said.contains("2 letters (0:0, 0:1), loop: "), "{said}");
    assert!(said.contains("1 letter (0:2), attempts: "), "{said}");
    assert!(said.contains("1 letter (0:4), no_topic: "), "{said}");
    let records = kafka.records(&target);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].header("walpost-redrive-attempts"), Some("3"));
    let missing = done(&settings, &["dlq", "redrive", "0:77"]);
    assert!(missing.contains("1 letter (0:77), not_found: "), "{missing}");
}

#[test]
fn a_purge_stops_at_the_first_letter_that_is_not_resolved_and_at_other_connectors() {
    let (database, kafka) = (Postgres::newest().database("dlq_purge"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let target = format!("{}.order", database.name());
    let of = |n: u64, connector: &str| (n, letter(n, connector, &target, "unknown_topic"));
    let letters = [
        of(0, &connector),
        of(1, &connector),
        of(2, "another"),
        of(3, &connector),
        of(4, &connector),
    ];
    write_letters(kafka, &topic, 1, letters.into_iter());
    let removed = |arguments: &[&str]| {
        let answer = answer(&settings, &[&["purge"], arguments].concat());
        (answer["letters"].as_u64().unwrap(), answer["removed"].as_u64())
    };
    assert_eq!(removed(&["--yes"]), (0, Some(0)), "nothing is resolved");
    done(&settings, &["dlq", "redrive", "0:0", "0:1", "0:3", "--yes"]);
    assert_eq!(removed(&[]), (2, None), "a dry run");
    assert_eq!(kafka.records(&topic).len(), 8);
    let said = done(&settings, &["dlq", "purge"]);
    assert!(
        said.contains("stops at 0:2, an unresolved letter, unknown_topic of another"),
        "{said}"
    );
    assert!(said.contains("remain      2 unresolved letters"), "{said}");
    assert_eq!(removed(&["--yes"]), (2, Some(2)));
    assert_eq!(kafka.records(&topic)[0].offset, 2);
    // The markers of 0 and 1 are still there, and name letters that are gone.
    assert_eq!(answer(&settings, &["list"])["counts"][0]["unresolved"], 1);

    done(&settings, &["dlq", "redrive", "0:2", "--all-connectors", "--yes"]);
    assert_eq!(removed(&["--yes"]), (0, Some(0)), "another connector's letter, resolved");
    assert_eq!(removed(&["--all-connectors", "--yes"]), (2, Some(2)));
    assert_eq!(kafka.records(&topic)[0].offset, 4);
    done(&settings, &["dlq", "redrive", "--all", "--yes"]);
    assert_eq!(removed(&["--yes"]), (1, Some(1)));
    assert_eq!(kafka.records(&topic), []);
    assert_eq!(kafka.records(&target).len(), 5);
}

#[test]
fn a_marker_in_another_partition_outlives_its_letter() {
    let (database, kafka) = (Postgres::newest().database("dlq_parts"), Kafka::shared());
    let (connector, topic, settings) = named(&database, kafka);
    let target = format!("{}.order", database.name());
    kafka.make_topic(&topic, 2, &[]);
    // All of one key in partition 0, where only one of the two keys' markers go by themselves.
    let letters = (0..8_u64).map(|n| (n, letter(n, &connector, &target, "unknown_topic")));
    write_letters(kafka, &topic, 1, letters);
    let behind: Vec<_> = (1..8).map(|n| format!("0:{n}")).collect();
    let behind: Vec<_> = behind.iter().map(String::as_str).collect();
    done(&settings, &[&["dlq", "redrive", "--yes"], &behind[..]].concat());
    let markers = kafka.records(&topic);
    let elsewhere = markers.iter().filter(|record| record.partition == 1).count();
    assert!(elsewhere > 0, "some markers are in the other partition: {markers:?}");
    let said = done(&settings, &["dlq", "purge", "--yes"]);
    assert!(said.contains("the marker of a letter that stays in another partition"), "{said}");
    assert_eq!(kafka.records(&topic).len(), markers.len(), "0:0 is not resolved, so all stay");
    assert_eq!(answer(&settings, &["list"])["counts"][0]["unresolved"], 1);
    done(&settings, &["dlq", "redrive", "--all", "--yes"]);
    done(&settings, &["dlq", "purge", "--yes"]);
    assert_eq!(kafka.records(&topic), []);
    assert_eq!(kafka.records(&target).len(), 8);
}

#[test]
fn the_help_of_each_command_says_what_it_does_and_a_wrong_command_line_is_refused() {
    for (command, words) in [
        ("list", &["--reason", "--key", "--since", "--until", "--topic", "--all-connectors"][..]),
        ("show", &["PARTITION:OFFSET", "--payload"]),
        ("redrive", &["--yes", "--dry-run", "--max-attempts", "--malformed", "--resolve-only"]),
        ("purge", &["--yes", "--dry-run", "--all-connectors"]),
    ] {
        let help = Settings::none().arguments(&["dlq", command, "--help"]).run();
        assert_eq!(help.code, 0);
        for word in words.iter().chain(&["--json"]) {
            assert!(help.stdout.contains(word), "{command} {word}: {}", help.stdout);
        }
    }
    for arguments in [
        &["dlq"][..],
        &["dlq", "redrive", "--yes"],
        &["dlq", "redrive", "--all", "--yes", "--dry-run"],
        &["dlq", "show", "17"],
        &["dlq", "purge", "--all"],
    ] {
        let refused = Settings::none().arguments(arguments).run();
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.stderr);
    }
}
