//! Several streams of one process, told as one: by the stream that is worst off.
//!
//! A person who asks how it goes wants the trouble first, and a probe wants one answer. So the
//! probes are those of all streams, sums are sums, and everything else is that of the stream that
//! most wants a look. The streams themselves stand beside it, each as if it were alone.

use std::collections::BTreeMap;

use super::checks::CONSUMER_GROUPS;
use super::facts::InFlight;
use super::health::Answer;
use super::report::Report;
use super::snapshot::{Snapshot, TopicTotal, Totals};

/// How many streams a probe names one by one.
const NAMED: usize = 4;

/// What `/status.json` has of several streams: the members of a [`Report`], and
///
/// ```json
/// {
///   "shard": 2,
///   "shards": [{"name": "shop.walpost", "slot_name": "walpost_0", "state": "streaming"}]
/// }
/// ```
///
/// `shard` is the stream that those members are of; `ready`, `live`, `startup`, `verdict`, `lag`,
/// `in_flight`, `counts`, `topics` and `consumer_groups` are of all. Each of `shards` is a whole report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Together {
    /// The report of all.
    #[serde(flatten)]
    pub report: Report,
    /// Which stream it is of where it cannot be of all; `None`: there is one stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<usize>,
    /// The streams, in the order of their numbers; empty where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Report>,
}

impl Together {
    /// One report of all. `None` without any.
    #[must_use]
    pub fn of(mut reports: Vec<Report>) -> Option<Self> {
        if reports.len() <= 1 {
            return reports.pop().map(|report| Self { report, shard: None, shards: Vec::new() });
        }
        let (shard, worst) = reports.iter().enumerate().max_by(|a, b| {
            let rank = |report: &Report| (!report.snapshot.ready.ok, report.outlook.grade);
            let lag = |report: &Report| report.snapshot.lag.seconds;
            rank(a.1).cmp(&rank(b.1)).then(lag(a.1).total_cmp(&lag(b.1)))
        })?;
        let mut report = worst.clone();
        let snapshots: Vec<_> = reports.iter().map(|report| &report.snapshot).collect();
        let of = format!("shard {shard} of {}", reports.len());
        combine(&mut report.snapshot, &snapshots, &of);
        // One stream looks at groups, for all.
        if shard > 0 {
            let groups = reports.iter().flat_map(|other| &other.checks);
            let groups = groups.filter(|check| check.name == CONSUMER_GROUPS).cloned();
            report.checks.extend(groups);
        }
        report.outlook.sentence = format!("{}: {}", capital(&of), report.outlook.sentence);
        Some(Self { report, shard: Some(shard), shards: reports })
    }
}

fn combine(all: &mut Snapshot, snapshots: &[&Snapshot], of: &str) {
    all.ready = every(snapshots.iter().map(|snapshot| &snapshot.ready));
    all.live = every(snapshots.iter().map(|snapshot| &snapshot.live));
    all.startup = every(snapshots.iter().map(|snapshot| &snapshot.startup));
    let ready = snapshots.iter().filter(|snapshot| snapshot.ready.ok).count();
    all.verdict = format!("{ready} of {} shards ready; {of}: {}", snapshots.len(), all.verdict);
    all.leader = snapshots.iter().all(|snapshot| snapshot.leader);
    all.lag.caught_up = snapshots.iter().all(|snapshot| snapshot.lag.caught_up);
    let lags = snapshots.iter().map(|snapshot| snapshot.lag.seconds);
    all.lag.seconds = lags.fold(0.0, f64::max);
    let most =
        |bytes: fn(&Snapshot) -> Option<u64>| snapshots.iter().filter_map(|it| bytes(it)).max();
    all.lag.received_bytes = most(|snapshot| snapshot.lag.received_bytes);
    all.lag.confirmed_bytes = most(|snapshot| snapshot.lag.confirmed_bytes);
    all.in_flight = snapshots.iter().fold(InFlight::default(), |sum, snapshot| InFlight {
        events: sum.events + snapshot.in_flight.events,
        bytes: sum.bytes + snapshot.in_flight.bytes,
        limit_bytes: sum.limit_bytes + snapshot.in_flight.limit_bytes,
    });
    all.counts =
        snapshots.iter().fold(Totals::default(), |sum, snapshot| added(sum, snapshot.counts));
    all.topics = topics(snapshots);
    all.consumer_groups =
        snapshots.iter().flat_map(|snapshot| &snapshot.consumer_groups).cloned().collect();
}

fn added(a: Totals, b: Totals) -> Totals {
    Totals {
        events: a.events + b.events,
        bytes: a.bytes + b.bytes,
        transactions: a.transactions + b.transactions,
        duplicates_suppressed: a.duplicates_suppressed + b.duplicates_suppressed,
        snapshot_rows: a.snapshot_rows + b.snapshot_rows,
        bad_rows: a.bad_rows + b.bad_rows,
        dead_letters: a.dead_letters + b.dead_letters,
        backpressure_seconds: a.backpressure_seconds + b.backpressure_seconds,
    }
}

