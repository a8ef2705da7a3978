//! What a first start would have to make, and whether it can.

use super::checkpoint::Position;
use super::database::{Facts, TableFacts};
use super::remedy::{create_publication, create_slot, drop_slot, identifier, table};
use super::sample::Sample;
use super::server::grant_create;
use super::{Finding, Remedy, long_transactions};
use crate::config::{Config, Snapshot};
use crate::postgres::catalog::Server;
use crate::status::HaltCode;

/// What is there, as far as it decides what must be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct There {
    slot: bool,
    publication: bool,
    checkpoint: bool,
    tables: bool,
    /// Our role owns every table.
    owner: bool,
}

/// Findings of a missing slot or publication.
pub(super) fn findings(config: &Config, facts: &Facts, position: &Position) -> Vec<Finding> {
    let there = There {
        slot: facts.slot.is_some(),
        publication: facts.publication.is_some(),
        // A snapshot that was only announced is still a first start.
        checkpoint: matches!(position, Position::Stored { checkpoint, .. }
            if !checkpoint.is_announced()),
        tables: facts.tables.iter().all(|table| table.table.is_some()),
        owner: facts.tables.iter().all(|table| table.owner),
    };
    let mut findings = missing(config, &facts.server, there);
    if !there.slot && config.create && !there.checkpoint {
        let sessions = &facts.sessions;
        findings.extend(long_transactions::blocking(config, &sessions.long, sessions.sees_all));
        if config.snapshot == Snapshot::Initial {
            let tables = facts.tables.iter();
            findings.extend(tables.filter_map(|table| may_read(&facts.server.role.name, table)));
        }
    }
    findings
}

fn missing(config: &Config, server: &Server, there: There) -> Vec<Finding> {
    let (slot, publication) = (&config.slot, &config.publication);
    let again = create_slot(slot, server.version_num);
    match (there.slot, there.publication) {
        (true, true) => Vec::new(),
        (false, _) if there.checkpoint => vec![
            Finding::problem(
                "slot",
                format!("replication slot {slot} does not exist, but a checkpoint is stored"),
                "rows committed since the checkpoint may be missing in Kafka; if the server failed over, the slot did not come along",
                Remedy::note("`walpost checkpoint accept` makes a new slot, after printing the range that may be missing"),
            )
            .halts(HaltCode::SlotMissing),
        ],
        (true, false) if there.checkpoint => vec![
            Finding::problem(
                "publication",
                format!("publication {publication} does not exist any more"),
                "rows committed since the checkpoint may be missing in Kafka",
                Remedy::sql([create_publication(config)])
                    .then("then `walpost checkpoint accept` goes on, after printing the range that may be missing"),
            )
            .halts(HaltCode::PublicationChanged),
        ],
        (true, false) => vec![
            Finding::problem(
                "publication",
                format!("replication slot {slot} exists, but publication {publication} does not"),
                "a slot reads with the catalog as it was when each row was written: rows from before the publication would be left out, or stop the stream",
                Remedy::sql([drop_slot(slot), create_publication(config), again]),
            )
            .halts(HaltCode::NotReady),
        ],
        (false, true) if config.create => {
            vec![Finding::ok("slot", format!("the first start makes replication slot {slot}"))]
        }
        (false, false) if config.create => {
            let made = Finding::ok(
                "slot",
                format!("the first start makes publication {publication} and replication slot {slot}"),
            );
            let mut findings = vec![made];
            findings.extend(may_publish(config, server, there));
            findings
        }
        (false, published) => {
            let mut sql = vec![again];
            if !published {
                sql.insert(0, create_publication(config));
            }
            let what = if published { "" } else { " and its publication" };
            vec![
                Finding::problem(
                    "slot",
                    format!("replication slot {slot}{what} does not exist, and WALPOST_CREATE is false"),
                    "there is nothing to read from",
                    Remedy::sql(sql).or_variable("WALPOST_CREATE", "true").then(
                        "in this order: a publication must be older than the slot that reads it",
                    ),
                )
                .halts(HaltCode::NotReady),
            ]
        }
    }
}

