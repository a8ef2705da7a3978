//! The encoder for those who may wait: what it needs to know of a schema is asked right away.

use crate::cloudevent::{BadRow, Encoder, Event, Unencoded};
use crate::error::Failure;
use crate::outbox::mapping::Mapping;
use crate::outbox::row::OutboxRow;
use crate::postgres::timestamp::PgTimestamp;

/// The event of a row, or what is wrong with the row.
///
/// # Errors
///
/// The registry does not say what the schema is.
pub(crate) async fn encode<'e>(
    encoder: &'e mut Encoder,
    mapping: &'e Mapping,
    row: &OutboxRow<'e>,
    commit_time: PgTimestamp,
) -> Result<Result<Event<'e>, BadRow>, Failure> {
    if let Some(schemas) = encoder.schemas()
        && let Err(Unencoded::NeedsSchema(subject)) = encoder.encode(mapping, row, commit_time)
    {
        let learnt = schemas.learn(&subject).await;
        learnt.map_err(|error| Failure::registry(&error))?;
    }
    match encoder.encode(mapping, row, commit_time) {
        Ok(event) => Ok(Ok(event)),
        Err(Unencoded::Bad(bad)) => Ok(Err(bad)),
        Err(Unencoded::NeedsSchema(subject)) => {
            let message = format!("the schema of subject {subject} was forgotten again");
            Err(Failure::again("registry", message))
        }
    }
}
