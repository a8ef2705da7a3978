//! Goal: a broker's refusal costs exactly the rows that it would not take, and no others.
//! Method: topics with small limits, limits changed under way, and records that brokers refuse; every
//! record of the topics is read, so that repeats are counted too.

use crate::servers::walpost::Walpost;
use crate::servers::{
    Database, Kafka, PATIENCE, Postgres, Record, Settings, figure, until, within,
};

const TABLE: &str = "create table outbox (id text, aggregatetype text, aggregateid text, type text,
    payload text)";

/// A JSON string of `bytes` bytes that lz4 does not make smaller, other ones for each `n`.
fn noise(bytes: u32) -> String {
    format!(
        "(select '\"' || left(string_agg(md5(n::text || '-' || i), ''), {bytes} - 2) || '\"'
          from generate_series(1, {bytes} / 32 + 1) as i)"
    )
}

/// Rows `from` to `to` in one transaction; `topic` and `payload` are SQL that may use `n`.
#[track_caller]
fn insert(database: &Database, (from, to): (u32, u32), topic: &str, payload: &str) {
    database.execute(&format!(
        "insert into outbox select n::text, {topic}, 'k', 'Placed', {payload}
         from generate_series({from}, {to}) as n"
    ));
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.header("ce_id").unwrap()).collect()
}

/// Waits for the record of row `last`, and returns all of the topic.
#[track_caller]
fn records_up_to(kafka: &Kafka, topic: &str, last: u32) -> Vec<Record> {
    let last = last.to_string();
    until(&format!("row {last} in {topic}"), || {
        let records = kafka.records(topic);
        ids(&records).contains(&last.as_str()).then_some(records)
    })
}

/// The first deliveries are rows `expected` in order; answers how many records are repeats.
#[track_caller]
fn check(records: &[Record], expected: impl IntoIterator<Item = u32>) -> usize {
    let mut first = Vec::new();
    for id in ids(records) {
        if !first.contains(&id) {
            first.push(id);
        }
    }
    let expected: Vec<_> = expected.into_iter().map(|n| n.to_string()).collect();
    assert_eq!(first, expected);
    records.len() - first.len()
}

#[track_caller]
fn letter_of(letters: &[Record], row: &str, reason: &str) {
    let [letter] = letters else { panic!("{letters:#?}") };
    assert_eq!(letter.header("walpost-row-id"), Some(row));
    assert_eq!(letter.header("walpost-error-reason"), Some(reason));
}

#[track_caller]
fn start(database: &Database, kafka: &Kafka) -> Walpost {
    let mut walpost = Settings::new(database, kafka).start();
    walpost.wait_until_ready();
    walpost
}

#[test]
fn many_rows_fit_into_a_topic_whose_limit_is_below_a_batch() {
    let (database, kafka) = (Postgres::newest().database("fits"), Kafka::shared());
    let name = database.name();
    let topic = format!("{name}.order");
    database.execute(TABLE);
    kafka.make_topic(&topic, 1, &[("max.message.bytes", "100000")]);
    let mut walpost = start(&database, kafka);
    insert(&database, (1, 1000), "'order'", &noise(5_000));
    assert_eq!(check(&records_up_to(kafka, &topic, 1000), 1..=1000), 0, "nothing is repeated");
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);
    assert_eq!(walpost.metrics().sum("walpost_produce_errors_total", &[]), 0.0);

    // A row that no batch of this topic can hold, in the middle of others.
    let payload = format!("case when n = 1500 then {} else {} end", noise(150_000), noise(5_000));
    insert(&database, (1001, 2000), "'order'", &payload);
    let letters = kafka.wait_for_records(&format!("{name}.dlq"), 1);
    let records = records_up_to(kafka, &topic, 2000);
    assert_eq!(check(&records, (1..=2000).filter(|n| *n != 1500)), 0, "nothing is repeated");
    letter_of(&letters, "1500", "refused_by_broker");
    assert_eq!(letters[0].value_text().len(), 150_000);
    // A clean stop, and another process that finds the limit anew, repeat nothing either.
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    insert(&database, (2001, 2100), "'order'", &noise(5_000));
    let _walpost = start(&database, kafka);
    let records = records_up_to(kafka, &topic, 2100);
    assert_eq!(check(&records, (1..=2100).filter(|n| *n != 1500)), 0, "nothing is repeated");
    assert_eq!(kafka.records(&format!("{name}.dlq")).len(), 1);
}

