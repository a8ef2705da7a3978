//! Where Postgres is: `DATABASE_URL`, and libpq's own names.

use super::Group::Database;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Database,
        "DATABASE_URL",
        "",
        "postgres://walpost@db/shop",
        "Where the database is, as a connection URL; its parts win over the PG variables.",
    )
    .secret(),
    variable(
        Database,
        "PGHOST",
        "localhost",
        "db1,db2",
        "Host names, addresses or socket directories, tried in order.",
    ),
    variable(Database, "PGPORT", "5432", "5432", "Port, or one for each host."),
    variable(Database, "PGDATABASE", "the user's name", "shop", "Database.").described(),
    variable(Database, "PGUSER", "", "walpost", "Role."),
    variable(Database, "PGPASSWORD", "", "…", "Password.").secret(),
    variable(
        Database,
        "WALPOST_SETUP_PASSWORD",
        "",
        "…",
        "Password that `walpost setup` gives to the role it makes; no other command reads it.",
    )
    .secret(),
    variable(
        Database,
        "PGSSLMODE",
        "verify-full; disable for loopback and Unix sockets",
        "verify-full",
        "Encryption: disable, allow, prefer, require, verify-ca or verify-full.",
    )
    .described()
    .words(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
    variable(
        Database,
        "PGSSLROOTCERT",
        "system",
        "/etc/ssl/db-ca.pem",
        "Authorities trusted for the server's certificate: a PEM file, or `system`.",
    ),
    variable(Database, "PGSSLCERT", "", "/etc/ssl/client.pem", "Client certificate, PEM."),
    variable(
        Database,
        "PGSSLKEY",
        "",
        "/etc/ssl/client.key",
        "Key of the client certificate, PEM.",
    ),
    variable(
        Database,
        "PGCHANNELBINDING",
        "prefer",
        "require",
        "SCRAM channel binding: disable, prefer or require.",
    )
    .words(&["disable", "prefer", "require"]),
    variable(
        Database,
        "PGCONNECT_TIMEOUT",
        "10",
        "10",
        "Limit for connecting to one host, in seconds.",
    ),
    variable(
        Database,
        "PGTARGETSESSIONATTRS",
        "read-write",
        "read-write",
        "Which server of several is wanted: any, read-write, read-only, primary, standby or \
         prefer-standby.",
    )
    .words(&["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]),
];
