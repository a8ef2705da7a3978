//! What becomes of a bad row: skipped, held, or a dead letter.

use super::refusal::{Alone, Sent};
use super::rows::{
    EVENT_OVERHEAD, Rows, Taken, Watched, fits, is_unknown, now_unix_micros, refused_by_client,
    send, taken, waits,
};
use crate::cloudevent::{BadRow, DeadLetterContext};
use crate::config::OnBadRow;
use crate::error::Failure;
use crate::kafka::batch_limits::alone;
use crate::lsn::Position;
use crate::pgoutput::Tuple;
use crate::status::HaltCode;

/// Headers of a letter for which room is left when its weight is held against the topic's limit.
/// More than its own and the attributes; a row's own headers may be more, which the topic then
/// refuses, and the letter goes without the payload.
const LETTER_HEADERS: usize = 64;

impl Rows {
    /// Does with a bad row what the policy says. The row is laid out once more, so that the good
    /// rows' way needs not keep it.
    pub(super) fn bad_row(
        &mut self,
        relation_oid: u32,
        tuple: Tuple<'_>,
        position: Position,
        bad: &BadRow,
    ) -> Result<Taken, Failure> {
        let reason = bad.reason.word();
        match self.settings.on_bad_row {
            OnBadRow::Skip => {
                tracing::warn!(%position, reason, attribute = %bad.attribute, "a bad row is skipped: {}", bad.message);
                self.teller.bad_row(reason);
                self.ledger.passed_over();
                Ok(Taken::Done)
            }
            OnBadRow::Halt => Ok(Taken::Held(Failure::halt(
                HaltCode::BadRow,
                format!("row {position} is bad ({reason}): {}", bad.message),
                "set WALPOST_ON_BAD_ROW to dlq or skip and start walpost again, or put right what the message names; nothing was skipped",
            ))),
            OnBadRow::DeadLetter => self.dead_letter(relation_oid, tuple, position, bad),
        }
    }

    fn dead_letter(
        &mut self,
        relation_oid: u32,
        tuple: Tuple<'_>,
        position: Position,
        bad: &BadRow,
    ) -> Result<Taken, Failure> {
        let dlq = &self.settings.dlq_topic;
        if let Some(said) = self.refusals.letters_held() {
            return Ok(Taken::Held(Failure::halt(
                HaltCode::DeadLetterFailed,
                format!(
                    "the dead letter of row {position} cannot be written to topic {dlq}: {said}"
                ),
                "let walpost's Kafka user write to the topic, and let its max.message.bytes be that of the largest topic; walpost tries again by itself",
            )));
        }
        let Some(topic) = self.producer.topic(dlq) else {
            if is_unknown(&mut self.unknown_topics, dlq) {
                return Ok(Taken::Held(Failure::halt(
                    HaltCode::DeadLetterFailed,
                    format!(
                        "the dead letter of row {position} has nowhere to go: topic {dlq} does not exist"
                    ),
                    "create the topic, with unlimited retention; walpost tries again by itself",
                )));
            }
            return Ok(Taken::NeedsTopic(dlq.clone()));
        };
        let Some(Watched::Outbox(mapping)) = self.relations.get(&relation_oid) else {
            return Ok(Taken::Done);
        };
        let row = mapping.row(&mut self.scratch, tuple).map_err(|error| {
            Failure::again("postgres_protocol", format!("row {position} cannot be read: {error}"))
        })?;
        // Not left to compression, as an event is: a letter without its payload is better than
        // one that halts the stream.
        let without_payload = self.refusals.letter_of(position);
        let limit = self.producer.limit_of(topic).saturating_sub(alone(0, LETTER_HEADERS));
        let context = DeadLetterContext {
            topic: dlq,
            connector: &self.settings.connector,
            position,
            largest: if without_payload { 0 } else { limit },
            commit_time: self.commit_time,
            now_unix_micros: now_unix_micros(),
        };
        let letter = self.encoder.dead_letter(mapping, &row, bad, &context);
        let way = self.refusals.letters_way(dlq, position, fits(&self.producer, topic, &letter));
        if let Some(until) = waits(way, &self.ledger) {
            return Ok(Taken::Later(until));
        }
        let sent = if letter.value.is_some() { Sent::Letter } else { Sent::LetterWithoutPayload };
        match send(&self.producer, topic, &letter, self.ledger.tag()) {
            Ok(bytes) => {
                let reason = bad.reason.word();
                self.ledger.enqueued(bytes + EVENT_OVERHEAD);
                tracing::warn!(%position, reason, attribute = %bad.attribute, "a bad row goes to the dead letters: {}", bad.message);
                self.teller.bad_row(reason);
                self.teller.dead_letter(reason);
                Ok(taken(way, Alone { position, sent }))
            }
            Err(error) => refused_by_client(&error, dlq),
        }
    }
}
