//! What of a table is known to be in Kafka once the checkpoint has passed it, and what is not.
//!
//! The stream delivers what is written after its slot was made, so a row of before is in the table
//! and nowhere else. The table does not tell the two apart: a row carries the number of the
//! transaction that wrote it, not its place in the log. So the number that no transaction had yet
//! when the stream began is noted for each table, and the time: a row with that number or a higher
//! one was written later. The time is needed too, since an `UPDATE` and a rewrite of the table give
//! an old row a new number.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use crate::lsn::Lsn;

/// How many rows that Kafka does not have are remembered by their id.
const KEPT_MAX: usize = 100;

/// Longest id that is remembered, in bytes.
const KEPT_LENGTH_MAX: usize = 256;

/// A moment of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Every transaction with a number below this one has ended.
    pub settled_xid: u64,
    /// No transaction has had this number, or a higher one.
    pub next_xid: u64,
    /// The server's clock, microseconds since 1970.
    pub time: i64,
}

/// From where on the rows of a table are in Kafka, as far as the checkpoint has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Object id of the table.
    pub table: u32,
    /// Transactions below had ended then: what they did to the table's partitions was done.
    pub settled_xid: u64,
    /// Transactions from here on had not begun to write. 0: all rows of the table are delivered.
    pub next_xid: u64,
    /// The server's clock then, microseconds since 1970.
    pub time: i64,
}

impl Floor {
    /// The floor of a table whose older rows are not known to be in Kafka.
    #[must_use]
    pub const fn at(table: u32, moment: Moment) -> Self {
        let Moment { settled_xid, next_xid, time } = moment;
        Self { table, settled_xid, next_xid, time }
    }

    /// The floor of a table all of whose rows are delivered: those that were in it before the slot
    /// too, of which `moment` is one at or before the slot's beginning.
    #[must_use]
    pub const fn everything(table: u32, moment: Moment) -> Self {
        Self { next_xid: 0, ..Self::at(table, moment) }
    }

    /// Whether every row of the table is delivered.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.next_xid == 0
    }
}

impl Checkpoint {
    /// The one rule for what may be deleted: from where on the rows of a table are in Kafka.
    /// `None` is not known.
    #[must_use]
    pub fn floor(&self, table: u32) -> Option<&Floor> {
        self.floors.iter().find(|floor| floor.table == table)
    }

    /// Nothing that was written to these tables before `moment` is known to be in Kafka, and
    /// nothing of other tables at all.
    #[must_use]
    pub fn with_floors(self, tables: &[u32], moment: Moment) -> Self {
        let floors = tables.iter().map(|table| Floor::at(*table, moment)).collect();
        Self { floors, ..self }
    }

    /// Every row of these tables is delivered once the checkpoint's phase is the stream: of before
    /// the slot too. `moment` is one before the slot and the snapshot were made.
    #[must_use]
    pub fn with_everything(self, tables: &[u32], moment: Moment) -> Self {
        let floors = tables.iter().map(|table| Floor::everything(*table, moment)).collect();
        Self { floors, ..self }
    }

    /// Notes `moment` for the tables of which nothing was noted before: those that were added, and
    /// all of a record of a version that did not note it.
    #[must_use]
    pub fn with_missing_floors(mut self, tables: &[u32], moment: Moment) -> Self {
        for table in tables {
            if self.floor(*table).is_none() {
                self.floors.push(Floor::at(*table, moment));
            }
        }
        self
    }
}

/// Rows that the checkpoint has passed and Kafka does not have whole: skipped ones, and those whose
/// dead letter had to do without the payload. They are in the table and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Their ids, as Postgres prints them; the oldest first.
    pub ids: Vec<String>,
    /// There is another one, without an id that could be remembered. This ends when the floors of
    /// all tables have been raised past it.
    pub unknown: bool,
}

