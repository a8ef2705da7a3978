//! Goal: an outbox without a table keeps the promises of one with a table.
//! Method: messages beside the same rows, record by record; messages alone, in every state that a
//! relay with a table is tried in; the oracle of the fault tests, whose rows come as messages.

use serde_json::Value;

use super::checkpoint_command::{command, done};
use super::exactly_once;
use super::kill;
use super::oracle::{prepare_messages, prepare_messages_once};
use super::servers::{Database, Kafka, Postgres, Record, Settings, until};

mod page;

/// Settings of a relay that takes the messages with the database's name as prefix.
fn settings(database: &Database, kafka: &Kafka) -> Settings {
    Settings::new(database, kafka).env("WALPOST_MESSAGES", database.name())
}

/// The statement that writes an order as a message.
fn emit(database: &Database, key: &str, number: u32) -> String {
    let prefix = database.name();
    format!(
        "select pg_logical_emit_message(true, '{prefix}', json_build_object('id', gen_random_uuid(),
         'aggregatetype', 'order', 'aggregateid', '{key}', 'type', 'Placed',
         'payload', json_build_object('n', {number}))::text);"
    )
}

/// The numbers of the records, in the order of the topic.
fn numbers(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect()
}

#[test]
fn a_message_becomes_the_event_of_the_same_row() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        for mode in ["binary", "structured"] {
            let (database, kafka) = (server.database("same"), Kafka::shared());
            database.execute(
                "create table outbox (id uuid primary key default gen_random_uuid(),
                 aggregatetype text not null default 'order', aggregateid text, type text default 'Placed',
                 payload json, created_at timestamptz default clock_timestamp(), topic text, headers json,
                 traceparent text, tenant_id bigint, partition_key text, urgent boolean, rank int,
                 share numeric, source text)",
            );
            let settings = settings(&database, kafka)
                .env("WALPOST_TABLE", "outbox")
                .env("WALPOST_CE_MODE", mode)
                .env("WALPOST_CE_SOURCE", "/shop")
                .env("WALPOST_CE_EXTENSIONS", "urgent=urgent,rank=rank,share=share");
            let mut walpost = settings.start();
            walpost.wait_until_ready();
            let rows = [
                r#"(payload) values ('{ "total":12.30, "id": 9007199254740993 }')"#,
                "(aggregateid, payload) values ('ö \"42\"', '[\"text\"]')",
                "(aggregateid, payload) values ('', '5')",
                "(aggregateid, payload) values ('deleted', null)",
                r#"(payload, headers) values ('[]', '{"a": "b", "ce_id": "no", "c": {"d": [1]}}')"#,
                "(payload, traceparent, tenant_id) values ('{}', '00-a-b-01', 9007199254740993)",
                "(payload, urgent, rank, share) values ('{}', true, -5, 1.50)",
                "(payload, urgent, rank, share) values ('{}', false, 7, 'NaN')",
                "(payload, created_at) values ('{}', '1999-12-31 23:59:59.000001-11')",
                "(payload, partition_key, source) values ('{}', 'p', 'https://example.com/x')",
            ];
            for row in rows {
                database.execute(&format!(
                    "with row as (insert into outbox {row} returning *)
                     select pg_logical_emit_message(true, '{}', row_to_json(row)::text) from row",
                    database.name()
                ));
            }
            let topic = format!("{}.order", database.name());
            let mut records = kafka.wait_for_records(&topic, rows.len() * 2);
            for record in &mut records {
                (record.partition, record.offset, record.timestamp) = (0, 0, None);
            }
            // A message is written before the row that its statement inserts, or after it.
            let ids = |records: &[Record]| -> Vec<String> {
                let id = |record: &Record| match mode {
                    "binary" => record.header("ce_id").unwrap().to_owned(),
                    _ if record.value.is_none() => record.key_text().to_owned(),
                    _ => record.value_json()["id"].as_str().unwrap().to_owned(),
                };
                records.iter().map(id).collect()
            };
            assert_eq!(records.len(), rows.len() * 2, "{mode}");
            for pair in records.chunks(2) {
                assert_eq!(pair[0], pair[1], "{mode}, Postgres {}", server.major());
            }
            let ids = ids(&records);
            let different: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!(different.len(), rows.len(), "{ids:?}");
            assert!(
                walpost.metrics().sum("walpost_bad_rows_total", &[]) < 0.5,
                "{}",
                walpost.log()
            );
        }
    }
}

