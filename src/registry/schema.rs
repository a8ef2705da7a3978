//! A schema as rows use it.

use std::fmt;

use super::avro::{self, AvroSchema};
use super::client::{Client, Kind, Registered};
use super::error::RegistryError;
use super::json_schema::JsonSchema;
use super::options::RegistryOptions;
use super::payload::Unfit;
use super::protobuf::{self, ProtobufSchema};

/// First byte of a value that a schema id stands before (Confluent documentation, "Wire format").
const MAGIC_PREFIX: u8 = 0;

/// First byte of a header that a schema's GUID stands in (`SchemaId.MAGIC_BYTE_V1` of Confluent's
/// serializers).
const MAGIC_HEADER: u8 = 1;

/// The header for the GUID of the value's schema (`SchemaId.VALUE_SCHEMA_ID_HEADER`).
pub const GUID_HEADER: &str = "__value_schema_id";

/// Why a payload is not of its schema. It never holds a value of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Goes on after "payload": "does not fit its schema at …".
    pub what: String,
}

impl Mismatch {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string() }
    }

    /// What does not fit, and where, by the schema's own names.
    pub(super) fn at(unfit: Unfit) -> Self {
        let Unfit { path, what } = unfit;
        let place = if path.is_empty() { path } else { format!(" at {path}") };
        Self::new(format_args!("does not fit its schema{place}: {what}"))
    }
}

/// A schema that is ready for payloads.
pub struct Schema {
    registered: Registered,
    uri: String,
    form: Form,
}

enum Form {
    Json(Box<JsonSchema>),
    Avro(AvroSchema),
    Protobuf(Box<ProtobufSchema>),
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Schema {
    /// Makes the latest version of a subject ready.
    ///
    /// # Errors
    ///
    /// Every [`RegistryError`].
    pub(super) async fn latest(
        options: &RegistryOptions,
        client: &Client,
        subject: &str,
    ) -> Result<Self, RegistryError> {
        let registered = client.latest(subject).await?;
        let references = client.references(&registered.references).await?;
        // Nothing but an unusable schema comes of this.
        Self::new(options.url.as_str(), registered, &references).map_err(|error| {
            RegistryError::Unusable(format!("the schema of subject {subject}: {error}"))
        })
    }

    /// Compiles a schema; `references` are the names and texts that [`Client::references`] finds.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unusable`].
    pub fn new(
        url: &str,
        registered: Registered,
        references: &[(String, String)],
    ) -> Result<Self, RegistryError> {
        let form = match registered.kind {
            Kind::Json => Form::Json(Box::new(JsonSchema::new(&registered.text, references)?)),
            Kind::Avro => Form::Avro(AvroSchema::new(&registered.text, references)?),
            Kind::Protobuf => {
                Form::Protobuf(Box::new(ProtobufSchema::new(&registered.text, references)?))
            }
        };
        let uri = format!("{url}/schemas/ids/{}", registered.id);
        Ok(Self { registered, uri, form })
    }

    /// Where everybody finds it, for ever: the attribute `dataschema`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Id and version.
    #[must_use]
    pub const fn registered(&self) -> &Registered {
        &self.registered
    }

    /// The media type of data that is encoded by it; `None` where data stays JSON.
    #[must_use]
    pub const fn media_type(&self) -> Option<&'static str> {
        match self.form {
            Form::Json(_) => None,
            Form::Avro(_) => Some(avro::MEDIA_TYPE),
            Form::Protobuf(_) => Some(protobuf::MEDIA_TYPE),
        }
    }

    /// Checks a JSON payload against the schema, and appends to `out` what it is on the wire.
    /// `message` is the name of the message that it is of, for Protobuf; `None`: the first.
    ///
    /// # Errors
    ///
    /// The payload does not fit, or the schema has no such message.
    pub fn write(
        &self,
        message: Option<&str>,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Mismatch> {
        match &self.form {
            Form::Json(schema) => {
                schema.check(payload)?;
                out.extend_from_slice(payload);
                Ok(())
            }
            Form::Avro(schema) => schema.write(payload, out),
            Form::Protobuf(schema) => schema.write(message, payload, out),
        }
    }

    /// Appends what stands before a value in the mode `prefix`: a zero, the schema's id, and for
    /// Protobuf the place of the message in it.
    ///
    /// # Errors
    ///
    /// The schema has no such message.
    pub fn write_prefix(&self, message: Option<&str>, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        out.push(MAGIC_PREFIX);
        out.extend_from_slice(&self.registered.id.to_be_bytes());
        out.extend_from_slice(self.indexes(message)?);
        Ok(())
    }

    /// The value of [`GUID_HEADER`] in the mode `header`: the GUID, and for Protobuf the place of
    /// the message; `None` when the registry has no GUIDs.
    ///
    /// # Errors
    ///
    /// The schema has no such message.
    pub fn guid_header(&self, message: Option<&str>) -> Result<Option<Vec<u8>>, Mismatch> {
        let indexes = self.indexes(message)?;
        let guid = self.registered.guid;
        Ok(guid.map(|guid| [&[MAGIC_HEADER][..], &guid, indexes].concat()))
    }

    fn indexes(&self, message: Option<&str>) -> Result<&[u8], Mismatch> {
        match &self.form {
            Form::Json(_) | Form::Avro(_) => Ok(&[]),
            Form::Protobuf(schema) => schema.indexes(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: [u8; 16] = *b"\x01\x89\x79\x17\x62\x23\x10\x41\xb3\xb8\xf6\x3f\xbb\x9d\xd6\xf1";

    fn schema(kind: Kind, text: &str) -> Schema {
        let registered = Registered {
            id: 258,
            version: 1,
            guid: Some(GUID),
            kind,
            text: text.to_owned(),
            references: Vec::new(),
        };
        Schema::new("https://registry", registered, &[]).expect(text)
    }

    /// Recorded by tests/registry/record_protobuf.py from Confluent's own header serializer: one
    /// line for each language, and for each place of a message.
    #[test]
    fn the_header_is_the_one_that_confluents_serializer_writes() {
        let protobuf = "syntax = \"proto3\"; message A { message I {} } message B {}";
        let mut lines = 0;
        for line in include_str!("protobuf/recorded/headers.txt").lines() {
            let (text, expected) = line.rsplit_once(' ').expect("a line");
            let (of, name) = text.rsplit_once(' ').expect("a line");
            let (schema, message) = match of {
                "AVRO []" => (schema(Kind::Avro, "\"string\""), None),
                "JSON []" => (schema(Kind::Json, "{}"), None),
                "PROTOBUF [0]" => (schema(Kind::Protobuf, protobuf), None),
                "PROTOBUF [1]" => (schema(Kind::Protobuf, protobuf), Some("B")),
                "PROTOBUF [0, 0]" => (schema(Kind::Protobuf, protobuf), Some("A.I")),
                other => panic!("{other}"),
            };
            let header = schema.guid_header(message).expect("a message").expect("a GUID");
            let header: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((name, header.as_str()), (GUID_HEADER, expected), "{of}");
            let mut prefix = Vec::new();
            schema.write_prefix(message, &mut prefix).expect("a message");
            let indexes = expected.get(34..).expect("17 bytes");
            let prefix: String = prefix.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(prefix, format!("0000000102{indexes}"), "{of}");
            lines += 1;
        }
        assert_eq!(lines, 5);
    }
}
