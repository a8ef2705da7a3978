//! The one table of all variables. Help, `walpost config`, the `.env` template, the JSON Schema
//! and the README follow from it.

/// What a variable belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where Postgres is.
    Database,
    /// What is followed.
    Source,
    /// How rows become events.
    Events,
    /// How events are delivered.
    Delivery,
    /// Where Kafka is.
    Kafka,
    /// The schema registry.
    Registry,
    /// HTTP and log.
    Process,
}

impl Group {
    /// In the order of the help.
    pub const ALL: [Self; 7] = [
        Self::Database,
        Self::Source,
        Self::Events,
        Self::Delivery,
        Self::Kafka,
        Self::Registry,
        Self::Process,
    ];

    /// Heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Database => "Database",
            Self::Source => "What is followed",
            Self::Events => "Events",
            Self::Delivery => "Delivery",
            Self::Kafka => "Kafka",
            Self::Registry => "Schema registry",
            Self::Process => "Process",
        }
    }
}

/// A variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// Its default as text; empty where there is none.
    pub default: &'static str,
    /// One sentence.
    pub meaning: &'static str,
    /// A value that is accepted.
    pub example: &'static str,
    /// Its value must not be shown.
    pub secret: bool,
    /// Its feature exists in this version; one that does not is refused, not ignored.
    pub available: bool,
}

const fn variable(
    group: Group,
    name: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { name, group, default, meaning, example, secret: false, available: true }
}

impl Variable {
    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn later(self) -> Self {
        Self { available: false, ..self }
    }
}

use Group::{Database, Delivery, Events, Kafka, Process, Registry, Source};

