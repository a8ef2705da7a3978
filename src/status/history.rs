//! The last hour, for the plot and for what is estimated from it; bounded, and lost with the
//! process.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::lsn::Lsn;

use super::snapshot::Snapshot;

/// A point of the plot stands for this long.
pub(super) const POINT: Duration = Duration::from_secs(10);

/// Points that are kept: an hour.
const POINTS_MAX: usize = 360;

/// Marks of the end of the log: one a second, thinned out to every second one when there are this
/// many, so the older ones are the farther apart.
const ENDS_MAX: usize = 512;

/// Over how long the growth of what the slot keeps is looked at: long enough for the saw tooth
/// that a healthy slot draws to even out.
const GROWTH_SPAN: Duration = Duration::from_secs(600);

/// With fewer points nothing is said about growth.
const GROWTH_POINTS: usize = 6;

/// Less growth than this over the span counts as none.
const GROWTH_LEAST: f64 = 1_048_576.0;

/// One point of the last hour.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Point {
    /// When it ended, in seconds before the report.
    pub seconds_ago: f64,
    /// The greatest lag within it, as it was seen once a second.
    pub lag_seconds: f64,
    /// WAL that the server kept for the slot; `null`: not known.
    pub retained_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    at: Instant,
    lag: f64,
    retained: Option<u64>,
}

/// What was seen in the last hour.
#[derive(Debug)]
pub(super) struct History {
    points: VecDeque<Kept>,
    /// The point that is not over yet: when it began and its greatest lag.
    open: (Instant, f64),
    ends: VecDeque<(Lsn, Instant)>,
}

impl History {
    pub(super) fn new(now: Instant) -> Self {
        Self { points: VecDeque::new(), open: (now, 0.0), ends: VecDeque::new() }
    }

    /// Looks at how it is now; to be called once a second. Answers whether a point ended.
    pub(super) fn see(&mut self, snapshot: &Snapshot, now: Instant) -> bool {
        if let Some(end) = snapshot.positions.wal_end {
            self.log_ends(end, now);
        }
        let (began, worst) = &mut self.open;
        *worst = worst.max(snapshot.lag.seconds);
        if now.saturating_duration_since(*began) < POINT {
            return false;
        }
        let retained = snapshot.slot.as_ref().map(|slot| slot.retained_bytes);
        if self.points.len() >= POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(Kept { at: now, lag: *worst, retained });
        self.open = (now, 0.0);
        true
    }

    fn log_ends(&mut self, end: Lsn, now: Instant) {
        match self.ends.back_mut() {
            // As long as it does not move, one mark says since when and until when.
            Some((last, at)) if *last == end => *at = now,
            // Another server, or another timeline: what was learned is of no use.
            Some((last, _)) if *last > end => {
                self.ends.clear();
                self.ends.push_back((end, now));
            }
            _ => self.ends.push_back((end, now)),
        }
        if self.ends.len() >= ENDS_MAX {
            let mut number = 0_usize;
            self.ends.retain(|_| {
                number += 1;
                number.is_multiple_of(2)
            });
        }
    }

    /// How long ago the log ended at `position`; 0 where it still does, `None` where that was
    /// before anything was seen. Late by at most the time between two marks.
    pub(super) fn seconds_behind(&self, position: Lsn, now: Instant) -> Option<f64> {
        let (end, _) = self.ends.back()?;
        if *end <= position {
            return Some(0.0);
        }
        let passed = self.ends.iter().rev().find(|(end, _)| *end <= position)?;
        Some(now.saturating_duration_since(passed.1).as_secs_f64())
    }

    /// The points, the oldest first; the last one is not over and ends now.
    pub(super) fn points(&self, snapshot: &Snapshot, now: Instant) -> Vec<Point> {
        let point = |kept: &Kept| Point {
            seconds_ago: now.saturating_duration_since(kept.at).as_secs_f64(),
            lag_seconds: kept.lag,
            retained_bytes: kept.retained,
        };
        let (_, worst) = self.open;
        let last = Point {
            seconds_ago: 0.0,
            lag_seconds: worst.max(snapshot.lag.seconds),
            retained_bytes: snapshot.slot.as_ref().map(|slot| slot.retained_bytes),
        };
        self.points.iter().map(point).chain([last]).collect()
    }

