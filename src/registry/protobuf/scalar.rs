//! Values that have no others in them, from JSON to their binary form.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Enum, Kind};
use crate::registry::number;
use crate::registry::payload::{Json, Unfit, unfit};
use crate::registry::varint::{varint, zigzag};

/// Base64 with padding or without ("ProtoJSON Format": either is accepted).
const EITHER: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER);

/// How the bytes after a tag end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint = 0,
    Eight = 1,
    Length = 2,
    Start = 3,
    End = 4,
    Four = 5,
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Four([u8; 4]),
    Eight([u8; 8]),
    Bytes(Cow<'a, [u8]>),
}

impl Value<'_> {
    /// Whether a field without presence has this value when it is not there.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Self::Varint(number) => *number == 0,
            Self::Four(bytes) => *bytes == [0; 4],
            Self::Eight(bytes) => *bytes == [0; 8],
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(number) => varint(*number, out),
            Self::Four(bytes) => out.extend_from_slice(bytes),
            Self::Eight(bytes) => out.extend_from_slice(bytes),
            Self::Bytes(bytes) => {
                varint(length(bytes.len()), out);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// What comes after the tag of a value of this kind.
pub(super) const fn wire(kind: Kind) -> Wire {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Wire::Eight,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Wire::Four,
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Bool
        | Kind::Enum(_) => Wire::Varint,
        Kind::String | Kind::Bytes | Kind::Message(_) => Wire::Length,
        Kind::Group(_) => Wire::Start,
    }
}

/// A value of a kind that has no others in it, and is no enum.
pub(super) fn value<'a>(kind: Kind, json: &'a Json<'_>) -> Result<Value<'a>, Unfit> {
    Ok(match kind {
        Kind::Double => Value::Eight(double(json)?.to_le_bytes()),
        Kind::Float => Value::Four(float(json)?.to_le_bytes()),
        // A negative number of 32 bits is written in 64.
        Kind::Int32 => Value::Varint(i64::from(signed_32(json)?).cast_unsigned()),
        Kind::Int64 => Value::Varint(signed(json)?.cast_unsigned()),
        Kind::Uint32 => Value::Varint(u64::from(unsigned_32(json)?)),
        Kind::Uint64 => Value::Varint(unsigned(json)?),
        Kind::Sint32 => Value::Varint(zigzag(i64::from(signed_32(json)?))),
        Kind::Sint64 => Value::Varint(zigzag(signed(json)?)),
        Kind::Fixed32 => Value::Four(unsigned_32(json)?.to_le_bytes()),
        Kind::Fixed64 => Value::Eight(unsigned(json)?.to_le_bytes()),
        Kind::Sfixed32 => Value::Four(signed_32(json)?.to_le_bytes()),
        Kind::Sfixed64 => Value::Eight(signed(json)?.to_le_bytes()),
        Kind::Bool => match json {
            Json::Boolean(value) => Value::Varint(u64::from(*value)),
            Json::Null | Json::Number(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => {
                return unfit("true or false is expected");
            }
        },
        Kind::String => Value::Bytes(Cow::Borrowed(json.text()?.as_bytes())),
        Kind::Bytes => {
            let text = json.text()?;
            let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
            match decoded {
                Ok(bytes) => Value::Bytes(Cow::Owned(bytes)),
                Err(_) => return unfit("Base64 is expected"),
            }
        }
        Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => {
            return unfit("its schema has a type that is not there");
        }
    })
}

/// A key of a map, which JSON has as a text.
pub(super) fn key<'a>(kind: Kind, name: &'a str) -> Result<Value<'a>, Unfit> {
    match (kind, name) {
        (Kind::String, _) => Ok(Value::Bytes(Cow::Borrowed(name.as_bytes()))),
        (Kind::Bool, "true") => Ok(Value::Varint(1)),
        (Kind::Bool, "false") => Ok(Value::Varint(0)),
        (Kind::Bool, _) => unfit("true or false is expected as a key"),
        // Nothing of the name is left in the value, so it may end here.
        (_, _) => match value(kind, &Json::Number(name))? {
            Value::Varint(number) => Ok(Value::Varint(number)),
            Value::Four(bytes) => Ok(Value::Four(bytes)),
            Value::Eight(bytes) => Ok(Value::Eight(bytes)),
            Value::Bytes(_) => unfit("its schema has a key that no map has"),
        },
    }
}

