//! Asking for a schema before the first row that has to fit it.
//!
//! As with topics, the row stays in the buffer and no other is taken, while the loop goes on with
//! everything but rows. A registry that does not answer is waited for: no row is skipped, none is
//! bad for it, and what is in flight is confirmed and stored meanwhile. One that refuses who we are
//! ends the generation, since the next one reads the password again.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Action, Pipeline};
use crate::error::Failure;
use crate::registry::error::RegistryError;

/// The pause before a question that was not answered is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// A question for a schema that is being asked.
#[derive(Debug)]
pub(super) struct SchemaQuestion {
    subject: String,
    pub(super) answer: JoinHandle<Result<(), RegistryError>>,
}

impl Pipeline {
    pub(super) fn ask_for_schema(&mut self, subject: String) {
        let Some(schemas) = self.settings.rows.schemas.clone() else { return };
        let asked = subject.clone();
        let wait = if self.waits_for_registry.is_some() { PAUSE } else { Duration::ZERO };
        let answer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            schemas.learn(&asked).await
        });
        self.schema_question = Some(SchemaQuestion { subject, answer });
    }

    pub(super) fn schema_answered(&mut self, subject: &str, answer: Result<(), RegistryError>) {
        self.schema_question = None;
        self.unread = true;
        let error = match answer {
            Ok(()) => {
                if self.waits_for_registry.take().is_some() {
                    tracing::info!(subject, "the schema registry has answered; going on");
                }
                return;
            }
            Err(error) => error,
        };
        let failure = Failure::registry(&error);
        match &failure {
            // Said by the next attempt at the row, once what comes before it is stored.
            Failure::Halt { .. } => self.rows.registry_refuses = Some(failure),
            Failure::Again { .. } => {
                let message = error.to_string();
                if self.waits_for_registry.as_ref() != Some(&message) {
                    tracing::warn!(
                        hint = failure.hint(),
                        "rows wait for the schema registry: {message}"
                    );
                }
                failure.tell_without_halting(&self.rows.teller.status);
                self.waits_for_registry = Some(message);
            }
        }
    }
}

/// The answer to a question for a schema; waits for ever when none is asked.
///
/// Cancel safe: the task goes on, and is asked again.
pub(super) async fn schema_answer(question: &mut Option<SchemaQuestion>) -> Action {
    match question {
        None => std::future::pending().await,
        Some(question) => {
            let answer = match (&mut question.answer).await {
                Ok(answer) => answer,
                Err(error) => Err(RegistryError::Unreachable(error.to_string())),
            };
            Action::SchemaAnswered(question.subject.clone(), answer)
        }
    }
}
