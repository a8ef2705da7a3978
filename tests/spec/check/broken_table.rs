//! Outbox tables that are broken in one way each.

use super::{PUBLICATION, check, execute, outbox, role, set};
use crate::servers::{Kafka, Postgres, Settings};

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
fn a_partitioned_outbox_wants_its_rows_under_its_own_name() {
    let server = Postgres::oldest();
    let database = server.database("partitioned");
    database.execute(
        "create table outbox (id bigint, aggregatetype text, aggregateid text, type text,
            payload jsonb) partition by range (id);
         create table outbox_1 partition of outbox for values from (0) to (1000000);
         create publication walpost for table outbox with (publish = 'insert')",
    );
    let unnamed = Settings::new(&database, Kafka::shared());
    let settings = unnamed.clone().env("WALPOST_CE_SOURCE", "//shop.example/outbox");
    let checked = check(&settings);
    execute(&database, checked.problem("publication", "under the names of its partitions"));
    check(&settings).is_ready();
    let checked = check(&unnamed);
    checked.is_ready_but_for(&["ids"]);
    // Numbers of a sequence are no ids of the whole world.
    let ids = checked.warning("ids", "WALPOST_CE_SOURCE");
    assert!(
        ids["remedy"]["variables"][0].as_str().is_some_and(|v| v.starts_with("WALPOST_CE_SOURCE="))
    );
    check(&settings).is_ready();
}

#[test]
fn what_is_no_table_of_the_log_is_found() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "no_log");
    database.execute("alter table outbox set unlogged; create view seen as select * from outbox");
    let checked = check(&settings);
    execute(&database, checked.problem("table", "is unlogged"));
    check(&settings).is_ready();
    let view = settings.env("WALPOST_TABLE", "public.seen");
    let checked = check(&view);
    let problem = checked.problem("table", "public.seen is no table");
    assert!(problem["remedy"]["note"].as_str().expect("a note").contains("WALPOST_TABLE"));
}

#[test]
fn row_level_security_that_would_hide_rows_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "hidden");
    let (role, url) = role(server, &database, "login replication");
    database.execute(&format!(
        "alter table outbox enable row level security; grant select on outbox to {role}; {PUBLICATION}"
    ));
    let settings = settings.env("DATABASE_URL", url);
    let checked = check(&settings);
    let problem = checked.problem("snapshot", "row-level security");
    check(&set(settings.clone(), problem)).is_ready();
    execute(&database, problem);
    check(&settings).is_ready();
}

#[test]
fn numbers_of_several_tables_under_one_source_are_found() {
    let (database, settings) = outbox(Postgres::oldest(), Kafka::shared(), "numbers");
    let columns = "(id bigserial primary key, aggregatetype text, aggregateid text, type text, payload jsonb)";
    database.execute(&format!("create table sales {columns}; create table returns {columns}"));
    let settings = settings
        .env("WALPOST_TABLE", "sales, returns")
        .env("WALPOST_CE_SOURCE", "//shop.example/outbox");
    let checked = check(&settings);
    checked.is_ready_but_for(&["ids"]);
    let warning = checked.warning("ids", "all tables have one source");
    let mended = check(&set(settings.clone(), warning));
    assert!(!mended.complains_of("ids"), "{mended:#?}");
    // With no source of one's own at all, each table has another one, as yet only in this database.
    let checked = check(&settings.without("WALPOST_CE_SOURCE"));
    checked.warning("ids", "the ids of table public.sales are numbers");
    checked.warning("ids", "the ids of table public.returns are numbers");
}
