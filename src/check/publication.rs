//! The publication: whether it sends every row of the outbox, and nothing else.

use super::database::TableFacts;
use super::remedy::{identifier, table};
use super::{Finding, Remedy, shards};
use crate::config::Config;
use crate::postgres::catalog::Publication;
use crate::status::HaltCode;

const CHECK: &str = "publication";

/// Said where a change of the publication would be seen as one that may have cost rows.
const ACCEPT: &str = "where a checkpoint is stored, walpost then halts (publication_changed) until `walpost checkpoint accept`, because rows of the time before may be missing";

/// Findings of a publication that exists; whether one may be made is another question.
pub(super) fn findings(
    config: &Config,
    publication: Option<&Publication>,
    tables: &[TableFacts],
) -> Vec<Finding> {
    let Some(publication) = publication else { return Vec::new() };
    let mut findings = actions(config, publication).into_iter().collect::<Vec<_>>();
    for facts in tables {
        findings.extend(membership(config, publication, facts));
        findings.extend(restrictions(config, facts));
        findings.extend(shards::filter(config, publication, facts));
    }
    findings.extend(others(config, publication, tables));
    if findings.is_empty() {
        let found = match (tables, config.shard) {
            ([], _) => "is there; messages are sent whatever it has".to_owned(),
            (_, None) => "sends the inserts of every outbox table".to_owned(),
            (_, Some(shard)) => format!("sends the inserts of {shard} of every outbox table"),
        };
        findings.push(Finding::ok(CHECK, format!("publication {} {found}", config.publication)));
    }
    findings
}

fn actions(config: &Config, publication: &Publication) -> Option<Finding> {
    let name = &config.publication;
    let remedy = || {
        Remedy::sql([format!("ALTER PUBLICATION {} SET (publish = 'insert')", identifier(name))])
    };
    if !publication.insert {
        return Some(
            Finding::problem(
                CHECK,
                format!("publication {name} does not publish inserts"),
                "no row would ever come",
                remedy().then(ACCEPT),
            )
            .halts(HaltCode::NotReady),
        );
    }
    let more: Vec<_> = [
        (publication.update, "updates"),
        (publication.delete, "deletes"),
        (publication.truncate, "truncates"),
    ]
    .iter()
    .filter_map(|(published, what)| published.then_some(*what))
    .collect();
    (!more.is_empty()).then(|| {
        Finding::warning(
            CHECK,
            format!("publication {name} also publishes {}", more.join(", ")),
            "they are no events; the server decodes and sends them all the same, and updates and deletes of a table without a primary key fail",
            remedy().then(ACCEPT),
        )
    })
}

fn membership(config: &Config, publication: &Publication, facts: &TableFacts) -> Option<Finding> {
    let found = facts.table.as_ref()?;
    let publication_name = &config.publication;
    if publication.tables.iter().any(|published| published.oid == found.oid) {
        return None;
    }
    if found.relkind == 'p' && !publication.via_partition_root {
        return Some(
            Finding::problem(
                CHECK,
                format!(
                    "publication {publication_name} sends the rows of the partitioned table {} under the names of its partitions",
                    facts.name
                ),
                "walpost knows the table, not its partitions",
                Remedy::sql([format!(
                    "ALTER PUBLICATION {} SET (publish_via_partition_root = true)",
                    identifier(publication_name)
                )])
                .then(ACCEPT),
            )
            .halts(HaltCode::NotReady),
        );
    }
    Some(
        Finding::problem(
            CHECK,
            format!("publication {publication_name} does not contain table {}", facts.name),
            "no row of it would ever come",
            Remedy::sql([format!(
                "ALTER PUBLICATION {} ADD TABLE {}",
                identifier(publication_name),
                table(&facts.name)
            )])
            .then(ACCEPT),
        )
        .halts(HaltCode::NotReady),
    )
}

/// Row filters and column lists.
fn restrictions(config: &Config, facts: &TableFacts) -> Vec<Finding> {
    let (Some(sent), Some(found)) = (&facts.sent, &facts.table) else { return Vec::new() };
    let mut findings = Vec::new();
    // The filters of shards are looked at by themselves.
    if let Some(filter) = sent.row_filter.as_ref().filter(|_| config.shard.is_none()) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "publication {} sends only those rows of {} with {filter}",
                config.publication, facts.name
            ),
            "the other rows never reach Kafka, and nothing counts them",
            unrestricted(config, facts),
        ));
    }
    let left_out: Vec<_> = found
        .columns
        .iter()
        .filter(|column| !column.generated && !sent.columns.contains(&column.name))
        .map(|column| column.name.as_str())
        .collect();
    if !left_out.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "publication {} leaves out columns of {}: {}",
                config.publication,
                facts.name,
                left_out.join(", ")
            ),
            "for walpost they are not there, whatever their names",
            unrestricted(config, facts),
        ));
    }
    findings
}

/// One transaction, so that no row falls between the two statements.
fn unrestricted(config: &Config, facts: &TableFacts) -> Remedy {
    if config.shard.is_some() {
        return Remedy::note("`walpost setup` prints the publications of all shards").then(ACCEPT);
    }
    let (publication, table) = (identifier(&config.publication), table(&facts.name));
    Remedy::sql([
        "BEGIN".to_owned(),
        format!("ALTER PUBLICATION {publication} DROP TABLE {table}"),
        format!("ALTER PUBLICATION {publication} ADD TABLE {table}"),
        "COMMIT".to_owned(),
    ])
    .then(ACCEPT)
}

