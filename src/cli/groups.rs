//! `walpost groups`: where consumer groups stand, and setting one somewhere else, for consumers
//! that rebuild what they keep.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::command::{self, Stopped, refused};
use super::printed::count;
use super::{Exit, moment, output};
use crate::config::Config;
use crate::config::env::Environment;
use crate::error::Failure;
use crate::kafka::client::auxiliary;
use crate::kafka::groups::{Group, Standings, State, Topics, patiently};
use crate::kafka::librdkafka::ClientError;

/// What to do with a group.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Members, and lag by topic and partition.
    ///
    /// Of any group of this Kafka, not only of those that read walpost's topics.
    Show(ShowArguments),
    /// Sets a group that is not at work to another place. A plan without --yes.
    ///
    /// Stop its consumers first: Kafka refuses it while the group has members. The plan says what is
    /// skipped or read again.
    Reset(ResetArguments),
}

/// Which group.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArguments {
    /// The consumer group.
    #[arg(value_name = "GROUP")]
    group: String,
    /// In this topic; may be given several times. Else all in which it has stored a place.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

/// Which group, and where to.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("to").required(true)
    .args(["to_time", "to_offset", "to_earliest", "to_latest"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct ResetArguments {
    /// The consumer group.
    #[arg(value_name = "GROUP")]
    group: String,
    /// In this topic, all its partitions; may be given several times.
    #[arg(long, value_name = "TOPIC", required = true)]
    topic: Vec<String>,
    /// To the first record that is not older than this moment: 2026-11-21T10:00:00Z, 2026-11-21,
    /// or how long ago: 2h, 7d.
    #[arg(long, help_heading = "Where to (one of them)", value_name = "MOMENT", value_parser = moment::parse)]
    to_time: Option<i64>,
    /// To this offset, or the nearest that is there.
    #[arg(long, help_heading = "Where to (one of them)", value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record that is there.
    #[arg(long, help_heading = "Where to (one of them)")]
    to_earliest: bool,
    /// Behind the last record.
    #[arg(long, help_heading = "Where to (one of them)")]
    to_latest: bool,
    /// Only say what would be set; so it is without --yes too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Set it.
    #[arg(long)]
    yes: bool,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(command: Command, environment: &Environment) -> io::Result<Exit> {
    match command {
        Command::Show(arguments) => command::run(environment, |config| show(config, arguments)),
        Command::Reset(arguments) => command::run(environment, |config| reset(config, arguments)),
    }
}

/// Asks on a thread that may block.
async fn ask<T: Send + 'static>(
    config: &Config,
    group: &str,
    question: impl Fn(&Group) -> Result<T, ClientError> + Send + 'static,
) -> Result<T, Failure> {
    let (client, name) = (auxiliary(&config.kafka, &config.name), group.to_owned());
    let asked = move || {
        let group = Group::new(&client, &name)?;
        patiently(|| question(&group))
    };
    let answer = tokio::task::spawn_blocking(asked).await;
    let answer = answer.map_err(|error| Failure::again("kafka_error", error.to_string()))?;
    answer.map_err(|error| Failure::Again {
        code: "kafka_error",
        message: format!("failed to ask for consumer group {group}: {error}"),
        hint: Some(format!(
            "it needs the rights Describe and Read on group {group} and on its topics; a group that is at work cannot be set"
        )),
    })
}

async fn show(config: Config, arguments: ShowArguments) -> Result<Exit, Stopped> {
    let ShowArguments { group, topic, json } = arguments;
    let (state, standings) = ask(&config, &group, move |group| {
        let state = group.state()?;
        let read = Topics::Read { asked: &|_| true, members: &state.members };
        let topics = if topic.is_empty() { read } else { Topics::Named(&topic) };
        let standings = group.standings(topics)?;
        Ok((state, standings))
    })
    .await?;
    output::line(&if json {
        format!("{:#}", as_json(&group, &state, &standings, None))
    } else {
        as_text(&group, &state, &standings, None)
    })?;
    Ok(Exit::Done)
}

type Places = BTreeMap<(String, i32), i64>;

async fn reset(config: Config, arguments: ResetArguments) -> Result<Exit, Stopped> {
    let ResetArguments { group, topic: topics, yes, json, .. } = arguments.clone();
    let (state, standings, places) = ask(&config, &group, move |group| {
        let standings = group.standings(Topics::Named(&topics))?;
        let places = match arguments.to_time {
            Some(micros) => group.at(&standings, micros.div_euclid(1_000))?,
            None => standings
                .iter()
                .map(|(place, standing)| {
                    let to = match (arguments.to_offset, arguments.to_earliest) {
                        (Some(offset), _) => offset.clamp(standing.low, standing.high),
                        (None, true) => standing.low,
                        (None, false) => standing.high,
                    };
                    (place.clone(), to)
                })
                .collect(),
        };
        Ok((group.state()?, standings, places))
    })
    .await?;
    let missing =
        arguments.topic.iter().find(|topic| !standings.keys().any(|(name, _)| name == *topic));
    if let Some(topic) = missing {
        return Err(refused(format!("topic {topic} does not exist"), "name a topic that is there"));
    }
    if !json {
        output::line(&as_text(&group, &state, &standings, Some(&places)))?;
    }
    if yes && !state.members.is_empty() {
        let members = u64::try_from(state.members.len()).unwrap_or(u64::MAX);
        return Err(refused(
            format!("group {group} is at work: it has {}", count(members, "member", "members")),
            "stop its consumers first: they would store their own places over these",
        ));
    }
    if yes {
        let set = places.clone();
        ask(&config, &group, move |group| group.set(&set)).await?;
    }
    if json {
        let mut value = as_json(&group, &state, &standings, Some(&places));
        if let Some(object) = value.as_object_mut() {
            object.insert("set".to_owned(), json!(yes));
        }
        output::line(&format!("{value:#}"))?;
    } else {
        output::line(if yes { "done        set" } else { "nothing was changed; --yes sets it" })?;
    }
    Ok(Exit::Done)
}

fn as_text(group: &str, state: &State, standings: &Standings, to: Option<&Places>) -> String {
    let members = u64::try_from(state.members.len()).unwrap_or(u64::MAX);
    let mut lines = vec![format!(
        "group       {group}, {}, {}",
        state.word,
        count(members, "member", "members")
    )];
    let mut total = 0_i64;
    for (place, standing) in standings {
        let next = standing.next.map_or_else(|| "nowhere".to_owned(), |next| next.to_string());
        let lag = standing.lag().map_or_else(|| "-".to_owned(), |lag| lag.to_string());
        total = total.saturating_add(standing.lag().unwrap_or(0));
        let to = to.and_then(|to| to.get(place)).map(|to| {
            match standing.next.map(|next| to.saturating_sub(next)) {
                Some(ahead) if ahead > 0 => format!("; to {to}: skips {ahead}"),
                Some(ahead) if ahead < 0 => {
                    format!("; to {to}: reads {} again", ahead.unsigned_abs())
                }
                Some(_) => format!("; to {to}, where it is"),
                None => format!("; to {to}"),
            }
        });
        let (topic, partition) = place;
        lines.push(format!(
            "partition   {topic} {partition}: at {next} of {}, lag {lag}{}",
            standing.high,
            to.unwrap_or_default()
        ));
    }
    if standings.is_empty() {
        lines.push("it has stored no place in any topic".to_owned());
    }
    lines.push(format!("lag         {total} in all"));
    lines.join("\n")
}

fn as_json(group: &str, state: &State, standings: &Standings, to: Option<&Places>) -> Value {
    let partitions = standings.iter().map(|(place, standing)| {
        json!({
            "topic": place.0,
            "partition": place.1,
            "next": standing.next,
            "low": standing.low,
            "high": standing.high,
            "lag": standing.lag(),
            "to": to.and_then(|to| to.get(place)),
        })
    });
    json!({
        "group": group,
        "state": state.word,
        "members": state.members.len(),
        "lag": standings.values().filter_map(crate::kafka::groups::Standing::lag).sum::<i64>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}
