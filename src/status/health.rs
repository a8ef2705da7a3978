//! What the probes answer: pure functions over a [`Snapshot`].
//!
//! Liveness asks whether a restart would help, so it looks at our own tasks only: with Kafka or
//! Postgres away a restart would only read the same WAL again. Readiness asks whether this
//! instance works, or could take over at once.

use super::snapshot::{Ago, Snapshot};
use super::span::spoken;
use super::state::State;

/// How long ago a server must have answered, and Kafka confirmed, to count as being there.
pub const GRACE_SECONDS: f64 = 30.0;

/// A task that has not moved for this long hangs.
pub const WEDGED_SECONDS: f64 = 60.0;

/// Yes or no, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Answer {
    /// Status 200, else 503.
    pub ok: bool,
    /// Why, for the body of the answer.
    pub reason: String,
}

impl Answer {
    fn yes(reason: impl Into<String>) -> Self {
        Self { ok: true, reason: reason.into() }
    }

    fn no(reason: impl Into<String>) -> Self {
        Self { ok: false, reason: reason.into() }
    }
}

/// `/readyz`: streaming or snapshotting; backpressured with a confirmation in the last 30 s; or a
/// standby that reached both servers in the last 30 s.
#[must_use]
pub fn ready(snapshot: &Snapshot) -> Answer {
    match snapshot.state {
        State::Streaming | State::Snapshotting => Answer::yes(snapshot.state.as_str()),
        State::Backpressured => {
            let confirmed = snapshot.kafka.last_confirmation;
            if recent(confirmed) {
                Answer::yes("backpressured, and Kafka confirms")
            } else if let Some(why) = &snapshot.waits_for_registry {
                Answer::no(format!("backpressured: rows wait for the schema registry: {why}"))
            } else {
                Answer::no(format!(
                    "backpressured: Kafka has confirmed nothing {}",
                    spell(confirmed)
                ))
            }
        }
        State::Standby => match unreached(snapshot) {
            None => Answer::yes("standby, and both servers are reached"),
            Some(unreached) => Answer::no(format!("standby that could not take over: {unreached}")),
        },
        State::Starting => Answer::no(match unreached(snapshot) {
            None => "starting".to_owned(),
            Some(unreached) => format!("starting: {unreached}"),
        }),
        State::Draining => Answer::no("draining: this instance is stopping"),
        State::Halted => Answer::no(match &snapshot.halt {
            Some(halt) => format!("halted ({}): {}", halt.code.as_str(), halt.message),
            None => "halted".to_owned(),
        }),
    }
}

/// `/livez`: every critical task has moved in the last 60 s.
#[must_use]
pub fn live(snapshot: &Snapshot) -> Answer {
    let oldest =
        snapshot.tasks.iter().max_by(|a, b| a.seconds_since_beat.total_cmp(&b.seconds_since_beat));
    match oldest {
        Some(task) if task.seconds_since_beat > WEDGED_SECONDS => Answer::no(format!(
            "task {} has not moved for {}",
            task.task,
            spoken(task.seconds_since_beat)
        )),
        _ => Answer::yes("all tasks move"),
    }
}

/// `/startupz`: the configuration is read and all tasks run.
#[must_use]
pub fn startup(snapshot: &Snapshot) -> Answer {
    if snapshot.tasks_started {
        Answer::yes("all tasks run")
    } else {
        Answer::no("tasks are being started")
    }
}

/// Which servers did not answer in the last 30 s.
pub(super) fn unreached(snapshot: &Snapshot) -> Option<String> {
    let servers =
        [("Postgres", snapshot.postgres.last_contact), ("Kafka", snapshot.kafka.last_contact)];
    let missing: Vec<String> = servers
        .into_iter()
        .filter(|(_, contact)| !recent(*contact))
        .map(|(server, contact)| format!("{server} was not reached {}", spell(contact)))
        .collect();
    if missing.is_empty() { None } else { Some(missing.join(", ")) }
}

