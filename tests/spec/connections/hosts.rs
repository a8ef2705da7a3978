//! Several hosts, and Unix sockets.

use super::{Cell, Expected, check_all};
use crate::servers::{Kafka, Postgres, until};

#[test]
fn the_first_host_that_is_wanted_is_taken() {
    let primary = Postgres::start(18);
    let standby = primary.standby();
    let kafka = Kafka::shared();
    let database = primary.database("hosts");
    database.create_outbox();
    let copied = standby.url(database.name());
    until("the standby to have the table", || {
        let session = crate::servers::Session::try_open(&copied).ok()?;
        session.try_query("select from outbox").ok()
    });
    let (good, standing_by) = (primary.port(), standby.port());
    // A port on which nothing listens.
    let dead = 9;
    let reached = Expected::Streams;
    let none = Expected::Refused("the server is not one that takes writes");
    let hosts = |ports: &[u16]| {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        hosts.join(",")
    };
    let not_followed = Expected::Halted("not_ready", "the server is a standby");
    for (name, ports, wanted, expected) in [
        ("a dead host, then the primary", vec![dead, good], "", reached),
        ("a standby, then the primary", vec![standing_by, good], "", reached),
        ("a standby, then the primary", vec![standing_by, good], "primary", reached),
        ("dead, standby, primary", vec![dead, standing_by, good], "read-write", reached),
        ("only the standby", vec![standing_by], "", none),
        ("a dead host and the standby", vec![dead, standing_by], "", none),
        ("a standby, taken first", vec![standing_by, good], "any", not_followed),
        ("a standby, wanted", vec![good, standing_by], "standby", not_followed),
        ("a standby, preferred", vec![good, standing_by], "prefer-standby", not_followed),
        ("a standby, as it is read-only", vec![good, standing_by], "read-only", not_followed),
        ("no standby, so the primary", vec![good], "prefer-standby", reached),
        ("only dead hosts", vec![dead, dead], "", Expected::Refused("Connection refused")),
    ] {
        let url = format!("postgres://postgres@{}/{}", hosts(&ports), database.name());
        let mut environment = vec![("DATABASE_URL", url)];
        if !wanted.is_empty() {
            environment.push(("PGTARGETSESSIONATTRS", wanted.to_owned()));
        }
        Cell { name: format!("{name}: {wanted:?}"), environment, expected }.check(&database, kafka);
    }
    let environment = vec![
        ("PGHOST", "127.0.0.1,127.0.0.1".to_owned()),
        ("PGPORT", format!("{dead},{good}")),
        ("PGUSER", "postgres".to_owned()),
        ("PGDATABASE", database.name().to_owned()),
    ];
    let name = "a dead host, then the primary, by PGHOST".to_owned();
    Cell { name, environment, expected: reached }.check(&database, kafka);
}

#[test]
fn a_unix_socket_is_reached_by_variable_and_by_url() {
    let server = Postgres::oldest();
    let directory = server.path().to_str().unwrap();
    let (port, encoded) = (server.port(), directory.replace('/', "%2F"));
    let url = |text: String| vec![("DATABASE_URL", text)];
    let by_variable = vec![
        ("PGHOST", directory.to_owned()),
        ("PGPORT", port.to_string()),
        ("PGUSER", "postgres".to_owned()),
    ];
    let cell = |name: &str, environment, expected| Cell {
        name: format!("unix socket: {name}"),
        environment,
        expected,
    };
    let clear = Expected::StreamsOver { tls: false };
    let mut cells = [
        cell("PGHOST", by_variable.clone(), clear),
        cell("URL", url(format!("postgres://postgres@{encoded}:{port}/DATABASE")), clear),
        cell(
            "URL parameter",
            url(format!("postgres://postgres@/DATABASE?host={encoded}&port={port}")),
            clear,
        ),
        // As libpq: a socket is never encrypted, whatever the mode.
        cell(
            "sslmode=verify-full",
            [by_variable, vec![("PGSSLMODE", "verify-full".to_owned())]].concat(),
            clear,
        ),
        cell(
            "no server there",
            url(format!("postgres://postgres@{encoded}:1/DATABASE")),
            Expected::Refused(".s.PGSQL.1"),
        ),
    ];
    check_all(&mut cells, || server.database("socket"), Kafka::shared());
}