/// The topics of all, the busiest first. How evenly a topic is used is known of each stream only.
fn topics(snapshots: &[&Snapshot]) -> Vec<TopicTotal> {
    let mut topics: BTreeMap<&str, TopicTotal> = BTreeMap::new();
    for total in snapshots.iter().flat_map(|snapshot| &snapshot.topics) {
        let Some(sum) = topics.get_mut(total.topic.as_str()) else {
            topics.insert(
                &total.topic,
                TopicTotal { skew: None, hot_key_share: None, ..total.clone() },
            );
            continue;
        };
        sum.events += total.events;
        sum.bytes += total.bytes;
        sum.other_partitions += total.other_partitions;
        sum.events_per_second = match (sum.events_per_second, total.events_per_second) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        for (place, events) in total.partitions.iter().enumerate() {
            match sum.partitions.get_mut(place) {
                Some(sum) => *sum += events,
                None => sum.partitions.push(*events),
            }
        }
    }
    let mut topics: Vec<_> = topics.into_values().collect();
    topics.sort_by_key(|total| std::cmp::Reverse(total.events));
    topics
}

/// Yes when all say yes; else the streams that say no, and why.
fn every<'a>(answers: impl ExactSizeIterator<Item = &'a Answer>) -> Answer {
    let count = answers.len();
    let (mut yes, mut no): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for (shard, answer) in answers.enumerate() {
        if !answer.ok {
            no.push(format!("shard {shard} of {count}: {}", answer.reason));
        } else if !yes.contains(&answer.reason.as_str()) {
            yes.push(&answer.reason);
        }
    }
    if no.is_empty() {
        return Answer { ok: true, reason: format!("{count} shards: {}", yes.join("; ")) };
    }
    let more = no.len().saturating_sub(NAMED);
    no.truncate(NAMED);
    if more > 0 {
        no.push(format!("and {more} more"));
    }
    Answer { ok: false, reason: no.join("; ") }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::super::consumers::ConsumerGroup;
    use super::super::{Halt, HaltCode, State, Status};
    use super::*;

    fn streaming(slot: &str) -> Status {
        let status = Status::new("shop", slot);
        status.tasks_started();
        status.set_state(State::Streaming);
        status.counts().topic("a").delivered(2, 20, 0);
        status
    }

    #[test]
    fn one_stream_is_told_as_it_is() {
        let together = Together::of(vec![streaming("walpost").report()]).unwrap();
        let json = serde_json::to_value(&together).unwrap();
        assert!(json.get("shards").is_none() && json.get("shard").is_none());
        assert_eq!(json["verdict"], together.report.snapshot.verdict);
        assert!(Together::of(Vec::new()).is_none());
    }

    #[test]
    fn a_halted_stream_speaks_for_all_and_sums_are_of_all() {
        let streams = ["walpost_0", "walpost_1", "walpost_2", "walpost_3"].map(streaming);
        let (code, message) = (HaltCode::SlotMissing, "it is gone".to_owned());
        streams[2].halt(Halt { code, message, hint: "decide".into() });
        let reports = streams.iter().map(Status::report).collect();
        let together = Together::of(reports).unwrap();
        let snapshot = &together.report.snapshot;
        assert_eq!(together.shard, Some(2));
        let reason = "shard 2 of 4: halted (slot_missing): it is gone";
        assert_eq!(snapshot.ready, Answer { ok: false, reason: reason.to_owned() });
        assert!(snapshot.verdict.starts_with("3 of 4 shards ready; shard 2 of 4: "));
        assert!(snapshot.live.ok && snapshot.startup.ok);
        assert_eq!((snapshot.counts.events, snapshot.topics[0].events), (8, 8));
        assert_eq!(snapshot.topics.len(), 1);
        assert_eq!(serde_json::to_value(&together).unwrap()["shards"][2]["slot_name"], "walpost_2");
    }

    #[test]
    fn the_groups_that_the_first_stream_looks_at_are_told_whichever_is_worst() {
        let streams = ["walpost_0", "walpost_1"].map(streaming);
        let group = ConsumerGroup { group: "billing".to_owned(), ..ConsumerGroup::default() };
        streams[0].update(|facts| facts.consumer_groups = vec![group]);
        let (code, message) = (HaltCode::SlotMissing, "it is gone".to_owned());
        streams[1].halt(Halt { code, message, hint: "decide".into() });
        let together = Together::of(streams.iter().map(Status::report).collect()).unwrap();
        assert_eq!(together.shard, Some(1));
        let groups = &together.report.snapshot.consumer_groups;
        assert_eq!(groups.iter().map(|it| it.group.as_str()).collect::<Vec<_>>(), ["billing"]);
        let told = together.report.checks.iter().filter(|check| check.name == CONSUMER_GROUPS);
        assert_eq!(told.count(), 1);
    }

    #[test]
    fn streams_that_are_all_ready_are_ready_together() {
        let reports = ["walpost_0", "walpost_1"].map(|slot| streaming(slot).report()).to_vec();
        let together = Together::of(reports).unwrap();
        let reason = "2 shards: streaming".to_owned();
        assert_eq!(together.report.snapshot.ready, Answer { ok: true, reason });
    }
}
