//! Outbox rows that were written by `pg_logical_emit_message`: a JSON object in place of a table's
//! columns.
//!
//! A message has no table that says which columns there are and of which types, so each message
//! says it itself: its members are the columns. To the rest of the program it is a row like any
//! other, of a table of which each message may be another version. Messages of one *shape*, the
//! same members with values of the same kinds, share one [`Mapping`].
//!
//! | JSON value | is read as |
//! | --- | --- |
//! | string | a `text` column: the text that it stands for |
//! | number | an `integer`, `bigint` or `numeric` column, in the digits that it was written with |
//! | `true`, `false` | a `boolean` column |
//! | object, array | a `json` column, in the bytes that it was written with |
//! | any but a string, as payload | a `json` column |
//! | `null` | SQL NULL |
//!
//! A member that is not there is SQL NULL, but a payload has to be there: one that was forgotten
//! would become a tombstone, which deletes. A member that nothing asks for is a mistake, unlike a
//! column of a table, which may be there for others: most likely it is a name written wrong, and
//! what was meant would be missing in silence.

mod shape;

use std::collections::HashMap;
use std::sync::Arc;

use self::shape::{Kind, Known, known, mapping};
use super::bad_row::{BadRow, Reason};
use super::mapping::{Mapping, MappingError};
use super::role::{Role, TableName};
use super::row::{OutboxRow, RowScratch};
use crate::cloudevent::options::EventOptions;
use crate::cloudevent::{Invalid, LoneSurrogate, Nesting, for_each_member, unescape};
use crate::pgoutput::Message;

/// Shapes that are remembered. An application has a few; more than this come from one that leaves
/// members out at will, and are then worked out again.
const SHAPES_MAX: usize = 1_000;

/// What is bad about a message as a whole has this in the place of an attribute.
const MESSAGE: &str = "message";

/// A message as a row.
#[derive(Debug)]
pub struct MessageRow<'a> {
    /// How it becomes an event.
    pub mapping: Arc<Mapping>,
    /// The row. Of a message that cannot be read its payload is the whole message, so that it is in
    /// the dead letter.
    pub row: OutboxRow<'a>,
    /// The message becomes no event.
    pub bad: Option<BadRow>,
}

/// Reads messages as rows; it allocates only for a shape that it has not seen.
#[derive(Debug)]
pub struct MessageReader {
    prefix: String,
    table: TableName,
    options: EventOptions,
    known: Vec<Known>,
    /// Where each name is in `known`.
    places: HashMap<String, usize>,
    /// Mappings by the kinds of all known members, in their order.
    shapes: HashMap<Vec<u8>, Result<Arc<Mapping>, BadRow>>,
    /// Of a message that cannot be read.
    whole: (Arc<Mapping>, usize),
    shape: Vec<u8>,
    name: String,
    nesting: Nesting,
}

impl MessageReader {
    /// A reader of the messages with this prefix.
    ///
    /// # Errors
    ///
    /// When no message at all can be read under these options.
    pub fn new(prefix: &str, options: &EventOptions) -> Result<Self, MappingError> {
        let known = known(options);
        let places = known.iter().enumerate().map(|(at, known)| (known.name.clone(), at)).collect();
        let table = TableName::of_messages(prefix);
        let payload = known.iter().position(|known| known.is_payload).unwrap_or(0);
        let mut shape = vec![Kind::Absent as u8; known.len()];
        if let Some(kind) = shape.get_mut(payload) {
            *kind = Kind::Text as u8;
        }
        let whole = mapping(&table, &known, &shape, options)?;
        Ok(Self {
            prefix: prefix.to_owned(),
            table,
            options: options.clone(),
            known,
            places,
            shapes: HashMap::new(),
            whole: (Arc::new(whole), payload),
            shape,
            name: String::new(),
            nesting: Nesting::default(),
        })
    }

    /// The prefix of its messages: the whole of it, not the beginning of others.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether a message is a row: it has the prefix, and is part of a transaction.
    #[must_use]
    pub fn takes(&self, message: &Message<'_>) -> bool {
        message.transactional && message.prefix == self.prefix
    }

