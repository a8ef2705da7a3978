//! What a new record would be. Pure.

use super::super::claim;
use super::super::prepare::Watched;
use super::Found;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::kafka::floor::Kept;
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
    pub(crate) fn mark(self) -> Mark {
        let lsn = self.lsn();
        let commit_lsn = match self {
            Self::Commit(lsn) => lsn,
            // A commit record that begins here ends behind this place, and is not sent yet.
            Self::Resume(lsn) => Lsn::new(lsn.as_u64().saturating_sub(1)),
        };
        Mark { commit_lsn, ..Mark::start(lsn) }
    }
}

impl Found {
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
        if objections.is_empty() {
            return Ok(None);
        }
        let watched = self.fit()?;
        let action = self.action(&objections);
        let mut record = match (&self.stored.checkpoint, action) {
            (Some(stored), Action::Keep) => self.renewed(config, watched, stored.mark()),
            (_, Action::Keep | Action::FromSlot | Action::NewSlot { .. } | Action::Set) => {
                let mark = Mark::start(self.facts.confirmed_flush_lsn);
                self.renewed(config, watched, mark)
            }
        };
        // A snapshot that was not complete begins again, and then the stream where the slot is.
        record.phase = self.stored.checkpoint.as_ref().map_or(Phase::Stream, |stored| stored.phase);
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

    /// The first record, at a place up to which somebody else has sent the rows.
    ///
    /// # Errors
    /// Publication or tables are not as they must be.
    pub(crate) fn adopt(&self, config: &Config, mark: Mark) -> Result<Plan, Failure> {
        let record = self.renewed(config, self.fit()?, mark);
        Ok(Plan { objections: Vec::new(), action: Action::Set, record, missing: None })
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
        let kept = stored.map(|stored| stored.kept.ids.clone()).unwrap_or_default();
        Checkpoint {
            // What was committed until now may be missing, so nothing of it is proven delivered.
            kept: Kept { ids: kept, unknown: false },
            prune_floor: floor.max(self.before.0),
            seen_lsn: self.before.0,
            seen_time: self.before.1,
            generation: stored.map_or(0, |stored| stored.generation),
            unknown: stored.map(|stored| stored.unknown.clone()).unwrap_or_default(),
            ..beginning.with_floors(&watched.table_oids, self.moment)
        }
    }

