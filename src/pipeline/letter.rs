//! What becomes of a bad row: skipped, held, or a dead letter.

use super::refusal::{Alone, Place, Sent};
use super::rows::{
    Rows, Taken, fits, is_unknown, now_unix_micros, refused_by_client, send, taken, waits,
};
use crate::cloudevent::{BadRow, DeadLetterContext};
use crate::config::OnBadRow;
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::batch_limits::alone;
use crate::mutant::{self, Mutant};
use crate::outbox::mapping::Mapping;
use crate::outbox::role::Role;
use crate::outbox::row::OutboxRow;
use crate::status::HaltCode;

/// Headers of a letter for which room is left when its weight is held against the topic's limit.
/// More than its own and the attributes; a row's own headers may be more, which the topic then
/// refuses, and the letter goes without the payload.
const LETTER_HEADERS: usize = 64;

impl Rows {
    /// Does with a bad row what the policy says.
    pub(super) fn bad_row(
        &mut self,
        mapping: &Mapping,
        row: &OutboxRow<'_>,
        place: Place,
        bad: &BadRow,
    ) -> Result<Taken, Failure> {
        let position = place.position();
        let reason = bad.reason.word();
        match self.settings.on_bad_row {
            OnBadRow::Skip => {
                tracing::warn!(%position, reason, attribute = %bad.attribute, "a bad row is skipped: {}", bad.message);
                self.teller.bad_row(reason);
                self.keep(mapping, row, position);
                self.ledger.passed_over();
                Ok(Taken::Done)
            }
            OnBadRow::Halt => Ok(Taken::Held(Failure::halt(
                HaltCode::BadRow,
                format!("row {position} is bad ({reason}): {}", bad.message),
                "set WALPOST_ON_BAD_ROW to dlq or skip and start walpost again, or put right what the message names; nothing was skipped",
            ))),
            OnBadRow::DeadLetter => self.dead_letter(mapping, row, place, bad),
        }
    }

    fn dead_letter(
        &mut self,
        mapping: &Mapping,
        row: &OutboxRow<'_>,
        place: Place,
        bad: &BadRow,
    ) -> Result<Taken, Failure> {
        let position = place.position();
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
        // Not left to compression, as an event is: a letter without its payload is better than
        // one that halts the stream.
        let without_payload = self.refusals.letter_of(place);
        let limit = self.producer.limit_of(topic).saturating_sub(alone(0, LETTER_HEADERS));
        let context = DeadLetterContext {
            topic: dlq,
            connector: &self.settings.connector,
            position,
            largest: if without_payload { 0 } else { limit },
            commit_time: self.commit_time,
            now_unix_micros: now_unix_micros(),
        };
        let letter = self.encoder.dead_letter(mapping, row, bad, &context);
        let way = self.refusals.letters_way(dlq, place, fits(&self.producer, topic, &letter));
        if let Some(until) = waits(way, &self.ledger) {
            return Ok(Taken::Later(until));
        }
        let sent = if letter.value.is_some() { Sent::Letter } else { Sent::LetterWithoutPayload };
        let has_payload =
            mapping.role(Role::Payload).and_then(|field| row.printed(field)).is_some();
        let keeps = has_payload && sent == Sent::LetterWithoutPayload;
        match send(&mut self.producer, topic, &letter, self.ledger.tag()) {
            Ok(weight) => {
                crash::at(Point::DeadLetterEnqueued);
                if keeps {
                    self.keep(mapping, row, position);
                }
                let reason = bad.reason.word();
                if mutant::is(Mutant::LetterNotCounted) {
                    self.ledger.passed_over();
                } else {
                    self.ledger.enqueued(weight);
                }
                tracing::warn!(%position, reason, attribute = %bad.attribute, "a bad row goes to the dead letters: {}", bad.message);
                self.teller.bad_row(reason);
                self.teller.dead_letter(reason);
                Ok(taken(way, Alone { place, sent }))
            }
            Err(error) => refused_by_client(&error, dlq),
        }
    }
}