#[test]
fn messages_are_sent_as_they_were_committed_and_need_no_table() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("bare"), Kafka::shared());
        let (name, topic) = (database.name(), format!("{}.order", database.name()));
        let settings = settings(&database, kafka);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        let (first, second) = (database.session(), database.session());
        first.execute(&format!("begin; {}", emit(&database, "a", 3)));
        second.execute(&format!("begin; {} {}", emit(&database, "b", 1), emit(&database, "a", 2)));
        second.execute(&format!(
            "savepoint s; {} rollback to s; savepoint t; commit",
            emit(&database, "a", 666)
        ));
        first.execute("commit");
        first.execute(&format!("begin; {} rollback", emit(&database, "a", 666)));
        // Neither another prefix nor one that begins with ours is ours.
        let shorter: String = name.chars().skip(1).collect();
        for prefix in ["other", &format!("{name}s"), &shorter, ""] {
            database.execute(&format!("select pg_logical_emit_message(true, '{prefix}', 'x')"));
        }
        for _ in 0..3 {
            database.execute(&format!("select pg_logical_emit_message(false, '{name}', '{{}}')"));
        }
        // Rows of a table that nobody publishes, and a message beside them.
        database.execute("create table other (n int); insert into other values (1)");
        database.execute(&format!(
            "begin; insert into other values (2); {} commit",
            emit(&database, "a", 4)
        ));
        let records = kafka.wait_for_records(&topic, 4);
        let mut sent = numbers(&records);
        assert_eq!(sent.len(), 4);
        let of_a: Vec<_> =
            records.iter().filter(|record| record.key_text() == "a").cloned().collect();
        assert_eq!(numbers(&of_a), [2, 3, 4], "of one key, in the order of commits");
        sent.sort_unstable();
        assert_eq!(sent, [1, 2, 3, 4]);
        let source = format!("/{name}/pg_logical_emit_message/{name}");
        assert_eq!(records[0].header("ce_source"), Some(source.as_str()));
        let left_out = || walpost.metrics().sum("walpost_nontransactional_messages_total", &[]);
        until("three messages to be counted", || (left_out() > 2.5).then_some(()));
        let line = walpost.wait_for_line("written with transactional = false");
        assert!(line.contains("pg_logical_emit_message(true"), "{line}");

        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
        let said = walpost.log().matches("written with transactional = false").count();
        assert_eq!(said, 1, "{}", walpost.log());
        database.execute(&emit(&database, "a", 5));
        let shown = command(&settings, &["peek", "--slot", "--json"]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["table"], format!("pg_logical_emit_message.{name}"));
        let mut walpost = settings.start();
        let records = kafka.wait_for_records(&topic, 5);
        assert_eq!(records.len(), 5, "a clean restart repeats nothing");
        assert_eq!(shown["value"], records[4].value_text(), "peek shows what is sent");
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    }
}

#[test]
fn commands_that_read_a_table_say_that_there_is_none() {
    let (database, kafka) = (Postgres::newest().database("none"), Kafka::shared());
    let settings = settings(&database, kafka);
    for (arguments, says) in [
        (&["peek"][..], "walpost peek --slot"),
        (&["replay", "--all", "--same-topic"], "write them again"),
        (&["prune"], "leave nothing behind"),
        (&["setup", "--table"], "--table is for a table"),
        (&["setup", "--checks"], "--checks is for a table"),
        (&["setup", "--prune"], "--prune is for a table"),
    ] {
        let said = command(&settings, arguments);
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.stdout);
        assert!(said.stderr.contains(says), "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains("WALPOST_MESSAGES"), "{arguments:?}: {}", said.stderr);
    }
    let refused = settings.clone().env("WALPOST_PRUNE_AFTER", "7d").run();
    assert_eq!(refused.code, 78, "{}", refused.stderr);
    assert!(refused.stderr.contains("has no table to delete from"), "{}", refused.stderr);
}

