//! Databases that are broken in one way each.

use super::{check, execute, outbox, remedy, role, set};
use crate::servers::{Kafka, Postgres, Session, Settings, within};

/// Makes the publication that walpost would make.
const PUBLICATION: &str = "create publication walpost for table public.outbox
    with (publish = 'insert', publish_via_partition_root = true)";

#[test]
fn a_server_without_logical_wal_level_is_found() {
    let server = Postgres::start_with(16, &["wal_level=replica"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "wal_level");
    let checked = check(&settings);
    let problem = checked.problem("wal_level", "replica");
    execute(&database, problem);
    server.stop_fast();
    server.start_again();
    check(&settings).is_ready();
}

#[test]
fn a_role_without_replication_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "right");
    database.execute(PUBLICATION);
    let (role, url) = role(server, &database, "login");
    database.execute(&format!("grant select on outbox to {role}"));
    let settings = settings.env("DATABASE_URL", url);
    let checked = check(&settings);
    let problem = checked.problem("replication_right", "SQLSTATE 42501");
    assert_eq!(problem["halt"], "authorization");
    execute(&database, problem);
    check(&settings).is_ready();
}

#[test]
fn a_role_that_may_not_publish_is_found_and_needs_no_more_than_replication() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "least");
    let (_, url) = role(server, &database, "login replication");
    let initial = settings.env("DATABASE_URL", url);
    let settings = initial.clone().env("WALPOST_SNAPSHOT", "never");
    let checked = check(&settings);
    execute(&database, checked.problem("publication", "does not own"));
    let checked = check(&settings);
    checked.is_ready();
    // What is in the table already has to be read.
    let unread = check(&initial);
    let problem = unread.problem("snapshot", "may not read table public.outbox");
    assert_eq!(problem["halt"], "not_ready");
    assert_eq!(problem["remedy"]["variables"], serde_json::json!(["WALPOST_SNAPSHOT=never"]));
    let rows = checked.findings.iter().find(|finding| finding["check"] == "rows").expect("rows");
    assert_eq!(rows["level"], "ok", "the relay does not need to read the table: {rows:#}");
    execute(&database, rows);
    let checked = check(&initial);
    checked.is_ready();
    assert!(
        checked.findings.iter().any(|finding| finding["found"] == "table public.outbox is empty")
    );
    // And the relay agrees.
    let mut walpost = initial.second().start();
    walpost.wait_until_ready();
}

#[test]
fn an_owner_that_may_not_create_in_the_database_is_found() {
    let server = Postgres::oldest();
    let (database, settings) = outbox(server, Kafka::shared(), "owner");
    let (role, url) = role(server, &database, "login replication");
    database.execute(&format!("alter table outbox owner to {role}"));
    let settings = settings.env("DATABASE_URL", url);
    let checked = check(&settings);
    execute(&database, checked.problem("publication", "may not create"));
    check(&settings).is_ready();
}

#[test]
fn a_wrong_password_and_a_missing_line_in_pg_hba_are_found() {
    let server = Postgres::start(15);
    let (database, settings) = outbox(&server, Kafka::shared(), "password");
    let (role, url) = role(&server, &database, "login replication password 'right'");
    database.execute(&format!("grant select on outbox to {role}"));
    database.execute(PUBLICATION);
    let file = server.path().join("data/pg_hba.conf");
    let others = std::fs::read_to_string(&file).expect("pg_hba.conf");
    let first = |line: &str| {
        std::fs::write(&file, format!("{line}\n{others}")).expect("pg_hba.conf");
        database.value("select pg_reload_conf()");
    };
    first(&format!("host all {role} 127.0.0.1/32 scram-sha-256"));
    let with = |password: &str| {
        settings.clone().env("DATABASE_URL", url.replacen('@', &format!(":{password}@"), 1))
    };
    within(std::time::Duration::from_secs(5), || (check(&with("wrong")).code == 1).then_some(()));
    let checked = check(&with("wrong"));
    let problem = checked.problem("postgres", "password authentication failed");
    assert_eq!(problem["halt"], "authentication");
    assert!(problem["remedy"]["note"].as_str().expect("a note").contains("PGPASSWORD"));
    assert!(!format!("{checked:?}").contains("wrong"), "no secret is said: {checked:#?}");
    check(&with("right")).is_ready();

    first(&format!("host all {role} 127.0.0.1/32 reject"));
    within(std::time::Duration::from_secs(5), || (check(&with("right")).code == 1).then_some(()));
    let checked = check(&with("right"));
    let problem = checked.problem("postgres", "pg_hba.conf");
    assert!(problem["remedy"]["note"].as_str().expect("a note").contains(&role));
}

