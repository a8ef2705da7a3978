//! Goal: `walpost_lag_seconds` is the truth: 0 only when nothing waits, and while something does, the
//! age of the oldest commit that Kafka has not confirmed.
//!
//! Method: real servers that are frozen, or given much to decode. The test notes its own clock before
//! and after each commit, and before and after each look, so it knows between which two values the
//! lag must lie, however slow the machine is. Servers and test share one clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Settings, figure, until};

/// How far the number may be from the truth. It is worked out when it is asked for, from what the
/// loop tells ten times a second, and what was proven counts from when the server was asked for it;
/// the server's clock is known but for the time that an answer takes.
const NEAR: f64 = 1.0;

/// A commit, by the test's own clock: it happened between the two.
#[derive(Clone, Copy, Debug)]
struct Commit {
    begun: Instant,
    over: Instant,
}

impl Commit {
    /// An order is written.
    #[track_caller]
    fn of_a_row(database: &Database, number: u32) -> Self {
        let begun = Instant::now();
        database.insert_rows("order", number, 1, 1);
        Self { begun, over: Instant::now() }
    }
}

/// What one look at the metrics found.
#[derive(Clone, Copy, Debug)]
struct Look {
    begun: Instant,
    over: Instant,
    lag: f64,
    caught_up: bool,
    in_flight: f64,
}

impl Look {
    #[track_caller]
    fn at(walpost: &Walpost) -> Self {
        let begun = Instant::now();
        let metrics = walpost.metrics();
        Self {
            begun,
            over: Instant::now(),
            lag: metrics.sum("walpost_lag_seconds", &[]),
            caught_up: metrics.sum("walpost_caught_up", &[]) == 1.0,
            in_flight: metrics.sum("walpost_in_flight_events", &[]),
        }
    }

    /// The least and the greatest age that the commit can have had when the lag was worked out.
    fn age(&self, commit: Commit) -> (f64, f64) {
        let least = self.begun.saturating_duration_since(commit.over);
        let most = self.over.saturating_duration_since(commit.begun);
        (least.as_secs_f64(), most.as_secs_f64())
    }

    /// The lag is the age of that commit, and at most so much more.
    #[track_caller]
    fn check(&self, commit: Commit, more: f64) {
        let (least, most) = self.age(commit);
        assert!(
            self.lag >= least - NEAR && self.lag <= most + NEAR + more && !self.caught_up,
            "the oldest commit is {least} to {most} s old: {self:?}"
        );
    }
}

#[track_caller]
fn started(database: &Database, kafka: &Kafka, more: &[(&str, &str)]) -> (Settings, Walpost) {
    database.create_outbox();
    let settings = more
        .iter()
        .fold(Settings::new(database, kafka), |settings, (name, value)| settings.env(name, *value));
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    Commit::of_a_row(database, 0);
    kafka.wait_for_records(&format!("{}.order", database.name()), 1);
    until("being caught up", || Look::at(&walpost).caught_up.then_some(()));
    (settings, walpost)
}

/// Looks again and again for that long.
#[track_caller]
fn watch(walpost: &Walpost, time: Duration, mut check: impl FnMut(Look)) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        check(Look::at(walpost));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn lag_is_zero_within_two_seconds_of_idleness_and_stays_so_while_others_write() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("lag_idle"), Kafka::shared());
        let (_, walpost) = started(&database, kafka, &[]);
        database.insert_rows("order", 1, 2_000, 7);
        until("the last confirmation", || {
            let metrics = walpost.metrics();
            let done = metrics.sum("walpost_events_total", &[]) >= 2_001.0;
            (done && metrics.sum("walpost_in_flight_events", &[]) == 0.0).then_some(())
        });
        let idle = Instant::now();
        until("lag 0", || (Look::at(&walpost).lag == 0.0).then_some(()));
        let took = idle.elapsed();
        figure(&format!("Postgres {}: lag 0 after {took:?} of idleness", server.major()));
        // Two seconds is what is promised of a machine of one's own.
        assert!(took < Duration::from_secs(8), "{took:?}");
        // The log goes on without events, which is no lag.
        database.execute("create table other (filling text)");
        watch(&walpost, Duration::from_secs(25), |look| {
            database
                .execute("insert into other select repeat('x', 200) from generate_series(1, 50)");
            assert!(look.lag == 0.0 && look.caught_up, "{look:?}");
        });
    }
}

