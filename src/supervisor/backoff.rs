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

/// An attempt that lasted so long begins the pauses anew, whatever it did: a standby waits for days.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// An attempt that streamed for so long, and longer than it was waited for, begins them anew too.
const STREAMED_ENOUGH: Duration = Duration::from_secs(1);

/// Counts the failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Duration,
    random: RandomState,
}

impl Backoff {
    /// An attempt is over that lasted for `lasted`, for `streamed` of it at work.
    ///
    /// Rows that came through show that both servers are well, so the next failure is a new one.
    /// Outages that follow each other every few seconds must not add up to pauses of ten. An attempt
    /// that works for less than it was waited for does not count: what fails at once each time is
    /// tried ever more seldom.
    pub(super) fn ended(&mut self, lasted: Duration, streamed: Duration) {
        let enough = self.last.saturating_mul(2).max(STREAMED_ENOUGH);
        if lasted >= LONG_ENOUGH || streamed >= enough {
            self.failures = 0;
        }
    }

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
        self.last = step / 2 + (step / 2).saturating_mul(share) / 1_000;
        self.last
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

    /// After so many failures, and an attempt of this kind: whether the next pause is the shortest.
    #[track_caller]
    fn check(failures: u32, lasted: f64, streamed: f64, anew: bool) {
        let mut backoff = Backoff::default();
        let failure = Failure::again("test", "x");
        for _ in 0..failures {
            backoff.next(&failure);
        }
        backoff.ended(Duration::from_secs_f64(lasted), Duration::from_secs_f64(streamed));
        assert_eq!(backoff.next(&failure) <= SHORTEST, anew);
    }

    #[test]
    fn an_attempt_that_streamed_for_longer_than_it_was_waited_for_begins_the_pauses_anew() {
        check(3, 1.5, 1.0, true);
        check(3, 1.5, 0.9, false);
        check(3, 29.0, 0.0, false);
        check(3, 30.0, 0.0, true);
        // The last pause was of 5 to 10 seconds.
        check(9, 9.9, 9.9, false);
        check(9, 20.0, 20.0, true);
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
