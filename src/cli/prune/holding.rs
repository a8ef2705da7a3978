//! Which transactions keep rows from being deleted, for whoever wonders why they stay.

use std::time::Duration;

use serde::Serialize;

use crate::config::Config;
use crate::error::Failure;
use crate::postgres::catalog::{Catalog, LongTransaction};

/// Transactions that have been open for less are everyday business.
const LONG: Duration = Duration::from_secs(10);

/// A transaction that goes on, so that rows that are younger stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Holding {
    /// Process id of its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    /// Identifier of a prepared one, which has no session.
    #[serde(skip_serializing_if = "Option::is_none")]
    prepared: Option<String>,
    database: String,
    /// For how long it has been open, in seconds.
    open_seconds: i64,
}

impl Holding {
    /// For people, with what ends it.
    pub(super) fn text(&self) -> String {
        let Self { pid, prepared, database, open_seconds } = self;
        let (who, end) = match prepared {
            Some(gid) => (
                format!("prepared transaction {gid:?}"),
                "COMMIT PREPARED or ROLLBACK PREPARED ends it, there, as its coordinator decided",
            ),
            None => (
                format!("the transaction of process {}", pid.unwrap_or(0)),
                "it ends by itself, or by pg_terminate_backend",
            ),
        };
        format!(
            "{who} in database {database} has been open for {open_seconds} s, and keeps every row that is younger: {end}"
        )
    }
}

/// Asks. A prepared transaction counts wherever it is, any other in this database only: so the
/// proof takes them.
///
/// # Errors
/// The connection or the query fails.
pub(super) async fn ask(config: &Config, catalog: &Catalog) -> Result<Vec<Holding>, Failure> {
    let open = catalog
        .long_transactions(LONG)
        .await
        .map_err(|error| Failure::postgres("read open transactions", &error))?;
    Ok(open.into_iter().filter_map(|open| holding(&config.database.database, open)).collect())
}

fn holding(ours: &str, open: LongTransaction) -> Option<Holding> {
    let here = open.database.as_deref() == Some(ours);
    let holds = open.prepared.is_some() || (here && open.has_xid);
    holds.then(|| Holding {
        pid: open.pid,
        prepared: open.prepared,
        database: open.database.unwrap_or_default(),
        open_seconds: open.age_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_transactions_count_everywhere_and_others_here_once_they_have_written() {
        #[track_caller]
        fn check(database: &str, prepared: Option<&str>, has_xid: bool, expected: bool) {
            let open = LongTransaction {
                pid: prepared.is_none().then_some(7),
                prepared: prepared.map(str::to_owned),
                database: Some(database.to_owned()),
                application_name: None,
                has_xid,
                age_seconds: 11,
            };
            assert_eq!(holding("shop", open).is_some(), expected);
        }
        check("shop", Some("a"), true, true);
        check("other", Some("a"), true, true);
        check("shop", None, true, true);
        check("shop", None, false, false);
        check("other", None, true, false);
    }
}
