//! Reading a schema's own JSON.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Decimal, Field, Moment, MomentKind, Named, Node, default};
use crate::registry::number::PRECISION_MAX;

/// Reads one schema after the other into one set of names.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) named: Vec<Named>,
    /// Full names, and what a name stands for: a decimal in a fixed is more than the fixed.
    names: HashMap<String, Node>,
}

type Object = Map<String, Value>;

const MILLISECOND: i64 = 1_000_000;

impl Parser {
    /// Reads a schema.
    pub(super) fn read(&mut self, text: &str) -> Result<Node, String> {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            // `"string"` may stand without its quotes.
            Err(_) if text.chars().all(|c| c.is_ascii_alphanumeric()) => Value::from(text),
            Err(error) => return Err(format!("it is not JSON: {error}")),
        };
        self.node(&value, "")
    }

    fn node(&mut self, value: &Value, namespace: &str) -> Result<Node, String> {
        match value {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches: Result<Vec<_>, _> =
                    branches.iter().map(|branch| self.node(branch, namespace)).collect();
                let branches = branches?;
                let nested = branches.iter().any(|branch| matches!(branch, Node::Union(_)));
                if nested || branches.is_empty() {
                    return Err("a union is empty, or holds a union".to_owned());
                }
                Ok(Node::Union(branches))
            }
            Value::Object(object) => self.object(object, namespace),
            Value::Null | Value::Bool(_) | Value::Number(_) => Err(format!("{value} is no type")),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Node, String> {
        Ok(match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes,
            "string" => Node::String,
            other => {
                let full = full_name(other, namespace);
                let found = self.names.get(&full).or_else(|| self.names.get(other));
                found.cloned().ok_or_else(|| format!("there is no type {full:?}"))?
            }
        })
    }

    fn object(&mut self, object: &Object, namespace: &str) -> Result<Node, String> {
        let Some(of) = object.get("type") else { return Err("a type is missing".to_owned()) };
        let Value::String(word) = of else { return self.node(of, namespace) };
        match word.as_str() {
            "array" => Ok(Node::Array(Box::new(self.inner(object, "items", namespace)?))),
            "map" => Ok(Node::Map(Box::new(self.inner(object, "values", namespace)?))),
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = list(object, "symbols")?
                    .iter()
                    .map(|symbol| symbol.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
                    .ok_or("a symbol of an enum is no text")?;
                let place = self.declare(object, namespace, Named::Enum(symbols))?;
                Ok(Node::Named(place.0))
            }
            "fixed" => {
                let size = number(object, "size")?.ok_or("a fixed has no size")?;
                let (place, name) = self.declare(object, namespace, Named::Fixed(size))?;
                let node = match logical(object) {
                    Some("decimal") => decimal(object, Some(size))?,
                    Some(_) | None => None,
                };
                let node = node.unwrap_or(Node::Named(place));
                self.names.insert(name, node.clone());
                Ok(node)
            }
            _ => {
                let base = self.by_name(word, namespace)?;
                with_logical(object, base)
            }
        }
    }

    fn inner(&mut self, object: &Object, name: &str, namespace: &str) -> Result<Node, String> {
        let inner = object.get(name).ok_or_else(|| format!("{name} is missing"))?;
        self.node(inner, namespace)
    }

    fn record(&mut self, object: &Object, namespace: &str) -> Result<Node, String> {
        // Its name first: a field may be of its own type.
        let (place, name) = self.declare(object, namespace, Named::Record(Vec::new()))?;
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let mut fields = Vec::new();
        for field in list(object, "fields")? {
            let Value::Object(field) = field else {
                return Err(format!("a field of {name} is no object"));
            };
            let Some(field_name) = field.get("name").and_then(Value::as_str) else {
                return Err(format!("a field of {name} has no name"));
            };
            let node = self.inner(field, "type", &namespace)?;
            fields.push((field_name.to_owned(), node, field.get("default").cloned()));
        }
        // Defaults come after all fields are known, since one may be of this very type.
        let bare = fields
            .iter()
            .map(|(name, node, _)| Field { name: name.clone(), node: node.clone(), default: None })
            .collect();
        self.put(place, Named::Record(bare));
        let mut whole = Vec::with_capacity(fields.len());
        for (field, node, default) in fields {
            let default = default
                .map(|value| default::default(&node, &self.named, &value))
                .transpose()
                .map_err(|what| format!("the default of {name}.{field}: {what}"))?;
            whole.push(Field { name: field, node, default });
        }
        self.put(place, Named::Record(whole));
        Ok(Node::Named(place))
    }

    fn put(&mut self, place: usize, named: Named) {
        if let Some(slot) = self.named.get_mut(place) {
            *slot = named;
        }
    }

    /// Gives a type its place and its full name.
    fn declare(
        &mut self,
        object: &Object,
        namespace: &str,
        named: Named,
    ) -> Result<(usize, String), String> {
        let Some(name) = object.get("name").and_then(Value::as_str) else {
            return Err("a record, an enum or a fixed has no name".to_owned());
        };
        let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, own);
        let place = self.named.len();
        if self.names.insert(full.clone(), Node::Named(place)).is_some() {
            return Err(format!("{full:?} is there twice"));
        }
        self.named.push(named);
        Ok((place, full))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn list<'a>(object: &'a Object, name: &str) -> Result<&'a [Value], String> {
    let list = object.get(name).and_then(Value::as_array).map(Vec::as_slice);
    list.ok_or_else(|| format!("{name} is missing"))
}

