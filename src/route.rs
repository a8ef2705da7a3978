//! Where an event goes: the topic, and the key that decides its partition.

use std::io::Write as _;

use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::bytea;
use crate::outbox::column::ColumnType;
use crate::outbox::mapping::{Mapping, Piece};
use crate::outbox::role::Role;
use crate::outbox::row::OutboxRow;
use crate::outbox::template::{Part, Template};

/// Longest topic name (`Topic.MAX_NAME_LENGTH` of Apache Kafka).
const MAX_TOPIC: usize = 249;

/// How the checkpoint topics of all connectors begin, unless one is configured otherwise. Any of
/// them is kept from rows: a record there would be another connector's position.
const CHECKPOINT_TOPICS: &str = "walpost.checkpoint.";

/// Longest key, in bytes. Kafka has no limit of its own; a key is an identifier, and a dead letter
/// has to carry it.
const MAX_KEY: usize = 64 * 1024;

/// Whether a template can make topic names at all: its literal text has only characters that
/// Kafka allows, and does not lead to the topics that are Kafka's own.
///
/// # Errors
///
/// When no row could get a legal name from it.
pub fn check_topic_template(template: &Template) -> Result<(), String> {
    let mut whole = Some(String::new());
    for part in &template.parts {
        match part {
            Part::Literal(text) => {
                if let Some(character) = text.chars().find(|c| !is_topic_character(*c)) {
                    return Err(format!(
                        "topic template has {character:?}; Kafka allows letters, digits and ._-"
                    ));
                }
                if let Some(whole) = &mut whole {
                    whole.push_str(text);
                }
            }
            Part::Role(_) | Part::Column(_) => whole = None,
        }
    }
    if let Some(Part::Literal(first)) = template.parts.first()
        && first.starts_with("__")
    {
        return Err("topic template begins with __, as Kafka's own topics do".to_owned());
    }
    if let Some(Part::Literal(first)) = template.parts.first()
        && first.starts_with(CHECKPOINT_TOPICS)
    {
        return Err(format!("topic template begins with {CHECKPOINT_TOPICS}, as walpost's own do"));
    }
    whole.map_or(Ok(()), |name| check_topic(&name).map_err(|(_, what)| format!("topic {what}")))
}

/// Whether a template may have made this topic of some row.
#[must_use]
pub fn may_become(template: &Template, topic: &str) -> bool {
    !topic.starts_with(CHECKPOINT_TOPICS) && check_topic(topic).is_ok() && {
        let mut rest = topic;
        let mut any = false;
        for (place, part) in template.parts.iter().enumerate() {
            let Part::Literal(text) = part else {
                // Every column in it has a text, of any length. One after the other is one.
                rest = match rest.char_indices().nth(1) {
                    Some((at, _)) => rest.split_at(at).1,
                    None if rest.is_empty() => return false,
                    None => "",
                };
                any = true;
                continue;
            };
            let is_last = place + 1 == template.parts.len();
            let found = match (any, is_last) {
                (false, _) => rest.strip_prefix(text.as_str()),
                // The last literal stands at the end, wherever else it stands too.
                (true, true) => rest.ends_with(text.as_str()).then_some(""),
                // The first place where it stands leaves most to what follows.
                (true, false) => rest.split_once(text.as_str()).map(|(_, rest)| rest),
            };
            let Some(found) = found else { return false };
            (rest, any) = (found, false);
        }
        any || rest.is_empty()
    }
}

/// Whether a text is a topic name that Kafka takes, for topics that walpost is configured with.
///
/// # Errors
///
/// When it is not.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    check_topic(name).map_err(|(_, what)| format!("topic {what}"))
}

/// Whether a text is a topic.
fn check_topic(name: &str) -> Result<(), (Reason, &'static str)> {
    if name.is_empty() {
        return Err((Reason::Empty, "is empty"));
    }
    if !name.chars().all(is_topic_character) {
        return Err((
            Reason::IllegalName,
            "has a character that Kafka does not allow: only letters, digits and ._-",
        ));
    }
    if name.len() > MAX_TOPIC {
        return Err((Reason::TooLong, "is longer than the 249 characters that Kafka allows"));
    }
    if matches!(name, "." | "..") {
        return Err((Reason::IllegalName, "is . or .., which Kafka refuses"));
    }
    if name.starts_with("__") {
        return Err((Reason::IllegalName, "begins with __, as Kafka's own topics do"));
    }
    Ok(())
}

