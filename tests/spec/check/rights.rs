//! Rights that walpost's Kafka user does not have, one at a time.

use serde_json::Value;

use super::{Checked, check, outbox, remedy};
use crate::servers::{Kafka, PATIENCE, Postgres, Settings, within};

/// A broker that looks at rights. A resource that has rules is for those that the rules name, any
/// other is for everybody; clients here are `User:ANONYMOUS`.
#[track_caller]
fn broker() -> Kafka {
    Kafka::start_with(&[
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
    ])
}

/// Gives `operations` on a resource, as `--topic orders`, to a user.
#[track_caller]
fn allow(kafka: &Kafka, user: &str, resource: &str, operations: &[&str]) {
    let mut command =
        format!("kafka-acls.sh --bootstrap-server {} --add {resource}", kafka.bootstrap());
    command += &format!(" --allow-principal User:{user}");
    operations.iter().for_each(|operation| command += &format!(" --operation {operation}"));
    kafka.run(&command);
}

/// Checks until there is a problem: brokers learn of a rule a moment after it was made.
#[track_caller]
fn until_problem(settings: &Settings, name: &str, text: &str) -> Value {
    let found = within(PATIENCE, || {
        let checked = check(settings);
        let seen = checked.of("problem").any(|finding| finding["check"] == name);
        seen.then_some(checked)
    });
    found.unwrap_or_else(|| panic!("{:#?}", check(settings))).problem(name, text).clone()
}

#[track_caller]
fn until_ready(settings: &Settings) -> Checked {
    let ready = within(PATIENCE, || {
        let checked = check(settings);
        (checked.code == 0).then_some(checked)
    });
    let checked = ready.unwrap_or_else(|| panic!("{:#?}", check(settings)));
    checked.is_ready();
    checked
}

/// A right is missing until the command that is printed has given it.
#[track_caller]
fn case(kafka: &Kafka, settings: &Settings, (name, text): (&str, &str)) {
    let problem = until_problem(settings, name, text);
    assert_eq!(problem["halt"], "authorization", "{problem:#}");
    remedy(&problem, "commands").iter().for_each(|command| kafka.run(command));
    until_ready(settings);
}

#[test]
fn each_right_on_a_topic_that_is_missing_is_found() {
    let kafka = broker();
    let (database, settings) = outbox(Postgres::newest(), &kafka, "rights");
    let name = database.name();
    let events = format!("{name}.order");
    let checkpoint = format!("walpost.checkpoint.{name}.{name}");
    let letters = format!("{name}.dlq");
    kafka.create_topic(&events, 1, &[]);
    kafka.create_topic(&checkpoint, 1, &["cleanup.policy=compact"]);
    kafka.create_topic(&letters, 1, &["retention.ms=-1"]);
    database.insert_rows("order", 1, 1, 1);
    check(&settings).is_ready();

    for (topic, check, seen) in [
        (&events, "event_topic", ["Describe"].as_slice()),
        (&letters, "dead_letter_topic", &["Describe"]),
        (&checkpoint, "checkpoint_topic", &["Describe", "Read"]),
    ] {
        let resource = format!("--topic {topic}");
        allow(&kafka, "else", &resource, &["Write"]);
        until_problem(&settings, check, "may not see");
        allow(&kafka, "ANONYMOUS", &resource, seen);
        case(&kafka, &settings, ("kafka_rights", &format!("no Write on topic {topic}")));
    }
}

#[test]
fn a_missing_right_to_read_the_checkpoint_topic_is_found() {
    let kafka = broker();
    let (database, settings) = outbox(Postgres::newest(), &kafka, "unread");
    let topic = format!("walpost.checkpoint.{0}.{0}", database.name());
    kafka.create_topic(&topic, 1, &["cleanup.policy=compact"]);
    check(&settings).is_ready();
    let resource = format!("--topic {topic}");
    allow(&kafka, "ANONYMOUS", &resource, &["Describe", "Write"]);
    case(&kafka, &settings, ("kafka_rights", &format!("no Read on topic {topic}")));
}

