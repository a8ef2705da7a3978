//! `walpost checkpoint`: the stored position.

use std::io;

use super::command::{self, Stopped};
use super::{Exit, output};
use crate::config::Config;
use crate::config::env::Environment;
use crate::lsn::Lsn;
use crate::supervisor::decision::{self, Plan, Survey, To};

mod accept;
mod rows;
mod set;
mod show;

/// What to do with it.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// What is stored, and where the slot stands.
    ///
    /// Changes nothing, and may run beside a running walpost.
    Show {
        /// Prints it as JSON.
        #[arg(long)]
        json: bool,
        /// Of which shard, from 0, where there are several.
        #[arg(long, value_name = "K")]
        shard: Option<u32>,
    },
    /// Ends a halt that needs a decision. A plan without --yes.
    ///
    /// Prints the range of the log and of commit times in which rows may be missing in Kafka, the
    /// replay that sends them again, and what would be written. A relay that is halted goes on by
    /// itself within 30 s.
    Accept {
        /// Writes it.
        #[arg(long)]
        yes: bool,
        /// Of which shard, from 0, where there are several.
        #[arg(long, value_name = "K")]
        shard: Option<u32>,
    },
    /// Moves the stored position. A plan without --yes.
    ///
    /// Prints what would be skipped or sent again. Never before the slot, and never past the end of
    /// the log.
    Set(SetArguments),
}

/// A place, and whether it is meant.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("place").required(true).args(["commit_lsn", "resume_lsn"])))]
pub struct SetArguments {
    /// Everything up to the transaction whose commit record is here, itself included, counts as
    /// sent; the log of walpost names transactions so.
    #[arg(long, value_name = "LSN")]
    commit_lsn: Option<Lsn>,
    /// Everything that was complete at this place counts as sent.
    #[arg(long, value_name = "LSN")]
    resume_lsn: Option<Lsn>,
    /// Write it.
    #[arg(long)]
    yes: bool,
    /// Of which shard, from 0, where there are several.
    #[arg(long, value_name = "K")]
    shard: Option<u32>,
}

/// Does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(command: &Command, environment: &Environment) -> io::Result<Exit> {
    match *command {
        Command::Show { json, shard } => command::run(environment, async |config| {
            show::run(command::stream(config, shard)?, json).await
        }),
        Command::Accept { yes, shard } => command::run(environment, async |config| {
            Box::pin(accept::run(command::stream(config, shard)?, yes)).await
        }),
        Command::Set(SetArguments { commit_lsn, resume_lsn, yes, shard }) => {
            let to = match (commit_lsn, resume_lsn) {
                (Some(lsn), _) => To::Commit(lsn),
                // The parser has asked for one of them.
                (None, lsn) => To::Resume(lsn.unwrap_or(Lsn::INVALID)),
            };
            command::run(environment, async |config| {
                Box::pin(set::run(command::stream(config, shard)?, to, yes)).await
            })
        }
    }
}

/// Writes the record of a plan, if that is meant.
async fn finish(config: &Config, survey: Survey, plan: &Plan, yes: bool) -> Result<Exit, Stopped> {
    if !yes {
        output::line("nothing was changed; --yes does it")?;
        return Ok(Exit::Done);
    }
    let written = decision::carry_out(config, survey, plan).await?;
    output::line(&format!(
        "done        generation {} is stored: the stream goes on at {}",
        written.generation, written.resume_lsn
    ))?;
    Ok(Exit::Done)
}
