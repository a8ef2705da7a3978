//! `walpost check`: what a start will find at the real database and the real Kafka.
//!
//! Facts in, findings out. The files that end in questions (`database`, `sample`, `brokers`,
//! `transactional_id`) ask and change nothing; all others are pure: they take what was found and
//! say what it means for a start, why that matters, and what mends it. The order of the findings is
//! the order in which a start would meet them.

use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, Delivery};
use crate::status::HaltCode;

mod brokers;
mod checkpoint;
mod configuration;
mod connection;
mod consumers;
mod copies;
mod creation;
mod database;
mod event_topic;
mod login;
mod long_transactions;
mod messages;
mod publication;
mod registry;
mod remedy;
mod report;
mod room;
mod rows;
mod sample;
mod server;
mod shards;
mod slot;
mod standby;
mod table;
mod topics;
mod transactional_id;
mod transactions;

pub use configuration::{invalid, loaded};
pub use remedy::Remedy;
pub use report::{Report, Verdict};

/// Answers of a server that take longer than this count as none.
const LIMIT: Duration = Duration::from_secs(30);

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be, or of no consequence.
    Ok,
    /// walpost starts, but somebody may regret it later.
    Warning,
    /// walpost does not start, halts, or loses something.
    Problem,
}

impl Level {
    /// The word in the text and in the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What one look has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, as a word that stays the same: `wal_level`.
    pub check: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was found, naming the object; no row value, no secret.
    pub found: String,
    /// Why it matters; empty where all is well.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
    /// The code under which `walpost run` would halt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt: Option<HaltCode>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Finding {
    /// As it should be.
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { check, level: Level::Ok, found, why: "", halt: None, remedy: None }
    }

    /// walpost starts.
    fn warning(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        remedy: Remedy,
    ) -> Self {
        let found = found.into();
        Self { check, level: Level::Warning, found, why, halt: None, remedy: Some(remedy) }
    }

    /// walpost does not start, or loses something.
    fn problem(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        remedy: Remedy,
    ) -> Self {
        Self { level: Level::Problem, ..Self::warning(check, found, why, remedy) }
    }

    /// The code under which the relay would halt.
    fn halts(self, code: HaltCode) -> Self {
        Self { halt: Some(code), ..self }
    }

    /// Says why, where all is well.
    fn because(self, why: &'static str) -> Self {
        Self { why, ..self }
    }
}

/// Asks both servers, side by side, and says what was found. Changes nothing.
///
/// Takes as long as the slower server; some ten seconds for a Kafka that does not answer. Cancel
/// safe: questions that are under way are forgotten.
pub async fn run(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for stream in config.streams() {
        // What is so for all streams is said once.
        for finding in Box::pin(of_stream(&stream)).await {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

async fn of_stream(config: &Config) -> Vec<Finding> {
    let (mut database, mut brokers) =
        tokio::join!(Box::pin(database::ask(config)), Box::pin(brokers::ask(config)));
    let mut findings = std::mem::take(&mut database.findings);
    findings.append(&mut brokers.findings);
    if let (Some(facts), Some(cluster)) = (&database.facts, &brokers.cluster) {
        let position = checkpoint::ask(config, facts, cluster).await;
        findings.extend(creation::findings(config, facts, &position));
        findings.extend(checkpoint::findings(config, facts, cluster, &position));
    } else if let Some(facts) = &database.facts {
        findings.extend(creation::findings(config, facts, &checkpoint::Position::NotAsked));
    }
    findings.extend(registry::ask(config).await);
    if let Some(cluster) = &brokers.cluster {
        let routes = database.facts.as_ref().map(sample::routes).unwrap_or_default();
        let topics = brokers::ask_for_topics(config, cluster, &routes).await;
        findings.extend(topics::findings(config, cluster, &topics));
        if config.delivery == Delivery::ExactlyOnce {
            let slot = database.facts.as_ref().and_then(|facts| facts.slot.as_ref());
            let held = database.facts.is_none() || slot.is_some_and(|slot| slot.active);
            let right = transactional_id::ask(config, cluster, held).await;
            findings.push(transactions::right(config, &right));
            findings.extend(transactions::findings(config, cluster));
        }
        findings.extend(consumers::ask(config).await);
    }
    findings
}
