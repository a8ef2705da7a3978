//! Reads records by the CloudEvents SDK for Rust, as a consumer written in Rust would.
//!
//! The SDK's own binding for rdkafka asks for an older rdkafka than walpost's, so its few lines stand
//! here again, with its panics: it unwraps the value of every header.

use cloudevents::Event;
use cloudevents::event::SpecVersion;
use cloudevents::message::{
    BinaryDeserializer, BinarySerializer, Encoding, Error, MessageAttributeValue,
    MessageDeserializer, Result, StructuredDeserializer, StructuredSerializer,
};

use crate::servers::Record;

/// The event in a record; panics when the SDK finds none.
#[track_caller]
pub(crate) fn event(record: &Record) -> Event {
    let deserializer = Deserializer(record);
    let read = MessageDeserializer::into_event(deserializer);
    read.unwrap_or_else(|error| panic!("the SDK finds no event: {error}\n{record:?}"))
}

struct Deserializer<'a>(&'a Record);

impl MessageDeserializer for Deserializer<'_> {
    fn encoding(&self) -> Encoding {
        let content_type = self.0.header("content-type");
        if content_type.is_some_and(|text| text.starts_with("application/cloudevents+json")) {
            Encoding::STRUCTURED
        } else if self.0.header("ce_specversion").is_some() {
            Encoding::BINARY
        } else {
            Encoding::UNKNOWN
        }
    }
}

impl StructuredDeserializer for Deserializer<'_> {
    fn deserialize_structured<R: Sized, V: StructuredSerializer<R>>(self, visitor: V) -> Result<R> {
        visitor.set_structured_event(self.0.value.clone().ok_or(Error::WrongEncoding {})?)
    }
}

impl BinaryDeserializer for Deserializer<'_> {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, visitor: V) -> Result<R> {
        let version = SpecVersion::try_from(self.0.header("ce_specversion").unwrap())?;
        let attributes = version.attribute_names();
        let mut visitor = visitor.set_spec_version(version)?;
        for (name, value) in &self.0.headers {
            let value = String::from_utf8(value.clone().expect("no null header")).unwrap();
            let value = MessageAttributeValue::String(value);
            visitor = match name.strip_prefix("ce_") {
                Some("specversion") => visitor,
                Some(name) if attributes.contains(&name) => visitor.set_attribute(name, value)?,
                Some(name) => visitor.set_extension(name, value)?,
                None if name == "content-type" => {
                    visitor.set_attribute("datacontenttype", value)?
                }
                None => visitor,
            };
        }
        match &self.0.value {
            Some(value) => visitor.end_with_data(value.clone()),
            None => visitor.end(),
        }
    }
}
