//! Goal: several streams in one process send what one would: every row by exactly one of them, each
//! key in its order, and none of them stops for another.
//! Method: real servers, the oldest whose publications filter rows and the newest; what comes to Kafka
//! is held against the table.

use std::collections::HashMap;

use crate::checkpoint_command::done;
use crate::servers::{Database, Kafka, PATIENCE, Postgres, Record, Settings, until, within};

mod halted;
mod killed;
mod refused;
mod reshard;

/// A table whose key comes from where the test says: type of the aggregate id, and whether there is a
/// partition key.
fn table(aggregate_id: &str, partition_key: bool) -> String {
    let partition_key = if partition_key { "partition_key varchar(80)," } else { "" };
    format!(
        "create table outbox (
            id uuid primary key default gen_random_uuid(),
            aggregatetype text not null default 'order',
            aggregateid {aggregate_id}, {partition_key}
            type text not null default 'Placed',
            payload jsonb not null)"
    )
}

#[track_caller]
fn shards(database: &Database, kafka: &Kafka, shards: u32) -> Settings {
    Settings::new(database, kafka)
        .env("WALPOST_SHARDS", shards.to_string())
        .env("WALPOST_NAME", database.name())
}

fn topic(database: &Database) -> String {
    format!("{}.order", database.name())
}

/// How many rows the publications `walpost_0` … send of each row, as the server decides it: the
/// smallest number and the largest.
#[track_caller]
fn times_published(database: &Database) -> (String, String) {
    let filters = database.query(
        "select '((' || rowfilter || ')::int)' from pg_publication_tables
         where pubname like 'walpost\\_%' and tablename = 'outbox'",
    );
    let filters: Vec<_> = filters.into_iter().map(|row| row[0].clone().unwrap()).collect();
    let times = filters.join(" + ");
    let found = database.query(&format!("select min({times}), max({times}) from outbox"));
    (found[0][0].clone().unwrap(), found[0][1].clone().unwrap())
}

/// Each row once, and rows of one key in the order of their numbers.
#[track_caller]
fn check_order(records: &[Record], rows: usize) {
    let mut last: HashMap<&[u8], u64> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for record in records {
        assert!(seen.insert(record.header("ce_id").unwrap()), "{record:?} came twice");
        let number = record.value_json()["n"].as_u64().unwrap();
        if let Some(key) = &record.key {
            let before = last.insert(key, number);
            assert!(before.is_none_or(|before| before < number), "{record:?} after {before:?}");
        }
    }
    assert_eq!(seen.len(), rows);
}

