//! Values that have no others in them, in binary form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Decimal, Moment, MomentKind, Node};
use crate::registry::number::{big_endian, integer, scaled};
use crate::registry::payload::{Json, Unfit, unfit};
use crate::registry::varint::{varint, zigzag};

/// Appends a JSON value as a value of this type, which is none that holds others.
pub(super) fn write(node: &Node, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match node {
        Node::Null if *json == Json::Null => {}
        Node::Boolean => match json {
            Json::Boolean(value) => out.push(u8::from(*value)),
            Json::Null | Json::Number(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => {
                return unfit("true or false is expected");
            }
        },
        Node::Int => match integer(number(json)).and_then(|number| i32::try_from(number).ok()) {
            Some(number) => long(i64::from(number), out),
            None => return unfit("an integer of 32 bits is expected"),
        },
        Node::Long => match integer(number(json)) {
            Some(number) => long(number, out),
            None => return unfit("an integer of 64 bits is expected"),
        },
        Node::Float => match float(number(json)) {
            Some(number) => out.extend_from_slice(&number.to_le_bytes()),
            None => return unfit("a number of 32 bits is expected"),
        },
        Node::Double => match double(number(json)) {
            Some(number) => out.extend_from_slice(&number.to_le_bytes()),
            None => return unfit("a number of 64 bits is expected"),
        },
        Node::String => bytes(json.text()?.as_bytes(), out),
        Node::Uuid => match json.text()? {
            uuid if is_uuid(uuid) => bytes(uuid.as_bytes(), out),
            _ => return unfit("a UUID is expected"),
        },
        Node::Bytes => match STANDARD.decode(json.text()?) {
            Ok(decoded) => bytes(&decoded, out),
            Err(_) => return unfit("Base64 is expected"),
        },
        Node::Decimal(decimal) => self::decimal(*decimal, json, out)?,
        Node::Moment(moment) => self::moment(*moment, json, out)?,
        Node::Null | Node::Array(_) | Node::Map(_) | Node::Union(_) | Node::Named(_) => {
            return unfit("null is expected");
        }
    }
    Ok(())
}

/// Bytes of a length that the schema says.
pub(super) fn fixed(size: usize, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match STANDARD.decode(json.text()?) {
        Ok(decoded) if decoded.len() == size => {
            out.extend_from_slice(&decoded);
            Ok(())
        }
        Ok(_) | Err(_) => unfit(format!("Base64 of {size} bytes is expected")),
    }
}

/// The text of a number; nothing, which is none, for another value.
fn number<'a>(json: &'a Json<'_>) -> &'a str {
    match json {
        Json::Number(text) => text,
        Json::Null | Json::Boolean(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => "",
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
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn float(text: &str) -> Option<f32> {
    text.parse::<f32>().ok().filter(|number| number.is_finite())
}

/// The text of a number, which may stand in quotes.
fn decimal(decimal: Decimal, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let Decimal { precision, scale, fixed } = decimal;
    let text = match json {
        Json::Text(text) => text,
        Json::Null | Json::Boolean(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            number(json)
        }
    };
    let Some((negative, digits)) = scaled(text, scale, precision) else {
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
fn moment(moment: Moment, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let milliseconds_of_a_day = (moment.kind, moment.unit) == (MomentKind::Time, 1_000_000);
    let small = moment.kind == MomentKind::Date || milliseconds_of_a_day;
    let count = if let Json::Text(written) = json {
        match nanoseconds(moment.kind, written) {
            Some(nanos) if nanos % i128::from(moment.unit) == 0 => {
                i64::try_from(nanos / i128::from(moment.unit)).ok()
            }
            Some(_) => return unfit("the time is finer than its type, and would lose digits"),
            None => None,
        }
    } else {
        integer(number(json))
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

pub(super) fn symbol(symbols: &[String], text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match symbols.iter().position(|symbol| symbol == text) {
        Some(place) => {
            long(length(place), out);
            Ok(())
        }
        None => unfit("a symbol of the enum is expected"),
    }
}

/// A length as Avro writes it. No length in memory is longer than half of the address space.
pub(super) fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

pub(super) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    long(length(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// Zig-zag, then seven bits a byte.
pub(super) fn long(number: i64, out: &mut Vec<u8>) {
    varint(zigzag(number), out);
}
