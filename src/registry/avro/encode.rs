//! Writing a JSON value in the binary form of its type.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::number::{big_endian, integer, scaled};
use super::{Decimal, Field, Moment, MomentKind, Named, Node};

/// Levels of a payload. A schema may be of any depth by naming itself.
const DEPTH_MAX: usize = 128;

/// Values that are looked at for one payload: a union of unions that nearly fit must have an end.
const STEPS_MAX: usize = 5_000_000;

/// What does not fit, and where, by names of the schema only.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Fields from the outermost on.
    pub(super) path: String,
    pub(super) what: String,
}

fn unfit<T>(what: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit { path: String::new(), what: what.into() })
}

impl Unfit {
    fn inside(mut self, field: &str) -> Self {
        self.path =
            if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}

/// The members of a JSON object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members_<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members_<'a> {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members: Vec<(String, &'a RawValue)> = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Members_(std::marker::PhantomData))
    }
}

struct Writer<'a> {
    named: &'a [Named],
    steps: usize,
}

/// Appends a JSON text as a value of this type.
pub(super) fn write(
    node: &Node,
    named: &[Named],
    payload: &str,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    Writer { named, steps: 0 }.value(node, payload.trim(), out, 0)
}

impl Writer<'_> {
    fn value(
        &mut self,
        node: &Node,
        text: &str,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unfit> {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return unfit("it is nested too deeply, or has too many values to try");
        }
        match node {
            Node::Null if text == "null" => {}
            Node::Null => return unfit("null is expected"),
            Node::Boolean => match text {
                "true" => out.push(1),
                "false" => out.push(0),
                _ => return unfit("true or false is expected"),
            },
            Node::Int => match integer(text).and_then(|number| i32::try_from(number).ok()) {
                Some(number) => long(i64::from(number), out),
                None => return unfit("an integer of 32 bits is expected"),
            },
            Node::Long => match integer(text) {
                Some(number) => long(number, out),
                None => return unfit("an integer of 64 bits is expected"),
            },
            Node::Float => match float(text) {
                Some(number) => out.extend_from_slice(&number.to_le_bytes()),
                None => return unfit("a number of 32 bits is expected"),
            },
            Node::Double => match double(text) {
                Some(number) => out.extend_from_slice(&number.to_le_bytes()),
                None => return unfit("a number of 64 bits is expected"),
            },
            Node::String => bytes(string(text)?.as_bytes(), out),
            Node::Uuid => match string(text)? {
                uuid if is_uuid(&uuid) => bytes(uuid.as_bytes(), out),
                _ => return unfit("a UUID is expected"),
            },
            Node::Bytes => match STANDARD.decode(string(text)?) {
                Ok(decoded) => bytes(&decoded, out),
                Err(_) => return unfit("Base64 is expected"),
            },
            Node::Decimal(decimal) => self::decimal(*decimal, text, out)?,
            Node::Moment(moment) => self::moment(*moment, text, out)?,
            Node::Array(items) => {
                let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) else {
                    return unfit("an array is expected");
                };
                if !values.is_empty() {
                    long(length(values.len()), out);
                    for value in values {
                        self.value(items, value.get(), out, depth + 1)?;
                    }
                }
                long(0, out);
            }
            Node::Map(of) => {
                let members = members(text)?;
                if !members.is_empty() {
                    long(length(members.len()), out);
                    for (name, value) in members {
                        bytes(name.as_bytes(), out);
                        self.value(of, value.get(), out, depth + 1)?;
                    }
                }
                long(0, out);
            }
            Node::Union(branches) => self.union(branches, text, out, depth)?,
            Node::Named(place) => match self.named.get(*place) {
                Some(Named::Record(fields)) => self.record(fields, text, out, depth)?,
                Some(Named::Enum(symbols)) => symbol(symbols, &string(text)?, out)?,
                Some(Named::Fixed(size)) => match STANDARD.decode(string(text)?) {
                    Ok(decoded) if decoded.len() == *size => out.extend_from_slice(&decoded),
                    Ok(_) | Err(_) => return unfit(format!("Base64 of {size} bytes is expected")),
                },
                None => return unfit("its schema has a type that is not there"),
            },
        }
        Ok(())
    }

    /// The first branch that fits.
    fn union(
        &mut self,
        branches: &[Node],
        text: &str,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unfit> {
        let start = out.len();
        let mut last = None;
        for (number, branch) in branches.iter().enumerate() {
            long(length(number), out);
            match self.value(branch, text, out, depth + 1) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
            out.truncate(start);
        }
        // Of "null or one other" only the other has something to say.
        match (last, branches.len()) {
            (Some(last), 1 | 2) => Err(last),
            (Some(_) | None, _) => unfit("no branch of the union fits"),
        }
    }

    fn record(
        &mut self,
        fields: &[Field],
        text: &str,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unfit> {
        let members = members(text)?;
        if members.iter().any(|(name, _)| fields.iter().all(|field| field.name != *name)) {
            return unfit("it has a member that the schema has not, which would be lost");
        }
        for field in fields {
            // As Postgres does in jsonb: of several members of one name the last one counts.
            let given = members.iter().rev().find(|(name, _)| *name == field.name);
            match (given, &field.default) {
                (Some((_, value)), _) => self
                    .value(&field.node, value.get(), out, depth + 1)
                    .map_err(|error| error.inside(&field.name))?,
                (None, Some(default)) => out.extend_from_slice(default),
                // Nothing, where nothing is allowed.
                (None, None) => self
                    .value(&field.node, "null", out, depth + 1)
                    .map_err(|_| Unfit { path: String::new(), what: "it is missing".to_owned() })
                    .map_err(|error| error.inside(&field.name))?,
            }
        }
        Ok(())
    }
}

fn members(text: &str) -> Result<Vec<(String, &RawValue)>, Unfit> {
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(Members(members)) => Ok(members),
        Err(_) => unfit("an object is expected"),
    }
}

