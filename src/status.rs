//! What the process says about itself.
//!
//! The supervisor and the pipeline write here a few times a second, never per event; `/metrics`,
//! the probes, `/status.json` and the page read. Nothing is decided here: the state is told, and
//! what follows from it (ready or not, the verdict, the lag) is worked out by pure functions over
//! a [`Snapshot`], so that all readers say the same.
//!
//! What is counted per event lives in [`counts::Counts`] as atomics, beside the lock.

pub mod checks;
pub mod consumers;
pub mod counts;
pub(crate) mod errors;
pub mod facts;
pub mod halt;
pub mod health;
pub mod heartbeat;
pub(crate) mod history;
pub mod lag;
pub mod outlook;
pub mod report;
pub(crate) mod rfc3339;
pub mod snapshot;
pub(crate) mod span;
pub mod state;
pub mod together;
pub mod topic;
pub(crate) mod verdict;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

pub use self::facts::Facts;
pub use self::halt::{Halt, HaltCode};
pub use self::heartbeat::Heartbeat;
pub use self::report::Report;
pub use self::snapshot::Snapshot;
pub use self::state::State;

use self::counts::Counts;
use self::errors::ErrorLog;
use self::heartbeat::Heartbeats;
use self::history::History;

/// A handle to what the process says about itself; clones share it.
#[derive(Clone)]
pub struct Status {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    slot_name: String,
    started: Instant,
    started_at: SystemTime,
    tasks_started: AtomicBool,
    heartbeats: Heartbeats,
    counts: Counts,
    told: Mutex<Told>,
    history: Mutex<History>,
}

/// What was told last, under the lock.
struct Told {
    state: State,
    since: Instant,
    halt: Option<Halt>,
    facts: Facts,
    errors: ErrorLog,
}

