//! Which letters are sent, which are left, and why.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cli::dlq::letters::{Done, Filter};
use crate::cli::printed::{count, shell};
use crate::cloudevent::Reason;
use crate::cloudevent::options::SchemaMode;
use crate::config::Config;
use crate::kafka::dead_letter::{Class, Letter, Place};
use crate::route;

/// How many letters are named for each cause.
const NAMED: usize = 5;

/// How many ids a `replay` is printed for.
const IDS: usize = 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) connector: String,
    /// walpost's own topics.
    pub(super) reserved: Vec<String>,
    pub(super) filter: Filter,
    pub(super) places: BTreeSet<Place>,
    pub(super) malformed: bool,
    pub(super) max_attempts: u32,
    pub(super) resolve_only: bool,
    /// What is done with schemas: a letter has its payload as the row had it.
    pub(super) schemas: Option<SchemaMode>,
}

/// What is done with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is none of those that are meant.
    Other,
    /// It is resolved already.
    Resolved,
    /// It is the second letter of a row, and is marked together with the first.
    Copy,
    /// It goes to this topic; none is only marked.
    Send(Option<String>),
    /// It stays as it is.
    Left(Left),
}

/// Why a letter is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    Foreign,
    PayloadLeftOut,
    NoTopic,
    Loop,
    Malformed,
    Unframed,
    Attempts,
    NotFound,
}

impl Left {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Foreign => "not_of_walpost",
            Self::PayloadLeftOut => "payload_left_out",
            Self::NoTopic => "no_topic",
            Self::Loop => "loop",
            Self::Malformed => "malformed",
            Self::Unframed => "without_schema",
            Self::Attempts => "attempts",
            Self::NotFound => "not_found",
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::Foreign => {
                "walpost did not write it, so it has no topic; --resolve-only marks it"
            }
            Self::PayloadLeftOut => {
                "it has no payload, which was too large; raise WALPOST_MAX_EVENT and replay the row"
            }
            Self::NoTopic => {
                "the row makes no topic that it may go to; correct the row and replay it, or --resolve-only"
            }
            Self::Loop => "its topic is one that walpost keeps for itself; --resolve-only marks it",
            Self::Malformed => {
                "it is no valid event; correct the row and replay it, or --malformed sends it as it is"
            }
            Self::Unframed => {
                "its payload has not gone through its schema, and would be sent as it is; correct the row or the schema and `walpost replay` the row"
            }
            Self::Attempts => {
                "it came back, or was refused, too often; --max-attempts raises the limit"
            }
            Self::NotFound => {
                "there is no such letter of this connector; `walpost dlq list` names them, with --all-connectors those of others too"
            }
        }
    }
}

impl Rules {
    /// What is done with this letter.
    pub(super) fn judge(&self, done: &Done, letter: &Letter) -> Verdict {
        let named = self.places.is_empty() || self.places.contains(&letter.place);
        if !named || !self.filter.takes(&self.connector, letter) {
            return Verdict::Other;
        }
        if done.resolved.contains(&letter.place) {
            return Verdict::Resolved;
        }
        match done.copy_of.get(&letter.place) {
            // Written after the first had been resolved.
            Some(first) if done.resolved.contains(first) => return Verdict::Send(None),
            Some(_) => return Verdict::Copy,
            None if self.resolve_only => return Verdict::Send(None),
            None => {}
        }
        if letter.reason().is_none() {
            return Verdict::Left(Left::Foreign);
        }
        if letter.payload_left_out().is_some() {
            return Verdict::Left(Left::PayloadLeftOut);
        }
        let Some(topic) = letter.topic().filter(|topic| route::check_topic_name(topic).is_ok())
        else {
            return Verdict::Left(Left::NoTopic);
        };
        if self.reserved.iter().any(|own| own == topic) {
            return Verdict::Left(Left::Loop);
        }
        if letter.class() == Class::Malformed && !self.malformed {
            return Verdict::Left(Left::Malformed);
        }
        let framed = matches!(self.schemas, Some(SchemaMode::Prefix | SchemaMode::Header));
        let mismatched = letter.reason() == Some(Reason::SchemaMismatch.word());
        if letter.value_bytes.is_some() && (framed || (self.schemas.is_some() && mismatched)) {
            return Verdict::Left(Left::Unframed);
        }
        let tried = done.attempted.get(&letter.place).copied().unwrap_or(0);
        if letter.attempts().saturating_add(tried) >= self.max_attempts {
            return Verdict::Left(Left::Attempts);
        }
        Verdict::Send(Some(topic.to_owned()))
    }
}

#[derive(Clone, Debug, Default)]
struct Named {
    letters: u64,
    places: Vec<String>,
}

