//! Pruning does not slow down writers. A plain run prunes a few rows and prints its times; for a
//! measurement: `WALPOST_TEST_PRUNE_ROWS=1000000 cargo test --test spec prune::speed -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::servers::until;

/// Inserts one row a transaction until told to stop; answers how long each took.
fn write(shop: &Shop, first: u32, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<Duration>> {
    let session = shop.database.session();
    std::thread::spawn(move || {
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let n = first + u32::try_from(times.len()).unwrap();
            let began = Instant::now();
            session.execute(&format!(
                "insert into outbox (aggregatetype, aggregateid, type, payload)
                 values ('order', 'k', 'Placed', jsonb_build_object('n', {n}))"
            ));
            times.push(began.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        times
    })
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

#[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
fn wanted_rows() -> u32 {
    let rows = std::env::var("WALPOST_TEST_PRUNE_ROWS").ok();
    rows.map_or(20_000, |rows| rows.parse().unwrap())
}

#[test]
fn writers_go_on_while_rows_are_pruned() {
    let rows = wanted_rows();
    let shop = Shop::open(Postgres::newest(), "speed");
    let _walpost = shop.start();
    for first in (0..rows).step_by(20_000) {
        shop.insert(first, rows.min(first + 20_000) - first);
    }
    let began = Instant::now();
    until("all rows to be delivered", || {
        let slot = format!(
            "select pg_current_wal_lsn() - confirmed_flush_lsn < 1000 from pg_replication_slots where slot_name = '{}'",
            shop.database.name()
        );
        (shop.database.value(&slot) == "t" || began.elapsed() > Duration::from_secs(300))
            .then_some(())
    });
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write(&shop, 10_000_000, Arc::clone(&stop));
    std::thread::sleep(Duration::from_secs(if rows > 100_000 { 20 } else { 2 }));
    stop.store(true, Ordering::Relaxed);
    let mut alone = writer.join().unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let writer = write(&shop, 20_000_000, Arc::clone(&stop));
    let began = Instant::now();
    let said = done(&shop.settings, &["prune", "--older-than", "1s", "--wait", "5m", "--json"]);
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut beside = writer.join().unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let deleted = said["tables"][0]["deleted"].as_u64().unwrap();
    for (what, times) in [("alone", &mut alone), ("beside prune", &mut beside)] {
        println!(
            "{what}: {} inserts, median {:?}, p99 {:?}, longest {:?}",
            times.len(),
            percentile(times, 50),
            percentile(times, 99),
            percentile(times, 100)
        );
    }
    println!("{deleted} rows pruned in {took:?}");
    assert!(deleted >= u64::from(rows), "{said}");
    assert_eq!(said["tables"][0]["busy_pages"], 0);
}