impl Status {
    /// A process that starts now, in [`State::Starting`].
    ///
    /// `name` is the connector's, `slot` the replication slot's.
    #[must_use]
    pub fn new(name: &str, slot: &str) -> Self {
        let now = Instant::now();
        Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                slot_name: slot.to_owned(),
                started: now,
                started_at: SystemTime::now(),
                tasks_started: AtomicBool::new(false),
                heartbeats: Heartbeats::new(now),
                counts: Counts::new(),
                told: Mutex::new(Told {
                    state: State::Starting,
                    since: now,
                    halt: None,
                    facts: Facts::new(now),
                    errors: ErrorLog::default(),
                }),
                history: Mutex::new(History::new(now)),
            }),
        }
    }

    /// The connector's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// When the process started.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.shared.started_at
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// The state told last.
    #[must_use]
    pub fn state(&self) -> State {
        self.told().state
    }

    /// Tells a new state, which ends a halt. A change is logged, here and nowhere else.
    pub fn set_state(&self, state: State) {
        let mut told = self.told();
        if told.state == state {
            return;
        }
        let before = std::mem::replace(&mut told.state, state);
        told.since = Instant::now();
        told.halt = None;
        drop(told);
        tracing::info!(from = before.as_str(), to = state.as_str(), "state changed");
    }

    /// Tells that the process stays up but does not work, why, and what to do.
    ///
    /// It is logged and kept among the last errors. A halt that is told again with the same code
    /// (a retry that failed as before) keeps its time and is not logged again.
    pub fn halt(&self, halt: Halt) {
        let now = Instant::now();
        let mut told = self.told();
        let again = told.halt.as_ref().is_some_and(|before| before.code == halt.code);
        if !again {
            told.since = now;
        }
        told.state = State::Halted;
        told.errors.record(halt.code.as_str(), &halt.message, &halt.hint, now);
        told.halt = Some(halt.clone());
        drop(told);
        if !again {
            let Halt { code, message, hint } = halt;
            tracing::error!(code = code.as_str(), hint, "halted: {message}");
        }
    }

    /// Keeps an error among the last ones, for the page and for `last_error_timestamp_seconds`.
    ///
    /// `code` is a word of the program, never a text of a peer. Nothing is logged here: the one
    /// who handles an error logs it.
    pub fn error(&self, code: &'static str, message: &str, hint: &str) {
        self.told().errors.record(code, message, hint, Instant::now());
    }

    /// Changes facts. The closure runs under the lock that readers take: no waiting in it.
    pub fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.told().facts);
    }

    /// Registers a task without which the process does not work; it is watched until the handle
    /// is dropped.
    #[must_use]
    pub fn heartbeat(&self, task: &'static str) -> Heartbeat {
        self.shared.heartbeats.register(task)
    }

    /// Tells that the configuration is read and all tasks run; from here on `/startupz` is 200.
    pub fn tasks_started(&self) {
        self.shared.tasks_started.store(true, Ordering::Release);
    }

    /// Everything that is known now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(Instant::now(), SystemTime::now())
    }

    /// Everything that the page shows.
    #[must_use]
    pub fn report(&self) -> Report {
        let now = Instant::now();
        let snapshot = self.snapshot_at(now, SystemTime::now());
        Report::of(snapshot, &self.history(), now)
    }

    /// Looks at how it is now, for the plot of the last hour and for rates; the HTTP server calls
    /// it every second.
    pub fn see(&self) {
        let now = Instant::now();
        let snapshot = self.snapshot_at(now, SystemTime::now());
        if self.history().see(&snapshot, now) {
            self.shared.counts.mark(now);
        }
    }

    /// When each error code was seen last, at most [`errors::CODES_MAX`] of them.
    pub(crate) fn last_errors_by_code(&self) -> Vec<(&'static str, SystemTime)> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let told = self.told();
        told.errors
            .by_code()
            .map(|(code, at)| {
                (code, wall.checked_sub(now.saturating_duration_since(at)).unwrap_or(wall))
            })
            .collect()
    }

    fn snapshot_at(&self, now: Instant, wall: SystemTime) -> Snapshot {
        let shared = &*self.shared;
        let clock = snapshot::Clock { now, wall };
        let mut snapshot = Snapshot::start(&shared.name, &shared.slot_name, clock);
        // The moment that was read then: counted back from now it would differ a little each time,
        // and to Prometheus that is a process which starts again and again.
        snapshot.started = snapshot::Ago { at: shared.started_at, ..clock.ago(shared.started) };
        snapshot.tasks_started = shared.tasks_started.load(Ordering::Acquire);
        snapshot.tasks = shared.heartbeats.ages(now);
        shared.counts.fill(&mut snapshot, now);
        {
            let told = self.told();
            snapshot.state = told.state;
            snapshot.state_since = clock.ago(told.since);
            snapshot.halt = told.halt.clone();
            snapshot.errors = told.errors.entries(clock);
            told.facts.fill(&mut snapshot, clock);
        }
        snapshot.finish();
        snapshot
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.shared.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // The process aborts on a panic, so a poisoned lock is seen only in tests.
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn halt(code: HaltCode) -> Halt {
        Halt { code, message: "slot \"walpost\" is gone".into(), hint: "decide".into() }
    }

    #[test]
    fn a_halt_that_is_told_again_keeps_its_time_and_any_other_state_ends_it() {
        let status = Status::new("shop", "walpost");
        status.halt(halt(HaltCode::SlotMissing));
        let earlier = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        status.told().since = earlier;
        status.halt(halt(HaltCode::SlotMissing));
        let snapshot = status.snapshot();
        assert!(snapshot.state_since.seconds_ago >= 60.0);
        assert_eq!(snapshot.halt, Some(halt(HaltCode::SlotMissing)));
        assert_eq!((snapshot.errors.len(), snapshot.errors[0].times), (1, 2));
        status.halt(halt(HaltCode::SlotLost));
        assert!(status.snapshot().state_since.seconds_ago < 60.0);
        status.set_state(State::Starting);
        assert_eq!(status.snapshot().halt, None);
    }

    #[test]
    fn the_moment_of_the_start_stays_the_same_when_clocks_do_not_agree() {
        let status = Status::new("shop", "walpost");
        let (now, wall) = (Instant::now(), SystemTime::now());
        let first = status.snapshot_at(now, wall).started;
        let second = status.snapshot_at(now, wall + Duration::from_millis(3)).started;
        assert_eq!((first.at, first.seconds_ago), (second.at, second.seconds_ago));
        assert_eq!(first.at, status.started_at());
    }

    #[test]
    fn a_state_that_is_told_again_keeps_its_time() {
        let status = Status::new("shop", "walpost");
        status.set_state(State::Streaming);
        status.told().since = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        status.set_state(State::Streaming);
        assert!(status.snapshot().state_since.seconds_ago >= 60.0);
    }

    #[test]
    fn a_snapshot_holds_what_all_writers_told() {
        let status = Status::new("shop", "walpost");
        let writer = status.clone();
        let pipeline = writer.heartbeat("pipeline");
        writer.tasks_started();
        writer.set_state(State::Standby);
        writer.error("connect", "connection refused", "start it");
        writer.counts().topic("a").delivered(2, 20, 0);
        writer.update(|facts| {
            facts.kafka.last_contact = Some(Instant::now());
            facts.postgres.last_contact = Some(Instant::now());
        });
        let snapshot = status.snapshot();
        assert!(snapshot.startup.ok && snapshot.ready.ok && snapshot.live.ok);
        assert_eq!(snapshot.counts.events, 2);
        assert_eq!(snapshot.errors[0].code, "connect");
        assert_eq!(snapshot.tasks[0].task, "pipeline");
        assert_eq!(snapshot.verdict, "standby: the slot is held by another session");
        assert_eq!(status.last_errors_by_code().len(), 1);
        drop(pipeline);
    }
}