fn string(text: &str) -> Result<String, Unfit> {
    match serde_json::from_str(text) {
        Ok(text) => Ok(text),
        Err(_) => unfit("a text is expected"),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn double(text: &str) -> Option<f64> {
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    text.parse::<f64>().ok().filter(|number| is_number && number.is_finite())
}

fn float(text: &str) -> Option<f32> {
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    text.parse::<f32>().ok().filter(|number| is_number && number.is_finite())
}

/// The text of a number, which may stand in quotes.
fn decimal(decimal: Decimal, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let Decimal { precision, scale, fixed } = decimal;
    let quoted = if text.starts_with('"') { Some(string(text)?) } else { None };
    let Some((negative, digits)) = scaled(quoted.as_deref().unwrap_or(text), scale, precision)
    else {
        return unfit(format!(
            "a number of at most {precision} digits, {scale} of them after the point, is expected"
        ));
    };
    let number = big_endian(negative, &digits);
    match fixed {
        None => bytes(&number, out),
        Some(size) => {
            let Some(missing) = size.checked_sub(number.len()) else {
                return unfit(format!("a number that fits in {size} bytes is expected"));
            };
            let sign = if negative { 0xFF } else { 0 };
            out.extend(std::iter::repeat_n(sign, missing));
            out.extend_from_slice(&number);
        }
    }
    Ok(())
}

/// An integer is the count itself; a text is turned into it, and must be one exactly.
fn moment(moment: Moment, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let small = moment.kind == MomentKind::Date || (moment.kind, moment.unit) == (MomentKind::Time, 1_000_000);
    let count = if text.starts_with('"') {
        let written = string(text)?;
        match nanoseconds(moment.kind, &written) {
            Some(nanos) if nanos % i128::from(moment.unit) == 0 => {
                i64::try_from(nanos / i128::from(moment.unit)).ok()
            }
            Some(_) => return unfit("the time is finer than its type, and would lose digits"),
            None => None,
        }
    } else {
        integer(text)
    };
    match count {
        Some(count) if !small || i32::try_from(count).is_ok() => {
            long(count, out);
            Ok(())
        }
        Some(_) | None => unfit(match moment.kind {
            MomentKind::Date => "a date as 2024-05-01, or days since 1970, is expected",
            MomentKind::Time => "a time as 10:00:00, or an integer, is expected",
            MomentKind::Timestamp => {
                "a time as 2024-05-01T10:00:00Z, or an integer since 1970, is expected"
            }
            MomentKind::LocalTimestamp => {
                "a time as 2024-05-01T10:00:00, or an integer since 1970, is expected"
            }
        }),
    }
}

/// Nanoseconds since 1970, or since midnight.
fn nanoseconds(kind: MomentKind, text: &str) -> Option<i128> {
    let local = |moment: jiff::civil::DateTime| {
        moment.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_nanosecond())
    };
    match kind {
        MomentKind::Date => local(text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0)),
        MomentKind::Time => {
            let time = text.parse::<jiff::civil::Time>().ok()?;
            let midnight = jiff::civil::date(1970, 1, 1);
            local(midnight.to_datetime(time))
        }
        MomentKind::Timestamp => {
            text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
        }
        MomentKind::LocalTimestamp => {
            // One that says its zone is another kind of time.
            if text.parse::<jiff::Timestamp>().is_ok() {
                return None;
            }
            local(text.parse::<jiff::civil::DateTime>().ok()?)
        }
    }
}

