//! `walpost dlq list`: which letters there are, and how many of each reason.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::letters::{Filter, Topic};
use crate::cli::command::Stopped;
use crate::cli::printed::{bytes_member, count, cut, printable, shown_bytes};
use crate::cli::{Exit, output};
use crate::config::Config;
use crate::kafka::dead_letter::{Letter, Place};

/// Which letters, and how to print them.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Resolved letters too.
    #[arg(long)]
    resolved: bool,
    /// How many letters are shown at most, the oldest first; all are counted.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    unresolved: u64,
    resolved: u64,
}

#[derive(Default)]
struct Listed {
    counts: BTreeMap<(&'static str, String), Count>,
    shown: Vec<(Letter, bool, Option<Place>)>,
    more: u64,
}

/// Lists them.
pub(super) async fn run(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    let filter = arguments.filter.checked()?;
    let topic = Topic::new(&config);
    let done = topic.done().await?;
    let (connector, with_resolved, limit) =
        (config.name.clone(), arguments.resolved, arguments.limit);
    let (listed, _) = topic
        .letters(Listed::default(), move |listed, letter, _| {
            if !filter.takes(&connector, &letter) {
                return;
            }
            let resolved = done.resolved.contains(&letter.place);
            let reason = letter.reason().unwrap_or("not of walpost").to_owned();
            let count = listed.counts.entry((letter.class().word(), reason)).or_default();
            if resolved {
                count.resolved += 1;
            } else {
                count.unresolved += 1;
            }
            if resolved && !with_resolved {
                return;
            }
            if listed.shown.len() < limit {
                let copy_of = done.copy_of.get(&letter.place).copied();
                listed.shown.push((letter, resolved, copy_of));
            } else {
                listed.more += 1;
            }
        })
        .await?;
    let printed = if arguments.json {
        format!("{:#}", json(&config, &listed))
    } else {
        text(&config, &listed)
    };
    output::line(&printed)?;
    Ok(Exit::Done)
}

fn json(config: &Config, listed: &Listed) -> Value {
    let counts = listed.counts.iter().map(|((class, reason), count)| {
        json!({
            "class": class,
            "reason": reason,
            "unresolved": count.unresolved,
            "resolved": count.resolved,
        })
    });
    let letters = listed.shown.iter();
    let letters = letters.map(|(letter, resolved, copy_of)| summary(letter, *resolved, *copy_of));
    json!({
        "topic": config.dlq_topic,
        "connector": config.name,
        "counts": counts.collect::<Vec<_>>(),
        "letters": letters.collect::<Vec<_>>(),
        "not_shown": listed.more,
    })
}

/// A letter in one object, without its payload.
pub(super) fn summary(letter: &Letter, resolved: bool, copy_of: Option<Place>) -> Value {
    let mut object = Map::new();
    let mut text = |name: &str, value: Option<&str>| object.insert(name.to_owned(), json!(value));
    text("letter", Some(&letter.place.to_string()));
    text("time", letter.text("walpost-error-time"));
    text("class", Some(letter.class().word()));
    text("reason", letter.reason());
    text("attribute", letter.text("walpost-error-attribute"));
    text("message", letter.text("walpost-error-message"));
    text("topic", letter.topic());
    text("table", letter.text("walpost-table"));
    text("row_id", letter.text("walpost-row-id"));
    text("position", letter.text("walpost-position"));
    text("connector", letter.connector());
    bytes_member(&mut object, "key", letter.key.as_deref());
    object.insert("value_bytes".to_owned(), json!(letter.value_bytes));
    object.insert("attempts".to_owned(), json!(letter.attempts()));
    object.insert("copy_of".to_owned(), json!(copy_of.map(|place| place.to_string())));
    object.insert("resolved".to_owned(), json!(resolved));
    Value::Object(object)
}

fn text(config: &Config, listed: &Listed) -> String {
    let mut lines = Vec::new();
    for (letter, resolved, copy_of) in &listed.shown {
        let copy = copy_of.map_or_else(String::new, |first| format!("  again {first}"));
        let or_dash = |text: Option<&str>| printable(&cut(text.unwrap_or("-"), 60));
        lines.push(format!(
            "{}  {}  {} ({})  topic {}  key {}  row {}{copy}{}",
            letter.place,
            or_dash(letter.text("walpost-error-time")),
            or_dash(letter.reason()),
            letter.class().word(),
            or_dash(letter.topic()),
            cut(&shown_bytes(letter.key.as_deref()), 60),
            or_dash(letter.text("walpost-row-id")),
            if *resolved { "  resolved" } else { "" },
        ));
    }
    if listed.more > 0 {
        lines.push(format!("… and {} more; -n shows more of them", listed.more));
    }
    for ((class, reason), count) in &listed.counts {
        lines.push(format!(
            "{class}, {}: {} unresolved, {} resolved",
            printable(reason),
            count.unresolved,
            count.resolved
        ));
    }
    let unresolved: u64 = listed.counts.values().map(|count| count.unresolved).sum();
    lines.push(format!(
        "{} in topic {}",
        count(unresolved, "unresolved letter", "unresolved letters"),
        config.dlq_topic
    ));
    lines.join("\n")
}
