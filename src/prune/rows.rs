//! Counting and deleting: one condition for both, so that what a dry run counts is what is deleted.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{Horizon, Scope, Wanted};
use crate::error::Failure;
use crate::postgres::catalog::Catalog;
use crate::postgres::identifier::quote_literal;

/// Rows that one statement should delete. A batch holds its locks for as long as it runs, and the
/// locks are on rows that nobody else wants; the size bounds how long writers share the disk and
/// the log with it.
const BATCH_ROWS: u64 = 1_000;

/// Pages of the first batch.
const FIRST_PAGES: u64 = 16;

/// Pages of a batch at most, 64 MiB.
const MAX_PAGES: u64 = 8_192;

/// How long a batch waits for a row that somebody else has locked, before it leaves its pages to
/// the next run.
const LOCK_LIMIT: Duration = Duration::from_millis(200);

/// How long a batch may take.
const BATCH_LIMIT: Duration = Duration::from_secs(30);

/// How long counting may take.
const COUNT_LIMIT: Duration = Duration::from_secs(600);

/// The shortest pause between two batches.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// Rows of a table by what becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// To be deleted.
    pub(crate) due: u64,
    /// Not old enough.
    pub(crate) young: u64,
    /// Without a time, so of unknown age.
    pub(crate) undated: u64,
    /// Written by a transaction that is not proven to be delivered yet.
    pub(crate) unproven: u64,
    /// Written before the stream began, as far as can be told.
    pub(crate) before: u64,
    /// Not in Kafka: skipped, or a dead letter without the payload.
    pub(crate) kept: u64,
    /// In a partition whose rows are not known to have come through the stream.
    pub(crate) partition: u64,
}

impl Scope {
    /// The table as a statement names it. Children by plain inheritance are tables of their own,
    /// which may not be published.
    pub(super) fn from(&self) -> String {
        match self.leaves {
            Some(_) => self.quoted.clone(),
            None => format!("ONLY {}", self.quoted),
        }
    }

    /// What becomes of a row, as an SQL expression with the words of [`Counted`].
    ///
    /// A row tells the low half of its transaction's number; the high half is that of the newest
    /// number that it can be. A row of four thousand million transactions ago therefore seems
    /// younger than it is, which the comparison of times makes up for.
    pub(super) fn class(&self, horizon: &Horizon, wanted: &Wanted) -> String {
        const XID: &str = "(newest.xid_walpost - (((newest.xid_walpost - xmin::text::int8 - 1) & 4294967295) + 1))";
        let mut sql = String::from("CASE");
        let mut when = |condition: &str, word: &str| {
            let written = write!(sql, " WHEN {condition} THEN '{word}'");
            debug_assert!(written.is_ok(), "a String takes everything");
        };
        if !wanted.including_undelivered
            && let Some(condition) = self.not_streamed()
        {
            when(&condition, "partition");
        }
        when(&format!("{XID} >= {}", horizon.xid), "unproven");
        if let (Some(time), false) = (&self.time, wanted.older_than.is_zero()) {
            when(&format!("{} IS NULL", time.expression()), "undated");
            let old = time.compared("<", wanted.cutoff()).unwrap_or_else(|| "false".to_owned());
            when(&format!("NOT ({old})"), "young");
        }
        if !wanted.including_undelivered {
            if !self.kept.is_empty() {
                let ids = self.kept.iter().filter_map(|id| quote_literal(id).ok());
                let ids: Vec<_> = ids.collect();
                when(&format!("format('%s', {}) IN ({})", self.id, ids.join(", ")), "kept");
            }
            if !self.floor.is_everything() {
                // The smallest numbers are not of transactions, but marks for rows of any age.
                let early = format!("xmin::text::int8 < 3 OR {XID} < {}", self.floor.next_xid);
                let operator = match &self.time {
                    Some(time) if time.is_fine() => ">=",
                    Some(_) | None => ">",
                };
                let late = self.time.as_ref().and_then(|t| t.compared(operator, self.floor.time));
                let late = late.unwrap_or_else(|| "false".to_owned());
                when(&format!("{early} OR ({late}) IS NOT TRUE"), "before");
            }
        }
        sql.push_str(" ELSE 'due' END");
        sql
    }

