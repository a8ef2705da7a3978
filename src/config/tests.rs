use super::env::{Origin, Variables};
use super::*;

fn base() -> Vec<(String, String)> {
    [("DATABASE_URL", "postgres://walpost@db/shop"), ("KAFKA_BOOTSTRAP_SERVERS", "k:9092")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn with(more: &[(&str, &str)]) -> Variables {
    let mut variables = base();
    for (name, value) in more {
        variables.retain(|(set, _)| set != name);
        variables.push(((*name).to_owned(), (*value).to_owned()));
    }
    variables.into_iter().collect()
}

#[track_caller]
fn check_refused(more: &[(&str, &str)], expected: &[&str]) {
    let refused = Config::load(&with(more)).expect_err("refused").to_string();
    for part in expected {
        assert!(refused.contains(part), "{part:?} is not in {refused}");
    }
}

#[track_caller]
fn load(more: &[(&str, &str)]) -> Loaded {
    Config::load(&with(more)).unwrap_or_else(|error| panic!("{more:?}: {error}"))
}

#[test]
fn two_addresses_are_enough() {
    let Config { name, slot, tables, checkpoint_topic, database, .. } = load(&[]).config;
    assert_eq!(name, "shop.walpost");
    assert_eq!(slot, "walpost");
    assert_eq!(tables[0].to_string(), "public.outbox");
    assert_eq!(checkpoint_topic, "walpost.checkpoint.shop.walpost");
    assert_eq!(database.application_name, "walpost/shop.walpost");
}

#[test]
fn all_bad_variables_are_reported_at_once() {
    check_refused(
        &[
            ("PGSSLMODE", "verify_full"),
            ("KAFKA_PROP_LINGERMS", "5"),
            ("WALPOST_MAX_IN_FLIGHT", "16"),
            ("WALPOST_SHUTDOWN_TIMEOUT", "25"),
            ("WALPOST_CREATE", "yes"),
            ("WALPOST_CE_MODE", "batch"),
            ("WALPOST_TOPICS", "x"),
            ("WALPOST_SLOT", "Big"),
        ],
        &[
            "8 problems",
            "PGSSLMODE=\"verify_full\"",
            "did you mean \"verify-full\"?",
            "did you mean linger.ms (KAFKA_PROP_LINGER_MS)?",
            "WALPOST_MAX_IN_FLIGHT=\"16\": a unit is missing",
            "WALPOST_SHUTDOWN_TIMEOUT=\"25\": a unit is missing",
            "WALPOST_CREATE=\"yes\": expected true or false",
            "no batch mode",
            "did you mean WALPOST_TOPIC?",
            "WALPOST_SLOT=\"Big\"",
        ],
    );
}

#[test]
fn what_is_missing_is_named() {
    let refused = Config::load(&Variables::default()).expect_err("refused").to_string();
    assert!(refused.contains("KAFKA_BOOTSTRAP_SERVERS: is required"), "{refused}");
    assert!(refused.contains("PGUSER: is required"), "{refused}");
}

#[test]
fn the_parts_of_the_url_win_over_libpqs_variables() {
    let loaded = load(&[
        (
            "DATABASE_URL",
            "postgresql://u%40x:p%2Fw@[::1]:5433,b/d%20b?sslmode=require&connect_timeout=7",
        ),
        ("PGUSER", "other"),
        ("PGSSLMODE", "disable"),
        ("WALPOST_NAME", "n"),
    ]);
    let database = &loaded.config.database;
    assert_eq!((database.user.as_str(), database.database.as_str()), ("u@x", "d b"));
    assert_eq!(database.password.as_ref().map(Secret::expose), Some("p/w"));
    assert_eq!(database.sslmode, Some(crate::postgres::options::SslMode::Require));
    assert_eq!(database.connect_timeout, Duration::from_secs(7));
    let hosts: Vec<_> =
        database.hosts.iter().map(|host| (host.address.clone(), host.port)).collect();
    let tcp = |name: &str| crate::postgres::options::HostAddress::Tcp(name.to_owned());
    assert_eq!(hosts, [(tcp("::1"), 5433), (tcp("b"), 5432)]);
    assert_eq!(loaded.effective["PGUSER"].origin, Origin::Url);
}

#[test]
fn a_value_may_stand_in_a_file_less_one_newline() {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), "secret\n\n").expect("written");
    let path = file.path().to_str().expect("utf-8");
    let loaded = load(&[("PGPASSWORD_FILE", path)]);
    let password = loaded.config.database.password.expect("password");
    assert_eq!(password.expose(), "secret\n");
    check_refused(
        &[("PGPASSWORD", "x"), ("PGPASSWORD_FILE", path)],
        &["PGPASSWORD_FILE: is set beside PGPASSWORD"],
    );
    check_refused(&[("PGPASSWORD_FILE", "/nonexistent/x")], &["/nonexistent/x", "cannot be read"]);
}

