//! How often each family of faults is to be met in a full run, and what a segment has of it.

use super::faults::{Kind, Network};
use super::tally::Tally;
use crate::oracle::Random;
use crate::scene::Mode;

/// Faults that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// SIGKILL to walpost.
    WalpostKills,
    /// SIGKILL and immediate stops of Postgres.
    PostgresKills,
    /// SIGKILL to Kafka.
    KafkaKills,
    /// What a network does that knows where a message begins, and of which kind it is.
    Frames,
    /// SIGSTOP to any of the three.
    Freezes,
    /// All others. A full run has a few of each kind.
    Others,
}

impl Family {
    const ALL: [Self; 6] = [
        Self::WalpostKills,
        Self::PostgresKills,
        Self::KafkaKills,
        Self::Frames,
        Self::Freezes,
        Self::Others,
    ];

    /// Of which family a kind is.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::WalpostKilled | Kind::HandedOver => Self::WalpostKills,
            Kind::PostgresCrashed | Kind::PostgresKilled => Self::PostgresKills,
            Kind::KafkaKilled => Self::KafkaKills,
            Kind::WalpostFrozen | Kind::ZombieWakes | Kind::PostgresFrozen | Kind::KafkaFrozen => {
                Self::Freezes
            }
            Kind::ToKafka(
                Network::Cuts
                | Network::LosesProduceAnswer
                | Network::LateProduce
                | Network::LosesCommitAnswer
                | Network::LateCommit,
            ) => Self::Frames,
            Kind::WalpostStopped
            | Kind::PostgresRestarted
            | Kind::WalsenderKilled
            | Kind::ToPostgres(_)
            | Kind::ToKafka(_) => Self::Others,
        }
    }

    /// How often it is to be met in a full run.
    fn goal(self) -> u32 {
        match self {
            Self::WalpostKills => 300,
            Self::PostgresKills | Self::KafkaKills => 150,
            Self::Frames => 200,
            Self::Freezes => 100,
            Self::Others => 0,
        }
    }

    /// How many faults of it a segment has: a twentieth of the goal, and a little more.
    fn share(self) -> usize {
        match self {
            Self::WalpostKills => 16,
            Self::PostgresKills | Self::KafkaKills => 8,
            Self::Frames => 11,
            Self::Freezes => 6,
            Self::Others => 4,
        }
    }

    /// As a sentence has it.
    fn words(self) -> &'static str {
        match self {
            Self::WalpostKills => "kills of walpost",
            Self::PostgresKills => "kills of Postgres",
            Self::KafkaKills => "kills of Kafka",
            Self::Frames => "faults inside Kafka's protocol",
            Self::Freezes => "freezes",
            Self::Others => "others",
        }
    }

    /// Whether a full run has what it needs.
    pub(super) fn all_reached(sum: &Tally) -> bool {
        Self::ALL.iter().all(|family| sum.met(*family) >= family.goal())
    }

    /// How often each was met, and how often it should have been, where it was less.
    pub(super) fn counts(sum: &Tally) -> String {
        let counts = Self::ALL.map(|family| {
            let (met, goal) = (sum.met(family), family.goal());
            let of = if met < goal { format!(" of {goal}") } else { String::new() };
            format!("{met}{of} {}", family.words())
        });
        counts.join(", ")
    }
}

/// The faults of a segment, in no order that matters: of each family its share, the kinds of the
/// family in turn from one that is chosen.
pub(super) fn segment(mode: Mode, random: &mut Random) -> Vec<Kind> {
    let mut segment = Vec::new();
    for family in Family::ALL {
        let mut kinds: Vec<Kind> =
            Kind::all(mode).into_iter().filter(|kind| Family::of(*kind) == family).collect();
        if family == Family::WalpostKills {
            // One in four beside a standby.
            kinds.extend([Kind::WalpostKilled; 2]);
        }
        super::shuffle(&mut kinds, random);
        segment.extend(kinds.iter().cycle().take(family.share()));
    }
    segment
}

#[test]
fn twenty_segments_have_what_a_full_run_needs() {
    let mut counted = Tally::default();
    for number in 0..20 {
        for kind in segment(Mode::AtLeastOnce, &mut Random::new(number, 200)) {
            counted.count(kind, true, std::time::Duration::ZERO);
        }
    }
    assert!(Family::all_reached(&counted), "{}", counted.line());
}
