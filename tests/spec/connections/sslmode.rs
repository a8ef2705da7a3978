//! Each `sslmode` meets each kind of server.

use std::process::Command;

use super::certificates::Certificates;
use super::{CANARY, Cell, Expected};
use crate::servers::{Database, Kafka, Postgres, script};

/// The modes, and whether our authority's certificate is named in `PGSSLROOTCERT`.
const MODES: [(&str, bool); 11] = [
    ("disable", true),
    ("allow", true),
    ("prefer", true),
    ("require", true),
    ("verify-ca", true),
    ("verify-full", true),
    ("allow", false),
    ("prefer", false),
    ("require", false),
    ("verify-ca", false),
    ("verify-full", false),
];

const CLEAR: Expected<'_> = Expected::StreamsOver { tls: false };
const TLS: Expected<'_> = Expected::StreamsOver { tls: true };
const ISSUER: Expected<'_> = Expected::Refused("signed by an authority that is not trusted");
const HOST: Expected<'_> = Expected::Refused("certificate is for another host");
const EXPIRED: Expected<'_> = Expected::Refused("certificate has expired");
const NO_TLS: Expected<'_> = Expected::Refused("the server does not offer TLS");
const ROOT: Expected<'_> =
    Expected::Misconfigured("must be verify-full with the system's authorities");
const RULE: Expected<'_> = Expected::Halted("authentication", "pg_hba.conf rejects connection");

/// A kind of server: its name, its certificate ("" without TLS), the role, which decides the rule of
/// `pg_hba.conf`, and what comes of each of [`MODES`].
type Kind = (&'static str, &'static str, &'static str, [Expected<'static>; 11]);

const SERVERS: [Kind; 8] = [
    ("right", "right", "relay", [CLEAR, CLEAR, TLS, TLS, TLS, TLS, CLEAR, TLS, TLS, ROOT, ISSUER]),
    // With an authority named, `prefer` too verifies, and falls back to no encryption.
    (
        "wrong authority",
        "wrong-authority",
        "relay",
        [CLEAR, CLEAR, CLEAR, ISSUER, ISSUER, ISSUER, CLEAR, TLS, TLS, ROOT, ISSUER],
    ),
    (
        "wrong host",
        "wrong-host",
        "relay",
        [CLEAR, CLEAR, TLS, TLS, TLS, HOST, CLEAR, TLS, TLS, ROOT, ISSUER],
    ),
    (
        "expired",
        "expired",
        "relay",
        [CLEAR, CLEAR, CLEAR, EXPIRED, EXPIRED, EXPIRED, CLEAR, TLS, TLS, ROOT, EXPIRED],
    ),
    (
        "plaintext only",
        "",
        "relay",
        [CLEAR, CLEAR, CLEAR, NO_TLS, NO_TLS, NO_TLS, CLEAR, CLEAR, NO_TLS, ROOT, NO_TLS],
    ),
    ("hostssl", "right", "tls_only", [RULE, TLS, TLS, TLS, TLS, TLS, TLS, TLS, TLS, ROOT, ISSUER]),
    (
        "hostssl, wrong authority",
        "wrong-authority",
        "tls_only",
        [RULE, RULE, ISSUER, ISSUER, ISSUER, ISSUER, TLS, TLS, TLS, ROOT, ISSUER],
    ),
    (
        "hostnossl",
        "right",
        "clear_only",
        [CLEAR, CLEAR, CLEAR, RULE, RULE, RULE, CLEAR, CLEAR, RULE, ROOT, ISSUER],
    ),
];

#[test]
fn each_sslmode_streams_or_refuses_as_in_libpq() {
    script("install", &["psql"]);
    let certificates = Certificates::make(CANARY);
    let server = Postgres::start_with(18, &["password_encryption=scram-sha-256"]);
    let kafka = Kafka::shared();
    let databases = MODES.map(|_| server.database("sslmode"));
    databases.iter().for_each(Database::create_outbox);
    for role in ["relay", "tls_only", "clear_only"] {
        databases[0].execute(&format!("create role {role} login superuser password '{CANARY}'"));
    }
    server.allow_first(&[
        "host all relay 127.0.0.1/32 scram-sha-256",
        "hostssl all tls_only 127.0.0.1/32 scram-sha-256",
        "hostssl all clear_only 127.0.0.1/32 reject",
        "hostnossl all clear_only 127.0.0.1/32 scram-sha-256",
        "hostnossl all tls_only 127.0.0.1/32 reject",
    ]);
    for kind in &SERVERS {
        if kind.1.is_empty() {
            server.set(&[("ssl", "off")]);
        } else {
            let (certificate, key) = (format!("{}.pem", kind.1), format!("{}.key", kind.1));
            server.set(&[
                ("ssl_cert_file", &certificates.path(&certificate)),
                ("ssl_key_file", &certificates.path(&key)),
                ("ssl", "on"),
            ]);
        }
        std::thread::scope(|scope| {
            for (column, database) in databases.iter().enumerate() {
                let (server, certificates) = (&server, &certificates);
                scope.spawn(move || check(kind, column, (server, database, kafka), certificates));
            }
        });
    }
}

#[track_caller]
fn check(
    (server_kind, _, role, expected): &Kind,
    column: usize,
    (server, database, kafka): (&Postgres, &Database, &Kafka),
    certificates: &Certificates,
) {
    let (mode, root) = MODES[column];
    let mut environment = vec![
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", server.port().to_string()),
        ("PGDATABASE", database.name().to_owned()),
        ("PGUSER", (*role).to_owned()),
        ("PGPASSWORD", CANARY.to_owned()),
        ("PGSSLMODE", mode.to_owned()),
    ];
    if root {
        environment.push(("PGSSLROOTCERT", certificates.path("ours.pem")));
    }
    let name =
        format!("{server_kind}: {mode}{}", if root { "" } else { ", no authority is named" });
    libpq(&name, &environment, expected[column]);
    // What the system trusts: something, so that this does not depend on the machine.
    environment.push(("SSL_CERT_FILE", certificates.path("unrelated.pem")));
    Cell { name, environment, expected: expected[column] }.check(database, kafka);
}

/// Holds what psql does against what walpost is expected to do.
#[track_caller]
fn libpq(name: &str, environment: &[(&str, String)], expected: Expected<'_>) {
    let output = Command::new("psql")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        // libpq finds an authority and a client certificate there.
        .env("HOME", "/nonexistent")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .args(["-XAtc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let tls = output.status.success().then(|| said.trim() == "t");
    let expected = match expected {
        Expected::StreamsOver { tls } => Some(tls),
        Expected::Streams
        | Expected::Refused(_)
        | Expected::Misconfigured(_)
        | Expected::Halted(..) => None,
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(tls, expected, "{name}: libpq does something else: {error}");
}
