//! `walpost dlq redrive`: letters to their own topic again, with id, key, order and correlation.
//!
//! At most [`act::WINDOW`] letters are under way: they are sent, Kafka confirms them, their markers
//! are written, and then come the next. A redrive that is killed between the two repeats the
//! letters of that window when it is run again, and none of the others.

use serde_json::json;

use super::letters::{Filter, Topic};
use crate::cli::command::{Stopped, refused};
use crate::cli::printed::count;
use crate::cli::{Exit, output};
use crate::config::Config;
use crate::kafka::dead_letter::Place;

mod act;
mod verdict;

use act::Outcome;
use verdict::{Plan, Rules};

/// Which letters, and under which conditions.
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "walpost dlq redrive <--all|PARTITION:OFFSET...|WHICH LETTERS> [OPTIONS]",
    group(clap::ArgGroup::new("letters").required(true).multiple(true)
    .args(["all", "place", "reason", "key", "topic", "id", "since", "until"]))
)]
pub struct Arguments {
    /// These letters, as `list` names them.
    #[arg(value_name = "PARTITION:OFFSET")]
    place: Vec<Place>,
    /// All of them.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Malformed letters too, as they are: consumers get what is no valid event.
    #[arg(long)]
    malformed: bool,
    /// Letters that were redriven, or tried in vain, so often are left.
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_attempts: u32,
    /// Mark them as resolved without sending anything.
    #[arg(long, conflicts_with = "malformed")]
    resolve_only: bool,
    /// Only say what would be sent; so it is without --yes too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Send and mark them.
    #[arg(long)]
    yes: bool,
    /// The plan, and what became of it, as JSON.
    #[arg(long)]
    json: bool,
}

/// Plans, and sends with `--yes`.
pub(super) async fn run(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    let (yes, as_json) = (arguments.yes, arguments.json);
    if arguments.all && (arguments.filter.is_anything() || !arguments.place.is_empty()) {
        return Err(refused(
            "--all and a choice of letters exclude each other",
            "give one of them",
        ));
    }
    let rules = Rules {
        connector: config.name.clone(),
        reserved: config.events.reserved_topics.clone(),
        filter: arguments.filter.checked()?,
        places: arguments.place.into_iter().collect(),
        malformed: arguments.malformed,
        max_attempts: arguments.max_attempts,
        resolve_only: arguments.resolve_only,
        schemas: config.events.schemas.as_ref().map(|schemas| schemas.mode),
    };
    let topic = Topic::new(&config);
    let done = std::sync::Arc::new(topic.done().await?);
    let planned = {
        let (rules, done) = (rules.clone(), std::sync::Arc::clone(&done));
        topic.letters(Plan::default(), move |plan, letter, _| plan.add(&rules, &done, &letter))
    };
    let (mut plan, ends) = planned.await?;
    plan.miss(&rules);
    if !as_json {
        output::line(&plan.text(&rules))?;
    }
    let outcome = match yes {
        false => None,
        true if plan.chosen() == 0 => Some(Outcome::default()),
        true => Some(act::act(&config, &topic, (rules.clone(), done, ends), plan.chosen()).await?),
    };
    if as_json {
        let outcome = outcome.as_ref().map(|outcome| {
            json!({
                "sent": outcome.sent,
                "marked": outcome.marked,
                "refused": outcome.refused.iter().map(|(place, why)| {
                    json!({"letter": place.to_string(), "why": why})
                }).collect::<Vec<_>>(),
            })
        });
        output::line(&format!("{:#}", plan.json(&config, &rules, outcome.as_ref())))?;
    } else {
        output::line(&outcome.as_ref().map_or_else(
            || "nothing was changed; --yes does it".to_owned(),
            |outcome| told(&rules, outcome),
        ))?;
    }
    Ok(match outcome {
        Some(outcome) if !outcome.refused.is_empty() => Exit::Failed,
        Some(_) | None => Exit::Done,
    })
}

fn told(rules: &Rules, outcome: &Outcome) -> String {
    let mut lines: Vec<_> =
        outcome.refused.iter().map(|(place, why)| format!("refused     {place}: {why}")).collect();
    let marked = count(outcome.marked, "letter", "letters");
    lines.push(if rules.resolve_only {
        format!("done        {marked} marked as resolved, none sent")
    } else {
        format!("done        {} sent, {marked} marked as resolved", outcome.sent)
    });
    lines.join("\n")
}
