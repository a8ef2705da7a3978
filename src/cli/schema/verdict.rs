//! What the registry, and walpost, say to each schema.

use serde::Serialize;

use super::files::File;
use crate::error::Failure;
use crate::registry::client::{Client, Proposed, Reference, Registered};
use crate::registry::error::RegistryError;
use crate::registry::schema::Schema;

/// What becomes of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// The subject has exactly this schema.
    Unchanged,
    /// The subject has none yet.
    New,
    /// It may follow on the latest version.
    Compatible,
    /// It uses another one that is not registered yet, so it cannot be tested before.
    Waiting,
    /// It was registered.
    Registered,
    /// The registry's rule, or walpost, does not take it.
    Refused,
}

impl Outcome {
    pub(super) const fn is_to_be_registered(self) -> bool {
        matches!(self, Self::New | Self::Compatible | Self::Waiting)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::New => "new",
            Self::Compatible => "compatible",
            Self::Waiting => "waiting",
            Self::Registered => "registered",
            Self::Refused => "REFUSED",
        }
    }
}

/// One schema and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) subject: String,
    file: String,
    pub(super) outcome: Outcome,
    /// Its version, where it has one.
    version: Option<i32>,
    /// Its id, where it has one.
    id: Option<u32>,
    /// What there is to say.
    messages: Vec<String>,
}

impl Verdict {
    fn new(file: &File, outcome: Outcome, messages: Vec<String>) -> Self {
        let (subject, file) = (file.subject.clone(), file.name.clone());
        Self { subject, file, outcome, version: None, id: None, messages }
    }

    fn of(self, registered: &Registered) -> Self {
        Self { version: Some(registered.version), id: Some(registered.id), ..self }
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.outcome == Outcome::Refused
    }

    /// For people.
    pub(super) fn text(&self, width: usize) -> String {
        let mut text = format!("{:<width$}  {}", self.subject, self.outcome.word());
        if let (Some(version), Some(id)) = (self.version, self.id) {
            text.push_str(&format!(", version {version}, id {id}"));
        }
        for message in &self.messages {
            text.push_str("\n  ");
            text.push_str(message);
        }
        text
    }
}

/// What would become of all.
///
/// # Errors
///
/// The registry does not answer, or refuses who we are.
pub(super) async fn of_all(
    client: &Client,
    url: &str,
    files: &[File],
) -> Result<Vec<Verdict>, Failure> {
    let mut verdicts = Vec::with_capacity(files.len());
    for file in files {
        verdicts.push(of_one(client, url, (file, files)).await?);
    }
    Ok(verdicts)
}

/// Registers all in their order, each tested before; ends at the first that is refused.
///
/// # Errors
///
/// As [`of_all`].
pub(super) async fn register(
    client: &Client,
    url: &str,
    files: &[File],
) -> Result<Vec<Verdict>, Failure> {
    let mut verdicts = Vec::with_capacity(files.len());
    for file in files {
        let mut verdict = of_one(client, url, (file, files)).await?;
        if verdict.outcome.is_to_be_registered() {
            verdict = register_one(client, (file, files)).await?;
        }
        let refused = verdict.is_refusal();
        verdicts.push(verdict);
        if refused {
            break;
        }
    }
    Ok(verdicts)
}

async fn of_one(
    client: &Client,
    url: &str,
    (file, files): (&File, &[File]),
) -> Result<Verdict, Failure> {
    // What walpost could not use would stop the rows of its subject.
    if let Err(error) = usable(url, file, files) {
        return Ok(Verdict::new(file, Outcome::Refused, vec![error.to_string()]));
    }
    let Some(proposed) = proposed(client, (file, files)).await? else {
        let what = "uses a schema of this folder that is not registered yet, or has changed";
        return Ok(Verdict::new(file, Outcome::Waiting, vec![what.to_owned()]));
    };
    if let Some(found) = said(file, client.find(&file.subject, &proposed).await)? {
        return Ok(match found {
            Ok(Some(registered)) => {
                Verdict::new(file, Outcome::Unchanged, Vec::new()).of(&registered)
            }
            Ok(None) => tested(client, file, &proposed).await?,
            Err(refusal) => refusal,
        });
    }
    tested(client, file, &proposed).await
}