fn symbol(symbols: &[String], text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match symbols.iter().position(|symbol| symbol == text) {
        Some(place) => {
            long(length(place), out);
            Ok(())
        }
        None => unfit("a symbol of the enum is expected"),
    }
}

/// A length as Avro writes it. No length in memory is longer than half of the address space.
fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    long(length(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// Zig-zag, then seven bits a byte, the least significant first.
fn long(number: i64, out: &mut Vec<u8>) {
    let mut left = (number << 1).cast_unsigned() ^ (number >> 63).cast_unsigned();
    loop {
        let [seven, ..] = (left & 0x7F).to_le_bytes();
        left >>= 7;
        if left == 0 {
            out.push(seven);
            return;
        }
        out.push(seven | 0x80);
    }
}

/// The bytes of a field's default, which is written in a JSON of its own: bytes are a text whose
/// characters are the bytes, and a union's default is of its first branch that fits.
pub(super) fn default(node: &Node, named: &[Named], value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    default_value(node, named, value, &mut out)?;
    Ok(out)
}

fn default_value(
    node: &Node,
    named: &[Named],
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let latin = |text: &str| {
        text.chars()
            .map(|character| u8::try_from(u32::from(character)).ok())
            .collect::<Option<Vec<u8>>>()
            .ok_or("it has a character that is no byte")
    };
    match (node, value) {
        (Node::Bytes | Node::Decimal(Decimal { fixed: None, .. }), Value::String(text)) => {
            bytes(&latin(text)?, out);
        }
        (Node::Decimal(Decimal { fixed: Some(size), .. }), Value::String(text)) => {
            fixed_default(&latin(text)?, *size, out)?;
        }
        (Node::Union(branches), _) => {
            let start = out.len();
            for (number, branch) in branches.iter().enumerate() {
                long(length(number), out);
                if default_value(branch, named, value, out).is_ok() {
                    return Ok(());
                }
                out.truncate(start);
            }
            return Err("it fits no branch of the union".to_owned());
        }
        (Node::Array(items), Value::Array(values)) => {
            if !values.is_empty() {
                long(length(values.len()), out);
                for value in values {
                    default_value(items, named, value, out)?;
                }
            }
            long(0, out);
        }
        (Node::Map(of), Value::Object(members)) => {
            if !members.is_empty() {
                long(length(members.len()), out);
                for (name, value) in members {
                    bytes(name.as_bytes(), out);
                    default_value(of, named, value, out)?;
                }
            }
            long(0, out);
        }
        (Node::Named(place), _) => match (named.get(*place), value) {
            (Some(Named::Fixed(size)), Value::String(text)) => {
                fixed_default(&latin(text)?, *size, out)?;
            }
            (Some(Named::Record(fields)), Value::Object(members)) => {
                for field in fields {
                    match (members.get(&field.name), &field.default) {
                        (Some(value), _) => default_value(&field.node, named, value, out)?,
                        (None, Some(default)) => out.extend_from_slice(default),
                        (None, None) => return Err(format!("it lacks {}", field.name)),
                    }
                }
            }
            _ => plain_default(node, named, value, out)?,
        },
        _ => plain_default(node, named, value, out)?,
    }
    Ok(())
}

fn fixed_default(bytes: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if bytes.len() != size {
        return Err(format!("it has not {size} bytes"));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// A default that is written as any other value is.
fn plain_default(
    node: &Node,
    named: &[Named],
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    write(node, named, &value.to_string(), out).map_err(|unfit| unfit.what)
}