    /// How fast what the slot keeps has grown of late, bytes a second; 0 where it has not, `None`
    /// where too little was seen. By least squares, which a saw tooth hardly tilts.
    pub(super) fn growth(&self, now: Instant) -> Option<f64> {
        let recent = |kept: &&Kept| now.saturating_duration_since(kept.at) <= GROWTH_SPAN;
        let seen: Vec<(f64, f64)> = self
            .points
            .iter()
            .filter(recent)
            .filter_map(|kept| {
                let before = now.saturating_duration_since(kept.at).as_secs_f64();
                // Exact up to 2^53 bytes.
                Some((-before, kept.retained? as f64))
            })
            .collect();
        if seen.len() < GROWTH_POINTS {
            return None;
        }
        let count = seen.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>() / count;
        let (middle, height) = (mean(|(x, _)| *x), mean(|(_, y)| *y));
        let above: f64 = seen.iter().map(|(x, y)| (x - middle) * (y - height)).sum();
        let below: f64 = seen.iter().map(|(x, _)| (x - middle).powi(2)).sum();
        let slope = if below > 0.0 { above / below } else { 0.0 };
        let span = seen.last().map_or(0.0, |last| last.0) - seen.first().map_or(0.0, |one| one.0);
        Some(if slope * span < GROWTH_LEAST { 0.0 } else { slope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::facts::SlotFacts;
    use crate::status::snapshot::SlotView;

    /// A history that was shown a second after the other, the end of the log moving by `speed`.
    fn told(seconds: u64, speed: u64, retained: impl Fn(u64) -> u64) -> (History, Instant) {
        let start = Instant::now();
        let mut history = History::new(start);
        let mut snapshot = Snapshot::for_tests();
        for second in 1..=seconds {
            snapshot.positions.wal_end = Some(Lsn::new(1_000 + second * speed));
            let slot = SlotFacts {
                wal_end: Lsn::new(u64::MAX),
                restart: Some(Lsn::new(u64::MAX - retained(second))),
                ..SlotFacts::default()
            };
            snapshot.slot = Some(SlotView::of(&slot));
            snapshot.lag.seconds = if second == 25 { 7.0 } else { 1.0 };
            history.see(&snapshot, start + Duration::from_secs(second));
        }
        (history, start + Duration::from_secs(seconds))
    }

    #[test]
    fn a_point_holds_the_worst_of_its_ten_seconds_and_an_hour_is_kept() {
        let (history, now) = told(44, 0, |_| 5);
        let mut snapshot = Snapshot::for_tests();
        snapshot.lag.seconds = 3.0;
        let points = history.points(&snapshot, now);
        let lags: Vec<f64> = points.iter().map(|point| point.lag_seconds).collect();
        assert_eq!(lags, [1.0, 1.0, 7.0, 1.0, 3.0]);
        assert_eq!((points[0].seconds_ago, points[4].seconds_ago), (34.0, 0.0));
        assert_eq!(points[0].retained_bytes, Some(5));
        let (history, now) = told(5_000, 0, |_| 5);
        let points = history.points(&snapshot, now);
        assert_eq!((points.len(), points[0].seconds_ago), (POINTS_MAX + 1, 3_590.0));
    }

    #[test]
    fn a_position_is_as_old_as_the_moment_at_which_the_log_ended_there() {
        #[track_caller]
        fn check(seconds: u64, position: u64, expected: Option<f64>) {
            let (history, now) = told(seconds, 100, |_| 0);
            assert!(history.ends.len() <= ENDS_MAX);
            assert_eq!(history.seconds_behind(Lsn::new(position), now), expected);
        }
        check(60, 7_000, Some(0.0));
        check(60, 9_000, Some(0.0));
        check(60, 6_000, Some(10.0));
        check(60, 6_050, Some(10.0));
        check(60, 1_000, None);
        // Thinned out to marks of two seconds by then.
        check(600, 51_000, Some(100.0));
    }

    #[test]
    fn growth_is_that_of_ten_minutes_and_a_saw_tooth_is_none() {
        #[track_caller]
        fn check(seconds: u64, retained: impl Fn(u64) -> u64, expected: Option<f64>) {
            let (history, now) = told(seconds, 0, retained);
            let found = history.growth(now);
            let near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= expected / 100.0,
                (found, expected) => found == expected,
            };
            assert!(near, "{found:?} {expected:?}");
        }
        check(50, |second| second * 1_000_000, None);
        check(60, |second| second * 1_000_000, Some(1_000_000.0));
        check(1_200, |second| if second < 600 { 0 } else { second * 4_000 }, Some(4_000.0));
        check(1_200, |second| second % 60 * 1_000, Some(0.0));
        check(1_200, |second| 1_000_000_000 - second * 1_000, Some(0.0));
        check(1_200, |_| 1 << 40, Some(0.0));
    }
}
