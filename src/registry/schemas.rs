//! The schemas that are known: what rows ask, without waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::error::RegistryError;
use super::options::RegistryOptions;
use super::schema::Schema;

/// Subjects that are remembered. Their names come from rows, so their number must have an end.
const SUBJECTS_MAX: usize = 10_000;

/// How long it is believed that a subject has no schema.
const ABSENT_LIMIT: Duration = Duration::from_secs(30);

/// What is known of a subject.
#[derive(Clone, Debug)]
pub enum Known {
    /// Its schema.
    Schema(Arc<Schema>),
    /// The registry said, not long ago, that it has none.
    Absent,
    /// The registry has to be asked.
    Unasked,
}

/// The schemas of a process. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Schemas(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Mutex<Arc<RegistryOptions>>,
    needs_guid: bool,
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// `None`: absent.
    schema: Option<Arc<Schema>>,
    asked_at: Instant,
}

impl Schemas {
    /// None yet. `needs_guid`: a schema without a GUID is of no use.
    #[must_use]
    pub fn new(options: RegistryOptions, needs_guid: bool) -> Self {
        Self(Arc::new(Shared {
            options: Mutex::new(Arc::new(options)),
            needs_guid,
            entries: Mutex::default(),
        }))
    }

    /// Asks with these options from now on: a password may have been rotated.
    pub fn reconfigure(&self, options: RegistryOptions) {
        *lock(&self.0.options) = Arc::new(options);
    }

    /// What is known of a subject. Never waits for the registry.
    #[must_use]
    pub fn known(&self, subject: &str) -> Known {
        match lock(&self.0.entries).get(subject) {
            None => Known::Unasked,
            Some(Entry { schema: Some(schema), .. }) => Known::Schema(Arc::clone(schema)),
            Some(Entry { schema: None, .. }) => Known::Absent,
        }
    }

    /// Asks the registry for the latest schema of a subject and remembers the answer, also that
    /// there is none.
    ///
    /// # Errors
    ///
    /// Nothing was learnt: the registry does not answer, refuses us, or has a schema that walpost
    /// cannot use.
    pub async fn learn(&self, subject: &str) -> Result<(), RegistryError> {
        let options = Arc::clone(&lock(&self.0.options));
        let client = Client::new(&options)?;
        let schema = match Schema::latest(&options, &client, subject).await {
            Ok(schema) => Some(Arc::new(schema)),
            Err(RegistryError::NotFound(said)) => {
                if let Known::Schema(_) = self.known(subject) {
                    // What its producers and consumers agreed on does not end with its listing.
                    return Err(RegistryError::NotFound(said));
                }
                tracing::warn!(subject, "the schema registry has no schema: {said}");
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(schema) = &schema {
            let registered = schema.registered();
            if self.0.needs_guid && registered.guid.is_none() {
                return Err(RegistryError::Unusable(format!(
                    "schema registry {} gives its schemas no GUID, which WALPOST_REGISTRY_MODE=header \
                     needs (Confluent 8 or later); use prefix",
                    options.url.as_str()
                )));
            }
            self.tell(subject, schema);
        }
        let mut entries = lock(&self.0.entries);
        if entries.len() >= SUBJECTS_MAX && !entries.contains_key(subject) {
            entries.clear();
        }
        entries.insert(subject.to_owned(), Entry { schema, asked_at: Instant::now() });
        Ok(())
    }

    /// Knows a schema without having asked.
    #[cfg(test)]
    pub(crate) fn know(&self, subject: &str, schema: Schema) {
        let entry = Entry { schema: Some(Arc::new(schema)), asked_at: Instant::now() };
        lock(&self.0.entries).insert(subject.to_owned(), entry);
    }

    /// A line in the log for each schema that begins to be used.
    fn tell(&self, subject: &str, schema: &Schema) {
        let before = match self.known(subject) {
            Known::Schema(before) => Some(before.registered().id),
            Known::Absent | Known::Unasked => None,
        };
        let registered = schema.registered();
        if before != Some(registered.id) {
            let (id, version) = (registered.id, registered.version);
            tracing::info!(subject, id, version, "rows are checked against a schema");
        }
    }

    /// Forgets after a while that a subject has no schema, and asks again for those that have one.
    /// A schema that cannot be asked for stays as it is known. Never ends; cancel safe.
    pub async fn refresh(&self) {
        let mut failed = false;
        loop {
            let refresh = lock(&self.0.options).refresh;
            tokio::time::sleep(refresh.min(ABSENT_LIMIT) / 4).await;
            for subject in self.due(refresh) {
                match self.learn(&subject).await {
                    Ok(()) => failed = false,
                    Err(error) => {
                        if !std::mem::replace(&mut failed, true) {
                            tracing::warn!(subject, %error, "no newer schema is known; going on with the one that is");
                        }
                        self.postpone(&subject);
                    }
                }
            }
        }
    }

    /// Subjects whose schema is to be asked for again; those without one are forgotten.
    fn due(&self, refresh: Duration) -> Vec<String> {
        let mut entries = lock(&self.0.entries);
        entries.retain(|_, entry| {
            entry.schema.is_some() || entry.asked_at.elapsed() < ABSENT_LIMIT.min(refresh)
        });
        entries
            .iter()
            .filter(|(_, entry)| entry.schema.is_some() && entry.asked_at.elapsed() >= refresh)
            .map(|(subject, _)| subject.clone())
            .collect()
    }

    fn postpone(&self, subject: &str) {
        if let Some(entry) = lock(&self.0.entries).get_mut(subject) {
            entry.asked_at = Instant::now();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
