//! The roles that a column of an outbox table can play, and the names it is looked for under.

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Role {
    /// Becomes `id`.
    Id,
    /// Goes into the topic template.
    AggregateType,
    /// Record key and `subject`.
    AggregateId,
    /// Becomes `type`.
    Type,
    /// The value.
    Payload,
    /// Becomes `time`.
    Time,
    /// Becomes `datacontenttype`.
    ContentType,
    /// Becomes `dataschema`.
    DataSchema,
    /// Overrides `source`.
    Source,
    /// Overrides `subject`.
    Subject,
    /// Record key and the extension `partitionkey`.
    PartitionKey,
    /// Topic of this row.
    Topic,
    /// Plain Kafka headers, a JSON object.
    Headers,
    /// Extension and plain header `traceparent`.
    TraceParent,
    /// Extension and plain header `tracestate`.
    TraceState,
    /// Extension `correlationid`.
    CorrelationId,
    /// Extension `causationid`.
    CausationId,
    /// Extension `tenantid`.
    TenantId,
    /// For templates only.
    SchemaVersion,
}

impl Role {
    /// Every role, in the order of the contract's table; `ALL[role as usize] == role`.
    pub const ALL: [Self; 19] = [
        Self::Id,
        Self::AggregateType,
        Self::AggregateId,
        Self::Type,
        Self::Payload,
        Self::Time,
        Self::ContentType,
        Self::DataSchema,
        Self::Source,
        Self::Subject,
        Self::PartitionKey,
        Self::Topic,
        Self::Headers,
        Self::TraceParent,
        Self::TraceState,
        Self::CorrelationId,
        Self::CausationId,
        Self::TenantId,
        Self::SchemaVersion,
    ];

    /// The name in `WALPOST_COLUMN_<ROLE>` and, in lower case, in templates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::AggregateType => "AGGREGATE_TYPE",
            Self::AggregateId => "AGGREGATE_ID",
            Self::Type => "TYPE",
            Self::Payload => "PAYLOAD",
            Self::Time => "TIME",
            Self::ContentType => "CONTENT_TYPE",
            Self::DataSchema => "DATASCHEMA",
            Self::Source => "SOURCE",
            Self::Subject => "SUBJECT",
            Self::PartitionKey => "PARTITION_KEY",
            Self::Topic => "TOPIC",
            Self::Headers => "HEADERS",
            Self::TraceParent => "TRACEPARENT",
            Self::TraceState => "TRACESTATE",
            Self::CorrelationId => "CORRELATION_ID",
            Self::CausationId => "CAUSATION_ID",
            Self::TenantId => "TENANT_ID",
            Self::SchemaVersion => "SCHEMA_VERSION",
        }
    }

    /// Column names looked for when none is configured; the first hit wins.
    #[must_use]
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Id => &["id", "event_id"],
            Self::AggregateType => &["aggregatetype", "aggregate_type"],
            Self::AggregateId => &["aggregateid", "aggregate_id"],
            Self::Type => &["type", "event_type"],
            Self::Payload => &["payload", "data"],
            Self::Time => &["created_at", "timestamp", "occurred_at", "event_time"],
            Self::ContentType => &["content_type", "datacontenttype"],
            Self::DataSchema => &["dataschema", "data_schema"],
            Self::Source => &["source"],
            Self::Subject => &["subject"],
            Self::PartitionKey => &["partition_key"],
            Self::Topic => &["topic"],
            Self::Headers => &["headers"],
            Self::TraceParent => &["traceparent"],
            Self::TraceState => &["tracestate"],
            Self::CorrelationId => &["correlation_id"],
            Self::CausationId => &["causation_id"],
            Self::TenantId => &["tenant_id", "tenant"],
            Self::SchemaVersion => &["schema_version", "schemaversion"],
        }
    }
}

/// What the configuration says about a role's column (`WALPOST_COLUMN_<ROLE>`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ColumnChoice {
    /// Nothing: the aliases decide.
    #[default]
    ByAlias,
    /// This column, which must be there.
    Named(String),
    /// No column plays this role (`-`).
    Absent,
}

/// A table's name as it is in the catalog, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Schema (namespace).
    pub schema: String,
    /// Table.
    pub table: String,
}

/// What stands for the schema of rows that came as messages, in `source` and in what is said of a
/// row. No schema of a user is called so: Postgres keeps names that begin with `pg_` for itself.
const MESSAGES: &str = "pg_logical_emit_message";

impl TableName {
    /// What stands for the table of rows that came as messages with this prefix.
    #[must_use]
    pub fn of_messages(prefix: &str) -> Self {
        Self { schema: MESSAGES.to_owned(), table: prefix.to_owned() }
    }

    /// It stands for messages, and is no table.
    #[must_use]
    pub fn is_of_messages(&self) -> bool {
        self.schema == MESSAGES
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}
