//! Random rows: what the constraints let in, the encoder takes, and the other way round.

use ::walpost::cloudevent::{Encoder, Reason, Unencoded};
use ::walpost::config::Config;
use ::walpost::config::env::Variables;
use ::walpost::outbox::column::ColumnType;
use ::walpost::outbox::mapping::{Mapping, NamedColumn};
use ::walpost::outbox::role::TableName;
use ::walpost::outbox::row::RowScratch;
use ::walpost::postgres::timestamp::PgTimestamp;

use super::*;

/// Rows of one run.
const ROWS: usize = 1_500;

/// A column: name, type, how the program knows the type, a value of a good row, and what else it
/// may be.
struct Column {
    name: &'static str,
    sql: &'static str,
    column_type: ColumnType,
    good: Option<&'static str>,
    values: fn(&mut Random) -> Option<String>,
}

/// A small generator of random numbers (xorshift64*), which a seed repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    /// Pieces of an alphabet in a row.
    fn pieces(&mut self, of: &[&str], most: usize) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| self.one(of)).collect()
    }
}

fn text(random: &mut Random) -> Option<String> {
    const ODD: [&str; 16] = [
        "",
        " ",
        "a",
        "é",
        "a b",
        "\u{1}",
        "\t",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{fdd0}",
        "\u{fdef}",
        "\u{fdf0}",
        "\u{ffff}",
        "\u{1fffe}",
        "\u{10ffff}",
    ];
    match random.below(12) {
        0 => None,
        1 => Some("x".repeat(65_536 + random.below(3) - 1)),
        2 => Some("é".repeat(32_768 + random.below(2))),
        3 => Some("😀".to_owned()),
        _ => Some(random.pieces(&ODD, 3)),
    }
}

fn topic(random: &mut Random) -> Option<String> {
    const PIECES: [&str; 10] = ["a", "Z", "_", ".", "-", "9", " ", "/", "é", "__"];
    match random.below(8) {
        0 => None,
        1 => Some("a".repeat(248 + random.below(4))),
        2 => Some("reserved.dlq".to_owned()),
        _ => Some(random.pieces(&PIECES, 4)),
    }
}

fn uri(random: &mut Random) -> Option<String> {
    const WHOLE: [&str; 18] = [
        "http://example.com",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "mailto:a@b.c",
        "http://u:p@h:80/a?b=c/d?#f",
        "http://[::1]:8080/",
        "http://[v1.a:b]/",
        "http://[v.a]/",
        "http://[1:2:3:4:5:6:7::]",
        "http://[::ffff:1.2.3.4]",
        "http://[1::2:3:4:5:6:7:8]",
        "http://[::1.2.3.256]",
        "http://[1:2:3:4:5:6:7:8]",
        "http://[12345::]",
        "http://h:x/",
        "a://h:1:2",
        "//a@b@c",
        "./a:b",
        "1a:b",
    ];
    const PIECES: [&str; 26] = [
        "a", "Z", "1", ":", "/", "//", "?", "#", "[", "]", "@", "%41", "%4", "é", "~", "-", ".",
        "_", "::", " ", "{", "!", "a:", "+", "=", "'",
    ];
    match random.below(8) {
        0 => None,
        1..=2 => Some(random.one(&WHOLE).to_owned()),
        3 => Some(format!("s://[{}]", random.pieces(&["1", "ab12", ":", "::", "1.2.3.4"], 12))),
        _ => Some(random.pieces(&PIECES, 9)),
    }
}

fn media_type(random: &mut Random) -> Option<String> {
    const WHOLE: [&str; 9] = [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.a+json;v=\"1;2\\\"\" ; a=b",
        "text/plain",
        "text/plain ;charset=\"\"",
        "application/CloudEvents+json",
        "application/json ",
        "a/b;",
        "application/jsonl",
    ];
    const PIECES: [&str; 16] = [
        "a", "/", ";", "=", "\"", "\\", " ", "\t", "+json", "json", ",", "b/c", "é", "x=y", "a/b;",
        "\\\"",
    ];
    match random.below(6) {
        0 => None,
        1..=2 => Some(random.one(&WHOLE).to_owned()),
        _ => Some(random.pieces(&PIECES, 6)),
    }
}

