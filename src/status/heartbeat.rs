//! Proof that the tasks without which nothing works still move.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// What a critical task holds and beats on every turn of its loop, also while it waits to retry.
///
/// The task is watched until the handle is dropped, so a task that ends on purpose is not taken
/// for one that hangs.
pub struct Heartbeat {
    started: Instant,
    beaten: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Says that the task moves. One clock reading and one store: cheap enough for every turn.
    pub fn beat(&self) {
        self.beaten.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Whether the last beat is longer ago than `after`.
    #[must_use]
    pub fn wedged(&self, after: Duration) -> bool {
        let beaten = Duration::from_millis(self.beaten.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beaten) > after
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("beaten_ms", &self.beaten).finish_non_exhaustive()
    }
}

/// How long ago one task moved.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TaskAge {
    /// The task's name in the program.
    pub task: &'static str,
    /// Seconds since its last beat.
    pub seconds_since_beat: f64,
}

/// All tasks that are watched.
pub(super) struct Heartbeats {
    started: Instant,
    tasks: Mutex<Vec<(&'static str, Weak<AtomicU64>)>>,
}

impl Heartbeats {
    pub(super) const fn new(started: Instant) -> Self {
        Self { started, tasks: Mutex::new(Vec::new()) }
    }

    /// Begins to watch a task, which counts as having moved now.
    pub(super) fn register(&self, task: &'static str) -> Heartbeat {
        let heartbeat = Heartbeat { started: self.started, beaten: Arc::new(AtomicU64::new(0)) };
        heartbeat.beat();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|(_, beaten)| beaten.strong_count() > 0);
        tasks.push((task, Arc::downgrade(&heartbeat.beaten)));
        heartbeat
    }

    /// How long ago each task moved that is still there.
    pub(super) fn ages(&self, now: Instant) -> Vec<TaskAge> {
        let elapsed = now.saturating_duration_since(self.started);
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .filter_map(|(task, beaten)| {
                let beaten = Duration::from_millis(beaten.upgrade()?.load(Ordering::Relaxed));
                let age = elapsed.saturating_sub(beaten).as_secs_f64();
                Some(TaskAge { task, seconds_since_beat: age })
            })
            .collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_a_beat_grows_old_and_a_beat_renews_it() {
        let started = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
        let tasks = Heartbeats::new(started);
        let pipeline = tasks.register("pipeline");
        assert!(!pipeline.wedged(Duration::from_secs(60)));
        pipeline.beaten.store(0, Ordering::Relaxed);
        assert!(pipeline.wedged(Duration::from_secs(60)));
        let ages = tasks.ages(Instant::now());
        assert_eq!(ages.len(), 1);
        assert!((89.0..100.0).contains(&ages[0].seconds_since_beat), "{ages:?}");
        pipeline.beat();
        assert!(tasks.ages(Instant::now())[0].seconds_since_beat < 10.0);
    }

    #[test]
    fn a_task_that_ended_is_not_watched() {
        let tasks = Heartbeats::new(Instant::now());
        let supervisor = tasks.register("supervisor");
        drop(tasks.register("pipeline"));
        let ages = tasks.ages(Instant::now());
        assert_eq!(ages.iter().map(|age| age.task).collect::<Vec<_>>(), ["supervisor"]);
        drop(supervisor);
    }
}
