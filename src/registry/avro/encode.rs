//! Writing a JSON value in the binary form of its type.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scalar::{self, bytes, fixed, length, long, string, symbol};
use super::{Field, Named, Node};

/// Levels of a payload. A schema may be of any depth by naming itself.
const DEPTH_MAX: usize = 128;

/// Values that are looked at for one payload: a union of unions that nearly fit must have an end.
const STEPS_MAX: usize = 1_000_000;

/// What does not fit, and where, by names of the schema only.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Fields from the outermost on.
    pub(super) path: String,
    pub(super) what: String,
}

pub(super) fn unfit<T>(what: impl Into<String>) -> Result<T, Unfit> {
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
        struct Expected<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Expected<'a> {
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
        deserializer.deserialize_map(Expected(std::marker::PhantomData))
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
                Some(Named::Fixed(size)) => fixed(*size, text, out)?,
                None => return unfit("its schema has a type that is not there"),
            },
            Node::Null
            | Node::Boolean
            | Node::Int
            | Node::Long
            | Node::Float
            | Node::Double
            | Node::Bytes
            | Node::String
            | Node::Uuid
            | Node::Decimal(_)
            | Node::Moment(_) => scalar::write(node, text, out)?,
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
