//! `walpost dlq show`: one letter, whole.

use rdkafka::message::Message as _;
use serde_json::{Map, Value, json};

use super::letters::Topic;
use super::list::summary;
use crate::cli::command::{Stopped, refused};
use crate::cli::printed::{bytes_member, printable, shown_bytes};
use crate::cli::{Exit, output};
use crate::config::Config;
use crate::kafka::dead_letter::{Letter, Place};

/// Which letter, and how to print it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// Which one, as `list` names it.
    #[arg(value_name = "PARTITION:OFFSET")]
    letter: Place,
    /// The payload too, which is the row's.
    #[arg(long)]
    payload: bool,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub(super) async fn run(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    let topic = Topic::new(&config);
    let done = topic.done().await?;
    let place = arguments.letter;
    let (found, _) = topic
        .letters(None, move |found, letter, record| {
            if letter.place == place {
                *found = Some((letter, record.payload().map(<[u8]>::to_vec)));
            }
        })
        .await?;
    let Some((letter, payload)) = found else {
        return Err(refused(
            format!("there is no letter at {place} of topic {}", config.dlq_topic),
            "`walpost dlq list` names those that there are; it may have been purged",
        ));
    };
    let resolved = done.resolved.contains(&place);
    let payload = arguments.payload.then_some(payload.as_deref());
    let printed = if arguments.json {
        format!("{:#}", json(&letter, (resolved, done.copy_of.get(&place).copied()), payload))
    } else {
        text(&letter, resolved, payload)
    };
    output::line(&printed)?;
    Ok(Exit::Done)
}

fn json(
    letter: &Letter,
    (resolved, copy_of): (bool, Option<Place>),
    payload: Option<Option<&[u8]>>,
) -> Value {
    let headers = letter.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), json!(name));
        bytes_member(&mut header, "value", Some(value));
        Value::Object(header)
    });
    let mut shown = summary(letter, resolved, copy_of);
    if let Some(object) = shown.as_object_mut() {
        object.insert("headers".to_owned(), headers.collect());
        if let Some(payload) = payload {
            bytes_member(object, "value", payload);
        }
    }
    shown
}

fn text(letter: &Letter, resolved: bool, payload: Option<Option<&[u8]>>) -> String {
    let state = if resolved { "resolved" } else { "unresolved" };
    let mut lines = vec![
        format!("letter      {}, {}, {state}", letter.place, letter.class().word()),
        format!("key         {}", shown_bytes(letter.key.as_deref())),
    ];
    let header = |(name, value): &(String, Vec<u8>)| {
        format!("  {}: {}", printable(name), shown_bytes(Some(value)))
    };
    lines.extend(letter.headers.iter().map(header));
    lines.push(match (letter.value_bytes, letter.payload_left_out()) {
        (Some(bytes), _) => format!("payload     {bytes} bytes; --payload shows it"),
        (None, Some(bytes)) => {
            format!("payload     {} bytes, left out for its size", printable(bytes))
        }
        (None, None) => "payload     null".to_owned(),
    });
    if let Some(Some(payload)) = payload {
        lines.pop();
        lines.push(format!("payload     {}", shown_bytes(Some(payload))));
    }
    lines.join("\n")
}
