//! The schemas of a folder, and which of them use which.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::registry::client::Kind;

/// Schemas that a folder may have.
const FILES_MAX: usize = 10_000;

/// A schema in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// What it is registered under: its name without the ending.
    pub(super) subject: String,
    /// Its name.
    pub(super) name: String,
    /// Its language, by the ending.
    pub(super) kind: Kind,
    /// Its text.
    pub(super) text: String,
    /// The files of the same folder that it uses: the name it uses, and the file's subject.
    pub(super) uses: Vec<(String, String)>,
}

/// Reads the schemas of a folder, in an order in which each comes after those that it uses.
///
/// # Errors
///
/// What is wrong with the folder or a file in it.
pub(super) fn read(folder: &Path) -> Result<Vec<File>, String> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("cannot read folder {}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((subject, ending)) = name.rsplit_once('.') else { continue };
        let kind = match ending {
            "json" => Kind::Json,
            "avsc" => Kind::Avro,
            "proto" => Kind::Protobuf,
            _ => continue,
        };
        if subject.is_empty() {
            continue;
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let (subject, name) = (subject.to_owned(), name.to_owned());
        files.push(File { subject, name, kind, text, uses: Vec::new() });
        if files.len() > FILES_MAX {
            return Err(format!("{} has more than {FILES_MAX} schemas", folder.display()));
        }
    }
    if files.is_empty() {
        return Err(format!("folder {} has no schemas", folder.display()));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut subjects = BTreeSet::new();
    if let Some(twice) = files.iter().find(|file| !subjects.insert(file.subject.clone())) {
        return Err(format!("subject {} is there in two languages", twice.subject));
    }
    find_uses(&mut files)?;
    in_order(files)
}

fn find_uses(files: &mut [File]) -> Result<(), String> {
    // The name that others use, and the subject.
    let names: Vec<(String, String)> = files
        .iter()
        .map(|file| (used_name(file).unwrap_or_else(|| file.name.clone()), file.subject.clone()))
        .collect();
    for file in files {
        let used = match file.kind {
            Kind::Json | Kind::Avro => {
                let value: Value = serde_json::from_str(&file.text)
                    .map_err(|error| format!("{} is not JSON: {error}", file.name))?;
                let mut used = BTreeSet::new();
                collect(&value, file.kind, &mut used);
                used
            }
            Kind::Protobuf => imports(&file.text),
        };
        file.uses = used
            .into_iter()
            .filter_map(|used| {
                // A folder is flat, while an import may have a path: its last name is the file's.
                let last = match file.kind {
                    Kind::Protobuf => used.rsplit('/').next().unwrap_or_default(),
                    Kind::Json | Kind::Avro => used.as_str(),
                };
                let (_, subject) = names.iter().find(|(name, _)| name == last)?;
                (*subject != file.subject).then(|| (used.clone(), subject.clone()))
            })
            .collect();
    }
    Ok(())
}

/// What an Avro schema is used by: its full name.
fn used_name(file: &File) -> Option<String> {
    if file.kind != Kind::Avro {
        return None;
    }
    let schema: Value = serde_json::from_str(&file.text).ok()?;
    let name = schema.get("name")?.as_str()?;
    match schema.get("namespace").and_then(Value::as_str) {
        Some(namespace) if !name.contains('.') && !namespace.is_empty() => {
            Some(format!("{namespace}.{name}"))
        }
        Some(_) | None => Some(name.to_owned()),
    }
}

/// The names that may be those of other schemas: in JSON Schema each `$ref`, without a fragment, in
/// Avro each text. Goes no deeper than `serde_json` does, 128 levels.
fn collect(value: &Value, kind: Kind, used: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, kind, used)),
        Value::Object(members) => {
            for (name, member) in members {
                if let (Kind::Json, "$ref", Value::String(text)) = (kind, name.as_str(), member) {
                    used.insert(text.split('#').next().unwrap_or_default().to_owned());
                }
                collect(member, kind, used);
            }
        }
        Value::String(text) if kind == Kind::Avro => {
            used.insert(text.clone());
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The files that a Protobuf schema imports.
fn imports(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("import"))
        .filter_map(|rest| rest.split(['"', '\'']).nth(1))
        .map(str::to_owned)
        .collect()
}

fn in_order(files: Vec<File>) -> Result<Vec<File>, String> {
    let mut ordered: Vec<File> = Vec::with_capacity(files.len());
    let mut left = files;
    while !left.is_empty() {
        let done = |subject: &str| ordered.iter().any(|file: &File| file.subject == subject);
        let (ready, waiting): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|file| file.uses.iter().all(|(_, subject)| done(subject)));
        if ready.is_empty() {
            let names: Vec<_> = waiting.iter().map(|file| file.name.as_str()).collect();
            return Err(format!("these use each other in a circle: {}", names.join(", ")));
        }
        ordered.extend(ready);
        left = waiting;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Result<&[&str], &str>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let found = read(folder.path());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<_> = found
                    .iter()
                    .map(|file| {
                        let uses: Vec<_> =
                            file.uses.iter().map(|(name, on)| format!("{name}={on}")).collect();
                        format!("{} {} {}", file.kind.word(), file.subject, uses.join(","))
                            .trim_end()
                            .to_owned()
                    })
                    .collect();
                assert_eq!(found, expected);
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn a_schema_comes_after_those_that_it_uses() {
        check(
            &[
                (
                    "a-value.json",
                    r#"{"properties": {"to": {"$ref": "z-value.json#/definitions/x"}}}"#,
                ),
                ("z-value.json", r##"{"definitions": {"x": {"$ref": "#/definitions/y"}}}"##),
                ("readme.md", "no schema"),
            ],
            Ok(&["JSON z-value", "JSON a-value z-value.json=z-value"]),
        );
        check(
            &[
                (
                    "a-value.avsc",
                    r#"{"type": "record", "name": "A", "fields": [{"name": "z", "type": ["null", "acme.Z"]}]}"#,
                ),
                (
                    "z.avsc",
                    r#"{"type": "enum", "name": "Z", "namespace": "acme", "symbols": ["a"]}"#,
                ),
            ],
            Ok(&["AVRO z", "AVRO a-value acme.Z=z"]),
        );
        check(
            &[("a.proto", "syntax = \"proto3\";\nimport \"b.proto\";"), ("b.proto", "")],
            Ok(&["PROTOBUF b", "PROTOBUF a b.proto=b"]),
        );
        check(
            &[("a.proto", "import public 'acme/b.proto';\nimport \"x/a.proto\";"), ("b.proto", "")],
            Ok(&["PROTOBUF b", "PROTOBUF a acme/b.proto=b"]),
        );
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_named() {
        check(&[], Err("has no schemas"));
        check(&[("a.json", "{")], Err("a.json is not JSON"));
        check(&[("a.json", "{}"), ("a.avsc", "{}")], Err("a is there in two languages"));
        let (a, b) = (r#"{"$ref": "b.json"}"#, r#"{"$ref": "a.json"}"#);
        check(&[("a.json", a), ("b.json", b)], Err("circle: a.json, b.json"));
        let missing = read(Path::new("/nonexistent/schemas")).expect_err("no folder");
        assert!(missing.contains("/nonexistent/schemas"), "{missing}");
    }
}
