//! How far behind we are, in seconds: a number that is 0 only when that is proven, grows while
//! anything is stuck, and is never absent.
//!
//! The rule, in [`lag`]:
//!
//! 1. While a received transaction is not confirmed by Kafka: the age of the oldest one's commit,
//!    on the server's clock.
//! 2. Otherwise 0, if we are watching the server and it was proven a short time ago that we have
//!    all it had.
//! 3. Otherwise the time since that was proven last. So lag grows without a connection, in a halt,
//!    and when the stream falls silent.
//!
//! The proof: the server said at some moment that its WAL ended at L, and everything up to L has
//! been taken and confirmed. Then we had, whenever that came true, all the server had at that
//! moment. Only the catalog says where the log ends. A keepalive does not: its position is what the
//! walsender has read (`sentPtr` in `WalSndKeepalive`, walsender.c), and it comes in the middle of
//! decoding a large transaction too (PeerDB issue 4573). The moment of a sample is when the question
//! was asked: an answer that was long on its way says nothing about the time meanwhile. Samples
//! (moment, L) that are not yet covered are kept, so that behind a backlog without outbox rows the lag is that of the WAL
//! being read, and not a saw tooth. The method is that of kafka-lag-exporter's lookup table,
//! without its interpolation: the answer is late by at most the interval of the samples. The end of
//! the log may be ahead for `Watch::patience` before it counts, so what the stream has not shown
//! is seen after at most that and one interval, and then counts from when it was ahead.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::lsn::Lsn;

/// A proof older than this says nothing about now. The server is asked every second, and a
/// standby sees the other instance's slot move every 10 s when the outbox is quiet.
const PROOF_HOLDS: Duration = Duration::from_secs(30);

/// Samples that wait to be covered; past it every second one is forgotten, which halves the
/// precision and keeps the span.
const SAMPLES_MAX: usize = 128;

/// What tells us how far the work has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing does: not connected, halted, or reading a snapshot.
    Nothing,
    /// Our own replication stream.
    Stream,
    /// The slot as another instance moves it.
    Slot,
}

impl Watch {
    /// How long the end of the server's WAL may be ahead of us before it counts as being behind;
    /// `None`: always behind.
    ///
    /// In a busy database it is ahead of the stream by the time a message takes, at any moment.
    /// Another instance moves the slot of a quiet outbox every 10 s or 64 MiB.
    const fn patience(self) -> Option<Duration> {
        match self {
            Self::Nothing => None,
            Self::Stream => Some(Duration::from_secs(2)),
            Self::Slot => Some(PROOF_HOLDS),
        }
    }
}

/// What is known about having all that the server has.
#[derive(Debug)]
pub struct Freshness {
    watch: Watch,
    /// At this moment the server had nothing that is not confirmed by now.
    proven: Instant,
    /// Something was proven since the present watch began.
    proven_here: bool,
    covered: Lsn,
    /// Where the server's WAL ended, and when; not yet covered, in the order of time.
    awaited: VecDeque<(Lsn, Instant)>,
}

impl Freshness {
    /// Nothing is known before `start`.
    pub(super) const fn new(start: Instant) -> Self {
        Self {
            watch: Watch::Nothing,
            proven: start,
            proven_here: false,
            covered: Lsn::INVALID,
            awaited: VecDeque::new(),
        }
    }

    /// Says what is watched from here on. On a change, what was learned about positions is
    /// forgotten, because a new connection may lead to another server; what was proven stays.
    pub fn watch(&mut self, watch: Watch) {
        if self.watch != watch {
            self.watch = watch;
            self.proven_here = false;
            self.covered = Lsn::INVALID;
            self.awaited.clear();
        }
    }

    /// Says that everything was confirmed that the server had at `at`, a moment before this
    /// process started (the time of the checkpoint it goes on from).
    pub fn start_from(&mut self, at: Instant) {
        self.proven = at;
    }

    /// The server's WAL ended at `wal_end` when it answered a question asked at `at`, so it was no
    /// further at that moment.
    ///
    /// Source of the position: `pg_current_wal_lsn()`, on a standby `pg_last_wal_replay_lsn()`.
    pub fn server_at(&mut self, wal_end: Lsn, at: Instant) {
        if self.awaited.len() >= SAMPLES_MAX {
            let mut number = 0_usize;
            self.awaited.retain(|_| {
                number += 1;
                number.is_multiple_of(2)
            });
        }
        self.awaited.push_back((wal_end, at));
        self.prove();
    }

    /// Everything before `position` has been taken from the stream and confirmed.
    ///
    /// With something in hand that is where its oldest transaction begins (the end of the last
    /// transaction below which everything is confirmed); with nothing in hand and no transaction
    /// open it is how far the server has sent.
    pub fn covered(&mut self, position: Lsn) {
        self.covered = position;
        self.prove();
    }

    fn prove(&mut self) {
        while let Some(&(wal_end, at)) = self.awaited.front() {
            if wal_end > self.covered {
                break;
            }
            self.proven = self.proven.max(at);
            self.proven_here = true;
            self.awaited.pop_front();
        }
    }
}

/// How far behind we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Lag {
    /// Seconds behind; 0 when caught up. Never negative, never NaN.
    pub seconds: f64,
    /// Nothing is in hand, and it is proven that the server has nothing more.
    pub caught_up: bool,
}

