//! Everything that the page shows: a snapshot, and what follows from it and from the last hour.

use tokio::time::Instant;

use crate::lsn::Lsn;

use super::checks::{Check, checks};
use super::history::{History, Point};
use super::outlook::{Outlook, outlook};
use super::snapshot::Snapshot;
use super::span::{spoken, spoken_bytes};

/// Everything known, as `/status.json` has it: the members of a [`Snapshot`], and
///
/// ```json
/// {
///   "outlook": {"grade": "good", "headline": "All is well", "sentence": "Streaming, …", "next": null},
///   "stages": [{"stage": "received", "position": "0/1A2B3C8", "behind_bytes": 0, "behind_seconds": 0.0}],
///   "headroom": {"word": "not_growing", "growth_bytes_per_second": 0.0, "seconds_left": null},
///   "checks": [{"name": "Postgres", "grade": "good", "says": "…", "remedy": null}],
///   "history": [{"seconds_ago": 10.2, "lag_seconds": 0.0, "retained_bytes": 56}]
/// }
/// ```
///
/// A stage is one of `received`, `sent`, `confirmed`, `checkpointed`, `released`. Grades are
/// `good`, `unknown`, `warn`, `bad`. `history` is of the last hour, the oldest point first, every
/// ten seconds the worst of them; the last one is not over.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Everything known at this moment.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// Whether it is all right, and what to do where it is not.
    pub outlook: Outlook,
    /// How far each step is behind the end of the server's log.
    pub stages: Vec<Stage>,
    /// How long the slot can go on like this.
    pub headroom: Headroom,
    /// What the relay knows to look at by itself.
    pub checks: Vec<Check>,
    /// The last hour, the oldest point first.
    pub history: Vec<Point>,
}

/// How far one step is behind the end of the server's log.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Stage {
    /// Its word.
    pub stage: &'static str,
    /// How far it has got.
    pub position: Option<Lsn>,
    /// Bytes of the log after that.
    pub behind_bytes: Option<u64>,
    /// How long ago the log ended there; `None`: before anything was seen.
    pub behind_seconds: Option<f64>,
}

/// Whether, and when, the server will drop what the slot needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadroomWord {
    /// The slot was not looked at, or not for long enough.
    Unknown,
    /// The server keeps everything, until its disk is full.
    NoLimit,
    /// What is kept does not grow.
    NotGrowing,
    /// It grows towards the limit.
    Growing,
    /// Too late.
    Lost,
}

/// How long the slot can go on like this.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Headroom {
    /// In a word.
    pub word: HeadroomWord,
    /// How fast what the server keeps for the slot has grown over the last ten minutes.
    pub growth_bytes_per_second: Option<f64>,
    /// Until the limit is reached at that rate.
    pub seconds_left: Option<f64>,
}

impl Headroom {
    fn of(snapshot: &Snapshot, growth: Option<f64>) -> Self {
        use super::facts::WalStatus;
        let slot = snapshot.slot.as_ref();
        let safe = slot.and_then(|slot| slot.safe_bytes);
        // Exact up to 2^53 bytes.
        let left = match (safe, growth) {
            (Some(safe), Some(growth)) if growth > 0.0 => Some(safe as f64 / growth),
            _ => None,
        };
        let word = match (slot, safe, growth) {
            (None, ..) => HeadroomWord::Unknown,
            (Some(slot), ..) if slot.wal_status == Some(WalStatus::Lost) => HeadroomWord::Lost,
            (_, None, _) => HeadroomWord::NoLimit,
            (_, Some(_), None) => HeadroomWord::Unknown,
            (_, Some(_), Some(growth)) if growth > 0.0 => HeadroomWord::Growing,
            (_, Some(_), Some(_)) => HeadroomWord::NotGrowing,
        };
        Self { word, growth_bytes_per_second: growth, seconds_left: left }
    }

    /// As people say it: `2 h 10 min left`, `not growing`, `no limit`.
    pub(crate) fn spoken(&self) -> String {
        match (self.word, self.seconds_left) {
            (HeadroomWord::Unknown, _) => "not known yet".to_owned(),
            (HeadroomWord::NoLimit, _) => "no limit".to_owned(),
            (HeadroomWord::NotGrowing, _) => "not growing".to_owned(),
            (HeadroomWord::Lost, _) => "lost".to_owned(),
            (HeadroomWord::Growing, left) => format!("{} left", spoken(left.unwrap_or(0.0))),
        }
    }

    /// The growth as people say it, where there is one.
    pub(crate) fn spoken_growth(&self) -> Option<String> {
        let growth = self.growth_bytes_per_second.filter(|growth| *growth > 0.0)?;
        let minute = std::time::Duration::try_from_secs_f64(growth * 60.0).unwrap_or_default();
        Some(format!("{} a minute", spoken_bytes(minute.as_secs())))
    }
}

impl Report {
    pub(super) fn of(snapshot: Snapshot, history: &History, now: Instant) -> Self {
        let headroom = Headroom::of(&snapshot, history.growth(now));
        let checks = checks(&snapshot, &headroom);
        Self {
            outlook: outlook(&snapshot, &checks),
            stages: stages(&snapshot, history, now),
            headroom,
            checks,
            history: history.points(&snapshot, now),
            snapshot,
        }
    }
}

fn stages(snapshot: &Snapshot, history: &History, now: Instant) -> Vec<Stage> {
    let at = &snapshot.positions;
    let all = [
        ("received", at.received),
        ("sent", at.sent),
        ("confirmed", at.confirmed),
        ("checkpointed", at.checkpointed),
        ("released", at.flushed),
    ];
    let stage = |(stage, position): (&'static str, Option<Lsn>)| Stage {
        stage,
        position,
        behind_bytes: match (at.wal_end, position) {
            (Some(end), Some(position)) => Some(end.bytes_since(position)),
            _ => None,
        },
        behind_seconds: position.and_then(|position| history.seconds_behind(position, now)),
    };
    all.into_iter().map(stage).collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::{SlotFacts, WalStatus};
    use super::super::snapshot::SlotView;
    use super::*;

    #[test]
    fn headroom_is_said_by_what_the_slot_may_still_keep_and_how_fast_that_goes() {
        #[track_caller]
        fn check(slot: Option<(WalStatus, Option<u64>)>, growth: Option<f64>, expected: &str) {
            let mut snapshot = Snapshot::for_tests();
            snapshot.slot = slot.map(|(wal_status, safe_bytes)| {
                let wal_status = Some(wal_status);
                SlotView::of(&SlotFacts { wal_status, safe_bytes, ..SlotFacts::default() })
            });
            assert_eq!(Headroom::of(&snapshot, growth).spoken(), expected);
        }
        use WalStatus::{Lost, Reserved};
        check(None, Some(5.0), "not known yet");
        check(Some((Reserved, None)), Some(5.0), "no limit");
        check(Some((Reserved, Some(7_200))), None, "not known yet");
        check(Some((Reserved, Some(7_200))), Some(0.0), "not growing");
        check(Some((Reserved, Some(7_200))), Some(1.0), "2 h left");
        check(Some((Lost, None)), Some(1.0), "lost");
    }
}
