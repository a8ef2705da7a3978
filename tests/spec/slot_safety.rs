//! Goal: changes that leave no trace but a row version, and topics that would lose the checkpoint, halt.
//! Method: a relay works, is stopped, the world changes behind its back, and it is started again.
//! The other changes are in `halts`.

use std::time::{Duration, Instant};

use crate::servers::{Database, Kafka, Postgres, Settings, until, walpost::Walpost, within};

/// A change that may have cost rows is named within ten seconds. A machine that runs
/// other tests beside this one gets three times as long before the test fails; what it took is
/// printed.
const NAMED_WITHIN: Duration = Duration::from_secs(30);

/// A relay that has published ten rows, and was stopped in peace.
struct Stopped {
    database: Database,
    settings: Settings,
    topic: String,
}

fn stopped(server: &Postgres, kafka: &Kafka, name: &str) -> Stopped {
    let database = server.database(name);
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let topic = format!("{}.order", database.name());
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    database.insert_rows("order", 1, 10, 3);
    kafka.wait_for_records(&topic, 10);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    Stopped { database, settings, topic }
}

/// Waits for the halt, and checks that it is told everywhere and that nothing was published.
#[track_caller]
fn check_halted(walpost: &mut Walpost, kafka: &Kafka, topic: &str, code: &str, records: usize) {
    let began = Instant::now();
    let halted = within(NAMED_WITHIN, || {
        let metrics = walpost.try_get("/metrics")?;
        let metrics = crate::servers::Metrics::parse(&metrics.body);
        (metrics.sum("walpost_halted", &[("code", code)]) > 0.0).then_some(())
    });
    let status = walpost.get("/status.json").body;
    assert!(halted.is_some(), "not halted with {code} within {NAMED_WITHIN:?}: {status}");
    println!("{code}: named within {:?}", began.elapsed());
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"], "halted");
    assert_eq!(status["halt"]["code"], code);
    for part in ["message", "hint"] {
        let text = status["halt"][part].as_str().unwrap();
        assert!(text.len() > 20, "the {part} says nothing: {text:?}");
    }
    assert_eq!(walpost.get("/readyz").status, 503);
    assert_eq!(walpost.get("/livez").status, 200);
    assert!(walpost.is_running(), "a halted relay stays up");
    assert_eq!(kafka.records(topic).len(), records, "nothing was published");
}

#[test]
fn a_publication_that_changed_while_the_relay_was_away_halts() {
    let (server, kafka) = (Postgres::oldest(), Kafka::shared());
    let Stopped { database, settings, topic } = stopped(server, kafka, "altered");
    // Taken out, a row missed, and put back: only the row versions of the catalog tell.
    database.execute("alter publication walpost drop table outbox");
    database.insert_rows("order", 11, 5, 3);
    database.execute("alter publication walpost add table outbox");
    let mut walpost = settings.start();
    check_halted(&mut walpost, kafka, &topic, "table_changed", 10);
}

#[test]
fn a_checkpoint_topic_that_would_be_deleted_by_time_is_refused() {
    let (server, kafka) = (Postgres::newest(), Kafka::shared());
    let database = server.database("policy");
    database.create_outbox();
    let checkpoints = format!("walpost.checkpoint.{0}.{0}", database.name());
    kafka.create_topic(&checkpoints, 1, &["cleanup.policy=delete"]);
    let mut walpost = Settings::new(&database, kafka).start();
    let topic = format!("{}.order", database.name());
    check_halted(&mut walpost, kafka, &topic, "not_ready", 0);
}