/// The rule of this module: lag at `now`, when the oldest transaction in hand was committed
/// `in_hand` seconds ago (on the server's clock).
#[must_use]
pub fn lag(in_hand: Option<f64>, freshness: &Freshness, now: Instant) -> Lag {
    if let Some(age) = in_hand {
        return Lag { seconds: age.max(0.0), caught_up: false };
    }
    let proven = now.saturating_duration_since(freshness.proven);
    let waiting = match freshness.awaited.front() {
        Some(&(_, at)) => now.saturating_duration_since(at),
        None => Duration::ZERO,
    };
    let keeps_up = freshness.watch.patience().is_some_and(|patience| waiting <= patience);
    if keeps_up && freshness.proven_here && proven <= PROOF_HOLDS {
        return Lag { seconds: 0.0, caught_up: true };
    }
    Lag { seconds: proven.as_secs_f64(), caught_up: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A story told in whole seconds after the start.
    struct Story {
        start: Instant,
        freshness: Freshness,
    }

    impl Story {
        fn new(watch: Watch) -> Self {
            let start = Instant::now();
            let mut freshness = Freshness::new(start);
            freshness.watch(watch);
            Self { start, freshness }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn server(&mut self, second: u64, wal_end: u64) -> &mut Self {
            let at = self.at(second);
            self.freshness.server_at(Lsn::new(wal_end), at);
            self
        }

        fn covered(&mut self, position: u64) -> &mut Self {
            self.freshness.covered(Lsn::new(position));
            self
        }

        #[track_caller]
        fn check(&mut self, second: u64, in_hand: Option<f64>, seconds: f64, caught_up: bool) {
            let found = lag(in_hand, &self.freshness, self.at(second));
            assert_eq!(found, Lag { seconds, caught_up }, "at second {second}");
        }
    }

    #[test]
    fn with_something_in_hand_the_lag_is_the_age_of_its_commit() {
        let mut story = Story::new(Watch::Stream);
        story.server(1, 100).covered(100).check(1, Some(7.5), 7.5, false);
        story.check(2, Some(0.0), 0.0, false);
        // The server's clock is ahead of ours by more than the measured skew.
        story.check(2, Some(-0.2), 0.0, false);
    }

    #[test]
    fn a_quiet_server_whose_wal_is_covered_is_caught_up() {
        let mut story = Story::new(Watch::Stream);
        for second in (0..600).step_by(5) {
            story.server(second, 100).covered(100).check(second + 4, None, 0.0, true);
        }
    }

    #[test]
    fn wal_that_is_read_within_the_patience_does_not_make_the_lag_jump() {
        let mut story = Story::new(Watch::Stream);
        story.server(5, 100).covered(100).check(5, None, 0.0, true);
        story.server(10, 200).check(12, None, 0.0, true);
        story.check(13, None, 8.0, false);
        story.covered(200).check(13, None, 0.0, true);
    }

    #[test]
    fn a_silent_stream_makes_the_lag_grow_from_the_last_proof() {
        let mut story = Story::new(Watch::Stream);
        story.server(5, 100).covered(100).check(35, None, 0.0, true);
        story.check(36, None, 31.0, false);
        story.check(4_450, None, 4_445.0, false);
    }

    #[test]
    fn a_lost_connection_shows_at_once_and_a_new_one_has_to_prove_anew() {
        let mut story = Story::new(Watch::Stream);
        story.server(5, 100).covered(100).check(6, None, 0.0, true);
        story.freshness.watch(Watch::Nothing);
        story.check(6, None, 1.0, false);
        story.freshness.watch(Watch::Stream);
        story.server(50, 120).check(50, None, 45.0, false);
        story.covered(119).check(51, None, 46.0, false);
        story.covered(120).check(51, None, 0.0, true);
    }

    #[test]
    fn behind_a_backlog_without_rows_the_lag_is_the_age_of_the_wal_being_read() {
        let mut story = Story::new(Watch::Stream);
        for second in 1..=60 {
            story.server(second, second * 100);
        }
        story.check(60, None, 60.0, false);
        story.covered(1_050).check(60, None, 50.0, false);
        story.covered(3_000).check(61, None, 31.0, false);
        story.covered(6_000).check(61, None, 0.0, true);
    }

    #[test]
    fn before_the_first_proof_the_lag_counts_from_the_checkpoint() {
        let mut story = Story::new(Watch::Stream);
        story.check(2, None, 2.0, false);
        let start = story.start.checked_sub(Duration::from_secs(3_600)).unwrap();
        story.freshness.start_from(start);
        story.check(3, None, 3_603.0, false);
        story.server(4, 100).covered(100).check(4, None, 0.0, true);
    }

    #[test]
    fn a_standby_takes_the_slot_of_a_working_instance_for_caught_up() {
        let mut story = Story::new(Watch::Slot);
        for second in (0..300_u64).step_by(5) {
            // The other instance moves the slot every 10 s.
            story.server(second, second + 100).covered(second / 10 * 10 + 100);
            story.check(second + 4, None, 0.0, true);
        }
        // Then it hangs.
        for second in (300..400_u64).step_by(5) {
            story.server(second, second + 100);
        }
        story.check(400, None, 110.0, false);
    }

    #[test]
    fn samples_are_bounded_and_thinning_keeps_the_newest() {
        let mut story = Story::new(Watch::Stream);
        for second in 1..=10_000 {
            story.server(second, second);
        }
        assert!(story.freshness.awaited.len() <= SAMPLES_MAX);
        story.covered(10_000).check(10_000, None, 0.0, true);
        story.check(10_031, None, 31.0, false);
    }
}