fn number(object: &Object, name: &str) -> Result<Option<usize>, String> {
    let Some(value) = object.get(name) else { return Ok(None) };
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.map(Some).ok_or_else(|| format!("{name} is no whole number"))
}

fn logical(object: &Object) -> Option<&str> {
    object.get("logicalType").and_then(Value::as_str)
}

/// A primitive type with its logical type. One that is not known, or does not fit, is left out, as
/// the specification says.
fn with_logical(object: &Object, base: Node) -> Result<Node, String> {
    let Some(word) = logical(object) else { return Ok(base) };
    let moment = |kind, unit| Ok(Node::Moment(Moment { kind, unit }));
    match (word, &base) {
        ("decimal", Node::Bytes) => Ok(decimal(object, None)?.unwrap_or(base)),
        ("uuid", Node::String) => Ok(Node::Uuid),
        ("date", Node::Int) => moment(MomentKind::Date, 86_400 * 1_000 * MILLISECOND),
        ("time-millis", Node::Int) => moment(MomentKind::Time, MILLISECOND),
        ("time-micros", Node::Long) => moment(MomentKind::Time, 1_000),
        ("timestamp-millis", Node::Long) => moment(MomentKind::Timestamp, MILLISECOND),
        ("timestamp-micros", Node::Long) => moment(MomentKind::Timestamp, 1_000),
        ("timestamp-nanos", Node::Long) => moment(MomentKind::Timestamp, 1),
        ("local-timestamp-millis", Node::Long) => moment(MomentKind::LocalTimestamp, MILLISECOND),
        ("local-timestamp-micros", Node::Long) => moment(MomentKind::LocalTimestamp, 1_000),
        ("local-timestamp-nanos", Node::Long) => moment(MomentKind::LocalTimestamp, 1),
        (_, _) => Ok(base),
    }
}

/// A decimal; `None` for one whose numbers make no sense, which is then as if it were not there.
fn decimal(object: &Object, fixed: Option<usize>) -> Result<Option<Node>, String> {
    let precision = number(object, "precision")?.unwrap_or(0);
    let scale = number(object, "scale")?.unwrap_or(0);
    if precision > PRECISION_MAX {
        return Err(format!("a decimal has more than {PRECISION_MAX} digits"));
    }
    let sound = precision > 0 && scale <= precision;
    Ok(sound.then_some(Node::Decimal(Decimal { precision, scale, fixed })))
}
