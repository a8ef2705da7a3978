//! Writing a JSON value as a message.

use std::borrow::Cow;

use super::scalar::{self, Wire, key, length, symbol, tag, wire};
use super::{Field, Form, Kind, Message, Shape, Tables, well_known};
use crate::registry::payload::{Json, Unfit, unfit};
use crate::registry::varint::varint;

/// A member of an object.
pub(super) type Member<'a> = (Cow<'a, str>, Json<'a>);

/// Appends a JSON value as the message at this place, without its length. No deeper than the value
/// itself is, which has an end.
pub(super) fn message(
    tables: &Tables,
    place: usize,
    json: &Json<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let message = find(tables, place)?;
    match message.form {
        Form::Fields => fields(tables, message, json.object()?.iter(), out),
        Form::Wrapper => {
            let Some(field) = message.fields.first() else {
                return unfit("its schema has a type that is not there");
            };
            one(tables, field, json, out)
        }
        Form::Any
        | Form::Timestamp
        | Form::Duration
        | Form::FieldMask
        | Form::Struct
        | Form::Value
        | Form::ListValue => well_known::write(tables, message.form, json, out),
    }
}

pub(super) fn find(tables: &Tables, place: usize) -> Result<&Message, Unfit> {
    tables.messages.get(place).map_or_else(|| unfit("its schema has a type that is not there"), Ok)
}

/// Appends the members of an object as the fields of a message.
pub(super) fn fields<'a>(
    tables: &Tables,
    message: &Message,
    members: impl Iterator<Item = &'a Member<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let mut given: Vec<Option<&Member<'_>>> = vec![None; message.fields.len()];
    for member in members {
        let place = message.by_name.get(member.0.as_ref());
        let Some(slot) = place.and_then(|place| given.get_mut(*place)) else {
            return unfit("it has a member that the schema has not, which would be lost");
        };
        // As Postgres does in jsonb: of several members of one name the last one counts.
        if slot.is_some_and(|before| before.0 != member.0) {
            return unfit("it has two members, of different spelling, for one field");
        }
        *slot = Some(member);
    }
    let mut oneofs: Vec<usize> = Vec::new();
    for (field, member) in message.fields.iter().zip(given) {
        let json = member.map(|(_, json)| json).filter(|json| {
            // Null is as if nothing were there.
            field.takes_null && !is_many(field.shape) || **json != Json::Null
        });
        let Some(json) = json else {
            if field.shape == Shape::Required {
                return Err(Unfit::new("it is missing").inside(&field.name));
            }
            continue;
        };
        if let Some(oneof) = field.oneof {
            if oneofs.contains(&oneof) {
                let what = "another field of its oneof is there too";
                return Err(Unfit::new(what).inside(&field.name));
            }
            oneofs.push(oneof);
        }
        one(tables, field, json, out).map_err(|error| error.inside(&field.name))?;
    }
    Ok(())
}

const fn is_many(shape: Shape) -> bool {
    match shape {
        Shape::Implicit | Shape::Explicit | Shape::Required => false,
        Shape::Repeated | Shape::Packed | Shape::Map(_) => true,
    }
}

/// Appends a field with all its values.
fn one(tables: &Tables, field: &Field, json: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let Field { number, kind, .. } = *field;
    match field.shape {
        Shape::Implicit => value(tables, (number, kind), json, (true, out)),
        Shape::Explicit | Shape::Required => value(tables, (number, kind), json, (false, out)),
        Shape::Repeated => {
            for json in json.array()? {
                no_null(field, json)?;
                value(tables, (number, kind), json, (false, out))?;
            }
            Ok(())
        }
        Shape::Packed => {
            let values = json.array()?;
            if values.is_empty() {
                return Ok(());
            }
            tag(number, Wire::Length, out);
            sized(out, |out| {
                for json in values {
                    no_null(field, json)?;
                    bare(tables, kind, json)?.write(out);
                }
                Ok(())
            })
        }
        Shape::Map(keys) => map(tables, field, keys, json.object()?, out),
    }
}

/// Appends the entries of a map, each as a message of two fields.
fn map(
    tables: &Tables,
    field: &Field,
    keys: Kind,
    members: &[Member<'_>],
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    for (name, json) in members {
        no_null(field, json)?;
        tag(field.number, Wire::Length, out);
        sized(out, |out| {
            tag(1, wire(keys), out);
            key(keys, name)?.write(out);
            value(tables, (2, field.kind), json, (false, out))
        })?;
    }
    Ok(())
}

/// No library has a form for a null among others, and leaving it out would change their number.
fn no_null(field: &Field, json: &Json<'_>) -> Result<(), Unfit> {
    if *json == Json::Null && !field.takes_null {
        return unfit("null is no value of it");
    }
    Ok(())
}

/// Appends a tag and one value; nothing for a zero that is the same as nothing.
fn value(
    tables: &Tables,
    (number, kind): (u32, Kind),
    json: &Json<'_>,
    (without_zero, out): (bool, &mut Vec<u8>),
) -> Result<(), Unfit> {
    if let Kind::Message(place) = kind {
        tag(number, Wire::Length, out);
        return sized(out, |out| message(tables, place, json, out));
    }
    if let Kind::Group(place) = kind {
        tag(number, Wire::Start, out);
        message(tables, place, json, out)?;
        tag(number, Wire::End, out);
        return Ok(());
    }
    let value = bare(tables, kind, json)?;
    if !(without_zero && value.is_zero()) {
        tag(number, wire(kind), out);
        value.write(out);
    }
    Ok(())
}

/// A value that is no message.
fn bare<'a>(tables: &Tables, kind: Kind, json: &'a Json<'_>) -> Result<scalar::Value<'a>, Unfit> {
    let Kind::Enum(place) = kind else { return scalar::value(kind, json) };
    match tables.enums.get(place) {
        Some(of) => symbol(of, json),
        None => unfit("its schema has a type that is not there"),
    }
}

/// Appends what is written, behind its length.
pub(super) fn sized(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>,
) -> Result<(), Unfit> {
    let start = out.len();
    // Most lengths have one byte; longer ones move what is written.
    out.push(0);
    write(out)?;
    let end = out.len();
    varint(length(end - start - 1), out);
    let digits = out.len() - end;
    if let (1, Some(last)) = (digits, out.last().copied()) {
        out.pop();
        if let Some(place) = out.get_mut(start) {
            *place = last;
        }
    } else if let Some(written) = out.get_mut(start..) {
        // The length comes from the end to the start, where the empty byte goes.
        written.rotate_right(digits);
        out.remove(start + digits);
    }
    Ok(())
}
