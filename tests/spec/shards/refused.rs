//! Sets of publications and slots that are not what they should be are refused before anything is
//! sent, by a start and by `walpost check`.

use super::{shards, table, times_published, topic};
use crate::servers::{Database, Kafka, Postgres, Settings, until};

/// A start halts with this code and text in its readiness, and `walpost check` has the text too.
#[track_caller]
fn check_refused(settings: &Settings, (readiness, finding): (&str, &str)) {
    let walpost = settings.start();
    until(readiness, || {
        let body = walpost.try_get("/readyz")?.body;
        body.contains(readiness).then_some(())
    });
    drop(walpost);
    if finding.is_empty() {
        return;
    }
    let checked = settings.clone().arguments(&["check"]).run();
    assert_ne!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.stdout.contains(finding), "{}", checked.stdout);
}

fn publication(database: &Database, shard: u32, filter: &str) {
    database.execute(&format!(
        "create publication walpost_{shard} for table outbox where ({filter})
         with (publish = 'insert', publish_via_partition_root = true)"
    ));
}

fn slot(database: &Database, shard: u32) {
    let name = database.name();
    database.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{name}_{shard}', 'pgoutput')"
    ));
}

const FIRST: &str = "(coalesce(hashint4(aggregateid), 0) & 1) = 0";
const SECOND: &str = "(coalesce(hashint4(aggregateid), 0) & 1) = 1";

#[test]
fn publications_that_overlap_or_leave_rows_out_are_refused() {
    #[track_caller]
    fn check(filters: [&str; 2], expected: &str) {
        let kafka = Kafka::shared();
        let database = Postgres::newest().database("shards_overlap");
        database.execute(&table("integer", false));
        for (shard, filter) in (0..).zip(filters) {
            publication(&database, shard, filter);
            slot(&database, shard);
        }
        check_refused(&shards(&database, kafka, 2), (expected, expected));
    }
    check([FIRST, FIRST], "publication walpost_1 has the row filter");
    check([FIRST, "true"], "publication walpost_1 has");
    // Without coalesce a NULL key is in no shard.
    check(["(hashint4(aggregateid) & 1) = 0", SECOND], "publication walpost_0 has the row filter");
    // For four shards.
    check(["(coalesce(hashint4(aggregateid), 0) & 3) = 0", SECOND], "publication walpost_0 has");
}

#[test]
fn a_publication_that_is_younger_than_its_slot_is_refused() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_late");
    database.execute(&table("integer", false));
    publication(&database, 0, FIRST);
    slot(&database, 0);
    slot(&database, 1);
    database.execute(
        "insert into outbox (aggregateid, payload) select n, '{}' from generate_series(1, 9) n",
    );
    publication(&database, 1, SECOND);
    assert_eq!(times_published(&database), ("1".to_owned(), "1".to_owned()));
    let readiness =
        "shard 1 of 2: halted (not_ready): publication walpost_1 is not known to be older";
    check_refused(&shards(&database, kafka, 2), (readiness, ""));
}

#[test]
fn a_key_that_no_filter_can_hash_and_a_server_without_filters_are_refused() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_type");
    database.execute("create domain order_id as uuid");
    database.execute(&table("order_id", false));
    let refused = "column aggregateid of table public.outbox is public.order_id";
    let refused = (refused, refused);
    check_refused(&shards(&database, kafka, 2), refused);

    let database = Postgres::newest().database("shards_bytes");
    database.execute(&table("bytea", true));
    let settings = shards(&database, kafka, 2);
    check_refused(&settings, ("column aggregateid of table public.outbox is bytea", "is bytea"));

    let database = Postgres::oldest().database("shards_oldest");
    database.execute(&table("uuid", false));
    let settings = shards(&database, kafka, 2);
    check_refused(&settings, ("publications cannot filter rows", "cannot filter rows"));
}

#[test]
fn the_place_of_another_number_of_streams_is_refused_and_kept() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_number");
    database.execute(&table("integer", false));
    let one = shards(&database, kafka, 1);
    let insert = |n: u32| {
        database.execute(&format!(
            "insert into outbox (aggregateid, payload) values ({n}, '{{\"n\": {n}}}')"
        ));
    };
    let run = |count: usize| {
        let mut walpost = one.start();
        walpost.wait_until_ready();
        insert(1);
        kafka.wait_for_records(&topic(&database), count);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    };
    run(1);
    let refused = "what is stored for";
    check_refused(&shards(&database, kafka, 2), (refused, refused));
    assert_eq!(
        database
            .value("select count(*) from pg_replication_slots where database = current_database()"),
        "1"
    );
    run(2);
}

#[test]
fn commands_that_would_divide_messages_or_a_connectors_slot_are_refused() {
    #[track_caller]
    fn check(settings: &Settings, arguments: &[&str], expected: &str) {
        let said = settings.clone().arguments(arguments).run();
        assert_eq!(said.code, 1, "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(expected), "{arguments:?}: {}", said.stderr);
    }
    let database = Postgres::newest().database("shards_commands");
    let messages = shards(&database, Kafka::shared(), 1).env("WALPOST_MESSAGES", database.name());
    check(&messages, &["reshard", "4"], "WALPOST_MESSAGES is set");
    check(&messages, &["setup", "--shards", "4"], "WALPOST_MESSAGES is set");
    let two = shards(&database, Kafka::shared(), 2);
    check(&two, &["adopt", "debezium", "--from-slot"], "with WALPOST_SHARDS=1");
    check(&two, &["prune"], "WALPOST_SHARDS is 2");
}
