//! The defaults of fields, which stand in the schema in a JSON of their own.

use serde_json::Value;

use super::encode::write;
use super::scalar::{bytes, length, long};
use super::{Decimal, Named, Node};
use crate::registry::payload::Json;

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
    let text = value.to_string();
    Json::read(&text).and_then(|json| write(node, named, &json, out)).map_err(|unfit| unfit.what)
}
