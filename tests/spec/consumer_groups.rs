//! Goal: how far consumers are behind is seen where the relay is seen, and never disturbs it.
//! Method: real consumers of real groups that lag, catch up, join, leave, or were never there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Settings, until};

pub(crate) mod member;
mod three_brokers;

use self::member::Member;

/// A walpost that looks at one group, the topic of its outbox, and the group.
#[track_caller]
fn watching(database: &Database, kafka: &Kafka) -> (Walpost, String, String) {
    database.create_outbox();
    let (topic, group) = (format!("{}.order", database.name()), format!("{}.g", database.name()));
    kafka.make_topic(&topic, 1, &[]);
    let mut walpost = Settings::new(database, kafka).env("WALPOST_CONSUMER_GROUPS", &group).start();
    walpost.wait_until_ready();
    (walpost, topic, group)
}

/// A number of a group, and of its topic where one is named.
fn number(walpost: &Walpost, name: &str, group: &str, topic: Option<&str>) -> Option<f64> {
    let labels = [("group", group), ("topic", topic.unwrap_or_default())];
    let labels = if topic.is_some() { &labels[..] } else { &labels[..1] };
    walpost.metrics().get(&format!("walpost_consumer_group_{name}"), labels)
}

/// What `/status.json` says of a group.
fn shown(walpost: &Walpost, group: &str) -> Value {
    let status = walpost.get("/status.json").json();
    let groups = status["consumer_groups"].as_array().unwrap();
    groups.iter().find(|shown| shown["group"] == group).unwrap().clone()
}

#[test]
fn a_group_is_seen_to_lag_to_catch_up_to_share_out_and_to_leave() {
    let (database, kafka) = (Postgres::newest().database("watched"), Kafka::shared());
    database.create_outbox();
    let (topic, other) = (format!("{}.order", database.name()), format!("{}x", database.name()));
    let (group, missing) =
        (format!("{}.billing", database.name()), format!("{}.nobody", database.name()));
    kafka.make_topic(&topic, 1, &[]);
    kafka.make_topic(&other, 1, &[]);
    let groups = format!("{group}, {missing}");
    let mut walpost =
        Settings::new(&database, kafka).env("WALPOST_CONSUMER_GROUPS", groups).start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 20, 20);
    kafka.wait_for_records(&topic, 20);
    let get = |name: &str| number(&walpost, name, &group, Some(&topic));

    // A topic that is not this connector's is not its business.
    kafka.write(&other, Some(b"k"), Some(b"v"));
    let elsewhere = Member::join(kafka, &group, &other);
    elsewhere.read(1);
    drop(elsewhere);
    let first = Member::join(kafka, &group, &topic);
    first.read(5);
    until("15 records that were not read", || (get("lag") == Some(15.0)).then_some(()));
    let age = get("lag_seconds").unwrap();
    until("records that get older", || (get("lag_seconds")? > age + 3.0).then_some(()));
    assert_eq!(number(&walpost, "members", &group, None), Some(1.0));
    assert_eq!(number(&walpost, "lag", &group, Some(&other)), None);

    first.read(15);
    until("a group that has read all", || {
        (get("lag") == Some(0.0) && get("lag_seconds") == Some(0.0)).then_some(())
    });
    let before = number(&walpost, "rebalances_total", &group, None).unwrap();
    let second = Member::join(kafka, &group, &topic);
    until("two members", || {
        first.attend();
        second.attend();
        (number(&walpost, "members", &group, None) == Some(2.0)).then_some(())
    });
    until("a rebalance", || {
        (number(&walpost, "rebalances_total", &group, None)? > before).then_some(())
    });
    drop((first, second));
    until("nobody", || (number(&walpost, "members", &group, None) == Some(0.0)).then_some(()));

    let status = shown(&walpost, &group);
    assert_eq!(status["topics"][0]["topic"], topic);
    assert_eq!(status["topics"].as_array().unwrap().len(), 1, "{status:#}");
    assert_eq!((&status["state"], &status["trouble"]), (&"Empty".into(), &Value::Null));
    let nobody = shown(&walpost, &missing);
    assert_eq!((&nobody["members"], &nobody["state"]), (&0.into(), &"Dead".into()));
    assert_eq!(number(&walpost, "members", &missing, None), Some(0.0));
    let page = walpost.get("/").body;
    assert!(page.contains(&group) && page.contains(&missing), "{page}");
    assert!(page.contains(&format!("no consumer of group {missing} was ever here")), "{page}");
}

