//! The kinds of faults.

use crate::scene::Mode;
use crate::servers::wire::Fault;

/// Request kinds by their number in Kafka's protocol.
const PRODUCE: i16 = 0;
const END_TXN: i16 = 26;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// SIGKILL, and a new start.
    WalpostKilled,
    /// SIGTERM, and a new start.
    WalpostStopped,
    /// SIGSTOP for longer than the server waits, while nobody takes over.
    WalpostFrozen,
    /// A second instance waits; the first one is killed.
    HandedOver,
    /// A second instance takes over from a first one that is frozen, which then goes on.
    ZombieWakes,
    /// An immediate stop: recovery from the log.
    PostgresCrashed,
    /// SIGKILL to every process of the server.
    PostgresKilled,
    /// A fast restart.
    PostgresRestarted,
    /// SIGSTOP to every process of the server.
    PostgresFrozen,
    /// The server ends the replication connection.
    WalsenderKilled,
    /// SIGKILL, and a new start.
    KafkaKilled,
    /// SIGSTOP.
    KafkaFrozen,
    /// The network to Postgres.
    ToPostgres(Network),
    /// The network to Kafka.
    ToKafka(Network),
}

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    /// Refuses connections.
    Refuses,
    /// Resets connections.
    Resets,
    /// Ends the server's side and does not tell the client.
    HalfOpen,
    /// Lets nothing pass.
    BlackHole,
    /// Is slow.
    Delays,
    /// Passes a few bytes at a time.
    Slices,
    /// Ends in the middle of a message.
    Cuts,
    /// Loses the answer to a write.
    LosesProduceAnswer,
    /// Brings a write when its connection is long gone.
    LateProduce,
    /// Loses the answer to a commit.
    LosesCommitAnswer,
    /// Brings a commit when its connection is long gone.
    LateCommit,
}

use Network::{
    BlackHole, Cuts, Delays, HalfOpen, LateCommit, LateProduce, LosesCommitAnswer,
    LosesProduceAnswer, Refuses, Resets, Slices,
};

/// All of them.
pub(super) const KINDS: &[Kind] = &[
    Kind::WalpostKilled,
    Kind::WalpostStopped,
    Kind::WalpostFrozen,
    Kind::HandedOver,
    Kind::ZombieWakes,
    Kind::PostgresCrashed,
    Kind::PostgresKilled,
    Kind::PostgresRestarted,
    Kind::PostgresFrozen,
    Kind::WalsenderKilled,
    Kind::KafkaKilled,
    Kind::KafkaFrozen,
    Kind::ToPostgres(Refuses),
    Kind::ToPostgres(Resets),
    Kind::ToPostgres(HalfOpen),
    Kind::ToPostgres(BlackHole),
    Kind::ToPostgres(Delays),
    Kind::ToPostgres(Slices),
    Kind::ToPostgres(Cuts),
    Kind::ToKafka(Refuses),
    Kind::ToKafka(Resets),
    Kind::ToKafka(HalfOpen),
    Kind::ToKafka(BlackHole),
    Kind::ToKafka(Delays),
    Kind::ToKafka(Slices),
    Kind::ToKafka(Cuts),
    Kind::ToKafka(LosesProduceAnswer),
    Kind::ToKafka(LateProduce),
    Kind::ToKafka(LosesCommitAnswer),
    Kind::ToKafka(LateCommit),
];

impl Kind {
    /// All that a way of delivery can meet.
    pub(super) fn all(mode: Mode) -> Vec<Self> {
        let meets = |kind: &Self| mode == Mode::ExactlyOnce || !kind.only_once();
        KINDS.iter().copied().filter(meets).collect()
    }

    /// Only exactly-once has it.
    fn only_once(self) -> bool {
        matches!(self, Self::ToKafka(LosesCommitAnswer | LateCommit))
    }

    /// As a table has it.
    pub(super) fn words(self) -> String {
        match self {
            Self::WalpostKilled => "walpost: SIGKILL".to_owned(),
            Self::WalpostStopped => "walpost: SIGTERM".to_owned(),
            Self::WalpostFrozen => "walpost: frozen, thawed".to_owned(),
            Self::HandedOver => "walpost: killed beside a standby".to_owned(),
            Self::ZombieWakes => "walpost: frozen, replaced, thawed".to_owned(),
            Self::PostgresCrashed => "Postgres: immediate stop".to_owned(),
            Self::PostgresKilled => "Postgres: SIGKILL".to_owned(),
            Self::PostgresRestarted => "Postgres: fast restart".to_owned(),
            Self::PostgresFrozen => "Postgres: frozen, thawed".to_owned(),
            Self::WalsenderKilled => "Postgres: walsender ended".to_owned(),
            Self::KafkaKilled => "Kafka: SIGKILL".to_owned(),
            Self::KafkaFrozen => "Kafka: frozen, thawed".to_owned(),
            Self::ToPostgres(network) => format!("network to Postgres: {}", network.words()),
            Self::ToKafka(network) => format!("network to Kafka: {}", network.words()),
        }
    }
}

impl Network {
    fn words(self) -> &'static str {
        match self {
            Refuses => "connections refused",
            Resets => "connections reset",
            HalfOpen => "half-open connections",
            BlackHole => "black hole",
            Delays => "delay",
            Slices => "a few bytes at a time",
            Cuts => "cut inside a message",
            LosesProduceAnswer => "answer to a write lost",
            LateProduce => "write arrives after a reconnect",
            LosesCommitAnswer => "answer to a commit lost",
            LateCommit => "commit arrives after a reconnect",
        }
    }

    /// Whether it happens to one message, and is over then.
    pub(super) fn is_over_once_met(self) -> bool {
        match self {
            Refuses | Resets | HalfOpen | BlackHole | Delays | Slices => false,
            Cuts | LosesProduceAnswer | LateProduce | LosesCommitAnswer | LateCommit => true,
        }
    }

    /// What the wire is told.
    pub(super) fn fault(self) -> Fault {
        match self {
            Refuses => Fault::Refuse,
            Resets => Fault::Reset,
            HalfOpen => Fault::HalfOpen,
            BlackHole => Fault::BlackHole,
            Delays => Fault::Delay(60),
            Slices => Fault::Slice,
            Cuts => Fault::Cut,
            LosesProduceAnswer => Fault::LoseAnswer(PRODUCE),
            LateProduce => Fault::Hold(PRODUCE),
            LosesCommitAnswer => Fault::LoseAnswer(END_TXN),
            LateCommit => Fault::Hold(END_TXN),
        }
    }
}
