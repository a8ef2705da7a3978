//! Goal: a table is an outbox with no settings where it can be, and says what it lacks where not.
//! Method: tables as lists of columns, and the roles or the whole message that follow.

use super::*;
use crate::cloudevent::options::{Mode, NullPayload, TimeUnit};
use crate::outbox::spread::HotAggregate;
use crate::outbox::template::Template;

/// The defaults of all options, in a database called `shop`.
pub(crate) fn options() -> EventOptions {
    EventOptions {
        database: "shop".into(),
        columns: std::collections::BTreeMap::new(),
        topic: Template::parse("outbox.event.{aggregate_type}").expect("template"),
        mode: Mode::Binary,
        source: None,
        type_template: Template::parse("{type}").expect("template"),
        datacontenttype: None,
        extensions: Vec::new(),
        time_unit: TimeUnit::Milliseconds,
        time_zone: "UTC".into(),
        null_payload: NullPayload::Tombstone,
        debezium_headers: false,
        max_event: 1_000_000,
        virtual_partitions: Vec::new(),
        schemas: None,
        reserved_topics: vec!["walpost.dlq".into()],
    }
}

fn map(columns: &str, options: &EventOptions) -> Result<Mapping, MappingError> {
    let table = TableName { schema: "public".into(), table: "outbox".into() };
    let columns: Vec<_> = columns
        .split_whitespace()
        .map(|column| {
            let (name, type_name) = column.split_once(':').unwrap_or((column, "text"));
            let mut types = TypeNames::new();
            types.learn(&crate::pgoutput::Type {
                oid: 1,
                namespace: "pg_catalog",
                name: type_name,
            });
            NamedColumn { name, column_type: types.resolve(1) }
        })
        .collect();
    Mapping::of_columns(table, &columns, options)
}

/// The places of the columns that play roles, as `role=place`.
#[track_caller]
fn check(columns: &str, options: &EventOptions, expected: &str) {
    let mapping = map(columns, options).expect(columns);
    let roles: Vec<_> = Role::ALL
        .into_iter()
        .filter_map(|role| {
            let field = mapping.role(role)?;
            Some(format!("{}={}", role.name().to_ascii_lowercase(), field.index))
        })
        .collect();
    assert_eq!(roles.join(" "), expected, "{columns}");
}

#[track_caller]
fn check_refused(columns: &str, options: &EventOptions, expected: &str) {
    let refused = map(columns, options).expect_err(columns).to_string();
    let expected = format!("table public.outbox cannot be read as an outbox: {expected}");
    assert_eq!(refused, expected, "{columns}");
}

fn choose(role: Role, choice: ColumnChoice) -> EventOptions {
    let mut options = options();
    options.columns.insert(role, choice);
    options
}

fn named(column: &str) -> ColumnChoice {
    ColumnChoice::Named(column.into())
}

#[test]
fn debeziums_table_needs_no_settings() {
    check(
        "id aggregatetype aggregateid type payload:jsonb timestamp:timestamptz tracingspancontext",
        &options(),
        "id=0 aggregate_type=1 aggregate_id=2 type=3 payload=4 time=5",
    );
    let columns = "id aggregatetype type payload tracingspancontext";
    let mapping = map(columns, &options()).expect("mapping");
    assert_eq!(mapping.span_context().map(|field| field.index), Some(4));
    let mapping = map(&format!("{columns} traceparent"), &options()).expect("mapping");
    assert_eq!(mapping.span_context(), None, "a column of its own wins");
    let without = choose(Role::TraceParent, ColumnChoice::Absent);
    assert_eq!(map(columns, &without).expect("mapping").span_context(), None);
}

#[test]
fn the_first_alias_that_is_there_wins() {
    check(
        "event_id id data payload event_type aggregate_type event_time:int8 created_at:date \
         tenant tenant_id schemaversion",
        &options(),
        "id=1 aggregate_type=5 type=4 payload=3 time=7 tenant_id=9 schema_version=10",
    );
}