#[test]
fn setup_and_check_ask_for_no_table() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("steps"), Kafka::shared());
        let settings = settings(&database, kafka);
        let before = command(&settings, &["check"]);
        assert_eq!(before.code, 0, "{}", before.stdout);
        assert!(before.stdout.contains("the first start makes publication"), "{}", before.stdout);
        let role = format!("{}_walpost", database.name());
        let made = done(&settings, &["setup", "--role", &role, "--apply", "--json"]);
        assert!(made.contains("CREATE PUBLICATION") && !made.contains("FOR TABLE"), "{made}");
        assert!(!made.contains("GRANT"), "the role needs no right but to replicate: {made}");
        let url = database.url().replace("postgres@", &format!("{role}@"));
        let as_role = settings.clone().env("DATABASE_URL", url);
        let checked = command(&as_role, &["check"]);
        assert_eq!(checked.code, 0, "{}", checked.stdout);
        assert!(checked.stdout.contains("are outbox rows"), "{}", checked.stdout);
        let mut walpost = as_role.start();
        walpost.wait_until_ready();
        database.execute(&emit(&database, "a", 1));
        kafka.wait_for_records(&format!("{}.order", database.name()), 1);
        let status = command(&as_role, &["status"]);
        assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
        let checked = command(&as_role, &["check"]);
        assert_eq!(checked.code, 0, "{}", checked.stdout);
        drop(walpost);
        let slot = format!("select pg_drop_replication_slot('{}')", database.name());
        database.value(&slot);
        database.execute(&format!("drop owned by {role}; drop role {role}"));
    }
}

#[test]
fn rows_and_messages_of_one_transaction_are_counted_together() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("both"), Kafka::shared());
        database.create_outbox();
        // Rows of before are sent first; messages of before are nowhere.
        database.insert_rows("order", 0, 1, 1);
        database.execute(&emit(&database, "a", 666));
        let name = database.name();
        let settings = settings(&database, kafka).env("WALPOST_TABLE", "outbox");
        let mut walpost = settings.start();
        walpost.wait_for_state("streaming");
        let bad = |text: &str| format!("select pg_logical_emit_message(true, '{name}', '{text}');");
        let row = |kind: &str| {
            format!(
                "insert into outbox (aggregatetype, aggregateid, type, payload)
                 values ('{kind}', 'a', 'Placed', '{{\"n\": 1}}');"
            )
        };
        database.execute(&format!(
            "begin; {} {} {} select pg_logical_emit_message(true, 'other', ''); {} {} {} commit",
            emit(&database, "a", 0),
            bad("no json"),
            row("order"),
            row("no topic"),
            emit(&database, "a", 2),
            bad("[]"),
        ));
        let records = kafka.wait_for_records(&format!("{name}.order"), 4);
        let mut sent = numbers(&records);
        sent.sort_unstable();
        assert_eq!(sent, [0, 0, 1, 2]);
        let letters = kafka.wait_for_records(&format!("{name}.dlq"), 3);
        let header = |letter: &Record, name: &str| letter.header(name).unwrap().to_owned();
        let ordinals: Vec<_> = letters
            .iter()
            .map(|letter| header(letter, "walpost-position").rsplit('+').next().unwrap().to_owned())
            .collect();
        assert_eq!(ordinals, ["1", "3", "5"], "{letters:?}");
        let tables: Vec<_> = letters.iter().map(|letter| header(letter, "walpost-table")).collect();
        let message = format!("pg_logical_emit_message.{name}");
        assert_eq!(tables, [message.as_str(), "public.outbox", message.as_str()]);
        assert_eq!(letters[0].value_text(), "no json");
        assert_eq!(header(&letters[0], "walpost-error-reason"), "invalid_json");
        let listed = done(&settings, &["dlq", "list"]);
        assert!(listed.contains("invalid_json") && listed.contains("illegal_name"), "{listed}");
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    }
}

