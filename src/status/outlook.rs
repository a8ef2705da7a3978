//! Whether it is all right, and what to do where it is not: what a person asks first.

use super::checks::{Check, Grade, is_settling};
use super::health::GRACE_SECONDS;
use super::snapshot::Snapshot;
use super::state::State;
use super::verdict;

/// Being behind by less than this is nothing to look at.
const BEHIND_SECONDS: f64 = 60.0;

/// Whether it is all right, and what to do where it is not.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Outlook {
    /// In a word.
    pub grade: Grade,
    /// In a few words.
    pub headline: &'static str,
    /// What is going on.
    pub sentence: String,
    /// What to do; `None`: nothing.
    pub next: Option<String>,
}

/// The outlook of a process in that state, of which these checks were made.
pub(super) fn outlook(snapshot: &Snapshot, checks: &[Check]) -> Outlook {
    let verdict::Verdict { sentence, next } = verdict::of(snapshot);
    let (mut grade, mut headline) = of_state(snapshot);
    let mut next = next.or_else(|| waiting_for(snapshot).map(str::to_owned));
    let worst = checks.iter().max_by_key(|check| check.grade);
    if let Some(worst) = worst.filter(|worst| worst.grade >= Grade::Warn)
        && !is_settling(snapshot.state)
        && worst.grade > grade
    {
        grade = worst.grade;
        if works(snapshot.state) {
            headline = match grade {
                Grade::Bad => "Working, but not for long",
                Grade::Good | Grade::Unknown | Grade::Warn => "Working; something wants a look",
            };
        }
        let remedy = worst.remedy.as_deref().unwrap_or_default();
        next.get_or_insert_with(|| format!("{}: {}. {remedy}", worst.name, worst.says));
    }
    Outlook { grade, headline, sentence: whole(&sentence), next: next.map(|n| whole(&n)) }
}

const fn works(state: State) -> bool {
    matches!(state, State::Streaming | State::Standby | State::Snapshotting | State::Backpressured)
}

fn of_state(snapshot: &Snapshot) -> (Grade, &'static str) {
    match snapshot.state {
        State::Streaming if snapshot.lag.caught_up => (Grade::Good, "All is well"),
        State::Streaming if snapshot.lag.seconds < BEHIND_SECONDS => (Grade::Good, "All is well"),
        State::Streaming if unconfirmed(snapshot) => (Grade::Bad, "Kafka does not confirm"),
        State::Streaming => (Grade::Warn, "Working, and behind"),
        State::Snapshotting => (Grade::Good, "All is well: publishing what was there first"),
        State::Standby if snapshot.ready.ok => (Grade::Good, "All is well: standing by"),
        State::Standby => (Grade::Bad, "Standing by, and could not take over"),
        State::Backpressured if snapshot.ready.ok => (Grade::Warn, "Kafka is slower than the rows"),
        State::Backpressured => (Grade::Bad, "Waiting for Kafka"),
        State::Draining => (Grade::Unknown, "Stopping"),
        State::Halted
            if snapshot.halt.as_ref().is_some_and(|halt| halt.code.resumes_by_itself()) =>
        {
            (Grade::Bad, "Halted until the cause is gone")
        }
        State::Halted => (Grade::Bad, "Halted: a person has to decide"),
        State::Starting if snapshot.state_since.seconds_ago <= GRACE_SECONDS => {
            (Grade::Unknown, "Starting")
        }
        State::Starting => (Grade::Bad, "Not working: the start does not succeed"),
    }
}

/// Rows wait, and Kafka has confirmed none for a while.
fn unconfirmed(snapshot: &Snapshot) -> bool {
    let last = snapshot.kafka.last_confirmation;
    snapshot.in_flight.events > 0 && last.is_none_or(|last| last.seconds_ago > GRACE_SECONDS)
}

