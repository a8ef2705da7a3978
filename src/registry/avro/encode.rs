//! Writing a JSON value in the binary form of its type.

use std::borrow::Cow;

use super::scalar::{self, bytes, fixed, length, long, symbol};
use super::{Field, Named, Node};
use crate::registry::payload::{Json, Unfit, unfit};

/// Levels of types. A payload has an end, but a schema's unions may be of any depth.
const DEPTH_MAX: usize = 256;

/// Values that are looked at for one payload: a union of unions that nearly fit must have an end.
const STEPS_MAX: usize = 1_000_000;

struct Writer<'a> {
    named: &'a [Named],
    steps: usize,
}

/// Appends a JSON value as a value of this type.
pub(super) fn write(
    node: &Node,
    named: &[Named],
    payload: &Json<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    Writer { named, steps: 0 }.value(node, payload, out, 0)
}

impl Writer<'_> {
    fn value(
        &mut self,
        node: &Node,
        json: &Json<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unfit> {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return unfit("it is nested too deeply, or has too many values to try");
        }
        match node {
            Node::Array(items) => {
                let values = json.array()?;
                if !values.is_empty() {
                    long(length(values.len()), out);
                    for value in values {
                        self.value(items, value, out, depth + 1)?;
                    }
                }
                long(0, out);
            }
            Node::Map(of) => {
                let members = json.object()?;
                if !members.is_empty() {
                    long(length(members.len()), out);
                    for (name, value) in members {
                        bytes(name.as_bytes(), out);
                        self.value(of, value, out, depth + 1)?;
                    }
                }
                long(0, out);
            }
            Node::Union(branches) => self.union(branches, json, out, depth)?,
            Node::Named(place) => match self.named.get(*place) {
                Some(Named::Record(fields)) => self.record(fields, json, out, depth)?,
                Some(Named::Enum(symbols)) => symbol(symbols, json.text()?, out)?,
                Some(Named::Fixed(size)) => fixed(*size, json, out)?,
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
            | Node::Moment(_) => scalar::write(node, json, out)?,
        }
        Ok(())
    }

    /// The first branch that fits.
    fn union(
        &mut self,
        branches: &[Node],
        json: &Json<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unfit> {
        let start = out.len();
        let mut last = None;
        for (number, branch) in branches.iter().enumerate() {
            long(length(number), out);
            match self.value(branch, json, out, depth + 1) {
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
        json: &Json<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Unfit> {
        let members: &[(Cow<'_, str>, Json<'_>)] = json.object()?;
        if members.iter().any(|(name, _)| fields.iter().all(|field| field.name != *name)) {
            return unfit("it has a member that the schema has not, which would be lost");
        }
        for field in fields {
            // As Postgres does in jsonb: of several members of one name the last one counts.
            let given = members.iter().rev().find(|(name, _)| *name == field.name);
            match (given, &field.default) {
                (Some((_, value)), _) => self
                    .value(&field.node, value, out, depth + 1)
                    .map_err(|error| error.inside(&field.name))?,
                (None, Some(default)) => out.extend_from_slice(default),
                // Nothing, where nothing is allowed.
                (None, None) => self
                    .value(&field.node, &Json::Null, out, depth + 1)
                    .map_err(|_| Unfit::new("it is missing").inside(&field.name))?,
            }
        }
        Ok(())
    }
}