/// The broker counts compressed bytes, so only it can say.
#[test]
fn a_row_over_the_limit_that_compresses_below_it_is_an_event() {
    let (database, kafka) = (Postgres::oldest().database("shrinks"), Kafka::shared());
    let name = database.name();
    let topic = format!("{name}.order");
    database.execute(TABLE);
    kafka.make_topic(&topic, 1, &[("max.message.bytes", "20000")]);
    let _walpost = start(&database, kafka);
    let payload = "case when n % 10 = 5 then '\"' || repeat('x', 500000) || '\"' else '{}' end";
    insert(&database, (1, 100), "'order'", payload);
    assert_eq!(check(&records_up_to(kafka, &topic, 100), 1..=100), 0);
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);
}

#[test]
fn topics_of_several_limits_get_their_rows_without_a_repeat() {
    let (database, kafka) = (Postgres::newest().database("several"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    for (topic, limit) in [("a", "200000"), ("b", "1000000"), ("c", "50000"), ("d", "20000")] {
        kafka.make_topic(&format!("{name}.{topic}"), 1, &[("max.message.bytes", limit)]);
    }
    let walpost = start(&database, kafka);
    insert(&database, (1, 2000), "chr(97 + n % 4)", &noise(5_000));
    for (rest, topic) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let rows = (1..=2000).filter(|n| *n as usize % 4 == rest);
        let last = rows.clone().max().unwrap();
        let records = records_up_to(kafka, &format!("{name}.{topic}"), last);
        assert_eq!(check(&records, rows), 0, "{topic}");
    }
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);
    assert_eq!(walpost.metrics().sum("walpost_produce_errors_total", &[]), 0.0);
}

#[test]
fn a_limit_may_be_lowered_and_raised_under_way() {
    let (database, kafka) = (Postgres::newest().database("changed"), Kafka::shared());
    let name = database.name();
    let topic = format!("{name}.order");
    database.execute(TABLE);
    kafka.make_topic(&topic, 1, &[]);
    let walpost = start(&database, kafka);
    insert(&database, (1, 500), "'order'", &noise(5_000));
    assert_eq!(check(&records_up_to(kafka, &topic, 500), 1..=500), 0);

    kafka.configure_topic(&topic, &[("max.message.bytes", "40000")]);
    insert(&database, (501, 2500), "'order'", &noise(5_000));
    let repeats = check(&records_up_to(kafka, &topic, 2500), 1..=2500);
    let errors = walpost.metrics().sum("walpost_produce_errors_total", &[]);
    figure(&format!("a limit lowered under way: {repeats} repeats of 2,500 rows"));
    // 16 MiB in flight, of which a refused batch leaves nothing behind.
    assert!(errors > 0.0 && repeats <= 2000, "{errors} errors, {repeats} repeats");
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);

    insert(&database, (2501, 2501), "'order'", &noise(100_000));
    letter_of(&kafka.wait_for_records(&format!("{name}.dlq"), 1), "2501", "refused_by_broker");
    kafka.configure_topic(&topic, &[("max.message.bytes", "1000000")]);
    insert(&database, (2502, 2502), "'order'", &noise(100_000));
    insert(&database, (2503, 2600), "'order'", &noise(5_000));
    let rows = (1..=2600).filter(|n| *n != 2501);
    assert_eq!(check(&records_up_to(kafka, &topic, 2600), rows), repeats, "no more repeats");
    assert_eq!(kafka.records(&format!("{name}.dlq")).len(), 1);
}

/// A refusal that has nothing to do with size: Kafka wants a key in a compacted topic.
#[test]
fn rows_without_a_key_for_a_compacted_topic_are_found_among_others() {
    let (database, kafka) = (Postgres::oldest().database("keyless"), Kafka::shared());
    let name = database.name();
    let topic = format!("{name}.order");
    database.execute(TABLE);
    kafka.make_topic(&topic, 1, &[("cleanup.policy", "compact")]);
    let _walpost = start(&database, kafka);
    database.execute(
        "insert into outbox select n::text, 'order', case when n not in (700, 705) then 'k' end,
             'Placed', '{}' from generate_series(1, 1000) as n",
    );
    let records = records_up_to(kafka, &topic, 1000);
    let repeats = check(&records, (1..=1000).filter(|n| ![700, 705].contains(n)));
    figure(&format!("two rows without a key: {repeats} repeats of 1,000 rows"));
    // The batch of the first is where it begins again; the second repeats nothing, and no letter.
    let from_there = ids(&records).into_iter().filter(|id| id.parse::<u32>().unwrap() > 700);
    assert_eq!(from_there.count(), 299);
    let letters = kafka.records(&format!("{name}.dlq"));
    assert_eq!(letters.len(), 2, "{letters:#?}");
    for (letter, row) in letters.chunks(1).zip(["700", "705"]) {
        letter_of(letter, row, "refused_by_broker");
        assert_eq!(letter[0].value_text(), "{}");
    }
}

