//! One row of the outbox table, still in the bytes it came in.

use super::column::{ColumnType, Field};
use crate::pgoutput::{Datum, Malformed, Tuple};

/// Where a column's text lies; `None` is SQL NULL.
type Cell = Option<(usize, usize)>;

/// Memory that rows are laid out in, one after the other. One is enough for a whole run.
#[derive(Debug, Default)]
pub struct RowScratch {
    cells: Vec<Cell>,
    /// Texts of rows that did not come in a message.
    texts: Vec<u8>,
}

impl RowScratch {
    /// Empty; it grows to the widest row.
    #[must_use]
    pub const fn new() -> Self {
        Self { cells: Vec::new(), texts: Vec::new() }
    }

    /// The row of a message. Nothing but the places of the columns is stored.
    ///
    /// # Errors
    ///
    /// When the tuple is malformed, or has a value that an insert in text format cannot have.
    pub(super) fn lay_out<'a>(&'a mut self, tuple: Tuple<'a>) -> Result<OutboxRow<'a>, Malformed> {
        self.cells.clear();
        let mut datums = tuple.datums();
        while let Some(datum) = datums.next() {
            let cell = match datum? {
                Datum::Null => None,
                Datum::Text(text) => {
                    let end = datums.position();
                    Some((end.saturating_sub(text.len()), end))
                }
                Datum::UnchangedToast => {
                    return Err(tuple.malformed("an inserted row with all its values"));
                }
                Datum::Binary(_) => return Err(tuple.malformed("columns in text format")),
            };
            self.cells.push(cell);
        }
        Ok(OutboxRow { bytes: tuple.message(), cells: &self.cells })
    }

    /// A row that did not come in a message, from the texts of its columns; `None` is SQL NULL.
    ///
    /// For rows that a query read. The texts must be printed as the replication session prints
    /// them (`datestyle = ISO`, `timezone = UTC`, `bytea_output = hex`).
    pub fn copy_of<'t>(
        &mut self,
        texts: impl IntoIterator<Item = Option<&'t [u8]>>,
    ) -> OutboxRow<'_> {
        self.cells.clear();
        self.texts.clear();
        for text in texts {
            let cell = text.map(|text| {
                let start = self.texts.len();
                self.texts.extend_from_slice(text);
                (start, self.texts.len())
            });
            self.cells.push(cell);
        }
        OutboxRow { bytes: &self.texts, cells: &self.cells }
    }

    /// Begins a row whose columns come in any order; those that are not set are SQL NULL.
    pub(super) fn begin(&mut self, columns: usize) {
        self.cells.clear();
        self.cells.resize(columns, None);
        self.texts.clear();
    }

    /// Sets a column of the row that was begun to what `write` appends.
    pub(super) fn set(&mut self, column: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.texts.len();
        write(&mut self.texts);
        if let Some(cell) = self.cells.get_mut(column) {
            *cell = Some((start, self.texts.len()));
        }
    }

    /// The row that was begun.
    pub(super) fn row(&self) -> OutboxRow<'_> {
        OutboxRow { bytes: &self.texts, cells: &self.cells }
    }
}

/// A row, as texts of its columns.
#[derive(Clone, Copy)]
pub struct OutboxRow<'a> {
    bytes: &'a [u8],
    cells: &'a [Cell],
}

impl std::fmt::Debug for OutboxRow<'_> {
    /// Without the values: rows reach no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxRow").field("columns", &self.cells.len()).finish_non_exhaustive()
    }
}

impl<'a> OutboxRow<'a> {
    /// What Postgres printed for a column; `None` is SQL NULL.
    #[must_use]
    pub fn printed(&self, field: Field) -> Option<&'a [u8]> {
        let (start, end) = self.cells.get(field.index).copied().flatten()?;
        self.bytes.get(start..end)
    }

    /// A column's value as the text that people mean by it; `None` is SQL NULL.
    ///
    /// That is what Postgres printed, but `true` and `false` for a boolean, no blanks at the end of
    /// a `char(n)`, and the hexadecimal digits of a `bytea` without their `\x`.
    #[must_use]
    pub fn text(&self, field: Field) -> Option<&'a [u8]> {
        let printed = self.printed(field)?;
        Some(match field.column_type {
            ColumnType::Bool => match printed {
                b"t" => b"true",
                b"f" => b"false",
                other => other,
            },
            ColumnType::Char => {
                let blanks = printed.iter().rev().take_while(|byte| **byte == b' ').count();
                printed.get(..printed.len().saturating_sub(blanks)).unwrap_or_default()
            }
            ColumnType::Bytea => printed.strip_prefix(b"\\x").unwrap_or(printed),
            ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
            | ColumnType::Other => printed,
        })
    }
}
