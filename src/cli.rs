//! The command line: one file a command. Output goes through [`output`], and through nothing else.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub mod adopt;
pub mod check;
pub mod checkpoint;
mod command;
pub mod config;
mod confirm;
pub mod dlq;
pub mod groups;
pub mod healthcheck;
pub mod help;
mod http_get;
pub mod manual;
mod moment;
pub mod output;
pub mod peek;
mod printed;
pub mod prune;
mod readable;
pub mod replay;
pub mod reshard;
pub mod run;
pub mod schema;
mod sender;
pub mod setup;
pub mod status;

/// How the process ends, for scripts and Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Drained, or done.
    Done,
    /// A fatal error at run time, the drain deadline passed, or a check that found a problem.
    Failed,
    /// A wrong command line.
    Usage,
    /// Wrong configuration (`EX_CONFIG` of `sysexits.h`).
    Configuration,
    /// A second signal of this number ended a drain: 128 and the number, as shells do.
    Signal(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 78,
            Self::Signal(number) => 128 + number,
        }
    }
}

/// Relays a Postgres transactional outbox to Kafka as CloudEvents, in order, without losing a row.
#[derive(Debug, Parser)]
#[command(name = "walpost", version, disable_help_subcommand = true)]
pub struct Cli {
    /// A file of variables, one NAME=value a line; the environment wins over it.
    #[arg(long, global = true, value_name = "PATH", display_order = 1000)]
    pub env_file: Option<PathBuf>,
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The relay (also with no command).
    ///
    /// Follows the slot, sends each inserted row as one event, and keeps its place in Kafka. SIGTERM
    /// and SIGINT end it after what is under way is confirmed.
    Run,
    /// Preflight against the real database and the real Kafka; changes nothing.
    ///
    /// Each finding is ok, a warning or a problem, with why it matters and what mends it: SQL, a
    /// command of Kafka's scripts, or a variable, to be pasted. The last line is the verdict. It may
    /// run beside a running walpost.
    Check(check::Arguments),
    /// The effective configuration, with the origin of each value; secrets are hidden.
    ///
    /// Asks no server. `walpost --help` lists every variable.
    Config(config::Arguments),
    /// The events that the newest rows of the table would become.
    ///
    /// Through the relay's own encoder; bad rows are shown as their dead letters. Prints values of
    /// rows. Needs SELECT on the table, and no Kafka.
    Peek(peek::Arguments),
    /// What the database needs: a role, its rights, the table, constraints, the publication; printed
    /// as SQL, or done.
    ///
    /// Prints only what is missing. Run it as a role that may create roles and owns the table, not as
    /// walpost's. Needs no Kafka.
    Setup(setup::Arguments),
    /// Deletes rows of the outbox table that are proven to be in Kafka.
    ///
    /// The relay must be running: its stored checkpoint is the proof. Needs SELECT and DELETE on the
    /// table.
    Prune(prune::Arguments),
    /// Publishes rows of the outbox table again. A plan without --yes.
    ///
    /// Say which rows, and where to. Reads the table, so only rows that are still in it. Touches
    /// neither slot nor checkpoint, and may run beside a running walpost. Events keep their id, and
    /// have the header walpost-replay.
    Replay(replay::Arguments),
    /// Dead letters: lists and shows them, sends them again, removes those that are done.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Consumer groups: lag and members, and setting one to another place.
    #[command(subcommand)]
    Groups(groups::Command),
    /// The stored position: shows it, moves it, or ends a halt that needs a decision.
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    /// Another number of streams, from one to several or back. A plan without --yes.
    ///
    /// Stop every walpost first. WALPOST_SHARDS says how many streams there are now. Makes the new
    /// publications and slots, sends what the old slots hold up to one place, writes that place for
    /// the new ones, and drops the old ones; nothing is missing, and nothing comes twice.
    Reshard(reshard::Arguments),
    /// Goes on where another relay has stopped.
    #[command(subcommand)]
    Adopt(adopt::Command),
    /// Schemas in files: tests them against the registry's compatibility rule, and registers them.
    #[command(subcommand)]
    Schema(schema::Command),
    /// Asks a running walpost for its health; for container health checks.
    ///
    /// Prints the answer. Needs neither a shell nor curl in the image, and of the variables only
    /// WALPOST_HTTP_ADDR.
    Healthcheck {
        /// What to ask; `/readyz` of `WALPOST_HTTP_ADDR` when nothing is said.
        url: Option<String>,
    },
    /// The verdict of a running walpost.
    ///
    /// What its status page says first: whether it streams, how far it is behind, and what stands in
    /// the way. Of the variables it needs only those of WALPOST_HTTP.
    Status(status::Arguments),
    /// The version.
    Version,
}