/// What to do where the state says whom we wait for.
fn waiting_for(snapshot: &Snapshot) -> Option<&'static str> {
    let reads = matches!(snapshot.state, State::Streaming | State::Backpressured);
    let behind = !snapshot.lag.caught_up && snapshot.lag.seconds >= BEHIND_SECONDS;
    if snapshot.state == State::Backpressured && snapshot.ready.ok {
        Some(
            "nothing at once: reading goes on as fast as Kafka confirms. If it stays so, look at \
             the brokers' load, or raise WALPOST_MAX_IN_FLIGHT",
        )
    } else if reads && unconfirmed(snapshot) {
        Some(
            "see to the Kafka cluster. Nothing is lost: rows wait in the server's log, and walpost \
             goes on by itself; do not restart it. Until then watch the slot's headroom",
        )
    } else if snapshot.state == State::Streaming && behind {
        Some(
            "see which step below is behind: what is not received waits for the database or the \
             network, what is not confirmed for Kafka",
        )
    } else {
        None
    }
}

/// With a capital letter and a full stop, as a sentence of its own.
fn whole(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::super::halt::{Halt, HaltCode};
    use super::*;

    fn leading(snapshot: &mut Snapshot, state: State) {
        snapshot.state = state;
        snapshot.leader = true;
        snapshot.kafka.last_confirmation = Some(snapshot.ago(1.0));
    }

    #[track_caller]
    fn check(
        expected: (Grade, &str, Option<&str>),
        worst: Option<Grade>,
        change: impl FnOnce(&mut Snapshot),
    ) {
        let mut snapshot = Snapshot::for_tests();
        change(&mut snapshot);
        snapshot.finish();
        let check = |grade| Check {
            name: "Clocks",
            grade,
            says: "2 s apart".to_owned(),
            remedy: Some("Look".to_owned()),
        };
        let checks: Vec<_> = worst.into_iter().map(check).collect();
        let Outlook { grade, headline, next, .. } = outlook(&snapshot, &checks);
        let next = next.as_deref().map(|next| next.split_once(' ').map_or(next, |(one, _)| one));
        assert_eq!((grade, headline, next), expected);
    }

    #[test]
    fn a_state_that_works_is_well_and_asks_for_nothing() {
        check((Grade::Good, "All is well", None), None, |s| {
            leading(s, State::Streaming);
            s.lag.caught_up = true;
        });
        check((Grade::Good, "All is well", None), Some(Grade::Unknown), |s| {
            leading(s, State::Streaming);
            s.lag.seconds = 5.0;
        });
        check((Grade::Unknown, "Starting", None), Some(Grade::Bad), |_| {});
    }

    #[test]
    fn a_check_that_fails_speaks_up_where_the_state_has_nothing_to_say() {
        let warned = (Grade::Warn, "Working; something wants a look", Some("Clocks:"));
        check(warned, Some(Grade::Warn), |s| {
            leading(s, State::Streaming);
            s.lag.caught_up = true;
        });
        let bad = (Grade::Bad, "Working, but not for long", Some("Clocks:"));
        check(bad, Some(Grade::Bad), |s| {
            leading(s, State::Streaming);
            s.lag.caught_up = true;
        });
    }

    #[test]
    fn what_is_waited_for_is_named() {
        check((Grade::Warn, "Working, and behind", Some("See")), None, |s| {
            leading(s, State::Streaming);
            s.lag.seconds = 61.0;
        });
        let frozen = |s: &mut Snapshot| {
            leading(s, State::Backpressured);
            s.in_flight.events = 5;
            s.kafka.last_confirmation = Some(s.ago(40.0));
        };
        check((Grade::Bad, "Waiting for Kafka", Some("See")), Some(Grade::Bad), frozen);
        let slow = (Grade::Warn, "Kafka is slower than the rows", Some("Nothing"));
        check(slow, None, |s| leading(s, State::Backpressured));
    }

    #[test]
    fn a_halt_says_whether_it_waits_for_a_person() {
        let halted = |code| {
            move |s: &mut Snapshot| {
                s.state = State::Halted;
                s.halt = Some(Halt { code, message: "gone".into(), hint: "decide".into() });
            }
        };
        let decide = (Grade::Bad, "Halted: a person has to decide", Some("Decide."));
        check(decide, Some(Grade::Bad), halted(HaltCode::SlotMissing));
        let resumes = (Grade::Bad, "Halted until the cause is gone", Some("Decide."));
        check(resumes, None, halted(HaltCode::TopicMissing));
    }
}
