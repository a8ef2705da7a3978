//! Dropping partitions of which every row is proven to be in Kafka.

use std::time::Duration;

use super::rows::NEWEST;
use super::{Horizon, Scope, Wanted};
use crate::error::Failure;
use crate::postgres::catalog::Catalog;
use crate::postgres::error::Error;
use crate::postgres::identifier::quote_qualified;
use serde::Serialize;

/// How long a lock is waited for. Writers queue behind a lock that waits.
const LOCK_LIMIT: Duration = Duration::from_millis(200);

/// How long it may take to look at all rows of a partition.
const LOOK_LIMIT: Duration = Duration::from_secs(600);

/// What becomes of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Dropping {
    /// The partition.
    pub(crate) partition: String,
    /// It is dropped, or would be; else why not.
    pub(crate) refused: Option<String>,
    /// Rows that go with it.
    pub(crate) rows: u64,
}

/// Drops the partitions whose range of times has passed and whose rows are all due; `dry_run` only
/// says which.
///
/// # Errors
/// The connection or a query fails.
pub(crate) async fn drop_partitions(
    catalog: &Catalog,
    (scope, horizon): (&Scope, &Horizon),
    wanted: &Wanted,
    dry_run: bool,
) -> Result<Vec<Dropping>, Failure> {
    let Some(leaves) = &scope.leaves else { return Ok(Vec::new()) };
    let Some(time) = &scope.time else { return Ok(Vec::new()) };
    let mut droppings = Vec::new();
    for leaf in leaves {
        let cutoff = time.compared("<=", wanted.cutoff());
        let mut dropping = Dropping { partition: leaf.name.to_string(), refused: None, rows: 0 };
        let quoted = quote_qualified(&leaf.name.schema, &leaf.name.table);
        let (Ok(quoted), Some(_)) = (quoted, cutoff) else { continue };
        if let (Err(why), false) = (leaf.streamed, wanted.including_undelivered) {
            dropping.refused = Some(why.to_owned());
        } else if let Some(why) = current(catalog, scope, (leaf.oid, wanted)).await? {
            dropping.refused = Some(why);
        } else {
            let attempt = Attempt { scope, horizon, wanted, quoted, oid: leaf.oid };
            match attempt.run(catalog, dry_run).await? {
                Ok(rows) => dropping.rows = rows,
                Err(why) => dropping.refused = Some(why),
            }
        }
        droppings.push(dropping);
    }
    Ok(droppings)
}

/// Why rows may still be written to a partition; `None` when its range ends before the cutoff.
async fn current(
    catalog: &Catalog,
    scope: &Scope,
    (oid, wanted): (u32, &Wanted),
) -> Result<Option<String>, Failure> {
    // The upper bound of `FOR VALUES FROM (…) TO ('…')` of the leaf, or of the nearest table above
    // it that is a partition by the time column alone.
    let sql = format!(
        "SELECT substring(pg_get_expr(c.relpartbound, c.oid) from ' TO \\((.*)\\)$'),
            pg_get_partkeydef(i.inhparent)
        FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE c.oid = {oid}"
    );
    let row = first_row(catalog, &sql, "read the bounds of a partition").await?;
    let Some(time) = &scope.time else { return Ok(Some("there is no time column".to_owned())) };
    let (Some(bound), Some(key)) = (row.first().cloned().flatten(), row.get(1).cloned().flatten())
    else {
        return Ok(Some("it has no upper bound".to_owned()));
    };
    let plain = time.column().trim_matches('"');
    if key != format!("RANGE ({plain})") && key != format!("RANGE ({})", time.column()) {
        return Ok(Some("it is not partitioned by a range of the time column alone".to_owned()));
    }
    if !bound.starts_with('\'') && bound.parse::<i64>().is_err() {
        return Ok(Some("it has no upper bound".to_owned()));
    }
    let Some(passed) = time.bound_is_past(&bound, wanted.cutoff()) else {
        return Ok(Some("its upper bound cannot be compared".to_owned()));
    };
    let row = first_row(catalog, &format!("SELECT ({passed})::text"), "compare a bound").await?;
    let passed = row.first().cloned().flatten();
    Ok((passed.as_deref() != Some("true")).then(|| "its range is not old enough yet".to_owned()))
}

