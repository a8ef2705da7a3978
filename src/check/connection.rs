//! A connection that was refused, explained.

use super::remedy::{identifier, literal};
use super::{Finding, Remedy};
use crate::config::Config;
use crate::error::chain;
use crate::postgres::error::{Error, ErrorKind};
use crate::status::HaltCode;

/// Why a server was not reached, without the error itself, so that each case can be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    pub(super) sqlstate: Option<String>,
    pub(super) text: String,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        // Of several hosts, what the last one said; all are in the text.
        let telling = error.attempts().last().unwrap_or(error);
        Self {
            kind: telling.kind(),
            sqlstate: telling.sqlstate().map(str::to_owned),
            text: chain(error),
        }
    }
}

/// The finding for a refused connection. `check` says which connection it was.
pub(super) fn finding(check: &'static str, config: &Config, refusal: &Refusal) -> Finding {
    let (why, remedy, halt) = explain(config, refusal);
    let finding = Finding::problem(check, refusal.text.clone(), why, remedy);
    match halt {
        Some(code) => finding.halts(code),
        None => finding,
    }
}

type Explained = (&'static str, Remedy, Option<HaltCode>);

fn explain(config: &Config, refusal: &Refusal) -> Explained {
    let user = &config.database.user;
    if let Some(explained) = by_sqlstate(config, refusal.sqlstate.as_deref()) {
        return explained;
    }
    match refusal.kind {
        ErrorKind::Authentication => (
            "the server and walpost do not agree on how a password is proven",
            Remedy::sql([format!("SELECT rolcanlogin, rolpassword IS NOT NULL FROM pg_authid WHERE rolname = {}", literal(user))])
                .then("set PGPASSWORD, PGPASSWORD_FILE or the password in DATABASE_URL; pg_hba.conf should say scram-sha-256"),
            Some(HaltCode::Authentication),
        ),
        ErrorKind::Tls => (
            "an encrypted connection is what keeps passwords and rows from others; the default for a remote host is verify-full",
            Remedy::variable("PGSSLROOTCERT", "/path/to/root.crt").then(
                "the file holds the authority that signed the server's certificate, as PEM; the certificate must name the host of PGHOST. PGSSLMODE says how much is checked",
            ),
            None,
        ),
        ErrorKind::Io | ErrorKind::Timeout => (
            "without the database there is nothing to relay",
            Remedy::note(
                "check PGHOST and PGPORT (or DATABASE_URL), that the server runs, its listen_addresses, and what lies between (firewall, NetworkPolicy)",
            ),
            None,
        ),
        ErrorKind::Closed | ErrorKind::Protocol => (
            "what answers there does not speak as a Postgres server does",
            Remedy::note(
                "check PGHOST and PGPORT: a pooler or a load balancer in between must be left out; walpost connects to the server itself",
            ),
            None,
        ),
        ErrorKind::Server => (
            "without the database there is nothing to relay",
            Remedy::note("the server's log has more about it"),
            None,
        ),
        ErrorKind::Configuration => (
            "the connection cannot even be tried",
            Remedy::note("correct the PG variable or the part of DATABASE_URL that the message names"),
            None,
        ),
        ErrorKind::NoSuitableHost => (
            "a slot can be read and moved on the primary only",
            Remedy::variable("PGTARGETSESSIONATTRS", "read-write")
                .then("and name the primary among the hosts of PGHOST or DATABASE_URL"),
            None,
        ),
    }
}

fn by_sqlstate(config: &Config, sqlstate: Option<&str>) -> Option<Explained> {
    let (user, database) = (&config.database.user, &config.database.database);
    Some(match sqlstate? {
        // invalid_password
        "28P01" => (
            "the server refuses the role's password",
            Remedy::note(format!(
                "set PGPASSWORD, PGPASSWORD_FILE or the password in DATABASE_URL to that of role {user}; \\password {user} in psql sets a new one"
            )),
            Some(HaltCode::Authentication),
        ),
        // invalid_authorization_specification: no line in pg_hba.conf, or no such role.
        "28000" => (
            "the server does not let this role in from here",
            Remedy::note(format!(
                "if the message speaks of pg_hba.conf, add the line `hostssl {} {} <walpost's address>/32 scram-sha-256` and run SELECT pg_reload_conf(); if it says that the role does not exist, run CREATE ROLE {} LOGIN REPLICATION",
                identifier(database),
                identifier(user),
                identifier(user)
            )),
            Some(HaltCode::Authentication),
        ),
        // insufficient_privilege: before a walsender begins, there is no other right to lack.
        "42501" => (
            "only a role with REPLICATION may follow the log",
            replication_right(user),
            Some(HaltCode::Authorization),
        ),
        // invalid_catalog_name
        "3D000" => (
            "the outbox table must be in that database",
            Remedy::sql([format!("CREATE DATABASE {}", identifier(database))])
                .then("or correct PGDATABASE or DATABASE_URL"),
            Some(HaltCode::NotReady),
        ),
        // too_many_connections, also of walsenders
        "53300" => (
            "walpost needs two connections, one of them a walsender",
            Remedy::sql(["SELECT pid, usename, application_name, backend_type FROM pg_stat_activity ORDER BY backend_type"])
                .then("end what is not needed, or raise max_connections or max_wal_senders and restart the server"),
            None,
        ),
        // cannot_connect_now
        "57P03" => (
            "the server is starting, stopping or recovering",
            Remedy::note("wait until it is up"),
            None,
        ),
        // protocol_violation, feature_not_supported: a pooler's words.
        "08P01" | "0A000" => (
            "logical replication does not go through a pooler",
            Remedy::note(
                "set PGHOST and PGPORT (or DATABASE_URL) to the Postgres server itself instead of PgBouncer, Odyssey or pgcat",
            ),
            None,
        ),
        _ => return None,
    })
}

/// The right to replicate, for a role.
pub(super) fn replication_right(role: &str) -> Remedy {
    Remedy::sql([format!("ALTER ROLE {} REPLICATION", identifier(role))])
        .then(format!("on Amazon RDS: GRANT rds_replication TO {}", identifier(role)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::publication::tests::config;

    #[test]
    fn each_refusal_names_what_to_change() {
        #[track_caller]
        fn check(kind: ErrorKind, sqlstate: Option<&str>, expected: (Option<HaltCode>, &str)) {
            let sqlstate = sqlstate.map(str::to_owned);
            let refusal = Refusal { kind, sqlstate, text: "refused".to_owned() };
            let found = finding("postgres", &config(&[]), &refusal);
            let remedy = serde_json::to_string(&found.remedy).expect("json");
            assert_eq!(found.halt, expected.0, "{remedy}");
            assert!(remedy.contains(expected.1), "{remedy}");
        }
        let authentication = Some(HaltCode::Authentication);
        check(ErrorKind::Authentication, Some("28P01"), (authentication, "PGPASSWORD_FILE"));
        check(ErrorKind::Authentication, Some("28000"), (authentication, "pg_hba.conf"));
        check(ErrorKind::Authentication, None, (authentication, "PGPASSWORD"));
        check(ErrorKind::Tls, None, (None, "PGSSLROOTCERT="));
        check(ErrorKind::Io, None, (None, "PGHOST"));
        check(ErrorKind::Timeout, None, (None, "PGHOST"));
        check(ErrorKind::Closed, None, (None, "pooler"));
        check(ErrorKind::Protocol, None, (None, "pooler"));
        check(ErrorKind::Server, Some("08P01"), (None, "PgBouncer"));
        check(ErrorKind::Server, Some("53300"), (None, "max_wal_senders"));
        check(ErrorKind::Server, Some("57P03"), (None, "wait"));
        check(ErrorKind::Server, Some("XX000"), (None, "log"));
        check(ErrorKind::NoSuitableHost, None, (None, "PGTARGETSESSIONATTRS=read-write"));
        let database = (Some(HaltCode::NotReady), "CREATE DATABASE \\\"shop\\\"");
        check(ErrorKind::Server, Some("3D000"), database);
        let right = (Some(HaltCode::Authorization), "ALTER ROLE \\\"walpost\\\" REPLICATION");
        check(ErrorKind::Server, Some("42501"), right);
    }
}
