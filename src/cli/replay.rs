//! `walpost replay`: publishes rows of the outbox table again, through the encoder of the relay.
//!
//! It reads the table by SQL, all of it as of one moment, and touches neither slot nor checkpoint:
//! a relay may run beside it. Everything is counted first; nothing is sent without `--yes`.
//!
//! Each event carries the run's name in the header `walpost-replay`. A run that was interrupted is
//! resumed by that name: what the topics have of it is read, and passed over. So it is never more
//! than was asked for. The bound of that: two readings of the topics, a second apart, must agree
//! before anything is sent, so only a record that a dead process's kernel delivers later than that
//! can be there twice; and where compaction or retention has removed records of the run meanwhile,
//! those are sent again.

use std::io;

use super::command::{self, Stopped, refused};
use super::printed::shell;
use super::{Exit, moment, output};
use crate::cloudevent::Event;
use crate::config::Config;
use crate::config::env::Environment;
use crate::error::Failure;
use crate::outbox::selection::Selection;
use crate::postgres::timestamp::PgTimestamp;
use crate::route;

mod act;
mod plan;
mod run_id;
mod sent;
mod source;

use plan::Plan;
use run_id::RunId;
use sent::{Identity, Sent};
use source::Source;

/// Which rows, and where to.
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "walpost replay <WHICH ROWS> <--to-topic <TOPIC>|--same-topic> [OPTIONS]",
    group(clap::ArgGroup::new("rows").required(true).multiple(true)
        .args(["all", "since", "until", "id", "aggregate", "aggregate_type", "type"])),
    group(clap::ArgGroup::new("to").required(true).args(["to_topic", "same_topic"])),
)]
pub struct Arguments {
    /// Every row of the outbox tables.
    #[arg(long, help_heading = "Which rows (one or more of them)", conflicts_with_all = ["since", "until", "id", "aggregate", "aggregate_type", "type"])]
    all: bool,
    /// Rows from this moment on, by the time column: 2026-11-21T10:00:00Z, 2026-11-21, or how
    /// long ago: 2h, 7d.
    #[arg(long, help_heading = "Which rows (one or more of them)", value_name = "MOMENT", value_parser = moment::parse)]
    since: Option<i64>,
    /// Rows up to this moment, itself included.
    #[arg(long, help_heading = "Which rows (one or more of them)", value_name = "MOMENT", value_parser = moment::parse)]
    until: Option<i64>,
    /// Rows with this id; may be given several times.
    #[arg(long, help_heading = "Which rows (one or more of them)", value_name = "ID")]
    id: Vec<String>,
    /// Rows of this aggregate id; may be given several times.
    #[arg(long, help_heading = "Which rows (one or more of them)", value_name = "ID")]
    aggregate: Vec<String>,
    /// Rows of this aggregate type; may be given several times.
    #[arg(long, help_heading = "Which rows (one or more of them)", value_name = "TYPE")]
    aggregate_type: Vec<String>,
    /// Rows of this type, as the type column has it; may be given several times.
    #[arg(long, help_heading = "Which rows (one or more of them)", value_name = "TYPE")]
    r#type: Vec<String>,
    /// Send all of them to this topic.
    #[arg(long, help_heading = "Where to (one of them)", value_name = "TOPIC")]
    to_topic: Option<String>,
    /// Send each to the topic where it went the first time: its consumers see it again.
    #[arg(long, help_heading = "Where to (one of them)")]
    same_topic: bool,
    /// Events a second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Only say what would be sent; so it is without --yes too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Send them.
    #[arg(long)]
    yes: bool,
    /// Goes on with a run that was interrupted, by the name that it printed.
    #[arg(long, value_name = "RUN", value_parser = RunId::parse)]
    run: Option<RunId>,
    /// The plan, and what became of it, as JSON.
    #[arg(long)]
    json: bool,
}

/// What is asked for, worked out.
struct Asked {
    selection: Selection,
    to_topic: Option<String>,
    rate: Option<u32>,
    /// The run; none as long as nothing is to be sent.
    run: Option<RunId>,
    /// The time of events without one of their own: the beginning of the run.
    time: PgTimestamp,
}

/// Plans, and sends with `--yes`.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: Arguments, environment: &Environment) -> io::Result<Exit> {
    command::run(environment, |config| replay(config, arguments))
}

