//! The text of `/metrics` as a whole.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::time::Instant;

use super::catalog::{Definition, TABLE, When};
use super::*;
use crate::lsn::Lsn;
use crate::status::consumers::{ConsumerGroup, Found, GroupTopic};
use crate::status::facts::{SlotFacts, WalStatus};
use crate::status::{Halt, HaltCode, State};

fn new() -> (Status, Metrics) {
    let status = Status::new("shop.walpost", "walpost");
    let config = ConfigInfo { database: "sh\"op\\".into(), ..ConfigInfo::default() };
    let metrics = Metrics::new(&status, &config);
    (status, metrics)
}

/// A pipeline that has done a bit of everything.
fn worked() -> (Status, Metrics) {
    let (status, metrics) = new();
    metrics.upkeep();
    let topic = metrics.topic("outbox.event.order");
    status.counts().partitions(&topic, 2);
    topic.delivered(3, 300, 0);
    metrics.event_latency(Duration::from_millis(3), 3);
    metrics.produce_error("MSG_TIMED_OUT");
    metrics.broker("kafka:9092", true, Some(0.002));
    status.update(|facts| facts.consumer_groups = vec![group("bil\"ling", Some(Instant::now()))]);
    (status, metrics)
}

fn group(name: &str, looked: Option<Instant>) -> ConsumerGroup {
    let topic = |topic: &str, lag_seconds| GroupTopic {
        topic: topic.to_owned(),
        lag: 12,
        lag_seconds,
        ..GroupTopic::default()
    };
    let topics = vec![topic("a", Some(3.5)), topic("b", None)];
    let found = Found { state: "Stable".to_owned(), members: 2, topics };
    let found = looked.map(|_| found);
    ConsumerGroup { group: name.to_owned(), looked, found, rebalances: 1, trouble: None }
}

/// The value of one series, by all that stands before it.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no series {series} in\n{text}")).parse().unwrap()
}

#[test]
fn the_text_shows_all_metrics_of_the_table_that_exist_now_and_no_other() {
    let (_, metrics) = worked();
    let text = metrics.render();
    let shown: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let line = |metric: &Definition| format!("{} {}", metric.name, metric.kind.as_str());
    let expected: BTreeSet<String> =
        TABLE.iter().filter(|metric| metric.when == When::Now).map(line).collect();
    assert_eq!(shown, expected.iter().map(String::as_str).collect());
    for metric in TABLE.iter().filter(|metric| metric.when == When::Now) {
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)));
    }
}

#[test]
fn the_series_of_several_streams_tell_their_numbers_and_the_process_is_told_of_once() {
    let stream = |shard| {
        let status = Status::new("shop.walpost", "walpost");
        let info = ConfigInfo { shard: Some(shard), ..ConfigInfo::default() };
        let metrics = Metrics::new(&status, &info);
        (status, metrics)
    };
    let [(first, of_first), (second, of_second)] = [stream(0), stream(1)];
    let looked = Some(Instant::now());
    first.update(|facts| facts.consumer_groups = vec![group("billing", looked)]);
    for (status, metrics) in [(&first, &of_first), (&second, &of_second)] {
        let topic = metrics.topic("outbox.event.order");
        status.counts().partitions(&topic, 2);
        topic.delivered(3, 300, 0);
        metrics.produce_error("MSG_TIMED_OUT");
        metrics.broker("kafka:9092", true, Some(0.002));
    }
    let text = Metrics::render_all(&[of_first, of_second]);
    for shard in ["0", "1"] {
        let labels = format!("{{connector=\"shop.walpost\",shard=\"{shard}\"}}");
        assert_eq!(value(&text, &format!("walpost_leader{labels}")), 0.0);
        assert_eq!(value(&text, &format!("walpost_backpressure_seconds_total{labels}")), 0.0);
    }
    assert!(value(&text, "process_threads{connector=\"shop.walpost\"}") >= 1.0);
    assert_eq!(text.matches("\nprocess_threads{").count(), 1);
    let lag =
        "walpost_consumer_group_lag{connector=\"shop.walpost\",group=\"billing\",topic=\"a\"}";
    assert_eq!(value(&text, lag), 12.0);
    for definition in TABLE.iter().filter(|metric| metric.when == When::Now) {
        let line = format!("# TYPE {} ", definition.name);
        assert_eq!(text.matches(&line).count(), 1, "{line}");
    }
}