fn json(random: &mut Random) -> Option<String> {
    const PIECES: [&str; 31] = [
        "{", "}", "[", "]", "\"a\"", "\"", ":", ",", "1", "-", "0", ".", "e", "E+1", "true",
        "false", "null", "nul", " ", "\n", "\u{c}", "\\", "\\n", "\\u00e9", "\\ud800", "\\u0000",
        "\u{1}", "é", "\"a\":1", "{}", "01",
    ];
    const WHOLE: [&str; 9] = [
        "{}",
        "[1,{\"a\":[null]}]",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "1e400",
        "-0.0E-1",
        "\"\u{7f}\"",
        "{\"a\":1,\"a\":2}",
        " \t\r\n{} ",
    ];
    match random.below(6) {
        0 => None,
        1..=2 => Some(random.one(&WHOLE).to_owned()),
        _ => Some(random.pieces(&PIECES, 6)),
    }
}

/// Without what is known to differ: half a surrogate pair inside a nested value, `\u0000` in a
/// value, one name twice, and more than 64 KiB of punctuation.
fn headers(random: &mut Random) -> Option<String> {
    const MEMBERS: [&str; 14] = [
        "\"a\":\"b\"",
        "\"c\":1",
        "\"\":1",
        "\"\":null",
        "\"d\\u0001\":1",
        "\"d\\u0085\":\"\"",
        "\"ce_\\u0001\":1",
        "\"Content-Type\":1",
        "\"WALPOST-\\u0001\":2",
        "\"e\\u0001\":null",
        "\"f\":\"\\ud800\"",
        "\"g\\ud83d\\ude00\":{}",
        "\"\\udc00\":1",
        "\"h\": [1]",
    ];
    const WHOLE: [&str; 9] = ["", "null", " null", "{", "[]", "1", "{}", " {} ", "{\"a\"}"];
    match random.below(5) {
        0 => None,
        1 => Some(random.one(&WHOLE).to_owned()),
        2 => Some(format!("{{\"a\":\"{}\"}}", "x".repeat([60_000, 66_000][random.below(2)]))),
        _ => {
            let mut members: Vec<_> =
                (0..random.below(3) + 1).map(|_| random.one(&MEMBERS)).collect();
            members.sort_unstable();
            members.dedup_by_key(|member| member.split(':').next());
            Some(format!("{{{}}}", members.join(",")))
        }
    }
}

fn timestamp(random: &mut Random) -> Option<String> {
    const VALUES: [&str; 9] = [
        "infinity",
        "-infinity",
        "0001-01-01 00:00:00+00",
        "0001-12-31 23:59:59+00 BC",
        "9999-12-31 23:59:59.999999+00",
        "10000-01-01 00:00:00+00",
        "2024-05-01 10:00:00.5+02",
        "4713-01-01 00:00:00+00 BC",
        "1969-12-31 23:59:59+00",
    ];
    (random.below(6) > 0).then(|| random.one(&VALUES).to_owned())
}

fn time_text(random: &mut Random) -> Option<String> {
    const VALUES: [&str; 22] = [
        "2024-05-01T10:00:00Z",
        "2024-05-01t10:00:00.123456789z",
        "2024-05-01 10:00:00+02",
        "2024-02-29",
        "2023-02-29",
        "2024-13-01",
        "2024-00-10",
        "2024-04-31 00:00:00",
        "24:00:00",
        "2024-05-01 24:00:00",
        "2024-05-01 10:00:60",
        "2024-05-01 10:00",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31 23:59:59",
        "9999-12-31 23:59:59-01",
        "0001-01-01 00:00:00+01",
        "10000-01-01",
        "infinity",
        "2024-05-01T10:00:00+02:30:15",
        "2024-05-01T10:00:00 Z",
        "2024-05-01 10:00:00.Z",
    ];
    match random.below(8) {
        0 => None,
        1 => Some(String::new()),
        _ => Some(random.one(&VALUES).to_owned()),
    }
}

fn number(random: &mut Random) -> Option<String> {
    const VALUES: [&str; 8] = [
        "0",
        "-62135596800000",
        "-62135596800001",
        "253402300799999",
        "253402300800000",
        "9223372036854775807",
        "-9223372036854775808",
        "1700000000000",
    ];
    (random.below(6) > 0).then(|| random.one(&VALUES).to_owned())
}

