//! One event as it is shown.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::cli::printed::{bytes_member, cut, printable, shown_bytes};
use crate::cloudevent::{BadRow, DeadLetterContext, Encoder, Event};
use crate::config::{Config, OnBadRow};
use crate::error::Failure;
use crate::lsn::Position;
use crate::outbox::mapping::Mapping;
use crate::outbox::message::MessageRow;
use crate::outbox::row::OutboxRow;
use crate::pipeline::encode;
use crate::postgres::timestamp::PgTimestamp;

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people; values are cut at this many characters.
    Text {
        /// Width of the terminal.
        width: usize,
    },
    /// One object a line.
    Json,
}

/// An event, or the dead letter of a row that becomes none.
pub(super) struct Shown {
    table: String,
    position: Option<Position>,
    topic: String,
    key: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    value: Option<Vec<u8>>,
    bad: Option<(BadRow, OnBadRow)>,
}

impl Shown {
    /// The event of a row. `position` is its place in the stream, where that is known;
    /// `commit_time` the time of events without one of their own.
    pub(super) async fn of_row(
        config: &Config,
        encoder: &mut Encoder,
        (mapping, row): (&Mapping, &OutboxRow<'_>),
        position: Option<Position>,
        commit_time: PgTimestamp,
    ) -> Result<Self, Failure> {
        match encode(encoder, mapping, row, commit_time).await? {
            Ok(event) => Ok(Self::of_event(mapping, position, &event)),
            Err(bad) => {
                Ok(Self::of_bad(config, encoder, (mapping, row, bad), position, commit_time))
            }
        }
    }

    /// As [`Self::of_row`], of a message that the outbox is written with.
    pub(super) async fn of_message(
        config: &Config,
        encoder: &mut Encoder,
        message: &MessageRow<'_>,
        position: Option<Position>,
        commit_time: PgTimestamp,
    ) -> Result<Self, Failure> {
        let (mapping, row) = (&*message.mapping, &message.row);
        match message.bad.clone() {
            Some(bad) => {
                Ok(Self::of_bad(config, encoder, (mapping, row, bad), position, commit_time))
            }
            None => Self::of_row(config, encoder, (mapping, row), position, commit_time).await,
        }
    }

    fn of_bad(
        config: &Config,
        encoder: &mut Encoder,
        (mapping, row, bad): (&Mapping, &OutboxRow<'_>, BadRow),
        position: Option<Position>,
        commit_time: PgTimestamp,
    ) -> Self {
        let context = DeadLetterContext {
            largest: usize::MAX,
            topic: &config.dlq_topic,
            connector: &config.name,
            position: position.unwrap_or_default(),
            commit_time,
            now_unix_micros: PgTimestamp::now().to_unix_micros(),
        };
        let letter = encoder.dead_letter(mapping, row, &bad, &context);
        let shown = Self::of_event(mapping, position, &letter);
        Self { bad: Some((bad, config.on_bad_row)), ..shown }
    }

    fn of_event(mapping: &Mapping, position: Option<Position>, event: &Event<'_>) -> Self {
        let headers = event.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
        Self {
            table: mapping.table_text().to_owned(),
            position,
            topic: event.topic.to_owned(),
            key: event.key.map(<[u8]>::to_vec),
            headers: headers.collect(),
            value: event.value.map(<[u8]>::to_vec),
            bad: None,
        }
    }

    /// As lines of text, or as one line of JSON.
    pub(super) fn print(&self, form: Form) -> String {
        match form {
            Form::Text { width } => self.text(width),
            Form::Json => self.json().to_string(),
        }
    }

    fn text(&self, width: usize) -> String {
        let mut text = format!("{}  from {}", printable(&self.topic), printable(&self.table));
        let mut line = |name: &str, value: &str| {
            let line = cut(&format!("  {name}: {value}"), width);
            let written = write!(text, "\n{line}");
            debug_assert!(written.is_ok(), "a String takes everything");
        };
        if let Some(position) = self.position {
            line("position", &position.to_string());
        }
        if let Some((bad, policy)) = &self.bad {
            let fate = match policy {
                OnBadRow::DeadLetter => "goes to the dead letters",
                OnBadRow::Halt => "halts walpost (WALPOST_ON_BAD_ROW=halt)",
                OnBadRow::Skip => "is skipped (WALPOST_ON_BAD_ROW=skip)",
            };
            line("bad row", &format!("{} ({}): {fate}", printable(&bad.message), bad.reason));
        }
        line("key", &shown_bytes(self.key.as_deref()));
        for (name, value) in &self.headers {
            line(&printable(name), &shown_bytes(Some(value)));
        }
        line("value", &shown_bytes(self.value.as_deref()));
        text
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("table".to_owned(), json!(self.table));
        if let Some(position) = self.position {
            object.insert("commit_lsn".to_owned(), json!(position.commit_lsn));
            object.insert("ordinal".to_owned(), json!(position.ordinal));
        }
        object.insert("topic".to_owned(), json!(self.topic));
        bytes_member(&mut object, "key", self.key.as_deref());
        let headers = self.headers.iter().map(|(name, value)| {
            let mut header = Map::new();
            header.insert("name".to_owned(), json!(name));
            bytes_member(&mut header, "value", Some(value));
            Value::Object(header)
        });
        object.insert("headers".to_owned(), headers.collect());
        bytes_member(&mut object, "value", self.value.as_deref());
        if let Some((bad, _)) = &self.bad {
            let bad = json!({
                "attribute": bad.attribute,
                "reason": bad.reason.word(),
                "message": bad.message,
            });
            object.insert("bad_row".to_owned(), bad);
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: Option<&[u8]>, value: &[u8]) -> Shown {
        Shown {
            table: "public.outbox".to_owned(),
            position: None,
            topic: "t".to_owned(),
            key: key.map(<[u8]>::to_vec),
            headers: vec![("ce_id".to_owned(), b"1".to_vec())],
            value: Some(value.to_vec()),
            bad: None,
        }
    }

    #[test]
    fn a_row_cannot_drive_the_terminal() {
        let text = shown(Some(b"\x1b[2J"), b"a\nb").print(Form::Text { width: 80 });
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.contains("value: a\\nb"), "{text}");
    }

    #[test]
    fn a_long_value_is_cut_at_the_width_and_whole_in_json() {
        let long = "ä".repeat(500);
        let event = shown(None, long.as_bytes());
        let text = event.print(Form::Text { width: 40 });
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.ends_with('…'), "{text}");
        let json: Value = serde_json::from_str(&event.print(Form::Json)).expect("json");
        assert_eq!(json["value"], long);
        assert_eq!(json["key"], Value::Null);
        assert_eq!(json["headers"], json!([{"name": "ce_id", "value": "1"}]));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_base64() {
        let event = shown(Some(b"k"), &[0xFF, 0xFE]);
        assert!(event.print(Form::Text { width: 80 }).contains("2 bytes, base64 //4="));
        let json: Value = serde_json::from_str(&event.print(Form::Json)).expect("json");
        assert_eq!((json.get("value"), &json["value_base64"]), (None, &json!("//4=")));
    }
}
