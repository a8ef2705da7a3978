//! What lies between walpost and its servers: poolers, authorities, passwords, clocks.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{check, outbox, remedy};
use crate::connections::certificates::Certificates;
use crate::servers::{
    Kafka, PATIENCE, Postgres, clock_library, folder, free_ports, script, within,
};

/// A real PgBouncer before a server.
struct Pooler {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    #[track_caller]
    fn start(server: &Postgres, more: &str) -> Self {
        script("install", &["pgbouncer"]);
        let (port, folder) = (free_ports(1), folder("pgbouncer"));
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n{more}\n",
            server.port()
        );
        std::fs::write(&file, settings).expect("a file");
        // It refuses to be root, and becomes another user before it reads the file.
        let readable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).expect("a folder that all may read");
        let mut command = Command::new("pgbouncer");
        command.arg("--quiet");
        if std::fs::metadata(folder.path()).expect("our folder").uid() == 0 {
            command.args(["--user", "nobody"]);
        }
        let silent = command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = silent.stderr(Stdio::null()).spawn().expect("pgbouncer");
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        assert!(within(PATIENCE, listens).is_some(), "pgbouncer does not listen");
        Self { process, port, _folder: folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn a_pooler_in_between_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "pooled");
    for (more, check) in [
        // As it is installed, it lets nobody in who asks for a setting with the connection.
        ("", "postgres"),
        // With that allowed, it lets walpost in, and refuses to replicate.
        ("ignore_startup_parameters = options", "replication_connection"),
    ] {
        let pooler = Pooler::start(server, more);
        let url = format!("postgres://postgres@127.0.0.1:{}/{}", pooler.port, database.name());
        let checked = super::check(&settings.clone().env("DATABASE_URL", url));
        let problem = checked.problem(check, "unsupported startup parameter");
        let note = problem["remedy"]["note"].as_str().expect("a note");
        assert!(note.contains("PGHOST and PGPORT") && note.contains("PgBouncer"), "{note}");
    }
    // The server itself, as the note says.
    check(&settings).is_ready();
}

#[test]
fn a_server_certificate_of_another_authority_is_found() {
    let certificates = Certificates::make("unused");
    let server = Postgres::start(16);
    server.set(&[
        ("ssl_cert_file", &certificates.path("right.pem")),
        ("ssl_key_file", &certificates.path("right.key")),
        ("ssl", "on"),
    ]);
    let (_database, settings) = outbox(&server, Kafka::shared(), "authority");
    let settings = settings.env("PGSSLMODE", "verify-full");
    let with = |root: &str| settings.clone().env("PGSSLROOTCERT", certificates.path(root));
    let checked = check(&with("other.pem"));
    let problem = checked.problem("postgres", "certificate");
    assert!(remedy(problem, "variables")[0].starts_with("PGSSLROOTCERT="), "{problem:#}");
    check(&with("ours.pem")).is_ready();
}

#[test]
fn a_broker_certificate_of_another_authority_is_found() {
    let certificates = Certificates::make("unused");
    let port = free_ports(1);
    let kafka = Kafka::start_with_listeners(|plaintext| {
        let listeners = format!(
            "listeners=PLAINTEXT://127.0.0.1:{plaintext},CONTROLLER://127.0.0.1:{},SSL://127.0.0.1:{port}",
            plaintext + 1
        );
        let store = format!("ssl.keystore.location={}", certificates.path("right.both.pem"));
        vec![listeners, store, "ssl.keystore.type=PEM".to_owned()]
    });
    let (_database, settings) = outbox(Postgres::newest(), &kafka, "broker_authority");
    let settings = settings
        .env("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{port}"))
        .env("KAFKA_SECURITY_PROTOCOL", "ssl");
    let with = |ca: &str| settings.clone().env("KAFKA_SSL_CA_LOCATION", certificates.path(ca));
    let checked = check(&with("other.pem"));
    let problem = checked.problem("kafka", "certificate");
    assert!(remedy(problem, "variables")[0].starts_with("KAFKA_SSL_CA_LOCATION="), "{problem:#}");
    check(&with("ours.pem")).is_ready();
}

#[test]
fn a_wrong_kafka_password_and_a_protocol_that_asks_for_none_are_found() {
    let (kafka, address) = Kafka::start_with_sasl("walpost", "canary-right");
    let (_database, settings) = outbox(Postgres::newest(), &kafka, "kafka_password");
    let plain = settings.env("KAFKA_BOOTSTRAP_SERVERS", address);
    let checked = check(&plain);
    let problem = checked.problem("kafka", "no broker answers");
    let note = problem["remedy"]["note"].as_str().expect("a note");
    assert!(note.contains("KAFKA_SECURITY_PROTOCOL"), "{note}");
    let with = |password: &str| {
        plain
            .clone()
            .env("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
            .env("KAFKA_SASL_MECHANISM", "PLAIN")
            .env("KAFKA_SASL_USERNAME", "walpost")
            .env("KAFKA_SASL_PASSWORD", password)
    };
    let checked = check(&with("canary-wrong"));
    let problem = checked.problem("kafka", "no broker answers");
    assert_eq!(problem["halt"], "authentication");
    let note = problem["remedy"]["note"].as_str().expect("a note");
    assert!(note.contains("KAFKA_SASL_PASSWORD"), "{note}");
    assert!(!format!("{checked:?}").contains("canary"), "no secret is said: {checked:#?}");
    check(&with("canary-right")).is_ready();
}

#[test]
fn clocks_that_differ_are_found() {
    let library = clock_library();
    let server = Postgres::start(15);
    let (_database, settings) = outbox(&server, Kafka::shared(), "clock");
    check(&settings).is_ready();
    // The server lives an hour in the past; what it waits for goes by as ever.
    server.stop_fast();
    let started = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/postgres"))
        .args(["start", "--dir"])
        .arg(server.path())
        .envs([
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME", "-3600"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ])
        .status();
    assert!(started.expect("a script").success(), "the server does not start");
    let checked = check(&settings);
    checked.is_ready_but_for(&["clock"]);
    let warning = checked.warning("clock", "s behind this one");
    let found = warning["found"].as_str().expect("a text");
    assert!(found.contains("3599 s") || found.contains("3600 s"), "{found}");
    assert_eq!(warning["remedy"]["note"], "set both clocks by NTP");
    server.stop_fast();
    server.start_again();
    check(&settings).is_ready();
}