    fn missing(&self, objections: &[Objection], action: Action) -> Option<Missing> {
        let has = |code| objections.iter().any(|objection| objection.code == code);
        let (to_lsn, to_time) = match action {
            Action::FromSlot => (Some(self.facts.confirmed_flush_lsn), 0),
            // It is made later, and begins later still: when all transactions that run then have
            // ended.
            Action::NewSlot { .. } => (None, 0),
            Action::Keep | Action::Set => (Some(self.after.0), self.after.1),
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

#[cfg(test)]
mod tests {
    use super::super::super::first_start::Unfit;
    use super::*;
    use crate::config::env::Variables;
    use crate::kafka::checkpoint::Unreadable;
    use crate::kafka::checkpoint::tests::checkpoint as any_checkpoint;
    use crate::kafka::checkpoint_topic::{Stored, UnreadableRecord};
    use crate::kafka::floor::{Floor, Moment};
    use crate::postgres::catalog::Slot;
    use crate::postgres::catalog::slot_for_tests as any_slot;
    use crate::proof::{Facts, LastTransaction, TimelineSwitch};

    const L: fn(u64) -> Lsn = Lsn::new;

    fn config() -> Config {
        let variables = Variables::from([
            ("DATABASE_URL", "postgres://walpost@localhost/shop"),
            ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        ]);
        Config::load(&variables).expect("valid").config
    }

    fn slot() -> Slot {
        Slot {
            restart_lsn: Some(L(50)),
            confirmed_flush_lsn: Some(L(100)),
            wal_end: L(200),
            ..any_slot()
        }
    }

    const NOW: Moment = Moment { settled_xid: 7, next_xid: 9, time: 195_000 };

    /// A stream that may go on: the checkpoint at 100, the slot there, the log's end at 200.
    fn found() -> Found {
        let fingerprint = "p1; table 1 t1".to_owned();
        let stored = Checkpoint {
            system_identifier: "1".to_owned(),
            fingerprint: fingerprint.clone(),
            commit_lsn: L(90),
            complete: true,
            resume_lsn: L(100),
            commit_time: 90_000,
            seen_lsn: L(80),
            seen_time: 80_000,
            ..any_checkpoint()
        };
        Found {
            stored: Stored { checkpoint: Some(stored), ..Stored::default() },
            slot: Some(slot()),
            facts: Facts {
                system_identifier: "1".to_owned(),
                timeline: 1,
                history: Vec::new(),
                cluster_id: "c".to_owned(),
                confirmed_flush_lsn: L(100),
                wal_end: L(200),
                fingerprint: fingerprint.clone(),
                last_transaction: LastTransaction::Committed,
            },
            watched: Ok(Watched { fingerprint, table_oids: vec![1] }),
            before: (L(190), 190_000),
            after: (L(195), 195_000),
            readable: Some(Readable::Yes),
            moment: NOW,
        }
    }

    /// What is done about a change: the codes, the action, where the stream goes on, and from where
    /// to where rows may be missing.
    #[track_caller]
    fn check(
        change: impl FnOnce(&mut Found),
        codes: &[HaltCode],
        (action, place): (Action, u64),
        missing: Option<(Option<u64>, Option<u64>)>,
    ) {
        let mut found = found();
        change(&mut found);
        let plan = found.accept(&config()).expect("possible").expect("something to decide");
        let found_codes: Vec<_> = plan.objections.iter().map(|objection| objection.code).collect();
        assert_eq!(found_codes, codes);
        assert_eq!((plan.action, plan.record.resume_lsn), (action, L(place)));
        let range = plan
            .missing
            .map(|missing| (missing.from_lsn.map(Lsn::as_u64), missing.to_lsn.map(Lsn::as_u64)));
        assert_eq!(range, missing);
        assert_eq!(plan.record.system_identifier, found.facts.system_identifier);
        assert_eq!(plan.record.cluster_id, found.facts.cluster_id);
        assert_eq!(plan.record.fingerprint, found.facts.fingerprint);
        assert!(plan.record.prune_floor >= L(190), "nothing until now is proven delivered");
        assert_eq!(plan.record.floors, [Floor::at(1, NOW)]);
    }

    fn altered(found: &mut Found, fingerprint: &str) {
        found.facts.fingerprint = fingerprint.to_owned();
        found.watched = Ok(Watched { fingerprint: fingerprint.to_owned(), table_oids: vec![1] });
    }

    #[test]
    fn a_stream_that_may_go_on_needs_no_decision() {
        assert_eq!(found().accept(&config()), Ok(None));
        let mut none = found();
        none.stored.checkpoint = None;
        assert_eq!(none.accept(&config()), Ok(None));
    }

    #[test]
    fn a_change_of_publication_or_table_keeps_the_place() {
        let range = Some((Some(80), Some(195)));
        let (publication, table) = (HaltCode::PublicationChanged, HaltCode::TableChanged);
        check(|f| altered(f, "p2; table 1 t1"), &[publication], (Action::Keep, 100), range);
        check(|f| altered(f, "p1; table 1 t2"), &[table], (Action::Keep, 100), range);
    }

    #[test]
    fn a_slot_that_cannot_be_read_is_made_anew() {
        let made = (Action::NewSlot { drop: true }, 100);
        let range = Some((Some(100), None));
        check(
            |f| f.slot.as_mut().expect("a slot").wal_status = Some("lost".to_owned()),
            &[HaltCode::SlotLost],
            made,
            range,
        );
        // From where the publication was last seen, which is before the checkpoint.
        check(
            |f| f.readable = Some(Readable::NoPublication),
            &[HaltCode::PublicationChanged],
            made,
            Some((Some(80), None)),
        );
        check(
            |f| (f.slot, f.facts.confirmed_flush_lsn) = (None, Lsn::INVALID),
            &[HaltCode::SlotMissing],
            (Action::NewSlot { drop: false }, 0),
            range,
        );
    }

    #[test]
    fn a_snapshot_that_was_not_complete_begins_again_after_a_decision() {
        let mut found = found();
        let stored = found.stored.checkpoint.as_mut().expect("a record");
        *stored = Checkpoint { phase: Phase::Snapshot, ..stored.at(Mark::start(L(100))) };
        assert_eq!(found.accept(&config()), Ok(None), "as it is, it begins again by itself");
        (found.slot, found.facts.confirmed_flush_lsn) = (None, Lsn::INVALID);
        let plan = found.accept(&config()).expect("possible").expect("something to decide");
        assert_eq!(
            (plan.action, plan.record.phase),
            (Action::NewSlot { drop: false }, Phase::Snapshot)
        );
        // An operator's own place ends it.
        found.slot = Some(slot());
        found.facts.confirmed_flush_lsn = L(100);
        let plan = found.set(&config(), To::Resume(L(150))).expect("possible");
        assert_eq!(plan.record.phase, Phase::Stream);
    }

    #[test]
    fn a_snapshot_that_was_only_announced_has_no_slot_to_miss() {
        let mut found = found();
        let stored = found.stored.checkpoint.as_mut().expect("a record");
        *stored = Checkpoint { phase: Phase::Snapshot, ..stored.at(Mark::start(Lsn::INVALID)) };
        assert_eq!(found.accept(&config()), Ok(None), "the slot was made and not taken");
        found.slot = None;
        assert_eq!(found.accept(&config()), Ok(None), "the slot was not made");
    }

    #[test]
    fn a_slot_that_was_moved_decides_where_the_stream_goes_on() {
        check(
            |f| f.facts.confirmed_flush_lsn = L(150),
            &[HaltCode::SlotAhead],
            (Action::FromSlot, 150),
            Some((Some(100), Some(150))),
        );
    }

    #[test]
    fn on_another_system_or_cluster_places_of_before_mean_nothing() {
        let range = Some((None, Some(100)));
        check(
            |f| f.facts.system_identifier = "2".to_owned(),
            &[HaltCode::SystemChanged],
            (Action::FromSlot, 100),
            range,
        );
        check(
            |f| f.facts.cluster_id = "d".to_owned(),
            &[HaltCode::KafkaChanged],
            (Action::FromSlot, 100),
            range,
        );
        check(
            |f| (f.facts.wal_end, f.facts.confirmed_flush_lsn) = (L(95), L(70)),
            &[HaltCode::CheckpointAhead],
            (Action::FromSlot, 70),
            Some((None, Some(70))),
        );
    }

    #[test]
    fn a_timeline_that_was_left_costs_what_the_slot_does_not_have() {
        let left = |f: &mut Found, slot| {
            f.facts.timeline = 2;
            f.facts.history = vec![TimelineSwitch { timeline: 1, switch_point: L(60) }];
            f.facts.confirmed_flush_lsn = L(slot);
        };
        let code = [HaltCode::TimelineChanged];
        check(|f| left(f, 55), &code, (Action::FromSlot, 55), None);
        let range = Some((Some(60), Some(70)));
        check(|f| left(f, 70), &code, (Action::FromSlot, 70), range);
    }

    #[test]
    fn what_must_be_mended_first_is_said_and_nothing_written() {
        let mut found = found();
        found.watched = Err(Unfit {
            code: HaltCode::TableChanged,
            message: "no table".to_owned(),
            hint: "make it".to_owned(),
            missing: None,
        });
        found.facts.fingerprint = String::new();
        let refused = found.accept(&config()).expect_err("refused");
        assert_eq!((refused.code(), refused.hint()), ("table_changed", Some("first: make it")));
    }

    #[test]
    fn an_unreadable_record_is_written_over_but_not_that_of_a_newer_program() {
        let unreadable = |cause| Some(UnreadableRecord { offset: 7, cause, generation: None });
        check(
            |f| f.stored.unreadable = unreadable(Unreadable::Malformed("x".to_owned())),
            &[HaltCode::CheckpointLost],
            (Action::FromSlot, 100),
            None,
        );
        let mut found = found();
        found.stored.unreadable = unreadable(Unreadable::Newer(2));
        let refused = found.accept(&config()).expect_err("refused");
        assert_eq!(refused.code(), "checkpoint_newer");
        assert!(found.set(&config(), To::Resume(L(150))).is_ok(), "an operator may");
    }

    #[test]
    fn a_place_is_set_between_the_slot_and_the_end_of_the_log() {
        #[track_caller]
        fn check(to: To, expected: Option<(u64, u64)>) {
            let plan = found().set(&config(), to);
            let place = plan
                .ok()
                .map(|plan| (plan.record.commit_lsn.as_u64(), plan.record.resume_lsn.as_u64()));
            assert_eq!(place, expected, "{to:?}");
        }
        check(To::Resume(L(99)), None);
        check(To::Resume(L(100)), Some((99, 100)));
        check(To::Commit(L(150)), Some((150, 150)));
        check(To::Commit(L(200)), Some((200, 200)));
        check(To::Resume(L(201)), None);
    }
}
