//! The messages of `google/protobuf` that have a JSON form of their own.
//!
//! Source: Protocol Buffers documentation, "ProtoJSON Format", and the comments of the `.proto`
//! files of the messages, for their ranges.

use super::encode::{Member, fields, find, message, sized};
use super::scalar::{Wire, double, length, tag};
use super::{Form, Tables};
use crate::registry::payload::{Json, Unfit, unfit};
use crate::registry::varint::varint;

/// The first and the last second that a timestamp may have: years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Most seconds of a duration, of either sign: 10,000 years.
const DURATION_MAX: i64 = 315_576_000_000;

/// Appends a JSON value as such a message, without its length.
pub(super) fn write(
    tables: &Tables,
    form: Form,
    json: &Json<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    match form {
        Form::Any => any(tables, json, out),
        Form::Timestamp => {
            let (seconds, nanos) = json.text().ok().and_then(timestamp).map_or_else(
                || unfit("a time from year 1 to 9999 as 2024-05-01T10:00:00Z is expected"),
                Ok,
            )?;
            moment(seconds, nanos, out);
            Ok(())
        }
        Form::Duration => {
            let (seconds, nanos) = json
                .text()
                .ok()
                .and_then(duration)
                .map_or_else(|| unfit("a duration in seconds as \"1.5s\" is expected"), Ok)?;
            moment(seconds, nanos, out);
            Ok(())
        }
        Form::FieldMask => mask(json.text()?, out),
        Form::Struct => object(json.object()?, out),
        Form::ListValue => list(json.array()?, out),
        Form::Value => value(json, out),
        Form::Fields | Form::Wrapper => unfit("its schema has a type that is not there"),
    }
}

/// `@type` says which message the other members are; one that has its own form is the member
/// `value`.
fn any(tables: &Tables, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let members = json.object()?;
    if members.is_empty() {
        return Ok(());
    }
    let Some((_, url)) = members.iter().rev().find(|(name, _)| name == "@type") else {
        return unfit("the member @type is expected");
    };
    let url = url.text()?;
    let name = url.rsplit_once('/').map(|(_, name)| name);
    let Some(place) = name.and_then(|name| tables.by_name.get(name)) else {
        return unfit("its @type is no message that the schema imports");
    };
    let inner = find(tables, *place)?;
    tag(1, Wire::Length, out);
    bytes(url.as_bytes(), out);
    let others = || members.iter().filter(|(name, _)| name != "@type");
    let start = out.len();
    tag(2, Wire::Length, out);
    let empty = out.len() + 1;
    if inner.form == Form::Fields {
        sized(out, |out| fields(tables, inner, others(), out))?;
    } else {
        let mut others = others();
        match (others.next(), others.next()) {
            (Some((name, json)), None) if name == "value" => {
                sized(out, |out| message(tables, *place, json, out))?;
            }
            _ => return unfit("beside @type the member value alone is expected"),
        }
    }
    if out.len() == empty {
        // A message of no bytes is the default, which is not written.
        out.truncate(start);
    }
    Ok(())
}

/// Seconds since 1970, and nanoseconds that go on forwards.
fn timestamp(text: &str) -> Option<(i64, i32)> {
    let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let rest = i32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    SECONDS.contains(&seconds).then_some((seconds, rest))
}

/// Seconds, and nanoseconds of the same sign.
fn duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number),
    };
    let (whole, part) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, part)) => (whole, part),
        None => (number, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let seconds: i64 = whole.parse().ok().filter(|seconds| *seconds <= DURATION_MAX)?;
    let nanos: i32 = format!("{part:0<9}").parse().ok()?;
    Some((sign * seconds, i32::try_from(sign).ok()? * nanos))
}

fn moment(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    for (number, part) in [(1, seconds), (2, i64::from(nanos))] {
        if part != 0 {
            tag(number, Wire::Varint, out);
            varint(part.cast_unsigned(), out);
        }
    }
}

/// Paths with commas between them, in lowerCamelCase.
fn mask(text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    if text.is_empty() {
        return Ok(());
    }
    for path in text.split(',') {
        let is_path = |c: char| c.is_ascii_alphanumeric() || c == '.';
        if path.is_empty() || !path.chars().all(is_path) {
            return unfit("names of fields as \"total,shipTo.city\" are expected");
        }
        let mut snake = String::with_capacity(path.len() + 4);
        for character in path.chars() {
            if character.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(character.to_ascii_lowercase());
        }
        tag(1, Wire::Length, out);
        bytes(snake.as_bytes(), out);
    }
    Ok(())
}

/// `Struct`: a map of texts to values.
fn object(members: &[Member<'_>], out: &mut Vec<u8>) -> Result<(), Unfit> {
    for (name, json) in members {
        tag(1, Wire::Length, out);
        sized(out, |out| {
            tag(1, Wire::Length, out);
            bytes(name.as_bytes(), out);
            tag(2, Wire::Length, out);
            sized(out, |out| value(json, out))
        })?;
    }
    Ok(())
}

/// `ListValue`.
fn list(values: &[Json<'_>], out: &mut Vec<u8>) -> Result<(), Unfit> {
    for json in values {
        tag(1, Wire::Length, out);
        sized(out, |out| value(json, out))?;
    }
    Ok(())
}

/// `Value`: a oneof of what JSON has.
fn value(json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match json {
        Json::Null => {
            tag(1, Wire::Varint, out);
            out.push(0);
        }
        Json::Number(_) => {
            tag(2, Wire::Eight, out);
            out.extend_from_slice(&double(json)?.to_le_bytes());
        }
        Json::Text(text) => {
            tag(3, Wire::Length, out);
            bytes(text.as_bytes(), out);
        }
        Json::Boolean(value) => {
            tag(4, Wire::Varint, out);
            out.push(u8::from(*value));
        }
        Json::Object(members) => {
            tag(5, Wire::Length, out);
            sized(out, |out| object(members, out))?;
        }
        Json::Array(values) => {
            tag(6, Wire::Length, out);
            sized(out, |out| list(values, out))?;
        }
    }
    Ok(())
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint(length(bytes.len()), out);
    out.extend_from_slice(bytes);
}