#[test]
fn the_expiry_of_a_certificate_is_infinite_without_one() {
    let (status, metrics) = new();
    let series = |peer| {
        let name = "walpost_tls_certificate_expiry_timestamp_seconds";
        format!("{name}{{connector=\"shop.walpost\",peer=\"{peer}\"}}")
    };
    assert_eq!(value(&metrics.render(), &series("postgres")), f64::INFINITY);
    assert_eq!(value(&metrics.render(), &series("kafka")), f64::INFINITY);
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    status.update(|facts| facts.kafka.certificate_expires = Some(expires));
    assert_eq!(value(&metrics.render(), &series("postgres")), f64::INFINITY);
    assert_eq!(value(&metrics.render(), &series("kafka")), 1.9e9);
}

#[test]
fn every_series_names_its_connector_and_holds_a_number() {
    let (_, metrics) = worked();
    for line in metrics.render().lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.contains("connector=\"shop.walpost\""), "{line}");
        let number: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(!number.is_nan(), "{line}");
    }
}

#[test]
fn series_with_closed_labels_exist_from_the_start() {
    let (_, metrics) = new();
    let text = metrics.render();
    #[track_caller]
    fn check(text: &str, name: &str, label: &str, series: usize) {
        let prefix = format!("{name}{{connector=\"shop.walpost\",{label}=");
        let found = text.lines().filter(|line| line.starts_with(&prefix)).count();
        assert_eq!(found, series, "{name}");
    }
    check(&text, "walpost_state", "state", 7);
    check(&text, "walpost_halted", "code", 18);
    check(&text, "walpost_last_error_timestamp_seconds", "code", 18);
    check(&text, "walpost_lag_bytes", "stage", 2);
    check(&text, "walpost_slot_wal_status", "status", 4);
    check(&text, "walpost_bad_rows_total", "reason", 14);
    check(&text, "walpost_dead_letters_total", "reason", 14);
    check(&text, "walpost_postgres_reconnects_total", "reason", 5);
    check(&text, "walpost_event_latency_seconds_bucket", "le", 17);
}

