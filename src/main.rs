//! argv → configuration → log → runtime → supervisor → exit code; nothing else.

use std::process::ExitCode;

use clap::FromArgMatches;
use walpost::cli::{
    Cli, Command, Exit, adopt, check, checkpoint, config, dlq, groups, healthcheck, help, manual,
    output, peek, prune, replay, reshard, run, schema, setup, status,
};
use walpost::config::env::Environment;

/// Also that of librdkafka, which allocates each header of each record by itself. Measured against
/// the C library's with `make bench`: 4.3 instead of 5.3 s of CPU per million events in the same
/// memory. (mimalloc was as fast, and held 104 MB in a drain where this holds 41.) Its settings
/// are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = manual::command().after_long_help(help::variables());
    let cli = match command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(answer) => return ExitCode::from(output::answer(&answer).code()),
    };
    let environment = match Environment::with_file(cli.env_file.as_deref()) {
        Ok(environment) => environment,
        Err(error) => {
            output::error(&format!("configuration error: {error}"));
            return ExitCode::from(Exit::Configuration.code());
        }
    };
    let exit = match cli.command.unwrap_or(Command::Run) {
        Command::Run => Ok(run::run(environment)),
        Command::Check(arguments) => check::run(arguments, &environment),
        Command::Config(arguments) => config::run(arguments, &environment),
        Command::Peek(arguments) => peek::run(arguments, &environment),
        Command::Setup(arguments) => setup::run(arguments, &environment),
        Command::Prune(arguments) => prune::run(arguments, &environment),
        Command::Replay(arguments) => replay::run(arguments, &environment),
        Command::Dlq(command) => dlq::run(command, &environment),
        Command::Groups(command) => groups::run(command, &environment),
        Command::Checkpoint(command) => checkpoint::run(&command, &environment),
        Command::Reshard(arguments) => reshard::run(arguments, &environment),
        Command::Adopt(command) => adopt::run(command, &environment),
        Command::Schema(command) => schema::run(command, &environment),
        Command::Healthcheck { url } => healthcheck::run(url.as_deref(), &environment),
        Command::Status(arguments) => status::run(&arguments, &environment),
        Command::Version => {
            output::line(&format!("walpost {}", env!("CARGO_PKG_VERSION"))).map(|()| Exit::Done)
        }
    };
    match exit {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            output::error(&format!("walpost: standard output cannot be written to: {error}"));
            ExitCode::from(Exit::Failed.code())
        }
    }
}