#[test]
fn an_unreachable_server_and_a_missing_database_are_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "unreachable");
    let nobody = settings.clone().env("DATABASE_URL", "postgres://postgres@127.0.0.1:1/shop");
    check(&nobody).problem("postgres", "127.0.0.1:1");
    let name = format!("{}_other", database.name());
    let other = settings.env("DATABASE_URL", server.url(&name));
    let checked = check(&other.clone().env("WALPOST_CREATE", "true"));
    let problem = checked.problem("postgres", "does not exist");
    execute(&database, problem);
    // The table is the next that is missing; its statement mends it too.
    let checked = check(&other);
    let missing = checked.problem("table", "public.outbox");
    let session = Session::open(&server.url(&name));
    remedy(missing, "sql").iter().for_each(|statement| session.execute(statement));
    check(&other).is_ready();
    drop(session);
    database.execute(&format!("drop database {name} with (force)"));
}

#[test]
fn a_missing_table_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "no_table");
    let settings = settings
        .env("WALPOST_TABLE", "\"Shop\".\"Out Box\"")
        .env("WALPOST_COLUMN_ID", "Event")
        .env("WALPOST_COLUMN_PAYLOAD", "body");
    let checked = check(&settings);
    execute(&database, checked.problem("table", "Shop.Out Box"));
    check(&settings).is_ready();
}

#[test]
fn missing_columns_are_found() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "column");
    database.insert_rows("order", 1, 2, 2);
    database.execute("alter table outbox drop column aggregatetype");
    let checked = check(&settings);
    let problem = checked.problem("columns", "aggregate_type");
    execute(&database, problem);
    let checked = check(&settings);
    // The rows that were there have no aggregate type, and say so.
    checked.is_ready_but_for(&["rows"]);
    checked.warning("rows", "2 of the last 2 rows");
    database.execute("delete from outbox; alter table outbox drop column type");
    let checked = check(&settings);
    execute(&database, checked.problem("columns", "WALPOST_COLUMN_TYPE"));
    check(&settings).is_ready();
}

#[test]
fn bad_rows_are_found_without_their_values() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "rows");
    database.insert_rows("order", 1, 50, 2);
    database.execute(
        "insert into outbox (aggregatetype, aggregateid, type) values ('a b', 'secret', 'T')",
    );
    let checked = check(&settings);
    checked.is_ready_but_for(&["rows"]);
    checked.warning("rows", "1 of the last 20 rows of public.outbox are bad");
    assert!(!format!("{checked:?}").contains("secret"), "{checked:#?}");
    let halting = settings.clone().env("WALPOST_ON_BAD_ROW", "halt");
    let checked = check(&halting);
    let problem = checked.problem("rows", "1 of the last");
    assert_eq!(problem["halt"], "bad_row");
    check(&set(halting, problem)).is_ready_but_for(&["rows"]);
    let skipping = settings.clone().env("WALPOST_ON_BAD_ROW", "skip");
    let checked = check(&skipping);
    let warning = checked.warning("rows", "1 of the last");
    assert!(warning["why"].as_str().expect("a text").contains("never reach Kafka"));
    // The row that was read is the row that is mended.
    database.execute("update outbox set aggregatetype = 'ab' where aggregatetype = 'a b'");
    check(&settings).is_ready();
}

#[test]
fn publications_that_lose_rows_are_found() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "publication");
    database.execute("create table other (id int primary key)");
    #[track_caller]
    fn case(
        (database, settings): &(crate::servers::Database, Settings),
        publication: &str,
        (problem, text): (bool, &str),
    ) {
        database.execute(&format!("drop publication if exists walpost; {publication}"));
        let checked = check(settings);
        let finding = if problem {
            checked.problem("publication", text)
        } else {
            checked.is_ready_but_for(&["publication"]);
            checked.warning("publication", text)
        };
        execute(database, finding);
        check(settings).is_ready();
    }
    let both = (database, settings);
    let whole = "create publication walpost for table public.outbox";
    case(&both, &format!("{whole} with (publish = 'update')"), (true, "does not publish inserts"));
    case(&both, whole, (false, "also publishes updates, deletes, truncates"));
    case(
        &both,
        "create publication walpost with (publish = 'insert')",
        (true, "does not contain table public.outbox"),
    );
    case(
        &both,
        &format!("{whole}, public.other with (publish = 'insert')"),
        (false, "public.other"),
    );
    case(
        &both,
        &format!("{whole} where (aggregatetype <> 'x') with (publish = 'insert')"),
        (false, "aggregatetype <> 'x'"),
    );
    case(
        &both,
        &format!(
            "{whole} (id, aggregatetype, aggregateid, type, payload) with (publish = 'insert')"
        ),
        (false, "created_at"),
    );
}

