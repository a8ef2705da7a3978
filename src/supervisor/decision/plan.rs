//! What a new record would be. Pure.

use super::super::claim;
use super::super::prepare::Watched;
use super::Survey;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::ledger::Mark;
use crate::lsn::Lsn;
use crate::postgres::catalog::Readable;
use crate::proof::{self, Objection};
use crate::status::HaltCode;

/// What is done about the slot, and so where the stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The slot stays, and the stored place too.
    Keep,
    /// The slot stays, and the stream begins where it stands.
    FromSlot,
    /// A new slot, because there is none that can be read; the old one is dropped.
    NewSlot {
        /// There is an old one.
        drop: bool,
    },
    /// The slot stays, and the place is one that the operator has named.
    Set,
}

/// Rows that may be missing in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// From this place on; `None` where places of before mean nothing here.
    pub(crate) from_lsn: Option<Lsn>,
    /// Microseconds since 1970 by the server's clock; 0 is unknown.
    pub(crate) from_time: i64,
    /// Up to this place; `None` is where the new slot will begin.
    pub(crate) to_lsn: Option<Lsn>,
    /// Microseconds since 1970 by the server's clock; 0 is unknown.
    pub(crate) to_time: i64,
}

/// What is to be written, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What is not as the stored record has it.
    pub(crate) objections: Vec<Objection>,
    /// What is done about the slot.
    pub(crate) action: Action,
    /// The record, but for its generation; of a new slot also but for its place.
    pub(crate) record: Checkpoint,
    /// Rows that may be missing.
    pub(crate) missing: Option<Missing>,
}

/// A place that an operator has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Everything up to this commit record, itself included, counts as sent.
    Commit(Lsn),
    /// Everything that was complete at this place counts as sent.
    Resume(Lsn),
}

impl To {
    /// The place itself.
    pub(crate) const fn lsn(self) -> Lsn {
        match self {
            Self::Commit(lsn) | Self::Resume(lsn) => lsn,
        }
    }

    /// The same as a mark.
    fn mark(self) -> Mark {
        let lsn = self.lsn();
        let commit_lsn = match self {
            Self::Commit(lsn) => lsn,
            // A commit record that begins here ends behind this place, and is not sent yet.
            Self::Resume(lsn) => Lsn::new(lsn.as_u64().saturating_sub(1)),
        };
        Mark { commit_lsn, ..Mark::start(lsn) }
    }
}

impl Survey {
    /// The record that ends the halt; `None` when there is nothing to decide.
    ///
    /// # Errors
    /// Something must be put right first, because the next start would halt again.
    pub(crate) fn accept(&self, config: &Config) -> Result<Option<Plan>, Failure> {
        let objections = self.objections(config);
        if let (Some(record), Some(Objection { code: HaltCode::CheckpointNewer, .. })) =
            (&self.stored.unreadable, objections.first())
        {
            return Err(claim::unreadable(config, record));
        }
        let snapshot = |stored: &Checkpoint| stored.phase == Phase::Snapshot;
        if objections.is_empty() || self.stored.checkpoint.as_ref().is_some_and(snapshot) {
            return Ok(None);
        }
        let watched = self.fit()?;
        let action = self.action(&objections);
        let record = match (&self.stored.checkpoint, action) {
            (Some(stored), Action::Keep) => self.renewed(config, watched, stored.mark()),
            (_, Action::Keep | Action::FromSlot | Action::NewSlot { .. } | Action::Set) => {
                let mark = Mark::start(self.facts.confirmed_flush_lsn);
                self.renewed(config, watched, mark)
            }
        };
        let missing = self.missing(&objections, action);
        Ok(Some(Plan { objections, action, record, missing }))
    }