#[test]
fn a_choice_wins_over_aliases() {
    let table = "id pk aggregatetype type payload";
    check(table, &choose(Role::Id, named("pk")), "id=1 aggregate_type=2 type=3 payload=4");
    check(
        &format!("{table} subject"),
        &choose(Role::Subject, ColumnChoice::Absent),
        "id=0 aggregate_type=2 type=3 payload=4",
    );
    check_refused(
        table,
        &choose(Role::Subject, named("subj")),
        "there is no published column \"subj\", which WALPOST_COLUMN_SUBJECT names",
    );
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    check_refused(
        "key body",
        &options(),
        "no column for the id (looked for id, event_id), set WALPOST_COLUMN_ID to its name; \
         no column for the type (looked for type, event_type), set WALPOST_COLUMN_TYPE to its \
         name; no column for the payload (looked for payload, data), set WALPOST_COLUMN_PAYLOAD \
         to its name; WALPOST_TOPIC uses {aggregate_type}, and no column plays that role (looked \
         for aggregatetype, aggregate_type), set WALPOST_TOPIC or WALPOST_COLUMN_AGGREGATE_TYPE",
    );
}

#[test]
fn the_type_column_is_needed_only_by_its_template() {
    let mut options = options();
    options.type_template = Template::parse("com.example.order").expect("template");
    check("id payload aggregatetype", &options, "id=0 aggregate_type=2 payload=1");
    options.topic = Template::parse("a.{type}").expect("template");
    check_refused(
        "id payload aggregatetype",
        &options,
        "WALPOST_TOPIC uses {type}, and no column plays that role (looked for type, event_type), \
         set WALPOST_TOPIC or WALPOST_COLUMN_TYPE",
    );
}

#[test]
fn a_template_may_use_any_column() {
    let mut options = options();
    options.topic = Template::parse("{region}.{type}").expect("template");
    let mapping = map("id type payload region", &options).expect("mapping");
    let column = |index, name: &str| Piece::Column {
        field: Field { index, column_type: ColumnType::Text },
        name: name.into(),
    };
    let pieces = [column(3, "region"), Piece::Literal(".".into()), column(1, "type")];
    assert_eq!(mapping.topic(), Some(pieces.as_slice()));
    check_refused(
        "id type payload",
        &options,
        "WALPOST_TOPIC uses {region}, and there is no such published column",
    );
}

#[test]
fn a_table_with_a_topic_column_needs_no_aggregate_type() {
    let mapping = map("id type payload topic", &options()).expect("mapping");
    assert_eq!(mapping.topic(), None);
}

#[test]
fn extensions_need_their_columns() {
    let mut options = options();
    options.extensions = vec![("region".into(), "zone".into())];
    let table = "id type payload aggregatetype";
    check_refused(
        table,
        &options,
        "there is no published column \"zone\", which WALPOST_CE_EXTENSIONS names for region",
    );
    let mapping = map(&format!("{table} zone:int4"), &options).expect("mapping");
    let field = Field { index: 4, column_type: ColumnType::Int4 };
    assert_eq!(mapping.extensions(), [Extension { name: "region".into(), field }]);
}

#[test]
fn an_extension_that_a_role_makes_is_the_role() {
    let mut options = options();
    options.extensions = vec![("tenantid".into(), "customer".into())];
    let table = "id type payload aggregatetype tenant_id customer";
    let mapping = map(table, &options).expect("mapping");
    assert_eq!(mapping.role(Role::TenantId).map(|field| field.index), Some(5));
    assert_eq!(mapping.extensions(), []);
    options.columns.insert(Role::TenantId, named("tenant_id"));
    check_refused(
        table,
        &options,
        "WALPOST_CE_EXTENSIONS and WALPOST_COLUMN_TENANT_ID (= tenant_id) name different columns \
         for tenantid, leave one of them out",
    );
}

