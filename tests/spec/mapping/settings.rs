//! Goal: settings of a role or a database never show in an event.
//! Method: the same rows under ordinary settings and under odd ones, compared record by record.

use super::relay::server;
use super::shown;
use crate::servers::{Database, Kafka, Settings, until};

const TABLE: &str =
    "create table outbox (id numeric, aggregatetype text default 'order', aggregateid bytea,
    type text default 'Größe', payload bytea, created_at timestamptz, at timestamp, day date,
    span interval, number float8, small real, raw bytea, words text, arr timestamptz[], cash money,
    what regclass, x xml, t timetz)";

const ROW: &str = "insert into outbox (id, aggregateid, payload, created_at, at, day, span, number,
    small, raw, words, arr, cash, what, x, t) values (1.50, '\\xc3ff', '\\x00ff5c41',
    '1890-05-01 12:00:00.123456+00', '2024-12-01 10:00', '2024-12-01',
    '1 year -2 days 03:04:05.6', 0.1::float8 + 0.2, 0.1::real, '\\x5c00ff', 'größe €',
    '{\"2024-05-01 10:00+00\"}', 12.5, 'pg_class', '<?xml version=\"1.0\"?><a/>', '10:00+02')";

/// Everything that changes how a value is printed.
const ODD: [(&str, &str); 12] = [
    ("datestyle", "German, DMY"),
    ("timezone", "Asia/Kolkata"),
    ("bytea_output", "escape"),
    ("client_encoding", "LATIN9"),
    ("extra_float_digits", "-15"),
    ("intervalstyle", "sql_standard"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("lc_monetary", "C.utf8"),
    ("xmloption", "document"),
    ("search_path", "nowhere"),
    ("array_nulls", "off"),
];

/// The lines of the row's record.
#[track_caller]
fn lines(database: &Database, user: &str, mode: &str) -> Vec<String> {
    let name = database.name();
    database.execute(TABLE);
    let mut walpost = Settings::new(database, Kafka::shared())
        .env("DATABASE_URL", database.url().replace("postgres@", &format!("{user}@")))
        .env("WALPOST_CE_MODE", mode)
        .env(
            "WALPOST_CE_EXTENSIONS",
            "at=at,day=day,span=span,number=number,small=small,raw=raw,words=words,arr=arr,cash=cash,\
             what=what,x=x,t=t",
        )
        .start();
    walpost.wait_until_ready();
    database.execute(ROW);
    let topic = format!("{name}.order");
    let record = until("the row's event", || Kafka::shared().records(&topic).pop());
    shown::lines(&shown::outer(&record, name))
}

#[test]
fn settings_of_roles_and_databases_do_not_show() {
    for mode in ["binary", "structured"] {
        let ordinary = lines(&server().database("shop"), "postgres", mode);
        let text = ordinary.join("\n");
        for part in
            ["1890-05-01T12:00:00.123456Z", "1 year -2 days +03:04:05.6", "größe €", "$12.50"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let number =
            if mode == "binary" { "ce_number: 0.30000000000000004" } else { "0.30000000000000004" };
        assert!(text.contains(number), "{text}");

        // By the role, by the database, and by the role in the database.
        let database = server().database("shop");
        let name = database.name();
        database.execute(&format!("create role {name} superuser login replication"));
        for (number, (setting, value)) in ODD.iter().enumerate() {
            let value = if setting.contains("datestyle") {
                (*value).to_owned()
            } else {
                format!("'{value}'")
            };
            let whom = [
                format!("role {name}"),
                format!("database {name}"),
                format!("role {name} in database {name}"),
            ];
            database.execute(&format!("alter {} set {setting} = {value}", whom[number % 3]));
        }
        let odd = lines(&database, name, mode);
        assert_eq!(odd, ordinary);
        database.execute(&format!("reassign owned by {name} to postgres; drop owned by {name}"));
    }
}
