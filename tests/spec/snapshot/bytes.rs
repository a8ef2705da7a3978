//! A row looks the same, byte for byte, whether the snapshot or the stream sends it.

use super::{records_up_to, topic};
use crate::servers::{Database, Kafka, Postgres, Record, Settings};

/// Everything whose text depends on a setting of the session, as attributes and in the payload.
const TABLE: &str = "create table outbox (
    id int, aggregatetype text, aggregateid bytea, type text, payload bytea,
    created_at timestamp, span interval, real_number float8, small_number float4, day date,
    moment timestamptz, flag boolean, padded char(8), array_of timestamptz[], kind regclass,
    money_of numeric, ranged tstzrange, nothing text)";

/// What a role or a database may have set (`ALTER DATABASE … SET`), all of it odd.
const SETTINGS: [&str; 8] = [
    "datestyle = 'German, DMY'",
    "timezone = 'Asia/Kathmandu'",
    "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "extra_float_digits = -10",
    "search_path = 'odd, public'",
    "quote_all_identifiers = on",
    "client_encoding = 'LATIN1'",
];

const EXTENSIONS: &str = "span=span, real=real_number, small=small_number, day=day, moment=moment,
    flag=flag, padded=padded, arrayof=array_of, kind=kind, money=money_of, ranged=ranged,
    nothing=nothing";

#[track_caller]
fn insert(database: &Database, id: u32) {
    database.execute(&format!(
        r"insert into public.outbox values ({id}, 'order', '\x00ff61', 'Placed', '\x7b225c6ee2ff00',
            '2026-02-03 04:05:06.789', '1 year 2 mons -3 days 04:05:06.7', 0.1::float8 + 0.2,
            1.0 / 3, '0044-03-15 BC', '2026-07-01 12:00:00.123456+02', true, 'ä',
            array['2026-01-02 03:04:05+00'::timestamptz, null], 'public.outbox', 1.500,
            '[2026-01-01 00:00+00, infinity)', null)"
    ));
}

#[track_caller]
fn check(server: &Postgres, mode: &str) {
    let (database, kafka) = (server.database("bytes"), Kafka::shared());
    database.execute(TABLE);
    for setting in SETTINGS {
        database.execute(&format!("alter database {} set {setting}", database.name()));
    }
    insert(&database, 1);
    let mut walpost = Settings::new(&database, kafka)
        .env("WALPOST_CE_MODE", mode)
        .env("WALPOST_CE_EXTENSIONS", EXTENSIONS.split_whitespace().collect::<String>())
        .start();
    walpost.wait_for_state("streaming");
    // The same row once more, and the end.
    insert(&database, 1);
    insert(&database, 2);
    let records = records_up_to_the_end(kafka, &database, mode);
    let [copied, streamed, _] = records.as_slice() else { panic!("{records:#?}") };
    assert_eq!(copied.key, streamed.key);
    assert_eq!(copied.headers, streamed.headers);
    assert_eq!(copied.value, streamed.value);
    let names: Vec<_> = copied.headers.iter().map(|(name, _)| name.as_str()).collect();
    let value = String::from_utf8_lossy(copied.value.as_deref().unwrap());
    let all = format!("{names:?} {value}");
    let parts = ["real", "arrayof", "nothing"].map(|name| all.contains(name));
    assert_eq!(parts, [true, true, false], "{all}");
}

#[track_caller]
fn records_up_to_the_end(kafka: &Kafka, database: &Database, mode: &str) -> Vec<Record> {
    if mode == "binary" {
        return records_up_to(kafka, &topic(database), "2");
    }
    kafka.wait_for_records(&topic(database), 3)
}

#[test]
fn a_row_of_the_snapshot_is_byte_for_byte_what_the_stream_sends_of_it() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        for mode in ["binary", "structured"] {
            check(server, mode);
        }
    }
}
