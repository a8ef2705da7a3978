//! One sentence that says how it goes and, if it does not, what to do.

use super::facts::{Holder, SnapshotFacts, WalStatus};
use super::health;
use super::snapshot::Snapshot;
use super::span::{spoken, spoken_bytes};
use super::state::State;

/// What is going on, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) sentence: String,
    pub(super) next: Option<String>,
}

/// Both in one sentence.
pub(super) fn verdict(snapshot: &Snapshot) -> String {
    let Verdict { mut sentence, next } = of(snapshot);
    if let Some(next) = next {
        sentence.push_str("; next step: ");
        sentence.push_str(&next);
    }
    sentence
}

/// A quiet source is caught up and never "behind by the age of its last event".
pub(super) fn of(snapshot: &Snapshot) -> Verdict {
    let mut next = None;
    let mut sentence = match snapshot.state {
        State::Starting => {
            let (sentence, hint) = starting(snapshot);
            next = hint;
            sentence
        }
        State::Standby => standby(snapshot),
        State::Snapshotting => snapshotting(snapshot),
        State::Streaming => format!("streaming, {}; {}", behind(snapshot), confirmed(snapshot)),
        State::Backpressured if snapshot.waits_for_registry.is_some() => {
            let why = snapshot.waits_for_registry.as_deref().unwrap_or_default();
            format!("backpressured: rows wait for the schema registry: {why}; {}", behind(snapshot))
        }
        State::Backpressured => format!(
            "backpressured: {} of {} wait for Kafka, {}; {}",
            spoken_bytes(snapshot.in_flight.bytes),
            spoken_bytes(snapshot.in_flight.limit_bytes),
            behind(snapshot),
            confirmed(snapshot)
        ),
        State::Draining => format!(
            "draining: stopping once Kafka has confirmed the {} events in flight",
            snapshot.in_flight.events
        ),
        State::Halted => {
            next = snapshot.halt.as_ref().map(|halt| halt.hint.clone());
            halted(snapshot)
        }
    };
    let wal_status = snapshot.slot.as_ref().and_then(|slot| slot.wal_status);
    if wal_status == Some(WalStatus::Unreserved) && snapshot.halt.is_none() {
        sentence.push_str(
            "; the slot is about to be lost (wal_status = unreserved): raise max_slot_wal_keep_size",
        );
    }
    if !snapshot.live.ok {
        sentence.push_str("; ");
        sentence.push_str(&snapshot.live.reason);
    }
    Verdict { sentence, next }
}

fn snapshotting(snapshot: &Snapshot) -> String {
    let doing = "snapshotting: publishing the rows that were in the table before the stream";
    snapshot
        .snapshot
        .as_ref()
        .map_or_else(|| doing.to_owned(), |so_far| format!("{doing}, {}", progress(so_far)))
}

/// How far a snapshot is: `1000 of about 5000 rows, 500 a second, 8 s left`.
pub(crate) fn progress(facts: &SnapshotFacts) -> String {
    let mut text = facts.rows_done.to_string();
    if let Some(rows) = facts.rows_estimated {
        text.push_str(&format!(" of about {rows}"));
    }
    text.push_str(" rows");
    if facts.rows_per_second > 0 {
        text.push_str(&format!(", {} a second", facts.rows_per_second));
    }
    if let Some(seconds) = facts.seconds_left {
        text.push_str(&format!(", {} left", spoken(seconds)));
    }
    text
}

fn behind(snapshot: &Snapshot) -> String {
    if snapshot.lag.caught_up {
        return "caught up".to_owned();
    }
    let (seconds, events) = (snapshot.lag.seconds, snapshot.in_flight.events);
    match events {
        0 => format!("{} behind", spoken(seconds)),
        1 => format!("{} behind with 1 event in flight", spoken(seconds)),
        _ => format!("{} behind with {events} events in flight", spoken(seconds)),
    }
}

fn confirmed(snapshot: &Snapshot) -> String {
    match snapshot.kafka.last_confirmation {
        Some(at) => format!("last event confirmed {} ago", spoken(at.seconds_ago)),
        None => "no event confirmed yet".to_owned(),
    }
}

/// What is waited for, and what the last error of this attempt says to do.
fn starting(snapshot: &Snapshot) -> (String, Option<String>) {
    let what = health::unreached(snapshot)
        .unwrap_or_else(|| "connected, preparing to read the slot".to_owned());
    // An error of this attempt says more than the silence it causes.
    let error = snapshot
        .errors
        .first()
        .filter(|error| error.when.seconds_ago <= snapshot.state_since.seconds_ago);
    match error {
        Some(error) => {
            let text = format!("starting: {what}; last error ({}): {}", error.code, error.message);
            (text, (!error.hint.is_empty()).then(|| error.hint.clone()))
        }
        None => (format!("starting: {what}"), None),
    }
}

fn standby(snapshot: &Snapshot) -> String {
    let holder = match &snapshot.holder {
        None => "another session".to_owned(),
        Some(holder) => name_of(holder),
    };
    let mut text = format!("standby: the slot is held by {holder}");
    if let Some(unreached) = health::unreached(snapshot) {
        text.push_str("; this instance could not take over: ");
        text.push_str(&unreached);
    }
    text
}

fn name_of(holder: &Holder) -> String {
    let session =
        holder.pid.map_or_else(|| "another session".to_owned(), |pid| format!("pid {pid}"));
    match (&holder.application, &holder.address) {
        (Some(application), Some(address)) => format!("{session} ({application} at {address})"),
        (Some(one), None) | (None, Some(one)) => format!("{session} ({one})"),
        (None, None) => session,
    }
}

