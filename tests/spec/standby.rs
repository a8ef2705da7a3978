//! Goal: of two instances one works, and the other one takes over at once.
//! Method: two processes with the same settings; the first is asked to stop, or killed.

use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Load, check_arrived};
use crate::servers::walpost::Walpost;
use crate::servers::{Kafka, Postgres, Settings, figure, until};

/// What is promised is a second on a machine of one's own; two cores that also run the other tests
/// have been seen to take three.
const TAKEOVER_MAX: Duration = Duration::from_secs(8);

#[test]
fn a_second_instance_waits_and_takes_over_within_a_second_of_a_stop() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        takes_over(server, "SIGTERM", |first| {
            first.terminate();
            assert_eq!(first.wait(), 0, "{}", first.log());
        });
    }
}

#[test]
fn a_second_instance_takes_over_within_a_second_of_a_kill() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        takes_over(server, "SIGKILL", Walpost::kill);
    }
}

#[track_caller]
fn takes_over(server: &Postgres, how: &str, end: impl FnOnce(&mut Walpost)) {
    let (database, kafka) = (server.database("standby"), Kafka::shared());
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let mut first = settings.start();
    first.wait_until_ready();
    let load = Load::start(&database, 3, Duration::from_millis(5));
    let mut second = settings.second().start();
    second.wait_for_state("standby");
    // It can take over, so it is ready; and it says who works.
    second.wait_until_ready();
    let status = second.get("/status.json").json();
    assert_eq!((&status["state"], &status["leader"]), (&"standby".into(), &false.into()));
    let application = format!("walpost/{0}.{0}", database.name());
    assert_eq!(status["holder"]["application"], application, "{status}");
    let metrics = second.metrics();
    assert_eq!(metrics.sum("walpost_leader", &[]), 0.0);
    assert_eq!(first.metrics().sum("walpost_leader", &[]), 1.0);
    assert_eq!(metrics.sum("walpost_events_total", &[]), 0.0, "a standby sends nothing");

    let ended = Instant::now();
    end(&mut first);
    until("the second instance to work", || {
        (second.get("/status.json").json()["leader"] == true).then_some(())
    });
    let took = ended.elapsed();
    figure(&format!("Postgres {}, {how}: taken over after {took:?}", server.major()));
    assert!(took < TAKEOVER_MAX, "{took:?}; the second instance said:\n{}", second.log());
    second.wait_for_state("streaming");
    load.stop();
    let arrived = check_arrived(&database, kafka);
    if how == "SIGTERM" {
        assert_eq!(arrived.repeats, 0, "{arrived:?}");
    }
}
