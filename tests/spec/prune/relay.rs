//! The relay prunes by itself.

use super::*;
use crate::servers::until;

#[test]
fn the_leader_deletes_what_is_old_enough_and_counts_it() {
    let mut shop = Shop::open(Postgres::newest(), "relay");
    shop.insert(1, 2);
    shop.settings =
        shop.settings.clone().env("WALPOST_PRUNE_AFTER", "1s").env("WALPOST_SNAPSHOT", "never");
    let mut walpost = shop.start();
    shop.insert(3, 50);
    until("the delivered rows to be gone", || (shop.left().len() == 2).then_some(()));
    assert_eq!(shop.compare(), numbers(1..=2));
    until("the rows to be counted", || {
        (walpost.metrics().sum("walpost_pruned_rows_total", &[]) == 50.0).then_some(())
    });
    assert!(walpost.metrics().sum("walpost_outbox_bytes", &[]) > 0.0);
    shop.insert(53, 1);
    shop.kafka.wait_for_records(&shop.topic(), 51);
    walpost.wait_for_state("streaming");
}
