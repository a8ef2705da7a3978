//! Several first starts at once.

use super::{TABLE, ids, insert, topic};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Settings, until};

#[track_caller]
fn start_three(database: &Database, kafka: &Kafka, rows: u32) -> Vec<Walpost> {
    database.execute(TABLE);
    insert(database, (1, rows));
    kafka.make_topic(&topic(database), 1, &[]);
    let settings = Settings::new(database, kafka);
    let settings = [settings.second(), settings.second(), settings];
    settings.iter().map(Settings::start).collect()
}

fn leads(walpost: &Walpost) -> bool {
    walpost.try_get("/status.json").is_some_and(|status| status.json()["leader"] == true)
}

#[test]
fn of_three_first_starts_at_once_one_sends_the_rows_once_and_the_others_stand_by() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("three"), Kafka::shared());
        let mut all = start_three(&database, kafka, 2_000);
        for walpost in &mut all {
            walpost.wait_until_ready();
        }
        insert(&database, (2_001, 2_001));
        let records = super::records_up_to(kafka, &topic(&database), "2001");
        let expected: Vec<_> = (1..=2_001).map(|n| n.to_string()).collect();
        assert_eq!(ids(&records), expected);
        until("two to stand by", || {
            let working = all.iter().filter(|walpost| leads(walpost)).count();
            (working == 1).then_some(())
        });
        let slots = format!(
            "select count(*) from pg_replication_slots where database = '{}'",
            database.name()
        );
        assert_eq!(database.value(&slots), "1");
        for walpost in &all {
            assert!(!walpost.log().contains("halted"), "{}", walpost.log());
        }
    }
}

#[test]
fn another_first_start_takes_over_when_the_one_that_sends_the_rows_is_killed() {
    let (database, kafka) = (Postgres::newest().database("taken_over"), Kafka::shared());
    let mut all = start_three(&database, kafka, 100_000);
    let winner = until("one that leads", || all.iter().position(leads));
    all[winner].kill();
    all.remove(winner);
    until("another one to stream", || {
        let states = all.iter().map(|walpost| Some(walpost.try_get("/status.json")?.json()));
        states.flatten().any(|status| status["state"] == "streaming").then_some(())
    });
    let records = kafka.records(&topic(&database));
    let distinct: std::collections::HashSet<_> = ids(&records).into_iter().collect();
    assert_eq!(distinct.len(), 100_000);
}