/// What would be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    topics: BTreeMap<String, u64>,
    only_marked: u64,
    copies: u64,
    resolved: u64,
    left: BTreeMap<Left, Named>,
    found: BTreeSet<Place>,
    /// Rows that `replay` can send where a redrive cannot.
    rows: BTreeSet<String>,
}

impl Plan {
    pub(super) fn add(&mut self, rules: &Rules, done: &Done, letter: &Letter) {
        let verdict = rules.judge(done, letter);
        if verdict != Verdict::Other && rules.places.contains(&letter.place) {
            self.found.insert(letter.place);
        }
        match verdict {
            Verdict::Other => {}
            Verdict::Resolved => self.resolved += 1,
            Verdict::Copy => self.copies += 1,
            Verdict::Send(None) => self.only_marked += 1,
            Verdict::Send(Some(topic)) => *self.topics.entry(topic).or_insert(0) += 1,
            Verdict::Left(why) => {
                self.leave(why, letter.place);
                let replayable = matches!(
                    why,
                    Left::PayloadLeftOut | Left::NoTopic | Left::Malformed | Left::Unframed
                );
                if let Some(id) = letter.text("walpost-row-id").filter(|id| !id.is_empty())
                    && replayable
                    && self.rows.len() < IDS
                {
                    self.rows.insert(id.to_owned());
                }
            }
        }
    }

    fn leave(&mut self, why: Left, place: Place) {
        let named = self.left.entry(why).or_default();
        named.letters += 1;
        if named.places.len() < NAMED {
            named.places.push(place.to_string());
        }
    }

    /// Notes the letters that were named and are not there.
    pub(super) fn miss(&mut self, rules: &Rules) {
        for place in rules.places.difference(&self.found.clone()) {
            self.leave(Left::NotFound, *place);
        }
    }

    /// How many letters are sent, or marked.
    pub(super) fn chosen(&self) -> u64 {
        self.topics.values().sum::<u64>() + self.only_marked
    }

    /// The command for rows that only `replay` can send.
    fn replay(&self) -> Option<String> {
        if self.rows.is_empty() {
            return None;
        }
        let ids = self.rows.iter().map(|id| format!(" {}", shell(&format!("--id={id}"))));
        Some(format!("walpost replay{} --same-topic", ids.collect::<String>()))
    }

    pub(super) fn text(&self, rules: &Rules) -> String {
        let letters = |number| count(number, "letter", "letters");
        let mut lines = Vec::new();
        if !rules.filter.is_for_all() {
            lines.push(format!("connector   {}", rules.connector));
        }
        for (topic, number) in &self.topics {
            lines.push(format!("topic       {topic}: {}", letters(*number)));
        }
        for (why, named) in &self.left {
            let more = if named.letters > NAMED as u64 { ", …" } else { "" };
            lines.push(format!(
                "left        {} ({}{more}), {}: {}",
                letters(named.letters),
                named.places.join(", "),
                why.word(),
                why.why()
            ));
        }
        if let Some(replay) = self.replay() {
            lines.push(
                "            the command for their rows, once they are as they should be:"
                    .to_owned(),
            );
            lines.push(format!("  {replay}"));
        }
        if self.copies > 0 {
            lines.push(format!(
                "copies      {} of rows that have one before, not sent; marked with the first",
                letters(self.copies)
            ));
        }
        if self.resolved > 0 {
            lines.push(format!("resolved    {} before, not touched", letters(self.resolved)));
        }
        if !rules.resolve_only {
            lines.push(format!("sends       {}", letters(self.chosen() - self.only_marked)));
        }
        if self.only_marked > 0 {
            lines.push(format!("marks       {} as resolved, not sent", letters(self.only_marked)));
        }
        lines.join("\n")
    }

    pub(super) fn json(&self, config: &Config, rules: &Rules, outcome: Option<&Value>) -> Value {
        let topics =
            self.topics.iter().map(|(topic, letters)| json!({"topic": topic, "letters": letters}));
        let left = self.left.iter().map(|(why, named)| {
            json!({
                "cause": why.word(),
                "letters": named.letters,
                "first": named.places,
                "why": why.why(),
            })
        });
        json!({
            "topic": config.dlq_topic,
            "connector": if rules.filter.is_for_all() { Value::Null } else { json!(rules.connector) },
            "resolve_only": rules.resolve_only,
            "letters": self.chosen(),
            "topics": topics.collect::<Vec<_>>(),
            "left": left.collect::<Vec<_>>(),
            "copies": self.copies,
            "resolved_before": self.resolved,
            "replay": self.replay(),
            "outcome": outcome,
        })
    }
}
