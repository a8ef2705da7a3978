//! Goal: a wrong configuration is told whole and at once; a secret is told never.
//! Method: the program is run with wrong and with secret values, and everything it says is read.

use std::io::Write as _;

use crate::servers::{Kafka, Postgres, Session, Settings, until};

#[test]
fn all_mistakes_are_one_message_and_exit_code_78() {
    let finished = Settings::none()
        .env("PGSSLMODE", "verify_full")
        .env("WALPOST_MAX_IN_FLIGHT", "16")
        .env("WALPOST_TOPICS", "x")
        .env("KAFKA_PROP_ACKS", "1")
        .run();
    assert_eq!(finished.code, 78, "{finished:?}");
    assert_eq!(finished.stdout, "");
    for part in [
        "configuration error (6 problems)",
        "PGSSLMODE=\"verify_full\"",
        "did you mean \"verify-full\"?",
        "WALPOST_MAX_IN_FLIGHT=\"16\": a unit is missing",
        "did you mean WALPOST_TOPIC?",
        "KAFKA_PROP_ACKS: may not be set",
        "KAFKA_BOOTSTRAP_SERVERS: is required",
        "PGUSER: is required",
    ] {
        assert!(finished.stderr.contains(part), "{part:?} is not in {}", finished.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for arguments in
        [&["no-such-command"][..], &["run", "--no-such-flag"], &["config", "--json", "--env"]]
    {
        let finished = Settings::none().arguments(arguments).run();
        assert_eq!(finished.code, 2, "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.is_empty());
    }
}

#[test]
fn the_help_lists_every_variable_with_its_default() {
    let finished = Settings::none().arguments(&["--help"]).run();
    assert_eq!(finished.code, 0);
    for variable in walpost::config::table::VARIABLES.iter() {
        assert!(finished.stdout.contains(variable.name), "{}", variable.name);
        assert!(finished.stdout.contains(variable.default), "{}", variable.default);
    }
}

#[test]
fn the_effective_configuration_names_the_origin_of_each_value() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "KAFKA_BOOTSTRAP_SERVERS=from-file:9092\nWALPOST_SLOT=from_file").unwrap();
    let path = file.path().to_str().unwrap();
    let finished = Settings::none()
        .env("DATABASE_URL", "postgres://walpost:hidden-word@db/shop")
        .env("WALPOST_SLOT", "from_environment")
        .arguments(&["config", "--json", "--env-file", path])
        .run();
    assert_eq!(finished.code, 0, "{finished:?}");
    let config: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    for (name, value, origin) in [
        ("WALPOST_SLOT", "from_environment", "environment"),
        ("KAFKA_BOOTSTRAP_SERVERS", "from-file:9092", "env file"),
        ("PGHOST", "db", "DATABASE_URL"),
        ("WALPOST_MAX_IN_FLIGHT", "16MiB", "default"),
        ("WALPOST_NAME", "shop.from_environment", "derived"),
        ("PGPASSWORD", "***", "DATABASE_URL"),
    ] {
        assert_eq!(config[name]["value"], value, "{name}");
        assert_eq!(config[name]["origin"], origin, "{name}");
    }
    assert!(!finished.stdout.contains("hidden-word"));
}

#[test]
fn the_template_is_an_env_file_that_is_accepted() {
    let template = Settings::none().arguments(&["config", "--env"]).run();
    assert_eq!(template.code, 0);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(template.stdout.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let finished = Settings::none()
        .env("DATABASE_URL", "postgres://walpost@db/shop")
        .env("KAFKA_BOOTSTRAP_SERVERS", "k:9092")
        .arguments(&["config", "--env-file", path])
        .run();
    assert_eq!(finished.code, 0, "{finished:?}");
}

const CANARY: &str = "canary-word-9f2";

/// Everything that a running relay shows.
fn all_it_shows(walpost: &crate::servers::walpost::Walpost) -> String {
    let mut shown = walpost.log();
    for path in ["/", "/metrics", "/status.json", "/readyz", "/livez", "/startupz"] {
        if let Some(answer) = walpost.try_get(path) {
            shown.push_str(&answer.body);
        }
    }
    shown
}

#[test]
fn a_wrong_password_halts_is_never_shown_and_is_read_again_from_its_file() {
    let server = Postgres::start_with(18, &["password_encryption=scram-sha-256"]);
    let kafka = Kafka::shared();
    let database = server.database("password");
    database.create_outbox();
    database.execute(&format!(
        "create role relay login replication superuser password 'right-{CANARY}'"
    ));
    let hba = server.path().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    let asks = "host all relay 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(&hba, format!("{asks}{rules}")).unwrap();
    Session::open(&server.url("postgres")).value("select pg_reload_conf()::text");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("wrong-{CANARY}\n")).unwrap();
    let url = format!("postgres://relay@127.0.0.1:{}/{}", server.port(), database.name());
    let mut walpost = Settings::new(&database, kafka)
        .env("DATABASE_URL", url)
        .env("PGPASSWORD_FILE", file.path().to_str().unwrap())
        .start();
    until("the halt", || {
        let halted = walpost.try_get("/status.json")?.body.contains("\"authentication\"");
        halted.then_some(())
    });
    assert_eq!(walpost.get("/readyz").status, 503);
    let shown = all_it_shows(&walpost);
    assert!(!shown.contains(CANARY), "{shown}");

    std::fs::write(file.path(), format!("right-{CANARY}\n")).unwrap();
    walpost.wait_until_ready();
    let shown = all_it_shows(&walpost);
    assert!(!shown.contains(CANARY), "{shown}");
}

#[test]
fn no_secret_is_shown_while_connections_fail() {
    // Ports on which nothing listens.
    let mut walpost = Settings::none()
        .env("DATABASE_URL", format!("postgres://u:{CANARY}@127.0.0.1:9/shop"))
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
        .env("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
        .env("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
        .env("KAFKA_SASL_USERNAME", "walpost")
        .env("KAFKA_SASL_PASSWORD", CANARY)
        .env("WALPOST_HTTP_PASSWORD", CANARY)
        .env("WALPOST_HTTP_USERNAME", "ops")
        .env("WALPOST_LOG", "debug")
        .env("WALPOST_HTTP_ADDR", format!("127.0.0.1:{}", crate::servers::free_ports(1)))
        .start();
    walpost.wait_for_line("failed to connect to the database");
    let shown = all_it_shows(&walpost);
    assert!(!shown.contains(CANARY), "{shown}");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    assert!(!walpost.log().contains(CANARY));
}