async fn tested(client: &Client, file: &File, proposed: &Proposed) -> Result<Verdict, Failure> {
    let latest = match client.latest(&file.subject).await {
        Ok(latest) => Some(latest),
        Err(RegistryError::NotFound(_)) => None,
        Err(error) => return Err(Failure::registry(&error)),
    };
    let answer = client.compatibility(&file.subject, proposed).await;
    let answer = match said(file, answer)? {
        Some(Ok(answer)) => answer,
        Some(Err(refusal)) => return Ok(refusal),
        None => return Ok(Verdict::new(file, Outcome::New, Vec::new())),
    };
    Ok(match (answer.compatible, latest) {
        (true, None) => Verdict::new(file, Outcome::New, answer.messages),
        (true, Some(_)) => Verdict::new(file, Outcome::Compatible, answer.messages),
        (false, latest) => {
            let before = latest
                .map_or_else(String::new, |latest| format!(" with version {}", latest.version));
            let mut messages = vec![format!("is not compatible{before}")];
            messages.extend(answer.messages);
            Verdict::new(file, Outcome::Refused, messages)
        }
    })
}

async fn register_one(
    client: &Client,
    (file, files): (&File, &[File]),
) -> Result<Verdict, Failure> {
    let Some(proposed) = proposed(client, (file, files)).await? else {
        let what = "uses a schema that the registry has not taken";
        return Ok(Verdict::new(file, Outcome::Refused, vec![what.to_owned()]));
    };
    match said(file, client.register(&file.subject, &proposed).await)? {
        Some(Ok(id)) => {
            let found = client.find(&file.subject, &proposed).await;
            let version =
                found.map_err(|error| Failure::registry(&error))?.map(|found| found.version);
            let verdict = Verdict::new(file, Outcome::Registered, Vec::new());
            Ok(Verdict { id: Some(id), version, ..verdict })
        }
        Some(Err(refusal)) => Ok(refusal),
        None => Ok(Verdict::new(file, Outcome::Refused, vec!["is not taken".to_owned()])),
    }
}

/// What is refused is said of the schema; that nothing is found is `None`; the rest ends the
/// command.
fn said<T>(
    file: &File,
    answer: Result<T, RegistryError>,
) -> Result<Option<Result<T, Verdict>>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(Ok(answer))),
        Err(RegistryError::Refused(said)) => {
            Ok(Some(Err(Verdict::new(file, Outcome::Refused, vec![said]))))
        }
        Err(RegistryError::NotFound(_)) => Ok(None),
        Err(error) => Err(Failure::registry(&error)),
    }
}

/// Whether walpost can use a schema with those of the folder that it uses.
fn usable(url: &str, file: &File, files: &[File]) -> Result<(), RegistryError> {
    let registered = Registered {
        id: 0,
        version: 0,
        guid: None,
        kind: file.kind,
        text: file.text.clone(),
        references: Vec::new(),
    };
    let mut references = Vec::new();
    add_used(file, files, &mut references);
    Schema::new(url, registered, &references).map(drop)
}

/// The texts that a file uses, each after those that it uses itself. Files do not use each other in
/// circles, so this ends.
fn add_used(file: &File, files: &[File], references: &mut Vec<(String, String)>) {
    for (name, subject) in &file.uses {
        let Some(used) = files.iter().find(|other| other.subject == *subject) else { continue };
        if references.iter().all(|(known, _)| known != name) {
            add_used(used, files, references);
            references.push((name.clone(), used.text.clone()));
        }
    }
}

/// A schema with the versions of what it uses; `None` when one of those is not registered.
async fn proposed(
    client: &Client,
    (file, files): (&File, &[File]),
) -> Result<Option<Proposed>, Failure> {
    let mut references = Vec::new();
    for (name, subject) in &file.uses {
        let Some(used) = files.iter().find(|other| other.subject == *subject) else { continue };
        let Some(proposed) = Box::pin(proposed(client, (used, files))).await? else {
            return Ok(None);
        };
        let found = client.find(subject, &proposed).await;
        let version = match found {
            Ok(Some(registered)) => registered.version,
            Ok(None) | Err(RegistryError::NotFound(_) | RegistryError::Refused(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(Failure::registry(&error)),
        };
        references.push(Reference { name: name.clone(), subject: subject.clone(), version });
    }
    Ok(Some(Proposed { kind: file.kind, text: file.text.clone(), references }))
}