fn recent(moment: Option<Ago>) -> bool {
    moment.is_some_and(|moment| moment.seconds_ago <= GRACE_SECONDS)
}

fn spell(moment: Option<Ago>) -> String {
    moment.map_or("yet".to_owned(), |at| format!("for {}", spoken(at.seconds_ago)))
}

#[cfg(test)]
mod tests {
    use super::super::halt::{Halt, HaltCode};
    use super::super::heartbeat::TaskAge;
    use super::*;

    /// A state, and how many seconds ago Postgres and Kafka answered and Kafka confirmed.
    fn seen(state: State, seconds: [Option<f64>; 3]) -> Snapshot {
        let mut snapshot = Snapshot::for_tests();
        snapshot.state = state;
        let [postgres, kafka, confirmed] = seconds.map(|at| at.map(|at| snapshot.ago(at)));
        snapshot.postgres.last_contact = postgres;
        snapshot.kafka.last_contact = kafka;
        snapshot.kafka.last_confirmation = confirmed;
        snapshot
    }

    #[test]
    fn readiness_is_working_or_able_to_take_over() {
        #[track_caller]
        fn check(state: State, seconds: [Option<f64>; 3], ok: bool, reason: &str) {
            let answer = ready(&seen(state, seconds));
            assert_eq!(answer, Answer { ok, reason: reason.to_owned() });
        }
        let never = [None; 3];
        check(State::Streaming, never, true, "streaming");
        check(State::Snapshotting, never, true, "snapshotting");
        check(
            State::Backpressured,
            [None, None, Some(30.0)],
            true,
            "backpressured, and Kafka confirms",
        );
        check(
            State::Backpressured,
            [None, Some(0.1), Some(30.1)],
            false,
            "backpressured: Kafka has confirmed nothing for 30 s",
        );
        check(State::Backpressured, never, false, "backpressured: Kafka has confirmed nothing yet");
        check(
            State::Standby,
            [Some(30.0), Some(0.0), None],
            true,
            "standby, and both servers are reached",
        );
        check(
            State::Standby,
            [Some(1.0), Some(45.0), None],
            false,
            "standby that could not take over: Kafka was not reached for 45 s",
        );
        check(
            State::Starting,
            never,
            false,
            "starting: Postgres was not reached yet, Kafka was not reached yet",
        );
        check(State::Starting, [Some(1.0), Some(1.0), None], false, "starting");
        check(State::Draining, [Some(0.0); 3], false, "draining: this instance is stopping");
    }

    #[test]
    fn a_halt_is_not_ready_and_says_why() {
        let mut snapshot = seen(State::Halted, [Some(0.0); 3]);
        snapshot.halt = Some(Halt {
            code: HaltCode::SlotMissing,
            message: "replication slot \"walpost\" does not exist".into(),
            hint: "run walpost checkpoint accept".into(),
        });
        let reason = "halted (slot_missing): replication slot \"walpost\" does not exist";
        assert_eq!(ready(&snapshot), Answer::no(reason));
        assert!(live(&snapshot).ok);
    }

    #[test]
    fn liveness_looks_at_the_tasks_only() {
        #[track_caller]
        fn check(beats: &[f64], ok: bool, reason: &str) {
            let mut snapshot = seen(State::Backpressured, [None; 3]);
            snapshot.tasks = beats
                .iter()
                .map(|&age| TaskAge { task: "pipeline", seconds_since_beat: age })
                .collect();
            assert_eq!(live(&snapshot), Answer { ok, reason: reason.to_owned() });
        }
        check(&[], true, "all tasks move");
        check(&[0.0, 60.0], true, "all tasks move");
        check(&[70.0, 61.0, 0.0], false, "task pipeline has not moved for 1 min 10 s");
    }

    #[test]
    fn startup_is_over_once_the_tasks_run() {
        let mut snapshot = Snapshot::for_tests();
        assert!(!startup(&snapshot).ok);
        snapshot.tasks_started = true;
        assert!(startup(&snapshot).ok);
    }
}
