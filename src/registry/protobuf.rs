//! Protobuf: a JSON payload in the binary form of a message of its schema.
//!
//! The schema is read by `protox`; writing is done here, because no value may change on the way and
//! no value of a row may be in an error: numbers are read from their text, fields are written in
//! the order of their numbers as the libraries of Google do, and a member that the message has not
//! is refused.
//!
//! Source: Protocol Buffers documentation, "Encoding" and "ProtoJSON Format"; Confluent
//! documentation, "Wire format", for the indexes of a message.

mod encode;
mod parse;
mod scalar;
mod well_known;

use std::collections::HashMap;

use super::error::RegistryError;
use super::payload::Json;
use super::schema::Mismatch;

/// The media type of data in Protobuf's binary form, as registries and Google's own servers have
/// it.
pub(super) const MEDIA_TYPE: &str = "application/x-protobuf";

/// A type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    /// By its place in [`Tables::enums`].
    Enum(usize),
    /// By its place in [`Tables::messages`].
    Message(usize),
    /// The same between two tags, instead of behind its length (proto2).
    Group(usize),
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Once; its zero value is not written.
    Implicit,
    /// Once, and then it is written whatever its value is.
    Explicit,
    /// The same, and it has to be there (proto2).
    Required,
    /// Many values, each with its tag.
    Repeated,
    /// Many values behind one tag.
    Packed,
    /// Many entries, with keys of this kind.
    Map(Kind),
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// Its name in the schema.
    name: String,
    number: u32,
    /// Of a map: of its values.
    kind: Kind,
    shape: Shape,
    /// The oneof of the message that it belongs to.
    oneof: Option<usize>,
    /// JSON's null is a value of it, and not its absence.
    takes_null: bool,
}

/// What a message is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// An object with the message's fields.
    Fields,
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    /// The value of its only field.
    Wrapper,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    form: Form,
    /// In the order of their numbers.
    fields: Vec<Field>,
    /// Places of fields by their names in JSON: the one in lowerCamelCase, and the schema's own.
    by_name: HashMap<String, usize>,
}

/// The values of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Enum {
    values: HashMap<String, i32>,
    /// Only these numbers (proto2).
    closed: bool,
}

/// All types that a schema and what it imports have.
#[derive(Debug, Default)]
struct Tables {
    messages: Vec<Message>,
    /// Places of messages by their full names.
    by_name: HashMap<String, usize>,
    enums: Vec<Enum>,
}

/// A message that payloads may be of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    message: usize,
    /// Where it stands in its file, as it is written before the message.
    indexes: Vec<u8>,
}

/// A schema that is ready.
#[derive(Debug)]
pub(super) struct ProtobufSchema {
    tables: Tables,
    first: Choice,
    /// The messages of the schema itself, by their full names and by those without the package.
    choices: HashMap<String, Choice>,
}

impl ProtobufSchema {
    /// Reads a schema; `references` are the files that it imports, by the names it has for them.
    ///
    /// # Errors
    ///
    /// It is none, it has no message, or it imports what is not there.
    pub(super) fn new(text: &str, references: &[(String, String)]) -> Result<Self, RegistryError> {
        parse::read(text, references).map_err(RegistryError::Unusable)
    }

    /// The message of a name, with its package or without; without a name the first one.
    fn choose(&self, message: Option<&str>) -> Result<&Choice, Mismatch> {
        match message {
            None => Ok(&self.first),
            Some(name) => self.choices.get(name).ok_or_else(|| {
                Mismatch::new(
                    "is of a message that its schema has not: look at WALPOST_REGISTRY_MESSAGE",
                )
            }),
        }
    }

    /// What stands between a schema's id and a message.
    ///
    /// # Errors
    ///
    /// The schema has no such message.
    pub(super) fn indexes(&self, message: Option<&str>) -> Result<&[u8], Mismatch> {
        self.choose(message).map(|choice| choice.indexes.as_slice())
    }

    /// Appends a JSON payload in binary form.
    ///
    /// # Errors
    ///
    /// It does not fit; `out` has then some of it.
    pub(super) fn write(
        &self,
        message: Option<&str>,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Mismatch> {
        let choice = self.choose(message)?;
        let payload = std::str::from_utf8(payload).map_err(|_| Mismatch::new("is not UTF-8"))?;
        Json::read(payload)
            .and_then(|json| encode::message(&self.tables, choice.message, &json, out))
            .map_err(Mismatch::at)
    }
}

#[cfg(test)]
mod tests;
