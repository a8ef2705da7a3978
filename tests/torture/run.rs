//! Goal: whatever goes wrong, in whatever order, nothing is lost, nothing comes out of order, and
//! walpost goes on by itself.
//!
//! Method: a workload with an oracle; faults of every kind in random order, each only when rows came
//! through since the one before, so that none hides another. After each the slot is read, then the
//! checkpoint: the slot may not be past it. At the end everything that was committed is held against
//! everything that is in Kafka.
//!
//! `WALPOST_TORTURE_SECONDS` is how long, `WALPOST_TEST_SEED` repeats the choices of a run. Processes
//! are not deterministic, so a seed gives the same rows and the same faults in the same order, not the
//! same interleaving.

use std::time::Duration;

use tokio::time::Instant;

use self::faults::{KINDS, Kind};
use self::stage::Stage;
use self::tally::Tally;
use crate::oracle::{Random, knob, seed};
use crate::scene::Mode;
use crate::servers::figure;

mod faults;
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
    let seed = seed();
    let time = Duration::from_secs(knob("WALPOST_TORTURE_SECONDS", SECONDS));
    let minutes = time.as_secs().div_ceil(60);
    let recipe = Recipe(format!("make torture MODE={} SEED={seed} MINUTES={minutes}", mode.name()));
    let mut random = Random::new(seed, 200);
    let mut stage = Stage::new(mode, seed);
    let mut tally = Tally::default();
    let end = Instant::now() + time;
    let mut kinds: Vec<Kind> = Vec::new();
    while Instant::now() < end {
        // Every kind once, in random order, then every kind again: no run is without one for long.
        let kind = kinds.pop().unwrap_or_else(|| {
            kinds = shuffled(mode, &mut random);
            kinds.pop().expect("there are kinds")
        });
        figure(&format!("{} …", kind.words()));
        let began = Instant::now();
        let met = stage.strike(kind, &mut random);
        stage.wait_for_progress(kind);
        let took = began.elapsed();
        figure(&format!("… rows came again after {took:.1?}"));
        tally.count(kind, met, took);
    }
    let written = stage.conclude();
    tally.say(mode, seed, time, &written);
    drop(recipe);
}

fn shuffled(mode: Mode, random: &mut Random) -> Vec<Kind> {
    let mut kinds: Vec<_> = KINDS
        .iter()
        .copied()
        .filter(|kind| mode == Mode::ExactlyOnce || !kind.only_once())
        .collect();
    for last in (1..kinds.len()).rev() {
        let other = random.between(0, u64::try_from(last).unwrap());
        kinds.swap(last, usize::try_from(other).unwrap());
    }
    kinds
}
