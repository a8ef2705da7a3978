//! When to read: the reader decides how fast the walsender is.
//!
//! pgoutput's walsender hands every message to the socket at once. A reader that sleeps in `recv`
//! is woken by each of them: a context switch on both sides for every row. One that reads seldom
//! gains twice. It is not woken; and once it lets the window that it has announced fill up, the
//! server's kernel no longer takes each message through TCP by itself, but appends it to what waits
//! already, and sends it in large pieces when the reader comes back. Until then the walsender goes
//! on: what it may write ahead is megabytes. Measured on two cores with Postgres 15 and one row of
//! about 362 bytes a transaction, rows/s with Kafka behind it: 81,000 with pauses of 250 µs, 98,000
//! with 3 ms, 114,000 with 6 ms, and CPU of the walsender 11.3, 10.1 and 8.6 s per million (one drain of
//! each, the pause fixed; deploy/docs/speed.md has the command).
//!
//! When caught up the same pause would only cost latency. So it depends on what is waiting, not on
//! a setting: it is taken while what arrives is old, and is a small part of that age. How long it
//! may be depends on what lies between: megabytes of buffers over TCP, 200 kB and no merging in a
//! Unix socket. The server says when they were full: it puts its time into each message, and a gap
//! between two messages in most pauses means that it waited for us. Before a transaction it also
//! reads the log, for about as long as it then takes to send the transaction: a gap there counts if
//! it is much longer.

use std::time::Duration;

/// The longest pause between reads, where all buffers between are large.
const LONGEST: Duration = Duration::from_millis(6);

/// The pause that every buffer has room for.
const SHORTEST: Duration = Duration::from_micros(250);

/// The pause is this part of how long what arrives has waited already: nobody sees it.
const PART: u32 = 16;

/// A gap of this part of a pause, and of no more than twice the pause, may be one in which the server
/// waited.
const GAP: u32 = 8;

/// After so many more pauses with a gap than without it was not the server's processor that was busy
/// elsewhere.
const FULL: u32 = 6;

/// A gap before a transaction that is longer than this many times what the server took to send the
/// transaction is not the reading of the log.
const READING: u32 = 4;

/// What arrived was committed at least this long before it was sent, by the server's clock for
/// both: the server has a backlog. A server that keeps up sends a commit within a millisecond.
const BACKLOG: Duration = Duration::from_millis(5);

/// A read that brought this much may have left more behind, so nothing is gained by a pause.
const PLENTY: usize = 32 * 1024;

/// Decides on the pause before the next read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How old the last commit was when it was sent.
    age: Duration,
    /// When the last message was sent, microseconds.
    sent: i64,
    /// When the last transaction began to be sent, microseconds, and the gap before that.
    begin: (i64, Duration),
    /// The longest time between two messages since the last pause, if any came.
    gap: Option<Duration>,
    /// How many more pauses had a gap than had none, not below 0.
    gaps: u32,
    /// The pause for which there seems to be room.
    room: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            age: Duration::ZERO,
            sent: i64::MAX,
            begin: (i64::MAX, Duration::ZERO),
            gap: None,
            gaps: 0,
            room: SHORTEST,
        }
    }
}

impl Pace {
    /// A transaction that was committed at `committed` begins with a message that was sent at `sent`,
    /// both microseconds by the server's clock.
    pub(super) fn began(&mut self, committed: i64, sent: i64) {
        let (begin, gap) = self.begin;
        if gap > micros(self.sent.saturating_sub(begin)) * READING {
            self.saw_gap(gap);
        }
        self.begin = (sent, micros(sent.saturating_sub(self.sent)));
        self.age = micros(sent.saturating_sub(committed));
        self.sent = sent;
    }

    /// Another message was sent at `sent`.
    pub(super) fn came(&mut self, sent: i64) {
        self.saw_gap(micros(sent.saturating_sub(self.sent)));
        self.sent = sent;
    }

    fn saw_gap(&mut self, gap: Duration) {
        self.gap = Some(self.gap.map_or(gap, |longest| longest.max(gap)));
    }

    /// A keepalive: the server has nothing more to send.
    pub(super) fn caught_up(&mut self) {
        self.age = Duration::ZERO;
    }

    /// The server has a backlog: what it sends is old already, and much follows.
    pub(super) fn is_behind(self) -> bool {
        self.age >= BACKLOG
    }

    /// The pause before the next read: the last one brought `bytes`, `since` ago.
    pub(super) fn pause(&mut self, bytes: usize, since: Duration) -> Option<Duration> {
        if !self.is_behind() || bytes >= PLENTY {
            return None;
        }
        if let Some(gap) = self.gap.take() {
            self.learn(gap);
        }
        let left = (self.age / PART).min(self.room).saturating_sub(since);
        (!left.is_zero()).then_some(left)
    }

    /// What came after the last pause had this gap in it.
    fn learn(&mut self, gap: Duration) {
        if ((self.room / GAP).max(SHORTEST / 2)..=self.room * 2).contains(&gap) {
            self.gaps += 1;
        } else if self.gaps > 0 {
            self.gaps -= 1;
        } else {
            self.room = (self.room * 9 / 8).min(LONGEST);
        }
        if self.gaps == FULL {
            self.gaps = 0;
            self.room = (self.room / 2).max(SHORTEST);
        }
    }
}

