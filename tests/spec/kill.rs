//! Goal: walpost may be killed at any moment. Nothing is lost, nothing comes out of order, and a kill
//! repeats only rows that the stored checkpoint did not cover.
//!
//! Method: SIGKILL under load, again and again, in one stream; see [`super::oracle`] for how the truth
//! is known. After each kill, once the broker has worked off what the dead process had sent, the test
//! reads the slot, then the newest checkpoint, then the topics, in this order, so that
//!
//! - *slot ≤ checkpoint*: `confirmed_flush_lsn` may not be past the checkpoint's `resume_lsn`;
//! - *checkpoint ≤ confirmed*: every row that the checkpoint covers is in the topics by then;
//! - *repeats*: a row that comes again before the next kill has a place that the checkpoint does not
//!   cover. What was written late by the dead process has such a place too, so it does not matter
//!   which side of the line it falls on.
//!
//! Places (commit LSN, ordinal) are those of the server's log, read from a slot of the test's own.
//! *In flight* is what `/metrics` said a few milliseconds before the kill; *inside a transaction* is
//! proven: the topics then held some rows of a transaction and lacked others.
//!
//! `WALPOST_TEST_KILLS=100` kills a hundred times, `WALPOST_TEST_SEED=N` repeats the choices of a run.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::oracle::{Checkpoint, Checkpoints, Commits, Deliveries, Random, Repeats, Workload};
use super::oracle::{knob, lsn, prepare, seed};
use super::servers::walpost::Walpost;
use super::servers::{Database, Kafka, Metrics, PATIENCE, Postgres, Settings, until};

/// What was seen of one kill.
#[derive(Clone, Debug)]
struct Kill {
    /// `walpost_in_flight_events` just before.
    in_flight: u64,
    /// The newest checkpoint in Kafka afterwards.
    checkpoint: Option<Checkpoint>,
    /// Records in the topics afterwards.
    published: usize,
}

/// What all kills came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Kills with events in flight.
    pub(super) in_flight: usize,
    /// Kills inside of a transaction.
    pub(super) inside: usize,
    inside_large: usize,
    repeats: usize,
    most_repeats: usize,
}

#[test]
fn a_killed_walpost_loses_nothing_and_repeats_only_what_its_checkpoint_did_not_cover() {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("kill");
    let settings = prepare(&database, &kafka);
    let (kills, tally) = kill_under_load("kill test", 30, (&database, &kafka, &settings));
    assert!(tally.in_flight * 10 >= kills * 8, "too few kills with events in flight: {tally:?}");
    assert!(tally.inside_large * 10 >= kills * 3, "too few kills inside a transaction: {tally:?}");
}

/// Kills so many times, unless `WALPOST_TEST_KILLS` says otherwise, and holds what came against what
/// was committed.
#[track_caller]
pub(super) fn kill_under_load(
    what: &str,
    kills: u64,
    (database, kafka, settings): (&Database, &Kafka, &Settings),
) -> (usize, Tally) {
    let kills = usize::try_from(knob("WALPOST_TEST_KILLS", kills)).unwrap();
    let seed = seed();
    let mut random = Random::new(seed, 100);
    let mut checkpoints = Checkpoints::new(database, kafka);
    let mut deliveries = Deliveries::new(database, kafka, Repeats::BetweenPeriods);
    let workload = Workload::start_to_be_killed(database, seed);

    let mut seen = Vec::new();
    for number in 0..kills {
        let mut walpost = settings.start();
        let in_flight = wait_for_the_moment(&mut walpost, &mut random, number);
        walpost.kill();
        settle(&deliveries, &checkpoints);
        let flushed = flushed(database);
        let checkpoint = checkpoints.newest();
        if let Some(checkpoint) = &checkpoint {
            assert!(flushed <= checkpoint.resume_lsn, "the slot is at {flushed}, {checkpoint:?}");
        }
        seen.push(Kill { in_flight, checkpoint, published: deliveries.close_period() });
    }

    let mut walpost = settings.start();
    let written = workload.stop();
    deliveries.finish(database, PATIENCE * 2);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    deliveries.read();
    let commits = Commits::read(database);
    assert_eq!(commits.rows.len(), deliveries.different());
    let tally = judge(&seen, &deliveries, &commits);
    // Not through `println!`, which the test harness keeps to itself when all is well.
    writeln!(
        std::io::stderr(),
        "{what}: {kills} kills, {} with events in flight, {} inside a transaction ({} of 20,000 \
         rows); {} rows in {} transactions, {} rolled back; {} repeats, {} at most after one kill; \
         WALPOST_TEST_SEED={seed}",
        tally.in_flight,
        tally.inside,
        tally.inside_large,
        written.rows,
        written.transactions,
        written.undone,
        tally.repeats,
        tally.most_repeats,
    )
    .unwrap();
    (kills, tally)
}