#[test]
fn what_lay_unread_before_the_relay_started_is_as_old_as_its_records() {
    let (database, kafka) = (Postgres::newest().database("unread_old"), Kafka::shared());
    database.create_outbox();
    let (topic, group) = (format!("{}.order", database.name()), format!("{}.g", database.name()));
    kafka.make_topic(&topic, 1, &[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    const HOUR: u64 = 3_600;
    for hours in [9, 3, 3, 1] {
        let at = i64::try_from((now - Duration::from_secs(hours * HOUR)).as_millis()).unwrap();
        producer.send(BaseRecord::to(&topic).key("k").payload("v").timestamp(at)).unwrap();
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    let reading = Member::join(kafka, &group, &topic);
    reading.read(1);
    let mut walpost =
        Settings::new(&database, kafka).env("WALPOST_CONSUMER_GROUPS", &group).start();
    walpost.wait_until_ready();
    let age = |walpost: &Walpost| number(walpost, "lag_seconds", &group, Some(&topic));
    let hours = until("the age of what is unread", || age(&walpost)) / 3_600.0;
    assert!((2.9..3.2).contains(&hours), "{hours}");
    assert_eq!(number(&walpost, "lag", &group, Some(&topic)), Some(3.0));
    reading.read(2);
    // The brokers are asked once, about the record at which the group stood: of those after it, it is
    // known which one was the first at the moments asked for, here 27 minutes and 2.8 hours ago. The
    // older one counts.
    until("the last record to be younger", || (age(&walpost)? / 3_600.0 < 2.9).then_some(()));
    assert_eq!(number(&walpost, "lag", &group, Some(&topic)), Some(1.0));
    assert!(age(&walpost).unwrap() / 3_600.0 > 0.9);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
}

#[test]
fn a_frozen_kafka_is_named_and_the_relay_goes_on_as_soon_as_it_answers() {
    let (database, kafka) = (Postgres::newest().database("frozen_groups"), Kafka::start());
    let (mut walpost, topic, group) = watching(&database, &kafka);
    database.insert_rows("order", 1, 5, 1);
    let reading = Member::join(&kafka, &group, &topic);
    reading.read(2);
    until("a lag of 3", || {
        (number(&walpost, "lag", &group, Some(&topic)) == Some(3.0)).then_some(())
    });
    kafka.freeze();
    database.insert_rows("order", 6, 5, 1);
    until("trouble with the group", || {
        let trouble = shown(&walpost, &group)["trouble"].as_str()?.to_owned();
        trouble.contains("Kafka did not answer").then_some(())
    });
    assert_eq!(walpost.get("/livez").status, 200);
    assert!(walpost.get("/").body.contains("Consumer groups"));
    kafka.thaw();
    kafka.wait_for_records(&topic, 10);
    until("a lag of 8, and no trouble", || {
        let lag = number(&walpost, "lag", &group, Some(&topic));
        (lag == Some(8.0) && shown(&walpost, &group)["trouble"].is_null()).then_some(())
    });
    walpost.wait_for_line("a consumer group can be looked at again");
    // A stop does not wait for a question that nobody answers.
    kafka.freeze();
    until("trouble with the group again", || {
        shown(&walpost, &group)["trouble"].is_string().then_some(())
    });
    walpost.terminate();
    walpost.wait_for(Duration::from_secs(60));
    kafka.thaw();
}

/// librdkafka ends the process over a question for a group's coordinator that has ended without an answer,
/// when the coordinator is there again, unless the broker to ask was named.
#[test]
fn kafka_may_be_away_for_longer_than_a_question_for_a_group_waits() {
    let (database, kafka) = (Postgres::newest().database("groups_away"), Kafka::start());
    let (mut walpost, topic, group) = watching(&database, &kafka);
    let well = || {
        until("the group to be looked at", || {
            let shown = shown(&walpost, &group);
            (shown["trouble"].is_null() && shown["state"].is_string()).then_some(())
        });
    };
    for away in 0..2 {
        well();
        kafka.kill();
        until("a question that ends without an answer", || {
            let log = walpost.log();
            (log.matches("a consumer group cannot be looked at").count() > away).then_some(())
        });
        kafka.start_again();
        database.insert_rows("order", 1 + 5 * u32::try_from(away).unwrap(), 5, 1);
        kafka.wait_for_records(&topic, 5 * (away + 1));
    }
    well();
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
}