fn may_publish(config: &Config, server: &Server, there: There) -> Option<Finding> {
    let role = &server.role;
    if role.superuser || !there.tables || (role.create_in_database && there.owner) {
        return None;
    }
    let (found, remedy) = if there.owner {
        (
            format!("role {} may not create a publication in this database", role.name),
            Remedy::sql([grant_create(&config.database.database, &role.name)])
                .then(format!("or let somebody else run {}", create_publication(config))),
        )
    } else {
        (
            format!("role {} does not own every outbox table, so may not publish them", role.name),
            Remedy::sql([create_publication(config)])
                .then("as the tables' owner, or a superuser; the relay then needs REPLICATION, and SELECT on the tables for what is in them already"),
        )
    };
    Some(
        Finding::problem("publication", found, "the first start could not make it", remedy)
            .halts(HaltCode::Authorization),
    )
}

/// The rows that are in the table can be sent, all of them.
fn may_read(role: &str, facts: &TableFacts) -> Option<Finding> {
    let name = &facts.name;
    let instead = |remedy: Remedy| {
        remedy
            .or_variable("WALPOST_SNAPSHOT", "never")
            .then("with never, only what is inserted from the first start on is sent")
    };
    if facts.sample == Sample::Forbidden {
        let remedy = Remedy::sql([
            format!("GRANT USAGE ON SCHEMA {} TO {}", identifier(&name.schema), identifier(role)),
            format!("GRANT SELECT ON {} TO {}", table(name), identifier(role)),
        ]);
        return Some(
            Finding::problem(
                "snapshot",
                format!("role {role} may not read table {name}"),
                "the first start sends the rows that are in the table before the stream",
                instead(remedy),
            )
            .halts(HaltCode::NotReady),
        );
    }
    let hidden = facts.table.as_ref().is_some_and(|table| table.row_security);
    hidden.then(|| {
        Finding::problem(
            "snapshot",
            format!("row-level security of table {name} may hide rows from role {role}"),
            "the first start sends the rows that are in the table, and hidden ones would be left out without a word",
            instead(Remedy::sql([format!("ALTER ROLE {} BYPASSRLS", identifier(role))])),
        )
        .halts(HaltCode::NotReady)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::server::tests::good;

    const ALL: There =
        There { slot: true, publication: true, checkpoint: true, tables: true, owner: true };

    #[track_caller]
    fn check(more: &[(&str, &str)], there: There, expected: &[(&str, Option<HaltCode>, &[&str])]) {
        let mut server = good();
        server.version_num = 170_000;
        let found = missing(&config(more), &server, there);
        let found: Vec<_> = found
            .iter()
            .filter(|finding| finding.level != Level::Ok)
            .map(|finding| {
                let sql = finding.remedy.clone().unwrap_or_default().sql;
                (finding.check, finding.halt, sql)
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(check, halt, sql)| {
                (*check, *halt, sql.iter().map(|&sql| sql.to_owned()).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_missing_is_made_or_needs_a_statement() {
        const PUBLICATION: &str = "CREATE PUBLICATION \"walpost\" FOR TABLE \"public\".\"outbox\" \
            WITH (publish = 'insert', publish_via_partition_root = true)";
        const SLOT: &str = "SELECT pg_create_logical_replication_slot('walpost', 'pgoutput', \
            failover => true)";
        const DROP: &str = "SELECT pg_drop_replication_slot('walpost')";
        let fixed = [("WALPOST_CREATE", "false")];
        let fresh = There { checkpoint: false, ..ALL };
        check(&[], ALL, &[]);
        check(&[], fresh, &[]);
        check(&[], There { slot: false, ..ALL }, &[("slot", Some(HaltCode::SlotMissing), &[])]);
        check(
            &[],
            There { publication: false, ..ALL },
            &[("publication", Some(HaltCode::PublicationChanged), &[PUBLICATION])],
        );
        check(
            &[],
            There { publication: false, ..fresh },
            &[("publication", Some(HaltCode::NotReady), &[DROP, PUBLICATION, SLOT])],
        );
        check(&[], There { slot: false, ..fresh }, &[]);
        check(
            &fixed,
            There { slot: false, ..fresh },
            &[("slot", Some(HaltCode::NotReady), &[SLOT])],
        );
        let nothing = There { slot: false, publication: false, ..fresh };
        check(&fixed, nothing, &[("slot", Some(HaltCode::NotReady), &[PUBLICATION, SLOT])]);
        let grant = "GRANT CREATE ON DATABASE \"shop\" TO \"walpost\"";
        check(&[], nothing, &[("publication", Some(HaltCode::Authorization), &[grant])]);
        check(
            &[],
            There { owner: false, ..nothing },
            &[("publication", Some(HaltCode::Authorization), &[PUBLICATION])],
        );
        check(&[], There { owner: false, tables: false, ..nothing }, &[]);
    }
}
