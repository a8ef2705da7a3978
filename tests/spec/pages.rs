//! Goal: what a running relay says of itself over HTTP is true, and is there when nothing else is.
//! Method: the paths of a relay that works, of one whose servers are away, and of one that stops.

use crate::servers::{Kafka, Metrics, Postgres, Settings, free_ports, until};

/// Series that exist from the start, whatever happens: an alert on one that is missing never fires.
const FROM_THE_START: &[&str] = &[
    "walpost_state",
    "walpost_leader",
    "walpost_build_info",
    "walpost_lag_seconds",
    "walpost_lag_bytes",
    "walpost_caught_up",
    "walpost_event_latency_seconds_bucket",
    "walpost_event_latency_seconds_count",
    "walpost_event_latency_seconds_sum",
    "walpost_slot_active",
    "walpost_slot_retained_wal_bytes",
    "walpost_slot_safe_wal_bytes",
    "walpost_slot_wal_status",
    "walpost_slot_confirmed_flush_lag_bytes",
    "walpost_slot_restart_lag_bytes",
    "walpost_slot_catalog_xmin_age",
    "walpost_slot_wal_keep_limit_bytes",
    "walpost_slot_spill_bytes_total",
    "walpost_halted",
    "walpost_handoffs_total",
    "walpost_config_info",
    "walpost_clock_skew_seconds",
    "walpost_confirmed_lsn_bytes",
    "walpost_transactions_total",
    "walpost_duplicates_suppressed_total",
    "walpost_bad_rows_total",
    "walpost_dead_letters_total",
    "walpost_nontransactional_messages_total",
    "walpost_in_flight_events",
    "walpost_in_flight_bytes",
    "walpost_in_flight_limit_bytes",
    "walpost_backpressure_seconds_total",
    "walpost_produce_retries_total",
    "walpost_producer_generation",
    "walpost_checkpoint_age_seconds",
    "walpost_checkpoints_total",
    "walpost_partition_changes_total",
    "walpost_postgres_connected",
    "walpost_postgres_reconnects_total",
    "walpost_source_last_message_timestamp_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
];

#[test]
fn a_working_relay_says_so_on_every_path() {
    let (database, kafka) = (Postgres::newest().database("pages"), Kafka::shared());
    let name = database.name();
    database.create_outbox();
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 25, 5);
    let topic = format!("{name}.order");
    kafka.wait_for_records(&topic, 25);
    let connector = ("connector", format!("{name}.{name}"));
    let labels = [(connector.0, connector.1.as_str())];

    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = walpost.get(path);
        assert_eq!(
            (answer.status, answer.body.starts_with("ok")),
            (200, true),
            "{path}: {answer:?}"
        );
    }
    let metrics = until("25 confirmed events", || {
        let metrics = walpost.metrics();
        (metrics.sum("walpost_events_total", &[("topic", &topic)]) >= 25.0).then_some(metrics)
    });
    let get = |name: &str| metrics.get(name, &labels).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(get("walpost_events_total"), 25.0);
    assert_eq!(get("walpost_transactions_total"), 1.0);
    assert_eq!(get("walpost_event_latency_seconds_count"), 25.0);
    assert_eq!((get("walpost_leader"), get("walpost_postgres_connected")), (1.0, 1.0));
    assert!(get("walpost_event_bytes_total") > 25.0 * 10.0);
    until("lag 0", || {
        let metrics = walpost.metrics();
        let zero = metrics.get("walpost_lag_seconds", &labels) == Some(0.0);
        (zero && metrics.get("walpost_caught_up", &labels) == Some(1.0)).then_some(())
    });

    let answer = walpost.get("/status.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let status = answer.json();
    assert_eq!(status["state"], "streaming");
    assert_eq!(status["name"], connector.1);
    assert_eq!(status["counts"]["events"], 25);
    assert_eq!(status["topics"][0]["topic"], topic);
    let lsn = |member: &str| crate::oracle::lsn(status["positions"][member].as_str().unwrap());
    assert!(lsn("flushed") <= lsn("checkpointed") && lsn("checkpointed") <= lsn("confirmed"));

    let page = walpost.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.contains("streaming") && page.body.contains(&topic), "{}", page.body);
    for outside in ["src=\"http", "href=\"http", "@import", "url(http", "src=\"//"] {
        assert!(!page.body.contains(outside), "no outside assets: {outside}");
    }
    let nowhere = walpost.get("/nowhere");
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.body.contains("/status.json"), "{}", nowhere.body);
}

#[test]
fn a_relay_whose_servers_are_away_lives_is_not_ready_and_says_why() {
    // Ports on which nobody listens.
    let (postgres, kafka) = (free_ports(1), free_ports(1));
    let mut walpost = Settings::none()
        .env("DATABASE_URL", format!("postgres://u@127.0.0.1:{postgres}/shop"))
        .env("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{kafka}"))
        .env("WALPOST_HTTP_ADDR", format!("127.0.0.1:{}", free_ports(1)))
        .start();
    let status = until("an error on the page", || {
        let status = walpost.try_get("/status.json")?.json();
        status["errors"].as_array().is_some_and(|errors| !errors.is_empty()).then_some(status)
    });
    assert_eq!(status["state"], "starting");
    let verdict = status["verdict"].as_str().unwrap();
    assert!(verdict.contains(&postgres.to_string()), "the verdict names the address: {verdict}");
    assert_eq!(walpost.get("/livez").status, 200);
    assert_eq!(walpost.get("/startupz").status, 200);
    let ready = walpost.get("/readyz");
    assert_eq!((ready.status, ready.body.starts_with("no")), (503, true), "{}", ready.body);
    let metrics: Metrics = walpost.metrics();
    let names = metrics.names();
    for name in FROM_THE_START {
        assert!(names.contains(name), "{name} is not there from the start: {names:?}");
    }
    // Every word of a state, a halt, a reason has its series.
    for state in
        ["starting", "standby", "snapshotting", "streaming", "backpressured", "draining", "halted"]
    {
        let expected = f64::from(state == "starting");
        assert_eq!(metrics.get("walpost_state", &[("state", state)]), Some(expected), "{state}");
    }
    assert_eq!(metrics.get("walpost_postgres_connected", &[]), Some(0.0));
    assert!(walpost.is_running());
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "a stop is clean before anything was reached");
}

#[test]
fn the_commands_that_ask_a_running_relay_tell_what_it_says() {
    let (database, kafka) = (Postgres::newest().database("asked"), Kafka::shared());
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let health = settings.clone().arguments(&["healthcheck"]).run();
    assert_eq!((health.code, health.stdout.starts_with("ok")), (0, true), "{health:?}");
    let status = settings.clone().arguments(&["status"]).run();
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.stdout.contains("streaming"), "{status:?}");
    let json = settings.clone().arguments(&["status", "--json"]).run();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["state"], "streaming");
    walpost.kill();
    for command in ["healthcheck", "status"] {
        let finished = settings.clone().arguments(&[command]).run();
        assert_eq!(finished.code, 1, "{finished:?}");
        assert!(finished.stderr.contains("no answer"), "{finished:?}");
    }
    let version = Settings::none().arguments(&["version"]).run();
    assert_eq!(version.stdout, format!("walpost {}\n", env!("CARGO_PKG_VERSION")));
}
