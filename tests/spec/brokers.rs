//! Goal: what the Kafka client knows of brokers is seen from outside.
//! Method: a broker of one's own, killed and started again.

use crate::servers::walpost::Walpost;
use crate::servers::{Kafka, Postgres, Settings, until};

#[track_caller]
fn wait_for(walpost: &Walpost, name: &str, labels: &[(&str, &str)], expected: f64) {
    until(&format!("{name} {labels:?} {expected}"), || {
        let value = walpost.metrics().get(name, labels)?;
        ((value - expected).abs() < f64::EPSILON).then_some(())
    });
}

#[test]
fn a_brokers_connection_is_told_while_it_is_up_and_while_it_is_not() {
    let (database, kafka) = (Postgres::newest().database("brokers"), Kafka::start());
    let topic = format!("{}.order", database.name());
    database.create_outbox();
    kafka.make_topic(&topic, 1, &[]);
    let mut walpost = Settings::new(&database, &kafka).start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 10, 3);
    kafka.wait_for_records(&topic, 10);
    let broker = kafka.bootstrap();
    let broker = [("broker", broker.as_str())];
    wait_for(&walpost, "walpost_broker_up", &broker, 1.0);
    let round_trip =
        until("a round trip", || walpost.metrics().get("walpost_broker_rtt_seconds", &broker));
    assert!(round_trip > 0.0 && round_trip < 60.0, "{round_trip}");
    let again = || walpost.metrics().sum("walpost_produce_retries_total", &[]);
    assert_eq!(again().to_bits(), 0.0_f64.to_bits(), "a broker that answers is asked once");

    // Records are under way when it dies, so that they have to be sent again.
    kafka.freeze();
    database.insert_rows("order", 11, 10, 3);
    until("records under way", || {
        (walpost.metrics().sum("walpost_in_flight_events", &[]) > 0.0).then_some(())
    });
    kafka.kill();
    wait_for(&walpost, "walpost_broker_up", &broker, 0.0);
    until("records sent again", || (again() > 0.0).then_some(()));
    kafka.start_again();
    wait_for(&walpost, "walpost_broker_up", &broker, 1.0);
    kafka.wait_for_records(&topic, 20);
}
