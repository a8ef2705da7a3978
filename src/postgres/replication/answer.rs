//! The answers to replication commands.

use std::str::FromStr;

use crate::lsn::Lsn;
use crate::postgres::connection::Row;
use crate::postgres::error::Error;

/// The one row that a command answers with.
pub(super) struct Answer {
    command: &'static str,
    row: Row,
}

impl Answer {
    pub(super) fn one(command: &'static str, rows: Vec<Row>) -> Result<Self, Error> {
        let count = rows.len();
        match rows.into_iter().next() {
            Some(row) if count == 1 => Ok(Self { command, row }),
            _ => Err(Error::protocol(format!("{count} rows in answer to {command}"))),
        }
    }

    fn refuse(&self, column: usize) -> Error {
        Error::protocol(format!("column {column} of the answer to {} cannot be read", self.command))
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, Error> {
        self.row.get(column).map(Option::as_deref).ok_or_else(|| self.refuse(column))
    }

    pub(super) fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        self.optional_bytes(column)?.ok_or_else(|| self.refuse(column))
    }

    pub(super) fn optional_text(&self, column: usize) -> Result<Option<&str>, Error> {
        let bytes = self.optional_bytes(column)?;
        bytes.map(|bytes| str::from_utf8(bytes).map_err(|_| self.refuse(column))).transpose()
    }

    pub(super) fn text(&self, column: usize) -> Result<&str, Error> {
        self.optional_text(column)?.ok_or_else(|| self.refuse(column))
    }

    pub(super) fn parse<T: FromStr>(&self, column: usize) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|_| self.refuse(column))
    }
}

/// A timeline that was left for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TimelineSwitch {
    /// The timeline that was left.
    pub timeline: u32,
    /// The last position that it has in common with its successor.
    pub switch_point: Lsn,
}

/// Reads a timeline history file: a line for each timeline, with its number, the position at which
/// it was left, and the reason, between blanks; empty lines and comments (`#`) are no timelines.
///
/// Source: `readTimeLineHistory` in `src/backend/access/transam/timeline.c`.
pub(super) fn parse_timeline_history(file: &[u8]) -> Result<Vec<TimelineSwitch>, Error> {
    let mut history = Vec::new();
    // The reason is in the server's language and encoding; it is not read.
    for line in String::from_utf8_lossy(file).lines() {
        let mut fields = line.split_whitespace();
        let Some(first) = fields.next().filter(|first| !first.starts_with('#')) else { continue };
        let timeline = first.parse().ok();
        let switch_point = fields.next().and_then(|position| position.parse().ok());
        match (timeline, switch_point) {
            (Some(timeline), Some(switch_point)) => {
                history.push(TimelineSwitch { timeline, switch_point });
            }
            _ => return Err(Error::protocol("a timeline history that cannot be read")),
        }
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_history_lists_the_switches() {
        let file = b"1\t0/3000148\tno recovery target specified\n\n# comment\n  2\t16/B374D848\tbefore \xE4 2000-01-01\n";
        let history = parse_timeline_history(file).unwrap();
        let switches: Vec<_> =
            history.iter().map(|at| (at.timeline, at.switch_point.to_string())).collect();
        assert_eq!(switches, [(1, "0/3000148".to_owned()), (2, "16/B374D848".to_owned())]);
    }

    #[test]
    fn a_timeline_history_that_makes_no_sense_is_an_error() {
        assert!(parse_timeline_history(b"1").is_err());
        assert!(parse_timeline_history(b"one\t0/1\t").is_err());
        assert!(parse_timeline_history(b"1\t01\t").is_err());
        assert_eq!(parse_timeline_history(b"").unwrap(), []);
    }

    #[test]
    fn an_answer_of_the_wrong_shape_is_an_error() {
        assert!(Answer::one("X", Vec::new()).is_err());
        assert!(Answer::one("X", vec![vec![], vec![]]).is_err());
        let answer = Answer::one("X", vec![vec![Some(b"7".to_vec()), None]]).unwrap();
        assert_eq!(answer.parse::<u32>(0).unwrap(), 7);
        assert_eq!(answer.optional_text(1).unwrap(), None);
        assert!(answer.text(1).is_err());
        assert!(answer.text(2).is_err());
        assert!(answer.parse::<Lsn>(0).is_err());
    }
}
