//! Goal: whatever goes wrong, in whatever order, nothing is lost, nothing comes out of order, and
//! walpost goes on by itself.
//!
//! Method: a workload with an oracle; faults of every kind in random order, each only when rows came
//! through since the one before, so that none hides another. After each the slot is read, then the
//! checkpoint: the slot may not be past it. At the end everything that was committed is held against
//! everything that is in Kafka.
//!
//! A long run is cut into *segments*, each with servers of its own and verified whole at its end, so
//! that what is wrong is found near where it began, and what was tried counts even when the run is
//! stopped. Segments are counted in a file beside the build, by several processes if one likes, until
//! each family of faults was met as often as `goal` says.
//!
//! `WALPOST_TORTURE_SECONDS` is how long a run without a goal takes, `WALPOST_TORTURE_FULL=1` asks for
//! the goal, `WALPOST_TORTURE_SEGMENTS` for so many segments of it. `WALPOST_TEST_SEED` repeats the
//! choices of a run. Processes are not deterministic, so a seed gives the same rows and the same
//! faults in the same order, not the same interleaving.

use std::time::Duration;

use tokio::time::Instant;

use self::faults::Kind;
use self::goal::Family;
use self::ledger::Ledger;
use self::stage::Stage;
use self::tally::Tally;
use crate::oracle::{Random, knob, seed};
use crate::scene::Mode;
use crate::servers::figure;

mod faults;
mod goal;
mod ledger;
mod stage;
mod tally;

/// The faults of a run that `make test` has time for.
const SECONDS: u64 = 25;

#[test]
fn random_faults_lose_nothing_in_at_least_once() {
    run(Mode::AtLeastOnce);
}

#[test]
fn random_faults_neither_lose_nor_repeat_in_exactly_once() {
    run(Mode::ExactlyOnce);
}

/// Says on a failure how to see it again.
struct Recipe(String);

impl Drop for Recipe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            figure(&format!("to repeat the choices of this run: {}", self.0));
        }
    }
}

#[track_caller]
fn run(mode: Mode) {
    let first = seed();
    let segments = knob("WALPOST_TORTURE_SEGMENTS", 0);
    if knob("WALPOST_TORTURE_FULL", 0) == 0 && segments == 0 {
        by_time(mode, first);
        return;
    }
    let ledger = Ledger::of(mode);
    for number in 0.. {
        let sum = ledger.sum();
        if number >= segments && (segments > 0 || Family::all_reached(&sum)) {
            break;
        }
        let seed = first.wrapping_add(number);
        let recipe = Recipe(format!("make torture MODE={} SEED={seed} SEGMENTS=1", mode.name()));
        let mut random = Random::new(seed, 200);
        let mut kinds = goal::segment(mode, &mut random);
        shuffle(&mut kinds, &mut random);
        figure(&format!("segment of {} faults, seed {seed}; so far: {}", kinds.len(), sum.line()));
        let done = segment(mode, seed, &mut random, |_| kinds.pop());
        ledger.add(&done);
        drop(recipe);
    }
    figure(&ledger.sum().table(mode));
}

/// Every kind once, in random order, then every kind again, until the time is over.
#[track_caller]
fn by_time(mode: Mode, seed: u64) {
    let time = Duration::from_secs(knob("WALPOST_TORTURE_SECONDS", SECONDS));
    let minutes = time.as_secs().div_ceil(60);
    let recipe = Recipe(format!("make torture MODE={} SEED={seed} MINUTES={minutes}", mode.name()));
    let mut kinds: Vec<Kind> = Vec::new();
    let end = Instant::now() + time;
    let done = segment(mode, seed, &mut Random::new(seed, 200), |random| {
        if kinds.is_empty() {
            kinds = Kind::all(mode);
            shuffle(&mut kinds, random);
        }
        kinds.pop().filter(|_| Instant::now() < end)
    });
    figure(&done.table(mode));
    drop(recipe);
}

/// Servers, faults until `next` has no more, and the verdict.
#[track_caller]
fn segment(
    mode: Mode,
    seed: u64,
    random: &mut Random,
    mut next: impl FnMut(&mut Random) -> Option<Kind>,
) -> Tally {
    let began = Instant::now();
    let mut stage = Stage::new(mode, seed);
    let mut tally = Tally::default();
    while let Some(kind) = next(random) {
        let struck = Instant::now();
        let met = stage.strike(kind, random);
        let healed = struck.elapsed();
        stage.wait_for_progress(kind);
        let took = struck.elapsed();
        figure(&format!(
            "{:5.0?} {}: rows came again after {took:.1?}, {:.1?} after the fault was over{}",
            began.elapsed(),
            kind.words(),
            took - healed,
            if met { "" } else { "; it met nothing" },
        ));
        tally.count(kind, met, took);
    }
    let outcome = stage.conclude();
    tally.conclude(seed, outcome);
    figure(&format!("verified after {:.0?}: {}", began.elapsed(), tally.line()));
    tally
}

fn shuffle(kinds: &mut [Kind], random: &mut Random) {
    for last in (1..kinds.len()).rev() {
        let other = random.between(0, u64::try_from(last).unwrap());
        kinds.swap(last, usize::try_from(other).unwrap());
    }
}