/// Rows of a key column, and a partition key where there is one, made of the number `n`.
#[track_caller]
fn check_key(server: &Postgres, aggregate_id: (&str, &str), partition_key: Option<&str>) {
    let kafka = Kafka::shared();
    let database = server.database("shards_key");
    database.execute(&table(aggregate_id.0, partition_key.is_some()));
    let mut walpost = shards(&database, kafka, 4).start();
    walpost.wait_until_ready();
    let (column, value) = match partition_key {
        Some(value) => (", partition_key", format!(", {value}")),
        None => ("", String::new()),
    };
    for first in (0..400).step_by(20) {
        database.execute(&format!(
            "insert into outbox (aggregateid{column}, payload)
             select {}{value}, jsonb_build_object('n', n) from generate_series({first}, {first} + 19) n",
            aggregate_id.1
        ));
    }
    let came = within(PATIENCE, || {
        Some(kafka.records(&topic(&database))).filter(|records| records.len() >= 400)
    });
    let records = came.unwrap_or_else(|| {
        let came = kafka.records(&topic(&database));
        let numbers: Vec<_> = came.iter().map(|record| record.value_json()["n"].as_u64()).collect();
        let missing: Vec<_> = (0..400).filter(|n| !numbers.contains(&Some(*n))).collect();
        let metrics = walpost.get("/metrics").body;
        panic!("{aggregate_id:?}: {missing:?} have not come\n{metrics}")
    });
    check_order(&records, 400);
    assert_eq!(times_published(&database), ("1".to_owned(), "1".to_owned()), "{aggregate_id:?}");
    until("each shard to have counted a row of forty keys", || {
        let of = |shard: u32| {
            let shard = shard.to_string();
            walpost.metrics().sum("walpost_events_total", &[("shard", &shard)])
        };
        (0..4).all(|shard| of(shard) > 0.0).then_some(())
    });
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

fn check_keys(server: &Postgres) {
    const UUID: &str = "md5((n % 40)::text)::uuid";
    check_key(
        server,
        ("text", "case n % 5 when 0 then null when 1 then '' else 'k' || n % 40 end"),
        None,
    );
    check_key(server, ("uuid", &format!("case when n % 7 > 0 then {UUID} end")), None);
    check_key(
        server,
        ("bigint", "case when n % 7 > 0 then (n % 40) * 1000000007::bigint end"),
        None,
    );
    check_key(server, ("integer", "n % 40"), None);
    check_key(server, ("varchar(40)", "'k' || n % 40"), None);
    check_key(server, ("bytea", "decode(md5((n % 40)::text), 'hex')"), None);
    // The same key from either column: now the id, now its text.
    let either = format!("case n % 3 when 0 then null when 1 then '' else ({UUID})::text end");
    check_key(server, ("uuid", UUID), Some(&either));
    check_key(server, ("bigint", "n % 40"), Some("case when n % 2 = 0 then (n % 40)::text end"));
}

#[test]
fn a_row_is_in_one_shard_and_a_key_keeps_its_order_whatever_it_is_made_of() {
    check_keys(&Postgres::start(15));
    check_keys(Postgres::newest());
}

#[test]
fn rows_of_before_the_first_start_are_sent_once_by_all_shards_together() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_snapshot");
    database.execute(&table("uuid", false));
    let insert = |first: u32, last: u32| {
        database.execute(&format!(
            "insert into outbox (aggregateid, payload)
             select md5((n % 40)::text)::uuid, jsonb_build_object('n', n)
             from generate_series({first}, {last}) n"
        ));
    };
    insert(1, 1_000);
    let mut walpost = shards(&database, kafka, 4).start();
    walpost.wait_until_ready();
    insert(1_001, 2_000);
    let records = kafka.wait_for_records(&topic(&database), 2_000);
    let ids: std::collections::HashSet<_> =
        records.iter().map(|record| record.header("ce_id").unwrap()).collect();
    assert_eq!((records.len(), ids.len()), (2_000, 2_000));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    // A clean restart repeats nothing.
    let mut walpost = shards(&database, kafka, 4).start();
    walpost.wait_until_ready();
    insert(2_001, 2_010);
    assert_eq!(kafka.wait_for_records(&topic(&database), 2_010).len(), 2_010);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn setup_makes_publications_and_slots_that_a_start_takes_and_drops_them_again() {
    let kafka = Kafka::shared();
    let server = Postgres::start(15);
    let database = server.database("shards_setup");
    database.execute(&table("uuid", true));
    let settings = shards(&database, kafka, 1).without("WALPOST_SHARDS");
    let printed = done(&settings, &["setup", "--shards", "2", "--slot"]);
    let filter = "(((COALESCE(hashtext(COALESCE(NULLIF((partition_key)::text, ''::text), textin(uuid_out(aggregateid)))), 0) & 1) = 1))";
    assert!(printed.contains(&format!("WHERE {filter}")), "{printed}");
    assert!(printed.contains(&format!("'{}_1', 'pgoutput'", database.name())), "{printed}");
    let apply = ["setup", "--shards", "2", "--slot", "--apply"];
    let applied = done(&settings, &apply);
    assert!(!applied.contains("failed"), "{applied}");
    let again = done(&settings, &apply);
    assert!(!again.contains("CREATE PUBLICATION") || again.contains("present"), "{again}");

    let settings = shards(&database, kafka, 2).env("WALPOST_CREATE", "false");
    let ready = || {
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        walpost
    };
    // Nobody else makes topics with WALPOST_CREATE=false.
    kafka.make_topic(
        &format!("walpost.checkpoint.{}", database.name()),
        1,
        &[("cleanup.policy", "compact")],
    );
    let mut walpost = ready();
    database.execute(
        "insert into outbox (aggregateid, payload)
         select md5((n % 40)::text)::uuid, jsonb_build_object('n', n) from generate_series(1, 100) n",
    );
    check_order(&kafka.wait_for_records(&topic(&database), 100), 100);
    let refused = settings.clone().arguments(&["setup", "--drop", "--yes"]).run();
    assert!(refused.stderr.contains("is in use"), "{refused:?}");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    done(&settings, &["setup", "--drop", "--yes"]);
    let left = "select count(*) from pg_replication_slots, pg_publication";
    until("the slots to be gone", || (database.value(left) == "0").then_some(()));
}