#[test]
fn lag_is_the_age_of_the_oldest_unconfirmed_commit_while_kafka_is_frozen() {
    let (database, kafka) = (Postgres::newest().database("lag_frozen"), Kafka::start());
    // Full with a hundred rows of this size: most of them stay in Postgres.
    let (_, walpost) = started(&database, &kafka, &[("WALPOST_MAX_IN_FLIGHT", "64KiB")]);
    kafka.freeze();
    let oldest = Commit::of_a_row(&database, 1);
    until("an event in flight", || (Look::at(&walpost).in_flight > 0.0).then_some(()));
    let mut number = 2;
    watch(&walpost, Duration::from_secs(12), |look| {
        look.check(oldest, 0.0);
        // Younger ones do not make it younger.
        database.insert_rows("order", number, 40, 5);
        number += 40;
    });
    kafka.thaw();
    until("lag 0", || (Look::at(&walpost).lag == 0.0).then_some(()));
    kafka.wait_for_records(&format!("{}.order", database.name()), number as usize);
}

#[test]
fn a_standby_sees_the_lag_of_a_leader_that_is_frozen() {
    let (database, kafka) = (Postgres::newest().database("lag_standby"), Kafka::shared());
    // The server must not end the leader's connection meanwhile: that would be a handover.
    let (settings, leader) = started(&database, kafka, &[("WALPOST_WAL_SENDER_TIMEOUT", "10m")]);
    let mut standby = settings.second().start();
    standby.wait_for_state("standby");
    until("the standby to see that all is well", || Look::at(&standby).caught_up.then_some(()));
    leader.freeze();
    let oldest = Commit::of_a_row(&database, 1);
    // It waits for the idle checkpoint that a leader writes every 10 s, and for two more.
    until("the standby to notice", || (Look::at(&standby).lag > 0.0).then_some(()));
    let noticed = Look::at(&standby);
    let (least, most) = noticed.age(oldest);
    figure(&format!("a standby saw lag {} at a commit {least} to {most} s old", noticed.lag));
    watch(&standby, Duration::from_secs(6), |look| {
        // What it last saw confirmed may be older than the row by one idle checkpoint.
        look.check(oldest, 11.0);
    });
    leader.thaw();
    until("lag 0", || (Look::at(&standby).lag == 0.0).then_some(()));
}

#[test]
fn lag_grows_while_a_huge_transaction_is_decoded() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("lag_decoding"), Kafka::shared());
        let (_, walpost) = started(&database, kafka, &[]);
        database.execute("create table other (n bigint, filling text)");
        // A fast machine needs more rows to be kept busy for long enough.
        let mut rows = 1_500_000_u64;
        let mut number = 1;
        while decoded(&database, &walpost, number, rows) == 0 {
            number += 1;
            rows *= 2;
            assert!(rows < 50_000_000, "no transaction keeps this server busy");
        }
        until("lag 0", || (Look::at(&walpost).lag == 0.0).then_some(()));
    }
}

/// A transaction of so many rows is decoded as a whole when it commits, and nothing of it is ours;
/// behind it waits an order, the one after `number` others. Answers how often the lag was checked.
#[track_caller]
fn decoded(database: &Database, walpost: &Walpost, number: u32, rows: u64) -> usize {
    let begun = Instant::now();
    database.execute(&format!(
        "insert into other select n, repeat('x', 100) from generate_series(1, {rows}) as n"
    ));
    let writing = begun.elapsed();
    let behind = Commit::of_a_row(database, number);
    let mut looks = Vec::new();
    until("the order behind the transaction", || {
        let look = Look::at(walpost);
        if walpost.metrics().sum("walpost_events_total", &[]) > f64::from(number) {
            return Some(());
        }
        looks.push(look);
        None
    });
    let seen = looks.iter().find(|look| look.lag > 0.0).map(|look| look.age(behind).1);
    let longest = looks.last().map_or(0.0, |look| look.age(behind).1);
    figure(&format!(
        "{rows} rows written in {writing:?}, the order behind them waited {longest:.1} s, {} looks, \
         lag seen after {seen:?} s",
        looks.len()
    ));
    // The end of the log is asked for every second, and may be ahead for two without that being
    // lag; the rest is for a machine that has much else to do. What was proven last may be of
    // before the transaction was written.
    let late = looks.iter().filter(|look| look.age(behind).0 > 6.0);
    late.map(|look| look.check(behind, writing.as_secs_f64() + 15.0)).count()
}
