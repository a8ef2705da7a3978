//! Why a process that is up does not work, and whether it needs somebody's decision.

/// A halt: what is wrong and what the operator does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The word for alerts and scripts.
    pub code: HaltCode,
    /// What is wrong, naming the object; no row value, no secret.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

macro_rules! halt_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+) => {
        /// The word for a halt, in `walpost_halted`, the log and the status page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HaltCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl HaltCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

halt_codes! {
    /// A server refused who we say we are.
    Authentication = "authentication",
    /// A server knows us but refuses what we need to do.
    Authorization = "authorization",
    /// A topic that was known is gone.
    TopicMissing = "topic_missing",
    /// A dead letter could not be written.
    DeadLetterFailed = "dead_letter_failed",
    /// A row cannot become an event and `WALPOST_ON_BAD_ROW` is `halt`.
    BadRow = "bad_row",
    /// A newer instance has taken the producer's place.
    Fenced = "fenced",
    /// The server is not yet prepared: `wal_level`, rights, publication or table at a first start.
    NotReady = "not_ready",
    /// The slot no longer has the WAL it needs.
    SlotLost = "slot_lost",
    /// There is a checkpoint, but no slot.
    SlotMissing = "slot_missing",
    /// The slot was moved past the checkpoint.
    SlotAhead = "slot_ahead",
    /// The publication is not the one the checkpoint was written under.
    PublicationChanged = "publication_changed",
    /// A table is not the one the checkpoint was written under.
    TableChanged = "table_changed",
    /// The database server is another one (system identifier).
    SystemChanged = "system_changed",
    /// The server's timeline branched off before the checkpoint.
    TimelineChanged = "timeline_changed",
    /// The Kafka cluster is another one (cluster id).
    KafkaChanged = "kafka_changed",
    /// The checkpoint is gone although the slot is there.
    CheckpointLost = "checkpoint_lost",
    /// The checkpoint is past the end of the server's WAL.
    CheckpointAhead = "checkpoint_ahead",
    /// The checkpoint was written by a newer walpost.
    CheckpointNewer = "checkpoint_newer",
}

impl HaltCode {
    /// Whether the work goes on by itself once the cause is gone.
    ///
    /// Otherwise rows may be missing and somebody has to decide (`walpost checkpoint accept`).
    #[must_use]
    pub const fn resumes_by_itself(self) -> bool {
        match self {
            Self::Authentication
            | Self::Authorization
            | Self::TopicMissing
            | Self::DeadLetterFailed
            | Self::BadRow
            | Self::Fenced
            | Self::NotReady => true,
            Self::SlotLost
            | Self::SlotMissing
            | Self::SlotAhead
            | Self::PublicationChanged
            | Self::TableChanged
            | Self::SystemChanged
            | Self::TimelineChanged
            | Self::KafkaChanged
            | Self::CheckpointLost
            | Self::CheckpointAhead
            | Self::CheckpointNewer => false,
        }
    }

    /// Whether the slot stays in hand during the halt.
    ///
    /// A row that cannot be delivered stops another instance just the same, so letting go of the
    /// slot would only make two instances fail in turn.
    #[must_use]
    pub const fn keeps_slot(self) -> bool {
        matches!(self, Self::BadRow | Self::DeadLetterFailed)
    }
}

impl serde::Serialize for HaltCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl serde::Serialize for Halt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut halt = serializer.serialize_struct("Halt", 4)?;
        halt.serialize_field("code", &self.code)?;
        halt.serialize_field("message", &self.message)?;
        halt.serialize_field("hint", &self.hint)?;
        halt.serialize_field("resumes_by_itself", &self.code.resumes_by_itself())?;
        halt.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_word_in_snake_case() {
        let mut words: Vec<_> = HaltCode::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 18);
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn only_halts_about_one_row_keep_the_slot() {
        let keeping: Vec<_> = HaltCode::ALL.iter().filter(|code| code.keeps_slot()).collect();
        assert_eq!(keeping, [&HaltCode::DeadLetterFailed, &HaltCode::BadRow]);
    }

    #[test]
    fn a_halt_that_may_cost_rows_waits_for_a_decision() {
        #[track_caller]
        fn check(code: HaltCode, by_itself: bool) {
            assert_eq!(code.resumes_by_itself(), by_itself, "{}", code.as_str());
        }
        check(HaltCode::NotReady, true);
        check(HaltCode::TopicMissing, true);
        check(HaltCode::SlotLost, false);
        check(HaltCode::KafkaChanged, false);
        check(HaltCode::CheckpointNewer, false);
    }
}