fn halted(snapshot: &Snapshot) -> String {
    match &snapshot.halt {
        None => "halted".to_owned(),
        Some(halt) => {
            let code = halt.code.as_str();
            format!("halted ({code}): {}", halt.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::halt::{Halt, HaltCode};
    use super::super::heartbeat::TaskAge;
    use super::*;

    #[track_caller]
    fn check(expected: &str, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::for_tests();
        change(&mut snapshot);
        snapshot.finish();
        assert_eq!(snapshot.verdict, expected);
    }

    fn reached(snapshot: &mut Snapshot, state: State) {
        snapshot.state = state;
        snapshot.postgres.last_contact = Some(snapshot.ago(0.1));
        snapshot.kafka.last_contact = Some(snapshot.ago(0.1));
    }

    #[test]
    fn a_snapshot_says_how_far_it_is_and_how_long_it_takes() {
        let doing = "snapshotting: publishing the rows that were in the table before the stream";
        let so_far = |rows, estimated, seconds| {
            move |s: &mut Snapshot| {
                let elapsed = std::time::Duration::from_secs(seconds);
                s.state = State::Snapshotting;
                s.snapshot = Some(SnapshotFacts::of("public.outbox", rows, estimated, elapsed));
            }
        };
        check(doing, |s| s.state = State::Snapshotting);
        check(
            &format!("{doing}, 1000 of about 5000 rows, 500 a second, 8 s left"),
            so_far(1_000, Some(5_000), 2),
        );
        check(&format!("{doing}, 1000 rows, 500 a second"), so_far(1_000, None, 2));
        check(&format!("{doing}, 0 of about 5000 rows"), so_far(0, Some(5_000), 2));
        // Fewer than one a second, and more than was thought.
        check(&format!("{doing}, 1 of about 2 rows, 2 s left"), so_far(1, Some(2), 2));
        check(&format!("{doing}, 9 of about 5 rows, 9 a second, 0 s left"), so_far(9, Some(5), 1));
    }

    #[test]
    fn streaming_says_how_far_behind_and_when_it_last_worked() {
        check("streaming, caught up; last event confirmed 3 s ago", |s| {
            reached(s, State::Streaming);
            s.lag.caught_up = true;
            s.kafka.last_confirmation = Some(s.ago(3.4));
        });
        check("streaming, caught up; no event confirmed yet", |s| {
            reached(s, State::Streaming);
            s.lag.caught_up = true;
        });
        check(
            "streaming, 2 min 5 s behind with 7 events in flight; last event confirmed under 1 s ago",
            |s| {
                reached(s, State::Streaming);
                s.lag.seconds = 125.0;
                s.in_flight.events = 7;
                s.kafka.last_confirmation = Some(s.ago(0.2));
            },
        );
    }

    #[test]
    fn backpressure_says_what_waits_for_kafka() {
        check(
            "backpressured: 16.0 MiB of 16.0 MiB wait for Kafka, 45 s behind with 900 events in \
             flight; last event confirmed 45 s ago",
            |s| {
                reached(s, State::Backpressured);
                s.lag.seconds = 45.2;
                s.in_flight.events = 900;
                s.in_flight.bytes = 16 << 20;
                s.in_flight.limit_bytes = 16 << 20;
                s.kafka.last_confirmation = Some(s.ago(45.0));
            },
        );
    }

    #[test]
    fn a_halt_names_its_code_and_the_next_step() {
        check(
            "halted (slot_missing): replication slot \"walpost\" does not exist; next step: run \
             `walpost checkpoint accept`",
            |s| {
                reached(s, State::Halted);
                s.halt = Some(Halt {
                    code: HaltCode::SlotMissing,
                    message: "replication slot \"walpost\" does not exist".into(),
                    hint: "run `walpost checkpoint accept`".into(),
                });
            },
        );
    }

    #[test]
    fn a_standby_names_who_holds_the_slot() {
        let holder = |pid, application: Option<&str>, address: Option<&str>| Holder {
            pid,
            application: application.map(Into::into),
            address: address.map(Into::into),
        };
        check("standby: the slot is held by pid 123 (walpost/shop.walpost at 10.0.0.3)", |s| {
            reached(s, State::Standby);
            s.holder = Some(holder(Some(123), Some("walpost/shop.walpost"), Some("10.0.0.3")));
        });
        check("standby: the slot is held by pid 9 (psql)", |s| {
            reached(s, State::Standby);
            s.holder = Some(holder(Some(9), Some("psql"), None));
        });
        check(
            "standby: the slot is held by another session; this instance could not take over: \
             Kafka was not reached for 45 s",
            |s| {
                reached(s, State::Standby);
                s.kafka.last_contact = Some(s.ago(45.0));
            },
        );
    }

    #[test]
    fn starting_and_draining_say_what_they_wait_for() {
        check("starting: Postgres was not reached yet, Kafka was not reached yet", |_| {});
        check("starting: connected, preparing to read the slot", |s| reached(s, State::Starting));
        check("draining: stopping once Kafka has confirmed the 3 events in flight", |s| {
            reached(s, State::Draining);
            s.in_flight.events = 3;
        });
    }

    #[test]
    fn a_hanging_task_is_part_of_the_verdict() {
        check(
            "streaming, caught up; no event confirmed yet; task pipeline has not moved for 1 min",
            |s| {
                reached(s, State::Streaming);
                s.lag.caught_up = true;
                s.tasks = vec![TaskAge { task: "pipeline", seconds_since_beat: 60.5 }];
            },
        );
    }
}