#[test]
fn a_missing_right_to_make_topics_is_found() {
    let kafka = broker();
    let (database, settings) = outbox(Postgres::newest(), &kafka, "unmade");
    let settings = settings.env("WALPOST_TOPIC_PARTITIONS", "3");
    database.insert_rows("order", 1, 1, 1);
    check(&settings).is_ready();
    // All rights on the cluster but the one to make topics.
    let others = ["Alter", "AlterConfigs", "ClusterAction", "Describe", "DescribeConfigs"];
    allow(&kafka, "ANONYMOUS", "--cluster", &others);
    let name = database.name();
    let topics = [
        format!("walpost.checkpoint.{name}.{name}"),
        format!("{name}.dlq"),
        format!("{name}.order"),
    ];
    for topic in &topics {
        let resource = format!("--topic {topic}");
        allow(&kafka, "ANONYMOUS", &resource, &["Describe", "Read", "Write"]);
    }
    let refused = within(PATIENCE, || {
        let checked = check(&settings);
        (checked.of("problem").count() == 3).then_some(checked)
    });
    let refused = refused.unwrap_or_else(|| panic!("{:#?}", check(&settings)));
    for name in ["checkpoint_topic", "dead_letter_topic", "event_topic"] {
        let mut problems = refused.of("problem");
        let problem = problems.find(|finding| finding["check"] == name).expect(name);
        assert!(problem["found"].as_str().expect("a text").contains("may not make it"));
        remedy(problem, "commands").iter().for_each(|command| kafka.run(command));
    }
    until_ready(&settings);
    // And the relay makes them.
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    kafka.wait_for_records(&format!("{}.order", database.name()), 1);
}

#[test]
fn a_missing_right_on_the_transactional_id_is_found_and_asking_disturbs_nobody() {
    let kafka = broker();
    let (database, settings) = outbox(Postgres::newest(), &kafka, "transactional");
    let settings = settings.env("WALPOST_DELIVERY", "exactly-once");
    let name = database.name();
    let id = format!("walpost.{name}.{name}");
    let said = |checked: &Checked, text: &str| {
        let said = checked.findings.iter().any(|finding| {
            finding["check"] == "kafka_rights"
                && finding["found"].as_str().is_some_and(|found| found.contains(text))
        });
        assert!(said, "{text}: {checked:#?}");
    };
    // The brokers have no log of transactions yet, and the question does not make one.
    let checked = check(&settings);
    checked.is_ready();
    said(&checked, &format!("transactional id {id} is not known"));
    assert!(!kafka.topics().contains(&"__transaction_state".to_owned()));

    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    for round in 0..3 {
        let checked = check(&settings);
        checked.is_ready();
        said(&checked, &format!("may write under the transactional id {id}"));
        database.insert_rows("order", 1 + 3 * round, 3, 1);
        let count = usize::try_from(3 * (round + 1)).expect("a count");
        kafka.wait_for_records(&format!("{name}.order"), count);
    }
    assert!(!walpost.log().contains("fenced"), "{}", walpost.log());
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());

    allow(&kafka, "else", &format!("--transactional-id {id}"), &["Write"]);
    case(&kafka, &settings, ("kafka_rights", &format!("no Write on the transactional id {id}")));
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
}

#[test]
fn a_consumer_group_that_is_unknown_or_hidden_is_found() {
    let kafka = broker();
    let (database, settings) = outbox(Postgres::newest(), &kafka, "groups_seen");
    let group = format!("{}.billing", database.name());
    let settings = settings.env("WALPOST_CONSUMER_GROUPS", &group);
    database.insert_rows("order", 1, 1, 1);
    check(&settings).warning("consumer_groups", "has no consumer, and has stored no place");
    let resource = format!("--group {group}");
    allow(&kafka, "else", &resource, &["Read"]);
    let hidden = within(PATIENCE, || {
        let checked = check(&settings);
        let mut warnings =
            checked.of("warning").filter(|found| found["check"] == "consumer_groups");
        let hidden = warnings.find(|found| found["found"].as_str().unwrap().contains("no right"));
        hidden.cloned()
    });
    let hidden = hidden.unwrap_or_else(|| panic!("{:#?}", check(&settings)));
    remedy(&hidden, "commands").iter().for_each(|command| kafka.run(command));
    let seen = within(PATIENCE, || {
        let checked = check(&settings);
        let warnings: Vec<_> = checked.of("warning").map(ToString::to_string).collect();
        (!warnings.iter().any(|warning| warning.contains("no right"))).then_some(())
    });
    assert!(seen.is_some(), "{:#?}", check(&settings));
}
