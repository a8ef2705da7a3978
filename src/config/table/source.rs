//! What is followed: slot, publication, table, and the column of each role.

use super::Group::Source;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Source,
        "WALPOST_NAME",
        "{database}.{slot}",
        "shop",
        "This connector, unique in the Kafka cluster: letters, digits and ._- , at most 63.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_TABLE",
        "public.outbox",
        "public.outbox",
        "Outbox table, or a comma list; quoted identifiers as in SQL. No default beside \
         WALPOST_MESSAGES.",
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
    )
    .words(&["true", "false"]),
    variable(
        Source,
        "WALPOST_SNAPSHOT",
        "initial",
        "never",
        "Whether rows that were in the table before the slot are published first: initial \
         or never.",
    )
    .words(&["initial", "never"]),
    variable(
        Source,
        "WALPOST_SHARDS",
        "1",
        "4",
        "Number of streams, a power of two: each has a slot and a row-filtered publication of its \
         own (walpost_0, walpost_1, …). Order is kept per key. Postgres 15 and newer.",
    )
    .number(1, 64),
    variable(
        Source,
        "WALPOST_MESSAGES",
        "",
        "outbox",
        "Prefix of pg_logical_emit_message messages to take as outbox rows: JSON objects with the \
         column names; no table is needed.",
    ),
    variable(Source, "WALPOST_COLUMN_ID", "id, event_id", "id", "Column of the event's id.")
        .described(),
    variable(
        Source,
        "WALPOST_COLUMN_AGGREGATE_TYPE",
        "aggregatetype, aggregate_type",
        "kind",
        "Column of the aggregate type.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_AGGREGATE_ID",
        "aggregateid, aggregate_id",
        "order_id",
        "Column of the aggregate id: record key and subject.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_TYPE",
        "type, event_type",
        "name",
        "Column of the event's type.",
    )
    .described(),
    variable(Source, "WALPOST_COLUMN_PAYLOAD", "payload, data", "body", "Column of the payload.")
        .described(),
    variable(
        Source,
        "WALPOST_COLUMN_TIME",
        "created_at, timestamp, occurred_at, event_time",
        "at",
        "Column of the event's time.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_CONTENT_TYPE",
        "content_type, datacontenttype",
        "mime",
        "Column of the content type.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_DATASCHEMA",
        "dataschema, data_schema",
        "schema",
        "Column of the schema's URI.",
    )
    .described(),
    variable(Source, "WALPOST_COLUMN_SOURCE", "source", "origin", "Column that overrides source.")
        .described(),
    variable(
        Source,
        "WALPOST_COLUMN_SUBJECT",
        "subject",
        "about",
        "Column that overrides subject.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_PARTITION_KEY",
        "partition_key",
        "pk",
        "Column of the record key, before the aggregate id.",
    )
    .described(),
    variable(Source, "WALPOST_COLUMN_TOPIC", "topic", "target", "Column of this row's topic.")
        .described(),
    variable(
        Source,
        "WALPOST_COLUMN_HEADERS",
        "headers",
        "meta",
        "Column of plain Kafka headers, a JSON object.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_TRACEPARENT",
        "traceparent",
        "-",
        "Column of the trace parent; - is none.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_TRACESTATE",
        "tracestate",
        "-",
        "Column of the trace state; - is none.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_CORRELATION_ID",
        "correlation_id",
        "-",
        "Column of the correlation id; - is none.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_CAUSATION_ID",
        "causation_id",
        "-",
        "Column of the causation id; - is none.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_TENANT_ID",
        "tenant_id, tenant",
        "-",
        "Column of the tenant; - is none.",
    )
    .described(),
    variable(
        Source,
        "WALPOST_COLUMN_SCHEMA_VERSION",
        "schema_version, schemaversion",
        "-",
        "Column of the schema version, for templates; - is none.",
    )
    .described(),
];
