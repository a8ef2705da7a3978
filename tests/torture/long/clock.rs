//! A wall clock that jumps an hour forth and back while rows flow: nothing may depend on it.
//!
//! A library of ours (`clock.c`) gives walpost alone such a clock; the servers and this test keep the true
//! one, and time that only passes (`CLOCK_MONOTONIC`) is left as it is, as when somebody sets a machine's
//! clock. What it cannot show is a thread that sleeps until a wall time in the kernel while that clock is
//! set, as those of librdkafka do (`cnd_timedwait`): the kernel's own clock is not set.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{size, tell};
use crate::oracle::{Deliveries, Repeats, Workload, seed};
use crate::scene::{Mode, stop};
use crate::servers::walpost::Walpost;
use crate::servers::{Kafka, PATIENCE, Postgres, folder, until};

/// Seconds that the clock is ahead, one jump after the other.
const JUMPS: [i64; 4] = [3_600, 0, -3_600, 0];

/// What no true lag reaches here, and each that is made of the jump exceeds, in seconds.
const ABSURD: f64 = 1_800.0;

/// Rows that have to come after each jump.
const PROGRESS: usize = 1_000;

#[test]
fn a_clock_that_jumps_costs_and_repeats_nothing_in_at_least_once() {
    run(Mode::AtLeastOnce);
}

#[test]
fn a_clock_that_jumps_costs_and_repeats_nothing_in_exactly_once() {
    run(Mode::ExactlyOnce);
}

#[track_caller]
fn run(mode: Mode) {
    let jumps = size("JUMPS", 4, 40);
    let (database, kafka) = (Postgres::newest().database("clock"), Kafka::start());
    let folder = folder("clock");
    let clock = folder.path().join("clock");
    set(&clock, 0);
    let settings = mode
        .prepare(&database, &kafka)
        .env("LD_PRELOAD", library(folder.path()).to_str().unwrap())
        .env("CLOCK_FILE", clock.to_str().unwrap());
    // No repeats at all: a jump is no reason to begin a generation.
    let mut deliveries = Deliveries::new(&database, &kafka, Repeats::Never);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    let workload = Workload::start_gentle(&database, seed());
    flow(&mut deliveries, &mut walpost);
    let generation = walpost.metrics().sum("walpost_producer_generation", &[]);
    let all = JUMPS.iter().cycle().take(usize::try_from(jumps).unwrap());
    for ahead in all {
        set(&clock, *ahead);
        // The server's clock less ours: the jump was met.
        until(&format!("walpost to live {ahead} s ahead"), || {
            let skew = look(&mut walpost);
            let ahead = f64::from(i32::try_from(*ahead).unwrap());
            ((skew + ahead).abs() < 60.0).then_some(())
        });
        flow(&mut deliveries, &mut walpost);
        look(&mut walpost);
    }
    assert_eq!(workload.stop().failures, 0);
    deliveries.finish(&database, PATIENCE * 2);
    let metrics = walpost.metrics();
    let last = metrics.sum("walpost_producer_generation", &[]);
    assert!(
        (last - generation).abs() < f64::EPSILON,
        "a jump ended a generation: {}",
        walpost.log()
    );
    let slowest = metrics.sum("walpost_event_latency_seconds_sum", &[]);
    let count = metrics.sum("walpost_event_latency_seconds_count", &[]);
    stop(walpost);
    tell(
        &format!("clock {}", mode.name()),
        &format!(
            "`{}`: {jumps} jumps of the wall clock by an hour, {} rows; none lost, none repeated, no \
             generation ended. `walpost_lag_seconds` never showed a jump; the mean of \
             `walpost_event_latency_seconds` was {:.3}.",
            mode.name(),
            deliveries.different(),
            slowest / count,
        ),
    );
    assert!(slowest / count < 60.0, "the mean latency is told as {} s", slowest / count);
}

/// Compiles the library of the clock.
#[track_caller]
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/long/clock.c");
    let mut compiler = Command::new("cc");
    let compiler = compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
    let status = compiler.arg(&library).arg(source).status();
    let status = status.unwrap_or_else(|error| {
        panic!("no C compiler, `deploy/dev/install build` brings one: {error}")
    });
    assert!(status.success(), "{source} does not compile");
    library
}

/// Gives the clock so many seconds more than are true.
#[track_caller]
fn set(clock: &Path, ahead: i64) {
    // Put in place whole: walpost reads it whenever it likes.
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("{ahead:+}\n")).unwrap();
    std::fs::rename(new, clock).unwrap();
}

/// The difference of the clocks that walpost tells, and its lag is not made of it.
#[track_caller]
fn look(walpost: &mut Walpost) -> f64 {
    assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
    assert_eq!(walpost.get("/livez").status, 200);
    let metrics = walpost.metrics();
    assert_eq!(metrics.sum("walpost_state", &[("state", "halted")]), 0.0, "{}", walpost.log());
    let lag = metrics.sum("walpost_lag_seconds", &[]);
    assert!((0.0..ABSURD).contains(&lag), "a lag of {lag} s");
    metrics.sum("walpost_clock_skew_seconds", &[])
}

/// Waits until more rows are there.
#[track_caller]
fn flow(deliveries: &mut Deliveries, walpost: &mut Walpost) {
    deliveries.read();
    let goal = deliveries.different() + PROGRESS;
    until("more rows", || {
        assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
        deliveries.read();
        (deliveries.different() >= goal).then_some(())
    });
}