/// A value of an enum: its name, or its number.
pub(super) fn symbol(of: &Enum, json: &Json<'_>) -> Result<Value<'static>, Unfit> {
    let number = match json {
        Json::Text(name) => of.values.get(name.as_ref()).copied(),
        Json::Number(text) => number::integer(text)
            .and_then(|number| i32::try_from(number).ok())
            .filter(|number| !of.closed || of.values.values().any(|known| known == number)),
        // The only value of google.protobuf.NullValue.
        Json::Null => Some(0),
        Json::Boolean(_) | Json::Array(_) | Json::Object(_) => None,
    };
    match number {
        Some(number) => Ok(Value::Varint(i64::from(number).cast_unsigned())),
        None => unfit("a name of the enum, or a number of it, is expected"),
    }
}

/// The text of a number, which may stand in quotes.
fn digits<'a>(json: &'a Json<'_>) -> &'a str {
    match json {
        Json::Number(text) => text,
        Json::Text(text) => text,
        Json::Null | Json::Boolean(_) | Json::Array(_) | Json::Object(_) => "",
    }
}

fn signed(json: &Json<'_>) -> Result<i64, Unfit> {
    number::integer(digits(json)).map_or_else(|| unfit("an integer of 64 bits is expected"), Ok)
}

fn signed_32(json: &Json<'_>) -> Result<i32, Unfit> {
    number::integer(digits(json))
        .and_then(|number| i32::try_from(number).ok())
        .map_or_else(|| unfit("an integer of 32 bits is expected"), Ok)
}

fn unsigned(json: &Json<'_>) -> Result<u64, Unfit> {
    number::unsigned(digits(json))
        .map_or_else(|| unfit("an integer of 64 bits, not below zero, is expected"), Ok)
}

fn unsigned_32(json: &Json<'_>) -> Result<u32, Unfit> {
    number::unsigned(digits(json))
        .and_then(|number| u32::try_from(number).ok())
        .map_or_else(|| unfit("an integer of 32 bits, not below zero, is expected"), Ok)
}

/// A number, or one of the words that JSON has no number for.
pub(super) fn double(json: &Json<'_>) -> Result<f64, Unfit> {
    if let Some(word) = word(json) {
        return Ok(word);
    }
    number_text(json)
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|number| number.is_finite())
        .map_or_else(|| unfit("a number of 64 bits is expected"), Ok)
}

fn float(json: &Json<'_>) -> Result<f32, Unfit> {
    match word(json) {
        Some(word) if word.is_nan() => return Ok(f32::NAN),
        Some(word) if word > 0.0 => return Ok(f32::INFINITY),
        Some(_) => return Ok(f32::NEG_INFINITY),
        None => {}
    }
    number_text(json)
        .and_then(|text| text.parse::<f32>().ok())
        .filter(|number| number.is_finite())
        .map_or_else(|| unfit("a number of 32 bits is expected"), Ok)
}

/// What is no number in JSON.
fn word(json: &Json<'_>) -> Option<f64> {
    let Json::Text(text) = json else { return None };
    match text.as_ref() {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Rust reads more words as numbers than JSON does.
fn number_text<'a>(json: &'a Json<'_>) -> Option<&'a str> {
    let text = digits(json);
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(text)
}

/// A length in memory, which is never longer than 64 bits.
pub(super) fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The tag of a field.
pub(super) fn tag(number: u32, wire: Wire, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | u64::from(wire as u8), out);
}