async fn first_row(
    catalog: &Catalog,
    sql: &str,
    doing: &str,
) -> Result<Vec<Option<String>>, Failure> {
    let (rows, _) =
        catalog.statements(sql).await.map_err(|error| Failure::postgres(doing, &error))?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// One partition.
struct Attempt<'a> {
    scope: &'a Scope,
    horizon: &'a Horizon,
    wanted: &'a Wanted,
    quoted: String,
    oid: u32,
}

impl Attempt<'_> {
    /// Looks at all rows, then, under a lock that keeps writers out of this partition, once more,
    /// and drops it. Answers how many rows it has, or why it stays.
    async fn run(&self, catalog: &Catalog, dry_run: bool) -> Result<Result<u64, String>, Failure> {
        let look = self.look();
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
            LOCK_LIMIT.as_millis(),
            LOOK_LIMIT.as_millis()
        );
        let before = self.rows(catalog, &format!("{begin}; {look}; COMMIT")).await?;
        let rows = match before {
            Ok(rows) => rows,
            Err(why) => return Ok(Err(why)),
        };
        if dry_run {
            return Ok(Ok(rows));
        }
        let locked = format!("{begin}; LOCK TABLE ONLY {} IN SHARE MODE; {look}", self.quoted);
        let again = self.rows(catalog, &locked).await?;
        let end = match &again {
            Ok(_) => format!("DROP TABLE {}; COMMIT", self.quoted),
            Err(_) => "ROLLBACK".to_owned(),
        };
        match catalog.statements(&end).await {
            Ok(_) => Ok(again),
            Err(error) => Ok(Err(self.ended(catalog, error).await?)),
        }
    }

    /// How many rows are due, and how many are not.
    fn look(&self) -> String {
        // By the condition of the whole table, of which this is the partition.
        format!(
            "{NEWEST} SELECT count(*) FILTER (WHERE class = 'due'),
                count(*) FILTER (WHERE class <> 'due')
            FROM (SELECT {} AS class FROM ONLY {}, newest) rows",
            self.scope.class(self.horizon, self.wanted),
            self.quoted,
        )
    }

    async fn rows(&self, catalog: &Catalog, sql: &str) -> Result<Result<u64, String>, Failure> {
        let rows = match catalog.statements(sql).await {
            Ok((rows, _)) => rows,
            Err(error) => return Ok(Err(self.ended(catalog, error).await?)),
        };
        let row = rows.into_iter().next().unwrap_or_default();
        let number = |column: usize| row.get(column)?.as_ref()?.parse::<u64>().ok();
        Ok(match (number(0), number(1)) {
            (Some(due), Some(0)) => Ok(due),
            (Some(_), Some(others)) => Err(format!("{others} of its rows may not be deleted")),
            (None, _) | (_, None) => Err("its rows could not be counted".to_owned()),
        })
    }

    /// Ends the transaction of an error, and says it.
    async fn ended(&self, catalog: &Catalog, error: Error) -> Result<String, Failure> {
        let doing = format!("drop partition {}", self.oid);
        catalog.statements("ROLLBACK").await.map_err(|error| Failure::postgres(&doing, &error))?;
        Ok(match error.sqlstate() {
            Some("55P03") => "somebody else has locked it; the next run tries again".to_owned(),
            Some("42501") => {
                "only the owner of the table may drop it; run this as the owner".to_owned()
            }
            Some(_) => crate::error::chain(&error),
            None => return Err(Failure::postgres(&doing, &error)),
        })
    }
}