    /// The record at a place of the operator's choice.
    ///
    /// # Errors
    /// The stream cannot go on from there.
    pub(crate) fn set(&self, config: &Config, to: To) -> Result<Plan, Failure> {
        let objections = self.objections(config);
        let refused = |message: String, hint: &str| {
            Err(Failure::Again { code: "refused", message, hint: Some(hint.to_owned()) })
        };
        if matches!(self.action(&objections), Action::NewSlot { .. }) || self.slot.is_none() {
            return refused(
                format!("there is no slot {} that can be read", config.slot),
                "`walpost checkpoint accept` makes a new one; without any checkpoint, the first start does",
            );
        }
        let (lsn, slot, end) = (to.lsn(), self.facts.confirmed_flush_lsn, self.facts.wal_end);
        if lsn < slot {
            return refused(
                format!("{lsn} is before slot {}, which stands at {slot}", config.slot),
                "what lies before a slot cannot be read any more; send those rows again from the table",
            );
        }
        if lsn > end {
            return refused(
                format!("{lsn} is after the end of the server's log at {end}"),
                "rows that are committed up to there would never be sent; name a place between the slot's and the end",
            );
        }
        let record = self.renewed(config, self.fit()?, to.mark());
        Ok(Plan { objections, action: Action::Set, record, missing: None })
    }

    /// Publication and tables as they must be.
    fn fit(&self) -> Result<&Watched, Failure> {
        self.watched.as_ref().map_err(|unfit| {
            Failure::halt(unfit.code, unfit.message.clone(), format!("first: {}", unfit.hint))
        })
    }

    fn action(&self, objections: &[Objection]) -> Action {
        let Some(slot) = &self.slot else { return Action::NewSlot { drop: false } };
        if super::lost(slot).is_some() || self.readable == Some(Readable::NoPublication) {
            return Action::NewSlot { drop: true };
        }
        let harmless = |code| matches!(code, HaltCode::PublicationChanged | HaltCode::TableChanged);
        if objections.iter().all(|objection| harmless(objection.code)) {
            return Action::Keep;
        }
        Action::FromSlot
    }

    /// A record of these servers at this place.
    fn renewed(&self, config: &Config, watched: &Watched, mark: Mark) -> Checkpoint {
        let beginning = claim::beginning(config, &self.facts, watched).at(mark);
        let stored = self.stored.checkpoint.as_ref();
        let floor = stored.map_or(Lsn::INVALID, |stored| stored.prune_floor);
        Checkpoint {
            // What was committed until now may be missing, so nothing of it is proven delivered.
            prune_floor: floor.max(self.server.wal_end),
            seen_lsn: self.server.wal_end,
            seen_time: self.server.now,
            generation: stored.map_or(0, |stored| stored.generation),
            unknown: stored.map(|stored| stored.unknown.clone()).unwrap_or_default(),
            ..beginning
        }
    }

    fn missing(&self, objections: &[Objection], action: Action) -> Option<Missing> {
        let has = |code| objections.iter().any(|objection| objection.code == code);
        let (to_lsn, to_time) = match action {
            Action::FromSlot => (Some(self.facts.confirmed_flush_lsn), 0),
            // It is made later, and begins later still: when all transactions that run then have
            // ended.
            Action::NewSlot { .. } => (None, 0),
            Action::Keep | Action::Set => (Some(self.examined.0), self.examined.1),
        };
        let Some(stored) = &self.stored.checkpoint else {
            return Some(Missing { from_lsn: None, from_time: 0, to_lsn, to_time });
        };
        let mut from_lsn = stored.resume_lsn;
        let mut from_time = stored.commit_time;
        if has(HaltCode::PublicationChanged) || has(HaltCode::TableChanged) {
            let (lsn, time) = proof::unseen_from(stored);
            if lsn < from_lsn || action == Action::Keep {
                (from_lsn, from_time) = (lsn, time);
            }
        }
        if has(HaltCode::TimelineChanged) {
            let left = self.facts.history.iter().find(|switch| switch.timeline == stored.timeline);
            from_lsn = left.map_or(from_lsn, |switch| from_lsn.min(switch.switch_point));
        }
        // On another system, before a restored one, and in another Kafka, the stored place says
        // nothing of where the rows are that are not here.
        let foreign = [HaltCode::SystemChanged, HaltCode::CheckpointAhead, HaltCode::KafkaChanged];
        let from_lsn = (!foreign.into_iter().any(has)).then_some(from_lsn);
        if action == Action::FromSlot && from_lsn.is_some_and(|from_lsn| Some(from_lsn) >= to_lsn) {
            return None;
        }
        Some(Missing { from_lsn, from_time, to_lsn, to_time })
    }
}
