//! One transaction of ten million rows.

use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::time::Instant;

use super::{IN_FLIGHT, allowed, mb, size, tell, told_of};
use crate::scene::{Mode, stop};
use crate::servers::walpost::Walpost;
use crate::servers::{Kafka, Postgres, Settings};

/// Aggregates that the rows are spread over.
const KEYS: u64 = 1_000;

/// How long the slowest machine may take for each row.
const A_ROW: Duration = Duration::from_micros(500);

#[test]
fn a_huge_transaction_comes_once_and_in_order_with_bounded_memory_in_at_least_once() {
    run(Mode::AtLeastOnce);
}

#[test]
fn a_huge_transaction_comes_once_and_in_order_with_bounded_memory_in_exactly_once() {
    run(Mode::ExactlyOnce);
}

/// The topic has one partition, so what comes is the order of all rows: the number of a row is the
/// number of records before it, and nothing has to be kept.
#[track_caller]
fn run(mode: Mode) {
    let rows = size("ROWS", 100_000, 10_000_000);
    let (postgres, kafka) = (Postgres::start(18), Kafka::start());
    let database = postgres.database("huge");
    database.execute(
        "create table outbox (id bigint, aggregatetype text, aggregateid text, type text, payload text)",
    );
    let topic = format!("{}.order", database.name());
    kafka.make_topic(&topic, 1, &[]);
    let settings = Settings::new(&database, &kafka).env("WALPOST_DELIVERY", mode.name());
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let idle = walpost.memory();

    let begun = Instant::now();
    database.execute(&format!(
        "insert into outbox select n, 'order', 'key-' || n % {KEYS}, 'Placed',
         '{{\"note\": \"small\", \"n\": ' || n || '}}' from generate_series(0, {rows} - 1) as n"
    ));
    let (written, committed) = (begun.elapsed(), Instant::now());
    let limit = Duration::from_secs(60) + A_ROW * u32::try_from(rows).unwrap();
    let first = wait_for_events(&mut walpost, 1, limit);
    let took = wait_for_events(&mut walpost, rows, limit);
    let (peak, after) = (walpost.memory_peak(), walpost.memory());

    // One more, so that a record too many would be seen.
    database
        .execute(&format!("insert into outbox values ({rows}, 'order', 'last', 'Placed', '{{}}')"));
    let mut expected = 0;
    let count = usize::try_from(rows + 1).unwrap();
    let arrived = kafka.for_each_record(&topic, (count, limit), |record| {
        assert_eq!(id(record), expected, "the record at {}", record.offset());
        expected += 1;
    });
    assert_eq!(arrived, count, "walpost said:\n{}", walpost.log());
    stop(walpost);
    let limit = allowed(IN_FLIGHT);
    tell(
        &format!("transaction {}", mode.name()),
        &format!(
            "`{}`: {rows} rows in one transaction, written in {:.0} s; the first was confirmed {:.0} s \
             after its commit and the last {:.0} s after it, {:.0} rows a second from then on. All came, \
             once and in order. Memory: {} before, at most {}, {} afterwards; {} are allowed{}.",
            mode.name(),
            written.as_secs_f64(),
            (first - committed).as_secs_f64(),
            (took - committed).as_secs_f64(),
            f64::from(u32::try_from(rows).unwrap()) / (took - first).as_secs_f64().max(0.001),
            mb(idle),
            mb(peak),
            mb(after),
            mb(limit),
            told_of(),
        ),
    );
    assert!(peak <= limit, "{} of memory, of {}", mb(peak), mb(limit));
}

/// Waits until so many rows are confirmed; when that was.
#[track_caller]
fn wait_for_events(walpost: &mut Walpost, rows: u64, limit: Duration) -> Instant {
    let rows = f64::from(u32::try_from(rows).unwrap());
    let end = Instant::now() + limit;
    loop {
        let metrics = walpost.metrics();
        let now = Instant::now();
        if metrics.sum("walpost_events_total", &[]) >= rows {
            return now;
        }
        assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
        assert!(now < end, "{rows} rows not confirmed within {limit:?}: {}", walpost.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn id(record: &BorrowedMessage<'_>) -> u64 {
    let mut headers = record.headers().unwrap().iter();
    let id = headers.find(|header| header.key == "ce_id").unwrap().value.unwrap();
    std::str::from_utf8(id).unwrap().parse().unwrap()
}