#[test]
fn a_stopped_walpost_repeats_nothing() {
    let seed = seed();
    let mut random = Random::new(seed, 100);
    let kafka = Kafka::start();
    let database = Postgres::newest().database("stop");
    let settings = prepare(&database, &kafka);
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::BetweenPeriods);
    let workload = Workload::start(&database, seed);
    for number in 0..10 {
        let mut walpost = settings.start();
        let in_flight = wait_for_the_moment(&mut walpost, &mut random, number);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{in_flight} events were in flight: {}", walpost.log());
        deliveries.close_period();
        let repeats = deliveries.all().len() - deliveries.different();
        assert_eq!(repeats, 0, "after stop {number}, with {in_flight} events in flight");
    }
    let walpost = settings.start();
    assert_eq!(workload.stop().failures, 0);
    deliveries.finish(&database, PATIENCE * 2);
    drop(walpost);
    assert_eq!(deliveries.all().len(), deliveries.different());
}

/// Lets walpost work for a while and returns how many events are in flight at the moment to kill it.
///
/// Of twelve kills eight meet a moment with a thousand and more in flight, as when a large transaction
/// is relayed; three any moment with something in flight, soon or late; one the start, where the next
/// generation is claimed.
pub(super) fn wait_for_the_moment(
    walpost: &mut Walpost,
    random: &mut Random,
    number: usize,
) -> u64 {
    let (pause, least) = match number % 12 {
        9 => {
            std::thread::sleep(Duration::from_millis(random.between(0, 600)));
            return in_flight(walpost).unwrap_or(0);
        }
        3 | 6 => (random.between(0, 200), 1),
        8 => (random.between(0, 1_500), 1),
        _ => (random.between(0, 50), 1_000),
    };
    until("an answer of /metrics after a start", || {
        assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
        in_flight(walpost)
    });
    std::thread::sleep(Duration::from_millis(pause));
    let begin = Instant::now();
    loop {
        let events = in_flight(walpost).unwrap_or(0);
        let patient = begin.elapsed() < Duration::from_secs(10);
        let enough = events >= if patient { least } else { 1 };
        if enough || begin.elapsed() > Duration::from_secs(13) {
            return events;
        }
        // More often than `until` asks: a large transaction is through in 50 ms.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn in_flight(walpost: &Walpost) -> Option<u64> {
    let metrics = Metrics::parse(&walpost.try_get("/metrics")?.body);
    let events = metrics.sum("walpost_in_flight_events", &[]);
    format!("{events}").parse().ok()
}

/// Waits until the broker has worked off what a dead process left in its socket.
fn settle(deliveries: &Deliveries, checkpoints: &Checkpoints) {
    let mut last = (-1, -1);
    until("Kafka to be quiet after a kill", || {
        let now = (deliveries.end(), checkpoints.end());
        let quiet = now == last;
        last = now;
        quiet.then_some(())
    });
}

fn flushed(database: &Database) -> u64 {
    lsn(&database.value(&format!(
        "select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}'",
        database.name()
    )))
}

fn judge(kills: &[Kill], deliveries: &Deliveries, commits: &Commits) -> Tally {
    let all = deliveries.all();
    // The number of the delivery by which each row came first, in the order of the log.
    let mut came = vec![usize::MAX; commits.rows.len()];
    for (number, delivery) in all.iter().enumerate().filter(|(_, delivery)| delivery.first) {
        came[commits.index[&delivery.id]] = number;
    }
    let transactions: Vec<_> = commits
        .transactions()
        .into_iter()
        .map(|rows| {
            let came = &came[rows.clone()];
            (rows.len(), *came.iter().min().unwrap(), *came.iter().max().unwrap())
        })
        .collect();
    let mut tally = Tally::default();
    for (number, kill) in kills.iter().enumerate() {
        let covers =
            |place| kill.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.covers(place));
        let covered = commits.rows.partition_point(|(_, place)| covers(*place));
        let late = came[..covered].iter().filter(|came| **came >= kill.published).count();
        assert_eq!(
            late, 0,
            "kill {number}: rows that the checkpoint covers are not in Kafka: {kill:?}"
        );
        let until = kills.get(number + 1).map_or(all.len(), |next| next.published);
        let repeats = all[kill.published..until].iter().filter(|delivery| !delivery.first);
        let repeats: Vec<_> = repeats.map(|delivery| commits.place(delivery.id)).collect();
        let needless = repeats.iter().filter(|place| covers(**place)).count();
        assert_eq!(needless, 0, "kill {number}: repeats that the checkpoint covers: {kill:?}");
        let inside = |(_, first, last): &&(usize, usize, usize)| {
            (*first..*last).contains(&(kill.published - 1))
        };
        let half = transactions.iter().filter(|_| kill.published > 0).filter(inside);
        let sizes: Vec<_> = half.map(|(rows, ..)| *rows).collect();
        tally.in_flight += usize::from(kill.in_flight > 0);
        tally.inside += usize::from(!sizes.is_empty());
        tally.inside_large += usize::from(sizes.iter().any(|rows| *rows >= 5_000));
        tally.repeats += repeats.len();
        tally.most_repeats = tally.most_repeats.max(repeats.len());
    }
    tally
}