    /// The condition that a row lies where rows are that did not come through the stream.
    fn not_streamed(&self) -> Option<String> {
        let leaves = self.leaves.as_ref()?;
        let streamed = leaves.iter().filter(|leaf| leaf.streamed.is_ok());
        let oids: Vec<_> = streamed.clone().map(|leaf| leaf.oid.to_string()).collect();
        let mut sql = match oids.as_slice() {
            [] => "true".to_owned(),
            oids => format!("tableoid NOT IN ({})", oids.join(", ")),
        };
        for leaf in streamed {
            for xid in &leaf.made_by {
                let written = write!(sql, " OR (tableoid = {} AND xmin::text = '{xid}')", leaf.oid);
                debug_assert!(written.is_ok(), "a String takes everything");
            }
        }
        Some(sql)
    }
}

/// The newest transaction number, in the statement's own snapshot: no visible row has a higher one.
pub(super) const NEWEST: &str = "WITH newest AS MATERIALIZED (
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS xid_walpost)";

/// Counts the rows of a table. Reads all of it.
///
/// # Errors
/// The connection or the query fails.
pub(crate) async fn count(
    catalog: &Catalog,
    (scope, horizon): (&Scope, &Horizon),
    wanted: &Wanted,
) -> Result<Counted, Failure> {
    let sql = format!(
        "SET LOCAL statement_timeout = {}; {NEWEST} SELECT class, count(*) FROM
            (SELECT {} AS class FROM {}, newest) rows GROUP BY class",
        COUNT_LIMIT.as_millis(),
        scope.class(horizon, wanted),
        scope.from(),
    );
    let doing = format!("count the rows of {}", scope.name);
    let (rows, _) =
        catalog.statements(&sql).await.map_err(|error| Failure::postgres(&doing, &error))?;
    let mut counted = Counted::default();
    for row in &rows {
        let text = |column: usize| row.get(column)?.as_deref();
        let rows = text(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let of = match text(0).unwrap_or_default() {
            "due" => &mut counted.due,
            "young" => &mut counted.young,
            "undated" => &mut counted.undated,
            "unproven" => &mut counted.unproven,
            "before" => &mut counted.before,
            "kept" => &mut counted.kept,
            "partition" => &mut counted.partition,
            _ => continue,
        };
        *of = rows;
    }
    Ok(counted)
}

/// A walk over the pages of a table that deletes what is due on them.
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    scope: &'a Scope,
    class: String,
    /// The next page.
    page: u64,
    /// Pages that there were when the walk began; later ones hold only later rows.
    pages: u64,
    size: u64,
    /// How much longer than a batch the pause after it is.
    restraint: u32,
    deleted: u64,
    busy: u64,
}

/// What a batch has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// So many rows are gone; wait so long before the next.
    Deleted(u64, Duration),
    /// The walk is over.
    End,
}