    /// The row of a message's content.
    pub fn read<'a>(&mut self, scratch: &'a mut RowScratch, content: &[u8]) -> MessageRow<'a> {
        let bad = match self.members(scratch, content) {
            Ok(unknown) => match self.mapping() {
                Ok(mapping) => {
                    let bad = unknown.or_else(|| self.without_payload(&mapping));
                    return MessageRow { mapping, row: scratch.row(), bad };
                }
                Err(bad) => bad,
            },
            Err(bad) => bad,
        };
        let (mapping, payload) = &self.whole;
        scratch.begin(self.known.len());
        scratch.set(*payload, |out| out.extend_from_slice(content));
        MessageRow { mapping: Arc::clone(mapping), row: scratch.row(), bad: Some(bad) }
    }

    /// Lays the members out by the places of their names, and notes the shape. A member of an
    /// unknown name is bad, but leaves a row.
    fn members(
        &mut self,
        scratch: &mut RowScratch,
        content: &[u8],
    ) -> Result<Option<BadRow>, BadRow> {
        let Self { known, places, shape, name, nesting, .. } = self;
        let text = std::str::from_utf8(content).map_err(|_| {
            let what = "is not UTF-8; in a database of another encoding, give its bytes: convert_to(…, 'UTF8')";
            BadRow::new(MESSAGE, Reason::NotRepresentable, what)
        })?;
        scratch.begin(known.len());
        shape.fill(Kind::Absent as u8);
        let mut unknown = None;
        for_each_member(text, nesting, |quoted, value| {
            name.clear();
            unescape(quoted, |piece| name.push_str(piece))?;
            let place = places.get(name.as_str()).copied();
            let Some((place, known)) = place.and_then(|at| Some((at, known.get(at)?))) else {
                unknown.get_or_insert_with(|| unknown_member(name, places));
                return Ok(());
            };
            let Some(kind) = shape.get_mut(place) else { return Ok(()) };
            if *kind != Kind::Absent as u8 {
                let what = format_args!("has the member {name:?} twice");
                return Err(Unreadable(BadRow::new(MESSAGE, Reason::InvalidJson, what)));
            }
            let found = Kind::of(value, known.is_payload);
            *kind = found as u8;
            match found {
                Kind::Absent | Kind::Null => {}
                Kind::Text => {
                    let mut written = Ok(());
                    scratch.set(place, |out| {
                        written = unescape(value, |piece| out.extend_from_slice(piece.as_bytes()));
                    });
                    written?;
                }
                // As Postgres prints it.
                Kind::Bool => scratch.set(place, |out| {
                    out.extend_from_slice(if value == "true" { b"t" } else { b"f" });
                }),
                Kind::Int4 | Kind::Int8 | Kind::Number | Kind::Json => {
                    scratch.set(place, |out| out.extend_from_slice(value.as_bytes()));
                }
            }
            Ok(())
        })
        .map_err(|Unreadable(bad)| bad)?;
        Ok(unknown)
    }

    /// The mapping of the shape that was noted.
    fn mapping(&mut self) -> Result<Arc<Mapping>, BadRow> {
        if let Some(found) = self.shapes.get(&self.shape) {
            return found.clone();
        }
        let made = mapping(&self.table, &self.known, &self.shape, &self.options);
        let made = made.map(Arc::new).map_err(|error| {
            // It names columns, never values.
            let mut problems = error.problems.iter().map(ToString::to_string);
            let what = format_args!("cannot be read: {}", problems.next().unwrap_or_default());
            BadRow::new(MESSAGE, Reason::NotRepresentable, what)
        });
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.clear();
        }
        self.shapes.insert(self.shape.clone(), made.clone());
        made
    }

    fn without_payload(&self, mapping: &Mapping) -> Option<BadRow> {
        let payload = mapping.role(Role::Payload)?;
        let kind = self.shape.get(payload.index)?;
        (*kind == Kind::Absent as u8).then(|| {
            let what = "is not in the message; a null is written as null";
            BadRow::new("payload", Reason::Missing, what)
        })
    }
}

/// Ends the walk over the members.
struct Unreadable(BadRow);

impl From<Invalid> for Unreadable {
    fn from(Invalid { at }: Invalid) -> Self {
        let what = format_args!("is not a JSON object, at byte {at}");
        Self(BadRow::new(MESSAGE, Reason::InvalidJson, what))
    }
}

impl From<LoneSurrogate> for Unreadable {
    fn from(LoneSurrogate: LoneSurrogate) -> Self {
        let what = "has half of a surrogate pair, which is no text";
        Self(BadRow::new(MESSAGE, Reason::NotRepresentable, what))
    }
}

/// A name is said only where it is one of ours in other letters: others may be data.
fn unknown_member(name: &str, places: &HashMap<String, usize>) -> BadRow {
    let plain = |name: &str| {
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let meant = places.keys().filter(|known| plain(known) == plain(name)).min();
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
    let what = format!(
        "has a member whose name is no column of a role, an extension or a template{meant}"
    );
    BadRow::new(MESSAGE, Reason::IllegalName, what)
}