#[test]
fn numbers_are_those_of_the_status_at_the_time_of_asking() {
    let (status, metrics) = new();
    let before = metrics.render();
    assert_eq!(value(&before, r#"walpost_state{connector="shop.walpost",state="starting"}"#), 1.0);
    assert_eq!(value(&before, r#"walpost_caught_up{connector="shop.walpost"}"#), 0.0);
    status.halt(Halt { code: HaltCode::SlotLost, message: "m".into(), hint: "h".into() });
    status.update(|facts| {
        facts.positions.wal_end = Some(Lsn::new(1_000));
        facts.positions.confirmed = Some(Lsn::new(400));
        facts.oldest_in_hand = SystemTime::now().checked_sub(Duration::from_secs(100));
        facts.slot = Some(SlotFacts {
            wal_end: Lsn::new(1_000),
            restart: Some(Lsn::new(250)),
            wal_status: Some(WalStatus::Extended),
            ..SlotFacts::default()
        });
    });
    let text = metrics.render();
    #[track_caller]
    fn check(text: &str, name: &str, labels: &str, expected: f64) {
        let series = format!("{name}{{connector=\"shop.walpost\"{labels}}}");
        assert_eq!(value(text, &series), expected, "{series}");
    }
    check(&text, "walpost_state", r#",state="starting""#, 0.0);
    check(&text, "walpost_state", r#",state="halted""#, 1.0);
    check(&text, "walpost_halted", r#",code="slot_lost""#, 1.0);
    check(&text, "walpost_halted", r#",code="slot_missing""#, 0.0);
    check(&text, "walpost_lag_bytes", r#",stage="confirmed""#, 600.0);
    check(&text, "walpost_confirmed_lsn_bytes", "", 400.0);
    check(&text, "walpost_slot_retained_wal_bytes", "", 750.0);
    check(&text, "walpost_slot_safe_wal_bytes", "", f64::INFINITY);
    check(&text, "walpost_slot_wal_status", r#",status="extended""#, 1.0);
    let lag = value(&text, r#"walpost_lag_seconds{connector="shop.walpost"}"#);
    assert!((100.0..200.0).contains(&lag), "{lag}");
    let code = r#"walpost_last_error_timestamp_seconds{connector="shop.walpost",code="slot_lost"}"#;
    assert!(value(&text, code) > 1.7e9);
    status.set_state(State::Streaming);
    check(&metrics.render(), "walpost_halted", r#",code="slot_lost""#, 0.0);
}

#[test]
fn counts_of_topics_rows_and_pauses_are_shown() {
    let (_, metrics) = worked();
    metrics.topic("outbox.event.order").delivered(1, 50, 0);
    metrics.bad_row("too_large");
    metrics.dead_letter("too_large");
    metrics.bad_row("a word nobody listed");
    metrics.backpressure(true);
    let text = metrics.render();
    let topic = r#"{connector="shop.walpost",topic="outbox.event.order"}"#;
    assert_eq!(value(&text, &format!("walpost_events_total{topic}")), 4.0);
    assert_eq!(value(&text, &format!("walpost_event_bytes_total{topic}")), 350.0);
    let reason = |word| format!(r#"{{connector="shop.walpost",reason="{word}"}}"#);
    assert_eq!(value(&text, &format!("walpost_bad_rows_total{}", reason("too_large"))), 1.0);
    assert_eq!(value(&text, &format!("walpost_bad_rows_total{}", reason("other"))), 1.0);
    assert_eq!(value(&text, &format!("walpost_dead_letters_total{}", reason("too_large"))), 1.0);
    let paused = r#"walpost_backpressure_seconds_total{connector="shop.walpost"}"#;
    assert!(value(&text, paused) > 0.0);
    let bucket = r#"walpost_event_latency_seconds_bucket{connector="shop.walpost",le="0.005"}"#;
    assert_eq!(value(&text, bucket), 3.0);
}

#[test]
fn partitions_are_counted_and_compared_with_each_other() {
    let (status, metrics) = worked();
    let topic = metrics.topic("outbox.event.order");
    topic.delivered(4, 1, 1);
    topic.delivered(2, 1, 77);
    topic.hot_key(Some(0.25));
    let series = |name: &str, more: &str| {
        format!(r#"{name}{{connector="shop.walpost",topic="outbox.event.order"{more}}}"#)
    };
    let check = |name: &str, more: &str, expected: f64| {
        assert_eq!(value(&metrics.render(), &series(name, more)), expected, "{name}");
    };
    check("walpost_partition_events_total", r#",partition="0""#, 3.0);
    check("walpost_partition_events_total", r#",partition="1""#, 4.0);
    check("walpost_partition_events_total", r#",partition="other""#, 2.0);
    check("walpost_hot_key_share", "", 0.25);
    check("walpost_partition_skew_ratio", "", 0.0);
    topic.hot_key(None);
    check("walpost_hot_key_share", "", 0.0);
    // A thousand topics of many partitions: the series have an end.
    for n in 0..1_200 {
        let topic = metrics.topic(&format!("many-{n}"));
        status.counts().partitions(&topic, 50);
        (0..50).for_each(|partition| topic.delivered(1, 1, partition));
    }
    let text = metrics.render();
    let found = text.lines().filter(|line| line.starts_with("walpost_partition_events_total{"));
    let found = found.count();
    assert!((1_000..=3_000).contains(&found), "{found}");
}

#[test]
fn latency_is_recorded_only_while_somebody_empties_the_histogram() {
    let (_, metrics) = new();
    let count = r#"walpost_event_latency_seconds_count{connector="shop.walpost"}"#;
    metrics.event_latency(Duration::from_millis(1), 1_000);
    assert_eq!(value(&metrics.render(), count), 0.0);
    metrics.upkeep();
    metrics.event_latency(Duration::from_millis(1), 1_000);
    assert_eq!(value(&metrics.render(), count), 1_000.0);
}

#[test]
fn a_checkpoint_grows_old() {
    let (status, metrics) = new();
    let at = Instant::now().checked_sub(Duration::from_secs(50)).unwrap();
    status.update(|facts| facts.last_checkpoint = Some(at));
    let series = r#"walpost_checkpoint_age_seconds{connector="shop.walpost"}"#;
    let age = value(&metrics.render(), series);
    assert!((50.0..150.0).contains(&age), "{age}");
}

#[test]
fn the_series_of_a_group_end_when_it_was_not_seen_for_a_minute() {
    let (status, metrics) = new();
    let old = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
    let groups = [("now", Some(Instant::now())), ("old", Some(old)), ("never", None)];
    let groups = groups.map(|(name, looked)| group(name, looked));
    status.update(|facts| facts.consumer_groups = groups.to_vec());
    let text = metrics.render();
    let series = |name: &str, group: &str| {
        format!("walpost_consumer_group_{name}{{connector=\"shop.walpost\",group=\"{group}\"")
    };
    assert_eq!(value(&text, &(series("lag", "now") + ",topic=\"a\"}")), 12.0);
    assert_eq!(value(&text, &(series("lag_seconds", "now") + ",topic=\"a\"}")), 3.5);
    assert!(!text.contains(&(series("lag_seconds", "now") + ",topic=\"b\"}")));
    assert_eq!(value(&text, &(series("members", "now") + "}")), 2.0);
    for group in ["old", "never"] {
        for name in ["lag", "lag_seconds", "members"] {
            assert!(!text.contains(&series(name, group)), "{name} {group}");
        }
        assert_eq!(value(&text, &(series("rebalances_total", group) + "}")), 1.0);
    }
    let looked = |group| value(&text, &(series("looked_timestamp_seconds", group) + "}"));
    assert!(looked("never") - 30.0 > looked("old") && looked("now") >= looked("never"));
}
