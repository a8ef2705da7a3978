//! `walpost check`: preflight against the real database and the real Kafka.

use super::{Exit, output};
use crate::check::{self, Report};
use crate::config::Config;
use crate::config::env::Environment;

/// How to look, and how to say it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// Findings and verdict as JSON.
    #[arg(long)]
    json: bool,
    /// Only the configuration: asks no server.
    #[arg(long)]
    offline: bool,
}

/// Looks, changes nothing, and prints what was found. Exit code 0 only without problems; a wrong
/// configuration has its own.
///
/// # Errors
/// Standard output cannot be written to, or the runtime does not start.
pub fn run(arguments: Arguments, environment: &Environment) -> std::io::Result<Exit> {
    let loaded = match Config::load(environment) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            say(&Report::new(check::invalid(&invalid), arguments.offline), arguments)?;
            return Ok(Exit::Configuration);
        }
    };
    let mut findings = check::loaded(&loaded.config, &loaded.warnings);
    let wrong = findings.iter().any(|finding| finding.level == check::Level::Problem);
    if !arguments.offline && !wrong {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        findings.extend(runtime.block_on(Box::pin(check::run(&loaded.config))));
        // A thread that asks a broker that does not answer must not hold up the end.
        runtime.shutdown_background();
    }
    let report = Report::new(findings, arguments.offline);
    say(&report, arguments)?;
    Ok(match (report.verdict.ready, wrong) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Configuration,
        (false, false) => Exit::Failed,
    })
}

fn say(report: &Report, arguments: Arguments) -> std::io::Result<()> {
    if arguments.json {
        return output::line(&serde_json::to_string_pretty(report)?);
    }
    output::line(&report.text())
}