fn bytes(random: &mut Random) -> Option<String> {
    match random.below(5) {
        0 => None,
        1 => Some(format!("\\x{}", "00".repeat(32_768 + random.below(2)))),
        _ => Some(format!("\\x{}", "ff".repeat(random.below(3)))),
    }
}

fn jsonb(random: &mut Random) -> Option<String> {
    const VALUES: [&str; 8] = [
        "{}",
        "null",
        "[]",
        "{\"a\": \"\\u0001\"}",
        "{\"\": 1}",
        "{\"\": null}",
        "{\"a\\u0007\": {}}",
        "{\"ce_\\u0001\": 1}",
    ];
    (random.below(6) > 0).then(|| random.one(&VALUES).to_owned())
}

const fn column(
    name: &'static str,
    sql: &'static str,
    column_type: ColumnType,
    good: Option<&'static str>,
    values: fn(&mut Random) -> Option<String>,
) -> Column {
    Column { name, sql, column_type, good, values }
}

/// Inserts random rows of these columns, and compares with the encoder.
#[track_caller]
fn check(server: &Postgres, columns: &[Column], variables: &[(&str, &str)]) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = u64::from(since.subsec_nanos()) << 32 | since.as_secs() | 1;
    println!("seed {seed}");
    let (database, kafka) = (server.database("rows"), Kafka::shared());
    let role = Role::of(&database);
    let mut settings = Settings::new(&database, kafka).env("WALPOST_DLQ_TOPIC", "reserved.dlq");
    settings = settings.env("WALPOST_TOPIC", "{aggregate_type}");
    let mut variables: Vec<(&str, &str)> = variables.to_vec();
    for (name, value) in &variables {
        settings = settings.env(name, *value);
    }
    let definition: Vec<_> =
        columns.iter().map(|column| format!("{} {}", column.name, column.sql)).collect();
    let definition = definition.join(", ");
    database.execute(&format!(
        "create table outbox ({definition}); create table staging (number int, {definition})"
    ));
    done(&settings, &["setup", "--role", &role.name, "--checks", "--apply"]);
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let names = names.join(", ");
    database.execute(&format!(
        "create function try(n int) returns boolean language plpgsql as $$ begin
            insert into outbox select {names} from staging where number = n;
            return true;
         exception when others then return false; end $$"
    ));
    fill(&database, columns, &mut Random(seed));

    variables.extend([
        ("DATABASE_URL", "postgres://x@h/d"),
        ("KAFKA_BOOTSTRAP_SERVERS", "k:1"),
        ("WALPOST_DLQ_TOPIC", "reserved.dlq"),
        ("WALPOST_TOPIC", "{aggregate_type}"),
    ]);
    let variables: Variables =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = Config::load(&variables).unwrap().config.events;
    let named: Vec<_> = columns
        .iter()
        .map(|column| NamedColumn { name: column.name, column_type: column.column_type })
        .collect();
    let table = TableName { schema: "public".to_owned(), table: "outbox".to_owned() };
    let mapping = Mapping::of_columns(table, &named, &options).unwrap();
    let mut encoder = Encoder::new(&options).unwrap();
    let mut scratch = RowScratch::new();
    let session = database.session();
    session.execute("set timezone = 'UTC'");
    let rows = session.query(&format!("select try(number), {names} from staging order by number"));
    assert_eq!(rows.len(), ROWS);
    let (mut taken, mut refused) = (0, 0);
    for row in &rows {
        let accepted = row[0].as_deref() == Some("t");
        let laid = scratch.copy_of(row[1..].iter().map(|v| v.as_ref().map(|v| v.as_bytes())));
        let verdict = encoder.encode(&mapping, &laid, PgTimestamp::now()).map(|_| ());
        match &verdict {
            Ok(()) => taken += 1,
            // The size of the whole event is not the constraint's to know.
            Err(Unencoded::Bad(bad)) if bad.reason == Reason::TooLarge => continue,
            Err(_) => refused += 1,
        }
        let short: Vec<_> = row[1..]
            .iter()
            .map(|v| v.as_ref().map(|v| v.chars().take(60).collect::<String>()))
            .collect();
        assert_eq!(accepted, verdict.is_ok(), "seed {seed}: {verdict:?}: {names} = {short:?}");
    }
    assert!(taken > ROWS / 20 && refused > ROWS / 20, "{taken} taken, {refused} refused");
}

