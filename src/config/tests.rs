use super::env::{Origin, Variables};
use super::table::{Accepted, VARIABLES};
use super::*;

mod secrets;

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
fn messages_need_no_table_and_take_one_that_is_named() {
    let tables = |more: &[(&str, &str)]| {
        let Config { tables, messages, .. } = load(more).config;
        (tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(","), messages)
    };
    assert_eq!(tables(&[]), ("public.outbox".to_owned(), None));
    assert_eq!(tables(&[("WALPOST_MESSAGES", "")]), ("public.outbox".to_owned(), None));
    let shop = Some("shop".to_owned());
    assert_eq!(tables(&[("WALPOST_MESSAGES", "shop")]), (String::new(), shop.clone()));
    let empty = [("WALPOST_MESSAGES", "shop"), ("WALPOST_TABLE", "")];
    assert_eq!(tables(&empty), (String::new(), shop.clone()));
    let both = [("WALPOST_MESSAGES", "shop"), ("WALPOST_TABLE", "a.b,c")];
    assert_eq!(tables(&both), ("a.b,public.c".to_owned(), shop));
    check_refused(&[("WALPOST_MESSAGES", "a\nb")], &["1 problem", "WALPOST_MESSAGES"]);
    let long = "x".repeat(256);
    check_refused(&[("WALPOST_MESSAGES", &long)], &["1 problem", "1 to 255 bytes"]);
    check_refused(
        &[("WALPOST_MESSAGES", "shop"), ("WALPOST_PRUNE_AFTER", "7d")],
        &["1 problem", "WALPOST_PRUNE_AFTER", "no table to delete from"],
    );
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
    // What a broken URL may have said is not asked for beside it.
    check_refused(&[("DATABASE_URL", "postgres://u@db:x/shop")], &["1 problem", "DATABASE_URL"]);
}