#[test]
fn a_bad_message_halts_or_is_skipped_as_a_row_is() {
    let (database, kafka) = (Postgres::newest().database("policy"), Kafka::shared());
    let topic = format!("{}.order", database.name());
    let halting = settings(&database, kafka).env("WALPOST_ON_BAD_ROW", "halt");
    let mut walpost = halting.start();
    walpost.wait_until_ready();
    database.execute(&format!(
        "begin; {} select pg_logical_emit_message(true, '{}', '{{}}'); {} commit",
        emit(&database, "a", 1),
        database.name(),
        emit(&database, "a", 2)
    ));
    walpost.wait_for_state("halted");
    assert_eq!(numbers(&kafka.wait_for_records(&topic, 1)), [1]);
    walpost.terminate();
    walpost.wait();
    let mut walpost = halting.env("WALPOST_ON_BAD_ROW", "skip").start();
    assert_eq!(numbers(&kafka.wait_for_records(&topic, 2)), [1, 2]);
    let skipped = walpost.metrics().sum("walpost_bad_rows_total", &[("reason", "missing")]);
    assert!((skipped - 1.0).abs() < 0.5, "{skipped}: {}", walpost.log());
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn a_message_of_megabytes_is_sent_or_lettered_without_its_payload() {
    let (database, kafka) = (Postgres::newest().database("large"), Kafka::shared());
    let (name, topic) = (database.name(), format!("{}.order", database.name()));
    let mut walpost = settings(&database, kafka).start();
    walpost.wait_until_ready();
    for length in [900_000, 20_000_000] {
        database.execute(&format!(
            "select pg_logical_emit_message(true, '{name}', json_build_object('id', '1',
             'aggregatetype', 'order', 'aggregateid', 'a', 'type', 'Placed',
             'payload', json_build_object('pad', repeat('x', {length})))::text)"
        ));
    }
    database.execute(&emit(&database, "a", 3));
    let records = kafka.wait_for_records(&topic, 2);
    assert!(records[0].value_text().len() > 900_000);
    assert_eq!(numbers(&records[1..]), [3]);
    let letters = kafka.wait_for_records(&format!("{name}.dlq"), 1);
    assert_eq!((letters[0].value.as_ref(), letters[0].key_text()), (None, "a"));
    assert_eq!(letters[0].header("walpost-error-reason"), Some("too_large"));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn a_publication_that_is_dropped_halts_though_it_has_no_table() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("gone"), Kafka::shared());
        let mut walpost = settings(&database, kafka).start();
        walpost.wait_until_ready();
        database.execute("drop publication walpost");
        walpost.wait_for_state("halted");
        let metrics = walpost.metrics();
        let halted = metrics.sum("walpost_halted", &[("code", "publication_changed")]);
        assert!((halted - 1.0).abs() < 0.5, "{}", walpost.log());
        let log = walpost.log().replace("\\\"", "\"");
        assert!(log.contains("CREATE PUBLICATION \"walpost\" WITH (publish"), "{log}");
    }
}

#[test]
fn in_another_encoding_a_message_is_given_as_bytes_of_utf8() {
    let server = Postgres::start(14);
    let admin = server.database("admin");
    admin.execute("create database latin encoding 'LATIN1' locale 'C' template template0");
    let database = super::servers::Session::open(&server.url("latin"));
    let kafka = Kafka::shared();
    let settings = Settings::new(&admin, kafka)
        .env("DATABASE_URL", server.url("latin"))
        .env("WALPOST_MESSAGES", "shop");
    let checked = command(&settings, &["check"]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.stdout.contains("convert_to(json, 'UTF8')"), "{}", checked.stdout);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let json = "json_build_object('id', '1', 'aggregatetype', 'order', 'aggregateid', 'ö',
        'type', 'Placed', 'payload', 1)::text";
    for content in [json.to_owned(), format!("convert_to({json}, 'UTF8')")] {
        database.execute(&format!("select pg_logical_emit_message(true, 'shop', {content})"));
    }
    let records = kafka.wait_for_records(&format!("{}.order", admin.name()), 1);
    assert_eq!(records[0].key_text(), "ö");
    let letters = kafka.wait_for_records(&format!("{}.dlq", admin.name()), 1);
    assert_eq!(letters[0].header("walpost-error-reason"), Some("not_representable"));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn a_killed_walpost_loses_no_message_and_repeats_only_what_its_checkpoint_did_not_cover() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("kill_messages");
    let settings = prepare_messages(&database, &kafka);
    let what = "kill test, messages";
    let (kills, tally) = kill::kill_under_load(what, 12, (&database, &kafka, &settings));
    // A trigger writes the messages, so fewer are under way than of rows.
    assert!(tally.in_flight * 2 >= kills, "too few kills with events in flight: {tally:?}");
    assert!(tally.inside > 0, "no kill inside of a transaction: {tally:?}");
}

#[test]
fn a_killed_walpost_sends_every_message_once_in_exactly_once() {
    let kafka = Kafka::start();
    let database = Postgres::oldest().database("once_messages");
    let settings = prepare_messages_once(&database, &kafka);
    exactly_once::kill_under_load(8, (&database, &kafka, &settings));
}
