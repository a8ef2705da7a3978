//! Goal: a rolling update of the chart (surge 1, unavailable 0) loses, repeats and reorders nothing,
//! and one that goes wrong stops nothing.
//! Method: two processes play the old pod and the new one, under load. Kubernetes asks `/readyz` of the
//! new one, and only then ends the old one by SIGTERM; so does the test.

use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Load, check_arrived};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Settings, figure, free_ports, until};

/// Updates one after another: the new pod of one is the old pod of the next.
const UPDATES: usize = 3;

/// What is promised is a second, on a machine of one's own.
const GAP_MAX: Duration = Duration::from_secs(20);

/// The header by which a test knows which pod sent a record: the new one of every other update adds
/// Debezium's, which is a change of the configuration like any other.
const MARK: &str = "id";

fn pod(settings: &Settings, update: usize) -> Walpost {
    let marked = if update % 2 == 1 { "true" } else { "false" };
    settings.second().env("WALPOST_DEBEZIUM_HEADERS", marked).start()
}

#[test]
fn a_rolling_update_under_load_loses_repeats_and_reorders_nothing() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("rolling"), Kafka::shared());
        database.create_outbox();
        let settings = Settings::new(&database, kafka);
        let mut old = pod(&settings, 0);
        old.wait_until_ready();
        let load = Load::start(&database, 3, Duration::from_millis(5));
        for update in 1..=UPDATES {
            let mut new = pod(&settings, update);
            new.wait_until_ready();
            new.wait_for_state("standby");
            // As the chart's minReadySeconds: it stays ready while the old one works on.
            let sent = sent(&old);
            until("the old pod to go on", || {
                ready(&old, "the old pod");
                ready(&new, "the standby");
                (self::sent(&old) > sent + 100.0).then_some(())
            });
            old.terminate();
            let asked = Instant::now();
            until("the new pod to work", || {
                ready(&new, "the new pod");
                (new.get("/status.json").json()["leader"] == true).then_some(())
            });
            let took = asked.elapsed();
            assert_eq!(old.wait(), 0, "{}", old.log());
            assert!(took < GAP_MAX, "{took:?}; the new pod said:\n{}", new.log());
            until("the new pod to send", || (self::sent(&new) > 100.0).then_some(()));
            old = new;
        }
        load.stop();
        let arrived = check_arrived(&database, kafka);
        assert_eq!(arrived.repeats, 0, "{arrived:?}");
        let gaps = gaps(&database, kafka);
        assert_eq!(gaps.len(), UPDATES, "one change of pods an update: {gaps:?}");
        assert!(gaps.iter().all(|gap| *gap < GAP_MAX), "{gaps:?}");
        figure(&format!(
            "Postgres {}: {} rows over {UPDATES} rolling updates, no event left for {gaps:?}",
            server.major(),
            arrived.rows,
        ));
    }
}

#[test]
fn an_update_to_a_wrong_configuration_never_gets_ready_and_the_old_one_streams_on() {
    let (database, kafka) = (Postgres::newest().database("wrong"), Kafka::shared());
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let mut old = settings.start();
    old.wait_until_ready();
    let load = Load::start(&database, 3, Duration::from_millis(5));

    // A misspelt variable ends it at once: the pod is in CrashLoopBackOff.
    let mut misspelt = settings.second().env("WALPOST_TABEL", "outbox").start();
    assert_eq!(misspelt.wait(), 78, "{}", misspelt.log());

    let nobody = format!("127.0.0.1:{}", free_ports(1));
    for (variable, value, said) in [
        ("KAFKA_BOOTSTRAP_SERVERS", nobody.as_str(), "kafka_unreachable"),
        ("WALPOST_TABLE", "public.outbocks", "outbocks"),
        ("WALPOST_PUBLICATION", "elsewhere", "elsewhere"),
        ("WALPOST_COLUMN_TYPE", "kind", "kind"),
    ] {
        let mut new = settings.second().env("WALPOST_CREATE", "false").env(variable, value).start();
        new.wait_for_line(said);
        let sent = sent(&old);
        until("the old pod to go on", || {
            assert!(new.is_running(), "{variable}: {}", new.log());
            let answer = new.try_get("/readyz").map(|answer| answer.status);
            assert_ne!(answer, Some(200), "{variable}: ready, it said:\n{}", new.log());
            ready(&old, "the old pod");
            (self::sent(&old) > sent + 300.0).then_some(())
        });
        new.terminate();
        assert_eq!(new.wait(), 0, "{variable}: {}", new.log());
    }
    load.stop();
    let arrived = check_arrived(&database, kafka);
    assert_eq!(arrived.repeats, 0, "{arrived:?}");
    assert_eq!(old.metrics().sum("walpost_leader", &[]), 1.0);
}

#[track_caller]
fn ready(pod: &Walpost, which: &str) {
    let answer = pod.get("/readyz");
    assert_eq!(
        answer.status,
        200,
        "{which} is not ready: {}; it said:\n{}",
        answer.body,
        pod.log()
    );
}

fn sent(pod: &Walpost) -> f64 {
    pod.metrics().sum("walpost_events_total", &[])
}

/// How long no record came, at each change from one pod to the next.
#[track_caller]
fn gaps(database: &Database, kafka: &Kafka) -> Vec<Duration> {
    let mut records: Vec<_> = kafka
        .records(&format!("{}.order", database.name()))
        .iter()
        .map(|record| (record.timestamp.unwrap(), record.header(MARK).is_some()))
        .collect();
    records.sort_unstable();
    let changes = records.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    changes.map(|pair| Duration::from_millis((pair[1].0 - pair[0].0).cast_unsigned())).collect()
}