#[test]
fn properties_that_a_promise_hangs_on_are_refused_with_the_reason() {
    for property in [
        "ACKS",
        "REQUEST_REQUIRED_ACKS",
        "ENABLE_IDEMPOTENCE",
        "ENABLE_GAPLESS_GUARANTEE",
        "MESSAGE_TIMEOUT_MS",
        "DELIVERY_TIMEOUT_MS",
        "RETRIES",
        "PARTITIONER",
        "TRANSACTIONAL_ID",
        "QUEUING_STRATEGY",
        "MESSAGE_MAX_BYTES",
    ] {
        let name = format!("KAFKA_PROP_{property}");
        check_refused(&[(&name, "1")], &[&name, "may not be set"]);
    }
    check_refused(&[("KAFKA_PROP_MAX_IN_FLIGHT", "6")], &["above 5"]);
    let loaded = load(&[("KAFKA_PROP_MAX_IN_FLIGHT", "1"), ("KAFKA_PROP_linger_ms", "3")]);
    assert_eq!(loaded.config.kafka.properties["linger.ms"].expose(), "3");
}

#[test]
fn features_that_are_not_there_are_refused_and_not_ignored() {
    check_refused(&[("WALPOST_SHARDS", "2")], &["WALPOST_SHARDS=\"2\": is not available"]);
    check_refused(&[("WALPOST_DELIVERY", "exactly-once")], &["is not available in this version"]);
    check_refused(&[("WALPOST_REGISTRY_URL", "http://r")], &["is not available"]);
    load(&[("WALPOST_SHARDS", "1")]);
}

#[test]
fn security_settings_go_together() {
    check_refused(
        &[("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")],
        &["KAFKA_SASL_MECHANISM: is required"],
    );
    check_refused(&[("KAFKA_SASL_MECHANISM", "PLAIN")], &["must be sasl_ssl or sasl_plaintext"]);
    check_refused(
        &[("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"), ("KAFKA_SASL_MECHANISM", "PLAIN")],
        &["KAFKA_SASL_USERNAME: is required", "KAFKA_SASL_PASSWORD: is required"],
    );
    check_refused(&[("PGSSLCERT", "/c")], &["PGSSLKEY"]);
    check_refused(&[("WALPOST_HTTP_USERNAME", "u")], &["WALPOST_HTTP_PASSWORD"]);
    check_refused(&[("KAFKA_SSL_CA_LOCATION", "/c")], &["must be ssl or sasl_ssl"]);
}

#[test]
fn kubernetes_service_links_are_ignored_with_one_warning() {
    let loaded = load(&[
        ("WALPOST_SERVICE_HOST", "10.0.0.1"),
        ("WALPOST_SERVICE_PORT", "9464"),
        ("WALPOST_SERVICE_PORT_HTTP", "9464"),
        ("WALPOST_PORT", "tcp://10.0.0.1:9464"),
        ("WALPOST_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
        ("WALPOST_PORT_9464_TCP_PROTO", "tcp"),
        ("WALPOST_METRICS_SERVICE_HOST", "10.0.0.2"),
    ]);
    let warnings: Vec<_> =
        loaded.warnings.iter().filter(|warning| warning.contains("enableServiceLinks")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn no_secret_is_ever_printed() {
    const CANARY: &str = "canary-7f3a";
    let url = format!("postgres://walpost:{CANARY}@db/shop");
    let query = format!("postgres://walpost@db/shop?password={CANARY}");
    let unknown = format!("postgres://walpost@db/shop?pasword={CANARY}");
    let odd_scheme = format!("mysql://walpost:{CANARY}@db/shop");
    let odd_host = format!("postgres://walpost:{CANARY}@db:x{CANARY}/shop");
    for (name, value) in [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_URL", &query),
        ("DATABASE_URL", &unknown),
        ("DATABASE_URL", &odd_scheme),
        ("DATABASE_URL", "postgres://walpost:%zzcanary-7f3a@db/shop"),
        ("PGPASSWORD", CANARY),
        ("KAFKA_SASL_PASSWORD", CANARY),
        ("KAFKA_SSL_KEY_PASSWORD", CANARY),
        ("KAFKA_PROP_SASL_PASSWORD", CANARY),
        ("KAFKA_PROP_SASL_PASWORD", CANARY),
        ("KAFKA_PROP_SSL_KEY_PEM", CANARY),
        ("KAFKA_PROP_SASL_OAUTHBEARER_CONFIG", CANARY),
        ("WALPOST_HTTP_PASSWORD", CANARY),
        ("WALPOST_REGISTRY_PASSWORD", CANARY),
    ] {
        let printed = match Config::load(&with(&[(name, value)])) {
            Ok(loaded) => format!("{loaded:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!printed.contains(CANARY), "{name}: {printed}");
    }
    // A port is no secret, and is shown as it stands.
    drop(odd_host);
}
