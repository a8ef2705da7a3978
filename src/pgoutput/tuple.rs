//! The columns of a row, checked while they are read.

use super::reader::{Malformed, Reader};

/// A column's value as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datum<'a> {
    /// SQL NULL.
    Null,
    /// A large value that an update left as it was; not sent, and not NULL.
    UnchangedToast,
    /// The output of the type's output function, in the session's encoding.
    Text(&'a [u8]),
    /// The output of the type's send function.
    Binary(&'a [u8]),
}

/// The columns of one row, still in the message they came in.
///
/// Nothing is checked until it is read: [`Self::datums`] ends with an error when the message ends
/// early or goes on after the last column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    /// Stands at the first column.
    reader: Reader<'a>,
}

impl<'a> Tuple<'a> {
    /// The tuple that takes the rest of a message.
    pub(super) fn rest(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let columns = reader.count("number of columns")?;
        Ok(Self { columns, reader: *reader })
    }

    /// How many columns the server says there are.
    #[must_use]
    pub const fn columns(&self) -> u16 {
        self.columns
    }

    /// The whole message the tuple is part of, in which [`Datums::position`] counts.
    #[must_use]
    pub const fn message(&self) -> &'a [u8] {
        self.reader.message()
    }

    /// The columns in order.
    #[must_use]
    pub const fn datums(&self) -> Datums<'a> {
        Datums { left: self.columns, reader: self.reader, ended: false }
    }

    /// What [`Malformed`] says when a tuple does not fit its relation.
    pub(crate) fn malformed(&self, expected: &'static str) -> Malformed {
        self.reader.malformed(expected)
    }
}

/// Iterator over the columns of a [`Tuple`]; after an error it ends.
#[derive(Clone, Debug)]
pub struct Datums<'a> {
    left: u16,
    reader: Reader<'a>,
    ended: bool,
}

impl Datums<'_> {
    /// Where the last value ended, in bytes from the start of the message.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.reader.position()
    }
}

impl<'a> Iterator for Datums<'a> {
    type Item = Result<Datum<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.ended = true;
            return self.reader.end("end of the tuple").err().map(Err);
        };
        self.left = left;
        let datum = datum(&mut self.reader);
        self.ended = datum.is_err();
        Some(datum)
    }
}

fn datum<'a>(reader: &mut Reader<'a>) -> Result<Datum<'a>, Malformed> {
    let before = *reader;
    match reader.u8("kind of column value")? {
        b'n' => Ok(Datum::Null),
        b'u' => Ok(Datum::UnchangedToast),
        b't' => Ok(Datum::Text(reader.sized_bytes("text of a column")?)),
        b'b' => Ok(Datum::Binary(reader.sized_bytes("bytes of a column")?)),
        _ => Err(before.malformed("kind of column value: n, u, t or b")),
    }
}

/// Reads past a tuple whose values nobody wants.
pub(super) fn skip(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let columns = reader.count("number of columns")?;
    for _ in 0..columns {
        datum(reader)?;
    }
    Ok(())
}
