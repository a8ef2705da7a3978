//! Rows that come as messages of `pg_logical_emit_message` (`WALPOST_MESSAGES`).
//!
//! They are counted with the rows of tables, in the order of their transaction, so that a position
//! means the same however it was written; messages of others are not counted, as tables of others
//! are not.

use super::refusal::Place;
use super::rows::{Rows, Taken, broken};
use crate::error::Failure;
use crate::outbox::message::{MessageReader, MessageRow};
use crate::pgoutput::Message;
use crate::status::HaltCode;

/// What is needed to take messages.
#[derive(Debug)]
pub(super) struct Messages {
    reader: MessageReader,
    warned: bool,
}

impl Messages {
    /// For messages of this prefix, where there is one.
    pub(super) fn of(
        prefix: Option<&str>,
        options: &crate::cloudevent::options::EventOptions,
    ) -> Result<Option<Box<Self>>, Failure> {
        let Some(prefix) = prefix else { return Ok(None) };
        match MessageReader::new(prefix, options) {
            Ok(reader) => Ok(Some(Box::new(Self { reader, warned: false }))),
            Err(error) => Err(Failure::halt(
                HaltCode::NotReady,
                format!("no message can be read as an outbox row: {error}"),
                "correct the variable that the message names",
            )),
        }
    }
}

impl Rows {
    /// Deals with one message.
    pub(super) fn message(&mut self, message: &Message<'_>) -> Result<Taken, Failure> {
        let Some(mut messages) = self.messages.take() else { return Ok(Taken::Done) };
        let taken = self.message_of(&mut messages, message);
        self.messages = Some(messages);
        taken
    }

    fn message_of(
        &mut self,
        messages: &mut Messages,
        message: &Message<'_>,
    ) -> Result<Taken, Failure> {
        if message.prefix != messages.reader.prefix() {
            return Ok(Taken::Done);
        }
        if !message.transactional {
            self.teller.metrics.nontransactional_message();
            if !messages.warned {
                messages.warned = true;
                tracing::warn!(
                    lsn = %message.lsn,
                    prefix = message.prefix,
                    "a message of the outbox was written with transactional = false and is not sent: it may stand for work that was rolled back. Write it with pg_logical_emit_message(true, …); this is said once, and counted in walpost_nontransactional_messages_total"
                );
            }
            return Ok(Taken::Done);
        }
        let (position, covered) = self.ledger.place().map_err(|violation| broken(&violation))?;
        if covered {
            self.ledger.passed_over();
            self.teller.duplicate_suppressed();
            return Ok(Taken::Done);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let place = Place::Stream(position);
        let MessageRow { mapping, row, bad } = messages.reader.read(&mut scratch, message.content);
        let taken = match bad {
            Some(bad) => self.bad_row(&mapping, &row, place, &bad),
            None => self.offer(&mapping, &row, place),
        };
        self.scratch = scratch;
        taken
    }
}
