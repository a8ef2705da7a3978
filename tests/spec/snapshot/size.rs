//! Goal: a table of any size takes the same memory.
//! Method: the kernel's own count (`VmHWM`). `WALPOST_TEST_SNAPSHOT_ROWS=5000000` takes that many rows.

use std::time::Duration;

use tokio::time::Instant;

use super::topic;
use crate::oracle::knob;
use crate::servers::{Kafka, Postgres, Settings, figure};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_snapshot_of_a_large_table_takes_at_most_64_mebibytes() {
    let rows = knob("WALPOST_TEST_SNAPSHOT_ROWS", 300_000);
    let (database, kafka) = (Postgres::newest().database("large"), Kafka::shared());
    database.execute(&format!(
        "create table outbox (id int, aggregatetype text, aggregateid text, type text, payload text,
             created_at timestamptz);
         insert into outbox select n, 'order', 'key-' || n % 100, 'Placed',
             '{{\"note\": \"a payload of the size that one sees, say, a hundred bytes or so\", \"n\": ' || n || '}}',
             '2026-01-01'::timestamptz + n * interval '1 ms'
         from generate_series(0, {rows} - 1) as n"
    ));
    kafka.make_topic(&topic(&database), 1, &[]);
    let began = Instant::now();
    let walpost = Settings::new(&database, kafka).start();
    let (mut next, count) = (0, usize::try_from(rows).unwrap());
    let arrived =
        kafka.for_each_record(&topic(&database), (count, Duration::from_secs(1800)), |record| {
            use rdkafka::message::{Headers, Message};
            let headers = record.headers().unwrap();
            let id = headers.iter().find(|header| header.key == "ce_id").unwrap().value.unwrap();
            // Each once, by time.
            assert_eq!(id, next.to_string().as_bytes());
            next += 1;
        });
    let took = began.elapsed().as_secs_f64();
    assert_eq!(arrived, count, "walpost said:\n{}", walpost.log());
    let peak = walpost.memory_peak();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (mebibytes, rate) = (peak as f64 / MIB as f64, rows as f64 / took);
    figure(&format!(
        "a snapshot of {rows} rows: {took:.1} s from start to last record, {rate:.0} rows/s, peak {mebibytes:.1} MiB"
    ));
    assert!(peak <= 64 * MIB, "{mebibytes:.1} MiB");
}
