//! Deliberate mistakes, to see that the tests would notice them.
//!
//! A test that guards a promise is only known to do so once the promise was broken and the test has
//! failed. So the mistakes that relays of this kind have really made stand in the code, one `if` each,
//! and `tests/torture` turns on one after the other and fails unless it is noticed.
//!
//! Only with the cargo feature `mutants`, which no release has, can one be turned on, by
//! `WALPOST_MUTANT=flush_keepalive`. Without the feature [`is`] is `false` at compile time, and the
//! mistakes are not in the program.

/// Defines the mistakes: the name in code, the name outside, what is done wrong.
macro_rules! mutants {
    ($($mutant:ident $name:literal $what:literal;)*) => {
        /// A deliberate mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(
                #[doc = $what]
                $mutant,
            )*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mutant),*];

            /// The name outside the program.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name,)*
                }
            }

            /// What is done wrong.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$mutant => $what,)*
                }
            }
        }
    };
}

mutants! {
    CheckpointEarly "checkpoint_early" "A checkpoint is written before Kafka has confirmed its rows.";
    FlushEarly "flush_early" "The slot moves before the checkpoint is stored.";
    FlushKeepalive "flush_keepalive" "The slot moves to a keepalive's position while rows are in flight.";
    FlushLength "flush_length" "The slot moves to the start of a message plus its length.";
    OrdinalNotStored "ordinal_not_stored" "The checkpoint inside a transaction does not say how many of its rows are sent.";
    GaplessOff "gapless_off" "librdkafka may send what comes after a record that was refused, and its reports are read late.";
    MessageTimeout "message_timeout" "librdkafka gives up a record after a second.";
    IdWithPid "id_with_pid" "The `transactional.id` names the process.";
    ReadBeforeInit "read_before_init" "The checkpoint is read before the `transactional.id` is taken over.";
    InitOnStandby "init_on_standby" "The `transactional.id` is taken over before the slot is.";
    NewestByOffset "newest_by_offset" "The last checkpoint record counts, whatever its generation.";
    TwoTransactions "two_transactions" "Rows and their checkpoint stand in two Kafka transactions.";
    NotPurged "not_purged" "The producer goes on when its generation has ended.";
    OpenAtOnce "open_at_once" "More than one record is sent to a partition that has confirmed nothing yet.";
    PhaseNotRecorded "phase_not_recorded" "No record says that a snapshot has begun.";
    NotWatched "not_watched" "Nobody looks whether the publication is still the same.";
    LetterNotCounted "letter_not_counted" "A dead letter is not waited for.";
    NoFinalStatus "no_final_status" "A stop does not tell the server the last position.";
}

/// Whether this mistake is to be made.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is(_: Mutant) -> bool {
    false
}

/// Whether this is the variable that chooses a mistake, which is not one of the configuration.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is_variable(_: &str) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use choice::{is, is_variable};

#[cfg(feature = "mutants")]
mod choice {
    use std::sync::OnceLock;

    use super::Mutant;

    const VARIABLE: &str = "WALPOST_MUTANT";

    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();

    /// Whether this mistake is to be made.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        *CHOSEN.get_or_init(chosen) == Some(mutant)
    }

    /// Whether this is the variable that chooses a mistake, which is not one of the configuration.
    #[must_use]
    pub fn is_variable(name: &str) -> bool {
        name == VARIABLE
    }

    /// # Panics
    /// The variable names no mistake.
    #[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
    fn chosen() -> Option<Mutant> {
        let name = std::env::var(VARIABLE).ok()?;
        let found = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        Some(*found.expect("WALPOST_MUTANT is the name of a mistake"))
    }
}
