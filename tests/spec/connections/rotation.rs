//! Passwords that change while walpost runs.

use super::certificates::{Certificates, EXPIRY, SOONER};
use super::{CANARY, all_it_shows, assert_shows_no_secret, expiry, halted_by};
use crate::servers::{Database, Kafka, Postgres, Settings, free_ports, until};

/// How long a session lives at the broker that asks for passwords again.
const REAUTHENTICATION: std::time::Duration = std::time::Duration::from_secs(3);

/// Rows that are written at each step.
const STEP: u32 = 50;

#[test]
fn a_new_postgres_password_is_read_from_its_file_without_a_restart() {
    let server = Postgres::start_with(18, &["password_encryption=scram-sha-256"]);
    let kafka = Kafka::shared();
    let database = server.database("rotation");
    database.create_outbox();
    let password = |number: u32| format!("{CANARY}-{number}");
    database.execute(&format!("create role relay login superuser password '{}'", password(1)));
    server.allow_first(&["host all relay 127.0.0.1/32 scram-sha-256"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), password(1)).unwrap();
    let mut walpost = Settings::new(&database, kafka)
        .env(
            "DATABASE_URL",
            format!("postgres://relay@127.0.0.1:{}/{}", server.port(), database.name()),
        )
        .env("PGPASSWORD_FILE", file.path().to_str().unwrap())
        .start();
    walpost.wait_until_ready();
    write_and_read(&database, kafka, 0);
    let change = |number| {
        database.execute(&format!("alter role relay password '{}'", password(number)));
    };
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'relay'";

    // In order: the file has the new password by the time a connection needs it.
    change(2);
    std::fs::write(file.path(), password(2)).unwrap();
    database.execute(end);
    write_and_read(&database, kafka, 1);

    // Out of order: connections end before the file is changed.
    change(3);
    database.execute(end);
    until("the halt", || (halted_by(&walpost) == "authentication").then_some(()));
    database.insert_rows("order", 2 * STEP, STEP, 5);
    std::fs::write(file.path(), password(3)).unwrap();
    walpost.wait_until_ready();
    read(&database, kafka, 3 * STEP);
    write_and_read(&database, kafka, 3);

    assert_shows_no_secret(&all_it_shows(&walpost), "postgres rotation");
}

#[test]
fn renewed_certificates_are_used_from_the_next_connection_on() {
    let server = Postgres::start(18);
    let certificates = Certificates::make(CANARY);
    let [ours, sooner, right] =
        ["ours", "sooner", "right"].map(|name| certificates.path(&format!("{name}.pem")));
    let database = server.database("renewal");
    database.create_outbox();
    database.execute("create role certain login superuser");
    server.allow_first(&["hostssl all certain 127.0.0.1/32 cert"]);
    server.set(&[
        ("ssl_cert_file", &sooner),
        ("ssl_key_file", &certificates.path("sooner.key")),
        ("ssl_ca_file", &ours),
        ("ssl", "on"),
    ]);
    // Copies, since they are going to be replaced.
    let (certificate, key) = (certificates.copy("client.pem"), certificates.copy("client.key"));
    let kafka = Kafka::shared();
    let url = format!("postgres://certain@localhost:{}/{}", server.port(), database.name());
    let mut walpost = Settings::new(&database, kafka)
        .env("DATABASE_URL", url)
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &ours)
        .env("PGSSLCERT", &certificate)
        .env("PGSSLKEY", &key)
        .start();
    walpost.wait_until_ready();
    write_and_read(&database, kafka, 0);
    assert_eq!(expiry(&walpost, "postgres"), SOONER);

    // The server's certificate, and ours, which the server would no longer take.
    std::fs::copy(certificates.path("client-renewed.pem"), &certificate).unwrap();
    std::fs::copy(certificates.path("client-renewed.key"), &key).unwrap();
    server.set(&[
        ("ssl_cert_file", &right),
        ("ssl_key_file", &certificates.path("right.key")),
        ("ssl_ca_file", &certificates.path("other.pem")),
    ]);
    assert_eq!(expiry(&walpost, "postgres"), SOONER);
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'certain'",
    );
    write_and_read(&database, kafka, 1);
    until("the new certificate's end", || (expiry(&walpost, "postgres") == EXPIRY).then_some(()));
}

#[test]
fn a_new_kafka_password_is_read_from_its_file_without_a_restart() {
    let port = free_ports(1);
    // The broker asks for the password again every few seconds (KIP-368), as it would of a new
    // connection, and closes the connection of who does not know it.
    let kafka = Kafka::start_with_listeners(|plaintext| {
        let scram = "listener.name.sasl.scram-sha-512";
        vec![
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{plaintext},CONTROLLER://127.0.0.1:{},\
                 SASL://127.0.0.1:{port}",
                plaintext + 1
            ),
            "listener.security.protocol.map=\
             PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT"
                .to_owned(),
            "sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
            format!(
                "{scram}.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            format!("{scram}.connections.max.reauth.ms={}", REAUTHENTICATION.as_millis()),
        ]
    });
    let password = |number: u32| format!("{CANARY}-{number}");
    kafka.scram_user("SCRAM-SHA-512", "relay", &password(1));
    let database = Postgres::newest().database("rotation");
    database.create_outbox();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), password(1)).unwrap();
    let mut walpost = Settings::new(&database, &kafka)
        .env("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{port}"))
        .env("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
        .env("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
        .env("KAFKA_SASL_USERNAME", "relay")
        .env("KAFKA_SASL_PASSWORD_FILE", file.path().to_str().unwrap())
        .start();
    walpost.wait_until_ready();
    write_and_read(&database, &kafka, 0);

    kafka.scram_user("SCRAM-SHA-512", "relay", &password(2));
    until("the halt", || (halted_by(&walpost) == "authentication").then_some(()));
    database.insert_rows("order", STEP, STEP, 5);
    std::fs::write(file.path(), password(2)).unwrap();
    read(&database, &kafka, 2 * STEP);
    walpost.wait_until_ready();
    write_and_read(&database, &kafka, 2);

    // A broker that dies while it is asked for the mechanism has not refused the password.
    let generation = walpost.metrics().get("walpost_producer_generation", &[]);
    kafka.freeze();
    // The session ends meanwhile, and librdkafka asks for the next.
    std::thread::sleep(REAUTHENTICATION + std::time::Duration::from_secs(1));
    kafka.kill();
    walpost.wait_for_line("mechanism handshake failed: Local: ");
    kafka.start_again();
    write_and_read(&database, &kafka, 3);
    let after = walpost.metrics().get("walpost_producer_generation", &[]);
    assert_eq!(after, generation, "{}", walpost.log());

    assert_shows_no_secret(&all_it_shows(&walpost), "kafka rotation");
}

/// Writes the rows of a step and waits until they and all before are in Kafka.
#[track_caller]
fn write_and_read(database: &Database, kafka: &Kafka, step: u32) {
    database.insert_rows("order", step * STEP, STEP, 5);
    read(database, kafka, (step + 1) * STEP);
}

/// Waits until every row up to `count` is in Kafka. Repeats are allowed, gaps are not.
#[track_caller]
fn read(database: &Database, kafka: &Kafka, count: u32) {
    let topic = format!("{}.order", database.name());
    until(&format!("all of {count} rows in Kafka"), || {
        let records = kafka.records(&topic);
        let seen: std::collections::BTreeSet<_> =
            records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect();
        (seen == (0..u64::from(count)).collect()).then_some(())
    });
}
