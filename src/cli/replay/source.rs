//! The rows that are asked for, all of one moment, as often as they are needed.

use crate::cli::command::{Stopped, refused};
use crate::cli::readable::{self, unfit};
use crate::config::Config;
use crate::error::Failure;
use crate::outbox::present::Present;
use crate::outbox::selection::Selection;
use crate::postgres::catalog::{Catalog, Cursor, Newest, PrintedRow, Table, Wanted};
use crate::postgres::error::Error;

/// The tables, and a connection that sees them as of one moment.
pub(super) struct Source<'a> {
    config: &'a Config,
    catalog: Catalog,
    tables: Vec<Table>,
    selection: &'a Selection,
}

/// A table that is being read.
pub(super) struct Reading<'a> {
    source: &'a Source<'a>,
    /// How its rows become events.
    pub(super) present: Present<'a>,
    cursor: Cursor,
}

impl<'a> Source<'a> {
    /// Finds the tables, and holds the moment.
    pub(super) async fn open(
        config: &'a Config,
        selection: &'a Selection,
    ) -> Result<Self, Stopped> {
        let catalog = Catalog::connect(&config.database)
            .await
            .map_err(|error| Failure::postgres("connect to the database", &error))?;
        catalog
            .begin_reading()
            .await
            .map_err(|error| Failure::postgres("begin to read", &error))?;
        let mut tables = Vec::new();
        for name in &config.tables {
            tables.push(readable::table(config, &catalog, name).await?);
        }
        Ok(Self { config, catalog, tables, selection })
    }

    /// How many tables there are.
    pub(super) fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Takes the lock of a run, for as long as this lives.
    pub(super) async fn lock(&self, number: i64) -> Result<bool, Failure> {
        self.catalog
            .lock(number)
            .await
            .map_err(|error| Failure::postgres("take the lock of the run", &error))
    }

    /// Begins to read a table; one at a time.
    pub(super) async fn read(&self, table: usize) -> Result<Option<Reading<'_>>, Stopped> {
        let named = self.config.tables.get(table).zip(self.tables.get(table));
        let Some((name, table)) = named else { return Ok(None) };
        let options = &self.config.events;
        let present = Present::of(name, table, options).map_err(|error| unfit(&error))?;
        let unselectable = |why: String| {
            refused(
                format!("table {name}: {why}"),
                "select its rows by what it has, or all of them by --all; WALPOST_COLUMN_… names a column that is not found",
            )
        };
        let condition = self.selection.condition(&present, options).map_err(unselectable)?;
        let columns: Vec<_> = present.columns.iter().map(|column| column.name.as_str()).collect();
        let order =
            present.time().map_or(Newest::Place, |(column, _)| Newest::Column(&column.name));
        let wanted = Wanted {
            table: (&name.schema, &name.table),
            columns: &columns,
            condition: condition.as_deref(),
            order,
        };
        let cursor = self.catalog.open(wanted).await;
        let cursor = cursor.map_err(|error| unreadable(&name.to_string(), &error))?;
        Ok(Some(Reading { source: self, present, cursor }))
    }

    /// Rows that a range of time leaves out because they have no time.
    pub(super) async fn rows_without_time(&self) -> Result<u64, Stopped> {
        let mut rows = 0;
        for (name, table) in self.config.tables.iter().zip(&self.tables) {
            let present =
                Present::of(name, table, &self.config.events).map_err(|error| unfit(&error))?;
            if let Ok(Some(condition)) = self.selection.without_time(&present) {
                let table = (name.schema.as_str(), name.table.as_str());
                let counted = self.catalog.count_where(table, &condition).await;
                rows += counted.map_err(|error| unreadable(&name.to_string(), &error))?;
            }
        }
        Ok(rows)
    }
}

impl Reading<'_> {
    /// The next rows; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<PrintedRow>, Stopped> {
        let read = self.source.catalog.fetch(&mut self.cursor).await;
        read.map_err(|error| unreadable(self.present.mapping.table_text(), &error))
    }
}

fn unreadable(table: &str, error: &Error) -> Stopped {
    let failure = Failure::postgres(&format!("read table {table}"), error);
    match error.sqlstate() {
        // A value that the column's type does not know.
        Some("22P02" | "22003" | "22007" | "22008") => {
            refused(failure.message(), "give the value as the column has it")
        }
        _ => failure.into(),
    }
}