impl Kept {
    /// Remembers a row. Answers whether the floors must be raised because of it.
    pub fn note(&mut self, printed_id: Option<&[u8]>) -> bool {
        let id = printed_id
            .filter(|id| id.len() <= KEPT_LENGTH_MAX)
            .and_then(|id| std::str::from_utf8(id).ok());
        match id {
            Some(id) if self.ids.iter().any(|kept| kept == id) => {}
            Some(id) => {
                self.ids.push(id.to_owned());
                if self.ids.len() > KEPT_MAX {
                    self.ids.remove(0);
                    self.unknown = true;
                }
            }
            None => self.unknown = true,
        }
        self.unknown
    }
}

/// Raises the floors past a row that could not be remembered, once a moment after it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raising {
    /// The row's transaction commits here.
    after: Option<Lsn>,
    /// The time of an answer in which the log ended behind that.
    passed: Option<i64>,
}

impl Raising {
    /// A row was committed at `lsn`.
    pub fn after(&mut self, lsn: Lsn) {
        *self = Self { after: Some(lsn), passed: None };
    }

    /// The catalog was asked again: its log ended at `lsn`. Answers whether every row that is to be
    /// passed was committed before `moment`: an answer's end of the log is read after its
    /// transaction numbers, so that takes the second one behind the row.
    #[must_use]
    pub fn is_passed(&mut self, lsn: Lsn, moment: Moment) -> bool {
        match (self.after, self.passed) {
            (None, _) => false,
            (Some(_), Some(time)) if moment.time > time => {
                *self = Self::default();
                true
            }
            (Some(after), None) if lsn > after => {
                self.passed = Some(moment.time);
                false
            }
            (Some(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::checkpoint::tests::checkpoint;

    const fn moment(number: u64, time: i64) -> Moment {
        Moment { settled_xid: number, next_xid: number + 5, time }
    }

    #[test]
    fn a_table_that_was_added_begins_later_than_the_others() {
        let record = checkpoint().with_floors(&[1], moment(10, 1));
        let record = record.with_missing_floors(&[1, 2], moment(20, 2));
        assert_eq!(record.floor(1), Some(&Floor::at(1, moment(10, 1))));
        assert_eq!(record.floor(2), Some(&Floor::at(2, moment(20, 2))));
        assert_eq!(record.floor(3), None);
        assert!(Floor::everything(1, moment(10, 1)).is_everything());
        assert!(!Floor::at(1, moment(10, 1)).is_everything());
    }

    #[test]
    fn rows_are_remembered_once_and_only_so_many() {
        let mut kept = Kept::default();
        for _ in 0..2 {
            assert!(!kept.note(Some(b"a")));
        }
        assert_eq!(kept.ids, ["a"]);
        for number in 1..KEPT_MAX {
            assert!(!kept.note(Some(number.to_string().as_bytes())));
        }
        assert!(kept.note(Some(b"one too many")));
        assert_eq!((kept.ids.len(), kept.ids[0].as_str()), (KEPT_MAX, "1"));
    }

    #[test]
    fn a_row_without_a_usable_id_is_remembered_all_the_same() {
        for id in [None, Some(&b"\xff"[..]), Some(&[b'a'; KEPT_LENGTH_MAX + 1])] {
            let mut kept = Kept::default();
            assert!(kept.note(id) && kept.unknown && kept.ids.is_empty(), "{id:?}");
        }
    }

    #[test]
    fn floors_are_raised_by_the_second_answer_behind_the_row() {
        let mut raising = Raising::default();
        let at = |lsn: u64, time| (Lsn::new(lsn), moment(10, time));
        let ask = |raising: &mut Raising, (lsn, moment)| raising.is_passed(lsn, moment);
        assert!(!ask(&mut raising, at(90, 1)));
        raising.after(Lsn::new(100));
        assert!(!ask(&mut raising, at(100, 2)));
        assert!(!ask(&mut raising, at(101, 3)));
        assert!(!ask(&mut raising, at(101, 3)), "the same answer again");
        assert!(ask(&mut raising, at(102, 4)));
        assert!(!ask(&mut raising, at(103, 5)), "once");
    }
}
