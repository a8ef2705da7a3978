//! Avro: a JSON payload in the binary form of its schema.
//!
//! Written here because no value may change on the way: `apache-avro` 0.22 takes the text of a
//! decimal for its bytes (`"12.30"` becomes 2,112,952,860.64) and leaves out fields that the schema
//! has not. Numbers are read from their text, so a decimal keeps every digit.
//!
//! JSON has no form of its own for some of Avro's types. Here a decimal is a number or a text, a
//! timestamp an RFC 3339 text or an integer, bytes are Base64, and a value of a union stands by
//! itself (`"x"`, not `{"string": "x"}`): the first branch that fits has it.
//!
//! Source: Apache Avro 1.12 Specification, "Schema Declaration", "Binary Encoding", "Logical Types".

mod default;
mod encode;
mod parse;
mod scalar;

use super::error::RegistryError;
use super::payload::Json;
use super::schema::Mismatch;

/// The media type of data in Avro's binary form, as the CloudEvents SDKs and registries write it.
pub(super) const MEDIA_TYPE: &str = "application/avro";

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Uuid,
    Decimal(Decimal),
    Moment(Moment),
    Array(Box<Self>),
    Map(Box<Self>),
    Union(Vec<Self>),
    /// A record, an enum or a fixed, by its place in [`AvroSchema::named`].
    Named(usize),
}

/// A decimal: an integer of this many digits, of which `scale` stand after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    precision: usize,
    scale: usize,
    /// Length of a fixed that holds it; `None`: bytes.
    fixed: Option<usize>,
}

/// What a count since 1970, or since midnight, is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    kind: MomentKind,
    /// Nanoseconds of one.
    unit: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MomentKind {
    /// Days, as an `int`.
    Date,
    /// Since midnight; milliseconds are an `int`.
    Time,
    /// A moment.
    Timestamp,
    /// A date and time of no zone.
    LocalTimestamp,
}

/// A type with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Record(Vec<Field>),
    Enum(Vec<String>),
    Fixed(usize),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    node: Node,
    /// What is written when it is not there.
    default: Option<Vec<u8>>,
}

/// A schema that is ready.
#[derive(Debug)]
pub(super) struct AvroSchema {
    root: Node,
    named: Vec<Named>,
}

impl AvroSchema {
    /// Reads a schema; `references` come before what uses them.
    ///
    /// # Errors
    ///
    /// It is none, or it uses a name that is not there.
    pub(super) fn new(text: &str, references: &[(String, String)]) -> Result<Self, RegistryError> {
        let mut parser = parse::Parser::default();
        for (name, text) in references {
            parser.read(text).map_err(|what| {
                RegistryError::Unusable(format!("the Avro schema it refers to as {name}: {what}"))
            })?;
        }
        let root = parser
            .read(text)
            .map_err(|what| RegistryError::Unusable(format!("it is no Avro schema: {what}")))?;
        Ok(Self { root, named: parser.named })
    }

    /// Appends a JSON payload in binary form.
    ///
    /// # Errors
    ///
    /// It does not fit; `out` has then some of it.
    pub(super) fn write(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let payload = std::str::from_utf8(payload).map_err(|_| Mismatch::new("is not UTF-8"))?;
        Json::read(payload)
            .and_then(|json| encode::write(&self.root, &self.named, &json, out))
            .map_err(Mismatch::at)
    }
}

#[cfg(test)]
mod tests;
