//! How old the oldest record is that a consumer group has not read, without reading it.
//!
//! A partition's end is looked at every few seconds, and each look is a sample: at this moment the
//! next offset was that one. A record's age follows from the samples before and after it, by
//! interpolation. Reading the record itself for its timestamp would need the right Read on the
//! topic and a fetch for each partition and look; and a timestamp is what a producer says, which
//! is not the time of writing where events are replayed.
//!
//! A record that was there before the first look lies before all samples. For that one the brokers
//! are asked, once, which record was the first at a few moments ([`Search`]): these are samples by
//! the records' timestamps, and take no fetch either.

/// How many samples of a partition are kept.
const SAMPLES_MAX: usize = 128;

/// How far back a record is looked for, in milliseconds; one that is older is said to be as old.
const FAR: i64 = 30 * 86_400_000;

/// How many moments are asked for: each halves what is left between thirty days and a second on a
/// scale of factors, so the last one leaves less than one in a hundred.
pub const MOMENTS: usize = 12;

/// Where one partition's end was, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(Vec<Sample>);

/// The partition ended at `offset` from `first` to `last`, milliseconds since 1970: all records
/// before it were written by `first`, and the one that stands there now after `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    offset: i64,
    first: i64,
    last: i64,
}

impl Sample {
    const fn new(offset: i64, at: i64) -> Self {
        Self { offset, first: at, last: at }
    }
}

/// Looks for the time of one record by asking which was the first at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    next: i64,
    now: i64,
    /// The record is at most so old, and at least so old, in milliseconds.
    most: i64,
    least: i64,
    /// Moments, and the first record that is not older than each; `None`: all are.
    found: Vec<(i64, Option<i64>)>,
}

impl Search {
    /// For the record at `next`.
    #[must_use]
    pub const fn new(next: i64, now: i64) -> Self {
        Self { next, now, most: FAR, least: 1_000, found: Vec::new() }
    }

    /// The moment to ask for next, milliseconds since 1970.
    #[must_use]
    pub fn moment(&self) -> i64 {
        self.now.saturating_sub(self.middle())
    }

    fn middle(&self) -> i64 {
        // Thirty days of milliseconds squared are far from the end of 128 bits.
        let square = u128::try_from(i128::from(self.most) * i128::from(self.least)).unwrap_or(0);
        i64::try_from(square.isqrt()).unwrap_or(self.most)
    }

    /// Takes the answer: the first record that is not older than [`moment`](Self::moment); `None`:
    /// all are.
    pub fn answer(&mut self, first: Option<i64>) {
        let (middle, at) = (self.middle(), self.moment());
        match first {
            Some(first) if first <= self.next => self.most = middle,
            Some(_) | None => self.least = middle,
        }
        self.found.push((at, first));
    }
}

impl Samples {
    /// The partition ended at `end` at this moment, milliseconds since 1970.
    pub fn ended(&mut self, end: i64, at: i64) {
        match self.0.last_mut() {
            Some(last) if last.offset == end => last.last = last.last.max(at),
            // A topic that was made again begins at 0, and an unclean election takes records away.
            Some(last) if last.offset > end => self.0 = vec![Sample::new(end, at)],
            Some(last) if at <= last.last => {}
            Some(_) | None => self.0.push(Sample::new(end, at)),
        }
        if self.0.len() > SAMPLES_MAX {
            // Far back, an age is as well told from half as many.
            let half = self.0.len() / 2;
            let mut index = 0_usize;
            self.0.retain(|_| {
                index += 1;
                index > half || index % 2 == 1
            });
        }
    }

    /// Nobody will ask for records before `next`.
    pub fn forget_before(&mut self, next: i64) {
        let needed = self.0.partition_point(|sample| sample.offset <= next).saturating_sub(1);
        self.0.drain(..needed);
    }