#[test]
fn a_column_of_the_wrong_type_is_named() {
    check_refused(
        "id type payload aggregatetype timestamp:bool headers:bytea",
        &options(),
        "column \"timestamp\" has no type for the time, which is timestamp, timestamptz, date, an \
         integer or text; WALPOST_COLUMN_TIME=- leaves it out; column \"headers\" has no type for \
         the headers, which is json, jsonb or text; WALPOST_COLUMN_HEADERS=- leaves it out",
    );
}

#[test]
fn the_source_names_database_schema_and_table() {
    let mapping = map("id type payload aggregatetype", &options()).expect("mapping");
    assert_eq!(mapping.source(), "/shop/public/outbox");
    assert_eq!(mapping.table_text(), "public.outbox");
}

#[test]
fn a_domain_is_its_base_type_and_an_enum_is_text() {
    let mut types = TypeNames::new();
    types.learn(&crate::pgoutput::Type { oid: 16_394, namespace: "pg_catalog", name: "jsonb" });
    types.learn(&crate::pgoutput::Type { oid: 16_386, namespace: "public", name: "mood" });
    types.learn(&crate::pgoutput::Type { oid: 16_387, namespace: "public", name: "json" });
    types.learn(&crate::pgoutput::Type { oid: 16_388, namespace: "ext", name: "citext" });
    for (oid, expected) in [
        (16_394, ColumnType::Jsonb),
        (16_386, ColumnType::Other),
        (16_387, ColumnType::Other),
        (16_388, ColumnType::Text),
        (16_999, ColumnType::Other),
        (3802, ColumnType::Jsonb),
        (1042, ColumnType::Char),
        (1700, ColumnType::Other),
        (2950, ColumnType::Other),
    ] {
        assert_eq!(types.resolve(oid), expected, "{oid}");
    }
}

#[test]
fn a_tuple_that_does_not_fit_the_relation_is_malformed() {
    let mapping = map("id type payload aggregatetype", &options()).expect("mapping");
    let mut scratch = RowScratch::new();
    for (tuple, expected) in [
        (b"\0\x03nnn".as_slice(), "as many columns as the relation has at byte 8"),
        (b"\0\x04nnnu", "an inserted row with all its values at byte 8"),
        (b"\0\x04nnnb\0\0\0\0", "columns in text format at byte 8"),
        (b"\0\x04nnn", "kind of column value at byte 11"),
        (b"\0\x04nnnnn", "end of the tuple at byte 12"),
    ] {
        let message = [b"I\0\0\0\x01N", tuple].concat();
        let Ok(crate::pgoutput::LogicalMessage::Insert { tuple, .. }) =
            crate::pgoutput::decode(&message)
        else {
            panic!("an insert")
        };
        let malformed = mapping.row(&mut scratch, tuple).expect_err(expected).to_string();
        assert_eq!(malformed, format!("malformed replication message 'I': expected {expected}"));
    }
}

#[test]
fn a_hot_aggregate_needs_its_column_and_those_that_tell_it_from_others() {
    let options = EventOptions {
        virtual_partitions: vec![HotAggregate {
            aggregate_type: "order".into(),
            aggregate_id: "4711".into(),
            sub_keys: 16,
            column: "line".into(),
        }],
        ..options()
    };
    let mapping = map("id type payload aggregatetype aggregateid line", &options).unwrap();
    assert_eq!(mapping.spreads().len(), 1);
    check_refused(
        "id type payload aggregatetype aggregateid",
        &options,
        "there is no published column \"line\", which WALPOST_VIRTUAL_PARTITIONS names",
    );
    check_refused(
        "id type payload aggregatetype line",
        &options,
        "WALPOST_VIRTUAL_PARTITIONS needs a column for the aggregate_id (looked for aggregateid, aggregate_id), set WALPOST_COLUMN_AGGREGATE_ID",
    );
}
