//! From the text of a schema to the tables that payloads are written by.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as Described,
    MessageDescriptor, Syntax,
};

use super::{Choice, Enum, Field, Form, Kind, Message, ProtobufSchema, Shape, Tables};
use crate::registry::varint::{varint, zigzag};

/// What the schema itself is called among its files. No import has a name with a blank.
const ROOT: &str = "the schema.proto";

/// Longest explanation, in characters: it may repeat a whole line of the schema.
const SAID_MAX: usize = 500;

/// Files that a schema may import without a reference, besides those of `google/protobuf`:
/// Confluent's clients register none for them (`ProtobufSchema.KNOWN_DEPENDENCIES` of the schema
/// registry; the second path is that of Confluent's Python client).
const KNOWN: [(&str, &str); 3] = [
    ("confluent/meta.proto", include_str!("known/meta.proto")),
    ("confluent/type/decimal.proto", include_str!("known/decimal.proto")),
    ("confluent/types/decimal.proto", include_str!("known/decimal.proto")),
];

/// The schema and its references.
struct Files(HashMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        match self.0.get(name).map(String::as_str).or(known) {
            Some(text) => file(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A file from its text, or from the Base64 of its descriptor: Confluent's Python client registers
/// that, and some registries give it out as it came.
fn file(name: &str, text: &str) -> Result<File, protox::Error> {
    let source = File::from_source(name, text);
    if source.is_ok() {
        return source;
    }
    let decoded = STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| File::decode_file_descriptor_proto(bytes.as_slice()).ok());
    match decoded {
        Some(file) => {
            let mut descriptor = file.file_descriptor_proto().clone();
            descriptor.name = Some(name.to_owned());
            Ok(File::from_file_descriptor_proto(descriptor))
        }
        None => source,
    }
}

/// Reads a schema with its references.
pub(super) fn read(text: &str, references: &[(String, String)]) -> Result<ProtobufSchema, String> {
    let mut files: HashMap<String, String> = references.iter().cloned().collect();
    files.insert(ROOT.to_owned(), text.to_owned());
    let mut resolver = ChainFileResolver::new();
    resolver.add(Files(files));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.open_file(ROOT).map_err(|error| explained(&error))?;
    let pool = compiler.descriptor_pool();
    let tables = tables(&pool);
    let mut choices = HashMap::new();
    let root = pool.get_file_by_name(ROOT).ok_or("it is not read")?;
    let package = root.package_name().to_owned();
    let mut first = None;
    for (place, message) in root.messages().enumerate() {
        add_choices(&message, &mut vec![place], &tables, &package, &mut choices);
        first = first.or_else(|| choices.get(message.full_name()).cloned());
    }
    let first = first.ok_or("it is a Protobuf schema without a message")?;
    Ok(ProtobufSchema { tables, first, choices })
}

fn explained(error: &protox::Error) -> String {
    let said: String = error.to_string().chars().take(SAID_MAX).collect();
    let place = match error.file() {
        None | Some(ROOT) => String::new(),
        Some(file) => format!(" (in {file:?}, which it imports)"),
    };
    let hint = if error.is_file_not_found() {
        "; what it imports has to be among its references in the registry"
    } else {
        ""
    };
    format!("it is no Protobuf schema that walpost knows{place}: {said}{hint}")
}

/// Notes a message and those inside of it.
///
/// Confluent counts the messages of the text: `ProtobufSchema.toMessageIndexes` goes through those
/// that somebody has written, and the entries of a map are not among them.
fn add_choices(
    message: &MessageDescriptor,
    path: &mut Vec<usize>,
    tables: &Tables,
    package: &str,
    choices: &mut HashMap<String, Choice>,
) {
    let name = message.full_name();
    if let Some(place) = tables.by_name.get(name) {
        let choice = Choice { message: *place, indexes: indexes(path) };
        if let Some(short) = name.strip_prefix(package).and_then(|name| name.strip_prefix('.')) {
            choices.entry(short.to_owned()).or_insert_with(|| choice.clone());
        }
        choices.insert(name.to_owned(), choice);
    }
    let written = message.child_messages().filter(|child| !child.is_map_entry());
    for (place, child) in written.enumerate() {
        path.push(place);
        add_choices(&child, path, tables, package, choices);
        path.pop();
    }
}

/// How many there are, then each, zig-zag; the first message of a file is a single zero.
fn indexes(path: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    if path == [0] {
        out.push(0);
        return out;
    }
    for number in std::iter::once(path.len()).chain(path.iter().copied()) {
        varint(zigzag(i64::try_from(number).unwrap_or(i64::MAX)), &mut out);
    }
    out
}

fn tables(pool: &DescriptorPool) -> Tables {
    let names = |names: Vec<String>| -> HashMap<String, usize> {
        names.into_iter().enumerate().map(|(place, name)| (name, place)).collect()
    };
    let by_name = names(pool.all_messages().map(|of| of.full_name().to_owned()).collect());
    let enums = names(pool.all_enums().map(|of| of.full_name().to_owned()).collect());
    let find = Find { messages: &by_name, enums: &enums };
    Tables {
        messages: pool.all_messages().map(|descriptor| message(&descriptor, &find)).collect(),
        enums: pool.all_enums().map(|descriptor| enumeration(&descriptor)).collect(),
        by_name,
    }
}

/// Places by full names.
struct Find<'a> {
    messages: &'a HashMap<String, usize>,
    enums: &'a HashMap<String, usize>,
}

fn message(descriptor: &MessageDescriptor, find: &Find<'_>) -> Message {
    let mut described: Vec<_> = descriptor.fields().collect();
    described.sort_by_key(FieldDescriptor::number);
    let mut by_name = HashMap::new();
    for (place, field) in described.iter().enumerate() {
        by_name.insert(field.name().to_owned(), place);
    }
    for (place, field) in described.iter().enumerate() {
        by_name.insert(field.json_name().to_owned(), place);
    }
    let oneofs: Vec<String> =
        descriptor.oneofs().map(|oneof| oneof.full_name().to_owned()).collect();
    let fields = described.iter().map(|described| field(described, &oneofs, find)).collect();
    Message { form: form(descriptor.full_name()), fields, by_name }
}

fn form(name: &str) -> Form {
    let Some(name) = name.strip_prefix("google.protobuf.") else { return Form::Fields };
    match name {
        "Any" => Form::Any,
        "Timestamp" => Form::Timestamp,
        "Duration" => Form::Duration,
        "FieldMask" => Form::FieldMask,
        "Struct" => Form::Struct,
        "Value" => Form::Value,
        "ListValue" => Form::ListValue,
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
        | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Form::Wrapper,
        _ => Form::Fields,
    }
}

fn field(field: &FieldDescriptor, oneofs: &[String], find: &Find<'_>) -> Field {
    let described = field.kind();
    let entry = described.as_message().filter(|_| field.is_map());
    let (value, shape) = match entry {
        Some(entry) => {
            let key = entry.map_entry_key_field();
            (entry.map_entry_value_field(), Shape::Map(kind(&key, find)))
        }
        None => (field.clone(), shape(field)),
    };
    let of = value.kind();
    let null = of.as_message().is_some_and(|of| of.full_name() == "google.protobuf.Value")
        || of.as_enum().is_some_and(|of| of.full_name() == "google.protobuf.NullValue");
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let name = field.name().to_owned();
    Field {
        name,
        number: field.number(),
        kind: kind(&value, find),
        shape,
        oneof: oneof.and_then(|oneof| oneofs.iter().position(|name| name == oneof.full_name())),
        takes_null: null,
    }
}

fn shape(field: &FieldDescriptor) -> Shape {
    match field.cardinality() {
        Cardinality::Required => Shape::Required,
        Cardinality::Repeated if is_packed(field) => Shape::Packed,
        Cardinality::Repeated => Shape::Repeated,
        Cardinality::Optional if field.supports_presence() => Shape::Explicit,
        Cardinality::Optional => Shape::Implicit,
    }
}

/// Whether many values are behind one tag. `FieldDescriptor::is_packed` does not know the option of
/// a schema that was read from its text (prost-reflect 0.16: it is asked before options are
/// resolved).
fn is_packed(field: &FieldDescriptor) -> bool {
    let is_proto3 = field.parent_message().parent_file().syntax() == Syntax::Proto3;
    let option = field.field_descriptor_proto().options.as_ref().and_then(|given| given.packed);
    let of = field.kind();
    let packable = !matches!(of, Described::String | Described::Bytes | Described::Message(_));
    packable && option.unwrap_or(is_proto3)
}

fn kind(field: &FieldDescriptor, find: &Find<'_>) -> Kind {
    let place = |places: &HashMap<String, usize>, name: &str| {
        // Every type of a pool is in it.
        places.get(name).copied().unwrap_or(usize::MAX)
    };
    match field.kind() {
        Described::Double => Kind::Double,
        Described::Float => Kind::Float,
        Described::Int32 => Kind::Int32,
        Described::Int64 => Kind::Int64,
        Described::Uint32 => Kind::Uint32,
        Described::Uint64 => Kind::Uint64,
        Described::Sint32 => Kind::Sint32,
        Described::Sint64 => Kind::Sint64,
        Described::Fixed32 => Kind::Fixed32,
        Described::Fixed64 => Kind::Fixed64,
        Described::Sfixed32 => Kind::Sfixed32,
        Described::Sfixed64 => Kind::Sfixed64,
        Described::Bool => Kind::Bool,
        Described::String => Kind::String,
        Described::Bytes => Kind::Bytes,
        Described::Enum(of) => Kind::Enum(place(find.enums, of.full_name())),
        Described::Message(of) if field.is_group() => {
            Kind::Group(place(find.messages, of.full_name()))
        }
        Described::Message(of) => Kind::Message(place(find.messages, of.full_name())),
    }
}

fn enumeration(descriptor: &EnumDescriptor) -> Enum {
    Enum {
        values: descriptor
            .values()
            .map(|value| (value.name().to_owned(), value.number()))
            .collect(),
        closed: descriptor.parent_file().syntax() == Syntax::Proto2,
    }
}