/// Good rows, of which one or two columns are something else.
fn fill(database: &Database, columns: &[Column], random: &mut Random) {
    let mut statements = Vec::new();
    for number in 0..ROWS {
        let mut values: Vec<_> =
            columns.iter().map(|column| column.good.map(str::to_owned)).collect();
        for _ in 0..random.below(3) {
            let place = random.below(columns.len());
            values[place] = (columns[place].values)(random);
        }
        let values: Vec<_> = values
            .iter()
            .zip(columns)
            .map(|(value, column)| match value {
                Some(value) => format!("'{}'::{}", value.replace('\'', "''"), column.sql),
                None => "null".to_owned(),
            })
            .collect();
        statements.push(format!("insert into staging values ({number}, {})", values.join(", ")));
    }
    for some in statements.chunks(100) {
        database.execute(&some.join("; "));
    }
}

#[test]
fn rows_of_text_columns_are_refused_as_the_encoder_refuses_them() {
    use ColumnType::{Text, TimestampTz};
    let columns = [
        column("id", "text", Text, Some("1"), text),
        column("aggregatetype", "text", Text, Some("order"), topic),
        column("aggregateid", "text", Text, Some("a"), text),
        column("type", "text", Text, Some("Placed"), text),
        column("payload", "text", Text, Some("{}"), json),
        column("created_at", "timestamptz", TimestampTz, Some("2024-05-01 10:00:00+00"), timestamp),
        column("content_type", "text", Text, None, media_type),
        column("dataschema", "text", Text, None, uri),
        column("source", "text", Text, None, uri),
        column("subject", "text", Text, None, text),
        column("partition_key", "text", Text, None, text),
        column("topic", "text", Text, None, topic),
        column("headers", "text", Text, None, headers),
        column("traceparent", "text", Text, None, text),
        column("tracestate", "text", Text, None, text),
        column("correlation_id", "text", Text, None, text),
        column("region", "text", Text, None, text),
    ];
    let variables =
        [("WALPOST_CE_EXTENSIONS", "region=region"), ("WALPOST_CE_TYPE", "com.example.{type}")];
    for server in [Postgres::oldest(), Postgres::newest()] {
        check(server, &columns, &variables);
    }
    let structured = [variables[0], variables[1], ("WALPOST_CE_MODE", "structured")];
    check(Postgres::newest(), &columns, &structured);
}

#[test]
fn rows_of_other_columns_are_refused_as_the_encoder_refuses_them() {
    use ColumnType::{Bytea, Int8, Jsonb, Other, Text, Timestamp};
    let id = || column("id", "uuid", Other, Some("6e8bc430-9c3a-11d9-9669-0800200c9a66"), |_| None);
    let typed = |time: Column| {
        [
            id(),
            column("aggregatetype", "varchar(300)", Text, Some("order"), |random| {
                topic(random).filter(|text| text.chars().count() <= 300)
            }),
            column("aggregateid", "bytea", Bytea, Some("\\x00"), bytes),
            column("type", "text", Text, Some("Placed"), text),
            column("payload", "jsonb", Jsonb, Some("{}"), jsonb),
            time,
            column("headers", "jsonb", Jsonb, None, jsonb),
            column("seen", "timestamp", Timestamp, None, timestamp),
            column("raw", "bytea", Bytea, None, bytes),
        ]
    };
    let extensions = ("WALPOST_CE_EXTENSIONS", "seen=seen,raw=raw");
    let reject = ("WALPOST_NULL_PAYLOAD", "reject");
    let zone = ("WALPOST_TIME_ZONE", "Europe/Berlin");
    let number = || column("created_at", "bigint", Int8, Some("0"), number);
    check(Postgres::newest(), &typed(number()), &[extensions, reject]);
    let local =
        column("created_at", "timestamp", Timestamp, Some("2024-05-01 10:00:00"), timestamp);
    check(Postgres::oldest(), &typed(local), &[extensions, zone]);
    let written = column("created_at", "text", Text, Some("2024-05-01"), time_text);
    check(Postgres::newest(), &typed(written), &[extensions, zone]);
}
