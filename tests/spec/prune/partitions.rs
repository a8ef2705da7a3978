//! Partitions: those that were made as such, attached ones, and the dropping of whole ones.

use super::*;
use crate::servers::until;

const TABLE: &str = "drop table outbox; create table outbox (
    id uuid not null default gen_random_uuid(), aggregatetype text not null,
    aggregateid text not null, type text not null, payload jsonb,
    created_at timestamptz not null default clock_timestamp()) partition by range (created_at)";

#[test]
fn an_attached_partition_keeps_its_rows_and_a_past_one_is_dropped_whole() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let shop = Shop::open(server, "parts");
        shop.database.execute(TABLE);
        let mut walpost = shop.start();
        let end = shop.database.value("select clock_timestamp() + interval '2 seconds'");
        shop.database.execute(&format!(
            "create table past partition of outbox for values from (minvalue) to ('{end}')"
        ));
        // As partition managers do it: made and attached in one transaction.
        shop.database.execute(&format!(
            "begin; create table present (like outbox including all);
             alter table outbox attach partition present
                for values from ('{end}') to ('{end}'::timestamptz + interval '1 day'); commit"
        ));
        shop.note(1, 20);
        shop.database.execute(&format!(
            "insert into outbox (aggregatetype, aggregateid, type, payload, created_at)
             select 'order', 'a', 'Placed', jsonb_build_object('n', n),
                '{end}'::timestamptz - interval '1 second'
             from generate_series(1, 20) n"
        ));
        // A table with a row in it, which no stream ever had.
        shop.note(100, 1);
        shop.database.execute("create table later (like outbox including all)");
        shop.database.execute(&format!(
            "insert into later (aggregatetype, aggregateid, type, payload, created_at)
             values ('order', 'a', 'Placed', '{{\"n\": 100}}', '{end}'::timestamptz + interval '36 hours')"
        ));
        shop.database.execute(&format!(
            "alter table outbox attach partition later
                for values from ('{end}'::timestamptz + interval '1 day')
                to ('{end}'::timestamptz + interval '2 days')"
        ));
        until("the first range to be past", || {
            let past = format!("select clock_timestamp() > '{end}'");
            (shop.database.value(&past) == "t").then_some(())
        });
        shop.insert(21, 5);
        let dry =
            done(&shop.settings, &["prune", "--older-than", "0", "--drop-partitions", "--dry-run"]);
        assert!(dry.contains("partition public.past would be dropped, with 20 rows"), "{dry}");
        assert!(dry.contains("public.present stays: its range"), "{dry}");
        assert!(dry.contains("public.later: nothing of it is deleted: it was attached"), "{dry}");
        assert_eq!(shop.left().len(), 26);
        let said = done(&shop.settings, &["prune", "--older-than", "0", "--drop-partitions"]);
        assert!(said.contains("partition public.past was dropped, with 20 rows"), "{said}");
        assert_eq!(shop.compare(), [100].into());
        assert_eq!(shop.database.value("select to_regclass('past')"), "");
        // The stream goes on without it.
        shop.insert(26, 2);
        shop.kafka.wait_for_records(&shop.topic(), 27);
        walpost.wait_for_state("streaming");
    }
}