    /// Whether a record lies before all samples.
    #[must_use]
    pub fn begin_after(&self, next: i64) -> bool {
        self.0.first().is_none_or(|first| first.offset > next)
    }

    /// Adds what a search for a record before the first sample has found. The record is then placed
    /// in time, if only as older than the search has looked.
    pub fn began(&mut self, search: &Search) {
        let Some(first) = self.0.first_mut() else { return };
        let placed = Sample::new(search.next, search.now.saturating_sub(search.most));
        let mut found = search.found.clone();
        found.sort_unstable();
        let mut before = vec![placed];
        for (at, offset) in found {
            match (offset, before.last_mut()) {
                // All records that there are were written by then.
                (None, _) => first.first = first.first.min(at),
                (Some(offset), Some(last)) if last.offset == offset => last.last = at,
                // Timestamps need not grow with offsets: what contradicts an older moment is left
                // out, and so is what lies before the record.
                (Some(offset), Some(last)) if last.offset > offset || last.last >= at => {}
                (Some(offset), _) if offset >= first.offset => {}
                (Some(offset), _) => before.push(Sample::new(offset, at)),
            }
        }
        before.append(&mut self.0);
        self.0 = before;
    }

    /// How many milliseconds ago the record at `next` was written; `None` where there is none, or
    /// nothing is known of its time.
    #[must_use]
    pub fn age(&self, next: i64, now: i64) -> Option<i64> {
        let after = self.0.partition_point(|sample| sample.offset <= next);
        let (before, after) = (self.0.get(after.checked_sub(1)?)?, self.0.get(after)?);
        let between = after.first.saturating_sub(before.last).max(0);
        let part = i128::from(next - before.offset) * i128::from(between)
            / i128::from(after.offset - before.offset).max(1);
        let written = before.last.saturating_add(i64::try_from(part).unwrap_or(0));
        Some(now.saturating_sub(written).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;

    fn samples(ends: &[(i64, i64)]) -> Samples {
        let mut samples = Samples::default();
        for (end, at) in ends {
            samples.ended(*end, at * SECOND);
        }
        samples
    }

    /// By the samples `(end, second)`, the age in seconds of the record at `next` at second 100.
    #[track_caller]
    fn check(ends: &[(i64, i64)], next: i64, expected: Option<i64>) {
        let age = samples(ends).age(next, 100 * SECOND);
        assert_eq!(age.map(|age| age / SECOND), expected, "{next} of {ends:?}");
    }

    #[test]
    fn a_record_is_as_old_as_the_samples_around_it_say() {
        let even = [(0, 0), (100, 50), (200, 100)];
        check(&even, 0, Some(100));
        check(&even, 50, Some(75));
        check(&even, 100, Some(50));
        check(&even, 150, Some(25));
        check(&even, 198, Some(1));
    }

    #[test]
    fn nothing_unread_has_no_age_and_neither_has_what_came_before_the_first_look() {
        check(&[], 0, None);
        check(&[(10, 0), (20, 50)], 20, None);
        check(&[(10, 0), (20, 50)], 9, None);
        check(&[(10, 0)], 10, None);
    }

    #[test]
    fn a_record_after_a_quiet_hour_is_young() {
        // Ten looks found the same end; the record came between the last of them and the next.
        let quiet: Vec<_> = (0..10).map(|look| (5, look * 10)).chain([(6, 100)]).collect();
        check(&quiet, 5, Some(10));
        assert_eq!(samples(&quiet).0.len(), 2);
    }

    #[test]
    fn a_record_before_a_quiet_hour_is_old() {
        let quiet: Vec<_> =
            [(0, 0)].into_iter().chain((1..=10).map(|look| (8, look * 10))).collect();
        check(&quiet, 4, Some(95));
    }

    #[test]
    fn an_end_that_went_back_begins_anew() {
        check(&[(10, 0), (20, 50), (3, 60), (7, 80)], 3, Some(40));
        check(&[(10, 0), (20, 50), (3, 60), (7, 80)], 1, None);
    }

    #[test]
    fn a_clock_that_jumps_back_makes_nothing_older_than_it_is() {
        check(&[(10, 90), (20, 10), (30, 95)], 10, Some(10));
    }

    #[test]
    fn samples_have_a_maximum_and_still_place_what_is_far_back() {
        let ends: Vec<_> = (0..10_000).map(|look| (look * 10, look)).collect();
        let samples = samples(&ends);
        assert!(samples.0.len() <= SAMPLES_MAX);
        for next in [0, 1, 12_345, 50_000, 99_000] {
            let age = samples.age(next, 10_000 * SECOND).unwrap();
            assert!((age - (10_000 - next / 10) * SECOND).abs() <= SECOND, "{next}: {age}");
        }
    }

    #[test]
    fn samples_that_nobody_needs_are_dropped() {
        let mut samples = samples(&[(0, 0), (10, 10), (20, 20), (30, 30)]);
        samples.forget_before(15);
        assert_eq!(samples.0.len(), 3);
        assert_eq!(samples.age(15, 100 * SECOND), Some(85 * SECOND));
        samples.forget_before(30);
        assert_eq!(samples.0.len(), 1);
        samples.forget_before(99);
        assert_eq!(samples.0.len(), 1);
    }

    /// A partition whose records were written at these seconds before now; the age that is found
    /// of one of them, with nothing known but the end.
    #[track_caller]
    fn search(written: &[i64], next: usize) -> i64 {
        let now = 10_000_000 * SECOND;
        let offset = |at: usize| i64::try_from(at).unwrap();
        let mut samples = Samples::default();
        samples.ended(offset(written.len()), now);
        assert!(samples.begin_after(offset(next)));
        let mut search = Search::new(offset(next), now);
        for _ in 0..MOMENTS {
            let moment = search.moment();
            let first = written.iter().position(|before| now - before * SECOND >= moment);
            search.answer(first.map(offset));
        }
        samples.began(&search);
        assert!(!samples.begin_after(offset(next)));
        assert!(samples.0.is_sorted_by(|a, b| a.offset < b.offset), "{samples:?}");
        samples.age(offset(next), now).unwrap() / SECOND
    }

    #[test]
    fn a_record_before_the_first_look_is_placed_by_the_brokers() {
        #[track_caller]
        fn check(written: &[i64], next: usize) {
            let found = search(written, next);
            let truth = written[next];
            assert!((found - truth).abs() <= 1 + truth / 50, "{found} for {truth} of {written:?}");
        }
        check(&[10_800], 0);
        check(&[10_800, 10, 5], 0);
        check(&[10_800, 10, 5], 1);
        check(&[2_000_000, 1_000_000, 500_000, 3], 1);
        check(&[100, 100, 100], 1);
        check(&[100, 100, 100], 0);
        check(&[7, 6, 5, 4, 3], 2);
        // What is older than a month is a month old.
        assert_eq!(search(&[4_000_000, 1], 0), FAR / SECOND);
    }

    #[test]
    fn a_group_that_reads_on_after_the_search_is_as_far_behind() {
        let now = 10_000 * SECOND;
        let mut samples = Samples::default();
        samples.ended(1_000, now);
        let mut search = Search::new(0, now);
        for _ in 0..MOMENTS {
            // A thousand records, all of an hour ago.
            search.answer((search.moment() <= now - 3_600 * SECOND).then_some(0));
        }
        samples.began(&search);
        for next in [0, 500, 999] {
            let age = samples.age(next, now).unwrap() / SECOND;
            assert!((3_550..3_650).contains(&age), "{age}");
        }
    }

    #[test]
    fn timestamps_that_contradict_each_other_still_give_an_age() {
        let age = search(&[10, 5_000, 20, 400, 3], 2);
        assert!((0..=FAR / SECOND).contains(&age), "{age}");
    }
}