/// Whether a text is a topic that an event may go to.
fn check_event_topic(name: &str, reserved: &[String]) -> Result<(), (Reason, &'static str)> {
    check_topic(name)?;
    if name.starts_with(CHECKPOINT_TOPICS) || reserved.iter().any(|own| own == name) {
        return Err((Reason::IllegalName, "is a topic that walpost keeps for itself"));
    }
    Ok(())
}

const fn is_topic_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// Writes the topic of a row into `out`: its own, else the template's.
pub(crate) fn topic(
    mapping: &Mapping,
    row: &OutboxRow<'_>,
    reserved: &[String],
    out: &mut String,
) -> Result<(), BadRow> {
    out.clear();
    let own = mapping.role(Role::Topic).and_then(|field| row.text(field));
    match (own.filter(|own| !own.is_empty()), mapping.topic()) {
        (Some(own), _) => push_text("topic", own, MAX_TOPIC, out)?,
        (None, Some(pieces)) => fill("topic", pieces, row, MAX_TOPIC, out)?,
        (None, None) => {
            let what = "is missing: the row names none, and WALPOST_TOPIC needs columns that the \
                        table has not";
            return Err(BadRow::new("topic", Reason::Missing, what));
        }
    }
    check_event_topic(out, reserved).map_err(|(reason, what)| BadRow::new("topic", reason, what))
}

/// Appends a template's text for a row. Every column in it has to have a text: `a.` and `a.b` are
/// not the same topic with less in it.
pub(crate) fn fill(
    attribute: &str,
    pieces: &[Piece],
    row: &OutboxRow<'_>,
    limit: usize,
    out: &mut String,
) -> Result<(), BadRow> {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Column { field, name } => {
                let Some(bytes) = row.text(*field) else {
                    let what = format_args!("needs {name}, which is NULL");
                    return Err(BadRow::new(attribute, Reason::Missing, what));
                };
                if bytes.is_empty() {
                    let what = format_args!("needs {name}, which is empty");
                    return Err(BadRow::new(attribute, Reason::Empty, what));
                }
                push_text(attribute, bytes, limit, out)?;
            }
        }
    }
    Ok(())
}

fn push_text(attribute: &str, bytes: &[u8], limit: usize, out: &mut String) -> Result<(), BadRow> {
    if bytes.len() > limit {
        let what = format_args!("is longer than {limit} bytes");
        return Err(BadRow::new(attribute, Reason::TooLong, what));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| BadRow::new(attribute, Reason::NotRepresentable, "is not UTF-8"))?;
    out.push_str(text);
    Ok(())
}

/// The record key of a row: its partition key, else its aggregate's sub-key, else its aggregate
/// id; `None` is a null key.
///
/// An empty partition key is as none; an empty aggregate id is an empty key. The raw bytes of a
/// `bytea` are decoded into `buffer`.
pub(crate) fn key<'k>(
    mapping: &Mapping,
    row: &OutboxRow<'k>,
    buffer: &'k mut Vec<u8>,
) -> Result<Option<&'k [u8]>, BadRow> {
    let partition_key = mapping
        .role(Role::PartitionKey)
        .and_then(|field| Some((field, row.text(field).filter(|text| !text.is_empty())?)));
    let aggregate_id =
        || mapping.role(Role::AggregateId).and_then(|field| Some((field, row.text(field)?)));
    if partition_key.is_none()
        && let Some((aggregate_id, sub_key)) = sub_key(mapping, row)
    {
        check_key(aggregate_id)?;
        buffer.clear();
        write_sub_key(aggregate_id, sub_key, buffer);
        return Ok(Some(buffer));
    }
    let Some((field, text)) = partition_key.or_else(aggregate_id) else { return Ok(None) };
    check_key(text)?;
    if field.column_type != ColumnType::Bytea {
        return Ok(Some(text));
    }
    buffer.clear();
    let printed = row.printed(field).unwrap_or_default();
    bytea::decode(printed, buffer).map_err(|not_hex| not_hex.of("key"))?;
    Ok(Some(buffer))
}