/// All variables.
pub const VARIABLES: &[Variable] = &[
    variable(
        Database,
        "DATABASE_URL",
        "",
        "postgres://walpost@db/shop",
        "Where the database is, as a connection URL; its parts win over the PG variables.",
    )
    .secret(),
    variable(
        Database,
        "PGHOST",
        "localhost",
        "db1,db2",
        "Host names, addresses or socket directories, tried in order.",
    ),
    variable(Database, "PGPORT", "5432", "5432", "Port, or one for each host."),
    variable(Database, "PGDATABASE", "the user's name", "shop", "Database."),
    variable(Database, "PGUSER", "", "walpost", "Role."),
    variable(Database, "PGPASSWORD", "", "…", "Password.").secret(),
    variable(
        Database,
        "PGSSLMODE",
        "verify-full; disable for loopback and Unix sockets",
        "verify-full",
        "Encryption: disable, allow, prefer, require, verify-ca or verify-full.",
    ),
    variable(
        Database,
        "PGSSLROOTCERT",
        "system",
        "/etc/ssl/db-ca.pem",
        "Authorities trusted for the server's certificate: a PEM file, or `system`.",
    ),
    variable(Database, "PGSSLCERT", "", "/etc/ssl/client.pem", "Client certificate, PEM."),
    variable(
        Database,
        "PGSSLKEY",
        "",
        "/etc/ssl/client.key",
        "Key of the client certificate, PEM.",
    ),
    variable(
        Database,
        "PGCHANNELBINDING",
        "prefer",
        "require",
        "SCRAM channel binding: disable, prefer or require.",
    ),
    variable(
        Database,
        "PGCONNECT_TIMEOUT",
        "10",
        "10",
        "Limit for connecting to one host, in seconds.",
    ),
    variable(
        Database,
        "PGTARGETSESSIONATTRS",
        "read-write",
        "read-write",
        "Which server of several is wanted: any, read-write, read-only, primary, standby or prefer-standby.",
    ),
    variable(
        Source,
        "WALPOST_NAME",
        "{database}.{slot}",
        "shop",
        "This connector, unique in the Kafka cluster: letters, digits and ._- , at most 63.",
    ),
    variable(
        Source,
        "WALPOST_TABLE",
        "public.outbox",
        "public.outbox",
        "Outbox table, or a comma list; quoted identifiers as in SQL.",
    ),
    variable(Source, "WALPOST_SLOT", "walpost", "walpost", "Replication slot."),
    variable(
        Source,
        "WALPOST_PUBLICATION",
        "walpost",
        "walpost",
        "Publication with publish = 'insert' and publish_via_partition_root = true.",
    ),
    variable(
        Source,
        "WALPOST_CREATE",
        "true",
        "true",
        "On the first start, create what is missing: publication, slot, own topics.",
    ),
    variable(
        Source,
        "WALPOST_SNAPSHOT",
        "initial",
        "never",
        "Whether rows that were in the table before the slot are published first: initial or never.",
    ),
    variable(Source, "WALPOST_SHARDS", "1", "1", "Number of streams, a power of two.").later(),
    variable(
        Source,
        "WALPOST_MESSAGES",
        "",
        "outbox",
        "Prefix of pg_logical_emit_message messages to take as outbox rows.",
    )
    .later(),
    variable(Source, "WALPOST_COLUMN_ID", "id, event_id", "id", "Column of the event's id."),
    variable(
        Source,
        "WALPOST_COLUMN_AGGREGATE_TYPE",
        "aggregatetype, aggregate_type",
        "kind",
        "Column of the aggregate type.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_AGGREGATE_ID",
        "aggregateid, aggregate_id",
        "order_id",
        "Column of the aggregate id: record key and subject.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_TYPE",
        "type, event_type",
        "name",
        "Column of the event's type.",
    ),
    variable(Source, "WALPOST_COLUMN_PAYLOAD", "payload, data", "body", "Column of the payload."),
    variable(
        Source,
        "WALPOST_COLUMN_TIME",
        "created_at, timestamp, occurred_at, event_time",
        "at",
        "Column of the event's time.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_CONTENT_TYPE",
        "content_type, datacontenttype",
        "mime",
        "Column of the content type.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_DATASCHEMA",
        "dataschema, data_schema",
        "schema",
        "Column of the schema's URI.",
    ),
    variable(Source, "WALPOST_COLUMN_SOURCE", "source", "origin", "Column that overrides source."),
    variable(
        Source,
        "WALPOST_COLUMN_SUBJECT",
        "subject",
        "about",
        "Column that overrides subject.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_PARTITION_KEY",
        "partition_key",
        "pk",
        "Column of the record key, before the aggregate id.",
    ),
    variable(Source, "WALPOST_COLUMN_TOPIC", "topic", "target", "Column of this row's topic."),
    variable(
        Source,
        "WALPOST_COLUMN_HEADERS",
        "headers",
        "meta",
        "Column of plain Kafka headers, a JSON object.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_TRACEPARENT",
        "traceparent",
        "-",
        "Column of the trace parent; - is none.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_TRACESTATE",
        "tracestate",
        "-",
        "Column of the trace state; - is none.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_CORRELATION_ID",
        "correlation_id",
        "-",
        "Column of the correlation id; - is none.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_CAUSATION_ID",
        "causation_id",
        "-",
        "Column of the causation id; - is none.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_TENANT_ID",
        "tenant_id, tenant",
        "-",
        "Column of the tenant; - is none.",
    ),
    variable(
        Source,
        "WALPOST_COLUMN_SCHEMA_VERSION",
        "schema_version, schemaversion",
        "-",
        "Column of the schema version, for templates; - is none.",
    ),
    variable(
        Events,
        "WALPOST_TOPIC",
        "outbox.event.{aggregate_type}",
        "orders",
        "Topic template: a role in lower case or a column in braces; {{ is a brace.",
    ),
    variable(
        Events,
        "WALPOST_CE_MODE",
        "binary",
        "structured",
        "Content mode: binary or structured.",
    ),
    variable(
        Events,
        "WALPOST_CE_SOURCE",
        "/{database}/{schema}/{table}",
        "https://orders.example.com",
        "The events' source.",
    ),
    variable(
        Events,
        "WALPOST_CE_TYPE",
        "{type}",
        "com.example.{type}",
        "Template of the events' type.",
    ),
    variable(
        Events,
        "WALPOST_CE_DATACONTENTTYPE",
        "by column type",
        "application/json",
        "Content type of all payloads.",
    ),
    variable(
        Events,
        "WALPOST_CE_EXTENSIONS",
        "",
        "region=region_code",
        "Extensions and their columns: name=column, separated by commas.",
    ),
    variable(
        Events,
        "WALPOST_TIME_UNIT",
        "milliseconds",
        "microseconds",
        "Unit of an integer time column: seconds, milliseconds, microseconds or nanoseconds.",
    ),
    variable(
        Events,
        "WALPOST_TIME_ZONE",
        "UTC",
        "Europe/Berlin",
        "Zone of a timestamp without time zone.",
    ),
    variable(
        Events,
        "WALPOST_NULL_PAYLOAD",
        "tombstone",
        "reject",
        "What an SQL NULL payload becomes: tombstone, empty or reject.",
    ),
    variable(
        Events,
        "WALPOST_DEBEZIUM_HEADERS",
        "false",
        "true",
        "Also write Debezium's plain headers id and eventType.",
    ),
    variable(
        Delivery,
        "WALPOST_DELIVERY",
        "at-least-once",
        "at-least-once",
        "at-least-once; exactly-once is not available in this version.",
    ),
    variable(
        Delivery,
        "WALPOST_TRANSACTION_INTERVAL",
        "100ms",
        "100ms",
        "Length of a Kafka transaction in exactly-once.",
    )
    .later(),
    variable(
        Delivery,
        "WALPOST_CHECKPOINT_TOPIC",
        "walpost.checkpoint.{name}",
        "walpost.checkpoint.shop",
        "This connector's checkpoint topic: one partition, compacted.",
    ),
    variable(
        Delivery,
        "WALPOST_ON_BAD_ROW",
        "dlq",
        "halt",
        "What is done with a row that becomes no event: dlq, halt or skip.",
    ),
    variable(Delivery, "WALPOST_DLQ_TOPIC", "walpost.dlq", "walpost.dlq", "Topic of dead letters."),
    variable(
        Delivery,
        "WALPOST_TOPIC_PARTITIONS",
        "",
        "6",
        "Set: missing event topics are created with so many partitions; else the broker's auto-creation decides.",
    ),
    variable(
        Delivery,
        "WALPOST_TOPIC_REPLICATION",
        "the broker's",
        "3",
        "Copies of each partition of topics that walpost creates.",
    ),
    variable(
        Delivery,
        "WALPOST_MAX_IN_FLIGHT",
        "16MiB",
        "64MiB",
        "Read from Postgres and not yet confirmed by Kafka: key, value, headers and 256 bytes an event.",
    ),
    variable(
        Delivery,
        "WALPOST_MAX_EVENT",
        "1MB",
        "900kB",
        "Largest key + value + headers; a larger event is a bad row.",
    ),
    variable(Delivery, "WALPOST_SHUTDOWN_TIMEOUT", "25s", "25s", "How long a drain may take."),
    variable(
        Delivery,
        "WALPOST_WAL_SENDER_TIMEOUT",
        "20s",
        "20s",
        "Asked of the server for this connection.",
    ),
    variable(Delivery, "WALPOST_PRUNE_AFTER", "", "7d", "Delete delivered rows older than this.")
        .later(),
    variable(
        Delivery,
        "WALPOST_CONSUMER_GROUPS",
        "",
        "billing,mail",
        "Consumer groups whose lag is measured.",
    )
    .later(),
    variable(
        Kafka,
        "KAFKA_BOOTSTRAP_SERVERS",
        "",
        "kafka-1:9092,kafka-2:9092",
        "Brokers to ask first; required.",
    ),
    variable(
        Kafka,
        "KAFKA_SECURITY_PROTOCOL",
        "plaintext",
        "sasl_ssl",
        "plaintext, ssl, sasl_plaintext or sasl_ssl.",
    ),
    variable(
        Kafka,
        "KAFKA_SASL_MECHANISM",
        "",
        "SCRAM-SHA-512",
        "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    ),
    variable(Kafka, "KAFKA_SASL_USERNAME", "", "walpost", "SASL user."),
    variable(Kafka, "KAFKA_SASL_PASSWORD", "", "…", "SASL password.").secret(),
    variable(
        Kafka,
        "KAFKA_SSL_CA_LOCATION",
        "the system's",
        "/etc/ssl/kafka-ca.pem",
        "Authorities trusted for the brokers' certificates.",
    ),
    variable(
        Kafka,
        "KAFKA_SSL_CERTIFICATE_LOCATION",
        "",
        "/etc/ssl/client.pem",
        "Client certificate, PEM.",
    ),
    variable(
        Kafka,
        "KAFKA_SSL_KEY_LOCATION",
        "",
        "/etc/ssl/client.key",
        "Key of the client certificate, PEM.",
    ),
    variable(Kafka, "KAFKA_SSL_KEY_PASSWORD", "", "…", "Password of that key.").secret(),
    variable(
        Registry,
        "WALPOST_REGISTRY_URL",
        "",
        "https://registry:8081",
        "Schema registry with the Confluent API.",
    )
    .later(),
    variable(
        Registry,
        "WALPOST_REGISTRY_MODE",
        "none",
        "validate",
        "none, validate, prefix or header.",
    )
    .later(),
    variable(
        Registry,
        "WALPOST_REGISTRY_SUBJECT",
        "{topic}-value",
        "{topic}-value",
        "Template of the subject.",
    )
    .later(),
    variable(Registry, "WALPOST_REGISTRY_USERNAME", "", "walpost", "User.").later(),
    variable(Registry, "WALPOST_REGISTRY_PASSWORD", "", "…", "Password.").secret().later(),
    variable(
        Registry,
        "WALPOST_REGISTRY_CA",
        "",
        "/etc/ssl/registry-ca.pem",
        "Authorities trusted for its certificate.",
    )
    .later(),
    variable(
        Process,
        "WALPOST_HTTP_ADDR",
        "127.0.0.1:9464",
        "0.0.0.0:9464",
        "Address of metrics, health and status page; `off` is none.",
    ),
    variable(Process, "WALPOST_HTTP_USERNAME", "", "ops", "User of the status page."),
    variable(Process, "WALPOST_HTTP_PASSWORD", "", "…", "Password of the status page.").secret(),
    variable(Process, "WALPOST_LOG", "info", "walpost=debug,info", "Log filter."),
    variable(
        Process,
        "WALPOST_LOG_FORMAT",
        "text on a terminal, else json",
        "json",
        "text or json.",
    ),
];

/// The variable of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::role::Role;

    #[test]
    fn every_variable_stands_in_the_table_once() {
        let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_role_has_its_variable_with_its_aliases() {
        for role in Role::ALL {
            let name = format!("WALPOST_COLUMN_{}", role.name());
            let variable = find(&name).expect("in the table");
            assert_eq!(variable.default, role.aliases().join(", "), "{name}");
        }
    }
}
