//! Pauses between attempts: short at first, doubled each time, never in step with others.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::error::Failure;

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest pause after a failure that may go away by itself.
const LONGEST: Duration = Duration::from_secs(10);

/// The longest pause after a halt. A wrong password tried every few seconds locks accounts.
const LONGEST_HALTED: Duration = Duration::from_secs(30);

/// Counts the failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    random: RandomState,
}

impl Backoff {
    /// The pause after this failure: between a half and the whole of the doubled step, so that
    /// many connectors do not come back in the same moment.
    pub(super) fn next(&mut self, failure: &Failure) -> Duration {
        let (first, longest) = match failure {
            Failure::Again { .. } => (SHORTEST, LONGEST),
            Failure::Halt { .. } => (Duration::from_secs(1), LONGEST_HALTED),
        };
        let step = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let mut hasher = self.random.build_hasher();
        hasher.write_u32(self.failures);
        let share = u32::try_from(hasher.finish() % 1_000).unwrap_or(0);
        step / 2 + (step / 2).saturating_mul(share) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::HaltCode;

    #[test]
    fn pauses_double_up_to_a_limit_and_are_never_zero() {
        let mut backoff = Backoff::default();
        let failure = Failure::again("test", "x");
        for step in 0..40_u32 {
            let whole = SHORTEST.saturating_mul(1 << step.min(16)).min(LONGEST);
            let pause = backoff.next(&failure);
            assert!(pause >= whole / 2 && pause <= whole, "{step}: {pause:?} of {whole:?}");
        }
    }

    #[test]
    fn a_halt_is_tried_again_within_thirty_seconds() {
        let mut backoff = Backoff::default();
        let failure = Failure::halt(HaltCode::Authentication, "x", "y");
        for _ in 0..40 {
            let pause = backoff.next(&failure);
            assert!(pause >= Duration::from_millis(500) && pause <= LONGEST_HALTED);
        }
    }
}
