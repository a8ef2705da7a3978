//! The calls of Confluent's API that walpost makes.
//!
//! Source: Confluent documentation, "Schema Registry API Reference"; what Apicurio answers was
//! looked at (2.6, `/apis/ccompat/v7`).

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::RegistryError;
use super::http::{Answer, Http};
use super::options::RegistryOptions;

/// References that one schema may need, with those that they need. Each is a request.
const REFERENCES_MAX: usize = 200;

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Apache Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Protocol Buffers.
    Protobuf,
}

impl Kind {
    /// The registry's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }
}

/// A schema that another one uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Reference {
    /// What the other schema calls it.
    pub name: String,
    /// Where it is registered.
    pub subject: String,
    /// Its version there.
    pub version: i32,
}

/// A schema that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id, which all subjects with the same schema share.
    pub id: u32,
    /// Its number under the subject.
    pub version: i32,
    /// Its GUID, where the registry has those (Confluent 8 and later).
    pub guid: Option<[u8; 16]>,
    /// Its language.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// What it uses.
    pub references: Vec<Reference>,
}

/// A schema that is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its language.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// What it uses.
    pub references: Vec<Reference>,
}

/// What the registry says to a new version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compatibility {
    /// It may be registered.
    pub compatible: bool,
    /// Why not, in the registry's words; some registries say nothing.
    pub messages: Vec<String>,
}

/// Speaks to the registry.
#[derive(Clone)]
pub struct Client {
    http: Http,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionBody {
    id: u32,
    version: i32,
    schema: String,
    schema_type: Option<String>,
    references: Option<Vec<Reference>>,
    guid: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error_code: u32,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct IdBody {
    id: u32,
}

#[derive(Deserialize)]
struct CompatibilityBody {
    is_compatible: bool,
    messages: Option<Vec<String>>,
    /// Apicurio's, in place of messages.
    reason: Option<String>,
}

impl Client {
    /// A client; reads the trusted authorities anew.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        Ok(Self { http: Http::new(options)? })
    }

    /// Asks for all subjects and counts them: the registry answers and takes who we are.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn subjects(&self) -> Result<usize, RegistryError> {
        let answer = self.http.ask(Method::GET, "/subjects", None).await?;
        read::<Vec<String>>(&answer, "list the subjects").map(|subjects| subjects.len())
    }

    /// The latest version of a subject.
    ///
    /// # Errors
    ///
    /// Every [`RegistryError`].
    pub async fn latest(&self, subject: &str) -> Result<Registered, RegistryError> {
        self.of_version(subject, "latest").await
    }

    async fn of_version(&self, subject: &str, version: &str) -> Result<Registered, RegistryError> {
        let path = format!("/subjects/{}/versions/{version}", in_path(subject));
        let answer = self.http.ask(Method::GET, &path, None).await?;
        registered(read(&answer, &format!("read version {version} of subject {subject}"))?)
    }

    /// What a schema refers to, and what that refers to, each once and what is used before what
    /// uses it; by the name that it is used under.
    ///
    /// # Errors
    ///
    /// Every [`RegistryError`]; that a reference is not there makes the schema unusable.
    pub async fn references(
        &self,
        references: &[Reference],
    ) -> Result<Vec<(String, String)>, RegistryError> {
        let mut found: Vec<(Reference, Registered)> = Vec::new();
        let mut open: Vec<Reference> = references.to_vec();
        while let Some(reference) = open.pop() {
            if found.iter().any(|(known, _)| *known == reference) {
                // Used by several: it has to come before the first of them.
                if let Some(at) = found.iter().position(|(known, _)| *known == reference) {
                    let again = found.remove(at);
                    found.push(again);
                }
                continue;
            }
            if found.len() >= REFERENCES_MAX {
                let what = format!("the schema needs more than {REFERENCES_MAX} others");
                return Err(RegistryError::Unusable(what));
            }
            let version = reference.version.to_string();
            let other = match self.of_version(&reference.subject, &version).await {
                Err(RegistryError::NotFound(said)) => {
                    let what = format!("the schema uses another that is not there: {said}");
                    return Err(RegistryError::Unusable(what));
                }
                other => other?,
            };
            open.extend(other.references.iter().cloned());
            found.push((reference, other));
        }
        let texts = found.into_iter().rev();
        Ok(texts.map(|(reference, other)| (reference.name, other.text)).collect())
    }

