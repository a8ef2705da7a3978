//! JSON Schema: a payload fits or does not. Its bytes are not changed.

use std::collections::HashMap;

use jsonschema::{Draft, Retrieve, Uri, Validator};
use serde_json::Value;

use super::error::RegistryError;
use super::schema::Mismatch;

/// What references are relative to in a schema without `$id`. Nothing is there.
const BASE: &str = "schema:///schema.json";

/// A compiled schema.
pub(super) struct JsonSchema(Validator);

/// The schemas that others refer to, by the names that the registry has for the references.
struct References(HashMap<String, Value>);

impl Retrieve for References {
    /// A reference is by the name itself, or relative to the `$id` of the schema that has it.
    /// Nothing is ever fetched from an address.
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let uri = uri.as_str();
        let named = self.0.get(uri).or_else(|| {
            self.0
                .iter()
                .find(|(name, _)| {
                    uri.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('/'))
                })
                .map(|(_, schema)| schema)
        });
        named.cloned().ok_or_else(|| "it is not among the schema's references".into())
    }
}

impl JsonSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// It is none, or it refers to what is not there.
    pub(super) fn new(text: &str, references: &[(String, String)]) -> Result<Self, RegistryError> {
        let unusable = |what: String| RegistryError::Unusable(what);
        let parse = |text: &str, name: &str| {
            serde_json::from_str::<Value>(text)
                .map_err(|error| unusable(format!("{name} is not JSON: {error}")))
        };
        let schema = parse(text, "the schema")?;
        let references = references
            .iter()
            .map(|(name, text)| Ok((name.clone(), parse(text, name)?)))
            .collect::<Result<_, RegistryError>>()?;
        let mut options =
            jsonschema::options().with_retriever(References(references)).with_base_uri(BASE);
        if schema.get("$schema").is_none() {
            // What Confluent's serializers take a schema for that does not say it
            // (`SpecificationVersion.DRAFT_7` in JsonSchemaUtils).
            options = options.with_draft(Draft::Draft7);
        }
        let validator = options
            .build(&schema)
            .map_err(|error| unusable(format!("the schema is no JSON Schema: {error}")))?;
        Ok(Self(validator))
    }

    /// Whether a payload fits. What is wrong is said by the place in the schema, because the place
    /// in the payload may have words of the row in it.
    pub(super) fn check(&self, payload: &[u8]) -> Result<(), Mismatch> {
        let value: Value = serde_json::from_slice(payload).map_err(|_| {
            Mismatch::new(
                "is nested deeper than 128 levels, or has a number larger than 1e308: walpost \
                 cannot check it",
            )
        })?;
        match self.0.validate(&value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let place = error.schema_path().as_str();
                Err(Mismatch::new(format_args!("does not fit its schema at {place}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &str, payload: &str, expected: Result<(), &str>) {
        let schema = JsonSchema::new(schema, &[]).expect(schema);
        match (schema.check(payload.as_bytes()), expected) {
            (Ok(()), Ok(())) => {}
            (Err(mismatch), Err(words)) => {
                assert!(mismatch.what.contains(words), "{payload}: {}", mismatch.what);
                assert!(!mismatch.what.contains("hunter2"), "{payload}: {}", mismatch.what);
            }
            (found, expected) => panic!("{payload}: {found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn a_mismatch_is_named_by_its_place_in_the_schema() {
        let schema = r#"{"additionalProperties": false, "properties": {"a": {"enum": ["x"]},
            "m": {"additionalProperties": {"type": "integer"}}}}"#;
        check(schema, r#"{"a": "x", "m": {"k": 12345678901234567890123}}"#, Ok(()));
        check(schema, r#"{"a": "hunter2"}"#, Err("/properties/a/enum"));
        check(schema, r#"{"hunter2": 1}"#, Err("/additionalProperties"));
        check(schema, r#"{"m": {"hunter2": "x"}}"#, Err("/properties/m/additionalProperties/type"));
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        check("true", &deep, Err("deeper than 128"));
        check("true", "1e400", Err("larger than 1e308"));
    }

    #[test]
    fn a_schema_that_does_not_say_it_is_of_draft_7() {
        // `dependentRequired` came with 2019-09; before, an unknown keyword says nothing.
        let rule = r#""dependentRequired": {"a": ["b"]}"#;
        check(&format!("{{{rule}}}"), r#"{"a": 1}"#, Ok(()));
        let newer = "https://json-schema.org/draft/2020-12/schema";
        let newer = format!(r#"{{"$schema": "{newer}", {rule}}}"#);
        check(&newer, r#"{"a": 1}"#, Err("/dependentRequired"));
    }

    #[test]
    fn a_reference_is_found_by_its_name_and_nothing_is_fetched() {
        let part = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"}"#;
        let part = [("part.json".to_owned(), part.to_owned())];
        for id in ["", r#""$id": "https://example.com/schemas/whole.json", "#] {
            let whole = format!(r#"{{{id}"properties": {{"a": {{"$ref": "part.json"}}}}}}"#);
            let schema = JsonSchema::new(&whole, &part).expect("a schema");
            assert_eq!(schema.check(br#"{"a": 1}"#), Ok(()));
            assert!(schema.check(br#"{"a": "1"}"#).is_err());
            let alone = JsonSchema::new(&whole, &[]).err().expect("no part");
            assert!(alone.to_string().contains("not among"), "{alone}");
        }
        for wrong in [
            "{",
            r#"{"type": 7}"#,
            r#"{"$ref": "http://127.0.0.1:1/x.json"}"#,
            r#"{"pattern": "("}"#,
        ] {
            assert!(JsonSchema::new(wrong, &[]).is_err(), "{wrong}");
        }
    }
}
