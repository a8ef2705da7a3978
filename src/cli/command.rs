//! What the commands that work on real servers have in common: the configuration, a runtime, and
//! how a failure is said.

use std::future::Future;
use std::io;

use super::{Exit, output};
use crate::cloudevent::Encoder;
use crate::config::env::Environment;
use crate::config::{Config, Needs};
use crate::error::Failure;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Something failed or is refused.
    Failure(Failure),
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A command that is refused, with what to do instead.
pub(super) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Stopped {
    Stopped::Failure(Failure::Again {
        code: "refused",
        message: message.into(),
        hint: Some(hint.into()),
    })
}

/// The configuration of the stream that is meant: the only one, or that of the number.
pub(super) fn stream(config: Config, shard: Option<u32>) -> Result<Config, Stopped> {
    match (config.shards, shard) {
        (0 | 1, None | Some(0)) => Ok(config),
        (0 | 1, Some(_)) => Err(refused("there are no shards", "leave --shard out")),
        (shards, shard) => shard.and_then(|shard| config.stream(shard)).ok_or_else(|| {
            refused(
                format!("WALPOST_SHARDS is {shards}: each shard has a slot and a place of its own"),
                format!("say which one is meant: --shard 0 to --shard {}", shards - 1),
            )
        }),
    }
}

/// A command that needs a table, where messages are all there is.
pub(super) fn no_table(what_for: &str, hint: &str) -> Stopped {
    refused(
        format!("there is no table {what_for}: WALPOST_MESSAGES is set, and WALPOST_TABLE is not"),
        hint,
    )
}

/// The relay's encoder, with the relay's schemas.
pub(super) fn encoder(config: &Config) -> Result<Encoder, Stopped> {
    let encoder = Encoder::new(&config.events).map_err(|error| {
        refused(error.to_string(), "correct the variable that the message names")
    })?;
    Ok(encoder.with_schemas(&config.events, config.schemas()))
}

/// Runs `work` with the configuration, to its end.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn run<W>(environment: &Environment, work: impl FnOnce(Config) -> W) -> io::Result<Exit>
where
    W: Future<Output = Result<Exit, Stopped>>,
{
    run_with(environment, Needs::Both, work)
}

/// As [`run`], for a command that does not speak to Kafka.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn run_on_database<W>(
    environment: &Environment,
    work: impl FnOnce(Config) -> W,
) -> io::Result<Exit>
where
    W: Future<Output = Result<Exit, Stopped>>,
{
    run_with(environment, Needs::Database, work)
}

fn run_with<W>(
    environment: &Environment,
    needs: Needs,
    work: impl FnOnce(Config) -> W,
) -> io::Result<Exit>
where
    W: Future<Output = Result<Exit, Stopped>>,
{
    let config = match Config::load_for(environment, needs) {
        Ok(loaded) => loaded.config,
        Err(invalid) => {
            output::error(&invalid.to_string());
            return Ok(Exit::Configuration);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(Box::pin(work(config)));
    // A thread that asks a broker that does not answer must not hold up the end.
    runtime.shutdown_background();
    report(ended)
}

/// How a command ended, as its exit code; a failure is said with its next step.
///
/// # Errors
///
/// When the command could not print.
pub(super) fn report(ended: Result<Exit, Stopped>) -> io::Result<Exit> {
    match ended {
        Ok(exit) => Ok(exit),
        Err(Stopped::Output(error)) => Err(error),
        Err(Stopped::Failure(failure)) => {
            output::error(&format!("walpost: {}", failure.message()));
            if let Some(hint) = failure.hint() {
                output::error(&format!("  {hint}"));
            }
            Ok(Exit::Failed)
        }
    }
}
