//! Transactions that have been open for long: what they hold up depends on whether there is a slot.

use super::remedy::{identifier, literal};
use super::{Finding, Remedy};
use crate::config::Config;
use crate::postgres::catalog::LongTransaction;

const CHECK: &str = "long_transactions";

/// Those that the creation of a slot would wait for.
pub(super) fn blocking(config: &Config, long: &[LongTransaction], sees_all: bool) -> Vec<Finding> {
    let why = "the creation of the slot waits until it ends";
    let mut findings: Vec<_> = long
        .iter()
        .filter(|transaction| transaction.has_xid)
        .map(|transaction| finding(transaction, why))
        .collect();
    if findings.is_empty() {
        let seen = Finding::ok(
            CHECK,
            "no transaction that is visible to us would hold up the creation of the slot",
        );
        findings.push(if sees_all {
            seen
        } else {
            let role = identifier(&config.database.user);
            Finding {
                remedy: Some(
                    Remedy::sql([format!("GRANT pg_read_all_stats TO {role}")])
                        .then("only if this check is to see the transactions of other roles"),
                ),
                ..seen
            }
        });
    }
    findings
}

/// Prepared ones beside a slot that is there. No process has them, no restart ends them, and
/// nothing else tells of one whose coordinator has forgotten it.
pub(super) fn prepared(long: &[LongTransaction]) -> Vec<Finding> {
    let why = "what it inserted is sent only when it is committed; until it ends, the slot holds back the log from its beginning on, and `walpost prune` deletes no row that is younger";
    long.iter()
        .filter(|transaction| transaction.prepared.is_some())
        .map(|transaction| finding(transaction, why))
        .collect()
}

fn finding(transaction: &LongTransaction, why: &'static str) -> Finding {
    let (who, remedy) = match (&transaction.prepared, transaction.pid) {
        (Some(gid), _) => (
            format!("prepared transaction {gid:?}"),
            Remedy::sql([format!("ROLLBACK PREPARED {}", literal(gid))]).then(
                "in its own database, or COMMIT PREPARED: as the coordinator decided that prepared it",
            ),
        ),
        (None, pid) => {
            let pid = pid.unwrap_or(0);
            (
                format!("the transaction of process {pid}"),
                Remedy::sql([format!("SELECT pg_terminate_backend({pid})")])
                    .then("or let it end"),
            )
        }
    };
    let database = transaction.database.as_deref().unwrap_or("none");
    let found =
        format!("{who} in database {database} has been open for {} s", transaction.age_seconds);
    Finding::warning(CHECK, found, why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;

    #[test]
    fn only_transactions_with_an_id_hold_up_the_slot() {
        let transaction = |pid, prepared: Option<&str>, has_xid| LongTransaction {
            pid,
            prepared: prepared.map(str::to_owned),
            database: Some("shop".to_owned()),
            application_name: None,
            has_xid,
            age_seconds: 11,
        };
        let long = [
            transaction(Some(1), None, false),
            transaction(Some(2), None, true),
            transaction(None, Some("it's"), true),
        ];
        let found = blocking(&config(&[]), &long, true);
        let sql: Vec<_> = found
            .iter()
            .flat_map(|finding| finding.remedy.clone().unwrap_or_default().sql)
            .collect();
        assert_eq!(sql, ["SELECT pg_terminate_backend(2)", "ROLLBACK PREPARED 'it''s'"]);
        assert_eq!(prepared(&long).len(), 1, "only the one that no process has");
        let found = blocking(&config(&[]), &long[..1], true);
        assert_eq!(found.first().map(|finding| finding.level), Some(Level::Ok));
    }
}
