//! Goal: the tests would notice each mistake that a relay of this kind can make.
//!
//! Method: each mistake of `src/mutant.rs` is made, in a scene that shows it. The same scene without
//! the mistake passes, so that it is the mistake that was noticed; and what is said must be what the
//! table expects, so that it is noticed for the right reason.
//!
//! `WALPOST_TORTURE=full` tries all of them, otherwise a handful; `WALPOST_TORTURE=flush_keepalive`
//! one.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walpost::mutant::Mutant;

use self::scenes::{
    clean_stop, dead_letters, drained_queue, first_batch, first_start, half_transaction,
    late_record, lost_publication, open_transaction, refused_record, silent_broker, standby,
    stored_with_rows, unread_checkpoint,
};
use crate::crash::message;
use crate::oracle::knob;
use crate::page::write_between;
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

/// A scene with its name.
macro_rules! scene {
    ($scene:ident) => {
        (stringify!($scene), $scene as Shown)
    };
}

/// How each is noticed: the scene, and a word of what is said.
fn noticed(mutant: Mutant) -> ((&'static str, Shown), &'static str) {
    match mutant {
        Mutant::CheckpointEarly => (scene!(unread_checkpoint), "ahead of kafka"),
        Mutant::FlushEarly | Mutant::FlushKeepalive | Mutant::FlushLength => {
            (scene!(unread_checkpoint), "past the checkpoint")
        }
        Mutant::MessageTimeout => (scene!(silent_broker), "began anew"),
        Mutant::OrdinalNotStored => (scene!(half_transaction), "came twice"),
        Mutant::GaplessOff => (scene!(refused_record), "out of order"),
        Mutant::IdWithPid | Mutant::ReadBeforeInit => (scene!(open_transaction), "is not at work"),
        Mutant::InitOnStandby => (scene!(standby), "began anew"),
        Mutant::NewestByOffset => (scene!(late_record), "is not at work"),
        Mutant::TwoTransactions => (scene!(stored_with_rows), "came twice"),
        Mutant::NotPurged => (scene!(drained_queue), "came again"),
        Mutant::OpenAtOnce => (scene!(first_batch), "out of order"),
        Mutant::PhaseNotRecorded => (scene!(first_start), "are missing"),
        Mutant::NotWatched => (scene!(lost_publication), "did not halt"),
        Mutant::LetterNotCounted => (scene!(dead_letters), "began anew"),
        Mutant::NoFinalStatus => (scene!(clean_stop), "behind the checkpoint"),
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
    let mut table = String::new();
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
        let ((name, scene), expected) = noticed(mutant);
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
                writeln!(table, "| `{}` | `{name}` | … {expected} … |", mutant.name()).unwrap();
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
    if wish == "full" && knob("WALPOST_TORTURE_WRITE", 0) == 1 {
        let head = "| mistake | noticed in the scene | what it said |\n| --- | --- | --- |\n";
        write_between("mistakes", &format!("All {tried} were noticed.\n\n{head}{table}"));
    }
}
