//! `walpost dlq`: the dead letters, what to do about them, and the end of those that are done.
//!
//! Values of rows are printed here: that is what `list` and `show` are for.

use std::io;

use super::Exit;
use super::command;
use crate::config::env::Environment;

mod letters;
mod list;
mod purge;
mod redrive;
mod show;

/// What to do with the letters.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Which letters there are, and how many of each reason.
    ///
    /// Prints values of rows.
    List(list::Arguments),
    /// One letter with its headers; its payload only with --payload.
    Show(show::Arguments),
    /// Sends letters to their own topic again, and marks them as resolved. A plan without --yes.
    ///
    /// Say which: --all, letters as `list` names them, or what they have in common. All that is said
    /// must hold; of several values of one kind, one must.
    Redrive(redrive::Arguments),
    /// Removes resolved letters, up to the first that is not resolved. A plan without --yes.
    ///
    /// Kafka removes records from a topic's beginning only, so one unresolved letter keeps all that
    /// are younger.
    Purge(purge::Arguments),
}

/// Does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(command: Command, environment: &Environment) -> io::Result<Exit> {
    match command {
        Command::List(arguments) => {
            command::run(environment, |config| list::run(config, arguments))
        }
        Command::Show(arguments) => {
            command::run(environment, |config| show::run(config, arguments))
        }
        Command::Redrive(arguments) => {
            command::run(environment, |config| redrive::run(config, arguments))
        }
        Command::Purge(arguments) => {
            command::run(environment, |config| purge::run(config, arguments))
        }
    }
}