/// What was refused with others was never committed.
#[test]
fn in_exactly_once_a_refusal_repeats_no_committed_row_and_no_letter() {
    let (database, kafka) = (Postgres::newest().database("once_limits"), Kafka::shared());
    let name = database.name();
    let topic = |topic: &str| format!("{name}.{topic}");
    database.execute(TABLE);
    let limit = ("max.message.bytes", "100000");
    kafka.make_topic(&topic("order"), 1, &[("cleanup.policy", "compact"), limit]);
    kafka.make_topic(&topic("small"), 1, &[("max.message.bytes", "20000")]);
    let settings = Settings::new(&database, kafka).env("WALPOST_DELIVERY", "exactly-once");
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let bad = [60, 65, 150];
    database.execute(&format!(
        "insert into outbox select n::text, 'order', case when n not in (60, 65) then 'k' end,
             'Placed', case when n = 150 then {} else '{{}}' end from generate_series(1, 200) as n",
        noise(150_000)
    ));
    let committed = |name: &str, last: u32| {
        let last = last.to_string();
        until(&format!("row {last} in {name}"), || {
            let records = kafka.committed_records(&topic(name));
            ids(&records).contains(&last.as_str()).then_some(records)
        })
    };
    let good = || (1..=200).filter(|n| !bad.contains(n));
    assert_eq!(check(&committed("order", 200), good()), 0);
    // A smaller limit, met while rows of another topic are in an open transaction.
    insert(
        &database,
        (201, 600),
        "case when n % 2 = 0 then 'order' else 'small' end",
        &noise(5_000),
    );
    let odd = (201..=600).filter(|n| n % 2 == 1);
    assert_eq!(check(&committed("small", 599), odd), 0);
    let even = || (201..=600).filter(|n| n % 2 == 0);
    assert_eq!(check(&committed("order", 600), good().chain(even())), 0);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    insert(&database, (601, 601), "'order'", "'{}'");
    let _walpost = settings.start();
    assert_eq!(check(&committed("order", 601), good().chain(even()).chain([601])), 0);
    let letters = kafka.committed_records(&topic("dlq"));
    let rows: Vec<_> =
        letters.iter().map(|letter| letter.header("walpost-row-id").unwrap()).collect();
    assert_eq!(rows, ["60", "65", "150"]);
}

/// Nothing of a snapshot is stored, so what was sent of it before the limit was read comes again.
#[test]
fn a_smaller_limit_that_is_met_inside_a_snapshot_begins_it_again_once() {
    let (database, kafka) = (Postgres::newest().database("snapshot_small"), Kafka::shared());
    let name = database.name();
    database.execute(TABLE);
    let (large, small) = (format!("{name}.large"), format!("{name}.small"));
    kafka.make_topic(&large, 1, &[]);
    kafka.make_topic(&small, 1, &[("max.message.bytes", "20000")]);
    insert(
        &database,
        (1, 2000),
        "case when n <= 1000 then 'large' else 'small' end",
        &noise(5_000),
    );
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_for_state("streaming");
    assert_eq!(check(&records_up_to(kafka, &small, 2000), 1001..=2000), 0);
    let repeats = check(&records_up_to(kafka, &large, 1000), 1..=1000);
    figure(&format!(
        "a smaller limit inside a snapshot: {repeats} repeats of 1,000 rows before it"
    ));
    assert!(repeats <= 1000, "{repeats} repeats");
    assert_eq!(walpost.metrics().sum("walpost_produce_errors_total", &[]), 0.0);
    insert(&database, (2001, 2100), "'small'", &noise(5_000));
    assert_eq!(check(&records_up_to(kafka, &small, 2100), 1001..=2100), 0);
    assert_eq!(kafka.records(&format!("{name}.dlq")), []);
}