#[test]
fn a_partitioned_outbox_wants_its_rows_under_its_own_name() {
    let server = Postgres::oldest();
    let database = server.database("partitioned");
    database.execute(
        "create table outbox (id bigint, aggregatetype text, aggregateid text, type text,
            payload jsonb) partition by range (id);
         create table outbox_1 partition of outbox for values from (0) to (1000000);
         create publication walpost for table outbox with (publish = 'insert')",
    );
    let settings = Settings::new(&database, Kafka::shared());
    let checked = check(&settings);
    execute(&database, checked.problem("publication", "under the names of its partitions"));
    let checked = check(&settings);
    checked.is_ready_but_for(&["ids"]);
    // Numbers of a sequence are no ids of the whole world.
    let ids = checked.warning("ids", "WALPOST_CE_SOURCE");
    let settings = settings.env("WALPOST_CE_SOURCE", "//shop.example/outbox");
    assert!(
        ids["remedy"]["variables"][0].as_str().is_some_and(|v| v.starts_with("WALPOST_CE_SOURCE="))
    );
    check(&settings).is_ready();
}

#[test]
fn with_nothing_to_create_the_statements_make_it_all() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, settings) = outbox(server, Kafka::shared(), "fixed");
        let settings = settings.env("WALPOST_CREATE", "false");
        let kafka = Kafka::shared();
        let name = database.name();
        let checkpoint = format!("walpost.checkpoint.{name}.{name}");
        kafka.create_topic(&checkpoint, 1, &["cleanup.policy=compact"]);
        kafka.create_topic(&format!("{name}.dlq"), 1, &["retention.ms=-1"]);
        let checked = check(&settings);
        execute(&database, checked.problem("slot", "WALPOST_CREATE is false"));
        check(&settings).is_ready();
        // A publication that is younger than its slot.
        database.execute("drop publication walpost");
        let checked = check(&settings);
        execute(&database, checked.problem("publication", "does not"));
        check(&settings).is_ready();
        let mut walpost = settings.second().start();
        walpost.wait_until_ready();
    }
}

#[test]
fn a_lost_slot_is_found() {
    let settings = ["max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB"];
    let server = Postgres::start_with(17, &settings);
    let (database, settings) = outbox(&server, Kafka::shared(), "lost");
    database.execute(PUBLICATION);
    let name = database.name();
    database.value(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    check(&settings).is_ready();
    database.execute("create table filler (t text)");
    let lost = within(crate::servers::PATIENCE, || {
        database
            .execute("insert into filler select repeat('x', 1000) from generate_series(1, 20000)");
        database.value("select pg_switch_wal()");
        database.execute("checkpoint");
        let status = database.value(&format!(
            "select wal_status from pg_replication_slots where slot_name = '{name}'"
        ));
        (status == "lost").then_some(())
    });
    assert!(lost.is_some(), "the server keeps the log all the same");
    let checked = check(&settings);
    let problem = checked.problem("slot", "is lost");
    assert_eq!(problem["halt"], "slot_lost");
    execute(&database, problem);
    check(&settings).is_ready();
}

#[test]
fn a_slot_of_another_kind_database_or_reader_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "foreign");
    database.execute(PUBLICATION);
    let name = database.name();
    database
        .value(&format!("select pg_create_logical_replication_slot('{name}', 'test_decoding')"));
    let checked = check(&settings);
    let problem = checked.problem("slot", "test_decoding");
    check(&set(settings.clone(), problem)).is_ready();
    database.value(&format!("select pg_drop_replication_slot('{name}')"));

    database.value(&format!("select pg_create_physical_replication_slot('{name}')"));
    check(&settings).problem("slot", "physical");
    database.value(&format!("select pg_drop_replication_slot('{name}')"));

    let (other, _) = outbox(server, Kafka::shared(), "foreign_other");
    other.value(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    let checked = check(&settings);
    let problem = checked.problem("slot", other.name());
    check(&set(settings.clone(), problem)).is_ready();
    other.value(&format!("select pg_drop_replication_slot('{name}')"));

    // Another walpost reads it, under another name.
    let mut walpost = settings.second().env("WALPOST_NAME", format!("{name}-thief")).start();
    walpost.wait_until_ready();
    let checked = check(&settings);
    let problem = checked.problem("slot", &format!("walpost/{name}-thief"));
    let statements = remedy(problem, "sql");
    walpost.freeze();
    database.value(&statements[1]);
    let free = within(crate::servers::PATIENCE, || (check(&settings).code == 0).then_some(()));
    assert!(free.is_some(), "{statements:?} did not end the reader");
}