fn check_key(text: &[u8]) -> Result<(), BadRow> {
    if text.len() <= MAX_KEY {
        return Ok(());
    }
    let what = format_args!("is longer than {MAX_KEY} bytes");
    Err(BadRow::new("key", Reason::TooLong, what))
}

/// The aggregate id of a row and which of its keys it has, where `WALPOST_VIRTUAL_PARTITIONS`
/// lists its aggregate.
///
/// A row that names its own partition key is not asked about: that one is its key.
pub(crate) fn sub_key<'k>(mapping: &Mapping, row: &OutboxRow<'k>) -> Option<(&'k [u8], u32)> {
    let spreads = mapping.spreads();
    if spreads.is_empty() {
        return None;
    }
    let text = |role| mapping.role(role).and_then(|field| row.text(field));
    let aggregate_id = text(Role::AggregateId)?;
    let aggregate_type = text(Role::AggregateType).unwrap_or_default();
    let spread = spreads.iter().find(|spread| spread.is_of(aggregate_type, aggregate_id))?;
    Some((aggregate_id, spread.sub_key(row)))
}

/// Appends the key of [`sub_key`]: `4711#3`.
pub(crate) fn write_sub_key(aggregate_id: &[u8], sub_key: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(aggregate_id);
    write!(out, "#{sub_key}").expect("a vector takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<Reason>) {
        let reserved = ["walpost.dlq".to_owned()];
        let reason = check_event_topic(name, &reserved).err().map(|(reason, _)| reason);
        assert_eq!(reason, expected, "{name:?}");
    }

    #[test]
    fn topic_names_are_those_that_kafka_allows() {
        check("outbox.event.Order_1-a", None);
        check("...", None);
        check("_a", None);
        check(&"a".repeat(249), None);
        check(&"a".repeat(250), Some(Reason::TooLong));
        check("", Some(Reason::Empty));
        check(".", Some(Reason::IllegalName));
        check("..", Some(Reason::IllegalName));
        check("a b", Some(Reason::IllegalName));
        check("a/b", Some(Reason::IllegalName));
        check("é", Some(Reason::IllegalName));
        check("a\0", Some(Reason::IllegalName));
        check("__consumer_offsets", Some(Reason::IllegalName));
        check("walpost.dlq", Some(Reason::IllegalName));
        check("walpost.dlq2", None);
        check("walpost.checkpoint.other.walpost", Some(Reason::IllegalName));
        check("walpost.checkpoints", None);
    }

    #[track_caller]
    fn check_template(text: &str, accepted: bool) {
        let template = Template::parse(text).expect(text);
        assert_eq!(check_topic_template(&template).is_ok(), accepted, "{text:?}");
    }

    #[test]
    fn a_template_that_makes_no_legal_topic_is_refused() {
        check_template("outbox.event.{aggregate_type}", true);
        check_template("{aggregate_type}", true);
        check_template("orders", true);
        check_template("outbox/{aggregate_type}", false);
        check_template("a b", false);
        check_template("__{aggregate_type}", false);
        check_template("walpost.checkpoint.{aggregate_type}", false);
        check_template("..", false);
        check_template(&"a".repeat(250), false);
    }

    #[test]
    fn topics_that_a_template_may_have_made_are_recognized() {
        #[track_caller]
        fn check(template: &str, topic: &str, expected: bool) {
            let parsed = Template::parse(template).expect(template);
            assert_eq!(may_become(&parsed, topic), expected, "{topic} of {template}");
        }
        check("outbox.event.{aggregate_type}", "outbox.event.order", true);
        check("outbox.event.{aggregate_type}", "outbox.event.", false);
        check("outbox.event.{aggregate_type}", "other.order", false);
        check("orders", "orders", true);
        check("orders", "orders2", false);
        check("{a}.{b}.v1", "x.y.v1", true);
        check("{a}.{b}.v1", "x.v1.v1", true);
        check("{a}.{b}.v1", "x.v1", false);
        check("{a}{b}", "x", false);
        check("{a}{b}-end", "xy-end", true);
        check("{a}.x", "b.x.x", true);
        check("{a}", "__consumer_offsets", false);
        check("{a}", "walpost.checkpoint.shop", false);
    }
}