/// A broker at which a topic with rules is for those that the rules name.
fn guarded() -> Kafka {
    Kafka::start_with(&[
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
    ])
}

#[track_caller]
fn rule(kafka: &Kafka, verb: &str, topic: &str, operations: &[&str]) {
    let operations: String =
        operations.iter().map(|operation| format!(" --operation {operation}")).collect();
    let force = if verb == "remove" { " --force" } else { "" };
    kafka.run(&format!(
        "kafka-acls.sh --bootstrap-server {} --{verb} --topic {topic} --allow-principal User:ANONYMOUS{operations}{force}",
        kafka.bootstrap(),
    ));
}

#[test]
fn a_limit_that_may_not_be_read_is_found_by_refusals_that_come_to_an_end() {
    let (database, kafka) = (Postgres::newest().database("unread"), guarded());
    let name = database.name();
    let (topic, dlq) = (format!("{name}.order"), format!("{name}.dlq"));
    database.execute(TABLE);
    kafka.make_topic(&topic, 1, &[("max.message.bytes", "100000")]);
    kafka.make_topic(&dlq, 1, &[("max.message.bytes", "50000")]);
    rule(&kafka, "add", &topic, &["Write", "Describe", "Read"]);
    rule(&kafka, "add", &dlq, &["Write", "Describe", "Read"]);
    let walpost = start(&database, &kafka);
    let payload = format!("case when n = 500 then {} else {} end", noise(150_000), noise(5_000));
    insert(&database, (1, 1000), "'order'", &payload);
    let letters = kafka.wait_for_records(&dlq, 1);
    let records = records_up_to(&kafka, &topic, 1000);
    let repeats = check(&records, (1..=1000).filter(|n| *n != 500));
    let generations = walpost.metrics().get("walpost_producer_generation", &[]).unwrap();
    figure(&format!(
        "a limit not to be read: {repeats} repeats of 1,000 rows, {generations} generations"
    ));
    // The letter was too large for its topic as well, so it has no payload.
    letter_of(&letters, "500", "refused_by_broker");
    assert_eq!(letters[0].value, None);
    assert_eq!(letters[0].header("walpost-payload-bytes"), Some("150000"));
    // What was learned stays: the next rows are not refused.
    insert(&database, (1001, 2000), "'order'", &noise(5_000));
    let rows = (1..=2000).filter(|n| *n != 500);
    assert_eq!(check(&records_up_to(&kafka, &topic, 2000), rows), repeats);
    let now = walpost.metrics().get("walpost_producer_generation", &[]).unwrap();
    assert!(now - generations < 0.5, "{generations} generations, then {now}");
}

#[test]
fn a_dead_letter_that_may_not_be_written_halts_and_keeps_the_slot_until_it_may() {
    let (database, kafka) = (Postgres::newest().database("forbidden"), guarded());
    let name = database.name();
    let (topic, dlq) = (format!("{name}.order"), format!("{name}.dlq"));
    database.execute(TABLE);
    kafka.make_topic(&topic, 1, &[]);
    kafka.make_topic(&dlq, 1, &[]);
    rule(&kafka, "add", &dlq, &["Describe", "Read"]);
    let walpost = start(&database, &kafka);
    let payload = "case when n = 50 then 'nonsense' else '{}' end";
    insert(&database, (1, 100), "'order'", payload);
    let halt = until("the halt", || {
        let status = walpost.try_get("/status.json")?.json();
        (status["halt"]["code"] == "dead_letter_failed").then(|| status["halt"].clone())
    });
    assert_eq!(halt["resumes_by_itself"], true);
    assert!(halt["message"].as_str().unwrap().contains(&dlq), "{halt}");
    let holders = format!("select active from pg_replication_slots where slot_name = '{name}'");
    let kept = within(PATIENCE, || (database.value(&holders) == "t").then_some(()));
    assert!(kept.is_some(), "this halt keeps the slot");
    rule(&kafka, "add", &dlq, &["Write"]);
    letter_of(&kafka.wait_for_records(&dlq, 1), "50", "invalid_json");
    let records = records_up_to(&kafka, &topic, 100);
    let repeats = check(&records, (1..=100).filter(|n| *n != 50));
    figure(&format!("a dead letter that may not be written: {repeats} repeats of 100 rows"));
}
