//! Goal: the tests would notice each mistake that a relay of this kind can make.
//!
//! Method: each mistake of `src/mutant.rs` is made, in a scene that shows it. The same scene without
//! the mistake passes, so that it is the mistake that was noticed; and what is said must be what the
//! table expects, so that it is noticed for the right reason.
//!
//! `WALPOST_TORTURE=full` tries all of them, otherwise a handful; `WALPOST_TORTURE=flush_keepalive`
//! one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walpost::mutant::Mutant;

use self::scenes::{
    clean_stop, dead_letters, drained_queue, first_start, half_transaction, late_record,
    lost_publication, open_transaction, refused_record, silent_broker, standby, stored_with_rows,
    unread_checkpoint,
};
use crate::crash::message;
use crate::servers::{Settings, figure};
use crate::wish;

mod scenes;

/// Settings with the mistake, or as they are.
#[derive(Clone, Copy, Debug)]
struct Mistake(Option<Mutant>);

impl Mistake {
    fn settings(self, settings: &Settings) -> Settings {
        match self.0 {
            Some(mutant) => settings.clone().env("WALPOST_MUTANT", mutant.name()),
            None => settings.clone(),
        }
    }
}

/// A scene that shows a mistake.
type Shown = fn(Mistake);

/// How each is noticed: the scene, and a word of what is said.
fn noticed(mutant: Mutant) -> (Shown, &'static str) {
    match mutant {
        Mutant::CheckpointEarly => (unread_checkpoint, "ahead of kafka"),
        Mutant::FlushEarly | Mutant::FlushKeepalive | Mutant::FlushLength => {
            (unread_checkpoint, "past the checkpoint")
        }
        Mutant::MessageTimeout => (silent_broker, "began anew"),
        Mutant::OrdinalNotStored => (half_transaction, "came twice"),
        Mutant::GaplessOff => (refused_record, "out of order"),
        Mutant::IdWithPid | Mutant::ReadBeforeInit => (open_transaction, "is not at work"),
        Mutant::InitOnStandby => (standby, "began anew"),
        Mutant::NewestByOffset => (late_record, "is not at work"),
        Mutant::TwoTransactions => (stored_with_rows, "came twice"),
        Mutant::NotPurged => (drained_queue, "came again"),
        Mutant::PhaseNotRecorded => (first_start, "are missing"),
        Mutant::NotWatched => (lost_publication, "did not halt"),
        Mutant::LetterNotCounted => (dead_letters, "began anew"),
        Mutant::NoFinalStatus => (clean_stop, "behind the checkpoint"),
    }
}

/// Mistakes that cannot be written down here, and why.
pub(crate) const IMPOSSIBLE: &[(&str, &str)] = &[
    (
        "skip rows by their LSN",
        "a `Position` has the commit LSN and an ordinal; the LSN of a row reaches neither the ledger nor the checkpoint record, which has no field for one",
    ),
    (
        "send a record again after a failed delivery",
        "librdkafka has the only copy: a report of failure brings the topic and the error, and no record",
    ),
    (
        "two threads that enqueue",
        "`Producer::enqueue` takes `&mut self`, and one task owns the producer",
    ),
    (
        "abort a transaction after a request to commit was sent",
        "the room that speaks to librdkafka has no call to abort; `nothing_aborts_a_transaction` holds that",
    ),
];

#[test]
fn every_mistake_is_noticed() {
    let wish = wish();
    let handful = [Mutant::TwoTransactions, Mutant::LetterNotCounted, Mutant::NoFinalStatus];
    let mut controlled: Vec<Shown> = Vec::new();
    let mut escaped = Vec::new();
    let mut tried = 0;
    for mutant in Mutant::ALL.iter().copied() {
        let wanted = match wish.as_str() {
            "" => handful.contains(&mutant),
            "full" => true,
            wish => wish.split(',').any(|part| mutant.name().contains(part)),
        };
        if !wanted {
            continue;
        }
        tried += 1;
        let (scene, expected) = noticed(mutant);
        if !controlled.iter().any(|it| std::ptr::fn_addr_eq(*it, scene)) {
            scene(Mistake(None));
            controlled.push(scene);
        }
        let result = catch_unwind(AssertUnwindSafe(|| scene(Mistake(Some(mutant)))));
        match result.map_err(|panic| message(panic.as_ref())) {
            Err(said) if said.contains(expected) => {
                let line = said.lines().find(|line| line.contains(expected)).unwrap_or_default();
                let some: String = line.chars().take(160).collect();
                figure(&format!("mutant {}: noticed: {some}", mutant.name()));
            }
            Err(said) => {
                let said: String = said.chars().take(600).collect();
                figure(&format!("mutant {}: noticed for another reason: {said}", mutant.name()));
                escaped.push(format!("{}: noticed for another reason", mutant.name()));
            }
            Ok(()) => {
                figure(&format!("mutant {}: not noticed", mutant.name()));
                escaped.push(format!("{}: not noticed", mutant.name()));
            }
        }
    }
    figure(&format!(
        "mutants: {tried} tried, {} not noticed; {} cannot be written",
        escaped.len(),
        IMPOSSIBLE.len()
    ));
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}
