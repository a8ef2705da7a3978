//! Passwords, channel binding and client certificates of Postgres.

use super::certificates::Certificates;
use super::{CANARY, Cell, Expected, check_all};
use crate::servers::{Kafka, Postgres};

const CLEAR: Expected<'_> = Expected::StreamsOver { tls: false };
const TLS: Expected<'_> = Expected::StreamsOver { tls: true };
const UNBOUND: Expected<'_> =
    Expected::Halted("authentication", "does not bind the authentication");

const fn halted(reason: &str) -> Expected<'_> {
    Expected::Halted("authentication", reason)
}

/// Role, `sslmode`, `channel_binding`, and what comes of it.
const PASSWORDS: [(&str, &str, &str, Expected<'_>); 16] = [
    ("scram", "disable", "prefer", CLEAR),
    ("scram", "disable", "disable", CLEAR),
    (
        "scram",
        "disable",
        "require",
        Expected::Misconfigured("cannot be require without encryption"),
    ),
    ("scram", "prefer", "require", TLS),
    ("scram", "require", "prefer", TLS),
    ("scram", "require", "disable", TLS),
    ("scram", "verify-full", "require", TLS),
    ("md5", "disable", "prefer", CLEAR),
    ("md5", "require", "prefer", TLS),
    ("md5", "require", "require", UNBOUND),
    // Only because no byte leaves the machine: over a network, walpost sends no password in the clear.
    ("cleartext", "disable", "prefer", CLEAR),
    ("cleartext", "require", "prefer", TLS),
    ("cleartext", "require", "require", UNBOUND),
    ("trusted", "require", "require", UNBOUND),
    ("wrong", "disable", "prefer", halted("password authentication failed")),
    ("wrong", "verify-full", "require", halted("password authentication failed")),
];

/// The files of the client certificate, and what comes of them under `clientcert=verify-full`.
const CERTIFICATES: [(&str, &str, &str, Expected<'_>); 7] = [
    ("the right certificate", "client.pem", "client.key", TLS),
    ("no certificate", "", "", halted("requires a valid client certificate")),
    (
        "another role's certificate",
        "client-of-another.pem",
        "client-of-another.key",
        halted("authentication failed for user"),
    ),
    (
        "another authority's certificate",
        "client-wrong-authority.pem",
        "client-wrong-authority.key",
        Expected::Refused("does not accept our client certificate (UnknownCA)"),
    ),
    (
        "an expired certificate",
        "client-expired.pem",
        "client-expired.key",
        Expected::Refused("does not accept our client certificate (CertificateExpired)"),
    ),
    (
        "another certificate's key",
        "client.pem",
        "right.key",
        Expected::Refused("sslcert and sslkey do not fit together"),
    ),
    (
        "an encrypted key",
        "client.pem",
        "client.encrypted.key",
        Expected::Refused("holds no PEM private key that can be used"),
    ),
];

#[test]
fn passwords_channel_binding_and_client_certificates_are_held_to_their_rules() {
    let certificates = Certificates::make(CANARY);
    let (certificate, key) = (certificates.path("right.pem"), certificates.path("right.key"));
    let ours = certificates.path("ours.pem");
    let server = Postgres::start(18);
    server.set(&[
        ("ssl_cert_file", &certificate),
        ("ssl_key_file", &key),
        ("ssl_ca_file", &ours),
        ("ssl", "on"),
    ]);
    let admin = server.database("roles");
    admin.execute("set password_encryption = 'md5'");
    admin.execute(&format!("create role md5 login superuser password '{CANARY}'"));
    admin.execute("set password_encryption = 'scram-sha-256'");
    for role in ["scram", "cleartext", "trusted", "wrong", "certain"] {
        let password = if role == "wrong" { "something else" } else { CANARY };
        admin.execute(&format!("create role {role} login superuser password '{password}'"));
    }
    server.allow_first(&[
        "host all scram,wrong 127.0.0.1/32 scram-sha-256",
        "host all md5 127.0.0.1/32 md5",
        "host all cleartext 127.0.0.1/32 password",
        "host all trusted 127.0.0.1/32 trust",
        "hostssl all certain 127.0.0.1/32 scram-sha-256 clientcert=verify-full",
    ]);
    let usual = |role: &str, mode: &str| {
        vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", server.port().to_string()),
            ("PGUSER", role.to_owned()),
            ("PGPASSWORD", CANARY.to_owned()),
            ("PGSSLMODE", mode.to_owned()),
            ("PGSSLROOTCERT", ours.clone()),
        ]
    };
    let mut cells = Vec::new();
    for (role, mode, binding, expected) in PASSWORDS {
        let mut environment = usual(role, mode);
        environment.push(("PGCHANNELBINDING", binding.to_owned()));
        let name = format!("{role}: {mode}, channel_binding={binding}");
        cells.push(Cell { name, environment, expected });
    }
    for (name, certificate, key, expected) in CERTIFICATES {
        let mut environment = usual("certain", "verify-full");
        if !certificate.is_empty() {
            environment.push(("PGSSLCERT", certificates.path(certificate)));
            environment.push(("PGSSLKEY", certificates.path(key)));
        }
        cells.push(Cell { name: format!("clientcert: {name}"), environment, expected });
    }
    let make = || server.database("authentication");
    check_all(&mut cells, make, Kafka::shared());

    let unsupported = Expected::Refused("signed in a way that is not supported");
    for (hash, expected) in [("sha384", TLS), ("sha512", unsupported)] {
        server.set(&[
            ("ssl_cert_file", &certificates.path(&format!("{hash}.pem"))),
            ("ssl_key_file", &certificates.path(&format!("{hash}.key"))),
        ]);
        let mut environment = usual("scram", "verify-full");
        environment.push(("PGCHANNELBINDING", "require".to_owned()));
        let name = format!("scram: a certificate signed with {hash}, channel_binding=require");
        check_all(&mut [Cell { name, environment, expected }], make, Kafka::shared());
    }
}
