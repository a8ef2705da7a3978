//! The last errors, for the page and for `last_error_timestamp_seconds`.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::snapshot::{Ago, Clock};

/// How many errors are kept.
const KEPT: usize = 20;

/// How many codes are remembered with the time they were last seen. Codes are words of the
/// program, some fifty; past the maximum a code is only in the list of last errors.
pub(super) const CODES_MAX: usize = 100;

/// A message longer than this many characters is cut: a peer wrote part of it.
const TEXT_MAX: usize = 2_000;

/// One of the last errors.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ErrorEntry {
    /// When it happened last.
    #[serde(flatten)]
    pub when: Ago,
    /// How often it happened in a row.
    pub times: u64,
    /// The word for it.
    pub code: &'static str,
    /// What went wrong.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

#[derive(Default)]
pub(super) struct ErrorLog {
    last: VecDeque<Recorded>,
    codes: Vec<(&'static str, Instant)>,
}

struct Recorded {
    at: Instant,
    times: u64,
    code: &'static str,
    message: String,
    hint: String,
}

impl ErrorLog {
    /// Keeps an error. The same one again is counted and not listed again, so that an hour of
    /// retries does not push out what came before.
    pub(super) fn record(&mut self, code: &'static str, message: &str, hint: &str, at: Instant) {
        let (message, hint) = (cut(message), cut(hint));
        if let Some((_, seen)) = self.codes.iter_mut().find(|(known, _)| *known == code) {
            *seen = at;
        } else if self.codes.len() < CODES_MAX {
            self.codes.push((code, at));
        }
        match self.last.back_mut() {
            Some(last) if last.code == code && last.message == message => {
                last.at = at;
                last.times = last.times.saturating_add(1);
                last.hint = hint;
            }
            _ => {
                if self.last.len() >= KEPT {
                    self.last.pop_front();
                }
                self.last.push_back(Recorded { at, times: 1, code, message, hint });
            }
        }
    }

    /// The newest first.
    pub(super) fn entries(&self, clock: Clock) -> Vec<ErrorEntry> {
        let entry = |recorded: &Recorded| ErrorEntry {
            when: clock.ago(recorded.at),
            times: recorded.times,
            code: recorded.code,
            message: recorded.message.clone(),
            hint: recorded.hint.clone(),
        };
        self.last.iter().rev().map(entry).collect()
    }

    /// When each code was seen last.
    pub(super) fn by_code(&self) -> impl Iterator<Item = (&'static str, Instant)> {
        self.codes.iter().copied()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn entries(log: &ErrorLog) -> Vec<(String, u64)> {
        let clock = Clock { now: Instant::now(), wall: SystemTime::now() };
        log.entries(clock).into_iter().map(|entry| (entry.message, entry.times)).collect()
    }

    #[test]
    fn the_same_error_again_is_counted_and_not_listed_twice() {
        let mut log = ErrorLog::default();
        let now = Instant::now();
        log.record("connect", "first", "", now);
        for _ in 0..100 {
            log.record("connect", "connection refused", "start it", now);
        }
        assert_eq!(entries(&log), [("connection refused".into(), 100), ("first".into(), 1)]);
        assert_eq!(log.by_code().count(), 1);
    }

    #[test]
    fn only_the_last_errors_and_so_much_of_their_text_are_kept() {
        let mut log = ErrorLog::default();
        for n in 0..50 {
            log.record("protocol", &format!("{n}{}", "é".repeat(5_000)), "", Instant::now());
        }
        let kept = entries(&log);
        assert_eq!(kept.len(), KEPT);
        assert!(kept[0].0.starts_with("49é"));
        assert_eq!(kept[0].0.chars().count(), TEXT_MAX);
    }
}
