//! `walpost schema`: schemas in files against the registry's rule, for a user's continuous
//! integration, and registering them.
//!
//! Needs only the variables of the registry: no database, no Kafka.

use std::future::Future;
use std::io;
use std::path::PathBuf;

use super::command::{self, Stopped, refused};
use super::{Exit, output};
use crate::config;
use crate::config::env::Environment;
use crate::error::Failure;
use crate::registry::client::Client;

mod files;
mod verdict;

use verdict::{Outcome, Verdict};

/// What to do with the schemas of a folder.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Tests each file SUBJECT.json, SUBJECT.avsc or SUBJECT.proto against the registry's compatibility rule; changes nothing.
    /// Exit code 1 when the registry, or walpost, would refuse one.
    Check(CheckArguments),
    /// As check, and then registers what is new, unless one was refused. A plan without --yes.
    Register(RegisterArguments),
}

/// Which.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArguments {
    /// The folder. A file is named by its subject: `orders-value.json` (JSON Schema), `orders-value.avsc`
    /// (Avro), `orders-value.proto` (Protobuf).
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Which, and whether to do it.
#[derive(Clone, Debug, clap::Args)]
pub struct RegisterArguments {
    /// The folder. A file is named by its subject: `orders-value.json` (JSON Schema), `orders-value.avsc`
    /// (Avro), `orders-value.proto` (Protobuf).
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only say what would be registered; so it is without --yes too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Register.
    #[arg(long)]
    yes: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What is done in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Check,
    Plan,
    Register,
}

/// Does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(command: Command, environment: &Environment) -> io::Result<Exit> {
    let (folder, act, json) = match command {
        Command::Check(CheckArguments { folder, json }) => (folder, Act::Check, json),
        Command::Register(RegisterArguments { folder, yes, json, .. }) => {
            (folder, if yes { Act::Register } else { Act::Plan }, json)
        }
    };
    let options = match config::registry(environment) {
        Ok(options) => options,
        Err(invalid) => {
            output::error(&invalid.to_string());
            return Ok(Exit::Configuration);
        }
    };
    let work = async {
        let files = files::read(&folder).map_err(|what| {
            refused(what, "name the files SUBJECT.json, SUBJECT.avsc or SUBJECT.proto")
        })?;
        let client = Client::new(&options).map_err(|error| Failure::registry(&error))?;
        let mut verdicts = verdict::of_all(&client, options.url.as_str(), &files).await?;
        let refused = verdicts.iter().any(Verdict::is_refusal);
        if act == Act::Register && !refused {
            verdicts = verdict::register(&client, options.url.as_str(), &files).await?;
        }
        say(&verdicts, act, json)?;
        Ok(if verdicts.iter().any(Verdict::is_refusal) { Exit::Failed } else { Exit::Done })
    };
    block_on(work)
}

fn block_on(work: impl Future<Output = Result<Exit, Stopped>>) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    command::report(runtime.block_on(Box::pin(work)))
}

fn say(verdicts: &[Verdict], act: Act, json: bool) -> io::Result<()> {
    if json {
        let refused = verdicts.iter().any(Verdict::is_refusal);
        let value = serde_json::json!({ "ok": !refused, "schemas": verdicts });
        return output::line(&format!("{value:#}"));
    }
    let width = verdicts.iter().map(|verdict| verdict.subject.len()).max().unwrap_or(0);
    for verdict in verdicts {
        output::line(&verdict.text(width))?;
    }
    output::line(&last_line(verdicts, act))
}

fn last_line(verdicts: &[Verdict], act: Act) -> String {
    let refusals = verdicts.iter().filter(|verdict| verdict.is_refusal()).count();
    let new = verdicts.iter().filter(|verdict| verdict.outcome.is_to_be_registered()).count();
    let registered =
        verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Registered).count();
    match (refusals, act) {
        (0, Act::Check) if new == 0 => "the registry has them all".to_owned(),
        (0, Act::Check) => format!("{new} to be registered; nothing was changed"),
        (0, Act::Plan) => format!("{new} to be registered; nothing was changed; --yes registers"),
        (0, Act::Register) => format!("done: {registered} registered"),
        (_, Act::Check | Act::Plan) => format!("{refusals} refused; nothing was changed"),
        (_, Act::Register) if registered > 0 => {
            format!("{refusals} refused, {registered} registered before it")
        }
        (_, Act::Register) => format!("{refusals} refused; nothing was registered"),
    }
}