/// A difference of two times; one that is negative is none, for a clock was set.
fn micros(difference: i64) -> Duration {
    Duration::from_micros(u64::try_from(difference).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// A stream whose last transaction had waited for `age`, after `pauses` with such a `gap` in what
    /// came after each.
    fn pace(age: Duration, (pauses, gap): (u32, Duration)) -> Pace {
        let age = i64::try_from(age.as_micros()).unwrap();
        let gap = i64::try_from(gap.as_micros()).unwrap();
        let mut pace = Pace::default();
        let mut now = 1_000_000_000;
        for _ in 0..=pauses {
            now += gap;
            pace.began(now - age, now);
            now += gap;
            pace.came(now);
            pace.pause(100, NOW);
        }
        pace
    }

    /// A stream that has gone on for so long that all there is to learn was learned.
    fn settled(age: Duration, gap: Duration) -> Pace {
        pace(age, (1_000, gap))
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_reader_that_is_caught_up_reads_at_once() {
        assert_eq!(Pace::default().pause(100, NOW), None);
        assert_eq!(settled(Duration::from_micros(400), NOW).pause(100, NOW), None);
        let mut pace = settled(MINUTE, NOW);
        pace.caught_up();
        assert_eq!(pace.pause(100, NOW), None);
    }

    #[test]
    fn a_clock_that_was_put_back_is_neither_a_backlog_nor_a_gap() {
        let mut pace = Pace::default();
        pace.began(1_500_000, 2_000_000);
        pace.began(1_500_000, 1_000_000);
        pace.came(900_000);
        assert_eq!(pace.gap, Some(NOW));
        assert_eq!(pace.pause(100, NOW), None);
    }

    #[test]
    fn under_backlog_the_socket_is_left_to_fill() {
        let mut pace = settled(MINUTE, NOW);
        assert_eq!(pace.pause(100, NOW), Some(LONGEST));
        assert_eq!(pace.pause(PLENTY, NOW), None, "there may be more");
        let left = Duration::from_millis(1);
        assert_eq!(pace.pause(100, LONGEST.saturating_sub(left)), Some(left), "some is over");
        assert_eq!(pace.pause(100, LONGEST), None, "all of it is over");
    }

    #[test]
    fn a_pause_is_a_sixteenth_of_the_delay_that_there_is_at_most() {
        for age in [5, 8, 16, 80, 96, 1_000] {
            let age = Duration::from_millis(age);
            let pause = settled(age, NOW).pause(100, NOW).unwrap();
            assert!(pause <= age / 16 && pause <= LONGEST, "{pause:?} for {age:?}");
        }
    }

    /// The pauses of a server whose buffers are full after a millisecond, whatever the pause is. In
    /// each it sends two transactions of two messages, and waits before the message of this number.
    fn check_waits_before(message: u32) {
        let mut pace = Pace::default();
        let mut now = 1_000_000_000;
        let mut pauses = Vec::new();
        for _ in 0..2_000 {
            let pause = pace.pause(100, NOW).unwrap_or(SHORTEST);
            for number in 0..4 {
                let waits = i64::try_from(pause.as_micros()).unwrap() - 1_000;
                now += if number == message { waits.max(2) } else { 2 };
                if number % 2 == 0 {
                    pace.began(now - 60_000_000, now);
                } else {
                    pace.came(now);
                }
            }
            pauses.push(pause);
        }
        let longest = pauses.iter().max().unwrap();
        assert!(*longest < Duration::from_micros(2_000), "{longest:?}, before {message}");
        let mean = pauses.iter().sum::<Duration>() / 2_000;
        assert!(mean > Duration::from_micros(600), "{mean:?}, before {message}");
    }

    #[test]
    fn a_server_that_waits_in_every_pause_gets_shorter_ones() {
        for message in 0..4 {
            check_waits_before(message);
        }
    }

    #[test]
    fn a_server_that_was_busy_elsewhere_now_and_then_gets_the_same_pauses() {
        let mut pace = settled(MINUTE, NOW);
        for _ in 1..FULL {
            pace.came(pace.sent + 5_000);
            assert_eq!(pace.pause(100, NOW), Some(LONGEST));
        }
        pace.came(pace.sent + 1);
        assert_eq!(pace.pause(100, NOW), Some(LONGEST));
    }

    #[test]
    fn a_server_that_reads_the_log_between_two_transactions_gets_the_same_pauses() {
        let mut pace = settled(MINUTE, NOW);
        for _ in 0..100 {
            let sent = pace.sent + 3_000;
            pace.began(sent - 60_000_000, sent);
            for message in 1..=1_000 {
                pace.came(sent + message);
            }
            assert_eq!(pace.pause(100, NOW), Some(LONGEST));
        }
    }

    #[test]
    fn the_pauses_of_a_server_that_always_waits_do_not_end() {
        assert_eq!(settled(MINUTE, SHORTEST).pause(100, NOW), Some(SHORTEST));
    }
}