#[test]
fn a_command_without_kafka_needs_no_word_of_it_but_refuses_a_wrong_one() {
    let load = |more: &[(&str, &str)]| {
        let source: Variables =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::load_for(&source, Needs::Database)
    };
    let url = ("DATABASE_URL", "postgres://u@db/ein%20laden");
    let loaded = load(&[url]).expect("usable");
    assert_eq!((loaded.config.name.as_str(), loaded.config.slot.as_str()), ("walpost", "walpost"));
    load(&[url, ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")]).expect("usable");
    for (name, value) in [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:x"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl-ssl"),
        ("KAFKA_PROP_LINGER_MSS", "1"),
        ("WALPOST_TABEL", "a"),
    ] {
        let refused = load(&[url, (name, value)]).expect_err(name).to_string();
        assert!(refused.contains(name), "{refused}");
    }
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
fn a_value_may_stand_in_a_file_which_is_read_again() {
    let file = tempfile::NamedTempFile::new().expect("file");
    let path = file.path().to_str().expect("utf-8");
    let source = with(&[("PGPASSWORD_FILE", path), ("KAFKA_PROP_LINGER_MS_FILE", path)]);
    for content in ["12", "34"] {
        std::fs::write(file.path(), format!("{content}\n")).expect("written");
        let loaded = Config::load(&source).expect("usable");
        let password = loaded.config.database.password.expect("password");
        assert_eq!(password.expose(), content);
        assert_eq!(loaded.config.kafka.properties["linger.ms"].expose(), content);
        assert_eq!(loaded.effective["PGPASSWORD"].origin, Origin::File);
    }
    check_refused(
        &[("PGPASSWORD", "x"), ("PGPASSWORD_FILE", path)],
        &["1 problem", "PGPASSWORD_FILE: is set beside PGPASSWORD"],
    );
    check_refused(
        &[("KAFKA_PROP_LINGER_MS", "1"), ("KAFKA_PROP_LINGER_MS_FILE", path)],
        &["1 problem", "KAFKA_PROP_LINGER_MS_FILE: is set beside KAFKA_PROP_LINGER_MS"],
    );
    check_refused(
        &[
            ("PGPASSWORD_FILE", "/nonexistent/x"),
            ("KAFKA_BOOTSTRAP_SERVERS", ""),
            ("KAFKA_BOOTSTRAP_SERVERS_FILE", "/nonexistent/y"),
        ],
        &[
            "2 problems",
            "PGPASSWORD_FILE=\"/nonexistent/x\": cannot be read",
            "KAFKA_BOOTSTRAP_SERVERS_FILE=\"/nonexistent/y\": cannot be read",
        ],
    );
}

#[test]
fn an_empty_variable_is_as_one_that_is_not_set() {
    let names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    let required = ["DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"];
    let empty: Vec<_> =
        names.iter().filter(|name| !required.contains(name)).map(|name| (*name, "")).collect();
    assert_eq!(load(&empty), load(&[]));
}

#[test]
fn every_default_is_accepted_as_a_value() {
    for variable in VARIABLES.iter() {
        if let Some(default) = variable.default_value() {
            let loaded = load(&[(variable.name, default)]);
            assert_eq!(loaded.config.name, "shop.walpost", "{}", variable.name);
        }
    }
}

#[test]
fn every_word_of_the_table_is_accepted_or_comes_later() {
    for variable in VARIABLES.iter() {
        let Accepted::Words(words) = variable.accepted else { continue };
        for word in words {
            let refused = match Config::load(&with(&[(variable.name, word)])) {
                Ok(_) => String::new(),
                // A word may be right and miss what goes with it.
                Err(invalid) => invalid.to_string(),
            };
            let later = variable.later_words.contains(word);
            assert_eq!(refused.contains("is not available"), later, "{}: {refused}", variable.name);
            assert!(later || !refused.contains("expected"), "{}: {refused}", variable.name);
        }
        check_refused(&[(variable.name, "no-such-word")], &[variable.name, "expected"]);
    }
}

#[test]
fn every_bound_of_the_table_holds() {
    for variable in VARIABLES.iter() {
        let (least, most) = match variable.accepted {
            Accepted::Text | Accepted::Words(_) => continue,
            Accepted::Duration(least, most) | Accepted::Size(least, most) => {
                (least.to_owned(), most.to_owned())
            }
            Accepted::Number(least, most) => (least.to_string(), most.to_string()),
        };
        load(&[(variable.name, &least)]);
        load(&[(variable.name, &most)]);
        let (number, unit) =
            most.split_at(most.find(|c: char| !c.is_ascii_digit()).unwrap_or(most.len()));
        let above = format!("{}{unit}", number.parse::<u64>().expect("a number") + 1);
        check_refused(&[(variable.name, &above)], &[variable.name, &format!("{least} to {most}")]);
        for wrong in ["x", "-1", "1.5", "18446744073709551616", "99999999999999999999d"] {
            check_refused(&[(variable.name, wrong)], &[variable.name]);
        }
    }
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
    for name in ["MAX_IN_FLIGHT", "MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION"] {
        check_refused(&[(&format!("KAFKA_PROP_{name}"), "6")], &["above 5"]);
    }
    let loaded = load(&[("KAFKA_PROP_MAX_IN_FLIGHT", "1"), ("KAFKA_PROP_linger_ms", "3")]);
    let properties = loaded.config.kafka.properties;
    assert_eq!(properties["linger.ms"].expose(), "3");
    // By the name that walpost's own default has, so that it replaces that default.
    assert_eq!(properties["max.in.flight.requests.per.connection"].expose(), "1");
}

#[cfg(not(feature = "msk-iam"))]
#[test]
fn features_that_are_not_there_are_refused_and_not_ignored() {
    for name in ["KAFKA_SASL_MECHANISM", "KAFKA_PROP_SASL_MECHANISMS"] {
        check_refused(&[(name, "AWS_MSK_IAM")], &[name, "is not available in this build"]);
    }
}

#[test]
fn shards_are_a_power_of_two_and_each_has_names_and_a_share_of_its_own() {
    for number in ["3", "6", "0", "128", "-2", "x"] {
        check_refused(&[("WALPOST_SHARDS", number)], &["WALPOST_SHARDS"]);
    }
    let long = "x".repeat(61);
    let many = ("WALPOST_SHARDS", "16");
    check_refused(&[many, ("WALPOST_SLOT", &long), ("WALPOST_NAME", "n")], &["WALPOST_SLOT"]);
    check_refused(&[many, ("WALPOST_PUBLICATION", &long)], &["WALPOST_PUBLICATION"]);
    check_refused(&[many, ("WALPOST_PRUNE_AFTER", "7d")], &["WALPOST_PRUNE_AFTER"]);
    check_refused(&[many, ("WALPOST_MESSAGES", "outbox")], &["WALPOST_MESSAGES"]);

    let config = load(&[("WALPOST_SHARDS", "4"), ("WALPOST_MAX_IN_FLIGHT", "16MiB")]).config;
    let streams = config.streams();
    let names: Vec<_> = streams.iter().map(|stream| stream.slot.as_str()).collect();
    assert_eq!(names, ["walpost_0", "walpost_1", "walpost_2", "walpost_3"]);
    let last = &streams[3];
    assert_eq!((last.publication.as_str(), last.max_in_flight), ("walpost_3", 4 << 20));
    assert_eq!((last.name.as_str(), last.shard_index()), (config.name.as_str(), 3));
    assert_eq!(last.transactional_name(), format!("{}/3", config.name));

    let one = load(&[]).config;
    assert_eq!((one.streams().len(), one.shard, one.slot.as_str()), (1, None, "walpost"));
    assert_eq!(one.transactional_name(), one.name);
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
    check_refused(&[("WALPOST_HTTP_USERNAME", "u")], &["WALPOST_HTTP_PASSWORD: is required"]);
    check_refused(&[("WALPOST_HTTP_PASSWORD", "p")], &["WALPOST_HTTP_USERNAME: is required"]);
    check_refused(
        &[("WALPOST_HTTP_USERNAME", "u:v"), ("WALPOST_HTTP_PASSWORD", "p")],
        &["WALPOST_HTTP_USERNAME=\"u:v\": may have no colon in it"],
    );
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
    check_refused(
        &[("WALPOST_HTTP_PORT", "9464")],
        &["WALPOST_HTTP_PORT: is no variable of walpost's; did you mean WALPOST_HTTP_ADDR?"],
    );
}

#[test]
fn a_mistyped_variable_of_libpq_or_kafka_is_warned_of() {
    for (name, meant) in [
        ("PGPASWORD", Some("PGPASSWORD")),
        ("KAFKA_SASL_USER_NAME", Some("KAFKA_SASL_USERNAME")),
        ("DATABASE_URI", Some("DATABASE_URL")),
        ("PGDATA", None),
        ("KAFKA_HEAP_OPTS", None),
        ("GHOST", None),
    ] {
        let expected: Vec<_> = meant
            .iter()
            .map(|meant| format!("{name} is not used by walpost; did you mean {meant}?"))
            .collect();
        assert_eq!(load(&[(name, "canary")]).warnings, expected, "{name}");
    }
}

#[test]
fn the_connector_has_a_name_that_kafka_takes() {
    assert_eq!(load(&[("WALPOST_NAME", "a.B_c-9")]).config.name, "a.B_c-9");
    for name in ["a b", "ä", "a/b", &"x".repeat(64)] {
        check_refused(&[("WALPOST_NAME", name)], &["WALPOST_NAME", "1 to 63 letters, digits"]);
    }
    check_refused(
        &[("DATABASE_URL", "postgres://u@db/my%20shop")],
        &["1 problem", "WALPOST_NAME: is required, because the default {database}.{slot}"],
    );
    load(&[("DATABASE_URL", "postgres://u@db/my%20shop"), ("WALPOST_NAME", "shop")]);
}

#[test]
fn walposts_own_topics_are_two_and_reserved() {
    let config = load(&[("WALPOST_DLQ_TOPIC", "dead")]).config;
    assert_eq!(config.events.reserved_topics, ["walpost.checkpoint.shop.walpost", "dead"]);
    check_refused(
        &[("WALPOST_DLQ_TOPIC", "walpost.checkpoint.shop.walpost")],
        &["WALPOST_DLQ_TOPIC", "is the checkpoint topic as well"],
    );
    for topic in [".", "..", "__own", "a b", "ä", &"x".repeat(250)] {
        check_refused(&[("WALPOST_CHECKPOINT_TOPIC", topic)], &["expected a topic name"]);
        check_refused(&[("WALPOST_DLQ_TOPIC", topic)], &["expected a topic name"]);
    }
}

#[test]
fn what_decides_an_event_is_checked_at_the_start() {
    for (name, value, expected) in [
        ("WALPOST_TOPIC", "a.{type", "is not closed"),
        ("WALPOST_TOPIC", "a b", "Kafka allows"),
        ("WALPOST_CE_TYPE", "", ""),
        ("WALPOST_CE_TYPE", "{}", "are empty"),
        ("WALPOST_CE_SOURCE", "/a b", "RFC 3986"),
        ("WALPOST_CE_SOURCE", "/{tabel}", "RFC 3986"),
        ("WALPOST_CE_DATACONTENTTYPE", "json", "media type"),
        ("WALPOST_TIME_ZONE", "Berlin", "zone"),
        ("WALPOST_CE_EXTENSIONS", "region", "expected name=column"),
        ("WALPOST_CE_EXTENSIONS", "Region=r", "lower-case"),
        ("WALPOST_CE_EXTENSIONS", "subject=r", "CloudEvents itself uses"),
        ("WALPOST_CE_EXTENSIONS", "data=r", "CloudEvents itself uses"),
        ("WALPOST_CE_EXTENSIONS", "region=", "the column is missing"),
        ("WALPOST_CE_EXTENSIONS", "a=b,a=c", "is named twice"),
        ("WALPOST_COLUMN_ID", "-", "cannot be none"),
    ] {
        if value.is_empty() {
            load(&[(name, value)]);
        } else {
            check_refused(&[(name, value)], &[name, expected]);
        }
    }
    let loaded = load(&[
        ("WALPOST_CE_EXTENSIONS", "region=region_code, anextensionwithalongname=x"),
        ("WALPOST_COLUMN_TIME", "at"),
        ("WALPOST_COLUMN_HEADERS", "-"),
    ]);
    let pair = |name: &str, column: &str| (name.to_owned(), column.to_owned());
    assert_eq!(
        loaded.config.events.extensions,
        [pair("region", "region_code"), pair("anextensionwithalongname", "x")]
    );
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("20 characters"));
}

#[test]
fn a_mode_of_the_registry_needs_the_registry_and_what_goes_with_it() {
    let url = ("WALPOST_REGISTRY_URL", "https://registry:8081/");
    let loaded = load(&[url, ("WALPOST_REGISTRY_MODE", "prefix")]);
    let registry = loaded.config.registry.clone().expect("a registry");
    assert_eq!(registry.url.as_str(), "https://registry:8081");
    assert!(loaded.config.schemas().is_some());
    let for_commands = load(&[url]).config;
    assert!(for_commands.registry.is_some() && for_commands.schemas().is_none());
    assert!(load(&[]).config.registry.is_none());

    check_refused(
        &[("WALPOST_REGISTRY_MODE", "validate")],
        &["WALPOST_REGISTRY_URL", "is required with WALPOST_REGISTRY_MODE"],
    );
    check_refused(
        &[url, ("WALPOST_REGISTRY_MODE", "header"), ("WALPOST_CE_MODE", "structured")],
        &["WALPOST_REGISTRY_MODE", "need WALPOST_CE_MODE=binary"],
    );
    check_refused(&[url, ("WALPOST_REGISTRY_USERNAME", "u")], &["WALPOST_REGISTRY_PASSWORD"]);
    check_refused(&[url, ("WALPOST_REGISTRY_PASSWORD", "p")], &["WALPOST_REGISTRY_USERNAME"]);
    check_refused(&[url, ("WALPOST_REGISTRY_SUBJECT", "{")], &["WALPOST_REGISTRY_SUBJECT"]);
    check_refused(&[("WALPOST_REGISTRY_URL", "registry:8081")], &["expected http://"]);

    let user = [("WALPOST_REGISTRY_USERNAME", "u"), ("WALPOST_REGISTRY_PASSWORD", "p")];
    let plain = load(&[("WALPOST_REGISTRY_URL", "http://registry"), user[0], user[1]]);
    assert!(plain.warnings.iter().any(|warning| warning.contains("can be read on the way")));
    let encrypted = load(&[url, user[0], user[1]]);
    assert_eq!(encrypted.warnings, Vec::<String>::new());
}
