//! Two-phase commit: a prepared transaction has no session and outlives a restart, and may still be
//! committed.

use super::*;
use crate::servers::{PATIENCE, within};

fn insert(n: u32) -> String {
    format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'a', 'Placed', jsonb_build_object('n', {n}))"
    )
}

#[test]
fn rows_younger_than_a_prepared_transaction_wait_for_it() {
    for major in [14, 18] {
        let server = Postgres::start_with(major, &["max_prepared_transactions=4"]);
        let shop = Shop::open(&server, "prepared");
        let mut walpost = shop.start();
        let prepare = |name: &str, rows: &str| {
            let session = shop.database.session();
            session.execute(&format!("begin; {rows}; prepare transaction '{name}'"));
        };
        let in_savepoint = format!("{}; savepoint a; {}; release a", insert(1), insert(2));
        prepare("kept", &in_savepoint);
        shop.insert(3, 1);
        // Nothing stands still but pruning: what was committed later is sent.
        shop.kafka.wait_for_records(&shop.topic(), 1);
        assert_eq!(shop.pruned(), [3].into());
        assert_eq!(shop.counted(&[])["unproven"], 1);
        let named = within(PATIENCE, || {
            let said = done(&shop.settings, &["prune", "--older-than", "0", "--dry-run"]);
            said.contains("prepared transaction \"kept\"").then_some(said)
        });
        let named = named.expect("it is named once it has been open for 10 s");
        assert!(named.contains("1 rows stay: they were written by a transaction"), "{named}");

        // No session had it, so no restart ends it, be it a crash.
        server.stop_immediate();
        server.start_again();
        walpost.wait_for_state("streaming");
        shop.insert(4, 1);
        assert_eq!(shop.pruned(), numbers(3..=4));

        shop.database.execute("commit prepared 'kept'");
        shop.note(1, 2);
        assert_eq!(shop.pruned(), BTreeSet::new());
        assert_eq!(shop.arrived(), numbers(1..=4));

        prepare("dropped", &insert(5));
        shop.insert(6, 1);
        assert_eq!(shop.pruned(), [6].into());
        shop.database.execute("rollback prepared 'dropped'");
        assert_eq!(shop.pruned(), BTreeSet::new());
        assert_eq!(shop.arrived(), [1, 2, 3, 4, 6].into());
    }
}