/// Tables that nobody asked for.
fn others(config: &Config, publication: &Publication, tables: &[TableFacts]) -> Option<Finding> {
    let wanted =
        |oid| tables.iter().any(|facts| facts.table.as_ref().is_some_and(|table| table.oid == oid));
    let others: Vec<_> =
        publication.tables.iter().filter(|published| !wanted(published.oid)).collect();
    let first = others.first()?;
    // Partitions of a table that is not sent through its root have a finding of their own.
    if !publication.via_partition_root
        && tables.iter().any(|facts| facts.table.as_ref().is_some_and(|table| table.relkind == 'p'))
    {
        return None;
    }
    let name = identifier(&config.publication);
    let remedy = if publication.all_tables || !publication.schemas.is_empty() {
        Remedy::note(
            "make a publication FOR TABLE, with the outbox alone, and name it in WALPOST_PUBLICATION; a publication must be older than the slot that reads it",
        )
    } else {
        let drop = others.iter().map(|other| {
            let name = crate::outbox::role::TableName {
                schema: other.schema.clone(),
                table: other.name.clone(),
            };
            table(&name)
        });
        let drop: Vec<_> = drop.collect();
        Remedy::sql([format!("ALTER PUBLICATION {name} DROP TABLE {}", drop.join(", "))])
            .then("or list the tables in WALPOST_TABLE, if they are outboxes")
    };
    Some(Finding::warning(
        CHECK,
        format!(
            "publication {} also sends {} other table{}, such as {}.{}",
            config.publication,
            others.len(),
            if others.len() == 1 { "" } else { "s" },
            first.schema,
            first.name
        ),
        "the server decodes and sends their rows, and walpost throws them away",
        remedy,
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::table::tests::facts;
    use crate::config::env::Variables;
    use crate::postgres::catalog::{PublishedTable, Sent};

    /// A configuration of the database `shop`, and `more`.
    pub(in crate::check) fn config(more: &[(&str, &str)]) -> Config {
        let mut variables = vec![
            ("DATABASE_URL", "postgres://walpost@127.0.0.1/shop"),
            ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        ];
        variables.extend(more);
        let variables: Variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Config::load(&variables).expect("a configuration").config
    }

    fn good() -> Publication {
        let table = PublishedTable {
            schema: "public".to_owned(),
            name: "outbox".to_owned(),
            oid: 10,
            membership: None,
        };
        Publication {
            oid: 1,
            xmin: "2".to_owned(),
            insert: true,
            update: false,
            delete: false,
            truncate: false,
            via_partition_root: true,
            all_tables: false,
            tables: vec![table],
            schemas: Vec::new(),
        }
    }

    #[track_caller]
    fn check(publication: &Publication, facts: &TableFacts, expected: (Level, &[&str])) {
        let found = findings(&config(&[]), Some(publication), std::slice::from_ref(facts));
        assert_eq!(found.len(), 1, "{found:#?}");
        let sql = found.first().and_then(|finding| finding.remedy.clone()).unwrap_or_default().sql;
        let sql: Vec<_> = sql.iter().map(String::as_str).collect();
        assert_eq!((found[0].level, sql.as_slice()), expected, "{found:#?}");
    }

    #[test]
    fn each_way_to_lose_rows_has_its_statement() {
        use Level::{Ok, Problem, Warning};
        check(&good(), &facts(), (Ok, &[]));
        check(
            &Publication { insert: false, ..good() },
            &facts(),
            (Problem, &["ALTER PUBLICATION \"walpost\" SET (publish = 'insert')"]),
        );
        check(
            &Publication { delete: true, ..good() },
            &facts(),
            (Warning, &["ALTER PUBLICATION \"walpost\" SET (publish = 'insert')"]),
        );
        check(
            &Publication { tables: Vec::new(), ..good() },
            &facts(),
            (Problem, &["ALTER PUBLICATION \"walpost\" ADD TABLE \"public\".\"outbox\""]),
        );
        let mut partitioned = facts();
        partitioned.table.as_mut().expect("a table").relkind = 'p';
        check(
            &Publication { tables: Vec::new(), via_partition_root: false, ..good() },
            &partitioned,
            (Problem, &["ALTER PUBLICATION \"walpost\" SET (publish_via_partition_root = true)"]),
        );
    }

    #[test]
    fn what_the_publication_leaves_out_is_named() {
        let swap: &[&str] = &[
            "BEGIN",
            "ALTER PUBLICATION \"walpost\" DROP TABLE \"public\".\"outbox\"",
            "ALTER PUBLICATION \"walpost\" ADD TABLE \"public\".\"outbox\"",
            "COMMIT",
        ];
        let all: Vec<_> =
            facts().table.expect("a table").columns.into_iter().map(|column| column.name).collect();
        let sent = Sent { columns: all.clone(), row_filter: Some("(id > 3)".to_owned()) };
        check(&good(), &TableFacts { sent: Some(sent), ..facts() }, (Level::Warning, swap));
        let sent = Sent { columns: all.clone(), row_filter: None };
        check(&good(), &TableFacts { sent: Some(sent), ..facts() }, (Level::Ok, &[]));
        let sent = Sent { columns: all[1..].to_vec(), row_filter: None };
        check(&good(), &TableFacts { sent: Some(sent), ..facts() }, (Level::Warning, swap));
    }

    #[test]
    fn a_table_that_is_no_outbox_is_named() {
        let other = PublishedTable {
            schema: "Shop".to_owned(),
            name: "orders".to_owned(),
            oid: 11,
            membership: None,
        };
        let mut publication = good();
        publication.tables.push(other);
        check(
            &publication,
            &facts(),
            (Level::Warning, &["ALTER PUBLICATION \"walpost\" DROP TABLE \"Shop\".\"orders\""]),
        );
        check(&Publication { all_tables: true, ..publication }, &facts(), (Level::Warning, &[]));
    }
}