impl<'a> Batches<'a> {
    /// Begins a walk. After each batch it rests `restraint` times as long as that took.
    ///
    /// # Errors
    /// The connection or a query fails.
    pub(crate) async fn begin(
        catalog: &Catalog,
        (scope, horizon): (&'a Scope, &Horizon),
        wanted: &Wanted,
        restraint: u32,
    ) -> Result<Self, Failure> {
        let oids: Vec<_> = match &scope.leaves {
            None => vec![scope.oid.to_string()],
            Some(leaves) => leaves.iter().map(|leaf| leaf.oid.to_string()).collect(),
        };
        let pages = match oids.as_slice() {
            [] => 0,
            oids => pages(catalog, &oids.join(", ")).await?,
        };
        let class = scope.class(horizon, wanted);
        let size = FIRST_PAGES;
        Ok(Self { scope, class, page: 0, pages, size, restraint, deleted: 0, busy: 0 })
    }

    /// Rows that are gone.
    pub(crate) const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Pages that were left out, because somebody had locked a row on them.
    pub(crate) const fn busy(&self) -> u64 {
        self.busy
    }

    /// How far the walk has come: pages of how many.
    pub(crate) const fn progress(&self) -> (u64, u64) {
        (self.page, self.pages)
    }

    /// Deletes what is due on the next pages, in one transaction.
    ///
    /// Cancel safe: a batch that is cancelled is ended by the server as a whole, and counted by
    /// nobody.
    ///
    /// # Errors
    /// The connection fails, or the server refuses.
    pub(crate) async fn next(&mut self, catalog: &Catalog) -> Result<Batch, Failure> {
        if self.page >= self.pages {
            return Ok(Batch::End);
        }
        let end = self.page.saturating_add(self.size);
        let began = Instant::now();
        let sql = self.statement(end);
        let rows = match catalog.statements(&sql).await {
            Ok((_, rows)) => rows,
            Err(error) => {
                let doing = format!("delete from {}", self.scope.name);
                if !error.sqlstate().is_some_and(passes) {
                    return Err(Failure::postgres(&doing, &error));
                }
                let rolled_back = catalog.statements("ROLLBACK").await;
                rolled_back.map_err(|error| Failure::postgres(&doing, &error))?;
                if self.size > 1 {
                    // Somewhere on these pages; closer in, the others go.
                    self.size = (self.size / 4).max(1);
                    return Ok(Batch::Deleted(0, MIN_PAUSE));
                }
                self.busy += 1;
                0
            }
        };
        let took = began.elapsed();
        self.page = end;
        self.deleted += rows;
        self.resize(rows, took);
        Ok(Batch::Deleted(rows, (took * self.restraint).max(MIN_PAUSE)))
    }

    fn resize(&mut self, rows: u64, took: Duration) {
        if rows > BATCH_ROWS * 2 || took > Duration::from_millis(500) {
            self.size = (self.size / 2).max(1);
        } else if rows < BATCH_ROWS && took < Duration::from_millis(50) {
            self.size = (self.size * 2).min(MAX_PAGES);
        }
    }

    /// `REPEATABLE READ`: a row that is changed at the same moment is not looked at again in its
    /// new version, the batch ends instead. The pages are named, so no index is of use. A deletion
    /// that is lost in a crash of the server is made again, so it needs not wait for the disk.
    fn statement(&self, end: u64) -> String {
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ;
            SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {};
            SET LOCAL synchronous_commit = off; SET LOCAL enable_seqscan = off;
            SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
            {NEWEST} DELETE FROM {} USING newest
            WHERE ctid >= '({},0)' AND ctid < '({end},0)' AND {} = 'due';
            COMMIT",
            LOCK_LIMIT.as_millis(),
            BATCH_LIMIT.as_millis(),
            self.scope.from(),
            self.page,
            self.class,
        )
    }
}

/// What goes away when the batch is made again: a lock, a change of a row, a deadlock, the limit.
fn passes(sqlstate: &str) -> bool {
    matches!(sqlstate, "55P03" | "40001" | "40P01" | "57014")
}

/// Pages of the largest of these tables.
async fn pages(catalog: &Catalog, oids: &str) -> Result<u64, Failure> {
    let sql = format!(
        "SELECT max(pg_relation_size(oid) / current_setting('block_size')::int8)
        FROM pg_class WHERE oid IN ({oids})"
    );
    let (rows, _) = catalog
        .statements(&sql)
        .await
        .map_err(|error| Failure::postgres("read the size of the table", &error))?;
    let pages = rows.first().and_then(|row| row.first()?.as_deref());
    Ok(pages.and_then(|pages| pages.parse().ok()).unwrap_or(0))
}
