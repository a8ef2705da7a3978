//! An outbox table and its columns.

use super::database::TableFacts;
use super::remedy::{identifier, table};
use super::{Finding, Remedy, rows};
use crate::config::Config;
use crate::outbox::column::ColumnType;
use crate::outbox::mapping::{Mapping, MappingError, MappingProblem, NamedColumn};
use crate::outbox::role::{ColumnChoice, Role};
use crate::postgres::catalog::Column;
use crate::status::HaltCode;

/// Findings of one table.
pub(super) fn findings(config: &Config, facts: &TableFacts) -> Vec<Finding> {
    let Some(found) = &facts.table else { return vec![missing(config, facts)] };
    if let Some(unusable) = unusable(facts, found.relkind) {
        return vec![unusable];
    }
    let mapping = match mapping(config, facts) {
        Ok(mapping) => mapping,
        Err(error) => {
            return error.problems.iter().map(|problem| unmapped(facts, problem)).collect();
        }
    };
    let mut findings = vec![Finding::ok("table", mapped(facts, &mapping))];
    findings.extend(rows::ids(config, &mapping));
    findings.extend(rows::findings(config, facts));
    findings
}

fn missing(config: &Config, facts: &TableFacts) -> Finding {
    let column = |role: Role, definition: &str| match config.events.columns.get(&role) {
        Some(ColumnChoice::Absent) => None,
        Some(ColumnChoice::Named(name)) => Some(format!("{} {definition}", identifier(name))),
        Some(ColumnChoice::ByAlias) | None => {
            let name = role.aliases().first()?;
            Some(format!("{} {definition}", identifier(name)))
        }
    };
    let columns: Vec<_> = [
        column(Role::Id, "uuid PRIMARY KEY"),
        column(Role::AggregateType, "text NOT NULL"),
        column(Role::AggregateId, "text NOT NULL"),
        column(Role::Type, "text NOT NULL"),
        column(Role::Payload, "jsonb NOT NULL"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut sql = vec![format!("CREATE TABLE {} ({})", table(&facts.name), columns.join(", "))];
    if facts.name.schema != "public" {
        let schema = identifier(&facts.name.schema);
        sql.insert(0, format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
    }
    Finding::problem(
        "table",
        format!("table {} does not exist in database {}", facts.name, config.database.database),
        "there is no outbox to follow",
        Remedy::sql(sql).then("as the application's role, or name the outbox in WALPOST_TABLE"),
    )
    .halts(HaltCode::NotReady)
}

fn unusable(facts: &TableFacts, relkind: char) -> Option<Finding> {
    let name = &facts.name;
    if !matches!(relkind, 'r' | 'p') {
        return Some(
            Finding::problem(
                "table",
                format!("{name} is no table"),
                "only inserts into a table are in the log",
                Remedy::note("name the table itself in WALPOST_TABLE, not a view of it"),
            )
            .halts(HaltCode::NotReady),
        );
    }
    if facts.storage.is_some_and(|storage| storage.unlogged) {
        return Some(
            Finding::problem(
                "table",
                format!("table {name} is unlogged"),
                "its rows are not in the log",
                Remedy::sql([format!("ALTER TABLE {} SET LOGGED", table(name))]),
            )
            .halts(HaltCode::NotReady),
        );
    }
    None
}

/// The columns that walpost will see, as the stream will describe them.
pub(super) fn columns(facts: &TableFacts) -> Vec<&Column> {
    let Some(found) = &facts.table else { return Vec::new() };
    let sent = |column: &&Column| match &facts.sent {
        Some(sent) => sent.columns.contains(&column.name),
        None => !column.generated,
    };
    found.columns.iter().filter(sent).collect()
}

/// Which column plays which role.
pub(super) fn mapping(config: &Config, facts: &TableFacts) -> Result<Mapping, MappingError> {
    let columns: Vec<_> = columns(facts)
        .into_iter()
        .map(|column| NamedColumn { name: &column.name, column_type: column_type(column) })
        .collect();
    Mapping::of_columns(facts.name.clone(), &columns, &config.events)
}

fn column_type(column: &Column) -> ColumnType {
    // An extension's type, which has another object id in each database.
    if column.base_type_name.rsplit('.').next() == Some("citext") {
        return ColumnType::Text;
    }
    ColumnType::of_oid(column.base_type_oid)
}

fn mapped(facts: &TableFacts, mapping: &Mapping) -> String {
    let columns = columns(facts);
    let roles: Vec<_> = Role::ALL
        .iter()
        .filter_map(|role| {
            let field = mapping.role(*role)?;
            let column = columns.get(field.index)?;
            Some(format!("{} {}", role.name().to_ascii_lowercase(), column.name))
        })
        .collect();
    format!("table {}: {}", facts.name, roles.join(", "))
}

fn unmapped(facts: &TableFacts, problem: &MappingProblem) -> Finding {
    let add = |name: &str, definition: &str| {
        Remedy::sql([format!(
            "ALTER TABLE {} ADD COLUMN {} {definition}",
            table(&facts.name),
            identifier(name)
        )])
    };
    let definition = |role: &Role| match role {
        Role::Id => "uuid DEFAULT gen_random_uuid()",
        Role::Payload | Role::Headers => "jsonb",
        Role::Time => "timestamptz",
        Role::AggregateType
        | Role::AggregateId
        | Role::Type
        | Role::ContentType
        | Role::DataSchema
        | Role::Source
        | Role::Subject
        | Role::PartitionKey
        | Role::Topic
        | Role::TraceParent
        | Role::TraceState
        | Role::CorrelationId
        | Role::CausationId
        | Role::TenantId
        | Role::SchemaVersion => "text",
    };
    let first = |role: &Role| role.aliases().first().copied().unwrap_or("column");
    let variable = |role: &Role| format!("WALPOST_COLUMN_{}", role.name());
    let remedy = match problem {
        MappingProblem::RequiredRole { role } => {
            add(first(role), definition(role)).or_variable(&variable(role), "<column>")
        }
        MappingProblem::NamedColumn { role, column } => {
            add(column, definition(role)).or_variable(&variable(role), "<column>")
        }
        MappingProblem::RoleType { role, .. } => Remedy::variable(&variable(role), "-"),
        MappingProblem::ExtensionColumn { column, .. } => {
            add(column, "text").or_variable("WALPOST_CE_EXTENSIONS", "<name=column,…>")
        }
        MappingProblem::TwoColumns { role, .. } => {
            Remedy::note(format!("correct WALPOST_CE_EXTENSIONS or {}", variable(role)))
        }
        MappingProblem::SpreadColumn { column } => {
            add(column, "text").or_variable("WALPOST_VIRTUAL_PARTITIONS", "<type/id=n:column,…>")
        }
        MappingProblem::SpreadRole { role } => {
            add(first(role), definition(role)).or_variable(&variable(role), "<column>")
        }
        MappingProblem::TemplateColumn { variable: template, name, role } => {
            let (name, definition) = match role {
                Some(role) => (first(role), definition(role)),
                None => (name.as_str(), "text"),
            };
            add(name, definition).or_variable(template, "<template>")
        }
    };
    let remedy = match &facts.sent {
        Some(_) => remedy
            .then("a column that is in the table may be left out of the publication's column list"),
        None => remedy,
    };
    Finding::problem(
        "columns",
        format!("table {}: {problem}", facts.name),
        "without it no row of the table becomes an event",
        remedy,
    )
    .halts(HaltCode::TableChanged)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::sample::Sample;
    use crate::outbox::role::TableName;
    use crate::postgres::catalog::{Sent, Storage, Table};

    fn column(attnum: i16, name: &str, type_oid: u32) -> Column {
        Column {
            name: name.to_owned(),
            attnum,
            type_name: "x".to_owned(),
            type_oid,
            base_type_oid: type_oid,
            base_type_name: "x".to_owned(),
            not_null: true,
            has_default: false,
            generated: false,
        }
    }

    /// Debezium's table, with the object id 10.
    pub(in crate::check) fn facts() -> TableFacts {
        let columns = [
            ("id", 2950),
            ("aggregatetype", 25),
            ("aggregateid", 25),
            ("type", 25),
            ("payload", 3802),
        ];
        let columns =
            (1..).zip(columns).map(|(attnum, (name, oid))| column(attnum, name, oid)).collect();
        TableFacts {
            name: TableName { schema: "public".to_owned(), table: "outbox".to_owned() },
            table: Some(Table {
                oid: 10,
                relkind: 'r',
                replica_identity: 'd',
                row_security: false,
                columns,
                primary_key: vec!["id".to_owned()],
            }),
            storage: Some(Storage { unlogged: false, pages: 1 }),
            owner: true,
            sent: None,
            filter: None,
            sample: Sample::None,
        }
    }

    fn of(change: impl FnOnce(&mut TableFacts)) -> TableFacts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    #[track_caller]
    fn check(
        more: &[(&str, &str)],
        facts: &TableFacts,
        expected: (&str, Level),
        sql: Option<&str>,
    ) {
        let found = findings(&config(more), facts);
        let worst = found.iter().max_by_key(|finding| finding.level).expect("a finding");
        assert_eq!((worst.check, worst.level), expected, "{found:#?}");
        let remedy = worst.remedy.clone().unwrap_or_default();
        assert_eq!(remedy.sql.last().map(String::as_str), sql, "{found:#?}");
    }

    #[test]
    fn what_is_missing_is_added_under_its_real_name() {
        use Level::{Ok, Problem};
        check(&[], &facts(), ("table", Ok), None);
        check(
            &[("WALPOST_COLUMN_ID", "Event"), ("WALPOST_COLUMN_AGGREGATE_ID", "-")],
            &of(|facts| facts.table = None),
            ("table", Problem),
            Some(
                "CREATE TABLE \"public\".\"outbox\" (\"Event\" uuid PRIMARY KEY, \
                 \"aggregatetype\" text NOT NULL, \"type\" text NOT NULL, \
                 \"payload\" jsonb NOT NULL)",
            ),
        );
        let without_type = |facts: &mut TableFacts| {
            facts.table.as_mut().expect("a table").columns.retain(|column| column.name != "type");
        };
        check(
            &[],
            &of(without_type),
            ("columns", Problem),
            Some("ALTER TABLE \"public\".\"outbox\" ADD COLUMN \"type\" text"),
        );
        check(
            &[("WALPOST_COLUMN_TIME", "At")],
            &facts(),
            ("columns", Problem),
            Some("ALTER TABLE \"public\".\"outbox\" ADD COLUMN \"At\" timestamptz"),
        );
    }

    #[test]
    fn a_table_whose_rows_are_not_in_the_log_is_a_problem() {
        use Level::Problem;
        check(
            &[],
            &of(|facts| facts.storage = Some(Storage { unlogged: true, pages: 0 })),
            ("table", Problem),
            Some("ALTER TABLE \"public\".\"outbox\" SET LOGGED"),
        );
        let view = |facts: &mut TableFacts| facts.table.as_mut().expect("a table").relkind = 'v';
        check(&[], &of(view), ("table", Problem), None);
    }

    #[test]
    fn only_published_columns_play_a_role() {
        let sent = Sent { columns: vec!["id".to_owned(), "type".to_owned()], row_filter: None };
        let facts = of(|facts| facts.sent = Some(sent));
        let found = findings(&config(&[]), &facts);
        assert_eq!(found.len(), 2, "payload and aggregate_type: {found:#?}");
        assert!(found.iter().all(|finding| finding.level == Level::Problem), "{found:#?}");
    }

    #[test]
    fn bad_rows_weigh_as_much_as_the_policy_makes_them() {
        use Level::{Ok, Problem, Warning};
        let sample = |bad: &[(&str, usize)]| {
            let bad = bad.iter().map(|(message, count)| ((*message).to_owned(), *count)).collect();
            of(|facts| facts.sample = Sample::Rows { rows: 9, bad, topics: BTreeMap::new() })
        };
        check(&[], &sample(&[]), ("rows", Ok), None);
        let bad = sample(&[("id is empty (empty)", 2)]);
        check(&[], &bad, ("rows", Warning), None);
        check(&[("WALPOST_ON_BAD_ROW", "skip")], &bad, ("rows", Warning), None);
        check(&[("WALPOST_ON_BAD_ROW", "halt")], &bad, ("rows", Problem), None);
        check(
            &[],
            &of(|facts| facts.sample = Sample::Forbidden),
            ("rows", Ok),
            Some("GRANT SELECT ON \"public\".\"outbox\" TO \"walpost\""),
        );
    }

    #[test]
    fn numbers_as_ids_want_a_source_of_their_own() {
        let number = |facts: &mut TableFacts| {
            let table = facts.table.as_mut().expect("a table");
            table.columns[0] = column(1, "id", 20);
        };
        check(&[], &of(number), ("ids", Level::Warning), None);
        check(
            &[("WALPOST_CE_SOURCE", "//example.com/shop")],
            &of(number),
            ("table", Level::Ok),
            None,
        );
    }
}