#[test]
fn a_slot_or_publication_that_is_gone_is_a_problem_once_a_checkpoint_is_stored() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "gone");
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    check(&settings).is_ready();
    // The slot is moved by somebody else.
    let name = database.name();
    database.insert_rows("order", 1, 3, 1);
    database.value(&format!("select pg_replication_slot_advance('{name}', pg_current_wal_lsn())"));
    assert_eq!(check(&settings).problem("checkpoint", "stands at")["halt"], "slot_ahead");
    database.value(&format!("select pg_drop_replication_slot('{name}')"));
    assert_eq!(check(&settings).problem("slot", "does not exist")["halt"], "slot_missing");
}

#[test]
fn a_changed_publication_is_a_problem_once_a_checkpoint_is_stored() {
    let (database, settings) = outbox(Postgres::oldest(), Kafka::shared(), "changed");
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    database.execute(&format!("drop publication walpost; {PUBLICATION}"));
    let checked = check(&settings);
    assert_eq!(checked.problem("checkpoint", "changed")["halt"], "publication_changed");
    database.execute("drop publication walpost");
    let checked = check(&settings);
    assert_eq!(checked.problem("publication", "any more")["halt"], "publication_changed");
}

#[test]
fn settings_that_somebody_may_regret_are_warnings() {
    let server = Postgres::start_with(
        18,
        &[
            "idle_replication_slot_timeout=1h",
            "max_prepared_transactions=2",
            "synchronous_standby_names=ANY 1 (s1, \"*\")",
            "synchronous_commit=local",
        ],
    );
    let (database, settings) = outbox(&server, Kafka::shared(), "settings");
    database.execute("begin; create table held (n int); prepare transaction 'it''s held'");
    std::thread::sleep(std::time::Duration::from_secs(11));
    let checked = check(&settings);
    checked.is_ready();
    checked.warning("role", "superuser");
    for (name, text) in [
        ("max_slot_wal_keep_size", "-1"),
        ("idle_replication_slot_timeout", "3600 s"),
        ("long_transactions", "it's held"),
    ] {
        execute(&database, checked.warning(name, text));
    }
    checked.warning("synchronous_standby_names", "matches walpost");
    let gone = within(std::time::Duration::from_secs(10), || {
        let checked = check(&settings);
        ["max_slot_wal_keep_size", "idle_replication_slot_timeout", "long_transactions"]
            .iter()
            .all(|name| !checked.complains_of(name))
            .then_some(())
    });
    assert!(gone.is_some(), "{:#?}", check(&settings));
}

#[test]
fn a_standby_that_nobody_has_is_found() {
    let server = Postgres::start_with(17, &["max_slot_wal_keep_size=1GB"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "standby");
    database.execute("alter system set synchronized_standby_slots = 'gone'");
    database.value("select pg_reload_conf()");
    let checked = within(std::time::Duration::from_secs(10), || {
        let checked = check(&settings);
        (checked.code != 0).then_some(checked)
    });
    let checked = checked.expect("the setting is taken");
    execute(&database, checked.problem("synchronized_standby_slots", "gone"));
    let mended =
        within(std::time::Duration::from_secs(10), || (check(&settings).code == 0).then_some(()));
    assert!(mended.is_some());
}

#[test]
fn a_server_without_room_is_found() {
    let server = Postgres::start_with(14, &["max_replication_slots=1", "max_wal_senders=1"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "room");
    database.value("select pg_create_physical_replication_slot('other')");
    let checked = check(&settings);
    let problem = checked.problem("replication_slots", "1 of 1");
    execute(&database, problem);
    server.stop_fast();
    server.start_again();
    check(&settings).is_ready();
}