async fn replay(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    if config.tables.is_empty() {
        return Err(command::no_table(
            "to read",
            "messages are kept nowhere but in Kafka: what wrote them has to write them again, or copy the records from their topic; dead letters are sent again by `walpost dlq redrive`",
        ));
    }
    let resumes = arguments.run.is_some();
    let asked = asked(&config, &arguments)?;
    let source = Source::open(&config, &asked.selection).await?;
    if let (Some(run), true) = (&asked.run, arguments.yes)
        && !source.lock(run.lock()).await?
    {
        return Err(refused(
            format!("run {} is still being sent by another process", run.as_str()),
            "wait for its end, or end it; the server notices a process that is gone by its connection",
        ));
    }
    let mut plan = Plan::make(&config, &source, &asked, Sent::default()).await?;
    let mut sent = Sent::default();
    if let (Some(run), true) = (&asked.run, resumes) {
        let topics: Vec<_> = plan.topics.keys().cloned().collect();
        sent = sent::read(&config, run, &topics).await?;
        plan = Plan::make(&config, &source, &asked, sent.clone()).await?;
    }
    plan.look(&config).await?;
    if !arguments.json {
        output::line(&plan.text(&config, &asked))?;
    }
    if !arguments.yes {
        if arguments.json {
            output::line(&format!("{:#}", plan.json(&config, &asked, None)))?;
        } else {
            output::line("nothing was sent; --yes sends them")?;
        }
        return Ok(Exit::Done);
    }
    let resume = resume(&asked);
    output::error(&format!("if this is interrupted: {resume}"));
    let confirmed = act::send(&config, &source, &asked, (&plan, sent)).await;
    let confirmed = confirmed.map_err(|stopped| with_resume(stopped, &resume))?;
    if arguments.json {
        output::line(&format!("{:#}", plan.json(&config, &asked, Some(confirmed))))?;
    } else {
        let before = match plan.sent_before {
            0 => String::new(),
            before => format!(", and {before} before"),
        };
        output::line(&format!("done        {confirmed} sent and confirmed{before}"))?;
    }
    Ok(Exit::Done)
}

fn asked(config: &Config, arguments: &Arguments) -> Result<Asked, Stopped> {
    let selection = Selection {
        since: arguments.since,
        until: arguments.until,
        ids: arguments.id.clone(),
        aggregates: arguments.aggregate.clone(),
        aggregate_types: arguments.aggregate_type.clone(),
        types: arguments.r#type.clone(),
    };
    if let Some(topic) = &arguments.to_topic {
        route::check_topic_name(topic)
            .map_err(|why| refused(format!("--to-topic: {why}"), "name a topic of Kafka's"))?;
        if config.events.reserved_topics.contains(topic) {
            return Err(refused(
                format!("--to-topic: {topic} is a topic that walpost keeps for itself"),
                "name another one",
            ));
        }
    }
    let to_topic = arguments.to_topic.clone();
    let words = words(&selection, to_topic.as_deref());
    let tables: Vec<_> = config.tables.iter().map(ToString::to_string).collect();
    let bound = format!("{} {} {words}", config.name, tables.join(","));
    let run = match &arguments.run {
        Some(run) if run.is_for(&bound) => Some(run.clone()),
        Some(run) => {
            return Err(refused(
                format!("run {} was asked for other rows, or another topic", run.as_str()),
                "resume it by the command that it printed, under the same configuration",
            ));
        }
        None if arguments.yes => Some(RunId::new(jiff::Timestamp::now(), &bound)),
        None => None,
    };
    // A resumed run sends the same as the run that it resumes, and a dry run as many bytes.
    let began = run.as_ref().map_or_else(|| jiff::Timestamp::now().as_second(), |run| run.began);
    let time = PgTimestamp::from_unix_micros(began.saturating_mul(1_000_000));
    Ok(Asked { selection, to_topic, rate: arguments.rate, run, time })
}

/// The selection and the topic as arguments.
fn words(selection: &Selection, to_topic: Option<&str>) -> String {
    let mut words = Vec::new();
    for (name, micros) in [("--since", selection.since), ("--until", selection.until)] {
        words.extend(micros.map(|micros| format!("{name}={}", moment::print(micros))));
    }
    for (name, values) in [
        ("--id", &selection.ids),
        ("--aggregate", &selection.aggregates),
        ("--aggregate-type", &selection.aggregate_types),
        ("--type", &selection.types),
    ] {
        words.extend(values.iter().map(|value| format!("{name}={}", shell(value))));
    }
    if selection.is_everything() {
        words.push("--all".to_owned());
    }
    words.push(match to_topic {
        Some(topic) => format!("--to-topic={}", shell(topic)),
        None => "--same-topic".to_owned(),
    });
    words.join(" ")
}

/// The command that goes on with a run.
fn resume(asked: &Asked) -> String {
    let words = words(&asked.selection, asked.to_topic.as_deref());
    let rate = asked.rate.map_or_else(String::new, |rate| format!(" --rate {rate}"));
    let run = asked.run.as_ref().map_or("", RunId::as_str);
    format!("walpost replay {words}{rate} --run {run} --yes")
}

fn with_resume(stopped: Stopped, resume: &str) -> Stopped {
    let Stopped::Failure(failure) = stopped else { return stopped };
    let hint = failure.hint().map_or_else(String::new, |hint| format!("{hint}; then "));
    Stopped::Failure(Failure::Again {
        code: failure.code(),
        message: failure.message().to_owned(),
        hint: Some(format!("{hint}go on with: {resume}")),
    })
}

fn event_identity(event: &Event<'_>) -> Identity {
    let headers = event.headers;
    sent::identity(headers.get("ce_source"), headers.get("ce_id"), event.value)
}