    /// Whether a schema may become the next version of a subject. A subject without versions takes
    /// every valid one.
    ///
    /// # Errors
    ///
    /// Every [`RegistryError`]; [`RegistryError::Refused`] for a schema that is none.
    pub async fn compatibility(
        &self,
        subject: &str,
        proposed: &Proposed,
    ) -> Result<Compatibility, RegistryError> {
        let path =
            format!("/compatibility/subjects/{}/versions/latest?verbose=true", in_path(subject));
        let answer = self.http.ask(Method::POST, &path, Some(body(proposed))).await?;
        let said = read(&answer, &format!("test a schema for subject {subject}"));
        match said {
            Ok(CompatibilityBody { is_compatible, messages, reason }) => Ok(Compatibility {
                compatible: is_compatible,
                messages: messages.unwrap_or_default().into_iter().chain(reason).collect(),
            }),
            // No subject, no version: nothing that it could be incompatible with.
            Err(RegistryError::NotFound(_)) => {
                Ok(Compatibility { compatible: true, messages: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }

    /// The version under which a subject has exactly this schema, if it has it.
    ///
    /// # Errors
    ///
    /// Every [`RegistryError`] but [`RegistryError::NotFound`].
    pub async fn find(
        &self,
        subject: &str,
        proposed: &Proposed,
    ) -> Result<Option<Registered>, RegistryError> {
        let path = format!("/subjects/{}", in_path(subject));
        let answer = self.http.ask(Method::POST, &path, Some(body(proposed))).await?;
        match read(&answer, &format!("look for a schema under subject {subject}")) {
            Ok(found) => registered(found).map(Some),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Registers a schema and returns its id. One that is there already keeps its id and version.
    ///
    /// # Errors
    ///
    /// Every [`RegistryError`]; [`RegistryError::Refused`] for one that is not compatible.
    pub async fn register(&self, subject: &str, proposed: &Proposed) -> Result<u32, RegistryError> {
        let path = format!("/subjects/{}/versions", in_path(subject));
        let answer = self.http.ask(Method::POST, &path, Some(body(proposed))).await?;
        read(&answer, &format!("register a schema under subject {subject}")).map(|IdBody { id }| id)
    }
}

fn body(proposed: &Proposed) -> String {
    serde_json::json!({
        "schemaType": proposed.kind.word(),
        "schema": proposed.text,
        "references": proposed.references,
    })
    .to_string()
}

fn registered(body: VersionBody) -> Result<Registered, RegistryError> {
    let VersionBody { id, version, schema, schema_type, references, guid } = body;
    let kind = match schema_type.as_deref() {
        // The first language of the registry is the one it does not name.
        None | Some("AVRO") => Kind::Avro,
        Some("JSON") => Kind::Json,
        Some("PROTOBUF") => Kind::Protobuf,
        Some(other) => {
            return Err(RegistryError::Unusable(format!("schema {id} is of kind {other:?}")));
        }
    };
    let guid = guid.map(|text| guid_bytes(&text));
    if guid == Some(None) {
        return Err(RegistryError::Unusable(format!("schema {id} has a GUID that is none")));
    }
    let references = references.unwrap_or_default();
    Ok(Registered { id, version, guid: guid.flatten(), kind, text: schema, references })
}

/// The 16 bytes of a UUID's text.
fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| *character != '-')
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
    if digits.len() == 32 { bytes.try_into().ok() } else { None }
}

/// Error codes by which the registry says that a subject, version or schema is not there
/// (Schema Registry API Reference, "Errors").
const NOT_THERE: [u32; 3] = [40_401, 40_402, 40_403];

/// What an answer says, or what is wrong.
///
/// A 404 is only believed where the registry's own error code comes with it: at a wrong address any
/// web server says 404, and that must not make rows bad.
fn read<T: DeserializeOwned>(answer: &Answer, doing: &str) -> Result<T, RegistryError> {
    let Answer { status, body, .. } = answer;
    if (200..300).contains(status) {
        return serde_json::from_slice(body).map_err(|_| {
            RegistryError::Unreachable(format!(
                "cannot {doing}: the answer is not a schema registry's; look at \
                 WALPOST_REGISTRY_URL (Apicurio's ends with /apis/ccompat/v7)"
            ))
        });
    }
    let error = serde_json::from_slice::<ErrorBody>(body).ok();
    let said = error.as_ref().map(|error| error.message.trim()).filter(|said| !said.is_empty());
    let said = said.map_or_else(String::new, |said| {
        format!(", {}", said.chars().take(500).collect::<String>())
    });
    let text = format!("cannot {doing}: the registry answers {status}{said}");
    Err(match status {
        401 => RegistryError::Unauthorized(text),
        403 => RegistryError::Forbidden(text),
        404 if error.is_some_and(|error| NOT_THERE.contains(&error.error_code)) => {
            RegistryError::NotFound(text)
        }
        404 => RegistryError::Unreachable(format!(
            "{text}, and not as a schema registry does; look at WALPOST_REGISTRY_URL (Apicurio's \
             ends with /apis/ccompat/v7)"
        )),
        409 | 422 => RegistryError::Refused(text),
        _ => RegistryError::Unreachable(text),
    })
}

/// A subject as a segment of a path (RFC 3986, section 2.3: what is not unreserved is in percent
/// form).
fn in_path(subject: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let written = write!(path, "%{byte:02X}");
            debug_assert!(written.is_ok(), "a String takes everything");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, date: None, body: bytes::Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn only_the_registrys_own_word_makes_a_schema_missing() {
        #[track_caller]
        fn check(status: u16, body: &str, about_schema: bool, words: &str) {
            let error = read::<IdBody>(&answer(status, body), "do it").err().expect("an error");
            assert_eq!(error.is_about_schema(), about_schema, "{status} {body}: {error:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let coded = |code: u32| format!(r#"{{"error_code":{code},"message":"said"}}"#);
        check(404, &coded(40_401), true, "said");
        check(404, &coded(40_402), true, "said");
        check(404, &coded(40_403), true, "said");
        check(404, &coded(404), false, "WALPOST_REGISTRY_URL");
        check(404, "<html>", false, "WALPOST_REGISTRY_URL");
        check(200, "<html>", false, "not a schema registry's");
        check(422, &coded(42_201), true, "said");
        check(409, &coded(409), true, "said");
        check(401, "", false, "401");
        check(403, "", false, "403");
        check(429, "", false, "429");
        check(500, &coded(50_001), false, "said");
        check(302, "", false, "302");
        assert!(matches!(read::<IdBody>(&answer(200, r#"{"id":7}"#), ""), Ok(IdBody { id: 7 })));
    }

    #[test]
    fn a_guid_is_32_digits() {
        let bytes = [
            1, 0x89, 0x79, 0x17, 0x62, 0x23, 0x10, 0x41, 0xB3, 0xB8, 0xF6, 0x3F, 0xBB, 0x9D, 0xD6,
            0xF1,
        ];
        assert_eq!(guid_bytes("01897917-6223-1041-b3b8-f63fbb9dd6f1"), Some(bytes));
        assert_eq!(guid_bytes("01897917-6223-1041-b3b8-f63fbb9dd6f"), None);
        assert_eq!(guid_bytes("01897917-6223-1041-b3b8-f63fbb9dd6fx"), None);
        assert_eq!(guid_bytes(""), None);
    }

    #[test]
    fn a_subject_is_one_segment_of_a_path() {
        assert_eq!(in_path("orders-value"), "orders-value");
        assert_eq!(in_path("a/b?c#d%20 é"), "a%2Fb%3Fc%23d%2520%20%C3%A9");
    }
}
