//! What mends a finding: statements, commands and variables that can be pasted as they are.

use serde::Serialize;

use crate::config::Config;
use crate::outbox::role::TableName;
use crate::postgres::catalog::create_publication as publication_of;
use crate::postgres::identifier::{quote_identifier, quote_literal};

/// What mends a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Statements for the database, each to be run by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<String>,
    /// Commands of Kafka's own tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Variables of walpost's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// What else there is to do, or to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Remedy {
    /// Statements.
    pub(super) fn sql<T: Into<String>>(statements: impl IntoIterator<Item = T>) -> Self {
        Self { sql: statements.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A command.
    pub(super) fn command(command: String) -> Self {
        Self { commands: vec![command], ..Self::default() }
    }

    /// A variable and its value.
    pub(super) fn variable(name: &str, value: &str) -> Self {
        Self { variables: vec![format!("{name}={value}")], ..Self::default() }
    }

    /// Words only, where the cause lies in a place that no statement reaches.
    pub(super) fn note(note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..Self::default() }
    }

    /// The same, and a variable that mends it too.
    pub(super) fn or_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// The same, and what there is to do after it or to know of it.
    pub(super) fn then(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// A name in SQL. Names that no identifier can have are refused with the configuration.
pub(super) fn identifier(name: &str) -> String {
    quote_identifier(name).unwrap_or_else(|_| name.to_owned())
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    quote_literal(text).unwrap_or_else(|_| text.to_owned())
}

/// A table in SQL.
pub(super) fn table(name: &TableName) -> String {
    format!("{}.{}", identifier(&name.schema), identifier(&name.table))
}

/// The publication as walpost wants it.
pub(super) fn create_publication(config: &Config) -> String {
    if config.shard.is_some() {
        return format!(
            "-- `walpost setup` prints the statement for publication {}, with its row filter",
            identifier(&config.publication)
        );
    }
    let tables: Vec<_> = config.tables.iter().map(table).collect();
    publication_of(&identifier(&config.publication), &tables.join(", "))
}

/// The slot as walpost makes it: one that standbys keep in step with, where the server can.
pub(super) fn create_slot(slot: &str, version_num: u32) -> String {
    let failover = if version_num >= 170_000 { ", failover => true" } else { "" };
    format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput'{failover})", literal(slot))
}

/// Drops a slot.
pub(super) fn drop_slot(slot: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", literal(slot))
}

/// A server setting, and its being taken without a restart.
pub(super) fn set(name: &str, value: &str) -> Remedy {
    Remedy::sql([
        format!("ALTER SYSTEM SET {name} = {}", literal(value)),
        "SELECT pg_reload_conf()".to_owned(),
    ])
}

/// A server setting that only a restart takes.
pub(super) fn set_and_restart(name: &str, value: &str) -> Remedy {
    Remedy::sql([format!("ALTER SYSTEM SET {name} = {}", literal(value))]).then(
        "restart the database server afterwards; a managed service has this in its parameters",
    )
}

/// A command line of one of Kafka's tools.
pub(super) fn kafka_tool(config: &Config, tool: &str, arguments: &str) -> String {
    let encrypted = config
        .kafka
        .properties
        .get("security.protocol")
        .is_some_and(|protocol| !protocol.expose().eq_ignore_ascii_case("plaintext"));
    let login = if encrypted { " --command-config admin.properties" } else { "" };
    format!(
        "kafka-{tool}.sh --bootstrap-server {}{login} {arguments}",
        config.kafka.bootstrap_servers
    )
}

/// Changes an entry of a topic's configuration.
pub(super) fn set_topic(config: &Config, topic: &str, entry: &str, value: &str) -> Remedy {
    let arguments =
        format!("--alter --entity-type topics --entity-name {topic} --add-config {entry}={value}");
    Remedy::command(kafka_tool(config, "configs", &arguments))
}

/// Makes a topic.
pub(super) fn create_topic(
    config: &Config,
    topic: &str,
    partitions: i32,
    entries: &[(&str, &str)],
) -> Remedy {
    use std::fmt::Write as _;
    let mut arguments = format!("--create --topic {topic} --partitions {partitions}");
    if let Some(replication) = config.topic_replication {
        let written = write!(arguments, " --replication-factor {replication}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    for (entry, value) in entries {
        let written = write!(arguments, " --config {entry}={value}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    Remedy::command(kafka_tool(config, "topics", &arguments))
}

/// Grants walpost's Kafka user operations on a topic.
pub(super) fn allow(config: &Config, operations: &[&str], topic: &str) -> Remedy {
    allow_on(config, operations, &format!("--topic {topic}"))
}

/// Gives walpost's user rights on something, as Kafka's own script names it.
pub(super) fn allow_on(config: &Config, operations: &[&str], resource: &str) -> Remedy {
    let property = |name: &str| config.kafka.properties.get(name).map(|value| value.expose());
    let protocol = property("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
    // Who somebody is that does not say it. Source: Kafka documentation, "Authorization and ACLs".
    let user = match (property("sasl.username"), protocol.as_str()) {
        (Some(user), _) => user,
        (None, "plaintext") => "ANONYMOUS",
        (None, _) => "CN=walpost",
    };
    let operations: Vec<_> =
        operations.iter().map(|operation| format!("--operation {operation}")).collect();
    let arguments = format!(
        "--add --allow-principal 'User:{}' {} {resource}",
        user.replace('\'', "'\\''"),
        operations.join(" ")
    );
    let remedy = Remedy::command(kafka_tool(config, "acls", &arguments));
    if user == "CN=walpost" {
        return remedy.then("User: is the subject of walpost's client certificate");
    }
    remedy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_sql_wants_them() {
        assert_eq!(drop_slot("a"), "SELECT pg_drop_replication_slot('a')");
        let name = TableName { schema: "Sho\"p".to_owned(), table: "out box".to_owned() };
        assert_eq!(table(&name), "\"Sho\"\"p\".\"out box\"");
        assert_eq!(
            set("synchronous_standby_names", "it's").sql.first().map(String::as_str),
            Some("ALTER SYSTEM SET synchronous_standby_names = 'it''s'")
        );
    }

    #[test]
    fn a_slot_keeps_standbys_in_step_where_the_server_can() {
        assert_eq!(
            create_slot("w", 160_004),
            "SELECT pg_create_logical_replication_slot('w', 'pgoutput')"
        );
        assert_eq!(
            create_slot("w", 170_000),
            "SELECT pg_create_logical_replication_slot('w', 'pgoutput', failover => true)"
        );
    }
}
