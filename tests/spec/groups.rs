//! Goal: a consumer group's lag is what it is, and a reset makes it read from there.
//! Method: a group that stores its places, and what it is given next.

use serde_json::{Value, json};

use crate::checkpoint_command::{command, done};
use crate::consumer_groups::member::Member;
use crate::servers::{Kafka, Postgres, Settings, until};

#[track_caller]
fn answer(settings: &Settings, arguments: &[&str]) -> Value {
    let printed = done(settings, &[&["groups"], arguments, &["--json"]].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[test]
fn a_group_is_shown_with_its_lag_and_reads_from_where_it_was_set() {
    let (database, kafka) = (Postgres::newest().database("groups"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let (topic, group) = (format!("{}.order", database.name()), format!("{}.g", database.name()));
    kafka.make_topic(&topic, 1, &[]);
    for n in 0..10_u8 {
        kafka.write(&topic, Some(b"k"), Some(&[n]));
    }
    let none = done(&settings, &["groups", "show", &group]);
    assert!(none.contains("it has stored no place in any topic"), "{none}");

    let reading = Member::join(kafka, &group, &topic);
    assert_eq!(reading.read(2), [0, 1]);
    let shown = answer(&settings, &["show", &group]);
    assert_eq!(
        (&shown["members"], &shown["lag"], &shown["state"]),
        (&json!(1), &json!(8), &json!("Stable"))
    );
    assert_eq!(shown["partitions"][0]["next"], 2);
    let to = ["reset", &group, "--topic", &topic];
    let busy = command(&settings, &[&["groups"], &to[..], &["--to-earliest", "--yes"]].concat());
    assert_eq!(busy.code, 1);
    assert!(busy.stderr.contains("is at work: it has 1 member"), "{}", busy.stderr);
    drop(reading);
    until("the group to be empty", || {
        (answer(&settings, &["show", &group])["members"] == 0).then_some(())
    });

    let plan = done(&settings, &[&["groups"], &to[..], &["--to-offset", "7"]].concat());
    assert!(plan.contains("at 2 of 10, lag 8; to 7: skips 5"), "{plan}");
    assert!(plan.contains("nothing was changed"), "{plan}");
    assert_eq!(answer(&settings, &["show", &group])["partitions"][0]["next"], 2);
    let middle = kafka.records(&topic)[4].timestamp.unwrap();
    let middle = until("a moment of the fifth record", || {
        let seconds = middle.div_euclid(1_000);
        let text = format!(
            "select to_char(to_timestamp({seconds}) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS')"
        );
        Some(format!("{}.{:03}Z", database.value(&text), middle.rem_euclid(1_000)))
    });
    for (place, expected) in [
        (&["--to-offset", "7"][..], 7),
        (&["--to-earliest"], 0),
        (&["--to-offset", "999"], 10),
        (&["--to-latest"], 10),
        (&["--to-time", &middle], 4),
        (&["--to-time", "0s"], 10),
    ] {
        let set = answer(&settings, &[&to[..], place, &["--yes"]].concat());
        assert_eq!(
            (&set["partitions"][0]["to"], &set["set"]),
            (&json!(expected), &json!(true)),
            "{place:?}"
        );
        assert_eq!(answer(&settings, &["show", &group])["partitions"][0]["next"], expected);
    }
    answer(&settings, &[&to[..], &["--to-offset", "7", "--yes"]].concat());
    assert_eq!(Member::join(kafka, &group, &topic).read(1), [7]);
}

#[test]
fn a_reset_needs_a_topic_that_is_there_and_a_place() {
    let (database, kafka) = (Postgres::newest().database("groups_no"), Kafka::shared());
    let settings = Settings::new(&database, kafka);
    let missing = ["groups", "reset", "g", "--topic", "no.such.topic", "--to-latest", "--yes"];
    let refused = command(&settings, &missing);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("topic no.such.topic does not exist"), "{}", refused.stderr);
    for arguments in [
        &["groups", "reset", "g", "--topic", "t"][..],
        &["groups", "reset", "g", "--to-latest"],
        &["groups", "reset", "g", "--topic", "t", "--to-latest", "--to-earliest"],
        &["groups", "reset", "g", "--topic", "t", "--to-offset", "-1"],
        &["groups", "show"],
    ] {
        assert_eq!(Settings::none().arguments(arguments).run().code, 2, "{arguments:?}");
    }
}
